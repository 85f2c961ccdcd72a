"""The catalogue of requirements: what is tested by which case, and what is not, and why."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from dicomweb_conformance.cases import Case
from dicomweb_conformance.verdicts import Level


@dataclass(frozen=True, slots=True)
class Requirement:
    id: str  # 8.7.5/accept-is-present
    section: str
    level: Level
    role: str  # server, or user agent
    text: str  # in our own words
    cases: tuple[str, ...] = ()
    not_tested_because: str = ""


def catalogue() -> list[Requirement]:
    """All rows, in the order of the files (one for each chapter of cases)."""
    found = []
    for file in sorted(files(__name__).iterdir(), key=lambda each: each.name):
        if file.name.endswith(".toml"):
            rows = tomllib.loads(file.read_text(encoding="utf-8"))["requirement"]
            found += [_row(row) for row in rows]
    return found


def _row(row: dict[str, object]) -> Requirement:
    cases = row.get("cases", [])
    return Requirement(
        str(row["id"]),
        str(row["section"]),
        Level(str(row["level"])),
        str(row.get("role", "server")),
        str(row["text"]),
        tuple(map(str, cases)) if isinstance(cases, list) else (),
        str(row.get("not_tested_because", "")),
    )


def gaps(requirements: Iterable[Requirement], cases: Iterable[Case]) -> list[str]:
    """What keeps the matrix from being complete, in sentences."""
    rows, known = list(requirements), {case.id for case in cases}
    named = {id for row in rows for id in row.cases}
    found = [
        f"{row.id}: a shall with neither a case nor a reason"
        for row in rows
        if row.level is Level.SHALL and not row.cases and not row.not_tested_because
    ]
    found += [
        f"{row.id}: has a case and a reason" for row in rows if row.cases and row.not_tested_because
    ]
    found += [f"{id}: named by a requirement, and no such case" for id in sorted(named - known)]
    found += [f"{id}: a case that no requirement names" for id in sorted(known - named)]
    ids = [row.id for row in rows]
    found += [
        f"{id}: twice in the catalogue" for id in sorted({x for x in ids if ids.count(x) > 1})
    ]
    return found
