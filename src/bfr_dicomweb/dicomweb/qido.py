"""Search transaction over HTTP (PS3.18 section 10.6)."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.matching import Search, SearchLevel
from bfr_dicomweb.dicomweb import datasets
from bfr_dicomweb.dicomweb.service import (
    accept_of,
    base_uri_of,
    query_of,
    ref_of,
    service_of,
)
from bfr_dicomweb.services.indexing import uncovered
from bfr_dicomweb.services.search import awaited, read_search, search

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
    offer = accept_of(request).select(datasets.OFFERS)
    ref = ref_of(request) if "study" in request.path_params else None
    index = service.archive.index
    wanted = await read_search(
        index, query_of(request), level=level, max_results=service.max_results
    )
    found = await search(index, wanted, ref=ref)
    base = base_uri_of(request)
    headers = {"Cache-Control": _NO_STORE, "Vary": "Accept, Accept-Encoding"}
    if found.rows:
        body = orjson.dumps(found.rows).replace(_BASE_MARKER, f'"{base}/studies/'.encode())
        response = await datasets.answer(request, offer, body)
    else:
        response = Response(status_code=204)
    response.headers.update(headers)
    texts = warnings(found.remaining, found.remaining_is_exact, wanted.ignored)
    if wanted.order_numbers or not found.rows:
        texts += reasons(await awaited(service.archive.index, wanted))
    texts += not_covered(wanted)
    for text in texts:
        response.headers.append("Warning", f"299 {base}: {text}")
    return response


def reasons(awaited: int) -> list[str]:
    """Why an answer is empty, or has less than what was ordered."""
    if not awaited:
        return []
    what = "1 exam that was asked for" if awaited == 1 else f"{awaited} exams that were asked for"
    return [f"No images of {what} have been archived yet"]


def not_covered(wanted: Search) -> list[str]:
    """What an index that is still being made leaves out of the answer."""
    return [
        f"The index of {one.name} does not cover {one.instances} older instances yet"
        for one in uncovered(wanted)
    ]


def warnings(remaining: int, is_exact: bool, ignored: Sequence[str]) -> list[str]:
    """Texts of PS3.18 section 8.3.4.4.1, and what was not understood (section 8.3)."""
    texts = []
    if remaining:
        about = "" if is_exact else "at least "
        texts.append(f"There are {about}{remaining} additional results that can be requested")
    if ignored:
        # percent-encoded: what strangers send may neither break out of a header nor be cut from it
        names = [quote(name[:_NAME_LENGTH]) for name in ignored[:_NAMES_TOLD]]
        told = ", ".join([*names, "..."] if len(ignored) > _NAMES_TOLD else names)
        texts.append(f"These parameters are not supported and were ignored: {told}")
    return texts
