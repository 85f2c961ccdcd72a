"""A search as values: what FHIR R4 section 3.1.1 lets a client say in a query."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.fhir import references
from bfr_dicomweb.fhir.intervals import Interval, interval
from bfr_dicomweb.fhir.limits import DEFAULT, Limits
from bfr_dicomweb.fhir.search_parameters import PARAMETERS, Kind, Parameter, parameters_of

Pairs = Sequence[tuple[str, str]]
Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]


@dataclass(frozen=True, slots=True)
class Token:
    """`system` None is any, "" is none; `code` "" is any of the system."""

    system: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Moment:
    prefix: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class References:
    """Any of these: "Type/id", or a URL as it stands."""

    targets: frozenset[str]


Value = Token | Moment | Text | References


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition; of its values any has to hold.

    Attributes:
        modifier: "" or one of `MODIFIERS`; "type" for a reference's.
        nested: The resources referred to match one of these searches (a chain).
        reverse: The resources that `nested` finds refer to this one by it (_has).
        missing: For the modifier of that name.
    """

    parameter: Parameter
    values: tuple[Value, ...] = ()
    modifier: str = ""
    nested: tuple["Search", ...] = ()
    reverse: Parameter | None = None
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """Attributes:
    type: Of the resources that refer.
    parameters: By which they refer.
    target: Only to resources of this type.
    """

    type: str
    parameters: tuple[Parameter, ...]
    target: str | None = None
    iterate: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class SortKey:
    parameter: Parameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Search:
    """Attributes:
    ignored: Names of the parameters that are not known here.
    query: What was understood, as pairs.
    """

    type: str
    criteria: tuple[Criterion, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT.default_count
    total: Total = "none"
    summary: Summary = "false"
    elements: frozenset[str] | None = None
    ignored: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)


# FHIR R4 section 3.1.1.5, without those that need a terminology.
MODIFIERS: Final[dict[Kind, frozenset[str]]] = {
    Kind.DATE: frozenset({"missing"}),
    Kind.REFERENCE: frozenset({"missing", "identifier"}),
    Kind.STRING: frozenset({"missing", "exact", "contains"}),
    Kind.TOKEN: frozenset({"missing", "not", "text"}),
    Kind.URI: frozenset({"missing", "below"}),
}
# Answered elsewhere, or without effect on what is found.
_ELSEWHERE: Final = frozenset({"_format", "_pretty"})
_INCLUDES: Final = re.compile(r"_(rev)?include(?::(iterate|recurse))?")
_CHAIN: Final = re.compile(r"([^.:]+)(?::([A-Za-z]+))?\.(.+)", re.DOTALL)
_MOMENT: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.+)", re.DOTALL)
_SPACE_IN_ZONE: Final = re.compile(r"(T[\d:.]+) (\d\d:\d\d)", re.ASCII)
_ELEMENT: Final = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)


