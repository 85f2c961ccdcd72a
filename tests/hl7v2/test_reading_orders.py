from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hl7_said as said
from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import exchange
from bfr_dicomweb.hl7v2.message import parse
from bfr_dicomweb.hl7v2.reading import read as read_message
from bfr_dicomweb.orders.events import Coding, Kind
from bfr_dicomweb.orders.identifiers import DICOM_UID, HSA_ID, Alias, AliasKind
from hl7_read import RECEIVED, one_event, read

ISSUER = f"urn:oid:{said.ISSUER_OID}"
THORAX = said.THORAX


def an_order(*segments: str, kind: str = "ORM^O01", time: str = "20240108080000") -> bytes:
    head = said.msh(kind, "X1", time, sender=("NEW", "HOSPITAL"))
    return said.message(head, said.pid(), *segments)


def values(aliases: tuple[Alias, ...], kind: AliasKind) -> list[tuple[str, str]]:
    return [(alias.system, alias.value) for alias in aliases if alias.kind is kind]


def test_story_is_told_by_its_kinds() -> None:
    kinds = [[event.kind for event in read(message()).events] for message in said.STORY]
    assert kinds == [
        [Kind.RECEIVED, Kind.RECEIVED],
        [Kind.BOOKED, Kind.BOOKED],
        [Kind.STARTED],
        [Kind.PERFORMED],
        [Kind.REPORTED],
        [Kind.REPORTED],
        [Kind.CANCELLED],
    ]


def test_each_exam_of_an_order_has_its_own_numbers() -> None:
    first, second = read(said.m1()).events
    assert [values(event.aliases, AliasKind.ACCESSION) for event in (first, second)] == [
        [(ISSUER, "SU24000123")],
        [(ISSUER, "SU24000124")],
    ]


def test_exam_is_known_by_all_its_numbers() -> None:
    first = read(said.m1()).events[0]
    assert set(first.aliases) == {
        Alias(AliasKind.ACCESSION, ISSUER, "SU24000123"),
        Alias(AliasKind.FILLER, "", "SU24000123"),
        Alias(AliasKind.PLACER, "", "REM1001-1"),
        Alias(AliasKind.GROUP, "", "REM1001"),
        Alias(AliasKind.PROCEDURE, "", "RPSU24000123"),
        Alias(AliasKind.STEP, "", "SPSSU24000123"),
        Alias(AliasKind.STUDY, DICOM_UID, "1.2.752.113.99.1.1"),
    }


def test_accession_number_without_issuer_gets_that_of_the_sender() -> None:
    event = one_event(said.m5())
    assert values(event.aliases, AliasKind.ACCESSION) == [(ISSUER, "SU24000123")]


def test_accession_number_without_any_issuer_has_none() -> None:
    event = one_event(said.m5(), "")
    assert values(event.aliases, AliasKind.ACCESSION) == [("", "SU24000123")]


def test_different_accession_numbers_are_noticed_and_the_first_is_taken() -> None:
    ipc = said.segment("IPC", {1: "OTHER"})
    contents = read(an_order(said.orc(THORAX, "NW", "", ""), said.obr(THORAX, "", ""), ipc))
    assert [notice.code for notice in contents.notices] == ["accession-conflict"]
    accession = values(contents.events[0].aliases, AliasKind.ACCESSION)
    assert accession == [("", "SU24000123")]


def test_accession_number_can_be_taken_from_another_field() -> None:
    configuration = '[[senders]]\nname = "s"\nfields = { accession = ["IPC-1", "OBR-18"] }'
    ipc = said.segment("IPC", {1: "OTHER"})
    data = an_order(said.orc(THORAX, "NW", "", ""), said.obr(THORAX, "", ""), ipc)
    assert values(one_event(data, configuration).aliases, AliasKind.ACCESSION) == [("", "OTHER")]


def test_placer_number_of_several_exams_names_the_order() -> None:
    orcs = [said.segment("ORC", {1: "NW", 2: "REM1", 3: filler}) for filler in ("FILL1", "FILL2")]
    events = read(an_order(*orcs)).events
    assert [values(event.aliases, AliasKind.GROUP) for event in events] == [[("", "REM1")]] * 2
    assert [values(event.aliases, AliasKind.PLACER) for event in events] == [[], []]


