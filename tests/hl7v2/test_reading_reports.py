import base64
from hashlib import sha256

import pytest

import hl7_said as said
from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2.clinical_documents import CDA, narrative
from bfr_dicomweb.orders.events import Attachment, Coding, Kind, ReportStatus
from bfr_dicomweb.orders.identifiers import AliasKind
from hl7_read import RECEIVED, one_event, one_report, read

TIME = "20240110150000"
PDF = b"%PDF-1.4 a document"
UNILABS = ("UNIRIS", "UNILABS")


def a_report(
    *segments: str, result: str = "F", changed: str = TIME, sender: tuple[str, str] = said.RIS
) -> bytes:
    head = said.msh("ORU^R01", "R1", "20240110160000", sender=sender)
    obr = said.obr(said.THORAX, result, changed)
    return said.message(head, said.pid(), obr, *segments)


def text(value: str, *, status: str = "F", kind: str = "TX", time: str = "") -> str:
    return said.obx(1, kind, said.REPORT_CODE, value, status=status, time=time)


def test_report_of_the_story() -> None:
    report = one_report(said.m5())
    assert (report.status, report.text) == (ReportStatus.FINAL, "Utlåtande: u.a.")


def test_section_has_the_code_of_its_observation() -> None:
    assert one_report(said.m5()).sections[0].code == Coding(
        "18782-3", "http://loinc.org", "Radiology study observation"
    )


def test_study_is_no_section_but_names_the_exam() -> None:
    event = one_event(said.m5())
    studies = [alias.value for alias in event.aliases if alias.kind is AliasKind.STUDY]
    assert (studies, len(one_report(said.m5()).sections)) == (["1.2.752.113.99.1.1"], 1)


@pytest.mark.parametrize("code", ["110180", "113014"])
@pytest.mark.parametrize("kind", ["ST", "HD", "UI"])
def test_study_uid_is_found_under_either_code(code: str, kind: str) -> None:
    event = one_event(a_report(text("A"), said.obx(2, kind, f"{code}^Study^DCM", "1.2.3")))
    assert "1.2.3" in [alias.value for alias in event.aliases]


@pytest.mark.parametrize(
    ("result", "observation", "status"),
    [
        ("F", "F", ReportStatus.FINAL),
        ("P", "P", ReportStatus.PRELIMINARY),
        ("R", "R", ReportStatus.PARTIAL),
        ("C", "C", ReportStatus.CORRECTED),
        ("F", "C", ReportStatus.CORRECTED),
        ("P", "F", ReportStatus.PRELIMINARY),
        ("F", "", ReportStatus.FINAL),
        ("", "F", ReportStatus.FINAL),
        ("", "P", ReportStatus.PRELIMINARY),
        ("", "C", ReportStatus.CORRECTED),
        ("F", "U", ReportStatus.PROMOTED),
        ("F", "W", ReportStatus.WITHDRAWN),
        ("C", "D", ReportStatus.WITHDRAWN),
        ("X", "X", ReportStatus.CANCELLED),
        ("X", "F", ReportStatus.CANCELLED),
        ("I", "P", ReportStatus.PRELIMINARY),
    ],
)
def test_status_of_a_report(result: str, observation: str, status: ReportStatus) -> None:
    assert one_report(a_report(text("A", status=observation), result=result)).status is status


def test_withdrawal_needs_no_text() -> None:
    assert one_report(a_report(result="X")).status is ReportStatus.CANCELLED


def test_promotion_needs_no_text() -> None:
    assert one_report(a_report(text("", status="U"))).status is ReportStatus.PROMOTED


@pytest.mark.parametrize("segments", [[], [text("")], [text('""')]])
def test_final_report_without_a_text_is_an_error(segments: list[str]) -> None:
    with pytest.raises(InvalidMessage, match="without a text"):
        read(a_report(*segments))


