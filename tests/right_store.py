"""Store of the right server, whole: metadata with bulk data, pictures, failures, XML.

Its routes come before those of `right_server`, which stores files alone.
"""

import json
import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import httpx2
import numpy as np
import pydicom
from PIL import Image, ImageSequence
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian

from right_server import (
    BASE,
    JSON,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    native_xml,
    path_of,
)

Part = tuple[dict[str, str], bytes]
KEPT_AS_IT_IS = {"image/jpeg": "1.2.840.10008.1.2.4.50", "image/jp2": "1.2.840.10008.1.2.4.90"}
TRANSFORMED = {"image/png", "image/gif"}


class Failed(Exception):
    """One instance is not stored."""

    def __init__(self, reason: int, dataset: Dataset | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dataset = dataset


@dataclass
class Outcome:
    stored: list[Dataset] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    warned: list[Dataset] = field(default_factory=list)

    @property
    def status(self) -> int:
        if not self.failed:
            return 202 if self.warned else 200
        return 202 if self.stored else 409


def parts_of(request: httpx2.Request) -> list[Part]:
    written = request.headers["content-type"]
    boundary = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', written)
    if boundary is None:
        raise Refused(400, "there is no boundary")
    pieces = (b"\r\n" + request.content).split(b"\r\n--" + (boundary[1] or boundary[2]).encode())
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refused(400, "there is no part")
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = (line.partition(":") for line in head.decode().split("\r\n"))
        found.append(({name.lower(): value.strip() for name, _, value in lines}, content))
    return found


def store(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    name = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    outcome = Outcome()
    if name == "application/dicom":
        parts: list[Part] = [({"content-type": name}, request.content)]
    elif name == "multipart/related":
        parts = parts_of(request)
    else:
        raise Refused(415)
    for make in _makers(parts):
        try:
            dataset = make()
            _check(dataset, of)
        except Failed as failed:
            outcome.failed.append(failed)
        else:
            _keep(server, dataset, outcome)
    return _answer_to(request, outcome)


def _makers(parts: list[Part]) -> list[Any]:
    """A function for each instance, which gives its data set or raises Failed."""
    bulk = [part for part in parts if "content-location" in part[0]]
    made: list[Any] = []
    for headers, content in parts:
        media_type = headers["content-type"].partition(";")[0]
        if media_type == "application/dicom":
            made.append(lambda content=content: _of_file(content))
        elif media_type == "application/dicom+json":
            rows = json.loads(content)
            made += [lambda row=row: _of_metadata(row, bulk) for row in rows]
        elif media_type == "application/dicom+xml":
            row = _of_xml(ElementTree.fromstring(content))
            made.append(lambda row=row: _of_metadata(row, bulk))
    return made


def _of_file(content: bytes) -> FileDataset:
    try:
        dataset = pydicom.dcmread(BytesIO(content))
    except pydicom.errors.InvalidDicomError:
        raise Failed(49152) from None
    if dataset.file_meta.TransferSyntaxUID not in AllTransferSyntaxes:
        raise Failed(49442, dataset)
    if "Rows" in dataset and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
        if len(dataset.PixelData) < bits // 8:
            raise Failed(49152, dataset)
    return dataset


def _check(dataset: Dataset, of: dict[str, str]) -> None:
    if "SOPInstanceUID" not in dataset or "StudyInstanceUID" not in dataset:
        raise Failed(43264)
    if not str(dataset.SOPClassUID).startswith("1.2.840.10008."):
        raise Failed(290, dataset)
    if of.get("study", dataset.StudyInstanceUID) != dataset.StudyInstanceUID:
        raise Failed(43265, dataset)


def _keep(server: RightServer, dataset: Dataset, outcome: Outcome) -> None:
    outcome.stored.append(dataset)
    held = server.files.get(dataset.SOPInstanceUID)
    if dataset.file_meta.TransferSyntaxUID.is_implicit_VR:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    if held is not None and held != buffer.getvalue():
        outcome.warned.append(dataset)
        return
    server.files[dataset.SOPInstanceUID] = buffer.getvalue()
    server.deleted.discard(dataset.StudyInstanceUID)


def _of_xml(parent: ElementTree.Element) -> dict[str, Any]:
    made = {}
    for element in parent:
        attribute: dict[str, Any] = {"vr": element.get("vr")}
        for child in element:
            kind = child.tag.rpartition("}")[2]
            if kind == "BulkData":
                attribute["BulkDataURI"] = child.get("uri")
            elif kind == "Item":
                attribute.setdefault("Value", []).append(_of_xml(child))
            elif kind == "PersonName":
                groups = {
                    group.tag.rpartition("}")[2]: "^".join(part.text or "" for part in group)
                    for group in child
                }
                attribute.setdefault("Value", []).append(groups)
            else:
                attribute.setdefault("Value", []).append(_number(str(element.get("vr")), child))
        made[str(element.get("tag"))] = attribute
    return made


def _number(vr: str, element: ElementTree.Element) -> Any:
    if element.text and vr in ("US", "SS", "UL", "SL", "IS"):
        return int(element.text)
    return float(element.text) if element.text and vr in ("DS", "FD", "FL") else element.text


def _of_metadata(row: dict[str, Any], bulk: list[Part]) -> Dataset:
    row = {tag: attribute for tag, attribute in row.items() if not tag.startswith("0002")}
    found: list[Part] = []

    def bulk_data(tag: str, vr: str, uri: str) -> bytes:
        del tag, vr
        found.extend(part for part in bulk if part[0]["content-location"] == uri)
        return found[0][1] if found else b""

    dataset = Dataset.from_json(row, bulk_data_uri_handler=bulk_data)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if not found:
        raise Failed(49152, dataset)
    media_type = found[0][0]["content-type"]
    if media_type in KEPT_AS_IT_IS:
        dataset.file_meta.TransferSyntaxUID = UID(KEPT_AS_IT_IS[media_type])
        dataset.PixelData = encapsulate([_codestream(content) for _, content in found])
        dataset["PixelData"].VR = "OB"
    if media_type in TRANSFORMED or (media_type in KEPT_AS_IT_IS and "Rows" not in dataset):
        _describe(dataset, Image.open(BytesIO(found[0][1])), keep=media_type in KEPT_AS_IT_IS)
    return dataset


def _codestream(content: bytes) -> bytes:
    return content[content.index(b"\xff\x4f\xff\x51") :] if content[4:8] == b"jP  " else content


def _describe(dataset: Dataset, picture: Image.Image, *, keep: bool) -> None:
    frames = [np.asarray(each.convert("L")) for each in ImageSequence.Iterator(picture)]
    dataset.Rows, dataset.Columns = frames[0].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if not keep:
        dataset.PixelData = np.stack(frames).tobytes()
        dataset["PixelData"].VR = "OB"
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)


def _answer_to(request: httpx2.Request, outcome: Outcome) -> Answer:
    made: dict[str, Any] = {"00081190": {"vr": "UR"}}
    studies = {str(each.StudyInstanceUID) for each in outcome.stored}
    headers = {}
    if len(studies) == 1:
        url = f"{BASE}/studies/{studies.pop()}"
        made["00081190"]["Value"] = [url]
        headers = {"Location": url, "Content_Location": url}
    named = [_reference(each) for each in outcome.failed if each.dataset is not None]
    others = [_reference(each) for each in outcome.failed if each.dataset is None]
    stored = [_stored_reference(each, each in outcome.warned) for each in outcome.stored]
    for tag, items in (("00081198", named), ("00081199", stored), ("0008119A", others)):
        if items:
            made[tag] = {"vr": "SQ", "Value": items}
    if accepted(request)[0].name == "application/dicom+xml":
        return answer(outcome.status, native_xml(made), "application/dicom+xml", **headers)
    return answer(outcome.status, json.dumps(made).encode(), JSON, **headers)


def _names(dataset: Dataset) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [str(dataset.SOPClassUID)]},
        "00081155": {"vr": "UI", "Value": [str(dataset.SOPInstanceUID)]},
    }


def _reference(failed: Failed) -> dict[str, Any]:
    names = {} if failed.dataset is None else _names(failed.dataset)
    return names | {"00081197": {"vr": "US", "Value": [failed.reason]}}


def _stored_reference(dataset: Dataset, warned: bool) -> dict[str, Any]:
    made = _names(dataset) | {"00081190": {"vr": "UR", "Value": [BASE + path_of(dataset)]}}
    if warned:
        made["00081196"] = {"vr": "US", "Value": [45062]}
    return dict(sorted(made.items()))


ROUTES: list[tuple[str, str, Handler]] = [("POST", r"/studies(?:/(?P<study>[^/]+))?", store)]
