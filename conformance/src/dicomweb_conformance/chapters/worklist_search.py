"""UPS: searches for workitems (section 11.9)."""

import asyncio
import json
from typing import Final

from dicomweb_conformance.archive import SETTLE_S
from dicomweb_conformance.cases import case
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Unmet, expect, need
from dicomweb_conformance.workitems import (
    IN_PROGRESS,
    LABEL,
    PATIENT_ID,
    PROGRESS_SEQUENCE,
    READINESS,
    SOP_INSTANCE,
    STATE,
    STATION_NAMES,
    TRANSACTION_UID,
    WORKLIST_LABEL,
    WORKLIST_SERVICE,
    Attributes,
    Workitem,
    attribute,
    code,
    expect_warning,
    new_patient_id,
    sequence,
    several,
    uids_of,
    workitem,
)

_POLL_S: Final = 0.25


async def _search(target: Target, query: str, **more: str) -> Response:
    written = "&".join([query, *(f"{name}={value}" for name, value in more.items())])
    return await target.get("/workitems", query=written)


def _rows(answer: Response) -> list[dict[str, object]]:
    """Section 11.9.3.1 has 206 for a part of the results; none is 204."""
    answer.expect_status(200, 204, 206)
    if answer.status != 206:
        return answer.results()
    listed = answer.json()
    expect(isinstance(listed, list), f"{answer.asked}: expected one top-level array")
    return [dict(each) for each in listed] if isinstance(listed, list) else []


async def _need_found(target: Target, patient_id: str, items: list[Workitem]) -> None:
    """Raises Unmet: by the Patient ID alone they are not found, within the time to settle."""
    wanted = {each.uid for each in items}
    for _ in range(int(SETTLE_S / _POLL_S)):
        answer = await _search(target, f"PatientID={patient_id}")
        if answer.status == 200 and wanted <= uids_of(answer.datasets()):
            return
        await asyncio.sleep(_POLL_S)
    raise Unmet("the workitems are not found by their Patient ID")


async def _expect_found(target: Target, query: str, *items: Workitem) -> None:
    """The search finds exactly these."""
    answer = await _search(target, query)
    found, wanted = uids_of(_rows(answer)), {each.uid for each in items}
    expect(not wanted - found, f"{answer.asked}: a workitem that matches is not found")
    expect(not found - wanted, f"{answer.asked}: a workitem that does not match is found")


_RETURNED: Final = (
    "00080016", SOP_INSTANCE, "00081080", "00081084", "00100010", PATIENT_ID, "00100030",
    "00100040", "00101002", "0020000D", "00380010", "00380014", "00404005", "00404018",
    "00404021", STATION_NAMES, "00404026", "00404027", READINESS, "0040A370", STATE,
    PROGRESS_SEQUENCE, "00741200", WORKLIST_LABEL, LABEL, "00741210",
)  # fmt: skip


@case(
    "UPS-48",
    section="11.9.2, PS3.4 CC.2.8.3",
    level=Level.SHALL,
    requirement="A search for a state finds the workitems in that state, with all return keys of"
    " type 1 and 2.",
    request="GET {b}/workitems?PatientID={own}&ProcedureStepState=SCHEDULED",
    expected="200; only what is SCHEDULED; every attribute of return type 1 or 2",
    needs=WORKLIST_SERVICE,
)
async def state_is_searched_and_return_keys_are_there(target: Target) -> None:
    own = new_patient_id(target)
    async with several(target, {}, {}, patient_id=own) as (waiting, claimed):
        await claimed.bring_to(IN_PROGRESS)
        await _need_found(target, own, [waiting, claimed])
        await _expect_found(target, f"PatientID={own}&ProcedureStepState=SCHEDULED", waiting)
        rows = _rows(await _search(target, f"PatientID={own}&ProcedureStepState=SCHEDULED"))
        need(len(rows) == 1, f"the same search finds {len(rows)} workitems now")
        missing = [tag for tag in _RETURNED if tag not in rows[0]]
        expect(not missing, f"not returned: {', '.join(missing)}")


@case(
    "UPS-49",
    section="11.9.3.1",
    level=Level.SHALL,
    requirement="A search that finds nothing is answered with 204, or with 200 and an empty"
    " payload.",
    request="GET {b}/workitems?PatientID={nobody's}",
    expected="204, no payload; or 200 with an empty one",
    needs=WORKLIST_SERVICE,
)
async def search_that_finds_nothing_has_no_results(target: Target) -> None:
    own = new_patient_id(target)
    async with workitem(target, patient_id=own) as made:
        await _need_found(target, own, [made])
        answer = await _search(target, f"PatientID={new_patient_id(target)}")
        target.expect_no_results(answer)


_REQUEST: Final = "0040A370"


