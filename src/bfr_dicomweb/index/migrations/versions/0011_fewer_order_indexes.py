"""Of aliases and events, no index that another can stand in for: each costs every message.

An alias is found by its value, or by its value and patient: one key serves both.
"""

from typing import Final

from alembic import op

revision = "0011"
down_revision = "0010"

_KEY: Final = "PRIMARY KEY (value, patient_id, kind, system, order_id, exam_id)"
# The key of a table without rows' ids is the table: SQLite has to write it anew.
_ALIASES: Final = {
    "sqlite": (
        f"""CREATE TABLE order_alias_by_value (
            value TEXT NOT NULL, kind TEXT NOT NULL, system TEXT NOT NULL,
            patient_id BIGINT NOT NULL, order_id BIGINT NOT NULL, exam_id BIGINT NOT NULL,
            {_KEY}) WITHOUT ROWID""",
        """INSERT INTO order_alias_by_value
            SELECT value, kind, system, patient_id, order_id, exam_id FROM order_alias
            ORDER BY value, patient_id, kind, system, order_id, exam_id""",
        "DROP TABLE order_alias",
        "ALTER TABLE order_alias_by_value RENAME TO order_alias",
        "CREATE INDEX order_alias_of ON order_alias (order_id)",
    ),
    "postgresql": (
        "DROP INDEX order_alias_patient",
        f"ALTER TABLE order_alias DROP CONSTRAINT order_alias_pkey, ADD {_KEY}",
    ),
}
_EVENTS: Final = (
    "DROP INDEX order_event_source",
    """CREATE INDEX order_event_unknown ON order_event (message)
        WHERE kind = 'unknown' AND superseded = 0""",
)


def upgrade() -> None:
    bind = op.get_bind()
    for statement in (*_ALIASES[bind.dialect.name], *_EVENTS):
        bind.exec_driver_sql(statement)
