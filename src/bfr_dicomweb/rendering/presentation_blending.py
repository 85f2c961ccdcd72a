"""Blending presentation states: one image in colours upon another (PS3.4 section N.2.4)."""

from dataclasses import replace
from typing import Final

import numpy as np

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import frame_rendering
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.elements import Attributes, items, number, text
from bfr_dicomweb.rendering.palettes import Palette, read_palette
from bfr_dicomweb.rendering.parameters import Window
from bfr_dicomweb.rendering.parametric_maps import hot_iron
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.planes import Plane, PlaneIndex, planes_of
from bfr_dicomweb.rendering.presentation_states import PresentationState
from bfr_dicomweb.rendering.references import (
    Images,
    LeftOut,
    Reason,
    Reference,
    Target,
    find,
    ordered,
    series_references,
)
from bfr_dicomweb.rendering.source_frames import laid_over

BLENDING: Final = "1.2.840.10008.5.1.4.1.1.11.4"


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """The underlying images, and then the superimposed ones."""
    attributes = stored.attributes
    return _named(attributes, "UNDERLYING") + _named(attributes, "SUPERIMPOSED")


def _item(attributes: Attributes, position: str) -> Attributes:
    for item in items(attributes, "BlendingSequence"):
        if text(item, "BlendingPosition") == position:
            return item
    return {}


def _named(attributes: Attributes, position: str) -> tuple[Reference, ...]:
    return tuple(series_references(_item(attributes, position), "ReferencedImageSequence"))


class Blending(PresentationState):
    """A blending presentation state with its images: one picture for each underlying frame."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        attributes = stored.attributes
        super().__init__(stored, images, references=_named(attributes, "UNDERLYING"))
        self._below = _item(attributes, "UNDERLYING")
        self._above = _item(attributes, "SUPERIMPOSED")
        self._palette: Palette = read_palette(stored, attributes) or hot_iron()
        found, missing = find(_named(attributes, "SUPERIMPOSED"), images)
        self._superimposed = ordered(found, images)
        self._planes = {uid: planes_of(image) for uid, image in images.items()}
        self._slices = PlaneIndex((over, self._plane(over)) for over in self._superimposed)
        used = {self._over(target) for target in self.targets}
        self.left_out += missing + tuple(
            LeftOut(Reference(over.sop_instance_uid, (over.frame_number,)), Reason.ELSEWHERE)
            for over in self._superimposed
            if over not in used
        )

    def whole(self, image: StoredObject, target: Target) -> tuple[Picture, Window | None]:
        picture, window = self._shown(image, target, self._below)
        over = self._over(target)
        if over is None:
            return picture, window
        above, _window = self._shown(self._images[over.sop_instance_uid], over, self._above)
        layers = [above.pixels, np.full(above.pixels.shape[:2], 255, np.uint8)]
        planes = self._plane(over), self._plane(target)
        colors, covered = (
            laid_over(layer, *planes, rows=picture.rows, columns=picture.columns)
            for layer in layers
        )
        if colors is None or covered is None:
            return picture, window
        opacity = number(self._state, "RelativeOpacity")
        weight = covered[:, :, np.newaxis] * np.float32((1.0 if opacity is None else opacity) / 255)
        below = picture.pixels if picture.is_color else np.stack([picture.pixels] * 3, axis=2)
        mixed = below * (1 - weight) + self._palette.spread(colors) * weight
        return replace(picture, pixels=np.clip(mixed + 0.5, 0, 255).astype(np.uint8)), window

    def _shown(
        self, image: StoredObject, target: Target, said: Attributes
    ) -> tuple[Picture, Window | None]:
        index = target.frame_number - 1
        seen = replace(appearance_of(image, index), overlays=(), shutters=None)
        seen = self.grays(image, target, said, seen)
        samples = image.samples(index)
        window = frame_rendering.chosen_window(samples, seen)
        return frame_rendering.of_samples(image, samples, seen, window), window

    def _plane(self, target: Target) -> Plane | None:
        return self._planes[target.sop_instance_uid][target.frame_number - 1]

    def _over(self, target: Target) -> Target | None:
        """The superimposed frame of the same slice."""
        own = self._plane(target)
        if own is None:
            return self._by_place(target)
        return next(iter(self._slices.same_as(own)), None)

    def _by_place(self, target: Target) -> Target | None:
        """Without positions: the one of the same place in the order, if both are as many."""
        if len(self._superimposed) != len(self.targets):
            return None
        return self._superimposed[self.targets.index(target)]
