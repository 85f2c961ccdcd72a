"""The document that follows an order is CDA R2, and tells what was known at its time."""

from typing import Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import cda, fold
from bfr_dicomweb.orders.cda import Subject
from bfr_dicomweb.orders.events import Coding, Demographics, Event, Facts, Kind, Party
from bfr_dicomweb.orders.identifiers import HSA_ID, PERSONNUMMER, Identifier
from orders_said import SIGNER, a_report, an_event, m1, m2, m4, m5, m6, m7

V3: Final = "{urn:hl7-org:v3}"
TOLVAN: Final = Subject(
    (Identifier(PERSONNUMMER, "191212121212"),),
    Demographics(family="Tolvansson", given="Tolvan", birth_date="1912-12-12", gender="male"),
)
STORY: Final = [*m1(), *m2(), *m4(), *m5(), *m6()]
# Of the header, in the order in which the schema of CDA R2 has them (POCD_MT000040).
HEADER: Final = (
    "realmCode",
    "typeId",
    "templateId",
    "id",
    "code",
    "title",
    "effectiveTime",
    "confidentialityCode",
    "languageCode",
    "setId",
    "versionNumber",
    "copyTime",
    "recordTarget",
    "author",
    "dataEnterer",
    "informant",
    "custodian",
    "informationRecipient",
    "legalAuthenticator",
    "authenticator",
    "participant",
    "inFulfillmentOf",
    "documentationOf",
    "relatedDocument",
    "authorization",
    "componentOf",
    "component",
)
REQUIRED: Final = {
    *("typeId", "id", "code", "effectiveTime", "confidentialityCode", "recordTarget", "author"),
    *("custodian", "component"),
}


def written(events: list[Event], number: int = 0, subject: Subject = TOLVAN) -> ET.Element:
    """Version `number`, or the last one."""
    folded = fold.fold(events)
    (order,) = folded.orders
    told = cda.Told(order, dict(enumerate(folded.exams)), folded.reports, subject)
    return ET.fromstring(cda.document(told, order.documents[number - 1]))


def names(element: ET.Element) -> list[str]:
    return [child.tag.removeprefix(V3) for child in element]


def texts(document: ET.Element, title: str) -> list[str]:
    return [
        paragraph.text or ""
        for section in document.iter(f"{V3}section")
        if section.findtext(f"{V3}title") == title
        for paragraph in section.iter(f"{V3}paragraph")
    ]


def test_the_header_has_what_the_schema_wants_in_its_order() -> None:
    found = names(written([*STORY, a_report("Mer", "2024-01-12T08:00", of={"signer": SIGNER})]))

    places = [HEADER.index(name) for name in found]
    assert (places, REQUIRED - set(found)) == (sorted(places), set())


def test_the_newest_version_has_a_line_for_each_status() -> None:
    lines = texts(written(STORY), "Status")

    assert [line.split(":", 2)[1][3:] for line in lines] == [
        "Mottagen",
        "Bokad",
        "Genomförd",
        "Signerad",
        "Signerad, tilläggssvar",
    ]


def test_a_line_names_the_exams_that_it_is_about() -> None:
    first = texts(written(STORY), "Status")[0]

    assert first == "2024-01-08 08:00 Mottagen: SU24000123, SU24000124"


def test_a_cancellation_is_a_line() -> None:
    assert any("Avbruten" in line for line in texts(written([*STORY, *m7()]), "Status"))


def test_the_newest_version_holds_report_and_addendum() -> None:
    text = "\n".join(texts(written(STORY), "Svar"))

    assert (text.startswith("Tilläggssvar"), "Utlåtande" in text) == (True, True)


def test_an_earlier_version_tells_nothing_of_what_came_later() -> None:
    fourth = written(STORY, 4)

    assert (len(texts(fourth, "Status")), "Tillägg" in "".join(fourth.itertext())) == (4, False)


