"""Workitems, who is told of their events, and the events."""

from typing import Final

from alembic import op

revision = "0007"
down_revision = "0006"

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
    # Ids are change numbers; change is of the latest version. state is "" once the workitem has
    # been deleted. origin: of what made it, when a rule did; one workitem for each.
    """CREATE TABLE workitem (
        id {KEY}, uid {TEXT} NOT NULL, state {TEXT} NOT NULL, transaction_uid {TEXT} NOT NULL,
        origin {TEXT} NOT NULL, change BIGINT NOT NULL, ended_us BIGINT NOT NULL,
        body {BLOB} NOT NULL)""",
    "CREATE UNIQUE INDEX workitem_uid ON workitem (uid)",
    "CREATE INDEX workitem_state ON workitem (state, id)",
    "CREATE INDEX workitem_ended ON workitem (ended_us, id) WHERE ended_us > 0",
    "CREATE UNIQUE INDEX workitem_origin ON workitem (origin) WHERE origin <> ''",
    # Values to narrow a search by; the path is that of the attribute, tags joined by dots.
    """CREATE TABLE workitem_value (
        path {TEXT} NOT NULL, value {TEXT} NOT NULL, workitem_id BIGINT NOT NULL,
        PRIMARY KEY (path, value, workitem_id)){CLUSTERED}""",
    "CREATE INDEX workitem_value_of ON workitem_value (workitem_id)",
    # To whoever is subscribed; aet: to this one alone. workitem_id 0: of the service itself.
    """CREATE TABLE workitem_event (
        number {KEY}, at_us BIGINT NOT NULL, workitem_id BIGINT NOT NULL, type SMALLINT NOT NULL,
        aet {TEXT} NOT NULL, body {BLOB} NOT NULL)""",
    "CREATE INDEX workitem_event_at ON workitem_event (at_us)",
    # Global and filtered subscriptions: to workitems with ids up to until_id, open while 0.
    """CREATE TABLE worklist_subscription (
        since BIGINT NOT NULL, aet {TEXT} NOT NULL, until_id BIGINT NOT NULL,
        locks SMALLINT NOT NULL, filter {TEXT} NOT NULL, PRIMARY KEY (aet, since)){CLUSTERED}""",
    # The last word of a subscriber on one workitem: subscribed, locking or not, or unsubscribed.
    """CREATE TABLE workitem_subscription (
        aet {TEXT} NOT NULL, workitem_id BIGINT NOT NULL, since BIGINT NOT NULL,
        subscribed SMALLINT NOT NULL, locks SMALLINT NOT NULL,
        PRIMARY KEY (workitem_id, aet)){CLUSTERED}""",
    "CREATE INDEX workitem_subscription_of ON workitem_subscription (aet)",
    # Up to where a subscriber has been told. called: it is told by calling it (DIMSE).
    """CREATE TABLE worklist_subscriber (
        aet {TEXT} PRIMARY KEY, told BIGINT NOT NULL, called SMALLINT NOT NULL)""",
)


def upgrade() -> None:
    types = _TYPES[op.get_bind().dialect.name]
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement.format(**types))
