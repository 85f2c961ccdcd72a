"""What the cases of Store send: studies of their own, as files or as metadata with bulk data."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from uuid import uuid4
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import pydicom
from pydicom import datadict
from pydicom.dataset import Dataset

from dicomweb_conformance import multipart, native_xml, synthetic
from dicomweb_conformance.fixtures import Fixture, Instance, Study, Uids, studies_of
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.target import Response, Target

Sent = tuple[str, bytes]  # Content-Type and payload
_NAME_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# PS3.3 Tables C.7-11a and C.7.6.6-1: what may be left out beside an image of Table 10.5.2-1.
_PIXEL_KEYWORDS: Final = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BulkPart:
    """A part that metadata refers to by its URI."""

    uri: str
    media_type: str
    content: bytes


def new_uri() -> str:
    """A URI that nobody can follow, so that a server has to look for it among the parts."""
    return f"urn:uuid:{uuid4()}"


def new_study(target: Target, fixture: Fixture = Fixture.F15) -> Study:
    """A study like that of the fixture, which no server has seen; deleted after the run."""
    (study,) = studies_of(synthetic.files(fixture, Uids(uuid4().hex)))
    _register(target, study, f"new {fixture.name}")
    return study


def new_slices(target: Target, count: int) -> Study:
    """CT slices of one series of a study that no server has seen; deleted after the run."""
    own = Uids(uuid4().hex)
    files = [each for each in synthetic.files(Fixture.F1, own) if each[0].startswith("slice")]
    (study,) = studies_of(files[:count])
    _register(target, study, "new F1")
    return study


def _register(target: Target, study: Study, name: str) -> None:
    target.may_delete.add(study.path)
    names = {study.uid: f"{{{name}}}"}
    for each in study:
        names |= {
            each.series_uid: f"{{{each.modality}}}",
            each.sop_instance_uid: f"{{{each.name}}}",
        }
    target.shown.names |= names
    target.shown.add_own(names)


def file_of(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def as_files(*files: bytes, boundary: str = "") -> Sent:
    """PS3.10 files, one part each (PS3.18 section 10.5.1.4)."""
    content_type, payload = multipart.write(
        [({"Content-Type": "application/dicom"}, file) for file in files],
        root_type="application/dicom",
    )
    if not boundary:
        return content_type, payload
    usual = "dicomweb-conformance-boundary"
    return (
        content_type.replace(usual, boundary),
        payload.replace(f"--{usual}".encode(), f"--{boundary}".encode()),
    )


def stored_files(*instances: Instance) -> list[bytes]:
    return [each.file for each in instances if each.file is not None]


def metadata(dataset: Dataset, uri: str, *, describes_pixels: bool = True) -> dict[str, object]:
    """In DICOM JSON, with the one long binary attribute that it has at that URI."""
    kept = Dataset()
    kept.update(dataset)
    for keyword in () if describes_pixels else _PIXEL_KEYWORDS:
        if keyword in kept:
            del kept[keyword]
    return kept.to_json_dict(bulk_data_threshold=1, bulk_data_element_handler=lambda _: uri)


def as_json(datasets: Iterable[Mapping[str, object]], bulk: Iterable[BulkPart] = ()) -> Sent:
    """One part with an array of all metadata, and those that it refers to."""
    content = json.dumps(list(datasets)).encode()
    first = [({"Content-Type": "application/dicom+json"}, content)]
    return multipart.write(first + _bulk(bulk), root_type="application/dicom+json")


def as_xml(datasets: Iterable[Mapping[str, object]], bulk: Iterable[BulkPart] = ()) -> Sent:
    """One part for each metadata, and those that they refer to."""
    first = [({"Content-Type": "application/dicom+xml"}, to_xml(each)) for each in datasets]
    return multipart.write(first + _bulk(bulk), root_type="application/dicom+xml")


async def submit(
    target: Target, sent: Sent, *, study: str = "", accept: str = DICOM_JSON
) -> Response:
    content_type, payload = sent
    path = f"/studies/{study}" if study else "/studies"
    return await target.post(path, payload, content_type=content_type, accept=accept)


def _bulk(parts: Iterable[BulkPart]) -> list[tuple[dict[str, str], bytes]]:
    return [
        ({"Content-Type": each.media_type, "Content-Location": each.uri}, each.content)
        for each in parts
    ]


def to_xml(dataset: Mapping[str, object]) -> bytes:
    """The Native DICOM Model (PS3.19 A.1) of a data set in DICOM JSON without private elements."""
    root = Element("NativeDicomModel", {"xmlns": native_xml.NAMESPACE, "xml:space": "preserve"})
    _add_dataset(root, dataset)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_dataset(parent: Element, dataset: object) -> None:
    for tag, attribute in dataset.items() if isinstance(dataset, Mapping) else ():
        names = {"tag": tag, "vr": attribute["vr"]}
        if keyword := datadict.keyword_for_tag(int(tag, 16)):
            names["keyword"] = keyword
        made = SubElement(parent, "DicomAttribute", names)
        if "BulkDataURI" in attribute:
            SubElement(made, "BulkData", uri=attribute["BulkDataURI"])
        elif "InlineBinary" in attribute:
            SubElement(made, "InlineBinary").text = attribute["InlineBinary"]
        for number, value in enumerate(attribute.get("Value", ()), 1):
            _add_value(made, attribute["vr"], str(number), value)


def _add_value(made: Element, vr: str, number: str, value: object) -> None:
    if vr == "SQ":
        _add_dataset(SubElement(made, "Item", number=number), value)
    elif vr == "PN":
        name = SubElement(made, "PersonName", number=number)
        for group, text in value.items() if isinstance(value, Mapping) else ():
            below = SubElement(name, group)
            for part, component in zip(_NAME_PARTS, text.split("^"), strict=False):
                SubElement(below, part).text = component
    else:
        SubElement(made, "Value", number=number).text = None if value is None else str(value)
