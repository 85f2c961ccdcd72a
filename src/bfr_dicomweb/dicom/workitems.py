"""The Unified Procedure Step: what makes a workitem and how it lives (PS3.4 Annex CC).

Everything here is a function of a workitem and of what is asked; data sets are DICOM JSON. The
caller keeps the results, and is the only one at a time.

    none -- create --> SCHEDULED -- claim --> IN PROGRESS -- finish --> COMPLETED
                           |                       +------ give up --> CANCELED
                           +-- request cancellation --> (IN PROGRESS) --> CANCELED
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Final

from bfr_dicomweb.dicom.attributes import has_value, tag_of, values_of, vr_of
from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.dicom.workitem_attributes import EMPTY, NOT_ALLOWED, Path, Rule, below
from bfr_dicomweb.errors import (
    InvalidDataset,
    NotTheClaimant,
    WorkitemEnded,
    WorkitemStateConflict,
)

Dataset = dict[str, Any]

# Of every workitem, whichever SOP class an SCU speaks (PS3.4 section CC.2.5.1.3.1).
SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.34.6.1"
WORKLIST_LABEL: Final = "BFR"


def _tag(keyword: str) -> str:
    tag = tag_of(keyword)
    if tag is None:
        raise ValueError(keyword)
    return tag


TRANSACTION_UID: Final = _tag("TransactionUID")
STATE: Final = _tag("ProcedureStepState")
READINESS: Final = _tag("InputReadinessState")
PRIORITY: Final = _tag("ScheduledProcedureStepPriority")
LABEL: Final = _tag("WorklistLabel")
MODIFIED: Final = _tag("ScheduledProcedureStepModificationDateTime")
PROGRESS: Final = _tag("ProcedureStepProgressInformationSequence")
PERFORMED: Final = _tag("UnifiedProcedureStepPerformedProcedureSequence")
STATIONS: Final = _tag("ScheduledStationNameCodeSequence")
HUMANS: Final = _tag("ScheduledHumanPerformersSequence")
_PERFORMER_CODE: Final = _tag("HumanPerformerCodeSequence")
_PERFORMER_ORGANIZATION: Final = _tag("HumanPerformerOrganization")
_CANCELLED_AT: Final = _tag("ProcedureStepCancellationDateTime")
_REASON: Final = _tag("ReasonForCancellation")
_REASON_CODE: Final = _tag("ProcedureStepDiscontinuationReasonCodeSequence")
_CONTACT_URI: Final = _tag("ContactURI")
_CONTACT_NAME: Final = _tag("ContactDisplayName")
_REQUESTING_AE: Final = _tag("RequestingAE")
_COMMUNICATIONS: Final = _tag("ProcedureStepCommunicationsURISequence")
_CLASS, _INSTANCE, _CHARSET = "00080016", "00080018", "00080005"
_AFFECTED_INSTANCE: Final = "00001000"


class State(StrEnum):
    """PS3.3 section C.30.1"""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


FINAL: Final = frozenset({State.COMPLETED, State.CANCELED})
# Only creation makes SCHEDULED.
_REQUESTABLE: Final = frozenset({State.IN_PROGRESS, State.COMPLETED, State.CANCELED})

_ENUMERATED: Final[dict[Path, frozenset[str]]] = {
    (PRIORITY,): frozenset({"HIGH", "MEDIUM", "LOW"}),
    (READINESS,): frozenset({"INCOMPLETE", "UNAVAILABLE", "READY"}),
}


class EventType(IntEnum):
    """PS3.4 Table CC.2.4-1"""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    SCP_STATUS_CHANGE = 4
    ASSIGNED = 5


@dataclass(frozen=True, slots=True)
class EventReport:
    type: EventType
    information: Dataset


@dataclass(frozen=True, slots=True)
class Workitem:
    """
    Attributes:
        attributes: As they are shown: without the Transaction UID, which nobody is told.
        transaction_uid: Of the claim; "" before.
    """

    attributes: Dataset
    transaction_uid: str = ""

    @property
    def state(self) -> State:
        return State(self.attributes[STATE]["Value"][0])


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    Attributes:
        is_modified: Not all was taken as it was given (warning B300).
        is_already: It was in the requested state before (warnings B304 and B306).
    """

    workitem: Workitem
    events: tuple[EventReport, ...] = ()
    is_modified: bool = False
    is_already: bool = False


# --- the state machine -----------------------------------------------------------------------

