"""STW: instances sent as metadata, with pixels, pictures and documents in parts (10.5.1.4)."""

from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from dicomweb_conformance import part10
from dicomweb_conformance.cases import case
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.kept_instances import KEEP, expect_kept, expect_not_kept, kept_file
from dicomweb_conformance.media_types import JPEG_BASELINE, dicom_in
from dicomweb_conformance.store_responses import expect_stored
from dicomweb_conformance.submissions import (
    BulkPart,
    Sent,
    as_json,
    as_xml,
    file_of,
    metadata,
    new_slices,
    new_study,
    new_uri,
    submit,
)
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_CODESTREAM: Final = b"\xff\x4f\xff\x51"  # ISO/IEC 15444-1 A.2: SOC, then SIZ


async def _expect_stored_from_metadata(target: Target, sent: Sent, *instances: Instance) -> None:
    answer = await submit(target, sent)
    expect_stored(target, answer, *instances)
    await expect_kept(target, *instances)


def _with_pixels(instance: Instance) -> tuple[dict[str, object], BulkPart]:
    """Metadata of an image and its uncompressed pixel data."""
    original, uri = instance.original, new_uri()
    part = BulkPart(uri, "application/octet-stream", original.PixelData)
    return metadata(original, uri), part


@case(
    "STW-16",
    section="10.5.1.4, 8.6.1.2",
    level=Level.SHALL,
    requirement="An instance can be sent as metadata in DICOM JSON, with its pixels in a part.",
    request="POST {b}/studies: dicom+json, and octet-stream whose Content-Location it refers to",
    expected="200; data set and pixels come back as they were sent",
    needs=KEEP,
)
async def json_metadata_with_pixels_is_stored(target: Target) -> None:
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    await _expect_stored_from_metadata(target, as_json([described], [pixels]), instance)


@case(
    "STW-17",
    section="10.5.1.4, 8.6.1.2",
    level=Level.SHALL,
    requirement="An instance can be sent as metadata in XML, with its pixels in a part.",
    request="POST {b}/studies: dicom+xml, and octet-stream whose Content-Location it refers to",
    expected="200; data set and pixels come back as they were sent",
    needs=KEEP,
)
async def xml_metadata_with_pixels_is_stored(target: Target) -> None:
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    await _expect_stored_from_metadata(target, as_xml([described], [pixels]), instance)


async def _need_metadata(target: Target) -> None:
    """Raises Unmet: instances cannot be sent as DICOM JSON at all; another case says so."""
    described, pixels = _with_pixels(new_study(target).first)
    answer = await submit(target, as_json([described], [pixels]))
    words = f"metadata with bulk data is not stored: {answer.status}, which STW-16 judges"
    need(answer.status in (200, 202), words)


@case(
    "STW-18",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="One part of DICOM JSON holds the metadata of several instances.",
    request="POST {b}/studies: an array of two in dicom+json, and two octet-stream parts",
    expected="200; both come back as they were sent, each with its own pixels",
    needs=KEEP,
)
async def two_instances_in_one_array_are_stored(target: Target) -> None:
    await _need_metadata(target)
    study = new_slices(target, 2)
    (first, of_first), (second, of_second) = map(_with_pixels, study)
    sent = as_json([first, second], [of_second, of_first])
    await _expect_stored_from_metadata(target, sent, *study)


@case(
    "STW-19",
    section="8.6.1.2, 10.5.3.1",
    level=Level.SHALL,
    requirement="Metadata that refers to a part that is not there is not stored.",
    request="POST {b}/studies: dicom+json with a BulkDataURI that no part has",
    expected="400 or 409; not stored",
    needs=KEEP,
)
async def bulk_data_that_is_not_there_is_a_failure(target: Target) -> None:
    await _need_metadata(target)
    broken = new_study(target).first
    described, pixels = _with_pixels(broken)
    astray = replace(pixels, uri=new_uri())
    (await submit(target, as_json([described], [astray]))).expect_status(400, 409)
    await expect_not_kept(target, broken)


def _capture(target: Target, pixels: npt.NDArray[np.uint8], *, several: bool = False) -> Instance:
    """An instance that can hold such a picture; pixels: (frames,) rows, columns."""
    fixture = Fixture.F8 if several else Fixture.F11
    instance = new_study(target, fixture).first
    dataset = instance.original
    if several:
        # 8 bit: Multi-frame Grayscale Byte Secondary Capture
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
        dataset.NumberOfFrames, dataset.PageNumberVector = len(pixels), list(range(1, 4))
    else:
        del dataset.IconImageSequence
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    return replace(instance, sop_class_uid=str(dataset.SOPClassUID), file=file_of(dataset))


