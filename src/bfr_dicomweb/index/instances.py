"""Instances: the one way into the catalogue, and where each stored object is."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.dicom.part10 import Finding
from bfr_dicomweb.index import (
    changes,
    columns,
    findings,
    indexed_values,
    series,
    studies,
    tombstones,
)
from bfr_dicomweb.index.indexed_values import Owners
from bfr_dicomweb.index.statements import Connection, Script, insert, row, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import NonPatientRef, Ref

_SPAN_BYTES: Final = 16
# A piece of a frame table is one page of the database, about.
_FRAMES_PER_PIECE: Final = 240
_PAGE: Final = 1000
_DOCUMENTS: Final = 500


@dataclass(frozen=True, slots=True)
class NewInstance:
    """Everything the catalogue keeps of one stored object."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    attributes: dict[str, Any]  # DICOM JSON of the data set
    document: bytes  # the same, compressed
    bulk: bytes  # the bulk table, opaque here
    pixel_tag: str | None
    number_of_frames: int
    frame_offset: int
    frame_bits: int
    spans: bytes  # 16 bytes a frame; empty for native pixel data
    big_endian: bool
    deflated: bool
    dataset_offset: int
    blob_key: str
    size_bytes: int
    digest: bytes  # SHA-256
    findings: tuple[Finding, ...] = ()
    sender: str = ""  # who is told of the findings


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """The thin row of an instance."""

    key: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    change: int
    blob_key: str
    size_bytes: int
    digest: bytes
    dataset_offset: int
    big_endian: bool
    deflated: bool
    pixel_tag: str | None
    number_of_frames: int
    frame_offset: int
    frame_bits: int
    first_span: bytes  # of the first frame, so that single-frame images need no frame table
    instance_number: int | None
    series_number: int | None = None  # only where a list was asked for

    @property
    def ref(self) -> Ref:
        return Ref(self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True)
class PreparedInstance:
    """A new instance with the values of its rows, worked out away from the writer."""

    new: NewInstance
    study: studies.PreparedStudy
    series: series.PreparedSeries
    timezone_offset: str
    own: tuple[Any, ...]  # the columns of columns.INSTANCE
    report_place: str

    @property
    def ref(self) -> Ref:
        new = self.new
        return Ref(new.study_instance_uid, new.series_instance_uid, new.sop_instance_uid)


class Outcome(StrEnum):
    STORED = "stored"
    DUPLICATE = "duplicate"  # the same bytes are stored already
    DIFFERENT = "different"  # the SOP Instance UID is taken by other bytes; nothing was written


@dataclass(frozen=True, slots=True)
class Added:
    outcome: Outcome
    change: int | None = None  # of what is stored now


def prepare(new: NewInstance) -> PreparedInstance:
    """Work out all values of the rows; pure, for a worker thread."""
    own = tuple(columns.row(columns.INSTANCE, new.attributes))
    number, date, time = own[:3]
    return PreparedInstance(
        new=new,
        study=studies.prepare(new.study_instance_uid, new.attributes),
        series=series.prepare(new.series_instance_uid, new.attributes),
        timezone_offset=first_text(new.attributes, columns.TIMEZONE),
        own=own,
        report_place=columns.report_place(
            first_text(new.attributes, columns.MODALITY), date, time, number
        ),
    )


_THIN: Final = tuple(
    f.name for f in fields(StoredInstance) if f.name not in ("key", "series_number")
)
_SELECTED: Final = ", ".join(f"i.{name}" for name in ("id", *_THIN))
_INSERTED: Final = (
    "id",
    "study_id",
    "series_id",
    *(name for name in _THIN if name != "instance_number"),
    "timezone_offset",
    *columns.names(columns.INSTANCE),
    "report_place",
)
_INSERT: Final = insert("instance", _INSERTED)
_INSERT_DOCUMENT: Final = insert(
    "instance_document", ("instance_id", "study_id", "document", "bulk")
)
_INSERT_SPANS: Final = insert("instance_spans", ("instance_id", "first_frame", "study_id", "spans"))


