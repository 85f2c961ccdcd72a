"""MSP: modality scheduled procedure steps (chapter 14). It asks, and changes nothing.

The steps are the server's own, so no value of a patient is ever part of a request.
"""

from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, expect, need
from dicomweb_conformance.workitems import new_patient_id, require_known

_NEEDS: Final = (Feature.SCHEDULED_STEPS,)
_STEPS: Final = "/modality-scheduled-procedure-steps"
_SEQUENCE: Final = "00400100"
_KEY: Final = "ScheduledProcedureStepSequence"
_MODALITY: Final = "00080060"
_STATION: Final = "00400001"
_OF_STEP: Final = (_STATION, "00400002", "00400003", _MODALITY, "00400009")
_OF_REQUEST: Final = ("00401001", "0020000D", "00100010", "00100020")

Row = dict[str, object]


async def _rows(target: Target, query: str) -> list[Row]:
    answer = await target.get(_STEPS, query=query)
    require_known(target, answer)
    return answer.results()


async def _first(target: Target) -> Row:
    """Raises Unmet: nothing is scheduled."""
    found = await _rows(target, "limit=1")
    need(bool(found), "no procedure step is scheduled")
    return found[0]


def _of_step(row: Row, tag: str) -> str:
    items = dicom_json.values_of(row, _SEQUENCE)
    return dicom_json.text(items[0], tag) if items else ""


async def _expect_all(target: Target, keyword: str, tag: str, value: str) -> None:
    """The search finds something, and all that it finds has the value."""
    found = await _rows(target, f"{_KEY}.{keyword}={value}&limit=20")
    expect(bool(found), f"a step is there, and none is found by its {keyword}")
    wrong = [row for row in found if _of_step(row, tag) not in (value, "")]
    expect(not wrong, f"{len(wrong)} of {len(found)} results have another {keyword}")


@case(
    "MSP-01",
    section="14.4, PS3.4 K.6.1.2.2",
    level=Level.SHALL,
    requirement="Scheduled steps are found by their modality, with all return keys of type 1.",
    request=f"GET {{b}}{_STEPS}?{_KEY}.Modality={{one that is there}}",
    expected="200; only steps of that modality; every return key of type 1 has a value",
    needs=_NEEDS,
)
async def steps_are_found_by_their_modality(target: Target) -> None:
    row = await _first(target)
    modality = _of_step(row, _MODALITY)
    expect(bool(modality), "a scheduled step has no Modality")
    await _expect_all(target, "Modality", _MODALITY, modality)
    missing = [tag for tag in _OF_STEP if not _of_step(row, tag)]
    missing += [tag for tag in _OF_REQUEST if not dicom_json.values_of(row, tag)]
    expect(not missing, f"without a value: {', '.join(missing)}")


@case(
    "MSP-02",
    section="14.4, 8.3.4.1.1, PS3.4 C.2.2.2.5",
    level=Level.SHALL,
    requirement="A range of start dates and one of start times are one interval of time.",
    request=f"GET {{b}}{_STEPS}?{_KEY}.ScheduledProcedureStepStartDate=19000101-29991231"
    f"&{_KEY}.ScheduledProcedureStepStartTime=235900-000100",
    expected="as many as the dates alone find: the interval begins in 1900 and ends in 2999",
    needs=_NEEDS,
)
async def start_dates_and_times_are_one_interval(target: Target) -> None:
    dates = f"{_KEY}.ScheduledProcedureStepStartDate=19000101-29991231"
    found = await _rows(target, f"{dates}&limit=5")
    need(bool(found), "no procedure step is scheduled")
    times = f"{_KEY}.ScheduledProcedureStepStartTime=235900-000100"
    both = await _rows(target, f"{dates}&{times}&limit=5")
    expect(len(both) == len(found), f"{len(both)} steps instead of {len(found)}")
    past = f"{_KEY}.ScheduledProcedureStepStartDate=19000101-19000102"
    nothing = await _rows(target, f"{past}&{times}&limit=5")
    expect(not nothing, "steps are found in 1900")


@case(
    "MSP-03",
    section="14.4, PS3.4 K.6.1.2.2",
    level=Level.SHALL,
    requirement="Patient ID and Scheduled Station AE Title are matched exactly.",
    request=f"GET {{b}}{_STEPS}?{_KEY}.ScheduledStationAETitle={{one that is there}};"
    " PatientID={nobody's}",
    expected="only steps of that station; none",
    needs=_NEEDS,
)
async def station_and_patient_are_matched(target: Target) -> None:
    row = await _first(target)
    station = _of_step(row, _STATION)
    expect(bool(station), "a scheduled step has no Scheduled Station AE Title")
    await _expect_all(target, "ScheduledStationAETitle", _STATION, station)
    for key in ("PatientID", f"{_KEY}.ScheduledStationAETitle"):
        nothing = await _rows(target, f"{key}={new_patient_id(target)[:16]}&limit=5")
        expect(not nothing, f"steps are found by a {key} that none has")


@case(
    "MSP-04",
    section="14.4, 8.3.4.4.1",
    level=Level.SHALL,
    requirement="A search that finds no step is answered with 204, or with 200 and an empty"
    " payload.",
    request=f"GET {{b}}{_STEPS}?PatientID={{nobody's}}",
    expected="204, no payload; or 200 with an empty one",
    needs=_NEEDS,
)
async def search_for_no_step_has_no_results(target: Target) -> None:
    await _first(target)
    answer = await target.get(_STEPS, query=f"PatientID={new_patient_id(target)}")
    require_known(target, answer)
    target.expect_no_results(answer)
