"""Store transaction (PS3.18 section 10.5), shared by every door.

An object is received in pieces, staged, read once, and committed together with
whatever else arrived meanwhile (group commit): one flush of the folders and one
catalogue transaction for many objects, so that safety does not cost throughput.
"""

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final, TypeVar

import orjson
import structlog
import zstandard

from bfr_dicomweb.blobs.filesystem import FileBlobStore, Staged
from bfr_dicomweb.dicom import coercion, non_patient, part10, transfer_syntaxes
from bfr_dicomweb.dicom.coercion import NOTHING_PRESUMED
from bfr_dicomweb.dicom.coercion import Presumed as Presumed
from bfr_dicomweb.errors import (
    ArchiveError,
    Conflict,
    DifferentDuplicate,
    SOPClassMismatch,
    StudyMismatch,
    TargetMismatch,
    TooLarge,
    Unavailable,
    UnidentifiableObject,
)
from bfr_dicomweb.index import changes, instances, non_patient_instances, refused_stores
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import PreparedInstance
from bfr_dicomweb.index.non_patient_instances import PreparedNonPatientInstance
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.refs import NonPatientRef, Ref
from bfr_dicomweb.services import duplicates
from bfr_dicomweb.services.headers import read_header_of

T = TypeVar("T")

STUDY: Final = "0020000D"
SERIES: Final = "0020000E"
SOP_INSTANCE: Final = "00080018"
SOP_CLASS: Final = "00080016"
MEDIA_STORAGE_SOP_CLASS: Final = "00020002"
SOURCE_APPLICATION_ENTITY: Final = "00020016"
AVAILABLE_TRANSFER_SYNTAX: Final = "00083002"

# Objects up to this size are staged, read and flushed in one visit to a thread.
BUFFER_BYTES: Final = 1 << 20
SMALL_BYTES: Final = 1 << 15
# What a thread of its own hands to the disk at once, while the system receives more.
PIECE_BYTES: Final = 1 << 18
# Complete objects that are not yet committed, per process: bounds memory. Those that are still
# arriving hold a buffer each and do not count, so that slow senders keep nobody waiting.
IN_FLIGHT: Final = 32
GROUP_SIZE: Final = 250
THREADS: Final = 4
# The file and the folder of an object that is alone.
FLUSHERS: Final = 2
UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")

log = structlog.get_logger()
_local = threading.local()


class Outcome(Enum):
    STORED = "stored"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What became of one object.

    Attributes:
        error: Says why it was refused, and only then.
        original_attributes: Item of Original Attributes Sequence (0400,0561) for what it was given
            here; None when that is nothing.
    """

    outcome: Outcome
    ref: Ref | NonPatientRef | None
    sop_class_uid: str
    sop_instance_uid: str
    findings: tuple[part10.Finding, ...] = ()
    error: ArchiveError | None = None
    original_attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What an object has to be; None is anything.

    Attributes:
        category: Of instances that belong to no patient; None is an instance of a study.
    """

    study_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    category: str | None = None


