"""Modality performed procedure steps, and which exams are on the worklist of modalities."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from bfr_dicomweb.orders import records, scheduled_steps
from bfr_dicomweb.orders.identifiers import DICOM_UID, AliasKind
from bfr_dicomweb.orders.state import Exam

revision = "0004"
down_revision = "0003"

_TYPES: Final = {
    "sqlite": {"TEXT": "TEXT", "BLOB": "BLOB", "KEY": "INTEGER PRIMARY KEY"},
    "postgresql": {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "KEY": "BIGINT PRIMARY KEY"},
}
_GROUP: Final = 1000

_STATEMENTS: Final = (
    # station: AE title. starts: local time, YYYYMMDDHHMMSS.FFFFFF; empty when on no worklist.
    "ALTER TABLE exam ADD COLUMN station {TEXT} NOT NULL DEFAULT ''",
    "ALTER TABLE exam ADD COLUMN starts {TEXT} NOT NULL DEFAULT ''",
    "CREATE INDEX exam_starts ON exam (starts, id) WHERE starts <> ''",
    "CREATE INDEX exam_station ON exam (station, starts, id) WHERE starts <> ''",
    "CREATE INDEX exam_starts_modality ON exam (modality, starts, id) WHERE starts <> ''",
    "CREATE INDEX exam_starts_patient ON exam (patient_id, starts, id) WHERE starts <> ''",
    # created: number of the message by which it was. sets: how many N-SET it has had. body: its
    # attributes as DICOM JSON.
    """CREATE TABLE performed_step (
        id {KEY}, sop_instance_uid {TEXT} NOT NULL UNIQUE, state {TEXT} NOT NULL,
        created BIGINT NOT NULL, sets INTEGER NOT NULL, created_us BIGINT NOT NULL,
        change BIGINT NOT NULL, changed_us BIGINT NOT NULL, body {BLOB} NOT NULL)""",
)


def upgrade() -> None:
    bind = op.get_bind()
    for statement in _STATEMENTS:
        bind.exec_driver_sql(statement.format(**_TYPES[bind.dialect.name]))
    _fill(bind)


def _fill(bind: sa.Connection) -> None:
    found = bind.execute(
        sa.text(
            "SELECT id FROM exam WHERE status IN ('received', 'booked', 'arrived', 'started')"
            " ORDER BY id"
        )
    ).fetchall()
    for start in range(0, len(found), _GROUP):
        for (key,) in found[start : start + _GROUP]:
            _fill_exam(bind, key)


def _fill_exam(bind: sa.Connection, key: int) -> None:
    order_id, patient_id, body = bind.execute(
        sa.text("SELECT order_id, patient_id, body FROM exam WHERE id = :key"), {"key": key}
    ).one()
    exam = records.loads(Exam, bytes(body))
    if starts := scheduled_steps.starts(exam):
        bind.execute(
            sa.text("UPDATE exam SET station = :station, starts = :starts WHERE id = :key"),
            {"key": key, "station": exam.facts.station_ae_title, "starts": starts},
        )
    uid = scheduled_steps.study_instance_uid(exam, patient_id)
    if uid and not exam.values(AliasKind.STUDY):
        bind.execute(
            sa.text(
                "INSERT INTO order_alias (value, kind, system, patient_id, order_id, exam_id)"
                " VALUES (:uid, :kind, :system, :patient, :order_, :exam) ON CONFLICT DO NOTHING"
            ),
            {
                "uid": uid,
                "kind": AliasKind.STUDY.value,
                "system": DICOM_UID,
                "patient": patient_id,
                "order_": order_id,
                "exam": key,
            },
        )
