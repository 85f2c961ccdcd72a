"""Workitems of performers that know of no Transaction UID: the archive keeps it for them.

The Transaction UID of such a claim follows from a secret of the archive and the UID of the
workitem, so that it can be told from all others, in every process and after a restart, and nobody
can guess it.
"""

import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom import workitems as rules
from bfr_dicomweb.dicom.attributes import has_value, values_of
from bfr_dicomweb.dicom.workitems import FINAL, Outcome, State, Workitem
from bfr_dicomweb.errors import WorkitemStateConflict
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services import worklist
from bfr_dicomweb.services.workitem_making import tag
from bfr_dicomweb.services.worklist import Kept

Dataset = dict[str, Any]

_STARTED: Final = tag("PerformedProcedureStepStartDateTime")
_CODE: Final = tag("PerformedWorkitemCodeSequence")
_SCHEDULED_CODE: Final = tag("ScheduledWorkitemCodeSequence")
# What has to be there when it is over, and may be empty.
_MAY_BE_EMPTY: Final = (tag("PerformedStationNameCodeSequence"), tag("OutputInformationSequence"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a workitem is to become.

    Attributes:
        changes: Attributes to set.
        performed: Attributes of the procedure that was performed, beside those that it has.
        reason: Why it is cancelled, as a request to cancel tells.
    """

    state: State
    changes: Dataset = field(default_factory=dict)
    performed: Dataset = field(default_factory=dict)
    reason: Dataset = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claims:
    """
    Attributes:
        secret: That all processes of this archive share.
        requester: AE title in whose name is asked to cancel.
    """

    secret: bytes
    requester: str

    def transaction_uid(self, uid: str) -> str:
        digest = hmac.new(self.secret, uid.encode(), hashlib.sha256).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    async def fulfil(
        self,
        index: Index,
        uid: str,
        wish_of: Callable[[Mapping[str, Any]], Wish],
        *,
        if_change: int | None = None,
    ) -> Kept:
        """
        Args:
            wish_of: Of the attributes that the workitem has.

        Raises:
            NotFound, Gone: There is no such workitem.
            WorkitemStateConflict: Its state or who claimed it is in the way.
            InvalidDataset: A rule of PS3.4 Table CC.2.5-3 is broken.
            PreconditionFailed: It has another version.
        """
        change = partial(
            _fulfilled,
            wish_of=wish_of,
            own=self.transaction_uid(uid),
            requester=self.requester,
            now=worklist.now(),
        )
        return await worklist.transact(index, uid, change, if_change)


def _fulfilled(
    workitem: Workitem,
    *,
    wish_of: Callable[[Mapping[str, Any]], Wish],
    own: str,
    requester: str,
    now: str,
) -> Outcome:
    wish, state = wish_of(workitem.attributes), workitem.state
    if state in FINAL:
        if wish.state is state and not wish.changes:
            return Outcome(workitem, is_already=True)
        raise WorkitemStateConflict("C300", f"it is {state}")
    is_own = state is State.IN_PROGRESS and workitem.transaction_uid == own
    if wish.state is State.CANCELED and not is_own:
        return rules.request_cancellation(workitem, wish.reason, requesting_ae=requester, now=now)
    if state is State.IN_PROGRESS and not is_own:
        if wish.state is state and not wish.changes and not wish.performed:
            return Outcome(workitem)
        raise WorkitemStateConflict(
            "C301", "who claimed it did so with a Transaction UID of its own: only that one may"
        )
    if state is State.IN_PROGRESS and wish.state is State.SCHEDULED:
        raise WorkitemStateConflict("C303", "it has been claimed, and only creation schedules")
    if state is State.SCHEDULED and wish.state is State.COMPLETED:
        raise WorkitemStateConflict("C310", "it has not been claimed yet")
    return _taken_on(workitem, wish, own, now)


def _taken_on(workitem: Workitem, wish: Wish, own: str, now: str) -> Outcome:
    """Of what is scheduled or has been claimed here: each rule after the other."""
    told = Outcome(workitem)
    is_claim = workitem.state is State.SCHEDULED and wish.state is State.IN_PROGRESS
    if workitem.state is State.SCHEDULED and wish.changes:
        told = _then(told, rules.update, changes=wish.changes, transaction_uid="", now=now)
    if is_claim:
        told = _then(told, rules.change_state, requested=wish.state, transaction_uid=own, now=now)
    changes = _of_performance(told.workitem, wish, now) if told.workitem.transaction_uid else {}
    if workitem.state is State.IN_PROGRESS:
        changes |= wish.changes
    if changes:
        told = _then(told, rules.update, changes=changes, transaction_uid=own, now=now)
    if wish.state in FINAL:
        told = _then(told, rules.change_state, requested=wish.state, transaction_uid=own, now=now)
    return told


def _then(told: Outcome, rule: Callable[..., Outcome], **asked: Any) -> Outcome:
    after = rule(told.workitem, **asked)
    return replace(
        after,
        events=(*told.events, *after.events),
        is_modified=told.is_modified or after.is_modified,
    )


def _of_performance(workitem: Workitem, wish: Wish, now: str) -> Dataset:
    """What was performed and why it ended, as far as it is not known already."""
    attributes = workitem.attributes
    items = values_of(attributes, rules.PERFORMED)
    before = dict(items[0]) if items else {}
    performed = {**before, **wish.performed}
    performed.setdefault(_STARTED, {"vr": "DT", "Value": [now]})
    for each in _MAY_BE_EMPTY:
        performed.setdefault(each, {"vr": "SQ"})
    if not has_value(performed.get(_CODE)) and has_value(attributes.get(_SCHEDULED_CODE)):
        performed[_CODE] = attributes[_SCHEDULED_CODE]
    changes: Dataset = {}
    if performed != before:
        ordered = {each: performed[each] for each in sorted(performed)}
        changes[rules.PERFORMED] = {"vr": "SQ", "Value": [ordered, *items[1:]]}
    if wish.reason:
        steps = values_of(attributes, rules.PROGRESS)
        progress = {**(steps[0] if steps else {}), **wish.reason}
        ordered = {each: progress[each] for each in sorted(progress)}
        changes[rules.PROGRESS] = {"vr": "SQ", "Value": [ordered, *steps[1:]]}
    return changes
