"""Instances on their way to other application entities, commitments asked for, notifications."""

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"

_TYPES: Final = {
    "sqlite": {
        "TEXT": "TEXT",
        "BLOB": "BLOB",
        "KEY": "INTEGER PRIMARY KEY",
        "CLUSTERED": " WITHOUT ROWID",
    },
    "postgresql": {
        "TEXT": 'TEXT COLLATE "C"',
        "BLOB": "BYTEA",
        "KEY": "BIGINT PRIMARY KEY",
        "CLUSTERED": "",
    },
}

_TABLES: Final = (
    # Storage commitments that others ask of this archive. state: waiting, reported, abandoned.
    # clashes: the Transaction UID was taken by another request of the same requester.
    """CREATE TABLE commitment (
        number {KEY}, requester {TEXT} NOT NULL, transaction_uid {TEXT} NOT NULL,
        received_us BIGINT NOT NULL, state {TEXT} NOT NULL, clashes SMALLINT NOT NULL,
        attempts INTEGER NOT NULL, last_error {TEXT} NOT NULL, body {BLOB} NOT NULL)""",
    """CREATE UNIQUE INDEX commitment_transaction
        ON commitment (requester, transaction_uid) WHERE clashes = 0""",
    """CREATE INDEX commitment_waiting
        ON commitment (requester, attempts, number) WHERE state = 'waiting'""",
    "CREATE INDEX commitment_received ON commitment (state, received_us)",
    # Jobs of sending. state: open, done, failed.
    """CREATE TABLE delivery (
        number {KEY}, peer {TEXT} NOT NULL, priority SMALLINT NOT NULL, commits SMALLINT NOT NULL,
        state {TEXT} NOT NULL, created_us BIGINT NOT NULL, ended_us BIGINT NOT NULL)""",
    "CREATE INDEX delivery_peer ON delivery (peer, state, priority DESC, number)",
    "CREATE INDEX delivery_created ON delivery (state, created_us)",
    # state: waiting, sent, asked, committed, failed. The transaction is the last one in which the
    # peer was asked to commit to it.
    """CREATE TABLE delivery_instance (
        delivery BIGINT NOT NULL, ordinal BIGINT NOT NULL, sop_class_uid {TEXT} NOT NULL,
        sop_instance_uid {TEXT} NOT NULL, state {TEXT} NOT NULL, attempts INTEGER NOT NULL,
        due_us BIGINT NOT NULL, reason {TEXT} NOT NULL, transaction_uid {TEXT} NOT NULL,
        PRIMARY KEY (delivery, ordinal)){CLUSTERED}""",
    """CREATE INDEX delivery_instance_state
        ON delivery_instance (delivery, state, attempts, ordinal)""",
    """CREATE INDEX delivery_instance_transaction
        ON delivery_instance (transaction_uid, sop_instance_uid) WHERE transaction_uid <> ''""",
    # Storage commitments that this archive asks of others.
    """CREATE TABLE delivery_commitment (
        transaction_uid {TEXT} PRIMARY KEY, delivery BIGINT NOT NULL, peer {TEXT} NOT NULL,
        asked_us BIGINT NOT NULL, answered_us BIGINT NOT NULL)""",
    "CREATE INDEX delivery_commitment_asked ON delivery_commitment (answered_us, asked_us)",
    "CREATE INDEX delivery_commitment_of ON delivery_commitment (delivery)",
    # Studies that have changed and may still be growing; then, whom to tell that they are here.
    """CREATE TABLE growing_study (
        study_instance_uid {TEXT} PRIMARY KEY, changed_us BIGINT NOT NULL)""",
    "CREATE INDEX growing_study_quiet ON growing_study (changed_us)",
    """CREATE TABLE availability_notice (
        peer {TEXT} NOT NULL, study_instance_uid {TEXT} NOT NULL, number BIGINT NOT NULL,
        attempts INTEGER NOT NULL, last_error {TEXT} NOT NULL, created_us BIGINT NOT NULL,
        PRIMARY KEY (peer, study_instance_uid)){CLUSTERED}""",
    "CREATE INDEX availability_notice_order ON availability_notice (peer, attempts, number)",
    "CREATE INDEX availability_notice_created ON availability_notice (created_us)",
    # Nobody is told now of what came before there was anybody to tell.
    """INSERT INTO follower (name, change, owner, lease_until_us)
        SELECT 'availability', change, '', 0 FROM counter""",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
