"""Instances on their way to other application entities, and commitments asked for."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Tables follow."""