def test_sender_can_be_known_to_number_whole_orders() -> None:
    data = said.status(
        THORAX,
        codes=("SC", "ZB", ""),
        control_id="C1",
        time="20240108090000",
        sender=("CARRIS", "CARLANDERSKA"),
        group="",
    )
    assert values(one_event(data).aliases, AliasKind.GROUP) == [("", "REM1001-1")]


def test_one_study_of_several_exams_is_of_each() -> None:
    orcs = [said.segment("ORC", {1: "NW", 3: filler}) for filler in ("FILL1", "FILL2")]
    zds = said.segment("ZDS", {1: "1.2.3^^Application^DICOM"})
    events = read(an_order(*orcs, zds)).events
    assert [values(event.aliases, AliasKind.STUDY) for event in events] == [
        [(DICOM_UID, "1.2.3")]
    ] * 2


def test_number_with_its_authority_keeps_it() -> None:
    data = an_order(said.segment("ORC", {1: "NW", 2: "7^EHR", 3: "8^^1.2.752.5.6^ISO"}))
    assert set(one_event(data).aliases) == {
        Alias(AliasKind.FILLER, "urn:oid:1.2.752.5.6", "8"),
        Alias(AliasKind.PLACER, "urn:bfr:assigner:EHR", "7"),
    }


def test_group_number_of_a_pair_is_the_placers() -> None:
    data = an_order(said.segment("ORC", {1: "NW", 3: "8", 4: "G1&EHR^F1&RIS"}))
    assert Alias(AliasKind.GROUP, "urn:bfr:assigner:EHR", "G1") in one_event(data).aliases


def test_order_without_any_number_is_an_error() -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_order(said.segment("ORC", {1: "NW", 4: "GROUP"})))
    error = caught.value
    assert (error.code, error.segment, error.field, error.rejected) == (101, "ORC", 3, False)


def test_fault_in_the_second_order_is_told_of_the_second() -> None:
    orcs = [said.segment("ORC", {1: "NW", 3: number}) for number in ("1", "")]
    with pytest.raises(InvalidMessage) as caught:
        read(an_order(*orcs))
    assert (caught.value.segment, caught.value.sequence) == ("ORC", 2)


def test_message_without_an_order_is_an_error() -> None:
    with pytest.raises(InvalidMessage, match="ORC"):
        read(an_order())


def test_order_of_a_laboratory_is_an_error() -> None:
    obr = said.segment("OBR", {3: "1", 24: "HM"})
    with pytest.raises(InvalidMessage) as caught:
        read(an_order(said.segment("ORC", {1: "NW", 3: "1"}), obr))
    assert (caught.value.segment, caught.value.field) == ("OBR", 24)


def test_earlier_results_sent_with_an_order_are_no_orders() -> None:
    prior = [said.segment("ORC", {1: "PR", 3: "OLD"}), said.segment("OBR", {3: "OLD"})]
    data = an_order(said.segment("ORC", {1: "NW", 3: "NEW"}), *prior, kind="OMG^O19")
    assert values(one_event(data).aliases, AliasKind.FILLER) == [("", "NEW")]


def test_facts_of_an_order() -> None:
    facts = read(said.m1()).events[0].facts
    assert facts.procedure == Coding("83300", "urn:oid:1.2.752.116.1.3.2.1.4", "CT Thorax")
    assert (facts.modality, facts.station_ae_title, facts.priority) == ("CT", "CT1_SU", "routine")
    assert facts.scheduled_start == "2024-01-10T08:00:00.000000Z"


@pytest.mark.parametrize("length", [3, 150, 250, 5000])
def test_a_name_of_any_length_is_read_in_each_message(length: int) -> None:
    """Short fields are remembered from one message to the next, long ones are not."""
    family = "Å" * length
    for name in ("Rut", "Eva"):
        message = said.m1().decode().replace("Remittent^Rut", f"{family}^{name}").encode()

        requester = read(message).events[0].facts.requester

        assert requester is not None
        assert (requester.family, requester.given) == (family, name)


