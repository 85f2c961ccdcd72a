"""Several server processes on one catalogue answer as one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from live import Live, running
from objects import a_series, an_object, multipart

ACCEPT = {"Accept": "application/dicom+json"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def crew(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """Two processes behind one port."""
    settings = {"workers": "2"}
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        server.create_database("crew")
        settings["database_url"] = server.url("crew")
    with running(tmp_path_factory.mktemp("crew"), settings) as live:
        yield live


def stow(live: Live, files: list[bytes]) -> httpx2.Response:
    body, content_type = multipart(files)
    # a connection of its own, so that either process may take it
    return httpx2.post(
        f"{live.url}/studies", content=body, headers=ACCEPT | {"Content-Type": content_type}
    )


def test_what_one_process_stored_every_process_finds(crew: Live) -> None:
    series = a_series(20, PatientID="CREW-1")
    with ThreadPoolExecutor(4) as clients:
        statuses = list(clients.map(lambda file: stow(crew, [file]).status_code, series))
    url = f"{crew.url}/instances?PatientID=CREW-1"
    found = [len(httpx2.get(url, headers=ACCEPT).json()) for _ in range(8)]
    assert (set(statuses), found) == ({200}, [20] * 8)


def test_the_same_object_stored_by_both_at_once_is_stored_once(crew: Live) -> None:
    file = an_object(PatientID="CREW-2")
    with ThreadPoolExecutor(4) as clients:
        statuses = list(clients.map(lambda _: stow(crew, [file]).status_code, range(12)))
    found = httpx2.get(f"{crew.url}/instances?PatientID=CREW-2", headers=ACCEPT).json()
    assert (set(statuses), len(found)) == ({200}, 1)


def test_metrics_are_those_of_all_processes(crew: Live) -> None:
    def counted() -> float:
        text = httpx2.get(f"{crew.origin}/metrics").text
        name = 'bfr_http_requests_total{method="GET",path="/health/live",status="200"}'
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return float(lines[0].split()[-1]) if lines else 0

    before = counted()
    for _ in range(10):
        httpx2.get(f"{crew.origin}/health/live")
    assert counted() - before == 10
