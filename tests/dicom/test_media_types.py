"""Negotiation (PS3.18 section 8.7), with the Accept headers that real clients send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.media_types import (
    COMPRESSED_BULKDATA,
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    EXPLICIT_VR_LITTLE_ENDIAN,
    JSON,
    MAX_RANGES,
    OCTET_STREAM,
    Accept,
    MediaType,
    Offer,
    bulkdata_media_type,
    default_transfer_syntaxes,
    parse_accept,
    parse_accept_parameter,
    select,
)
from bfr_dicomweb.errors import InvalidQuery, InvalidRequest, NotAcceptable

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
RLE = "1.2.840.10008.1.2.5"


def explicit(*, multipart: bool, stored: bool = False) -> Offer:
    return Offer(
        OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, multipart, stored=stored, is_default=multipart
    )


def frame_offers(stored: str, *, lossy: bool = False, single: bool = True) -> list[Offer]:
    """What /frames/{n} of an object in this transfer syntax offers."""
    offers = []
    for multipart in (True, False) if single else (True,):
        if not lossy:
            offers.append(explicit(multipart=multipart, stored=stored == EXPLICIT_VR_LITTLE_ENDIAN))
        if stored != EXPLICIT_VR_LITTLE_ENDIAN:
            raw = Offer(OCTET_STREAM, stored, multipart, True, multipart, answers_default=lossy)
            named = Offer(bulkdata_media_type(stored), stored, multipart, stored=True)
            offers += [raw, named]
    return offers


INSTANCE = (
    Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN, multipart=True, is_default=True),
    Offer(DICOM, JPEG_2000_LOSSLESS, multipart=True, stored=True, is_default=True),
    Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN),
    Offer(DICOM, JPEG_2000_LOSSLESS, stored=True),
)
METADATA = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML, multipart=True))
RENDERED = (Offer("image/jpeg", is_default=True), Offer("image/png"), Offer("image/gif"))
PDF = (
    Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, multipart=True, is_default=True),
    Offer("application/pdf", multipart=True),
    Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN),
    Offer("application/pdf"),
)

EIGHT_ALTERNATIVES = ", ".join(
    f'multipart/related; type="{name}"; transfer-syntax={syntax}'
    for name, syntax in (
        ("image/jls", JPEG_LS_LOSSLESS),
        ("image/jls", JPEG_LS_NEAR_LOSSLESS),
        ("image/jp2", JPEG_2000_LOSSLESS),
        ("image/jp2", JPEG_2000),
        ("image/jpx", "1.2.840.10008.1.2.4.92"),
        ("image/jpx", "1.2.840.10008.1.2.4.93"),
        ("application/octet-stream", "*"),
        ("image/jpeg", JPEG_BASELINE),
    )
)
NAVIGATION = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)
IMAGE_ELEMENT = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"

J2K_FRAME = frame_offers(JPEG_2000_LOSSLESS)
MULTIPART_OCTETS = 'multipart/related; type="application/octet-stream"'
OCTETS_J2K = f"{MULTIPART_OCTETS}; transfer-syntax={JPEG_2000_LOSSLESS}"
OCTETS_EXPLICIT = f"{MULTIPART_OCTETS}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
MULTIPART_DICOM = 'multipart/related; type="application/dicom"'


@pytest.mark.parametrize(
    ("accept", "offers", "chosen"),
    [
        # a common viewer: search and metadata
        ("application/dicom+json", METADATA, "application/dicom+json"),
        # frames, as configured and as by default
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
            J2K_FRAME,
            OCTETS_J2K,
        ),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            J2K_FRAME,
            OCTETS_J2K,
        ),
        # a segmentation, whole
        (
            MULTIPART_DICOM,
            INSTANCE,
            f"{MULTIPART_DICOM}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}",
        ),
        # bulkdata: palettes, documents, waveforms
        ("*/*", PDF, OCTETS_EXPLICIT),
        ('multipart/related; type="application/octet-stream"', PDF, OCTETS_EXPLICIT),
        (
            f'multipart/related; type="application/pdf", {MULTIPART_OCTETS}',
            PDF,
            'multipart/related; type="application/pdf"',
        ),
        (
            "application/octet-stream",
            PDF,
            f"application/octet-stream; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}",
        ),
        # a document or video opened by the browser itself
        (NAVIGATION, [Offer("application/pdf", is_default=True)], "application/pdf"),
        ("*/*", [Offer("video/mp4", is_default=True)], "video/mp4"),
        # thumbnails
        ("image/jpeg", RENDERED, "image/jpeg"),
        (IMAGE_ELEMENT, RENDERED, "image/jpeg"),
        # slide microscopy
        (
            EIGHT_ALTERNATIVES,
            J2K_FRAME,
            f'multipart/related; type="image/jp2"; transfer-syntax={JPEG_2000_LOSSLESS}',
        ),
        (
            EIGHT_ALTERNATIVES,
            frame_offers(JPEG_BASELINE, lossy=True),
            f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG_BASELINE}',
        ),
        (
            EIGHT_ALTERNATIVES,
            frame_offers(EXPLICIT_VR_LITTLE_ENDIAN),
            OCTETS_EXPLICIT,
        ),
        # the Python client
        ("application/dicom+json, application/json", METADATA, "application/dicom+json"),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            INSTANCE,
            f'multipart/related; type="application/dicom"; transfer-syntax={JPEG_2000_LOSSLESS}',
        ),
        ('multipart/related; type="*/*"', J2K_FRAME, OCTETS_EXPLICIT),
        (
            'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90',
            J2K_FRAME,
            f'multipart/related; type="image/jp2"; transfer-syntax={JPEG_2000_LOSSLESS}',
        ),
        (
            'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50',
            frame_offers(JPEG_BASELINE, lossy=True),
            f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG_BASELINE}',
        ),
        ("image/png", RENDERED, "image/png"),
        ("image/gif", RENDERED, "image/gif"),
        # what other HTTP libraries send when nobody says anything
        ("application/json, text/plain, */*", METADATA, "application/dicom+json"),
        (
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            METADATA,
            "application/dicom+json",
        ),
    ],
)
def test_the_accept_header_of_a_real_client_gets_what_the_client_can_read(
    accept: str, offers: list[Offer], chosen: str
) -> None:
    assert str(select(accept, None, offers)) == chosen


@pytest.mark.parametrize("accept", ["*/*", IMAGE_ELEMENT, NAVIGATION, "image/*;q=0.1"])
def test_the_accept_parameter_wins_over_the_header(accept: str) -> None:
    assert select(accept, "image/png", RENDERED).media_type == "image/png"


def test_the_accept_parameter_wins_over_a_header_that_mixes() -> None:
    header = "application/dicom, image/jpeg, image/png"
    assert select(header, "image/png", RENDERED).media_type == "image/png"


def test_an_accept_parameter_that_cannot_be_served_leaves_the_choice_to_the_header() -> None:
    assert select("*/*", "image/webp", RENDERED).media_type == "image/jpeg"


def test_an_accept_parameter_that_the_header_does_not_cover_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="accept"):
        select("image/jpeg", "image/png", RENDERED)


def test_an_accept_parameter_whose_header_weight_is_zero_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="accept"):
        select("image/png;q=0", "image/png", RENDERED)


@pytest.mark.parametrize(
    "text", ["*/*", "image/*", "image/jpeg,*/*", "jpeg", "image/png,", ";", '"']
)
def test_an_accept_parameter_with_a_wildcard_or_a_malformed_element_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery, match="accept"):
        parse_accept_parameter(text)


def test_a_plus_that_form_decoding_made_a_space_is_restored() -> None:
    assert select("*/*", "application/dicom json", METADATA).media_type == DICOM_JSON


def test_the_accept_parameter_is_weighted_like_the_header() -> None:
    assert select("*/*", "image/jpeg;q=0.5,image/gif", RENDERED).media_type == "image/gif"


def test_a_request_without_accept_header_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        select(None, "image/jpeg", RENDERED)


def test_what_is_available_is_listed() -> None:
    with pytest.raises(NotAcceptable, match="image/jpeg, image/png, image/gif"):
        select("image/webp", None, RENDERED)


def test_single_part_types_are_ignored_where_only_multipart_is_offered() -> None:
    with pytest.raises(NotAcceptable):
        select("image/jpeg", None, [Offer("image/jpeg", multipart=True, is_default=True)])


def test_multipart_is_ignored_where_only_a_single_part_is_offered() -> None:
    with pytest.raises(NotAcceptable):
        select('multipart/related; type="image/jpeg"', None, RENDERED)


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom, image/png",
        "application/dicom+json, text/html;q=0.1",
        'multipart/related; type="application/dicom", image/gif',
        "application/dicom+json, image/jpeg",
        "application/octet-stream, image/png, */*",
    ],
)
@pytest.mark.parametrize("offers", [INSTANCE, METADATA, RENDERED])
def test_mixing_dicom_and_rendered_media_types_is_refused(
    accept: str, offers: tuple[Offer, ...]
) -> None:
    with pytest.raises(InvalidRequest, match="mixes"):
        select(accept, None, offers)


def test_jpeg_beside_octet_stream_is_compressed_bulkdata_for_frames() -> None:
    offers = frame_offers(JPEG_LOSSLESS_SV1)
    assert str(select("application/octet-stream;q=0.5, image/jpeg", None, offers)) == (
        f"image/jpeg; transfer-syntax={JPEG_LOSSLESS_SV1}"
    )


def test_jpeg_beside_octet_stream_is_mixed_for_a_rendered_resource() -> None:
    with pytest.raises(InvalidRequest, match="mixes"):
        select("application/octet-stream;q=0.5, image/jpeg", None, RENDERED)


def test_a_media_type_of_weight_zero_mixes_nothing() -> None:
    assert select("application/dicom+json, image/png;q=0", None, METADATA).media_type == DICOM_JSON


def test_mixing_in_the_accept_parameter_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="accept parameter mixes"):
        select("*/*", "application/dicom,image/png", RENDERED)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("image/jpeg;q=0.5, image/png;q=0.6, image/gif;q=0.1", "image/png"),
        ("image/*;q=0.9, image/jpeg;q=0.1", "image/png"),
        ("image/jpeg;q=0, */*", "image/png"),
        ("*/*;q=0.5, image/gif", "image/gif"),
        ("image/gif, image/jpeg", "image/gif"),
        ("IMAGE/PNG", "image/png"),
        ("image/png;level=1", "image/png"),
        ("image/gif;q=0.001, image/png;q=0.002", "image/png"),
        ("image/gif;q=1.5", "image/gif"),
        ("image/gif;q=nothing, image/jpeg;q=0.9", "image/gif"),
        ("*/*, image/gif", "image/jpeg"),
    ],
)
def test_the_most_specific_range_gives_the_weight(accept: str, chosen: str) -> None:
    assert select(accept, None, RENDERED).media_type == chosen


@pytest.mark.parametrize(
    "malformed", ["", " ", "/", "image", "image/", "/png", "im age/png", "image/png;q", '"', "é/é"]
)
def test_a_malformed_element_is_ignored(malformed: str) -> None:
    assert select(f"image/gif, {malformed}", None, RENDERED).media_type == "image/gif"


@pytest.mark.parametrize(
    "accept", ["", ",", "image", "image/png;q=0", "*/*;q=0", "multipart/form-data"]
)
def test_a_header_that_accepts_nothing_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        select(accept, None, RENDERED)


def test_without_transfer_syntax_the_default_of_the_media_type_is_meant() -> None:
    chosen = select("application/dicom", None, INSTANCE)
    assert chosen.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN


def test_without_transfer_syntax_what_is_only_lossy_is_given_as_it_is() -> None:
    offers = frame_offers(JPEG_BASELINE, lossy=True)
    chosen = select('multipart/related; type="application/octet-stream"', None, offers)
    assert chosen.transfer_syntax_uid == JPEG_BASELINE


def test_a_transfer_syntax_that_is_not_offered_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable):
        select(f"application/dicom; transfer-syntax={RLE}", None, INSTANCE)


def test_any_transfer_syntax_means_as_stored() -> None:
    chosen = select("application/dicom; transfer-syntax=*", None, INSTANCE)
    assert chosen.transfer_syntax_uid == JPEG_2000_LOSSLESS


def test_a_named_transfer_syntax_has_the_weight_of_its_own_range() -> None:
    accept = (
        f"application/dicom; transfer-syntax={JPEG_2000_LOSSLESS}; q=0.1,"
        " application/dicom; transfer-syntax=*; q=0.5"
    )
    assert select(accept, None, INSTANCE).transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN


def test_a_transfer_syntax_on_a_type_that_has_none_is_ignored() -> None:
    assert select("application/dicom+json; transfer-syntax=*", None, METADATA) == METADATA[0]


@pytest.mark.parametrize(
    ("older", "syntax"),
    [
        ("image/x-dicom-rle", RLE),
        ("image/x-jls", JPEG_LS_LOSSLESS),
        ("image/jll", JPEG_LOSSLESS_SV1),
    ],
)
def test_an_older_name_of_compressed_bulkdata_is_understood(older: str, syntax: str) -> None:
    accept = f'multipart/related; type="{older}"'
    assert select(accept, None, frame_offers(syntax)).transfer_syntax_uid == syntax


def test_json_is_another_name_of_dicom_json() -> None:
    assert select(JSON, None, METADATA).media_type == DICOM_JSON


def test_the_same_accept_chooses_for_each_part_by_what_is_stored() -> None:
    accept = Accept.parse('multipart/related; type="application/octet-stream"; transfer-syntax=*')
    stored = (JPEG_2000_LOSSLESS, RLE, EXPLICIT_VR_LITTLE_ENDIAN)
    assert tuple(accept.select(frame_offers(s)).transfer_syntax_uid for s in stored) == stored


@pytest.mark.parametrize("accept", ["a/b," * MAX_RANGES, "a/b;c=" + "d" * 9000])
def test_an_accept_header_without_measure_is_refused(accept: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_accept(accept)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a/b; type=application/dicom", "type", "application/dicom"),
        ('a/b; type="application/dicom"', "type", "application/dicom"),
        ('a/b;TYPE="x;y,z"', "type", "x;y,z"),
        (r'a/b; type="x\"y"', "type", 'x"y'),
        ("a/b ; boundary=----=_Part_1.2 ;", "boundary", "----=_Part_1.2"),
        ("a/b; type=x; type=y", "type", "x"),
    ],
)
def test_a_parameter_means_the_same_quoted_and_unquoted(text: str, name: str, value: str) -> None:
    assert MediaType.parse(text).parameter(name) == value


@pytest.mark.parametrize(
    "text", ["", "a", "a/b/c", "a/b;c", 'a/b;c="d', "a/b;c=\x00", "a/b;=d", "å/b"]
)
def test_a_malformed_media_type_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        MediaType.parse(text)


# Defaults, PS3.18 Table 8.7.3-5, retyped from the table
@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [
        ("image/jpeg", "4.70"),
        ("image/dicom-rle", "5"),
        ("image/jls", "4.80"),
        ("image/jp2", "4.90"),
        ("image/jpx", "4.92"),
        ("image/jphc", "4.201"),
        ("image/jxl", "4.110"),
        ("video/mpeg", "4.101"),
        ("video/mp4", "4.102"),
        ("video/H265", "4.107"),
    ],
)
def test_the_first_transfer_syntax_of_a_row_is_its_default(media_type: str, suffix: str) -> None:
    assert default_transfer_syntaxes(media_type)[0] == f"1.2.840.10008.1.2.{suffix}"


def test_every_transfer_syntax_of_the_table_stands_in_one_row() -> None:
    uids = [uid for row in COMPRESSED_BULKDATA for uid in row.transfer_syntax_uids]
    assert len(uids) == len(set(uids))


def test_uncompressed_bulkdata_is_octet_stream() -> None:
    assert bulkdata_media_type(EXPLICIT_VR_LITTLE_ENDIAN) == OCTET_STREAM


def test_the_content_type_of_a_part_names_its_transfer_syntax() -> None:
    assert (
        INSTANCE[0].content_type
        == f"application/dicom; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    )


TYPES = st.sampled_from(["image/jpeg", "image/png", "image/gif", "image/*", "*/*", "text/plain"])
WEIGHTS = st.integers(0, 10)
RANGES = st.lists(st.tuples(TYPES, WEIGHTS), min_size=1, max_size=6, unique_by=lambda pair: pair[0])


def weight_of(media_type: str, ranges: dict[str, int]) -> int:
    """RFC 9110 section 12.5.1, written another way: look up from exact to any."""
    family = media_type.split("/")[0] + "/*"
    return ranges.get(media_type, ranges.get(family, ranges.get("*/*", 0)))


@given(ranges=RANGES)
def test_no_offer_has_a_greater_weight_than_the_chosen_one(ranges: list[tuple[str, int]]) -> None:
    accept = ", ".join(f"{name};q={weight / 10}" for name, weight in ranges)
    weights = {offer.media_type: weight_of(offer.media_type, dict(ranges)) for offer in RENDERED}
    try:
        chosen = weights[select(accept, None, RENDERED).media_type]
    except NotAcceptable:
        chosen = 0
    assert chosen == max(weights.values())


def test_a_link_does_not_mix_an_object_with_a_picture() -> None:
    """8.3.3.1; in a header image/jpeg beside application/dicom is compressed bulk data"""
    offers = (Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN, is_default=True),)

    with pytest.raises(InvalidRequest, match="mixes"):
        select("*/*", "application/dicom,image/jpeg", offers)
    assert select("application/dicom, image/jpeg", None, offers) is offers[0]
