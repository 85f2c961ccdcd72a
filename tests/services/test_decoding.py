"""Frames converted in processes of their own, once for all who ask, and kept for a time."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing import active_children

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.transcoding import Conversion
from bfr_dicomweb.dicom.transfer_syntaxes import lookup
from bfr_dicomweb.errors import UndecodablePixelData
from bfr_dicomweb.services.decoding import PROCESSES, Decoder

IMAGE = PixelDescription(lookup(ExplicitVRLittleEndian), rows=16, columns=16, bits_stored=12)
TO_JPEG_LS = Conversion(IMAGE, JPEGLSLossless)
TO_NATIVE = Conversion(IMAGE)


def a_frame(number: int = 0) -> bytes:
    return np.full((16, 16), number, "<u2").tobytes()


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    decoder = Decoder(max_frame_bytes=1 << 20)
    yield decoder
    decoder.close()


def reading(frame: bytes, read: list[bytes]) -> Callable[[], Awaitable[bytes]]:
    async def once() -> bytes:
        read.append(frame)
        return frame

    return once


async def test_a_frame_is_encoded(shared: Decoder) -> None:
    encoded = await shared.frame("encoded", reading(a_frame(7), []), TO_JPEG_LS)
    assert imagecodecs.jpegls_decode(encoded).tolist() == [[7] * 16] * 16


async def test_a_frame_is_made_once_for_all_who_ask_at_a_time(shared: Decoder) -> None:
    read: list[bytes] = []
    first = asyncio.ensure_future(shared.frame("at once", reading(a_frame(), read), TO_JPEG_LS))
    await asyncio.sleep(0)
    others = [shared.frame("at once", reading(a_frame(), read), TO_JPEG_LS) for _ in range(5)]
    assert len({await first, *await asyncio.gather(*others)}) == 1
    assert len(read) == 1


async def test_a_frame_that_is_kept_is_not_read_again(shared: Decoder) -> None:
    read: list[bytes] = []
    for _ in range(3):
        await shared.frame("again", reading(a_frame(), read), TO_JPEG_LS)
    assert len(read) == 1


async def test_the_same_frame_in_another_syntax_is_another_one(shared: Decoder) -> None:
    frame = a_frame(9)
    await shared.frame("both", reading(frame, []), TO_JPEG_LS)
    assert await shared.frame("both", reading(frame, []), TO_NATIVE) == frame


async def test_who_leaves_takes_the_frame_from_nobody(shared: Decoder) -> None:
    read: list[bytes] = []
    leaving = asyncio.ensure_future(shared.frame("left", reading(a_frame(), read), TO_NATIVE))
    await asyncio.sleep(0)
    staying = asyncio.ensure_future(shared.frame("left", reading(a_frame(), read), TO_NATIVE))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == a_frame()


async def test_the_oldest_frames_give_way() -> None:
    decoder = Decoder(max_frame_bytes=1 << 20, cache_bytes=5 * 512)
    read: list[bytes] = []
    try:
        for key in [*range(8), 7, 0]:
            await decoder.frame(key, reading(a_frame(key), read), TO_NATIVE)
        assert len(read) == 9  # of the last two only the first was kept
        assert decoder.cached_bytes <= 5 * 512
    finally:
        decoder.close()


def test_frames_come_in_their_order(shared: Decoder) -> None:
    frames = [a_frame(number) for number in range(20)]
    assert list(shared.convert(frames, TO_NATIVE)) == frames


def test_no_more_frames_are_taken_than_there_are_processes(shared: Decoder) -> None:
    taken: list[int] = []

    def frames() -> Iterator[bytes]:
        for number in range(20):
            taken.append(number)
            yield a_frame(number)

    made = shared.convert(frames(), TO_NATIVE)
    next(made)
    assert len(taken) == 1
    next(made)
    assert len(taken) == 2 + PROCESSES


async def test_frames_of_a_file_are_shared_with_who_asks_for_one(shared: Decoder) -> None:
    list(shared.convert([a_frame(3)], TO_JPEG_LS, key="file"))
    read: list[bytes] = []
    await shared.frame(("file", 0), reading(a_frame(3), read), TO_JPEG_LS)
    assert read == []


def test_icons_are_not_taken_for_the_frames_of_the_image(shared: Decoder) -> None:
    list(shared.convert([a_frame(1)], TO_NATIVE, key="with icon"))
    assert list(shared.convert([a_frame(2)], TO_NATIVE, "00880200/1/", key="with icon")) == [
        a_frame(2)
    ]


async def test_after_a_crash_the_next_frame_is_made() -> None:
    decoder = Decoder(max_frame_bytes=1 << 20)
    try:
        before = set(active_children())
        await decoder.frame(0, reading(a_frame(), []), TO_NATIVE)
        for child in set(active_children()) - before:
            if child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)
        made = None
        for _ in range(3):  # what was under way in it is lost
            try:
                made = await decoder.frame(1, reading(a_frame(1), []), TO_NATIVE)
            except UndecodablePixelData:
                continue
            break
        assert made == a_frame(1)
    finally:
        decoder.close()


async def test_a_frame_beyond_the_limit_is_refused() -> None:
    decoder = Decoder(max_frame_bytes=100)
    try:
        with pytest.raises(UndecodablePixelData, match="limit"):
            await decoder.frame(0, reading(a_frame(), []), TO_JPEG_LS)
    finally:
        decoder.close()
