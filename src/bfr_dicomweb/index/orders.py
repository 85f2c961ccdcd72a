"""Orders, exams and reports: rows that follow from the events, written anew when these change.

All events that an event can have to do with (they share an alias, directly or through others,
within one patient) are folded together, and the rows that come of it are matched with those that
are there: by the events they were made of, so that an id stays with its exam. What is not needed
any more leaves a row in ``moved``.

The bodies are documents of `orders.state` with places instead of ids:

- an order's body counts its exams from 0 in the order of ``exam.place``, in milestones, too;
- a report's body counts its exams from 0 in the order of the ids in ``report_exam``.

An event that is said of several exams (it names only their order, or their study) is kept under
one of their orders and no exam; the steps of the exams tell whose it is.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import orjson

from bfr_dicomweb.index import findings
from bfr_dicomweb.index.statements import insert, rows
from bfr_dicomweb.index.turn import EXAM_CHANGED, ORDER_CHANGED, REPORT_CHANGED, Turn
from bfr_dicomweb.orders import fold, grouping, records, scheduled_steps, state
from bfr_dicomweb.orders.events import Event
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind

ORDER: Final = "order"
EXAM: Final = "exam"
REPORT: Final = "report"
# Beside the kinds of aliases: what the events have in common by which one report came.
_SHARED: Final = "shared"
# What names one exam and not what is around it.
_OWN: Final = frozenset(AliasKind) - {AliasKind.GROUP, AliasKind.STUDY, AliasKind.REPORT}


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event with what is kept of it, worked out away from the writer."""

    event: Event
    digest: str
    body: bytes


def prepare(events: Iterable[Event]) -> tuple[NewEvent, ...]:
    return tuple(
        NewEvent(event, event.digest_of(body), body)
        for event in events
        for body in (records.dumps(event),)
    )


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """A new event of a patient, who is part of `root_id` by now."""

    new: NewEvent
    message: int
    recorded_us: int
    own_patient_id: int
    root_id: int


@dataclass(slots=True)
class Kept:
    """An event of a group that is folded, and where it belonged before."""

    number: int
    message: int
    digest: str
    own_patient_id: int
    root_id: int
    event: Event
    was: tuple[int, int, int]  # patient, order and exam that it is kept under; zeros when new
    recorded_us: int = 0
    body: bytes = b""  # of a new one
    order_id: int = 0
    exam_id: int = 0


@dataclass(frozen=True, slots=True)
class ChangedExam:
    """An exam that came to another status, or to none before: what receivers are told of.

    Attributes:
        previous: None for a new exam.
    """

    patient_id: int
    order_id: int
    order: state.Order
    exam_id: int
    exam: state.Exam
    previous: state.Status | None


@dataclass(frozen=True, slots=True)
class ChangedReport:
    """A report with a new version, and the exams that it answers.

    Attributes:
        versions_before: How many versions it had; 0 for a new one.
        exams: Id and exam of each.
    """

    patient_id: int
    report_id: int
    report: state.Report
    versions_before: int
    exams: tuple[tuple[int, state.Exam], ...]


@dataclass(slots=True)
class Result:
    """What was done, for what follows in the same transaction.

    Attributes:
        exams_of: By message: the exams its events are of.
        order_of: By exam.
        realigned: Exams whose links to studies have to be looked at again.
        patients: Of whom anything was folded.
        due_again: Exams whose images are expected at another time than before.
        gone: Exams that are no more.
        accessions: Qualified accession numbers that came to or left an exam.
    """

    exams_of: dict[int, set[int]] = field(default_factory=dict)
    order_of: dict[int, int] = field(default_factory=dict)
    realigned: dict[int, state.Exam] = field(default_factory=dict)
    patients: set[int] = field(default_factory=set)
    due_again: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    accessions: set[tuple[str, str]] = field(default_factory=set)
    changed_exams: list[ChangedExam] = field(default_factory=list)
    changed_reports: list[ChangedReport] = field(default_factory=list)


