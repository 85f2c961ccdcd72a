"""The DICOM documents that the archive writes of reports that came without."""

import io
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom import part10, report_writing, structured_report
from bfr_dicomweb.dicom.matching import SearchLevel, parse_search
from bfr_dicomweb.dicom.structured_report import ReadReport
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.orders.events import Coding, Facts, Party, ReportStatus, Section
from bfr_dicomweb.orders.identifiers import HSA_ID, Alias, AliasKind, Identifier
from bfr_dicomweb.orders.state import Exam, Report, ReportVersion, Status
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import search
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.report_documents import read_report
from bfr_dicomweb.services.report_writing import (
    ReportWriter,
    WritingProcess,
    place_of,
    producer_sends_sr,
    write_report,
)
from bfr_dicomweb.services.retrieve import list_instances
from bfr_dicomweb.services.store import Outcome, StoreResult
from objects import an_object
from shared_data import NO_DCMTK

STUDY = "1.2.752.113.99.1.1"
SIGNER = Party(Identifier(HSA_ID, "SE2321000131-P000000000001"), family="Öst", given="Åsa")


def a_version(text: str, day: int, kind: ReportStatus, **values: Any) -> ReportVersion:
    return ReportVersion(
        time=f"2024-01-{day:02d}T10:00:00.000000Z",
        status="final",
        sections=(Section(Coding("18782-3", "http://loinc.org", "Radiology study"), text),),
        attachments=(),
        digests=(f"digest of {text}",),
        kind=kind,
        **({"signer": SIGNER} | values),
    )


ORIGINAL = a_version("Utlåtande: u.a. å ä ö", 10, ReportStatus.FINAL)
ADDED = a_version("Tilläggssvar: 4 mm nodulus.", 11, ReportStatus.ADDENDUM, is_addition=True)


def a_report(*versions: ReportVersion) -> Report:
    return Report("evidia|SU24000123", "SU24000123", "evidia", "final", versions, (0,))


EXAM = Exam(
    aliases=(
        Alias(AliasKind.ACCESSION, "urn:oid:1.2.752.113.99.7", "SU24000123"),
        Alias(AliasKind.PLACER, "urn:bfr:assigner:EHR", "REM1001-1"),
        Alias(AliasKind.PROCEDURE, "", "RPSU24000123"),
    ),
    status=Status.SIGNED,
    steps=(),
    facts=Facts(
        procedure=Coding("83300", "", "DT Thorax"), performing_unit=Party(name="Röntgen Evidia")
    ),
)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    """Holds one CT image of the study."""
    data = tmp_path / "archive"
    opened = await Archive.open(index_url=f"sqlite:///{data}/catalogue.sqlite", data=data)
    image = an_object(StudyInstanceUID=STUDY, SOPInstanceUID="2.25.1", SeriesInstanceUID="2.25.2")
    receiving = opened.store.receive()
    await receiving.write(image)
    await (await receiving.finish())
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def process() -> Iterator[WritingProcess]:
    made = WritingProcess()
    yield made
    made.close()


@pytest.fixture
def writer(archive: Archive, process: WritingProcess) -> ReportWriter:
    return ReportWriter(archive, process)


async def bytes_of(archive: Archive, result: StoreResult) -> bytes:
    assert result.outcome is Outcome.STORED, result.error
    assert isinstance(result.ref, Ref)
    (stored,) = await list_instances(archive, replace(result.ref, sop_instance_uid=None))
    return archive.blobs.path(stored.blob_key).read_bytes()


async def document_of(archive: Archive, result: StoreResult) -> Dataset:
    return dcmread(io.BytesIO(await bytes_of(archive, result)))


async def read_of(archive: Archive, result: StoreResult) -> ReadReport:
    header = part10.read_header(await bytes_of(archive, result))
    assert header.findings == ()
    return structured_report.read(header.attributes)


