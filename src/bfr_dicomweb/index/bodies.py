"""Documents of rows, decoded once for as long as they are asked for again and again.

One timeline shows an exam as a request, as a task, and with its studies and reports; each of these
reads the row. Documents are values that nobody can change, so that all may share them.
"""

from functools import lru_cache
from typing import Final

from bfr_dicomweb.orders import records
from bfr_dicomweb.orders.state import Exam, Order, Report

# Of each kind; some ten megabytes when all are full.
_KEPT: Final = 1024


@lru_cache(_KEPT)
def order(body: bytes) -> Order:
    return records.loads(Order, body)


@lru_cache(_KEPT)
def exam(body: bytes) -> Exam:
    return records.loads(Exam, body)


@lru_cache(_KEPT)
def report(body: bytes) -> Report:
    return records.loads(Report, body)
