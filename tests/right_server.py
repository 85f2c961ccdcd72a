"""A small DICOMweb server in memory that does what the conformance suite asks, and no more.

Planted faults change its answers one at a time. It takes pydicom's word for DICOM JSON, so that it
is independent of the readers that it tests.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree.ElementTree import Element, SubElement, tostring

import httpx2
import numpy as np
import pydicom
from PIL import Image
from pydicom import datadict
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

BASE = "http://right.example/dicomweb"
JSON = "application/dicom+json"
SEARCH_PARAMETERS = [
    "limit", "offset", "fuzzymatching", "includefield",
    "StudyDate", "00080020", "StudyTime", "00080030", "AccessionNumber", "00080050",
    "ModalitiesInStudy", "00080061", "ReferringPhysicianName", "00080090",
    "PatientName", "00100010", "PatientID", "00100020", "StudyInstanceUID", "0020000D",
    "StudyID", "00200010",
]  # fmt: skip
BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
LE = str(ExplicitVRLittleEndian)
COMPRESSED = {"image/jpeg": str(JPEGBaseline8Bit), "image/dicom-rle": str(RLELossless)}
DEFAULT_OF = {"image/jpeg": "1.2.840.10008.1.2.4.70"}  # of a media type without transfer-syntax
SETS = r"/studies/(?P<study>[^/]+)(?:/series/(?P<series>[^/]+)(?:/instances/(?P<instance>[^/]+))?)?"

Answer = httpx2.Response
Handler = Callable[["RightServer", httpx2.Request, dict[str, str]], Answer]


class Refused(Exception):
    def __init__(self, status: int, reason: str = "refused") -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Range:
    """One element of an Accept header."""

    name: str
    parameters: dict[str, str]
    weight: float

    @property
    def root(self) -> str:
        """The media type of a part, where several parts are wanted."""
        return self.parameters.get("type", "").lower()


def ranges(written: str) -> list[Range]:
    """Best first; what cannot be read is left out."""
    found = []
    for text in re.findall(r'(?:[^,"]|"[^"]*")+', written):
        name, *parameters = (part.strip() for part in re.findall(r'(?:[^;"]|"[^"]*")+', text))
        if "/" not in name:
            continue
        pairs = (part.partition("=") for part in parameters)
        values = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        found.append(Range(name.lower(), values, float(values.pop("q", "1"))))
    return sorted(found, key=lambda each: -each.weight)


def query_of(request: httpx2.Request) -> dict[str, str]:
    return dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))


def accepted(request: httpx2.Request) -> list[Range]:
    """What the request accepts, the query parameter first (PS3.18 sections 8.3.3.1, 8.7.5)."""
    if "accept" not in request.headers:
        raise Refused(406, "there is no Accept header")
    header = ranges(request.headers["accept"])
    asked = ranges(query_of(request).get("accept", ""))
    for several in (header, asked):
        kinds = {_is_rendered(each.root or each.name) for each in several} - {None}
        if len(kinds) > 1:
            raise Refused(400, "DICOM and rendered media types are mixed")
    covered = [each for each in asked if any(_covers(wide, each.name) for wide in header)]
    return covered + header


def _covers(wide: Range, name: str) -> bool:
    return wide.name in ("*/*", name, name.partition("/")[0] + "/*")


def _is_rendered(name: str) -> bool | None:
    if name.startswith("application/dicom"):
        return False
    if name.startswith(("image/", "text/", "video/")):
        return True
    return None


def answer(status: int, content: bytes = b"", media_type: str = "", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if media_type:
        sent["Content-Type"] = media_type
    return Answer(status, headers=sent, content=content)


def multipart(parts: list[tuple[dict[str, str], bytes]], root: str) -> Answer:
    body = b""
    for headers, content in parts:
        lines = headers | {"Content-Length": str(len(content))}
        written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        body += b"--right\r\n" + written.encode() + b"\r\n" + content + b"\r\n"
    return answer(200, body + b"--right--\r\n", f'multipart/related; type="{root}"; boundary=right')


def native_xml(data: dict[str, Any]) -> bytes:
    root = Element(
        "NativeDicomModel",
        {
            "xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM",
            "xml:space": "preserve",
        },
    )
    _add_xml(root, data)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _add_xml(parent: Element, data: dict[str, Any]) -> None:
    creators = {
        tag[:4] + tag[6:]: attribute["Value"][0]
        for tag, attribute in data.items()
        if int(tag[3], 16) % 2 and tag[4:6] == "00"
    }
    for tag, attribute in data.items():
        names = {"tag": tag, "vr": attribute["vr"]}
        if int(tag[3], 16) % 2:
            if tag[4:6] == "00":
                continue
            names["tag"] = f"{tag[:4]}00{tag[6:]}"
            names["privateCreator"] = creators[tag[:4] + tag[4:6]]
        elif keyword := datadict.keyword_for_tag(int(tag, 16)):
            names["keyword"] = keyword
        made = SubElement(parent, "DicomAttribute", names)
        if "BulkDataURI" in attribute:
            SubElement(made, "BulkData", uri=attribute["BulkDataURI"])
        if "InlineBinary" in attribute:
            SubElement(made, "InlineBinary").text = attribute["InlineBinary"]
        for number, value in enumerate(attribute.get("Value", ()), 1):
            _add_xml_value(made, attribute["vr"], str(number), value)


def _add_xml_value(made: Element, vr: str, number: str, value: Any) -> None:
    if vr == "SQ":
        _add_xml(SubElement(made, "Item", number=number), value)
    elif vr == "PN":
        name = SubElement(made, "PersonName", number=number)
        for group, text in (value or {}).items():
            below = SubElement(name, group)
            parts = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
            for part, component in zip(parts, text.split("^"), strict=False):
                SubElement(below, part).text = component
    else:
        below = SubElement(made, "Value", number=number)
        below.text = None if value is None else str(value)


@dataclass
class RightServer:
    """Answers requests; `routes` can be added to, and come first."""

    files: dict[str, bytes] = field(default_factory=dict)  # by SOP Instance UID
    deleted: set[str] = field(default_factory=set)
    bulk: dict[str, bytes] = field(default_factory=dict)  # by path
    routes: list[tuple[str, str, Handler]] = field(default_factory=list)
    capabilities: dict[str, list[str]] = field(default_factory=lambda: dict(CAPABILITIES))
    search_parameters: list[str] = field(default_factory=lambda: list(SEARCH_PARAMETERS))
    inline_up_to: int = 0  # bytes of a binary value that JSON holds itself
    password: str | None = None

    def __call__(self, request: httpx2.Request) -> Answer:
        path = unquote(request.url.raw_path.decode().partition("?")[0]).removeprefix("/dicomweb")
        if self.password and request.headers.get("authorization") != f"Bearer {self.password}":
            return answer(401, b"who are you?", "text/plain", WWW_Authenticate="Bearer")
        try:
            right = self._route(request, path)
        except Refused as refused:
            right = answer(refused.status, str(refused).encode(), "text/plain; charset=utf-8")
        if request.method == "HEAD":
            right = Answer(right.status_code, headers=right.headers)
        return right

    def _route(self, request: httpx2.Request, path: str) -> Answer:
        allowed = []
        for method, pattern, handler in [*self.routes, *ROUTES]:
            if matched := re.fullmatch(pattern, path):
                if method == ("GET" if request.method == "HEAD" else request.method):
                    groups = {k: v for k, v in matched.groupdict().items() if v is not None}
                    return handler(self, request, groups)
                allowed.append(method)
        if not allowed:
            raise Refused(404)
        return answer(405, b"no such method", "text/plain", Allow=", ".join(sorted(set(allowed))))

    def datasets(self, of: dict[str, str]) -> list[FileDataset]:
        """The instances of a study, a series or one; in order."""
        if of["study"] in self.deleted:
            raise Refused(410)
        wanted = (of["study"], of.get("series"), of.get("instance"))
        found = [
            _read(file)
            for file in self.files.values()
            if all(uid in (None, own) for uid, own in zip(wanted, _uids(file), strict=True))
        ]
        if not found:
            raise Refused(404)
        return found

    def metadata(self, dataset: FileDataset) -> dict[str, Any]:
        """In DICOM JSON; bulk data can be had from now on."""
        return json_of(dataset, self.bulk, f"{path_of(dataset)}/bulkdata", self.inline_up_to)


def json_of(
    dataset: Dataset, bulk: dict[str, bytes], place: str = "", inline_up_to: int = 0
) -> dict[str, Any]:
    """In DICOM JSON; the bulk data goes into `bulk`, by path."""

    def of(data: Dataset, where: str) -> dict[str, Any]:
        return {
            f"{element.tag:08X}": attribute(element, f"{where}/{element.tag:08X}")
            for element in data
            if element.tag.element != 0
        }

    def attribute(element: pydicom.DataElement, where: str) -> dict[str, Any]:
        made: dict[str, Any] = {"vr": element.VR}
        if element.VR == "SQ":
            if element.value:
                made["Value"] = [of(e, f"{where}/{i}") for i, e in enumerate(element.value)]
        elif _is_bulk(element):
            if isinstance(element.value, bytes) and 0 < len(element.value) <= inline_up_to:
                made["InlineBinary"] = base64.b64encode(element.value).decode()
            elif element.value:
                bulk[where] = _bulk_bytes(dataset, element)
                made["BulkDataURI"] = f"{BASE}{where}"
        else:
            made = element.to_json_dict(None, 0)
            if not made.get("Value"):
                made.pop("Value", None)
            elif element.VR != "PN":
                made["Value"] = [None if each == "" else each for each in made["Value"]]
        return made

    return of(dataset, place)


def _is_bulk(element: pydicom.DataElement) -> bool:
    if element.VR in BULK_VRS:
        return True
    values = element.value if element.VM > 1 else [element.value]
    return element.VR in ("FD", "FL") and any(not math.isfinite(each) for each in values)


def _bulk_bytes(dataset: Dataset, element: pydicom.DataElement) -> bytes:
    if element.VR in ("FD", "FL"):
        kind = "<f8" if element.VR == "FD" else "<f4"
        return np.atleast_1d(element.value).astype(kind).tobytes()
    if element.tag == 0x7FE00010 and isinstance(dataset, FileDataset):
        return bytes(uncompressed(dataset).PixelData)
    return bytes(element.value)


@lru_cache(maxsize=512)
def _uids(file: bytes) -> tuple[str, str, str]:
    """Of study, series and instance."""
    dataset = _read(file)
    return (
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
    )


def _read(file: bytes) -> FileDataset:
    return pydicom.dcmread(BytesIO(file))


def path_of(dataset: Dataset) -> str:
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def uncompressed(dataset: FileDataset) -> FileDataset:
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(as_rgb=True, generate_instance_uid=False)
    return dataset


def file_in(dataset: FileDataset, transfer_syntax: str) -> bytes | None:
    """The file in that transfer syntax, or None where this server cannot make it."""
    stored = str(dataset.file_meta.TransferSyntaxUID)
    if transfer_syntax == LE:
        dataset = uncompressed(dataset)
    elif transfer_syntax not in ("*", stored):
        return None
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def options(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    if request.headers.get("if-none-match") == '"right"':
        return answer(304, ETag='"right"')
    wanted = [each.name for each in accepted(request)]
    as_json = any("json" in name for name in wanted)
    if not as_json and not any("wadl" in name or name == "*/*" for name in wanted):
        raise Refused(406)
    content = capabilities_json(server) if as_json else capabilities_wadl(server)
    media_type = "application/json" if as_json else "application/vnd.sun.wadl+xml"
    return answer(200, content, media_type, ETag='"right"')


def _tree(server: RightServer) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in server.capabilities:
        node = tree
        for segment in path.split("/"):
            node = node.setdefault(segment, {})
    return tree


def capabilities_wadl(server: RightServer) -> bytes:
    root = Element("application", xmlns="http://wadl.dev.java.net/2009/02")
    resources = SubElement(root, "resources", base=BASE)

    def add(parent: Element, tree: dict[str, Any], above: str) -> None:
        for segment, below in tree.items():
            path = f"{above}/{segment}".strip("/")
            made = SubElement(parent, "resource", path=segment)
            for name in server.capabilities.get(path, ()):
                method = SubElement(made, "method", name=name)
                if name == "GET" and path in SEARCHES:
                    asked = SubElement(method, "request")
                    for parameter in server.search_parameters:
                        SubElement(asked, "param", name=parameter, style="query")
            add(made, below, path)

    add(resources, _tree(server), "")
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def capabilities_json(server: RightServer) -> bytes:
    def of(tree: dict[str, Any], above: str) -> list[dict[str, Any]]:
        return [resource(segment, below, above) for segment, below in tree.items()]

    def resource(segment: str, below: dict[str, Any], above: str) -> dict[str, Any]:
        path = f"{above}/{segment}".strip("/")
        made: dict[str, Any] = {"@path": segment}
        if names := server.capabilities.get(path, ()):
            made["method"] = [method(name, path) for name in names]
        if below:
            made["resource"] = of(below, path)
        return made

    def method(name: str, path: str) -> dict[str, Any]:
        if name != "GET" or path not in SEARCHES:
            return {"@name": name}
        asked = [{"@name": each, "@style": "query"} for each in server.search_parameters]
        return {"@name": name, "request": {"param": asked}}

    tree = {"application": {"resources": {"@base": BASE, "resource": of(_tree(server), "")}}}
    return json.dumps(tree).encode()


def store(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if boundary is None or "application/dicom" not in request.headers["content-type"]:
        raise Refused(415)
    stored, failed = [], []
    for piece in request.content.split(b"--" + boundary[1].encode())[1:-1]:
        file = piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        try:
            dataset = _read(file)
        except pydicom.errors.InvalidDicomError:
            raise Refused(400) from None
        item: dict[str, Any] = {
            "00081150": {"vr": "UI", "Value": [dataset.SOPClassUID]},
            "00081155": {"vr": "UI", "Value": [dataset.SOPInstanceUID]},
        }
        if of.get("study", dataset.StudyInstanceUID) != dataset.StudyInstanceUID:
            failed.append(item | {"00081197": {"vr": "US", "Value": [43265]}})
            continue
        server.files[dataset.SOPInstanceUID] = file
        server.deleted.discard(dataset.StudyInstanceUID)
        url = {"00081190": {"vr": "UR", "Value": [BASE + path_of(dataset)]}}
        stored.append(dict(sorted((item | url).items())))
    answered: dict[str, Any] = {"00081190": {"vr": "UR"}}
    if failed:
        answered["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        answered["00081199"] = {"vr": "SQ", "Value": stored}
    status = 200 if not failed else 202 if stored else 409
    return answer(status, json.dumps(answered).encode(), JSON)


def delete(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    for dataset in server.datasets(of):
        del server.files[dataset.SOPInstanceUID]
    if "series" not in of:
        server.deleted.add(of["study"])
    return answer(204)


def retrieve(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    datasets = server.datasets(of)
    for wanted in accepted(request):
        syntax = wanted.parameters.get("transfer-syntax", LE)
        if wanted.name == "*/*" or wanted.root == "application/dicom":
            files = [file_in(dataset, syntax) for dataset in datasets]
            if all(files):
                parts = [
                    (_file_headers(file, BASE + path_of(dataset)), file)
                    for file, dataset in zip(files, datasets, strict=True)
                    if file
                ]
                return multipart(parts, "application/dicom")
        elif wanted.name == "application/dicom" and "instance" in of:
            single = file_in(datasets[0], syntax)
            if single:
                headers = _file_headers(single, BASE + path_of(datasets[0]))
                return Answer(200, headers=headers, content=single)
        elif wanted.root == "application/octet-stream":
            return bulkdata_parts(server, datasets)
    raise Refused(406)


def _file_headers(file: bytes, location: str) -> dict[str, str]:
    syntax = _read(file).file_meta.TransferSyntaxUID
    return {
        "Content-Type": f"application/dicom; transfer-syntax={syntax}",
        "Content-Location": location,
    }


def bulkdata_parts(server: RightServer, datasets: list[FileDataset]) -> Answer:
    parts = []
    for dataset in datasets:
        server.metadata(dataset)
        own = f"{path_of(dataset)}/bulkdata/"
        parts += [
            (_octets(BASE + path), content)
            for path, content in server.bulk.items()
            if path.startswith(own)
        ]
    return multipart(parts, "application/octet-stream")


def _octets(location: str) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Location": location}


def metadata(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    datasets = server.datasets(of)
    for wanted in accepted(request):
        if wanted.name in (JSON, "*/*", "application/*"):
            content = json.dumps([server.metadata(each) for each in datasets]).encode()
            return answer(200, content, JSON)
        if wanted.root == "application/dicom+xml":
            headers = {"Content-Type": "application/dicom+xml"}
            parts = [
                (
                    headers | {"Content-Location": f"{BASE}{path_of(each)}/metadata"},
                    native_xml(server.metadata(each)),
                )
                for each in datasets
            ]
            return multipart(parts, "application/dicom+xml")
    raise Refused(406)


def bulkdata(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    datasets = server.datasets(of)
    if not any(
        each.root == "application/octet-stream" or "*" in each.name for each in accepted(request)
    ):
        raise Refused(406)
    if of["rest"]:
        server.metadata(datasets[0])
        path = f"{path_of(datasets[0])}/bulkdata{of['rest']}"
        if path not in server.bulk:
            raise Refused(404)
        return multipart([(_octets(BASE + path), server.bulk[path])], "application/octet-stream")
    return bulkdata_parts(server, datasets)


def pixeldata(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    datasets = [each for each in server.datasets(of) if "PixelData" in each]
    accepted(request)
    parts = [
        (_octets(f"{BASE}{path_of(each)}/bulkdata/7FE00010"), uncompressed(each).PixelData)
        for each in datasets
    ]
    return multipart(parts, "application/octet-stream")


def frames(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    (dataset,) = server.datasets(of)
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", of["frames"]):
        raise Refused(400, "no list of frame numbers")
    numbers = [int(each) for each in of["frames"].split(",")]
    if "PixelData" not in dataset or max(numbers) > int(dataset.get("NumberOfFrames", 1)):
        raise Refused(404)
    for wanted in accepted(request):
        kind = wanted.root or wanted.name
        if not wanted.root and len(numbers) > 1 and "*" not in kind:
            continue
        contents = frame_contents(dataset, numbers, kind, wanted.parameters)
        if contents is not None:
            media_type = "application/octet-stream" if "*" in kind else kind
            several = bool(wanted.root) or "*" in wanted.name
            return _in_range(
                request, _frame_answer(dataset, numbers, contents, media_type, several)
            )
    raise Refused(406)


def _in_range(request: httpx2.Request, whole: Answer) -> Answer:
    """The bytes that a Range header asks for, of an answer in a single part."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if asked is None or "multipart" in whole.headers["content-type"]:
        return whole
    size = len(whole.content)
    first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    if first >= size:
        return answer(416, Content_Range=f"bytes */{size}")
    part = whole.content[first : last + 1]
    media_type = whole.headers["content-type"]
    return answer(206, part, media_type, Content_Range=f"bytes {first}-{last}/{size}")


