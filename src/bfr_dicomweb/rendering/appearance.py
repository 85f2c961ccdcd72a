"""How the samples of one frame become a picture: everything but the samples (PS3.4 section N.2)."""

from dataclasses import dataclass, replace
from typing import Final

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import color, elements, grayscale, overlays, palettes, shutters
from bfr_dicomweb.rendering.elements import Attributes
from bfr_dicomweb.rendering.grayscale import IDENTITY, LookupTable, Padding, Rescale
from bfr_dicomweb.rendering.overlays import Overlay
from bfr_dicomweb.rendering.palettes import Palette
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from bfr_dicomweb.rendering.shutters import Shutters

# Beyond it two spacings are no description of one image.
MAX_PIXEL_ASPECT: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """The transformations of a frame, in the order in which they are applied.

    A presentation state is an appearance with other values in the places that it speaks of:
    `dataclasses.replace` makes one of the other.

    Attributes:
        modality: From stored values to those that a window is given in.
        voi: None: a window is chosen from the values of the frame (`grayscale.default_window`).
        presentation_lut: From the output of `voi` to P-values; None: as it is.
        inverted: Black and white change places at the end: MONOCHROME1, or Presentation LUT
            Shape INVERSE. Of MONOCHROME1 a presentation state says nothing less and nothing
            more than its own Presentation LUT Shape.
        padding: Stored values that are no part of the image; a default window leaves them out.
        palette: Colours of stored values (PALETTE COLOR); none of the above is then applied.
        supplemental: Colours of those stored values that it maps, among greys of the others.
        pseudo_color: Colours of P-values; its first entry is black's, its last one white's.
        overlays: Drawn upon the image, in their order.
        shutters: What is hidden around the image, over the overlays; None: nothing.
        pixel_aspect: Height of a pixel divided by its width.
        icc_profile: Of the colours; None: nothing is known of them.
    """

    modality: Rescale | LookupTable = IDENTITY
    voi: Window | LookupTable | None = None
    presentation_lut: LookupTable | None = None
    inverted: bool = False
    padding: Padding | None = None
    palette: Palette | None = None
    supplemental: Palette | None = None
    pseudo_color: Palette | None = None
    overlays: tuple[Overlay, ...] = ()
    shutters: Shutters | None = None
    pixel_aspect: float = 1.0
    icc_profile: bytes | None = None


# XA and XRF; their Modality LUT goes back to the X-ray intensity and is not for showing where
# Pixel Intensity Relationship is one of these (PS3.3 section C.8.7.1.1.2).
_FLUOROSCOPIC: Final = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")
_NOT_LINEAR: Final = ("LOG", "DISP")
# Float and Double Float Pixel Data
_FLOAT_PIXEL_DATA: Final = ("7FE00008", "7FE00009")
# Heights and widths of a pixel, in the order in which they are believed
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def appearance_of(stored: StoredObject, index: int) -> Appearance:
    """How an object says that one of its frames is to be shown, without a presentation state.

    Of its overlays graphics are shown and regions of interest are not.

    Args:
        stored: An object with pixel data.
        index: Of the frame, from 0.

    Raises:
        UndecodablePixelData: what the frame cannot be shown without is missing or broken.
    """
    attributes = stored.attributes
    seen = Appearance(
        overlays=tuple(
            plane for plane in overlays.read_overlays(stored, index) if not plane.is_roi
        ),
        shutters=_shutters(stored, index),
        pixel_aspect=pixel_aspect(attributes, index),
        icc_profile=_icc_profile(stored, index),
    )
    if stored.description.samples_per_pixel > 1:
        return seen
    photometric = stored.photometric_interpretation
    if photometric == "PALETTE COLOR":
        palette = palettes.read_palette(stored, attributes)
        if palette is not None:
            return replace(seen, palette=palette)
    modality = _modality(stored, index)
    return replace(
        seen,
        modality=modality,
        voi=_voi(stored, index, modality),
        inverted=_is_inverted(attributes, photometric),
        padding=_padding(attributes),
        supplemental=_supplemental(stored),
    )


