"""C-STORE as a modality meets it."""

import os
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ImplicitVRLittleEndian

from bfr_dicomweb.dicom import coercion, part10
from bfr_dicomweb.dicom.coercion import Presumed
from bfr_dicomweb.dimse.peers import ANY, Peer, Quirks
from bfr_dicomweb.dimse.receiving import Fragment, InvalidPdu, PduReader
from bfr_dicomweb.index import finding_rows, instances
from bfr_dicomweb.index.walks import Page
from dimse_sent import (
    Sendable,
    associated,
    c_store,
    open_association,
    send_part,
    sendable,
    store,
)
from dimse_served import AE_TITLE, Served, served
from non_patient_objects import a_non_patient_object
from objects import a_dataset, a_series, an_object, uid, written

STORESCU = "storescu"
OLD_CT = "OLD_CT"
OID = "1.2.752.97.3.1.3"
QUIRKS = Quirks(
    character_set="ISO_IR 100",
    issuer=OID,
    coercions={"00080080": {"vr": "LO", "Value": ["Sahlgrenska"]}},
)
PEERS = (
    Peer(ANY, max_associations=64),
    Peer(OLD_CT, quirks=QUIRKS),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("archive"), peers=PEERS) as opened:
        yield opened


async def _metadata(archive: Served, sop_instance_uid: str) -> dict[str, Any]:
    async with archive.archive.index.read() as conn:
        (stored,) = await instances.by_uids(conn, [sop_instance_uid])
        (document,) = [found async for found in instances.documents(conn, stored.ref)]
    found: dict[str, Any] = orjson.loads(zstandard.ZstdDecompressor().decompress(document.document))
    return found


def metadata(archive: Served, sop_instance_uid: str) -> dict[str, Any]:
    return archive.wait(_metadata(archive, sop_instance_uid))


async def _findings(archive: Served) -> list[finding_rows.FindingRow]:
    async with archive.archive.index.read() as conn:
        return await finding_rows.walk(conn, Page(1000), codes=["irregular-object"])


def findings(archive: Served, study_instance_uid: str) -> list[finding_rows.FindingRow]:
    found = archive.wait(_findings(archive))
    return [row for row in found if row.study_instance_uid == study_instance_uid]


def staged(archive: Served) -> list[Path]:
    """What is on its way in; links of what has just been stored are settled with the next."""
    staging = archive.archive.blobs.staging
    return [path for path in staging.rglob("*") if path.is_file() and path.name != "lock"]


def count(archive: Served) -> int:
    return archive.wait(archive.archive.count_instances())


# --- storing --------------------------------------------------------------------------------


def test_dcmtk_stores_a_series(archive: Served, tmp_path: Path) -> None:
    before = count(archive)
    for number, file in enumerate(a_series(20)):
        (tmp_path / f"{number}.dcm").write_bytes(file)
    done = subprocess.run(
        [STORESCU, "-aec", AE_TITLE, "+sd", "-R", "127.0.0.1", str(archive.port), str(tmp_path)],
        capture_output=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert count(archive) == before + 20


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image Storage, retired
        "1.2.826.0.1.3680043.2.1396.999",  # private
        "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image Storage
    ],
)
def test_a_sop_class_of_any_kind_is_stored(archive: Served, sop_class: str) -> None:
    one = sendable(an_object(SOPClassUID=sop_class))
    assert store(archive.port, one).Status == 0
    assert metadata(archive, one.sop_instance_uid)["00080016"]["Value"] == [sop_class]


def test_a_private_transfer_syntax_is_stored(archive: Served) -> None:
    one = replace(sendable(an_object()), transfer_syntax_uid="1.2.826.0.1.3680043.2.1396.77")
    assert store(archive.port, one).Status == 0


def test_the_response_is_about_the_request(archive: Served) -> None:
    one = sendable(an_object())
    response = store(archive.port, one)
    assert (response.MessageIDBeingRespondedTo, response.AffectedSOPInstanceUID) == (
        1,
        one.sop_instance_uid,
    )


def test_another_sop_instance_uid_than_announced_is_refused(archive: Served) -> None:
    one = replace(sendable(an_object()), sop_instance_uid=uid())
    response = store(archive.port, one)
    assert response.Status == 0xA900
    assert "SOP Instance UID" in str(response.ErrorComment)


