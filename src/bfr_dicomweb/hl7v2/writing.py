"""Messages out, to the systems of requesters and performers: ORM^O01 or OMG^O19, and ORU^R01.

The same arguments give the same bytes, so that a receiver recognises a repetition.
"""

import base64
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final
from urllib.parse import unquote

from bfr_dicomweb.hl7v2 import charsets
from bfr_dicomweb.hl7v2.exchange import Receiver
from bfr_dicomweb.hl7v2.fields import CODING_SYSTEMS, LOCAL_CODES
from bfr_dicomweb.hl7v2.message import STANDARD
from bfr_dicomweb.hl7v2.observations import CUMULATIVE
from bfr_dicomweb.orders.events import (
    Attachment,
    Coding,
    Kind,
    Party,
    PatientFacts,
    Section,
)
from bfr_dicomweb.orders.identifiers import (
    HSA_ID,
    NAMESPACE,
    NATIONAL,
    NATIONAL_RESERVE,
    PERSONNUMMER,
    SAMORDNINGSNUMMER,
    Alias,
    AliasKind,
    Identifier,
)
from bfr_dicomweb.orders.state import Exam, ReportVersion, Status, Step

APPLICATION: Final = "BFR"

# ORC-1, ORC-5 and OBR-25, read as `status_mapping` reads them.
_BY_KIND: Final = {
    Kind.REBOOKED: ("XX", "SC", "S"),
    Kind.CANCEL_REQUESTED: ("CA", "", ""),
    Kind.HELD: ("OH", "HD", ""),
    Kind.RELEASED: ("OE", "", ""),
    Kind.UNKNOWN: ("SC", "", ""),
    Kind.UPDATED: ("XX", "", ""),
}
_BY_STATUS: Final = {
    Status.UNKNOWN: ("SC", "", ""),
    Status.RECEIVED: ("SC", "IP", "O"),
    Status.BOOKED: ("SC", "SC", "S"),
    Status.ARRIVED: ("SC", "SC", "S"),  # which HL7 has no code for
    Status.STARTED: ("SC", "IP", "I"),
    Status.PERFORMED: ("SC", "CM", "N"),
    Status.PRELIMINARY: ("SC", "IP", "P"),
    Status.SIGNED: ("SC", "CM", "F"),
    Status.ADDENDUM: ("SC", "CM", "F"),
    Status.CORRECTED: ("SC", "CM", "C"),
    Status.CANCELLED: ("OC", "CA", "X"),
    Status.MOVED: ("RU", "RP", "X"),
    Status.REFUSED: ("UA", "", ""),
    Status.ERROR: ("SC", "ER", "X"),
}
# FHIR's DiagnosticReport.status as OBR-25 and OBX-11.
_RESULTS: Final = {
    "registered": ("O", "O"),
    "partial": ("R", "R"),
    "preliminary": ("P", "P"),
    "final": ("F", "F"),
    "appended": ("F", "F"),
    "amended": ("C", "C"),
    "corrected": ("C", "C"),
    "cancelled": ("X", "X"),
    "entered-in-error": ("C", "W"),
}
_TAKEN_BACK: Final = ("X", "W")
_REPORT: Final = Coding("18782-3", CODING_SYSTEMS["LN"], "Radiology study observation")
_OIDS: Final = {
    PERSONNUMMER: "1.2.752.129.2.1.3.1",
    SAMORDNINGSNUMMER: "1.2.752.129.2.1.3.3",
    NATIONAL_RESERVE: "1.2.752.74.9.1",
    HSA_ID: "1.2.752.129.2.1.4.1",
}
_GENDERS: Final = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_PRIORITIES: Final = {"stat": "S", "asap": "A", "urgent": "T", "routine": "R"}
_CODING_NAMES: Final = {uri: name for name, uri in reversed(CODING_SYSTEMS.items())}
_STRUCTURES: Final = {
    "ORM^O01": "ORM^O01^ORM_O01",
    "OMG^O19": "OMG^O19^OMG_O19",
    "ORU^R01": "ORU^R01^ORU_R01",
}
# What the character sets of older systems have instead.
_INSTEAD: Final = {
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{BULLET}": "*",
    "\N{EURO SIGN}": "EUR",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
}


def control_id(number: int) -> str:
    """MSH-10 of the entry of the outbox with this number."""
    return f"{APPLICATION}{number}"


def status_message(
    receiver: Receiver,
    number: int,
    *,
    at: str,
    patient: PatientFacts,
    exam: Exam,
    step: Step,
    group: Alias | None = None,
) -> bytes:
    """That an exam came to a status.

    Args:
        number: Of the entry of the outbox.
        at: When that was made, UTC text.
        group: The order that the exam is of.
    """
    codes = codes_of(step)
    time = _time(step.time, receiver.timezone)
    segments = [
        _msh(receiver, receiver.format, number, at),
        _pid(patient),
        _orc(exam, group, codes, time),
        *_tq1(exam, receiver),
        _obr(exam, codes[2], time, place=1),
        *_zds(exam),
    ]
    return _encoded(segments, receiver)


