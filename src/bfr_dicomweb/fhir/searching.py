"""Finding a page of what a search asks for, and what goes with it, from any source."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from bfr_dicomweb.dicom.person_names import fold
from bfr_dicomweb.errors import TooCostly
from bfr_dicomweb.fhir import evaluation, ids, references, tokens
from bfr_dicomweb.fhir.evaluation import Test
from bfr_dicomweb.fhir.intervals import FOREVER, text_of
from bfr_dicomweb.fhir.limits import Limits
from bfr_dicomweb.fhir.outcomes import Explains, Issue, issue
from bfr_dicomweb.fhir.search import Criterion, Include, Moment, References, Search, Text, Token
from bfr_dicomweb.fhir.search_parameters import Kind, Parameter, parameters_of
from bfr_dicomweb.fhir.source import Candidate, Narrowing, Resource, Source
from bfr_dicomweb.services import sight

_FIRST_BATCH: Final = 20
_MOST_OF_A_BATCH: Final = 1000
# A date of a resource may cover a day, told in local time.
_ROOM_US: Final = 2 * 86_400 * 1_000_000
# Parameters of which one value names few resources.
_SELECTIVE: Final = frozenset({"_id", "identifier", "requisition", "instance", "series"})
# Strings whose folded beginnings are told to a source: it keeps them whole.
_PREFIXES: Final = {
    "Organization": "name",
    "Patient": "family",
    "Practitioner": "family",
}
_MERGED: Final = frozenset({"replaced-by", "replaces"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins.

    Attributes:
        after: Moment and key of the last candidate that was looked at.
        offset: Matches before it; for those that are sorted by another parameter.
        total: When an earlier page knew it.
    """

    after: tuple[str, int] | None = None
    offset: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Attributes:
    following: Where the next page begins; None: this was the last one.
    issues: What the client has to know of this answer.
    """

    matches: Sequence[Resource]
    included: Sequence[Resource]
    following: Place | None
    total: int | None
    issues: Sequence[Issue]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A search whose chains are resolved.

    Attributes:
        followed: Criteria whose chains are followed from each candidate.
        is_empty: Nothing can match.
    """

    source: Source
    narrowing: Narrowing
    search: Search
    test: Test
    followed: tuple[Criterion, ...]
    is_empty: bool


@dataclass(frozen=True, slots=True)
class _Walked:
    """Attributes:
    last: Of the candidates that were looked at.
    is_end: There are no more of them.
    """

    matches: list[Candidate]
    last: tuple[str, int] | None
    is_end: bool