# PS3.4 Table CC.1.1-2, for who shows the right Transaction UID: what is refused, and why.
_REFUSED: Final[dict[tuple[State, State], tuple[str, str]]] = {
    (State.SCHEDULED, State.COMPLETED): ("C310", "it has not been claimed yet"),
    (State.SCHEDULED, State.CANCELED): ("C310", "it has not been claimed yet"),
    (State.IN_PROGRESS, State.IN_PROGRESS): ("C302", "it is IN PROGRESS already"),
    (State.COMPLETED, State.IN_PROGRESS): ("C300", "it is COMPLETED"),
    (State.COMPLETED, State.CANCELED): ("C300", "it is COMPLETED"),
    (State.CANCELED, State.IN_PROGRESS): ("C300", "it is CANCELED"),
    (State.CANCELED, State.COMPLETED): ("C300", "it is CANCELED"),
}


def change_state(workitem: Workitem, requested: str, *, transaction_uid: str, now: str) -> Outcome:
    """
    Args:
        now: A DT value.

    Raises:
        InvalidDataset: There is no such state, or only creation gives it (C303).
        NotTheClaimant: The Transaction UID is missing or not that of the claim (C301).
        WorkitemStateConflict: The table or the requirements of the final state are in the way.
    """
    if requested not in _REQUESTABLE:
        raise InvalidDataset(
            (STATE,), "invalid", f"{named((STATE,))} has to be IN PROGRESS, COMPLETED or CANCELED"
        )
    state, target = workitem.state, State(requested)
    is_claim = state is State.SCHEDULED and target is State.IN_PROGRESS
    _require_claimant(workitem, transaction_uid)
    if state is target and state in FINAL:
        return Outcome(workitem, is_already=True)
    if (refused := _REFUSED.get((state, target))) is not None:
        raise WorkitemStateConflict(*refused)
    attributes = workitem.attributes
    if target is State.CANCELED:
        attributes = _with_cancellation(attributes, {}, now)
    if target in FINAL:
        _require_final(attributes, target)
    changed = Workitem(
        _sorted({**attributes, STATE: _value("CS", target), MODIFIED: _value("DT", now)}),
        transaction_uid if is_claim else workitem.transaction_uid,
    )
    return Outcome(changed, (_state_report(changed.attributes),))


def _require_claimant(workitem: Workitem, transaction_uid: str) -> None:
    if not transaction_uid:
        raise NotTheClaimant(is_missing=True)
    if workitem.state is State.SCHEDULED:
        return
    if transaction_uid != workitem.transaction_uid:
        raise NotTheClaimant(is_missing=False)


def request_cancellation(
    workitem: Workitem, request: Mapping[str, Any], *, requesting_ae: str, now: str
) -> Outcome:
    """Cancel what nobody has begun; ask whoever performs it to (PS3.4 section CC.2.2.3).

    Raises:
        WorkitemStateConflict: It is COMPLETED (C311).
    """
    told = {
        tag: request[tag]
        for tag in (_REASON, _REASON_CODE, _CONTACT_URI, _CONTACT_NAME)
        if has_value(request.get(tag))
    }
    match workitem.state:
        case State.COMPLETED:
            raise WorkitemStateConflict("C311", "it is COMPLETED")
        case State.CANCELED:
            return Outcome(workitem, is_already=True)
        case State.IN_PROGRESS:
            asked = {_REQUESTING_AE: _value("AE", requesting_ae), **told}
            return Outcome(workitem, (EventReport(EventType.CANCEL_REQUESTED, _sorted(asked)),))
    begun = _sorted({**workitem.attributes, STATE: _value("CS", State.IN_PROGRESS)})
    ended = _with_cancellation(begun, told, now)
    ended = _sorted({**ended, STATE: _value("CS", State.CANCELED), MODIFIED: _value("DT", now)})
    return Outcome(
        replace(workitem, attributes=ended), (_state_report(begun), _state_report(ended))
    )


def _with_cancellation(attributes: Dataset, told: Mapping[str, Any], now: str) -> Dataset:
    """What a canceled workitem has to hold; the reason is not insisted on (D-20)."""
    items = values_of(attributes, PROGRESS)
    progress = dict(items[0]) if items else {}
    if not has_value(progress.get(_CANCELLED_AT)):
        progress[_CANCELLED_AT] = _value("DT", now)
    progress |= {tag: told[tag] for tag in (_REASON, _REASON_CODE) if tag in told}
    if _CONTACT_URI in told and _COMMUNICATIONS not in progress:
        contact = {tag: told[tag] for tag in (_CONTACT_URI, _CONTACT_NAME) if tag in told}
        progress[_COMMUNICATIONS] = {"vr": "SQ", "Value": [_sorted(contact)]}
    return {**attributes, PROGRESS: {"vr": "SQ", "Value": [_sorted(progress), *items[1:]]}}


