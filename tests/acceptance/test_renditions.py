"""One report that came three ways is one report (ORU, CDA in an MDM, DICOM SR)."""

import base64
from typing import Any

from pydicom.dataset import Dataset

from hl7_said import THORAX, Exam, m1, m4, message, msh, obx, pid, report, segment
from objects import an_object, uid
from registry import Registry, eventually

TEXT = "Ingen pneumothorax. Hjärtat normalstort."
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
CDA = f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody><component><section>
<text>{TEXT}</text></section></component></structuredBody></component></ClinicalDocument>"""


def by_oru() -> bytes:
    return report(THORAX, TEXT, control_id="R1", time="20240110150000")


def by_mdm() -> bytes:
    """The same text in a CDA document, base64 in OBX-5."""
    data = base64.b64encode(CDA.encode()).decode()
    return message(
        msh("MDM^T02^MDM_T02", "D1", "20240110151000"),
        "EVN|T02|20240110151000",
        pid(),
        "PV1|1|O",
        segment(
            "TXA",
            {
                1: "1",
                2: "DI",
                3: "TX",
                4: "20240110150000",
                6: "20240110150000",
                12: "DOC1",
                14: THORAX.placer,
                15: THORAX.accession,
                17: "LA",
            },
        ),
        obx(1, "ED", "18748-4^Utlåtande^LN", f"^text^xml^Base64^{data}"),
    )


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def by_sr(exam: Exam) -> bytes:
    """The same text in a verified structured report of the producer."""
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", TEXT
    text.ConceptNameCodeSequence = [coded("121071", "DCM", "Finding")]
    observer = Dataset()
    observer.VerifyingOrganization = "Evidia"
    observer.VerificationDateTime = "20240110150000+0100"
    observer.VerifyingObserverName = "Öst^Åsa"
    observer.VerifyingObserverIdentificationCodeSequence = []
    return an_object(
        SOPClassUID=BASIC_TEXT_SR,
        StudyInstanceUID=exam.study_uid,
        AccessionNumber=exam.accession,
        Modality="SR",
        PixelData=None,
        Rows=None,
        Columns=None,
        ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE",
        ConceptNameCodeSequence=[coded("18748-4", "LN", "Diagnostic imaging study")],
        CompletionFlag="COMPLETE",
        VerificationFlag="VERIFIED",
        VerifyingObserverSequence=[observer],
        ContentDate="20240110",
        ContentTime="150000",
        ContentSequence=[text],
        SOPInstanceUID=uid(),
    )


def reports(registry: Registry) -> list[dict[str, Any]]:
    return registry.found("DiagnosticReport", **{"based-on.identifier": THORAX.accession})


def test_message_and_document_of_one_report_are_one(registry: Registry) -> None:
    registry.told(m1(), m4(), by_oru(), by_mdm())

    (found,) = reports(registry)

    versions = registry.get(f"DiagnosticReport/{found['id']}/_history")["entry"]
    assert (found["status"], len(versions)) == ("final", 1)


def test_the_document_that_came_is_offered_with_the_report(registry: Registry) -> None:
    registry.told(m1(), m4(), by_oru(), by_mdm())

    (found,) = reports(registry)

    (url,) = [form["url"] for form in found["presentedForm"] if "url" in form]
    kept = registry.http(
        "GET", f"{registry.live.fhir}/{url}", headers={"Accept": "application/hl7-v3+xml, */*"}
    )
    assert kept.content == CDA.encode()


def test_a_structured_report_of_the_same_text_is_no_second_report(registry: Registry) -> None:
    registry.told(m1(), m4(), by_oru())
    registry.store(by_sr(THORAX))

    def events() -> list[dict[str, Any]]:
        (exam,) = registry.found("ServiceRequest", identifier=THORAX.accession)
        return registry.found("Provenance", target=f"ServiceRequest/{exam['id']}")

    eventually(events, lambda found: len(found) == 4)

    (found,) = reports(registry)
    versions = registry.get(f"DiagnosticReport/{found['id']}/_history")["entry"]
    assert (found["status"], len(versions)) == ("final", 1)


def test_a_structured_report_alone_is_a_report(registry: Registry) -> None:
    registry.told(m1(), m4())
    registry.store(by_sr(THORAX))

    (found,) = eventually(lambda: reports(registry), bool)

    text = base64.b64decode(found["presentedForm"][0]["data"]).decode()
    assert (found["status"], TEXT in text) == ("final", True)


def test_no_document_is_written_beside_the_producers_own(registry: Registry) -> None:
    registry.told(m1(), m4())
    registry.store(by_sr(THORAX))
    eventually(lambda: reports(registry), bool)
    registry.told(by_oru())

    series = registry.qido(f"/studies/{THORAX.study_uid}/series", Modality="SR")

    assert len(series) == 1
