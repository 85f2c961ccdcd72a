"""Sources on a real catalogue: what was told comes out as resources, page by page."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fhir_schema
from bfr_dicomweb.errors import Gone, TooCostly
from bfr_dicomweb.fhir.binary import HL7_V2, Binaries
from bfr_dicomweb.fhir.detected_issue import DetectedIssues
from bfr_dicomweb.fhir.diagnostic_report import DiagnosticReports
from bfr_dicomweb.fhir.document_reference import DocumentReferences
from bfr_dicomweb.fhir.imaging_study import ImagingStudies
from bfr_dicomweb.fhir.patient import Patients
from bfr_dicomweb.fhir.provenance import Provenances
from bfr_dicomweb.fhir.service_request import ServiceRequests
from bfr_dicomweb.fhir.source import Narrowing, Resource, Source
from bfr_dicomweb.fhir.task import Tasks
from bfr_dicomweb.orders.events import Attachment
from bfr_dicomweb.services.archive import Archive
from orders_said import (
    THORAX,
    a_report,
    aliases,
    an_event,
    m1,
    m2,
    m3,
    m4,
    m5,
    m6,
)
from orders_told import MESSAGE, OTHER, TOLVAN, UID, Registry, opened

ALL = Narrowing()


@pytest.fixture
async def registry(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Registry]:
    async with opened(sqlite_url, tmp_path / "data") as empty:
        yield empty


@pytest.fixture(scope="session")
def population(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with a few orders; for reading."""
    folder = tmp_path_factory.mktemp("population")
    path = Path(shutil.copy(sqlite_template, folder / "catalogue.db"))

    async def populate() -> None:
        async with opened(f"sqlite+aiosqlite:///{path}", folder / "data") as empty:
            await a_few_orders(empty)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, populate()).result()
    return path


@pytest.fixture
async def populated(population: Path, tmp_path: Path) -> AsyncIterator[Archive]:
    url = f"sqlite+aiosqlite:///{population}"
    archive = await Archive.open(index_url=url, data=tmp_path / "data")
    yield archive
    await archive.close()


async def all_of(
    source: Source, narrowing: Narrowing = ALL, *, newest_first: bool = True, limit: int = 100
) -> list[Resource]:
    """Page after page."""
    found: list[Resource] = []
    after = None
    while True:
        page = await source.candidates(
            narrowing, newest_first=newest_first, after=after, limit=limit
        )
        assert len(page) <= limit
        found += [candidate.resource for candidate in page]
        if len(page) < limit:
            return found
        after = page[-1].moment, page[-1].key


def sources_of(archive: Archive) -> list[Source]:
    return [
        Patients(archive),
        ServiceRequests(archive),
        Tasks(archive),
        ImagingStudies(archive),
        DiagnosticReports(archive),
        Provenances(archive),
        DetectedIssues(archive),
    ]


ORDERS = Narrowing(tokens={"intent": frozenset({"order"})})


def called(value: str) -> Narrowing:
    return Narrowing(identifiers=((None, value),))


async def a_few_orders(registry: Registry) -> None:
    """Two patients, orders of one to three exams, reports, findings and studies."""
    await registry.story()
    for number in range(5):
        accessions = [f"A{number}-{place}" for place in range(1 + number % 3)]
        at = f"2024-02-0{1 + number // 2}T08:00"
        own = {
            name: aliases(accession=name, group=f"G{number}", study=f"1.2.3.{number}.{place}")
            for place, name in enumerate(accessions)
        }
        await registry.told(
            [an_event("received", at, name, aliases=own[name]) for name in accessions],
            [an_event("unknown", at, aliases=own[accessions[0]], codes=(("ORC-5", "ZZ"),))],
            [a_report(at="2024-02-09T08:00", aliases=own[accessions[0]])],
            of=TOLVAN if number % 2 else OTHER,
        )
    await registry.stored()
    await registry.stored("1.2.9", StudyDate="20240111")
    await registry.stored("1.2.8", StudyDate="20240111", PatientID="nobody")


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_of_any_size_hold_each_resource_once_and_in_one_order(
    populated: Archive, limit: int, *, newest_first: bool
) -> None:
    for source in sources_of(populated):
        whole = await all_of(source, newest_first=newest_first, limit=1000)
        paged = await all_of(source, newest_first=newest_first, limit=limit)
        ids = [resource["id"] for resource in whole]
        assert ([one["id"] for one in paged], len(set(ids))) == (ids, len(ids)), source.type
        assert ids, source.type