@dataclass(slots=True)
class _Batch:
    """The rows one call writes."""

    counter: changes.Counter
    at_us: int
    instances: list[tuple[Any, ...]] = field(default_factory=list)
    documents: list[tuple[Any, ...]] = field(default_factory=list)
    spans: list[tuple[Any, ...]] = field(default_factory=list)
    changes: list[tuple[Any, ...]] = field(default_factory=list)


async def add_instances(conn: Connection, prepared: Sequence[PreparedInstance]) -> list[Added]:
    """Write what is new; the outcomes are in the order of `prepared`.

    The caller owns the transaction. It holds the only right to write from here until it ends,
    on PostgreSQL too: the counters of a study and the order of the changes depend on it.
    """
    if not prepared:
        return []
    counter = await changes.take_counter(conn)
    taken, deleted = await _taken(conn, [item.new.sop_instance_uid for item in prepared])
    fresh, outcomes = _sort_out(prepared, taken, counter.change)
    if not fresh:
        return outcomes
    batch = _Batch(counter, changes.now_us())
    open_studies = await studies.open_for_writing(conn, [item.study for item in fresh], counter)
    open_series = await series.open_for_writing(
        conn, [(open_studies[i.study.study_instance_uid].id, i.series) for i in fresh], counter
    )
    for item in fresh:
        study = open_studies[item.study.study_instance_uid]
        _add_rows(batch, item, study, open_series[study.id, item.series.series_instance_uid])
    script = Script()
    await indexed_values.index_new(
        conn,
        script,
        [
            (Owners(study_id, series_id, key), item.new.attributes)
            for (key, study_id, series_id, *_), item in zip(batch.instances, fresh, strict=True)
        ],
    )
    studies.write(script, open_studies.values())
    series.write(script, open_series.values())
    _write(script, batch)
    again = [item.ref for item in fresh if item.new.sop_instance_uid in deleted]
    tombstones.lift(script, again)
    turn = Turn(conn, counter, batch.at_us, script)
    await findings.raise_of_objects(turn, _irregular(fresh))
    await turn.end()
    return outcomes


def _irregular(fresh: Sequence[PreparedInstance]) -> list[findings.Irregular]:
    return [
        findings.Irregular(
            item.new.study_instance_uid,
            item.new.sop_instance_uid,
            item.new.sender,
            tuple((found.code, found.path) for found in item.new.findings),
        )
        for item in fresh
        if item.new.findings
    ]


async def _taken(
    conn: Connection, uids: list[str]
) -> tuple[dict[str, tuple[bytes, int]], set[str]]:
    """Digest and change of those that are stored, and which have been deleted."""
    found = await rows(
        conn,
        "SELECT sop_instance_uid, digest, change FROM instance"
        " WHERE sop_instance_uid IN (?1::text[])"
        " UNION ALL SELECT sop_instance_uid, NULL, change FROM tombstone"
        " WHERE sop_instance_uid IN (?1::text[])",
        (uids,),
    )
    deleted = {uid for uid, digest, _ in found if digest is None}
    stored = {uid: (bytes(digest), at) for uid, digest, at in found if digest is not None}
    return stored, deleted


def _sort_out(
    prepared: Sequence[PreparedInstance],
    taken: dict[str, tuple[bytes, int]],
    change: int,
) -> tuple[list[PreparedInstance], list[Added]]:
    """What is to be written, whose numbers follow `change`, and the outcome of each item."""
    fresh: list[PreparedInstance] = []
    outcomes: list[Added] = []
    for item in prepared:
        uid, digest = item.new.sop_instance_uid, item.new.digest
        if uid in taken:
            stored_digest, number = taken[uid]
            same = stored_digest == digest
            outcomes.append(Added(Outcome.DUPLICATE if same else Outcome.DIFFERENT, number))
            continue
        fresh.append(item)
        number = change + len(fresh)
        taken[uid] = (digest, number)
        outcomes.append(Added(Outcome.STORED, number))
    return fresh, outcomes


