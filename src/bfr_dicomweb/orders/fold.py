"""The fold: what a set of events comes to, whatever the order in which they arrived.

Events are gone through in the order of the times at which they happened. An exam advances by the
furthest that was ever said of it; what is said later of an earlier stage stands in its history and
changes nothing. Reports decide over progress: as long as one is signed, the exam is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any, Final

from bfr_dicomweb.orders import documents, grouping, reporting
from bfr_dicomweb.orders.events import Event, Facts, Kind
from bfr_dicomweb.orders.grouping import Part, Told
from bfr_dicomweb.orders.identifiers import Alias
from bfr_dicomweb.orders.reporting import Course
from bfr_dicomweb.orders.state import Exam, Finding, Folded, Order, Status, Step

_RANKED: Final = (
    Status.RECEIVED,
    Status.BOOKED,
    Status.ARRIVED,
    Status.STARTED,
    Status.PERFORMED,
    Status.PRELIMINARY,
    Status.SIGNED,
    Status.ADDENDUM,
    Status.CORRECTED,
)
RANK: Final = {status: rank for rank, status in enumerate(_RANKED)}
_PERFORMED: Final = RANK[Status.PERFORMED]
_STARTED: Final = RANK[Status.STARTED]
_PROGRESS: Final = {
    Kind.RECEIVED: RANK[Status.RECEIVED],
    Kind.BOOKED: RANK[Status.BOOKED],
    Kind.REBOOKED: RANK[Status.BOOKED],
    Kind.ARRIVED: RANK[Status.ARRIVED],
    Kind.STARTED: RANK[Status.STARTED],
    Kind.PERFORMED: RANK[Status.PERFORMED],
}
_OF_REPORT: Final = {
    reporting.PARTIAL: Status.PRELIMINARY,
    reporting.PRELIMINARY: Status.PRELIMINARY,
    reporting.FINAL: Status.SIGNED,
    reporting.APPENDED: Status.ADDENDUM,
    reporting.CORRECTED: Status.CORRECTED,
}
# HL7 v2 table 0119: a change or a cancellation was refused, not the exam.
_CHANGE_REFUSED: Final = frozenset({"UC", "UD", "UF", "UH", "UM", "UR", "UX"})
# The first of these that an exam has is its order's status when no exam of it is under way.
_ENDS: Final = (
    Status.UNKNOWN,
    Status.CANCELLED,
    Status.MOVED,
    Status.REFUSED,
    Status.ERROR,
)
_FACTS: Final = tuple(field.name for field in fields(Facts))
_facts_of: Final = attrgetter(*_FACTS)
_is_said: Final = itemgetter(1)

_LATE: Final = {
    Status.CANCELLED: "late-event-on-cancelled",
    Status.MOVED: "late-event-on-moved",
}


def fold(events: Iterable[Event]) -> Folded:
    """What all events of a closed group (`grouping.lookup_keys`) of one patient come to."""
    return fold_known((event.digest, event) for event in events)


def fold_known(events: Iterable[tuple[str, Event]]) -> Folded:
    """The same for events whose digests are known: to compute them takes a third of the time."""
    parts = grouping.parts(grouping.in_order(events))
    courses = reporting.courses(parts)
    exams, findings = [], []
    opened: dict[int, frozenset[str]] = {}
    for place, part in enumerate(parts):
        own = [course for course in courses if place in course.report.exams]
        life = _live(_told(part, place, own), own)
        exams.append(_exam(part, life))
        findings += _findings(part, place, life, own)
        opened[place] = frozenset().union(*(course.opened[place] for course in own))
    return Folded(
        orders=_orders(parts, exams, opened),
        exams=tuple(exams),
        reports=tuple(course.report for course in courses),
        findings=tuple(findings),
    )


def _told(part: Part, place: int, courses: Sequence[Course]) -> list[Told]:
    heard = [told for course in courses for told in course.heard.get(place, ())]
    return sorted([*part.events, *heard]) if heard else part.events


class _Life:
    """An exam while its events are gone through."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self.courses = courses
        self.progress = -1
        self.closed: Status | None = None
        self.closed_at = ""
        self.standing: dict[str, str] = {}
        self.status = Status.UNKNOWN
        self.steps: list[Step] = []
        self.modified = ""
        self.held = False
        self.cancel_requested = False
        self.performed = ""
        self.signed = ""
        self.odd: dict[str, Told] = {}

    def hear(self, told: Told) -> None:
        event = told.event
        before, is_first = self.status, not self.steps
        if event.kind != Kind.UNKNOWN:
            self.progress = max(self.progress, 0)
            _ACTS[event.kind](self, told)
            self.status = self._status()
            self._date(told.time)
        if self.status != before or is_first:
            self.modified = told.time
        self.steps.append(
            Step(
                time=told.time,
                kind=event.kind,
                status=self.status,
                source=event.source,
                performer=event.performer,
                codes=event.codes,
                digest=told.digest,
            )
        )

    def _status(self) -> Status:
        if self.closed is not None:
            return self.closed
        of_reports = [
            _OF_REPORT[standing] for standing in self.standing.values() if standing in _OF_REPORT
        ]
        return max(of_reports, key=RANK.__getitem__) if of_reports else _RANKED[self.progress]

    def _date(self, time: str) -> None:
        is_performed = self.progress >= _PERFORMED
        self.performed = (self.performed or time) if is_performed else ""
        is_signed = RANK.get(self.status, 0) >= RANK[Status.SIGNED]
        self.signed = (self.signed or time) if is_signed else ""

    def note(self, code: str, told: Told) -> None:
        self.odd.setdefault(code, told)

    def _is_later(self, told: Told) -> bool:
        return told.time > self.closed_at

    def _open(self) -> None:
        self.closed, self.closed_at = None, ""

    def _close(self, status: Status, told: Told) -> None:
        if self.closed in (Status.MOVED, Status.ERROR) and status != Status.ERROR:
            return
        self.closed, self.closed_at = status, told.time
        self.held = self.cancel_requested = False

    # What each kind of event does

    def advance(self, told: Told) -> None:
        rank = _PROGRESS[told.event.kind]
        if self.closed is not None and not self._is_taken_up(told, rank):
            return
        if told.event.may_regress or rank > self.progress:
            self.progress = rank
        if rank >= _STARTED:
            self.held = False
        if rank >= _PERFORMED:
            self.cancel_requested = False

    def _is_taken_up(self, told: Told, rank: int) -> bool:
        """Something happens to an exam that was closed: it is open again, or it was too late."""
        is_cancelled = self.closed == Status.CANCELLED
        is_new = told.event.kind == Kind.RECEIVED and self.closed != Status.MOVED
        is_undone = told.event.may_regress and is_cancelled
        if self._is_later(told) and (is_new or is_undone or self.closed == Status.REFUSED):
            self._open()
            self.progress = rank
            return True
        if is_cancelled and rank >= _PERFORMED:
            self.note("cancel-after-performed", told)
            self._open()
            return True
        if self.closed in _LATE and self._is_later(told):
            self.note(_LATE[self.closed], told)
        return False

    def report(self, told: Told) -> None:
        for course in self.courses:
            if standing := course.standing.get(told.digest):
                self.standing[course.report.key] = standing
                self._follow(standing, told)

    def _follow(self, standing: str, told: Told) -> None:
        if standing == reporting.REGISTERED:
            return
        if standing == reporting.CANCELLED and self.progress < _PERFORMED:
            self.cancel(told)
        elif self.closed in (Status.CANCELLED, Status.REFUSED) and standing in _OF_REPORT:
            if self.closed == Status.CANCELLED:
                self.note("cancel-after-performed", told)
            self._open()
        elif self.closed == Status.MOVED:
            self.note(_LATE[Status.MOVED], told)
        if self.closed is None:
            self.progress = max(self.progress, _PERFORMED)
            self.held = self.cancel_requested = False

    def request_cancel(self, _: Told) -> None:
        self.cancel_requested = self.closed is None

    def cancel(self, told: Told) -> None:
        self._end(Status.CANCELLED, told)

    def move(self, told: Told) -> None:
        self._end(Status.MOVED, told)

    def _end(self, status: Status, told: Told) -> None:
        if self.progress >= _PERFORMED and self.closed is None:
            self.note("cancel-after-performed", told)
            self.cancel_requested = False
        else:
            self._close(status, told)

    def refuse(self, told: Told) -> None:
        is_of_change = any(
            field == "ORC-1" and code in _CHANGE_REFUSED for field, code in told.event.codes
        )
        is_accepted = self.progress > RANK[Status.RECEIVED]
        if self.cancel_requested or is_accepted or is_of_change:
            self.cancel_requested = False
        else:
            self._close(Status.REFUSED, told)

    def withdraw(self, told: Told) -> None:
        self._close(Status.ERROR, told)

    def hold(self, _: Told) -> None:
        self.held = self.closed is None

    def release(self, _: Told) -> None:
        self.held = False

    def stay(self, _: Told) -> None:
        """It tells of facts only."""


