"""What can be done with resources (FHIR R4 section 3.1.0): each call leads to one function here."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from bfr_dicomweb.errors import (
    Conflict,
    Gone,
    InvalidQuery,
    InvalidRequest,
    NotAllowed,
    NotFound,
    PreconditionFailed,
)
from bfr_dicomweb.fhir import bundles, capability, intervals, negotiation, references, summaries
from bfr_dicomweb.fhir.changes import Change, answer_of, answer_with, expected_of
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.outcomes import outcome
from bfr_dicomweb.fhir.search import Pairs, Search
from bfr_dicomweb.fhir.searching import Page, Place
from bfr_dicomweb.fhir.service import READING, Fhir, Level
from bfr_dicomweb.fhir.several import Several
from bfr_dicomweb.fhir.source import Acts, Resource

_ALONE: Final = frozenset({"_page", "_format", "_pretty"})
_HISTORY: Final = frozenset({"_count", "_since", "_page", "_format", "_pretty"})


async def perform(fhir: Fhir, call: Call) -> Answer:
    """Raises any ArchiveError."""
    match call.path:
        case ("metadata",):
            _allow(call, *READING)
            return Answer(200, capability.statement(fhir, call.base))
        case (name,) if name.startswith("$"):
            return await _operate(fhir, call, name, "system")
        case (kind,):
            return await _on_type(fhir, call, kind)
        case (kind, "_search"):
            _allow(call, *READING, "POST")
            return await search(fhir, call, kind)
        case (kind, name) if name.startswith("$"):
            return await _operate(fhir, call, name, "type", kind)
        case (kind, resource_id):
            return await _on_instance(fhir, call, kind, resource_id)
        case (kind, resource_id, *rest):
            return await _below_instance(fhir, call, kind, resource_id, rest)
    raise NotFound("there is no such resource")


async def _below_instance(
    fhir: Fhir, call: Call, kind: str, resource_id: str, rest: Sequence[str]
) -> Answer:
    if len(rest) == 1 and rest[0].startswith("$"):
        return await _operate(fhir, call, rest[0], "instance", kind)
    _allow(call, *READING)
    match rest:
        case ("_history",):
            return await history(fhir, call, kind, resource_id)
        case ("_history", version):
            return await vread(fhir, call, kind, resource_id, version)
        case (searched,) if kind == "Patient":
            return await search(fhir, call, searched, compartment=resource_id)
    raise NotFound("there is no such resource")


def _allow(call: Call, *methods: str) -> None:
    if call.method not in methods:
        raise NotAllowed((*methods, "OPTIONS"))


async def _operate(fhir: Fhir, call: Call, name: str, level: Level, kind: str = "") -> Answer:
    if kind:
        fhir.source(kind)
    operation = fhir.operation(name.removeprefix("$"), level, kind)
    methods = (*operation.methods, *(("HEAD",) if "GET" in operation.methods else ()))
    _allow(call, *methods)
    return await operation.run(fhir, call)


async def _on_type(fhir: Fhir, call: Call, kind: str) -> Answer:
    fhir.source(kind)
    if call.method in READING:
        return await search(fhir, call, kind)
    if (acting := fhir.acting.get(kind)) is not None:
        _allow(call, *READING, "POST", "PUT")
        return await _act_on_type(fhir, call, kind, acting)
    methods = ("POST", "PUT", "DELETE") if kind in fhir.writable else ()
    _allow(call, *READING, *methods)
    if call.method == "POST":
        return await _done(fhir, call, await create(fhir, call, kind))
    if call.method == "PUT":
        return await _done(fhir, call, await conditional_update(fhir, call, kind))
    return await _done(fhir, call, await conditional_delete(fhir, call, kind))


async def _on_instance(fhir: Fhir, call: Call, kind: str, resource_id: str) -> Answer:
    fhir.source(kind)
    if call.method in READING:
        return await read(fhir, call, kind, resource_id)
    if (acting := fhir.acting.get(kind)) is not None:
        _allow(call, *READING, "PUT")
        return await _act(fhir, call, kind, resource_id, acting)
    methods = ("PUT", "DELETE") if kind in fhir.writable else ()
    _allow(call, *READING, *methods)
    if call.method == "PUT":
        return await _done(fhir, call, await update(fhir, call, kind, resource_id))
    return await _done(fhir, call, await delete(fhir, call, kind, resource_id))


# --- reading


async def read(fhir: Fhir, call: Call, kind: str, resource_id: str) -> Answer:
    found = await _current(fhir, kind, resource_id)
    if found is None:
        raise NotFound(f"there is no such {kind}")
    return _shown(call, found)


async def _current(fhir: Fhir, kind: str, resource_id: str) -> Resource | None:
    source = fhir.source(kind)
    return await source.read(resource_id) if references.ID.fullmatch(resource_id) else None


async def vread(fhir: Fhir, call: Call, kind: str, resource_id: str, version: str) -> Answer:
    source = fhir.source(kind)
    found = None
    if references.ID.fullmatch(resource_id) and references.ID.fullmatch(version):
        found = await source.vread(resource_id, version)
    if found is None:
        raise NotFound(f"there is no such version of this {kind}")
    return _shown(call, found)


def _shown(call: Call, resource: Resource) -> Answer:
    headers = _validators(resource)
    if _is_known(call, headers):
        return Answer(304, headers=headers)
    if resource["resourceType"] == "Binary" and not negotiation.wants_resource(
        call.headers.get("accept"), call.said("_format")
    ):
        return _content(resource, headers)
    elements = call.said("_elements")
    reduced = summaries.reduced(
        resource,
        summary=call.said("_summary") or "false",
        elements=elements.split(",") if elements else None,
    )
    return Answer(200, reduced, headers)


def _content(binary: Resource, headers: dict[str, str]) -> Answer:
    try:
        data = base64.b64decode(binary.get("data", ""))
    except binascii.Error:
        raise NotFound("the content of this Binary cannot be read") from None
    return Answer(200, headers=headers, content=(data, binary["contentType"]))


def _validators(resource: Resource) -> dict[str, str]:
    meta = resource.get("meta", {})
    headers = {}
    if "versionId" in meta:
        headers["ETag"] = f'W/"{meta["versionId"]}"'
    if "lastUpdated" in meta:
        moment = datetime.fromtimestamp(_seconds(meta["lastUpdated"]), UTC)
        headers["Last-Modified"] = format_datetime(moment, usegmt=True)
    return headers


def _seconds(instant: str) -> int:
    return intervals.interval(instant).low // 1_000_000


def _is_known(call: Call, headers: dict[str, str]) -> bool:
    """Whether the client has this version already (RFC 9110 section 13.1)."""
    known = call.headers.get("if-none-match")
    if known is not None:
        etag = headers.get("ETag", "").removeprefix("W/")
        tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
        return bool(etag) and any(tag in (etag, "*") for tag in tags)
    since = call.headers.get("if-modified-since")
    if since is None or "Last-Modified" not in headers:
        return False
    try:
        return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
    except (ValueError, TypeError, OverflowError):
        return False


async def history(fhir: Fhir, call: Call, kind: str, resource_id: str) -> Answer:
    source = fhir.source(kind)
    for name, _ in call.query:
        if name not in _HISTORY:
            raise InvalidQuery("history", "it takes _count and _since")
    versions: Sequence[Resource] = ()
    if references.ID.fullmatch(resource_id):
        versions = await source.history(resource_id)
    if not versions:
        raise NotFound(f"there is no such {kind}")
    since = call.said("_since")
    if since is not None:
        versions = _newer(versions, since)
    begin = _history_place(fhir, call, kind, resource_id)
    count = _history_count(fhir, call)
    path = f"{kind}/{resource_id}/_history"
    links = [bundles.link("self", bundles.url_of(call.base, path, call.query))]
    if begin + count < len(versions):
        token = fhir.pages.seal({"h": f"{kind}/{resource_id}", "o": begin + count})
        kept = [(name, value) for name, value in call.query if name != "_page"]
        pairs = [*kept, ("_page", token)]
        links.append(bundles.link("next", bundles.url_of(call.base, path, pairs)))
    shown = versions[begin : begin + count]
    return Answer(200, bundles.history(call.base, shown, links, total=len(versions)))


def _newer(versions: Sequence[Resource], since: str) -> list[Resource]:
    try:
        low = intervals.interval(since.replace(" ", "+")).low
    except ValueError:
        raise InvalidQuery("_since", "it is no instant") from None
    return [
        version
        for version in versions
        if intervals.interval(version["meta"]["lastUpdated"]).high > low
    ]


def _history_place(fhir: Fhir, call: Call, kind: str, resource_id: str) -> int:
    token = call.said("_page")
    if token is None:
        return 0
    place = fhir.pages.open(token)
    if place.get("h") != f"{kind}/{resource_id}":
        raise InvalidQuery("_page", "it is of another history")
    return int(place["o"])


def _history_count(fhir: Fhir, call: Call) -> int:
    text = call.said("_count")
    if text is None:
        return fhir.limits.versions
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 9) or int(text) == 0:
        raise InvalidQuery("_count", "it is a whole number, 1 or more")
    return min(int(text), fhir.limits.versions)


# --- searching


async def search(fhir: Fhir, call: Call, kind: str, *, compartment: str | None = None) -> Answer:
    fhir.source(kind)
    pairs = [*call.query, *(call.form or ())]
    strict = call.preference("handling") == "strict"
    place, token = Place(), call.said("_page")
    if token is not None:
        pairs, place, strict = _continued(fhir, kind, token, pairs)
    elif compartment is not None:
        pairs = [("patient", f"Patient/{compartment}"), *pairs]
    wanted = fhir.reader(call.base, strict=strict).read(kind, pairs)
    page = await fhir.searcher(call.base).page(wanted, place)
    links = _links(fhir, call, wanted, page, strict=strict)
    return Answer(200, _searchset(call.base, wanted, page, links))


def _continued(
    fhir: Fhir, kind: str, token: str, pairs: Pairs
) -> tuple[list[tuple[str, str]], Place, bool]:
    if {name for name, _ in pairs} - _ALONE:
        raise InvalidQuery("_page", "it stands alone: the query is in it")
    kept: dict[str, Any] = fhir.pages.open(token)
    if kept.get("t") != kind:
        raise InvalidQuery("_page", "it is of another search")
    after = kept["a"]
    place = Place(None if after is None else (after[0], after[1]), kept["o"], kept["n"])
    return [(name, value) for name, value in kept["q"]], place, kept["s"]


def _links(
    fhir: Fhir, call: Call, wanted: Search, page: Page, *, strict: bool
) -> list[dict[str, str]]:
    """No URL that we make tells of a patient: what was not in the URL goes into a token."""

    def sealed(place: Place) -> str:
        after = None if place.after is None else list(place.after)
        kept = {"t": wanted.type, "q": wanted.query, "s": strict}
        return fhir.pages.seal({**kept, "a": after, "o": place.offset, "n": place.total})

    if call.said("_page") is not None:
        own = [(name, value) for name, value in call.query if name == "_page"]
        own = own or [("_page", call.said("_page") or "")]
    elif call.form is not None or len(call.path) > 2:
        own = [("_page", sealed(Place()))]
    else:
        own = list(wanted.query)
    links = [bundles.link("self", bundles.url_of(call.base, wanted.type, own))]
    if page.following is not None:
        following = [("_page", sealed(page.following))]
        links.append(bundles.link("next", bundles.url_of(call.base, wanted.type, following)))
    return links


def _searchset(base: str, wanted: Search, page: Page, links: Sequence[dict[str, str]]) -> Resource:
    matches, included = page.matches, page.included
    if wanted.elements is not None or wanted.summary != "false":
        matches = [_reduced(match, wanted) for match in matches]
        if wanted.elements is None:
            included = [_reduced(resource, wanted) for resource in included]
    entries = [bundles.entry(base, match, "match") for match in matches]
    entries += [bundles.entry(base, resource, "include") for resource in included]
    if page.issues:
        entries.append(bundles.entry(base, outcome(page.issues), "outcome"))
    return bundles.searchset(entries, links, total=page.total)


def _reduced(resource: Resource, wanted: Search) -> Resource:
    return summaries.reduced(resource, summary=wanted.summary, elements=wanted.elements)


async def found_by(fhir: Fhir, base: str, kind: str, pairs: Pairs) -> list[Resource]:
    """At most two of what a condition finds; a parameter that is not known is refused."""
    if not pairs:
        raise InvalidQuery("condition", "it names no parameter")
    wanted = fhir.reader(base, strict=True).read(kind, [*pairs, ("_count", "2")])
    page = await fhir.searcher(base).page(wanted, Place())
    if page.following is not None and len(page.matches) < 2:
        raise InvalidQuery("condition", "it is not narrow enough")
    return list(page.matches)


# --- writing


async def create(fhir: Fhir, call: Call, kind: str) -> Change:
    """Raises PreconditionFailed: several resources are what If-None-Exist asks for."""
    written, resource = fhir.written(kind), _payload(call)
    written.check(resource)
    condition = call.headers.get("if-none-exist")
    if condition is not None:
        existing = await found_by(fhir, call.base, kind, _pairs(condition))
        if len(existing) > 1:
            raise PreconditionFailed("several resources meet the condition of If-None-Exist")
        if existing:
            return Change(written, existing[0]["id"], None, 200, existing[0])
    new_id = uuid4().hex
    return Change(written, new_id, written.post(new_id, resource, call.base), 201)


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query.lstrip("?"), keep_blank_values=True)


async def update(fhir: Fhir, call: Call, kind: str, resource_id: str) -> Change:
    written, resource = fhir.written(kind), _payload(call)
    if resource.get("id") != resource_id:
        raise InvalidRequest("the id of the resource is not that of the URL")
    if not references.ID.fullmatch(resource_id):
        raise InvalidRequest("this is no id of a resource")
    written.check(resource)
    before = await _before(fhir, kind, resource_id)
    if before is not None and call.headers.get("if-none-match") == "*":
        raise PreconditionFailed("the resource is there already")
    expected = expected_of(call, before)
    return Change(
        written,
        resource_id,
        written.put(resource_id, resource, call.base, expected),
        200 if before is not None else 201,
    )


async def _before(fhir: Fhir, kind: str, resource_id: str) -> Resource | None:
    """The resource as it stands; None when there is none, or no longer.

    Raises:
        Conflict: It does not come from clients.
    """
    source = fhir.source(kind)
    if isinstance(source, Several):
        for one in source.sources:
            if one is not fhir.writable[kind] and await one.read(resource_id) is not None:
                raise Conflict("this resource comes from elsewhere: it cannot be written")
    try:
        return await fhir.written(kind).read(resource_id)
    except Gone:
        return None


async def delete(fhir: Fhir, call: Call, kind: str, resource_id: str) -> Change:
    written = fhir.written(kind)
    if not references.ID.fullmatch(resource_id):
        raise NotFound(f"there is no such {kind}")
    before = await _before(fhir, kind, resource_id)
    expected = expected_of(call, before)
    return Change(written, resource_id, written.delete(resource_id, expected), 204)


async def conditional_update(fhir: Fhir, call: Call, kind: str) -> Change:
    written, resource = fhir.written(kind), _payload(call)
    existing = await found_by(fhir, call.base, kind, call.query)
    if len(existing) > 1:
        raise PreconditionFailed("several resources meet the condition")
    if existing:
        chosen = existing[0]["id"]
        if resource.get("id", chosen) != chosen:
            raise InvalidRequest("the id of the resource is not that of the one that was found")
    elif "id" in resource:
        return await update(fhir, call, kind, resource["id"])
    else:
        written.check(resource)
        new_id = uuid4().hex
        return Change(written, new_id, written.post(new_id, resource, call.base), 201)
    written.check(resource)
    before = await _before(fhir, kind, chosen)
    expected = expected_of(call, before)
    put = written.put(chosen, {**resource, "id": chosen}, call.base, expected)
    return Change(written, chosen, put, 200)


async def conditional_delete(fhir: Fhir, call: Call, kind: str) -> Change:
    """Of one resource: several are not deleted at once."""
    existing = await found_by(fhir, call.base, kind, call.query)
    if len(existing) > 1:
        raise PreconditionFailed("several resources meet the condition")
    if not existing:
        raise NotFound("no resource meets the condition")
    return await delete(fhir, call, kind, existing[0]["id"])


def _payload(call: Call) -> Resource:
    if call.resource is None:
        raise InvalidRequest("the request has no resource in it")
    return call.resource


async def _done(fhir: Fhir, call: Call, change: Change) -> Answer:
    if change.write is None:
        return answer_of(call, change, None)
    try:
        (row,) = await fhir.write([change.write])
    except Conflict as error:
        if "if-match" in call.headers:  # somebody was faster
            raise PreconditionFailed(str(error)) from None
        raise
    return answer_of(call, change, row)


# --- writing what a service keeps


async def _act_on_type(fhir: Fhir, call: Call, kind: str, acting: Acts) -> Answer:
    if call.method == "POST":
        return await _act_anew(fhir, call, kind, acting, call.headers.get("if-none-exist"))
    existing = await found_by(fhir, call.base, kind, call.query)
    if len(existing) > 1:
        raise PreconditionFailed("several resources meet the condition")
    if existing:
        return await _act(fhir, call, kind, existing[0]["id"], acting)
    if "id" in _payload(call):
        raise InvalidRequest("no resource meets the condition, and the server gives new ones ids")
    return await _act_anew(fhir, call, kind, acting, None)


async def _act_anew(
    fhir: Fhir, call: Call, kind: str, acting: Acts, condition: str | None
) -> Answer:
    resource = _relative(call)
    acting.check(resource)
    if condition is not None:
        existing = await found_by(fhir, call.base, kind, _pairs(condition))
        if len(existing) > 1:
            raise PreconditionFailed("several resources meet the condition of If-None-Exist")
        if existing:
            return answer_with(call, existing[0], 200)
    return answer_with(call, await acting.create(resource), 201)


async def _act(fhir: Fhir, call: Call, kind: str, resource_id: str, acting: Acts) -> Answer:
    if not acting.is_written(resource_id):
        raise NotAllowed((*READING, "OPTIONS"))
    before = await _current(fhir, kind, resource_id)
    if before is None:
        raise NotFound(f"there is no such {kind}")
    resource = _relative(call)
    if resource.get("id", resource_id) != resource_id:
        raise InvalidRequest("the id of the resource is not that of the URL")
    acting.check(resource)
    after, is_done = await acting.update(resource_id, resource, expected_of(call, before))
    return answer_with(call, after, 200 if is_done else 202)


def _relative(call: Call) -> Resource:
    """The payload with references that do not say where this server is."""
    resource = _payload(call)
    own = {
        text: local
        for text in references.every(resource)
        if (local := references.local(text, call.base)) is not None
    }
    relative: Resource = references.replaced(resource, own)
    return relative