@pytest.mark.parametrize(
    ("result", "kind"), [("S", Kind.BOOKED), ("I", Kind.STARTED), ("N", Kind.PERFORMED)]
)
def test_result_without_a_text_can_tell_of_the_exam(result: str, kind: Kind) -> None:
    event = one_event(a_report(result=result))
    assert (event.kind, event.report) == (kind, None)


def test_unmapped_result_status_is_unknown() -> None:
    assert one_event(a_report(text("A"), result="Q")).kind is Kind.UNKNOWN


def test_result_status_in_the_words_of_the_sender() -> None:
    data = a_report(text("A", status="D"), result="D", sender=UNILABS)
    assert one_report(data).status is ReportStatus.FINAL


def test_cancelled_exam_in_a_result_is_no_report() -> None:
    orc = said.segment("ORC", {1: "OC", 3: "SU24000123", 5: "CA"})
    head = said.msh("ORU^R01", "R1", TIME)
    data = said.message(head, said.pid(), orc, said.obr(said.THORAX, "X", TIME))
    assert one_event(data).kind is Kind.CANCELLED


@pytest.mark.parametrize(
    ("changed", "observed", "expected"),
    [
        ("20240110150000", "20240110140000", "2024-01-10T14:00:00.000000Z"),
        ("", "20240110140000", "2024-01-10T13:00:00.000000Z"),
        ("", "", "2024-01-10T15:00:00.000000Z"),
        ("20300110150000", "", RECEIVED),
    ],
)
def test_time_of_a_report(changed: str, observed: str, expected: str) -> None:
    assert one_event(a_report(text("A", time=observed), changed=changed)).time == expected


def test_impossible_time_of_a_report_is_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(a_report(text("A"), changed="20240199"))
    assert (caught.value.segment, caught.value.field) == ("OBR", 22)


def test_lines_of_one_code_are_one_section() -> None:
    assert [section.text for section in one_report(a_report(text("A"), text("B"))).sections] == [
        "A\nB"
    ]


def test_sections_stay_in_their_order() -> None:
    parts = [said.obx(n, "TX", f"{n}^Part^LN", f"T{n}") for n in (3, 1, 2)]
    report = one_report(a_report(*parts))
    assert [section.code.code for section in report.sections] == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("FT", r"En\.br\Två", "En\nTvå"),
        ("TX", "En~Två", "En\nTvå"),
        ("TX", "5^6", "5^6"),
        ("ST", r"A \T\ B", "A & B"),
        ("CE", "C65.2^Malignant neoplasm^I10", "Malignant neoplasm"),
        ("CWE", "X^^L", "X"),
        ("NM", "4.5", "4.5"),
        ("SN", ">^4^-^6", ">4-6"),
        ("RP", "https://example.org/1^^AP^PDF", "https://example.org/1"),
        ("", "Text", "Text"),
    ],
)
def test_value_is_shown_as_text(kind: str, value: str, shown: str) -> None:
    assert one_report(a_report(text(value, kind=kind))).text == shown


def test_number_has_its_unit() -> None:
    obx = said.segment("OBX", {2: "NM", 3: "1^Size^LN", 5: "4", 6: "mm", 11: "F"})
    assert one_report(a_report(obx)).text == "4 mm"


def test_code_as_a_suffix_gets_the_heading_of_the_sender() -> None:
    head = said.msh("ORU^R01", "R1", TIME, sender=("SURIS", "SU"))
    obx = said.obx(1, "TX", "&IMP^Impression", "Normalt.")
    data = said.message(head, said.pid(), said.obr(said.THORAX, "F", TIME), obx)
    assert one_report(data).sections[0].code == Coding("IMP", "", "Bedömning")


def embedded(kind: str, subtype: str, encoding: str, data: str) -> str:
    return said.obx(1, "ED", "18748-4^Report^LN", f"^{kind}^{subtype}^{encoding}^{data}")


def test_document_comes_with_its_bytes() -> None:
    contents = read(
        a_report(embedded("Application", "PDF", "Base64", base64.b64encode(PDF).decode()))
    )
    attachment = Attachment(sha256(PDF).hexdigest(), "application/pdf", "Report", len(PDF))
    assert contents.attachments == ((attachment, PDF),)