async def test_a_report_becomes_a_document_of_its_study(
    archive: Archive, writer: ReportWriter
) -> None:
    document = await document_of(archive, await writer.write(a_report(ORIGINAL), STUDY))

    assert document.StudyInstanceUID == STUDY
    assert (document.PatientName, document.PatientID) == ("Åkerström^Björn", "191212121212")
    assert (document.AccessionNumber, document.StudyDate) == ("A1", "20240115")
    assert document.SpecificCharacterSet == "ISO_IR 192"
    assert (document.Modality, document.SeriesNumber) == ("SR", 9001)


async def test_it_is_recognised_as_a_report_with_all_its_text(
    archive: Archive, writer: ReportWriter
) -> None:
    header = part10.read_header(
        await bytes_of(archive, await writer.write(a_report(ORIGINAL), STUDY))
    )

    assert structured_report.is_report(header.attributes)
    assert "Utlåtande: u.a. å ä ö" in structured_report.read(header.attributes).text


async def test_the_newest_document_holds_every_version_the_newest_first(
    archive: Archive, writer: ReportWriter
) -> None:
    read = await read_of(archive, await writer.write(a_report(ORIGINAL, ADDED), STUDY))

    assert [section.heading.meaning for section in read.sections] == ["Addendum", "Findings"]
    assert read.text.startswith("Tilläggssvar")
    assert "Utlåtande: u.a." in read.text


async def test_it_names_the_document_that_it_replaces(
    archive: Archive, writer: ReportWriter
) -> None:
    first, second = await writer.write_missing(a_report(ORIGINAL, ADDED), STUDY)

    assert (await read_of(archive, second)).predecessors == (first.sop_instance_uid,)


async def test_the_documents_do_not_depend_on_which_version_came_first(
    archive: Archive, writer: ReportWriter
) -> None:
    alone = await writer.write(a_report(ADDED), STUDY)
    first, second = await writer.write_missing(a_report(ORIGINAL, ADDED), STUDY)

    assert alone.sop_instance_uid != second.sop_instance_uid
    assert (await read_of(archive, second)).predecessors == (first.sop_instance_uid,)


async def test_a_viewer_finds_the_cumulative_document_first(
    archive: Archive, writer: ReportWriter
) -> None:
    await writer.write(a_report(ADDED), STUDY)
    _, newest = await writer.write_missing(a_report(ORIGINAL, ADDED), STUDY)

    wanted = parse_search([("Modality", "SR")], level=SearchLevel.STUDY_SERIES, max_results=10)
    found = await search.search(archive.index, wanted, ref=Ref(STUDY))

    assert isinstance(newest.ref, Ref)
    assert found.rows[0]["0020000E"]["Value"] == [newest.ref.series_instance_uid]


async def test_a_report_that_is_written_twice_is_stored_once(
    archive: Archive, writer: ReportWriter
) -> None:
    await writer.write(a_report(ORIGINAL), STUDY)

    again = await writer.write(a_report(ORIGINAL), STUDY)

    assert again.outcome is Outcome.DUPLICATE
    assert await archive.count_instances() == 2


async def test_a_rendition_that_arrives_later_makes_no_new_document(
    archive: Archive, writer: ReportWriter
) -> None:
    await writer.write(a_report(ORIGINAL), STUDY)
    with_more = replace(ORIGINAL, digests=(*ORIGINAL.digests, "another"), sources=("cda",))

    again = await writer.write(a_report(with_more), STUDY)

    assert again.outcome is Outcome.DUPLICATE


async def test_who_signed_is_the_verifying_observer(archive: Archive, writer: ReportWriter) -> None:
    result = await writer.write(a_report(ORIGINAL), STUDY, exams=[EXAM])

    document = await document_of(archive, result)

    (observer,) = document.VerifyingObserverSequence
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert observer.VerifyingObserverName == "Öst^Åsa"
    assert observer.VerifyingOrganization == "Röntgen Evidia"
    assert observer.VerificationDateTime == "20240110110000+0100"
    (code,) = observer.VerifyingObserverIdentificationCodeSequence
    assert code.LongCodeValue == "SE2321000131-P000000000001"