def _request(accession: str, procedure: str) -> Attributes:
    """An item of the Referenced Request Sequence."""
    return {
        "00080050": attribute("SH", accession),
        "00080051": sequence(),
        "0020000D": attribute("UI", "2.25.1"),
        "00400026": sequence(),
        "00400027": sequence(),
        "00321060": attribute("LO"),
        "00321064": sequence(),
        "00401001": attribute("SH", procedure),
    }


_ONE: Final[Attributes] = {
    LABEL: attribute("LO", "Label one"),
    WORKLIST_LABEL: attribute("LO", "List one"),
    "00741200": attribute("CS", "HIGH"),
    READINESS: attribute("CS", "READY"),
    "00100010": attribute("PN", {"Alphabetic": "Conformance^One"}),
    "00380010": attribute("LO", "ADM1"),
    _REQUEST: sequence(_request("ACC1", "RP1")),
}
_OTHER: Final[Attributes] = {
    LABEL: attribute("LO", "Label other"),
    WORKLIST_LABEL: attribute("LO", "List other"),
    "00741200": attribute("CS", "LOW"),
    READINESS: attribute("CS", "INCOMPLETE"),
    "00100010": attribute("PN", {"Alphabetic": "Conformance^Other"}),
    "00380010": attribute("LO", "ADM2"),
    _REQUEST: sequence(_request("ACC2", "RP2")),
}
_KEYS: Final = (
    "ProcedureStepLabel=Label%20one",
    "WorklistLabel=List%20one",
    "ScheduledProcedureStepPriority=HIGH",
    "InputReadinessState=READY",
    "PatientName=Conformance%5EOne",
    "AdmissionID=ADM1",
    "ReferencedRequestSequence.AccessionNumber=ACC1",
    "ReferencedRequestSequence.RequestedProcedureID=RP1",
    "00741204=Label%20one",
    "0040A370.00080050=ACC1",
)


@case(
    "UPS-50",
    section="11.9.2, PS3.4 CC.2.8.3, 8.3.4.1",
    level=Level.SHALL,
    requirement="Every required matching key of workitems is matched, named by keyword or tag.",
    request="GET {b}/workitems?PatientID={own}&{key}: labels, priority, readiness, patient's name,"
    " admission, accession number, requested procedure",
    expected="the one workitem of two that has the value",
    needs=WORKLIST_SERVICE,
)
async def required_keys_are_matched(target: Target) -> None:
    own = new_patient_id(target)
    async with several(target, _ONE, _OTHER, patient_id=own) as (one, other):
        await _need_found(target, own, [one, other])
        for key in _KEYS:
            await _expect_found(target, f"PatientID={own}&{key}", one)


_STARTS: Final = (
    ("20240105101500", True),
    ("20240105-20240106", True),
    ("20240105101400-20240105101600", True),
    ("-20240105235959", True),
    ("20240106-", False),
    ("20240105101600-20240105235959", False),
)


@case(
    "UPS-81",
    section="11.9.2, PS3.4 C.2.2.2.5",
    level=Level.SHALL,
    requirement="The scheduled start of workitems is matched as a single DateTime and as a range.",
    request="GET {b}/workitems?PatientID={own}&ScheduledProcedureStepStartDateTime={range}",
    expected="the workitem where its start is in the range, and only there",
    needs=WORKLIST_SERVICE,
)
async def start_is_matched_as_a_range(target: Target) -> None:
    own = new_patient_id(target)
    late = {"00404005": attribute("DT", "20240301080000")}
    async with several(target, {}, late, patient_id=own) as (early, later):
        await _need_found(target, own, [early, later])
        for written, is_early in _STARTS:
            query = f"PatientID={own}&ScheduledProcedureStepStartDateTime={written}"
            from_on = [] if is_early or not written.endswith("-") else [later]
            await _expect_found(target, query, *([early] if is_early else from_on))


_CODED: Final = {
    STATION_NAMES: "ScheduledStationNameCodeSequence",
    "00404026": "ScheduledStationClassCodeSequence",
    "00404027": "ScheduledStationGeographicLocationCodeSequence",
    "00404018": "ScheduledWorkitemCodeSequence",
}


@case(
    "UPS-82",
    section="11.9.2, PS3.4 C.2.2.2.6, PS3.4 CC.2.8.3",
    level=Level.SHALL,
    requirement="The code sequences of stations, their class and place, and of the work are"
    " matched.",
    request="GET {b}/workitems?PatientID={own}&{sequence}.CodeValue={code}",
    expected="the one workitem of two that has the code",
    needs=WORKLIST_SERVICE,
)
async def code_sequences_are_matched(target: Target) -> None:
    own = new_patient_id(target)
    one: Attributes = {tag: sequence(code("ONE")) for tag in _CODED}
    two: Attributes = {tag: sequence(code("TWO")) for tag in _CODED}
    async with several(target, one, two, patient_id=own) as (first, second):
        await _need_found(target, own, [first, second])
        for keyword in _CODED.values():
            await _expect_found(target, f"PatientID={own}&{keyword}.CodeValue=ONE", first)