def test_document_is_named_by_the_report() -> None:
    data = a_report(embedded("AP", "PDF", "Base64", base64.b64encode(PDF).decode()))
    assert [a.digest for a in one_report(data).attachments] == [sha256(PDF).hexdigest()]


@pytest.mark.parametrize(
    ("kind", "subtype", "found"),
    [
        ("IM", "JPEG", "image/jpeg"),
        ("text", "html", "text/html"),
        ("application", "msword", "application/msword"),
        ("application/rtf", "", "application/rtf"),
        ("NS", "Octet-stream", "application/octet-stream"),
    ],
)
def test_media_type_of_a_document(kind: str, subtype: str, found: str) -> None:
    data = a_report(embedded(kind, subtype, "Base64", "AAAA"))
    assert one_report(data).attachments[0].content_type == found


def test_hexadecimal_document() -> None:
    contents = read(a_report(embedded("AP", "PDF", "Hex", PDF.hex())))
    assert contents.attachments[0][1] == PDF


@pytest.mark.parametrize(("encoding", "data"), [("Base64", "A=B"), ("Hex", "0G")])
def test_wrongly_encoded_document_is_an_error(encoding: str, data: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(a_report(embedded("AP", "PDF", encoding, data)))
    assert (caught.value.code, caught.value.segment, caught.value.field) == (102, "OBX", 5)


def test_plain_text_as_a_document_is_a_section() -> None:
    data = a_report(embedded("text", "plain", "Base64", base64.b64encode("Två".encode()).decode()))
    assert one_report(data).text == "Två"


CLINICAL_DOCUMENT = (
    '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody>'
    '<component><section><code code="18782-3" codeSystem="2.16.840.1.113883.6.1"/>'
    "<title>Utlåtande</title><text><paragraph>Inga tecken till\n metastaser.</paragraph>"
    "<list><item>A &amp; B</item><item>C^D</item></list></text></section></component>"
    "</structuredBody></component></ClinicalDocument>"
)


@pytest.mark.parametrize("is_plain", [True, False])
def test_text_of_a_clinical_document_is_that_of_the_report(is_plain: bool) -> None:
    coded = base64.b64encode(CLINICAL_DOCUMENT.encode()).decode()
    data = (
        embedded("Text", "text/xml", "ASCII", CLINICAL_DOCUMENT.replace("\n", "\\.br\\"))
        if is_plain
        else embedded("multipart", "x-hl7-cda-level-one", "Base64", coded)
    )
    report = one_report(a_report(data))
    assert report.text == "Inga tecken till metastaser.\nA & B\nC^D"
    assert report.attachments[0].content_type == CDA


def test_section_of_a_clinical_document_has_its_code_and_title() -> None:
    coded = base64.b64encode(CLINICAL_DOCUMENT.encode()).decode()
    report = one_report(a_report(embedded("AP", "XML", "Base64", coded)))
    assert report.sections[0].code == Coding("18782-3", "http://loinc.org", "Utlåtande")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_clinical_document_with_a_document_type_is_not_interpreted(encoding: str) -> None:
    dangerous = CLINICAL_DOCUMENT.replace(
        "<ClinicalDocument", '<!DOCTYPE d [<!ENTITY a "b">]><ClinicalDocument', 1
    )
    assert narrative(dangerous.encode(encoding)) == ()


def test_document_that_is_no_xml_has_no_narrative() -> None:
    assert narrative(b"<ClinicalDocument xmlns='urn:hl7-org:v3'><section>") == ()


def test_document_in_an_unheard_of_encoding_has_no_narrative() -> None:
    assert narrative(b'<?xml version="1.0" encoding="runes"?><ClinicalDocument/>') == ()


def test_deeply_nested_document_is_survived() -> None:
    deep = b"<content>" * 5000 + b"</content>" * 5000
    data = b"<ClinicalDocument xmlns='urn:hl7-org:v3'><section><text>A" + deep
    assert narrative(data + b"</text></section></ClinicalDocument>")[0].text == "A"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("SE1-P1&Läkare&Lisa", ("Läkare", "Lisa")),
        ("&Läkare&Lisa^20240110", ("Läkare", "Lisa")),
        ("SE1-P1^Läkare^Lisa", ("Läkare", "Lisa")),
    ],
)
def test_interpreter_is_the_signer(written: str, name: tuple[str, str]) -> None:
    obr = said.segment("OBR", {3: "1", 22: TIME, 25: "F", 32: written})
    head = said.msh("ORU^R01", "R1", TIME)
    signer = one_report(said.message(head, said.pid(), obr, text("A"))).signer
    assert signer is not None
    assert (signer.family, signer.given) == name


