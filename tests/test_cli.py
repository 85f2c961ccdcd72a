"""The program as people run it: real processes, real folders."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from bfr_dicomweb.cli import cli
from bfr_dicomweb.services.archive import Archive
from live import Live, free_port
from media import write_media
from objects import a_dataset, a_series, an_object, uid, written

COMMANDS = ["serve", "demo", "import", "check", "rebuild", "settings"]
MANY = 1200
WAIT_S = 120.0


def in_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.strip() for line in done.stdout.splitlines()]


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that could not start."""
    (line,) = done.stderr.splitlines()
    return line


def write_all(folder: Path, files: list[bytes]) -> Path:
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(file)
    return folder


# --- help, settings and wrong settings --------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_what_it_does(command: str) -> None:
    told = CliRunner().invoke(cli, [command, "--help"])

    assert told.exit_code == 0
    assert "Usage:" in told.output


def test_without_a_command_the_commands_are_listed() -> None:
    told = CliRunner().invoke(cli, []).output

    assert [command for command in COMMANDS if command not in told] == []


@pytest.mark.parametrize("arguments", [["--help"], ["settings"]])
def test_what_needs_no_server_does_not_load_one(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from bfr_dicomweb import cli\n"
        f"sys.argv = ['bfr-dicomweb', *{arguments!r}]\n"
        "try:\n    cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print('loaded', *({'starlette', 'uvicorn', 'sqlalchemy', 'pydicom'} & set(sys.modules)))"
    )
    live = Live(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=live.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "loaded"


def test_settings_are_printed_as_variables(tmp_path: Path) -> None:
    live = Live(tmp_path, {"workers": "3"})

    done = live.command("settings")

    assert {"BFR_WORKERS=3", f"BFR_DATA={live.data}"} <= set(in_lines(done))


def test_the_password_of_the_database_is_not_printed(tmp_path: Path) -> None:
    live = Live(tmp_path, {"database_url": "postgresql://bfr:s3cret@db.example.org/bfr"})

    done = live.command("settings")

    assert "BFR_DATABASE_URL=***" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_an_option_counts_more_than_a_variable(tmp_path: Path) -> None:
    done = Live(tmp_path, {"workers": "3"}).command("settings", "--workers", "4")

    assert "BFR_WORKERS=4" in in_lines(done)


def test_the_settings_of_a_file_are_used(tmp_path: Path) -> None:
    config = tmp_path / "bfr.toml"
    config.write_text("max_results = 300")

    done = Live(tmp_path).command("settings", "--config", str(config))

    assert "BFR_MAX_RESULTS=300" in in_lines(done)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_result": "5"}, "bfr-dicomweb: unknown setting: BFR_MAX_RESULT"),
        ({"http": "0.0.0.0:8080"}, "0.0.0.0 is no loopback address"),
        (
            {"database_url": "postgresql://bfr:s3cret@127.0.0.1:1/bfr"},
            "the catalogue's database cannot be reached",
        ),
    ],
    ids=["unknown", "open to strangers", "no database"],
)
def test_a_setting_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    done = Live(tmp_path, {"http": f"127.0.0.1:{free_port()}"} | settings).command("serve")

    assert done.returncode == 1
    assert said in error_of(done)
    assert "s3cret" not in done.stderr


def test_an_address_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        done = Live(tmp_path, {"http": address}).command("serve")

    assert done.returncode == 1
    assert error_of(done).startswith(f"bfr-dicomweb: http: cannot listen on {address}")


def test_a_data_folder_that_cannot_be_one_is_told_in_one_line(tmp_path: Path) -> None:
    live = Live(tmp_path, {"http": f"127.0.0.1:{free_port()}"})
    live.data.write_text("a file")

    done = live.command("serve")

    assert done.returncode == 1
    assert error_of(done).startswith(f"bfr-dicomweb: the data folder {live.data} cannot be used")


def test_a_path_that_does_not_exist_is_not_imported(tmp_path: Path) -> None:
    done = Live(tmp_path).command("import", str(tmp_path / "nothing"))

    assert done.returncode == 2
    assert not (tmp_path / "data").exists()


# --- import -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """An archive beside a folder ``mixed`` of all that an import meets."""
    root = tmp_path_factory.mktemp("mixed")
    folder = root / "mixed"
    write_all(folder / "deep" / "er", a_series(3))
    taken = uid()
    write_all(folder / "taken", [an_object(SOPInstanceUID=taken, PatientID=n) for n in "12"])
    (folder / "README.txt").write_text("no image at all")
    (folder / "nameless.dcm").write_bytes(written(a_dataset(SeriesInstanceUID=None)))
    with zipfile.ZipFile(folder / "media.ZIP", "w") as archive:
        for number, file in enumerate(a_series(2)):
            archive.writestr(f"IMAGES/{number}", file)
        archive.writestr("DICOMDIR", b"not looked at")
    (folder / "torn.zip").write_bytes(b"PK\x03\x04 cut short")
    return Live(root)


@pytest.fixture(scope="module")
def first(mixed: Live) -> subprocess.CompletedProcess[str]:
    return mixed.command("import", str(mixed.data.parent / "mixed"))


@pytest.mark.parametrize("line", ["files     10", "stored    6", "duplicate 0", "refused   4"])
def test_an_import_ends_with_counts(first: subprocess.CompletedProcess[str], line: str) -> None:
    assert line in in_lines(first), first.stdout


