"""What is found by attributes that an administrator has had indexed is what a plain reading finds.

The matcher here works on the stored DICOM JSON and shares no code with the archive.
"""

import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from bfr_dicomweb.dicom.indexed_attributes import IndexedAttribute
from bfr_dicomweb.dicom.matching import Search, SearchLevel
from bfr_dicomweb.index import deletions, indexed_values, statements
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import NewInstance
from bfr_dicomweb.refs import Level, Ref
from bfr_dicomweb.services import indexing
from bfr_dicomweb.services import search as searching
from bfr_dicomweb.services.deletion import _attributes as attributes_of
from catalogue_objects import a_new_instance
from searched import Catalogue, opened

Json = dict[str, Any]
WANTED = indexing.parse("""
    [[attributes]]
    path = "KVP"
    level = "study"
    [[attributes]]
    path = "ContrastBolusAgent"
    level = "series"
    [[attributes]]
    path = "ImageComments"
    [[attributes]]
    path = "PatientMotherBirthName"
    level = "study"
    [[attributes]]
    path = "DateOfLastCalibration"
    level = "series"
    [[attributes]]
    path = "RadiopharmaceuticalInformationSequence.Radiopharmaceutical"
    level = "series"
    [[attributes]]
    path = "00191008"
    creator = "BFR TEST"
    vr = "LO"
    level = "study"
    [[attributes]]
    path = "FrameType"
""")
FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
AGENTS = (None, "Omnipaque", "omnipaque", "Omni*[x]?%_", "Ultravist 300", "U")
NAMES = (None, "Åkesson^Åsa", "Akesson^Asa", "Svensson", "Svenson^Anna-Maria")
DAYS = (None, "20240131", "20240201", "19991231", ["20240131", "20250101"])


@lru_cache(maxsize=1)
def stored(studies: int = 60) -> tuple[NewInstance, ...]:
    rng = random.Random(2026)
    found = []
    for study in range(studies):
        for number in range(rng.choice((1, 2, 3))):
            for item in range(rng.choice((1, 2, 2))):
                series = f"2.25.{study}.{number}"
                found.append(_instance(rng, f"2.25.{study}", series, f"{series}.{item}"))
    return tuple(found)


def _instance(rng: random.Random, study: str, series: str, uid: str) -> NewInstance:
    tracers = [
        {"Radiopharmaceutical": rng.choice(("FDG", "PSMA-11"))}
        for _ in range(rng.choice((0, 1, 2)))
    ]
    new = a_new_instance(
        study,
        series,
        uid,
        StudyDate=f"202401{int(study.split('.')[2]) % 28 + 1:02d}",
        KVP=rng.choice((None, 80, 120.0, 120.5)),
        ContrastBolusAgent=rng.choice(AGENTS),
        ImageComments=rng.choice(AGENTS),
        PatientMotherBirthName=rng.choice(NAMES),
        DateOfLastCalibration=rng.choice(DAYS),
        RadiopharmaceuticalInformationSequence=tracers or None,
        FrameType=rng.choice((None, ["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"])),
    )
    # private attributes move from block to block
    block = rng.choice(("10", "11", "A0"))
    new.attributes[f"001900{block}"] = {"vr": "LO", "Value": [rng.choice(("BFR TEST", "OTHER"))]}
    new.attributes[f"0019{block}08"] = rng.choice(
        ({"vr": "LO", "Value": ["A", "B"]}, {"vr": "UN", "InlineBinary": "QVxDIA=="}, {"vr": "LO"})
    )
    return replace(new, document=zstandard.compress(orjson.dumps(new.attributes)))


async def found_by(
    index: Index, params: tuple[tuple[str, str], ...], level: SearchLevel, ref: Ref | None = None
) -> tuple[Search, set[str]]:
    wanted = await searching.read_search(index, params, level=level, max_results=10_000)
    assert not wanted.ignored
    found = await searching.search(index, wanted, ref=ref)
    tag = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level.level]
    return wanted, {row[tag]["Value"][0] for row in found.rows}


async def configured(index: Index, wanted: tuple[IndexedAttribute, ...] = WANTED) -> None:
    await indexing.configure(index, wanted)


