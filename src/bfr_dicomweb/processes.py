"""Processes beside this one: started again when they die, ended when this one ends."""

import asyncio
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Final

import structlog

RESTART_AFTER_S: Final = 2.0
LOOK_S: Final = 1.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Parts = Mapping[str, Callable[[], None]]

log = structlog.get_logger("processes")


@contextmanager
def children(
    parts: Parts, *, expected: tuple[type[Exception], ...], end_seconds: float
) -> Iterator[None]:
    """Run each part, by its name, in a process of its own.

    Signals that end this process leave the context in an orderly way. A part should end with its
    parent: see `ending`.

    Args:
        parts: Functions that can be pickled.
        expected: Errors that a part may end with; only their text is logged.
        end_seconds: That a process gets to end when it is told to.
    """
    if not parts:
        yield
        return
    for number in SIGNALS:
        signal.signal(number, _leave)
    minder = _Minder(parts, expected)
    minder.start()
    try:
        yield
    finally:
        minder.end(end_seconds)


def ending() -> asyncio.Event:
    """Set by a signal, and when the process that has started this one is gone."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, ended.set)
    parent = multiprocessing.parent_process()
    if parent is not None:
        gone = parent.sentinel

        def orphaned() -> None:
            loop.remove_reader(gone)
            ended.set()

        loop.add_reader(gone, orphaned)
    return ended


class _Minder(threading.Thread):
    def __init__(self, parts: Parts, expected: tuple[type[Exception], ...]) -> None:
        super().__init__(name="minder", daemon=True)
        self._context = multiprocessing.get_context("spawn")
        self._parts = parts
        self._expected = expected
        self._ending = threading.Event()
        self._running = {name: self._start(name) for name in parts}

    def _start(self, name: str) -> BaseProcess:
        work = (self._parts[name], self._expected)
        process = self._context.Process(target=_child, args=work, name=name)
        process.start()
        return process

    def run(self) -> None:
        while not self._ending.is_set():
            connection.wait([process.sentinel for process in self._running.values()], LOOK_S)
            gone = {name: one for name, one in self._running.items() if not one.is_alive()}
            if not gone or self._ending.is_set():
                continue
            for name, process in gone.items():
                told = log.error if process.exitcode else log.info
                told("process ended", part=name, exit=process.exitcode)
            if not self._ending.wait(RESTART_AFTER_S):
                self._running |= {name: self._start(name) for name in gone}

    def end(self, seconds: float) -> None:
        self._ending.set()
        self.join()
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join(seconds)
            if process.is_alive():
                log.error("process killed", part=process.name)
                process.kill()


def _leave(*_: object) -> None:
    """By way of all that has to be tidied up."""
    raise SystemExit(0)


def _child(run: Callable[[], None], expected: tuple[type[Exception], ...]) -> None:
    try:
        run()
    except expected as error:
        reason = str(error)
    else:
        return
    log.error("process cannot run", reason=reason)
    sys.exit(1)
