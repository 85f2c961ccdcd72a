"""The suite's own readers are strict where the Standard is, and lenient where it is."""

import json
from collections.abc import Callable
from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_conformance import (
    claims,
    dicom_json,
    equivalence,
    media_types,
    multipart,
    native_xml,
    part10,
    payloads,
)
from dicomweb_conformance.claims import Claims, Feature, Operation
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.media_types import MediaType, NotAMediaType
from dicomweb_conformance.multipart import Malformed
from dicomweb_conformance.synthetic import files
from right_server import RightServer, capabilities_json, capabilities_wadl
from right_server import native_xml as as_xml

RELATED = MediaType("multipart/related", {"boundary": "b"})
PLAIN = b"Content-Type: text/plain\r\n\r\n"


@pytest.mark.parametrize(
    "written",
    [
        'multipart/related; type="application/dicom"; boundary=b',
        "multipart/related;type=application/dicom;boundary=b",
        'Multipart/Related ; TYPE="application/dicom" ; Boundary="b"',
    ],
)
def test_parameters_may_be_quoted_or_not(written: str) -> None:
    parsed = media_types.parse(written)

    assert parsed == MediaType("multipart/related", {"type": "application/dicom", "boundary": "b"})


@pytest.mark.parametrize("written", ["", "json", "a/b; c", "a/b; c=d e", "a/b, c/d"])
def test_what_is_no_media_type_is_refused(written: str) -> None:
    with pytest.raises(NotAMediaType):
        media_types.parse(written)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_parts_that_were_written_are_read(contents: list[bytes]) -> None:
    parts = [({"Content-Type": "text/plain", "X-N": str(n)}, c) for n, c in enumerate(contents)]

    content_type, payload = multipart.write(parts, root_type="text/plain")
    read = multipart.read(media_types.parse(content_type), payload)

    assert [part.content for part in read] == contents
    assert [part.headers["x-n"] for part in read] == [str(n) for n in range(len(contents))]


@pytest.mark.parametrize(
    "payload",
    [
        b"--b\r\n" + PLAIN + b"x\r\n--b--",
        b"\r\n--b\r\n" + PLAIN + b"x\r\n--b--\r\n",
        b"a preamble\r\n--b\r\n" + PLAIN + b"x\r\n--b--\r\nan epilogue",
        b"--b  \r\n" + PLAIN + b"x\r\n--b--  \r\n",
    ],
)
def test_what_rfc_2046_allows_is_read(payload: bytes) -> None:
    assert [part.content for part in multipart.read(RELATED, payload)] == [b"x"]


