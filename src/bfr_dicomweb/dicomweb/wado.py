"""Retrieve transaction over HTTP (PS3.18 section 10.4)."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from bfr_dicomweb.dicom import native_model
from bfr_dicomweb.dicom.encoding import ENCODERS
from bfr_dicomweb.dicom.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    EXPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM,
    ZIP,
    Accept,
    MediaType,
    Offer,
)
from bfr_dicomweb.dicomweb import compression, multipart, representations, zip_payload
from bfr_dicomweb.dicomweb.responses import (
    CACHE_CONTROL,
    Part,
    multipart_related,
    not_modified,
    single_part,
)
from bfr_dicomweb.dicomweb.service import Service, accept_of, base_uri_of, ref_of, service_of
from bfr_dicomweb.errors import InvalidRequest, NotAcceptable, NotFound, TooLarge
from bfr_dicomweb.refs import Level, Ref
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.content import Content
from bfr_dicomweb.services.packing import Packed

FRAME_LIST: Final = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")
MAX_FRAMES_LISTED: Final = 10_000
# Up to so many instances the metadata is one body of known length; beyond, it is streamed.
WHOLE_METADATA: Final = 500
# Encapsulated Document (0042,0011) and its MIME Type (0042,0012)
DOCUMENT: Final = "00420011"
DOCUMENT_TYPE: Final = "00420012"

_METADATA: Final = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML, multipart=True))


def etag_of(*parts: object) -> str:
    """A strong entity tag of a representation; the parts say what its bytes depend on."""
    text = "|".join(map(str, parts))
    return f'"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"'


def _etag_of_all(what: str, accept: Accept, found: Sequence[retrieve.StoredInstance]) -> str:
    digest = hashlib.blake2b(ENCODERS.encode(), digest_size=16)
    for stored in found:
        digest.update(stored.change.to_bytes(8, "big"))
        digest.update(stored.digest)
    return etag_of(what, accept, digest.hexdigest())


async def retrieve_metadata(request: Request) -> Response:
    service, ref = service_of(request), ref_of(request)
    offer = accept_of(request).select(_METADATA)
    base = base_uri_of(request)
    change, count = await retrieve.state_of(service.archive, ref)
    etag = etag_of("metadata", change, base, offer.media_type)
    accept_encoding = request.headers.get("accept-encoding")
    if (unchanged := not_modified(request, *compression.etags(etag))) is not None:
        return unchanged
    location = base + ref.path + "/metadata"
    headers = {"Cache-Control": CACHE_CONTROL, "Content-Location": location}
    pages = retrieve.metadata_pages(service.archive, ref, base)
    if request.method == "HEAD" and (offer.media_type == DICOM_XML or count > WHOLE_METADATA):
        # of a body that is streamed neither length nor anything else is known before it is made
        pages = _no_pages()
    if offer.media_type == DICOM_XML:
        return _metadata_xml(pages, base, ref, etag, headers)
    if count > WHOLE_METADATA:
        coding = compression.coding_for(accept_encoding)
        headers |= compression.coding_headers(coding, etag)
        body = _coded(_json_array(pages), coding)
        return StreamingResponse(body, headers=headers, media_type=DICOM_JSON)
    whole = b"".join([piece async for piece in _json_array(pages)])
    payload, coding = await compression.encode_off_loop(whole, accept_encoding)
    coded = compression.coding_headers(coding, etag)
    return single_part(
        request,
        service.archive.reader,
        Content((payload,)),
        content_type=DICOM_JSON,
        location=location,
        etag=coded.pop("ETag"),
        **{**coded, "Cache-Control": CACHE_CONTROL, "Vary": "Accept, Accept-Encoding"},
    )


async def _no_pages() -> AsyncIterator[list[bytes]]:
    for _ in ():
        yield []


async def _json_array(pages: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    opening = b"["
    async for page in pages:
        yield opening + b",".join(page)
        opening = b","
    yield b"]"


async def _coded(body: AsyncIterator[bytes], coding: str | None) -> AsyncIterator[bytes]:
    compressor = compression.compressor(coding)
    async for piece in body:
        if coded := await asyncio.to_thread(compressor.compress, piece):
            yield coded
    yield compressor.flush()


def _metadata_xml(
    pages: AsyncIterator[list[bytes]], base: str, ref: Ref, etag: str, headers: dict[str, str]
) -> Response:
    boundary = multipart.new_boundary()

    async def body() -> AsyncIterator[bytes]:
        async for page in pages:
            yield await asyncio.to_thread(_xml_parts, page, base, ref, boundary)
        yield multipart.closing(boundary)

    headers |= {"ETag": etag, "Vary": "Accept"}
    headers["Content-Type"] = multipart.content_type_of(boundary, DICOM_XML)
    return StreamingResponse(body(), headers=headers)


def _xml_parts(page: Sequence[bytes], base: str, ref: Ref, boundary: str) -> bytes:
    pieces = []
    for document in page:
        attributes = orjson.loads(document)
        instance = Ref(
            ref.study_instance_uid,
            attributes["0020000E"]["Value"][0],
            attributes["00080018"]["Value"][0],
        )
        xml = native_model.native_dicom_model(attributes)
        location = f"{base}{instance.path}/metadata"
        pieces += [multipart.part_header(boundary, DICOM_XML, location, len(xml)), xml]
        pieces.append(multipart.PART_END)
    return b"".join(pieces)


async def retrieve_instances(request: Request) -> Response:
    """Instances of a study or series, or one, as PS3.10 files, zipped, or as their bulk data."""
    service, ref = service_of(request), ref_of(request)
    accept = accept_of(request)
    found = await retrieve.list_instances(service.archive, ref)
    single = ref.level is Level.INSTANCE
    etag = _etag_of_all("instances", accept, found)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    wanted = await _wanted_media_type(service, ref, accept, found)
    if wanted == ZIP:
        return await _zipped(request, service, found, accept)
    if wanted != DICOM:
        return await _bulkdata_of(request, service, found, accept)
    offers = partial(representations.offers_of_file, single=single)
    sendable = await representations.sendable(service, ref, found, accept, offers)
    base = base_uri_of(request)
    parts = [
        await _file_part(service, stored, offer, base, alone=len(sendable) == 1)
        for stored, offer in sendable
    ]
    if single and not sendable[0][1].multipart:
        (part,) = parts
        return single_part(
            request,
            service.archive.reader,
            part.content,
            content_type=part.content_type,
            location=part.location,
            etag=etag,
        )
    status = 200 if len(parts) == len(found) else 206
    return multipart_related(
        service.archive.reader, parts, root_type=DICOM, etag=etag, status=status
    )


async def _wanted_media_type(
    service: Service, ref: Ref, accept: Accept, found: Sequence[retrieve.StoredInstance]
) -> str:
    """PS3.10 files, a ZIP file of them, or any type of the bulk data of Table 10.4.4-1."""
    single = ref.level is Level.INSTANCE

    def offers(one: retrieve.StoredInstance, targets: tuple[str, ...]) -> tuple[Offer, ...]:
        files = representations.offers_of_file(one, targets, single=single)
        bulk = representations.pixel_offers(
            one.transfer_syntax_uid, native=one.frame_bits > 0, targets=targets
        )
        # an instance is a file unless its bulk data is asked for by name
        others = (replace(offer, is_default=False) for offer in bulk)
        return (*files, *representations.offers_of_zip(one, targets), *others)

    try:
        return (await representations.selected(service, accept, found[0], offers)).media_type
    except NotAcceptable:
        # another one may be what the first is not, an image
        (_, offer), *_ = await representations.sendable(service, ref, found, accept, offers)
        return offer.media_type


async def _zipped(
    request: Request,
    service: Service,
    found: Sequence[retrieve.StoredInstance],
    accept: Accept,
) -> Response:
    sendable = await representations.sendable(
        service, ref_of(request), found, accept, representations.offers_of_zip
    )
    files = [
        Packed(
            stored,
            offer.transfer_syntax_uid or EXPLICIT_VR_LITTLE_ENDIAN,
            await file_content(service, stored, offer, whole_answer=False),
        )
        for stored, offer in sendable
    ]
    etag = _etag_of_all("zip", accept, found)
    return await zip_payload.answer(
        request, service, files, etag=etag, status=200 if len(files) == len(found) else 206
    )


async def file_content(
    service: Service, stored: retrieve.StoredInstance, offer: Offer, *, whole_answer: bool
) -> Content:
    if offer.stored or offer.transfer_syntax_uid is None:
        return retrieve.as_stored(stored)
    return await retrieve.as_file(
        service.archive,
        stored,
        transfer_syntax_uid=offer.transfer_syntax_uid,
        whole_answer=whole_answer,
    )


async def _file_part(
    service: Service, stored: retrieve.StoredInstance, offer: Offer, base: str, *, alone: bool
) -> Part:
    content = await file_content(service, stored, offer, whole_answer=alone)
    return Part(offer.content_type, base + stored.ref.path, content)


async def retrieve_frames(request: Request) -> Response:
    service, ref = service_of(request), ref_of(request)
    numbers = frame_numbers(request.path_params["frames"])
    accept = accept_of(request)
    stored = await retrieve.locate(service.archive, ref)

    def offers(one: retrieve.StoredInstance, targets: tuple[str, ...]) -> tuple[Offer, ...]:
        is_native, is_one = one.frame_bits > 0, len(numbers) == 1
        return representations.pixel_offers(
            one.transfer_syntax_uid, native=is_native, one=is_one, targets=targets
        )

    offer = await representations.selected(service, accept, stored, offers)
    made_by = ENCODERS if representations.is_encoded(offer) else ""
    etag = etag_of("frames", stored.change, stored.digest.hex(), numbers, offer, made_by)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    contents = await retrieve.frame_contents(
        service.archive,
        stored,
        numbers,
        transfer_syntax_uid=representations.transfer_syntax_made(offer),
    )
    base = base_uri_of(request)
    locations = [f"{base}{ref.path}/frames/{number}" for number in numbers]
    if not offer.multipart:
        return single_part(
            request,
            service.archive.reader,
            contents[0],
            content_type=offer.content_type,
            location=locations[0],
            etag=etag,
        )
    parts = [
        Part(offer.content_type, location, content)
        for location, content in zip(locations, contents, strict=True)
    ]
    return multipart_related(service.archive.reader, parts, root_type=offer.media_type, etag=etag)


def frame_numbers(text: str) -> list[int]:
    """The frame list of the target resource, in its order; 1-based.

    Raises:
        InvalidRequest: it is no comma-separated list of positive numbers.
    """
    if FRAME_LIST.fullmatch(text) is None:
        raise InvalidRequest("the frame list is no comma-separated list of frame numbers")
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1:
        raise InvalidRequest("frame numbers begin with 1")
    if len(numbers) > MAX_FRAMES_LISTED:
        raise TooLarge(f"at most {MAX_FRAMES_LISTED} frames can be asked for at once")
    return numbers


async def retrieve_bulk_value(request: Request) -> Response:
    """The value that a BulkDataURI of the metadata names."""
    service, ref = service_of(request), ref_of(request)
    path = request.path_params["attribute"]
    accept = accept_of(request)
    stored = await retrieve.locate(service.archive, ref)
    if path == stored.pixel_tag:
        return await _pixel_data(request, service, [stored], accept)
    values = {value.path: value for value in await retrieve.bulk_values(service.archive, stored)}
    if path not in values:
        raise NotFound("the instance has no such bulk value")
    document = await _document_type(service, stored) if path == DOCUMENT else None
    offer = accept.select(representations.value_offers(document))
    etag = etag_of("value", stored.change, stored.digest.hex(), path, offer)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    content = await retrieve.bulk_content(service.archive, stored, values[path])
    location = f"{base_uri_of(request)}{ref.path}/bulkdata/{path}"
    return _answer(request, service, [Part(offer.content_type, location, content)], offer, etag)


async def retrieve_pixel_data(request: Request) -> Response:
    """/pixeldata of an instance, a series or a study."""
    service, ref = service_of(request), ref_of(request)
    accept = accept_of(request)
    found = await retrieve.list_instances(service.archive, ref)
    images = [stored for stored in found if stored.pixel_tag is not None]
    if not images:
        raise NotFound("there is no pixel data")
    return await _pixel_data(request, service, images, accept)


async def retrieve_bulkdata(request: Request) -> Response:
    """/bulkdata of an instance, a series or a study."""
    service, ref = service_of(request), ref_of(request)
    accept = accept_of(request)
    found = await retrieve.list_instances(service.archive, ref)
    return await _bulkdata_of(request, service, found, accept)


async def _pixel_data(
    request: Request, service: Service, images: Sequence[retrieve.StoredInstance], accept: Accept
) -> Response:
    etag = _etag_of_all("pixels", accept, images)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    base = base_uri_of(request)
    offers_of = partial(representations.instance_pixel_offers, one=len(images) == 1)
    parts, offer = [], None
    for stored in images:
        offer = await representations.selected(service, accept, stored, offers_of)
        parts += await _pixel_parts(service, stored, offer, base)
    if offer is None:
        raise NotFound("there is no pixel data")
    return _answer(request, service, parts, offer, etag)


async def _pixel_parts(
    service: Service, stored: retrieve.StoredInstance, offer: Offer, base: str
) -> list[Part]:
    contents = await retrieve.pixel_contents(
        service.archive, stored, transfer_syntax_uid=representations.transfer_syntax_made(offer)
    )
    url = base + stored.ref.path
    if len(contents) == 1:
        return [Part(offer.content_type, f"{url}/bulkdata/{stored.pixel_tag}", contents[0])]
    return [
        Part(offer.content_type, f"{url}/frames/{number}", content)
        for number, content in enumerate(contents, start=1)
    ]


async def _bulkdata_of(
    request: Request, service: Service, found: Sequence[retrieve.StoredInstance], accept: Accept
) -> Response:
    """Every bulk value of the instances, each with the type that suits it."""
    etag = _etag_of_all("bulkdata", accept, found)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    base = base_uri_of(request)
    parts: list[Part] = []
    for stored in found:
        for value in await retrieve.bulk_values(service.archive, stored):
            if value.path == stored.pixel_tag:
                offer = await representations.selected(
                    service,
                    accept,
                    stored,
                    partial(representations.instance_pixel_offers, one=False),
                )
                parts += await _pixel_parts(service, stored, offer, base)
                continue
            offer = accept.select(representations.value_offers(None, one=False))
            content = await retrieve.bulk_content(service.archive, stored, value)
            location = f"{base}{stored.ref.path}/bulkdata/{value.path}"
            parts.append(Part(offer.content_type, location, content))
    if not parts:
        raise NotFound("there is no bulk data")
    return multipart_related(service.archive.reader, parts, root_type=OCTET_STREAM, etag=etag)


def _answer(
    request: Request, service: Service, parts: Sequence[Part], offer: Offer, etag: str
) -> Response:
    reader = service.archive.reader
    if offer.multipart:
        return multipart_related(reader, parts, root_type=offer.media_type, etag=etag)
    (part,) = parts
    return single_part(
        request,
        reader,
        part.content,
        content_type=part.content_type,
        location=part.location,
        etag=etag,
    )


async def _document_type(service: Service, stored: retrieve.StoredInstance) -> str | None:
    attributes = await retrieve.attributes(service.archive, stored)
    named = attributes.get(DOCUMENT_TYPE, {}).get("Value") or [None]
    try:
        return MediaType.parse(named[0]).name if isinstance(named[0], str) else None
    except InvalidRequest:
        return None
