"""No search looks at every study: the statements are explained on a few thousand rows."""

import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bfr_dicomweb.dicom.matching import SearchLevel
from bfr_dicomweb.index import statements
from bfr_dicomweb.refs import Ref
from catalogue_objects import a_new_instance
from searched import Catalogue, opened

STUDIES = 3000
FAMILIES = ["Andersson", "Johansson", "Karlsson", "Nilsson", "Öberg"]


@pytest.fixture(scope="module")
def filled(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Catalogue, Path]]:
    path = tmp_path_factory.mktemp("plans") / "catalogue.db"
    path.write_bytes(sqlite_template.read_bytes())
    rng = random.Random(7)
    new = [
        a_new_instance(
            f"2.25.{n}",
            PatientID=f"P{n}",
            AccessionNumber=f"A{n}",
            PatientName=f"{rng.choice(FAMILIES)}^{'Xerxes' if n == 5 else 'Anna'}",
            PatientBirthDate="19700101" if n % 2 else f"19{rng.randint(10, 69)}0101",
            StudyDate=f"20{rng.randint(0, 24):02d}0{rng.randint(1, 9)}15",
            StudyDescription=f"DT nummer {n}",
            Modality=rng.choice(["CT", "MR"]),
        )
        for n in range(STUDIES)
    ]
    for catalogue in opened(f"sqlite+aiosqlite:///{path}"):
        for start in range(0, STUDIES, 500):
            catalogue.store(new[start : start + 500])
        yield catalogue, path


LIMIT = ("limit", "50")
SEARCHES: list[tuple[SearchLevel, tuple[tuple[str, str], ...]]] = [
    (SearchLevel.STUDIES, (LIMIT,)),
    (SearchLevel.STUDIES, (("StudyInstanceUID", "2.25.1,2.25.2"),)),
    (SearchLevel.STUDIES, (("PatientID", "P77"),)),
    (SearchLevel.STUDIES, (("PatientID", "P7*"),)),
    (SearchLevel.STUDIES, (("AccessionNumber", "A77"),)),
    (SearchLevel.STUDIES, (LIMIT, ("StudyDate", "20240101-20240630"))),
    (SearchLevel.STUDIES, (LIMIT, ("StudyDate", "20240101-"), ("ModalitiesInStudy", "CT"))),
    (SearchLevel.STUDIES, (LIMIT, ("ModalitiesInStudy", "CT,MR"))),
    (SearchLevel.STUDIES, (LIMIT, ("PatientName", "*xerx*"))),
    (SearchLevel.STUDIES, (LIMIT, ("PatientName", "anders*"))),
    (SearchLevel.STUDIES, (LIMIT, ("PatientName", "öberg xer"), ("fuzzymatching", "true"))),
    (SearchLevel.STUDIES, (LIMIT, ("StudyDescription", "*mmer 77*"))),
    (SearchLevel.STUDIES, (LIMIT, ("PatientBirthDate", "19700101"))),
    (SearchLevel.SERIES, (LIMIT,)),
    (SearchLevel.SERIES, (("SeriesInstanceUID", "2.25.1.1"),)),
    (SearchLevel.SERIES, (("PatientID", "P77"),)),
    (SearchLevel.SERIES, (("RequestAttributesSequence.RequestedProcedureID", "R"),)),
    (SearchLevel.INSTANCES, (LIMIT,)),
    (SearchLevel.INSTANCES, (("SOPInstanceUID", "2.25.1.1.1"),)),
    (SearchLevel.INSTANCES, (("SOPClassUID", "1.2.3"),)),
    (SearchLevel.INSTANCES, (("PatientName", "*xerxes"),)),
    (SearchLevel.STUDY_SERIES, ()),
    (SearchLevel.STUDY_INSTANCES, (("SOPClassUID", "1.2.3"),)),
]


@pytest.mark.parametrize(("level", "params"), SEARCHES, ids=str)
def test_a_search_looks_only_at_what_it_needs(
    filled: tuple[Catalogue, Path],
    monkeypatch: pytest.MonkeyPatch,
    level: SearchLevel,
    params: tuple[tuple[str, str], ...],
) -> None:
    catalogue, path = filled
    asked = record(monkeypatch)
    ref = Ref("2.25.1") if level.name.startswith("STUDY_") else None

    catalogue.search(*params, level=level, ref=ref)

    with sqlite3.connect(path) as raw:
        raw.create_function("regexp", 2, lambda pattern, text: False)
        steps = [step for sql in asked for step in explain(raw, sql)]
    raw.close()
    assert steps
    assert not [step for step in steps if is_a_scan(step)], steps


def record(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[object, ...]]]:
    """The statements that are executed, as SQLite gets them."""
    asked = []
    original = statements._for_sqlite

    def remember(sql: str) -> str:
        asked.append(original(sql))
        return asked[-1]

    monkeypatch.setattr(statements, "_for_sqlite", remember)
    return asked  # type: ignore[return-value]


def explain(raw: sqlite3.Connection, sql: object) -> list[str]:
    text = str(sql)
    places = [None] * max((int(number) for number in re.findall(r"\?(\d+)", text)), default=0)
    return [step for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {text}", places)]


def is_a_scan(step: str) -> bool:
    """A walk of a table in the order that is asked for is bounded by its LIMIT."""
    # The last two walk in order, or count up to a bound without looking at a row.
    allowed = ("VIRTUAL TABLE", "USING INDEX study_newest", "USING COVERING INDEX")
    if not step.startswith("SCAN "):
        return False
    table = step.split()[1]
    in_order = table in ("s", "i")
    derived = table in {"p", "b", "u", "v", "c", "f", "json_each", "counter"} or "(" in table
    return not (in_order or derived or any(word in step for word in allowed))


@pytest.mark.parametrize(
    ("level", "ref"),
    [
        (SearchLevel.STUDY_SERIES, Ref("2.25.1")),
        (SearchLevel.STUDY_INSTANCES, Ref("2.25.1")),
        (SearchLevel.SERIES_INSTANCES, Ref("2.25.1", "2.25.1.1")),
    ],
    ids=lambda value: value.name if isinstance(value, SearchLevel) else "",
)
def test_nothing_below_a_study_is_sorted(
    filled: tuple[Catalogue, Path], monkeypatch: pytest.MonkeyPatch, level: SearchLevel, ref: Ref
) -> None:
    catalogue, path = filled
    asked = record(monkeypatch)

    catalogue.search(level=level, ref=ref)

    with sqlite3.connect(path) as raw:
        steps = [step for sql in asked for step in explain(raw, sql)]
    raw.close()
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
