"""What a stored structured report tells of its exam."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.dicom.structured_report import ReadReport
from bfr_dicomweb.orders.events import Coding, Event, Kind, Party, ReportStatus
from bfr_dicomweb.orders.identifiers import DICOM_UID, HSA_ID, Alias, AliasKind, Identifier
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.report_documents import (
    new_reports,
    read_report,
    report_event,
    reports_among,
)
from bfr_dicomweb.services.store import Outcome
from objects import a_dataset, an_object, uid, written

BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
KVA = "1.2.752.113.99.7"


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def a_section(heading: Dataset, text: str) -> Dataset:
    inner, section = Dataset(), Dataset()
    inner.RelationshipType = section.RelationshipType = "CONTAINS"
    inner.ValueType, section.ValueType = "TEXT", "CONTAINER"
    inner.ConceptNameCodeSequence = [coded("121071", "DCM", "Finding")]
    inner.TextValue = text
    section.ConceptNameCodeSequence = [heading]
    section.ContinuityOfContent = "SEPARATE"
    section.ContentSequence = [inner]
    return section


FINDINGS = coded("59776-5", "LN", "Findings")
ADDENDUM = coded("55107-7", "LN", "Addendum")


def an_observer(at: str = "20240110160000+0100") -> Dataset:
    item = Dataset()
    item.VerifyingOrganization, item.VerificationDateTime = "Evidia", at
    item.VerifyingObserverName = "Öst^Åsa"
    code = Dataset()
    code.LongCodeValue = "SE2321000131-P000000000001"
    code.CodingSchemeDesignator, code.CodeMeaning = "99HSA", "Åsa Öst"
    item.VerifyingObserverIdentificationCodeSequence = [code]
    return item


def a_report(**values: Any) -> Dataset:
    given = {
        "SOPClassUID": BASIC_TEXT,
        "Modality": "SR",
        "AccessionNumber": "SU24000123",
        "ValueType": "CONTAINER",
        "ContinuityOfContent": "SEPARATE",
        "ConceptNameCodeSequence": [coded("18748-4", "LN", "Diagnostic Imaging Report")],
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "VERIFIED",
        "VerifyingObserverSequence": [an_observer()],
        "ContentDate": "20240110",
        "ContentTime": "155000",
        "ContentSequence": [a_section(FINDINGS, "Utlåtande: u.a.")],
    }
    present = {keyword: value for keyword, value in (given | values).items() if value is not None}
    return a_dataset(**present, Rows=None, Columns=None, PixelData=None)


def attributes_of(data_set: Dataset) -> dict[str, Any]:
    return part10.read_header(written(data_set)).attributes


def read_of(data_set: Dataset) -> ReadReport:
    read = read_report(attributes_of(data_set))
    assert read is not None
    return read


def event_of(data_set: Dataset) -> Event:
    event = report_event(read_of(data_set))
    assert event is not None
    return event


def status_of(data_set: Dataset) -> ReportStatus:
    report = event_of(data_set).report
    assert report is not None
    return report.status


def predecessors() -> Sequence:
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = BASIC_TEXT, "2.25.9"
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "2.25.8", [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "2.25.7", [series]
    return Sequence([study])


def test_a_signed_report_is_a_final_one_of_the_time_when_it_was_signed() -> None:
    event = event_of(a_report(SOPInstanceUID="2.25.3"))

    assert (event.kind, event.time) == (Kind.REPORTED, "2024-01-10T15:00:00.000000Z")
    assert (event.source, event.control_id) == ("dicom", "2.25.3")
    assert event.report is not None
    assert event.report.status is ReportStatus.FINAL
    assert event.report.sop_instance_uid == "2.25.3"


def test_sections_keep_their_headings() -> None:
    report = event_of(a_report()).report

    assert report is not None
    (section,) = report.sections
    assert section.code == Coding("59776-5", "http://loinc.org", "Findings")
    assert section.text == "Utlåtande: u.a."


def test_who_signed_is_known_by_the_identifier() -> None:
    report = event_of(a_report()).report

    assert report is not None
    identifier = Identifier(HSA_ID, "SE2321000131-P000000000001")
    assert report.signer == Party(identifier, family="Öst", given="Åsa")


def test_the_exam_is_known_by_accession_number_request_and_study() -> None:
    request, issuer = Dataset(), Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = KVA, "ISO"
    request.StudyInstanceUID = "2.25.1"
    request.AccessionNumber, request.IssuerOfAccessionNumberSequence = "SU24000123", [issuer]
    request.PlacerOrderNumberImagingServiceRequest = "REM1001-1"
    request.RequestedProcedureID = "RP1"

    aliases = event_of(
        a_report(StudyInstanceUID="2.25.1", ReferencedRequestSequence=[request])
    ).aliases

    assert set(aliases) == {
        Alias(AliasKind.ACCESSION, "", "SU24000123"),
        Alias(AliasKind.ACCESSION, f"urn:oid:{KVA}", "SU24000123"),
        Alias(AliasKind.PLACER, "", "REM1001-1"),
        Alias(AliasKind.PROCEDURE, "", "RP1"),
        Alias(AliasKind.STUDY, DICOM_UID, "2.25.1"),
    }


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, ReportStatus.FINAL),
        ({"CompletionFlag": "PARTIAL"}, ReportStatus.PARTIAL),
        ({"VerificationFlag": "UNVERIFIED"}, ReportStatus.PRELIMINARY),
        ({"VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "FINAL"}, ReportStatus.FINAL),
        ({"PreliminaryFlag": "PRELIMINARY"}, ReportStatus.PRELIMINARY),
        ({"PredecessorDocumentsSequence": predecessors()}, ReportStatus.CORRECTED),
    ],
    ids=str,
)
def test_the_flags_say_how_final_a_report_is(values: dict[str, Any], status: ReportStatus) -> None:
    assert status_of(a_report(**values)) is status


def test_a_new_version_with_an_addendum_is_one_and_begins_with_it() -> None:
    event = event_of(
        a_report(
            PredecessorDocumentsSequence=predecessors(),
            ContentSequence=[a_section(FINDINGS, "Ua."), a_section(ADDENDUM, "4 mm nodulus.")],
        )
    )

    assert event.report is not None
    assert event.report.status is ReportStatus.ADDENDUM
    assert event.report.text == "4 mm nodulus.\n\nUa."


def test_an_unsigned_report_has_the_time_of_its_content_in_local_time() -> None:
    event = event_of(a_report(VerificationFlag="UNVERIFIED", VerifyingObserverSequence=None))

    assert event.time == "2024-01-10T14:50:00.000000Z"


def test_a_time_has_the_zone_that_the_document_tells() -> None:
    event = event_of(
        a_report(
            VerificationFlag="UNVERIFIED",
            VerifyingObserverSequence=None,
            TimezoneOffsetFromUTC="+0000",
        )
    )

    assert event.time == "2024-01-10T15:50:00.000000Z"


def test_a_report_without_any_time_tells_nothing() -> None:
    silent = a_report(ContentDate=None, ContentTime=None, VerifyingObserverSequence=None)

    assert report_event(read_of(silent)) is None


def test_a_report_without_text_tells_nothing() -> None:
    assert report_event(read_of(a_report(ContentSequence=None))) is None


def test_equal_documents_tell_the_same() -> None:
    document = written(a_report())
    read = [read_report(part10.read_header(document).attributes) for _ in range(2)]

    events = [report_event(one) for one in read if one is not None]
    assert events[0] == events[1]


def test_a_dose_report_is_no_news_of_an_exam() -> None:
    assert read_report(attributes_of(a_report(SOPClassUID=DOSE))) is None


# --- in the archive --------------------------------------------------------------------------


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    data = tmp_path / "archive"
    opened = await Archive.open(index_url=f"sqlite:///{data}/catalogue.sqlite", data=data)
    yield opened
    await opened.close()


async def stored(archive: Archive, *files: bytes) -> None:
    for file in files:
        receiving = archive.store.receive()
        await receiving.write(file)
        result = await (await receiving.finish())
        assert result.outcome is Outcome.STORED


async def test_the_new_reports_of_a_study_are_found(archive: Archive) -> None:
    study = uid()
    await stored(
        archive,
        an_object(StudyInstanceUID=study),
        written(a_report(StudyInstanceUID=study, SOPInstanceUID="2.25.31")),
        written(a_report(StudyInstanceUID=study, SOPClassUID=DOSE)),
        written(a_report(StudyInstanceUID=study, SOPInstanceUID="2.25.32")),
        written(a_report()),
    )

    found = await new_reports(archive.index, study)

    assert [one.read.sop_instance_uid for one in found] == ["2.25.31", "2.25.32"]


async def test_reports_of_before_a_change_are_no_longer_new(archive: Archive) -> None:
    study = uid()
    await stored(archive, written(a_report(StudyInstanceUID=study)))
    (first,) = await new_reports(archive.index, study)
    await stored(archive, written(a_report(StudyInstanceUID=study, SOPInstanceUID="2.25.32")))

    found = await new_reports(archive.index, study, after=first.change)

    assert [one.ref.sop_instance_uid for one in found] == ["2.25.32"]


async def test_the_reports_among_stored_instances_are_found(archive: Archive) -> None:
    await stored(
        archive,
        an_object(SOPInstanceUID="2.25.41"),
        written(a_report(SOPInstanceUID="2.25.42")),
        written(a_report(SOPInstanceUID="2.25.43")),
    )

    found = await reports_among(archive.index, ["2.25.41", "2.25.42", "2.25.49"])

    assert [one.ref.sop_instance_uid for one in found] == ["2.25.42"]