def test_another_sop_class_than_announced_is_stored_with_a_finding(archive: Served) -> None:
    dataset = a_dataset()
    one = replace(sendable(written(dataset)), sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    assert store(archive.port, one).Status == 0
    (found,) = findings(archive, dataset.StudyInstanceUID)
    assert found.subject == "sop-class-mismatch"


def test_what_cannot_be_identified_is_refused(archive: Served) -> None:
    one = sendable(an_object(StudyInstanceUID=None))
    assert store(archive.port, one).Status == 0xA900


def test_what_belongs_to_no_study_is_refused_and_its_resource_named(archive: Served) -> None:
    answer = store(archive.port, sendable(a_non_patient_object("hanging-protocols")))

    assert answer.Status == 0xA900
    assert answer.ErrorComment == "of no study: its resource is /hanging-protocols"


def test_what_is_no_data_set_is_refused(archive: Served) -> None:
    one = replace(sendable(an_object()), data_set=b"\xff" * 1000)
    assert store(archive.port, one).Status == 0xC000


def test_after_a_refusal_the_association_goes_on(archive: Served) -> None:
    good = sendable(an_object())
    bad = replace(good, data_set=b"\xff" * 1000)
    with associated(archive.port, [good]) as association:
        answers = [c_store(association, one).Status for one in (bad, good)]
    assert answers == [0xC000, 0]


def test_a_refused_object_leaves_no_file(archive: Served) -> None:
    store(archive.port, sendable(an_object()))
    before = len(staged(archive))
    store(archive.port, replace(sendable(an_object()), data_set=b"\xff" * 1_000_000))
    assert len(staged(archive)) <= before


def test_who_sends_is_in_the_file_meta_information(archive: Served) -> None:
    one = sendable(an_object())
    store(archive.port, one, calling="ct_ONE")

    async def path() -> Path:
        async with archive.archive.index.read() as conn:
            (found,) = await instances.by_uids(conn, [one.sop_instance_uid])
        return archive.archive.blobs.path(found.blob_key)

    file = archive.wait(path()).read_bytes()
    assert file[:132] == bytes(128) + b"DICM"
    assert b"\x02\0\x16\0AE\x06\0ct_ONE" in file


# --- associations that end ------------------------------------------------------------------


@pytest.mark.parametrize("end", ["abort", "cut"])
def test_half_an_object_leaves_nothing(archive: Served, end: str) -> None:
    one = sendable(an_object(Rows=900, Columns=900, PixelData=bytes(900 * 900 * 2)))
    store(archive.port, sendable(an_object()))
    before, files = count(archive), set(staged(archive))
    association = open_association(archive.port, [one])
    send_part(association, one, [one.data_set[: 1 << 20]], is_last=False)
    while not set(staged(archive)) - files:
        time.sleep(0.01)
    if end == "abort":
        association.abort()
    elif association.dul.socket is not None:
        association.dul.socket._shutdown_socket()
    deadline = time.monotonic() + 10
    while set(staged(archive)) - files and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(staged(archive)) - files
    assert count(archive) == before
    association.abort()


def test_sixty_four_associations_store_at_once(archive: Served) -> None:
    objects = [[sendable(file) for file in a_series(4)] for _ in range(64)]
    before = count(archive)

    def send(group: Sequence[Sendable]) -> list[int | None]:
        with associated(archive.port, group) as association:
            return [c_store(association, one).Status for one in group]

    with ThreadPoolExecutor(64) as senders:
        answers = list(senders.map(send, objects))
    assert answers == [[0] * 4] * 64
    assert count(archive) == before + 256


# --- what is known of a sender --------------------------------------------------------------


def test_text_without_a_character_set_is_read_by_that_of_its_sender(archive: Served) -> None:
    dataset = a_dataset(SpecificCharacterSet="ISO_IR 100", PatientName="Åkerström^Björn")
    one = sendable(written(dataset))
    declared = struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
    one = replace(one, data_set=one.data_set.replace(declared, b""))
    assert store(archive.port, one, calling=OLD_CT).Status == 0
    found = metadata(archive, one.sop_instance_uid)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Åkerström^Björn"}]
    assert not findings(archive, dataset.StudyInstanceUID)


def test_a_declared_character_set_is_believed(archive: Served) -> None:
    one = sendable(an_object())
    store(archive.port, one, calling=OLD_CT)
    found = metadata(archive, one.sop_instance_uid)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Åkerström^Björn"}]


def test_the_issuer_of_a_sender_is_added_and_its_absence_recorded(archive: Served) -> None:
    one = sendable(an_object())
    store(archive.port, one, calling=OLD_CT)
    found = metadata(archive, one.sop_instance_uid)
    assert found["00100024"]["Value"][0]["00400032"]["Value"] == [OID]
    (original,) = found["04000561"]["Value"]
    assert original["04000550"]["Value"][0]["00100024"] == {"vr": "SQ"}
    assert original["04000565"]["Value"] == ["COERCE"]
    assert original["04000563"]["Value"] == [AE_TITLE]


def test_an_issuer_that_is_named_stays(archive: Served) -> None:
    one = sendable(an_object(IssuerOfPatientID="Region Halland"))
    store(archive.port, one, calling=OLD_CT)
    found = metadata(archive, one.sop_instance_uid)
    assert found["00100021"]["Value"] == ["Region Halland"]
    assert "00100024" not in found


def test_an_empty_attribute_is_filled_for_a_sender(archive: Served) -> None:
    one = sendable(an_object(InstitutionName=""))
    store(archive.port, one, calling=OLD_CT)
    assert metadata(archive, one.sop_instance_uid)["00080080"]["Value"] == ["Sahlgrenska"]


def test_the_bytes_of_a_coerced_object_are_those_received(archive: Served) -> None:
    one = sendable(an_object())
    store(archive.port, one, calling=OLD_CT)

    async def kept() -> bytes:
        async with archive.archive.index.read() as conn:
            (found,) = await instances.by_uids(conn, [one.sop_instance_uid])
        return archive.archive.blobs.path(found.blob_key).read_bytes()[found.dataset_offset :]

    assert archive.wait(kept()) == one.data_set


def test_nothing_is_added_for_other_senders(archive: Served) -> None:
    one = sendable(an_object())
    store(archive.port, one)
    assert "04000561" not in metadata(archive, one.sop_instance_uid)


def test_what_was_presumed_is_written_beside_the_object() -> None:
    told = Presumed("CT1", "ISO_IR 100", OID, QUIRKS.coercions, "BFR")
    meta = part10.write_file_meta({"00020010": "1.2.840.10008.1.2", **coercion.written(told)})
    header = part10.read_header(meta)
    assert coercion.recorded(header.file_meta) == told


# --- findings -------------------------------------------------------------------------------


def test_an_oddity_of_many_objects_is_one_finding_of_their_study(archive: Served) -> None:
    study = uid()
    for file in a_series(5, StudyInstanceUID=study):
        one = sendable(file.replace(b"ISO_IR 192", b"ISO IR_192"))
        assert store(archive.port, one).Status == 0
    (found,) = findings(archive, study)
    assert (found.code, found.subject) == ("irregular-object", "unknown-character-set")
    assert found.performer == "MODALITY"
    assert "00080005" in found.detail


def test_a_sound_object_raises_no_finding(archive: Served) -> None:
    dataset = a_dataset()
    store(archive.port, sendable(written(dataset)))
    assert not findings(archive, dataset.StudyInstanceUID)


def test_unknown_private_attributes_in_implicit_vr_are_stored(archive: Served) -> None:
    dataset = a_dataset()
    dataset.add_new(0x00990010, "LO", "ACME 1.0")
    dataset.add_new(0x00991001, "UN", b"odd ")
    one = sendable(written(dataset, ImplicitVRLittleEndian))
    assert store(archive.port, one).Status == 0
    assert metadata(archive, one.sop_instance_uid)["00991001"]["vr"] == "UN"


# --- PDUs -----------------------------------------------------------------------------------

VALUES = st.lists(
    st.tuples(st.integers(1, 255), st.integers(0, 3), st.binary(max_size=300)), min_size=1
)


def _p_data(values: Sequence[tuple[int, int, bytes]]) -> bytes:
    body = b"".join(
        struct.pack(">LBB", len(data) + 2, context_id, control) + data
        for context_id, control, data in values
    )
    return struct.pack(">BxL", 4, len(body)) + body


def _read(stream: bytes, cuts: Sequence[int]) -> list[Fragment | bytes]:
    reader, found = PduReader(), []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, stop in pairwise(places):
        position = start
        while position < stop:
            room = reader.room()
            size = min(len(room), stop - position)
            room[:size] = stream[position : position + size]
            reader.received(size)
            position += size
            while (unit := reader.next(in_fragments=True)) is not None:
                found.append(unit)
    return found


def _values(units: Sequence[Fragment | bytes]) -> list[tuple[int, int, bytes]]:
    fragments = [unit for unit in units if isinstance(unit, Fragment)]
    return [(one.context_id, one.control, bytes(one.data)) for one in fragments]


@given(
    pdus=st.lists(VALUES, max_size=5),
    held=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 10_000)),
)
def test_a_stream_says_the_same_however_it_is_cut(
    pdus: list[list[tuple[int, int, bytes]]], held: bytes, cuts: list[int]
) -> None:
    other = struct.pack(">BxL", 5, len(held)) + held
    stream = b"".join(_p_data(values) for values in pdus) + other
    sent = [value for values in pdus for value in values]
    assert _values(_read(stream, [])) == sent
    cut = _read(stream, cuts)
    assert cut[-1] == other
    assert b"".join(data for *_, data in _values(cut)) == b"".join(data for *_, data in sent)
    ends = [control for _, control, _ in _values(cut) if control & 2]
    assert ends == [control for _, control, _ in sent if control & 2]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x09\0\0\0\0\x04abcd",
        b"\x04\0\0\0\0\0",
        b"\x04\0\0\0\0\x06\0\0\0\x08\x01\x03",
        b"\x04\0\0\0\0\x06\0\0\0\x01\x01\x03",
        b"\x01\0\xff\xff\xff\xff",
    ],
)
def test_what_is_no_pdu_is_told(stream: bytes) -> None:
    with pytest.raises(InvalidPdu):
        _read(stream, [])