def test_a_version_replaces_the_one_before() -> None:
    third, fourth = written(STORY, 3), written(STORY, 4)

    related = fourth.find(f"{V3}relatedDocument")
    own = third.find(f"{V3}id")
    assert related is not None
    assert own is not None
    before = related.find(f"{V3}parentDocument/{V3}id")
    assert before is not None
    assert (related.get("typeCode"), before.attrib) == ("RPLC", own.attrib)


def test_the_first_version_replaces_nothing() -> None:
    assert written(STORY, 1).find(f"{V3}relatedDocument") is None


def test_all_versions_are_of_one_set() -> None:
    sets = {str(written(STORY, n).find(f"{V3}setId").attrib) for n in range(1, 6)}  # type: ignore[union-attr]

    assert len(sets) == 1


def test_versions_are_numbered() -> None:
    found = [written(STORY, number).find(f"{V3}versionNumber") for number in (1, 5)]

    assert [None if one is None else one.get("value") for one in found] == ["1", "5"]


def test_the_same_number_of_two_patients_is_of_two_sets() -> None:
    (order,) = fold.fold(STORY).orders
    other = Subject((Identifier(PERSONNUMMER, "196109732393"),))

    assert cda.set_id(order, TOLVAN) != cda.set_id(order, other)


def test_the_same_events_in_another_order_make_the_same_document() -> None:
    assert ET.tostring(written(STORY[::-1])) == ET.tostring(written(STORY))


def test_the_patient_is_told_by_number_name_sex_and_birth() -> None:
    target = written(STORY).find(f"{V3}recordTarget/{V3}patientRole")

    assert target is not None
    found = [str({**element.attrib, "": (element.text or "").strip()}) for element in target.iter()]
    wanted = ("1.2.752.129.2.1.3.1", "191212121212", "Tolvansson", "'M'", "19121212")
    assert [text for text in wanted if not any(text in one for one in found)] == []


def test_who_ordered_and_why_is_told() -> None:
    facts = Facts(
        requester=Party(Identifier(HSA_ID, "SE1-P1"), family="Remittent", given="Rut"),
        requesting_unit=Party(Identifier(HSA_ID, "SE1-E1"), name="VC Hjällbo"),
        reason="Pneumoni?",
        procedure=Coding("83300", "KVÅ", "CT Thorax"),
    )

    lines = texts(written([an_event(facts=facts)]), "Remiss")

    wanted = {
        "Remittent: Rut Remittent",
        "Enhet: VC Hjällbo",
        "Frågeställning: Pneumoni?",
        "Undersökning: CT Thorax (SU24000123)",
    }
    assert wanted - set(lines) == set()


def test_who_signed_last_is_the_legal_authenticator() -> None:
    document = written([a_report(of={"signer": SIGNER})])

    signer = document.find(f"{V3}legalAuthenticator")
    assert signer is not None
    assert "".join(signer.itertext()) == "LenaLäkare"


@pytest.mark.parametrize("kind", list(Kind))
def test_there_is_a_document_whatever_happened(kind: Kind) -> None:
    told = (
        a_report("x", "2024-01-09T08:00")
        if kind is Kind.REPORTED
        else an_event(kind, "2024-01-09T08:00")
    )

    assert written([an_event(), told]).tag == f"{V3}ClinicalDocument"


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_document_that_can_be_read(report: str, name: str, reason: str) -> None:
    facts = Facts(reason=reason, procedure=Coding(name, name, name), requester=Party(name=name))
    subject = Subject((Identifier(name, name),), Demographics(family=name, given=name))

    document = written([an_event(facts=facts), a_report(report or "x")], subject=subject)

    assert document.tag == f"{V3}ClinicalDocument"


def test_text_cannot_become_markup() -> None:
    document = written([an_event(), a_report("</paragraph><script>x</script>")])

    assert [element.tag for element in document.iter() if "script" in element.tag] == []
