"""Objects out of metadata and parts, whatever these are: an object, or an error that says why."""

import io
from collections.abc import Iterable
from typing import Any

import imagecodecs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from bfr_dicomweb.dicom import instance_making, json_model, pixel_parts
from bfr_dicomweb.dicom.data_sets import Span
from bfr_dicomweb.dicom.instance_making import Identities, MadeInstance
from bfr_dicomweb.dicom.pixel_parts import BulkPart
from bfr_dicomweb.errors import ArchiveError, InvalidObject
from metadata_parts import (
    CDA,
    COLOUR,
    GREY,
    GREY_16,
    PDF,
    STL,
    Dataset,
    described,
    element,
    gif,
    jpeg,
    mp4,
    native,
    png,
    referred,
    saved,
)

CONTENTS = {
    "image/jpeg": jpeg(),
    "image/jls": bytes(imagecodecs.jpegls_encode(GREY)),
    "image/jp2": saved(COLOUR, "JPEG2000"),
    "image/jph": bytes(imagecodecs.htj2k_encode(GREY)),
    "image/jxl": bytes(imagecodecs.jpegxl_encode(GREY_16, lossless=True)),
    "image/gif": gif([GREY, GREY[::-1]]),
    "image/png": png(GREY),
    "image/dicom-rle": bytes(100),
    "video/mp4": mp4(bytes(100)),
    "application/octet-stream": GREY_16.tobytes(),
}
DOCUMENTS = {"application/pdf": PDF, "text/xml": CDA, "model/stl": STL}


class Parts:
    """As the service keeps them."""

    def __init__(self, *contents: bytes) -> None:
        self.kept = b"".join(contents)
        ends = [len(b"".join(contents[: number + 1])) for number in range(len(contents))]
        self.ranges = list(zip([0, *ends], ends, strict=False))

    def keep(self, frames: Iterable[bytes]) -> Span:
        start = len(self.kept)
        self.kept += b"".join(frames)
        return Span(start, len(self.kept))

    def of_type(self, media_type: str, syntax: str = "") -> list[BulkPart]:
        return [BulkPart(media_type, syntax, *found) for found in self.ranges]


def made(dataset: Dataset, parts: Parts, media_type: str, syntax: str = "") -> bytes:
    source = parts.kept
    attributes = instance_making.storable(json_model.writable(dataset, max_elements=1000))
    bulk = dict.fromkeys(
        [uri for _, _, uri in instance_making.references(attributes)],
        parts.of_type(media_type, syntax),
    )
    tag = pixel_parts.pixel_tag(attributes)
    pixels = None
    if tag is not None:
        pixels = pixel_parts.pixel_value(
            attributes,
            tag,
            bulk[attributes[tag]["BulkDataURI"]],
            source,
            decoded=parts.keep,
            max_frame_bytes=1 << 24,
        )
    found = instance_making.make(
        attributes, bulk, source, identities=Identities(None), pixels=pixels
    )
    return _file(found, parts)


def _file(found: MadeInstance, parts: Parts) -> bytes:
    return b"".join(
        one if isinstance(one, bytes) else parts.kept[one.start : one.stop] for one in found.pieces
    )


@pytest.mark.parametrize("media_type", CONTENTS)
@given(data=st.data())
def test_pixels_that_are_damaged_make_an_object_or_an_error(
    media_type: str, data: st.DataObject
) -> None:
    content = bytearray(CONTENTS[media_type])
    for _ in range(data.draw(st.integers(0, 4))):
        # the headers of all these are at the beginning
        place = data.draw(st.integers(0, min(len(content) - 1, 400)))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        file = made(described() | native(50, 71), Parts(bytes(content)), media_type)
    except ArchiveError:
        return
    assert dcmread(io.BytesIO(file)).PatientID == "191212121212"


