"""Payloads of metadata and bulk data, things to put into them, and what a server has of them."""

import io
import json
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from objects import uid

JSON = "application/dicom+json"
XML = "application/dicom+xml"
OCTETS = "application/octet-stream"
VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"
AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}

Samples = npt.NDArray[Any]
Dataset = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bulk:
    """A part as it is sent; `location` None sends none."""

    content: bytes
    media_type: str = OCTETS
    location: str | None = "bulk/1"


def payload(
    metadata: Sequence[bytes], bulk: Sequence[Bulk] = (), *, root_type: str = JSON
) -> tuple[bytes, str]:
    """The body, and its Content-Type."""
    boundary = uid().replace(".", "-")
    pieces = []
    for document in metadata:
        pieces += [f"--{boundary}\r\nContent-Type: {root_type}\r\n\r\n".encode(), document, b"\r\n"]
    for part in bulk:
        location = "" if part.location is None else f"Content-Location: {part.location}\r\n"
        head = f"--{boundary}\r\nContent-Type: {part.media_type}\r\n{location}\r\n"
        pieces += [head.encode(), part.content, b"\r\n"]
    body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
    return body, f'multipart/related; type="{root_type}"; boundary={boundary}'


def send(
    client: httpx2.Client,
    datasets: Sequence[Dataset],
    *bulk: Bulk,
    path: str = "/studies",
    status: int = 200,
) -> httpx2.Response:
    body, content_type = payload([json.dumps(datasets).encode()], bulk)
    answer = client.post(path, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    return answer


def stored_paths(answer: httpx2.Response) -> list[str]:
    """Of each instance that the answer says is stored, below the service."""
    items = answer.json()["00081199"]["Value"]
    return ["/studies/" + item["00081190"]["Value"][0].split("/studies/")[1] for item in items]


def texts(answer: httpx2.Response) -> list[str]:
    """Error Comments, of instances first."""
    found = answer.json()
    items = [
        *found.get("00081198", {}).get("Value", ()),
        *found.get("0008119A", {}).get("Value", ()),
    ]
    return [item["00000902"]["Value"][0] for item in items]


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def referred(vr: str, uri: str = "bulk/1") -> dict[str, Any]:
    return {"vr": vr, "BulkDataURI": uri}


def described(sop_class_uid: str = VL_PHOTOGRAPHIC, **elements: Any) -> Dataset:
    """Metadata that lacks nothing but its pixels; keywords are `x` and a tag."""
    found = {
        "00080008": element("CS", "ORIGINAL", "PRIMARY"),
        "00080016": element("UI", sop_class_uid),
        "00080018": element("UI", uid()),
        "00080020": element("DA", "20240115"),
        "00080030": element("TM", "101500"),
        "00080050": element("SH", "A1"),
        "00080060": element("CS", "XC"),
        "00080070": element("LO", "ACME"),
        "00080090": element("PN"),
        "00100010": element("PN", {"Alphabetic": "Åkerström^Björn"}),
        "00100020": element("LO", "191212121212"),
        "00100030": element("DA", "19121212"),
        "00100040": element("CS", "M"),
        "0020000D": element("UI", uid()),
        "0020000E": element("UI", uid()),
        "00200010": element("SH", "1"),
        "00200011": element("IS", 1),
        "00200013": element("IS", 1),
        "00200020": element("CS"),
        "00400555": element("SQ"),
        "7FE00010": referred("OB"),
    }
    for name, value in elements.items():
        found[name.removeprefix("x")] = value
    return found


def native(rows: int, columns: int, *, bits: int = 16, frames: int = 1) -> Dataset:
    """Image Pixel attributes of one sample a pixel."""
    found = {
        "00280002": element("US", 1),
        "00280004": element("CS", "MONOCHROME2"),
        "00280010": element("US", rows),
        "00280011": element("US", columns),
        "00280100": element("US", bits),
        "00280101": element("US", bits),
        "00280102": element("US", bits - 1),
        "00280103": element("US", 0),
        "7FE00010": referred("OW"),
    }
    if frames > 1:
        found["00280008"] = element("IS", frames)
    return found


# --- things that are not DICOM ---------------------------------------------------------------

GREY = (np.add.outer(np.arange(50), np.arange(71)) * 2).astype("u1")
GREY_16 = (np.add.outer(np.arange(50), np.arange(71)) * 500).astype("<u2")
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def saved(samples: Samples, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, form, **options)
    return file.getvalue()


def jpeg(samples: Samples = COLOUR, **options: Any) -> bytes:
    return saved(samples, "JPEG", **options)


def of_odd_size(jpeg_file: bytes) -> bytes:
    """The same picture, with a comment in its header where that makes the size odd."""
    if len(jpeg_file) % 2:
        return jpeg_file
    return jpeg_file[:2] + b"\xff\xfe\x00\x03x" + jpeg_file[2:]


def gif(frames: Sequence[Samples], durations: int | list[int] = 40) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


def png(samples: Samples) -> bytes:
    return bytes(imagecodecs.png_encode(samples))


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n" + b"%" * 2000 + b"%%EOF"
CDA = (
    b'<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3">'
    b'<id root="1.2.3" extension="d-1"/><title>Svar</title>' + b"<!-- -->" * 200
) + b"</ClinicalDocument>"
STL = bytes(80) + struct.pack("<I", 30) + bytes(50 * 30)
OBJ = b"# cube\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n" * 40
MTL = b"newmtl red\nKd 1 0 0\n"


def _box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def mp4(
    media: bytes, *, rows: int = 480, columns: int = 640, frames: int = 50, profile: int = 100
) -> bytes:
    """A film of two seconds of H.264, as far as its tables tell (ISO/IEC 14496-12 and -15)."""
    configuration = _box(b"avcC", bytes([1, profile, 0, 40, 0xFF, 0xE0, 0]))
    entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", columns, rows) + bytes(50)
    described = struct.pack(">II", 0, 1) + _box(b"avc1", entry, configuration)
    tables = _box(
        b"stbl", _box(b"stsd", described), _box(b"stsz", struct.pack(">III", 0, 0, frames))
    )
    header = _box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 25_000, 50_000, 0))
    track = _box(b"trak", _box(b"mdia", header, _box(b"minf", tables)))
    film = _box(b"moov", track)
    return _box(b"ftyp", b"isom" + bytes(4)) + film + _box(b"mdat", media)


def errors_of(folder: Path, file: bytes, program: str) -> list[str]:
    """What dciodvfy calls an error."""
    path = folder / "made.dcm"
    path.write_bytes(file)
    found = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    return [line for line in found.stderr.splitlines() if line.startswith("Error")]
