"""Softcopy presentation states: their images as they say that they are to be seen (PS3.4 Annex N).

Grayscale, colour and pseudo-colour ones. What a grayscale presentation state does not speak of
is not taken from the image: without a Modality LUT it has none, without a VOI LUT all values
are shown (PS3.4 section N.2.1).
"""

from dataclasses import replace
from typing import Final

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import frame_rendering, graphics, grayscale, overlays, viewport
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.appearance import Appearance, appearance_of, pixel_aspect
from bfr_dicomweb.rendering.color import with_profile
from bfr_dicomweb.rendering.elements import (
    Attributes,
    element,
    items,
    text,
)
from bfr_dicomweb.rendering.graphics import Drawing
from bfr_dicomweb.rendering.grayscale import LookupTable, Rescale
from bfr_dicomweb.rendering.masks import Mask, read_mask
from bfr_dicomweb.rendering.overlays import Overlay
from bfr_dicomweb.rendering.palettes import read_palette
from bfr_dicomweb.rendering.parameters import Rendering, Viewport, Window
from bfr_dicomweb.rendering.picture import Picture, Pixels
from bfr_dicomweb.rendering.presentation_annotations import (
    Annotator,
    Layer,
    layers,
    names_of_layers,
)
from bfr_dicomweb.rendering.presentation_geometry import (
    Box,
    Placement,
    displayed_area,
    laid_out,
    place,
    placement,
)
from bfr_dicomweb.rendering.references import (
    WHOLE_SLIDE,
    Images,
    Reference,
    Target,
    applies_to,
    find,
    ordered,
    series_references,
)
from bfr_dicomweb.rendering.shutters import read_shutters
from bfr_dicomweb.rendering.slides import USUAL_SIDE, composed, matrix_of, tile_origin
from bfr_dicomweb.rendering.viewport import Part

GRAYSCALE: Final = "1.2.840.10008.5.1.4.1.1.11.1"
COLOR: Final = "1.2.840.10008.5.1.4.1.1.11.2"
PSEUDO_COLOR: Final = "1.2.840.10008.5.1.4.1.1.11.3"
XA_XRF_GRAYSCALE: Final = "1.2.840.10008.5.1.4.1.1.11.5"
VARIABLE_MODALITY_LUT: Final = "1.2.840.10008.5.1.4.1.1.11.12"


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """The images and frames of the Presentation State Relationship module."""
    return tuple(series_references(stored.attributes, "ReferencedImageSequence"))


