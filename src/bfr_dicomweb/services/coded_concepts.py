"""Codes of DICOM (PS3.3 section 8.8) as the archive's own, and back."""

from typing import Any, Final
from urllib.parse import quote, unquote

from bfr_dicomweb.dicom.attributes import Attributes, first_text
from bfr_dicomweb.orders.events import Coding

# Systems by Coding Scheme Designator (0008,0102).
SYSTEMS: Final = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "SRT": "http://snomed.info/srt",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "RADLEX": "http://radlex.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "KVA": "urn:oid:1.2.752.116.1.3.2.1.4",
}
_DESIGNATORS: Final = {system: designator for designator, system in SYSTEMS.items()}
_SCHEME: Final = "urn:bfr:coding-scheme:"
_PREFIXES: Final = (_SCHEME, "urn:bfr:coding:", "urn:oid:")
_LOCAL: Final = "L"
# PS3.5 Table 6.2-1, and what is longer is a Long Code Value (0008,0119).
_SH_CHARACTERS: Final = 16
_LO_CHARACTERS: Final = 64


def system_of(designator: str) -> str:
    if not designator:
        return ""
    return SYSTEMS.get(designator) or _SCHEME + quote(designator, safe="")


def coding_of(item: Attributes) -> Coding:
    """The code that an item of a code sequence has."""
    code = first_text(item, "00080100") or first_text(item, "00080119")
    scheme = first_text(item, "00080102").strip()
    return Coding(code.strip(), system_of(scheme), first_text(item, "00080104").strip())


def item_of(coding: Coding) -> dict[str, Any] | None:
    """The item of a code sequence; None when there is no code."""
    if not coding.code:
        return None
    is_long = len(coding.code) > _SH_CHARACTERS
    value = ("00080119", "UC") if is_long else ("00080100", "SH")
    meaning = (coding.display or coding.code)[:_LO_CHARACTERS]
    return {
        value[0]: {"vr": value[1], "Value": [coding.code]},
        "00080102": {"vr": "SH", "Value": [_designator(coding.system)]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }


def _designator(system: str) -> str:
    known = _DESIGNATORS.get(system)
    if known is None:
        for prefix in _PREFIXES:
            system = system.removeprefix(prefix)
        known = unquote(system) or _LOCAL
    return known[:_SH_CHARACTERS]