async def indexed(index: Index) -> None:
    while await indexing.step(index, limit=7):
        pass


# --- the plain reading -----------------------------------------------------------------------


def read(data_set: Json, path: tuple[str, ...]) -> list[Any]:
    tag = path[0]
    if tag == "00191008":
        found: list[Any] = []
        for block in ("10", "11", "A0"):
            if data_set.get(f"001900{block}", {}).get("Value") == ["BFR TEST"]:
                element = data_set[f"0019{block}08"]
                found += ["A", "C"] if "InlineBinary" in element else element.get("Value", [])
        return found
    values = [v for v in data_set.get(tag, {}).get("Value", []) if v not in ("", None)]
    return values if len(path) == 1 else [v for item in values for v in read(item, path[1:])]


LEVELS = {one.path: one.level for one in WANTED}
PATHS = {one.name: one.path for one in WANTED}


def expected(
    name: str, holds: Callable[[list[Any]], bool], level: Level, among: tuple[NewInstance, ...]
) -> set[str]:
    """The UIDs of results for whose owner `holds` of all its instances' values."""
    path = PATHS[name]

    def uid(one: NewInstance, at: Level) -> str:
        return {
            Level.STUDY: one.study_instance_uid,
            Level.SERIES: one.series_instance_uid,
            Level.INSTANCE: one.sop_instance_uid,
        }[at]

    values: dict[str, list[Any]] = {}
    for one in among:
        values.setdefault(uid(one, LEVELS[path]), []).extend(read(one.attributes, path))
    return {uid(one, level) for one in among if holds(values[uid(one, LEVELS[path])])}


def like(pattern: str) -> Callable[[list[Any]], bool]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    compiled = re.compile("".join(parts), re.DOTALL)
    return lambda values: any(compiled.fullmatch(str(value)) for value in values)


def number(wanted: float) -> Callable[[list[Any]], bool]:
    return lambda values: any(float(value) == wanted for value in values)


def within(start: str, end: str) -> Callable[[list[Any]], bool]:
    return lambda values: any(start <= value <= (end or "9") for value in values)


def named(folded: str) -> Callable[[list[Any]], bool]:
    plain = str.maketrans("åÅ", "aa")
    return lambda values: any(
        re.fullmatch(folded, value["Alphabetic"].translate(plain).lower()) for value in values
    )


def every(wanted: set[str]) -> Callable[[list[Any]], bool]:
    return lambda values: wanted <= set(values)


def empty(values: list[Any]) -> bool:
    return not values


