"""Modality Scheduled and Performed Procedure Step services (PS3.18 chapters 14 and 15).

The same worklist and the same steps as the DIMSE services of PS3.4 Annexes K and F.
"""

from itertools import islice
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.matching import Asked, parse_asked
from bfr_dicomweb.dicomweb import datasets, qido
from bfr_dicomweb.dicomweb.service import accept_of, base_uri_of, query_of, service_of
from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.services import performed_steps, scheduled_steps
from bfr_dicomweb.services.store import is_uid
from bfr_dicomweb.services.worklist_items import KEYS

# Who says so: HTTP has no AE titles.
SENDER: Final = "DICOMWEB"
# Matches beyond a page that are counted to tell how many there are.
_COUNTED: Final = 200


async def search_for_scheduled_steps(request: Request) -> Response:
    """GET /modality-scheduled-procedure-steps (section 14.4)."""
    service = service_of(request)
    offer = accept_of(request).select(datasets.OFFERS)
    asked = parse_asked(query_of(request), matched=KEYS, max_results=service.max_results)
    items, remaining, is_exact = await _page(request, asked)
    if items:
        response = await datasets.answer(request, offer, orjson.dumps(items))
    else:
        response = Response(status_code=204)
    response.headers["Cache-Control"] = "no-store"
    for text in qido.warnings(remaining, is_exact, asked.ignored):
        response.headers.append("Warning", f"299 {base_uri_of(request)}: {text}")
    return response


async def _page(request: Request, asked: Asked) -> tuple[list[dict[str, Any]], int, bool]:
    """The items, how many more there are, and whether that is all of them."""
    index = service_of(request).archive.index
    query = scheduled_steps.query_of(asked.keys)
    wanted = asked.offset + asked.limit
    found: list[dict[str, Any]] = []
    after = None
    while asked.limit:
        page = await scheduled_steps.page(index, query, after=after)
        found += page.items
        after = page.after
        if after is None or len(found) >= wanted + _COUNTED:
            break
    items = list(islice(found, asked.offset, wanted))
    return items, max(0, len(found) - wanted), after is None


async def keep_performed_step(request: Request) -> Response:
    """POST /modality-performed-procedure-steps/{mpps} (15.4), with ?update to update it (15.5)."""
    uid = _uid(request)
    service = service_of(request)
    is_update = "update" in dict(query_of(request))
    dataset = await datasets.read_dataset(request)
    index, orders = service.archive.index, service.orders
    if is_update:
        await performed_steps.modify(index, orders, uid, dataset, sender=SENDER)
        return Response()
    await performed_steps.create(index, orders, dataset, uid=uid, sender=SENDER)
    location = f"{base_uri_of(request)}/modality-performed-procedure-steps/{uid}"
    return Response(status_code=201, headers={"Location": location})


async def retrieve_performed_step(request: Request) -> Response:
    """GET /modality-performed-procedure-steps/{mpps} (section 15.6), with all that it has."""
    offer = accept_of(request).select(datasets.OFFERS)
    step = await performed_steps.find(service_of(request).archive.index, _uid(request))
    response = await datasets.answer(request, offer, orjson.dumps([step]))
    response.headers["Cache-Control"] = "no-cache"
    return response


def _uid(request: Request) -> str:
    uid: str = request.path_params["mpps"]
    if not is_uid(uid):
        raise InvalidRequest("the performed procedure step of the target resource is no UID")
    return uid
