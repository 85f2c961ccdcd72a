"""Several requests in one: each for itself (batch), or all or nothing (transaction)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from bfr_dicomweb.errors import (
    ArchiveError,
    InvalidRequest,
    NotAllowed,
    PreconditionFailed,
    TooLarge,
)
from bfr_dicomweb.fhir import interactions, outcomes, references
from bfr_dicomweb.fhir.changes import Change, answer_of
from bfr_dicomweb.fhir.exchange import Answer, Call
from bfr_dicomweb.fhir.service import READING, Fhir
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.http.border import HTTP_STATUS

# FHIR R4 section 3.1.0.11.2: the order does not depend on that of the entries.
_ORDER: Final = ("DELETE", "POST", "PUT")
_METHODS: Final = frozenset({*_ORDER, *READING})
_HEADERS: Final = {
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifMatch": "if-match",
    "ifNoneExist": "if-none-exist",
}


async def perform(fhir: Fhir, call: Call) -> Answer:
    """A POST of a Bundle to the base URL."""
    if call.method != "POST":
        raise NotAllowed(("POST", "OPTIONS"))
    bundle = call.resource
    if bundle is None or bundle.get("resourceType") != "Bundle":
        raise InvalidRequest("a Bundle is expected here")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest("Bundle.entry is no list of entries")
    if len(entries) > fhir.limits.entries:
        raise TooLarge(f"a Bundle has at most {fhir.limits.entries} entries here")
    if bundle.get("type") == "batch":
        answers = await _batch(fhir, call, entries)
    elif bundle.get("type") == "transaction":
        answers = await _transaction(fhir, call, entries)
    else:
        raise InvalidRequest("Bundle.type is neither batch nor transaction")
    made: Resource = {"resourceType": "Bundle", "type": f"{bundle['type']}-response"}
    if answers:
        made["entry"] = [_entry(answer) for answer in answers]
    return Answer(200, made)


async def _batch(fhir: Fhir, call: Call, entries: Sequence[Resource]) -> list[Answer]:
    answers = []
    for number, entry in enumerate(entries):
        try:
            answers.append(await interactions.perform(fhir, _call(call, entry, number)))
        except ArchiveError as error:
            status = HTTP_STATUS[type(error)]
            answers.append(Answer(status, outcomes.of_error(error, str(error))))
    return answers


async def _transaction(fhir: Fhir, call: Call, entries: Sequence[Resource]) -> list[Answer]:
    calls = [_call(call, entry, number) for number, entry in enumerate(entries)]
    changes: dict[int, Change] = {}
    for method in _ORDER:
        for number, one in enumerate(calls):
            if one.method == method and one.path[-1:] != ("_search",):
                changes[number] = await _change(fhir, one)
    _require_different(changes.values())
    known = {
        entry["fullUrl"]: f"{changes[number].written.type}/{changes[number].id}"
        for number, entry in enumerate(entries)
        if number in changes and isinstance(entry.get("fullUrl"), str)
    }
    known |= await _conditional(fhir, call, calls)
    final = {
        number: await _relinked(calls[number], change, known) for number, change in changes.items()
    }
    numbers = [number for number, change in final.items() if change.write is not None]
    rows = await fhir.write([w for number in numbers if (w := final[number].write) is not None])
    stored = dict(zip(numbers, rows, strict=True))
    return [
        answer_of(one, final[number], stored.get(number))
        if number in final
        else await interactions.perform(fhir, one)
        for number, one in enumerate(calls)
    ]


async def _change(fhir: Fhir, call: Call) -> Change:
    if call.path[0] in fhir.acting:
        raise InvalidRequest(
            f"a {call.path[0]} is written by itself or in a batch: it is done at once"
        )
    match call.method, call.path:
        case "POST", (kind,):
            return await interactions.create(fhir, call, kind)
        case "PUT", (kind, resource_id):
            return await interactions.update(fhir, call, kind, resource_id)
        case "PUT", (kind,):
            return await interactions.conditional_update(fhir, call, kind)
        case "DELETE", (kind, resource_id):
            return await interactions.delete(fhir, call, kind, resource_id)
        case "DELETE", (kind,):
            return await interactions.conditional_delete(fhir, call, kind)
    raise InvalidRequest("a transaction creates, updates, deletes, reads and searches")


def _require_different(changes: Any) -> None:
    touched = [(change.written.type, change.id) for change in changes if change.write is not None]
    if len(touched) != len(set(touched)):
        raise InvalidRequest("two entries of the transaction change the same resource")


async def _conditional(fhir: Fhir, call: Call, calls: Sequence[Call]) -> dict[str, str]:
    """What references of the form Type?query stand for (FHIR R4 section 3.1.0.11.2)."""
    found: dict[str, str] = {}
    for one in calls:
        for text in references.every(one.resource or {}):
            kind, mark, query = text.partition("?")
            if not mark or text in found or kind not in fhir.sources:
                continue
            pairs = parse_qsl(query, keep_blank_values=True)
            matches = await interactions.found_by(fhir, call.base, kind, pairs)
            if len(matches) != 1:
                raise PreconditionFailed("a conditional reference does not find one resource")
            found[text] = references.of_resource(matches[0])
    return found


async def _relinked(call: Call, change: Change, known: Mapping[str, str]) -> Change:
    """The change with a resource whose references are those that its entries have got."""
    if change.write is None or call.resource is None or call.method == "DELETE":
        return change
    resource = references.replaced(call.resource, dict(known))
    resource["id"] = change.id
    if call.method == "POST":
        return replace(change, write=change.written.post(change.id, resource, call.base))
    expected = getattr(change.write, "expected", None)
    return replace(change, write=change.written.put(change.id, resource, call.base, expected))


def _call(outer: Call, entry: Resource, number: int) -> Call:
    request = entry.get("request")
    where = f"entry {number + 1} of the Bundle"
    if not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise InvalidRequest(f"{where} has no request with a url")
    method = request.get("method")
    if method not in _METHODS:
        raise InvalidRequest(f"{where}: the method is none of {', '.join(sorted(_METHODS))}")
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise InvalidRequest(f"{where}: the resource is none")
    try:
        url = urlsplit(request["url"].removeprefix(f"{outer.base}/"))
        query = parse_qsl(url.query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidRequest(f"{where} has a url that cannot be read") from None
    if url.scheme or url.netloc:
        raise InvalidRequest(f"{where} has a url of another server")
    given = {
        name: request[key] for key, name in _HEADERS.items() if isinstance(request.get(key), str)
    }
    headers = {"prefer": outer.headers.get("prefer", ""), "accept": outcomes.FHIR_JSON, **given}
    path = tuple(unquote(part) for part in url.path.strip("/").split("/"))
    return Call(method, path, outer.base, query, headers, None, resource)


def _entry(answer: Answer) -> Resource:
    response: Resource = {"status": f"{answer.status} {HTTPStatus(answer.status).phrase}"}
    if "Location" in answer.headers:
        response["location"] = answer.headers["Location"]
    if "ETag" in answer.headers:
        response["etag"] = answer.headers["ETag"]
    made: Resource = {}
    resource = answer.resource
    if resource is not None:
        updated = resource.get("meta", {}).get("lastUpdated")
        if updated is not None:
            response["lastModified"] = updated
        if resource["resourceType"] == "OperationOutcome":
            response["outcome"] = resource
        else:
            made["resource"] = resource
    made["response"] = response
    return made