def _frame_answer(
    dataset: FileDataset, numbers: list[int], contents: list[bytes], media_type: str, several: bool
) -> Answer:
    syntax = COMPRESSED.get(media_type)
    written = f"{media_type}; transfer-syntax={syntax}" if syntax else media_type
    base = f"{BASE}{path_of(dataset)}/frames/"
    if not several:
        return answer(200, contents[0], written, Content_Location=f"{base}{numbers[0]}")
    parts = [
        ({"Content-Type": written, "Content-Location": f"{base}{number}"}, content)
        for number, content in zip(numbers, contents, strict=True)
    ]
    return multipart(parts, media_type)


def frame_contents(
    dataset: FileDataset, numbers: list[int], kind: str, parameters: dict[str, str]
) -> list[bytes] | None:
    """None where this server cannot send frames of that type."""
    stored = str(dataset.file_meta.TransferSyntaxUID)
    if kind in COMPRESSED:
        asked = parameters.get("transfer-syntax", DEFAULT_OF.get(kind, COMPRESSED[kind]))
        if stored != COMPRESSED[kind] or asked not in (stored, "*"):
            return None
        encoded = list(
            generate_frames(
                dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))
            )
        )
        return [encoded[number - 1] for number in numbers]
    if kind not in ("application/octet-stream", "*/*"):
        return None
    if dataset.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        size = dataset.Rows * dataset.Columns
        return [
            np.packbits(bits[(n - 1) * size : n * size], bitorder="little").tobytes()
            for n in numbers
        ]
    plain = uncompressed(dataset)
    size = plain.Rows * plain.Columns * plain.SamplesPerPixel * plain.BitsAllocated // 8
    return [plain.PixelData[(n - 1) * size : n * size] for n in numbers]


