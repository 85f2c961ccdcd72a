"""What has been deleted, stores that were refused, and results of storage commitments."""

from typing import Final

from alembic import op

revision = "0008"
down_revision = "0007"

_TYPES: Final = {
    "sqlite": {"TEXT": "TEXT", "BLOB": "BLOB", "CLUSTERED": " WITHOUT ROWID"},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "CLUSTERED": ""},
}

_TABLES: Final = (
    # One row an instance, taken away when it is stored again. with_study: nothing was left of its
    # study then.
    """CREATE TABLE tombstone (
        study_instance_uid {TEXT} NOT NULL, series_instance_uid {TEXT} NOT NULL,
        sop_instance_uid {TEXT} NOT NULL, change BIGINT NOT NULL, deleted_us BIGINT NOT NULL,
        with_study SMALLINT NOT NULL,
        PRIMARY KEY (study_instance_uid, series_instance_uid, sop_instance_uid)){CLUSTERED}""",
    "CREATE INDEX tombstone_uid ON tombstone (sop_instance_uid)",
    # Bytes that no instance has any more and that are kept for a while.
    """CREATE TABLE deleted_blob (
        blob_key {TEXT} PRIMARY KEY, deleted_us BIGINT NOT NULL, is_set_aside SMALLINT NOT NULL
        ){CLUSTERED}""",
    "CREATE INDEX deleted_blob_due ON deleted_blob (deleted_us)",
    "CREATE INDEX deleted_blob_new ON deleted_blob (blob_key) WHERE is_set_aside = 0",
    # Senders whose object was not stored, because its UID is taken by an object with other bytes.
    """CREATE TABLE refused_store (
        sop_instance_uid {TEXT} NOT NULL, sender {TEXT} NOT NULL, at_us BIGINT NOT NULL,
        PRIMARY KEY (sop_instance_uid, sender)){CLUSTERED}""",
    "CREATE INDEX refused_store_at ON refused_store (at_us)",
    # Of requests that are asked for their result: why instances are not committed to.
    "ALTER TABLE commitment ADD COLUMN result {BLOB}",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
