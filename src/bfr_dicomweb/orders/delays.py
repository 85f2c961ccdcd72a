"""When the images of an exam are due: producers archive after a criterion is met, and a delay."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from typing import Final, Literal

from bfr_dicomweb.orders.composing import LOCAL
from bfr_dicomweb.orders.events import Kind
from bfr_dicomweb.orders.state import Exam, Status

Criterion = Literal["performed", "signed", "signed-untouched", "schedule", "none"]

_OVER: Final = frozenset({Status.CANCELLED, Status.MOVED, Status.REFUSED, Status.ERROR})
_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class Delay:
    """
    Attributes:
        criterion: `signed-untouched`: signed, and no report came for `delay_s` since; `schedule`:
            all that was performed, every day at the same time; `none`: nothing was promised.
        delay_s: From when the criterion is met.
        at: Local time ``HH:MM`` of the schedule.
    """

    criterion: Criterion = "none"
    delay_s: int = 0
    at: str = ""


def expected(exam: Exam, delay: Delay) -> str:
    """UTC time at which the images should have come; "" as long as that cannot be known."""
    met = "" if exam.status in _OVER else _met(exam, delay.criterion)
    if not met:
        return ""
    due = datetime.fromisoformat(met)
    if delay.criterion == "schedule":
        due = _next(due, clock_time.fromisoformat(delay.at))
    return (due + timedelta(seconds=delay.delay_s)).strftime(_FORMAT)


def _met(exam: Exam, criterion: Criterion) -> str:
    if criterion in ("performed", "schedule"):
        return exam.performed
    if criterion == "signed":
        return exam.signed
    if criterion == "signed-untouched" and exam.signed:
        return max((step.time for step in exam.steps if step.kind == Kind.REPORTED), default="")
    return ""


def _next(moment: datetime, at: clock_time) -> datetime:
    """The first time at or after `moment` that clocks in Sweden show `at`."""
    day = moment.astimezone(LOCAL).date()
    while True:
        found = datetime.combine(day, at, LOCAL).astimezone(UTC)
        if found >= moment:
            return found
        day += timedelta(days=1)