def _gradient() -> npt.NDArray[np.uint8]:
    return np.asarray(np.add.outer(np.arange(24) * 5, np.arange(32) * 4), np.uint8)


def _encoded(frames: list[npt.NDArray[np.uint8]], kind: str) -> bytes:
    buffer = BytesIO()
    first, *others = map(Image.fromarray, frames)
    if others:
        first.save(buffer, kind, save_all=True, append_images=others, duration=100)
    else:
        first.save(buffer, kind)
    return buffer.getvalue()


async def _store_picture(
    target: Target, instance: Instance, media_type: str, *frames: bytes
) -> None:
    """Metadata that does not describe the pixels, and a picture. Raises NotClaimed if refused."""
    uri = new_uri()
    described = metadata(instance.original, uri, describes_pixels=False)
    parts = [BulkPart(uri, media_type, each) for each in frames]
    answer = await submit(target, as_json([described], parts))
    if answer.status in (400, 409, 415, 501):
        raise NotClaimed(f"{media_type} is not taken: {answer.status}")
    expect_stored(target, answer, instance)


def _expect_described(kept: Dataset, instance: Instance, *keywords: str) -> None:
    """The image pixel attributes are what the picture says."""
    original = instance.original
    wrong = [each for each in keywords if kept.get(each) != original.get(each)]
    expect(not wrong, f"stored, but {', '.join(wrong)} is missing or not that of the picture")


def _frames(kept: part10.File) -> list[bytes]:
    """The frames of encapsulated pixel data. Raises Violated."""
    try:
        found = part10.frames(kept.dataset)
    except part10.NotReadable:
        raise Violated("stored, but the pixel data is not encapsulated as it should be") from None
    expect(bool(found), "stored, but the pixel data has no frame")
    return found


_SHAPE: Final = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit")


@case(
    "STW-20",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/jpeg is kept as it is in its transfer syntax, and describes the pixels.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/jpeg",
    expected="200; (0002,0010) is JPEG Baseline; Rows, Columns and the like are those of the JPEG",
    needs=KEEP,
)
async def jpeg_is_kept_unchanged(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "JPEG")
    await _store_picture(target, instance, "image/jpeg", sent)
    kept = await kept_file(target, instance, accept=dicom_in("*"))
    _expect_described(kept.dataset, instance, *_SHAPE)
    syntax = kept.transfer_syntax
    expect(syntax == JPEG_BASELINE, f"stored, but in {syntax}")
    frame = _frames(kept)[0]
    held = frame.rstrip(b"\0") == sent.rstrip(b"\0")
    expect(held, "stored, but the JPEG is not the one that was sent")


@case(
    "STW-21",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/png is transformed without loss, and describes the pixels.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/png",
    expected="200; the same pixels, and Rows, Columns and the like",
    needs=KEEP,
)
async def png_keeps_its_pixels(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "PNG")
    await _store_picture(target, instance, "image/png", sent)
    kept = await kept_file(target, instance)
    _expect_described(kept.dataset, instance, *_SHAPE)
    same = part10.bytes_of(kept.dataset, "PixelData") == _gradient().tobytes()
    expect(same, "stored, but with other pixels")