def two_exams(*, text_under: int) -> bytes:
    segments = [said.msh("ORU^R01", "R1", TIME), said.pid()]
    for place, exam in enumerate((said.THORAX, said.ABDOMEN)):
        segments += [said.orc(exam, "RE", "CM", TIME), said.obr(exam, "F", TIME)]
        segments += [text("Both.")] if place == text_under else []
    return said.message(*segments)


@pytest.mark.parametrize("text_under", [0, 1])
def test_one_text_for_two_exams_is_the_report_of_both(text_under: int) -> None:
    events = read(two_exams(text_under=text_under)).events
    assert [event.report.text for event in events if event.report] == ["Both.", "Both."]


def test_events_of_one_report_are_marked_alike() -> None:
    first, second = read(two_exams(text_under=1)).events
    assert first.shared == second.shared != ""


def test_mark_is_the_same_when_the_report_is_sent_again() -> None:
    again = two_exams(text_under=1).replace(b"|R1|", b"|R2|")
    first, second = (read(data).events[0] for data in (two_exams(text_under=1), again))
    assert first.shared == second.shared


def test_report_sent_again_is_the_same_event() -> None:
    again = said.m5().replace(b"|M5|", b"|M5B|")
    assert one_event(again).digest == one_event(said.m5()).digest


def test_reports_of_two_exams_with_a_text_each_are_two() -> None:
    segments = [said.msh("ORU^R01", "R1", TIME), said.pid()]
    for exam in (said.THORAX, said.ABDOMEN):
        segments += [said.obr(exam, "F", TIME), text(exam.accession)]
    events = read(said.message(*segments)).events
    assert [(event.report and event.report.text, event.shared) for event in events] == [
        ("SU24000123", ""),
        ("SU24000124", ""),
    ]


def test_second_result_does_not_take_the_numbers_of_the_first_order() -> None:
    orc = said.segment("ORC", {1: "RE", 2: "P1", 3: "F1"})
    obrs = [said.segment("OBR", {2: f"P{n}", 3: f"F{n}", 25: "F"}) for n in (1, 2)]
    head = said.msh("ORU^R01", "R1", TIME)
    data = said.message(head, said.pid(), orc, obrs[0], text("A"), obrs[1], text("B"))
    second = read(data).events[1]
    assert [alias.value for alias in second.aliases] == ["F2", "P2"]


def test_results_of_two_patients_are_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(a_report(text("A"), said.pid("196109732393")))
    assert (caught.value.segment, caught.value.sequence) == ("PID", 2)


def test_observation_of_the_patient_is_no_report() -> None:
    head = said.msh("ORU^R01", "R1", TIME)
    weight = said.obx(1, "NM", "1^Weight^LN", "70")
    data = said.message(head, said.pid(), weight, said.obr(said.THORAX, "F", TIME), text("A"))
    assert one_report(data).text == "A"


def test_exam_began_when_it_was_observed() -> None:
    obr = said.segment("OBR", {3: "1", 7: "20240110090000", 22: TIME, 25: "F"})
    data = said.message(said.msh("ORU^R01", "R1", TIME), said.pid(), obr, text("A"))
    assert one_event(data).facts.exam_start == "2024-01-10T08:00:00.000000Z"
