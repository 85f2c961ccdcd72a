"""What an object that is shown through others refers to, and what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.elements import Attributes, first_item, items, numbers, text
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.planes import (
    FunctionalGroups,
    along_normal,
    frame_count,
    is_tiled,
    planes_of,
)

Images = Mapping[str, StoredObject]
"""Objects of the archive by SOP Instance UID."""

WHOLE_SLIDE: Final = 0
"""Frame number of a picture that is made of all tiles."""


@dataclass(frozen=True, slots=True)
class Reference:
    """
    Attributes:
        sop_instance_uid: "": any of the series.
        frame_numbers: From 1; none: all.
        series_instance_uid, study_instance_uid: "": not said.
    """

    sop_instance_uid: str
    frame_numbers: tuple[int, ...] = ()
    series_instance_uid: str = ""
    study_instance_uid: str = ""


class Reason(StrEnum):
    """Why something that is referenced is not shown."""

    NOT_STORED = "it is not stored here"
    NO_PIXELS = "it has no pixel data"
    NO_SUCH_FRAME = "it has no such frame"
    ELSEWHERE = "no slice that it could be laid over is where it is"
    NO_PLACE = "nothing says where in the patient it lies"


@dataclass(frozen=True, slots=True)
class LeftOut:
    reference: Reference
    reason: Reason


@dataclass(frozen=True, slots=True)
class Target:
    """One of the pictures that an object is shown as.

    Attributes:
        sop_instance_uid: Of the image that is under it; of the object itself, where none is.
        frame_number: Of that image, from 1; `WHOLE_SLIDE`: all tiles of it together.
        own_frames: Frames of the object itself that are shown in it, from 1; for objects that
            have any.
    """

    sop_instance_uid: str
    frame_number: int
    own_frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    target: Target
    picture: Picture


class Showing(Protocol):
    """An object together with the images that it is shown through.

    Attributes:
        targets: In the order of PS3.18 section 8.3.5.1.6.
        left_out: What is referenced and cannot be shown.
    """

    targets: tuple[Target, ...]
    left_out: tuple[LeftOut, ...]

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        """
        Raises:
            UndecodablePixelData: a frame of it cannot be decoded.
        """
        ...


def reference_of(item: Attributes, *, series: str = "", study: str = "") -> Reference:
    """What an item of the Image SOP Instance Reference Macro (PS3.3 section 10.3) names."""
    frames = tuple(int(number) for number in numbers(item, "ReferencedFrameNumber"))
    return Reference(text(item, "ReferencedSOPInstanceUID"), frames, series, study)


def series_references(attributes: Attributes, keyword: str) -> Iterator[Reference]:
    """Of a Referenced Series Sequence, in its order.

    Args:
        keyword: Of the sequence in its items that holds the instances.
    """
    study = text(attributes, "StudyInstanceUID")
    for series in items(attributes, "ReferencedSeriesSequence"):
        uid = text(series, "SeriesInstanceUID")
        for item in items(series, keyword):
            yield reference_of(item, series=uid, study=study)


def applies_to(item: Attributes, uid: str, frame_number: int) -> bool:
    """Whether an item that may be meant for some images only is meant for this frame."""
    scope = [reference_of(image) for image in items(item, "ReferencedImageSequence")]
    return not scope or any(
        reference.sop_instance_uid == uid
        and (not reference.frame_numbers or frame_number in reference.frame_numbers)
        for reference in scope
    )


def find(
    references: tuple[Reference, ...], images: Images
) -> tuple[tuple[Target, ...], tuple[LeftOut, ...]]:
    """Every frame that is referenced, in the order of the references, each once.

    Of a slide of which no tiles are named, all of it.
    """
    targets: dict[Target, None] = {}
    left_out: list[LeftOut] = []
    for reference in references:
        uid = reference.sop_instance_uid
        image = images.get(uid)
        if image is None:
            left_out.append(LeftOut(reference, Reason.NOT_STORED))
            continue
        count = frame_count(image)
        if not count:
            left_out.append(LeftOut(reference, Reason.NO_PIXELS))
            continue
        if not reference.frame_numbers and is_tiled(image.attributes):
            targets[Target(uid, WHOLE_SLIDE)] = None
            continue
        for number in reference.frame_numbers or range(1, count + 1):
            if 1 <= number <= count:
                targets[Target(uid, number)] = None
            else:
                absent = Reference(
                    uid, (number,), reference.series_instance_uid, reference.study_instance_uid
                )
                left_out.append(LeftOut(absent, Reason.NO_SUCH_FRAME))
    return tuple(targets), tuple(left_out)


def ordered(targets: Sequence[Target], images: Images) -> tuple[Target, ...]:
    """In the order of PS3.18 section 8.3.5.1.6.

    By Dimension Index Values, where all have some of one Dimension Organization; else along the
    normal, where all are parallel; else in the order of the references.
    """
    if any(target.frame_number == WHOLE_SLIDE for target in targets):
        return tuple(targets)
    indices = _dimension_indices(targets, images)
    if indices is not None:
        return tuple(sorted(targets, key=indices.__getitem__))
    uids = {target.sop_instance_uid for target in targets}
    planes = {uid: planes_of(images[uid]) for uid in uids}
    found = [planes[target.sop_instance_uid][target.frame_number - 1] for target in targets]
    heights = along_normal(found)
    if heights is None:
        return tuple(targets)
    places = sorted(range(len(targets)), key=heights.__getitem__)
    return tuple(targets[place] for place in places)


def _dimension_indices(
    targets: Sequence[Target], images: Images
) -> dict[Target, list[float]] | None:
    organizations, found = set(), {}
    for uid in dict.fromkeys(target.sop_instance_uid for target in targets):
        attributes = images[uid].attributes
        organization = first_item(attributes, "DimensionOrganizationSequence")
        organizations.add(text(organization, "DimensionOrganizationUID"))
        groups = FunctionalGroups(attributes)
        for target in targets:
            if target.sop_instance_uid == uid:
                content = groups.group(target.frame_number - 1, "FrameContentSequence")
                found[target] = numbers(content, "DimensionIndexValues")
    lengths = {len(values) for values in found.values()}
    if len(organizations) != 1 or "" in organizations or len(lengths) != 1 or 0 in lengths:
        return None
    return found