def test_requester_is_a_person_with_an_hsa_id() -> None:
    requester = read(said.m1()).events[0].facts.requester
    assert requester is not None
    assert requester.identifier is not None
    assert (requester.family, requester.given, requester.identifier.system) == (
        "Remittent",
        "Rut",
        HSA_ID,
    )


def test_requesting_unit_is_named() -> None:
    unit = read(said.m1()).events[0].facts.requesting_unit
    assert unit is not None
    assert unit.identifier is not None
    assert (unit.name, unit.identifier.value) == ("VC Hjällbo", "SE2321000131-E000000000011")


@pytest.mark.parametrize(
    ("section", "modality"), [("CT", "CT"), ("NMR", "MR"), ("RAD", ""), ("RUS", "US"), ("?", "")]
)
def test_diagnostic_section_as_modality(section: str, modality: str) -> None:
    data = an_order(said.segment("ORC", {1: "NW", 3: "1"}), said.segment("OBR", {24: section}))
    assert one_event(data).facts.modality == modality


def test_order_has_the_time_at_which_it_was_placed() -> None:
    assert read(said.m1()).events[0].facts.authored == "2024-01-08T07:00:00.000000Z"


def test_status_does_not_move_the_time_of_placing() -> None:
    assert read(said.m2()).events[0].facts.authored == ""


@pytest.mark.parametrize(("message", "is_order"), [(said.m1, True), (said.m2, False)])
def test_only_an_order_message_is_an_order(message: Callable[[], bytes], is_order: bool) -> None:
    assert read(message()).events[0].is_order is is_order


def test_placer_is_no_performer() -> None:
    assert read(said.m1()).events[0].performer == ""


def test_performer_is_that_of_the_sender() -> None:
    assert one_event(said.m3()).performer == "SE2321000131-E000000000101"


def test_performer_of_a_sender_that_nothing_is_known_of_is_its_facility() -> None:
    assert one_event(said.m3(), "").performer == "EVIDIA"


def test_codes_are_kept_as_sent() -> None:
    assert one_event(said.m3()).codes == (("ORC-1", "SC"), ("ORC-5", "IP"), ("OBR-25", "I"))


def test_unmapped_code_is_kept_as_unknown() -> None:
    data = said.status(THORAX, codes=("SC", "ZZ", ""), control_id="U1", time="20240110091500")
    event = one_event(data)
    assert (event.kind, event.codes) == (Kind.UNKNOWN, (("ORC-1", "SC"), ("ORC-5", "ZZ")))


def test_source_is_the_name_of_the_sender() -> None:
    assert one_event(said.m3()).source == "evidia"


@pytest.mark.parametrize(
    ("orc9", "msh7", "expected"),
    [
        ("20240110091500", "20240110100000", "2024-01-10T08:15:00.000000Z"),
        ("20240710091500", "20240110100000", "2024-07-10T07:15:00.000000Z"),
        ("20240110091500+0300", "20240110100000", "2024-01-10T06:15:00.000000Z"),
        ("20240110091500", "20240110100000+0000", "2024-01-10T09:15:00.000000Z"),
        ("20240110091500.1234", "20240110100000", "2024-01-10T08:15:00.123400Z"),
        ("202401100915", "20240110100000", "2024-01-10T08:15:00.000000Z"),
        ("20240110", "20240110100000", "2024-01-09T23:00:00.000000Z"),
        ("", "20240110100000", "2024-01-10T09:00:00.000000Z"),
        ("", "never", RECEIVED),
    ],
)
def test_time_of_a_status(orc9: str, msh7: str, expected: str) -> None:
    orc = said.segment("ORC", {1: "SC", 3: "1", 5: "IP", 9: orc9})
    assert one_event(an_order(orc, time=msh7)).time == expected


@pytest.mark.parametrize("time", ["20241310", "2024011", "yesterday", "20240110251500", "0000"])
def test_impossible_time_of_a_status_is_an_error(time: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_order(said.segment("ORC", {1: "SC", 3: "1", 5: "IP", 9: time})))
    assert (caught.value.code, caught.value.segment, caught.value.field) == (102, "ORC", 9)