def rendered(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    dataset = server.datasets(of)[0]
    is_text = "ContentSequence" in dataset
    offered = ["text/html"] if is_text else ["image/jpeg", "image/png", "image/gif"]
    for wanted in accepted(request):
        for name in offered:
            if _covers(wanted, name):
                content = _page(dataset) if is_text else _picture(dataset, name)
                written = f"{name}; charset=utf-8" if is_text else name
                return answer(200, content, written)
    raise Refused(406)


def _page(dataset: FileDataset) -> bytes:
    text = dataset.ContentSequence[0].TextValue
    return f'<!doctype html><meta charset="utf-8"><p>{text}</p>'.encode()


def _picture(dataset: FileDataset, media_type: str) -> bytes:
    buffer = BytesIO()
    pixels = np.asarray(uncompressed(dataset).pixel_array, dtype=np.float64)
    scaled = np.clip((pixels + 1000) / 16, 0, 255).astype(np.uint8)
    Image.fromarray(scaled).save(buffer, media_type.partition("/")[2])
    return buffer.getvalue()


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]+", text):
        raise Refused(400, f"{name} is no number")
    return int(text)


def _matches(dataset: Dataset, name: str, wanted: str) -> bool:
    keyword = datadict.keyword_for_tag(int(name, 16)) if re.fullmatch("[0-9A-F]{8}", name) else name
    if not keyword or datadict.tag_for_keyword(keyword) is None or keyword not in dataset:
        return True
    pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
    return not wanted or re.fullmatch(pattern, str(dataset[keyword].value)) is not None