class Searcher:
    """
    Args:
        base: URL of the service, which references in resources may begin with.
    """

    def __init__(self, sources: Mapping[str, Source], limits: Limits, base: str) -> None:
        self._sources = sources
        self._limits = limits
        self._base = base

    async def page(self, search: Search, place: Place) -> Page:
        with sight.one():
            return await self._page(search, place)

    async def _page(self, search: Search, place: Place) -> Page:
        plan = await self._planned(search)
        if search.summary == "count":
            total, issues = await self._counted(plan)
            return Page((), (), None, total, issues)
        if _is_walkable(search, plan.source):
            page = await self._walked_page(plan, place)
        else:
            page = await self._sorted_page(plan, place)
        total, counting = page.total, page.issues
        if total is None and search.total != "none":
            total, counting = await self._counted(plan)
        included, including = await self._included(search, page.matches)
        following = None if page.following is None else replace(page.following, total=total)
        reasons = await self._reasons(search, [*page.matches, *included])
        issues = [*_of_ignored(search), *counting, *including, *reasons]
        return Page(page.matches, included, following, total, issues)

    async def everything(self, search: Search, limit: int) -> list[Candidate]:
        """All matches.

        Raises:
            TooCostly: There are more than `limit`, or too many to look at.
        """
        plan = await self._planned(search)
        walked = await self._walk(plan, None, limit + 1)
        if len(walked.matches) > limit or not walked.is_end:
            raise TooCostly(search.type, f"more than {limit} match; narrow it further")
        return walked.matches

    async def _walked_page(self, plan: _Plan, place: Place) -> Page:
        count = plan.search.count
        walked = await self._walk(plan, place.after, count + 1)
        shown = walked.matches[:count]
        following, issues = None, []
        if len(walked.matches) > count:
            following = Place((shown[-1].moment, shown[-1].key))
        elif not walked.is_end:
            following = Place(walked.last)
            text = f"{self._limits.scanned} were looked at; the next link goes on from there."
            issues.append(issue("information", "incomplete", text))
        first_and_last = place.after is None and following is None
        total = len(shown) if first_and_last else place.total
        return Page([found.resource for found in shown], (), following, total, issues)

    async def _sorted_page(self, plan: _Plan, place: Place) -> Page:
        search, limit = plan.search, self._limits.sorted
        walked = await self._walk(plan, None, limit + 1)
        if len(walked.matches) > limit or not walked.is_end:
            reason = (
                f"only {plan.source.moment} orders any number of matches;"
                f" narrow the search to at most {limit}"
            )
            raise TooCostly("_sort", reason)
        found = _sorted(walked.matches, search)
        begin = _begin(found, place)
        shown = found[begin : begin + search.count]
        following = None
        if begin + search.count < len(found):
            following = Place((shown[-1].moment, shown[-1].key), begin + len(shown))
        return Page([match.resource for match in shown], (), following, len(found), ())

    async def _counted(self, plan: _Plan) -> tuple[int | None, list[Issue]]:
        limit = self._limits.counted
        walked = await self._walk(plan, None, limit + 1)
        if walked.is_end and len(walked.matches) <= limit:
            return len(walked.matches), []
        text = f"There are too many to count: {limit} at most are."
        return None, [issue("warning", "too-costly", text)]

    async def _walk(self, plan: _Plan, after: tuple[str, int] | None, wanted: int) -> _Walked:
        """Matches after a place, up to so many, but not more candidates than are allowed."""
        matches: list[Candidate] = []
        if plan.is_empty:
            return _Walked(matches, after, is_end=True)
        newest_first = not plan.search.sort or plan.search.sort[0].descending
        first, last = _bounds(plan, newest_first=newest_first)
        after = first if after is None else after
        scanned, size = 0, max(min(wanted, _MOST_OF_A_BATCH), _FIRST_BATCH)
        while True:
            size = min(size, self._limits.scanned - scanned)
            batch = await plan.source.candidates(
                plan.narrowing, newest_first=newest_first, after=after, limit=size
            )
            test = await self._test(plan, batch)
            for candidate in batch:
                if _is_beyond(candidate.moment, last, newest_first=newest_first):
                    return _Walked(matches, after, is_end=True)
                after = candidate.moment, candidate.key
                if test(candidate.resource):
                    matches.append(candidate)
                    if len(matches) == wanted:
                        return _Walked(matches, after, is_end=False)
            scanned += len(batch)
            if len(batch) < size:
                return _Walked(matches, after, is_end=True)
            if scanned >= self._limits.scanned:
                return _Walked(matches, after, is_end=False)
            size = min(size * 2, _MOST_OF_A_BATCH)

    async def _test(self, plan: _Plan, batch: Sequence[Candidate]) -> Test:
        if not plan.followed or not batch:
            return plan.test
        resources = [found.resource for found in batch if plan.test(found.resource)]
        resolved = [await self._followed(criterion, resources) for criterion in plan.followed]
        search = replace(plan.search, criteria=tuple(resolved))
        chains = evaluation.compiled(search, base=self._base)
        return lambda resource: plan.test(resource) and chains(resource)

    # --- chains and patients

    async def _planned(self, search: Search) -> _Plan:
        source = self._sources[search.type]
        plain = [criterion for criterion in search.criteria if not self._needs_resolving(criterion)]
        others = [criterion for criterion in search.criteria if self._needs_resolving(criterion)]
        begun = [c for c in others if self._is_of_patient(c) or _is_selective(c)]
        resolved = [await self._resolved(criterion) for criterion in begun]
        known = [*plain, *resolved]
        narrowing = _narrowing(search.type, known)
        rest = [criterion for criterion in others if criterion not in begun]
        if rest and narrowing == Narrowing():
            # nothing else says where to look: begin at the other end of the chains
            known += [await self._resolved(criterion) for criterion in rest]
            narrowing, rest = _narrowing(search.type, known), []
        concrete = replace(search, criteria=tuple(known))
        test = evaluation.compiled(concrete, base=self._base)
        return _Plan(source, narrowing, concrete, test, tuple(rest), _is_empty(known))

    def _needs_resolving(self, criterion: Criterion) -> bool:
        return bool(criterion.nested) or self._is_of_patient(criterion)

    def _is_of_patient(self, criterion: Criterion) -> bool:
        return (
            criterion.parameter.is_of_patient
            and "Patient" in self._sources
            and criterion.modifier != "missing"
        )

    async def _resolved(self, criterion: Criterion) -> Criterion:
        """The criterion with what its chain leads to in place of the chain."""
        if self._is_of_patient(criterion):
            return await self._of_patients(criterion)
        found: set[str] = set()
        for nested in criterion.nested:
            found |= await self._reached(criterion, nested)
        return _concrete(criterion, found)

    async def _reached(self, criterion: Criterion, nested: Search) -> set[str]:
        if nested.type not in self._sources:
            return set()
        matches = await self.everything(nested, self._limits.resolved)
        if criterion.reverse is None:
            return {references.of_resource(match.resource) for match in matches}
        return {
            target
            for match in matches
            for target in references.referred(match.resource, criterion.reverse, self._base)
        }

    async def _followed(self, criterion: Criterion, resources: Sequence[Resource]) -> Criterion:
        """The same for what these resources refer to, or are referred to by, alone."""
        found: set[str] = set()
        for nested in criterion.nested:
            if nested.type not in self._sources:
                continue
            if criterion.reverse is None:
                near = self._near(criterion.parameter, nested.type, resources)
            else:
                targets = frozenset(map(references.of_resource, resources))
                near = Criterion(criterion.reverse, (References(targets),))
            narrowed = replace(nested, criteria=(near, *nested.criteria))
            found |= await self._reached(criterion, narrowed)
        return _concrete(criterion, found)

    def _near(self, parameter: Parameter, kind: str, resources: Iterable[Resource]) -> Criterion:
        prefix = f"{kind}/"
        reached = {
            target.removeprefix(prefix)
            for resource in resources
            for target in references.referred(resource, parameter, self._base)
            if target.startswith(prefix)
        }
        own_id = parameters_of(kind).named["_id"]
        return Criterion(own_id, tuple(Token(None, found) for found in sorted(reached)))

    async def _of_patients(self, criterion: Criterion) -> Criterion:
        """Of all records of the patients that are meant: merged ones are one person."""
        begun = await self._named_patients(criterion)
        known = {references.of_resource(patient): patient for patient in begun}
        frontier = list(begun)
        for _ in range(self._limits.include_rounds):
            linked = {link for patient in frontier for link in _merged(patient)} - known.keys()
            if not linked:
                break
            if len(known) + len(linked) > self._limits.resolved:
                raise TooCostly(criterion.parameter.name, "too many patients are meant")
            frontier = await self._by_ids("Patient", {link.split("/")[1] for link in linked})
            known |= {references.of_resource(patient): patient for patient in frontier}
        unresolved = tuple(value for value in criterion.values if isinstance(value, Token))
        return _concrete(criterion, known, unresolved)

    async def _named_patients(self, criterion: Criterion) -> list[Resource]:
        if criterion.nested:
            found = [await self._matches(nested) for nested in criterion.nested]
            return [patient for patients in found for patient in patients]
        if criterion.modifier == "identifier":
            identifier = parameters_of("Patient").named["identifier"]
            search = Search("Patient", (Criterion(identifier, criterion.values),))
            return await self._matches(search)
        wanted = {
            target.removeprefix("Patient/")
            for value in criterion.values
            if isinstance(value, References)
            for target in value.targets
            if target.startswith("Patient/")
        }
        return await self._by_ids("Patient", wanted)

    async def _matches(self, search: Search) -> list[Resource]:
        if search.type not in self._sources:
            return []
        found = await self.everything(search, self._limits.resolved)
        return [match.resource for match in found]

    async def _by_ids(self, kind: str, wanted: Iterable[str]) -> list[Resource]:
        chosen = frozenset(wanted)
        if not chosen or kind not in self._sources:
            return []
        plan = _Plan(
            source=self._sources[kind],
            narrowing=Narrowing(ids=chosen),
            search=Search(kind),
            test=lambda resource: resource["id"] in chosen,
            followed=(),
            is_empty=False,
        )
        walked = await self._walk(plan, None, len(chosen))
        return [match.resource for match in walked.matches]

    # --- what goes with the matches

    async def _included(
        self, search: Search, matches: Sequence[Resource]
    ) -> tuple[list[Resource], list[Issue]]:
        known = {references.of_resource(match) for match in matches}
        included: list[Resource] = []
        frontier: Sequence[Resource] = matches
        wanted = search.includes
        for _ in range(self._limits.include_rounds):
            if not wanted or not frontier:
                break
            found = await asyncio.gather(
                *(self._of_include(include, frontier) for include in wanted)
            )
            fresh = []
            whole = all(is_whole for _, is_whole in found)
            for resource in (resource for resources, _ in found for resource in resources):
                reference = references.of_resource(resource)
                if reference not in known:
                    known.add(reference)
                    fresh.append(resource)
            room = self._limits.included - len(included)
            included += fresh[:room]
            if len(fresh) > room or not whole:
                text = f"Only {self._limits.included} included resources are delivered."
                return included, [issue("warning", "incomplete", text)]
            frontier = fresh
            wanted = tuple(include for include in wanted if include.iterate)
        return included, []

    async def _of_include(
        self, include: Include, near: Sequence[Resource]
    ) -> tuple[list[Resource], bool]:
        """What goes with these resources, and whether that is all of it."""
        if include.reverse:
            found = await asyncio.gather(
                *(self._referring(include, p, near) for p in include.parameters)
            )
            resources = [match.resource for walked in found for match in walked.matches]
            return resources, all(walked.is_end for walked in found)
        targets: dict[str, set[str]] = defaultdict(set)
        for resource in near:
            for parameter in self._references_of(include, resource["resourceType"]):
                for target in references.referred(resource, parameter, self._base):
                    kind, _, reached = target.partition("/")
                    if include.target in (None, kind):
                        targets[kind].add(reached)
        by_kind = await asyncio.gather(
            *(self._by_ids(kind, reached) for kind, reached in sorted(targets.items()))
        )
        return [resource for resources in by_kind for resource in resources], True

    def _references_of(self, include: Include, kind: str) -> Iterable[Parameter]:
        if include.type == "*":
            return (p for p in parameters_of(kind).offered if p.kind is Kind.REFERENCE)
        return include.parameters if include.type == kind else ()

    async def _referring(
        self, include: Include, parameter: Parameter, near: Sequence[Resource]
    ) -> _Walked:
        """Resources that refer to any of these by a parameter, in the order of their source."""
        wanted = parameter.targets if include.target is None else (include.target,)
        targets = frozenset(
            references.of_resource(resource)
            for resource in near
            if resource["resourceType"] in wanted and resource["resourceType"] in parameter.targets
        )
        if not targets:
            return _Walked([], None, is_end=True)
        search = Search(include.type, (Criterion(parameter, (References(targets),)),))
        return await self._walk(await self._planned(search), None, self._limits.included + 1)

    async def _reasons(self, search: Search, resources: Sequence[Resource]) -> list[Issue]:
        asked = [search.type, *(include.type for include in search.includes)]
        asked += [resource["resourceType"] for resource in resources]
        found: list[Issue] = []
        for kind in dict.fromkeys(asked):
            source = self._sources.get(kind)
            if isinstance(source, Explains):
                found += await source.reasons(resources)
        return found


