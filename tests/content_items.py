"""Structured reports in DICOM JSON, made of content items."""

from typing import Any

from bfr_dicomweb.dicom.stored_objects import StoredObject

Json = dict[str, Any]

BASIC = "1.2.840.10008.5.1.4.1.1.88.11"


def element(vr: str, *values: Any) -> Json:
    return {"vr": vr, "Value": list(values)}


def code(value: str, scheme: str, meaning: str) -> Json:
    return {
        "00080100": element("SH", value),
        "00080102": element("SH", scheme),
        "00080104": element("LO", meaning),
    }


def item(
    value_type: str,
    concept: Json | None,
    *content: Json,
    relationship: str = "CONTAINS",
    **values: Any,
) -> Json:
    found = {
        "0040A010": element("CS", relationship),
        "0040A040": element("CS", value_type),
    }
    if concept is not None:
        found["0040A043"] = element("SQ", concept)
    if content:
        found["0040A730"] = element("SQ", *content)
    return found | {f"0040{tag.lstrip('x')}": value for tag, value in values.items()}


def text(concept: Json | None, value: str, *content: Json, **options: Any) -> Json:
    return item("TEXT", concept, *content, xA160=element("UT", value), **options)


def coded(concept: Json, value: Json, **options: Any) -> Json:
    return item("CODE", concept, xA168=element("SQ", value), **options)


def number(concept: Json, value: float, unit: Json, *content: Json) -> Json:
    measured = {"0040A30A": element("DS", value), "004008EA": element("SQ", unit)}
    return item("NUM", concept, *content, xA300=element("SQ", measured))


def container(concept: Json | None, *content: Json, continuous: bool = False) -> Json:
    continuity = element("CS", "CONTINUOUS" if continuous else "SEPARATE")
    return item("CONTAINER", concept, *content, xA050=continuity)


def a_report(
    *content: Json,
    title: tuple[str, str] = ("18748-4", "LN"),
    sop_class: str = BASIC,
    **values: Json,
) -> Json:
    found = {
        "00080016": element("UI", sop_class),
        "00080018": element("UI", "2.25.3"),
        "0020000D": element("UI", "2.25.1"),
        "0040A040": element("CS", "CONTAINER"),
        "0040A043": element("SQ", code(*title, "title")),
        "0040A491": element("CS", "COMPLETE"),
        "0040A493": element("CS", "VERIFIED"),
        "0040A730": element("SQ", *content),
    }
    return found | {tag.lstrip("x"): value for tag, value in values.items()}


def opened(attributes: Json) -> StoredObject:
    """An object that has nothing but what its attributes hold."""
    return StoredObject(
        b"",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        big_endian=False,
        attributes=attributes,
        bulk=(),
        frames=None,
    )