PIECES = st.sampled_from(["Omni", "omni", "U", "paque", "[", "x", "%", "_", "3", " ", "*", "?"])
PATTERNS = st.lists(PIECES, min_size=1, max_size=4).map("".join).filter(lambda t: t.strip("* "))
DAY = st.sampled_from(["20240131", "20240201", "20000101", "20250101"])
KEYS = st.one_of(
    st.sampled_from([("80", 80.0), ("120.0", 120.0), ("1.2e2", 120.0), ("120.5", 120.5)]).map(
        lambda v: ("KVP", v[0], number(v[1]))
    ),
    PATTERNS.map(lambda t: ("ContrastBolusAgent", t, like(t.strip(" ")))),
    PATTERNS.map(lambda t: ("ImageComments", t, like(t.strip(" ")))),
    st.tuples(DAY, st.sampled_from(["", "20240201", "20261231"])).map(
        lambda d: ("DateOfLastCalibration", f"{d[0]}-{d[1]}", within(*d))
    ),
    st.sampled_from(["FDG", "PSMA*", "?DG", "*1"]).map(
        lambda t: ("RadiopharmaceuticalInformationSequence.Radiopharmaceutical", t, like(t))
    ),
    st.sampled_from(["A", "B", "C", "*", "?"])
    .filter(lambda t: t != "*")
    .map(lambda t: ("00191008", t, like(t))),
    st.sampled_from(
        [("akesson*", "akesson.*"), ("Svensson", "svensson"), ("sven?on^*", r"sven.on\^.*")]
    ).map(lambda t: ("PatientMotherBirthName", t[0], named(t[1]))),
    st.sampled_from(["ORIGINAL", "DERIVED", "ORIGINAL,DERIVED"]).map(
        lambda t: ("FrameType", t, lambda values: bool(set(t.split(",")) & set(values)))
    ),
    st.sampled_from(["ContrastBolusAgent", "DateOfLastCalibration", "ImageComments"]).map(
        lambda t: (t, '""', empty)
    ),
)
SEARCHED = {
    Level.STUDY: SearchLevel.STUDIES,
    Level.SERIES: SearchLevel.SERIES,
    Level.INSTANCE: SearchLevel.INSTANCES,
}
ORDER = list(SEARCHED)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def half_new(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogue]:
    """Half of it was stored before the attributes were configured, and has been indexed since."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path_factory.mktemp("indexed") / "catalogue.db"
        path.write_bytes(template.read_bytes())
        url = f"sqlite+aiosqlite:///{path}"
    else:
        server = request.getfixturevalue("postgresql")
        server.create_database("indexed_attributes", "template")
        url = server.url("indexed_attributes")
    for catalogue in opened(url):
        half = len(stored()) // 2
        catalogue.store(stored()[:half])
        catalogue.runner.run(configured(catalogue.index))
        catalogue.store(stored()[half:])
        catalogue.runner.run(indexed(catalogue.index))
        yield catalogue


@FEW
@given(key=KEYS, below=st.integers(0, 2))
def test_what_matches_is_found_at_the_level_and_below(
    half_new: Catalogue, key: tuple[str, str, Callable[[list[Any]], bool]], below: int
) -> None:
    name, value, holds = key
    level = ORDER[min(2, ORDER.index(LEVELS[PATHS[name]]) + below)]
    params = ((name, value), ("emptyvaluematching", "true"))

    _, found = half_new.runner.run(found_by(half_new.index, params, SEARCHED[level]))

    assert found == expected(name, holds, level, stored())


@FEW
@given(
    keys=st.lists(KEYS, min_size=2, max_size=3, unique_by=lambda key: key[0]),
    day=st.sampled_from(["20240101-20240115", ""]),
)
def test_all_of_several_keys_have_to_match(
    half_new: Catalogue, keys: list[tuple[str, str, Callable[[list[Any]], bool]]], day: str
) -> None:
    params = [*((name, value) for name, value, _ in keys), ("emptyvaluematching", "true")]
    asked = (*params, ("StudyDate", day)) if day else tuple(params)

    _, found = half_new.runner.run(found_by(half_new.index, asked, SearchLevel.INSTANCES))

    wanted = [expected(name, holds, Level.INSTANCE, stored()) for name, _, holds in keys]
    until = day.partition("-")[2] or "9"
    in_time = {
        one.sop_instance_uid for one in stored() if one.attributes["00080020"]["Value"][0] <= until
    }
    assert found == set.intersection(in_time, *wanted)


def test_names_are_found_by_what_they_sound_like(half_new: Catalogue) -> None:
    params = (("PatientMotherBirthName", "svensson ana"), ("fuzzymatching", "true"))

    _, found = half_new.runner.run(found_by(half_new.index, params, SearchLevel.STUDIES))

    assert found == expected(
        "PatientMotherBirthName", named("svenson.*anna.*"), Level.STUDY, stored()
    )


def test_several_values_can_be_demanded(half_new: Catalogue) -> None:
    params = (("FrameType", "PRIMARY,DERIVED"), ("multiplevaluematching", "true"))

    _, found = half_new.runner.run(found_by(half_new.index, params, SearchLevel.INSTANCES))

    assert found == expected("FrameType", every({"PRIMARY", "DERIVED"}), Level.INSTANCE, stored())


# --- what is returned ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("KVP", SearchLevel.STUDIES),
        ("ContrastBolusAgent", SearchLevel.SERIES),
        ("00191008", SearchLevel.STUDIES),
    ],
)
@pytest.mark.parametrize("how", ["key", "includefield"])
def test_results_of_its_level_tell_the_values_of_all_instances(
    half_new: Catalogue, name: str, level: SearchLevel, how: str
) -> None:
    params = ((name, ""),) if how == "key" else (("includefield", name),)
    wanted = half_new.runner.run(
        searching.read_search(half_new.index, params, level=level, max_results=1000)
    )
    rows = half_new.runner.run(searching.search(half_new.index, wanted)).rows

    tag, uid = PATHS[name][0], "0020000D" if level is SearchLevel.STUDIES else "0020000E"
    told = {row[uid]["Value"][0]: set(row.get(tag, {}).get("Value", [])) for row in rows}
    every_one: dict[str, set[Any]] = {}
    for one in stored():
        owner = one.attributes[uid]["Value"][0]
        every_one.setdefault(owner, set()).update(read(one.attributes, PATHS[name]))
    assert told == every_one


def test_private_attributes_are_returned_with_their_creator(half_new: Catalogue) -> None:
    wanted = half_new.runner.run(
        searching.read_search(
            half_new.index, [("00191008", "A")], level=SearchLevel.STUDIES, max_results=1
        )
    )
    (row,) = half_new.runner.run(searching.search(half_new.index, wanted)).rows

    assert row["00190010"] == {"vr": "LO", "Value": ["BFR TEST"]}


# --- while it is being made ------------------------------------------------------------------

AGENT = ("ContrastBolusAgent", "U*")
IMAGES = SearchLevel.INSTANCES


async def steps(index: Index, number: int, *, limit: int = 7) -> None:
    for _ in range(number):
        await indexing.step(index, limit=limit)


def series_with(among: tuple[NewInstance, ...]) -> set[str]:
    """What AGENT finds."""
    return expected("ContrastBolusAgent", like("U*"), Level.SERIES, among)


def test_meanwhile_what_is_covered_is_found_and_the_rest_is_counted(catalogue: Catalogue) -> None:
    catalogue.store(stored()[:60])
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    catalogue.store(stored()[60:])
    run(steps(index, 3))

    wanted, found = run(found_by(index, (AGENT,), SearchLevel.SERIES))

    assert found == series_with(stored()[60 - 21 :])
    assert indexing.uncovered(wanted) == [indexing.Uncovered("ContrastBolusAgent", 39)]


def test_meanwhile_nothing_that_is_not_covered_counts_as_empty(catalogue: Catalogue) -> None:
    catalogue.store(stored()[:60])
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    run(steps(index, 3))
    params = (("ContrastBolusAgent", '""'), ("emptyvaluematching", "true"))

    _, found = run(found_by(index, params, SearchLevel.SERIES))

    before = {one.series_instance_uid for one in stored()[:39]}
    assert found
    assert found == expected("ContrastBolusAgent", empty, Level.SERIES, stored()[:60]) - before


def test_another_process_goes_on_where_one_has_ended(
    database_url: str, catalogue: Catalogue
) -> None:
    catalogue.store(stored())
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    run(steps(index, 4))
    for other in opened(database_url):
        (first, *_) = other.runner.run(indexing.configured(other.index))
        other.runner.run(indexed(other.index))
        (last, *_) = other.runner.run(indexing.configured(other.index))

    wanted, found = run(found_by(index, (AGENT,), SearchLevel.SERIES))

    assert (first.left, last.left) == (len(stored()) - 28, 0)
    assert found == series_with(stored())
    assert not indexing.uncovered(wanted)


def next_page(catalogue: Catalogue, *, limit: int) -> indexed_values.Page:
    page = catalogue.runner.run(catalogue.index.ask(partial(indexed_values.next_page, limit=limit)))
    assert page is not None
    return page


def test_a_page_that_another_process_has_written_is_left_alone(catalogue: Catalogue) -> None:
    catalogue.store(stored()[:50])
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    page = next_page(catalogue, limit=10)
    run(steps(index, 1, limit=10))
    values = {page.documents[0][0].instance: [(1, 999, 0, "twice", '"twice"')]}
    run(index.transact(partial(indexed_values.fill, page=page, found=values)))

    (one, *_) = run(indexing.configured(index))

    assert one.done == 10


def test_attributes_that_come_later_meet_the_others(catalogue: Catalogue) -> None:
    catalogue.store(stored()[:60])
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index, WANTED[:1]))
    run(steps(index, 2))
    run(configured(index, WANTED[:2]))
    run(indexed(index))

    _, found = run(found_by(index, (AGENT,), SearchLevel.SERIES))

    assert [one.done for one in run(indexing.configured(index))] == [60, 60]
    assert found == series_with(stored()[:60])


def test_what_is_deleted_while_its_page_is_read_leaves_nothing(catalogue: Catalogue) -> None:
    catalogue.store(stored()[:20])
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    page = next_page(catalogue, limit=100)
    values = indexing._values(page)
    delete(catalogue, Ref("2.25.0"))
    run(index.transact(partial(indexed_values.fill, page=page, found=values)))

    left = [one for one in stored()[:20] if one.study_instance_uid != "2.25.0"]
    everything = run(index.ask(every_value))
    owners = {owner for attribute, owner in everything if attribute == 3}

    assert len(owners) == sum(bool(read(one.attributes, ("00204000",))) for one in left)


async def every_value(conn: statements.Connection) -> list[tuple[int, int]]:
    found = await statements.rows(conn, "SELECT attribute_id, owner_id FROM indexed_value")
    return [(attribute, owner) for attribute, owner in found]


# --- what goes away --------------------------------------------------------------------------


def delete(catalogue: Catalogue, ref: Ref) -> None:
    work = partial(deletions.delete, ref=ref, read=attributes_of)
    assert catalogue.runner.run(catalogue.index.transact(work))


def test_what_is_left_of_a_study_is_found_by_its_own_values_alone(catalogue: Catalogue) -> None:
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    catalogue.store(stored())
    gone = stored()[::3]
    left = tuple(one for one in stored() if one not in gone)
    for one in gone:
        delete(
            catalogue,
            Ref(one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid),
        )

    _, by_study = run(found_by(index, (("KVP", "120"),), SearchLevel.STUDIES))
    _, by_series = run(found_by(index, (AGENT,), SearchLevel.SERIES))
    comments = (("ImageComments", "U*"),)
    _, by_instance = run(found_by(index, comments, IMAGES))

    assert by_study == expected("KVP", number(120.0), Level.STUDY, left)
    assert by_series == series_with(left)
    assert by_instance == expected("ImageComments", like("U*"), Level.INSTANCE, left)


def test_a_deleted_archive_leaves_no_values(catalogue: Catalogue) -> None:
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    catalogue.store(stored()[:30])
    for study in {one.study_instance_uid for one in stored()[:30]}:
        delete(catalogue, Ref(study))

    assert run(index.ask(every_value)) == []


def test_an_attribute_that_is_configured_no_more_loses_its_values(catalogue: Catalogue) -> None:
    run, index = catalogue.runner.run, catalogue.index
    run(configured(index))
    catalogue.store(stored()[:30])
    run(configured(index, WANTED[2:3]))
    run(indexed(index))

    assert {attribute for attribute, _ in run(index.ask(every_value))} == {3}
    assert [one.attribute for one in run(indexing.configured(index))] == [WANTED[2]]


# --- what it costs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "key"),
    [
        (SearchLevel.STUDIES, ("KVP", "80")),
        (SearchLevel.SERIES, ("ContrastBolusAgent", "Ultra*")),
        (SearchLevel.INSTANCES, ("ContrastBolusAgent", "Ultra*")),
        (SearchLevel.INSTANCES, ("ImageComments", "nobody wrote this")),
        (SearchLevel.INSTANCES, ("KVP", "80")),
    ],
)
@pytest.mark.parametrize("half_new", ["sqlite"], indirect=True)
def test_a_search_is_answered_from_the_index(
    half_new: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    level: SearchLevel,
    key: tuple[str, str],
) -> None:
    asked: list[str] = []
    original = statements._for_sqlite

    def remember(sql: str) -> str:
        asked.append(original(sql))
        return asked[-1]

    monkeypatch.setattr(statements, "_for_sqlite", remember)

    half_new.runner.run(found_by(half_new.index, (key,), level))

    with sqlite3.connect(half_new.index._path) as raw:
        plans = [explain(raw, sql) for sql in asked if "indexed_value" in sql]
    raw.close()
    steps_ = [step for plan in plans for step in plan if " c " in step]
    assert steps_
    assert all(step.startswith("SEARCH c USING") for step in steps_), steps_


def explain(raw: sqlite3.Connection, sql: str) -> list[str]:
    places = [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [step for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {sql}", places)]