# All that shares an alias with the values asked for, directly or through others.
_CLOSED_GROUPS: Final = """
    WITH RECURSIVE g(order_id) AS (
        SELECT a.order_id FROM order_alias a
            WHERE a.patient_id IN (?1::bigint[]) AND a.value IN (?2::text[])
        UNION SELECT o.id FROM imaging_order o WHERE o.id IN (?3::bigint[])
        UNION SELECT b.order_id FROM g JOIN order_alias a ON a.order_id = g.order_id
            JOIN order_alias b ON b.patient_id = a.patient_id AND b.value = a.value
                AND b.kind = a.kind)
    SELECT g.order_id, e.number, e.message, e.digest, e.own_patient_id, e.patient_id, e.exam_id,
        e.body
    FROM g LEFT JOIN order_event e ON e.order_id = g.order_id AND e.superseded = 0
    ORDER BY e.number
"""
_EVENT_COLUMNS: Final = (
    *("number", "recorded_us", "message", "digest", "time", "kind", "source"),
    *("own_patient_id", "patient_id", "order_id", "exam_id", "superseded", "body"),
)
_INSERT_EVENT: Final = insert("order_event", _EVENT_COLUMNS)
_MOVE_EVENT: Final = (
    "UPDATE order_event SET patient_id = ?2, order_id = ?3, exam_id = ?4 WHERE number = ?1"
)
_ORDER: Final = ("patient_id", "order_key", "status", "authored", "modified", "body")
_EXAM: Final = (
    *("order_id", "place", "patient_id", "status", "coarse", "performer", "modality"),
    *("modified", "authored", "expected", "station", "starts", "body"),
)
_PATIENT_AT: Final = _EXAM.index("patient_id")
_EXPECTED_AT: Final = _EXAM.index("expected")
_REPORT: Final = (
    *("patient_id", "report_key", "identifier", "performer", "status", "issued", "body"),
)
_ALIAS: Final = ("value", "kind", "system", "patient_id", "order_id", "exam_id")
_INSERT_ALIAS: Final = insert("order_alias", _ALIAS)
_DELETE_ALIAS: Final = "DELETE FROM order_alias WHERE " + " AND ".join(  # noqa: S608 # our names
    f"{name} = ?{number}" for number, name in enumerate(_ALIAS, 1)
)
_INSERT_MOVED: Final = insert("moved", ("id", "kind", "successor", "change"))


@cache
def _update(table: str, names: tuple[str, ...]) -> str:
    """Of what changed alone: an index over other columns is then left as it is."""
    every = (*names, "change", "changed_us")
    sets = ", ".join(f"{name} = ?{number}" for number, name in enumerate(every, 2))
    return f"UPDATE {table} SET {sets} WHERE id = ?1"  # noqa: S608 # our names


@dataclass(frozen=True, slots=True)
class _Table:
    """How rows of one kind are written; `names` are the columns that are compared."""

    kind: str
    what: str
    table: str
    names: tuple[str, ...]
    of_orders: str  # what selects them, given ids of orders
    more: tuple[str, ...] = ()  # columns of a new row beside them, all 0

    def select(self) -> str:
        columns = ", ".join(f"t.{name}" for name in ("id", *self.names))
        return f"SELECT {columns} FROM {self.table} t {self.of_orders}"  # noqa: S608 # our names

    def insert(self) -> str:
        return insert(self.table, ("id", *self.names, "change", "changed_us", *self.more))

    def update(self, before: Sequence[Any], after: Sequence[Any]) -> tuple[str, list[Any]]:
        """The statement, and what it takes between the id and the change."""
        changed = [at for at, value in enumerate(after) if before[at] != value]
        names = tuple(self.names[at] for at in changed)
        return _update(self.table, names), [after[at] for at in changed]


_TABLES: Final = {
    table.kind: table
    for table in (
        _Table(ORDER, ORDER_CHANGED, "imaging_order", _ORDER, "WHERE t.id IN (?1::bigint[])"),
        _Table(
            EXAM, EXAM_CHANGED, "exam", _EXAM, "WHERE t.order_id IN (?1::bigint[])", ("studies",)
        ),
        _Table(
            REPORT,
            REPORT_CHANGED,
            "report",
            _REPORT,
            "WHERE t.id IN (SELECT report_id FROM report_exam WHERE order_id IN (?1::bigint[]))",
        ),
    )
}
_STATEMENTS: Final = {kind: (table.select(), table.insert()) for kind, table in _TABLES.items()}
_ALIASES_OF: Final = f"SELECT {', '.join(_ALIAS)} FROM order_alias WHERE order_id IN (?1::bigint[])"  # noqa: S608
_REPORT_EXAMS_OF: Final = (
    "SELECT exam_id, report_id, order_id FROM report_exam WHERE report_id IN (?1::bigint[])"
)