RESULT_KEYWORDS = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
)  # fmt: skip


def search(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    """Studies; a suite that needs more adds routes of its own."""
    query = query_of(request)
    if query.get("fuzzymatching", "true") not in ("true", "false"):
        raise Refused(400)
    offset, limit = _number(query, "offset", 0), _number(query, "limit", 1000)
    first: dict[str, Dataset] = {}
    for dataset in map(_read, server.files.values()):
        first.setdefault(dataset.StudyInstanceUID, dataset)
    found = [d for _, d in sorted(first.items()) if all(_matches(d, *p) for p in query.items())]
    page = found[offset : offset + limit]
    if not page:
        return answer(204)
    rows = [_result(each) for each in page]
    for wanted in accepted(request):
        if wanted.name in (JSON, "*/*"):
            response = answer(200, json.dumps(rows).encode(), JSON)
            break
        if wanted.root == "application/dicom+xml":
            headers = {"Content-Type": "application/dicom+xml"}
            response = multipart([(headers, native_xml(r)) for r in rows], "application/dicom+xml")
            break
    else:
        raise Refused(406)
    if remaining := len(found) - offset - len(page):
        response.headers["Warning"] = (
            f"299 {BASE}: There are {remaining} additional results that can be requested"
        )
    return response


def search_below(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    """Series or instances, of a study, a series or all; only what names them."""
    one_for_each: dict[str, FileDataset] = {}
    found = server.datasets(of) if of.get("study") else map(_read, server.files.values())
    for dataset in found:
        name = "SeriesInstanceUID" if of["level"] == "series" else "SOPInstanceUID"
        one_for_each.setdefault(str(dataset[name].value), dataset)
    rows = [_result(each) | json_of(_names_of(each), {}) for each in one_for_each.values()]
    accepted(request)
    return answer(200, json.dumps(rows).encode(), JSON) if rows else answer(204)


def _names_of(dataset: Dataset) -> Dataset:
    picked = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID"):
        picked[keyword] = dataset[keyword]
    return picked


def _result(dataset: Dataset) -> dict[str, Any]:
    picked = Dataset()
    for keyword in RESULT_KEYWORDS:
        if keyword in dataset:
            picked[keyword] = dataset[keyword]
        else:
            setattr(picked, keyword, None)
    return json_of(picked, {})


SEARCHES = {"studies", "series", "instances", "studies/{s}/series", "studies/{s}/instances"}
_LEVELS = ("studies/{s}", "studies/{s}/series/{r}", "studies/{s}/series/{r}/instances/{i}")
CAPABILITIES: dict[str, list[str]] = {
    "studies": ["GET", "POST"],
    "studies/{s}/series": ["GET"],
    "studies/{s}/instances": ["GET"],
    "studies/{s}/series/{r}/instances": ["GET"],
    "series": ["GET"],
    "instances": ["GET"],
    **{level: ["GET", "DELETE"] for level in _LEVELS},
    **{
        f"{level}/{resource}": ["GET"]
        for level in _LEVELS
        for resource in ("metadata", "rendered", "bulkdata", "pixeldata")
    },
    "studies/{s}/series/{r}/instances/{i}/frames/{f}": ["GET"],
    "studies/{s}/series/{r}/instances/{i}/frames/{f}/rendered": ["GET"],
}
CAPABILITIES["studies/{s}"] = ["GET", "POST", "DELETE"]
_INSTANCE = r"/studies/(?P<study>[^/]+)/series/(?P<series>[^/]+)/instances/(?P<instance>[^/]+)"
ROUTES: list[tuple[str, str, Handler]] = [
    ("OPTIONS", r"/?", options),
    ("GET", r"/studies", search),
    ("POST", r"/studies(?:/(?P<study>[^/]+))?", store),
    ("GET", r"(?:/studies/(?P<study>[^/]+))?/(?P<level>series|instances)", search_below),
    (
        "GET",
        r"/studies/(?P<study>[^/]+)/series/(?P<series>[^/]+)/(?P<level>instances)",
        search_below,
    ),
    ("GET", SETS, retrieve),
    ("DELETE", SETS, delete),
    ("GET", SETS + r"/metadata", metadata),
    ("GET", SETS + r"/bulkdata(?P<rest>.*)", bulkdata),
    ("GET", SETS + r"/pixeldata", pixeldata),
    ("GET", _INSTANCE + r"/frames/(?P<frames>[^/]*)", frames),
    ("GET", SETS + r"/rendered", rendered),
    ("GET", _INSTANCE + r"/frames/(?P<frames>\d+)/rendered", rendered),
]
