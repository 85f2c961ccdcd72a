"""How long frames are shown (PS3.3 section C.7.6.5), and films: FFmpeg reads what is written."""

import sys
from io import BytesIO

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.stored_objects import Attributes
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import cine
from bfr_dicomweb.rendering.picture import Picture


def ds(*values: float) -> dict[str, object]:
    return {"vr": "DS", "Value": list(values)}


VECTOR = ds(0, 10, 20, 30)
BY_VECTOR = {"00280009": {"vr": "AT", "Value": ["00181065"]}, "00181065": VECTOR}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [100, 100, 100, 100]),
        ({"00181063": ds(40)}, [40, 40, 40, 40]),
        (BY_VECTOR, [10, 20, 30, 30]),
        (BY_VECTOR | {"00181063": ds(40)}, [10, 20, 30, 30]),
        ({"00181065": VECTOR, "00181063": ds(40)}, [40, 40, 40, 40]),
        ({"00181065": VECTOR}, [10, 20, 30, 30]),
        ({"00181065": ds(0, 10)}, [100, 100, 100, 100]),
        ({"00180040": ds(20)}, [50, 50, 50, 50]),
        ({"00180040": ds(20), "00181063": ds(40)}, [40, 40, 40, 40]),
        ({"00082144": ds(10), "00181063": ds(40)}, [100, 100, 100, 100]),
        ({"00181063": ds(0)}, [100, 100, 100, 100]),
        ({"00181063": ds(-5)}, [100, 100, 100, 100]),
        ({"00181063": ds(1e9)}, [10_000, 10_000, 10_000, 10_000]),
    ],
    ids=str,
)
def test_frames_are_shown_as_long_as_the_object_says(
    attributes: Attributes, expected: list[float]
) -> None:
    assert cine.durations_ms(attributes, 4) == expected


numbers = st.lists(st.one_of(st.floats(), st.text(max_size=3), st.none(), st.integers()))


@given(
    attributes=st.dictionaries(
        st.sampled_from(["00181063", "00181065", "00180040", "00082144", "00280009"]),
        st.fixed_dictionaries({"vr": st.just("DS"), "Value": numbers}),
    ),
    count=st.integers(1, 6),
)
def test_every_frame_has_a_time_whatever_the_object_says(
    attributes: Attributes, count: int
) -> None:
    shown = cine.durations_ms(attributes, count)

    assert len(shown) == count
    assert all(cine.SHORTEST_MS <= time <= cine.LONGEST_MS for time in shown)


@pytest.mark.parametrize("shape", [(48, 64), (47, 63), (47, 63, 3), (1, 1), (2, 5, 3)], ids=str)
def test_a_film_has_the_pictures_it_was_made_of(shape: tuple[int, ...]) -> None:
    shades = (30, 120, 220)
    pictures = (Picture(np.full(shape, shade, np.uint8)) for shade in shades)

    content = cine.encode_mp4(pictures, [50.0, 50.0, 50.0])

    with av.open(BytesIO(content), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    sides = tuple(side + side % 2 for side in shape[:2])
    assert {frame.shape[:2] for frame in frames} == {sides}
    assert [frame.mean() for frame in frames] == pytest.approx(shades, abs=4)


def test_colors_stay_what_they_are() -> None:
    color = np.array([200, 60, 90], np.uint8)
    picture = Picture(np.broadcast_to(color, (32, 32, 3)))

    content = cine.encode_mp4([picture] * 3, [50.0] * 3)

    with av.open(BytesIO(content), "r") as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frame[16, 16].astype(int) - color).max() <= 4


def test_the_same_pictures_are_the_same_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (10, 64, 64), dtype=np.uint8)

    films = {cine.encode_mp4((Picture(one) for one in noise), [40.0] * 10) for _ in range(4)}

    assert len(films) == 1


def test_the_table_stands_in_front_so_that_a_player_can_begin() -> None:
    content = cine.encode_mp4([Picture(np.zeros((16, 16), np.uint8))] * 300, [40.0] * 300)

    assert 0 < content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("media_type", "frames", "columns", "rows"),
    [
        ("video/mp4", 30_000, 16, 16),
        ("video/mp4", 10_000, 512, 512),
        ("video/mp4", 2, 8000, 16),
        ("image/gif", 5000, 512, 512),
    ],
)
def test_what_would_be_too_much_is_refused(
    media_type: str, frames: int, columns: int, rows: int
) -> None:
    with pytest.raises(NotAcceptable, match="viewport"):
        cine.require_size(media_type, frames, columns, rows)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    cine.is_installed.cache_clear()
    try:
        with pytest.raises(NotAcceptable, match="the extra `video`"):
            cine.encode_mp4([], [])
    finally:
        cine.is_installed.cache_clear()
