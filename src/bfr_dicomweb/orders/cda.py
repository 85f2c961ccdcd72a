"""The document that follows an order, as CDA R2: one version for each step of the order's life.

A version tells of everything up to its time: the order, the dated statuses of its exams, and each
report cumulative, newest first. It replaces the version before it.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from xml.etree import ElementTree as ET

from bfr_dicomweb.orders import composing
from bfr_dicomweb.orders.events import Coding, Demographics, Party
from bfr_dicomweb.orders.identifiers import (
    NATIONAL_RESERVE,
    PERSONNUMMER,
    SAMORDNINGSNUMMER,
    AliasKind,
    Identifier,
)
from bfr_dicomweb.orders.state import DocumentVersion, Exam, Milestone, Order, Report, ReportVersion

MEDIA_TYPE: Final = "application/hl7-v3+xml"

_LOINC: Final = "2.16.840.1.113883.6.1"
_GENDER: Final = "2.16.840.1.113883.5.1"
_GENDERS: Final = {"male": "M", "female": "F", "other": "UN"}
_ROOTS: Final = {
    PERSONNUMMER: "1.2.752.129.2.1.3.1",
    SAMORDNINGSNUMMER: "1.2.752.129.2.1.3.3",
    NATIONAL_RESERVE: "1.2.752.74.9.1",
}
# Names of our own (RFC 9562 version 5): equal orders have equal documents on every node.
_NAMES: Final = uuid.UUID("5c0f2f5e-2a41-5d0b-9a2e-6b1f6f0d7c11")
# What XML 1.0 cannot hold, not even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)


_NOTHING_KNOWN: Final = Demographics()


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a document is about."""

    identifiers: tuple[Identifier, ...]
    demographics: Demographics = _NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class Told:
    """What a document tells of; `exams` by the places that order and reports use."""

    order: Order
    exams: Mapping[int, Exam]
    reports: Sequence[Report]
    subject: Subject

    @property
    def own(self) -> list[Exam]:
        return [self.exams[place] for place in self.order.exams]


def set_id(order: Order, subject: Subject) -> str:
    """A UUID for all versions of an order's document.

    A number without an authority says what order it is only together with the patient.
    """
    return str(_named(_called(order, subject)))


def document_id(order: Order, subject: Subject, number: int) -> str:
    return _version(_called(order, subject), number)


def _called(order: Order, subject: Subject) -> str:
    key = order.key
    whose = "" if key.system else f"|{_first(subject.identifiers)}"
    return f"{key.kind}|{key.system}|{key.value}{whose}"


@lru_cache(maxsize=1024)
def _named(name: str) -> uuid.UUID:
    return uuid.uuid5(_NAMES, name)


@lru_cache(maxsize=4096)
def _version(name: str, number: int) -> str:
    return str(uuid.uuid5(_named(name), str(number)))


def _first(identifiers: Sequence[Identifier]) -> str:
    return f"{identifiers[0].system}|{identifiers[0].value}" if identifiers else ""


