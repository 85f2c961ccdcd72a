"""Patients: who is meant by an identifier, what is known of each, and who is one with whom.

A record is a patient as one set of identifiers names them. Records that were merged keep their
rows and point to the record that stands for all of them, the root. Orders and reports are kept
under the root; events also remember for whose record they came, so that a merge can be undone.

The body of a record is what is known of the patient (`events.Demographics`) and, as ``register``,
when each of it was said (`orders.patients.Register`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom import person_names
from bfr_dicomweb.index.statements import Connection, insert, rows
from bfr_dicomweb.index.turn import PATIENT_CHANGED, Turn
from bfr_dicomweb.orders import patients, records
from bfr_dicomweb.orders.events import Contents, Demographics, Notice, PatientFacts, PatientLink
from bfr_dicomweb.orders.identifiers import NATIONAL, Identifier

SHARED: Final = "identifier-shared"

_BY_VALUE: Final = """
    SELECT i.system, i.value, p.id, p.root_id, p.body
    FROM patient_identifier i JOIN patient p ON p.id = i.patient_id
    WHERE i.value IN (?1::text[])
"""
_BY_ID: Final = "SELECT id, root_id, body FROM patient WHERE id IN (?1::bigint[])"
_IDENTIFIERS_OF: Final = (
    "SELECT system, value, patient_id FROM patient_identifier WHERE patient_id IN (?1::bigint[])"
)
_IDENTIFIERS_OF_ROOTS: Final = """
    SELECT i.system, i.value, p.root_id
    FROM patient p JOIN patient_identifier i ON i.patient_id = p.id
    WHERE p.root_id IN (?1::bigint[])
"""
_LINKS_OF: Final = """
    SELECT loser, survivor, time, merged FROM patient_link
    WHERE loser IN (?1::bigint[]) OR survivor IN (?1::bigint[])
"""
_PUT_LINK: Final = """
    INSERT INTO patient_link (loser, survivor, time, merged) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (loser, survivor) DO UPDATE SET time = excluded.time, merged = excluded.merged
