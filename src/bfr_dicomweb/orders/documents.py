"""The document that follows an order: what it tells, and when a new version of it was due."""

from collections.abc import Iterable, Mapping, Sequence

from bfr_dicomweb.orders.state import (
    COARSE,
    DocumentVersion,
    Exam,
    Milestone,
    Status,
)

_SIGNED = frozenset({Status.SIGNED, Status.ADDENDUM, Status.CORRECTED})
_OVER = frozenset({Status.CANCELLED, Status.MOVED, Status.ERROR})


def milestones(
    exams: Sequence[Exam], places: Iterable[int], opened: Mapping[int, frozenset[str]]
) -> tuple[Milestone, ...]:
    """Of one order, in the order of their times.

    Args:
        exams: All exams of the fold.
        places: Of the order's exams.
        opened: By exam, digests of the events with which versions of its reports came.
    """
    found = []
    for place in places:
        news = opened.get(place, frozenset())
        before = None
        for step in exams[place].steps:
            coarse = COARSE[step.status]
            is_news = step.digest in news
            if is_news or (coarse != before and step.status != Status.UNKNOWN):
                found.append(Milestone(step.time, place, step.status, step.digest))
            if step.status != Status.UNKNOWN:
                before = coarse
    found.sort(key=lambda milestone: milestone.time)
    return tuple(found)


def documents(told: Sequence[Milestone], places: Sequence[int]) -> tuple[DocumentVersion, ...]:
    """A version for each time at which something became known."""
    found: list[DocumentVersion] = []
    statuses: dict[int, Status] = {}
    was_final = False
    for steps, milestone in enumerate(told, 1):
        statuses[milestone.exam] = milestone.status
        if steps < len(told) and told[steps].time == milestone.time:
            continue
        status = _status(statuses, places, was_final)
        was_final = status != "preliminary"
        found.append(DocumentVersion(len(found) + 1, milestone.time, steps, status))
    return tuple(found)


def _status(statuses: Mapping[int, Status], places: Sequence[int], was_final: bool) -> str:
    if was_final:
        return "amended"
    is_signed = any(status in _SIGNED for status in statuses.values())
    is_over = all(statuses.get(place) in _OVER for place in places)
    return "final" if is_signed or is_over else "preliminary"
