"""The Modality Performed Procedure Step: what makes one and how it lives (PS3.4 section F.7).

Everything here is a function of a step and of what is asked; data sets are DICOM JSON.

    none -- create --> IN PROGRESS -- set --> IN PROGRESS
                                      set --> COMPLETED or DISCONTINUED, which are final
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bfr_dicomweb.dicom import matching
from bfr_dicomweb.dicom.attributes import has_value, tag_of, values_of, vr_of
from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.errors import Conflict, InvalidDataset

Dataset = dict[str, Any]
Path = tuple[str, ...]

SOP_CLASS_UID: Final = "1.2.840.10008.3.1.2.3.3"
RETRIEVE_SOP_CLASS_UID: Final = "1.2.840.10008.3.1.2.3.4"
NO_LONGER: Final = "Performed Procedure Step Object may no longer be updated"


class State(StrEnum):
    """PS3.3 section C.4.14"""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


# Which state may be asked for in which; None is that of a step that does not exist (PS3.4 sections
# F.7.2.1.3 and F.7.2.2.3).
TRANSITIONS: Final[Mapping[State | None, frozenset[State]]] = {
    None: frozenset({State.IN_PROGRESS}),
    State.IN_PROGRESS: frozenset(State),
    State.COMPLETED: frozenset(),
    State.DISCONTINUED: frozenset(),
}
FINAL: Final = frozenset(state for state in State if not TRANSITIONS[state])

# PS3.4 Table F.7.2-1: attribute, type for the SCU on creation (N-CREATE) and update (N-SET), and
# in the final state; NA is not allowed, "-" says nothing more. A series that is discontinued before
# anything was made is none: it is required of what is COMPLETED only.
_TABLE: Final = """
    ScheduledStepAttributesSequence                                 1   NA  -
    >StudyInstanceUID                                               1   NA  -
    >ReferencedStudySequence                                        2   NA  -
    >>ReferencedSOPClassUID                                         1   NA  -
    >>ReferencedSOPInstanceUID                                      1   NA  -
    >AccessionNumber                                                2   NA  -
    >RequestedProcedureID                                           2   NA  -
    >RequestedProcedureDescription                                  2   NA  -
    >ScheduledProcedureStepID                                       2   NA  -
    >ScheduledProcedureStepDescription                              2   NA  -
    >ScheduledProtocolCodeSequence                                  2   NA  -
    PatientName                                                     2   NA  -
    PatientID                                                       2   NA  -
    IssuerOfPatientID                                               3   NA  -
    IssuerOfPatientIDQualifiersSequence                             3   NA  -
    OtherPatientIDsSequence                                         3   NA  -
    PatientBirthDate                                                2   NA  -
    PatientSex                                                      2   NA  -
    ReferencedPatientSequence                                       2   NA  -
    >ReferencedSOPClassUID                                          1   NA  -
    >ReferencedSOPInstanceUID                                       1   NA  -
    AdmissionID                                                     3   NA  -
    IssuerOfAdmissionIDSequence                                     3   NA  -
    ServiceEpisodeID                                                3   NA  -
    IssuerOfServiceEpisodeIDSequence                                3   NA  -
    ServiceEpisodeDescription                                       3   NA  -
    PerformedProcedureStepID                                        1   NA  -
    PerformedStationAETitle                                         1   NA  -
    PerformedStationName                                            2   NA  -
    PerformedLocation                                               2   NA  -
    PerformedProcedureStepStartDate                                 1   NA  -
    PerformedProcedureStepStartTime                                 1   NA  -
    PerformedProcedureStepStatus                                    1   1   -
    PerformedProcedureStepDescription                               2   3   -
    PerformedProcedureTypeDescription                               2   3   -
    ProcedureCodeSequence                                           2   3   -
    PerformedProcedureStepEndDate                                   2   3   R
    PerformedProcedureStepEndTime                                   2   3   R
    CommentsOnThePerformedProcedureStep                             3   3   -
    PerformedProcedureStepDiscontinuationReasonCodeSequence         3   3   -
    Modality                                                        1   NA  -
    StudyID                                                         2   NA  -
    PerformedProtocolCodeSequence                                   2   3   -
    PerformedSeriesSequence                                         2   3   C
    >PerformingPhysicianName                                        2   2   -
    >ProtocolName                                                   1   1   -
    >OperatorsName                                                  2   2   -
    >SeriesInstanceUID                                              1   1   -
    >SeriesDescription                                              2   2   -
    >RetrieveAETitle                                                2   2   -
    >ReferencedImageSequence                                        2   2   -
    >>ReferencedSOPClassUID                                         1   1   -
    >>ReferencedSOPInstanceUID                                      1   1   -
    >ReferencedNonImageCompositeSOPInstanceSequence                 2   2   -
    >>ReferencedSOPClassUID                                         1   1   -
    >>ReferencedSOPInstanceUID                                      1   1   -
"""
_NOT_ALLOWED: Final = "NA"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        path: Tags; all but the last are sequences.
        final: R is required in each final state, C in COMPLETED.
    """

    path: Path
    create: str
    update: str
    final: str


