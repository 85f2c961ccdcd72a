"""`bfr-dicomweb dimse` as operators run it, with peers made of pynetdicom and DCMTK."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

import commands
from dimse_peers import Entity, dcmqrscp, listening
from live import Live, free_port
from objects import a_series, uid

STUDY = uid()


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return commands.run(["dimse", *arguments], Live(folder, settings).environment)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that failed."""
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def pacs() -> Iterator[Entity]:
    with listening(Entity("PACS")) as entity:
        yield entity


@pytest.fixture
def name(pacs: Entity) -> Iterator[str]:
    """Of a peer that takes everything, unless a test tells it otherwise."""
    pacs.stored.clear()
    pacs.attempts.clear()
    pacs.actions.clear()
    yield f"PACS@127.0.0.1:{pacs.port}"
    pacs.store = lambda entity, event: 0x0000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and something else, a folder down."""
    below = tmp_path / "images" / "below"
    below.mkdir(parents=True)
    for number, made in enumerate(a_series(3)):
        (below / f"{number}.dcm").write_bytes(made)
    return tmp_path / "images"


@pytest.fixture(scope="module")
def qr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a dcmqrscp that holds a study of two images."""
    with dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"), title="DCMTK") as peer:
        sent = tmp_path_factory.mktemp("sent")
        for number, made in enumerate(a_series(2, StudyInstanceUID=STUDY)):
            (sent / f"{number}.dcm").write_bytes(made)
        done = run(sent, "send", peer, str(sent))
        assert done.returncode == 0, done.stderr
        yield peer


# --- echo ---------------------------------------------------------------------------------------


def test_echo_tells_that_a_peer_answers(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "echo", qr)

    assert (done.returncode, done.stdout.startswith("DCMTK answers in ")) == (0, True)


def test_echo_tells_in_one_line_that_nobody_is_there(tmp_path: Path) -> None:
    done = run(tmp_path, "echo", f"NOBODY@127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert error_of(done) == "bfr-dicomweb: NOBODY cannot be reached: Connection refused"


def test_a_configured_peer_is_called_by_its_title(tmp_path: Path, qr: str) -> None:
    port = qr.rpartition(":")[2]
    file = tmp_path / "peers.toml"
    file.write_text(f'[[peers]]\nae_title = "DCMTK"\nhost = "127.0.0.1"\nport = {port}\n')

    done = run(tmp_path, "echo", "DCMTK", "--peers", str(file))

    assert (done.returncode, done.stderr) == (0, "")


def test_a_title_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "echo", "NOBODY")

    assert "NOBODY: no peer of this title is configured" in error_of(done)


@pytest.mark.parametrize("name", ["A@host", "A@host:0", "A@:104", "A" * 17 + "@host:104"])
def test_a_malformed_address_is_refused(tmp_path: Path, name: str) -> None:
    assert "has to be an AE title, or AET@HOST:PORT" in error_of(run(tmp_path, "echo", name))


# --- find, move, get ----------------------------------------------------------------------------


def test_find_prints_a_line_for_each_match(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "find", qr, "-k", "PatientID=191212121212", "-k", "StudyInstanceUID")

    assert done.stdout.splitlines()[0].split("\t")[:2] == ["191212121212", STUDY]
    assert done.stderr == "1 found\n"


def test_find_below_a_study_lists_its_series(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "find", qr, "--level", "series", "-k", f"StudyInstanceUID={STUDY}")

    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["CT"]


def test_find_can_answer_in_dicom_json(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "find", qr, "--json", "-k", f"StudyInstanceUID={STUDY}")

    assert [json.loads(line)["0020000D"]["Value"] for line in done.stdout.splitlines()] == [[STUDY]]


def test_find_refuses_what_is_no_keyword(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "find", qr, "-k", "Patient=1")

    assert error_of(done) == "bfr-dicomweb: Patient is no keyword of an attribute of DICOM"


def test_get_writes_the_objects_as_files(tmp_path: Path, qr: str) -> None:
    done = run(
        tmp_path, "get", qr, "--to", str(tmp_path / "new"), "-k", f"StudyInstanceUID={STUDY}"
    )

    fetched = [dcmread(file) for file in (tmp_path / "new").iterdir()]
    assert {str(one.StudyInstanceUID) for one in fetched} == {STUDY}
    assert (len(fetched), done.stdout, done.returncode) == (2, "completed 2, failed 0\n", 0)


def test_move_to_a_destination_that_is_not_known_fails(tmp_path: Path, qr: str) -> None:
    done = run(tmp_path, "move", qr, "--to", "STRANGER", "-k", f"StudyInstanceUID={STUDY}")

    assert (done.returncode, "A801H" in done.stderr) == (1, True)


# --- send files ---------------------------------------------------------------------------------


