"""A volume with its voxels (PS3.3 section C.11.23.1)."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable, TooLarge, UndecodablePixelData
from bfr_dicomweb.rendering import elements
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.grayscale import (
    LookupTable,
    Rescale,
    default_window,
    modality_values,
)
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from bfr_dicomweb.rendering.planes import FunctionalGroups
from bfr_dicomweb.rendering.volume_geometry import MAX_VOLUME_BYTES, VolumeGeometry

Voxels = npt.NDArray[Any]
Modality = Rescale | LookupTable

# Volumes are surveyed in about this many voxels.
SURVEYED_VOXELS: Final = 1 << 20
UNCHANGED: Final = Rescale()


@lru_cache(1)
def is_installed() -> bool:
    """Whether there is what volumes are sampled with (the extra `volume`)."""
    return find_spec("scipy") is not None


def require_scipy() -> None:
    """
    Raises:
        NotAcceptable: the extra that brings it is not installed.
    """
    try:
        import scipy.ndimage  # noqa: F401
    except ImportError:
        raise NotAcceptable(
            "volumes are shown where scipy is: pip install 'bfr-dicomweb[volume]'"
        ) from None


class HasBytes(Protocol):
    @property
    def nbytes(self) -> int: ...


class Volume:
    """Voxels of shape (slices, rows, columns).

    Attributes:
        voxels: As stored where one rescale holds for all slices, else what the rescale of each
            gives.
        rescale: From `voxels` to the values that a window is given in.
        own_window: Of the images; None: they have none.
        inverted: Whether low values are shown bright (Presentation LUT Shape).
        prepared: What was made of the voxels and is needed again.
    """

    def __init__(
        self,
        geometry: VolumeGeometry,
        voxels: Voxels,
        *,
        rescale: Rescale = UNCHANGED,
        window: Window | None = None,
        inverted: bool = False,
        modality: str = "",
    ) -> None:
        self.geometry = geometry
        self.voxels = voxels
        self.rescale = rescale
        self.own_window = window
        self.inverted = inverted
        self.modality = modality
        self.prepared: dict[str, HasBytes] = {}

    @classmethod
    def read(cls, geometry: VolumeGeometry, objects: Sequence[StoredObject]) -> "Volume":
        """Decode the slices.

        Args:
            objects: Those whose attributes the geometry was found from, in the same order.

        Raises:
            NotFound, UndecodablePixelData: a frame cannot be had.
            TooLarge: the voxels would need more than `MAX_VOLUME_BYTES`.
        """
        middle = geometry.slices[len(geometry.slices) // 2]
        stored = objects[middle.instance]
        shown = appearance_of(stored, middle.frame_index)
        modalities = _modalities(geometry, objects)
        rescale = _common(modalities)
        voxels = _decoded(geometry, objects, None if rescale else modalities)
        return cls(
            geometry,
            voxels,
            rescale=rescale or UNCHANGED,
            window=covering(shown.voi),
            inverted=shown.inverted,
            modality=elements.text(stored.attributes, "Modality"),
        )

    @property
    def size_bytes(self) -> int:
        prepared = sum(value.nbytes for value in self.prepared.values())
        return int(self.voxels.nbytes + prepared)

    @cached_property
    def surveyed(self) -> npt.NDArray[np.float64]:
        """Values, after the rescale, of some voxels from all over the volume."""
        step = max(1, round((self.voxels.size / SURVEYED_VOXELS) ** (1 / 3)))
        some = self.voxels[::step, ::step, ::step].ravel()
        values = np.asarray(modality_values(some, self.rescale), np.float64)
        return values[np.isfinite(values)]

    @cached_property
    def window(self) -> Window:
        """Of the images, or one that fits their values."""
        if self.own_window is not None:
            return self.own_window
        return default_window(self.surveyed[np.newaxis], UNCHANGED)


def _modalities(geometry: VolumeGeometry, objects: Sequence[StoredObject]) -> list[Modality]:
    """Of each slice; read once for all frames of an object that say the same of it."""
    groups: dict[int, FunctionalGroups] = {}
    known: dict[tuple[int, str], Modality] = {}
    found = []
    for part in geometry.slices:
        stored = objects[part.instance]
        if part.instance not in groups:
            groups[part.instance] = FunctionalGroups(stored.attributes)
        said = groups[part.instance].group(part.frame_index, "PixelValueTransformationSequence")
        key = part.instance, repr(said)
        if key not in known:
            known[key] = appearance_of(stored, part.frame_index).modality
        found.append(known[key])
    return found


def _common(modalities: Sequence[Modality]) -> Rescale | None:
    """The rescale of all; None: they do not have the same one."""
    first = modalities[0]
    if isinstance(first, Rescale) and all(modality == first for modality in modalities):
        return first
    return None


def covering(voi: Window | LookupTable | None) -> Window | None:
    """The window, or what a LUT covers: planes through a volume are shown with windows."""
    if isinstance(voi, LookupTable):
        width = float(len(voi.values))
        return Window(voi.first + width / 2, width, WindowFunction.LINEAR_EXACT)
    return voi


def _decoded(
    geometry: VolumeGeometry,
    objects: Sequence[StoredObject],
    modalities: Sequence[Modality] | None,
) -> Voxels:
    first = geometry.slices[0]
    stored_type = objects[first.instance].samples(first.frame_index).dtype
    exact = modalities is None and stored_type.kind in "iu" and stored_type.itemsize <= 2
    kept = stored_type.newbyteorder("=") if exact else np.dtype(np.float32)
    shape = (len(geometry.slices), geometry.rows, geometry.columns)
    if int(np.prod(shape, dtype=np.int64)) * kept.itemsize > MAX_VOLUME_BYTES:
        raise TooLarge(f"a volume is shown if it has at most {MAX_VOLUME_BYTES >> 20} MiB")
    voxels = np.empty(shape, kept)
    for place, part in enumerate(geometry.slices):
        samples = objects[part.instance].samples(part.frame_index)
        if samples.shape != shape[1:]:
            raise UndecodablePixelData("the images of the volume are not of the size they declare")
        voxels[place] = modality_values(samples, modalities[place]) if modalities else samples
    return voxels
