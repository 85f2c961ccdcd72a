import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from bfr_dicomweb.rendering import overlays
from bfr_dicomweb.rendering.appearance import appearance_of
from bfr_dicomweb.rendering.frame_rendering import show
from bfr_dicomweb.rendering.overlays import Overlay
from objects import written
from shared_data import NO_DCMTK
from stored_images import an_image, stored

Bits = npt.NDArray[np.bool_]
BLACK = np.zeros((12, 20), "<u2")


def a_plane(*pixels: tuple[int, int], rows: int = 12, columns: int = 20) -> Bits:
    bits = np.zeros((rows, columns), np.bool_)
    for row, column in pixels:
        bits[row, column] = True
    return bits


def add_overlay(
    dataset: Dataset,
    *planes: Bits,
    group: int = 0x6000,
    origin: tuple[int, int] = (1, 1),
    overlay_type: str = "G",
    **more: Any,
) -> None:
    dataset.add_new((group, 0x0010), "US", planes[0].shape[0])
    dataset.add_new((group, 0x0011), "US", planes[0].shape[1])
    dataset.add_new((group, 0x0040), "CS", overlay_type)
    dataset.add_new((group, 0x0050), "SS", list(origin))
    dataset.add_new((group, 0x0100), "US", 1)
    dataset.add_new((group, 0x0102), "US", 0)
    for element, value in more.items():
        number = {"frames": 0x0015, "first_frame": 0x0051}[element]
        dataset.add_new((group, number), "IS" if element == "frames" else "US", value)
    packed = np.packbits(np.stack(planes).ravel(), bitorder="little").tobytes()
    dataset.add_new((group, 0x3000), "OW", packed + bytes(len(packed) % 2))


def white_of(dataset: Dataset, index: int = 0) -> set[tuple[int, int]]:
    image = stored(dataset)
    pixels = show(image, index, appearance_of(image, index)).pixels
    return {(int(row), int(column)) for row, column in np.argwhere(pixels == 255)}


def test_graphics_of_an_image_are_white() -> None:
    dataset = an_image(BLACK)
    add_overlay(dataset, a_plane((0, 0), (5, 7), (11, 19)))

    assert white_of(dataset) == {(0, 0), (5, 7), (11, 19)}


def test_regions_of_interest_are_not_shown_by_themselves() -> None:
    dataset = an_image(BLACK)
    add_overlay(dataset, a_plane((1, 1)), overlay_type="R")

    assert white_of(dataset) == set()
    assert overlays.read_overlays(stored(dataset), 0)[0].is_roi


@pytest.mark.parametrize(
    ("origin", "seen"),
    [((3, 2), {(2, 1), (3, 2)}), ((0, 0), {(0, 0)}), ((12, 20), {(11, 19)}), ((99, 1), set())],
)
def test_an_overlay_lies_where_its_origin_says(
    origin: tuple[int, int], seen: set[tuple[int, int]]
) -> None:
    dataset = an_image(BLACK)
    add_overlay(dataset, a_plane((0, 0), (1, 1), rows=2, columns=3), origin=origin)

    assert white_of(dataset) == seen


def test_planes_whose_bits_do_not_fill_bytes_are_read() -> None:
    dataset = an_image(np.zeros((5, 7), "<u2"), NumberOfFrames=2)
    dataset.PixelData = dataset.PixelData * 2
    planes = [a_plane((0, 1), rows=5, columns=7), a_plane((4, 6), rows=5, columns=7)]
    add_overlay(dataset, *planes, frames=2, first_frame=1)

    assert white_of(dataset, 0) == {(0, 1)}
    assert white_of(dataset, 1) == {(4, 6)}


def a_cine_with(**more: Any) -> Dataset:
    dataset = an_image(BLACK, NumberOfFrames=4)
    dataset.PixelData = BLACK.tobytes() * 4
    planes = [a_plane((number, number)) for number in range(int(more.get("frames", 1)))]
    add_overlay(dataset, *planes, **more)
    return dataset


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({}, [{(0, 0)}] * 4),
        ({"frames": 2, "first_frame": 2}, [set(), {(0, 0)}, {(1, 1)}, set()]),
        ({"frames": 2}, [{(0, 0)}, {(1, 1)}, set(), set()]),
        ({"frames": 1}, [{(0, 0)}] * 4),
        ({"frames": 1, "first_frame": 3}, [set(), set(), {(0, 0)}, set()]),
    ],
)
def test_an_overlay_lies_over_the_frames_that_it_names(
    more: dict[str, Any], seen: list[set[tuple[int, int]]]
) -> None:
    dataset = a_cine_with(**more)

    assert [white_of(dataset, index) for index in range(4)] == seen


def with_bits_in_pixels(position: int) -> Dataset:
    samples = np.zeros((12, 20), "<u2")
    samples[5, 7] = 1 << position
    dataset = an_image(samples, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    add_overlay(dataset, a_plane())
    del dataset[0x6000, 0x3000]
    dataset[0x6000, 0x0100].value = 16
    dataset[0x6000, 0x0102].value = position
    return dataset


@pytest.mark.parametrize("position", [12, 15])
def test_an_overlay_may_lie_in_the_unused_bits_of_the_pixels(position: int) -> None:
    assert white_of(with_bits_in_pixels(position)) == {(5, 7)}


def test_bits_of_the_samples_are_no_overlay() -> None:
    assert overlays.read_overlays(stored(with_bits_in_pixels(11)), 0) == ()


def test_an_overlay_with_too_little_data_is_left_out() -> None:
    dataset = an_image(BLACK)
    add_overlay(dataset, a_plane((0, 0)))
    dataset[0x6000, 0x0010].value = 60000
    dataset[0x6000, 0x0011].value = 60000

    assert overlays.read_overlays(stored(dataset), 0) == ()


def test_a_coloured_overlay_gives_a_picture_of_greys_colours() -> None:
    grays = np.full((2, 2), 7, np.uint8)
    bits = np.array([[True, False], [False, False]])

    shown = overlays.drawn(grays, (Overlay(bits, color=(255, 0, 0)),))

    assert shown.tolist() == [[[255, 0, 0], [7, 7, 7]], [[7, 7, 7], [7, 7, 7]]]
    assert grays.tolist() == [[7, 7], [7, 7]]


@pytest.mark.skipif(which("dcm2pnm") is None, reason=NO_DCMTK)
@pytest.mark.parametrize("kind", ["beside", "in pixels"])
def test_overlays_are_shown_as_by_dcmtk(tmp_path: Path, kind: str) -> None:
    dataset = with_bits_in_pixels(13) if kind == "in pixels" else an_image(BLACK)
    if kind == "beside":
        add_overlay(dataset, a_plane((2, 3), (11, 19)), origin=(1, 1))
        add_overlay(dataset, a_plane((0, 0), rows=3, columns=3), group=0x6004, origin=(4, 9))
    (tmp_path / "image.dcm").write_bytes(written(dataset))

    files = [str(tmp_path / "image.dcm"), str(tmp_path / "image.pgm")]
    subprocess.run(["dcm2pnm", "+op", "+Ww", "2048", "4096", *files], check=True)

    shown = np.asarray(Image.open(tmp_path / "image.pgm"))
    assert white_of(dataset) == {(int(r), int(c)) for r, c in np.argwhere(shown == 255)}