def _is_walkable(search: Search, source: Source) -> bool:
    """Whether the order of the source is the order that is asked for."""
    names = [key.parameter.name for key in search.sort]
    return not names or (names[0] == source.moment and set(names[1:]) <= {"_id"})


def _sorted(found: Sequence[Candidate], search: Search) -> list[Candidate]:
    ordered = list(found)
    # the last key first: sorting is stable
    for key in reversed(search.sort):
        value_of = partial(
            evaluation.sort_value, parameter=key.parameter, descending=key.descending
        )
        valued = [(value_of(candidate.resource), candidate) for candidate in ordered]
        present = [pair for pair in valued if pair[0] is not None]
        present.sort(key=_by_value, reverse=key.descending)
        absent = [candidate for value, candidate in valued if value is None]
        ordered = [candidate for _, candidate in present] + absent
    return ordered


def _by_value(pair: tuple[Any, Candidate]) -> Any:
    return pair[0]


def _begin(found: Sequence[Candidate], place: Place) -> int:
    """Behind the match that the page before ended with, or where that was."""
    for number, candidate in enumerate(found):
        if (candidate.moment, candidate.key) == place.after:
            return number + 1
    return place.offset


def _is_selective(criterion: Criterion) -> bool:
    return any(
        inner.parameter.name in _SELECTIVE
        or inner.parameter.is_of_patient
        or (bool(inner.nested) and _is_selective(inner))
        for nested in criterion.nested
        for inner in nested.criteria
    )