def _modality(stored: StoredObject, index: int) -> Rescale | LookupTable:
    attributes = stored.attributes
    group = elements.functional_group(attributes, index, "PixelValueTransformationSequence")
    found = grayscale.read_modality(stored, group)
    if found is not None:
        return found
    relationship = elements.text(attributes, "PixelIntensityRelationship")
    if stored.sop_class_uid in _FLUOROSCOPIC and relationship in _NOT_LINEAR:
        return IDENTITY
    return grayscale.read_modality(stored, attributes) or IDENTITY


def _voi(
    stored: StoredObject, index: int, modality: Rescale | LookupTable
) -> Window | LookupTable | None:
    attributes = stored.attributes
    group = elements.functional_group(attributes, index, "FrameVOILUTSequence")
    for candidate in (group, attributes):
        found = grayscale.read_voi(stored, candidate, modality=modality)
        if isinstance(found, Window) and _has_floats(stored):
            # LINEAR counts whole numbers; writers that name no function mean all between them
            return _exact(found)
        if found is not None:
            return found
    # Eight bits are what was made for showing.
    if stored.description.bits_stored <= 8:
        return grayscale.full_range(stored.description, modality)
    return None


def _exact(window: Window) -> Window:
    if window.function is not WindowFunction.LINEAR:
        return window
    return replace(window, function=WindowFunction.LINEAR_EXACT)


def _has_floats(stored: StoredObject) -> bool:
    return stored.frames is not None and stored.frames.tag in _FLOAT_PIXEL_DATA


def _is_inverted(attributes: Attributes, photometric: str) -> bool:
    shape = elements.text(attributes, "PresentationLUTShape")
    return shape == "INVERSE" if shape else photometric == "MONOCHROME1"


def _padding(attributes: Attributes) -> Padding | None:
    keywords = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    found = [number for keyword in keywords for number in elements.numbers(attributes, keyword)[:1]]
    found += [
        number
        for keyword in ("FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue")
        for number in elements.numbers(attributes, keyword)[:1]
    ]
    if not found:
        return None
    if elements.integer(attributes, "PixelRepresentation") == 1:
        found = [number - 0x10000 if number > 0x7FFF else number for number in found]
    return Padding(min(found), max(found))


def _supplemental(stored: StoredObject) -> Palette | None:
    if elements.text(stored.attributes, "PixelPresentation") not in ("COLOR", "MIXED"):
        return None
    return palettes.read_palette(stored, stored.attributes)


def _shutters(stored: StoredObject, index: int) -> Shutters | None:
    group = elements.functional_group(stored.attributes, index, "FrameDisplayShutterSequence")
    found = shutters.read_shutters(stored, group, index)
    return found or shutters.read_shutters(stored, stored.attributes, index)


def pixel_aspect(attributes: Attributes, index: int) -> float:
    """Height of a pixel divided by its width, by spacing or Pixel Aspect Ratio; 1.0: unknown."""
    group = elements.functional_group(attributes, index, "PixelMeasuresSequence")
    pairs = [elements.numbers(group, "PixelSpacing")]
    pairs += [elements.numbers(attributes, keyword) for keyword in _SPACINGS]
    pairs.append(elements.numbers(attributes, "PixelAspectRatio"))
    for pair in pairs:
        if len(pair) == 2 and min(pair) > 0:
            aspect = pair[0] / pair[1]
            return aspect if 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT else 1.0
    return 1.0


def _icc_profile(stored: StoredObject, index: int) -> bytes | None:
    """That of Color Space or ICC Profile of the object, or of the optical path of the frame."""
    attributes = stored.attributes
    group = elements.functional_group(attributes, index, "OpticalPathIdentificationSequence")
    path = elements.text(group, "OpticalPathIdentifier")
    paths = elements.items(attributes, "OpticalPathSequence")
    named = [item for item in paths if elements.text(item, "OpticalPathIdentifier") == path]
    for holder in (attributes, *(named or paths)[:1]):
        space = color.space_named(elements.text(holder, "ColorSpace"))
        if space is not None:
            return color.profile(space)
        content = stored.content(elements.element(holder, "ICCProfile"))
        if content:
            return content
    return None
