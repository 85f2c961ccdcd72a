"""RT structure sets: contours over the images that they were drawn on (PS3.3 section C.8.8.6)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import TooLarge
from bfr_dicomweb.rendering.backdrop import Backdrop
from bfr_dicomweb.rendering.elements import Attributes, element, items, numbers, text
from bfr_dicomweb.rendering.graphics import Drawing, Rgb, Stroke, stroke_width
from bfr_dicomweb.rendering.legend import Entry, draw_legend
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.planes import Plane, PlaneIndex, planes_of
from bfr_dicomweb.rendering.references import (
    Images,
    LeftOut,
    Reason,
    Reference,
    Target,
    find,
    ordered,
    reference_of,
)
from bfr_dicomweb.rendering.segmentations import color_at

Points = npt.NDArray[np.float64]

STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"

# Of all contours of an object, and of the text of one.
MAX_POINTS: Final = 5_000_000
_MAX_TEXT: Final = 1 << 24
# Points of a contour that are looked at to find its slice.
_PROBES: Final = 64
# Contours are all that there is to be seen of a region.
_THICKER: Final = 1.3
_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")


@dataclass(frozen=True, slots=True)
class RegionOfInterest:
    name: str
    color: Rgb


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """
    Attributes:
        kind: Contour Geometric Type.
        points: In mm, in the frame of reference, shape (n, 3).
        images: On which it was drawn; none: nothing is said.
    """

    region: RegionOfInterest
    kind: str
    points: Points
    images: tuple[Reference, ...]


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """The images that contours name; where none names any, those of the structure set."""
    of_set = _images_of_set(stored.attributes)
    named: dict[str, Reference] = {}
    for _region, item in _contour_items(stored.attributes):
        for image in items(item, "ContourImageSequence"):
            reference = reference_of(image)
            uid = reference.sop_instance_uid
            named.setdefault(uid, of_set.get(uid, reference))
    return tuple((named or of_set).values())


def _images_of_set(attributes: Attributes) -> dict[str, Reference]:
    found: dict[str, Reference] = {}
    own_study = text(attributes, "StudyInstanceUID")
    for frame_of_reference in items(attributes, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame_of_reference, "RTReferencedStudySequence"):
            for series in items(study, "RTReferencedSeriesSequence"):
                uid = text(series, "SeriesInstanceUID")
                for image in items(series, "ContourImageSequence"):
                    reference = reference_of(image, series=uid, study=own_study)
                    found.setdefault(reference.sop_instance_uid, reference)
    return found


def _contour_items(attributes: Attributes) -> list[tuple[RegionOfInterest, Attributes]]:
    names = {
        text(item, "ROINumber"): text(item, "ROIName")
        for item in items(attributes, "StructureSetROISequence")
    }
    found = []
    for place, item in enumerate(items(attributes, "ROIContourSequence")):
        color = tuple(int(min(max(value, 0), 255)) for value in numbers(item, "ROIDisplayColor"))
        region = RegionOfInterest(
            names.get(text(item, "ReferencedROINumber"), ""),
            (color[0], color[1], color[2]) if len(color) == 3 else color_at(place),
        )
        found += [(region, contour) for contour in items(item, "ContourSequence")]
    return found


def contours_of(stored: StoredObject) -> list[Contour]:
    """
    Raises:
        TooLarge: they have more points than `MAX_POINTS`.
    """
    found, count = [], 0
    for region, item in _contour_items(stored.attributes):
        points = _points(stored, element(item, "ContourData"))
        count += len(points)
        if count > MAX_POINTS:
            raise TooLarge(f"the structure set has more than {MAX_POINTS} points")
        images = tuple(reference_of(image) for image in items(item, "ContourImageSequence"))
        if len(points):
            found.append(Contour(region, text(item, "ContourGeometricType"), points, images))
    return found


def _points(stored: StoredObject, value: Attributes) -> Points:
    listed = value.get("Value")
    if not isinstance(listed, list):
        listed = stored.content(value)[:_MAX_TEXT].decode("ascii", "replace").split("\\")
    try:
        flat = np.array(listed, np.float64)
    except (TypeError, ValueError):
        return np.empty((0, 3))
    points = flat[: len(flat) // 3 * 3].reshape(-1, 3)
    return points[np.isfinite(points).all(axis=1)]


class StructureSet:
    """An RT structure set with its images; see `references.Showing`.

    A contour that names no image is shown on all whose slice it lies in.
    """

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._images = images
        self._planes = {uid: planes_of(image) for uid, image in images.items()}
        self._slices = PlaneIndex(
            (Target(uid, frame + 1), plane)
            for uid, planes in self._planes.items()
            for frame, plane in enumerate(planes)
            if images[uid].number_of_frames
        )
        self._contours: dict[Target, list[Contour]] = {}
        references = references_of(stored)
        _found, missing = find(references, images)
        for contour in contours_of(stored):
            for target in self._targets_of(contour):
                self._contours.setdefault(target, []).append(contour)
        self.targets = ordered(tuple(self._contours), images)
        self.left_out = missing + tuple(
            LeftOut(reference, Reason.NO_PLACE)
            for reference in references
            if any(plane is None for plane in self._planes.get(reference.sop_instance_uid, ()))
        )

    def _targets_of(self, contour: Contour) -> list[Target]:
        step = max(1, len(contour.points) // _PROBES)
        if not contour.images:
            return self._slices.containing(contour.points[::step])
        found = [
            target
            for target in find(contour.images, self._images)[0]
            if self._plane(target) is not None
        ]
        if len(found) > 1:  # a multi-frame image, of which no frame is named
            lying = set(self._slices.containing(contour.points[::step]))
            return [target for target in found if target in lying] or found
        return found

    def _plane(self, target: Target) -> Plane | None:
        return self._planes[target.sop_instance_uid][target.frame_number - 1]

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        image = self._images[target.sop_instance_uid]
        backdrop = Backdrop.of_frame(image, target.frame_number - 1, rendering)
        placed, plane = backdrop.placed(), self._plane(target)
        drawing = Drawing(placed)
        shown = []
        for contour in self._contours[target]:
            if plane is not None:
                _draw(drawing, contour, backdrop.points(plane.pixels(contour.points), placed))
            shown.append(Entry(contour.region.name, contour.region.color))
        draw_legend(drawing, shown)
        return backdrop.finished(drawing.picture)


def _draw(drawing: Drawing, contour: Contour, points: Points) -> None:
    picture = drawing.picture
    width = _THICKER * stroke_width(picture.columns, picture.rows)
    stroke = Stroke(contour.region.color, width)
    if len(points) == 1 or contour.kind == "POINT":
        drawing.dots(points, stroke)
    elif contour.kind in _CLOSED:
        drawing.line(np.vstack([points, points[:1]]), stroke)
    else:
        drawing.line(points, stroke)