@dataclass(slots=True)
class _Rows:
    """The rows that stand there for the groups that are folded."""

    orders: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    exams: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    reports: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    aliases: set[tuple[Any, ...]] = field(default_factory=set)
    report_exams: set[tuple[int, int, int]] = field(default_factory=set)

    def of(self, kind: str) -> dict[int, tuple[Any, ...]]:
        return {ORDER: self.orders, EXAM: self.exams, REPORT: self.reports}[kind]


async def write(
    turn: Turn,
    told: Sequence[ToldEvent],
    *,
    also: Iterable[int] = (),
    roots: Mapping[int, int] | None = None,
    realign: Collection[int] = (),
    expected: Callable[[state.Exam], str] = lambda _: "",
) -> Result:
    """Add events and write the rows of their groups anew.

    Args:
        also: Orders whose groups are folded, too, because something else changed.
        roots: Who patients are part of by now, where that changed.
        realign: Patients of whom all exams have to be compared with studies again.
        expected: When the images of an exam should have come; "" when nobody knows.
    """
    kept, order_ids = await _closed_groups(turn, told, also, roots or {})
    repeated = _add_new(turn, kept, told)
    known = await _known(turn, order_ids)
    writing = _Writing(turn, known, expected, Result())
    by_root: dict[int, list[Kept]] = {}
    for one in kept:
        by_root.setdefault(one.root_id, []).append(one)
    stated: list[findings.Stated] = []
    writing.result.patients |= by_root.keys()
    for root, events in by_root.items():
        stated += writing.fold(root, events)
    writing.finish(kept)
    writing.add_repeated(repeated, kept)
    writing.realign(realign)
    scope = await findings.by_orders(turn.conn, order_ids)
    of_fold = [one for one in scope if one.key.startswith(findings.FOLD)]
    await findings.settle(turn, stated, of_fold)
    return writing.result


async def _closed_groups(
    turn: Turn, told: Sequence[ToldEvent], also: Iterable[int], roots: Mapping[int, int]
) -> tuple[list[Kept], list[int]]:
    """The events that stand there, and the orders that they are of."""
    events = [one.new.event for one in told]
    values = {key.value for key in grouping.lookup_keys(events)}
    values |= {event.shared for event in events if event.shared}
    patients = sorted({one.root_id for one in told})
    found = await rows(turn.conn, _CLOSED_GROUPS, (patients, sorted(values), sorted(also)))
    kept = [
        Kept(
            number=number,
            message=message,
            digest=digest,
            own_patient_id=own,
            root_id=roots.get(own, patient_id),
            event=_event(bytes(body)),
            was=(patient_id, order_id, exam_id),
        )
        for order_id, number, message, digest, own, patient_id, exam_id, body in found
        if number is not None
    ]
    return kept, sorted({values[0] for values in found})


# The events of an order are read again with each new one; to parse them costs the most.
_PARSED_AT_MOST: Final = 8192
_parsed: dict[bytes, Event] = {}


def _event(body: bytes) -> Event:
    return _parsed.get(body) or _remember(body, records.loads(Event, body))


def _remember(body: bytes, event: Event) -> Event:
    while len(_parsed) >= _PARSED_AT_MOST:
        _parsed.pop(next(iter(_parsed)), None)
    _parsed[body] = event
    return event


def _add_new(turn: Turn, kept: list[Kept], told: Sequence[ToldEvent]) -> list[ToldEvent]:
    """Add what is no repetition; gives what is one."""
    there = {(one.root_id, one.digest) for one in kept}
    repeated = []
    for one in told:
        if (one.root_id, one.new.digest) in there:
            repeated.append(one)
            continue
        there.add((one.root_id, one.new.digest))
        _remember(one.new.body, one.new.event)
        kept.append(
            Kept(
                number=turn.number(),
                message=one.message,
                digest=one.new.digest,
                own_patient_id=one.own_patient_id,
                root_id=one.root_id,
                event=one.new.event,
                was=(0, 0, 0),
                recorded_us=one.recorded_us,
                body=one.new.body,
            )
        )
    return repeated


async def _known(turn: Turn, order_ids: list[int]) -> _Rows:
    known = _Rows()
    if not order_ids:
        return known
    for kind in _TABLES:
        select = _STATEMENTS[kind][0]
        for key, *values, body in await rows(turn.conn, select, (order_ids,)):
            known.of(kind)[key] = (*values, bytes(body))
    known.aliases = {tuple(values) for values in await rows(turn.conn, _ALIASES_OF, (order_ids,))}
    if known.reports:
        found = await rows(turn.conn, _REPORT_EXAMS_OF, (list(known.reports),))
        known.report_exams = {tuple(values) for values in found}
    return known


