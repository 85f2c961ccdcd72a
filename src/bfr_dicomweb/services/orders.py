"""Messages about orders, exams and reports: taken as they came, then read and applied.

A door gives the raw bytes to `take`, reads them, and gives what they say to `apply`, or to `fail`
why it cannot; only then may it answer. The message and what it says are committed together, with
those of other callers that come at the same time; until then the bytes stand in the journal.
`keep` is for who has to have a message in the catalogue before it is read.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import chain
from typing import Any, Final

import orjson
import structlog

from bfr_dicomweb.blobs.journal import Journal, Place
from bfr_dicomweb.errors import ArchiveError, InvalidRequest, NotFound, Unavailable
from bfr_dicomweb.index import exchange, findings, messages, outbox, patients, study_links
from bfr_dicomweb.index import orders as order_rows
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.exchange import Exchange
from bfr_dicomweb.index.messages import RawMessage as RawMessage
from bfr_dicomweb.index.messages import Standing
from bfr_dicomweb.index.messages import StoredMessage as StoredMessage
from bfr_dicomweb.index.orders import ChangedExam as ChangedExam
from bfr_dicomweb.index.orders import ChangedReport as ChangedReport
from bfr_dicomweb.index.parties import Notebook
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.orders import delays, state
from bfr_dicomweb.orders.delays import Delay
from bfr_dicomweb.orders.events import Contents, Demographics, Notice
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.orders.parties import parties_of

ACCEPTED: Final = "AA"
GROUP_SIZE: Final = 100
# Of the event loop, in which nothing more has to arrive before a group is committed.
TURNS: Final = 4
# Between two looks at whether another process has put a new configuration.
EXCHANGE_LOOK_S: Final = 1.0

log = structlog.get_logger("orders")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a message.

    Attributes:
        exams: Ids of the exams it tells of; none when it was applied before.
        again: It had been applied before, and nothing was done.
    """

    number: int
    ack: str
    exams: tuple[int, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is told of: the record that stands for the person, and all identifiers of that person."""

    id: int
    identifiers: tuple[Identifier, ...]
    demographics: Demographics


@dataclass(frozen=True, slots=True)
class News:
    """An exam came to a status, or a report to a version: exactly one of the two is given."""

    patient: Patient
    exam: ChangedExam | None = None
    report: ChangedReport | None = None


# Who is to be told: receiver, kind of channel and payload of each. Runs within the transaction.
Router = Callable[[News], Iterable[tuple[str, str, bytes]]]


@dataclass(slots=True)
class Taken:
    """A message that is written down.

    Attributes:
        number: Its number in the catalogue; 0 as long as it stands in the journal only.
    """

    message: RawMessage
    place: Place | None = None
    number: int = 0


@dataclass(slots=True)
class _Job:
    """Something that a caller waits for to be committed.

    Attributes:
        taken: The message, where it is not yet in the catalogue.
        number: That of the message; 0 as long as it has none.
    """

    done: "asyncio.Future[Any]"
    taken: Taken | None
    number: int


@dataclass(slots=True)
class _Keep(_Job):
    pass


@dataclass(slots=True)
class _Reading(_Job):
    """What a message says. `anew`: whatever it was taken to say before counts no more."""

    contents: Contents
    events: tuple[order_rows.NewEvent, ...]
    sender: str
    received_us: int | None
    anew: bool = False
    profile: int | None = None


@dataclass(slots=True)
class _Failure(_Job):
    state: str
    ack: str
    error: str
    notices: tuple[Notice, ...] = field(default=())


def _always() -> bool:
    return True


def _no_delay(_: str) -> Delay:
    return Delay()


class Orders:
    """The way in for messages, for one process.

    Args:
        journal: Where messages stand until they are committed.
        delay_of: How long after which status a performer's images are to come.
        router: Who is told of news, and what.
    """

    def __init__(
        self,
        index: Index,
        journal: Journal,
        *,
        delay_of: Callable[[str], Delay] = _no_delay,
        router: Router | None = None,
    ) -> None:
        self._index = index
        self._journal = journal
        self._delay_of = delay_of
        self._router = router
        self._is_heard: Callable[[], bool] = _always
        self._waiting: list[_Job] = []
        self._arrived = asyncio.Event()
        self._is_closing = False
        self._committer: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._looked_s = 0.0
        self._parties = Notebook()

    def configure(
        self,
        *,
        delay_of: Callable[[str], Delay] | None = None,
        router: Router | None = None,
        is_heard: Callable[[], bool] | None = None,
    ) -> None:
        """Take another configuration for what comes from now on.

        Args:
            is_heard: Whether the router has anybody to tell; else it is not asked.
        """
        self._delay_of = delay_of or self._delay_of
        self._router = router or self._router
        self._is_heard = is_heard or self._is_heard

    async def open(self) -> None:
        self._committer = asyncio.create_task(self._commit_groups(), name="orders-committer")

    async def close(self) -> None:
        """Finish what is under way, then stop."""
        self._is_closing = True
        self._arrived.set()
        if self._committer is not None:
            await asyncio.gather(self._committer, return_exceptions=True)
        self._journal.close()

    async def take(self, message: RawMessage) -> Taken:
        """Write a message down, as it is.

        It outlives this process from then on; `apply` and `fail` make it durable, and nobody may be
        answered before.

        Raises:
            StorageFull, Unavailable: It could not be written.
        """
        return Taken(message, self._journal.append(*_entry(message)))

    async def take_over(self) -> int:
        """Keep what dead processes took and did not commit; gives how many messages."""
        count = 0
        for left in self._journal.left_behind():
            for entry in left.entries:
                message = _message(entry)
                if not await self._index.ask(partial(messages.is_there, message=message)):
                    await self.keep(message)
                    count += 1
        return count

    async def keep(self, message: RawMessage) -> int:
        """Put a message into the catalogue, as it is; gives its number.

        It outlives this process from then on, and a power failure from the next commit of anything
        else.
        """
        number: int = await self._commit(_Keep(_promise(), Taken(message), 0))
        return number

    async def apply(
        self,
        message: Taken | int,
        contents: Contents,
        *,
        sender: str,
        received_us: int | None = None,
    ) -> Applied:
        """Take over what a kept message says; durable when it returns.

        To apply a message that has been applied changes nothing.

        Args:
            message: Just taken, or the number of a kept one.
            sender: Whose name in our configuration it came under.
            received_us: When it came; None for what was said when it was kept.

        Raises:
            NotFound: No message has this number.
            InvalidRequest: It tells of an exam and of no patient.
        """
        return await self._read(message, contents, sender, received_us)

    async def replace(
        self,
        number: int,
        contents: Contents,
        *,
        sender: str,
        received_us: int | None = None,
        profile: int | None = None,
    ) -> Applied:
        """The message was read anew: what it was taken to say before counts no more.

        Args:
            profile: Version of the exchange configuration that it was read with.
        """
        return await self._read(number, contents, sender, received_us, anew=True, profile=profile)

    async def _read(
        self,
        message: Taken | int,
        contents: Contents,
        sender: str,
        received_us: int | None,
        **how: Any,
    ) -> Applied:
        named = contents.patient is not None and any(o.value for o in contents.patient.identifiers)
        if contents.events and not named:
            raise InvalidRequest("what is told of an exam must name the patient")
        events = order_rows.prepare(contents.events)
        place = _place(message)
        reading = _Reading(_promise(), *place, contents, events, sender, received_us, **how)
        applied: Applied = await self._commit(reading)
        return applied

    async def fail(
        self,
        message: Taken | int,
        *,
        state: str,
        ack: str,
        error: str,
        notices: Sequence[Notice] = (),
    ) -> None:
        """Remember why a message was not applied. `error` names no patient."""
        place = _place(message)
        await self._commit(_Failure(_promise(), *place, state, ack, error, tuple(notices)))

    async def message(self, number: int) -> StoredMessage | None:
        return await self._index.ask(partial(messages.find, number=number))

    async def messages(
        self,
        *,
        state: str | None = None,
        sender: str | None = None,
        control_id: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[StoredMessage]:
        """By number, from the one after `after`."""
        return await self._index.ask(
            partial(
                messages.listed,
                state=state,
                sender=sender,
                control_id=control_id,
                after=after,
                limit=limit,
            )
        )

    async def unfinished(
        self, *, before_us: int | None = None, after: int = 0, limit: int = 1000
    ) -> list[StoredMessage]:
        """Kept and never read: their process died. Read and apply them at the start.

        Args:
            before_us: Only those received before, so that nobody is at work on them.
        """
        return await self._index.ask(
            partial(
                messages.listed, state=messages.KEPT, after=after, before_us=before_us, limit=limit
            )
        )

    async def unmapped(self, *, after: int = 0, limit: int = 1000) -> list[StoredMessage]:
        """Messages with a status code that nobody had mapped when they were read."""
        return await self._index.ask(partial(messages.unmapped, after=after, limit=limit))

    async def exchange(self) -> tuple[int, str]:
        """Version and text of the configuration of senders and receivers; cheap to ask for."""
        now_s = time.monotonic()
        known = self._exchange
        if known is None or now_s - self._looked_s > EXCHANGE_LOOK_S:
            self._looked_s = now_s
            version = await self._index.ask(exchange.current_version)
            if known is None or version != known.version:
                known = self._exchange = await self._index.ask(exchange.current)
        return known.version, known.text

    @property
    def exchange_text(self) -> str:
        """The configuration that was in force when this process last looked."""
        return self._exchange.text if self._exchange is not None else ""

    async def put_exchange(self, text: str) -> int:
        """Put a configuration in force; gives its version, the old one when it is the same."""

        async def work(conn: Connection) -> int:
            turn = await Turn.take(conn)
            version = await exchange.put(turn, text)
            await turn.end()
            return version

        version = await self._index.transact(work)
        self._exchange = Exchange(version, text)
        return version

    # --- group commit ------------------------------------------------------------------------

    async def _commit(self, job: _Job) -> Any:
        self._waiting.append(job)
        self._arrived.set()
        return await job.done

    async def _commit_groups(self) -> None:
        """What comes while a group is being committed makes up the next one."""
        while self._waiting or not self._is_closing:
            await self._arrived.wait()
            await self._gather()
            group = self._waiting[:GROUP_SIZE]
            del self._waiting[:GROUP_SIZE]
            if not self._waiting and not self._is_closing:
                self._arrived.clear()
            if group:
                await self._commit_group(group)

    async def _gather(self) -> None:
        """Let all who can go on now bring what belongs into the same group.

        A commit costs more than most messages: who was answered by the last one and sends the
        next message at once is worth a few turns of the event loop, and these cost nothing when
        nobody else is there.
        """
        before = -1
        while before < len(self._waiting) < GROUP_SIZE:
            before = len(self._waiting)
            for _ in range(TURNS):
                await asyncio.sleep(0)

    async def _commit_group(self, group: Sequence[_Job]) -> None:
        """Commit a group; when it fails, each alone, so that none fails for another."""
        try:
            results = await self._index.transact(
                partial(self._work, group=group),
                # what is only kept has to outlive this process; answered is what comes after it
                durable=not all(isinstance(job, _Keep) for job in group),
            )
        except Exception as error:  # the border between one message's fate and another's
            self._parties.forget()
            if len(group) > 1 and not isinstance(error, Unavailable):
                log.warning("group failed, trying one by one", error=type(error).__name__)
                for job in group:
                    await self._commit_group([job])
                return
            if not isinstance(error, ArchiveError):
                log.exception("bug", error=type(error).__name__)
            for job in group:
                if not job.done.done():
                    job.done.set_exception(error)
            return
        for job, result in zip(group, results, strict=True):
            self._settle(job)
            if not job.done.done():
                job.done.set_result(result)

    def _settle(self, job: _Job) -> None:
        """The catalogue has its message."""
        taken = job.taken
        if taken is not None:
            taken.number = job.number
            if taken.place is not None:
                self._journal.forget(taken.place)

    async def _work(self, conn: Connection, group: Sequence[_Job]) -> list[Any]:
        turn = await Turn.take(conn)
        _keep(turn, [job for job in group if not isinstance(job, _Reading)])
        _keep(turn, [job for job in group if isinstance(job, _Reading)], messages.APPLIED, ACCEPTED)
        await turn.flush()
        await _fail(turn, [job for job in group if isinstance(job, _Failure)])
        readings = [job for job in group if isinstance(job, _Reading)]
        applied = iter(await self._apply(turn, readings) if readings else ())
        await turn.end()
        results: list[Any] = []
        for job in group:
            if isinstance(job, _Keep):
                results.append(job.number)
            else:
                results.append(next(applied) if isinstance(job, _Reading) else None)
        return results

    # --- what messages say -------------------------------------------------------------------

    async def _apply(self, turn: Turn, readings: Sequence[_Reading]) -> list[Applied]:
        standings = await messages.standings(turn.conn, [one.number for one in readings])
        for one in readings:
            if one.taken is not None:  # in this turn, beforehand
                standings[one.number] = replace(standings[one.number], state=messages.KEPT, ack="")
        due: dict[int, _Reading] = {}
        for one in readings:
            if one.number not in standings:
                raise NotFound("there is no message of this number")
            if one.anew or standings[one.number].state != messages.APPLIED:
                due.setdefault(one.number, one)
            if one.received_us is None:
                one.received_us = standings[one.number].received_us
        done = await self._apply_due(turn, list(due.values()), standings) if due else {}
        return [
            done[one.number]
            if due.get(one.number) is one
            else Applied(one.number, standings[one.number].ack or ACCEPTED, again=True)
            for one in readings
        ]

    async def _apply_due(
        self, turn: Turn, due: Sequence[_Reading], standings: dict[int, Standing]
    ) -> dict[int, Applied]:
        resolved = await patients.resolve(turn, [(one.number, one.contents) for one in due])
        also = set(resolved.orders)
        for one in due:
            if one.anew:
                also.update(
                    await order_rows.supersede(turn, one.number, [e.digest for e in one.events])
                )
        result = await order_rows.write(
            turn,
            [event for one in due for event in _told(one, resolved)],
            also=also,
            roots=resolved.root_of,
            realign=resolved.affected,
            expected=self._expected,
        )
        self._parties.note(turn, chain.from_iterable(parties_of(one.contents) for one in due))
        _keep_attachments(turn, due)
        await _state_notices(turn, due, standings, resolved, result)
        kept = [one.number for one in due if one.taken is None]
        messages.mark(turn, [(number, messages.APPLIED, ACCEPTED, "") for number in kept])
        _mark_senders(turn, due)
        await self._tell(turn, result)
        await _follow_up(turn, result)
        return {
            one.number: Applied(
                one.number, ACCEPTED, tuple(sorted(result.exams_of.get(one.number, ())))
            )
            for one in due
        }

    def _expected(self, exam: state.Exam) -> str:
        return delays.expected(exam, self._delay_of(exam.performer))

    async def _tell(self, turn: Turn, result: order_rows.Result) -> None:
        """Put what receivers are to be told into the outbox."""
        changed: list[ChangedExam | ChangedReport] = []
        changed += result.changed_exams
        changed += result.changed_reports
        if self._router is None or not changed or not self._is_heard():
            return
        await turn.flush()
        people = await patients.people(turn.conn, sorted({one.patient_id for one in changed}))
        for one in changed:
            patient = Patient(one.patient_id, *people[one.patient_id])
            if isinstance(one, ChangedExam):
                news = News(patient, exam=one)
            else:
                news = News(patient, report=one)
            outbox.enqueue(turn, self._router(news))


def _promise() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


def _place(message: Taken | int) -> tuple[Taken | None, int]:
    if isinstance(message, int):
        return None, message
    return (None, message.number) if message.number else (message, 0)


def _keep(turn: Turn, jobs: Sequence[_Job], state: str = messages.KEPT, ack: str = "") -> None:
    """Put those messages that are not in the catalogue there."""
    new = [(job, job.taken.message) for job in jobs if job.taken is not None]
    numbers = messages.keep(turn, [message for _, message in new], state=state, ack=ack)
    for (job, _), number in zip(new, numbers, strict=True):
        job.number = number


def _entry(message: RawMessage) -> tuple[bytes, bytes]:
    """As the journal has it: a line of what was said of it, then the message."""
    said = [getattr(message, name) for name in _SAID]
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE), message.body


def _message(entry: bytes) -> RawMessage:
    said, _, body = entry.partition(b"\n")
    return RawMessage(**dict(zip(_SAID, orjson.loads(said), strict=True)), body=body)


_SAID: Final = tuple(field.name for field in fields(RawMessage) if field.name != "body")


def _told(one: _Reading, resolved: patients.Resolved) -> list[order_rows.ToldEvent]:
    if not one.events:
        return []
    own = resolved.record_of[one.number]
    root = resolved.root_of[own]
    return [
        order_rows.ToldEvent(event, one.number, one.received_us or 0, own, root)
        for event in one.events
    ]


def _keep_attachments(turn: Turn, due: Sequence[_Reading]) -> None:
    for one in due:
        messages.attach(turn, one.contents.attachments)
        if one.profile is not None:
            messages.read_with(turn, one.number, one.profile)


def _mark_senders(turn: Turn, due: Sequence[_Reading]) -> None:
    senders: dict[str, tuple[int, int]] = {}
    for one in due:
        last, count = senders.get(one.sender, (0, 0))
        senders[one.sender] = (max(last, one.received_us or 0), count + (not one.anew))
    messages.seen(turn, senders)


async def _follow_up(turn: Turn, result: order_rows.Result) -> None:
    """What depends on rows of others: the same number at two patients, studies, time."""
    if not (result.realigned or result.gone or result.accessions or result.due_again):
        return
    await turn.flush()
    await order_rows.settle_conflicts(turn, result.accessions)
    await _resolve_overdue(turn, result)
    if result.realigned or result.gone:
        await study_links.relink_exams(
            turn, result.realigned, patients=result.patients, gone=result.gone
        )


async def _resolve_overdue(turn: Turn, result: order_rows.Result) -> None:
    """Images that are not due any more are not overdue."""
    over = {key for key, due in result.due_again.items() if not due or due > turn.at}
    keys = [f"{findings.EXAM}{key}|{study_links.OVERDUE}" for key in sorted(over | result.gone)]
    findings.resolve(turn, await findings.by_keys(turn.conn, keys))


async def _fail(turn: Turn, failures: Sequence[_Failure]) -> None:
    messages.mark(turn, [(job.number, job.state, job.ack, job.error) for job in failures])
    for job in failures:
        stated = [_notice(job.number, place, one) for place, one in enumerate(job.notices)]
        await findings.settle(turn, stated, await findings.of_message(turn.conn, job.number))


async def _state_notices(
    turn: Turn,
    due: Sequence[_Reading],
    standings: dict[int, Standing],
    resolved: patients.Resolved,
    result: order_rows.Result,
) -> None:
    stated: list[findings.Stated] = []
    scope: list[findings.StoredFinding] = []
    reused = Notice("control-id-reuse", "another message came earlier with this control id")
    for one in due:
        notices = [*one.contents.notices]
        notices += [notice for number, notice in resolved.notices if number == one.number]
        if standings[one.number].reused:
            notices.append(reused)
        exam = min(result.exams_of.get(one.number, ()), default=0)
        patient = resolved.root_of.get(resolved.record_of.get(one.number, 0), 0)
        order = result.order_of.get(exam, 0)
        stated += [
            _notice(one.number, place, notice, patient=patient, order=order, exam=exam)
            for place, notice in enumerate(notices)
        ]
        if standings[one.number].state != messages.KEPT:
            scope += await findings.of_message(turn.conn, one.number)
    if stated or scope:
        await findings.settle(turn, stated, scope)


def _notice(
    number: int, place: int, notice: Notice, *, patient: int = 0, order: int = 0, exam: int = 0
) -> findings.Stated:
    return findings.Stated(
        key=f"{findings.MESSAGE}{number}|{notice.code}|{place}",
        code=notice.code,
        severity=notice.severity,
        subject=f"{findings.MESSAGE}{number}",
        detail=notice.detail,
        patient_id=patient,
        order_id=order,
        exam_id=exam,
        message=number,
    )