def document(told: Told, version: DocumentVersion) -> bytes:
    """One version, in UTF-8."""
    root = ET.Element("ClinicalDocument", {"xmlns": "urn:hl7-org:v3"})
    _identity(root, told, version)
    _record_target(root, told.subject)
    _author(root, told, version)
    _custodian(root)
    reports = _until(told.reports, version.time)
    _signer(root, reports)
    _requester(root, told.order)
    _fulfilled(root, told)
    for exam in told.own:
        _service_event(root, exam)
    if version.number > 1:
        related = _add(root, "relatedDocument", typeCode="RPLC")
        parent = _add(related, "parentDocument")
        _add(parent, "id", root=document_id(told.order, told.subject, version.number - 1))
        key = told.order.key.value
        _add(parent, "setId", root=set_id(told.order, told.subject), extension=key)
        _add(parent, "versionNumber", value=str(version.number - 1))
    _body(root, told, version, reports)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _identity(root: ET.Element, told: Told, version: DocumentVersion) -> None:
    order, subject = told.order, told.subject
    _add(root, "realmCode", code="SE")
    _add(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040")
    _add(root, "id", root=document_id(order, subject, version.number))
    _add(
        root,
        "code",
        code="18748-4",
        codeSystem=_LOINC,
        codeSystemName="LOINC",
        displayName="Diagnostic imaging study",
    )
    _add(root, "title", f"Remiss och svar {order.key.value}")
    _add(root, "effectiveTime", value=_ts(version.time))
    _add(root, "confidentialityCode", code="N", codeSystem="2.16.840.1.113883.5.25")
    _add(root, "languageCode", code="sv-SE")
    _add(root, "setId", root=set_id(order, subject), extension=order.key.value)
    _add(root, "versionNumber", value=str(version.number))


def _record_target(root: ET.Element, subject: Subject) -> None:
    role = _add(_add(root, "recordTarget"), "patientRole")
    _ids(role, subject.identifiers)
    patient = _add(role, "patient")
    known = subject.demographics
    if known.family or known.given:
        _name(patient, known.family, known.given)
    if known.gender in _GENDERS:
        _add(patient, "administrativeGenderCode", code=_GENDERS[known.gender], codeSystem=_GENDER)
    if known.birth_date:
        _add(patient, "birthTime", value=known.birth_date.replace("-", ""))


def _author(root: ET.Element, told: Told, version: DocumentVersion) -> None:
    """This archive wrote it, from what the performer said."""
    author = _add(root, "author")
    _add(author, "time", value=_ts(version.time))
    assigned = _add(author, "assignedAuthor")
    _add(assigned, "id", nullFlavor="NA")
    device = _add(assigned, "assignedAuthoringDevice")
    _add(device, "softwareName", "bfr_dicomweb")
    units = [exam.facts.performing_unit for exam in told.own]
    if unit := next((unit for unit in units if unit is not None), None):
        organization = _add(assigned, "representedOrganization")
        _ids(organization, _identifiers(unit))
        _add(organization, "name", unit.name)


def _custodian(root: ET.Element) -> None:
    assigned = _add(_add(root, "custodian"), "assignedCustodian")
    organization = _add(assigned, "representedCustodianOrganization")
    _add(organization, "id", nullFlavor="NI")
    _add(organization, "name", "Bild- och funktionsregistret")


def _signer(root: ET.Element, reports: Sequence[Report]) -> None:
    """Who signed last."""
    signed = [
        (version.time, version.signer)
        for report in reports
        for version in report.versions
        if version.signer is not None and version.status in ("final", "appended", "corrected")
    ]
    if not signed:
        return
    time, signer = max(signed, key=lambda item: item[0])
    element = _add(root, "legalAuthenticator")
    _add(element, "time", value=_ts(time))
    _add(element, "signatureCode", code="S")
    entity = _add(element, "assignedEntity")
    _ids(entity, _identifiers(signer))
    _name(_add(entity, "assignedPerson"), signer.family or signer.name, signer.given)


def _requester(root: ET.Element, order: Order) -> None:
    who, unit = order.facts.requester, order.facts.requesting_unit
    if who is None and unit is None:
        return
    participant = _add(root, "participant", typeCode="REF")
    entity = _add(participant, "associatedEntity", classCode="PROV")
    if who is not None:
        _ids(entity, _identifiers(who))
        _name(_add(entity, "associatedPerson"), who.family or who.name, who.given)
    if unit is not None:
        organization = _add(entity, "scopingOrganization")
        _ids(organization, _identifiers(unit))
        _add(organization, "name", unit.name)


def _fulfilled(root: ET.Element, told: Told) -> None:
    order = _add(_add(root, "inFulfillmentOf"), "order")
    named = [told.order.key.identifier]
    for exam in told.own:
        named += [
            alias.identifier
            for alias in exam.aliases
            if alias.kind in (AliasKind.PLACER, AliasKind.ACCESSION)
        ]
    _ids(order, tuple(dict.fromkeys(named)))


def _service_event(root: ET.Element, exam: Exam) -> None:
    event = _add(_add(root, "documentationOf"), "serviceEvent", classCode="ACT")
    for uid in exam.values(AliasKind.STUDY):
        if _OID.fullmatch(uid):
            _add(event, "id", root=uid)
    if exam.facts.procedure is not None:
        _code(event, exam.facts.procedure)
    if exam.performed:
        _add(event, "effectiveTime", value=_ts(exam.performed))


def _body(
    root: ET.Element, told: Told, version: DocumentVersion, reports: Sequence[Report]
) -> None:
    body = _add(_add(root, "component"), "structuredBody")
    _section(body, ("55115-0", "Requested imaging studies information"), "Remiss", _order(told))
    lines = status_lines(told, version)
    _section(body, ("33999-4", "Status"), "Status", lines)
    for report in reports:
        text = composing.report_text(report)
        if text:
            code = ("18782-3", "Radiology Study observation")
            _section(body, code, "Svar", text.split("\n"))


def _order(told: Told) -> list[str]:
    order, facts = told.order, told.order.facts
    lines = [f"Remissnummer: {order.key.value}"]
    if order.authored:
        lines.append(f"Beställd: {composing.local_time(order.authored)}")
    for label, party in (("Remittent", facts.requester), ("Enhet", facts.requesting_unit)):
        if party is not None:
            lines.append(f"{label}: {composing.signer_name(party)}")
    lines += [f"Undersökning: {_exam_name(exam)}" for exam in told.own]
    for label, text in (
        ("Frågeställning", facts.reason),
        ("Anamnes", facts.clinical_information),
    ):
        if text:
            lines += f"{label}: {text}".split("\n")
    return lines


def _exam_name(exam: Exam) -> str:
    procedure = exam.facts.procedure
    name = (procedure.display or procedure.code) if procedure else ""
    accession = ", ".join(exam.values(AliasKind.ACCESSION))
    return f"{name} ({accession})" if name and accession else name or accession


def status_lines(told: Told, version: DocumentVersion) -> list[str]:
    """A line for each status at each time, naming the exams when there are several."""
    together: dict[tuple[str, str], list[Milestone]] = {}
    for milestone in told.order.milestones[: version.steps]:
        together.setdefault((milestone.time, milestone.status), []).append(milestone)
    several = len(told.order.exams) > 1
    lines = []
    for milestones in together.values():
        line = composing.status_line(milestones[0].time, milestones[0].status)
        names = ", ".join(_exam_name(told.exams[item.exam]) for item in milestones)
        lines.append(f"{line}: {names}" if several and names else line)
    return lines


def _until(reports: Iterable[Report], time: str) -> list[Report]:
    """The reports as they stood then."""
    then = []
    for report in reports:
        versions = tuple(version for version in report.versions if version.time <= time)
        if versions:
            then.append(_with_versions(report, versions))
    return then


def _with_versions(report: Report, versions: tuple[ReportVersion, ...]) -> Report:
    return replace(report, versions=versions, status=versions[-1].status)


def _section(body: ET.Element, code: tuple[str, str], title: str, lines: Sequence[str]) -> None:
    section = _add(_add(body, "component"), "section")
    value, display = code
    _add(section, "code", code=value, codeSystem=_LOINC, displayName=display)
    _add(section, "title", title)
    text = _add(section, "text")
    for line in filter(None, lines):
        _add(text, "paragraph", line)


def _add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    clean = {key: _NOT_XML.sub("", value) for key, value in attributes.items()}
    element = ET.SubElement(parent, name, clean)
    if text:
        element.text = _NOT_XML.sub("", text)
    return element


def _ids(parent: ET.Element, identifiers: Sequence[Identifier]) -> None:
    for identifier in identifiers:
        root, authority = _root(identifier.system)
        element = _add(parent, "id", root=root, extension=identifier.value)
        if authority:
            element.set("assigningAuthorityName", _NOT_XML.sub("", authority))
    if not identifiers:
        _add(parent, "id", nullFlavor="NI")


def _root(system: str) -> tuple[str, str]:
    """An object identifier or UUID for a system, and the system where it is not told by it."""
    oid = _ROOTS.get(system) or system.removeprefix("urn:oid:")
    if _OID.fullmatch(oid):
        return oid, ""
    return str(_named(system)), system


def _code(parent: ET.Element, code: Coding) -> None:
    root, name = _root(code.system)
    told = {"code": code.code, "codeSystem": root, "codeSystemName": name}
    _add(parent, "code", **{key: value for key, value in told.items() if value})
    if code.display:
        parent[-1].set("displayName", _NOT_XML.sub("", code.display))


def _name(parent: ET.Element, family: str, given: str) -> None:
    name = _add(parent, "name")
    if given:
        _add(name, "given", given)
    if family:
        _add(name, "family", family)


def _identifiers(party: Party) -> tuple[Identifier, ...]:
    return (party.identifier,) if party.identifier is not None else ()


def _ts(utc: str) -> str:
    """A point in time (HL7 v3 data type TS) in UTC, to the second."""
    return re.sub(r"\D", "", utc[:19]) + "+0000"
