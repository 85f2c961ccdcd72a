"""Instances as the catalogue takes them; valid by default, a test names only what matters."""

import hashlib
from typing import Any

import orjson
import zstandard
from pydicom.datadict import dictionary_VR, tag_for_keyword

from bfr_dicomweb.index.instances import NewInstance

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def element(keyword: str, *values: Any) -> tuple[str, dict[str, Any]]:
    """A DICOM JSON attribute by its keyword; person names may be given as text."""
    number = tag_for_keyword(keyword)
    assert number is not None
    vr = dictionary_VR(number)[:2]
    if vr == "PN":
        values = tuple({"Alphabetic": v} if isinstance(v, str) else v for v in values)
    if vr == "SQ":
        values = tuple(dict(element(k, v) for k, v in item.items()) for item in values)
    return f"{number:08X}", {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def data_set(**values: Any) -> dict[str, Any]:
    """DICOM JSON by keywords: a list is several values, None an empty attribute."""
    found = {}
    for keyword, value in values.items():
        many = [] if value is None else value if isinstance(value, list) else [value]
        tag, json_element = element(keyword, *many)
        found[tag] = json_element
    return {tag: found[tag] for tag in sorted(found)}


def a_new_instance(
    study: str = "2.25.1",
    series: str | None = None,
    instance: str | None = None,
    *,
    content: bytes = b"",
    spans: bytes = b"",
    sop_class: str = CT,
    **values: Any,
) -> NewInstance:
    series = series or f"{study}.1"
    instance = instance or f"{series}.1"
    uids = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": instance,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
    }
    attributes = data_set(**({"Modality": "CT", "PatientID": "1"} | values | uids))
    return NewInstance(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=instance,
        sop_class_uid=sop_class,
        transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
        attributes=attributes,
        document=zstandard.compress(orjson.dumps(attributes)),
        bulk=b"bulk of " + instance.encode(),
        pixel_tag="7FE00010",
        number_of_frames=max(1, len(spans) // 16),
        frame_offset=0 if spans else 1000,
        frame_bits=0 if spans else 4096,
        spans=spans,
        big_endian=False,
        deflated=False,
        dataset_offset=320,
        blob_key=f"blob/{instance}",
        size_bytes=5000,
        digest=hashlib.sha256(content or instance.encode()).digest(),
    )
