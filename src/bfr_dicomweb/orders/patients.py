"""Demographics and merged records: of several statements the latest counts, whenever it arrives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from bfr_dicomweb.orders.events import Demographics, PatientFacts
from bfr_dicomweb.orders.identifiers import NATIONAL, Identifier


@dataclass(frozen=True, slots=True, order=True)
class Dated:
    """What was said, and when it was true."""

    time: str = ""
    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Register:
    """What is known of a person, each with its time, so that older statements change nothing."""

    name: Dated = Dated()  # family, given: said together
    birth_date: Dated = Dated()
    gender: Dated = Dated()
    deceased: Dated = Dated()
    address: Dated = Dated()
    security: Dated = Dated()

    @property
    def demographics(self) -> Demographics:
        family, given = self.name.value or ("", "")
        others = {name: getattr(self, name).value for name in _ALONE}
        return Demographics(
            family=family,
            given=given,
            **{name: value[0] for name, value in others.items() if value},
        )


_ALONE: Final = ("birth_date", "gender", "deceased", "address", "security")
_NAMES: Final = tuple(field.name for field in fields(Register))


def merge(stored: Register, facts: PatientFacts) -> Register:
    """What a message says, added; in any order and any number of times the same."""
    return joined(stored, _register(facts))


def joined(one: Register, other: Register) -> Register:
    """What two registers of one person come to."""
    newer = {
        name: getattr(other, name) for name in _NAMES if getattr(other, name) > getattr(one, name)
    }
    return replace(one, **newer) if newer else one


def _register(facts: PatientFacts) -> Register:
    said, time = facts.demographics, facts.time
    name = Dated(time, (said.family, said.given)) if said.family or said.given else Dated()
    alone = {
        attribute: Dated(time, (value,))
        for attribute in _ALONE
        if (value := getattr(said, attribute))
    }
    return Register(name=name, **alone)


def is_of_two_persons(identifiers: Iterable[Identifier]) -> bool:
    """Two different numbers that each name one person in the whole country."""
    return len({identifier for identifier in identifiers if identifier.system in NATIONAL}) > 1


@dataclass(frozen=True, slots=True)
class _Word:
    """Whether `loser` is a record of the same person as `survivor`."""

    loser: int
    survivor: int
    time: str
    merged: bool

    @property
    def precedence(self) -> tuple[str, bool, int, int]:
        # Said at the same time, a separation counts: two persons in one record do more harm.
        return self.time, not self.merged, self.survivor, self.loser


def roots(links: Mapping[tuple[int, int], tuple[str, bool]]) -> dict[int, int]:
    """For each record in any link, the record that it is part of; itself when it is of no other.

    Of all that was said of two records the last word counts, and of all records that one was
    merged into the last. Records that were merged in a circle are of the one that was last said to
    survive.

    Args:
        links: By loser and survivor, the time of the last word on them, and whether it was that
            they are of one person.
    """
    words = [_Word(*pair, *said) for pair, said in links.items()]
    words.sort(key=lambda word: word.precedence)
    last = {frozenset((word.loser, word.survivor)): word for word in words}
    into: dict[int, _Word] = {}
    for word in sorted(last.values(), key=lambda word: word.precedence):
        if word.merged and word.loser != word.survivor:
            into[word.loser] = word
    return {record: _root(record, into) for pair in links for record in pair}


def _root(record: int, into: Mapping[int, _Word]) -> int:
    path: list[int] = []
    while record in into and record not in path:
        path.append(record)
        record = into[record].survivor
    if record not in into:
        return record
    circle = path[path.index(record) :]
    return max((into[member] for member in circle), key=lambda word: word.precedence).survivor
