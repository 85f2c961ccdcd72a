"""Structured logs on standard error: text for people, JSON for machines."""

import logging
import sys
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson
import structlog
from structlog.types import EventDict

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str) -> None:
    """Log from `level` on. What other libraries log passes through the same renderer."""
    terminal = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, _where_it_was_raised, *_renderers(terminal)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(terminal),
            ],
        )
    )
    handler.addFilter(_without_values)
    # other libraries may log what they handle; only their warnings are wanted
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("pydicom", "alembic", "sqlalchemy.engine"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.showwarning = _warned  # type: ignore[assignment] # says no more than it has to


def _warned(_: object, category: type[Warning], filename: str, lineno: int, *__: object) -> None:
    """Without the text, which may hold values of a patient."""
    place = f"{Path(filename).name}, line {lineno}"
    structlog.get_logger("warnings").warning("warning", kind=category.__name__, place=place)


def _without_values(record: logging.LogRecord) -> bool:
    """Of what libraries of DICOM say, only where: their texts may hold values of objects."""
    library = record.name.partition(".")[0]
    if library == "pydicom" and record.levelno < logging.ERROR:
        return False  # it sets its level anew when it is imported
    if library in ("pydicom", "pynetdicom"):
        kind = record.exc_info[0] if record.exc_info else type(record.msg)
        what = f" ({kind.__name__})" if kind is not None and kind is not str else ""
        record.msg = f"{record.module}, line {record.lineno}{what}"
        record.args, record.exc_info, record.exc_text = None, None, None
    return True


def _where_it_was_raised(_: Any, __: str, event: EventDict) -> EventDict:
    """The place of an exception without its text, which may hold values of a patient."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(_frames(error))
    return event


def _frames(error: BaseException) -> list[str]:
    trace: TracebackType | None = error.__traceback__
    lines = [*traceback.format_tb(trace), type(error).__name__, "\n"]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines if cause is None else [*_frames(cause), "\nand then\n", *lines]


def _renderers(terminal: bool) -> list[Any]:
    if terminal:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.JSONRenderer(serializer=_dumps)]


def _dumps(event: dict[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
