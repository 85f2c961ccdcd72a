"""The suite over real TLS: whom it trusts, and what becomes of credentials."""

import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from httpx2 import Request
from typer.testing import CliRunner, Result

from certificates import Authority
from dicomweb_conformance import cli
from dicomweb_conformance.exchanges import MASK
from dicomweb_conformance.verdicts import Outcome
from planted_faults import Fault, judged
from right_served import Served, serving
from right_server import Answer, answer
from right_worklist import Worklist

PASSED: Final = "PASS  COM-01"
# Cases that see answers of success and refusals, and the one that leaves credentials out.
CASES: Final = ("COM-01", "COM-04", "COM-28", "MET-01", "STW-01")
REPORTS: Final = ("report.json", "report.html", "junit.xml")
TOKEN: Final = "token-of-4711"
PASSWORD: Final = "pass:word-0815"
BASIC: Final = b64encode(f"anna:{PASSWORD}".encode()).decode()
# What --auth is given, and the header with which the server has to see it.
FORMS: Final[dict[str, tuple[str, tuple[str, str]]]] = {
    "bearer": (f"bearer:{TOKEN}", ("Authorization", f"Bearer {TOKEN}")),
    "basic": (f"basic:anna:{PASSWORD}", ("Authorization", f"Basic {BASIC}")),
    "header": (f"header:X-Key:{TOKEN}", ("X-Key", TOKEN)),
    "header with a colon": (f"header:X-Key: id:{TOKEN}", ("X-Key", f"id:{TOKEN}")),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("server")


@pytest.fixture(scope="module")
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    return made


@pytest.fixture(scope="module")
def served(tls: ssl.SSLContext) -> Iterator[Served]:
    with serving(tls) as server:
        yield server


def run(base_url: str, *arguments: str | Path, auth: str = "") -> Result:
    environment = {"DICOMWEB_CONFORMANCE_AUTH": auth}
    return CliRunner(env=environment).invoke(
        cli.app, ["run", "--base-url", base_url, *map(str, arguments)]
    )


# --- whom it trusts -----------------------------------------------------------------------------


def test_a_certificate_of_the_named_authority_is_trusted(
    served: Served, authority: Authority
) -> None:
    done = run(served.base_url, "COM-01", "--ca", authority.ca)

    assert (done.exit_code, PASSED in done.output) == (0, True), done.output


def test_the_servers_certificate_alone_can_be_trusted(
    served: Served, certificate: tuple[Path, Path]
) -> None:
    done = run(served.base_url, "COM-01", "--ca", certificate[0])

    assert (done.exit_code, PASSED in done.output) == (0, True), done.output


def test_any_certificate_is_trusted_where_that_is_wanted(served: Served) -> None:
    done = run(served.base_url, "COM-01", "--insecure")

    assert (done.exit_code, PASSED in done.output) == (0, True), done.output


def test_an_unknown_authority_is_not_trusted_and_nothing_is_judged(served: Served) -> None:
    done = run(served.base_url, "COM-01")

    assert done.exit_code == 2
    assert "its certificate is not trusted" in done.stderr
    assert "see --ca and --insecure" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "COM-01" not in done.stdout


def test_another_authority_is_not_trusted(served: Served, tmp_path: Path) -> None:
    done = run(served.base_url, "COM-01", "--ca", Authority(tmp_path / "other").ca)

    assert done.exit_code == 2
    assert "its certificate is not trusted" in done.stderr


@pytest.mark.parametrize(("option", "status"), [("--ca", 2), ("--insecure", 0)])
def test_a_certificate_of_another_host_is_trusted_only_where_any_is(
    option: str, status: int, served: Served, authority: Authority
) -> None:
    by_address = served.base_url.replace("localhost", "127.0.0.1")

    done = run(by_address, "COM-01", option, *([authority.ca] if option == "--ca" else []))

    assert done.exit_code == status, done.output
    assert ("IP address mismatch" in done.stderr) == (status == 2)


def test_tls_where_none_is_spoken_is_said_in_one_line() -> None:
    with serving() as plain:
        done = run(plain.base_url.replace("http:", "https:"), "COM-01")

    assert done.exit_code == 2
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_tls_where_it_is_spoken_is_said_in_one_line(served: Served) -> None:
    done = run(served.base_url.replace("https:", "http:"), "COM-01")

    assert done.exit_code == 2
    assert "no response" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("is_trusted", "outcome"), [(True, Outcome.PASS), (False, Outcome.SKIP)])