"""
_OWN: Final = ("root_id", "family", "given", "birth_date", "gender", "body")
_INSERT: Final = insert("patient", ("id", *_OWN, "change", "modified_us"))
_UPDATE: Final = (
    "UPDATE patient SET root_id = ?2, family = ?3, given = ?4, birth_date = ?5, gender = ?6,"
    " body = ?7, change = ?8, modified_us = ?9 WHERE id = ?1"
)
_INSERT_IDENTIFIER: Final = insert("patient_identifier", ("system", "value", "patient_id"))
_ORDERS_OF: Final = "SELECT id FROM imaging_order WHERE patient_id IN (?1::bigint[])"


_NOTHING: Final = patients.Register()


@dataclass(slots=True)
class _Record:
    id: int
    root_id: int
    register: patients.Register
    was: patients.Register
    is_new: bool = False
    was_root_id: int = 0

    @property
    def own(self) -> tuple[Any, ...]:
        known = self.register.demographics
        return (
            *(self.root_id, person_names.fold(known.family), person_names.fold(known.given)),
            *(known.birth_date, known.gender, _body(known, self.register)),
        )


@dataclass(slots=True)
class Resolved:
    """Attributes:
    record_of: By message: the record of the patient that it is about.
    root_of: Who each record is part of by now.
    affected: Roots that got or lost a record, or got another identifier.
    orders: Of these, whose groups have to be folded again.
    notices: By message.
    """

    record_of: dict[int, int] = field(default_factory=dict)
    root_of: dict[int, int] = field(default_factory=dict)
    affected: set[int] = field(default_factory=set)
    orders: list[int] = field(default_factory=list)
    notices: list[tuple[int, Notice]] = field(default_factory=list)


async def resolve(turn: Turn, told: Sequence[tuple[int, Contents]]) -> Resolved:
    """Find or make the patients that messages are about, and learn what they tell of them."""
    register = _Registry(turn)
    await register.load([contents for _, contents in told])
    for message, contents in told:
        if contents.patient is not None:
            register.learn(message, contents.patient)
        for link in contents.links:
            register.link(message, link)
    await register.follow_links()
    return await register.write()


@dataclass(slots=True)
class _Registry:
    """The records that a batch of messages touches."""

    turn: Turn
    records: dict[int, _Record] = field(default_factory=dict)
    known: dict[Identifier, int] = field(default_factory=dict)
    new_identifiers: list[tuple[Identifier, int]] = field(default_factory=list)
    links: dict[tuple[int, int], tuple[str, bool]] = field(default_factory=dict)
    result: Resolved = field(default_factory=Resolved)

    async def load(self, told: Sequence[Contents]) -> None:
        named = [list(_named(contents)) for contents in told]
        values = sorted({one.value for group in named for one in group})
        if not values:
            return
        for system, value, *row in await rows(self.turn.conn, _BY_VALUE, (values,)):
            self.known[Identifier(system, value)] = self._open(*row)
        if all(len({self.known.get(one) for one in group} or {0}) == 1 for group in named):
            return
        # Something is new or does not agree: then the other identifiers count, too.
        found = await rows(self.turn.conn, _IDENTIFIERS_OF, (sorted(self.records),))
        self.known |= {Identifier(system, value): key for system, value, key in found}

    def _open(self, key: int, root_id: int, body: bytes) -> int:
        if key not in self.records:
            register = records.read(patients.Register, orjson.loads(body)["register"])
            self.records[key] = _Record(key, root_id, register, register, was_root_id=root_id)
        return key

    def _new(self) -> _Record:
        key = self.turn.number()
        made = _Record(key, key, _NOTHING, _NOTHING, is_new=True, was_root_id=key)
        self.records[key] = made
        return made

    def learn(self, message: int, facts: PatientFacts) -> None:
        """The record of these facts: that of the most telling identifier that is known."""
        named = [one for one in facts.identifiers if one.value]
        key = self._record_of(named)
        for one in named:
            self._attach(message, one, key, facts.time)
        record = self.records[key]
        record.register = patients.merge(record.register, facts)
        self.result.record_of[message] = key

    def _record_of(self, named: Sequence[Identifier]) -> int:
        national = [one for one in named if one.system in NATIONAL][:1]
        for one in named:
            key = self.known.get(one)
            if key is None or (one.system in NATIONAL and one not in national):
                continue
            if one in national or not self._differ(key, set(national)):
                return key
        return self._new().id

    def _differ(self, key: int, nationals: set[Identifier]) -> bool:
        """The record has a national number, and it is none of these."""
        own = self._nationals(key)
        return bool(own and nationals) and own.isdisjoint(nationals)

    def _nationals(self, key: int) -> set[Identifier]:
        return {one for one, of in self.known.items() if of == key and one.system in NATIONAL}

    def _attach(self, message: int, one: Identifier, key: int, time: str) -> None:
        other = self.known.get(one)
        if other == key:
            return
        nationals = self._nationals(key)
        if other is None:
            if one.system in NATIONAL and nationals:
                # another number of somebody who has one: a person has to decide
                self._notice(message, "a second national number for one patient")
                other = self._new().id
            else:
                other = key
            self.known[one] = other
            self.new_identifiers.append((one, other))
            return
        if self.records[other].root_id == self.records[key].root_id:
            return
        if self._differ(other, nationals) or self.records[other].root_id != other:
            self._notice(message, "an identifier is that of another patient, too")
            return
        self._put_link(other, key, time, merged=True)

    def _notice(self, message: int, detail: str) -> None:
        self.result.notices.append((message, Notice(SHARED, detail, "high")))

    def link(self, message: int, link: PatientLink) -> None:
        ids = [self._named(one) for one in (link.other, link.survivor)]
        if ids[0] == ids[1]:
            if not link.merged:
                self._notice(message, "identifiers of one record cannot be taken apart")
            return
        self._put_link(ids[0], ids[1], link.time, merged=link.merged)

    def _named(self, one: Identifier) -> int:
        if one not in self.known:
            self.known[one] = self._new().id
            self.new_identifiers.append((one, self.known[one]))
        return self.known[one]

    def _put_link(self, loser: int, survivor: int, time: str, *, merged: bool) -> None:
        word = (time, merged)
        self.links[loser, survivor] = max(
            self.links.get((loser, survivor), word), word, key=_precedence
        )

    async def follow_links(self) -> None:
        """Who is part of whom, over all links that hang together with the new ones."""
        if not self.links:
            return
        new, self.links = self.links, {}
        seen: set[int] = set()
        todo = {key for pair in new for key in pair}
        while todo:
            seen |= todo
            for loser, survivor, time, merged in await rows(
                self.turn.conn, _LINKS_OF, (sorted(todo),)
            ):
                self.links[loser, survivor] = (time, bool(merged))
            todo = {key for pair in self.links for key in pair} - seen
        await self._open_all(seen)
        changed = {
            pair: word
            for pair, word in new.items()
            if pair not in self.links or _precedence(word) > _precedence(self.links[pair])
        }
        self.links |= changed
        self.turn.script.add(
            _PUT_LINK, [(*pair, time, int(merged)) for pair, (time, merged) in changed.items()]
        )
        self._find_roots(seen)

    async def _open_all(self, ids: Iterable[int]) -> None:
        missing = sorted(set(ids) - self.records.keys())
        if missing:
            for row in await rows(self.turn.conn, _BY_ID, (missing,)):
                self._open(*row)

    def _find_roots(self, ids: Iterable[int]) -> None:
        found = patients.roots(self.links)
        for key in ids:
            self.records[key].root_id = found.get(key, key)

    async def write(self) -> Resolved:
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        turn, result = self.turn, self.result
        for key, record in self.records.items():
            result.root_of[key] = record.root_id
            if record.root_id != record.was_root_id:
                result.affected |= {record.root_id, record.was_root_id}
            elif not record.is_new and record.register == record.was:
                continue
            change = turn.tell(PATIENT_CHANGED, f"patient/{key}")
            (new if record.is_new else changed).append((key, *record.own, change, turn.at_us))
        turn.script.add(_INSERT, new)
        turn.script.add(_UPDATE, changed)
        turn.script.add(
            _INSERT_IDENTIFIER, [(one.system, one.value, key) for one, key in self.new_identifiers]
        )
        known = {key for _, key in self.new_identifiers if not self.records[key].is_new}
        result.affected |= {self.records[key].root_id for key in known}
        if result.affected:
            found = await rows(turn.conn, _ORDERS_OF, (sorted(result.affected),))
            result.orders = [key for (key,) in found]
        return result


def _precedence(word: tuple[str, bool]) -> tuple[str, bool]:
    time, merged = word
    return time, not merged


def _body(known: Demographics, register: patients.Register) -> bytes:
    told = {field.name: getattr(known, field.name) for field in fields(Demographics)}
    return orjson.dumps({**told, "register": register})


def _named(contents: Contents) -> Iterable[Identifier]:
    if contents.patient is not None:
        yield from (one for one in contents.patient.identifiers if one.value)
    for link in contents.links:
        yield from (link.survivor, link.other)


async def people(
    conn: Connection, roots: Sequence[int]
) -> dict[int, tuple[tuple[Identifier, ...], Demographics]]:
    """All identifiers of each person, the most telling first, and the demographics."""
    known: dict[int, list[Identifier]] = {root: [] for root in roots}
    for system, value, root in await rows(conn, _IDENTIFIERS_OF_ROOTS, (list(roots),)):
        known[root].append(Identifier(system, value))
    found = await rows(conn, _BY_ID, (list(roots),))
    return {
        key: (
            tuple(sorted(known[key], key=lambda one: (one.system not in NATIONAL, one))),
            records.loads(Demographics, bytes(body)),
        )
        for key, _, body in found
    }