ANY_OBJECT: Final = Expected()
Prepared = PreparedInstance | PreparedNonPatientInstance
_Done = asyncio.Future[StoreResult] | concurrent.futures.Future[StoreResult]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A staged object, read and ready to be committed."""

    staged: Staged
    ref: Ref | NonPatientRef
    sop_class_uid: str
    findings: tuple[part10.Finding, ...]
    row: Prepared
    done: _Done
    is_flushed: bool


class Store:
    """The way in for one process.

    Args:
        max_object_bytes: Larger objects are refused with TooLarge; None is no limit.
    """

    def __init__(
        self, index: Index, blobs: FileBlobStore, *, max_object_bytes: int | None = None
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._max_object_bytes = max_object_bytes
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._flushers = ThreadPoolExecutor(FLUSHERS, thread_name_prefix="flush")
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._queue: asyncio.Queue[_Candidate] = asyncio.Queue()
        self._committer: asyncio.Task[None] | None = None
        self._settled: list[str] = []
        self._clashes: set[asyncio.Task[None]] = set()
        # whose senders do nothing until they are stored
        self._awaited: set[BlockingReceiving] = set()
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        """Settle what dead processes left in doubt, then take objects."""
        self._loop = asyncio.get_running_loop()
        await self._run(self._blobs.open)
        await self._resolve_doubts()
        self._committer = asyncio.create_task(self._commit_groups(), name="store-committer")

    async def close(self) -> None:
        """Finish what is under way, then stop."""
        await self._queue.join()
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.gather(self._committer, *self._clashes, return_exceptions=True)
        await self._run(self._flush, [])
        await self._run(self._blobs.close)
        self._threads.shutdown()
        self._flushers.shutdown()

    def receive(self, expected: Expected = ANY_OBJECT) -> "Receiving":
        """Begin to receive one object; another one than is expected is refused."""
        return Receiving(self, _Incoming(self, expected, NOTHING_PRESUMED))

    def receive_blocking(self, *, sop_instance_uid: str, presumed: Presumed) -> "BlockingReceiving":
        """Begin to receive one object in a thread of the caller's own.

        Args:
            sop_instance_uid: Another object is refused.
            presumed: Of what it does not say itself.
        """
        expected = Expected(sop_instance_uid=sop_instance_uid)
        return BlockingReceiving(self, _Incoming(self, expected, presumed))

    def _too_large(self, received: int) -> TooLarge | None:
        limit = self._max_object_bytes
        if limit is None or received <= limit:
            return None
        return TooLarge(f"an object may have at most {limit} bytes")

    async def _run(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    async def _commit_groups(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP_SIZE and not self._queue.empty():
                group.append(self._queue.get_nowait())
            try:
                await self._commit(group)
            except Exception as error:  # the border: one group's trouble must not end all storing
                log.exception("store group failed", objects=len(group))
                for one in group:
                    _fail(one, error)
            finally:
                for _ in group:
                    self._queue.task_done()

    async def _commit(self, group: Sequence[_Candidate]) -> None:
        """Commit a group; when it fails, each alone, so that none fails for another."""
        try:
            rows = [one.row for one in group]
            added = await self._index.transact(
                partial(add, prepared=rows),
                first=partial(self._flush, [one.staged.key for one in group if not one.is_flushed]),
            )
        except Exception as error:  # the border between one object's fate and another's
            await self._after_failure(group, error)
            return
        unwanted: list[str] = []
        for one, result in zip(group, added, strict=True):
            if result.outcome is instances.Outcome.DIFFERENT:
                self._clashes.add(clash := asyncio.create_task(self._resolve_clash(one)))
                clash.add_done_callback(self._clashes.discard)
                continue
            if result.outcome is instances.Outcome.STORED:
                # with the next group: it is housekeeping, and the next start would do it, too
                self._settled.append(one.staged.key)
            else:
                unwanted.append(one.staged.key)
            if not one.done.done():
                one.done.set_result(_result(one, result.outcome))
        if unwanted:
            await self._run(self._blobs.withdraw, unwanted)

    async def _resolve_clash(self, one: _Candidate) -> None:
        """Its SOP Instance UID is taken by a file with other bytes: perhaps by the same object."""
        try:
            async with self._index.read() as conn:
                blob_key = await _blob_key(conn, one.ref)
            is_same = blob_key is not None and await self._run(
                duplicates.are_same_object,
                self._blobs.path(blob_key),
                self._blobs.path(one.staged.key),
            )
            became = instances.Outcome.DUPLICATE if is_same else instances.Outcome.DIFFERENT
            await self._run(self._blobs.withdraw, [one.staged.key])
            if not is_same:
                await self._note_refused(one)
        except Exception as error:  # the border between one object's fate and another's
            _fail(one, error)
            return
        if not one.done.done():
            one.done.set_result(_result(one, became))

    async def _note_refused(self, one: _Candidate) -> None:
        """Its sender must not be told later that the archive has what it has."""
        if isinstance(one.ref, NonPatientRef):
            return  # these are not committed to
        uid, sender = one.ref.sop_instance_uid or "", one.row.new.sender
        at_us = changes.now_us()
        await self._index.transact(
            partial(refused_stores.note, sop_instance_uid=uid, sender=sender, at_us=at_us)
        )

    def _flush(self, keys: Sequence[str]) -> None:
        settled, self._settled = self._settled, []
        self._blobs.settle(settled)
        self._blobs.flush(keys)

    async def _after_failure(self, group: Sequence[_Candidate], error: Exception) -> None:
        try:
            async with self._index.read() as conn:
                known = await instances.known_blob_keys(conn, [one.staged.key for one in group])
        except ArchiveError:
            # the links stay in staging: the next start asks the catalogue again
            log.warning("store commit in doubt", objects=len(group))
            for one in group:
                _fail(one, error)
            return
        committed = [one for one in group if one.staged.key in known]
        for one in committed:
            if not one.done.done():
                one.done.set_result(_result(one, instances.Outcome.STORED))
        await self._run(self._blobs.settle, [one.staged.key for one in committed])
        failed = [one for one in group if one.staged.key not in known]
        if len(failed) > 1 and not isinstance(error, Unavailable):
            log.warning("store group failed, trying one by one", error=type(error).__name__)
            for one in failed:
                await self._commit([one])
            return
        for one in failed:
            _fail(one, error)
        await self._run(self._blobs.withdraw, [one.staged.key for one in failed])

    async def _resolve_doubts(self) -> None:
        doubts = self._blobs.doubtful()
        while (found := await self._run(next, doubts, None)) is not None:
            folder, keys = found
            async with self._index.read() as conn:
                known = await instances.known_blob_keys(conn, keys)
            await self._run(self._blobs.settle, [key for key in keys if key in known], folder)
            lost = [key for key in keys if key not in known]
            await self._run(self._blobs.withdraw, lost, folder)
            log.info("staging swept", kept=len(known), withdrawn=len(lost))


class _Incoming:
    """The bytes of one object on their way to the disk; used by one thread at a time."""

    def __init__(self, store: "Store", expected: Expected, presumed: Presumed) -> None:
        self._store = store
        self._expected = expected
        self._presumed = presumed
        self._staged: Staged | None = None
        self._flushing: list[concurrent.futures.Future[None]] = []

    def write(self, pieces: Sequence[bytes | memoryview]) -> Staged:
        if self._staged is None:
            self._staged = self._store._blobs.stage()
        self._staged.write(pieces)
        return self._staged

    def discard(self) -> None:
        if self._staged is not None:
            concurrent.futures.wait(self._flushing)
            self._staged.discard()
            self._store._blobs.withdraw([self._staged.key])

    def end(
        self,
        rest: Sequence[bytes | memoryview],
        done: "_Done",
        error: ArchiveError | None,
        *,
        is_alone: bool = False,
    ) -> "_Candidate | StoreResult":
        """The last bytes to the disk, read the header, flush, make the row.

        Args:
            is_alone: Nobody shares the flush of the folder, which then goes on beside that of the
                file, while the header is read.
        """
        header: part10.Header | None = None
        try:
            if error is not None:
                raise error
            staged = self.write(rest)
            # what turns out to be no object of ours is withdrawn
            self._store._blobs.place(staged)
            if is_alone:
                self._flush_beside(staged)
            header = self._read(staged, rest)
            ref, sop_class_uid = identify(header, self._expected)
            header = coercion.completed(header, self._presumed)
            row = prepare(
                header,
                ref,
                sop_class_uid,
                key=staged.key,
                size=staged.size_bytes,
                digest=staged.digest,
            )
            self._flush(staged)
        except BaseException as problem:
            self.discard()
            if isinstance(problem, ArchiveError):
                return _refused(header, problem)
            raise
        return _Candidate(staged, ref, sop_class_uid, row.new.findings, row, done, is_alone)

    def _flush_beside(self, staged: Staged) -> None:
        submit = self._store._flushers.submit
        flush = self._store._blobs.flush
        self._flushing = [submit(staged.seal), submit(flush, [staged.key])]

    def _flush(self, staged: Staged) -> None:
        if not self._flushing:
            staged.seal()
        for flushed in self._flushing:
            flushed.result()

    def _read(self, staged: Staged, rest: Sequence[bytes | memoryview]) -> part10.Header:
        default = self._presumed.character_set
        if staged.size_bytes <= SMALL_BYTES:
            return part10.read_header(b"".join(rest), character_set=default)
        # mapped, not joined: copying what was received costs more than reading it
        return read_header_of(staged.path, character_set=default)


class Receiving:
    """One object on its way in. End it with `finish` or `abort`, exactly once."""

    def __init__(self, store: Store, incoming: _Incoming) -> None:
        self._store = store
        self._incoming = incoming
        self._buffer: list[bytes | memoryview] = []
        self._buffered = 0
        self._received = 0
        self._writing: asyncio.Future[Staged] | None = None
        self._error: ArchiveError | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes, without a copy. What goes wrong is told by `finish`."""
        if self._error is not None:
            return
        self._received += len(data)
        self._error = self._store._too_large(self._received)
        if self._error is not None:
            self._buffer.clear()
            return
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= BUFFER_BYTES:
            await self._spill()

    async def _spill(self) -> None:
        """Hand the buffer to the disk while the next bytes arrive."""
        await self._written()
        pieces, self._buffer, self._buffered = self._buffer, [], 0
        self._writing = asyncio.ensure_future(self._store._run(self._incoming.write, pieces))

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                await writing
            except ArchiveError as error:
                self._error = error

    async def abort(self) -> None:
        """Forget it: the rest never came."""
        await self._written()
        await self._store._run(self._incoming.discard)

    async def finish(self) -> "asyncio.Task[StoreResult]":
        """All bytes are here; the task ends when the object is durably stored or refused.

        Waits while too many are on their way, which slows a sender down to what the disk takes.
        """
        try:
            await self._store._slots.acquire()
        except BaseException:
            await self.abort()
            raise
        return asyncio.create_task(self._finish(), name="store-finish")

    async def _finish(self) -> StoreResult:
        try:
            await self._written()
            done: asyncio.Future[StoreResult] = asyncio.get_running_loop().create_future()
            ended = await self._store._run(self._incoming.end, self._buffer, done, self._error)
            if isinstance(ended, StoreResult):
                return ended
            await self._store._queue.put(ended)
            return await done
        finally:
            self._store._slots.release()