_ACTS: Final[Mapping[Kind, Callable[[_Life, Told], None]]] = {
    **dict.fromkeys(_PROGRESS, _Life.advance),
    Kind.REPORTED: _Life.report,
    Kind.CANCEL_REQUESTED: _Life.request_cancel,
    Kind.CANCELLED: _Life.cancel,
    Kind.HELD: _Life.hold,
    Kind.RELEASED: _Life.release,
    Kind.REFUSED: _Life.refuse,
    Kind.MOVED: _Life.move,
    Kind.WITHDRAWN: _Life.withdraw,
    Kind.UPDATED: _Life.stay,
}


def _live(events: Sequence[Told], courses: Sequence[Course]) -> _Life:
    life = _Life(courses)
    for told in events:
        life.hear(told)
    return life


def _exam(part: Part, life: _Life) -> Exam:
    return Exam(
        aliases=part.aliases,
        status=life.status,
        steps=tuple(life.steps),
        facts=_facts(part.events),
        performer=_performer(part.events),
        modified=life.modified,
        held=life.held,
        cancel_requested=life.cancel_requested,
        ordered=any(told.event.is_order for told in part.events),
        performed=life.performed,
        signed=life.signed,
    )


def _facts(events: Sequence[Told]) -> Facts:
    """Of each fact what was said last."""
    latest: dict[str, Any] = {}
    for told in events:
        said = zip(_FACTS, _facts_of(told.event.facts), strict=True)
        latest.update(filter(_is_said, said))
    return Facts(**latest)