def _require_final(attributes: Dataset, state: State) -> None:
    """Raises WorkitemStateConflict: a requirement of Table CC.2.5-3 is not met (C304)."""
    codes = {"R", "P"} if state is State.COMPLETED else {"R"}
    missing = _unfinished(attributes, (), codes)
    if missing is not None:
        raise WorkitemStateConflict("C304", f"{named(missing)} is required to be {state}")


def _unfinished(dataset: Mapping[str, Any], above: Path, codes: set[str]) -> Path | None:
    for rule in below(above):
        if rule.final not in codes:
            continue
        element = dataset.get(rule.path[-1])
        # type 2: what was made may be nothing (PS3.4 Table CC.2.5-3)
        is_enough = element is not None if rule.update_scp == "2" and above else has_value(element)
        if not is_enough:
            return rule.path
        for item in values_of(dataset, rule.path[-1]):
            if isinstance(item, dict) and (found := _unfinished(item, rule.path, codes)):
                return found
    return None


# --- creation and update ---------------------------------------------------------------------


@dataclass(slots=True)
class _Filling:
    """A data set on its way in: what has to be there is checked, what may be empty is added."""

    is_update: bool
    is_modified: bool = False

    def fill(self, dataset: Mapping[str, Any], above: Path = ()) -> Dataset:
        filled = dict(dataset)
        for rule in below(above):
            self._fill_one(filled, rule)
        return _sorted(filled)

    def _fill_one(self, filled: Dataset, rule: Rule) -> None:
        tag = rule.path[-1]
        usage = rule.update if self.is_update else rule.create
        element = filled.get(tag)
        if element is None:
            self._fill_missing(filled, rule, usage)
            return
        if usage == NOT_ALLOWED:
            raise _refused(rule.path, "not-allowed", "may not be given here")
        if usage == EMPTY and has_value(element):
            raise _refused(rule.path, "invalid", "has to be empty when a workitem is created")
        scp = rule.update_scp if self.is_update else rule.create_scp
        if not has_value(element) and (usage == "1" or (self.is_update and scp == "1")):
            raise _refused(rule.path, "empty", "must have a value")
        _require_enumerated(rule.path, element)
        if element.get("vr") == "SQ" and has_value(element):
            filled[tag] = {
                "vr": "SQ",
                "Value": [self._item(item, rule) for item in element["Value"]],
            }

    def _fill_missing(self, filled: Dataset, rule: Rule, usage: str) -> None:
        if usage == "1":
            raise _refused(rule.path, "missing", "is missing")
        # at the top of an update nothing is missing: it says what changes
        if usage in ("2", EMPTY):
            filled[rule.path[-1]] = {"vr": _vr(rule.path[-1])}
            self.is_modified = True
        elif usage == "1C" and rule.create_scp == "2" and not self.is_update:
            filled[rule.path[-1]] = {"vr": _vr(rule.path[-1])}

    def _item(self, item: Mapping[str, Any], rule: Rule) -> Dataset:
        for tag in rule.required:
            if not has_value(item.get(tag)):
                raise _refused((*rule.path, tag), "missing", "is missing")
        if rule.one_of and not any(has_value(item.get(tag)) for tag in rule.one_of):
            raise _refused((*rule.path, rule.one_of[0]), "missing", "or one like it is missing")
        return self.fill(item, rule.path)


def create(dataset: Mapping[str, Any], *, uid: str, now: str) -> Outcome:
    """
    Args:
        dataset: Without the UID or with the same one.
        now: A DT value.

    Raises:
        InvalidDataset: A rule of Table CC.2.5-3 is broken; names the attribute.
    """
    given = dict(dataset)
    if _AFFECTED_INSTANCE in given:
        raise _refused((_AFFECTED_INSTANCE,), "not-allowed", "may not stand in the data set")
    if has_value(given.pop(TRANSACTION_UID, None)):
        raise _refused((TRANSACTION_UID,), "invalid", "has to be empty when a workitem is created")
    for tag in (_CLASS, _INSTANCE, _CHARSET, MODIFIED):
        given.pop(tag, None)
    state = values_of(given, STATE)
    if state and state != [State.SCHEDULED]:
        raise _refused((STATE,), "invalid", "has to be SCHEDULED when a workitem is created")
    filling = _Filling(is_update=False)
    attributes = filling.fill(given)
    if not has_value(attributes.get(LABEL)):
        attributes[LABEL] = _value("LO", WORKLIST_LABEL)
        filling.is_modified = True
    attributes[_CLASS] = _value("UI", SOP_CLASS_UID)
    attributes[_INSTANCE] = _value("UI", uid)
    attributes[MODIFIED] = _value("DT", now)
    attributes = _sorted(attributes)
    events = [_state_report(attributes)]
    if has_value(attributes.get(STATIONS)) or has_value(attributes.get(HUMANS)):
        events.append(_assigned(attributes))
    return Outcome(Workitem(attributes), tuple(events), filling.is_modified)


