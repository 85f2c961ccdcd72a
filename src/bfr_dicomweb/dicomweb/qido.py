"""Search transaction over HTTP (PS3.18 section 10.6)."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom import native_model
from bfr_dicomweb.dicom.matching import SearchLevel, parse_search
from bfr_dicomweb.dicom.media_types import DICOM_JSON, DICOM_XML, Offer
from bfr_dicomweb.dicomweb import compression, multipart
from bfr_dicomweb.dicomweb.service import (
    accept_of,
    base_uri_of,
    query_of,
    ref_of,
    service_of,
)
from bfr_dicomweb.services.search import Matches, awaited, search

_ANSWERS: Final = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML, multipart=True))
# How the index marks "the base URI" in front of a Retrieve URL, as orjson writes it.
_BASE_MARKER: Final = b'"\\u0000/studies/'
_NO_STORE: Final = "no-store"
# So much of unsupported parameters is repeated in a warning.
_NAMES_TOLD: Final = 20
_NAME_LENGTH: Final = 64


async def search_for_studies(request: Request) -> Response:
    return await _search(request, SearchLevel.STUDIES)


async def search_for_series(request: Request) -> Response:
    in_study = "study" in request.path_params
    return await _search(request, SearchLevel.STUDY_SERIES if in_study else SearchLevel.SERIES)


async def search_for_instances(request: Request) -> Response:
    if "series" in request.path_params:
        return await _search(request, SearchLevel.SERIES_INSTANCES)
    in_study = "study" in request.path_params
    level = SearchLevel.STUDY_INSTANCES if in_study else SearchLevel.INSTANCES
    return await _search(request, level)


async def _search(request: Request, level: SearchLevel) -> Response:
    service = service_of(request)
    offer = accept_of(request).select(_ANSWERS)
    ref = ref_of(request) if "study" in request.path_params else None
    wanted = parse_search(query_of(request), level=level, max_results=service.max_results)
    found = await search(service.archive.index, wanted, ref=ref)
    base = base_uri_of(request)
    headers = {"Cache-Control": _NO_STORE, "Vary": "Accept, Accept-Encoding"}
    if found.rows:
        response = await _answer(request, offer, found.rows, base)
    else:
        response = Response(status_code=204)
    response.headers.update(headers)
    texts = warnings(found, wanted.ignored)
    if wanted.order_numbers or not found.rows:
        texts += reasons(await awaited(service.archive.index, wanted))
    for text in texts:
        response.headers.append("Warning", f"299 {base}: {text}")
    return response


async def _answer(
    request: Request, offer: Offer, rows: Sequence[dict[str, Any]], base: str
) -> Response:
    body = orjson.dumps(rows).replace(_BASE_MARKER, f'"{base}/studies/'.encode())
    if offer.media_type == DICOM_XML:
        boundary = multipart.new_boundary()
        content_type = multipart.content_type_of(boundary, DICOM_XML)
        payload = await asyncio.to_thread(_as_xml_parts, body, boundary)
        return Response(payload, headers={"Content-Type": content_type})
    payload, coding = await compression.encode_off_loop(
        body, request.headers.get("accept-encoding")
    )
    return Response(payload, media_type=DICOM_JSON, headers=compression.coding_headers(coding))


def _as_xml_parts(body: bytes, boundary: str) -> bytes:
    pieces = []
    for row in orjson.loads(body):
        part = native_model.native_dicom_model(row)
        pieces += [multipart.part_header(boundary, DICOM_XML, length=len(part)), part]
        pieces.append(multipart.PART_END)
    return b"".join([*pieces, multipart.closing(boundary)])


def reasons(awaited: int) -> list[str]:
    """Why an answer is empty, or has less than what was ordered."""
    if not awaited:
        return []
    what = "1 exam that was asked for" if awaited == 1 else f"{awaited} exams that were asked for"
    return [f"No images of {what} have been archived yet"]


def warnings(found: Matches, ignored: Sequence[str]) -> list[str]:
    """Texts of PS3.18 section 8.3.4.4.1, and what was not understood (section 8.3)."""
    texts = []
    if found.remaining:
        about = "" if found.remaining_is_exact else "at least "
        texts.append(f"There are {about}{found.remaining} additional results that can be requested")
    if ignored:
        # percent-encoded: what strangers send may neither break out of a header nor be cut from it
        names = [quote(name[:_NAME_LENGTH]) for name in ignored[:_NAMES_TOLD]]
        told = ", ".join([*names, "..."] if len(ignored) > _NAMES_TOLD else names)
        texts.append(f"These parameters are not supported and were ignored: {told}")
    return texts