def codes_of(step: Step) -> tuple[str, str, str]:
    """ORC-1, ORC-5 and OBR-25."""
    return _BY_KIND.get(step.kind) or _BY_STATUS[step.status]


def report_message(
    receiver: Receiver,
    number: int,
    *,
    at: str,
    patient: PatientFacts,
    exams: Sequence[Exam],
    version: ReportVersion,
    group: Alias | None = None,
    cumulative: str = "",
    documents: Sequence[tuple[Attachment, bytes]] = (),
) -> bytes:
    """A version of a report.

    Args:
        exams: That it answers, at least one. The text stands under the last.
        cumulative: All versions up to this one, the newest first; sent as a section of its own.
    """
    result, part = _RESULTS[version.status]
    time = _time(version.time, receiver.timezone)
    segments = [_msh(receiver, "ORU^R01", number, at), _pid(patient)]
    for place, exam in enumerate(exams, start=1):
        segments.append(_orc(exam, group, ("RE", "CM" if result in "FC" else "IP", ""), ""))
        segments.append(_obr(exam, result, time, place=place, signer=version.signer))
    sections = [*version.sections]
    if cumulative and cumulative != version.text:
        sections.append(Section(CUMULATIVE, cumulative))
    values = [("TX", section.code, _escaped(section.text)) for section in sections]
    values += (("ED", Coding(display=a.title), _embedded(a, data)) for a, data in documents)
    if not values and part in _TAKEN_BACK:
        # the status of the report stands in an observation
        values.append(("TX", _REPORT, ""))
    for place, (kind, code, value) in enumerate(values, start=1):
        segments.append(_obx(place, kind, code, value, part, time))
    for exam in exams[-1:]:
        segments += _studies(exam, len(values))
    return _encoded(segments, receiver)


def _obx(place: int, kind: str, code: Coding, value: str, status: str, time: str) -> str:
    fields = {1: str(place), 2: kind, 3: _coding(code), 5: value, 11: status, 14: time}
    return _segment("OBX", fields)


def _studies(exam: Exam, written: int) -> list[str]:
    return [
        _segment(
            "OBX",
            {
                1: str(place),
                2: "ST",
                3: "110180^Study Instance UID^DCM",
                4: str(place - written),
                5: _escaped(uid),
                11: "O",
            },
        )
        for place, uid in enumerate(exam.values(AliasKind.STUDY), start=written + 1)
    ]


def _msh(receiver: Receiver, kind: str, number: int, at: str) -> str:
    structure = kind if receiver.version == "2.3" else _STRUCTURES[kind]
    fields = {
        2: APPLICATION,
        3: APPLICATION,
        4: _escaped(receiver.application),
        5: _escaped(receiver.facility),
        6: _time(at, receiver.timezone),
        8: structure,
        9: control_id(number),
        10: "P",
        11: receiver.version,
        17: receiver.charset,
    }
    # the field separator is MSH-1, so that what follows it is MSH-2
    return _segment("MSH", {1: STANDARD.characters, **fields})


def _pid(patient: PatientFacts) -> str:
    told = patient.demographics
    name = f"{_escaped(told.family)}^{_escaped(told.given)}^^^^^L"
    return _segment(
        "PID",
        {
            1: "1",
            3: "~".join(map(_patient_identifier, patient.identifiers)),
            5: name if told.family or told.given else "",
            7: told.birth_date.replace("-", ""),
            8: _GENDERS.get(told.gender, ""),
        },
    )


def _patient_identifier(identifier: Identifier) -> str:
    kind = "NNSWE" if identifier.system in NATIONAL else "PI"
    return f"{_escaped(identifier.value)}^^^{_authority(identifier.system, '&')}^{kind}"


def _orc(exam: Exam, group: Alias | None, codes: tuple[str, str, str], time: str) -> str:
    return _segment(
        "ORC",
        {
            1: codes[0],
            2: _entity(exam, AliasKind.PLACER),
            3: _entity(exam, AliasKind.FILLER),
            4: _named(group.identifier) if group is not None else "",
            5: codes[1],
            9: time,
            12: _person(exam.facts.requester),
            21: _unit(exam.facts.requesting_unit),
        },
    )


def _tq1(exam: Exam, receiver: Receiver) -> list[str]:
    facts = exam.facts
    start, end = (
        _time(time, receiver.timezone) if time else ""
        for time in (facts.scheduled_start, facts.scheduled_end)
    )
    # the segment is of version 2.5
    if receiver.version < "2.5" or not start:
        return []
    return [_segment("TQ1", {1: "1", 7: start, 8: end, 9: _PRIORITIES.get(facts.priority, "")})]


