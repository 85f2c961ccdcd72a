"""Which events are of one exam, and which exams of one order.

An exam is known by its accession number first. Any other of its numbers ties events together too,
but never two that have different accession or filler numbers: placers often give all exams of an
order the same number. What has no number of its own (only the order's, or only a Study Instance
UID that several exams share) is said of each exam that it fits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from bfr_dicomweb.orders.events import Event, Kind, ReportStatus
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind

# Each of these is of one exam; the first ones tell the most.
_OWN: Final = (
    AliasKind.ACCESSION,
    AliasKind.FILLER,
    AliasKind.PLACER,
    AliasKind.PROCEDURE,
    AliasKind.STEP,
)
_OWN_SET: Final = frozenset(_OWN)
# By these an event finds its exams only when it has none of the above.
_WEAK: Final = (AliasKind.REPORT, AliasKind.STUDY, AliasKind.GROUP)

# What happens in the same minute, in the order in which it happens.
_STAGES: Final = {
    kind: stage * 16
    for stage, kind in enumerate(
        (
            Kind.RECEIVED,
            Kind.HELD,
            Kind.RELEASED,
            Kind.BOOKED,
            Kind.REBOOKED,
            Kind.ARRIVED,
            Kind.STARTED,
            Kind.PERFORMED,
            Kind.REPORTED,
            Kind.CANCEL_REQUESTED,
            Kind.CANCELLED,
            Kind.REFUSED,
            Kind.MOVED,
            Kind.WITHDRAWN,
            Kind.UPDATED,
            Kind.UNKNOWN,
        )
    )
}
_REPORT_STAGES: Final = {
    status: _STAGES[Kind.REPORTED] + 2 * stage
    for stage, status in enumerate(
        (
            ReportStatus.REGISTERED,
            ReportStatus.PARTIAL,
            ReportStatus.PRELIMINARY,
            ReportStatus.PROMOTED,
            ReportStatus.FINAL,
            ReportStatus.ADDENDUM,
            ReportStatus.CORRECTED,
        )
    )
} | dict.fromkeys((ReportStatus.CANCELLED, ReportStatus.WITHDRAWN), _STAGES[Kind.REPORTED] + 15)


class Told(NamedTuple):
    """An event at its place in the one order of all events: of times, not of arrival."""

    time: str
    stage: int
    digest: str
    event: Event


@dataclass(slots=True)
class Part:
    """The events of one exam.

    Attributes:
        aliases: Sorted, without groups; an unqualified one only when no qualified one says more.
        events: In their order.
        groups: Numbers of the orders that it is said to be of, the last said first.
        is_ambiguous: Its unqualified accession number is that of several other exams.
    """

    aliases: tuple[Alias, ...]
    events: list[Told]
    groups: tuple[Alias, ...] = ()
    is_ambiguous: bool = False


def in_order(events: Iterable[tuple[str, Event]]) -> list[Told]:
    """Each event once; they come with their digests."""
    return sorted(
        Told(event.time, _stage(event), digest, event) for digest, event in dict(events).items()
    )


def _stage(event: Event) -> int:
    report = event.report
    if report is None or event.kind != Kind.REPORTED:
        return _STAGES[event.kind]
    # A text comes before the document that was sent with it.
    return _REPORT_STAGES[report.status] + (not report.text)


def aliases_of(event: Event) -> tuple[Alias, ...]:
    """All by which its exam, its order and its report are known: sorted, each once."""
    named = event.aliases
    if event.report is not None:
        numbers = (event.report.identifier, event.report.parent)
        named += tuple([Alias(AliasKind.REPORT, "", number) for number in numbers if number])
    # Nothing ties it to anything: it stands for itself.
    return _sorted(named) or (Alias(AliasKind.REPORT, "", event.digest),)


# The events of an exam name it alike, and each is gone through with every new one.
@lru_cache(maxsize=8192)
def _sorted(named: tuple[Alias, ...]) -> tuple[Alias, ...]:
    found = {_place(alias): alias for alias in map(_normalised, named) if alias.value}
    return tuple([found[place] for place in sorted(found)])


def _normalised(alias: Alias) -> Alias:
    value = alias.value.strip()
    system = alias.system
    if alias.kind == AliasKind.STUDY:
        system, value = DICOM_UID, value.removeprefix("urn:oid:")
    if value == alias.value and system == alias.system:
        return alias
    return Alias(alias.kind, system, value)


def _place(alias: Alias) -> tuple[str, str, str]:
    return alias.kind, alias.system, alias.value


def lookup_keys(events: Iterable[Event]) -> set[Alias]:
    """What orders have to share so that they are folded together.

    Each alias is there a second time without its system, because one without a system can mean it.
    """
    keys: set[Alias] = set()
    for aliases in {event.aliases: aliases_of(event) for event in events}.values():
        keys.update(aliases)
        keys.update(Alias(alias.kind, "", alias.value) for alias in aliases if alias.system)
    return keys


def partition(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each exam, in their order. One that is said of several exams is in several."""
    told = in_order((event.digest, event) for event in events)
    return [[told.event for told in part.events] for part in parts(told)]


