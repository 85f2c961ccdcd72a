"""C-MOVE and C-GET deliver what WADO-RS does, for every stored sample."""

import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import which
from typing import Any

import pydicom
import pytest
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import build_context

from bfr_dicomweb.dicom import part10
from bfr_dicomweb.dimse.peers import ANY, Peer
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.index.statements import rows
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.data_sets import StoredInstance
from bfr_dicomweb.services.selection import Selection, select_instances
from dimse_retrieved import (
    CALLING,
    Inbox,
    Received,
    a_receiver,
    get,
    keys,
    move,
    receiving,
    store_what_can_be,
)
from dimse_served import AE_TITLE, Served, served
from shared_data import NO_DCMTK, dicom_files, require_shared_data

MOST_CONTEXTS = 100
# pydicom and pynetdicom warn of what is odd about some of the samples.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything in the archive, by study."""

    archive: Served
    by_study: dict[str, list[StoredInstance]]

    @property
    def instances(self) -> Iterator[StoredInstance]:
        for study in self.by_study.values():
            yield from study

    def by_wado(self, stored: StoredInstance) -> bytes:
        """The file that WADO-RS sends who accepts any transfer syntax."""
        archive = self.archive.archive
        return self.archive.wait(archive.reader.whole(retrieve.as_stored(stored)))

    def by_wado_uncompressed(self, stored: StoredInstance) -> bytes:
        """The file that WADO-RS sends who wants it uncompressed. Raises NotAcceptable."""

        async def read() -> bytes:
            archive = self.archive.archive
            content = await retrieve.as_file(archive, stored, whole_answer=True)
            return await archive.reader.whole(content)

        return self.archive.wait(read())


@pytest.fixture(scope="module")
def peer() -> Peer:
    return a_receiver()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, peer: Peer) -> Iterator[Samples]:
    require_shared_data()
    peers = (Peer(ANY), peer)
    with served(tmp_path_factory.mktemp("archive"), peers=peers) as archive:
        # not everything among the samples can be stored
        store_what_can_be(archive, (path.read_bytes() for path in dicom_files()))
        yield Samples(archive, archive.wait(_by_study(archive)))


async def _by_study(archive: Served) -> dict[str, list[StoredInstance]]:
    async with archive.archive.index.read() as conn:
        studies = [row[0] for row in await rows(conn, "SELECT study_instance_uid FROM study", ())]
    return {
        uid: await select_instances(archive.archive, Selection(study_instance_uids=(uid,)))
        for uid in studies
    }


def batched(kinds: list[tuple[tuple[str, str], list[str]]]) -> Iterator[Any]:
    """As many at a time as one association can negotiate."""
    for start in range(0, len(kinds), MOST_CONTEXTS):
        yield kinds[start : start + MOST_CONTEXTS]


def differing(samples: Samples, delivered: Sequence[Received]) -> list[str]:
    """Of what was delivered, what WADO-RS would not have sent so; and what is missing."""
    expected = {stored.sop_instance_uid: stored for stored in samples.instances}
    wrong = sorted(expected.keys() - {one.sop_instance_uid for one in delivered})
    for one in delivered:
        stored = expected[one.sop_instance_uid]
        data_set = samples.by_wado(stored)[stored.dataset_offset :]
        as_it_is = one.transfer_syntax_uid == stored.transfer_syntax_uid and one.data_set in (
            data_set,
            data_set + b"\0",
        )
        if not as_it_is and not (len(data_set) % 2 and reads_the_same(samples, stored, one)):
            wrong.append(one.sop_instance_uid)
    return wrong


def reads_the_same(samples: Samples, stored: StoredInstance, one: Received) -> bool:
    """A data set of odd length cannot be sent as it is."""
    wado = pydicom.dcmread(BytesIO(samples.by_wado_uncompressed(stored)))
    return without_vrs(one.read()) == without_vrs(wado)


def test_c_move_delivers_every_instance_as_it_is_stored(samples: Samples, peer: Peer) -> None:
    with receiving(peer.port) as inbox:
        move(samples.archive.port, keys("STUDY", StudyInstanceUID=list(samples.by_study)))
    assert differing(samples, inbox.objects) == []


def test_c_get_delivers_every_instance_as_it_is_stored(samples: Samples) -> None:
    inbox = Inbox()
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stored in samples.instances:
        kinds[stored.sop_class_uid, stored.transfer_syntax_uid].append(stored.sop_instance_uid)
    for some in batched(sorted(kinds.items())):
        get(
            samples.archive.port,
            keys("IMAGE", SOPInstanceUID=[uid for _, uids in some for uid in uids]),
            contexts=[build_context(*kind) for kind, _ in some],
            inbox=inbox,
        )
    assert differing(samples, inbox.objects) == []


@dataclass(frozen=True, slots=True)
class Uncompressed:
    delivered: dict[str, Received]
    failed: frozenset[str]