def _concrete(
    criterion: Criterion, found: Iterable[str], or_tokens: tuple[Token, ...] = ()
) -> Criterion:
    if criterion.reverse is not None:
        own = tuple(Token(None, target.split("/", 1)[1]) for target in sorted(found))
        return Criterion(criterion.parameter, own)
    return Criterion(criterion.parameter, (References(frozenset(found)), *or_tokens))


def _is_empty(criteria: Iterable[Criterion]) -> bool:
    return any(
        criterion.modifier not in ("missing", "not")
        and all(isinstance(value, References) and not value.targets for value in criterion.values)
        for criterion in criteria
    )


def _merged(patient: Resource) -> list[str]:
    return [
        reference
        for link in patient.get("link", ())
        if link.get("type") in _MERGED
        and (reference := references.local(link.get("other", {}).get("reference", "")))
    ]


def _of_ignored(search: Search) -> list[Issue]:
    text = "This parameter is not known here and was ignored: "
    return [issue("warning", "not-supported", text + name) for name in search.ignored]


def _narrowing(kind: str, criteria: Iterable[Criterion]) -> Narrowing:
    """What sources are told of a search."""
    chosen: frozenset[str] | None = None
    patients: frozenset[int] | None = None
    identifiers: tuple[tuple[str | None, str], ...] | None = None
    referred: dict[str, frozenset[str]] = {}
    coded: dict[str, frozenset[str]] = {}
    for criterion in criteria:
        name = criterion.parameter.name
        is_begun = _PREFIXES.get(kind) == name and criterion.modifier in ("", "exact")
        if criterion.nested or (criterion.modifier and not is_begun):
            continue
        if name == "_id":
            found = _codes(criterion)
            chosen = found if chosen is None or found is None else chosen & found
        elif criterion.parameter.is_of_patient and kind != "Patient":
            numbers = _patient_numbers(criterion)
            if numbers is not None:
                patients = numbers if patients is None else patients & numbers
        elif name == "identifier":
            identifiers = _identifiers(criterion) if identifiers is None else identifiers
        elif criterion.parameter.kind is Kind.REFERENCE:
            referred.setdefault(name, _targets(criterion))
        elif criterion.parameter.kind is Kind.TOKEN and (codes := _codes(criterion)) is not None:
            coded.setdefault(name, codes)
        elif is_begun:
            begun = (value.text for value in criterion.values if isinstance(value, Text))
            coded.setdefault(name, frozenset(map(fold, begun)))
    return Narrowing(chosen, patients, identifiers, referred, coded)