@pytest.mark.parametrize(
    ("reason", "example"),
    [
        ("Series Instance UID (0020,000E) is missing", "nameless.dcm"),
        ("the SOP Instance UID is taken", "taken/"),
        ("PS3.10 file", "README.txt"),
    ],
)
def test_an_import_tells_why_files_were_refused_with_an_example(
    first: subprocess.CompletedProcess[str], reason: str, example: str
) -> None:
    lines = in_lines(first)
    (at,) = [at for at, line in enumerate(lines) if line.startswith("1 x ") and reason in line]

    assert example in lines[at + 1]


def test_an_import_that_refused_something_exits_with_one(
    first: subprocess.CompletedProcess[str],
) -> None:
    assert first.returncode == 1


def test_an_import_without_a_terminal_says_when_it_is_done(
    first: subprocess.CompletedProcess[str],
) -> None:
    assert "importing: 10 done" in first.stderr.splitlines()


def test_an_import_that_is_run_again_finds_duplicates_only(
    mixed: Live, first: subprocess.CompletedProcess[str]
) -> None:
    again = mixed.command("import", str(mixed.data.parent / "mixed"))

    assert {"stored    0", "duplicate 6", "refused   4"} <= set(in_lines(again))


def test_a_media_directory_stands_for_what_it_lists(tmp_path: Path) -> None:
    directory = write_media(tmp_path / "media", a_series(2))
    write_all(tmp_path / "media" / "OTHERS", [an_object()])

    done = Live(tmp_path).command("import", str(directory))

    assert done.returncode == 0
    assert {"stored    2", "refused   0"} <= set(in_lines(done))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of more files than are imported in a moment."""
    folder = tmp_path_factory.mktemp("many")
    template = written(a_dataset(SOPInstanceUID="2.25." + "1" * 39))
    for number in range(MANY):
        file = template.replace(b"2.25." + b"1" * 39, f"2.25.{10**38 + number}".encode())
        (folder / f"{number:05}").write_bytes(file)
    return folder


def test_an_interrupted_import_is_completed_by_another(many: Path, tmp_path: Path) -> None:
    live = Live(tmp_path)
    stored_before = interrupt_import(live, many, signal.SIGINT)

    done = live.command("import", str(many))

    assert {f"files     {MANY}", "refused   0"} <= set(in_lines(done))
    (duplicates,) = re.findall(r"^duplicate (\d+)$", done.stdout, re.MULTILINE)
    assert stored_before <= int(duplicates) < MANY


def test_an_archive_is_whole_after_a_killed_import_was_run_again(
    many: Path, tmp_path: Path
) -> None:
    live = Live(tmp_path)
    interrupt_import(live, many, signal.SIGKILL)
    live.command("import", str(many))

    checked = live.command("check")

    assert in_lines(checked) == [f"verified {MANY}", "clean"]


def interrupt_import(live: Live, folder: Path, number: signal.Signals) -> int:
    """Start an import and end it in the middle; gives how many were stored by then at least."""
    command = [sys.executable, "-m", "bfr_dicomweb", "import", str(folder)]
    with subprocess.Popen(
        [*command, "--data", str(live.data)],
        env=live.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        progress = process.stderr.readline()
        process.send_signal(number)
        rest = process.stderr.read()
    assert progress == "importing: 1000\n"
    assert "Traceback" not in rest
    assert process.returncode != 0
    return 1000


# --- demo -------------------------------------------------------------------------------------


@contextmanager
def demonstrating(live: Live) -> Iterator[str]:
    """`bfr-dicomweb demo` on the archive until it answers; gives what it said at its start."""
    command = [sys.executable, "-m", "bfr_dicomweb", "demo", "--data", str(live.data)]
    live.log.touch()
    with live.log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--http", f"127.0.0.1:{live.port}"],
            env=live.environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until_ready(live, process)
        yield live.log.read_text()
    finally:
        process.terminate()
        process.wait(WAIT_S)


def wait_until_ready(live: Live, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{live.origin}/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the demo did not start:\n{live.log.read_text()[-4000:]}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, str]]:
    live = Live(tmp_path_factory.mktemp("demo"))
    with demonstrating(live) as said:
        yield live, said


def test_the_demo_says_where_it_is(demo: tuple[Live, str]) -> None:
    live, said = demo

    assert f"DICOMweb at {live.url}," in said


def test_a_line_that_the_demo_suggests_finds_the_example_studies(demo: tuple[Live, str]) -> None:
    _, said = demo
    (url,) = re.findall(r"curl -H 'Accept: application/dicom\+json' '(\S+limit=5)'", said)

    found = httpx2.get(url, headers={"Accept": "application/dicom+json"}).json()

    assert len(found) > 1


def test_another_line_finds_the_series_of_an_example_study(demo: tuple[Live, str]) -> None:
    _, said = demo
    (url,) = re.findall(r"curl -H 'Accept: application/dicom\+json' '(\S+/series)'", said)

    found = httpx2.get(url, headers={"Accept": "application/dicom+json"})

    assert found.status_code == 200


async def store(data: Path, file: bytes) -> None:
    archive = await Archive.open(index_url=f"sqlite:///{data}/catalogue.sqlite", data=data)
    receiving = archive.store.receive()
    await receiving.write(file)
    await (await receiving.finish())
    await archive.close()


def test_the_demo_leaves_an_archive_that_holds_something_alone(tmp_path: Path) -> None:
    live = Live(tmp_path)
    asyncio.run(store(live.data, an_object()))

    with demonstrating(live) as said:
        answer = httpx2.get(f"{live.url}/instances", headers={"Accept": "application/dicom+json"})

    assert len(answer.json()) == 1
    assert "/series'" not in said
