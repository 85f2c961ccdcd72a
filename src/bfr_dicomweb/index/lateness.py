"""What is late: exams whose images have not come, and when each sender last spoke."""

from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.index import findings
from bfr_dicomweb.index.statements import Connection, rows

OVERDUE: Final = "images-overdue"
_OVERDUE: Final = """
    SELECT e.id, e.order_id, e.patient_id, e.performer, e.expected FROM exam e
    WHERE e.expected <> '' AND e.studies = 0 AND e.expected < ?1 AND NOT EXISTS (
        SELECT 1 FROM finding f
        WHERE f.finding_key = ?3 || e.id || ?4 AND f.resolved = '')
    ORDER BY e.expected, e.id LIMIT ?2
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """An exam whose images were expected by now."""

    exam_id: int
    order_id: int
    patient_id: int
    performer: str
    expected: str

    @property
    def key(self) -> str:
        """Of the finding that says so."""
        return f"{findings.EXAM}{self.exam_id}|{OVERDUE}"


async def overdue(conn: Connection, now: str, limit: int) -> list[Overdue]:
    """The first of those for which no finding is open."""
    found = await rows(conn, _OVERDUE, (now, limit, findings.EXAM, f"|{OVERDUE}"))
    return [Overdue(*values) for values in found]


async def last_seen(conn: Connection) -> dict[str, int]:
    """By sender: when its last message came, in microseconds since 1970."""
    found = await rows(conn, "SELECT sender, last_us FROM sender_seen")
    return dict(map(tuple, found))