def _tag(keyword: str) -> str:
    tag = tag_of(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not in PS3.6")
    return tag


def _rules() -> Iterator[Rule]:
    above: Path = ()
    for line in _TABLE.strip().splitlines():
        name, create, update, final = line.split()
        keyword = name.lstrip(">")
        above = (*above[: len(name) - len(keyword)], _tag(keyword))
        yield Rule(above, create, update, final)


RULES: Final = tuple(_rules())
_BELOW: Final = {
    above: tuple(rule for rule in RULES if rule.path[:-1] == above)
    for above in {rule.path[:-1] for rule in RULES}
}

STATUS: Final = _tag("PerformedProcedureStepStatus")
SCHEDULED: Final = _tag("ScheduledStepAttributesSequence")
REASON: Final = _tag("PerformedProcedureStepDiscontinuationReasonCodeSequence")
_CLASS, _INSTANCE = _tag("SOPClassUID"), _tag("SOPInstanceUID")
# Of the way in which it came, and not of the step: what is kept is Unicode.
_NOT_KEPT: Final = frozenset({"00080005", _CLASS, _INSTANCE})
_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", re.ASCII)
_LONGEST_UID: Final = 64


def _is_uid(text: str) -> bool:
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text.strip(" \0")) is not None


_FORMS: Final[Mapping[str, Callable[[str], object]]] = {
    "UI": _is_uid,
    "DA": matching.date_interval,
    "TM": matching.time_interval,
}


def state_of(step: Mapping[str, Any]) -> State:
    return State(values_of(step, STATUS)[0])


def created(dataset: Mapping[str, Any]) -> Dataset:
    """The step that an SCU creates (PS3.4 section F.7.2.1).

    Raises:
        InvalidDataset: A rule of Table F.7.2-1 is broken; names the attribute.
    """
    given = _kept(dataset)
    _check(given, (), is_update=False)
    _require_state(None, given)
    return given


def updated(step: Mapping[str, Any], modifications: Mapping[str, Any]) -> Dataset:
    """The step after an N-SET (PS3.4 section F.7.2.2).

    What may not be given on update is taken when it says nothing new: many send all they know.

    Raises:
        Conflict: The step is in a final state.
        InvalidDataset: A rule of Table F.7.2-1 is broken; names the attribute.
    """
    state = state_of(step)
    if state in FINAL:
        raise Conflict(NO_LONGER)
    given = {
        tag: element
        for tag, element in _kept(modifications).items()
        if not _is_repeated(step, tag, element)
    }
    _check(given, (), is_update=True)
    if STATUS in given:
        _require_state(state, given)
    after = dict(sorted({**step, **given}.items()))
    if state_of(after) in FINAL:
        _require_final(after)
    return after


def shown(step: Mapping[str, Any], uid: str) -> Dataset:
    """All attributes of a step, as N-GET gives them."""
    own = {
        _CLASS: {"vr": "UI", "Value": [SOP_CLASS_UID]},
        _INSTANCE: {"vr": "UI", "Value": [uid]},
    }
    return {**own, **step}


def _kept(dataset: Mapping[str, Any]) -> Dataset:
    # groups below 8 are of commands and files
    return {tag: dataset[tag] for tag in sorted(dataset) if tag not in _NOT_KEPT and tag >= "0008"}


def _is_repeated(step: Mapping[str, Any], tag: str, element: Mapping[str, Any]) -> bool:
    rules = [rule for rule in _BELOW[()] if rule.path == (tag,)]
    if not rules or rules[0].update != _NOT_ALLOWED:
        return False
    there = step.get(tag)
    return there == element or not (has_value(there) or has_value(element))


def _check(dataset: Mapping[str, Any], above: Path, *, is_update: bool) -> None:
    for rule in _BELOW.get(above, ()):
        usage = rule.update if is_update else rule.create
        tag = rule.path[-1]
        if tag not in dataset:
            # at the top of an update nothing is missing: it says what changes
            if usage in ("1", "2") and not (is_update and not above):
                raise _refused(rule.path, "missing", "is missing")
            continue
        if usage == _NOT_ALLOWED:
            raise _refused(rule.path, "not-allowed", "may not be changed")
        if usage == "1" and not has_value(dataset[tag]):
            raise _refused(rule.path, "empty", "must have a value")
        _check_values(dataset, rule.path, is_update=is_update)


def _check_values(dataset: Mapping[str, Any], path: Path, *, is_update: bool) -> None:
    vr = vr_of(path[-1])
    form = _FORMS.get(vr or "")
    for value in values_of(dataset, path[-1]):
        if vr == "SQ":
            if not isinstance(value, dict):
                raise _refused(path, "invalid", "must hold items")
            _check(value, path, is_update=is_update)
        elif form is not None and not (isinstance(value, str) and form(value)):
            raise _refused(path, "invalid", f"is no {vr}")


def _require_state(state: State | None, given: Mapping[str, Any]) -> None:
    allowed = TRANSITIONS[state]
    if values_of(given, STATUS) not in [[each.value] for each in allowed]:
        names = " or ".join(each.value for each in State if each in allowed)
        raise _refused((STATUS,), "invalid", f"has to be {names}")


def _require_final(step: Mapping[str, Any]) -> None:
    needed = "RC" if state_of(step) is State.COMPLETED else "R"
    for rule in RULES:
        if rule.final in needed and not has_value(step.get(rule.path[-1])):
            defect = "empty" if rule.path[-1] in step else "missing"
            raise _refused(rule.path, defect, f"must have a value to be {state_of(step).value}")


def _refused(path: Path, defect: str, reason: str) -> InvalidDataset:
    return InvalidDataset(path, defect, f"{named(path)} {reason}")
