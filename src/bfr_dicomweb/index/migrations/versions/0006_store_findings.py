"""What was odd about the objects of a study is found by the study."""

from typing import Final

from alembic import op

revision = "0006"
down_revision = "0005"

_INDEX: Final = """CREATE INDEX finding_study ON finding (study_instance_uid)
    WHERE study_instance_uid <> ''"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(_INDEX)
