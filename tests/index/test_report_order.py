"""Reports stand after all else and newest first, in every study and series."""

import importlib
from datetime import datetime
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from bfr_dicomweb.dicom.matching import SearchLevel
from bfr_dicomweb.index import columns
from bfr_dicomweb.index.instances import NewInstance
from bfr_dicomweb.refs import Ref
from catalogue_objects import a_new_instance
from population import population
from searched import Catalogue

STUDY = "2.25.1"


def a_report(series: str, date: str | None, time: str | None = None, **values: Any) -> NewInstance:
    uid = f"{STUDY}.{series}.{values.get('InstanceNumber', 1)}.{date}{time}".replace("None", "0")
    values = {"Modality": "SR", "ContentDate": date, "ContentTime": time} | values
    return a_new_instance(STUDY, f"{STUDY}.{series}", uid, **values)


def series_of(catalogue: Catalogue, *params: tuple[str, str]) -> list[str]:
    found = catalogue.uids(*params, level=SearchLevel.STUDY_SERIES, ref=Ref(STUDY))
    return [uid.removeprefix(f"{STUDY}.") for uid in found]


def test_the_newest_report_is_the_first_whatever_its_series_number(catalogue: Catalogue) -> None:
    catalogue.store(
        [
            a_report("7", "20240110", "150000", SeriesNumber=1),
            a_report("8", "20240111", "100000", SeriesNumber=2),
            a_report("9", "20240111", "0959", SeriesNumber=900),
        ]
    )

    assert series_of(catalogue) == ["8", "9", "7"]


def test_reports_stand_after_the_images(catalogue: Catalogue) -> None:
    catalogue.store(
        [
            a_report("1", "20240111", SeriesNumber=1),
            a_new_instance(STUDY, f"{STUDY}.2", SeriesNumber=30),
            a_report("3", "20240112", Modality="DOC", SeriesNumber=2),
            a_new_instance(STUDY, f"{STUDY}.4", SeriesNumber=4, ContentDate="20240109"),
        ]
    )

    assert series_of(catalogue) == ["4", "2", "3", "1"]


def test_a_key_object_selection_is_no_report(catalogue: Catalogue) -> None:
    catalogue.store(
        [
            a_report("1", "20240109", Modality="KO", SeriesNumber=2),
            a_report("2", "20240110", Modality="KO", SeriesNumber=1),
        ]
    )

    assert series_of(catalogue) == ["2", "1"]


def test_of_reports_of_one_moment_the_higher_series_number_is_newer(catalogue: Catalogue) -> None:
    catalogue.store([a_report(str(n), "20240110", "10", SeriesNumber=n) for n in (9001, 9002)])

    assert series_of(catalogue) == ["9002", "9001"]


def test_a_report_without_a_date_comes_last(catalogue: Catalogue) -> None:
    catalogue.store([a_report("1", None, "235959"), a_report("2", "19991231")])

    assert series_of(catalogue) == ["2", "1"]


def test_a_series_of_reports_moves_up_when_a_newer_one_comes(catalogue: Catalogue) -> None:
    catalogue.store([a_report("1", "20240110"), a_report("2", "20240111")])

    catalogue.store([a_report("1", "20240112", InstanceNumber=2)])

    assert series_of(catalogue) == ["1", "2"]


def test_a_series_of_reports_does_not_move_down_when_an_older_one_comes(
    catalogue: Catalogue,
) -> None:
    catalogue.store([a_report("1", "20240110"), a_report("2", "20240111")])

    catalogue.store([a_report("2", "20240101", InstanceNumber=2)])

    assert series_of(catalogue) == ["2", "1"]


def test_a_modality_that_comes_later_makes_a_series_one_of_reports(catalogue: Catalogue) -> None:
    catalogue.store([a_report("1", "20240110", Modality=None), a_report("2", "20240111")])
    assert series_of(catalogue) == ["1", "2"]

    catalogue.store([a_report("1", "20240112", InstanceNumber=2)])

    assert series_of(catalogue) == ["1", "2"]
    assert series_of(catalogue, ("Modality", "SR")) == ["1", "2"]


def test_the_instances_of_a_report_series_come_newest_first(catalogue: Catalogue) -> None:
    moments = [("20240110", "10", 1), ("20240111", "09", 2), ("20240111", "09", 3)]
    catalogue.store([a_report("1", d, t, InstanceNumber=n) for d, t, n in moments])

    found = catalogue.search(level=SearchLevel.SERIES_INSTANCES, ref=Ref(STUDY, f"{STUDY}.1"))

    assert [row["00200013"]["Value"][0] for row in found.rows] == [3, 2, 1]


def test_a_study_named_by_a_key_has_its_series_in_order(catalogue: Catalogue) -> None:
    catalogue.store([a_report("1", "20240110"), a_report("2", "20240111")])

    found = catalogue.uids(("StudyInstanceUID", STUDY), level=SearchLevel.SERIES)

    assert found == [f"{STUDY}.2", f"{STUDY}.1"]


# --- the law ---------------------------------------------------------------------------------


