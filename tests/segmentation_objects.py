"""Segmentations made with highdicom, of slices made with pydicom."""

from collections.abc import Sequence
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
from highdicom.content import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from objects import uid
from presentation_objects import a_slice

SIDE = 16


def slices(count: int = 3, **attributes: Any) -> list[Dataset]:
    """Neighbouring slices of 16 x 16 pixels, all black, 1 mm apart, of one series."""
    same = {
        "SeriesInstanceUID": uid(),
        "StudyInstanceUID": uid(),
        "WindowCenter": 2000,
        "WindowWidth": 1000,
    }
    return [
        a_slice(
            np.zeros((SIDE, SIDE), np.uint16),
            position=(0, 0, z),
            InstanceNumber=z + 1,
            **{**same, **attributes},
        )
        for z in range(count)
    ]


def described(number: int, label: str = "", color: Sequence[int] = ()) -> SegmentDescription:
    found = SegmentDescription(
        segment_number=number,
        segment_label=label or f"segment {number}",
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Bone,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name="test", family=codes.DCM.ArtificialIntelligence, version="1"
        ),
    )
    if color:
        found.RecommendedDisplayCIELabValue = list(color)
    return found


def a_segmentation(
    sources: Sequence[Dataset],
    masks: npt.NDArray[Any],
    *,
    kind: str = "BINARY",
    segments: Sequence[SegmentDescription] | None = None,
    **other: Any,
) -> Segmentation:
    """
    Args:
        sources: Slices, or one whole slide image.
        masks: Shape (slices, rows, columns), or (slices, rows, columns, segments).
    """
    count = masks.shape[3] if masks.ndim == 4 else int(masks.max()) if kind == "LABELMAP" else 1
    return Segmentation(
        source_images=list(sources),
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=segments or [described(number + 1) for number in range(count)],
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **other,
    )