def _add_rows(
    batch: _Batch, item: PreparedInstance, study: studies.OpenStudy, of: series.OpenSeries
) -> None:
    new, counter = item.new, batch.counter
    counter.instance += 1
    counter.change += 1
    study.add(item.study, of, new.sop_class_uid, counter.change)
    of.add(item.series, counter.change, item.report_place)
    key = counter.instance
    uids = (new.study_instance_uid, new.series_instance_uid, new.sop_instance_uid)
    first_span = new.spans[:_SPAN_BYTES]
    thin = (
        *(new.sop_class_uid, new.transfer_syntax_uid, counter.change),
        *(new.blob_key, new.size_bytes, new.digest, new.dataset_offset),
        *(int(new.big_endian), int(new.deflated), new.pixel_tag, new.number_of_frames),
        *(new.frame_offset, new.frame_bits, first_span, item.timezone_offset),
    )
    batch.instances.append(
        (key, study.id, of.id, *uids, *thin, *item.own, item.report_place),
    )
    batch.documents.append((key, study.id, new.document, new.bulk))
    if len(new.spans) > _SPAN_BYTES:
        batch.spans += _pieces(key, study.id, new.spans)
    stored = changes.INSTANCE_STORED
    batch.changes.append((counter.change, batch.at_us, stored, study.id, *uids))


