"""Modality performed procedure steps (PS3.4 section F.7), whichever door they come through.

What an SCU says is kept as it came, together with the step that it makes (first commit); then it
is read as events of exams (second commit). A process that dies between the two has left a message
that `recover` finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from bfr_dicomweb.dicom import performed_steps
from bfr_dicomweb.dicom.performed_steps import Dataset
from bfr_dicomweb.errors import DifferentDuplicate, NotFound
from bfr_dicomweb.index import messages, patient_rows, scheduled_steps
from bfr_dicomweb.index import performed_steps as rows
from bfr_dicomweb.index.changes import now_us
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.messages import RawMessage, StoredMessage
from bfr_dicomweb.index.performed_steps import PerformedStep
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn, utc_text
from bfr_dicomweb.orders.events import Contents
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind
from bfr_dicomweb.services import step_events, subjects
from bfr_dicomweb.services.orders import ACCEPTED, Orders

# Of messages that are no HL7 v2.
DOOR: Final = "dicom"
CREATE: Final = "MPPS N-CREATE"
SET: Final = "MPPS N-SET"
PAGE: Final = 200
# What is younger may still be under way in the process that took it.
GRACE_US: Final = 30_000_000

log = structlog.get_logger("performed-steps")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a message was kept as.

    Attributes:
        step: All attributes after it.
        created: Number of the message by which the step was created.
    """

    number: int
    uid: str
    step: Dataset
    created: int
    sender: str
    received_us: int


async def create(
    index: Index, orders: Orders, dataset: Mapping[str, Any], *, uid: str = "", sender: str
) -> str:
    """Create a step; gives its SOP Instance UID. Durable when it returns.

    Args:
        dataset: DICOM JSON.
        uid: Of the new step; one is made for "".
        sender: AE title or name of who tells of it.

    Raises:
        InvalidDataset: A rule of PS3.4 Table F.7.2-1 is broken; names the attribute.
        DifferentDuplicate: There is a step of this UID.
    """
    step = performed_steps.created(dataset)
    named = uid or f"2.25.{uuid4().int}"
    kept = await index.transact(
        partial(_keep_new, uid=named, step=step, raw=dict(dataset), sender=sender)
    )
    await _apply(index, orders, kept)
    return named


async def modify(
    index: Index, orders: Orders, uid: str, modifications: Mapping[str, Any], *, sender: str
) -> Dataset:
    """Set attributes of a step; gives all that it has then. Durable when it returns.

    Raises:
        NotFound: There is no such step.
        Conflict: It is COMPLETED or DISCONTINUED.
        InvalidDataset: A rule of PS3.4 Table F.7.2-1 is broken; names the attribute.
    """
    kept = await index.transact(
        partial(_keep_modified, uid=uid, raw=dict(modifications), sender=sender)
    )
    await _apply(index, orders, kept)
    return performed_steps.shown(kept.step, uid)


async def find(index: Index, uid: str) -> Dataset:
    """
    Raises:
        NotFound: There is no such step.
    """
    found = await index.ask(partial(rows.find, sop_instance_uid=uid))
    return performed_steps.shown(_known(found).attributes, uid)


def _known(found: PerformedStep | None) -> PerformedStep:
    if found is None:
        raise NotFound("there is no performed procedure step of this UID")
    return found


# --- kept ------------------------------------------------------------------------------------


async def _keep_new(
    conn: Connection, *, uid: str, step: Dataset, raw: Dataset, sender: str
) -> _Kept:
    turn = await Turn.take(conn)
    if await rows.find(conn, uid) is not None:
        raise DifferentDuplicate("there is a performed procedure step of this UID")
    number = _keep(turn, uid, CREATE, [raw, step], sender=sender)
    rows.add(turn, uid, performed_steps.state_of(step).value, step, created=number)
    await turn.end()
    return _Kept(number, uid, step, number, sender, turn.at_us)


