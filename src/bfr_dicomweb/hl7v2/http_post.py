"""HL7 v2 messages as the payload of HTTP requests: POST /hl7v2."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from bfr_dicomweb.hl7v2 import charsets
from bfr_dicomweb.hl7v2.door import Door

HL7_V2: Final = "application/hl7-v2"
MEDIA_TYPES: Final = frozenset({HL7_V2, "application/hl7-v2+er7", "x-application/hl7-v2+er7"})


async def receive_message(request: Request) -> Response:
    """POST /hl7v2. A message that is not taken is answered by 200 and its AE or AR."""
    door: Door = request.state.hl7v2
    charset = _charset_of(request.headers.get("content-type", ""))
    body = await _body(request, door.max_message_bytes)
    answer = await door.receive(body, door="http", peer_names=None, charset=charset)
    headers = {"Cache-Control": "no-store"}
    if answer is None:  # as its MSH-15 and MSH-16 ask for
        return Response(status_code=204, headers=headers)
    return Response(answer, media_type=HL7_V2, headers=headers)


def _charset_of(content_type: str) -> str | None:
    """
    Raises:
        UnsupportedMediaType: It is no HL7 v2, or in a character set that is not known here.
    """
    name, *parameters = content_type.split(";")
    if name.strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaType("taken here: " + ", ".join(sorted(MEDIA_TYPES)))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip('"')
            if charsets.codec_of(charset) is None:
                raise UnsupportedMediaType("the charset of the Content-Type is not known here")
            return charset
    return None


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"a message may have at most {limit} bytes")
    if not body.strip():
        raise InvalidRequest("there is no message in the payload")
    return bytes(body)
