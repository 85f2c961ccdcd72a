"""What has been read for one answer, so that the answer reads no row twice and shows one state.

An answer shows an exam as a request and as a task, and with its studies and reports, each of which
is found by itself. Within `one` they share the rows; what an answer has seen ends with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from bfr_dicomweb.index.exam_rows import ExamRow
from bfr_dicomweb.index.order_rows import OrderRow
from bfr_dicomweb.index.patient_rows import PatientRow
from bfr_dicomweb.index.report_rows import ReportRow


@dataclass(frozen=True, slots=True)
class Sight:
    """Rows by id."""

    patients: dict[int, PatientRow] = field(default_factory=dict)
    orders: dict[int, OrderRow] = field(default_factory=dict)
    exams: dict[int, ExamRow] = field(default_factory=dict)
    reports: dict[int, ReportRow] = field(default_factory=dict)


_SIGHT: Final[ContextVar[Sight | None]] = ContextVar("sight", default=None)


@contextmanager
def one() -> Iterator[None]:
    token = _SIGHT.set(Sight())
    try:
        yield
    finally:
        _SIGHT.reset(token)


def current() -> Sight:
    """Outside of `one` an empty one, which ends with who asked for it."""
    return _SIGHT.get() or Sight()
