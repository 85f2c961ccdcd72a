"""An object that is taken apart into metadata and bulk data is the same when it is stored again."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset as PydicomDataset
from pydicom import Sequence as PydicomSequence
from pydicom import dcmread

from live import Live, running
from metadata_parts import (
    JSON,
    OCTETS,
    XML,
    Bulk,
    Dataset,
    mp4,
    payload,
    send,
    stored_paths,
)
from objects import a_dataset, multipart, uid, written
from retrieved import raw_parts
from shared_data import SHARED, dicom_files, require_shared_data

UIDS = ("00080018", "0020000D", "0020000E")
AVAILABLE = "00083002"
ORIGINAL_ATTRIBUTES = "04000561"
# What bulk data tells, or a server makes: lossy compression, document length, offset tables.
DERIVED = {"00282110", "00282112", "00282114", "00420015"}
OFFSET_TABLES = ("7FE00001", "7FE00002")
# Objects without a study, one whose transfer syntax is not that of its frame, and pixel data that
# is referred to or of no syntax that bulk data has.
LEFT_OUT = re.compile(
    r"/OP/|jpip|DICOMDIR|HP_|COLOR_PALETTE|deflated_image_frame|encapsulated_uncompressed|odd/"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("apart")) as live:
        yield live


@pytest.fixture(scope="module")
def http(server: Live) -> Iterator[httpx2.Client]:
    """For hypothesis, whose examples share it."""
    with httpx2.Client(base_url=server.url, headers={"Accept": JSON}, timeout=120) as client:
        yield client


def stored(client: httpx2.Client, file: bytes) -> str | None:
    """The path of the stored object; None when the archive does not take it."""
    body, content_type = multipart([file])
    answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
    return stored_paths(answer)[0] if "00081199" in answer.json() else None


def metadata_of(client: httpx2.Client, path: str) -> Dataset:
    (found,) = client.get(f"{path}/metadata").raise_for_status().json()
    return dict(found)


def references(dataset: Dataset) -> Iterator[str]:
    for one in dataset.values():
        if "BulkDataURI" in one:
            yield one["BulkDataURI"]
        if one["vr"] == "SQ":
            for item in one.get("Value", ()):
                yield from references(item)


def bulk_of(client: httpx2.Client, uri: str) -> list[Bulk]:
    """As it is stored, one part a frame where it is compressed."""
    accepted = f'multipart/related; type="{OCTETS}"; transfer-syntax=*'
    answer = client.get(uri, headers={"Accept": accepted})
    assert answer.status_code == 200, answer.text
    types = re.findall(rb"\r?\nContent-Type: ([^\r]+)\r\n", b"\n" + answer.content)
    return [
        Bulk(content, media_type.decode(), uri)
        for content, media_type in zip(raw_parts(answer), types, strict=False)
    ]


def without(dataset: Dataset, *tags: str) -> Dataset:
    """What two copies of an object share: no identity, and no URL."""
    found = {}
    for tag, one in dataset.items():
        if tag in tags:
            continue
        if one["vr"] == "SQ" and "Value" in one:
            found[tag] = one | {"Value": [without(item) for item in one["Value"]]}
        else:
            found[tag] = _comparable(tag, one)
    return found


def _comparable(tag: str, one: dict[str, Any]) -> dict[str, Any]:
    if "BulkDataURI" in one:
        # the VR of compressed pixel data is OB, whatever it was
        return {"vr": "OB" if tag == "7FE00010" else one["vr"], "URI": True}
    if one["vr"] == "DS" and "Value" in one:
        # a DS has 16 characters, and some files have more
        return {"vr": "DS", "Value": [f"{float(value or 0):.10g}" for value in one["Value"]]}
    return one


def copied(client: httpx2.Client, path: str, *, as_xml: bool = False) -> str:
    """The path of a copy, made of what the archive says of the original."""
    bulk = [
        part
        for uri in dict.fromkeys(references(metadata_of(client, path)))
        for part in bulk_of(client, uri)
    ]
    fresh = [uid() for _ in range(3)]
    if not as_xml:
        dataset = metadata_of(client, path)
        for tag, new in zip(("0020000D", "0020000E", "00080018"), fresh, strict=True):
            dataset[tag]["Value"] = [new]
        body, content_type = payload([json.dumps([dataset]).encode()], bulk)
    else:
        accepted = f'multipart/related; type="{XML}"'
        (document,) = raw_parts(client.get(f"{path}/metadata", headers={"Accept": accepted}))
        for old, new in zip(path.split("/")[2::2], fresh, strict=True):
            document = document.replace(f">{old}<".encode(), f">{new}<".encode())
        body, content_type = payload([document], bulk, root_type=XML)
    answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
    assert answer.status_code in (200, 202), answer.text
    return stored_paths(answer)[0]


def assert_same(client: httpx2.Client, path: str, copy: str) -> None:
    before, after = metadata_of(client, path), metadata_of(client, copy)
    supplied = set(after) - set(before) - {ORIGINAL_ATTRIBUTES}
    left_out = (*UIDS, *OFFSET_TABLES, AVAILABLE, ORIGINAL_ATTRIBUTES, *supplied)
    told = {
        tag
        for item in after.get(ORIGINAL_ATTRIBUTES, {}).get("Value", ())
        for modified in item["04000550"]["Value"]
        for tag in modified
    }
    valued = {tag for tag in supplied if "Value" in after[tag]}
    assert valued - told <= DERIVED
    assert without(after, *left_out, *told) == without(before, *left_out, *told)
    first, second = list(references(before)), list(references(after))
    assert [bulk.content for uri in second for bulk in bulk_of(client, uri)] == [
        bulk.content for uri in first for bulk in bulk_of(client, uri)
    ]


# --- any object ------------------------------------------------------------------------------

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\\^="),
    max_size=30,
)
NUMBERS = st.integers(-(2**31), 2**31 - 1)
REALS = st.floats(allow_nan=True, allow_infinity=True)


def _private(dataset: PydicomDataset, text: str, content: bytes) -> None:
    block = dataset.private_block(0x0009, "ACME 1.0", create=True)
    block.add_new(0x01, "LO", text)
    block.add_new(0x02, "OB", content + bytes(len(content) % 2))


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    bits = draw(st.sampled_from([8, 16]))
    samples = draw(st.sampled_from([1, 3]))
    frames = draw(st.integers(1, 3))
    size = rows * columns * samples * frames * bits // 8
    pixels = np.random.default_rng(size).bytes(size)
    dataset = a_dataset(
        Rows=rows,
        Columns=columns,
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        SamplesPerPixel=samples,
        PhotometricInterpretation="RGB" if samples == 3 else "MONOCHROME2",
        NumberOfFrames=frames,
        PixelData=pixels + bytes(size % 2),
        StudyDescription=draw(WORDS),
        PatientComments=draw(
            st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=50)
        ),
        SimpleFrameList=draw(st.lists(st.integers(0, 2**32 - 1), max_size=4)),
        ReferencePixelX0=draw(NUMBERS),
        ImageOrientationSlide=draw(st.lists(NUMBERS, min_size=6, max_size=6)),
        DopplerCorrectionAngle=draw(REALS),
        FrameIncrementPointer=draw(st.sampled_from([0x00181063, 0x00181065])),
    )
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    if samples == 3:
        dataset.PlanarConfiguration = draw(st.integers(0, 1))
    item = PydicomDataset()
    item.CodeValue, item.CodeMeaning = "1", draw(WORDS)
    dataset.ProcedureCodeSequence = PydicomSequence(
        [item, PydicomDataset()][: draw(st.integers(0, 2))]
    )
    dataset.EncapsulatedDocument = np.random.default_rng(1).bytes(2 * draw(st.integers(0, 900)))
    _private(dataset, draw(WORDS), draw(st.binary(max_size=2000)))
    return written(dataset)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=objects(), as_xml=st.booleans())
def test_any_object_is_the_same_when_it_is_put_together_again(
    http: httpx2.Client, file: bytes, as_xml: bool
) -> None:
    path = stored(http, file)
    assert path is not None
    assert_same(http, path, copied(http, path, as_xml=as_xml))


# --- real objects ----------------------------------------------------------------------------


def _samples() -> list[Any]:
    """The files of a folder, the smallest first, and each video."""
    folders: dict[str, list[Path]] = {}
    for path in dicom_files("by_transfer_syntax/*/*", "by_modality/*/*"):
        if LEFT_OUT.search(str(path)) is None:
            folder = path.parent.name.removesuffix("_SYNTHETIC")
            kind = path.stem if folder == "VIDEO" else folder
            folders.setdefault(kind, []).append(path)
    return [
        pytest.param(sorted(paths, key=lambda path: path.stat().st_size), id=kind)
        for kind, paths in folders.items()
    ]


@pytest.mark.parametrize("paths", _samples())
def test_a_real_object_is_the_same_when_it_is_put_together_again(
    http: httpx2.Client, paths: list[Path]
) -> None:
    require_shared_data()
    taken = (stored(http, path.read_bytes()) for path in paths)
    first = next(found for found in taken if found is not None)
    assert_same(http, first, copied(http, first))


CLINICAL_DOCUMENTS = sorted(
    path
    for path in (SHARED / "cda").rglob("*")
    if path.is_file() and path.parent.name != "sections"
)


@pytest.mark.parametrize("path", CLINICAL_DOCUMENTS, ids=lambda path: path.name)
def test_a_real_clinical_document_comes_back_byte_for_byte(http: httpx2.Client, path: Path) -> None:
    require_shared_data()
    document = path.read_bytes()
    metadata: list[Dataset] = [{"00420011": {"vr": "OB", "BulkDataURI": "document"}}]
    answer = send(http, metadata, Bulk(document, "text/xml", "document"), status=202)
    uri = f"{stored_paths(answer)[0]}/bulkdata/00420011"
    assert http.get(uri, headers={"Accept": f"{OCTETS}, text/xml"}).content == document


# --- size ------------------------------------------------------------------------------------


def peak_kib(server: Live) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def test_a_large_film_is_not_held_in_memory(http: httpx2.Client, server: Live) -> None:
    size = 300 << 20
    head = mp4(b"")
    film = head[:-8] + (size + 8).to_bytes(4) + b"mdat"
    body, content_type = payload(
        [b'[{"7FE00010": {"vr": "OB", "BulkDataURI": "film"}}]'], [Bulk(b"@@", "video/mp4", "film")]
    )
    before, after = body.split(b"@@")
    chunk = bytes(1 << 20)

    def chunks() -> Iterator[bytes]:
        yield before + film
        for _ in range(size >> 20):
            yield chunk
        yield after

    send(http, [{"00080005": {"vr": "CS"}}], status=400)
    peak = peak_kib(server)
    answer = http.post("/studies", content=chunks(), headers={"Content-Type": content_type})
    assert answer.status_code == 202, answer.text
    assert peak_kib(server) - peak < 100 << 10
    (path,) = stored_paths(answer)
    headers = {"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=0-20000"}
    found = dcmread(io.BytesIO(http.get(path, headers=headers).content), stop_before_pixels=True)
    assert found.NumberOfFrames == 50
