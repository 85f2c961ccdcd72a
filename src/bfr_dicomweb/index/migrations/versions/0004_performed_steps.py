"""Modality performed procedure steps."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Tables follow."""