@dataclass(slots=True)
class _Bundle:
    """Events that name the same, by which they are one."""

    aliases: tuple[Alias, ...]
    events: list[Told]


def parts(events: Sequence[Told]) -> list[Part]:
    """The exams, by the first of their aliases."""
    bundles = sorted(_bundles(events), key=lambda bundle: list(map(_place, bundle.aliases)))
    groups = _Ties([bundle.aliases for bundle in bundles]).groups()
    found = [_part([bundles[place] for place in group]) for group in groups]
    if len(found) > 1:
        found.sort(key=lambda part: list(map(_place, part.aliases)))
        _mark_ambiguous(found)
    return found


def _bundles(events: Sequence[Told]) -> Iterable[_Bundle]:
    """Events with the same accession numbers, or without any and with the same other aliases."""
    said: dict[str, _Bundle] = {}
    bundles: dict[tuple[Alias, ...], _Bundle] = {}
    for told in events:
        raw = _as_said(told)
        if (bundle := said.get(raw)) is None:
            aliases = aliases_of(told.event)
            key = tuple([alias for alias in aliases if alias.kind == AliasKind.ACCESSION])
            bundle = said[raw] = bundles.setdefault(key or aliases, _Bundle(aliases, []))
            if bundle.aliases != aliases:
                bundle.aliases = tuple(sorted({*bundle.aliases, *aliases}, key=_place))
        bundle.events.append(told)
    return bundles.values()


def _as_said(told: Told) -> str:
    """Equal only for events with the same aliases, and cheap to look up."""
    event = told.event
    if not event.aliases:
        return told.digest
    report = event.report
    numbers = f"{report.identifier}\x1f{report.parent}" if report else ""
    return f"{_text(event.aliases)}\x1e{numbers}"


def _text(aliases: tuple[Alias, ...]) -> str:
    return "\x1f".join([part for a in aliases for part in (a.kind, a.system, a.value)])


def _part(bundles: list[_Bundle]) -> Part:
    aliases, events = bundles[0].aliases, bundles[0].events
    if len(bundles) > 1:
        aliases = tuple({alias for bundle in bundles for alias in bundle.aliases})
        events = sorted(told for bundle in bundles for told in bundle.events)
    groups = [alias for alias in aliases if alias.kind == AliasKind.GROUP]
    own = [alias for alias in aliases if alias.kind != AliasKind.GROUP]
    return Part(_most_telling(own or groups), events, _last_said_first(groups, bundles))


def _last_said_first(groups: list[Alias], bundles: list[_Bundle]) -> tuple[Alias, ...]:
    if len(groups) < 2:
        return tuple(groups)
    last = {}
    for told in sorted(told for bundle in bundles for told in bundle.events):
        for alias in aliases_of(told.event):
            if alias.kind == AliasKind.GROUP:
                last[alias.value] = told
    known = _most_telling(groups)
    return tuple(sorted(known, key=lambda group: last[group.value], reverse=True))


def _most_telling(aliases: Iterable[Alias]) -> tuple[Alias, ...]:
    """Sorted, without those that another one says with its system."""
    qualified = {(alias.kind, alias.value) for alias in aliases if alias.system}
    telling = [a for a in aliases if a.system or (a.kind, a.value) not in qualified]
    return tuple(sorted(telling, key=_place))