async def test_a_websocket_over_tls_is_opened_with_the_same_trust(
    is_trusted: bool, outcome: Outcome, tls: ssl.SSLContext, authority: Authority
) -> None:
    worklist = Worklist()
    trust = ssl.create_default_context(cafile=authority.ca) if is_trusted else None
    async with worklist.listening(tls):
        verdict = await judged("UPS-56", server=worklist.server(), tls=trust)

    assert verdict.outcome is outcome, verdict.reason


# --- what becomes of credentials ----------------------------------------------------------------


def guarded(name: str, value: str) -> Fault:
    """Lets in who sends that header, and carelessly repeats it in each answer."""

    def guard(request: Request, right: Answer) -> Answer:
        if request.headers.get(name) != value:
            return answer(401, b"who are you?", "text/plain", WWW_Authenticate="Basic")
        if right.status_code >= 400:
            right = answer(right.status_code, f"not for {value}".encode(), "text/plain")
        right.headers["X-Seen"] = value
        return right

    return guard


Judged = Callable[[str], tuple[Result, dict[str, str]]]


@pytest.fixture
def judged_with(served: Served, authority: Authority, tmp_path: Path) -> Iterator[Judged]:
    """A run with one form of --auth: what the terminal got, and what the reports hold."""

    def judge(form: str) -> tuple[Result, dict[str, str]]:
        auth, header = FORMS[form]
        served.peer.fault = guarded(*header)
        where = ("--ca", authority.ca, "--report", tmp_path)
        done = run(served.base_url, *CASES, *where, auth=auth)
        return done, {name: (tmp_path / name).read_text() for name in REPORTS}

    yield judge
    served.peer.fault = None


@pytest.mark.parametrize("form", FORMS)
def test_credentials_let_the_suite_in(form: str, judged_with: Judged) -> None:
    done, _ = judged_with(form)

    assert done.exit_code == 0, done.output
    assert [id for id in CASES if f"PASS  {id}" not in done.stdout] == []


@pytest.mark.parametrize("form", FORMS)
def test_credentials_are_never_shown_though_the_server_repeats_them(
    form: str, judged_with: Judged
) -> None:
    done, reports = judged_with(form)

    shown = {**reports, "terminal": done.output + done.stderr}
    for secret in (TOKEN, PASSWORD, BASIC):
        assert [name for name, text in shown.items() if secret in text] == []
    assert f'"x-seen": "{MASK}"' in reports["report.json"].lower()
    assert f"not for {MASK}" in reports["report.json"]


def test_credentials_are_never_shown_in_a_reason(
    served: Served, authority: Authority, tmp_path: Path
) -> None:
    def repeats(request: Request, right: Answer) -> Answer:
        seen = request.headers.get("authorization", "none").partition(" ")[2]
        if request.method == "GET" and right.content:
            right.headers["Content-Type"] = f"text/{seen}"
        return right

    served.peer.fault = repeats
    where = ("--ca", authority.ca, "--report", tmp_path)
    done = run(served.base_url, *CASES, *where, auth=f"bearer:{TOKEN}")
    served.peer.fault = None

    assert f"text/{MASK}" in done.stdout
    shown = [done.output, *((tmp_path / name).read_text() for name in REPORTS)]
    assert [text for text in shown if TOKEN in text] == []


def test_credentials_of_a_file_are_read(
    served: Served, authority: Authority, tmp_path: Path
) -> None:
    auth, header = FORMS["basic"]
    (tmp_path / "auth").write_text(f"{auth}\n")
    served.peer.fault = guarded(*header)

    done = run(served.base_url, "COM-01", "--ca", authority.ca, "--auth", f"@{tmp_path / 'auth'}")
    served.peer.fault = None

    assert (done.exit_code, PASSED in done.stdout) == (0, True), done.output