@pytest.fixture(scope="module")
def implicit(samples: Samples) -> Uncompressed:
    """What a peer gets that takes Implicit VR Little Endian alone."""
    inbox = Inbox()
    classes = sorted({stored.sop_class_uid for stored in samples.instances})
    outcome = get(
        samples.archive.port,
        keys("STUDY", StudyInstanceUID=list(samples.by_study)),
        contexts=[build_context(uid, ImplicitVRLittleEndian) for uid in classes],
        inbox=inbox,
    )
    failed = outcome.failed_uids
    return Uncompressed({one.sop_instance_uid: one for one in inbox.objects}, frozenset(failed))


@pytest.fixture(scope="module")
def uncompressed(
    samples: Samples, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path | None]:
    """What WADO-RS sends uncompressed, by SOP Instance UID; None of what it cannot."""
    folder = tmp_path_factory.mktemp("wado")
    files: dict[str, Path | None] = {}
    for number, stored in enumerate(samples.instances):
        try:
            content = samples.by_wado_uncompressed(stored)
        except NotAcceptable:
            files[stored.sop_instance_uid] = None
            continue
        file = files[stored.sop_instance_uid] = folder / str(number)
        file.write_bytes(content)
    return files


def test_what_cannot_be_uncompressed_fails_as_with_wado(
    uncompressed: dict[str, Path | None], implicit: Uncompressed
) -> None:
    refused = {uid for uid, file in uncompressed.items() if file is None}
    assert refused
    assert implicit.failed == refused
    assert implicit.delivered.keys() == uncompressed.keys() - refused


def test_uncompressed_data_sets_are_those_of_wado(
    samples: Samples,
    uncompressed: dict[str, Path | None],
    implicit: Uncompressed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)
    wrong = []
    compared = 0
    # those that were stored in Implicit VR came as they are
    kept = {
        stored.sop_instance_uid
        for stored in samples.instances
        if stored.transfer_syntax_uid == ImplicitVRLittleEndian
    }
    for uid in implicit.delivered.keys() - kept:
        try:
            expected = without_vrs(pydicom.dcmread(uncompressed[uid] or ""))
            is_same = without_vrs(implicit.delivered[uid].read()) == expected
        except Exception:  # pydicom cannot read or write what is in some of the odd ones
            continue
        compared += 1
        if not is_same:
            wrong.append(uid)
    assert wrong == []
    assert compared > 0.9 * len(implicit.delivered.keys() - kept)


def without_vrs(ds: Dataset) -> Dataset:
    """The same, written and read in Implicit VR Little Endian."""
    written = BytesIO()
    pydicom.dcmwrite(written, Dataset(ds), implicit_vr=True, little_endian=True)
    content = written.getvalue()
    start = part10.read_header(content).dataset_offset if content[128:132] == b"DICM" else 0
    return pydicom.filereader.read_dataset(BytesIO(content[start:]), True, True)


# DCMTK


@pytest.mark.skipif(which("getscu") is None, reason=NO_DCMTK)
class TestDcmtk:
    def test_getscu_writes_what_is_stored(self, samples: Samples, tmp_path: Path) -> None:
        study = _classic(samples)
        self.run(
            *("getscu", "-S", "-od", str(tmp_path), "-aet", CALLING, "-aec", AE_TITLE),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"),
            *("127.0.0.1", str(samples.archive.port)),
        )
        assert self.read(tmp_path) == self.expected(samples, study)

    def test_movescu_has_storescp_write_what_is_stored(
        self, samples: Samples, peer: Peer, tmp_path: Path
    ) -> None:
        study = _classic(samples)
        command = ["storescp", "-od", str(tmp_path), "+xa", str(peer.port)]
        with subprocess.Popen(command, env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"}) as scp:
            try:
                self.wait_for(peer.port)
                self.run(
                    *("movescu", "-S", "-aet", CALLING, "-aec", AE_TITLE, "-aem", peer.ae_title),
                    *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"),
                    *("127.0.0.1", str(samples.archive.port)),
                )
            finally:
                scp.terminate()
        assert self.read(tmp_path) == self.expected(samples, study)

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, timeout=60, capture_output=True)

    def wait_for(self, port: int) -> None:
        subprocess.run(
            ["sh", "-c", f"until echoscu 127.0.0.1 {port} 2>/dev/null; do sleep 0.05; done"],
            check=True,
            timeout=20,
        )

    def read(self, folder: Path) -> list[tuple[str, bytes]]:
        return sorted(_pixels(pydicom.dcmread(path)) for path in folder.iterdir())

    def expected(self, samples: Samples, study: str) -> list[tuple[str, bytes]]:
        stored = samples.by_study[study]
        return sorted(_pixels(pydicom.dcmread(BytesIO(samples.by_wado(one)))) for one in stored)


def _pixels(ds: Dataset) -> tuple[str, bytes]:
    return str(ds.SOPInstanceUID), bytes(ds.PixelData)


def _classic(samples: Samples) -> str:
    """The largest study whose images are uncompressed and of one SOP class."""
    sizes: dict[str, int] = defaultdict(int)
    for study, instances in samples.by_study.items():
        if all(one.frame_bits and not one.deflated and not one.big_endian for one in instances):
            sizes[study] = len(instances)
    return max(sizes, key=lambda study: sizes[study])
