"""Blending presentation states."""

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.references import Reason
from bfr_dicomweb.rendering.referring import Result, references_of, render_references
from presentation_objects import a_slice, a_state, a_window, series_of
from stored_images import an_item, stored

BLENDING = "1.2.840.10008.5.1.4.1.1.11.4"


def a_part(position: str, *images: Dataset) -> Dataset:
    return an_item(
        BlendingPosition=position,
        StudyInstanceUID="2.25.1",
        ReferencedSeriesSequence=series_of(*images),
        SoftcopyVOILUTSequence=[a_window(128, 256)],
    )


def a_blending(below: list[Dataset], above: list[Dataset], **attributes: Any) -> Dataset:
    """Black to green, half transparent."""
    state = a_state(
        SOPClassUID=BLENDING,
        BlendingSequence=[a_part("SUPERIMPOSED", *above), a_part("UNDERLYING", *below)],
        RelativeOpacity=0.5,
        **attributes,
    )
    del state.ReferencedSeriesSequence
    ramps = {"Red": np.zeros(256), "Green": np.arange(256), "Blue": np.zeros(256)}
    for color, ramp in ramps.items():
        setattr(state, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
        state.add_new(f"{color}PaletteColorLookupTableData", "OW", ramp.astype(np.uint8).tobytes())
    return state


def shown(state: Dataset, *images: Dataset) -> Result:
    archive = {image.SOPInstanceUID: stored(image) for image in images}
    return render_references(stored(state), archive, Rendering())


def a_flat_slice(value: int, side: int = 16, **plane: Any) -> Dataset:
    return a_slice(np.full((side, side), value, np.uint8), **plane)


def test_the_superimposed_image_lies_in_its_colours_over_the_underlying_one() -> None:
    below, above = a_flat_slice(100), a_flat_slice(200)

    found = shown(a_blending([below], [above]), below, above)

    assert [each.target.sop_instance_uid for each in found.shown] == [below.SOPInstanceUID]
    assert found.shown[0].picture.pixels[8, 8].tolist() == [50, 150, 50]


def test_it_lies_where_its_plane_is() -> None:
    below = a_flat_slice(100)
    above = a_flat_slice(200, side=8, position=(4.25, 4.25, 0), spacing=(0.5, 0.5))

    pixels = shown(a_blending([below], [above]), below, above).shown[0].picture.pixels

    changed = np.argwhere(pixels[:, :, 1] != 100)
    # 8 pixels of half a millimetre from 4.0 to 8.0 mm: their centers are those of pixels 4.5 on
    assert abs(changed.min() - 4.5) == 0.5
    assert len(np.unique(changed[:, 0])) == 4


def test_slices_are_blended_with_those_at_their_place() -> None:
    below = [a_flat_slice(100, position=(0, 0, z)) for z in (0, 1)]
    above = [a_flat_slice(value, position=(0, 0, z)) for value, z in ((240, 1), (20, 0))]

    found = shown(a_blending(below, above), *below, *above)

    assert [each.picture.pixels[8, 8, 1] for each in found.shown] == [60, 170]


def test_what_lies_elsewhere_is_told() -> None:
    below, above = a_flat_slice(100), a_flat_slice(200, position=(0, 0, 50))

    found = shown(a_blending([below], [above]), below, above)

    assert [each.reason for each in found.left_out] == [Reason.ELSEWHERE]
    assert not np.ptp(found.shown[0].picture.pixels)


def test_both_inputs_are_referenced() -> None:
    below, above = a_flat_slice(100), a_flat_slice(200)

    found = references_of(stored(a_blending([below], [above])))

    assert [each.sop_instance_uid for each in found] == [
        below.SOPInstanceUID,
        above.SOPInstanceUID,
    ]