def _performer(events: Sequence[Told]) -> str:
    """Who performs it; who reports on it may be another."""
    found = ""
    for told in events:
        if told.event.performer and (told.event.kind != Kind.REPORTED or not found):
            found = told.event.performer
    return found


def _orders(
    parts: Sequence[Part], exams: Sequence[Exam], opened: Mapping[int, frozenset[str]]
) -> tuple[Order, ...]:
    places: dict[Alias, list[int]] = {}
    for place, key in enumerate(grouping.order_keys(parts)):
        places.setdefault(key, []).append(place)
    return tuple(_order(key, own, parts, exams, opened) for key, own in places.items())


def _order(
    key: Alias,
    places: Sequence[int],
    parts: Sequence[Part],
    exams: Sequence[Exam],
    opened: Mapping[int, frozenset[str]],
) -> Order:
    lines = documents.milestones(exams, places, opened)
    return Order(
        key=key,
        status=_order_status([exams[place].status for place in places]),
        authored=_authored([parts[place] for place in places]),
        modified=max(exams[place].modified for place in places),
        facts=exams[places[0]].facts,
        exams=tuple(places),
        milestones=lines,
        documents=documents.documents(lines, places),
    )


def _order_status(statuses: Sequence[Status]) -> Status:
    """The least of those under way."""
    under_way = [status for status in statuses if status in RANK]
    if under_way:
        return min(under_way, key=RANK.__getitem__)
    return next(status for status in _ENDS if status in statuses)


def _authored(parts: Sequence[Part]) -> str:
    """An order is placed once: the first time that anybody gives for it, the placer before all."""
    events = [told.event for part in parts for told in part.events]
    said = [event for event in events if event.facts.authored]
    placed = [event.facts.authored for event in said if event.is_order]
    return min(placed or [event.facts.authored for event in said] or [e.time for e in events])


# What a person has to look at


_SEVERITY: Final = {
    "cancel-after-performed": "high",
    "unmapped-status": "high",
    "report-or-exam-without-order": "low",
    "future-dated": "low",
    "late-event-on-cancelled": "low",
    "late-event-on-moved": "low",
}
_DETAIL: Final = {
    "cancel-after-performed": "it was cancelled or moved, and it was also performed",
    "preliminary-after-final": "a preliminary report is dated after the signed one",
    "addendum-before-report": "an addendum came without the report that it adds to",
    "report-or-exam-without-order": "no order has come for it",
    "late-event-on-cancelled": "something happened to it after it was cancelled",
    "late-event-on-moved": "something happened to it after it was moved to another performer",
    "several-orders": "it is said to be of several orders",
    "accession-conflict": "its accession number, sent without an issuer, is that of several exams",
}


def _findings(part: Part, place: int, life: _Life, courses: Sequence[Course]) -> list[Finding]:
    first = part.aliases[0]
    subject = f"{first.kind}|{first.system}|{first.value}"
    odd = dict(life.odd)
    for course in courses:
        if course.strays:
            odd.setdefault("preliminary-after-final", course.strays[0])
        if course.is_headless:
            odd.setdefault("addendum-before-report", part.events[0])
    if not any(told.event.is_order for told in part.events):
        odd["report-or-exam-without-order"] = part.events[0]
    if len(part.groups) > 1:
        odd["several-orders"] = part.events[0]
    if part.is_ambiguous:
        odd["accession-conflict"] = part.events[0]
    details = {code: (_DETAIL[code], told.time) for code, told in odd.items()}
    details |= _unmapped(part.events) | _future(part.events)
    return [
        Finding(code, _SEVERITY.get(code, "moderate"), subject, detail, place, time)
        for code, (detail, time) in sorted(details.items())
    ]


def _unmapped(events: Sequence[Told]) -> dict[str, tuple[str, str]]:
    unknown = [told for told in events if told.event.kind == Kind.UNKNOWN]
    if not unknown:
        return {}
    said = sorted({_codes(told.event) for told in unknown})
    return {"unmapped-status": ("; ".join(said), unknown[0].time)}


def _codes(event: Event) -> str:
    codes = ", ".join(f"{field} {code}" for field, code in event.codes)
    return f"{event.performer or event.source}: {codes}"


def _future(events: Sequence[Told]) -> dict[str, tuple[str, str]]:
    future = [told for told in events if told.event.claimed]
    if not future:
        return {}
    sources = ", ".join(sorted({told.event.source for told in future}))
    return {"future-dated": (f"{sources}: a time in the future", future[0].time)}
