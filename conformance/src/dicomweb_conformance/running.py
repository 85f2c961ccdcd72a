"""A run: the claims are read, fixtures stored, cases judged one after the other, all taken away."""

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicomweb_conformance import __version__, archive, claims, resources
from dicomweb_conformance.cases import Case
from dicomweb_conformance.claims import Claims, NotReadable
from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.target import UNAUTHORIZED, Target, Unreachable
from dicomweb_conformance.verdicts import (
    OUTCOME_WHEN_VIOLATED,
    Level,
    NotClaimed,
    Outcome,
    Unmet,
    Violated,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one case came to."""

    case: Case
    outcome: Outcome
    reason: str = ""  # of anything but PASS
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """What a run came to, and under which circumstances."""

    base_url: str
    run_id: str
    read_only: bool
    started: datetime
    suite_version: str = __version__
    seconds: float = 0.0
    capabilities_known: bool = False
    verdicts: list[Verdict] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)  # fixture: why
    remaining: list[str] = field(default_factory=list)  # paths that could not be deleted
    lost: str = ""  # why the server could not be asked any more

    def counts(self, chapter: str | None = None) -> Counter[Outcome]:
        return Counter(
            each.outcome for each in self.verdicts if chapter in (None, each.case.chapter)
        )

    @property
    def chapters(self) -> list[str]:
        return list(dict.fromkeys(each.case.chapter for each in self.verdicts))


async def run(
    target: Target,
    cases: Iterable[Case],
    *,
    run_id: str,
    progress: Callable[[Verdict | str], None] = lambda _: None,
) -> Run:
    """Raises Unreachable: the server cannot be asked at all."""
    chosen = list(cases)
    started = time.monotonic()
    judged = Run(target.base_url, run_id, target.read_only, datetime.now(UTC))
    progress("reading the capabilities")
    target.claims = await read_claims(target)
    await _need_answers(target)
    judged.capabilities_known = target.claims.known
    try:
        await _provide(target, _needed(target, chosen), run_id, progress)
        for case in chosen:
            verdict = await _judge_while_there(target, case, judged)
            judged.verdicts.append(verdict)
            progress(verdict)
    finally:
        if target.may_delete:
            progress("deleting what was stored")
            judged.remaining = await archive.clean_up(target)
    judged.unavailable = {
        fixture.name: target.shown.without_secrets(held)
        for fixture, held in target.held.items()
        if isinstance(held, str)
    }
    judged.seconds = round(time.monotonic() - started, 2)
    return judged


def _needed(target: Target, cases: list[Case]) -> set[Fixture]:
    """The fixtures of the cases that are not excluded anyway."""
    needed: set[Fixture] = set()
    for case in cases:
        if all(target.claims.offers(feature) is not False for feature in case.features):
            needed.update(case.fixtures, case.wants)
    return needed


async def _provide(
    target: Target, needed: set[Fixture], run_id: str, progress: Callable[[str], None]
) -> None:
    if target.read_only:
        progress("looking for studies to ask about")
        await archive.find(target, needed)
    elif needed:
        progress("storing synthetic studies")
        await archive.store(target, needed, Uids(run_id))
    await resources.find_absent(target)
    target.exchanges.clear()


async def read_claims(target: Target) -> Claims:
    """Both descriptions are asked for; the first that says something counts."""
    found = Claims()
    for accept in ("application/vnd.sun.wadl+xml", "application/json"):
        try:
            answer = await target.request("OPTIONS", "/", accept=accept)
            if answer.status == 200 and answer.content and not found.known:
                found = claims.read(answer.headers.get("content-type", ""), answer.content)
        except (NotReadable, Violated, Unmet):
            continue  # cases of their own say what is wrong with it
    return found


async def _need_answers(target: Target) -> None:
    """Raises Unreachable: there is no HTTP server, or it lets in somebody else only."""
    try:
        await target.get("/studies", query="StudyInstanceUID=2.25.0&limit=1")
    except Unmet as error:
        if target.exchanges[-1].status == UNAUTHORIZED:
            raise Unreachable(f"{target.base_url} cannot be judged: {error} (see --auth)") from None
    except Violated as error:
        if not any(exchange.status for exchange in target.exchanges):
            raise Unreachable(f"{target.base_url} cannot be judged: {error}") from None


async def _judge_while_there(target: Target, case: Case, judged: Run) -> Verdict:
    """A server that has gone away leaves its verdicts behind; what is left to ask is skipped.

    Raises:
        Unreachable: it has never been there.
    """
    if not judged.lost:
        try:
            return await judge(target, case)
        except Unreachable as error:
            if not judged.verdicts:
                raise
            judged.lost = f"{error}; it answered before"
    return Verdict(case, Outcome.SKIP, judged.lost)


async def judge(target: Target, case: Case) -> Verdict:
    """Runs one case. Raises Unreachable."""
    target.judging = case.id
    target.exchanges.clear()
    target.notes.clear()
    started = time.monotonic()
    outcome, reason = await _outcome(target, case)
    if outcome is Outcome.PASS and target.notes and case.level is Level.MAY:
        outcome = Outcome.NOTE
    shows_all = outcome not in (Outcome.PASS, Outcome.NA, Outcome.SKIP)
    return Verdict(
        case,
        outcome,
        target.shown.without_secrets(reason),
        tuple(map(target.shown.without_secrets, target.notes)),
        tuple(each if shows_all else each.briefly() for each in target.exchanges),
        round(time.monotonic() - started, 3),
    )


async def _outcome(target: Target, case: Case) -> tuple[Outcome, str]:
    try:
        for feature in case.features:
            target.require(feature)
        for fixture in case.fixtures:
            target.studies(fixture)
        await case.check(target)
    except Violated as error:
        return OUTCOME_WHEN_VIOLATED[case.level], str(error)
    except Unmet as error:
        return Outcome.SKIP, str(error)
    except NotClaimed as error:
        return Outcome.NA, str(error)
    except Unreachable:
        raise
    except Exception as error:  # a bug of the suite is never the server's fault
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome.ERROR, f"{type(error).__name__} in {frame.name}, line {frame.lineno}"
    return Outcome.PASS, ""