def _assign(claims: Sequence[set[int]], turn: Turn) -> list[int]:
    """An id for each: the lowest of those it claims that no other has, else a new one."""
    given: list[int] = [0] * len(claims)
    taken: set[int] = set()
    highest = turn.counter.change + 1
    for place in sorted(range(len(claims)), key=lambda p: (min(claims[p], default=highest), p)):
        free = claims[place] - taken
        given[place] = min(free) if free else turn.number()
        taken.add(given[place])
    return given


@dataclass(frozen=True, slots=True)
class _Ids:
    """What the parts of a `Folded` are called in the catalogue.

    Attributes:
        order_of: By the place of an exam.
    """

    exams: list[int]
    orders: list[int]
    order_of: dict[int, int]


@dataclass(slots=True)
class _Writing:
    """The rows that are to be there after this turn."""

    turn: Turn
    known: _Rows
    expected: Callable[[state.Exam], str]
    result: Result
    rows: _Rows = field(default_factory=_Rows)
    exams: dict[int, state.Exam] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)

    def fold(self, root: int, kept: Sequence[Kept]) -> list[findings.Stated]:
        """The rows of one patient's groups."""
        folded = fold.fold_known((one.digest, one.event) for one in kept)
        places = _places(folded, kept)
        ids = self._ids(root, folded, kept, places)
        for one, of in zip(kept, places, strict=True):
            one.order_id = min(ids.order_of[place] for place in of)
            one.exam_id = ids.exams[of[0]] if len(of) == 1 else 0
            told = self.result.exams_of.setdefault(one.message, set())
            told |= {ids.exams[place] for place in of}
        self.result.order_of |= {ids.exams[place]: key for place, key in ids.order_of.items()}
        self._add_orders(root, folded, ids)
        self._add_reports(root, folded, ids)
        self._add_aliases(root, folded, kept, places, ids)
        return [_stated(root, finding, folded, ids) for finding in folded.findings]

    def _ids(
        self, root: int, folded: state.Folded, kept: Sequence[Kept], places: Sequence[list[int]]
    ) -> "_Ids":
        """The ids that the events of each exam had before, where no other exam has them."""
        exams: list[set[int]] = [set() for _ in folded.exams]
        orders: list[set[int]] = [set() for _ in folded.exams]
        for one, of in zip(kept, places, strict=True):
            if len(of) == 1:
                exams[of[0]].add(one.was[2])
                orders[of[0]].add(one.was[1])
        self._claim_by_aliases(root, folded, exams, orders)
        claims = [set().union(*(orders[exam] for exam in order.exams)) for order in folded.orders]
        order_ids = self._assign(claims)
        order_of = {
            exam: key
            for key, order in zip(order_ids, folded.orders, strict=True)
            for exam in order.exams
        }
        return _Ids(self._assign(exams), order_ids, order_of)

    def _claim_by_aliases(
        self, root: int, folded: state.Folded, exams: list[set[int]], orders: list[set[int]]
    ) -> None:
        """For exams of which no event stood there: the rows that were known by the same."""
        if all(claim - {0} for claim in exams):
            return
        claimed = set().union(*exams)
        there: dict[tuple[str, str], set[int]] = {}
        for value, kind, _, patient, _, exam_id in self.known.aliases:
            if patient == root and exam_id and exam_id not in claimed:
                there.setdefault((kind, value), set()).add(exam_id)
        for place, exam in enumerate(folded.exams):
            if not exams[place] - {0}:
                for alias in exam.aliases:
                    exams[place] |= there.get((alias.kind, alias.value), set())
                orders[place] |= {self.known.exams[key][0] for key in exams[place] - {0}}

    def _assign(self, claims: list[set[int]]) -> list[int]:
        free = [{key for key in claim if key and key not in self.taken} for claim in claims]
        given = _assign(free, self.turn)
        self.taken |= set(given)
        return given

    def _add_orders(self, root: int, folded: state.Folded, ids: "_Ids") -> None:
        for order_id, order in zip(ids.orders, folded.orders, strict=True):
            local = {exam: place for place, exam in enumerate(order.exams)}
            body = _local_order(order, local)
            self.rows.orders[order_id] = (
                *(root, alias_text(order.key), order.status.value, order.authored),
                *(order.modified, records.dumps(body)),
            )
            for exam, place in local.items():
                self._add_exam(root, order_id, body, place, ids.exams[exam], folded.exams[exam])

    def _add_exam(
        self, root: int, order_id: int, order: state.Order, place: int, key: int, exam: state.Exam
    ) -> None:
        coarse, expected = state.COARSE[exam.status], self.expected(exam)
        self.rows.exams[key] = (
            *(order_id, place, root, exam.status.value, coarse.value if coarse else ""),
            *(exam.performer, exam.facts.modality, exam.modified, exam.facts.authored),
            *(expected, exam.facts.station_ae_title, scheduled_steps.starts(exam)),
            records.dumps(exam),
        )
        before = self.known.exams.get(key)
        previous = None if before is None else state.Status(before[3])
        self.exams[key] = exam
        if before is not None and before[_EXPECTED_AT] not in ("", expected):
            self.result.due_again[key] = expected
        if previous is not exam.status:
            self.result.changed_exams.append(
                ChangedExam(root, order_id, order, key, exam, previous)
            )

    def _add_reports(self, root: int, folded: state.Folded, ids: "_Ids") -> None:
        there = {key: _digests(row) for key, row in self.known.reports.items()}
        claims = []
        for report in folded.reports:
            own = {digest for version in report.versions for digest in version.digests}
            known = {key for key, digests in there.items() if digests & own}
            claims.append(known or {key for key in there if self._is_row_of(key, root, report)})
        for key, report in zip(self._assign(claims), folded.reports, strict=True):
            self._add_report(root, key, report, folded, ids)

    def _is_row_of(self, key: int, root: int, report: state.Report) -> bool:
        return self.known.reports[key][:2] == (root, report.key)

    def _add_report(
        self, root: int, key: int, report: state.Report, folded: state.Folded, ids: "_Ids"
    ) -> None:
        local = tuple(range(len(report.exams)))
        body = report if report.exams == local else replace(report, exams=local)
        issued = report.versions[-1].time if report.versions else ""
        self.rows.reports[key] = (
            *(root, report.key, report.identifier, report.performer, report.status, issued),
            records.dumps(body),
        )
        answered = sorted((ids.exams[exam], exam) for exam in report.exams)
        self.rows.report_exams |= {(e, key, ids.order_of[exam]) for e, exam in answered}
        before = _versions(self.known.reports.get(key))
        if before != len(report.versions):
            exams = tuple((exam_id, folded.exams[exam]) for exam_id, exam in answered)
            self.result.changed_reports.append(ChangedReport(root, key, body, before, exams))

    def _add_aliases(
        self,
        root: int,
        folded: state.Folded,
        kept: Sequence[Kept],
        places: Sequence[list[int]],
        ids: "_Ids",
    ) -> None:
        wanted = self.rows.aliases
        for place, (key, said) in enumerate(zip(ids.exams, folded.exams, strict=True)):
            of_exam = (root, ids.order_of[place], key)
            wanted |= {(a.value, a.kind.value, a.system, *of_exam) for a in said.aliases}
            if not said.values(AliasKind.STUDY):
                # worklists have it, and what is performed from there names it
                uid = scheduled_steps.derived_study_uid(said.aliases, root)
                wanted |= {(uid, AliasKind.STUDY.value, DICOM_UID, *of_exam)} if uid else set()
        for one, of in zip(kept, places, strict=True):
            for named in _of_order(one.event):
                wanted |= {(*named, root, ids.order_of[place], 0) for place in of}

    def finish(self, kept: Sequence[Kept]) -> None:
        """Write what differs from what stands there."""
        for kind in _TABLES:
            self._write_rows(kind)
        self._write_aliases()
        self._write_report_exams()
        self._write_events(kept)
        self._leave_moved(kept)

    def add_repeated(self, repeated: Sequence[ToldEvent], kept: Sequence[Kept]) -> None:
        """The exams of a message that says nothing new."""
        there = {(one.root_id, one.digest): one.message for one in kept} if repeated else {}
        for one in repeated:
            first = there[one.root_id, one.new.digest]
            exams = self.result.exams_of.get(first, set())
            self.result.exams_of.setdefault(one.message, set()).update(exams)

    def realign(self, patients: Collection[int]) -> None:
        for key, exam in self.exams.items() if patients else ():
            if self.rows.exams[key][_PATIENT_AT] in patients:
                self.result.realigned[key] = exam

    def _write_rows(self, kind: str) -> None:
        table, (_, inserting) = _TABLES[kind], _STATEMENTS[kind]
        known, wanted = self.known.of(kind), self.rows.of(kind)
        turn, new = self.turn, []
        changed: dict[str, list[tuple[Any, ...]]] = {}
        for key, values in wanted.items():
            before = known.get(key)
            if before == values:
                continue
            change = turn.tell(table.what, f"{kind}/{key}")
            if before is None:
                new.append((key, *values, change, turn.at_us, *(0 for _ in table.more)))
            else:
                updating, now = table.update(before, values)
                changed.setdefault(updating, []).append((key, *now, change, turn.at_us))
        turn.script.add(inserting, new)
        for updating, every in changed.items():
            turn.script.add(updating, every)
        gone = [(key,) for key in known if key not in wanted]
        turn.script.add(f"DELETE FROM {table.table} WHERE id = ?1", gone)  # noqa: S608

    def _write_aliases(self) -> None:
        new, gone = self.rows.aliases - self.known.aliases, self.known.aliases - self.rows.aliases
        self.turn.script.add(_DELETE_ALIAS, sorted(gone))
        self.turn.script.add(_INSERT_ALIAS, sorted(new))
        for value, kind, system, _, _, exam_id in new | gone:
            if exam_id in self.exams:
                self.result.realigned[exam_id] = self.exams[exam_id]
            if kind == AliasKind.ACCESSION and system:
                self.result.accessions.add((system, value))

    def _write_report_exams(self) -> None:
        new = self.rows.report_exams - self.known.report_exams
        gone = {row[:2] for row in self.known.report_exams - self.rows.report_exams}
        script = self.turn.script
        script.add("DELETE FROM report_exam WHERE exam_id = ?1 AND report_id = ?2", sorted(gone))
        script.add(insert("report_exam", ("exam_id", "report_id", "order_id")), sorted(new))

    def _write_events(self, kept: Sequence[Kept]) -> None:
        new, moved = [], []
        for one in kept:
            now = (one.root_id, one.order_id, one.exam_id)
            if one.body:
                event = one.event
                new.append(
                    (
                        *(one.number, one.recorded_us, one.message, one.digest, event.time),
                        *(event.kind.value, event.source, one.own_patient_id, *now, 0, one.body),
                    )
                )
            elif now != one.was:
                moved.append((one.number, *now))
        self.turn.script.add(_INSERT_EVENT, new)
        self.turn.script.add(_MOVE_EVENT, moved)

    def _leave_moved(self, kept: Sequence[Kept]) -> None:
        gone_exams = self.known.exams.keys() - self.rows.exams.keys()
        self.result.gone |= gone_exams
        successors: dict[int, int] = {}
        for one in kept:
            _, order_id, exam_id = one.was
            successors.setdefault(order_id, one.order_id)
            successors.setdefault(exam_id, one.exam_id)
        successors |= self._report_successors()
        moved = []
        for kind in _TABLES:
            known, wanted = self.known.of(kind), self.rows.of(kind)
            for key in sorted(known.keys() - wanted.keys()):
                change = self.turn.tell(_TABLES[kind].what, f"{kind}/{key}")
                moved.append((key, kind, successors.get(key, 0), change))
        self.turn.script.add(_INSERT_MOVED, moved)

    def _report_successors(self) -> dict[int, int]:
        """Of a report that is no more: the one that answers an exam of it now."""
        now = {exam_id: key for exam_id, key, _ in sorted(self.rows.report_exams, reverse=True)}
        return {
            key: now[exam_id]
            for exam_id, key, _ in sorted(self.known.report_exams)
            if key not in self.rows.reports and exam_id in now
        }


