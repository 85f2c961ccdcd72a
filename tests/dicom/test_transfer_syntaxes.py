"""The table of transfer syntaxes, with pydicom's dictionary as the oracle."""

import pytest
from pydicom.uid import UID, AllTransferSyntaxes, RLETransferSyntaxes

from bfr_dicomweb.dicom.transfer_syntaxes import (
    TRANSFER_SYNTAXES,
    Codec,
    ResourceCategory,
    lookup,
    resource_category,
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MPEG2 = "1.2.840.10008.1.2.4.100"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

# Pixels by reference (JPIP) or beside the data set (SMPTE ST 2110): no fragments, although
# pydicom calls encapsulated whatever is not native.
NO_FRAGMENTS = {
    *(f"1.2.840.10008.1.2.4.{number}" for number in (94, 95, 204, 205)),
    *(f"1.2.840.10008.1.2.7.{number}" for number in (1, 2, 3)),
}
# pydicom 3.0.2 does not say that this one is deflated.
JPIP_HTJ2K_DEFLATE = "1.2.840.10008.1.2.4.205"


@pytest.mark.parametrize("uid", AllTransferSyntaxes)
def test_every_syntax_of_pydicom_is_in_the_table(uid: UID) -> None:
    assert lookup(uid).name == uid.name


@pytest.mark.parametrize("text", sorted(set(AllTransferSyntaxes) - {JPIP_HTJ2K_DEFLATE}))
def test_the_encoding_of_the_data_set_is_that_of_pydicom(text: str) -> None:
    uid, syntax = UID(text), lookup(text)
    found = (syntax.implicit_vr, syntax.big_endian, syntax.deflated)
    assert found == (uid.is_implicit_VR, not uid.is_little_endian, uid.is_deflated)


@pytest.mark.parametrize("uid", sorted(set(AllTransferSyntaxes) - NO_FRAGMENTS))
def test_the_same_syntaxes_are_encapsulated_as_in_pydicom(uid: str) -> None:
    assert lookup(uid).encapsulated is UID(uid).is_encapsulated


def test_no_uid_is_in_the_table_twice() -> None:
    assert len({syntax.uid for syntax in TRANSFER_SYNTAXES}) == len(TRANSFER_SYNTAXES)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".8.1", Codec.DEFLATE),
        (".1.98", Codec.VERBATIM),
        (".4.110", Codec.JPEG_XL),
        (".4.111", Codec.JPEG_XL),
        (".4.112", Codec.JPEG_XL),
    ],
)
def test_syntaxes_that_pydicom_cannot_decode_can_be_decoded(suffix: str, codec: Codec) -> None:
    syntax = lookup("1.2.840.10008.1.2" + suffix)
    assert (syntax.codec, syntax.decodable, syntax.encapsulated) == (codec, True, True)


@pytest.mark.parametrize("suffix", [".4.100", ".4.106.1", ".4.108", ".4.94", ".4.92", ".4.66"])
def test_what_no_library_decodes_is_not_decodable(suffix: str) -> None:
    assert not lookup("1.2.840.10008.1.2" + suffix).decodable


# PS3.18 Table 8.7.3-5.
@pytest.mark.parametrize(
    ("media_type", "suffixes"),
    [
        ("image/jpeg", ".4.70 .4.50 .4.51 .4.57"),
        ("image/dicom-rle", ".5"),
        ("image/jls", ".4.80 .4.81"),
        ("image/jp2", ".4.90 .4.91"),
        ("image/jpx", ".4.92 .4.93"),
        ("image/jphc", ".4.201 .4.202 .4.203"),
        ("image/jxl", ".4.110 .4.111 .4.112"),
        ("video/mpeg", ".4.100 .4.100.1 .4.101 .4.101.1"),
        ("video/mp4", ".4.102 .4.102.1 .4.103 .4.103.1 .4.104 .4.105 .4.106 .4.106.1"),
        ("video/H265", ".4.107 .4.108"),
        ("application/octet-stream", " .1 .1.99 .2"),
    ],
)
def test_bulk_data_has_the_media_type_of_the_standard(media_type: str, suffixes: str) -> None:
    for suffix in suffixes.split(" "):
        assert lookup("1.2.840.10008.1.2" + suffix).media_type == media_type


def test_rle_is_lossless() -> None:
    assert not any(lookup(uid).lossy for uid in RLETransferSyntaxes)


def test_an_unknown_syntax_may_be_encapsulated_or_not() -> None:
    assert lookup("1.3.6.1.4.1.5962.300.2").encapsulated is None


def test_an_unknown_syntax_cannot_be_decoded() -> None:
    assert not lookup("1.3.6.1.4.1.5962.300.2").decodable


@pytest.mark.parametrize(
    ("sop_class", "syntax", "frames", "category"),
    [
        (CT_IMAGE, EXPLICIT_LITTLE, 1, ResourceCategory.SINGLE_FRAME),
        (CT_IMAGE, JPEG_BASELINE, 12, ResourceCategory.MULTI_FRAME),
        ("1.2.840.10008.5.1.4.1.1.77.1.1.1", MPEG2, 60, ResourceCategory.VIDEO),
        ("1.2.840.10008.5.1.4.1.1.88.11", EXPLICIT_LITTLE, None, ResourceCategory.TEXT),
        ("1.2.840.10008.5.1.4.1.1.104.1", EXPLICIT_LITTLE, None, ResourceCategory.TEXT),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", EXPLICIT_LITTLE, None, ResourceCategory.OTHER),
    ],
)
def test_the_resource_category_follows_class_syntax_and_frames(
    sop_class: str, syntax: str, frames: int | None, category: ResourceCategory
) -> None:
    assert resource_category(sop_class, syntax, frames) is category
