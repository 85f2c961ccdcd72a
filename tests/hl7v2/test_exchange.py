from zoneinfo import ZoneInfo

import pytest

from bfr_dicomweb.errors import InvalidMessage, InvalidRequest
from bfr_dicomweb.hl7v2 import exchange
from bfr_dicomweb.hl7v2.status_mapping import Role
from bfr_dicomweb.orders.delays import Delay
from bfr_dicomweb.orders.identifiers import HSA_ID, Identifier

CARLANDERSKA = "SE2321000131-E000000000104"


def one_sender(more: str = "") -> exchange.Sender:
    (sender,) = exchange.parse(f'[[senders]]\nname = "s"\n{more}').senders
    return sender


def test_example_can_be_used() -> None:
    assert len(exchange.parse(exchange.EXAMPLE).senders) == 9


def test_empty_text_accepts_everyone() -> None:
    assert exchange.parse("").sender("X", "Y").role is Role.BOTH


def test_sender_that_nothing_is_known_of_is_named_by_application_and_facility() -> None:
    assert exchange.parse("").sender("X", "Y").name == "X|Y"


def test_unknown_sender_can_be_refused() -> None:
    with pytest.raises(InvalidMessage, match="not known here") as caught:
        exchange.parse('unknown = "refuse"').sender("X", "Y")
    assert caught.value.rejected


@pytest.mark.parametrize(
    ("application", "facility", "name"),
    [
        ("EHR", "VGR", "ehr"),
        ("UNIRIS7", "UNILABS", "unilabs"),
        ("SURIS", "SU-MOLNDAL", "su"),
        ("EHR", "ELSEWHERE", "EHR|ELSEWHERE"),
        ("ehr", "VGR", "ehr|VGR"),
    ],
)
def test_sender_is_found_by_patterns(application: str, facility: str, name: str) -> None:
    assert exchange.parse(exchange.EXAMPLE).sender(application, facility).name == name


def test_first_sender_that_fits_is_taken() -> None:
    text = '[[senders]]\nname = "a"\napplication = "R*"\n[[senders]]\nname = "b"\n'
    assert exchange.parse(text).sender("RIS", "").name == "a"


@pytest.mark.parametrize(
    ("names", "found"),
    [(["ris.example.org"], "s"), (["other.example.org"], "X|Y"), ([], "X|Y")],
)
def test_sender_with_a_certificate_is_found_by_it(names: list[str], found: str) -> None:
    text = '[[senders]]\nname = "s"\ncertificates = ["ris.example.org"]'
    assert exchange.parse(text).sender("X", "Y", names).name == found


def test_performer_is_known_by_its_identifier() -> None:
    sender = exchange.parse(exchange.EXAMPLE).sender("CARRIS", "CARLANDERSKA")
    assert sender.performer_key == CARLANDERSKA


def test_hsa_id_of_a_performer_is_recognised() -> None:
    sender = exchange.parse(exchange.EXAMPLE).sender("CARRIS", "CARLANDERSKA")
    assert sender.performer is not None
    assert sender.performer.identifier == Identifier(HSA_ID, CARLANDERSKA)


@pytest.mark.parametrize(
    ("performer", "delay"),
    [
        (CARLANDERSKA, Delay("signed", 48 * 3600)),
        ("SE2321000131-E000000000101", Delay("signed")),
        ("SE2321000131-E000000000102", Delay("signed-untouched", 3600)),
        ("SE2321000131-E000000000105", Delay("schedule", 0, "20:00")),
        ("SE2321000131-E000000000107", Delay("signed", 24 * 3600)),
        ("nobody", Delay("none")),
    ],
)
def test_delay_is_that_of_the_performer(performer: str, delay: Delay) -> None:
    assert exchange.parse(exchange.EXAMPLE).delay_of(performer) == delay


def test_silence_is_told_of_senders_that_have_one() -> None:
    silences = exchange.parse(exchange.EXAMPLE).silences
    assert (silences["evidia"], "ehr" in silences) == (24, False)


def test_issuer_can_be_an_object_identifier() -> None:
    assert one_sender('issuers = { accession = "1.2.752.1.9" }').issuers.accession == (
        "urn:oid:1.2.752.1.9"
    )


def test_issuer_can_be_a_name() -> None:
    assert one_sender('issuers = { filler = "RIS 1" }').issuers.filler == (
        "urn:bfr:assigner:RIS%201"
    )


def test_time_zone_is_swedish_by_default() -> None:
    assert one_sender().timezone == ZoneInfo("Europe/Stockholm")


