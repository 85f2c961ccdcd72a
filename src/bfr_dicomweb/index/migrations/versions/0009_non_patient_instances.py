"""Instances of no patient: hanging protocols, color palettes, templates and the like."""

from typing import Final

from alembic import op

revision = "0009"
down_revision = "0008"

_TYPES: Final = {
    "sqlite": {"TEXT": "TEXT", "BLOB": "BLOB", "KEY": "INTEGER PRIMARY KEY"},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "KEY": "BIGINT PRIMARY KEY"},
}

_TABLES: Final = (
    # Ids are change numbers. summary: what searches look at; document: all metadata, compressed.
    """CREATE TABLE non_patient_instance (
        id {KEY}, category {TEXT} NOT NULL, sop_instance_uid {TEXT} NOT NULL,
        sop_class_uid {TEXT} NOT NULL, transfer_syntax_uid {TEXT} NOT NULL,
        blob_key {TEXT} NOT NULL, size_bytes BIGINT NOT NULL, digest {BLOB} NOT NULL,
        dataset_offset BIGINT NOT NULL, big_endian SMALLINT NOT NULL, deflated SMALLINT NOT NULL,
        summary {BLOB} NOT NULL, document {BLOB} NOT NULL, bulk {BLOB} NOT NULL)""",
    "CREATE UNIQUE INDEX non_patient_instance_uid ON non_patient_instance (sop_instance_uid)",
    "CREATE INDEX non_patient_instance_of ON non_patient_instance (category, id)",
    "CREATE INDEX non_patient_instance_blob ON non_patient_instance (blob_key)",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