async def _keep_modified(conn: Connection, *, uid: str, raw: Dataset, sender: str) -> _Kept:
    turn = await Turn.take(conn)
    found = _known(await rows.find(conn, uid))
    step = performed_steps.updated(found.attributes, raw)
    number = _keep(turn, uid, SET, [raw, step], sender=sender, ordinal=found.sets + 1)
    rows.put(turn, found, performed_steps.state_of(step).value, step)
    await turn.end()
    return _Kept(number, uid, step, found.created, sender, turn.at_us)


def _keep(
    turn: Turn, uid: str, type: str, body: Sequence[Dataset], *, sender: str, ordinal: int = 0
) -> int:
    """As a message: what was sent, and the step that it made."""
    message = RawMessage(
        door=DOOR,
        sender=sender,
        control_id=f"{uid}/{ordinal}" if ordinal else uid,
        type=type,
        version="",
        charset="utf-8",
        body=orjson.dumps(body),
        profile=0,
        received_us=turn.at_us,
    )
    (number,) = messages.keep(turn, [message])
    return number


# --- read ------------------------------------------------------------------------------------


async def recover(index: Index, orders: Orders, *, grace_us: int = GRACE_US) -> int:
    """Take over what was kept and never read, because its process died; gives how many.

    Args:
        grace_us: Messages younger than this are left to who took them.
    """
    after = recovered = 0
    before_us = now_us() - grace_us
    while found := await orders.unfinished(before_us=before_us, after=after, limit=PAGE):
        for message in found:
            if message.door == DOOR and message.type in (CREATE, SET):
                await _apply(index, orders, await _read(index, message))
                recovered += 1
        after = found[-1].number
    if recovered:
        log.info("performed procedure steps recovered", messages=recovered)
    return recovered


async def _read(index: Index, message: StoredMessage) -> _Kept:
    uid = message.control_id.partition("/")[0]
    _, step = orjson.loads(message.body)
    found = _known(await index.ask(partial(rows.find, sop_instance_uid=uid)))
    return _Kept(message.number, uid, step, found.created, message.sender, message.received_us)


async def _apply(index: Index, orders: Orders, kept: _Kept) -> None:
    """Read a message as events of exams; to do it again changes nothing."""
    told = await _contents(index, kept)
    if told.patient is None:
        await orders.fail(
            kept.number,
            state=messages.FAILED,
            ack=ACCEPTED,
            error="it names no patient",
            notices=told.notices,
        )
        return
    if step_events.is_of_another_exam(kept.step):
        # it never was in progress for these exams
        begun = Contents(patient=told.patient)
        await orders.replace(kept.created, begun, sender=kept.sender, received_us=kept.received_us)
    await orders.apply(kept.number, told, sender=kept.sender, received_us=kept.received_us)


async def _contents(index: Index, kept: _Kept) -> Contents:
    patient = subjects.patient_of(kept.step)
    values = {identifier.value for identifier in patient.identifiers} if patient else set()
    aliases = await index.ask(partial(_aliases, step=kept.step, patient_ids=values))
    return step_events.contents(
        kept.step,
        aliases,
        uid=kept.uid,
        source=kept.sender,
        received=utc_text(kept.received_us),
    )


async def _aliases(
    conn: Connection, *, step: Dataset, patient_ids: set[str]
) -> list[tuple[Alias, ...]]:
    found = []
    for item in step_events.items_of(step):
        own = step_events.aliases_of(item)
        if all(alias.kind is not AliasKind.ACCESSION for alias in own):
            own = await _of_worklist(conn, own, step_events.study_uid_of(item), patient_ids)
        found.append(own)
    return found


async def _of_worklist(
    conn: Connection, own: tuple[Alias, ...], study_uid: str, patient_ids: set[str]
) -> tuple[Alias, ...]:
    """What a study has that nobody named but the worklist: the numbers of its exam."""
    records = await patient_rows.identified(conn, [(None, value) for value in patient_ids])
    if not records:
        return own
    roots = {record.root_id for record in records}
    for row in await scheduled_steps.of_study(conn, study_uid, roots):
        if not row.exam.values(AliasKind.STUDY):
            named = (alias for alias in row.exam.aliases if alias.kind is not AliasKind.REPORT)
            return (*named, Alias(AliasKind.STUDY, DICOM_UID, study_uid))
    return own
