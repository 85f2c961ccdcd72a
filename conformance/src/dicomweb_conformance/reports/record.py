"""The record of a run in JSON; the other reports say no more than it does."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from dicomweb_conformance.running import Run, Verdict

# Raised when a reader of older records would misunderstand a new one.
SCHEMA: Final = "dicomweb-conformance/1"


class NotARecord(Exception):
    """A file that no run of the suite wrote."""


def as_json(run: Run) -> str:
    return json.dumps(record(run), ensure_ascii=False, indent=1) + "\n"


def record(run: Run) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "suite_version": run.suite_version,
        "base_url": run.base_url,
        "run_id": run.run_id,
        "read_only": run.read_only,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "capabilities_known": run.capabilities_known,
        "unavailable": run.unavailable,
        "remaining": run.remaining,
        "cases": [_of_verdict(verdict) for verdict in run.verdicts],
    }


def _of_verdict(verdict: Verdict) -> dict[str, object]:
    case = verdict.case
    return {
        "id": case.id,
        "slug": case.slug,
        "chapter": case.chapter,
        "section": case.section,
        "level": case.level.value,
        "requirement": case.requirement,
        "request": case.request,
        "expected": case.expected,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "notes": list(verdict.notes),
        "seconds": verdict.seconds,
        "exchanges": [asdict(each) for each in verdict.exchanges],
    }


def read(path: Path) -> dict[str, object]:
    """Raises NotARecord."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotARecord(f"{path}: {error.strerror}") from None
    except ValueError:
        raise NotARecord(f"{path} is no JSON") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise NotARecord(f"{path} is no record of this suite ({SCHEMA})")
    return found
