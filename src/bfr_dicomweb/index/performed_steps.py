"""Modality performed procedure steps, each as it is now; how it came to be stands in the messages
that were kept of it."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from bfr_dicomweb.index.statements import Connection, insert, row
from bfr_dicomweb.index.turn import Turn

STEP_CHANGED: Final = "performed-step-changed"


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """
    Attributes:
        attributes: DICOM JSON.
        created: Number of the message that created it.
        sets: How often it has been set since.
        change: Number of the last change.
    """

    id: int
    sop_instance_uid: str
    state: str
    attributes: dict[str, Any]
    created: int
    sets: int
    change: int


_SELECT: Final = (
    "SELECT id, sop_instance_uid, state, body, created, sets, change FROM performed_step"
    " WHERE sop_instance_uid = ?1"
)
_INSERT: Final = insert(
    "performed_step",
    (
        *("id", "sop_instance_uid", "state", "created", "sets", "created_us"),
        *("change", "changed_us", "body"),
    ),
)
_UPDATE: Final = (
    "UPDATE performed_step SET state = ?2, sets = ?3, change = ?4, changed_us = ?5, body = ?6"
    " WHERE id = ?1"
)


async def find(conn: Connection, sop_instance_uid: str) -> PerformedStep | None:
    found = await row(conn, _SELECT, (sop_instance_uid,))
    if found is None:
        return None
    key, uid, state, body, created, sets, change = found
    return PerformedStep(key, uid, state, orjson.loads(body), created, sets, change)


def add(
    turn: Turn, sop_instance_uid: str, state: str, attributes: dict[str, Any], *, created: int
) -> None:
    key = turn.number()
    change = turn.tell(STEP_CHANGED, f"performed-step/{key}")
    body = orjson.dumps(attributes)
    turn.script.add(
        _INSERT,
        [(key, sop_instance_uid, state, created, 0, turn.at_us, change, turn.at_us, body)],
    )


def put(turn: Turn, step: PerformedStep, state: str, attributes: dict[str, Any]) -> None:
    change = turn.tell(STEP_CHANGED, f"performed-step/{step.id}")
    body = orjson.dumps(attributes)
    turn.script.add(_UPDATE, [(step.id, state, step.sets + 1, change, turn.at_us, body)])
