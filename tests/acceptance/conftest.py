"""A registry for each test: what one tells must not change what another finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import registry as registries
from registry import Registry

VIEWER = "https://viewer.example.org/viewer"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with registries.running(tmp_path, {"viewer_url": VIEWER}) as running:
        yield running
