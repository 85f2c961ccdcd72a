"""What a case can come to, and how its function says so."""

from enum import StrEnum


class Level(StrEnum):
    """How strongly the Standard wants it; a lower level includes those above it."""

    SHALL = "shall"
    SHOULD = "should"
    MAY = "may"

    def includes(self, other: "Level") -> bool:
        order = list(Level)
        return order.index(other) <= order.index(self)


class Outcome(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"  # a shall is broken
    WARN = "WARN"  # a should is not followed
    NOTE = "NOTE"  # something worth knowing about what is free
    SKIP = "SKIP"  # what the case needs could not be arranged: nothing is known
    NA = "N/A"  # the server does not claim it
    ERROR = "ERROR"  # the suite's own fault; never the server's


class Violated(Exception):
    """The server broke the requirement. The text is shown: it never holds a value of a patient."""


class Unmet(Exception):
    """What the case needs to find anything out is not there."""


class NotClaimed(Exception):
    """The server does not offer what the requirement is about."""


OUTCOME_WHEN_VIOLATED = {
    Level.SHALL: Outcome.FAIL,
    Level.SHOULD: Outcome.WARN,
    Level.MAY: Outcome.NOTE,
}


def expect(held: bool, otherwise: str) -> None:
    """Raises Violated with the text `otherwise`, unless what was expected held."""
    if not held:
        raise Violated(otherwise)


def need(met: bool, otherwise: str) -> None:
    """Raises Unmet with the text `otherwise`, unless the case can find something out."""
    if not met:
        raise Unmet(otherwise)
