"""Who has part in exams: units, persons, and persons in their units, as messages tell of them.

Only whose identifier says who gave it is anybody: the same bare number is of another person at
every sender.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from bfr_dicomweb.orders.events import Contents, Event, Party
from bfr_dicomweb.orders.identifiers import Identifier

# So much of a time is kept: what is told again within the hour is nothing new.
_HOUR: Final = len("2024-01-08T08")


class PartyKind(StrEnum):
    UNIT = "unit"
    PERSON = "person"
    ROLE = "role"  # of a person in a unit


@dataclass(frozen=True, slots=True)
class ToldParty:
    """Of two with the same id the one with the greater `rank` counts, whichever came first.

    Attributes:
        identifier: Of a role it is that of the person.
        unit: Of a role, where it is.
        time: The hour when it was told; "" when only the identifier was, or of a role.
    """

    kind: PartyKind
    identifier: Identifier
    name: str = ""
    family: str = ""
    given: str = ""
    unit: Identifier | None = None
    time: str = ""

    @property
    def id(self) -> str:
        return id_of(self.identifier) if self.unit is None else id_of(self.identifier, self.unit)

    @property
    def rank(self) -> tuple[str, str, str, str]:
        return self.time, self.name, self.family, self.given


@lru_cache(maxsize=4096)
def id_of(*identifiers: Identifier) -> str:
    """The same for the same identifier, or for the same person and unit of a role."""
    told = "|".join(f"{one.system}|{one.value}" for one in identifiers)
    return "h" + hashlib.sha256(told.encode()).hexdigest()[:24]


def is_known(party: Party | None) -> bool:
    """Whether it has an identifier that is its own everywhere."""
    return party is not None and party.identifier is not None and bool(party.identifier.system)


def parties_of(contents: Contents) -> tuple[ToldParty, ...]:
    """Whom a message tells of, some of them more than once."""
    return tuple(told for event in contents.events for told in _of_event(event))


def _of_event(event: Event) -> Iterator[ToldParty]:
    facts = event.facts
    signer = None if event.report is None else event.report.signer
    persons = [_told(PartyKind.PERSON, one, event.time) for one in (facts.requester, signer)]
    units = [
        _told(PartyKind.UNIT, one, event.time)
        for one in (facts.requesting_unit, facts.performing_unit)
    ]
    yield from (one for one in (*persons, *units) if one is not None)
    requester, unit = persons[0], units[0]
    if requester is not None and unit is not None:
        yield ToldParty(PartyKind.ROLE, requester.identifier, unit=unit.identifier)


def _told(kind: PartyKind, party: Party | None, time: str) -> ToldParty | None:
    if party is None or party.identifier is None or not is_known(party):
        return None
    # a number alone never takes the place of a name
    hour = time[:_HOUR] if party.name or party.family or party.given else ""
    return ToldParty(kind, party.identifier, party.name, party.family, party.given, time=hour)
