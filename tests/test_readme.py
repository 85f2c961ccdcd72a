"""What README.md and CONTRIBUTING.md say is true of this checkout."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic_core import PydanticUndefined
from pydicom.uid import ExplicitVRLittleEndian

import live
from bfr_dicomweb.example_studies import computed_tomography
from bfr_dicomweb.example_studies.identity import part10, uid
from bfr_dicomweb.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SCREEN_LINES = 32
BLOCKS = [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.M)]
START, TEST = BLOCKS[:2]
CURL_LINES = [line for line in README.splitlines() if line.startswith("curl ")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live.Live]:
    """A server that holds what the README's lines ask for."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    trunk = computed_tomography.abdomen_trunk()
    file = part10(computed_tomography.abdomen_slice(trunk, 46), ExplicitVRLittleEndian)
    with live.running(tmp_path_factory.mktemp("demo")) as server:
        stored = httpx2.post(
            f"{server.url}/studies",
            content=file,
            headers={"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
        )
        stored.raise_for_status()
        yield server


def run(line: str, server: live.Live, folder: Path) -> bytes:
    """What a line of the README prints, or writes to the file it names."""
    line = line.replace("http://127.0.0.1:8080", server.origin)
    arguments = shlex.split(line.replace("curl ", "curl --silent --show-error --fail ", 1))
    done = subprocess.run(arguments, cwd=folder, capture_output=True, check=True)
    if "-o" in arguments:
        return (folder / arguments[arguments.index("-o") + 1]).read_bytes()
    return done.stdout


def table_row(variable: str) -> list[str]:
    """The cells of the settings table's row for a variable."""
    (row,) = re.findall(rf"^\|(.*`{variable}`.*)\|$", README, re.MULTILINE)
    return [cell.strip().strip("`") for cell in row.split("|")]


def default_of(name: str) -> str:
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    if default is None or default is PydanticUndefined:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_first_screen_holds_both_commands() -> None:
    screen = "\n".join(README.splitlines()[:SCREEN_LINES])

    assert START in screen
    assert TEST in screen


@pytest.mark.parametrize("command", [START, TEST], ids=["start", "test"])
def test_a_command_is_one_line(command: str) -> None:
    assert len(command.splitlines()) == 1


@pytest.mark.parametrize("command", [START, TEST], ids=["start", "test"])
def test_a_command_needs_only_python3_with_venv(command: str) -> None:
    programs = {shlex.split(part)[0] for part in command.split("&&")}

    assert {program for program in programs if not program.startswith(".venv/bin/")} == {"python3"}


def test_continuous_integration_runs_the_test_command_as_printed() -> None:
    told = subprocess.run(
        [ROOT / ".ci" / "run", "--print-test-command"], capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == TEST


def test_the_test_command_installs_an_extra_that_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = re.findall(r"\[(\w+)\]", TEST)

    assert extras == ["test"]
    assert "test" in project["optional-dependencies"]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_is_in_the_table_with_its_meaning_and_default(name: str) -> None:
    _, _, default, meaning = table_row(PREFIX + name.upper())
    description = Settings.model_fields[name].description

    assert default == default_of(name)
    assert description is not None
    assert meaning.startswith(description)


def test_the_table_has_no_setting_that_does_not_exist() -> None:
    variables = set(re.findall(rf"\| `{PREFIX}(\w+)` \|", README))

    assert variables == {name.upper() for name in Settings.model_fields}


def test_every_command_of_the_program_is_shown() -> None:
    from bfr_dicomweb import cli  # takes long to import

    commands = {
        command.name or (command.callback.__name__ if command.callback else "")
        for command in cli.cli.registered_commands
    }
    groups = [group.typer_instance for group in cli.cli.registered_groups]
    commands |= {str(group.info.name) for group in groups if group is not None}

    assert commands == set(re.findall(r"^bfr-dicomweb (\w+)", README, re.MULTILINE))


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_links_lead_to_files_of_the_repository(text: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)

    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_map_names_modules_that_exist() -> None:
    package = ROOT / "src" / "bfr_dicomweb"
    missing = []
    for cell in re.findall(r"\|([^|\n]*\.py`[^|\n]*)", CONTRIBUTING):
        folder = Path()
        for name in re.findall(r"`([\w/]+\.py)`", cell):
            folder = Path(name).parent if "/" in name else folder
            missing += [name] if not (package / folder / Path(name).name).is_file() else []

    assert missing == []


def test_the_urls_name_an_example_object() -> None:
    series = computed_tomography.ABDOMEN
    instance = uid(f"{series.study.name} {series.number} 47")
    path = (
        f"/dicomweb/studies/{series.study.study_instance_uid}"
        f"/series/{series.series_instance_uid}/instances/{instance}"
    )

    assert len(re.findall(r"/dicomweb/studies/\S+/instances/[\d.]+", README)) == README.count(path)


def test_the_line_that_searches_finds_the_example_patient(demo: live.Live, tmp_path: Path) -> None:
    (study,) = json.loads(run(CURL_LINES[0], demo, tmp_path))

    assert study["00100010"]["Value"] == [{"Alphabetic": "Åkerström^Björn"}]


def test_the_line_for_metadata_gives_those_of_a_ct(demo: live.Live, tmp_path: Path) -> None:
    (metadata,) = json.loads(run(CURL_LINES[1], demo, tmp_path))

    assert metadata["00080060"]["Value"] == ["CT"]


def test_the_line_for_pixels_gives_as_many_as_the_text_says(
    demo: live.Live, tmp_path: Path
) -> None:
    assert len(run(CURL_LINES[2], demo, tmp_path)) == 512 * 512 * 2


def test_the_line_for_a_file_gives_a_dicom_file(demo: live.Live, tmp_path: Path) -> None:
    assert run(CURL_LINES[3], demo, tmp_path)[128:132] == b"DICM"


def test_the_line_that_stores_is_acknowledged(demo: live.Live, tmp_path: Path) -> None:
    run(CURL_LINES[3], demo, tmp_path)

    answer = json.loads(run(CURL_LINES[4], demo, tmp_path))

    assert len(answer["00081199"]["Value"]) == 1