def _pieces(key: int, study_id: int, spans: bytes) -> list[tuple[Any, ...]]:
    step = _FRAMES_PER_PIECE * _SPAN_BYTES
    return [
        (key, at // _SPAN_BYTES, study_id, spans[at : at + step])
        for at in range(0, len(spans), step)
    ]


def _write(script: Script, batch: _Batch) -> None:
    script.add(_INSERT, batch.instances)
    script.add(_INSERT_DOCUMENT, batch.documents)
    script.add(_INSERT_SPANS, batch.spans)
    changes.add(script, batch.changes)


def _stored(found: Sequence[Any], series_number: int | None = None) -> StoredInstance:
    values = [*found, series_number]
    for at in _FLAGS:
        values[at] = bool(values[at])
    if values[-2] == columns.NO_NUMBER:
        values[-2] = None
    return StoredInstance(*values)


_FLAGS: Final = tuple(1 + _THIN.index(name) for name in ("big_endian", "deflated"))
_LOCATE: Final = f"SELECT {_SELECTED} FROM instance i WHERE i.sop_instance_uid = ?1"  # noqa: S608


async def locate(conn: Connection, ref: Ref) -> StoredInstance | None:
    """The instance of this study and series; None when it is not there."""
    found = await row(conn, _LOCATE, (ref.sop_instance_uid,))
    if found is None:
        return None
    stored = _stored(found)
    return stored if stored.ref == ref else None


async def by_uids(conn: Connection, sop_instance_uids: Sequence[str]) -> list[StoredInstance]:
    """Those that are there, in no order."""
    found = await rows(
        conn,
        f"SELECT {_SELECTED} FROM instance i WHERE i.sop_instance_uid IN (?1::text[])",  # noqa: S608 # our words
        (list(sop_instance_uids),),
    )
    return [_stored(values) for values in found]


# The order of the instances of a study, which indexes give without sorting. Unlike that of a
# search it keeps the series where they are when a newer report comes: pages go on from a place.
_IN_ORDER: Final = (
    "s.series_number, s.series_instance_uid, i.report_place, i.instance_number, i.sop_instance_uid"
)
_OF_REF: Final = """
    FROM study t JOIN series s ON s.study_id = t.id JOIN instance i ON i.series_id = s.id
    WHERE t.study_instance_uid = ?1
"""
_OF_SERIES: Final = " AND s.series_instance_uid = ?3"
_AFTER: Final = """
    AND (s.series_number, s.series_instance_uid) >= (?4, ?5)
    AND ((s.series_number, s.series_instance_uid) > (?4, ?5)
        OR (i.report_place, i.instance_number, i.sop_instance_uid) > (?6, ?7, ?8))
"""
Position = tuple[int, str, str, int, str]
_START: Final[Position] = (-(1 << 40), "", "", -(1 << 40), "")
_POSITION: Final = f"i.id, {_IN_ORDER}"


async def _page(
    conn: Connection, selected: str, ref: Ref, after: Position, limit: int
) -> Sequence[Any]:
    within = _OF_SERIES if ref.series_instance_uid is not None else " AND ?3 = ''"
    sql = f"SELECT {selected} {_OF_REF}{within}{_AFTER} ORDER BY {_IN_ORDER} LIMIT ?2"
    return await rows(
        conn, sql, (ref.study_instance_uid, limit, ref.series_instance_uid or "", *after)
    )


# Where they stand behind the series number, the place and the key
_SERIES_AT: Final = 3 + _THIN.index("series_instance_uid")
_NUMBER_AT: Final = 3 + _THIN.index("instance_number")
_INSTANCE_AT: Final = 3 + _THIN.index("sop_instance_uid")


async def iterate(
    conn: Connection, ref: Ref, *, page: int = _PAGE
) -> AsyncIterator[StoredInstance]:
    """The instances of a study or series by series number and series, then as a search has them."""
    selected = f"s.series_number, i.report_place, {_SELECTED}"
    after = _START
    while True:
        found = await _page(conn, selected, ref, after, page)
        for number, _, *thin in found:
            yield _stored(thin, None if number == columns.NO_NUMBER else number)
        if len(found) < page:
            return
        last = found[-1]
        after = (
            *(last[0], last[_SERIES_AT], last[1]),
            *(last[_NUMBER_AT], last[_INSTANCE_AT]),
        )


async def list_instances(conn: Connection, ref: Ref) -> list[StoredInstance]:
    return [stored async for stored in iterate(conn, ref)]


@dataclass(frozen=True, slots=True)
class Document:
    series_instance_uid: str
    sop_instance_uid: str
    document: bytes


async def documents(
    conn: Connection, ref: Ref, *, page: int = _DOCUMENTS
) -> AsyncIterator[Document]:
    """The compressed documents of a study, series or instance, in the order of `iterate`."""
    if ref.sop_instance_uid is not None:
        stored = await locate(conn, ref)
        if stored is not None:
            keys = [(stored.key, stored.series_instance_uid, stored.sop_instance_uid)]
            for document in await _documents(conn, keys):
                yield document
        return
    after = _START
    while True:
        found = await _page(conn, _POSITION, ref, after, page)
        for document in await _documents(conn, [(r[0], r[2], r[5]) for r in found]):
            yield document
        if len(found) < page:
            return
        after = tuple(found[-1][1:])


async def document_page(
    conn: Connection, ref: Ref, *, after: Position | None, limit: int
) -> tuple[list[Document], Position | None]:
    """The next documents in the order of `iterate`, and where to go on; None at the end."""
    if ref.sop_instance_uid is not None:
        return [document async for document in documents(conn, ref)], None
    found = await _page(conn, _POSITION, ref, after or _START, limit)
    page = await _documents(conn, [(row[0], row[2], row[5]) for row in found])
    return page, tuple(found[-1][1:]) if len(found) == limit else None


async def _documents(conn: Connection, keys: list[tuple[int, str, str]]) -> list[Document]:
    found = await rows(
        conn,
        "SELECT instance_id, document FROM instance_document WHERE instance_id IN (?1::bigint[])",
        ([key for key, _, _ in keys],),
    )
    by_key = dict(found)
    # An instance that is deleted between the two statements has no document any more.
    return [
        Document(series_uid, uid, by_key[key]) for key, series_uid, uid in keys if key in by_key
    ]


async def bulk_table(conn: Connection, key: int) -> bytes:
    """What `NewInstance.bulk` was; empty for an unknown key."""
    found = await row(conn, "SELECT bulk FROM instance_document WHERE instance_id = ?1", (key,))
    return b"" if found is None else bytes(found[0])


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known of an instance beside its thin row; `spans` of its first frames."""

    document: bytes
    bulk: bytes
    spans: bytes


async def contents(conn: Connection, stored: StoredInstance, frames: int) -> Contents | None:
    """None: it has been deleted meanwhile."""
    found = await row(
        conn, "SELECT document, bulk FROM instance_document WHERE instance_id = ?1", (stored.key,)
    )
    if found is None:
        return None
    is_encapsulated = bool(stored.first_span)
    located = await spans(conn, stored, 0, frames) if is_encapsulated and frames else b""
    return Contents(bytes(found[0]), bytes(found[1]), located)


async def spans(
    conn: Connection, stored: StoredInstance, frame_index: int, count: int = 1
) -> bytes:
    """16 bytes for each of the frames; fewer when there are fewer, none for native pixel data.

    The span of the first frame is in the thin row already.
    """
    if frame_index == 0 and count == 1:
        return stored.first_span
    pieces = await rows(
        conn,
        "SELECT first_frame, spans FROM instance_spans"
        " WHERE instance_id = ?1 AND first_frame > ?2 AND first_frame < ?3 ORDER BY first_frame",
        (stored.key, frame_index - _FRAMES_PER_PIECE, frame_index + count),
    )
    if not pieces:
        return stored.first_span if frame_index == 0 else b""
    start = (frame_index - pieces[0][0]) * _SPAN_BYTES
    whole = b"".join(bytes(piece) for _, piece in pieces)
    return whole[start : start + count * _SPAN_BYTES]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    ref: Ref | NonPatientRef
    blob_key: str
    size_bytes: int
    digest: bytes


async def iterate_blobs(conn: Connection, *, page: int = _PAGE) -> AsyncIterator[StoredBlob]:
    """Every stored object, in the order of storing."""
    after = 0
    while True:
        found = await rows(
            conn,
            "SELECT id, study_instance_uid, series_instance_uid, sop_instance_uid, blob_key,"
            " size_bytes, digest FROM instance WHERE id > ?1 ORDER BY id LIMIT ?2",
            (after, page),
        )
        for _, study_uid, series_uid, uid, blob_key, size_bytes, digest in found:
            yield StoredBlob(Ref(study_uid, series_uid, uid), blob_key, size_bytes, bytes(digest))
        if len(found) < page:
            return
        after = found[-1][0]


async def count(conn: Connection) -> int:
    """How many instances are stored, from the counters of the studies."""
    found = await row(conn, "SELECT sum(number_of_instances) FROM study", ())
    return int(found[0] or 0) if found is not None else 0


async def known_blob_keys(conn: Connection, keys: Iterable[str]) -> set[str]:
    """Those that an instance of any kind has, or had until it was deleted."""
    named = list(keys)
    found = await rows(
        conn,
        "SELECT blob_key FROM instance WHERE blob_key IN (?1::text[])"
        " UNION SELECT blob_key FROM non_patient_instance WHERE blob_key IN (?1::text[])",
        (named,),
    )
    return {key for (key,) in found} | await tombstones.known_blobs(conn, named)


async def has_blob(conn: Connection, key: str) -> bool:
    """Whether an instance of any kind has these bytes."""
    sql = (
        "SELECT 1 FROM instance WHERE blob_key = ?1"
        " UNION ALL SELECT 1 FROM non_patient_instance WHERE blob_key = ?1"
    )
    return await row(conn, sql, (key,)) is not None
