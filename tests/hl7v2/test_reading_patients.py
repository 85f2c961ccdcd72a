import pytest

import hl7_said as said
from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.orders.events import Demographics, PatientFacts, PatientLink
from bfr_dicomweb.orders.identifiers import PERSONNUMMER, SAMORDNINGSNUMMER, Identifier
from hl7_read import RECEIVED, read

TOLVAN = Identifier(PERSONNUMMER, "191212121212")
RESERVE_OID = "1.2.752.113.11.0.2.1.1.1"
TIME = "20240108080000"


def an_adt(trigger: str, *segments: str, evn: str = "") -> bytes:
    head = said.msh(f"ADT^{trigger}", "A1", TIME, sender=("PAS", "VGR"))
    return said.message(head, said.segment("EVN", {1: trigger, 2: evn}), *segments)


def patient(*segments: str, configuration: str = "") -> PatientFacts:
    found = read(an_adt("A08", *segments), configuration).patient
    assert found is not None
    return found


def pid(identifiers: str, more: dict[int, str] | None = None) -> str:
    return said.segment("PID", {3: identifiers, **(more or {})})


@pytest.mark.parametrize(
    "written",
    [
        "191212121212^^^&1.2.752.129.2.1.3.1&ISO^NNSWE",
        "19121212-1212^^^&1.2.752.129.2.1.3.1&ISO^NNSWE",
        "19121212-1212^^^1.2.752.129.2.1.3.1^PI",
        "19121212-1212",
        "191212121212",
    ],
)
def test_personal_identity_number_is_one_however_it_is_written(written: str) -> None:
    assert patient(pid(written)).identifiers == (TOLVAN,)


@pytest.mark.parametrize(
    ("written", "identifier"),
    [
        ("196109732393^^^&1.2.752.129.2.1.3.3&ISO", Identifier(SAMORDNINGSNUMMER, "196109732393")),
        (f"RES1^^^{RESERVE_OID}^PI", Identifier(f"urn:oid:{RESERVE_OID}", "RES1")),
        ("7^^^PAS", Identifier("urn:bfr:assigner:PAS", "7")),
        ("7^^^PAS&1.2.752.1.9&ISO", Identifier("urn:oid:1.2.752.1.9", "7")),
        ("7", Identifier("", "7")),
    ],
)
def test_identifier_of_a_patient(written: str, identifier: Identifier) -> None:
    assert patient(pid(written)).identifiers == (identifier,)


def test_national_number_comes_first() -> None:
    found = patient(pid("7^^^PAS~19121212-1212"))
    assert found.identifiers == (TOLVAN, Identifier("urn:bfr:assigner:PAS", "7"))


def test_identifier_without_authority_gets_that_of_the_sender() -> None:
    configuration = '[[senders]]\nname = "s"\nissuers = { patient = "1.2.752.1.9" }'
    found = patient(pid("7"), configuration=configuration)
    assert found.identifiers == (Identifier("urn:oid:1.2.752.1.9", "7"),)


def test_number_of_a_visit_names_no_patient() -> None:
    assert patient(pid("7^^^PAS~99^^^PAS^VN")).identifiers == (
        Identifier("urn:bfr:assigner:PAS", "7"),
    )


def test_older_versions_have_the_identifier_in_other_fields() -> None:
    found = patient(said.segment("PID", {2: "7^^^PAS", 4: "8^^^OLD"}))
    assert [identifier.value for identifier in found.identifiers] == ["7", "8"]


def test_message_without_a_patient_is_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_adt("A08"))
    assert (caught.value.code, caught.value.segment) == (100, "PID")


def test_patient_without_an_identifier_is_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_adt("A08", said.segment("PID", {5: "A^B"})))
    assert (caught.value.code, caught.value.segment, caught.value.field) == (101, "PID", 3)


def test_demographics() -> None:
    more = {5: "Sjöström^Åsa^Märta", 7: "19121212", 8: "F", 11: "Nygatan 1^^Borås^^50330^SE"}
    assert patient(pid("7", more)).demographics == Demographics(
        family="Sjöström",
        given="Åsa Märta",
        birth_date="1912-12-12",
        gender="female",
        address="Nygatan 1, 50330 Borås, SE",
    )


