"""Any text as Accept header or accept parameter: a value or our error, and stable when rendered."""

import os
import time
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.dicom.media_types import (
    DICOM,
    DICOM_JSON,
    EXPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM,
    MediaType,
    Offer,
    parse_accept,
    select,
)
from bfr_dicomweb.errors import ArchiveError, InvalidRequest

# About 4 s of CI; hours when BFR_TEST_FUZZ_SECONDS says so.
EXAMPLES = int(float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "4")) * 120)
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)

PIECES = st.one_of(
    st.sampled_from(["multipart/related", "multipart/*", "*/*", "image/*", "image/jpeg"]),
    st.sampled_from([DICOM, DICOM_JSON, OCTET_STREAM, "application/json", "text/html", "q=0"]),
    st.sampled_from(["type=", "transfer-syntax=", "q=", "0.5", "1.000", EXPLICIT_VR_LITTLE_ENDIAN]),
    st.sampled_from(list('*;, ="\\/0\t\r\n\x00å\u2028')),
)
HEADERS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join))
OFFERS = st.lists(
    st.builds(
        Offer,
        st.sampled_from([DICOM, DICOM_JSON, OCTET_STREAM, "image/jpeg", "text/html"]),
        st.sampled_from([None, EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.90"]),
        multipart=st.booleans(),
        stored=st.booleans(),
        is_default=st.booleans(),
    ),
    max_size=6,
)


@FUZZ
@given(header=st.one_of(st.none(), HEADERS), parameter=st.one_of(st.none(), HEADERS), offers=OFFERS)
def test_any_request_gets_one_of_the_offers_or_our_error(
    header: str | None, parameter: str | None, offers: list[Offer]
) -> None:
    with suppress(ArchiveError):
        assert select(header, parameter, offers) in offers


@FUZZ
@given(text=HEADERS)
def test_accepted_ranges_mean_the_same_when_rendered_and_read_again(text: str) -> None:
    ranges = parse_accept(text)
    assert parse_accept(", ".join(map(str, ranges))) == ranges


@FUZZ
@given(text=HEADERS)
def test_a_media_type_is_the_same_when_rendered_and_read_again(text: str) -> None:
    with suppress(InvalidRequest):
        media_type = MediaType.parse(text)
        assert MediaType.parse(str(media_type)) == media_type


def test_the_longest_hostile_header_takes_no_noticeable_time() -> None:
    began = time.perf_counter()
    for hostile in ('"' + '\\"' * 4090, ";" * 8192, "a/b;c=" + '"' * 8000, "a/b; " * 1600):
        parse_accept(hostile)
    assert time.perf_counter() - began < 1