def test_impossible_time_of_a_booking_is_left_out() -> None:
    exam = said.Exam("1", "2", "1.2.3", start="tomorrow")
    data = said.order(exam, control_id="O1", time="20240108080000")
    assert one_event(data).facts.scheduled_start == ""


def test_time_to_come_counts_from_when_it_was_received() -> None:
    orc = said.segment("ORC", {1: "SC", 3: "1", 5: "IP", 9: "20300101120000"})
    event = one_event(an_order(orc))
    assert (event.time, event.claimed) == (RECEIVED, "2030-01-01T11:00:00.000000Z")


def test_clock_may_be_five_minutes_fast() -> None:
    orc = said.segment("ORC", {1: "SC", 3: "1", 5: "IP", 9: "20261123050500+0000"})
    assert one_event(an_order(orc)).claimed == ""


@pytest.mark.parametrize(("sender", "may"), [(("SURIS", "SU"), True), (said.RIS, False)])
def test_only_a_trusted_sender_may_take_a_status_back(sender: tuple[str, str], may: bool) -> None:
    data = said.status(
        THORAX, codes=("XX", "SC", ""), control_id="R1", time="20240110091500", sender=sender
    )
    assert one_event(data).may_regress is may


@pytest.mark.parametrize("message", said.STORY)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_do_not_change_the_meaning(message: Callable[[], bytes], end: str) -> None:
    data = message()
    assert read(data.replace(b"\r", end.encode())) == read(data)


@pytest.mark.parametrize("message", said.STORY)
def test_other_delimiters_do_not_change_the_meaning(message: Callable[[], bytes]) -> None:
    data = message()
    body = data.decode().replace("^~\\&", "*~\\$").replace("^", "*").replace("&", "$")
    assert read(body.replace("|", "#").encode()) == read(data)


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.8", "2.8.2"])
def test_version_is_taken(version: str) -> None:
    data = said.order(THORAX, control_id="V1", time="20240108080000", version=version)
    assert one_event(data).kind is Kind.RECEIVED


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.9", "3", ""])
def test_version_is_rejected(version: str) -> None:
    data = said.order(THORAX, control_id="V1", time="20240108080000", version=version)
    with pytest.raises(InvalidMessage) as caught:
        read(data)
    assert (caught.value.code, caught.value.rejected) == (203, True)


@pytest.mark.parametrize(
    ("kind", "code"), [("OML^O21^OML_O21", 200), ("ORM^O02", 201), ("ADT^A29", 201)]
)
def test_messages_of_other_kinds_are_rejected(kind: str, code: int) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(an_order(said.segment("ORC", {1: "NW", 3: "1"}), kind=kind))
    assert (caught.value.code, caught.value.field, caught.value.rejected) == (code, 9, True)


def test_messages_for_training_are_rejected() -> None:
    data = said.m3().replace(b"|P|2.5.1", b"|T|2.5.1")
    with pytest.raises(InvalidMessage) as caught:
        read(data)
    assert (caught.value.code, caught.value.rejected) == (202, True)


def test_system_for_tests_takes_messages_for_training() -> None:
    data = said.m3().replace(b"|P|2.5.1", b"|T|2.5.1")
    assert one_event(data, 'processing = ["P", "T"]').kind is Kind.STARTED


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PID", "ORC", "OBR", "IPC", "OBX", "SCH", "TXA", "MRG", "ZDS", "TQ1"]),
            st.dictionaries(
                st.integers(1, 40),
                st.text("ab1290^&~\\.|+-% åNWSCFX/", max_size=12),
                min_size=1,
                max_size=6,
            ),
        ),
        max_size=8,
    ),
    st.sampled_from(["ORM^O01", "ORU^R01", "SIU^S12", "MDM^T02", "ADT^A40", "ADT^A37", "OMI^O23"]),
)
def test_whatever_is_sent_is_read_or_refused(
    segments: list[tuple[str, dict[int, str]]], kind: str
) -> None:
    lines = [said.segment(name, fields) for name, fields in segments]
    message = parse(said.message(said.msh(kind, "F1", "20240108080000"), said.pid(), *lines))
    sender = exchange.parse("").sender("A", "B")
    with suppress(InvalidMessage):
        read_message(message, sender, received=RECEIVED)