async def test_a_report_that_nobody_signed_by_name_is_not_verified(
    archive: Archive, writer: ReportWriter
) -> None:
    result = await writer.write(a_report(replace(ORIGINAL, signer=None)), STUDY)

    document = await document_of(archive, result)

    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "FINAL")
    assert "VerifyingObserverSequence" not in document


async def test_a_preliminary_report_is_not_verified(archive: Archive, writer: ReportWriter) -> None:
    preliminary = a_version("Inget akut.", 10, ReportStatus.PRELIMINARY)

    document = await document_of(archive, await writer.write(a_report(preliminary), STUDY))

    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


async def test_the_request_that_it_answers_is_named(archive: Archive, writer: ReportWriter) -> None:
    result = await writer.write(a_report(ORIGINAL), STUDY, exams=[EXAM])

    _, request = (await read_of(archive, result)).requests

    assert request.accession == structured_report.Number("SU24000123", "", "1.2.752.113.99.7")
    assert request.placer == structured_report.Number("REM1001-1", "EHR", "")
    assert request.requested_procedure_id == "RPSU24000123"


async def test_content_has_the_time_of_the_version_where_the_study_is(
    archive: Archive, writer: ReportWriter
) -> None:
    document = await document_of(archive, await writer.write(a_report(ORIGINAL), STUDY))

    assert (document.ContentDate, document.ContentTime) == ("20240110", "110000.000000")


async def test_sections_with_standard_headings_keep_them(
    archive: Archive, writer: ReportWriter
) -> None:
    sections = (
        Section(Coding("59776-5", "http://loinc.org", "Fynd"), "4 mm nodulus."),
        Section(Coding("19005-8", "http://loinc.org", "Bedömning"), "Kontroll om 3 månader."),
    )

    read = await read_of(
        archive, await writer.write(a_report(replace(ORIGINAL, sections=sections)), STUDY)
    )

    assert [section.heading.meaning for section in read.sections] == ["Findings", "Impressions"]
    assert read.sections[1].text == "Kontroll om 3 månader."


async def test_nothing_is_written_into_a_study_of_which_nothing_is_stored(
    writer: ReportWriter,
) -> None:
    with pytest.raises(NotFound):
        await writer.write(a_report(ORIGINAL), "2.25.404")


async def test_what_the_archive_writes_is_no_news_to_it(
    archive: Archive, writer: ReportWriter
) -> None:
    written = await bytes_of(archive, await writer.write(a_report(ORIGINAL), STUDY))

    assert read_report(part10.read_header(written).attributes) is None


async def test_a_report_can_be_written_by_a_process_of_its_own(archive: Archive) -> None:
    result = await write_report(archive, a_report(ORIGINAL), STUDY)

    assert result.outcome is Outcome.STORED


async def test_the_study_keeps_what_was_said_of_it(archive: Archive, writer: ReportWriter) -> None:
    async def told() -> dict[str, Any]:
        wanted = parse_search([("includefield", "all")], level=SearchLevel.STUDIES, max_results=10)
        (row,) = (await search.search(archive.index, wanted)).rows
        counted = ("00080061", "00080062", "00201206", "00201208")
        return {tag: value for tag, value in row.items() if tag not in counted}

    before = await told()
    await writer.write(a_report(ORIGINAL), STUDY, exams=[EXAM])

    assert await told() == before


# --- pure ------------------------------------------------------------------------------------


def test_a_producer_that_sent_a_document_needs_none() -> None:
    assert producer_sends_sr(replace(ORIGINAL, sop_instance_uids=("2.25.5",)))


def test_a_producer_that_will_send_a_document_needs_none() -> None:
    assert producer_sends_sr(ORIGINAL, own_sr=True)


def test_a_report_that_came_as_text_alone_needs_a_document() -> None:
    assert not producer_sends_sr(ORIGINAL)


def test_every_version_has_a_series_of_its_own() -> None:
    report = a_report(ORIGINAL, ADDED)

    first, second = (place_of(report, STUDY, ordinal) for ordinal in (1, 2))

    assert first.ref.series_instance_uid != second.ref.series_instance_uid
    assert first.series_number < second.series_number


