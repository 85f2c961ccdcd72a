"""Searching over HTTP: what is found, in which order, and what goes with it."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_schema import validate
from fhir_served import BASE, Served, issues, link, matched, served

NUMBER = "http://electronichealth.se/identifier/personnummer"


@pytest.fixture
async def fhir(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    """One patient who was two, an order of two exams, a study of the first and its report."""
    async with served(tmp_path, sqlite_url) as one:
        _fill(one)
        yield one


def _fill(one: Served) -> None:
    old = {"system": "urn:oid:1.2.752.113.11.0.2.1.1.1", "value": "19810829M071"}
    one.put(
        "Patient",
        id="p1",
        identifier=[{"system": NUMBER, "value": "191212121212"}],
        name=[{"family": "Tolvansson", "given": ["Tolvan", "Åke"]}],
        birthDate="1912-12-12",
        gender="male",
        link=[{"other": {"reference": "Patient/p2"}, "type": "replaces"}],
    )
    one.put(
        "Patient",
        id="p2",
        identifier=[old],
        link=[{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}],
    )
    one.put("Patient", id="p3", identifier=[{"system": "urn:x", "value": "191212121212"}])
    _order(one, "o10", "2024-01-08T08:00:00.000000Z", "REM1001")
    _exam(one, "e11", "o10", "2024-01-08T08:00:00.000000Z", "SU24000123")
    _exam(one, "e12", "o10", "2024-01-08T08:00:00.000000Z", "SU24000124")
    _order(one, "o20", "2024-02-01T12:00:00.000000Z", "REM2002")
    one.put(
        "Task",
        "2024-01-10T09:30:00.000000Z",
        id="e11",
        status="completed",
        intent="order",
        focus={"reference": "ServiceRequest/e11"},
        **{"for": {"reference": "Patient/p1"}},
        lastModified="2024-01-10T09:30:00.000000Z",
        businessStatus={
            "coding": [
                {"system": "urn:s", "code": "signed"},
                {"system": "urn:c", "code": "signerad"},
            ]
        },
    )
    one.put(
        "ImagingStudy",
        "2024-01-10T09:15:00",
        id="s5",
        status="available",
        subject={"reference": "Patient/p1"},
        started="2024-01-10T09:15:00+01:00",
        identifier=[{"system": "urn:dicom:uid", "value": "urn:oid:1.2.752.113.99.1.1"}],
        modality=[{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        basedOn=[{"reference": "ServiceRequest/e11"}],
        endpoint=[{"reference": "Endpoint/dicomweb"}],
    )
    one.put(
        "DiagnosticReport",
        "2024-01-11T10:00:00.000000Z",
        id="r6",
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "18748-4"}], "text": "Svar"},
        issued="2024-01-11T10:00:00.000000Z",
        subject={"reference": "Patient/p1"},
        basedOn=[{"reference": "ServiceRequest/e11"}],
        imagingStudy=[{"reference": "ImagingStudy/s5"}],
    )


def _order(one: Served, name: str, authored: str, number: str) -> None:
    one.put(
        "ServiceRequest",
        authored,
        id=name,
        status="active",
        intent="order",
        subject={"reference": "Patient/p1"},
        authoredOn=authored,
        identifier=[{"system": "urn:placer", "value": number}],
    )


def _exam(one: Served, name: str, order: str, authored: str, number: str) -> None:
    one.put(
        "ServiceRequest",
        authored,
        id=name,
        status="active",
        intent="filler-order",
        subject={"reference": "Patient/p1"},
        authoredOn=authored,
        basedOn=[{"reference": f"ServiceRequest/{order}"}],
        identifier=[{"system": "urn:accession", "value": number}],
    )


TIMELINE = (
    f"ServiceRequest?patient.identifier={NUMBER}|191212121212&intent=order&_sort=-authored"
    "&_count=25&_revinclude=ServiceRequest:based-on&_revinclude:iterate=Task:focus"
    "&_revinclude:iterate=ImagingStudy:basedon&_revinclude:iterate=DiagnosticReport:based-on"
    "&_revinclude=DocumentReference:related&_include:iterate=ImagingStudy:endpoint"
)


async def test_a_timeline_has_the_orders_newest_first_as_matches(fhir: Served) -> None:
    assert await fhir.ids(TIMELINE) == ["o20", "o10"]


async def test_a_timeline_has_exams_tasks_studies_and_reports_as_included(fhir: Served) -> None:
    bundle = await fhir.search(TIMELINE)

    assert matched(bundle, "include") == ["e12", "e11", "e11", "s5", "r6"]


async def test_a_timeline_is_a_bundle_of_r4(fhir: Served) -> None:
    validate(await fhir.search(TIMELINE))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ServiceRequest?identifier=SU24000123", ["e11"]),
        ("ServiceRequest?identifier=urn:accession|SU24000123", ["e11"]),
        ("ServiceRequest?identifier=urn:placer|SU24000123", []),
        ("ServiceRequest?identifier=urn:placer|", ["o20", "o10"]),
        ("ServiceRequest?identifier=SU24000123,SU24000124", ["e12", "e11"]),
        ("ServiceRequest?identifier=SU24000123&identifier=SU24000124", []),
        ("ServiceRequest?intent:not=order", ["e12", "e11"]),
        ("ServiceRequest?_id=o10,o20", ["o20", "o10"]),
        ("ServiceRequest?based-on=o10", ["e12", "e11"]),
        ("ServiceRequest?basedOn=ServiceRequest/o10", ["e12", "e11"]),
        (f"ServiceRequest?based-on={BASE}/ServiceRequest/o10", ["e12", "e11"]),
        ("ServiceRequest?based-on:missing=true", ["o20", "o10"]),
        ("ServiceRequest?based-on.identifier=REM1001", ["e12", "e11"]),
        ("ServiceRequest?authored=2024-02-01", ["o20"]),
        ("ServiceRequest?authored=ge2024-01-09", ["o20"]),
        ("ServiceRequest?authored=lt2024-01-09&intent=order", ["o10"]),
        ("ServiceRequest?authored=2024-01&_sort=authored", ["o10", "e11", "e12"]),
        ("ServiceRequest?_has:Task:focus:business-status=signerad", ["e11"]),
        ("Task?focus:ServiceRequest.identifier=SU24000123", ["e11"]),
        ("Task?focus:ServiceRequest.identifier=SU24000124", []),
        ("Task?business-status=urn:c|signerad", ["e11"]),
        ("ImagingStudy?identifier=urn:dicom:uid|urn:oid:1.2.752.113.99.1.1", ["s5"]),
        ("ImagingStudy?identifier=1.2.752.113.99.1.1", ["s5"]),
        ("ImagingStudy?basedon=e11", ["s5"]),
        ("ImagingStudy?basedOn.identifier=SU24000123", ["s5"]),
        ("ImagingStudy?started=2024-01-10", ["s5"]),
        ("ImagingStudy?started=gt2024-01-10", []),
        ("DiagnosticReport?study=s5", ["r6"]),
        ("DiagnosticReport?imagingStudy.modality=CT", ["r6"]),
        ("DiagnosticReport?patient=p1&imagingStudy.modality=CT", ["r6"]),
        ("DiagnosticReport?patient=p1&imagingStudy.modality=MR", []),
        ("DiagnosticReport?imagingStudy.started=2024-01-10", ["r6"]),
        ("DiagnosticReport?patient.name.family=tolv&based-on.identifier=SU24000123", ["r6"]),
        ("DiagnosticReport?code:text=svar", ["r6"]),
        ("Patient?name=ake", ["p1"]),
        ("Patient?name:exact=ake", []),
        ("Patient?family:contains=vans", ["p1"]),
        ("Patient?birthdate=1912", ["p1"]),
        ("Patient?gender=male", ["p1"]),
        ("Patient?identifier=121212%2B1212", ["p3", "p1"]),
    ],
)
async def test_a_search_finds(fhir: Served, query: str, found: list[str]) -> None:
    assert await fhir.ids(query) == found


@pytest.mark.parametrize(
    "criterion",
    [
        f"patient.identifier={NUMBER}|191212121212",
        f"patient.identifier={NUMBER}|19121212-1212",
        f"patient:identifier={NUMBER}|191212121212",
        f"subject.identifier={NUMBER}|121212%2B1212",
        f"subject:Patient.identifier={NUMBER}|191212121212",
        "patient.identifier=urn:oid:1.2.752.129.2.1.3.1|191212121212",
        "patient.identifier=19810829M071",
        "patient=p1",
        "patient=Patient/p2",
        "subject=Patient/p2",
        "patient.family=tolvansson",
    ],
)
async def test_a_patient_is_found_under_all_names_of_all_records(
    fhir: Served, criterion: str
) -> None:
    assert await fhir.ids(f"ServiceRequest?{criterion}&intent=order") == ["o20", "o10"]


async def test_a_source_is_told_the_numbers_of_all_records_of_the_patient(fhir: Served) -> None:
    await fhir.search("ServiceRequest?patient.identifier=19810829M071")

    assert fhir.shelves["ServiceRequest"].asked[-1].patients == frozenset({1, 2})


async def test_nothing_is_asked_for_a_patient_that_nobody_knows(fhir: Served) -> None:
    await fhir.search("ServiceRequest?patient.identifier=urn:x|nobody")

    assert fhir.shelves["ServiceRequest"].asked == []


async def test_another_patient_with_an_equal_value_is_another(fhir: Served) -> None:
    assert await fhir.ids("ServiceRequest?patient.identifier=urn:x|191212121212") == []


async def test_a_compartment_is_a_search_for_the_patient(fhir: Served) -> None:
    assert await fhir.ids("Patient/p2/ServiceRequest?intent=order") == ["o20", "o10"]


async def test_a_post_of_a_form_finds_the_same(fhir: Served) -> None:
    query = TIMELINE.partition("?")[2]

    response = await fhir.client.post(f"{BASE}/ServiceRequest/_search", data=dict(parse_qsl(query)))

    assert matched(response.json()) == ["o20", "o10"]


async def test_links_of_a_posted_search_hold_nothing_of_the_patient(fhir: Served) -> None:
    form = {"patient.identifier": f"{NUMBER}|191212121212", "_count": "1"}

    bundle = (await fhir.client.post(f"{BASE}/ServiceRequest/_search", data=form)).json()

    assert [set(dict(parse_qsl(urlsplit(one["url"]).query))) for one in bundle["link"]] == [
        {"_page"},
        {"_page"},
    ]


async def test_the_self_link_of_a_posted_search_finds_the_same_again(fhir: Served) -> None:
    form = {"patient.identifier": f"{NUMBER}|191212121212", "intent": "order"}

    bundle = (await fhir.client.post(f"{BASE}/ServiceRequest/_search", data=form)).json()
    again = await fhir.client.get(link(bundle, "self") or "")

    assert matched(again.json()) == ["o20", "o10"]


async def test_an_unknown_parameter_is_named_in_an_outcome_entry(fhir: Served) -> None:
    bundle = await fhir.search("Patient?gender=male&shoe-size=44")

    assert [one["diagnostics"] for one in issues(bundle)] == [
        "This parameter is not known here and was ignored: shoe-size"
    ]


async def test_the_self_link_leaves_out_what_was_ignored(fhir: Served) -> None:
    bundle = await fhir.search("Patient?gender=male&shoe-size=44")

    assert link(bundle, "self") == f"{BASE}/Patient?gender=male"


async def test_an_unknown_parameter_is_refused_where_handling_is_strict(fhir: Served) -> None:
    response = await fhir.client.get(
        f"{BASE}/Patient?shoe-size=44", headers={"Prefer": "handling=strict"}
    )

    assert response.status_code == 400


async def test_what_is_linked_and_not_delivered_is_said(fhir: Served) -> None:
    bundle = await fhir.search("ServiceRequest?_id=e11&_revinclude=ImagingStudy:basedon")

    assert [one["diagnostics"] for one in issues(bundle)] == ["s5 is awaited"]


@pytest.mark.parametrize(
    "query",
    [
        "ServiceRequest?intent=",
        "ServiceRequest?intent=order,,plan",
        "ServiceRequest?authored=yesterday",
        "ServiceRequest?authored=2024-13",
        "ServiceRequest?authored=2024-02-30",
        "ServiceRequest?identifier=|",
        "ServiceRequest?intent:above=order",
        "ServiceRequest?based-on:missing=perhaps",
        "ServiceRequest?status.identifier=x",
        "ServiceRequest?patient:Device.identifier=x",
        "ServiceRequest?_sort=shoe-size",
        "ServiceRequest?_count=-1",
        "ServiceRequest?_count=many",
        "ServiceRequest?_total=about",
        "ServiceRequest?_summary=short",
        "ServiceRequest?_elements=a.b",
        "ServiceRequest?_include=ServiceRequest",
        "ServiceRequest?_include=Nothing:patient",
        "ServiceRequest?_include=ServiceRequest:status",
        "ServiceRequest?_page=x",
        "ServiceRequest?intent=%00",
        "ServiceRequest?intent=%FF",
        "ServiceRequest?" + "&".join(["intent=order"] * 65),
        "ServiceRequest?intent=" + ",".join(["order"] * 501),
    ],
)
async def test_what_cannot_be_understood_is_refused(fhir: Served, query: str) -> None:
    response = await fhir.client.get(f"{BASE}/{query}")

    assert (response.status_code, response.json()["resourceType"]) == (400, "OperationOutcome")


async def test_sorting_by_another_parameter_puts_what_has_none_last(fhir: Served) -> None:
    assert await fhir.ids("Patient?_sort=birthdate,-_id") == ["p1", "p3", "p2"]


async def test_sorting_by_two_parameters_orders_by_the_first_one_first(fhir: Served) -> None:
    assert await fhir.ids("ServiceRequest?_sort=intent,-identifier") == ["e12", "e11", "o20", "o10"]


async def test_a_count_of_nothing_gives_the_total_alone(fhir: Served) -> None:
    bundle = await fhir.search("ServiceRequest?intent=order&_summary=count")

    assert (bundle["total"], bundle.get("entry")) == (2, None)


async def test_a_total_is_counted_when_it_is_wanted(fhir: Served) -> None:
    bundle = await fhir.search("ServiceRequest?intent=order&_count=1&_total=accurate")

    assert bundle["total"] == 2


async def test_elements_leave_what_the_standard_demands(fhir: Served) -> None:
    bundle = await fhir.search("ServiceRequest?_id=o10&_elements=authoredOn")

    assert set(bundle["entry"][0]["resource"]) == {
        "resourceType",
        "id",
        "meta",
        "status",
        "intent",
        "subject",
        "authoredOn",
    }


@pytest.mark.parametrize("summary", ["true", "text", "data"])
async def test_a_summary_is_valid_and_says_that_it_is_one(fhir: Served, summary: str) -> None:
    bundle = await fhir.search(f"DiagnosticReport?_summary={summary}")

    validate(bundle)
    assert bundle["entry"][0]["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_an_include_of_all_follows_every_reference(fhir: Served) -> None:
    bundle = await fhir.search("DiagnosticReport?_include=*")

    assert matched(bundle, "include") == ["s5", "p1", "e11"]


async def test_an_include_with_a_target_follows_references_to_that_type_only(
    fhir: Served,
) -> None:
    bundle = await fhir.search("Task?_include=Task:focus:Patient")

    assert matched(bundle, "include") == []


async def test_an_include_without_iterate_is_of_the_matches_only(fhir: Served) -> None:
    bundle = await fhir.search(
        "DiagnosticReport?_include=DiagnosticReport:study&_include=ImagingStudy:patient"
    )

    assert matched(bundle, "include") == ["s5"]


async def test_what_is_a_match_is_not_included_again(fhir: Served) -> None:
    bundle = await fhir.search("ServiceRequest?_revinclude=ServiceRequest:based-on")

    assert matched(bundle, "include") == []