@case(
    "UPS-51",
    section="11.9.2, PS3.4 CC.2.8.3",
    level=Level.SHALL,
    requirement="The Transaction UID is in no search result, not even where it is asked for.",
    request="GET {b}/workitems?PatientID={own}&includefield=TransactionUID, one IN PROGRESS",
    expected="200 without (0008,1195)",
    needs=WORKLIST_SERVICE,
)
async def transaction_uid_is_not_found(target: Target) -> None:
    own = new_patient_id(target)
    async with workitem(target, IN_PROGRESS, patient_id=own) as made:
        await _need_found(target, own, [made])
        for more in ("", "&includefield=TransactionUID", "&includefield=all"):
            for row in _rows(await _search(target, f"PatientID={own}{more}")):
                told = made.transaction_uid in json.dumps(row) or TRANSACTION_UID in row
                expect(not told, f"a result{more} holds the Transaction UID (0008,1195)")


@case(
    "UPS-52",
    section="11.9.1.2, 8.3.4.3, 8.3.4.4",
    level=Level.SHALL,
    requirement="limit, offset and includefield are supported, and a Warning tells what remains.",
    request="GET {b}/workitems?PatientID={own}&limit=1, &offset=2, &includefield=(0040,4010)",
    expected="1 of 3 with the Warning of 2 additional results; the last one; the attribute",
    needs=WORKLIST_SERVICE,
)
async def results_are_paged(target: Target) -> None:
    own = new_patient_id(target)
    async with several(target, {}, {}, {}, patient_id=own) as items:
        await _need_found(target, own, items)
        first = await _search(target, f"PatientID={own}", limit="1")
        expect(len(_rows(first)) == 1, f"{first.asked}: not one result")
        expect_warning(first, "There are 2 additional results that can be requested")
        last = await _search(target, f"PatientID={own}", offset="2")
        expect(len(_rows(last)) == 1, f"{last.asked}: not the one result that is left")
        asked = await _search(target, f"PatientID={own}", includefield="00404010")
        expect(
            all("00404010" in row for row in _rows(asked)),
            f"{asked.asked}: (0040,4010) is not returned",
        )
        pages = [
            _rows(await _search(target, f"PatientID={own}", limit="1", offset=f"{n}"))
            for n in range(3)
        ]
        seen = set[str]().union(*(uids_of(page) for page in pages))
        expect(seen == {each.uid for each in items}, "three pages of one do not show all three")


@case(
    "UPS-53",
    section="11.9.2, PS3.4 C.2.2.2.6",
    level=Level.SHALL,
    requirement="All keys of a sequence have to match in one and the same item.",
    request="GET {b}/workitems?PatientID={own}&ScheduledStationNameCodeSequence.CodeValue=A"
    "&ScheduledStationNameCodeSequence.CodingSchemeDesignator=99Y",
    expected="not the workitem with the items (A, 99X) and (B, 99Y)",
    needs=WORKLIST_SERVICE,
)
async def keys_of_a_sequence_match_in_one_item(target: Target) -> None:
    own = new_patient_id(target)
    apart = {STATION_NAMES: sequence(code("A", "99X"), code("B", "99Y"))}
    together = {STATION_NAMES: sequence(code("C", "99X"), code("A", "99Y"))}
    name = "ScheduledStationNameCodeSequence"
    async with several(target, apart, together, patient_id=own) as (first, second):
        await _need_found(target, own, [first, second])
        await _expect_found(target, f"PatientID={own}&{name}.CodeValue=C", second)
        both = f"{name}.CodeValue=A&{name}.CodingSchemeDesignator=99Y"
        await _expect_found(target, f"PatientID={own}&{both}", second)


@case(
    "UPS-54",
    section="11.9.2, PS3.4 CC.2.5",
    level=Level.SHALL,
    requirement="The meaning of a code is no matching key.",
    request="GET {b}/workitems?PatientID={own}&ScheduledStationNameCodeSequence.CodeMeaning=Other",
    expected="the key is ignored, or 400",
    needs=WORKLIST_SERVICE,
)
async def code_meaning_is_no_matching_key(target: Target) -> None:
    own = new_patient_id(target)
    stations = {STATION_NAMES: sequence(code("ONE", meaning="Meaning"))}
    async with workitem(target, attributes=stations, patient_id=own) as made:
        await _need_found(target, own, [made])
        query = f"PatientID={own}&ScheduledStationNameCodeSequence.CodeMeaning=Other"
        answer = await _search(target, query)
        target.note(f"Code Meaning as a matching key: {answer.status}")
        if answer.status != 400:
            found = uids_of(_rows(answer))
            expect(made.uid in found, f"{answer.asked}: the meaning of a code was matched")
