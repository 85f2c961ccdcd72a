"""DICOM JSON to the Native DICOM Model in XML (PS3.19 section A.1)."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from bfr_dicomweb.errors import InvalidObject

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
MAX_DEPTH: Final = 200

_OPENING: Final = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}"'
    ' xml:space="preserve">'
)

# What XML 1.0 cannot hold at all (its production 2), even as a character reference.
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What has to change in the content of an element. A parser turns a bare CR into LF.
_SPECIAL: Final = re.compile("[^\t\n\u0020-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NAME_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

# `<Value number="1">` and so on, for as many values as are common.
_VALUE_TAGS: Final = tuple(f'<Value number="{number}">' for number in range(1, 65))


def native_dicom_model(attributes: Mapping[str, Any], *, instance_url: str = "") -> bytes:
    """The XML document of one DICOM JSON data set, in UTF-8.

    Private elements are told by `privateCreator` and a tag without their block, so
    the elements that reserve blocks are left out (PS3.18 section F.3.1). Characters
    that XML cannot hold become U+FFFD.

    Args:
        attributes: A data set of PS3.18 Annex F.
        instance_url: What a NUL at the start of a BulkDataURI stands for.

    Raises:
        InvalidObject: sequences are nested more than 200 deep.
    """
    out = [_OPENING]
    _data_set(out, attributes, instance_url, 0)
    out.append("</NativeDicomModel>\n")
    return "".join(out).encode()


def _text(value: str) -> str:
    if _SPECIAL.search(value) is None:
        return value
    return escape(_FORBIDDEN.sub("\ufffd", value), {"\r": "&#13;"})


def _attribute(value: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", value))


def _data_set(out: list[str], attributes: Mapping[str, Any], url: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidObject(f"sequences are nested more than {MAX_DEPTH} deep")
    for tag, attribute in attributes.items():
        if tag[3] in "13579BDF":
            opening = _private_opening(tag, attribute["vr"], attributes)
        else:
            opening = _opening(tag, attribute["vr"])
        if opening:
            out.append(opening)
            _content(out, attribute, url, depth)
            out.append("</DicomAttribute>")


@lru_cache(maxsize=8192)
def _opening(tag: str, vr: str, creator: str | None = None) -> str:
    keyword = keyword_for_tag(int(tag, 16)) if creator is None else ""
    parts = [f"<DicomAttribute tag={_attribute(tag)} vr={_attribute(vr)}"]
    if keyword:
        parts.append(f" keyword={_attribute(keyword)}")
    if creator is not None:
        parts.append(f" privateCreator={_attribute(creator)}")
    return "".join(parts) + ">"


def _private_opening(tag: str, vr: str, attributes: Mapping[str, Any]) -> str:
    """Empty for the element that reserves a block; without a creator the tag stays whole."""
    block = tag[4:6]
    if block == "00":
        return "" if tag[6:] >= "10" else _opening(tag, vr)
    values = attributes.get(f"{tag[:4]}00{block}", {}).get("Value")
    if not values or not isinstance(values[0], str):
        return _opening(tag, vr)
    return _opening(f"{tag[:4]}00{tag[6:]}", vr, values[0])


def _content(out: list[str], attribute: Mapping[str, Any], url: str, depth: int) -> None:
    values = attribute.get("Value")
    if values:
        vr = attribute["vr"]
        if vr == "SQ":
            _items(out, values, url, depth)
        elif vr == "PN":
            _person_names(out, values)
        else:
            _values(out, values)
    elif "BulkDataURI" in attribute:
        uri = attribute["BulkDataURI"]
        if uri.startswith("\0"):
            uri = url + uri[1:]
        out.append(f"<BulkData uri={_attribute(uri)}/>")
    elif "InlineBinary" in attribute:
        out.append(f"<InlineBinary>{attribute['InlineBinary']}</InlineBinary>")


def _values(out: list[str], values: Sequence[Any]) -> None:
    for number, value in enumerate(values, 1):
        if value is None or value == "":
            out.append(f'<Value number="{number}"/>')
            continue
        out.append(_VALUE_TAGS[number - 1] if number <= 64 else f'<Value number="{number}">')
        out.append(_text(value) if isinstance(value, str) else str(value))
        out.append("</Value>")


def _items(out: list[str], items: Sequence[Any], url: str, depth: int) -> None:
    for number, item in enumerate(items, 1):
        out.append(f'<Item number="{number}">')
        _data_set(out, item or {}, url, depth + 1)
        out.append("</Item>")


def _person_names(out: list[str], names: Sequence[Any]) -> None:
    for number, name in enumerate(names, 1):
        out.append(f'<PersonName number="{number}">')
        for group in _NAME_GROUPS:
            text = name.get(group) if name else None
            if text:
                out.append(f"<{group}>")
                # What follows a fifth caret is no component; it stays with the suffix.
                for component, part in zip(_NAME_COMPONENTS, text.split("^", 4), strict=False):
                    if part:
                        out.append(f"<{component}>{_text(part)}</{component}>")
                out.append(f"</{group}>")
        out.append("</PersonName>")
