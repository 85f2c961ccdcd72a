"""The identity of what is stored (PS3.18 sections 10.1 and 12.1)."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Ref:
    """A study, a series of it, or an instance of that."""

    study_instance_uid: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    @property
    def level(self) -> Level:
        if self.sop_instance_uid is not None:
            return Level.INSTANCE
        return Level.STUDY if self.series_instance_uid is None else Level.SERIES

    @property
    def path(self) -> str:
        """The target path relative to the base URI, with its leading slash."""
        parts = [f"/studies/{self.study_instance_uid}"]
        if self.series_instance_uid is not None:
            parts.append(f"/series/{self.series_instance_uid}")
        if self.sop_instance_uid is not None:
            parts.append(f"/instances/{self.sop_instance_uid}")
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class NonPatientRef:
    """An instance that belongs to no patient, and so to no study.

    Attributes:
        category: As PS3.18 section 12.1.1 names it, such as ``hanging-protocols``.
    """

    category: str
    sop_instance_uid: str

    @property
    def path(self) -> str:
        """The target path relative to the base URI, with its leading slash."""
        return f"/{self.category}/{self.sop_instance_uid}"