def _obr(exam: Exam, result: str, time: str, *, place: int, signer: Party | None = None) -> str:
    accession = exam.values(AliasKind.ACCESSION)
    return _segment(
        "OBR",
        {
            1: str(place),
            2: _entity(exam, AliasKind.PLACER),
            3: _entity(exam, AliasKind.FILLER),
            4: _coding(exam.facts.procedure) if exam.facts.procedure is not None else "",
            18: _escaped(accession[0]) if accession else "",
            19: _entity(exam, AliasKind.PROCEDURE),
            20: _entity(exam, AliasKind.STEP),
            22: time,
            24: _escaped(exam.facts.modality),
            25: result,
            32: _person(signer, "&"),
        },
    )


def _zds(exam: Exam) -> list[str]:
    return [
        _segment("ZDS", {1: f"{_escaped(uid)}^^Application^DICOM"})
        for uid in exam.values(AliasKind.STUDY)
    ]


def _entity(exam: Exam, kind: AliasKind) -> str:
    found = next((alias for alias in exam.aliases if alias.kind is kind), None)
    return _named(found.identifier) if found is not None else ""


def _named(identifier: Identifier) -> str:
    authority = _authority(identifier.system, "^")
    return f"{_escaped(identifier.value)}^{authority}" if authority else _escaped(identifier.value)


def _authority(system: str, separator: str) -> str:
    """Namespace, universal id and its type."""
    if not system:
        return ""
    if system.startswith(NAMESPACE):
        return _escaped(unquote(system.removeprefix(NAMESPACE)))
    oid = _OIDS.get(system) or system.removeprefix("urn:oid:")
    kind = "ISO" if oid != system else "URI"
    return f"{separator}{_escaped(oid)}{separator}{kind}"


def _person(party: Party | None, separator: str = "^") -> str:
    """XCN, or with subcomponents the first component of an NDL."""
    if party is None or not (party.identifier or party.family or party.given):
        return ""
    value, system = ("", "")
    if party.identifier is not None:
        value, system = _escaped(party.identifier.value), party.identifier.system
    authority = _authority(system, "&")
    parts = [value, _escaped(party.family), _escaped(party.given), *[""] * 5, authority]
    # in an NDL namespace, universal id and its type are places 9 to 11 of the same list
    return separator.join(parts).rstrip(separator)


def _unit(party: Party | None) -> str:
    """XON."""
    if party is None:
        return ""
    name = _escaped(party.name)
    if party.identifier is None:
        return name
    authority = _authority(party.identifier.system, "&")
    return f"{name}^^^^^{authority}^^^^{_escaped(party.identifier.value)}"


def _coding(coding: Coding) -> str:
    system = coding.system
    name = (
        _CODING_NAMES.get(system)
        or unquote(system.removeprefix(LOCAL_CODES)).removeprefix("urn:oid:")
        or ("L" if coding.code else "")
    )
    parts = (_escaped(coding.code), _escaped(coding.display), _escaped(name))
    return "^".join(parts).rstrip("^")


def _embedded(attachment: Attachment, data: bytes) -> str:
    kind, _, subtype = attachment.content_type.partition("/")
    encoded = base64.b64encode(data).decode("ascii")
    return f"^{kind}^{_escaped(subtype)}^Base64^{encoded}"


def _time(time: str, zone: tzinfo) -> str:
    local = datetime.fromisoformat(time).astimezone(zone)
    fraction = f".{local.microsecond // 100:04d}" if local.microsecond else ""
    return f"{local:%Y%m%d%H%M%S}{fraction}{local:%z}"[: 19 + len(fraction)]


def _escaped(text: str) -> str:
    return STANDARD.escaped(text)


def _segment(name: str, fields: Mapping[int, str]) -> str:
    last = max((number for number, value in fields.items() if value), default=0)
    return "|".join([name, *(fields.get(number, "") for number in range(1, last + 1))])


def _encoded(segments: Sequence[str], receiver: Receiver) -> bytes:
    codec = charsets.codec_of(receiver.charset) or "utf-8"
    text = "".join(f"{segment}\r" for segment in segments)
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        return "".join(_fitting(character, codec) for character in text).encode(codec)


def _fitting(character: str, codec: str) -> str:
    """A character that the receiver's set does not have, as one that it has."""
    decomposed = unicodedata.normalize("NFKD", character)
    for attempt in (character, _INSTEAD.get(character, ""), decomposed[:1]):
        try:
            if attempt and attempt.encode(codec):
                return attempt
        except UnicodeEncodeError:
            continue
    return "?"