@pytest.mark.parametrize("media_type", DOCUMENTS)
@given(content=st.binary(max_size=200), cut=st.integers(0, 2500))
def test_documents_that_are_damaged_make_an_object_or_an_error(
    media_type: str, content: bytes, cut: int
) -> None:
    try:
        file = made(
            {"00420011": referred("OB")}, Parts(DOCUMENTS[media_type][:cut] + content), media_type
        )
    except ArchiveError:
        return
    assert dcmread(io.BytesIO(file)).Modality in ("DOC", "M3D")


SENSELESS = st.sampled_from(
    [
        element("US"),
        element("US", 0),
        element("US", 65535),
        element("IS", -1),
        element("IS", "many"),
        element("LO", "text"),
        element("SQ", {}),
        element("DS", 1.5),
        element("FD", "inf"),
        element("FD", "nan"),
        {"vr": "OB", "InlineBinary": "AAAA"},
        referred("OB"),
        referred("UT"),
    ]
)
CHANGED = """
    00080005 00080016 00080018 0020000D 0020000E 00080060 00280002 00280004 00280006 00280008
    00280010 00280011 00280100 00280101 00280103 00282110 00282114 00420011 00420012 00420015
    04000561 7FE00008 7FE00010
"""


@given(
    media_type=st.sampled_from(sorted(CONTENTS)),
    changes=st.dictionaries(st.sampled_from(CHANGED.split()), SENSELESS, min_size=1, max_size=4),
)
def test_senseless_metadata_makes_an_object_or_an_error(
    media_type: str, changes: dict[str, Any]
) -> None:
    try:
        file = made(described() | native(50, 71) | changes, Parts(CONTENTS[media_type]), media_type)
    except ArchiveError:
        return
    assert file[128:132] == b"DICM"


def test_more_than_four_gigabytes_of_frames_get_an_extended_offset_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixel_parts, "_BASIC_OFFSETS", 100)
    frames = [jpeg(), jpeg()[:2] + b"\xff\xfe\x00\x03x" + jpeg()[2:], jpeg()]
    file = made(described("1.2.840.10008.5.1.4.1.1.3.1"), Parts(*frames), "image/jpeg")
    dataset = dcmread(io.BytesIO(file))
    assert len(dataset.ExtendedOffsetTable) == len(dataset.ExtendedOffsetTableLengths) == 24
    assert dataset.pixel_array.shape == (3, *GREY.shape, 3)


def test_a_video_longer_than_a_fragment_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_parts, "_FRAGMENT_BYTES", 1000)
    film = mp4(bytes(2501))
    dataset = dcmread(io.BytesIO(made({"7FE00010": referred("OB")}, Parts(film), "video/mp4")))
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102.1"


def test_the_frames_of_one_object_share_a_transfer_syntax() -> None:
    lossy, lossless = (bytes(imagecodecs.jpegls_encode(GREY, level=level)) for level in (2, 0))
    file = made(described("1.2.840.10008.5.1.4.1.1.3.1"), Parts(lossy, lossless), "image/jls")
    assert dcmread(io.BytesIO(file)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.81"


def test_frames_without_a_common_syntax_are_refused() -> None:
    parts = Parts(jpeg(), jpeg(progressive=True))
    with pytest.raises(InvalidObject, match="no transfer syntax in common"):
        made(described("1.2.840.10008.5.1.4.1.1.3.1"), parts, "image/jpeg")


def test_a_transfer_syntax_that_the_stream_does_not_tell_is_believed_of_the_sender() -> None:
    dataset = native(50, 71, frames=3) | described()
    dataset |= {"00280010": element("US", 50), "00280008": element("IS", 3)}
    uid = "1.2.840.10008.1.2.4.103"
    file = made(dataset, Parts(b"G" + bytes(500)), "video/mp4", uid)
    assert dcmread(io.BytesIO(file)).file_meta.TransferSyntaxUID == uid


def test_what_is_said_of_lossy_compression_is_kept() -> None:
    told = {"00282110": element("CS", "01"), "00282112": element("DS", 7)}
    file = made(described() | told, Parts(jpeg()), "image/jpeg")
    dataset = dcmread(io.BytesIO(file))
    assert dataset.LossyImageCompressionRatio == 7
    assert "LossyImageCompressionMethod" not in dataset