@pytest.mark.parametrize("limit", [1, 4])
async def test_pages_of_patients_resources_hold_each_once(populated: Archive, limit: int) -> None:
    patients = await all_of(Patients(populated))
    own = Narrowing(patients=frozenset(int(patient["id"][1:]) for patient in patients))

    for source in [*sources_of(populated), DocumentReferences(populated)]:
        whole = await all_of(source, own, limit=1000)
        paged = await all_of(source, own, limit=limit)
        ids = [resource["id"] for resource in whole]
        assert ([one["id"] for one in paged], len(set(ids))) == (ids, len(ids)), source.type


async def test_oldest_first_is_newest_first_turned_round(populated: Archive) -> None:
    for source in sources_of(populated):
        down = [one["id"] for one in await all_of(source)]
        up = [one["id"] for one in await all_of(source, newest_first=False)]
        assert up == down[::-1], source.type


async def test_what_is_found_can_be_read_by_its_id(populated: Archive) -> None:
    for source in sources_of(populated):
        for found in await all_of(source):
            assert await source.read(found["id"]) == found


async def test_what_is_found_is_found_by_its_id(populated: Archive) -> None:
    for source in sources_of(populated):
        found = await all_of(source)
        named = await all_of(source, Narrowing(ids=frozenset(one["id"] for one in found)))
        assert named == found, source.type


async def test_the_current_version_is_the_first_of_the_history(populated: Archive) -> None:
    for source in sources_of(populated):
        for found in await all_of(source):
            assert (await source.history(found["id"]))[0] == found


async def test_each_version_of_the_history_can_be_read(populated: Archive) -> None:
    for source in sources_of(populated):
        for found in await all_of(source):
            for version in await source.history(found["id"]):
                number = version["meta"]["versionId"]
                assert await source.vread(found["id"], number) == version


async def test_everything_is_what_the_schema_of_r4_allows(populated: Archive) -> None:
    for source in sources_of(populated):
        for found in await all_of(source):
            fhir_schema.validate(found)


async def test_every_reference_leads_to_a_resource(populated: Archive) -> None:
    sources: dict[str, Source] = {source.type: source for source in sources_of(populated)}
    sources |= {"Binary": Binaries(populated), "DocumentReference": DocumentReferences(populated)}

    dangling = []
    for source in sources_of(populated):
        for found in await all_of(source):
            for reference in references_in(found):
                kind, _, rest = reference.partition("/")
                name = rest.partition("/")[0]
                if kind in sources and await sources[kind].read(name) is None:
                    dangling.append((found["id"], reference))
    assert dangling == []


def references_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [one for item in value for one in references_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value["reference"]] if "reference" in value else []
    return own + [one for item in value.values() for one in references_in(item)]


@pytest.mark.parametrize(
    "name", ["", "x", "p", "o0", "e99999", "s99999", "d1", "c1-1", "m-1", "ä1"]
)
async def test_an_id_of_nothing_is_of_no_resource(registry: Registry, name: str) -> None:
    archive = registry.archive
    every = [*sources_of(archive), Binaries(archive), DocumentReferences(archive)]

    assert [await source.read(name) for source in every] == [None] * len(every)


# --- one by one ------------------------------------------------------------------------------


def only(*ids: str) -> frozenset[str]:
    return frozenset(ids)


async def test_exams_are_found_by_the_order_they_are_based_on(populated: Archive) -> None:
    source = ServiceRequests(populated)
    (order,) = await all_of(source, called("REM1001"))

    based_on = Narrowing(references={"based-on": only(f"ServiceRequest/{order['id']}")})
    found = await all_of(source, based_on)

    assert [one["intent"] for one in found] == ["filler-order", "filler-order"]


async def test_an_accession_number_finds_the_exam(populated: Archive) -> None:
    found = await all_of(ServiceRequests(populated), called(THORAX))

    values = [[one["value"] for one in resource["identifier"]] for resource in found]
    assert any(THORAX in of for of in values)


async def test_a_requisition_finds_the_order_and_its_exams(populated: Archive) -> None:
    asked = Narrowing(tokens={"requisition": only("REM1001")})
    found = await all_of(ServiceRequests(populated), asked)

    assert sorted(one["intent"] for one in found) == ["filler-order", "filler-order", "order"]


async def test_orders_alone_can_be_walked(populated: Archive) -> None:
    found = await all_of(ServiceRequests(populated), ORDERS)

    assert {one["intent"] for one in found} == {"order"}


async def test_the_versions_of_an_exam_are_its_statuses_by_arrival(registry: Registry) -> None:
    await registry.told(m1(), m2(), m4(), m3())
    source = Tasks(registry.archive)
    (task,) = await all_of(source, called(THORAX))

    history = await source.history(task["id"])

    codes = [one["businessStatus"]["coding"][0]["code"] for one in history]
    assert (codes[0], codes[-1]) == ("performed", "received")


