"""The change feed over HTTP: no transaction of PS3.18."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bfr_dicomweb.dicom.media_types import JSON, Offer
from bfr_dicomweb.dicomweb.service import accept_of, query_of, service_of
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.services.change_feed import LIMIT, LONGEST_WAIT_S, MOST, Change, Page

_OFFERS: Final = (Offer(JSON, is_default=True),)
_LARGEST: Final = (1 << 63) - 1
# How often it is looked whether a client that waits is still there.
_PRESENCE_S: Final = 1.0


async def changes(request: Request) -> Response:
    """GET /changes: what was stored, changed and deleted behind a number, in order."""
    accept_of(request, required=False).select(_OFFERS)
    query = dict(query_of(request))
    since = _count(query, "since", 0, _LARGEST)
    limit = min(max(_count(query, "limit", LIMIT, _LARGEST), 1), MOST)
    wait_s = min(_count(query, "wait", 0, _LARGEST), LONGEST_WAIT_S)
    kinds = [kind for kind in query.get("kind", "").split(",") if kind]
    asked = asyncio.create_task(
        service_of(request).feed.page(
            since, limit=limit, kinds=frozenset(kinds) or None, wait_s=float(wait_s)
        )
    )
    try:
        page = await _while_here(request, asked)
    finally:
        asked.cancel()
    body = orjson.dumps({"changes": list(map(_told, page.changes)), "next": page.next})
    return Response(body, media_type=JSON, headers={"Cache-Control": "no-store"})


async def _while_here(request: Request, asked: "asyncio.Task[Page]") -> Page:
    """
    Raises:
        ClientDisconnect: nobody waits for the page any more.
    """
    while not asked.done():
        await asyncio.wait([asked], timeout=_PRESENCE_S)
        if not asked.done() and await request.is_disconnected():
            raise ClientDisconnect
    return asked.result()


def _count(query: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > largest:
        raise InvalidQuery(name, "must be a whole number, 0 or more")
    return int(text)


def _told(change: Change) -> dict[str, Any]:
    told = {
        "number": change.number,
        "kind": change.what,
        "time": change.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "StudyInstanceUID": change.study_instance_uid,
        "SeriesInstanceUID": change.series_instance_uid,
        "SOPInstanceUID": change.sop_instance_uid,
        "subject": change.subject,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}
