"""The checks of this repository; `nox -l` lists them."""

import os
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "layers", "openapi", "tests"]
nox.needs_version = ">=2025.5"

CODE = ("src", "tests", "examples", "conformance", "noxfile.py")


def install(session: nox.Session) -> None:
    session.install("-e", ".[test]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install("ruff>=0.14")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    install(session)
    session.run("mypy", "--strict")


@nox.session
def layers(session: nox.Session) -> None:
    """The direction of the arrows between the layers."""
    install(session)
    session.run("lint-imports")


@nox.session
def openapi(session: nox.Session) -> None:
    """Are openapi/ and the conformance statement what the code says?"""
    install(session)
    session.run("python", "-m", "bfr_dicomweb.dicomweb.openapi", "--check")
    session.run("python", "-m", "bfr_dicomweb.dicomweb.conformance_statement", "--check")
    session.run("python", "-m", "bfr_dicomweb.dimse.conformance_statement", "--check")


@nox.session
def tests(session: nox.Session) -> None:
    install(session)
    session.run(
        "python", "-m", "pytest", *(session.posargs or ("-n", "logical", "--dist", "loadfile"))
    )


@nox.session
def results(session: nox.Session) -> None:
    """Judge this server by the conformance suite, and publish what is found."""
    install(session)
    session.install("./conformance[dimse]")
    session.run("python", "tests/judged_ours.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """The fuzz tests, each for BFR_TEST_FUZZ_SECONDS (by default five minutes)."""
    install(session)
    seconds = os.environ.get("BFR_TEST_FUZZ_SECONDS", "300")
    duration = {"BFR_TEST_FUZZ_SECONDS": seconds}
    session.run("python", "-m", "pytest", "tests/fuzz", *session.posargs, env=duration)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; they print figures and judge nothing."""
    install(session)
    session.run("python", "tests/benchmarks", *session.posargs)


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The tests with the oldest releases that pyproject.toml allows. Needs uv."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, and start what it installs."""
    session.install("build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder)
        (built,) = Path(folder).glob("*.whl")
        session.install(str(built))
        session.chdir(folder)  # so that what runs is the wheel, not the checkout
        session.run("bfr-dicomweb", "--help")
