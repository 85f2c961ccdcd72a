"""Non-Patient Instance service (PS3.18 chapter 12)."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.matching import parse_asked
from bfr_dicomweb.dicom.media_types import DICOM, DICOM_JSON, Offer
from bfr_dicomweb.dicom.non_patient import Category
from bfr_dicomweb.dicomweb import datasets, qido, representations, stow, wado
from bfr_dicomweb.dicomweb.responses import Part, multipart_related, not_modified, single_part
from bfr_dicomweb.dicomweb.service import accept_of, base_uri_of, query_of, service_of
from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.refs import NonPatientRef
from bfr_dicomweb.services import non_patient, retrieve
from bfr_dicomweb.services.store import Expected, is_uid

Handler = Callable[[Request], Awaitable[Response]]
_NO_STORE: Final = "no-store"
# Answers say what is stored now, and a stored instance never changes.
_NO_CACHE: Final = "private, no-cache"


def search(category: Category) -> Handler:
    """GET /{npi-name} (section 12.6)."""
    return partial(_search, category)


async def _search(category: Category, request: Request) -> Response:
    service, base = service_of(request), base_uri_of(request)
    offer = accept_of(request).select(datasets.OFFERS)
    asked = parse_asked(query_of(request), matched=category.keys, max_results=service.max_results)
    found = await non_patient.search(service.archive.index, category, asked, base)
    if found.rows:
        response = await datasets.answer(request, offer, orjson.dumps(found.rows))
    else:
        response = Response(status_code=204)
    response.headers["Cache-Control"] = _NO_STORE
    for text in qido.warnings(found.remaining, found.remaining_is_exact, asked.ignored):
        response.headers.append("Warning", f"299 {base}: {text}")
    return response


def store(category: Category) -> Handler:
    """POST /{npi-name} and /{npi-name}/{uid} (section 12.5)."""
    return partial(_store, category)


async def _store(category: Category, request: Request) -> Response:
    uid = _uid(request) if "npi" in request.path_params else None
    return await stow.store(request, Expected(sop_instance_uid=uid, category=category.name))


def retrieve_instance(category: Category) -> Handler:
    """GET /{npi-name}/{uid} (section 12.4): a PS3.10 file, or the metadata."""
    return partial(_retrieve, category)


async def _retrieve(category: Category, request: Request) -> Response:
    service, base = service_of(request), base_uri_of(request)
    ref = NonPatientRef(category.name, _uid(request))
    accept = accept_of(request)
    stored = await non_patient.locate(service.archive.index, ref)
    instance = stored.instance
    offer = accept.select((*datasets.OFFERS, *_files(instance.transfer_syntax_uid)))
    if offer.media_type != DICOM:
        metadata = await non_patient.metadata(service.archive.index, stored, base)
        response = await datasets.answer(request, offer, b"[" + metadata + b"]")
        response.headers["Cache-Control"] = _NO_CACHE
        if offer.media_type == DICOM_JSON:
            response.headers["Content-Location"] = base + ref.path
        return response
    etag = wado.etag_of("non-patient", instance.change, instance.digest.hex(), offer)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    content = await wado.file_content(service, instance, offer, whole_answer=True)
    part = Part(offer.content_type, base + ref.path, content)
    reader = service.archive.reader
    if offer.multipart:
        return multipart_related(reader, [part], root_type=DICOM, etag=etag)
    return single_part(
        request,
        reader,
        part.content,
        content_type=part.content_type,
        location=part.location,
        etag=etag,
    )


def _files(transfer_syntax_uid: str) -> Iterator[Offer]:
    """Not the default, and without compressed ones: there is no pixel data."""
    for offer in representations.file_offers(transfer_syntax_uid, single=True, targets=()):
        yield replace(offer, is_default=False)


def retrieve_bulk_value(category: Category) -> Handler:
    """What a BulkDataURI of the metadata names; PS3.18 leaves open where that is."""
    return partial(_retrieve_bulk_value, category)


async def _retrieve_bulk_value(category: Category, request: Request) -> Response:
    service = service_of(request)
    ref = NonPatientRef(category.name, _uid(request))
    path: str = request.path_params["attribute"]
    accept = accept_of(request)
    stored = await non_patient.locate(service.archive.index, ref)
    value = await non_patient.bulk_value(service.archive.index, stored, path)
    offer = accept.select(representations.value_offers(None))
    etag = wado.etag_of("value", stored.instance.digest.hex(), path, offer)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    content = await retrieve.bulk_content(service.archive, stored.instance, value)
    location = f"{base_uri_of(request)}{ref.path}/bulkdata/{path}"
    reader = service.archive.reader
    if offer.multipart:
        part = Part(offer.content_type, location, content)
        return multipart_related(reader, [part], root_type=offer.media_type, etag=etag)
    return single_part(
        request, reader, content, content_type=offer.content_type, location=location, etag=etag
    )


def _uid(request: Request) -> str:
    uid: str = request.path_params["npi"]
    if not is_uid(uid):
        raise InvalidRequest("the instance of the target resource is no UID")
    return uid
