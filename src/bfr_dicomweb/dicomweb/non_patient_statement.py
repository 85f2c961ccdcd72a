"""What the conformance statement says of the Non-Patient Instance service."""

from collections.abc import Iterator
from typing import Final

from pydicom.datadict import keyword_for_tag

from bfr_dicomweb.dicom.matching import Path
from bfr_dicomweb.dicom.non_patient import CATEGORIES, DATE_TIME_PAIRS, Category
from bfr_dicomweb.dicomweb.worklist_statement import statuses, table

SERVICES: Final = ("Non-Patient Instance",)
_CODE, _SCHEME = ".CodeValue", ".CodingSchemeDesignator"

CONDITIONS: Final = {
    ("Search", 200): "There are matches; Warning tells of more, and of ignored parameters.",
    ("Search", 204): "There is no match, or limit and offset leave none.",
    ("Retrieve", 200): "The instance, its metadata or the bulk value is in the answer.",
    ("Retrieve", 206): "The byte ranges asked for.",
    ("Retrieve", 304): "An entity tag in If-None-Match is that of the representation.",
    ("Retrieve", 404): "No such instance or bulk value is stored in this category.",
    ("Retrieve", 416): "No byte of the ranges exists; Content-Range tells the size.",
    ("Store", 200): "Every instance is stored, or was already stored with the same bytes.",
    ("Store", 202): "Some instances are stored, others are refused; or attributes were supplied.",
    ("Store", 409): "No instance is stored, and at least one for a conflict: its SOP class is of"
    " another resource, it is not the instance that the target names, or another object has its"
    " SOP Instance UID.",
    ("Store", 411): "There is neither Content-Length nor Transfer-Encoding.",
    ("Store", 413): "The payload, or every object of it, is larger than the limit.",
    ("Store", 415): "The payload, or every part of it, has a media type that is not taken.",
    ("Store", 507): "No instance is stored: no room is left.",
    ("", 400): "The UID of the target is none, a parameter has an invalid value or stands twice,"
    " or nothing of the payload can be read or identified.",
    ("", 406): "Nothing acceptable can be made; to GET also without an Accept header.",
    ("", 503): "The catalogue or the disk cannot be used now; see Retry-After.",
}

CHOICES: Final = """\
- The SOP class decides: its instances are taken by the resource of its category, and by no other.
  `/studies` and C-STORE refuse them and name that resource; files of them cannot be imported.
- PS3.18 has no resource for protocol approvals; `protocol-approvals` is named like the others.
- Store takes the same payloads as `/studies`, keeps bytes as they were received, and treats
  duplicates alike. Metadata (JSON or XML) without a SOP Instance UID gets one. The answer is the
  Store Instances Response Module, in which Retrieve URL names the instance.
- Retrieve: the PS3.10 file as it is stored or in an uncompressed or deflated transfer syntax, or
  the metadata, which is the default. Large values are Bulk Data URIs below the instance.
- Search matches as section 2.4 says, by the keys of the table below; of code sequences these are
  Code Value and Coding Scheme Designator. One interval are {pairs}.
  Time zones are not taken into account. Results have all attributes of the table that the
  instance has, Retrieve URL and what includefield asks for. They come in the order in which the
  instances were stored.
- They are not deleted, not committed to (section 10) and not sent over DIMSE. The change feed
  tells of them (`non-patient-instance-stored`), check and rebuild know them."""


def sections() -> Iterator[tuple[str, ...]]:
    pairs = "; ".join(" with ".join(map(_name, pair)) for pair in DATE_TIME_PAIRS)
    yield ("### 11.1 Categories", table(("Resource", "SOP class", "UID"), _classes()))
    yield ("### 11.2 Choices", CHOICES.format(pairs=pairs))
    yield ("### 11.3 Attributes", table(("Resource", "Matched", "Returned, too"), _attributes()))
    yield ("### 11.4 Status codes", statuses(SERVICES, CONDITIONS))


def _classes() -> Iterator[tuple[str, ...]]:
    for category in CATEGORIES:
        for uid, name in category.sop_classes.items():
            yield f"`/{category.name}`", name, uid


def _attributes() -> Iterator[tuple[str, ...]]:
    for category in CATEGORIES:
        names = map(_name, category.keys)
        matched = dict.fromkeys(name.removesuffix(_CODE).removesuffix(_SCHEME) for name in names)
        yield f"`/{category.name}`", ", ".join(matched), ", ".join(_others(category)) or "-"


def _others(category: Category) -> list[str]:
    matched = {path[0] for path in category.keys}
    return [_name((tag,)) for tag in sorted(category.shown - matched)]


def _name(path: Path) -> str:
    return ".".join(keyword_for_tag(int(tag, 16)) for tag in path)
