"""A turn at writing: numbers from the one counter, and what is written and told with them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from bfr_dicomweb.index import changes
from bfr_dicomweb.index.statements import Connection, Script, insert

MESSAGE_RECEIVED: Final = "message-received"
PATIENT_CHANGED: Final = "patient-changed"
ORDER_CHANGED: Final = "order-changed"
EXAM_CHANGED: Final = "exam-changed"
REPORT_CHANGED: Final = "report-changed"
FINDING_CHANGED: Final = "finding-changed"
STUDY_LINKED: Final = "study-linked"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSERT: Final = insert("change", ("number", "at_us", "what", "study_instance_uid", "subject"))


@dataclass(slots=True)
class Turn:
    """Who holds it is the only writer until the commit.

    Attributes:
        at_us: The time of everything that is written in this turn.
        script: What is to be written; runs at `flush` and `end`.
    """

    conn: Connection
    counter: changes.Counter
    at_us: int
    script: Script = field(default_factory=Script)
    told: list[tuple[Any, ...]] = field(default_factory=list)

    @classmethod
    async def take(cls, conn: Connection) -> Self:
        """Wait for the right to write, also across processes and machines."""
        return cls(conn, await changes.take_counter(conn), changes.now_us())

    @property
    def at(self) -> str:
        return utc_text(self.at_us)

    def number(self) -> int:
        self.counter.change += 1
        return self.counter.change

    def tell(self, what: str, subject: str, *, study_instance_uid: str = "") -> int:
        """Add a change; gives its number."""
        number = self.number()
        self.tell_as(number, what, subject, study_instance_uid=study_instance_uid)
        return number

    def tell_as(
        self, number: int, what: str, subject: str, *, study_instance_uid: str = ""
    ) -> None:
        self.told.append((number, self.at_us, what, study_instance_uid, subject))

    async def flush(self) -> None:
        """Write what has been added to the script so far, so that it can be read."""
        script, self.script = self.script, Script()
        await script.run(self.conn)

    async def end(self) -> None:
        """Write everything. The caller commits."""
        self.script.add(_INSERT, self.told)
        changes.keep_counter(self.script, self.counter)
        await self.flush()


def utc_text(at_us: int) -> str:
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