@pytest.mark.parametrize("status", ["performed", "genomförd"])
async def test_tasks_are_found_by_business_status(registry: Registry, status: str) -> None:
    await registry.told(m1(), m2(), m4())

    asked = Narrowing(tokens={"business-status": only(status)})
    found = await all_of(Tasks(registry.archive), asked)

    assert [one["businessStatus"]["coding"][0]["code"] for one in found] == ["performed"]


async def test_a_study_is_based_on_its_exam(registry: Registry) -> None:
    await registry.story()
    await registry.stored()
    exams = await all_of(ServiceRequests(registry.archive), called(THORAX))
    thorax = next(one for one in exams if one["intent"] == "filler-order")

    based_on = Narrowing(references={"basedon": only(f"ServiceRequest/{thorax['id']}")})
    (study,) = await all_of(ImagingStudies(registry.archive), based_on)

    assert (study["status"], study["identifier"][0]["value"]) == ("available", f"urn:oid:{UID}")


async def test_a_study_of_nobody_known_names_its_patient_by_identifier(registry: Registry) -> None:
    await registry.stored(PatientID="nobody")

    (study,) = await all_of(ImagingStudies(registry.archive))

    assert study["subject"] == {"type": "Patient", "identifier": {"value": "nobody"}}


async def test_a_study_without_an_order_is_of_the_patient_it_names(registry: Registry) -> None:
    await registry.told(m1())
    await registry.stored("1.2.9", PatientID="19121212-1212")
    (patient,) = await all_of(Patients(registry.archive))

    stored = Narrowing(tokens={"status": only("available")})
    (study,) = await all_of(ImagingStudies(registry.archive), stored)

    assert study["subject"] == {"reference": f"Patient/{patient['id']}"}


async def test_what_is_awaited_is_gone_when_it_has_come(registry: Registry) -> None:
    await registry.told(m1())
    source = ImagingStudies(registry.archive)
    (awaited,) = await all_of(source, called(THORAX))
    await registry.stored()

    with pytest.raises(Gone, match="ImagingStudy/s1"):
        await source.read(awaited["id"])


async def test_the_reason_for_missing_images_is_told(registry: Registry) -> None:
    await registry.told(m1())
    source = ImagingStudies(registry.archive)
    await registry.stored()

    reasons = await source.reasons(await all_of(source))

    assert [reason["code"] for reason in reasons] == ["incomplete"]


async def test_studies_are_narrowed_to_a_patient(populated: Archive) -> None:
    patients = await all_of(Patients(populated), called(OTHER.value))

    own = frozenset(int(patient["id"][1:]) for patient in patients)
    found = await all_of(ImagingStudies(populated), Narrowing(patients=own))

    assert {one["subject"]["reference"] for one in found} == {f"Patient/p{n}" for n in own}


async def test_a_report_is_found_by_the_exam_it_answers(populated: Archive) -> None:
    (task,) = await all_of(Tasks(populated), called(THORAX))

    based_on = Narrowing(references={"based-on": only(task["focus"]["reference"])})
    (report,) = await all_of(DiagnosticReports(populated), based_on)

    assert (report["status"], report["basedOn"]) == ("appended", [task["focus"]])


async def test_a_report_is_found_by_its_study(populated: Archive) -> None:
    (study,) = await all_of(ImagingStudies(populated), called(UID))

    asked = Narrowing(references={"study": only(f"ImagingStudy/{study['id']}")})
    (report,) = await all_of(DiagnosticReports(populated), asked)

    assert report["imagingStudy"] == [{"reference": f"ImagingStudy/{study['id']}"}]


async def test_versions_of_a_report_are_in_the_order_of_their_times(registry: Registry) -> None:
    await registry.told(m1(), m6(), m5())
    source = DiagnosticReports(registry.archive)
    (report,) = await all_of(source)

    history = await source.history(report["id"])

    assert [one["status"] for one in history] == ["appended", "final"]


async def test_documents_of_an_order_are_versions_of_one(registry: Registry) -> None:
    await registry.story()
    (order,) = await all_of(ServiceRequests(registry.archive), ORDERS)

    related = Narrowing(references={"related": only(f"ServiceRequest/{order['id']}")})
    found = await all_of(DocumentReferences(registry.archive), related)

    assert [one["status"] for one in found] == ["current"] + ["superseded"] * 5


async def test_documents_of_nothing_in_particular_are_not_searched(registry: Registry) -> None:
    with pytest.raises(TooCostly, match="DocumentReference"):
        await all_of(DocumentReferences(registry.archive))


async def test_a_document_that_came_with_a_report_is_given_back(registry: Registry) -> None:
    pdf = Attachment("ab" * 32, "application/pdf", "Svar", 4)
    event = a_report(of={"attachments": (pdf,)})
    await registry.told(m1())
    await registry.told([event], attachments=((pdf, b"%PDF"),))
    (report,) = await all_of(DiagnosticReports(registry.archive))
    url = report["presentedForm"][2]["url"]

    content = await Binaries(registry.archive).content(url.removeprefix("Binary/"))

    assert content is not None
    assert (content.media_type, content.data) == ("application/pdf", b"%PDF")


