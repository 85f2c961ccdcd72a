"""Where reports stand among the series of a study and the instances of a series."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from bfr_dicomweb.index import columns

revision = "0003"
down_revision = "0002"

_TEXT: Final = {"sqlite": "TEXT", "postgresql": 'TEXT COLLATE "C"'}
_GROUP: Final = 1000

_COLUMNS: Final = (
    # Empty for what is no report; the newest report has the least.
    "ALTER TABLE series ADD COLUMN report_place {TEXT} NOT NULL DEFAULT ''",
    "ALTER TABLE instance ADD COLUMN report_place {TEXT} NOT NULL DEFAULT ''",
)
_INDEXES: Final = (
    """CREATE UNIQUE INDEX series_as_listed
        ON series (study_id, report_place, series_number, series_instance_uid)""",
    # It takes the place of the one it replaces: two would cost every stored instance.
    "DROP INDEX instance_in_order",
    """CREATE UNIQUE INDEX instance_in_order
        ON instance (series_id, report_place, instance_number, sop_instance_uid)""",
)


def upgrade() -> None:
    bind = op.get_bind()
    for statement in _COLUMNS:
        bind.exec_driver_sql(statement.format(TEXT=_TEXT[bind.dialect.name]))
    _fill(bind)
    for statement in _INDEXES:
        bind.exec_driver_sql(statement)


def _fill(bind: sa.Connection) -> None:
    found = bind.execute(
        sa.text("SELECT id, modality, series_number FROM series WHERE modality IN ('SR', 'DOC')")
    ).fetchall()
    for start in range(0, len(found), _GROUP):
        for key, modality, number in found[start : start + _GROUP]:
            _fill_series(bind, key, modality, number)


def _fill_series(bind: sa.Connection, key: int, modality: str, number: int) -> None:
    held = bind.execute(
        sa.text(
            "SELECT id, content_date, content_time, instance_number"
            " FROM instance WHERE series_id = :key"
        ),
        {"key": key},
    ).fetchall()
    places: list[dict[str, Any]] = [
        {"key": own, "place": columns.report_place(modality, date, time, of)}
        for own, date, time, of in held
    ]
    if not places:
        return
    bind.execute(sa.text("UPDATE instance SET report_place = :place WHERE id = :key"), places)
    newest = min(item["place"] for item in places)
    bind.execute(
        sa.text("UPDATE series SET report_place = :place WHERE id = :key"),
        {"key": key, "place": columns.place_of_series(newest, number)},
    )
