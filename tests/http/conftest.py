"""One server for all HTTP tests of a database, and a client whose answers are all checked."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from http_described import deviation
from live import Live, running
from objects import multipart, uid

Store = Callable[..., httpx2.Response]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    settings = {}
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgresql")
        name = f"served_{uid()[-12:]}"
        cluster.create_database(name)
        settings["database_url"] = cluster.url(name)
    with running(tmp_path_factory.mktemp("server"), settings) as live:
        yield live


@pytest.fixture
def client(server: Live) -> Iterator[httpx2.Client]:
    """Answers that openapi/ does not describe fail the test."""
    deviations: list[str] = []

    def check(response: httpx2.Response) -> None:
        response.read()
        found = deviation(response)
        if found is not None:
            deviations.append(found)

    with httpx2.Client(
        base_url=server.url,
        headers={"Accept": "application/dicom+json"},
        event_hooks={"response": [check]},
        timeout=60,
    ) as client:
        yield client
    assert not deviations


@pytest.fixture
def store(client: httpx2.Client) -> Store:
    """Store objects over STOW-RS; by default all must be stored."""

    def stow(
        files: Sequence[bytes], *, path: str = "/studies", status: int = 200, **headers: Any
    ) -> httpx2.Response:
        body, content_type = multipart(files)
        response = client.post(path, content=body, headers={"Content-Type": content_type} | headers)
        assert response.status_code == status, response.text
        return response

    return stow


@pytest.fixture(scope="session")
def big_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("big")