def test_a_line_that_goes_on_after_the_boundary_is_content() -> None:
    payload = b"--b\r\n" + PLAIN + b"\r\n--bc\r\n\r\n--b--"

    assert multipart.read(RELATED, payload)[0].content == b"\r\n--bc\r\n"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "does not occur"),
        (b"--b--", "only one"),
        (b"--b\r\n" + PLAIN + b"x", "closing delimiter"),
        (b"--b\r\n" + PLAIN + b"x\r\n--c--", "closing delimiter"),
        (b"--b\r\nx\r\n--b--", "empty line"),
        (b"--b\r\nno header\r\n\r\nx\r\n--b--", "header line"),
    ],
)
def test_what_breaks_multipart_is_named(payload: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        multipart.read(RELATED, payload)


@pytest.mark.parametrize("boundary", ["", "b ", "b" * 71, "b;c", "ö"])
def test_boundaries_are_those_of_rfc_2046(boundary: str) -> None:
    with pytest.raises(Malformed, match="boundary"):
        multipart.read(MediaType("multipart/related", {"boundary": boundary}), b"--b--")


@given(st.binary(max_size=200))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    try:
        multipart.read(RELATED, payload)
    except Malformed:
        return


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_json_is_judged(payload: bytes) -> None:
    dicom_json.inspect(payload)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vr", "Value", "InlineBinary", "BulkDataURI", "00080005", "00091001"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_any_data_is_judged(data: object) -> None:
    dicom_json.inspect(written(data))


def written(data: object) -> bytes:
    return json.dumps(data).encode()


@pytest.mark.parametrize("fixture", [f for f in Fixture if f is not Fixture.F13])
def test_what_pydicom_writes_breaks_no_rule(fixture: Fixture) -> None:
    server = RightServer()

    for _, file in files(fixture, Uids("test")):
        data = server.metadata(pydicom.dcmread(BytesIO(file)))
        found = dicom_json.inspect(written([data]))

        assert found.findings == []


@pytest.mark.parametrize("fixture", [Fixture.F1, Fixture.F3, Fixture.F9])
def test_the_same_object_in_json_and_xml_has_no_differences(fixture: Fixture) -> None:
    server = RightServer()

    for _, file in files(fixture, Uids("test")):
        data = server.metadata(pydicom.dcmread(BytesIO(file)))
        document = native_xml.read(as_xml(data))

        assert native_xml.inspect(document).findings == []
        assert equivalence.differences(data, native_xml.to_json(document)) == []


@pytest.mark.parametrize("fixture", [f for f in Fixture if f is not Fixture.F13])
def test_the_suites_own_files_are_in_order(fixture: Fixture) -> None:
    for _, file in files(fixture, Uids("test")):
        assert part10.problems(part10.read(file)) == []


@pytest.mark.parametrize("fixture", [f for f in Fixture if f is not Fixture.F13])
def test_dciodvfy_finds_no_error_in_the_suites_own_files(fixture: Fixture) -> None:
    for _, file in files(fixture, Uids("test")):
        errors = part10.iod_errors(file)
        if errors is None:
            pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")

        assert errors == frozenset()


GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"


def with_longer_group_2(file: bytes) -> bytes:
    at = file.index(GROUP_LENGTH) + len(GROUP_LENGTH)
    return file[:at] + bytes([file[at] + 2]) + file[at + 1 :]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda file: file.replace(b"\x02\x00\x02\x00UI", b"\x02\x00\x05\x00UI"),
            "MediaStorageSOPClassUID is missing",
        ),
        (
            lambda file: file.replace(b"\x02\x00\x03\x00UI", b"\x02\x00\x05\x00UI"),
            "MediaStorageSOPInstanceUID is not the SOPInstanceUID",
        ),
        (with_longer_group_2, "(0002,0000) is not the length"),
        (lambda file: file.replace(GROUP_LENGTH, b"\x02\x00\x01\x01UL\x04\x00"), "first element"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change: Callable[[bytes], bytes], problem: str) -> None:
    ((_, file),) = files(Fixture.F8, Uids("test"))

    found = part10.problems(part10.read(change(file)))

    assert problem in " ".join(found)


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICN" + b"\0" * 20])
def test_what_is_no_file_is_refused(content: bytes) -> None:
    with pytest.raises(part10.NotReadable):
        part10.read(content)


@pytest.mark.parametrize("write", [capabilities_wadl, capabilities_json])
def test_both_forms_of_capabilities_say_the_same(write: object) -> None:
    content = write(RightServer())  # type: ignore[operator]

    read = claims.read("", content)

    named = {(each.method, each.path) for each in read.operations or ()}
    assert ("GET", "studies/{}/series/{}/instances/{}/frames/{}") in named
    assert ("POST", "studies") in named
    assert len(named) == sum(map(len, RightServer().capabilities.values()))


@pytest.mark.parametrize("content", [b"", b"<", b"no JSON", b"[}"])
def test_capabilities_that_cannot_be_read_are_refused(content: bytes) -> None:
    with pytest.raises(claims.NotReadable):
        claims.read("", content)


def test_what_is_not_described_is_neither_claimed_nor_denied() -> None:
    some = Claims((Operation("GET", "studies"),))

    assert [one.offers(Feature.SEARCH) for one in (some, Claims())] == [True, None]
    assert [one.offers(Feature.WORKLIST) for one in (some, Claims())] == [False, None]
    assert some.offers(Feature.DIMSE) is None


def test_a_performed_step_is_claimed_under_its_uid() -> None:
    """Section 15.3 has no resource of all of them."""
    step = "modality-performed-procedure-steps"
    server = RightServer(capabilities={f"{step}/{{uid}}": ["POST"]})
    of_all = RightServer(capabilities={step: ["POST"]})

    read = [claims.read("", capabilities_wadl(each)) for each in (server, of_all)]

    assert [each.offers(Feature.PERFORMED_STEPS) for each in read] == [True, False]


@pytest.mark.parametrize(
    "content", [b"[" * 500 + b"]" * 500, b"[" * 90_000, b"9" * 5000, b"\xff", b""]
)
def test_json_that_cannot_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(payloads.Unreadable):
        payloads.read_json(content)


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" * 500 + b"</a>" * 500,
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="gbk"?><a/>',
        b"<a",
    ],
)
def test_xml_that_cannot_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(payloads.Unreadable):
        payloads.read_xml(content)
