"""Deleting instances: their rows go, and what they have left behind in the rows above them.

Afterwards a study and its series say what they would say had the deleted instances never been
stored: an image that was stored with the wrong patient must not leave that name behind.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom.attributes import Attributes, first_text
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
from bfr_dicomweb.index.series import OpenSeries
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.studies import OpenStudy
from bfr_dicomweb.index.tombstones import DeletedBlob, Tombstone
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Level, Ref

_DOCUMENTS: Final = 200
_SELECT: Final = """
    SELECT i.id, i.series_id, i.sop_class_uid, i.report_place, i.blob_key,
        i.study_instance_uid, i.series_instance_uid, i.sop_instance_uid
    FROM study t JOIN series s ON s.study_id = t.id JOIN instance i ON i.series_id = s.id
    WHERE t.study_instance_uid = ?1 ORDER BY i.id
"""

# Gives the attributes of a data set from its document in the catalogue.
Read = Callable[[bytes], Attributes]


@dataclass(frozen=True, slots=True)
class _Instance:
    key: int
    series_id: int
    sop_class_uid: str
    report_place: str
    blob_key: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class _Study:
    """What is there before anything is deleted; the instances as they were stored."""

    own: OpenStudy
    series: dict[int, OpenSeries]
    instances: Sequence[_Instance]


async def delete(conn: Connection, *, ref: Ref, read: Read) -> list[str] | None:
    """Delete what is at or below a resource; gives blob keys, or None when nothing is there.

    The caller owns the transaction, and removes bytes only after it.
    """
    turn = await Turn.take(conn)
    stored = await _read_study(conn, ref.study_instance_uid)
    gone = [one for one in stored.instances if _is_below(one.ref, ref)] if stored else []
    if stored is None or not gone:
        return None
    left = [one for one in stored.instances if not _is_below(one.ref, ref)]
    blobs = [DeletedBlob(one.blob_key, turn.at_us, is_set_aside=False) for one in gone]
    tombstones.keep_blobs(turn.script, blobs)
    graves = [Tombstone(one.ref, turn.at_us, with_study=not left) for one in gone]
    tombstones.put(turn, graves, study_id=stored.own.id)
    _tell_of_series(turn, stored, left)
    await _unindex(turn, stored, gone, left, read)
    if left:
        await _shrink(turn, stored, gone, left, read)
    else:
        await _remove(turn, stored)
    await turn.end()
    return [one.blob_key for one in gone]


def _is_below(instance: Ref, ref: Ref) -> bool:
    of_series, uid = ref.series_instance_uid, ref.sop_instance_uid
    in_series = of_series is None or instance.series_instance_uid == of_series
    return in_series and (uid is None or instance.sop_instance_uid == uid)


async def _read_study(conn: Connection, study_instance_uid: str) -> _Study | None:
    own = (await studies.open_stored(conn, [study_instance_uid])).get(study_instance_uid)
    if own is None:
        return None
    found = await rows(conn, _SELECT, (study_instance_uid,))
    listed = [
        _Instance(key, of, sop_class_uid, place, blob_key, Ref(*uids))
        for key, of, sop_class_uid, place, blob_key, *uids in found
    ]
    return _Study(own, await series.open_stored(conn, own.id), listed)


def _tell_of_series(turn: Turn, stored: _Study, left: Sequence[_Instance]) -> None:
    """Which series, and whether the study, went with their last instances."""
    own, kept = stored.own, {one.series_id for one in left}
    told: list[tuple[str, str | None]] = [
        (changes.SERIES_DELETED, one.series_instance_uid)
        for key, one in stored.series.items()
        if key not in kept
    ]
    if not left:
        told.append((changes.STUDY_DELETED, None))
    changes.add(
        turn.script,
        [
            (turn.number(), turn.at_us, what, own.id, own.study_instance_uid, series_uid, None)
            for what, series_uid in told
        ],
    )


async def _unindex(
    turn: Turn,
    stored: _Study,
    gone: Sequence[_Instance],
    left: Sequence[_Instance],
    read: Read,
) -> None:
    """The values that an administrator has had indexed; those of what is left stay."""
    wanted = await indexed_values.configured(turn.conn)
    touched = {one.series_id for one in gone}
    owners = {
        Level.STUDY: [stored.own.id],
        Level.SERIES: sorted(touched),
        Level.INSTANCE: [one.key for one in gone],
    }
    indexed_values.forget(turn.script, wanted, owners)
    of_studies = [one for one in wanted if one.attribute.level is Level.STUDY]
    of_series = [one for one in wanted if one.attribute.level is Level.SERIES]
    again = left if of_studies else [one for one in left if one.series_id in touched]
    if not of_studies and not of_series:
        return
    async for one, data_set in _Documents(turn.conn, read).each(again):
        attributes = of_studies + (of_series if one.series_id in touched else [])
        ids = Owners(stored.own.id, one.series_id, one.key)
        indexed_values.add(turn.script, indexed_values.values(attributes, [(ids, data_set)]))


async def _remove(turn: Turn, stored: _Study) -> None:
    own = stored.own
    studies.remove(turn.script, own)
    about = f"{findings.OBJECTS}{own.study_instance_uid}|"
    findings.resolve(turn, await findings.by_beginning(turn.conn, about))


async def _shrink(
    turn: Turn,
    stored: _Study,
    gone: Sequence[_Instance],
    left: Sequence[_Instance],
    read: Read,
) -> None:
    kept, touched = {one.series_id for one in left}, {one.series_id for one in gone}
    alone = [(one.key,) for one in gone if one.series_id in kept]
    turn.script.add("DELETE FROM instance WHERE id = ?1", alone)
    for key in sorted(touched - kept):
        series.remove(turn.script, key)
    documents = _Documents(turn.conn, read)
    change = turn.counter.change
    for key in sorted(touched & kept):
        before = stored.series[key]
        own = [one for one in left if one.series_id == key]
        series.replace(turn.script, before, await _series_of(documents, before, own, change))
    studies.replace(turn.script, stored.own, await _study_of(documents, stored, left, change))


async def _series_of(
    documents: "_Documents", before: OpenSeries, left: Sequence[_Instance], change: int
) -> OpenSeries:
    uid = before.series_instance_uid
    first = series.prepare(uid, await documents.read(left[0]))
    described = first.described
    after = OpenSeries(
        before.id, before.study_id, uid, False, described.attributes, described=described
    )
    if after.attributes == before.attributes:
        # it has all that any instance ever said, so that the others add nothing
        for one in left:
            after.add(first, change, one.report_place)
        return after
    async for one, data_set in documents.each(left):
        after.add(series.prepare(uid, data_set), change, one.report_place)
    return after


async def _study_of(
    documents: "_Documents", stored: _Study, left: Sequence[_Instance], change: int
) -> OpenStudy:
    before = stored.own
    uid = before.study_instance_uid
    described = studies.prepare(uid, await documents.read(left[0])).described
    after = OpenStudy(before.id, uid, False, described.attributes, described=described)
    after.number_of_series = len({one.series_id for one in left})
    modalities = _modalities(stored, left)
    if after.attributes == before.attributes and modalities is not None:
        classes = {one.sop_class_uid for one in left}
        after.modalities = modalities
        after.sop_classes = [one for one in before.sop_classes if one in classes]
        after.number_of_instances, after.change = len(left), change
        return after
    async for one, data_set in documents.each(left):
        of = stored.series[one.series_id]
        after.add(studies.prepare(uid, data_set), of, one.sop_class_uid, change)
    return after


def _modalities(stored: _Study, left: Sequence[_Instance]) -> list[str] | None:
    """Of what is left; None when instances have other modalities than their series says."""
    of_series = {
        key: first_text(one.attributes, columns.MODALITY) for key, one in stored.series.items()
    }
    if not set(of_series.values()).issuperset(stored.own.modalities):
        return None
    held = {of_series[one.series_id] for one in left}
    return [modality for modality in stored.own.modalities if modality in held]


@dataclass(frozen=True, slots=True)
class _Documents:
    conn: Connection
    decode: Read

    async def read(self, instance: _Instance) -> Attributes:
        found = await self._decoded([instance.key])
        return found[instance.key]

    async def each(
        self, instances: Sequence[_Instance]
    ) -> AsyncIterator[tuple[_Instance, Attributes]]:
        for start in range(0, len(instances), _DOCUMENTS):
            page = instances[start : start + _DOCUMENTS]
            found = await self._decoded([one.key for one in page])
            for one in page:
                yield one, found[one.key]

    async def _decoded(self, keys: list[int]) -> dict[int, Attributes]:
        found = await rows(
            self.conn,
            "SELECT instance_id, document FROM instance_document"
            " WHERE instance_id IN (?1::bigint[])",
            (keys,),
        )
        return {key: self.decode(document) for key, document in found}
