"""Frames that do not begin or end with a byte, or with a word of big endian pixel data."""

from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from objects import a_dataset, written

Store = Callable[..., httpx2.Response]

OCTETS = {"Accept": "application/octet-stream"}
FRAMES = 3


def stored(
    store: Store, pixel_data: bytes, transfer_syntax_uid: str, **attributes: Any
) -> tuple[str, bytes]:
    """The URL of a multi-frame instance with this little endian pixel data, and that data."""
    pixel_data += b"\0" * (len(pixel_data) % 2)
    dataset = a_dataset(NumberOfFrames=FRAMES, **attributes)
    big_endian = transfer_syntax_uid == ExplicitVRBigEndian
    dataset.PixelData = turned(pixel_data) if big_endian else pixel_data
    dataset["PixelData"].VR = "OW"
    response = store([written(dataset, transfer_syntax_uid)])
    (item,) = response.json()["00081199"]["Value"]
    return item["00081190"]["Value"][0], pixel_data


def turned(words: bytes) -> bytes:
    return np.frombuffer(words, "<u2").byteswap().tobytes()


def packed(frames: np.ndarray[Any, Any]) -> bytes:
    return np.packbits(frames.reshape(-1), bitorder="little").tobytes()


SYNTAXES = [ExplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_an_odd_number_of_bytes_come_apart(
    client: httpx2.Client, store: Store, syntax: str
) -> None:
    frames = [bytes(range(start, start + 9)) for start in (0, 50, 100)]
    url, _ = stored(
        store, b"".join(frames), syntax, Rows=3, Columns=3, BitsAllocated=8, BitsStored=8, HighBit=7
    )
    found = [client.get(f"{url}/frames/{number}", headers=OCTETS).content for number in (1, 2, 3)]
    assert found == frames


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_81_bits_come_apart(client: httpx2.Client, store: Store, syntax: str) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (FRAMES, 81), dtype=np.uint8)
    url, _ = stored(
        store, packed(frames), syntax, Rows=9, Columns=9, BitsAllocated=1, BitsStored=1, HighBit=0
    )
    found = [client.get(f"{url}/frames/{number}", headers=OCTETS).content for number in (1, 2, 3)]
    assert found == [packed(frame) for frame in frames]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_bulk_value_of_81_bit_frames_keeps_them_packed(
    client: httpx2.Client, store: Store, syntax: str
) -> None:
    frames = np.random.default_rng(2).integers(0, 2, (FRAMES, 81), dtype=np.uint8)
    url, value = stored(
        store, packed(frames), syntax, Rows=9, Columns=9, BitsAllocated=1, BitsStored=1, HighBit=0
    )
    assert client.get(f"{url}/bulkdata/7FE00010", headers=OCTETS).content == value
