"""Attributes that an administrator has had indexed, and their values."""

from typing import Final

from alembic import op

revision = "0010"
down_revision = "0009"

_TYPES: Final = {
    "sqlite": {"TEXT": "TEXT", "CLUSTERED": " WITHOUT ROWID"},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "CLUSTERED": ""},
}

_TABLES: Final = (
    # Instances whose id is not below place are covered. is_dropped: nobody asks for it any more,
    # and its values are being removed.
    """CREATE TABLE indexed_attribute (
        id BIGINT PRIMARY KEY, path {TEXT} NOT NULL, level {TEXT} NOT NULL, vr {TEXT} NOT NULL,
        creator {TEXT} NOT NULL, place BIGINT NOT NULL, total BIGINT NOT NULL,
        done BIGINT NOT NULL, is_dropped SMALLINT NOT NULL)""",
    # owner_id is of a study, series or instance, as the level of the attribute says. part: whole
    # values, or what words of names sound like. shown: the value as DICOM JSON has it.
    """CREATE TABLE indexed_value (
        attribute_id BIGINT NOT NULL, owner_id BIGINT NOT NULL, part SMALLINT NOT NULL,
        value {TEXT} NOT NULL, shown {TEXT} NOT NULL,
        PRIMARY KEY (attribute_id, owner_id, part, value)){CLUSTERED}""",
    """CREATE INDEX indexed_value_found
        ON indexed_value (attribute_id, part, value, owner_id)""",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