def alias_text(alias: Alias) -> str:
    return f"{alias.kind.value}|{alias.system}|{alias.value}"


def _local_order(order: state.Order, local: Mapping[int, int]) -> state.Order:
    if all(exam == place for exam, place in local.items()):
        return order
    milestones = tuple(
        state.Milestone(one.time, local[one.exam], one.status, one.digest)
        for one in order.milestones
    )
    return replace(order, exams=tuple(local.values()), milestones=milestones)


def _versions(row: tuple[Any, ...] | None) -> int:
    return 0 if row is None else len(orjson.loads(row[-1])["versions"])


def _of_order(event: Event) -> list[tuple[str, str, str]]:
    """Value, kind and system of what ties an event to orders and not to an exam."""
    found = [
        (alias.value.strip(), alias.kind.value, alias.system)
        for alias in event.aliases
        if alias.kind is AliasKind.GROUP
    ]
    return [*found, (event.shared, _SHARED, "")] if event.shared else found


def _digests(row: tuple[Any, ...]) -> set[str]:
    return {
        digest for version in orjson.loads(row[-1])["versions"] for digest in version["digests"]
    }


def _places(folded: state.Folded, kept: Sequence[Kept]) -> list[list[int]]:
    """Of each event the places of the exams it is said of, at least one."""
    found: dict[str, list[int]] = {}
    for place, exam in enumerate(folded.exams):
        for step in exam.steps:
            found.setdefault(step.digest, []).append(place)
    return [_meant(one.event, found[one.digest], folded) for one in kept]