@case(
    "STW-22",
    section="10.5.2",
    level=Level.SHALL,
    requirement="An animated GIF becomes a multi-frame image.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/gif of 3",
    expected="200; Number of Frames is 3, and so many frames are there",
    needs=KEEP,
)
async def animated_gif_becomes_multi_frame(target: Target) -> None:
    frames = [_gradient(), np.ascontiguousarray(_gradient()[::-1]), _gradient() // 2]
    instance = _capture(target, np.stack(frames), several=True)
    await _store_picture(target, instance, "image/gif", _encoded(frames, "GIF"))
    kept = await kept_file(target, instance)
    _expect_described(kept.dataset, instance, "NumberOfFrames", "Rows", "Columns")
    size = 3 * 24 * 32 * (part10.number_of(kept.dataset, "SamplesPerPixel") or 0)
    got = len(part10.bytes_of(kept.dataset, "PixelData"))
    expect(got == size, f"{got} bytes of pixels, expected {size}")


@case(
    "STW-23",
    section="10.5.2",
    level=Level.SHALL,
    requirement="image/jp2 is kept in its transfer syntax, without the boxes of the file.",
    request="POST {b}/studies: dicom+json without the Image Pixel Description, and image/jp2",
    expected="200; (0002,0010) is JPEG 2000; the frame begins with SOC and SIZ",
    needs=KEEP,
)
async def jp2_is_kept_without_its_boxes(target: Target) -> None:
    instance, sent = _capture(target, _gradient()), _encoded([_gradient()], "JPEG2000")
    await _store_picture(target, instance, "image/jp2", sent)
    kept = await kept_file(target, instance, accept=dicom_in("*"))
    _expect_described(kept.dataset, instance, *_SHAPE)
    syntax = kept.transfer_syntax
    expect(syntax in _JPEG_2000, f"stored, but in {syntax}")
    frame = _frames(kept)[0]
    expect(frame.startswith(_CODESTREAM), "stored, but the frame is no JPEG 2000 codestream")


@case(
    "STW-24",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="Compressed frames of a multi-frame image are sent in a part each.",
    request="POST {b}/studies: dicom+json of 10 frames, and 10 parts of image/jpeg",
    expected="200 with all frames, if image/jpeg is taken",
    needs=KEEP,
)
async def part_for_each_compressed_frame(target: Target) -> None:
    instance = new_study(target, Fixture.F2).first
    original, uri = instance.original, new_uri()
    frames = list(generate_frames(original.PixelData, number_of_frames=10))
    parts = [BulkPart(uri, "image/jpeg", frame) for frame in frames]
    answer = await submit(target, as_json([metadata(original, uri)], parts))
    if answer.status in (400, 409, 415, 501):
        raise NotClaimed(f"frames of image/jpeg are not taken: {answer.status}")
    expect_stored(target, answer, instance)
    kept = await kept_file(target, instance, accept=dicom_in("*"))
    syntax = kept.transfer_syntax
    expect(syntax == JPEG_BASELINE, f"stored, but in {syntax}")
    got = _frames(kept)
    expect(len(got) == 10, f"stored, but with {len(got)} frames; 10 parts were sent")
    same = [one.rstrip(b"\0") for one in got] == [one.rstrip(b"\0") for one in frames]
    expect(same, "stored, but the frames are not those that were sent, or not in their order")


@case(
    "STW-25",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="The part of an encapsulated document has the media type of the document.",
    request="POST {b}/studies: dicom+json, and application/pdf whose Content-Location it refers to",
    expected="200; (0042,0011) is the PDF that was sent",
    needs=KEEP,
)
async def pdf_in_its_own_part_is_stored(target: Target) -> None:
    await _need_metadata(target)
    instance = new_study(target, Fixture.F4).first
    original, uri = instance.original, new_uri()
    document = bytes(original.EncapsulatedDocument)
    part = BulkPart(uri, "application/pdf", document)
    answer = await submit(target, as_json([metadata(original, uri)], [part]))
    expect_stored(target, answer, instance)
    kept = part10.bytes_of((await kept_file(target, instance)).dataset, "EncapsulatedDocument")
    expect(kept.rstrip(b"\0") == document.rstrip(b"\0"), "stored, but with another document")


@case(
    "STW-26",
    section="10.5.1.4",
    level=Level.SHALL,
    requirement="File meta information is made by the server: what metadata says of it does not"
    " count.",
    request="POST {b}/studies: dicom+json with (0002,0010) JPEG 2000, and uncompressed pixels",
    expected="200 and a true (0002,0010); or 400 or 409",
    needs=KEEP,
)
async def file_meta_in_metadata_does_not_count(target: Target) -> None:
    await _need_metadata(target)
    instance = new_study(target).first
    described, pixels = _with_pixels(instance)
    false = {"00020010": {"vr": "UI", "Value": [_JPEG_2000[0]]}}
    answer = await submit(target, as_json([false | described], [pixels]))
    if answer.status in (400, 409):
        target.note(f"{answer.status}: metadata with group 0002 is refused")
        return
    expect_stored(target, answer, instance)
    kept = await kept_file(target, instance, accept=dicom_in("*"))
    held = kept.transfer_syntax != _JPEG_2000[0]
    expect(held, "stored as JPEG 2000, as the metadata said; the pixels are uncompressed")
    await expect_kept(target, instance)