def test_legal_name_is_taken_of_several() -> None:
    found = patient(pid("7", {5: "Nick^Name^^^^^N~Legal^Lee^^^^^L"}))
    assert (found.demographics.family, found.demographics.given) == ("Legal", "Lee")


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("19121212", "1912-12-12"),
        ("191212", "1912-12"),
        ("1912", "1912"),
        ("19121200", "1912-12"),
        ("198808181126+0215", "1988-08-18"),
        ("19121332", ""),
        ("unknown", ""),
        ('""', ""),
    ],
)
def test_birth_date_is_as_exact_as_it_was_sent(written: str, date: str) -> None:
    assert patient(pid("7", {7: written})).demographics.birth_date == date


@pytest.mark.parametrize(
    ("code", "gender"),
    [("M", "male"), ("K", "female"), ("O", "other"), ("U", "unknown"), ("?", "")],
)
def test_gender(code: str, gender: str) -> None:
    assert patient(pid("7", {8: code})).demographics.gender == gender


@pytest.mark.parametrize(
    ("fields", "deceased"),
    [({30: "Y"}, "true"), ({29: TIME, 30: "Y"}, "2024-01-08T07:00:00.000000Z"), ({30: "N"}, "")],
)
def test_death(fields: dict[int, str], deceased: str) -> None:
    assert patient(pid("7", fields)).demographics.deceased == deceased


def test_protected_person_is_marked() -> None:
    found = patient(pid("7"), said.segment("PD1", {12: "Y"}))
    assert found.demographics.security == "sekretessmarkering"


def test_time_is_that_of_the_entry() -> None:
    found = read(an_adt("A08", pid("7"), evn="20240107100000")).patient
    assert found is not None
    assert found.time == "2024-01-07T09:00:00.000000Z"


def test_time_to_come_is_that_of_receiving() -> None:
    found = read(an_adt("A08", pid("7"), evn="20990101")).patient
    assert found is not None
    assert found.time == RECEIVED


@pytest.mark.parametrize("trigger", ["A40", "A47"])
def test_merge_links_the_old_number_to_the_new(trigger: str) -> None:
    mrg = said.segment("MRG", {1: f"RES1^^^{RESERVE_OID}"})
    (link,) = read(an_adt(trigger, said.pid(), mrg)).links
    other = Identifier(f"urn:oid:{RESERVE_OID}", "RES1")
    assert link == PatientLink(TOLVAN, other, "2024-01-08T07:00:00.000000Z")


def test_each_merge_of_a_message_is_told() -> None:
    pairs = [pid("1"), said.segment("MRG", {1: "2"}), pid("3"), said.segment("MRG", {1: "4"})]
    links = read(an_adt("A40", *pairs)).links
    assert [(link.survivor.value, link.other.value) for link in links] == [("1", "2"), ("3", "4")]


def test_number_that_stays_is_not_merged_with_itself() -> None:
    mrg = said.segment("MRG", {1: "7^^^PAS~8^^^PAS"})
    links = read(an_adt("A40", pid("7^^^PAS"), mrg)).links
    assert [link.other.value for link in links] == ["8"]


def test_older_versions_have_the_merged_number_in_another_field() -> None:
    links = read(an_adt("A40", pid("7"), said.segment("MRG", {4: "8"}))).links
    assert [link.other.value for link in links] == ["8"]


@pytest.mark.parametrize(
    ("segments", "code", "name"),
    [([said.pid()], 100, "MRG"), ([said.pid(), "MRG|"], 101, "MRG"), ([], 100, "PID")],
)
def test_merge_that_lacks_one_of_the_two_is_an_error(
    segments: list[str], code: int, name: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_adt("A40", *segments))
    assert (caught.value.code, caught.value.segment) == (code, name)


def test_unlinking_names_both() -> None:
    (link,) = read(an_adt("A37", said.pid(), pid("8"))).links
    assert (link.survivor, link.other.value, link.merged) == (TOLVAN, "8", False)


def test_unlinking_of_one_patient_is_an_error() -> None:
    with pytest.raises(InvalidMessage, match="two PID"):
        read(an_adt("A37", said.pid()))


@pytest.mark.parametrize("trigger", ["A01", "A04", "A08", "A10", "A28", "A31"])
def test_admission_and_arrival_tell_of_no_exam(trigger: str) -> None:
    assert read(an_adt(trigger, said.pid())).events == ()


@pytest.mark.parametrize("trigger", ["A23", "A29", "A24", "A43"])
def test_what_is_not_done_is_not_accepted(trigger: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_adt(trigger, said.pid()))
    assert (caught.value.code, caught.value.rejected) == (201, True)