def _mark_ambiguous(found: list[Part]) -> None:
    holders: dict[str, int] = {}
    for part in found:
        for value in {a.value for a in part.aliases if a.kind == AliasKind.ACCESSION}:
            holders[value] = holders.get(value, 0) + 1
    for part in found:
        part.is_ambiguous = any(
            alias.kind == AliasKind.ACCESSION and not alias.system and holders[alias.value] > 1
            for alias in part.aliases
        )


def order_keys(found: Sequence[Part]) -> list[Alias]:
    """Of each exam: its group number, else its placer number, else what it is first known by."""
    qualified: dict[tuple[AliasKind, str], set[Alias]] = {}
    by_placer: dict[Alias, Alias] = {}
    for part in found:
        placers = [alias for alias in part.aliases if alias.kind == AliasKind.PLACER]
        for alias in (*part.groups, *placers):
            if alias.system:
                qualified.setdefault((alias.kind, alias.value), set()).add(alias)
    for part in found:
        if part.groups:
            key = _qualified(part.groups[0], qualified)
            for alias in part.aliases:
                if alias.kind == AliasKind.PLACER:
                    placer = _qualified(alias, qualified)
                    by_placer[placer] = min(key, by_placer.get(placer, key))
    return [_order_key(part, qualified, by_placer) for part in found]


def _order_key(
    part: Part,
    qualified: dict[tuple[AliasKind, str], set[Alias]],
    by_placer: dict[Alias, Alias],
) -> Alias:
    if part.groups:
        return _qualified(part.groups[0], qualified)
    placers = [
        _qualified(alias, qualified) for alias in part.aliases if alias.kind == AliasKind.PLACER
    ]
    if placers:
        # The same number with a group elsewhere is of that group.
        return next((by_placer[placer] for placer in placers if placer in by_placer), placers[0])
    return part.aliases[0]


def _qualified(alias: Alias, qualified: dict[tuple[AliasKind, str], set[Alias]]) -> Alias:
    systems = qualified.get((alias.kind, alias.value), set())
    return next(iter(systems)) if not alias.system and len(systems) == 1 else alias


def _meant(bundles: Sequence[tuple[Alias, ...]]) -> list[tuple[Alias, ...]]:
    """The same with the system that an alias without one must have, when only one is known."""
    systems: dict[tuple[str, str], set[str]] = {}
    for bundle in bundles:
        for alias in bundle:
            if alias.system:
                systems.setdefault((alias.kind, alias.value), set()).add(alias.system)
    one = {key: next(iter(known)) for key, known in systems.items() if len(known) == 1}
    return [
        tuple(
            Alias(alias.kind, one[alias.kind, alias.value], alias.value)
            if not alias.system and (alias.kind, alias.value) in one
            else alias
            for alias in bundle
        )
        for bundle in bundles
    ]


def _has_shared(bundles: Sequence[tuple[Alias, ...]]) -> bool:
    named = [
        (alias.kind, alias.value)
        for bundle in bundles
        for alias in bundle
        if alias.kind != AliasKind.GROUP or len(bundle) == 1
    ]
    return len(set(named)) < len(named)


def _shared(
    bundles: Sequence[tuple[Alias, ...]],
) -> dict[AliasKind, list[dict[str, list[int]]]]:
    """By kind, for each value that several bundles have: by system, the places of those bundles.

    Groups count only for bundles that have nothing else.
    """
    held: dict[tuple[AliasKind, str], dict[str, list[int]]] = {}
    for place, bundle in enumerate(bundles):
        for alias in bundle:
            held.setdefault((alias.kind, alias.value), {}).setdefault(alias.system, []).append(
                place
            )
    found: dict[AliasKind, list[dict[str, list[int]]]] = {}
    for kind, value in sorted(held):
        systems = held[kind, value]
        if len(systems) > 1 or any(len(places) > 1 for places in systems.values()):
            found.setdefault(kind, []).append(dict(sorted(systems.items())))
    return found


def _ends(own: int, goals: dict[int, list[int]]) -> set[int]:
    further = goals[own]
    return set().union(*(_ends(goal, goals) for goal in further)) if further else {own}