def _meant(event: Event, places: list[int], folded: state.Folded) -> list[int]:
    """Of several exams that have an event among their steps, those that it names with all it has.

    The others only heard of it, because they share a report.
    """
    if len(places) == 1:
        return places
    named = {(a.kind, a.value) for a in grouping.aliases_of(event) if a.kind in _OWN}
    fitting = [
        place
        for place in places
        if named and named <= {(a.kind, a.value) for a in folded.exams[place].aliases}
    ]
    return fitting or places


def _stated(
    root: int,
    finding: state.Finding,
    folded: state.Folded,
    ids: _Ids,
) -> findings.Stated:
    exam = finding.exam
    return findings.Stated(
        key=f"{findings.FOLD}{finding.code}|{finding.subject}|{root}",
        code=finding.code,
        severity=finding.severity,
        subject=finding.subject,
        detail=finding.detail,
        performer="" if exam is None else folded.exams[exam].performer,
        patient_id=root,
        order_id=min(ids.orders) if exam is None else ids.order_of[exam],
        exam_id=0 if exam is None else ids.exams[exam],
        raised=finding.time,
    )


async def supersede(turn: Turn, message: int, digests: Sequence[str]) -> list[int]:
    """What the message was read as counts no more, but for these; gives the orders it was of."""
    found = await rows(
        turn.conn,
        "SELECT number, digest, order_id FROM order_event WHERE message = ?1 AND superseded = 0",
        (message,),
    )
    wrong = [number for number, digest, _ in found if digest not in digests]
    if wrong:
        by = turn.number()
        turn.script.add(
            "UPDATE order_event SET superseded = ?2 WHERE number = ?1",
            [(number, by) for number in wrong],
        )
        await turn.flush()
    return sorted({order_id for _, _, order_id in found})