async def test_a_received_document_is_related_to_its_order(registry: Registry) -> None:
    pdf = Attachment("ab" * 32, "application/pdf", "Svar", 4)
    await registry.told(m1())
    await registry.told([a_report(of={"attachments": (pdf,)})], attachments=((pdf, b"%PDF"),))
    orders = await all_of(ServiceRequests(registry.archive), ORDERS)

    related = Narrowing(references={"related": only(f"ServiceRequest/{orders[0]['id']}")})
    found = await all_of(DocumentReferences(registry.archive), related)

    kinds = [one["content"][0]["attachment"]["contentType"] for one in found]
    assert "application/pdf" in kinds


async def test_the_message_behind_an_event_is_given_back_byte_for_byte(registry: Registry) -> None:
    await registry.told(m1())
    provenance = (await all_of(Provenances(registry.archive)))[0]
    reference = provenance["entity"][0]["what"]["reference"]

    content = await Binaries(registry.archive).content(reference.removeprefix("Binary/"))

    assert content is not None
    assert (content.media_type, content.data) == (HL7_V2, MESSAGE)


async def test_the_document_of_an_order_can_be_read(registry: Registry) -> None:
    await registry.story()
    patients = frozenset({int((await all_of(Patients(registry.archive)))[0]["id"][1:])})
    newest = (await all_of(DocumentReferences(registry.archive), Narrowing(patients=patients)))[0]

    url = newest["content"][0]["attachment"]["url"]
    content = await Binaries(registry.archive).content(url.removeprefix("Binary/"))

    assert content is not None
    assert "4 mm nodulus" in content.data.decode()


async def test_events_are_found_by_their_exam_newest_first(registry: Registry) -> None:
    await registry.story()
    (task,) = await all_of(Tasks(registry.archive), called(THORAX))

    target = Narrowing(references={"target": only(task["focus"]["reference"])})
    found = await all_of(Provenances(registry.archive), target)

    codes = [one["activity"]["coding"][0]["code"] for one in found]
    assert codes == ["addendum", "signed", "performed", "started", "booked", "received"]


async def test_findings_are_found_by_what_they_implicate(populated: Archive) -> None:
    (finding, *_) = await all_of(
        DetectedIssues(populated), Narrowing(tokens={"code": only("unmapped-status")})
    )

    implicated = finding["implicated"][0]["reference"]
    asked = Narrowing(references={"implicated": only(implicated)})
    found = await all_of(DetectedIssues(populated), asked)

    assert finding["id"] in {one["id"] for one in found}


# --- what is no more -------------------------------------------------------------------------


async def two_that_are_one(registry: Registry) -> tuple[Source, str, str]:
    """Two exams that a later message makes one: the source, the id that stays, the other."""
    placed = an_event(aliases=aliases(placer="P1"))
    performed = an_event("performed", "2024-01-09T08:00", aliases=aliases(accession="X1"))
    await registry.told([placed], [performed])
    source = Tasks(registry.archive)
    before = {one["id"] for one in await all_of(source)}
    both = aliases(placer="P1", accession="X1")
    await registry.told([an_event("booked", "2024-01-08T09:00", aliases=both)])
    (after,) = await all_of(source)
    (other,) = before - {after["id"]}
    return source, after["id"], other


async def test_what_has_become_another_is_gone_and_names_it(registry: Registry) -> None:
    source, stays, other = await two_that_are_one(registry)

    with pytest.raises(Gone, match=f"Task/{stays} took its place"):
        await source.read(other)


async def test_what_has_become_another_is_not_found_by_its_id(registry: Registry) -> None:
    source, _, other = await two_that_are_one(registry)

    assert await all_of(source, Narrowing(ids=frozenset({other}))) == []


async def test_what_a_message_was_once_taken_to_say_is_gone(registry: Registry) -> None:
    number = await registry.told([an_event("unknown", aliases=aliases(accession="X1"))])
    source = Provenances(registry.archive)
    (before,) = await all_of(source)
    await registry.read_anew(number, [an_event("arrived", aliases=aliases(accession="X1"))])

    with pytest.raises(Gone, match="read anew"):
        await source.read(before["id"])


async def test_what_a_message_is_taken_to_say_now_is_found(registry: Registry) -> None:
    number = await registry.told([an_event("unknown", aliases=aliases(accession="X1"))])
    await registry.read_anew(number, [an_event("arrived", aliases=aliases(accession="X1"))])

    (event,) = await all_of(Provenances(registry.archive))

    assert event["activity"]["coding"][0]["code"] == "arrived"
