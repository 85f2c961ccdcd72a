"""An object is the same in the archive whichever door it came by."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.index import instances
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.store import Outcome, StoreResult
from dimse_sent import Sendable, Sender, data_set_offset, sendable, store
from dimse_served import Served, served
from objects import a_dataset, an_object, written
from shared_data import SHARED, dicom_files, require_shared_data


@dataclass(frozen=True, slots=True)
class TwoDoors:
    """An archive that is stored to by C-STORE, and one that is by STOW."""

    dimse: Served
    stow: Archive

    def by_stow(self, file: bytes) -> StoreResult:
        return self.dimse.wait(_store(self.stow, file))


async def _store(archive: Archive, file: bytes) -> StoreResult:
    receiving = archive.store.receive()
    await receiving.write(file)
    return await (await receiving.finish())


async def _kept(archive: Archive, sop_instance_uid: str) -> tuple[Any, bytes]:
    """Metadata, and the data set in the stored file."""
    async with archive.index.read() as conn:
        (stored,) = await instances.by_uids(conn, [sop_instance_uid])
        (document,) = [found async for found in instances.documents(conn, stored.ref)]
    file = await asyncio.to_thread(archive.blobs.path(stored.blob_key).read_bytes)
    metadata = orjson.loads(zstandard.ZstdDecompressor().decompress(document.document))
    return metadata, file[stored.dataset_offset :]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoDoors]:
    folder = tmp_path_factory.mktemp("doors")
    with served(folder) as dimse:
        url = f"sqlite:///{folder / 'stow.sqlite'}"
        stow = dimse.wait(Archive.open(index_url=url, data=folder / "stow"))
        yield TwoDoors(dimse, stow)
        dimse.wait(stow.close())


def _sample(path: Path) -> Sendable | None:
    """As a sender would read it from the file, which looks into the data set for what it is."""
    file = path.read_bytes()
    try:
        header = part10.read_header(file)
        sop_class, sop_instance = (
            header.attributes[tag]["Value"][0] for tag in ("00080016", "00080018")
        )
        data_set = file[header.dataset_offset :]
        return Sendable(sop_class, sop_instance, header.transfer_syntax_uid, data_set)
    except (ArchiveError, KeyError):
        pass
    try:
        one = sendable(file)
    except Exception:  # whatever pydicom has against it
        return None
    return one if one.sop_class_uid and one.sop_instance_uid else None


@pytest.fixture(scope="module")
def samples() -> dict[Path, Sendable]:
    found = {path: _sample(path) for path in dicom_files()}
    return {path: one for path, one in found.items() if one is not None}


@pytest.fixture(scope="module")
def sender(doors: TwoDoors, samples: dict[Path, Sendable]) -> Iterator[Sender]:
    opened = Sender(doors.dimse.port, samples.values())
    yield opened
    opened.close()


def _name(path: Path) -> str:
    return str(path.relative_to(SHARED / "dicom"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("path", dicom_files(), ids=_name)
def test_a_sample_is_stored_or_refused_as_by_stow(
    doors: TwoDoors, samples: dict[Path, Sendable], sender: Sender, path: Path
) -> None:
    require_shared_data()
    by_stow = doors.by_stow(path.read_bytes())
    if path not in samples:
        assert by_stow.outcome is Outcome.REFUSED
        return
    response = sender.store(samples[path])
    if by_stow.error is not None:
        assert response is None or response.Status not in (None, 0)
        return
    assert response is not None
    assert response.Status == 0, response.ErrorComment
    kept = [
        doors.dimse.wait(_kept(archive, by_stow.sop_instance_uid))
        for archive in (doors.stow, doors.dimse.archive)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_an_object_is_stored_as_by_stow(doors: TwoDoors, syntax: str) -> None:
    dataset = a_dataset()
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = bytes(512)
    file = written(dataset, syntax)
    doors.by_stow(file)
    assert store(doors.dimse.port, sendable(file)).Status == 0
    kept = [
        doors.dimse.wait(_kept(archive, dataset.SOPInstanceUID))
        for archive in (doors.stow, doors.dimse.archive)
    ]
    assert kept[0] == kept[1]
    assert kept[1][1] == file[data_set_offset(file) :]


def test_what_came_by_stow_is_a_duplicate_by_c_store(doors: TwoDoors) -> None:
    file = an_object()
    doors.dimse.wait(_store(doors.dimse.archive, file))
    assert store(doors.dimse.port, sendable(file)).Status == 0


def test_what_came_by_c_store_is_a_duplicate_by_stow(doors: TwoDoors) -> None:
    file = an_object()
    store(doors.dimse.port, sendable(file))
    again = doors.dimse.wait(_store(doors.dimse.archive, file))
    assert again.outcome is Outcome.DUPLICATE


def test_what_another_peer_sends_again_is_a_duplicate(doors: TwoDoors) -> None:
    one = sendable(an_object())
    answers = [store(doors.dimse.port, one, calling=title).Status for title in ("CT1", "PACS")]
    assert answers == [0, 0]


def test_other_lengths_of_sequences_make_no_other_object(doors: TwoDoors) -> None:
    dataset = a_dataset(ReferencedImageSequence=[a_dataset(PixelData=None)])
    delimited = written(dataset)
    dataset["ReferencedImageSequence"].is_undefined_length = True
    undelimited = written(dataset)
    assert delimited != undelimited
    doors.dimse.wait(_store(doors.dimse.archive, delimited))
    again = doors.dimse.wait(_store(doors.dimse.archive, undelimited))
    assert again.outcome is Outcome.DUPLICATE


def test_other_pixels_make_another_object(doors: TwoDoors) -> None:
    dataset = a_dataset()
    doors.dimse.wait(_store(doors.dimse.archive, written(dataset)))
    dataset.PixelData = dataset.PixelData[:-2] + b"\1\2"
    assert store(doors.dimse.port, sendable(written(dataset))).Status == 0x0111
