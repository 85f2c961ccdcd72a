"""Fixtures that several folders of tests share."""

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

import postgresql_server
import search_path
from bfr_dicomweb.index.engine import Index
from shared_data import COMPLETE

# Says in the end what was left out, and makes that a failure where all of it is meant to run.
pytest_plugins = ("plugin_left_out",)

# The same examples in every run, so that a change and not chance turns a test red; the fuzz
# session, which sets the time to search, searches anew each time.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
if "BFR_TEST_FUZZ_SECONDS" not in os.environ:
    hypothesis.settings.load_profile("repeatable")

search_path.leave_out_environment()

# A shell lets what it starts in the background ignore the interrupt, and so would our programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NUMBERS = itertools.count(1)


async def _migrate(url: str) -> None:
    index = await Index.open(url)
    await index.migrate()
    await index.close()


def _migrated(url: str) -> None:
    """Migrate outside any event loop that a test may be running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _migrate(url)).result()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_server.Server]:
    """A server with a migrated database called ``template``."""
    binaries = postgresql_server.find_binaries()
    if binaries is None:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if COMPLETE:
            pytest.fail(reason)
        pytest.skip(reason)
    server = postgresql_server.start(binaries)
    try:
        server.create_database("template")
        _migrated(server.url("template"))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "catalogue.db"
    _migrated(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated catalogue in a file of its own."""
    path = tmp_path / "catalogue.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def postgresql_url(postgresql: postgresql_server.Server) -> Iterator[str]:
    """A migrated catalogue in a database of its own."""
    name = f"test{next(_NUMBERS)}"
    postgresql.create_database(name, "template")
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test on both databases."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def index(database_url: str) -> AsyncIterator[Index]:
    opened = await Index.open(database_url)
    yield opened
    await opened.close()