class BlockingReceiving:
    """The same for a door whose objects each have a thread: it does the work of the disk itself,
    and its sender waits meanwhile. Only the commit is shared, with all who are ready for it.
    """

    def __init__(self, store: Store, incoming: _Incoming) -> None:
        self._store = store
        self._incoming = incoming
        self._buffer: list[bytes | memoryview] = []
        self._buffered = 0
        self._received = 0
        self._done: concurrent.futures.Future[StoreResult] | None = None
        self._error: ArchiveError | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes, without a copy. What goes wrong is told by `finish`."""
        if self._error is not None:
            return
        self._received += len(data)
        self._buffered += len(data)
        self._buffer.append(data)
        if self._buffered >= PIECE_BYTES:
            self._spill()

    def _spill(self) -> None:
        pieces, self._buffer, self._buffered = self._buffer, [], 0
        self._error = self._store._too_large(self._received)
        if self._error is None:
            try:
                self._incoming.write(pieces)
            except ArchiveError as error:
                self._error = error

    def abort(self) -> None:
        """Forget it: the rest never came. Does nothing after `end`."""
        if self._done is None:
            self._incoming.discard()

    def end(self) -> "concurrent.futures.Future[StoreResult]":
        """All bytes are here; the commit is on its way when this returns."""
        if self._done is not None:
            return self._done
        self._error = self._error or self._store._too_large(self._received)
        done = self._done = concurrent.futures.Future[StoreResult]()
        awaited = self._store._awaited
        is_alone = not awaited
        awaited.add(self)
        done.add_done_callback(lambda _: awaited.discard(self))
        try:
            ended = self._incoming.end(self._buffer, done, self._error, is_alone=is_alone)
            if isinstance(ended, StoreResult):
                done.set_result(ended)
            else:
                self._store._loop.call_soon_threadsafe(self._store._queue.put_nowait, ended)
        except Exception as error:  # it is raised where the result is waited for
            done.set_exception(error)
        self._buffer = []
        return done

    def finish(self) -> StoreResult:
        """What became of the object, when it is durable."""
        return self.end().result()


def _contradictions(header: part10.Header, sop_class_uid: str) -> tuple[part10.Finding, ...]:
    """What the File Meta Information says otherwise than the data set, which is believed."""
    named = (header.file_meta.get(MEDIA_STORAGE_SOP_CLASS, {}).get("Value") or [None])[0]
    if named in (None, sop_class_uid):
        return ()
    return (part10.Finding("sop-class-mismatch", MEDIA_STORAGE_SOP_CLASS),)


async def add(conn: Connection, prepared: Sequence[Prepared]) -> list[instances.Added]:
    """Write what is new, of either kind; the outcomes are in the order of `prepared`."""
    of_studies = [one for one in prepared if isinstance(one, PreparedInstance)]
    others = [one for one in prepared if isinstance(one, PreparedNonPatientInstance)]
    added = await instances.add_instances(conn, of_studies)
    if not others:
        return added
    in_turn, others_in_turn = iter(added), iter(await non_patient_instances.add(conn, others))
    return [
        next(in_turn if isinstance(one, PreparedInstance) else others_in_turn) for one in prepared
    ]


async def _blob_key(conn: Connection, ref: Ref | NonPatientRef) -> str | None:
    if isinstance(ref, NonPatientRef):
        other = await non_patient_instances.locate(conn, ref)
        return None if other is None else other.instance.blob_key
    stored = await instances.locate(conn, ref)
    return None if stored is None else stored.blob_key


def identify(
    header: part10.Header, expected: Expected = ANY_OBJECT
) -> tuple[Ref | NonPatientRef, str]:
    """The identity and the SOP class of an object.

    Raises:
        UnidentifiableObject: one of the four UIDs is missing or malformed, or the object is
            another one than its sender names.
        TargetMismatch: it belongs to another study than is expected, or is of another kind.
    """
    category = non_patient.BY_SOP_CLASS.get(_first(header, SOP_CLASS))
    if expected.category is not None:
        return _identify_non_patient(header, expected, category)
    if category is not None:
        raise SOPClassMismatch(f"of no study: its resource is /{category.name}")
    study = _required_uid(header, STUDY, "Study Instance UID (0020,000D)")
    series = _required_uid(header, SERIES, "Series Instance UID (0020,000E)")
    sop_instance = _required_uid(header, SOP_INSTANCE, "SOP Instance UID (0008,0018)")
    sop_class = _required_uid(header, SOP_CLASS, "SOP Class UID (0008,0016)")
    if expected.study_instance_uid not in (None, study):
        raise StudyMismatch("the object belongs to another study than the target resource")
    if expected.sop_instance_uid not in (None, sop_instance):
        raise UnidentifiableObject("the request names another SOP Instance UID than the data set")
    return Ref(study, series, sop_instance), sop_class


def _identify_non_patient(
    header: part10.Header, expected: Expected, category: non_patient.Category | None
) -> tuple[NonPatientRef, str]:
    sop_class = _required_uid(header, SOP_CLASS, "SOP Class UID (0008,0016)")
    sop_instance = _required_uid(header, SOP_INSTANCE, "SOP Instance UID (0008,0018)")
    if category is None or category.name != expected.category:
        where = "/studies" if category is None else f"/{category.name}"
        raise SOPClassMismatch(f"the resource of its SOP class is {where}")
    if expected.sop_instance_uid not in (None, sop_instance):
        raise TargetMismatch("the target resource has another SOP Instance UID")
    return NonPatientRef(category.name, sop_instance), sop_class


def expected_of(header: part10.Header) -> Expected:
    """What an object is expected to be by its SOP class alone."""
    category = non_patient.BY_SOP_CLASS.get(_first(header, SOP_CLASS))
    return ANY_OBJECT if category is None else Expected(category=category.name)


def is_uid(text: str) -> bool:
    """Fit to identify: digits and dots, 64 characters at most (PS3.5 section 9.1).

    Leading zeros of components are forbidden there but met in practice, and harmless.
    """
    return len(text) <= 64 and UID.fullmatch(text) is not None


def _required_uid(header: part10.Header, tag: str, name: str) -> str:
    value = _first(header, tag)
    if not value:
        raise UnidentifiableObject(f"{name} is missing")
    if len(value) > 64:
        raise UnidentifiableObject(f"{name} has more than 64 characters")
    if not is_uid(value):
        raise UnidentifiableObject(f"{name} is not made of digits and dots")
    return value


def _first(header: part10.Header, tag: str) -> str:
    values = header.attributes.get(tag, {}).get("Value") or [""]
    return values[0] if isinstance(values[0], str) else ""


def prepare(
    header: part10.Header,
    ref: Ref | NonPatientRef,
    sop_class_uid: str,
    *,
    key: str,
    size: int,
    digest: bytes,
) -> Prepared:
    """The rows of an object of `size` bytes under `key`; pure, for a worker thread."""
    of = Ref("", "", ref.sop_instance_uid) if isinstance(ref, NonPatientRef) else ref
    new = _new_instance(header, of, sop_class_uid, key=key, size=size, digest=digest)
    if isinstance(ref, NonPatientRef):
        return non_patient_instances.prepare(new, ref)
    return instances.prepare(new)


def _new_instance(
    header: part10.Header, ref: Ref, sop_class_uid: str, *, key: str, size: int, digest: bytes
) -> instances.NewInstance:
    if ref.series_instance_uid is None or ref.sop_instance_uid is None:
        raise ValueError("an instance is identified by all three UIDs")
    frames = header.frames
    return instances.NewInstance(
        study_instance_uid=ref.study_instance_uid,
        series_instance_uid=ref.series_instance_uid,
        sop_instance_uid=ref.sop_instance_uid,
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        attributes=header.attributes,
        document=document(header),
        bulk=part10.bulk_to_bytes(header.bulk) if header.bulk else b"",
        pixel_tag=frames.tag if frames else None,
        number_of_frames=frames.number_of_frames if frames else 0,
        frame_offset=frames.offset if frames else 0,
        frame_bits=frames.frame_bits if frames else 0,
        spans=frames.spans if frames else b"",
        big_endian=header.big_endian,
        deflated=header.deflated,
        dataset_offset=header.dataset_offset,
        blob_key=key,
        size_bytes=size,
        digest=digest,
        findings=(*header.findings, *_contradictions(header, sop_class_uid)),
        sender=_sender(header),
    )


def _sender(header: part10.Header) -> str:
    """The application entity that the object came from, when this archive has written it down."""
    values = header.file_meta.get(SOURCE_APPLICATION_ENTITY, {}).get("Value") or [""]
    return str(values[0]) if coercion.is_received(header.file_meta) else ""


def document(header: part10.Header) -> bytes:
    """The metadata as it will be served, compressed with zstd.

    Available Transfer Syntax UID (0008,3002) tells clients the stored encoding
    first, so that they need not probe for it.
    """
    available = [header.transfer_syntax_uid]
    syntax = transfer_syntaxes.lookup(header.transfer_syntax_uid)
    explicit = transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN
    if header.transfer_syntax_uid != explicit and syntax.decodable:
        available.append(explicit)
    described = {**header.attributes, AVAILABLE_TRANSFER_SYNTAX: {"vr": "UI", "Value": available}}
    ordered = {tag: described[tag] for tag in sorted(described)}
    return _compressor().compress(orjson.dumps(ordered))


def _compressor() -> zstandard.ZstdCompressor:
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=3)
    return compressor


def _result(one: _Candidate, outcome: instances.Outcome) -> StoreResult:
    sop_instance_uid = one.ref.sop_instance_uid or ""
    if outcome is instances.Outcome.DIFFERENT:
        error = DifferentDuplicate(
            "the SOP Instance UID is taken by other bytes; the first is kept"
        )
        return StoreResult(Outcome.REFUSED, one.ref, one.sop_class_uid, sop_instance_uid, (), error)
    stored = outcome is instances.Outcome.STORED
    became = Outcome.STORED if stored else Outcome.DUPLICATE
    return StoreResult(became, one.ref, one.sop_class_uid, sop_instance_uid, one.findings)


def _refused(header: part10.Header | None, error: ArchiveError) -> StoreResult:
    sop_class_uid = _first(header, SOP_CLASS) if header else ""
    sop_instance_uid = _first(header, SOP_INSTANCE) if header else ""
    return StoreResult(Outcome.REFUSED, None, sop_class_uid, sop_instance_uid, (), error)


def _fail(one: _Candidate, error: Exception) -> None:
    if one.done.done():
        return
    if isinstance(error, Unavailable | Conflict):
        sop_instance_uid = one.ref.sop_instance_uid or ""
        one.done.set_result(
            StoreResult(Outcome.REFUSED, one.ref, one.sop_class_uid, sop_instance_uid, (), error)
        )
    else:
        one.done.set_exception(error)