_CONFLICTS: Final = """
    SELECT system, value, patient_id, order_id, exam_id FROM order_alias
    WHERE value IN (?1::text[]) AND kind = 'accession' AND system <> ''
    ORDER BY order_id, exam_id
"""


async def settle_conflicts(turn: Turn, accessions: Iterable[tuple[str, str]]) -> None:
    """Raise a finding for each accession number (system, value) that two patients have."""
    asked = set(accessions)
    if not asked:
        return
    holders: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
    values = sorted({value for _, value in asked})
    for system, value, patient, order_id, exam_id in await rows(turn.conn, _CONFLICTS, (values,)):
        if (system, value) in asked:
            holders.setdefault((system, value), {})[patient] = (order_id, exam_id)
    stated = []
    for (system, value), patients in holders.items():
        if len(patients) > 1:
            # of the patient whose order came last
            patient, (order_id, exam_id) = max(patients.items(), key=lambda item: item[1])
            subject = alias_text(Alias(AliasKind.ACCESSION, system, value))
            stated.append(
                findings.Stated(
                    key=f"{findings.CONFLICT}{subject}",
                    code="patient-conflict",
                    severity="high",
                    subject=subject,
                    detail="another patient has an order with the same accession number",
                    patient_id=patient,
                    order_id=order_id,
                    exam_id=exam_id,
                )
            )
    subjects = [alias_text(Alias(AliasKind.ACCESSION, *one)) for one in asked]
    scope = await findings.by_keys(turn.conn, [f"{findings.CONFLICT}{one}" for one in subjects])
    await findings.settle(turn, stated, scope)