class _Unknown(Exception):
    """The parameter is not known here."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What is needed to read a query beside itself.

    Attributes:
        base: URL of this server's FHIR service.
        types: Types of resources that it has.
        strict: Refuse what is not known (Prefer: handling=strict).
    """

    types: Collection[str]
    base: str = ""
    strict: bool = False
    limits: Limits = DEFAULT

    def read(self, resource_type: str, pairs: Pairs) -> Search:
        """Raises InvalidQuery."""
        draft = _Draft()
        for name, value in pairs:
            if "\0" in name or "\0" in value:
                raise InvalidQuery("query", "it has a character that no value can have")
            if name in _ELSEWHERE:
                continue
            if not value:
                raise InvalidQuery(_named(name), "it has no value")
            try:
                self._take(draft, resource_type, name, value)
            except _Unknown:
                if self.strict:
                    raise InvalidQuery(_named(name), "no such parameter is known here") from None
                draft.ignored.append(_named(name))
            else:
                draft.query.append((name, value))
        return draft.search(resource_type, self.limits)

    def _take(self, draft: "_Draft", resource_type: str, name: str, value: str) -> None:
        control = _CONTROLS.get(name)
        if control is not None:
            control(draft, resource_type, value, self.limits)
        elif (match := _INCLUDES.fullmatch(name)) is not None:
            include = self._include(value, reverse=bool(match[1]), iterate=bool(match[2]))
            draft.includes.append(include)
        else:
            draft.criteria.append(self._criterion(resource_type, name, value, 0))

    def _criterion(self, resource_type: str, name: str, value: str, depth: int) -> Criterion:
        if depth > self.limits.chain:
            raise InvalidQuery(_named(name), f"at most {self.limits.chain} steps are followed")
        if name.startswith("_has:"):
            return self._has(resource_type, name, value, depth)
        known = parameters_of(resource_type).named
        head, _, modifier = name.partition(":")
        if head in known and "." not in modifier:
            return self._plain(known[head], modifier, value)
        chain = _CHAIN.fullmatch(name)
        if chain is None or chain[1] not in known:
            raise _Unknown
        return self._chained(known[chain[1]], chain[2], chain[3], value, depth)

    def _chained(
        self, parameter: Parameter, to: str | None, rest: str, value: str, depth: int
    ) -> Criterion:
        if parameter.kind is not Kind.REFERENCE:
            raise InvalidQuery(parameter.name, "only a reference can be followed")
        targets = parameter.targets if to is None else (to,)
        if to is not None and to not in parameter.targets:
            raise InvalidQuery(parameter.name, f"it refers to {' or '.join(parameter.targets)}")
        nested = []
        for target in targets:
            try:
                inner = self._criterion(target, rest, value, depth + 1)
            except _Unknown:
                continue
            nested.append(Search(target, (inner,)))
        if not nested:
            raise _Unknown
        return Criterion(parameter, nested=tuple(nested))

    def _has(self, resource_type: str, name: str, value: str, depth: int) -> Criterion:
        parts = name.split(":", 3)
        if len(parts) < 4:
            raise InvalidQuery("_has", "it is written _has:Type:reference:parameter")
        _, source, reference, rest = parts
        parameter = parameters_of(source).named.get(reference)
        if source not in self.types or parameter is None or resource_type not in parameter.targets:
            raise _Unknown
        nested = Search(source, (self._criterion(source, rest, value, depth + 1),))
        own_id = parameters_of(resource_type).named["_id"]
        return Criterion(own_id, nested=(nested,), reverse=parameter)

    def _plain(self, parameter: Parameter, modifier: str, value: str) -> Criterion:
        if modifier == "missing":
            return Criterion(parameter, modifier=modifier, missing=_boolean(parameter.name, value))
        texts = split(value, ",")
        if len(texts) > self.limits.values:
            raise InvalidQuery(parameter.name, f"at most {self.limits.values} values are taken")
        if any(not text for text in texts):
            raise InvalidQuery(parameter.name, "one of its values is empty")
        if parameter.kind is Kind.REFERENCE and modifier != "identifier":
            return Criterion(parameter, (self._references(parameter, modifier, texts),))
        if modifier and modifier not in MODIFIERS[parameter.kind]:
            raise InvalidQuery(parameter.name, "it does not have this modifier here")
        read = _token if modifier == "identifier" else _READERS[parameter.kind]
        if modifier == "text":
            read = _text
        return Criterion(parameter, tuple(read(parameter.name, text) for text in texts), modifier)

    def _references(self, parameter: Parameter, only: str, texts: Iterable[str]) -> References:
        if only and only not in PARAMETERS:
            raise InvalidQuery(parameter.name, "it does not have this modifier here")
        targets = (only,) if only else parameter.targets
        found: set[str] = set()
        for text in map(unescaped, texts):
            reference = references.local(text, self.base)
            if reference is not None:
                found.add(reference)
            elif references.ID.fullmatch(text):
                found.update(f"{target}/{text}" for target in targets)
            else:
                found.add(text)  # a URL of elsewhere
        return References(frozenset(found))

    def _include(self, value: str, *, reverse: bool, iterate: bool) -> Include:
        name = "_revinclude" if reverse else "_include"
        source, _, rest = value.partition(":")
        searched, _, target = rest.partition(":")
        if value == "*" and not reverse:
            return Include("*", (), None, iterate)
        if source not in self.types or not searched:
            raise InvalidQuery(name, "it is written Type:parameter or Type:parameter:Target")
        if target and target not in PARAMETERS:
            raise InvalidQuery(name, "its target is no type of resource")
        known = parameters_of(source)
        if searched == "*":
            chosen = tuple(p for p in known.offered if p.kind is Kind.REFERENCE)
        elif searched in known.named and known.named[searched].kind is Kind.REFERENCE:
            chosen = (known.named[searched],)
        else:
            raise InvalidQuery(name, f"{source} has no reference parameter of this name")
        return Include(source, chosen, target or None, iterate, reverse)


