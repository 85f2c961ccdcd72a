"""Subscriptions (R4, rest-hook): who asked to be told of changed resources, and telling them.

Whatever has changed is compared with the criteria of each active subscription; what matches goes
into the outbox, so that each subscriber is told in order, again when it did not answer, and never
forgotten. Told is what the resource is when the notification goes out.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import httpx2
import orjson
import structlog

from bfr_dicomweb.errors import ArchiveError, Gone, InvalidQuery, InvalidRequest, Undelivered
from bfr_dicomweb.fhir import ids
from bfr_dicomweb.fhir.outcomes import FHIR_JSON
from bfr_dicomweb.fhir.search import Criterion, Reader, Search, Token
from bfr_dicomweb.fhir.search_parameters import PARAMETERS, parameters_of
from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.fhir.source import Narrowing, Resource
from bfr_dicomweb.services.dispatching import Entry, Followed, enqueue

KIND: Final = "rest-hook"
TIMEOUT_S: Final = 30.0
MOST: Final = 1000
ACTIVE: Final = "active"
REQUESTED: Final = "requested"
# Which resources a changed row is shown as.
_SHOWN_AS: Final = {
    "patient": (("Patient", ids.PATIENT),),
    "order": (("ServiceRequest", ids.ORDER),),
    "exam": (("ServiceRequest", ids.EXAM), ("Task", ids.EXAM)),
    "report": (("DiagnosticReport", ids.REPORT),),
    "finding": (("DetectedIssue", ids.FINDING),),
    "workitem": (("Task", ids.WORKITEM),),
}

log = structlog.get_logger("subscriptions")


def check(resource: Resource, *, types: Collection[str], hosts: Collection[str]) -> None:
    """What has to hold of a Subscription beside its structure.

    Args:
        types: Of the resources that can be subscribed to.
        hosts: To which may be delivered; "*" is any. A server that calls any URL that a client
            names would be a way around firewalls.

    Raises:
        InvalidRequest: says what does not hold.
    """
    channel = resource["channel"]
    if channel["type"] != KIND:
        raise InvalidRequest(f"Subscription.channel.type: only {KIND} is delivered here")
    endpoint = urlsplit(channel.get("endpoint", ""))
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
        raise InvalidRequest("Subscription.channel.endpoint: an http or https URL is needed")
    if "*" not in hosts and endpoint.hostname not in hosts:
        raise InvalidRequest(
            "Subscription.channel.endpoint: nothing may be delivered to this host; the operator"
            " lists hosts in notified_hosts"
        )
    if channel.get("payload", FHIR_JSON) not in (FHIR_JSON, "application/json"):
        raise InvalidRequest(f"Subscription.channel.payload: only {FHIR_JSON} or none")
    for header in channel.get("header", ()):
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or not (name + value).isprintable():
            raise InvalidRequest("Subscription.channel.header: each is one line, Name: value")
    kind, _, query = resource["criteria"].partition("?")
    if kind not in types:
        raise InvalidRequest("Subscription.criteria: must begin with a type of resource, Type?...")
    try:
        Reader(PARAMETERS.keys(), strict=True).read(kind, _pairs(query))
    except InvalidQuery as error:
        raise InvalidRequest(f"Subscription.criteria: {error}") from None


def activated(resource: Resource) -> Resource:
    """A subscription that is requested begins at once."""
    return {**resource, "status": ACTIVE} if resource["status"] == REQUESTED else resource


class Subscriptions:
    """Args:
    public_url: Of this server as subscribers see it, for references in what is told.
    """

    def __init__(self, fhir: Fhir, *, public_url: str) -> None:
        self._fhir = fhir
        self._index = fhir.archive.index
        self._base = public_url
        self._http = httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def handle(self, changes: Sequence[Followed]) -> None:
        """Put into the outbox what subscribers have to be told of these changes."""
        active = await self._active()
        if not active:
            return
        changed = await self._changed(changes)
        told: dict[tuple[str, str], None] = {}
        for subscription in active:
            kind = subscription["criteria"].partition("?")[0]
            wanted = changed.get(kind, set())
            if wanted:
                for id_ in await self._matching(subscription, kind, wanted):
                    told[f"Subscription/{subscription['id']}", f"{kind}/{id_}"] = None
        await enqueue(
            self._index, [(receiver, KIND, reference.encode()) for receiver, reference in told]
        )

    async def _active(self) -> list[Resource]:
        found = await self._fhir.source("Subscription").candidates(
            Narrowing(), newest_first=False, after=None, limit=MOST
        )
        return [one.resource for one in found if one.resource["status"] == ACTIVE]

    async def _changed(self, changes: Iterable[Followed]) -> dict[str, set[str]]:
        """By type of resource the ids of what is shown otherwise than before."""
        changed: dict[str, set[str]] = {}
        studies: set[str] = set()
        for change in changes:
            if change.study_instance_uid:
                studies.add(change.study_instance_uid)
            kind, _, number = change.subject.partition("/")
            for resource_type, letter in _SHOWN_AS.get(kind, ()):
                changed.setdefault(resource_type, set()).add(f"{letter}{number}")
        if studies:
            changed["ImagingStudy"] = await self._studies(studies)
        return changed

    async def _studies(self, study_instance_uids: Iterable[str]) -> set[str]:
        uids = tuple(("urn:dicom:uid", uid) for uid in study_instance_uids)
        found = await self._fhir.source("ImagingStudy").candidates(
            Narrowing(identifiers=uids), newest_first=True, after=None, limit=MOST
        )
        return {one.resource["id"] for one in found}

    async def _matching(self, subscription: Resource, kind: str, wanted: set[str]) -> list[str]:
        try:
            search = self._search(subscription["criteria"], kind, wanted)
            found = await self._fhir.searcher(self._base).everything(search, MOST)
        except ArchiveError as error:
            log.warning("criteria failed", subscription=subscription["id"], reason=str(error))
            return []
        return [one.resource["id"] for one in found]

    def _search(self, criteria: str, kind: str, wanted: Iterable[str]) -> Search:
        query = _pairs(criteria.partition("?")[2])
        search = self._fhir.reader(self._base, strict=True).read(kind, query)
        own_id = parameters_of(kind).named["_id"]
        among = Criterion(own_id, tuple(Token(None, id_) for id_ in sorted(wanted)))
        return Search(kind, (among, *search.criteria))

    async def deliver(self, entry: Entry) -> None:
        """
        Raises:
            Undelivered: the subscriber did not take it.
        """
        subscription = await self._subscription(entry.receiver)
        if subscription is None:
            return  # it has been ended: nobody waits for this any more
        kind, _, id_ = entry.payload.decode().partition("/")
        channel = subscription["channel"]
        headers = dict(map(_header, channel.get("header", ())))
        if "payload" not in channel:
            await self._call("POST", channel["endpoint"], headers, b"")
            return
        try:
            resource = await self._fhir.source(kind).read(id_)
        except Gone:
            return  # it was deleted meanwhile: there is nothing to put
        if resource is None:
            return
        headers["Content-Type"] = channel["payload"]
        url = f"{channel['endpoint'].rstrip('/')}/{kind}/{id_}"
        await self._call("PUT", url, headers, orjson.dumps(resource))

    async def _subscription(self, receiver: str) -> Resource | None:
        try:
            found = await self._fhir.source("Subscription").read(receiver.partition("/")[2])
        except ArchiveError:
            return None
        return found if found is not None and found["status"] == ACTIVE else None

    async def _call(self, method: str, url: str, headers: dict[str, str], body: bytes) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._http.request(method, url, content=body, headers=headers)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise Undelivered(f"no answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise Undelivered(f"the subscriber answered with status {answer.status_code}")


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


def checking(types: Collection[str], hosts: Collection[str]) -> partial[None]:
    """`check` with what this server allows, for `Written`."""
    return partial(check, types=types, hosts=hosts)