def update(
    workitem: Workitem, changes: Mapping[str, Any], *, transaction_uid: str, now: str
) -> Outcome:
    """Set attributes, each as a whole; sequences too (PS3.4 section CC.2.6).

    Raises:
        WorkitemEnded: It is in a final state (C300).
        NotTheClaimant: The Transaction UID is not that of the claim, or there is none (C301).
        InvalidDataset: A rule of Table CC.2.5-3 is broken; names the attribute.
    """
    if workitem.state in FINAL:
        raise WorkitemEnded(f"it is {workitem.state}")
    if workitem.state is State.IN_PROGRESS:
        _require_claimant(workitem, transaction_uid)
    elif transaction_uid:
        raise NotTheClaimant(is_missing=False)
    given = dict(changes)
    given.pop(TRANSACTION_UID, None)
    given.pop(_CHARSET, None)
    for tag in (_CLASS, _INSTANCE):
        # telling which one is meant changes nothing
        if values_of(given, tag) == values_of(workitem.attributes, tag):
            given.pop(tag, None)
    filling = _Filling(is_update=True)
    filled = filling.fill(given)
    merged = {**workitem.attributes, **filled, MODIFIED: _value("DT", now)}
    changed = replace(workitem, attributes=_sorted(merged))
    events = _events_of_update(workitem.attributes, changed.attributes)
    return Outcome(changed, events, filling.is_modified)


def _events_of_update(before: Dataset, after: Dataset) -> tuple[EventReport, ...]:
    """PS3.4 section CC.2.4.3"""
    events = []
    if before.get(READINESS) != after.get(READINESS):
        events.append(_state_report(after))
    if any(before.get(tag) != after.get(tag) for tag in (STATIONS, HUMANS)):
        events.append(_assigned(after))
    if before.get(PROGRESS) != after.get(PROGRESS):
        events.append(EventReport(EventType.PROGRESS_REPORT, {PROGRESS: after[PROGRESS]}))
    return tuple(events)


def state_report(workitem: Workitem) -> EventReport:
    """How the workitem is now, for who has just subscribed to it."""
    return _state_report(workitem.attributes)


def _state_report(attributes: Dataset) -> EventReport:
    told = {STATE: attributes[STATE], READINESS: attributes[READINESS]}
    for item in values_of(attributes, PROGRESS)[:1]:
        told |= {tag: item[tag] for tag in (_REASON, _REASON_CODE) if has_value(item.get(tag))}
    return EventReport(EventType.STATE_REPORT, _sorted(told))


def _assigned(attributes: Dataset) -> EventReport:
    told: Dataset = {}
    if has_value(attributes.get(STATIONS)):
        told[STATIONS] = attributes[STATIONS]
    for item in values_of(attributes, HUMANS)[:1]:
        told |= {
            tag: item[tag]
            for tag in (_PERFORMER_CODE, _PERFORMER_ORGANIZATION)
            if has_value(item.get(tag))
        }
    return EventReport(EventType.ASSIGNED, _sorted(told))


def _require_enumerated(path: Path, element: Mapping[str, Any]) -> None:
    allowed = _ENUMERATED.get(path)
    values = element.get("Value") or []
    if allowed is not None and (len(values) != 1 or values[0] not in allowed):
        raise _refused(path, "invalid", f"has to be one of {', '.join(sorted(allowed))}")


def _refused(path: Path, defect: str, reason: str) -> InvalidDataset:
    return InvalidDataset(path, defect, f"{named(path)} {reason}")


def _value(vr: str, value: str) -> Dataset:
    return {"vr": vr, "Value": [str(value)]}


def _vr(tag: str) -> str:
    return vr_of(tag) or "UN"


def _sorted(dataset: Mapping[str, Any]) -> Dataset:
    return {tag: dataset[tag] for tag in sorted(dataset)}
