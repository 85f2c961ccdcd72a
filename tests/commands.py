"""Commands in processes of their own that begin with the program loaded: much faster to start."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "bfr_dicomweb.cli",
        "bfr_dicomweb.app",
        "bfr_dicomweb.dimse.calling",
        "bfr_dicomweb.dimse.delivery",
    ]
)
TIMEOUT_S = 120.0


def start(arguments: list[str], environment: Mapping[str, str], log: Path) -> BaseProcess:
    """`bfr-dicomweb ARGUMENTS`, leader of a group of processes of its own; prints to `log`."""
    process = _CONTEXT.Process(
        target=_lead, args=(arguments, dict(environment), str(log), str(log))
    )
    process.start()
    return process


def run(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`bfr-dicomweb ARGUMENTS`; its exit code and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("out", "err")]
        process = _CONTEXT.Process(
            target=_main, args=(arguments, dict(environment), *map(str, printed))
        )
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, TIMEOUT_S)
        texts = [path.read_text() for path in printed]
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _lead(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)  # the processes that it starts are told of its number
    _main(arguments, environment, out, err)


def _main(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bfr-dicomweb", *arguments]
    from bfr_dicomweb import cli

    cli.main()
