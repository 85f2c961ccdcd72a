"""What outlives a process until the catalogue has it."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.errors import StorageFull

ENTRIES = st.lists(st.binary(max_size=40), max_size=6)


def left(root: Path) -> list[bytes]:
    return [entry for one in Journal(root).left_behind() for entry in one.entries]


def files(root: Path) -> list[Path]:
    return sorted((root / "journal").iterdir())


def _die_with(root: Path, entries: list[bytes]) -> None:
    journal = Journal(root)
    for entry in entries:
        journal.append(entry)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_wrote_is_left_behind(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_die_with, args=(tmp_path, [b"one", b"", b"two"])
    )
    process.start()
    process.join()

    assert left(tmp_path) == [b"one", b"", b"two"]


def test_what_a_living_process_wrote_is_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one")

    assert left(tmp_path) == []


def test_what_is_needed_when_it_closes_is_left_behind(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"o", b"ne")
    journal.close()

    assert left(tmp_path) == [b"one"]


def test_what_was_taken_over_is_not_left_behind_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one")
    journal.close()
    left(tmp_path)

    assert files(tmp_path) == []


def test_who_stops_while_taking_over_leaves_it_to_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one")
    journal.close()
    next(found := Journal(tmp_path).left_behind())
    found.close()  # type: ignore[attr-defined]

    assert left(tmp_path) == [b"one"]


def test_nothing_is_left_of_what_was_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    places = [journal.append(b"one"), journal.append(b"two")]
    for place in places:
        journal.forget(place)
    journal.close()

    assert files(tmp_path) == []


@pytest.mark.parametrize("forgotten", [0, 1])
def test_a_full_file_goes_when_nothing_in_it_is_needed(tmp_path: Path, forgotten: int) -> None:
    journal = Journal(tmp_path, file_bytes=10)
    first = journal.append(b"one")
    if forgotten:
        journal.forget(first)
    journal.append(b"two")

    assert len(files(tmp_path)) == 2 - forgotten


@given(ENTRIES, st.integers(0, 400))
def test_a_file_cut_anywhere_gives_what_is_whole(
    tmp_path_factory: pytest.TempPathFactory, entries: list[bytes], at: int
) -> None:
    root = tmp_path_factory.mktemp("journal")
    journal = Journal(root)
    journal.append(b"first")
    for entry in entries:
        journal.append(entry)
    journal.close()
    (file,) = files(root)
    os.truncate(file, min(at, file.stat().st_size))

    found = left(root)
    assert found == [b"first", *entries][: len(found)]


@given(st.binary(max_size=200))
def test_any_bytes_give_entries(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.mktemp("journal")
    (root / "journal").mkdir()
    (root / "journal" / "1-a").write_bytes(data)

    assert all(entry in data for entry in left(root))


@contextmanager
def _files_of_at_most(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_entry_that_does_not_fit_is_refused_and_hides_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"one")
    with _files_of_at_most(100), pytest.raises(StorageFull):
        journal.append(bytes(200))
    journal.append(b"two")
    journal.close()

    assert left(tmp_path) == [b"one", b"two"]