class _Ties:
    """Bundles of aliases that were said together, united until nothing more ties them.

    They come sorted: what is united first must not depend on who said what first.
    """

    def __init__(self, bundles: list[tuple[Alias, ...]]) -> None:
        self._cluster = list(range(len(bundles)))
        self._kinds = [{alias.kind for alias in bundle} for bundle in bundles]
        self._meant = _meant(bundles) if _has_shared(bundles) else bundles
        self._shared = _shared(self._meant) if self._meant is not bundles else {}

    def groups(self) -> list[list[int]]:
        """Of each exam the places of its bundles."""
        if not self._shared and all(AliasKind.ACCESSION in kinds for kinds in self._kinds):
            return [[place] for place in self._cluster]
        everywhere = set(self._cluster)
        before = None
        while before != self._cluster:
            before = list(self._cluster)
            for kind in _OWN:
                self._unite_by(kind, everywhere)
        self._unite_the_weak()
        return self._with_what_is_said_of_several()

    def _unite_by(self, kind: AliasKind, places: set[int]) -> None:
        for systems in self._shared.get(kind, ()):
            for held in systems.values():
                self._unite(kind, places.intersection(held))
            if "" in systems and len(systems) > 1:
                named = {place for system, held in systems.items() if system for place in held}
                if len({self._cluster[place] for place in named}) == 1:
                    self._unite(kind, places & named.union(systems[""]))

    def _unite(self, kind: AliasKind, places: set[int]) -> None:
        clusters = {self._cluster[place] for place in places}
        if len(clusters) < 2 or (kind != AliasKind.ACCESSION and self._differ(clusters)):
            return
        least = min(clusters)
        self._cluster = [least if own in clusters else own for own in self._cluster]

    def _differ(self, clusters: set[int]) -> bool:
        """Two of them have numbers by which they are surely different exams."""
        for kind in (AliasKind.ACCESSION, AliasKind.FILLER):
            values = [held for own in clusters if (held := self._values(own, kind))]
            if any(one.isdisjoint(other) for one in values for other in values):
                return True
        return False

    def _values(self, cluster: int, kind: AliasKind) -> set[str]:
        return {alias.value for alias in self._aliases(cluster, kind)}

    def _aliases(self, cluster: int, kind: AliasKind) -> set[Alias]:
        return {
            alias
            for place, own in enumerate(self._cluster)
            if own == cluster and kind in self._kinds[place]
            for alias in self._meant[place]
            if alias.kind == kind
        }

    def _members(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place, own in enumerate(self._cluster):
            found.setdefault(own, []).append(place)
        return found

    def _own_kinds(self, places: list[int]) -> set[AliasKind]:
        return {kind for place in places for kind in self._kinds[place]} & _OWN_SET

    def _unite_the_weak(self) -> None:
        weak = {place for place, kinds in enumerate(self._kinds) if not kinds & _OWN_SET}
        before = None
        while weak and before != self._cluster:
            before = list(self._cluster)
            for kind in (AliasKind.REPORT, AliasKind.STUDY):
                self._unite_by(kind, weak)
        groups_only = {place for place in weak if self._kinds[place] == {AliasKind.GROUP}}
        self._unite_by(AliasKind.GROUP, groups_only)

    def _with_what_is_said_of_several(self) -> list[list[int]]:
        members = self._members()
        goals = {own: self._goals(own, members) for own in members}
        found = {own: list(members[own]) for own in members if not goals[own]}
        for own in goals:
            for goal in _ends(own, goals) - {own}:
                found[goal].extend(members[own])
        return list(found.values())

    def _goals(self, own: int, members: dict[int, list[int]]) -> list[int]:
        """The exams that a cluster without a number of its own is said of; none: of its own."""
        kinds = self._own_kinds(members[own])
        if AliasKind.ACCESSION in kinds or len(kinds) > 1:
            return []
        for kind in tuple(kinds) or _WEAK:
            wanted = self._aliases(own, kind)
            goals = [
                other
                for other, places in members.items()
                if other != own
                and self._tells_more(places, kind, kinds)
                and not wanted.isdisjoint(self._aliases(other, kind))
            ]
            if goals:
                return goals
        return []

    def _tells_more(self, places: list[int], kind: AliasKind, kinds: set[AliasKind]) -> bool:
        others = self._own_kinds(places)
        if kinds:
            return len(others) > 1 or AliasKind.ACCESSION in others
        told = {kind for place in places for kind in self._kinds[place]}
        return bool(others) or (kind == AliasKind.GROUP and told != {AliasKind.GROUP})
