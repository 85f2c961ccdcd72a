"""Worklist service over HTTP (PS3.18 chapter 11)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.attributes import first_text, has_value
from bfr_dicomweb.dicom.matching import parse_asked
from bfr_dicomweb.dicom.workitem_attributes import SEARCHED
from bfr_dicomweb.dicom.workitems import SOP_CLASS_UID
from bfr_dicomweb.dicomweb import datasets, qido
from bfr_dicomweb.dicomweb.service import accept_of, base_uri_of, query_of, service_of
from bfr_dicomweb.errors import (
    ArchiveError,
    InvalidDataset,
    InvalidQuery,
    InvalidRequest,
    NotTheClaimant,
    PreconditionFailed,
    WorkitemEnded,
    WorkitemStateConflict,
)
from bfr_dicomweb.services import event_channels, worklist
from bfr_dicomweb.services.store import is_uid

_TRANSACTION_UID: Final = "00081195"
_STATE: Final = "00741000"
_LONGEST_AE_TITLE: Final = 16
# Who asks, where the request does not say: HTTP has no AE titles.
_SOMEBODY: Final = "DICOMWEB"

# Texts of PS3.18 sections 11.4.3.2 to 11.10.3.2.
CREATED_MODIFIED: Final = "The Workitem was created with modifications."
UPDATED_MODIFIED: Final = "The Workitem was updated with modifications."
UNCLAIMED: Final = "The target URI did not reference a claimed Workitem."
INCONSISTENT_UPDATE: Final = (
    "The submitted request is inconsistent with the current state of the Workitem."
)
MISSING: Final = "The Transaction UID is missing."
INCORRECT: Final = "The Transaction UID is incorrect."
INCONSISTENT: Final = "The submitted request is inconsistent with the state of the UPS Instance."
ALREADY: Final = "The UPS is already in the requested state of {state}."


# --- workitems -------------------------------------------------------------------------------


async def create_workitem(request: Request) -> Response:
    """POST /workitems, /workitems?{uid} (section 11.4)."""
    uid = _named(request, ("workitem", "AffectedSOPInstanceUID"), "the workitem")
    dataset = await datasets.read_dataset(request)
    kept = await worklist.create(service_of(request).archive.index, dataset, uid=uid)
    _tell(request)
    base = base_uri_of(request)
    headers = {"Location": f"{base}/workitems/{kept.uid}", "ETag": _etag(kept.change)}
    if kept.is_modified:
        headers["Warning"] = f"299 {base}: {CREATED_MODIFIED}"
    return Response(status_code=201, headers=headers)


async def retrieve_workitem(request: Request) -> Response:
    """GET /workitems/{uid} (section 11.5)."""
    offer = accept_of(request).select(datasets.OFFERS)
    kept = await worklist.retrieve(service_of(request).archive.index, _uid(request))
    response = await datasets.answer(request, offer, orjson.dumps([kept.attributes]))
    response.headers.update({"ETag": _etag(kept.change), "Cache-Control": "no-cache"})
    return response


async def update_workitem(request: Request) -> Response:
    """POST /workitems/{uid}?{transaction-uid} (section 11.6)."""
    uid = _uid(request)
    dataset = await datasets.read_dataset(request)
    transaction_uid = _named(
        request, ("transaction-uid", "transactionUID", "TransactionUID"), "the transaction"
    ) or first_text(dataset, _TRANSACTION_UID)
    with _warned(request, is_update=True):
        kept = await worklist.update(
            service_of(request).archive.index,
            uid,
            dataset,
            transaction_uid=transaction_uid,
            if_change=_if_match(request),
        )
    _tell(request)
    headers = {"ETag": _etag(kept.change)}
    if kept.is_modified:
        headers["Warning"] = f"299 {base_uri_of(request)}: {UPDATED_MODIFIED}"
    return Response(headers=headers)


async def change_workitem_state(request: Request) -> Response:
    """PUT /workitems/{uid}/state (section 11.7)."""
    uid = _uid(request)
    dataset = await datasets.read_dataset(request)
    if not has_value(dataset.get(_STATE)):
        raise InvalidRequest("Procedure Step State (0074,1000) is missing")
    with _warned(request, is_update=False):
        kept = await worklist.change_state(
            service_of(request).archive.index,
            uid,
            first_text(dataset, _STATE),
            transaction_uid=first_text(dataset, _TRANSACTION_UID),
            if_change=_if_match(request),
        )
    _tell(request)
    return Response(headers=_unchanged(request, kept) | {"ETag": _etag(kept.change)})


async def request_cancellation(request: Request) -> Response:
    """POST /workitems/{uid}/cancelrequest (section 11.8)."""
    uid = _uid(request)
    dataset = await datasets.read_dataset(request)
    kept = await worklist.request_cancellation(
        service_of(request).archive.index,
        uid,
        dataset,
        requesting_ae=_requester(request),
    )
    _tell(request)
    return Response(status_code=202, headers=_unchanged(request, kept))


async def search_for_workitems(request: Request) -> Response:
    """GET /workitems (section 11.9)."""
    service = service_of(request)
    offer = accept_of(request).select(datasets.OFFERS)
    asked = parse_asked(query_of(request), matched=SEARCHED, max_results=service.max_results)
    found = await worklist.search(service.archive.index, asked)
    if found.workitems:
        response = await datasets.answer(request, offer, orjson.dumps(found.workitems))
    else:
        response = Response(status_code=204)
    response.headers["Cache-Control"] = "no-store"
    for text in qido.warnings(found.remaining, found.remaining_is_exact, asked.ignored):
        response.headers.append("Warning", f"299 {base_uri_of(request)}: {text}")
    return response


# --- subscriptions ---------------------------------------------------------------------------


async def subscribe(request: Request) -> Response:
    """POST /workitems/{uid}/subscribers/{aet} (section 11.10)."""
    uid, aet = _uid(request), ae_title(request.path_params["aet"])
    given = dict(query_of(request))
    lock = given.get("deletionlock", "false")
    if lock not in ("true", "false"):
        raise InvalidQuery("deletionlock", "must be true or false")
    filtered = given.get("filter")
    if filtered is not None:
        # pairs are joined by commas (section 11.10.1.2); the filter itself is a query
        filtered = filtered.replace(",", "&")
        event_channels.parse_filter(filtered)
    await worklist.subscribe(
        service_of(request).archive.index, uid, aet, locks=lock == "true", filtered=filtered
    )
    _tell(request)
    return Response(status_code=201, headers={"Content-Location": _channel(request, aet)})


async def unsubscribe(request: Request) -> Response:
    """DELETE /workitems/{uid}/subscribers/{aet} (section 11.11)."""
    uid, aet = _uid(request), ae_title(request.path_params["aet"])
    await worklist.unsubscribe(service_of(request).archive.index, uid, aet)
    return Response()


async def suspend(request: Request) -> Response:
    """POST /workitems/{uid}/subscribers/{aet}/suspend (section 11.12)."""
    uid, aet = _uid(request), ae_title(request.path_params["aet"])
    await worklist.suspend(service_of(request).archive.index, uid, aet)
    return Response()


def ae_title(text: str) -> str:
    """
    Raises:
        InvalidRequest: It is no AE title (PS3.5 Table 6.2-1).
    """
    title = text.strip()
    if (
        not title
        or len(title) > _LONGEST_AE_TITLE
        or not title.isascii()
        or not title.isprintable()
    ):
        raise InvalidRequest("the subscriber is no AE title of 1 to 16 characters")
    if "\\" in title:
        raise InvalidRequest("an AE title has no backslash")
    return title


def _channel(request: Request, aet: str) -> str:
    scheme, _, rest = base_uri_of(request).partition("://")
    secure = "s" if scheme == "https" else ""
    return f"ws{secure}://{rest}/ws/subscribers/{quote(aet, safe='')}"


# --- what requests say -----------------------------------------------------------------------


def _uid(request: Request) -> str:
    uid: str = request.path_params["workitem"]
    if not is_uid(uid):
        raise InvalidRequest("the workitem of the target resource is no UID")
    return uid


def _named(request: Request, names: tuple[str, ...], what: str) -> str | None:
    """A UID that is the whole query, or stands under a name that clients use for it (D-17)."""
    text = unquote(request.scope["query_string"].decode("latin-1"))
    if not text:
        return None
    if "=" not in text:
        found = text
    else:
        given = dict(query_of(request))
        found = next((given[name] for name in names if name in given), "")
        if not found:
            return None
    if not is_uid(found):
        raise InvalidRequest(f"the UID of {what} is no UID")
    return found


def _requester(request: Request) -> str:
    named = dict(query_of(request)).get("requester")
    return _SOMEBODY if named is None else ae_title(named)


def _if_match(request: Request) -> int | None:
    """
    Raises:
        PreconditionFailed: It names no version that a workitem could have.
    """
    header = request.headers.get("if-match", "").strip()
    if header in ("", "*"):
        return None
    number = header.removeprefix('"').removesuffix('"')
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise PreconditionFailed("the workitem has another version than If-Match says")
    return int(number)


def _etag(change: int) -> str:
    return f'"{change}"'


def _tell(request: Request) -> None:
    service_of(request).channels.wake()


def _unchanged(request: Request, kept: worklist.Kept) -> dict[str, str]:
    if not kept.is_already:
        return {}
    state = first_text(kept.attributes, _STATE)
    return {"Warning": f"299 {base_uri_of(request)}: {ALREADY.format(state=state)}"}


@contextmanager
def _warned(request: Request, *, is_update: bool) -> Iterator[None]:
    """Refusals carry the warning that their section gives them."""
    try:
        yield
    except ArchiveError as error:
        text = _refusal(error, is_update=is_update)
        if text:
            request.scope["warnings"] = [f"299 {base_uri_of(request)}: {text}"]
        raise


def _refusal(error: ArchiveError, *, is_update: bool) -> str:
    match error:
        case NotTheClaimant() if is_update:
            return UNCLAIMED
        case NotTheClaimant(is_missing=is_missing):
            return MISSING if is_missing else INCORRECT
        case WorkitemEnded():
            return INCONSISTENT_UPDATE
        case WorkitemStateConflict():
            return INCONSISTENT
        case InvalidDataset() if not is_update:
            # a state that no workitem can be brought to
            return INCONSISTENT
    return ""


def event_report(event: event_channels.StoredEvent) -> Mapping[str, Any]:
    """The data set of a text frame (section 8.10.5, PS3.4 section CC.2.4.3)."""
    dataset: dict[str, Any] = {
        "00000002": {"vr": "UI", "Value": [SOP_CLASS_UID]},
        "00000110": {"vr": "US", "Value": [event_channels.message_id(event)]},
        "00001000": {"vr": "UI", "Value": [event_channels.instance_uid(event)]},
        "00001002": {"vr": "US", "Value": [int(event.type)]},
    }
    return dataset | event.information


def encoded_event_report(event: event_channels.StoredEvent) -> str:
    return orjson.dumps(event_report(event)).decode()
