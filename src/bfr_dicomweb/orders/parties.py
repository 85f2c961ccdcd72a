"""Who has part in exams: units, persons, and persons in their units, as messages tell of them.

Only whose identifier says who gave it is anybody: the same bare number is of another person at
every sender.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain
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
    return tuple(chain.from_iterable(map(_of_event, contents.events)))


def _of_event(event: Event) -> tuple[ToldParty, ...]:
    facts = event.facts
    signer = None if event.report is None else event.report.signer
    hour = event.time[:_HOUR]
    return _parties(
        facts.requester, signer, facts.requesting_unit, facts.performing_unit, hour=hour
    )


# who sends and performs many exams is told of again and again
@lru_cache(maxsize=4096)
def _parties(
    requester: Party | None,
    signer: Party | None,
    requesting: Party | None,
    performing: Party | None,
    *,
    hour: str,
) -> tuple[ToldParty, ...]:
    person = _told(PartyKind.PERSON, requester, hour)
    unit = _told(PartyKind.UNIT, requesting, hour)
    told = [person, _told(PartyKind.PERSON, signer, hour)]
    told += [unit, _told(PartyKind.UNIT, performing, hour)]
    if person is not None and unit is not None:
        told.append(ToldParty(PartyKind.ROLE, person.identifier, unit=unit.identifier))
    return tuple(one for one in told if one is not None)


def _told(kind: PartyKind, party: Party | None, hour: str) -> ToldParty | None:
    if party is None or party.identifier is None or not is_known(party):
        return None
    # a number alone never takes the place of a name
    time = hour if party.name or party.family or party.given else ""
    return ToldParty(kind, party.identifier, party.name, party.family, party.given, time=time)