class PresentationState:
    """A softcopy presentation state with its images; see `references.Showing`."""

    def __init__(
        self,
        stored: StoredObject,
        images: Images,
        *,
        references: tuple[Reference, ...] | None = None,
    ) -> None:
        """
        Args:
            references: What it is applied to; None: what its relationship module names.
        """
        self._stored = stored
        self._state = stored.attributes
        self._images = images
        named = references_of(stored) if references is None else references
        found, self.left_out = find(named, images)
        self.targets = ordered(found, images)

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        uid, number = target.sop_instance_uid, target.frame_number
        image, asked = self._images[uid], None if rendering.region else rendering.viewport
        if number == WHOLE_SLIDE:
            shown, placed, window = *self._placed_slide(image, target, asked), None
            origin = 0, 0
        else:
            shown, placed, window = self._placed_frame(image, target, asked)
            origin = tile_origin(image, number - 1)
        drawing = Drawing(shown)
        annotator = Annotator(self._stored, drawing, placed, origin)
        for layer in self._layers().values():
            annotator.draw(layer, uid, number)
        picture = drawing.picture
        if rendering.region:
            picture = viewport.place(picture, rendering)
        finished = with_profile(picture, rendering.icc_profile)
        index = max(0, number - 1)
        return annotate(finished, image, index, rendering.annotations, window=window)

    def _placed_frame(
        self, image: StoredObject, target: Target, asked: Viewport | None
    ) -> tuple[Picture, Placement, Window | None]:
        number = target.frame_number
        whole, window = self.whole(image, target)
        whole = replace(whole, pixels=overlays.drawn(whole.pixels, self._overlays(image, number)))
        aspect = pixel_aspect(image.attributes, number - 1)
        placed = self._placement(target, (whole.columns, whole.rows), aspect, asked)
        return place(whole, placed), placed, window

    def _placed_slide(
        self, image: StoredObject, target: Target, asked: Viewport | None
    ) -> tuple[Picture, Placement]:
        """All of a slide, without LUTs, shutters and overlays, which are those of frames."""
        matrix = matrix_of(image)
        size = matrix.columns, matrix.rows
        usual = Viewport(USUAL_SIDE, USUAL_SIDE) if max(size) > USUAL_SIDE else None
        placed = self._placement(target, size, 1.0, asked or usual)
        profiles: list[bytes | None] = []

        def cut(box: Box, wanted: tuple[int, int]) -> Pixels:
            shown = composed([image], matrix, Part(*box), wanted, Rendering())
            profiles.append(shown.icc_profile)
            return shown.pixels

        pixels = laid_out(cut, placed, columns=matrix.columns, rows=matrix.rows)
        return Picture(pixels, profiles[0] if profiles else None), placed

    def _placement(
        self, target: Target, size: tuple[int, int], aspect: float, asked: Viewport | None
    ) -> Placement:
        area = displayed_area(
            self._state,
            target.sop_instance_uid,
            target.frame_number,
            columns=size[0],
            rows=size[1],
            aspect=aspect,
        )
        return placement(area, asked)

    def whole(self, image: StoredObject, target: Target) -> tuple[Picture, Window | None]:
        """A frame in its own size, with its shutters, and the window that it is shown with."""
        appearance = self.appearance(image, target)
        samples = image.samples(target.frame_number - 1)
        mask = self._mask(target)
        if mask is not None and samples.ndim == 2:
            samples = mask.subtracted_from(samples, image)
        window = frame_rendering.chosen_window(samples, appearance)
        return frame_rendering.of_samples(image, samples, appearance, window), window

    def appearance(self, image: StoredObject, target: Target) -> Appearance:
        """How a frame is to be seen, without what is drawn over it."""
        number = target.frame_number
        seen = replace(
            appearance_of(image, number - 1),
            overlays=(),
            shutters=read_shutters(self._stored, self._state, 0),
        )
        profile = self._stored.content(element(self._state, "ICCProfile"))
        if profile:
            seen = replace(seen, icc_profile=profile)
        if self._stored.sop_class_uid == COLOR or image.description.samples_per_pixel > 1:
            return seen
        is_pseudo = self._stored.sop_class_uid == PSEUDO_COLOR
        return replace(
            self.grays(image, target, self._state, seen),
            presentation_lut=grayscale.read_presentation_lut(self._stored, self._state),
            inverted=text(self._state, "PresentationLUTShape") == "INVERSE",
            pseudo_color=read_palette(self._stored, self._state) if is_pseudo else None,
        )

    def grays(
        self, image: StoredObject, target: Target, said: Attributes, seen: Appearance
    ) -> Appearance:
        """With the Modality and Softcopy VOI LUT that a data set or item has for a frame."""
        modality = self._modality(said, target)
        voi = next(
            (
                grayscale.read_voi(self._stored, item, modality=modality)
                for item in items(said, "SoftcopyVOILUTSequence")
                if applies_to(item, target.sop_instance_uid, target.frame_number)
            ),
            None,
        )
        if voi is None and self._mask(target) is None and image.description.bits_allocated <= 16:
            voi = grayscale.full_range(image.description, modality)
        return replace(
            seen, modality=modality, voi=voi, inverted=False, palette=None, supplemental=None
        )

    def _modality(self, said: Attributes, target: Target) -> Rescale | LookupTable:
        for item in items(said, "VariableModalityLUTSequence"):
            if applies_to(item, target.sop_instance_uid, target.frame_number):
                found = grayscale.read_modality(self._stored, item)
                if found is not None:
                    return found
        found = grayscale.read_modality(self._stored, said)
        return Rescale() if found is None else found

    def _mask(self, target: Target) -> Mask | None:
        if text(self._state, "RecommendedViewingMode") != "SUB":
            return None
        for item in items(self._state, "MaskSubtractionSequence"):
            if applies_to(item, target.sop_instance_uid, target.frame_number):
                mask = read_mask(item, target.frame_number)
                if mask is not None:
                    return mask
        return None

    def _layers(self) -> dict[str, Layer]:
        found = layers(self._state)
        for name in names_of_layers(self._state):
            if name not in found:
                found[name] = Layer(name, len(found), graphics.WHITE)
        return found

    def _overlays(self, image: StoredObject, number: int) -> tuple[Overlay, ...]:
        """Those that are activated, of the presentation state or else of the image."""
        described = self._layers()
        order = {name: place for place, name in enumerate(described)}
        found = []
        for group in overlays.GROUPS:
            name = _activation_layer(self._state, group)
            if not name:
                continue
            plane = overlays.read_overlay(self._stored, group, 0)
            if plane is None:
                plane = overlays.read_overlay(image, group, number - 1)
            if plane is not None:
                color = described[name].color if name in described else graphics.WHITE
                found.append((order.get(name, 0), replace(plane, color=color)))
        return tuple(plane for _order, plane in sorted(found, key=lambda pair: pair[0]))


def _activation_layer(state: Attributes, group: int) -> str:
    # a repeating group, which keywords do not name
    values = state.get(f"{group:04X}1001", {}).get("Value") or [""]
    return str(values[0]).strip()