def first(item: NewInstance, tag: str) -> Any:
    return (item.attributes.get(tag, {}).get("Value") or [None])[0]


def moment(item: NewInstance) -> datetime:
    """By which reports are compared, in words of its own."""
    date, time = first(item, "00080023"), first(item, "00080033")
    if not date:
        return datetime.min  # noqa: DTZ901
    whole, _, fraction = (time or "").partition(".")
    text = f"{date.replace('.', '')}{whole:0<6}{fraction:0<6}"
    return datetime.strptime(text, "%Y%m%d%H%M%S%f")  # noqa: DTZ007


def is_report(item: NewInstance) -> bool:
    return first(item, "00080060") in ("SR", "DOC")


def number(item: NewInstance, tag: str) -> int:
    found = first(item, tag)
    return 1 << 40 if found is None else int(found)


def descending(value: int) -> int:
    """None has no place before any number, in either direction."""
    return value if value == 1 << 40 else -value


def instance_place(item: NewInstance) -> tuple[Any, ...]:
    own = number(item, "00200013")
    if not is_report(item):
        return (0, own, item.sop_instance_uid)
    age = (datetime.max - moment(item)).total_seconds()  # noqa: DTZ901
    return (1, age, descending(own), own, item.sop_instance_uid)


def series_place(items: list[NewInstance]) -> tuple[Any, ...]:
    uid, own = items[0].series_instance_uid, number(items[0], "00200011")
    if not is_report(items[0]):
        return (0, own, uid)
    age = min((datetime.max - moment(item)).total_seconds() for item in items)  # noqa: DTZ901
    return (1, age, descending(own), own, uid)


def test_the_order_of_every_study_is_that_of_a_plain_reading(populated: Catalogue) -> None:
    studies: dict[str, dict[str, list[NewInstance]]] = {}
    for item in population():
        of_study = studies.setdefault(item.study_instance_uid, {})
        of_study.setdefault(item.series_instance_uid, []).append(item)
    for uid, series in studies.items():
        expected = sorted(series.values(), key=series_place)
        found = populated.uids(level=SearchLevel.STUDY_SERIES, ref=Ref(uid))
        assert found == [items[0].series_instance_uid for items in expected]

        found = populated.uids(level=SearchLevel.STUDY_INSTANCES, ref=Ref(uid))
        assert found == [
            item.sop_instance_uid
            for items in expected
            for item in sorted(items, key=instance_place)
        ]


@pytest.mark.parametrize("level", [SearchLevel.STUDY_SERIES, SearchLevel.STUDY_INSTANCES])
def test_pages_of_a_study_partition_its_order(catalogue: Catalogue, level: SearchLevel) -> None:
    catalogue.store(
        [
            *(a_report(str(n), f"202401{n:02d}", InstanceNumber=m) for n in range(10, 14)
              for m in (1, 2)),
            *(a_new_instance(STUDY, f"{STUDY}.{n}", SeriesNumber=n) for n in range(3)),
        ]
    )  # fmt: skip
    whole = catalogue.uids(level=level, ref=Ref(STUDY))

    pages = [
        uid
        for offset in range(0, len(whole), 2)
        for uid in catalogue.uids(
            ("limit", "2"), ("offset", str(offset)), level=level, ref=Ref(STUDY)
        )
    ]

    assert pages == whole


# --- catalogues of before --------------------------------------------------------------------

_BACK = (
    "DROP INDEX series_as_listed",
    "DROP INDEX instance_in_order",
    "ALTER TABLE series DROP COLUMN report_place",
    "ALTER TABLE instance DROP COLUMN report_place",
    """CREATE UNIQUE INDEX instance_in_order
        ON instance (series_id, instance_number, sop_instance_uid)""",
)
_MIGRATION = importlib.import_module("bfr_dicomweb.index.migrations.versions.0003_report_order")


def migrate_again(bind: Connection) -> None:
    with Operations.context(MigrationContext.configure(bind)):
        _MIGRATION.upgrade()


async def places(conn: AsyncConnection) -> list[Any]:
    found: list[Any] = []
    for table in ("series", "instance"):
        sql = f"SELECT id, report_place FROM {table} ORDER BY id"
        found += (await conn.exec_driver_sql(sql)).fetchall()
    return found


def test_a_catalogue_of_the_version_before_gets_the_same_places(catalogue: Catalogue) -> None:
    catalogue.store(population())

    async def back_and_forth() -> tuple[list[Any], list[Any]]:
        index = catalogue.index
        async with index.read() as conn:
            before = await places(conn)
        async with index.write() as conn:
            for statement in _BACK:
                await conn.exec_driver_sql(statement)
            await conn.run_sync(migrate_again)
        async with index.read() as conn:
            return before, await places(conn)

    before, after = catalogue.runner.run(back_and_forth())
    assert after == before


def test_places_are_of_one_width() -> None:
    widths = {
        len(columns.report_place("SR", date, time, number))
        for date, time in (("", ""), ("20240101", ""), ("20240101", "101112.000001"))
        for number in (-(1 << 31), -1, 0, 1, (1 << 31) - 1, columns.NO_NUMBER)
    }
    assert widths == {30}
