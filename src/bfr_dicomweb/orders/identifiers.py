"""Identifiers with the authority that gave them, in the words of FHIR: a system and a value."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from bfr_dicomweb import identity_numbers

PERSONNUMMER: Final = "http://electronichealth.se/identifier/personnummer"
SAMORDNINGSNUMMER: Final = "http://electronichealth.se/identifier/samordningsnummer"
NATIONAL_RESERVE: Final = "http://electronichealth.se/identifier/nationelltReservnummer"
VGR_RESERVE: Final = "urn:oid:1.2.752.113.11.0.2.1.1.1"
STOCKHOLM_RESERVE: Final = "urn:oid:1.2.752.97.3.1.3"
# Two object identifiers are in use for HSA-id; both are read, this one is written.
HSA_ID: Final = "urn:oid:1.2.752.29.4.19"
DICOM_UID: Final = "urn:dicom:uid"

# Systems of identifiers that name one person in the whole country.
NATIONAL: Final = frozenset({PERSONNUMMER, SAMORDNINGSNUMMER, NATIONAL_RESERVE})

_NUMBERS: Final = NATIONAL | {VGR_RESERVE, STOCKHOLM_RESERVE}
_OIDS: Final = {
    "1.2.752.129.2.1.3.1": PERSONNUMMER,
    "1.2.752.129.2.1.3.3": SAMORDNINGSNUMMER,
    "1.2.752.74.9.1": NATIONAL_RESERVE,
    "1.2.752.129.2.1.4.1": HSA_ID,
    "1.2.752.29.4.19": HSA_ID,
}
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
_HSA: Final = re.compile(r"SE\d{10}-[A-Za-z0-9]{1,18}", re.ASCII)
# How an assigner that has a name but no object identifier is written as a URI.
NAMESPACE: Final = "urn:bfr:assigner:"


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """`system` is a URI, or "" when nobody said who gave the value."""

    system: str
    value: str


class AliasKind(StrEnum):
    """By what an exam is known."""

    ACCESSION = "accession"
    FILLER = "filler"
    PLACER = "placer"
    PROCEDURE = "procedure"  # requested procedure id
    STEP = "step"  # scheduled procedure step id
    STUDY = "study"  # Study Instance UID
    REPORT = "report"  # the filler's number of a report or document
    GROUP = "group"  # placer group number: of the order, not of the exam


@dataclass(frozen=True, slots=True, order=True)
class Alias:
    kind: AliasKind
    system: str
    value: str

    @property
    def identifier(self) -> Identifier:
        return Identifier(self.system, self.value)


@lru_cache(maxsize=4096)
def system_of(namespace: str = "", universal_id: str = "") -> str:
    """The system of an assigning authority (HL7 v2 data type HD, or a DICOM issuer)."""
    oid = universal_id.removeprefix("urn:oid:")
    if not oid and _OID.fullmatch(namespace) and namespace.count(".") > 2:
        oid = namespace
    if oid:
        return _OIDS.get(oid, f"urn:oid:{oid}" if _OID.fullmatch(oid) else oid)
    return NAMESPACE + quote(namespace, safe="") if namespace else ""


# the messages of one exam repeat the same numbers
@lru_cache(maxsize=4096)
def of_patient(value: str, system: str = "") -> Identifier:
    """A patient's identifier, an identity number in its one form of twelve characters."""
    text = value.strip()
    canonical = identity_numbers.canonical(text)
    if canonical is None:
        return Identifier(system, text)
    if not system or system in _NUMBERS:
        return Identifier(_system_of_number(canonical), canonical)
    return Identifier(system, text)


def _system_of_number(number: str) -> str:
    if not number.isdigit():
        return VGR_RESERVE if number[:2] in ("18", "19", "20") else NATIONAL_RESERVE
    if number.startswith("99"):
        return STOCKHOLM_RESERVE
    return SAMORDNINGSNUMMER if int(number[6:8]) > 60 else PERSONNUMMER


@lru_cache(maxsize=4096)
def of_unit(value: str, system: str = "") -> Identifier:
    """An organisation's or a person's identifier; an HSA-id is known by its form."""
    text = value.strip()
    if not system and _HSA.fullmatch(text):
        return Identifier(HSA_ID, text)
    return Identifier(system, text)


def authority_of(system: str) -> tuple[str, str]:
    """Namespace and universal id (an OID, else a URI) of a system, "" for what it has not."""
    if system.startswith(NAMESPACE):
        return unquote(system.removeprefix(NAMESPACE)), ""
    return "", _OID_OF.get(system) or system.removeprefix("urn:oid:")


_OID_OF: Final = {system: oid for oid, system in reversed(_OIDS.items())}
