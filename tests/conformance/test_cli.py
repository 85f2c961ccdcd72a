"""The command, against a real server on a loopback port."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from dicomweb_conformance import cli
from dicomweb_conformance.cases import all_cases
from planted_faults import Fault, Peer, on, status
from right_server import RightServer


class Served(ThreadingHTTPServer):
    """The right server on a socket; a fault can be planted while it runs."""

    peer = Peer()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/dicomweb"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Served

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        request = httpx2.Request(
            self.command,
            f"http://right.example{self.path}",
            headers=list(self.headers.items()),
            content=self.rfile.read(length),
        )
        if "accept" not in self.headers:
            request.headers.pop("accept", None)
        right = self.server.peer(request)
        self.send_response(right.status_code)
        for name, value in right.headers.items():
            self.send_header(name, value)
        if "content-length" not in right.headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(right.content)

    do_GET = do_POST = do_DELETE = do_OPTIONS = do_PATCH = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(("127.0.0.1", 0), Handler) as server:
        server.peer = Peer(RightServer())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def command(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environment).invoke(cli.app, arguments)


def run(served: Served, *arguments: str, fault: Fault | None = None) -> Result:
    served.peer.fault = fault
    return command("run", "--base-url", served.base_url, *arguments)


def test_a_right_server_gives_status_0_and_a_summary(served: Served) -> None:
    done = run(served, "COM-01", "MET-01")

    assert done.exit_code == 0, done.output
    assert "PASS  COM-01 no-accept-header-is-406 (8.7.5, 8.7.7)" in done.output
    assert "COM Common rules" in done.output


def test_a_broken_shall_gives_status_1_and_its_reason(served: Served) -> None:
    done = run(served, "COM-01", fault=status(200, on(without="accept")))

    assert done.exit_code == 1
    assert "expected 406, got 200" in done.output


def test_a_broken_should_gives_status_0(served: Served) -> None:
    done = run(served, "COM-26", fault=status(400, on("PATCH")))

    assert done.exit_code == 0
    assert "WARN" in done.output


def test_should_and_may_can_be_left_out(served: Served) -> None:
    done = run(served, "COM-26", "COM-27", "--level", "shall")

    assert "COM-27" in done.output
    assert "COM-26" not in done.output


def test_reports_are_written_where_they_are_wanted(served: Served, tmp_path: Path) -> None:
    done = run(served, "COM-01", "--report", str(tmp_path))

    assert done.exit_code == 0
    recorded = json.loads((tmp_path / "report.json").read_text())
    assert recorded["base_url"] == served.base_url
    assert recorded["cases"][0]["outcome"] == "PASS"


def test_a_run_leaves_nothing_behind(served: Served) -> None:
    run(served, "COM")

    assert served.peer.server.files == {}


def test_credentials_come_from_the_environment(served: Served, tmp_path: Path) -> None:
    served.peer.server.password = "right"
    arguments = ("run", "--base-url", served.base_url, "COM-28", "--report", str(tmp_path))

    done = command(*arguments, environment={"DICOMWEB_CONFORMANCE_AUTH": "bearer:right"})

    assert "PASS  COM-28" in done.output
    assert "right" not in (tmp_path / "report.json").read_text().lower().replace(
        "right.example", ""
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--base-url", "ftp://x/"], "no http or https URL"),
        (["--base-url", "http://me:secret@x/"], "--auth"),
        (["--base-url", "http://127.0.0.1:1/", "COM-01"], "cannot be reached"),
        (["--base-url", "http://x/", "COM-99"], "COM-99"),
        (["--base-url", "http://x/", "--auth", "secret"], "bearer:TOKEN"),
        (["--base-url", "http://x/", "--auth", "@/no/such/file"], "No such file"),
        (["--base-url", "http://x/", "--ca", "/no/such/file"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], reason: str) -> None:
    done = command("run", *arguments)

    assert done.exit_code == 2
    assert reason in done.stderr
    assert "Traceback" not in done.output
    assert "secret" not in done.stderr


def test_every_case_is_listed() -> None:
    done = command("list")

    assert [line.split()[0] for line in done.output.splitlines()] == [c.id for c in all_cases()]


@pytest.mark.parametrize("name", ["COM-01", "com-01", "no-accept-header-is-406"])
def test_a_case_is_shown_with_what_it_asks(name: str) -> None:
    done = command("show", name)

    for said in ("PS3.18 8.7.5", "shall", "without an Accept header", "406", "F1"):
        assert said in done.output


@pytest.mark.parametrize("selected", ["8.7", "COM", "8.7.5"])
def test_a_section_or_a_chapter_selects_its_cases(selected: str) -> None:
    assert "COM-01" in command("list", selected).output
    assert "CAP-01" not in command("list", selected).output


def test_two_runs_are_compared(served: Served, tmp_path: Path) -> None:
    run(served, "COM-01", "--report", str(tmp_path / "a"))
    wrong = status(200, on(without="accept"))
    run(served, "COM-01", "--report", str(tmp_path / "b"), fault=wrong)

    done = command("compare", *(str(tmp_path / name / "report.json") for name in "ab"))

    assert done.exit_code == 0
    assert "PASS" in done.output
    assert "FAIL" in done.output


def test_what_is_no_record_cannot_be_compared(tmp_path: Path) -> None:
    done = command("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))

    assert done.exit_code == 2
    assert "No such file" in done.stderr


def test_the_matrix_shows_requirements_with_their_cases() -> None:
    output = command("coverage").output

    assert "COM-01" in output
    assert "not tested: It is a requirement on clients." in output
