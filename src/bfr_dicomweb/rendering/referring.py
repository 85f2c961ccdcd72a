"""Objects that are shown through others: presentation states, segmentations, key objects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotFound, TooLarge
from bfr_dicomweb.rendering import (
    contours,
    key_objects,
    parametric_maps,
    presentation_blending,
    presentation_states,
    segmentations,
    slides,
    source_frames,
)
from bfr_dicomweb.rendering.contours import StructureSet
from bfr_dicomweb.rendering.key_objects import KeyObjects
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.parametric_maps import ParametricMap
from bfr_dicomweb.rendering.planes import is_tiled
from bfr_dicomweb.rendering.presentation_blending import Blending
from bfr_dicomweb.rendering.presentation_states import PresentationState
from bfr_dicomweb.rendering.references import Images, LeftOut, Reference, Showing, Shown
from bfr_dicomweb.rendering.segmentations import Segmentation
from bfr_dicomweb.rendering.slide_segmentations import SlideSegmentation

# Pictures of one object that are made at once; they are held in memory until all are made.
MAX_PICTURES: Final = 2000


@dataclass(frozen=True, slots=True)
class Way:
    """How objects of a SOP class are shown.

    Attributes:
        is_presentation_state: Then a viewport may only have a size, and a window or frame
            numbers may not be asked for (PS3.18 section 8.3.5.1.6).
    """

    references: Callable[[StoredObject], tuple[Reference, ...]]
    showing: Callable[[StoredObject, Images], Showing]
    is_presentation_state: bool = False


def _segmentation(stored: StoredObject, images: Images) -> Showing:
    if is_tiled(stored.attributes):
        return SlideSegmentation(stored, images)
    return Segmentation(stored, images)


_STATE: Final = Way(presentation_states.references_of, PresentationState, True)
_SEGMENTATION: Final = Way(source_frames.references_of, _segmentation)

SHOWS_OTHERS: Final[dict[str, Way]] = {
    presentation_states.GRAYSCALE: _STATE,
    presentation_states.COLOR: _STATE,
    presentation_states.PSEUDO_COLOR: _STATE,
    presentation_states.XA_XRF_GRAYSCALE: _STATE,
    presentation_states.VARIABLE_MODALITY_LUT: _STATE,
    presentation_blending.BLENDING: Way(presentation_blending.references_of, Blending, True),
    segmentations.SEGMENTATION: _SEGMENTATION,
    segmentations.LABEL_MAP_SEGMENTATION: _SEGMENTATION,
    contours.STRUCTURE_SET: Way(contours.references_of, StructureSet),
    parametric_maps.PARAMETRIC_MAP: Way(source_frames.references_of, ParametricMap),
    key_objects.KEY_OBJECT_SELECTION: Way(key_objects.references_of, KeyObjects),
}

# Slides are shown by themselves, tile by tile; but a region of one out of the tiles of any level.
SHOWS_LEVELS: Final[dict[str, Way]] = {
    slides.WHOLE_SLIDE_IMAGE: Way(slides.references_of, slides.Slide)
}

_WAYS: Final = SHOWS_OTHERS | SHOWS_LEVELS


@dataclass(frozen=True, slots=True)
class Result:
    """
    Attributes:
        shown: In the order of PS3.18 section 8.3.5.1.6.
        left_out: What is referenced and is not shown, and why.
    """

    shown: tuple[Shown, ...]
    left_out: tuple[LeftOut, ...]


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """What has to be at hand to show an object, each once; () for what is shown by itself."""
    way = _WAYS.get(stored.sop_class_uid)
    return () if way is None else way.references(stored)


def showing(stored: StoredObject, images: Images) -> Showing:
    """An object of one of the tables with what it refers to, to be shown picture by picture.

    Args:
        images: Of the archive, by SOP Instance UID: those of `references_of`. Others do no
            harm; where an object says only which space it lies in, they are looked through.

    Raises:
        NotFound: nothing that it refers to can be shown.
    """
    way = _WAYS.get(stored.sop_class_uid)
    if way is None:
        raise NotFound("the instance is not shown through others")
    found = way.showing(stored, images)
    if not found.targets:
        raise NotFound(_why(found.left_out))
    return found


def _why(left_out: tuple[LeftOut, ...]) -> str:
    if not left_out:
        return "the instance refers to nothing that could be shown"
    reasons = ", or ".join(dict.fromkeys(str(each.reason) for each in left_out))
    return f"nothing that the instance refers to can be shown: {reasons}"


def render_references(stored: StoredObject, images: Images, rendering: Rendering) -> Result:
    """All pictures of an object of one of the tables.

    Raises:
        NotFound: as `showing`.
        TooLarge: there are more than `MAX_PICTURES`.
        UndecodablePixelData: a frame of them cannot be decoded.
        InvalidQuery: the viewport cannot be filled.
    """
    found = showing(stored, images)
    if len(found.targets) > MAX_PICTURES:
        raise TooLarge(f"the instance has more than {MAX_PICTURES} pictures: ask for single frames")
    shown = tuple(Shown(target, found.picture(target, rendering)) for target in found.targets)
    return Result(shown, found.left_out)