def _codes(criterion: Criterion) -> frozenset[str] | None:
    """None: any code of some system would do."""
    found = [value.code for value in criterion.values if isinstance(value, Token)]
    return frozenset(found) if all(found) else None


def _targets(criterion: Criterion) -> frozenset[str]:
    found = (value.targets for value in criterion.values if isinstance(value, References))
    return frozenset().union(*found)


def _patient_numbers(criterion: Criterion) -> frozenset[int] | None:
    """None: one of them is not kept in the catalogue's rows."""
    numbers = {
        ids.number_of(target.removeprefix("Patient/"), ids.PATIENT)
        for target in _targets(criterion)
    }
    return None if None in numbers else frozenset(n for n in numbers if n is not None)


def _identifiers(criterion: Criterion) -> tuple[tuple[str | None, str], ...] | None:
    named = [value for value in criterion.values if isinstance(value, Token)]
    if not all(token.code for token in named):
        return None
    return tuple(dict.fromkeys(pair for token in named for pair in tokens.spellings(token)))


def _bounds(plan: _Plan, *, newest_first: bool) -> tuple[tuple[str, int] | None, str | None]:
    """Where a walk may begin, and the moment beyond which nothing matches any more."""
    low, high = -FOREVER, FOREVER
    for criterion in plan.search.criteria:
        parameter = criterion.parameter
        if parameter.name != plan.source.moment or parameter.kind is not Kind.DATE:
            continue
        moments = [value for value in criterion.values if isinstance(value, Moment)]
        if criterion.modifier or not moments:
            continue
        low = max(low, min(_lowest(moment) for moment in moments))
        high = min(high, max(_highest(moment) for moment in moments))
    earliest = None if low <= -FOREVER else text_of(low - _ROOM_US)
    latest = None if high >= FOREVER else text_of(high + _ROOM_US)
    first, last = (latest, earliest) if newest_first else (earliest, latest)
    return (None if first is None else (first, 0)), last


def _lowest(moment: Moment) -> int:
    return moment.interval.low if moment.prefix in ("eq", "gt", "ge", "sa") else -FOREVER


def _highest(moment: Moment) -> int:
    return moment.interval.high if moment.prefix in ("eq", "lt", "le", "eb") else FOREVER


def _is_beyond(moment: str, last: str | None, *, newest_first: bool) -> bool:
    if last is None:
        return False
    return moment < last if newest_first else moment > last