def test_a_report_of_two_studies_has_a_document_in_each() -> None:
    places = {place_of(a_report(ORIGINAL), study, 1).ref.sop_instance_uid for study in "12"}

    assert len(places) == 2


# --- other readers ---------------------------------------------------------------------------

STUDY_ATTRIBUTES = part10.read_header(
    an_object(StudyInstanceUID=STUDY, ReferringPhysicianName="Öst^Åsa")
).attributes


def a_draft(**values: Any) -> report_writing.Draft:
    given: dict[str, Any] = {
        "study": STUDY_ATTRIBUTES,
        "series_instance_uid": "2.25.11",
        "sop_instance_uid": "2.25.12",
        "series_number": 9002,
        "series_description": "Tilläggssvar",
        "content_date": "20240111",
        "content_time": "110000",
        "parts": [
            report_writing.Part(
                report_writing.ADDENDUM, "4 mm nodulus.\nå ä ö", "20240111110000+0100"
            ),
            report_writing.Part(report_writing.FINDINGS, "Utlåtande: u.a."),
        ],
        "verified": report_writing.Verified(
            structured_report.Person("Öst", "Åsa"), "Evidia", "20240111110000+0100"
        ),
        "predecessors": [
            report_writing.Predecessor(structured_report.ENHANCED, STUDY, "2.25.9", "2.25.10")
        ],
        "requests": [
            report_writing.RequestedProcedure(
                structured_report.Number("SU1", "", "1.2.752.113.99.7"),
                structured_report.Number("REM1", "EHR"),
            )
        ],
    }
    return report_writing.Draft(**(given | values))


def test_equal_drafts_give_equal_bytes() -> None:
    assert report_writing.write(a_draft()) == report_writing.write(a_draft())


def test_control_characters_are_no_text() -> None:
    part = report_writing.Part(report_writing.FINDINGS, "a\x00\x1bb\tc\nd")

    written = report_writing.write(a_draft(parts=[part]))

    assert structured_report.read(part10.read_header(written).attributes).text == "ab\tc\nd"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"verified": None, "predecessors": (), "requests": ()},
        {"is_final": False, "is_complete": False, "verified": None},
    ],
    ids=["all of it", "as little as there can be", "partial"],
)
def test_an_independent_validator_finds_no_error(values: dict[str, Any], tmp_path: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dicom3tools is not installed: apt-get install dicom3tools")
    file = tmp_path / "report.dcm"
    file.write_bytes(report_writing.write(a_draft(**values)))

    told = subprocess.run([program, file], capture_output=True, text=True, check=False)

    assert [line for line in told.stderr.splitlines() if line.startswith("Error")] == []


def test_dcmtk_prints_the_text(tmp_path: Path) -> None:
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip(NO_DCMTK)
    file = tmp_path / "report.dcm"
    file.write_bytes(report_writing.write(a_draft()))

    told = subprocess.run(
        [program, "+Pl", "+U8", file], capture_output=True, encoding="utf-8", check=True
    )

    assert "4 mm nodulus" in told.stdout
    assert "Utlåtande: u.a." in told.stdout
    # it warns that it does not check text in UTF-8
    assert [line for line in told.stderr.splitlines() if not line.startswith("W: ")] == []


def test_a_study_with_odd_attributes_gets_its_document(tmp_path: Path) -> None:
    odd = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A=B^" + "x" * 100}]},
        "00100030": {"vr": "DA", "Value": ["1912"]},
        "00100040": {"vr": "CS", "Value": ["unknown"]},
        "00080030": {"vr": "TM", "Value": ["25:00"]},
        "0020000D": {"vr": "UI", "Value": [STUDY]},
    }

    written = report_writing.write(a_draft(study=odd))

    attributes = part10.read_header(written).attributes
    assert attributes["00100030"]["Value"] == ["1912"]
    assert attributes["00100040"]["Value"] == ["unknown"]
