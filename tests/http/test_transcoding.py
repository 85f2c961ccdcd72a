"""Retrieve in other transfer syntaxes than the stored one (PS3.18 section 8.7.3)."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from live import Live
from objects import DICOM, a_cine, a_dataset, uid, written
from retrieved import jpeg, parts_of, path_of, raw_parts

Store = Callable[..., httpx2.Response]

MULTI_DICOM = f'multipart/related; type="{DICOM}"'
FRAMES = 3
PIXELS = np.random.default_rng(1).integers(0, 4096, (FRAMES, 16, 16)).astype("<u2")


def a_multi_frame(**attributes: Any) -> bytes:
    dataset = a_dataset(NumberOfFrames=FRAMES, **attributes)
    dataset.PixelData = PIXELS.tobytes()
    return written(dataset)


def an_eight_bit_image(**attributes: Any) -> bytes:
    ramp = (np.add.outer(np.arange(16), np.arange(16)) * 8).astype(np.uint8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": ramp.tobytes()}
    return written(a_dataset(**eight, **attributes))


@pytest.fixture
def multi_frame(store: Store) -> str:
    file = a_multi_frame()
    store([file])
    return path_of(file)


@pytest.fixture
def eight_bits(store: Store) -> str:
    file = an_eight_bit_image()
    store([file])
    return path_of(file)


def in_syntax(*uids: str, media_type: str = DICOM) -> dict[str, str]:
    """An Accept header that prefers the first."""
    ranges = (
        f"{media_type}; transfer-syntax={uid}; q={1 - place / 10:.1f}"
        for place, uid in enumerate(uids)
    )
    return {"Accept": ", ".join(ranges)}


def multi(media_type: str, transfer_syntax_uid: str | None = None) -> dict[str, str]:
    accept = f'multipart/related; type="{media_type}"'
    if transfer_syntax_uid is not None:
        accept += f"; transfer-syntax={transfer_syntax_uid}"
    return {"Accept": accept}


class TestInstances:
    @pytest.mark.parametrize(
        "target",
        [HTJ2KLosslessRPCL, JPEGLSLossless, JPEG2000Lossless, RLELossless, JPEGLosslessSV1],
    )
    def test_a_file_comes_in_the_syntax_that_is_asked_for(
        self, client: httpx2.Client, multi_frame: str, target: str
    ) -> None:
        response = client.get(multi_frame, headers=in_syntax(target))
        made = dcmread(io.BytesIO(response.content))
        assert response.headers["Content-Type"] == f"{DICOM}; transfer-syntax={target}"
        assert made.file_meta.TransferSyntaxUID == target
        assert made.NumberOfFrames == FRAMES
        if target != JPEGLosslessSV1:  # for which pydicom has no decoder here
            assert np.array_equal(made.pixel_array, PIXELS)

    def test_ins_08_an_instance_comes_as_rle(self, client: httpx2.Client, multi_frame: str) -> None:
        response = client.get(multi_frame, headers=multi(DICOM, RLELossless))
        ((part, content),) = parts_of(response)
        assert part["Content-Type"] == f"{DICOM}; transfer-syntax={RLELossless}"
        assert np.array_equal(dcmread(io.BytesIO(content)).pixel_array, PIXELS)

    @pytest.mark.parametrize("forbidden", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
    def test_ins_09_and_ins_10_implicit_and_big_endian_are_not_made(
        self, client: httpx2.Client, multi_frame: str, forbidden: str
    ) -> None:
        assert client.get(multi_frame, headers=multi(DICOM, forbidden)).status_code == 406

    def test_ins_13_an_unknown_syntax_is_refused_with_those_that_can_be_made(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        response = client.get(multi_frame, headers=multi(DICOM, "1.2.3.4.5"))
        assert response.status_code == 406
        assert f"transfer-syntax={JPEGLSLossless}" in response.text
        assert JPEGBaseline8Bit not in response.text

    def test_a_deflated_file_is_made(self, client: httpx2.Client, multi_frame: str) -> None:
        response = client.get(multi_frame, headers=in_syntax(DeflatedExplicitVRLittleEndian))
        made = dcmread(io.BytesIO(response.content))
        assert made.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
        assert made.PixelData == PIXELS.tobytes()

    def test_the_next_best_is_made_where_the_best_cannot_be(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        # 12 bits are too many for JPEG baseline
        response = client.get(multi_frame, headers=in_syntax(JPEGBaseline8Bit, JPEGLSLossless))
        assert response.headers["Content-Type"].endswith(JPEGLSLossless)

    def test_any_syntax_means_the_stored_one(self, client: httpx2.Client, multi_frame: str) -> None:
        response = client.get(multi_frame, headers=in_syntax("*"))
        assert response.headers["Content-Type"].endswith(ExplicitVRLittleEndian)

    def test_instances_without_pixels_are_left_out_of_a_compressed_study(
        self, client: httpx2.Client, store: Store
    ) -> None:
        study = uid()
        report = written(a_dataset(StudyInstanceUID=study, PixelData=None))
        store([a_multi_frame(StudyInstanceUID=study), report])
        response = client.get(f"/studies/{study}", headers=multi(DICOM, HTJ2KLossless))
        assert response.status_code == 206
        (content,) = raw_parts(response)
        assert dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == HTJ2KLossless

    def test_a_series_comes_whole_when_the_rest_may_be_uncompressed(
        self, client: httpx2.Client, store: Store
    ) -> None:
        study, series = uid(), uid()
        both = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        store([a_multi_frame(**both), written(a_dataset(PixelData=None, **both))])
        accept = in_syntax(HTJ2KLossless, ExplicitVRLittleEndian, media_type=MULTI_DICOM)
        response = client.get(f"/studies/{study}/series/{series}", headers=accept)
        syntaxes = {
            str(dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID)
            for content in raw_parts(response)
        }
        assert response.status_code == 200
        assert syntaxes == {HTJ2KLossless, ExplicitVRLittleEndian}

    def test_planes_of_a_compressed_image_are_told_as_they_are_sent(
        self, client: httpx2.Client, store: Store
    ) -> None:
        colors = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
        dataset: Dataset = a_dataset(
            SamplesPerPixel=3,
            PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
            PixelData=colors.tobytes(),
        )
        dataset = dcmread(io.BytesIO(written(dataset)))
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        dataset.PlanarConfiguration = 1
        file = written(dataset, RLELossless)
        store([file])
        response = client.get(path_of(file), headers=in_syntax(ExplicitVRLittleEndian))
        made = dcmread(io.BytesIO(response.content))
        assert np.array_equal(made.pixel_array, colors)


class TestLossy:
    def test_it_is_made_for_who_names_it(self, client: httpx2.Client, eight_bits: str) -> None:
        response = client.get(eight_bits, headers=in_syntax(JPEGBaseline8Bit))
        made = dcmread(io.BytesIO(response.content))
        assert made.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert (made.LossyImageCompression, made.ImageType[0]) == ("01", "DERIVED")
        assert made.SOPInstanceUID not in eight_bits

    @pytest.mark.parametrize("accept", ["image/jpeg", "image/jpeg; transfer-syntax=*", "image/*"])
    def test_it_is_made_for_nobody_else(
        self, client: httpx2.Client, eight_bits: str, accept: str
    ) -> None:
        response = client.get(f"{eight_bits}/frames/1", headers={"Accept": accept})
        assert response.status_code == 200
        assert not response.headers["Content-Type"].endswith(JPEGBaseline8Bit)

    def test_a_frame_of_it_is_a_jpeg_image(self, client: httpx2.Client, eight_bits: str) -> None:
        accept = in_syntax(JPEGBaseline8Bit, media_type="image/jpeg")
        response = client.get(f"{eight_bits}/frames/1", headers=accept)
        ramp = np.add.outer(np.arange(16), np.arange(16)) * 8
        found = imagecodecs.jpeg8_decode(response.content).astype(int)
        assert np.abs(found - ramp).mean() < 3

    def test_blk_08_what_is_only_lossy_is_sent_as_it_is_stored(
        self, client: httpx2.Client, store: Store
    ) -> None:
        frames = [jpeg(shade) for shade in (0, 200)]
        file = a_cine(frames)
        store([file])
        response = client.get(f"{path_of(file)}/frames/1", headers=multi("image/jpeg"))
        ((part, content),) = parts_of(response)
        assert part["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
        assert content.rstrip(b"\0") == frames[0]


class TestFrames:
    @pytest.mark.parametrize(
        ("media_type", "target", "decode"),
        [
            ("image/jls", JPEGLSLossless, imagecodecs.jpegls_decode),
            ("image/jphc", HTJ2KLossless, imagecodecs.jpeg2k_decode),
            ("image/jp2", JPEG2000Lossless, imagecodecs.jpeg2k_decode),
            ("image/jpeg", JPEGLosslessSV1, imagecodecs.jpegsof3_decode),
            ("image/jxl", "1.2.840.10008.1.2.4.110", imagecodecs.jpegxl_decode),
        ],
    )
    def test_a_media_type_alone_means_its_lossless_syntax(
        self,
        client: httpx2.Client,
        multi_frame: str,
        media_type: str,
        target: str,
        decode: Callable[[bytes], Any],
    ) -> None:
        response = client.get(f"{multi_frame}/frames/2", headers={"Accept": media_type})
        assert response.headers["Content-Type"] == f"{media_type}; transfer-syntax={target}"
        assert np.array_equal(decode(response.content), PIXELS[1])

    def test_frames_come_in_the_asked_order(self, client: httpx2.Client, multi_frame: str) -> None:
        accept = multi("image/jphc", HTJ2KLosslessRPCL)
        response = client.get(f"{multi_frame}/frames/3,1", headers=accept)
        found = [imagecodecs.jpeg2k_decode(content) for content in raw_parts(response)]
        assert np.array_equal(found, PIXELS[[2, 0]])

    def test_the_better_of_two_ranges_wins(self, client: httpx2.Client, multi_frame: str) -> None:
        accept = {"Accept": "application/octet-stream; q=0.5, image/jls"}
        response = client.get(f"{multi_frame}/frames/1", headers=accept)
        assert response.headers["Content-Type"].startswith("image/jls")

    def test_anything_means_uncompressed_bytes(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        response = client.get(f"{multi_frame}/frames/1", headers={"Accept": "*/*"})
        (content,) = raw_parts(response)
        assert content == PIXELS[0].tobytes()

    def test_stored_frames_of_another_codec_are_transcoded(
        self, client: httpx2.Client, multi_frame: str, store: Store
    ) -> None:
        compressed = client.get(multi_frame, headers=in_syntax(JPEG2000Lossless)).content
        dataset = dcmread(io.BytesIO(compressed))
        dataset.SOPInstanceUID = uid()
        file = written(dataset, JPEG2000Lossless)
        store([file])
        accept = in_syntax(JPEGLSLossless, media_type="image/jls")
        response = client.get(f"{path_of(file)}/frames/2", headers=accept)
        assert np.array_equal(imagecodecs.jpegls_decode(response.content), PIXELS[1])

    def test_a_range_of_a_frame_is_the_same_bytes(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        url, accept = (
            f"{multi_frame}/frames/1",
            in_syntax(HTJ2KLosslessRPCL, media_type="image/jphc"),
        )
        whole = client.get(url, headers=accept)
        part = client.get(url, headers=accept | {"Range": "bytes=0-99"})
        assert (part.status_code, part.content) == (206, whole.content[:100])

    def test_a_client_that_has_a_frame_is_told_so(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        url, accept = f"{multi_frame}/frames/1", {"Accept": "image/jls"}
        etag = client.get(url, headers=accept).headers["ETag"]
        again = client.get(url, headers=accept | {"If-None-Match": etag})
        assert again.status_code == 304

    def test_what_the_pixels_do_not_allow_is_refused_with_what_they_do(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        accept = in_syntax(JPEGBaseline8Bit, media_type="image/jpeg")
        response = client.get(f"{multi_frame}/frames/1", headers=accept)
        assert response.status_code == 406
        assert f"image/jls; transfer-syntax={JPEGLSLossless}" in response.text


class TestPixelData:
    def test_each_frame_is_a_part(self, client: httpx2.Client, multi_frame: str) -> None:
        response = client.get(f"{multi_frame}/pixeldata", headers=multi("image/jls"))
        found = [imagecodecs.jpegls_decode(content) for content in raw_parts(response)]
        assert np.array_equal(found, PIXELS)

    def test_the_bulk_value_is_encoded_too(self, client: httpx2.Client, multi_frame: str) -> None:
        response = client.get(f"{multi_frame}/bulkdata/7FE00010", headers=multi("image/jphc"))
        assert len(raw_parts(response)) == FRAMES

    def test_several_frames_are_no_single_part(
        self, client: httpx2.Client, multi_frame: str
    ) -> None:
        response = client.get(f"{multi_frame}/pixeldata", headers={"Accept": "image/jls"})
        assert response.status_code == 406


LARGE_FRAMES, LARGE_FRAME_BYTES = 160, 512 * 512 * 2


def a_large_object() -> tuple[str, Iterator[bytes], int]:
    """Its path, its bytes and how many these are; the pixels are zeros."""
    dataset = a_dataset(Rows=512, Columns=512, NumberOfFrames=LARGE_FRAMES, PixelData=b"\0\0")
    small = written(dataset)
    length = LARGE_FRAMES * LARGE_FRAME_BYTES
    head = small[:-6] + length.to_bytes(4, "little")

    def content() -> Iterator[bytes]:
        yield head
        for _ in range(LARGE_FRAMES):
            yield bytes(LARGE_FRAME_BYTES)

    return path_of(small), content(), len(head) + length


def memory(process: Path, what: str) -> int:
    (kib,) = re.findall(rf"{what}:\s+(\d+) kB", (process / "status").read_text())
    return int(kib) * 1024


@pytest.mark.parametrize("target", [HTJ2KLosslessRPCL, DeflatedExplicitVRLittleEndian])
def test_memory_stays_flat_while_a_large_object_is_transcoded(
    client: httpx2.Client, server: Live, target: str
) -> None:
    process = Path(f"/proc/{server.pid}")
    if not process.is_dir():
        pytest.skip("the memory of a process is told by Linux only")
    path, content, length = a_large_object()
    headers = {"Content-Type": DICOM, "Content-Length": str(length)}
    assert client.post("/studies", content=content, headers=headers).status_code == 200
    (process / "clear_refs").write_text("5")  # forgets the peak
    before = memory(process, "VmRSS")
    with client.stream("GET", path, headers=in_syntax(target)) as response:
        assert response.headers["Content-Type"].endswith(target)
    assert memory(process, "VmHWM") - before < length / 2
