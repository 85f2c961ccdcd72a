"""QID: the attributes that includefield asks for (sections 8.3.4.3 and 10.6.3.3)."""

import re

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.searches import (
    CT_STUDY,
    INSTANCE_UID,
    Scope,
    expect_among,
    in_instances,
    in_series,
    in_studies,
    lacking,
    need_found,
    row_of,
    tag_of,
)
from dicomweb_conformance.synthetic import ACME
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect


@case(
    "QID-35",
    section="8.3.4.3, 10.6.3.3.2",
    level=Level.SHALL,
    requirement="Attributes that includefield names are returned: by keyword or tag, listed or"
    " repeated.",
    request="GET {b}/studies/{S1}/series?includefield=PatientName; 00100010; PatientName,StudyDate;"
    " two of them",
    expected="each attribute that is named",
    needs=CT_STUDY,
)
async def included_fields_are_returned(target: Target) -> None:
    scope = in_series(target)
    for query, keywords in (
        ("includefield=PatientName", ["PatientName"]),
        ("includefield=00100010", ["PatientName"]),
        ("includefield=PatientName,StudyDate", ["PatientName", "StudyDate"]),
        ("includefield=PatientName&includefield=StudyDate", ["PatientName", "StudyDate"]),
    ):
        answer = await scope.ask(target, query)
        missing = lacking(row_of(answer, scope.tag, scope.uid), keywords)
        expect(not missing, f"{answer.asked}: {', '.join(missing)} is not in the result")


@case(
    "QID-36",
    section="8.3.4.3",
    level=Level.SHALL,
    requirement="includefield=all returns no less than what is returned without it.",
    request="GET {b}/studies/{S1}/series, without and with includefield=all",
    expected="all attributes of the first in the second",
    needs=CT_STUDY,
)
async def all_fields_are_no_fewer_than_the_default(target: Target) -> None:
    scope = in_series(target)
    plain = await scope.row(target)
    full = await scope.row(target, "includefield=all")
    missing = sorted(set(plain) - set(full))
    expect(not missing, f"includefield=all: {', '.join(missing)} is only there without it")


@case(
    "QID-37",
    section="8.3.4.3",
    level=Level.SHOULD,
    requirement="Nothing else may be included beside all.",
    request="GET {b}/studies/{S1}/series?includefield=all&includefield=PatientName",
    expected="400, or 200 as without the second",
    needs=CT_STUDY,
)
async def all_beside_another_field_is_400_or_all(target: Target) -> None:
    scope = in_series(target)
    await need_found(target, scope)
    full = await scope.row(target, "includefield=all")
    answer = await scope.ask(target, "includefield=all&includefield=PatientName")
    answer.expect_status(200, 400)
    target.note(f"includefield=all beside another: {answer.status}")
    if answer.status == 200:
        missing = sorted(set(full) - set(row_of(answer, scope.tag, scope.uid)))
        expect(not missing, f"{answer.asked}: {', '.join(missing)} is only there with all alone")


@case(
    "QID-38",
    section="10.6.3.3.1",
    level=Level.SHALL,
    requirement="Studies are returned without attributes of series and instances.",
    request="GET {b}/studies?StudyInstanceUID={S1}&includefield=SeriesDescription,SOPInstanceUID",
    expected="200 with neither of them",
    needs=CT_STUDY,
)
async def studies_have_no_attributes_of_lower_levels(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    row = await scope.row(target, "includefield=SeriesDescription,SOPInstanceUID")
    got = [each for each in ("SeriesDescription", "SOPInstanceUID") if tag_of(each) in row]
    expect(not got, f"GET /studies: {' and '.join(got)} is in the result")


@case(
    "QID-39",
    section="10.6.3.3.2",
    level=Level.SHALL,
    requirement="Series are returned with attributes of the study, but without those of instances.",
    request="GET {b}/studies/{S1}/series?includefield=SOPInstanceUID,PatientName",
    expected="PatientName, and no SOPInstanceUID",
    needs=CT_STUDY,
)
async def series_have_no_attributes_of_instances(target: Target) -> None:
    row = await in_series(target).row(target, "includefield=SOPInstanceUID,PatientName")
    expect(tag_of("PatientName") in row, "GET .../series: PatientName is not in the result")
    if INSTANCE_UID in row:
        why = "attributes of any level can be included, which QID-38 judges"
        await need_passed(target, studies_have_no_attributes_of_lower_levels, why)
    expect(INSTANCE_UID not in row, "GET .../series: SOPInstanceUID is in the result")


@case(
    "QID-40",
    section="10.6.3.3.3",
    level=Level.SHALL,
    requirement="Instances are returned with attributes of any level.",
    request="GET {b}/studies/{S1}/series/{R1}/instances?includefield=PatientName,Modality",
    expected="both",
    needs=CT_STUDY,
)
async def instances_have_attributes_of_any_level(target: Target) -> None:
    row = await in_instances(target).row(target, "includefield=PatientName,Modality")
    missing = lacking(row, ("PatientName", "Modality"))
    expect(not missing, f"GET .../instances: {' and '.join(missing)} is not in the result")


@case(
    "QID-41",
    section="PS3.4 C.2.2.1.3, 8.3.4.3",
    level=Level.SHALL,
    requirement="An attribute that is not supported can be included without harm.",
    request="GET {b}/studies?StudyInstanceUID={S1}&includefield=TableTopPitchAngle",
    expected="200; found, as without it",
    needs=CT_STUDY,
)
async def unsupported_field_is_ignored(target: Target) -> None:
    await expect_among(target, "includefield=TableTopPitchAngle", found=[Fixture.F1])


@case(
    "QID-42",
    section="8.3.4.3, 10.6.3.3.3",
    level=Level.SHALL,
    requirement="A private attribute that is returned comes with its creator.",
    request="GET {b}/instances?SOPInstanceUID={I9}&00090010=ACME%201.0&includefield=00091001",
    expected="(0009,1001) and (0009,0010), if private attributes can be included",
    needs=(Fixture.F9, Feature.SEARCH),
)
async def private_field_comes_with_its_creator(target: Target) -> None:
    instance = target.instance(Fixture.F9)
    original = instance.original
    own = f"SOPInstanceUID={instance.sop_instance_uid}"
    scope = Scope("/instances", own, INSTANCE_UID, instance.sop_instance_uid)
    row = await scope.row(target, {"00090010": ACME, "includefield": "00091001"})
    creators = {
        tag: dicom_json.text(row, tag) for tag in row if re.fullmatch("000900[1-9A-F].", tag)
    }
    if not any(tag.startswith("0009") and tag not in creators for tag in row):
        raise NotClaimed("private attributes are not returned")
    block = next((tag[6:] for tag, creator in creators.items() if creator == ACME), None)
    expect(block is not None, "GET /instances: the private creator is not in the result")
    held = dicom_json.text(row, f"0009{block}01") == original[0x0009, 0x1001].value
    expect(held, "GET /instances: the private attribute has another value")
