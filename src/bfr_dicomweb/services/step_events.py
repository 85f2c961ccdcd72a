"""What a performed procedure step says of exams, as events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from bfr_dicomweb.dicom import matching, performed_steps
from bfr_dicomweb.dicom.attributes import Attributes, first_text, tag_of, values_of
from bfr_dicomweb.dicom.performed_steps import State
from bfr_dicomweb.orders.composing import LOCAL
from bfr_dicomweb.orders.events import Coding, Contents, Event, Facts, Kind, Notice
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, system_of
from bfr_dicomweb.services import coded_concepts, subjects

# Clocks differ; what lies further ahead is no slow clock of ours.
TOLERANCE: Final = timedelta(minutes=5)
KINDS: Final = {
    State.IN_PROGRESS: Kind.STARTED,
    State.COMPLETED: Kind.PERFORMED,
    State.DISCONTINUED: Kind.CANCELLED,
}
# PS3.16 CID 9300: the step was of another exam, so that nothing has become of this one.
_WRONG_ENTRY: Final = Coding("110514", coded_concepts.SYSTEMS["DCM"])


def _tag(keyword: str) -> str:
    return tag_of(keyword) or keyword


_STUDY: Final = _tag("StudyInstanceUID")
_PROCEDURE_ID: Final = _tag("RequestedProcedureID")
_STEP_ID: Final = _tag("ScheduledProcedureStepID")
_START: Final = (_tag("PerformedProcedureStepStartDate"), _tag("PerformedProcedureStepStartTime"))
_END: Final = (_tag("PerformedProcedureStepEndDate"), _tag("PerformedProcedureStepEndTime"))
_ZONE: Final = _tag("TimezoneOffsetFromUTC")
_STATION: Final = _tag("PerformedStationAETitle")
_STATION_NAME: Final = _tag("PerformedStationName")
_LOCATION: Final = _tag("PerformedLocation")
_MODALITY: Final = _tag("Modality")
_DESCRIPTION: Final = _tag("PerformedProcedureStepDescription")
_PROCEDURES: Final = _tag("ProcedureCodeSequence")
# Of each number of an exam: the attribute, and the sequence that says who gave it.
_NUMBERS: Final = (
    (AliasKind.ACCESSION, _tag("AccessionNumber"), _tag("IssuerOfAccessionNumberSequence")),
    (
        AliasKind.FILLER,
        _tag("FillerOrderNumberImagingServiceRequest"),
        _tag("OrderFillerIdentifierSequence"),
    ),
    (
        AliasKind.PLACER,
        _tag("PlacerOrderNumberImagingServiceRequest"),
        _tag("OrderPlacerIdentifierSequence"),
    ),
)
_NAMESPACE, _UNIVERSAL_ID = _tag("LocalNamespaceEntityID"), _tag("UniversalEntityID")

WITHOUT_PATIENT: Final = Notice(
    "step-without-patient", "a performed procedure step names no patient, so it is of no exam"
)


def items_of(step: Attributes) -> list[Attributes]:
    """Of the Scheduled Step Attributes Sequence: several in the group case."""
    items = values_of(step, performed_steps.SCHEDULED)
    return [item for item in items if isinstance(item, dict)]


def aliases_of(item: Attributes) -> tuple[Alias, ...]:
    """By what an item says that its exam is known."""
    found = [
        Alias(kind, _issuer(item, issuer), value)
        for kind, tag, issuer in _NUMBERS
        if (value := _text(item, tag))
    ]
    # worklists have a number of the exam for the ids that nobody gave
    numbers = {alias.value for alias in found}
    for kind, tag in ((AliasKind.PROCEDURE, _PROCEDURE_ID), (AliasKind.STEP, _STEP_ID)):
        if (value := _text(item, tag)) and value not in numbers:
            found.append(Alias(kind, "", value))
    return (*found, Alias(AliasKind.STUDY, DICOM_UID, _text(item, _STUDY)))


def study_uid_of(item: Attributes) -> str:
    return _text(item, _STUDY)


def is_of_another_exam(step: Attributes) -> bool:
    """The wrong entry of the worklist had been chosen."""
    return performed_steps.state_of(step) is State.DISCONTINUED and any(
        (code.code, code.system) == (_WRONG_ENTRY.code, _WRONG_ENTRY.system)
        for code in _reasons(step)
    )


def contents(
    step: Attributes, aliases: Sequence[tuple[Alias, ...]], *, uid: str, source: str, received: str
) -> Contents:
    """What a step says in the state that it has come to.

    Args:
        aliases: Of each item of the Scheduled Step Attributes Sequence.
        source: AE title of who told of it.
        received: UTC.
    """
    patient = subjects.patient_of(step)
    if patient is None:
        return Contents(notices=(WITHOUT_PATIENT,))
    found = _event(step, uid=uid, source=source, received=received)
    unscheduled = replace(found.facts, **_unscheduled(step))
    events = tuple(
        replace(found, aliases=own, facts=found.facts if _is_scheduled(own) else unscheduled)
        for own in dict.fromkeys(aliases)
    )
    return Contents(patient, events)


def _is_scheduled(aliases: Sequence[Alias]) -> bool:
    return any(alias.kind is not AliasKind.STUDY for alias in aliases)


def _event(step: Attributes, *, uid: str, source: str, received: str) -> Event:
    state = performed_steps.state_of(step)
    started = _time(step, _START)
    happened = _time(step, _END) if state in performed_steps.FINAL else started
    time, claimed = _settled(happened, received)
    reasons = _reasons(step) if state is State.DISCONTINUED else []
    codes = [("PerformedProcedureStepStatus", state.value)]
    codes += [("DiscontinuationReason", reason.code) for reason in reasons if reason.code]
    return Event(
        kind=Kind.UPDATED if is_of_another_exam(step) else KINDS[state],
        time=time,
        source=source,
        control_id=uid,
        aliases=(),
        codes=tuple(codes),
        facts=Facts() if is_of_another_exam(step) else _facts(step, started, reasons),
        claimed=claimed,
    )


def _facts(step: Attributes, started: str, reasons: Sequence[Coding]) -> Facts:
    reason = reasons[0] if reasons else None
    return Facts(
        modality=_text(step, _MODALITY),
        exam_start=started,
        status_reason="; ".join(filter(None, (one.display or one.code for one in reasons))),
        status_reason_code=reason,
    )


def _unscheduled(step: Attributes) -> dict[str, Any]:
    """What nobody had ordered is what the modality says that it is."""
    codes = [coded_concepts.coding_of(item) for item in _items(step, _PROCEDURES)]
    described = Coding(display=_text(step, _DESCRIPTION))
    procedure = next((code for code in codes if code.code or code.display), described)
    return {
        "procedure": procedure if procedure != Coding() else None,
        "station_ae_title": _text(step, _STATION),
        "station_name": _text(step, _STATION_NAME),
        "location": _text(step, _LOCATION),
    }


def _reasons(step: Attributes) -> list[Coding]:
    return [coded_concepts.coding_of(item) for item in _items(step, performed_steps.REASON)]


def _time(step: Attributes, tags: tuple[str, str]) -> str:
    """UTC; "" when it is none."""
    date = matching.date_interval(_text(step, tags[0]))
    time = matching.time_interval(_text(step, tags[1]) or "00")
    if date is None or time is None:
        return ""
    # a leap second is no time of the calendar
    text = f"{date[0]}{time[0]}".replace("60.", "59.")
    local = datetime.strptime(text, "%Y%m%d%H%M%S.%f")  # noqa: DTZ007 # the zone follows
    minutes = matching.offset_minutes(_text(step, _ZONE))
    zone = LOCAL if minutes is None else timezone(timedelta(minutes=minutes))
    try:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:  # at the ends of the calendar
        return ""
    return _utc_text(moment)


def _settled(time: str, received: str) -> tuple[str, str]:
    """The time at which something counts, and the one that was claimed if that is to come."""
    latest = _utc_text(datetime.fromisoformat(received) + TOLERANCE)
    if not time:
        return received, ""
    return (time, "") if time <= latest else (received, time)


def _utc_text(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def _issuer(item: Attributes, tag: str) -> str:
    for issuer in _items(item, tag):
        return system_of(_text(issuer, _NAMESPACE), _text(issuer, _UNIVERSAL_ID))
    return ""


def _items(dataset: Attributes, tag: str) -> Iterator[Mapping[str, Any]]:
    return (item for item in values_of(dataset, tag) if isinstance(item, dict))


def _text(dataset: Attributes, tag: str) -> str:
    return first_text(dataset, tag).strip(" \0")