def test_same_text_is_read_once() -> None:
    assert exchange.parse('unknown = "accept"') is exchange.parse('unknown = "accept"')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unknown = ", "no TOML"),
        ('unknown = "perhaps"', "unknown: has to be one of"),
        ("colour = 1", "colour: there is no such key"),
        ('senders = "a"', r"senders: has to be written as \[\[senders\]\]"),
        ("[[senders]]", r"senders\[1\].name: is missing"),
        ('[[senders]]\nname = "a"\n[[senders]]\nname = "a"', "senders: each needs a name"),
        ('[[senders]]\nname = "a"\nrole = "boss"', r"senders\[a\].role: has to be one of"),
        ('[[senders]]\nname = "a"\ntimezone = "Mars"', r"senders\[a\].timezone: is no time zone"),
        ('[[senders]]\nname = "a"\ntimezone = "../x"', r"senders\[a\].timezone"),
        ('[[senders]]\nname = "a"\ncharset = "runes"', r"senders\[a\].charset"),
        ('[[senders]]\nname = "a"\nallow_regress = 1', r"senders\[a\].allow_regress"),
        ('[[senders]]\nname = "a"\nsilence_hours = true', r"senders\[a\].silence_hours"),
        ('[[senders]]\nname = "a"\nsilence_hours = -1', r"senders\[a\].silence_hours"),
        ('[[senders]]\nname = "a"\nfields = { shoe = "OBR-1" }', r"fields.shoe: is none of"),
        ('[[senders]]\nname = "a"\nfields = { accession = "OBR" }', r"fields.accession: a field"),
        ('[[senders]]\nname = "a"\nissuers = { dog = "x" }', r"issuers.dog: there is no such key"),
        ('[[senders]]\nname = "a"\nperformer = {}', r"performer.identifier|performer: needs"),
        (
            '[[senders]]\nname = "a"\nrole = "placer"\nperformer = { name = "x" }',
            "a placer performs nothing",
        ),
        ('[[senders]]\nname = "a"\ndelay = { criterion = "never" }', r"delay.criterion"),
        ('[[senders]]\nname = "a"\ndelay = { criterion = "schedule" }', r"delay.at"),
        (
            '[[senders]]\nname = "a"\ndelay = { criterion = "schedule", at = "25:00" }',
            r"delay.at: has to be HH:MM",
        ),
        ('[[senders]]\nname = "a"\n[[senders.statuses]]\nkind = "x"', r"statuses\[1\].kind"),
        (
            '[[senders]]\nname = "a"\n[[senders.statuses]]\nkind = "booked"\norc7 = "x"',
            r"statuses\[1\].orc7: there is no such key",
        ),
        ('[[receivers]]\nname = "r"', r"receivers\[r\].host: is missing"),
        ('[[receivers]]\nname = "r"\nkind = "http"', r"receivers\[r\].url"),
        ('[[receivers]]\nname = "r"\nhost = "h"\nport = 70000', r"receivers\[r\].port"),
        ('[[receivers]]\nname = "r"\nhost = "h"\nsend = ["x"]', r"receivers\[r\].send"),
        ('[[receivers]]\nname = "r"\nhost = "h"\nformat = "ADT"', r"receivers\[r\].format"),
        ('[[receivers]]\nname = "r"\nhost = "h"\ntls = { key = "k" }', r"receivers\[r\].tls.key"),
    ],
)
def test_unusable_text_is_refused_with_its_table_and_key(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        exchange.parse(text)


def receiver(more: str = "") -> exchange.Receiver:
    text = f'[[receivers]]\nname = "r"\nhost = "h"\n{more}'
    (found,) = exchange.parse(text).receivers
    return found


def test_receiver_takes_all_by_default() -> None:
    assert receiver().takes("status", sources=["evidia"], requester="A", performer="B")


def test_receiver_gets_only_what_it_asked_for() -> None:
    assert not receiver('send = ["report"]').takes("status")


def test_receiver_gets_only_orders_of_its_units() -> None:
    ours = receiver('for = { requesters = ["A"] }')
    assert (ours.takes("report", requester="A"), ours.takes("report", requester="B")) == (
        True,
        False,
    )


def test_what_a_system_said_itself_is_not_sent_back_to_it() -> None:
    assert not receiver('sender = "ehr"').takes("status", sources=["ehr"])


def test_what_others_said_too_is_sent() -> None:
    assert receiver('sender = "ehr"').takes("status", sources=["ehr", "evidia"])