@dataclass(slots=True)
class _Draft:
    criteria: list[Criterion] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    count: int | None = None
    total: Total = "none"
    summary: Summary = "false"
    elements: set[str] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)
    query: list[tuple[str, str]] = field(default_factory=list)

    def search(self, resource_type: str, limits: Limits) -> Search:
        if len(self.criteria) > limits.criteria:
            raise InvalidQuery("query", f"at most {limits.criteria} criteria are taken")
        if len(self.includes) > limits.includes:
            raise InvalidQuery("_include", f"at most {limits.includes} are taken")
        count = limits.default_count if self.count is None else min(self.count, limits.count)
        return Search(
            type=resource_type,
            criteria=tuple(self.criteria),
            includes=tuple(self.includes),
            sort=tuple(self.sort),
            count=count,
            total=self.total,
            summary="count" if count == 0 else self.summary,
            elements=frozenset(self.elements) or None,
            ignored=tuple(dict.fromkeys(self.ignored)),
            query=tuple(self.query),
        )


def _take_count(draft: _Draft, _: str, value: str, __: Limits) -> None:
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise InvalidQuery("_count", "it is a whole number, 0 or more")
    draft.count = int(value)


def _take_sort(draft: _Draft, resource_type: str, value: str, _: Limits) -> None:
    known = parameters_of(resource_type).named
    for text in value.split(","):
        parameter = known.get(text.removeprefix("-"))
        if parameter is None:
            raise InvalidQuery("_sort", f"{resource_type} has no parameter of this name")
        draft.sort.append(SortKey(parameter, text.startswith("-")))


def _take_total(draft: _Draft, _: str, value: str, __: Limits) -> None:
    match value:
        case "none" | "estimate" | "accurate":
            draft.total = value
        case _:
            raise InvalidQuery("_total", "it is none, estimate or accurate")


def _take_summary(draft: _Draft, _: str, value: str, __: Limits) -> None:
    match value:
        case "true" | "text" | "data" | "count" | "false":
            draft.summary = value
        case _:
            raise InvalidQuery("_summary", "it is true, text, data, count or false")


def _take_elements(draft: _Draft, _: str, value: str, __: Limits) -> None:
    names = value.split(",")
    if not all(_ELEMENT.fullmatch(name) for name in names):
        raise InvalidQuery("_elements", "it lists names of elements at the top of a resource")
    draft.elements.update(names)


_CONTROLS: Final[dict[str, Callable[[_Draft, str, str, Limits], None]]] = {
    "_count": _take_count,
    "_elements": _take_elements,
    "_sort": _take_sort,
    "_summary": _take_summary,
    "_total": _take_total,
}


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that no backslash stands before; still escaped."""
    if "\\" not in text:
        return text.split(separator)
    parts, begin, place = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        if text[place] == separator:
            parts.append(text[begin:place])
            begin = place + 1
        place += 1
    return [*parts, text[begin:]]


def unescaped(text: str) -> str:
    return re.sub(r"\\([\\,$|])", r"\1", text) if "\\" in text else text


def _token(name: str, text: str) -> Token:
    parts = split(text, "|")
    if len(parts) == 1:
        return Token(None, unescaped(text))
    token = Token(unescaped(parts[0]), unescaped("|".join(parts[1:])))
    if not token.system and not token.code:
        raise InvalidQuery(name, "neither a system nor a code is given")
    return token


def _moment(name: str, text: str) -> Moment:
    match = _MOMENT.fullmatch(unescaped(text))
    if match is None:
        raise InvalidQuery(name, "it is no date or time")
    # a "+" that was not percent-encoded has become a space
    written = _SPACE_IN_ZONE.sub(r"\1+\2", match[2])
    try:
        return Moment(match[1] or "eq", interval(written))
    except ValueError:
        raise InvalidQuery(name, "it is no date or time") from None


def _text(_: str, text: str) -> Text:
    return Text(unescaped(text))


_READERS: Final[dict[Kind, Callable[[str, str], Value]]] = {
    Kind.DATE: _moment,
    Kind.STRING: _text,
    Kind.TOKEN: _token,
    Kind.URI: _text,
}


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidQuery(name, "with :missing it is true or false")
    return value == "true"


def _named(name: str) -> str:
    """A parameter as it may be said again: never its value, and nothing long or odd."""
    return re.sub(r"[^\w.:$-]", "?", name, flags=re.ASCII)[:64]
