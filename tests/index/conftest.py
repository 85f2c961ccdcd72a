"""A filled catalogue for tests that only read, on both databases."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from population import population
from searched import Catalogue, opened


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    """Empty."""
    yield from opened(database_url)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def populated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogue]:
    """Holds `population()`; only for tests that read."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path_factory.mktemp("populated") / "catalogue.db"
        shutil.copy(template, path)
        url = f"sqlite+aiosqlite:///{path}"
    else:
        server = request.getfixturevalue("postgresql")
        name = f"populated_{request.module.__name__.rpartition('.')[2]}"
        server.create_database(name, "template")
        url = server.url(name)
    for filled in opened(url):
        filled.store(population())
        yield filled
