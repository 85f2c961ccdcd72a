"""One frame, from stored samples to a picture as a client asked for it (PS3.4 section N.2)."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering import color, grayscale, overlays, shutters, viewport
from bfr_dicomweb.rendering.annotation import annotate
from bfr_dicomweb.rendering.appearance import Appearance, appearance_of
from bfr_dicomweb.rendering.grayscale import LookupTable
from bfr_dicomweb.rendering.parameters import IccProfile, Rendering, Window
from bfr_dicomweb.rendering.picture import Picture, Pixels

Samples = npt.NDArray[Any]


def render_frame(
    stored: StoredObject, index: int, rendering: Rendering, appearance: Appearance | None = None
) -> Picture:
    """One frame, shown, cut, scaled and annotated as `rendering` asks for it.

    Args:
        stored: An object with pixel data.
        index: Of the frame, from 0.
        rendering: What is asked for.
        appearance: That of a presentation state; None: what the object itself says.

    Raises:
        NotFound: there is no such frame.
        UndecodablePixelData: it cannot be decoded.
        InvalidQuery: the viewport cannot be filled.
    """
    seen = appearance_of(stored, index) if appearance is None else appearance
    samples = stored.samples(index)
    window = rendering.window or chosen_window(samples, seen)
    picture = of_samples(stored, samples, seen, window)
    if rendering.icc_profile is not IccProfile.NO and picture.icc_profile is None:
        picture = Picture(picture.pixels, _profile_in_frame(stored, index))
    placed = viewport.place(picture, rendering, pixel_aspect=seen.pixel_aspect)
    finished = color.with_profile(placed, rendering.icc_profile)
    return annotate(finished, stored, index, rendering.annotations, window=window)


def show(
    stored: StoredObject, index: int, appearance: Appearance, window: Window | None = None
) -> Picture:
    """One frame in its own size; its pixels are as square as the stored ones.

    Args:
        stored: An object with pixel data.
        index: Of the frame, from 0.
        appearance: How it is shown.
        window: Instead of what `appearance` says.

    Raises:
        NotFound: there is no such frame.
        UndecodablePixelData: it cannot be decoded.
    """
    samples = stored.samples(index)
    return of_samples(stored, samples, appearance, window or chosen_window(samples, appearance))


def steady_window(
    stored: StoredObject, appearance: Appearance, *, frames: int = 5
) -> Window | None:
    """One default window for all frames, so that a series of them does not flicker.

    Args:
        stored: An object with pixel data.
        appearance: Of its first frame.
        frames: How many are looked at, spread evenly.

    Returns:
        None: the frames need none, or each says which.

    Raises:
        UndecodablePixelData: a frame cannot be decoded.
    """
    count = stored.number_of_frames
    places = sorted({int(place) for place in np.linspace(0, count - 1, min(frames, count))})
    windows = [chosen_window(stored.samples(place), appearance) for place in places]
    ends = [grayscale.ends(window) for window in windows if window is not None]
    if not ends or appearance.voi is not None:
        return None
    return grayscale.between(min(low for low, _high in ends), max(high for _low, high in ends))


def chosen_window(samples: Samples, appearance: Appearance) -> Window | None:
    """The window that a frame is shown with; None: it is shown with a LUT, or in its colours."""
    if samples.ndim == 3 or appearance.palette is not None:
        return None
    if isinstance(appearance.voi, LookupTable):
        return None
    if appearance.voi is not None:
        return appearance.voi
    return grayscale.default_window(samples, appearance.modality, appearance.padding)


def of_samples(
    stored: StoredObject, samples: Samples, appearance: Appearance, window: Window | None
) -> Picture:
    """What `samples` of an object look like; `window` as of `chosen_window`, or asked for."""
    pixels = _pixels(stored, samples, appearance, window)
    pixels = overlays.drawn(pixels, appearance.overlays)
    if appearance.shutters is not None:
        pixels = shutters.closed(pixels, appearance.shutters)
    return Picture(pixels, appearance.icc_profile)


def _pixels(
    stored: StoredObject, samples: Samples, appearance: Appearance, window: Window | None
) -> Pixels:
    if samples.ndim == 3:
        return color.rgb(
            samples,
            stored.photometric_interpretation,
            bits_stored=stored.description.bits_stored,
        )
    if appearance.palette is not None:
        return appearance.palette.of(samples)
    voi = window or appearance.voi
    if voi is None:
        voi = grayscale.default_window(samples, appearance.modality, appearance.padding)
    grays = grayscale.grays(
        samples,
        appearance.modality,
        voi,
        presentation_lut=appearance.presentation_lut,
        inverted=appearance.inverted,
    )
    if appearance.pseudo_color is not None:
        return appearance.pseudo_color.spread(grays)
    if appearance.supplemental is None:
        return grays
    mapped = samples >= appearance.supplemental.first
    colored = np.repeat(grays[:, :, np.newaxis], 3, axis=2)
    colored[mapped] = appearance.supplemental.of(samples[mapped])
    return colored


def _profile_in_frame(stored: StoredObject, index: int) -> bytes | None:
    """The ICC profile inside a JPEG frame; None: there is none."""
    if stored.description.samples_per_pixel != 3:
        return None
    frame = stored.stored_frame(index)
    if not frame.startswith(b"\xff\xd8\xff"):
        return None
    try:
        with Image.open(BytesIO(frame)) as image:
            found = image.info.get("icc_profile")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return found if isinstance(found, bytes) else None
