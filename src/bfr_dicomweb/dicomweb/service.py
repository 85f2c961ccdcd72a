"""What the handlers need beside the request: the archive and the choices of its operator."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection, Request

from bfr_dicomweb.dicom.media_types import Accept
from bfr_dicomweb.errors import InvalidQuery, InvalidRequest
from bfr_dicomweb.http import base_uri
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.change_feed import ChangeFeed
from bfr_dicomweb.services.event_channels import EventChannels
from bfr_dicomweb.services.instance_parts import DEFAULT_PART_LIMITS, PartLimits
from bfr_dicomweb.services.orders import Orders
from bfr_dicomweb.services.store import is_uid


@dataclass(frozen=True, slots=True)
class Service:
    archive: Archive
    orders: Orders
    channels: EventChannels
    feed: ChangeFeed
    root: str
    public_url: str | None = None
    trust_forwarded: bool = True
    max_results: int = 1000
    max_request_bytes: int | None = None
    part_limits: PartLimits = DEFAULT_PART_LIMITS
    max_query_length: int = 32_768
    viewer_url: str | None = None
    allows_deletion: bool = False


def service_of(request: HTTPConnection) -> Service:
    service: Service = request.state.service
    return service


def base_uri_of(request: Request) -> str:
    """The base URI of the service as the client sees it, without a slash at its end."""
    service = service_of(request)
    return base_uri.base_uri(
        request.headers,
        scheme=request.scope["scheme"],
        server=request.scope.get("server"),
        root_path=request.scope.get("root_path", "") + service.root,
        configured=None if service.public_url is None else service.public_url + service.root,
        trust_forwarded=service.trust_forwarded,
    )


def query_of(request: Request) -> list[tuple[str, str]]:
    """The percent-decoded query pairs.

    Raises:
        InvalidQuery: it is too long, or not UTF-8 once decoded.
    """
    text: str = request.scope["query_string"].decode("latin-1")
    limit = service_of(request).max_query_length
    if len(text) > limit:
        raise InvalidQuery("query", f"at most {limit} characters are accepted")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidQuery("query", "it is not UTF-8 once percent-decoded") from None


def accept_of(request: Request, *, required: bool = True) -> Accept:
    """What the client accepts. Without an Accept header that is nothing (PS3.18 section 8.7.5),
    or anything where an answer is not what the request is about (`required` False).
    """
    header = request.headers.getlist("accept")
    text = ", ".join(header) if header else (None if required else "*/*")
    parameter = next((value for name, value in query_of(request) if name == "accept"), None)
    return Accept.parse(text, parameter)


def ref_of(request: Request) -> Ref:
    """The target resource.

    Raises:
        InvalidRequest: a UID of the path is none.
    """
    params = request.path_params
    for name in ("study", "series", "instance"):
        if name in params and not is_uid(params[name]):
            raise InvalidRequest(f"the {name} of the target resource is no UID")
    return Ref(params["study"], params.get("series"), params.get("instance"))
