import pytest

from bfr_dicomweb.hl7v2 import exchange
from bfr_dicomweb.hl7v2.status_mapping import Codes, Role, Rule, StatusMapping
from bfr_dicomweb.orders.events import Kind, ReportStatus

STANDARD = StatusMapping()


def kind_of(
    orc1: str,
    orc5: str = "",
    obr25: str = "",
    *,
    role: Role = Role.FILLER,
    trigger: str = "ORM^O01",
) -> Kind:
    return STANDARD.kind(Codes(trigger, role, orc1, orc5, obr25))


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("OK", "", ""), Kind.RECEIVED),
        (("OK", "IP", "O"), Kind.RECEIVED),
        (("NA", "IP", ""), Kind.RECEIVED),
        (("SN", "IP", ""), Kind.RECEIVED),
        (("SC", "IP", "O"), Kind.RECEIVED),
        (("NW", "SC", ""), Kind.BOOKED),
        (("SC", "SC", ""), Kind.BOOKED),
        (("SC", "SC", "S"), Kind.BOOKED),
        (("SC", "SC", "O"), Kind.BOOKED),
        (("SC", "", "S"), Kind.BOOKED),
        (("XO", "SC", ""), Kind.REBOOKED),
        (("XX", "SC", "S"), Kind.REBOOKED),
        (("SC", "IP", "I"), Kind.STARTED),
        (("SC", "IP", ""), Kind.STARTED),
        (("SC", "", "I"), Kind.STARTED),
        (("SC", "CM", "N"), Kind.PERFORMED),
        (("SC", "CM", ""), Kind.PERFORMED),
        (("SC", "A", "A"), Kind.PERFORMED),
        (("SC", "CM", "F"), Kind.PERFORMED),
        (("SC", "IP", "P"), Kind.PERFORMED),
        (("OC", "", ""), Kind.CANCELLED),
        (("CR", "CA", "X"), Kind.CANCELLED),
        (("OD", "DC", ""), Kind.CANCELLED),
        (("DR", "", ""), Kind.CANCELLED),
        (("SC", "CA", ""), Kind.CANCELLED),
        (("SC", "DC", ""), Kind.CANCELLED),
        (("SC", "", "X"), Kind.CANCELLED),
        (("CA", "", ""), Kind.CANCELLED),
        (("DC", "", ""), Kind.CANCELLED),
        (("HD", "", ""), Kind.HELD),
        (("OH", "", ""), Kind.HELD),
        (("SC", "HD", ""), Kind.HELD),
        (("RL", "", ""), Kind.RELEASED),
        (("OE", "", ""), Kind.RELEASED),
        (("UA", "", ""), Kind.REFUSED),
        (("UC", "", ""), Kind.REFUSED),
        (("UX", "", ""), Kind.REFUSED),
        (("RU", "", ""), Kind.MOVED),
        (("RP", "", ""), Kind.MOVED),
        (("SC", "RP", ""), Kind.MOVED),
        (("SC", "ER", ""), Kind.WITHDRAWN),
        (("XX", "", ""), Kind.UPDATED),
        (("SC", "ZZ", ""), Kind.UNKNOWN),
        (("SC", "ZZ", "S"), Kind.UNKNOWN),
        (("SC", "SC", "Z"), Kind.UNKNOWN),
        (("ZZ", "", ""), Kind.UNKNOWN),
        (("SC", "", ""), Kind.UNKNOWN),
    ],
)
def test_codes_of_a_performer(codes: tuple[str, str, str], kind: Kind) -> None:
    assert kind_of(*codes) is kind


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("NW", "", ""), Kind.RECEIVED),
        (("NW", "SC", ""), Kind.RECEIVED),
        (("RO", "", ""), Kind.RECEIVED),
        (("CA", "", ""), Kind.CANCEL_REQUESTED),
        (("DC", "", ""), Kind.CANCEL_REQUESTED),
        (("CA", "CA", "X"), Kind.CANCEL_REQUESTED),
        (("SC", "CA", ""), Kind.CANCEL_REQUESTED),
        (("HD", "", ""), Kind.HELD),
    ],
)
def test_codes_of_a_placer(codes: tuple[str, str, str], kind: Kind) -> None:
    assert kind_of(*codes, role=Role.PLACER) is kind


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("NW", "", ""), Kind.RECEIVED),
        (("NW", "SC", ""), Kind.BOOKED),
        (("CA", "CA", ""), Kind.CANCEL_REQUESTED),
        (("OC", "CA", ""), Kind.CANCELLED),
        (("SC", "CA", ""), Kind.CANCELLED),
    ],
)
def test_codes_of_a_sender_that_nothing_is_known_of(
    codes: tuple[str, str, str], kind: Kind
) -> None:
    assert kind_of(*codes, role=Role.BOTH) is kind


