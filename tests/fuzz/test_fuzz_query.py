"""Any query gives a search, matches or our refusal; never a bug."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Self
from urllib.parse import quote_from_bytes

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bfr_dicomweb.dicom.matching import LEVEL_OF_KEY, SearchLevel, parse_search
from bfr_dicomweb.errors import InvalidQuery
from live import Live, running
from objects import DICOM, an_object

SECONDS = float(os.environ.get("BFR_TEST_FUZZ_SECONDS", "4"))
QUIETLY = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
MAX_RESULTS = 1000

KEYWORDS = """
    PatientName PatientID StudyDate StudyTime StudyInstanceUID ModalitiesInStudy AcquisitionDateTime
    SeriesNumber Rows PatientAge PixelData OtherPatientIDsSequence TimezoneOffsetFromUTC
    RequestAttributesSequence.ScheduledProcedureStepID SpecificCharacterSet SOPClassUID
    limit offset includefield fuzzymatching emptyvaluematching multiplevaluematching accept charset
"""
NAMES = st.one_of(
    st.sampled_from(KEYWORDS.split()),
    st.sampled_from([".".join(path) for path in LEVEL_OF_KEY]),
    st.sampled_from(["00100010.00100020", "PatientName.PatientID", ".", "0010001", "FFFEE000", ""]),
    st.sampled_from(["", "X\r\nX-Injected: 1", "\0", "å", "山"]),
    st.from_regex(r"[0-9A-Fa-f]{8}", fullmatch=True),
    st.text(max_size=12),
)
PIECES = st.one_of(
    st.sampled_from(
        ["true", "false", "all", '""', "20240131", "235960", "+0100", "-1400", "1.2.3"]
    ),
    st.sampled_from(
        ["CT", "191212121212", "Åkerström^Björn=山田", "99991231", "00010101", "1e999"]
    ),
    st.sampled_from(list("*?-+,\\^=.:\" \0\t\n\x1f%_[]{}()'\u0301\u0661\ud7ff\U0010ffff")),
    st.text(max_size=4),
)
VALUES = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=40))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


@settings(QUIETLY, max_examples=int(SECONDS * 120))
@given(pairs=PAIRS, level=st.sampled_from(SearchLevel))
@example(pairs=[("AcquisitionDateTime", "00010101-+1400")], level=SearchLevel.INSTANCES)
@example(pairs=[("StudyDate", "-" * 200)], level=SearchLevel.STUDIES)
def test_any_pairs_are_a_search_or_refused(
    pairs: list[tuple[str, str]], level: SearchLevel
) -> None:
    with suppress(InvalidQuery):
        search = parse_search(pairs, level=level, max_results=MAX_RESULTS)

        assert 0 <= search.limit <= MAX_RESULTS
        assert {LEVEL_OF_KEY.get(key.path) for key in search.keys} <= set(LEVEL_OF_KEY.values())


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("server")) as server:
        with Connection(server.port) as connection:
            connection.post(an_object())
        yield server


class Connection:
    """HTTP/1.1 as bytes: a client library would tidy up what is to be tried."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._answer = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._socket.close()

    def post(self, file: bytes) -> int:
        return self._exchange(
            f"POST /dicomweb/studies HTTP/1.1\r\nHost: a\r\nContent-Type: {DICOM}\r\n"
            f"Content-Length: {len(file)}\r\n\r\n".encode()
            + file
        )

    def get(self, target: bytes) -> int:
        """The status; 0 when the connection was closed without an answer."""
        accept = b"Accept: application/dicom+json\r\n\r\n"
        return self._exchange(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + accept)

    def _exchange(self, request: bytes) -> int:
        try:
            self._socket.sendall(request)
            status = self._read()
        except ConnectionError:
            status = 0
        if status in (0, 400):  # the server closes after what it cannot read
            self.__exit__()
            self.__init__(self._port)  # type: ignore[misc]
        return status

    def _read(self) -> int:
        line = self._answer.readline()
        if not line:
            return 0
        length = 0
        while (field := self._answer.readline()) not in (b"\r\n", b""):
            name, _, value = field.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self._answer.read(length)
        return int(line.split()[1])


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    quoted = (
        f"{quote_from_bytes(name.encode())}={quote_from_bytes(value.encode())}"
        for name, value in pairs
    )
    return "&".join(quoted).encode()


RESOURCES = st.sampled_from(
    [b"/studies", b"/series", b"/instances", b"/studies/1.2/series", b"/studies/1.2/instances"]
)
ANSWERS = (200, 204, 400, 406)


def over_http(live: Live, query: bytes, resource: bytes) -> int:
    with Connection(live.port) as connection:
        return connection.get(b"/dicomweb" + resource + b"?" + query)


@settings(QUIETLY, max_examples=int(SECONDS * 30))
@given(pairs=PAIRS, resource=RESOURCES)
@example(pairs=[("PatientName", "[*?]\\")], resource=b"/studies")
@example(pairs=[("山", ""), ("\0", "")], resource=b"/studies")
@example(pairs=[(f"x{number}", "") for number in range(900)], resource=b"/studies")
@example(pairs=[("offset", "9" * 18), ("limit", "1")], resource=b"/instances")
@example(pairs=[("includefield", "all"), ("fuzzymatching", "true")], resource=b"/instances")
def test_any_search_over_http_finds_something_or_nothing_or_is_refused(
    live: Live, pairs: list[tuple[str, str]], resource: bytes
) -> None:
    assert over_http(live, encoded(pairs), resource) in ANSWERS


@settings(QUIETLY, max_examples=int(SECONDS * 30))
@given(query=st.binary(max_size=60).map(lambda raw: quote_from_bytes(raw, safe="=&%").encode()))
def test_any_percent_encoded_bytes_are_no_server_error(live: Live, query: bytes) -> None:
    assert over_http(live, query, b"/studies") in ANSWERS


@settings(QUIETLY, max_examples=int(SECONDS * 30))
@given(query=st.binary(max_size=60))
def test_any_raw_bytes_are_no_server_error(live: Live, query: bytes) -> None:
    # what ends the request line makes another request, which the server may close on
    assert over_http(live, query.translate(None, b"\r\n"), b"/studies") < 500


def test_a_parameter_cannot_add_a_header(live: Live) -> None:
    answer = httpx2.get(
        f"{live.url}/studies?X%0D%0AX-Injected:%201", headers={"Accept": "application/dicom+json"}
    )

    assert answer.headers["Warning"].endswith("were ignored: X%0D%0AX-Injected%3A%201")
    assert "X-Injected" not in answer.headers


def test_a_server_that_was_fuzzed_still_answers(live: Live) -> None:
    assert over_http(live, b"limit=1", b"/studies") == 200
