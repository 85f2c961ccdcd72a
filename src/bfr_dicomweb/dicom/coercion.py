"""What a data set is made to say where it says nothing, by what is known of its sender.

The received bytes stay as they are. Metadata and catalogue get the additions, and with them
Original Attributes Sequence (0400,0561), which says what was there before (PS3.3 section
C.12.1.1.9).
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from bfr_dicomweb.dicom.attributes import has_value, vr_of
from bfr_dicomweb.dicom.part10 import CREATOR, INFORMATION, INLINE_BYTES, Header

RECEIVED: Final = "2.25.271828459048231503610592749182733415021"

CHARACTER_SET: Final = "00080005"
PATIENT_ID: Final = "00100020"
ISSUER: Final = "00100021"
ISSUER_QUALIFIERS: Final = "00100024"
UNIVERSAL_ENTITY_ID: Final = "00400032"
UNIVERSAL_ENTITY_ID_TYPE: Final = "00400033"
ORIGINAL_ATTRIBUTES: Final = "04000561"
# What says which object it is stays as it came.
_IDENTITY: Final = frozenset({"00080016", "00080018", "0020000D", "0020000E", ORIGINAL_ATTRIBUTES})


@dataclass(frozen=True, slots=True)
class Presumed:
    """
    Attributes:
        sender: Whose objects they are, "" when it is not known.
        character_set: Specific Character Set of text for which none is declared.
        issuer: Issuer of Patient ID: a universal entity id (OID) or a local name.
        attributes: DICOM JSON elements by tag, for those that are missing or empty.
        by: Modifying System (0400,0563): who adds them.
    """

    sender: str = ""
    character_set: str = ""
    issuer: str = ""
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by: str = ""


NOTHING_PRESUMED: Final = Presumed()


def written(presumed: Presumed) -> dict[str, str | bytes]:
    """Elements of File Meta Information that tell what was presumed of the object behind it.

    They say by Private Information Creator UID that this archive has written that information;
    what was presumed is left out where nothing was, and where it is too long to be read easily.
    """
    made: dict[str, str | bytes] = {CREATOR: RECEIVED}
    if presumed.character_set or presumed.issuer or presumed.attributes:
        information = orjson.dumps(asdict(presumed), option=orjson.OPT_SORT_KEYS)
        if len(information) < INLINE_BYTES:
            made[INFORMATION] = information
    return made


def is_received(file_meta: Mapping[str, Any]) -> bool:
    """Whether this archive has written the File Meta Information of what it received."""
    return bool((file_meta.get(CREATOR, {}).get("Value") or [None])[0] == RECEIVED)


def recorded(file_meta: Mapping[str, Any]) -> Presumed:
    """What `written` wrote."""
    inline = file_meta.get(INFORMATION, {}).get("InlineBinary")
    if inline is None or not is_received(file_meta):
        return NOTHING_PRESUMED
    return Presumed(**orjson.loads(b64decode(inline).rstrip(b"\0")))


def completed(header: Header, presumed: Presumed) -> Header:
    """The header with what is presumed where it is silent."""
    added = _additions(header, presumed)
    if not added:
        return header
    before = {tag: _before(header.attributes.get(tag), added[tag]) for tag in sorted(added)}
    together = {**header.attributes, **added}
    earlier = header.attributes.get(ORIGINAL_ATTRIBUTES, {}).get("Value") or []
    together[ORIGINAL_ATTRIBUTES] = {
        "vr": "SQ",
        "Value": [*earlier, original_attributes(before, by=presumed.by, sender=presumed.sender)],
    }
    return replace(header, attributes={tag: together[tag] for tag in sorted(together)})


def _additions(header: Header, presumed: Presumed) -> dict[str, Mapping[str, Any]]:
    said = header.attributes
    wanted = {tag: element for tag, element in presumed.attributes.items() if tag not in _IDENTITY}
    if presumed.issuer and has_value(said.get(PATIENT_ID)):
        wanted |= _issuer(said, presumed.issuer)
    found = {tag: element for tag, element in wanted.items() if not has_value(said.get(tag))}
    if header.presumed_character_set:
        # the metadata is in UTF-8, and says so, already
        found[CHARACTER_SET] = said[CHARACTER_SET]
    return found


def _issuer(said: Mapping[str, Any], issuer: str) -> dict[str, Mapping[str, Any]]:
    """The issuer, unless the data set names one in either way."""
    if has_value(said.get(ISSUER)) or has_value(said.get(ISSUER_QUALIFIERS)):
        return {}
    if issuer.strip("0123456789."):
        return {ISSUER: _element(ISSUER, issuer)}
    universal = {
        UNIVERSAL_ENTITY_ID: _element(UNIVERSAL_ENTITY_ID, issuer),
        UNIVERSAL_ENTITY_ID_TYPE: _element(UNIVERSAL_ENTITY_ID_TYPE, "ISO"),
    }
    # in both, because a search matches the first
    return {
        ISSUER: _element(ISSUER, issuer),
        ISSUER_QUALIFIERS: {"vr": "SQ", "Value": [universal]},
    }


def _element(tag: str, value: str) -> dict[str, Any]:
    return {"vr": vr_of(tag), "Value": [value]}


def _before(element: Mapping[str, Any] | None, added: Mapping[str, Any]) -> dict[str, Any]:
    return {"vr": (element or added)["vr"]}


def original_attributes(before: Mapping[str, Any], *, by: str, sender: str = "") -> dict[str, Any]:
    """An item of Original Attributes Sequence: what was there before `by` coerced it."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    return {
        "04000550": {"vr": "SQ", "Value": [before]},
        "04000562": {"vr": "DT", "Value": [now]},
        "04000563": {"vr": "LO", "Value": [by]},
        "04000564": {"vr": "LO", **({"Value": [sender]} if sender else {})},
        "04000565": {"vr": "CS", "Value": ["COERCE"]},
    }