def test_files_below_a_folder_are_sent(folder: Path, name: str, pacs: Entity) -> None:
    done = run(folder, "send", name, str(folder))

    assert (done.returncode, done.stdout) == (0, "sent 3 of 3\n")
    assert len(set(pacs.stored)) == 3


def test_what_is_no_object_is_told_and_fails(folder: Path, name: str) -> None:
    (folder / "notes.txt").write_text("none")

    done = run(folder, "send", name, str(folder))

    assert (done.returncode, done.stdout) == (1, "sent 3 of 3\n")
    assert done.stderr.splitlines()[-1] == "1 x it is no DICOM file of an instance"


def test_a_refusal_is_told_with_its_status(folder: Path, name: str, pacs: Entity) -> None:
    pacs.store = lambda entity, event: 0xA700 if len(entity.attempts) == 2 else 0x0000

    done = run(folder, "send", name, str(folder))

    assert (done.returncode, done.stdout) == (1, "sent 2 of 3\n")
    assert done.stderr.splitlines()[-1] == "1 x refused with status A700H"


def test_resuming_leaves_out_what_the_journal_notes(
    folder: Path, name: str, pacs: Entity, tmp_path: Path
) -> None:
    journal = str(tmp_path / "journal")
    pacs.store = lambda entity, event: 0xA700 if len(entity.attempts) == 2 else 0x0000
    run(folder, "send", name, str(folder), "--journal", journal)

    done = run(folder, "send", name, str(folder), "--journal", journal, "--resume")

    assert (done.returncode, done.stdout) == (0, "sent 1 of 1, left out 2\n")
    assert (len(pacs.attempts), len(set(pacs.stored))) == (4, 3)


def test_files_are_committed_to_on_the_association_of_the_request(folder: Path) -> None:
    def promise(entity: Entity, event: Any) -> int:
        """To keep everything, in a moment."""
        result = Dataset()
        result.TransactionUID = event.action_information.TransactionUID
        result.ReferencedSOPSequence = event.action_information.ReferencedSOPSequence
        event_report = (result, 1, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1")
        threading.Timer(0.3, event.assoc.send_n_event_report, event_report).start()
        return 0x0000

    with listening(Entity("KEEPER", action=promise)) as entity:
        done = run(folder, "send", f"KEEPER@127.0.0.1:{entity.port}", str(folder), "--commit")

    assert done.stdout == "sent 3 of 3\ncommitted 3, refused 0\n"


# --- send studies of the archive ----------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """An archive with a study of three images; no server runs."""
    folder = tmp_path_factory.mktemp("archive")
    live = Live(folder)
    images = folder / "images"
    images.mkdir()
    for number, made in enumerate(a_series(3, StudyInstanceUID=STUDY)):
        (images / f"{number}.dcm").write_bytes(made)
    done = commands.run(["import", str(images), "--data", str(live.data)], live.environment)
    assert done.returncode == 0
    return live


def test_a_study_of_the_archive_is_sent(archive: Live, name: str, pacs: Entity) -> None:
    done = run(archive.data.parent, "send", name, STUDY, "--data", str(archive.data))

    assert (done.returncode, done.stdout.rpartition("is ")[2]) == (0, "done: sent 3\n")
    assert len(set(pacs.stored)) == 3


def test_what_a_peer_refused_is_sent_when_it_is_resumed(
    archive: Live, name: str, pacs: Entity
) -> None:
    pacs.store = lambda entity, event: 0x0122 if len(entity.attempts) == 2 else 0x0000
    first = run(archive.data.parent, "send", name, STUDY, "--data", str(archive.data))
    assert (first.returncode, "failed 1, sent 2" in first.stdout) == (1, True)

    done = run(archive.data.parent, "send", name, "--resume", "--data", str(archive.data))

    assert (done.returncode, "done: sent 3" in done.stdout) == (0, True)
    assert (len(pacs.attempts), len(set(pacs.stored))) == (4, 3)


def test_a_study_that_is_not_there_is_told(archive: Live, name: str) -> None:
    done = run(archive.data.parent, "send", name, "2.25.1", "--data", str(archive.data))

    assert (done.returncode, error_of(done)) == (1, "bfr-dicomweb: no such study")


def test_a_job_to_a_peer_that_is_away_stays(archive: Live) -> None:
    away = f"AWAY@127.0.0.1:{free_port()}"

    done = run(archive.data.parent, "send", away, STUDY, "--data", str(archive.data))

    assert (done.returncode, "waiting 3" in done.stdout) == (1, True)
    assert "bfr-dicomweb: AWAY cannot be reached: Connection refused" in done.stderr


def test_send_without_anything_to_send_is_refused(tmp_path: Path, name: str) -> None:
    assert "name files, folders or studies" in error_of(run(tmp_path, "send", name))


def test_a_mixture_of_files_and_others_is_refused(folder: Path, name: str) -> None:
    done = run(folder, "send", name, str(folder), "2.25.1")

    assert "2.25.1: there is no such file" in error_of(done)
