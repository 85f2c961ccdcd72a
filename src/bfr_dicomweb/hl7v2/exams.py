"""The exams of a message: which segments belong to one, what it is known by, what is told of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import fields
from bfr_dicomweb.hl7v2.exchange import Fields, Sender
from bfr_dicomweb.hl7v2.field_names import FieldName
from bfr_dicomweb.hl7v2.message import Message, Segment
from bfr_dicomweb.hl7v2.occasion import Occasion
from bfr_dicomweb.hl7v2.status_mapping import Codes
from bfr_dicomweb.orders.events import Coding, Facts, Notice, Party
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind, Identifier

# Diagnostic service section, table 0074: sections of a laboratory, which has no images. Not SR,
# which is serology there and a report in DICOM.
LABORATORY: Final = frozenset(
    {"LAB", "CH", "HM", "MB", "MCB", "MYC", "BG", "BLB", "IMM", "TX", "VR", "CG", "GE"}
)
# Sections that are no modality of DICOM, or have another name there.
_MODALITIES: Final = {
    "RAD": "",
    "RX": "",
    "OTH": "",
    "NMR": "MR",
    "NMS": "NM",
    "RUS": "US",
    "VUS": "US",
    "OUS": "US",
    "CUS": "US",
    "EC": "ECG",
}
# Priority, table 0485 (TQ1-9) and the sixth component of a TQ (ORC-7, OBR-27).
_PRIORITIES: Final = {
    "S": "stat",
    "A": "asap",
    "R": "routine",
    "P": "urgent",
    "T": "urgent",
    "U": "urgent",
    "STAT": "stat",
    "ASAP": "asap",
    "ROUTINE": "routine",
}
# What is kept of an accession number by DICOM (VR SH) and hardly ever is the name of a file.
_LONGEST_ACCESSION: Final = 16
_FILE_NAME: Final = frozenset("./\\:")


@dataclass(frozen=True, slots=True)
class Group:
    """The segments of one exam.

    Attributes:
        has_own_orc: Its ORC is not that of an exam before it, whose numbers it would have.
    """

    segments: Mapping[str, Sequence[Segment]]
    has_own_orc: bool = True

    def first(self, name: str) -> Segment | None:
        found = self.segments.get(name)
        return found[0] if found else None

    def all(self, name: str) -> Sequence[Segment]:
        return self.segments.get(name, ())

    def text(self, name: str, n: int, component: int = 1) -> str:
        found = self.segments.get(name)
        return fields.text(found[0], n, component) if found else ""


def groups(message: Message) -> list[Group]:
    """One for each ORC, and for each OBR that has none of its own; without earlier results (PR)."""
    opened: list[tuple[dict[str, list[Segment]], bool]] = []
    orc: Segment | None = None
    for segment in message:
        if segment.name == "ORC":
            orc = segment
            opened.append(({}, True))
        elif segment.name == "OBR" and (not opened or "OBR" in opened[-1][0]):
            opened.append(({"ORC": [orc]} if orc is not None else {}, False))
        if opened:
            opened[-1][0].setdefault(segment.name, []).append(segment)
    _share_study(message, [segments for segments, _ in opened])
    every = (Group(segments, own) for segments, own in opened)
    return [group for group in every if group.text("ORC", 1) != "PR"]


def _share_study(message: Message, opened: list[dict[str, list[Segment]]]) -> None:
    """The one ZDS at the end is of all (IHE RAD-4)."""
    named = message.segments("ZDS")
    if len(named) == 1:
        for segments in opened:
            segments.setdefault("ZDS", list(named))


def codes(group: Group, occasion: Occasion) -> Codes:
    return Codes(
        occasion.type,
        occasion.sender.role,
        group.text("ORC", 1).upper(),
        group.text("ORC", 5).upper(),
        group.text("OBR", 25).upper(),
        group.text("SCH", 25) or group.text("SCH", 25, 2),
    )


def as_sent(codes: Codes) -> tuple[tuple[str, str], ...]:
    """As in `Event.codes`."""
    named = (
        ("ORC-1", codes.orc1),
        ("ORC-5", codes.orc5),
        ("OBR-25", codes.obr25),
        ("SCH-25", codes.sch25),
    )
    return tuple((name, code) for name, code in named if code)


def refuse_laboratory(group: Group) -> None:
    """
    Raises:
        InvalidMessage: OBR-24 says that it was examined in a laboratory.
    """
    section = group.text("OBR", 24).upper()
    if section in LABORATORY:
        obr = group.all("OBR")[0]
        raise InvalidMessage(
            f"OBR-24 {section} is a section of a laboratory, and this is an archive of images",
            code=103,
            segment="OBR",
            sequence=obr.sequence,
            field=24,
        )


def order_numbers(every: Sequence[Group], sender: Sender) -> frozenset[str]:
    """Placer numbers that name a whole order here, because exams with others numbers share them."""
    if len(every) < 2:
        return frozenset()
    exams: dict[str, set[str]] = {}
    for group in every:
        placer = _first(group, sender.fields["placer"])
        other = _first(group, sender.fields["accession"]) or _first(group, sender.fields["filler"])
        if placer is not None and other is not None:
            exams.setdefault(placer.value, set()).add(other.value)
    return frozenset(number for number, others in exams.items() if len(others) > 1)


def aliases(
    group: Group, sender: Sender, of_orders: frozenset[str] = frozenset()
) -> tuple[tuple[Alias, ...], tuple[Notice, ...]]:
    """All that the exam is known by in this group, and what is odd in that.

    Raises:
        InvalidMessage: nothing names the exam.
    """
    written = (of_orders, group.has_own_orc, *_written(group, sender.naming_fields))
    return sender.said_before.once(written, lambda: _aliases(group, sender, of_orders))


def _written(group: Group, names: Fields) -> list[object]:
    """All that can be read from these fields, as it was sent."""
    written: list[object] = []
    for name, numbers in names.by_segment:
        segments = group.segments.get(name)
        if segments:
            # one message has one encoding
            written.append(segments[0].encoding_of(numbers[-1]))
            written += [segment.raws(numbers) for segment in segments]
        written.append(name)
    if names.codes and (observed := group.all("OBX")):
        found = ((fields.text(obx, 3), obx) for obx in observed)
        written += [(code, fields.text(obx, 5)) for code, obx in found if code in names.codes]
    return written


def _aliases(
    group: Group, sender: Sender, of_orders: frozenset[str]
) -> tuple[tuple[Alias, ...], tuple[Notice, ...]]:
    issuers = sender.issuers
    accessions, notices = _accessions(group, sender)
    found = [Alias(AliasKind.ACCESSION, i.system or issuers.accession, i.value) for i in accessions]
    filler = _first(group, sender.fields["filler"])
    if filler is not None:
        found.append(Alias(AliasKind.FILLER, filler.system or issuers.filler, filler.value))
    found += _orders(group, sender, of_orders)
    for kind, item in ((AliasKind.PROCEDURE, "procedure_id"), (AliasKind.STEP, "step_id")):
        found += (
            Alias(kind, i.system or issuers.procedure, i.value)
            for i in _of_first_field(group, sender.fields[item])
        )
    found += (Alias(AliasKind.STUDY, DICOM_UID, uid) for uid in _studies(group, sender))
    if all(alias.kind is AliasKind.GROUP for alias in found):
        _refuse_nameless(group)
    return tuple(dict.fromkeys(found)), notices


def _orders(group: Group, sender: Sender, of_orders: frozenset[str]) -> Iterator[Alias]:
    issuer = sender.issuers.placer
    placer = _first(group, sender.fields["placer"])
    parent = _first(group, sender.fields["group"])
    if placer is not None:
        if sender.placer_number == "order" or placer.value in of_orders:
            parent = parent or placer
        else:
            yield Alias(AliasKind.PLACER, placer.system or issuer, placer.value)
    if parent is not None:
        yield Alias(AliasKind.GROUP, parent.system or issuer, parent.value)


def _refuse_nameless(group: Group) -> None:
    for name, field, said in (
        ("TXA", 14, "TXA-14 and TXA-15"),
        ("SCH", 26, "SCH-26 and SCH-27"),
        ("ORC", 3, "ORC-2, ORC-3, OBR-18 and IPC-1"),
        ("OBR", 3, "OBR-2, OBR-3 and OBR-18"),
    ):
        segment = group.first(name)
        if segment is not None:
            raise InvalidMessage(
                f"no number names the exam: {said} are empty",
                code=101,
                segment=name,
                sequence=segment.sequence,
                field=field,
            )
    raise InvalidMessage("no segment names an exam", code=100, segment="OBR")


def _values(group: Group, name: FieldName) -> Iterator[Identifier]:
    if name.code:
        yield from _observed(group, name.code)
        return
    if name.segment == "ORC" and not group.has_own_orc and name.number in (2, 3):
        return
    for segment in group.segments.get(name.segment, ()):
        # most fields are absent, and that is told at once
        if segment.raw(name.number) and (found := fields.entity(segment, name.number)) is not None:
            yield found


def _observed(group: Group, code: str) -> Iterator[Identifier]:
    for obx in group.all("OBX"):
        if fields.text(obx, 3) == code and (value := fields.text(obx, 5)):
            yield Identifier("", value)


def _first(group: Group, names: Iterable[FieldName]) -> Identifier | None:
    for name in names:
        for found in _values(group, name):
            return found
    return None


def _of_first_field(group: Group, names: Iterable[FieldName]) -> list[Identifier]:
    for name in names:
        if found := list(_values(group, name)):
            return found
    return []


def _studies(group: Group, sender: Sender) -> list[str]:
    for name in sender.fields["study_uid"]:
        if found := [uid for i in _values(group, name) if (uid := fields.uid(i.value))]:
            return found
    return []


def _accessions(group: Group, sender: Sender) -> tuple[list[Identifier], tuple[Notice, ...]]:
    """Of the first field that has one; its authority from any that has the same number."""
    by_field = []
    for name in sender.fields["accession"]:
        found = [i for i in _values(group, name) if name.segment != "TXA" or _is_accession(i.value)]
        if found:
            by_field.append((f"{name.segment}-{name.number}", found))
    if not by_field:
        return [], ()
    first_name, first = by_field[0]
    systems = {i.value: i.system for _, found in reversed(by_field) for i in found if i.system}
    chosen = [Identifier(systems.get(i.value, i.system), i.value) for i in first]
    values = {i.value for i in chosen}
    others = [
        name
        for name, found in by_field[1:]
        # the name of a document is compared with nothing
        if name != "TXA-16" and values.isdisjoint(i.value for i in found)
    ]
    if not others:
        return chosen, ()
    detail = f"{first_name} and {', '.join(others)} have different accession numbers"
    return chosen, (Notice("accession-conflict", f"{detail}; {first_name} is taken"),)


def _is_accession(text: str) -> bool:
    return len(text) <= _LONGEST_ACCESSION and _FILE_NAME.isdisjoint(text)


def facts(
    group: Group,
    occasion: Occasion,
    *,
    performing_unit: Party | None,
    authored: str = "",
    exam_start: str = "",
) -> Facts:
    told = (
        "facts",
        occasion.zone,
        *_written(group, occasion.sender.fact_fields),
        *[one and one.fields for one in (group.first("IPC"), occasion.message.first("PV1"))],
    )
    lasting = occasion.sender.said_before.once(told, lambda: _lasting(group, occasion))
    return Facts(
        authored=authored, performing_unit=performing_unit, exam_start=exam_start, **lasting
    )


def _lasting(group: Group, occasion: Occasion) -> dict[str, Any]:
    """The facts that each message repeats, by their names in `Facts`."""
    names = occasion.sender.fields
    orc, obr, ipc = group.first("ORC"), group.first("OBR"), group.first("IPC")
    visit = occasion.message.first("PV1")
    return {
        "procedure": _procedure(group),
        "modality": _modality(_text(group, names["modality"])),
        "station_name": _text(group, names["station_name"]),
        "station_ae_title": _text(group, names["station_ae_title"]),
        "scheduled_start": _time(group, names["start"], occasion),
        "scheduled_end": _time(group, names["end"], occasion),
        "priority": _priority(group),
        "reason": fields.meaning(obr, 31) if obr is not None else "",
        "clinical_information": fields.meaning(obr, 13) if obr is not None else "",
        "requester": _requester(orc, obr),
        "requesting_unit": _requesting_unit(orc),
        "status_reason": fields.meaning(orc, 16) if orc is not None else "",
        "location": group.text("IPC", 8),
        "protocol": fields.coding(ipc, 6) if ipc is not None else None,
        "performing_physician": fields.interpreter(obr, 34) if obr is not None else None,
        "referrer": fields.person(visit, 8) if visit is not None else None,
        "admission": fields.entity(visit, 19) if visit is not None else None,
        "ward": fields.text(visit, 3) if visit is not None else "",
    }


def _text(group: Group, names: Iterable[FieldName]) -> str:
    for name in names:
        if found := group.text(name.segment, name.number, name.component):
            return found
    return ""


def _time(group: Group, names: Iterable[FieldName], occasion: Occasion) -> str:
    found = _text(group, names)
    return fields.time_or_none(found, occasion.zone) if found else ""


def _procedure(group: Group) -> Coding | None:
    for name, n in (("OBR", 4), ("OBR", 44), ("AIS", 3), ("IPC", 6)):
        segment = group.first(name)
        if segment is not None and (found := fields.coding(segment, n)) is not None:
            return found
    return None


def _modality(code: str) -> str:
    found = _MODALITIES.get(code, code)
    return found if found.isalnum() and found.isupper() and len(found) <= 8 else ""


def _priority(group: Group) -> str:
    for name, n, component in (("TQ1", 9, 1), ("ORC", 7, 6), ("OBR", 27, 6), ("OBR", 5, 1)):
        code = group.text(name, n, component).upper()
        if code:
            return _PRIORITIES.get(code, "")
    return ""


def _requester(orc: Segment | None, obr: Segment | None) -> Party | None:
    found = fields.person(orc, 12) if orc is not None else None
    return found or (fields.person(obr, 16) if obr is not None else None)


def _requesting_unit(orc: Segment | None) -> Party | None:
    if orc is None:
        return None
    return fields.unit(orc, 21) or fields.unit_of_code(orc, 17)
