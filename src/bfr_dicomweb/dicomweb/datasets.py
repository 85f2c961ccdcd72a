"""Data sets in payloads: DICOM JSON, or the Native DICOM Model in XML."""

import asyncio
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom import json_model, native_model, native_model_reading
from bfr_dicomweb.dicom.media_types import DICOM_JSON, DICOM_XML, MediaType, Offer
from bfr_dicomweb.dicomweb import compression, multipart
from bfr_dicomweb.dicomweb.multipart import MultipartReader, PartBegin, PartData, boundary_of
from bfr_dicomweb.errors import InvalidMultipart, InvalidRequest, TooLarge, UnsupportedMediaType

# Of an answer that holds data sets: JSON in one payload, XML in parts.
OFFERS: Final = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML, multipart=True))
MAX_BYTES: Final = 8 << 20
_JSON: Final = frozenset({DICOM_JSON, "application/json"})
_TAKEN: Final = f'taken here: {DICOM_JSON}, {DICOM_XML}, multipart/related; type="{DICOM_XML}"'


async def read_dataset(request: Request) -> dict[str, Any]:
    """The one data set of the payload; an empty one when there is no payload.

    Raises:
        UnsupportedMediaType: It is of none of the media types taken here.
        InvalidRequest: It is malformed, or holds more than one data set.
        TooLarge: It has more than 8 MiB.
    """
    content_type = request.headers.get("content-type", "")
    payload = await _payload(request)
    if not payload:
        return {}
    media_type = MediaType.parse(content_type) if content_type else None
    if media_type is None:
        raise UnsupportedMediaType(f"the payload has no media type; {_TAKEN}")
    if media_type.name == "multipart/related":
        media_type, payload = _only_part(content_type, payload)
    found = _read(media_type.name, payload)
    if len(found) != 1:
        raise InvalidRequest(f"the payload holds {len(found)} data sets, not one")
    return found[0]


def _read(essence: str, payload: bytes) -> list[dict[str, Any]]:
    if essence in _JSON:
        return json_model.read_json(payload)
    if essence == DICOM_XML:
        return [json_model.checked(native_model_reading.read_native_model(payload))]
    raise UnsupportedMediaType(f"{essence} is not taken; {_TAKEN}")


async def _payload(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BYTES:
            raise TooLarge(f"a data set may have at most {MAX_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _only_part(content_type: str, payload: bytes) -> tuple[MediaType, bytes]:
    root_type, boundary = boundary_of(content_type)
    reader = MultipartReader(boundary)
    types: list[str] = []
    pieces: list[bytes | memoryview] = []
    for event in reader.feed(payload):
        if isinstance(event, PartBegin):
            types.append(event.headers.get("content-type", root_type))
        elif isinstance(event, PartData):
            pieces.append(event.data)
    reader.close()
    if len(types) != 1:
        raise InvalidMultipart(f"the payload has {len(types)} parts, not one")
    return MediaType.parse(types[0] or DICOM_XML), b"".join(pieces)


async def answer(request: Request, offer: Offer, body: bytes) -> Response:
    """
    Args:
        body: An array of DICOM JSON data sets.
    """
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