@pytest.mark.parametrize(
    ("event", "sch25", "kind"),
    [
        ("S12", "", Kind.BOOKED),
        ("S13", "Booked", Kind.REBOOKED),
        ("S14", "", Kind.UPDATED),
        ("S14", "Started", Kind.STARTED),
        ("S14", "Noshow", Kind.CANCELLED),
        ("S14", "Whatever", Kind.UNKNOWN),
        ("S15", "", Kind.CANCELLED),
        ("S26", "Noshow", Kind.CANCELLED),
    ],
)
def test_appointments(event: str, sch25: str, kind: Kind) -> None:
    assert STANDARD.kind(Codes(f"SIU^{event}", Role.FILLER, sch25=sch25)) is kind


def test_own_rule_is_before_the_standard_ones() -> None:
    mapping = StatusMapping([Rule(Kind.ARRIVED, orc5=("SC",))])
    assert mapping.kind(Codes("ORM^O01", Role.FILLER, "SC", "SC", "S")) is Kind.ARRIVED


def test_first_of_two_own_rules_decides() -> None:
    mapping = StatusMapping([Rule(Kind.ARRIVED, orc5=("Z",)), Rule(Kind.STARTED, orc5=("Z",))])
    assert mapping.kind(Codes("ORM^O01", Role.FILLER, "SC", "Z")) is Kind.ARRIVED


@pytest.mark.parametrize("trigger", ["SIU^S14", "SIU", "S14"])
def test_trigger_of_a_rule_can_be_type_or_event(trigger: str) -> None:
    mapping = StatusMapping([Rule(Kind.ARRIVED, trigger=(trigger,))])
    assert mapping.kind(Codes("SIU^S14", Role.FILLER)) is Kind.ARRIVED


def test_rule_for_an_absent_code_does_not_fit_a_present_one() -> None:
    mapping = StatusMapping([Rule(Kind.ARRIVED, orc5=("IP",), obr25=("",))])
    assert mapping.kind(Codes("ORM^O01", Role.FILLER, "SC", "IP", "I")) is Kind.STARTED


def test_rule_can_say_what_a_report_is() -> None:
    sender = exchange.parse(exchange.EXAMPLE).sender("UNIRIS", "UNILABS")
    rule = sender.mapping.rule(Codes("ORU^R01", Role.FILLER, "RE", "CM", "D"))
    assert rule is not None
    assert rule.report is ReportStatus.FINAL


# What each performer of the example writes for the same life of an exam.
DIALECTS = {
    ("RISEVIDIA", "EVIDIA"): (
        ("SC", "IP", "O"),
        ("SC", "SC", "S"),
        ("SC", "CM", "N"),
        ("OC", "CA", "X"),
    ),
    ("UNIRIS2", "UNILABS"): (
        ("OK", "IP", ""),
        ("SC", "SC", ""),
        ("SC", "CM", ""),
        ("SC", "CA", ""),
    ),
    ("SURIS", "SU"): (("NW", "", ""), ("XX", "SC", ""), ("SC", "CM", "A"), ("OD", "DC", "X")),
    ("CARRIS", "CARLANDERSKA"): (
        ("SC", "ZM", ""),
        ("SC", "ZB", ""),
        ("SC", "ZG", ""),
        ("SC", "ZA", ""),
    ),
    ("FTVRIS", "FTV"): (("NA", "", ""), ("SC", "SC", "O"), ("SC", "CM", "N"), ("CR", "", "")),
}


@pytest.mark.parametrize("performer", DIALECTS)
def test_every_performer_is_understood_in_its_own_dialect(performer: tuple[str, str]) -> None:
    sender = exchange.parse(exchange.EXAMPLE).sender(*performer)
    kinds = [
        sender.mapping.kind(Codes("ORM^O01", sender.role, *codes)) for codes in DIALECTS[performer]
    ]
    assert [kinds[0], kinds[2], kinds[3]] == [Kind.RECEIVED, Kind.PERFORMED, Kind.CANCELLED]
    assert kinds[1] in (Kind.BOOKED, Kind.REBOOKED)


def test_code_of_one_performer_is_unknown_for_another() -> None:
    sender = exchange.parse(exchange.EXAMPLE).sender("RISEVIDIA", "EVIDIA")
    assert sender.mapping.kind(Codes("ORM^O01", sender.role, "SC", "ZB")) is Kind.UNKNOWN


def test_many_codes_do_not_fill_the_memory() -> None:
    mapping = StatusMapping()
    for number in range(20_000):
        mapping.kind(Codes("ORM^O01", Role.FILLER, "SC", str(number)))
    assert len(mapping._found) <= 10_000
