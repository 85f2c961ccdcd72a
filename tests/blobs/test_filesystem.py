"""The blob store: nothing or the whole object, whatever happens in between."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from bfr_dicomweb.blobs import filesystem
from bfr_dicomweb.blobs.filesystem import FileBlobStore, Staged
from bfr_dicomweb.errors import StorageFull, Unavailable

Store = Callable[[bytes], str]


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[FileBlobStore]:
    opened = FileBlobStore(tmp_path)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def store(blobs: FileBlobStore) -> Store:
    """Takes an object through all steps and gives its key."""

    def through(content: bytes) -> str:
        staged = sealed(blobs, content)
        blobs.place(staged)
        blobs.flush([staged.key])
        blobs.settle([staged.key])
        return staged.key

    return through


def sealed(blobs: FileBlobStore, content: bytes) -> Staged:
    staged = blobs.stage()
    staged.write([content])
    staged.seal()
    return staged


def dead(root: Path, steps: Callable[[FileBlobStore], None]) -> None:
    """A process that does this much and is killed."""
    child = os.fork()
    if child == 0:
        try:
            steps(FileBlobStore(root))
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def doubtful_keys(blobs: FileBlobStore) -> list[str]:
    return [key for _, keys in blobs.doubtful() for key in keys]


# --- what is stored ---------------------------------------------------------------------------


def test_what_is_stored_is_read_back(blobs: FileBlobStore, store: Store) -> None:
    key = store(b"0123456789")

    assert blobs.read(key, 0, 10) == b"0123456789"


def test_any_range_can_be_read(blobs: FileBlobStore, store: Store) -> None:
    key = store(b"0123456789")

    assert blobs.read(key, 3, 7) == b"3456"


def test_reading_beyond_the_end_is_unavailable(blobs: FileBlobStore, store: Store) -> None:
    key = store(b"0123456789")

    with pytest.raises(Unavailable, match="shorter than the catalogue says"):
        blobs.read(key, 3, 11)


def test_reading_what_is_not_there_is_unavailable(blobs: FileBlobStore) -> None:
    with pytest.raises(Unavailable):
        blobs.read("20260101/abc/0001", 0, 1)


def test_the_digest_is_that_of_the_bytes_on_the_disk(blobs: FileBlobStore, store: Store) -> None:
    key = store(b"as stored")
    blobs.path(key).chmod(0o640)
    blobs.path(key).write_bytes(b"damaged")

    assert blobs.digest(key) == (hashlib.sha256(b"damaged").digest(), 7)


@given(pieces=st.lists(st.lists(st.binary(max_size=9), max_size=4), max_size=4))
def test_what_is_written_in_pieces_is_their_sum(pieces: list[list[bytes]]) -> None:
    with TemporaryDirectory() as folder:
        staged = Staged("key", Path(folder) / "key")
        for some in pieces:
            staged.write(some)
        staged.seal()

        whole = b"".join(map(b"".join, pieces))
        assert staged.path.read_bytes() == whole
        assert (staged.digest, staged.size_bytes) == (hashlib.sha256(whole).digest(), len(whole))


def test_more_pieces_than_one_call_takes_are_written(blobs: FileBlobStore) -> None:
    staged = blobs.stage()
    staged.write([b"ab"] * (filesystem.MAX_VECTOR + 1))
    staged.seal()

    assert staged.path.read_bytes() == b"ab" * (filesystem.MAX_VECTOR + 1)


def test_an_object_that_is_discarded_leaves_no_file(blobs: FileBlobStore) -> None:
    staged = blobs.stage()
    staged.write([b"half"])

    staged.discard()

    assert not staged.path.exists()


def test_stored_files_have_the_published_layout(
    blobs: FileBlobStore, store: Store, tmp_path: Path
) -> None:
    key = store(b"")

    assert blobs.path(key) == tmp_path / "objects" / f"{key}.dcm"
    assert key.count("/") == 2


# --- keys -------------------------------------------------------------------------------------


def test_keys_come_in_the_order_of_storing(blobs: FileBlobStore, store: Store) -> None:
    stored = [store(b"") for _ in range(20)]

    assert list(blobs.keys()) == stored


def test_older_days_come_first(blobs: FileBlobStore, store: Store) -> None:
    today = store(b"")
    older = blobs.path("20010101/aa/00")
    older.parent.mkdir(parents=True)
    older.write_bytes(b"")

    assert list(blobs.keys()) == ["20010101/aa/00", today]


def test_a_store_that_nobody_has_opened_has_no_keys(tmp_path: Path) -> None:
    assert list(FileBlobStore(tmp_path / "none").keys()) == []


def test_files_of_others_are_no_objects(blobs: FileBlobStore, store: Store) -> None:
    key = store(b"")
    blobs.path(key).with_suffix(".txt").write_text("a note")

    assert list(blobs.keys()) == [key]


def test_a_bucket_holds_no_more_than_its_size(
    blobs: FileBlobStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "BUCKET_SIZE", 3)
    keys = [store(b"") for _ in range(7)]

    buckets = [key.rsplit("/", 1)[0] for key in keys]

    assert sorted(buckets.count(bucket) for bucket in set(buckets)) == [1, 3, 3]


def test_two_processes_never_share_a_key(tmp_path: Path) -> None:
    first, second = FileBlobStore(tmp_path), FileBlobStore(tmp_path)
    staged = [store.stage() for store in (first, second) for _ in range(5)]

    for one in staged:
        one.discard()
    first.close()
    second.close()

    assert len({one.key for one in staged}) == 10


# --- no room ----------------------------------------------------------------------------------


def test_nothing_is_staged_below_the_reserve(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path, reserve_bytes=1 << 62)

    with pytest.raises(StorageFull, match="reserve"):
        blobs.stage()
    blobs.close()


def test_without_a_reserve_the_last_byte_may_be_used(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path, reserve_bytes=0)

    blobs.stage().discard()
    blobs.close()


def test_a_full_device_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(StorageFull), filesystem.translated_os_errors():
        raise OSError(28, "No space left on device")


def test_a_broken_device_is_unavailable_and_named_by_its_error() -> None:
    with pytest.raises(Unavailable, match="Input/output error"), filesystem.translated_os_errors():
        raise OSError(5, "Input/output error")


# --- processes --------------------------------------------------------------------------------


def test_what_a_living_process_stages_is_not_in_doubt(tmp_path: Path) -> None:
    living, other = FileBlobStore(tmp_path), FileBlobStore(tmp_path)
    staged = sealed(living, b"on its way")

    assert doubtful_keys(other) == []

    staged.discard()
    living.close()


def test_what_the_asking_process_stages_is_not_in_doubt(blobs: FileBlobStore) -> None:
    sealed(blobs, b"on its way")

    assert doubtful_keys(blobs) == []


def test_what_a_dead_process_staged_is_in_doubt(blobs: FileBlobStore, tmp_path: Path) -> None:
    dead(tmp_path, lambda store: store.stage().write([b"half"]))

    assert len(doubtful_keys(blobs)) == 1


def test_doubts_are_told_once(blobs: FileBlobStore, tmp_path: Path) -> None:
    dead(tmp_path, lambda store: store.stage().write([b"half"]))
    doubtful_keys(blobs)

    assert doubtful_keys(blobs) == []


def test_a_doubt_is_told_to_one_process_at_a_time(blobs: FileBlobStore, tmp_path: Path) -> None:
    dead(tmp_path, lambda store: store.stage().write([b"half"]))
    told = []

    for _, keys in blobs.doubtful():
        told.append((keys, doubtful_keys(FileBlobStore(tmp_path))))

    assert [to_other for _, to_other in told] == [[]]


def test_what_is_staged_is_in_flight(blobs: FileBlobStore) -> None:
    assert blobs.is_in_flight(sealed(blobs, b"").key)


def test_what_is_settled_is_not_in_flight(blobs: FileBlobStore, store: Store) -> None:
    assert not blobs.is_in_flight(store(b""))


def test_a_store_that_is_closed_leaves_no_staging_folder(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)
    blobs.stage().discard()

    blobs.close()

    assert list(blobs.staging.iterdir()) == []


# --- the law ----------------------------------------------------------------------------------


class Lives(RuleBasedStateMachine):
    """Steps of several processes, each of which may die after any of them.

    At every point an object is in the store whole or not at all, and what dead processes left
    in doubt is exactly what they had not settled or withdrawn.
    """

    sealed_objects = Bundle("sealed")
    placed_objects = Bundle("placed")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.process = FileBlobStore(self.root)
        self.process.open()
        self.life = 0
        self.content: dict[str, bytes] = {}  # of every key ever
        self.in_store: set[str] = set()
        self.unfinished: set[str] = set()  # of the living process
        self.left: set[str] = set()  # unfinished when its process died

    def teardown(self) -> None:
        self.process.close()
        self._folder.cleanup()

    @rule(target=sealed_objects, content=st.binary(max_size=40))
    def receive(self, content: bytes) -> tuple[int, Staged]:
        staged = sealed(self.process, content)
        self.content[staged.key] = content
        self.unfinished.add(staged.key)
        return self.life, staged

    @rule(content=st.binary(max_size=40))
    def receive_half(self, content: bytes) -> None:
        staged = self.process.stage()
        staged.write([content])
        staged.discard()

    @rule(target=placed_objects, one=consumes(sealed_objects))
    def place(self, one: tuple[int, Staged]) -> tuple[int, Staged]:
        life, staged = one
        if life != self.life:
            return multiple()  # type: ignore[return-value]  # its process is dead
        self.process.place(staged)
        self.process.flush([staged.key])
        self.in_store.add(staged.key)
        return one

    @rule(one=consumes(placed_objects))
    def settle(self, one: tuple[int, Staged]) -> None:
        life, staged = one
        if life == self.life:
            self.process.settle([staged.key])
            self.unfinished.discard(staged.key)

    @rule(one=consumes(placed_objects))
    def withdraw(self, one: tuple[int, Staged]) -> None:
        life, staged = one
        if life == self.life:
            self.process.withdraw([staged.key])
            self.unfinished.discard(staged.key)
            self.in_store.discard(staged.key)

    @rule()
    def die(self) -> None:
        if self.process._lock >= 0:
            os.close(self.process._lock)  # what the kernel does of a killed process
        self.process = FileBlobStore(self.root)
        self.life += 1
        self.left |= self.unfinished
        self.unfinished = set()

    @rule(every=st.integers(1, 3))
    def resolve(self, every: int) -> None:
        committed = set(sorted(self.in_store)[::every])
        told: set[str] = set()
        for folder, keys in self.process.doubtful():
            told |= set(keys)
            self.process.settle(committed.intersection(keys), folder)
            self.process.withdraw(set(keys) - committed, folder)
            self.in_store -= set(keys) - committed
        assert told == self.left
        self.left = set()

    @invariant()
    def every_object_is_whole_or_absent(self) -> None:
        stored = set(self.process.keys())
        assert stored == self.in_store
        for key in stored:
            expected = self.content[key]
            assert self.process.digest(key) == (hashlib.sha256(expected).digest(), len(expected))

    @invariant()
    def what_is_unfinished_is_in_flight(self) -> None:
        in_flight = {key for key in self.content if self.process.is_in_flight(key)}
        assert in_flight == self.unfinished | self.left


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
