"""Rendered resources (PS3.18 sections 8.7.4 and 10.4.1.1.3)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.media_types import (
    Accept,
    MediaType,
    Offer,
    split_outside_quotes,
    thousandths,
)
from bfr_dicomweb.dicomweb import rendering_parameters, renditions, wado
from bfr_dicomweb.dicomweb.renditions import Rendition, Wanted
from bfr_dicomweb.dicomweb.responses import (
    CACHE_CONTROL,
    Part,
    multipart_related,
    not_modified,
    single_part,
)
from bfr_dicomweb.dicomweb.service import (
    Service,
    accept_of,
    base_uri_of,
    query_of,
    ref_of,
    service_of,
)
from bfr_dicomweb.errors import InvalidQuery, InvalidRequest, NotAcceptable
from bfr_dicomweb.refs import Level
from bfr_dicomweb.rendering.image_encoding import IMAGE_TYPES
from bfr_dicomweb.rendering.parameters import IccProfile, Rendering
from bfr_dicomweb.rendering.report_encoding import known_charset
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.content import Content, Made
from bfr_dicomweb.services.rendering import RENDERERS
from bfr_dicomweb.services.retrieve import StoredInstance

UTF_8: Final = "utf-8"
# What a browser could run.
_ACTIVE: Final = frozenset({"text/html", "text/xml", "image/svg+xml"})
# Of a list of character sets, more are not looked at.
MAX_CHARSETS: Final = 32


async def retrieve_rendered(request: Request) -> Response:
    """/rendered of a study, a series, an instance, or frames of it."""
    service, ref = service_of(request), ref_of(request)
    asked = rendering_parameters.parse(query_of(request))
    accept = accept_of(request)
    listed = request.path_params.get("frames")
    wanted = Wanted(
        None if listed is None else tuple(wado.frame_numbers(listed)),
        asked.rendering,
        is_alone=ref.level is Level.INSTANCE,
        is_linked=bool(accept.parameter),
        charset=charset_of(request),
        base_uri=base_uri_of(request),
    )
    found = await retrieve.list_instances(service.archive, ref)
    chosen = await _chosen(service, accept, found, wanted)
    (first, offer), *_ = chosen
    if not offer.multipart:
        answer = await single(request, service, first, offer)
    else:
        answer = await _several(
            request, service, chosen, status=200 if _is_complete(chosen, found) else 206
        )
    warnings = [*asked.warnings(), *_left_out(one for one, _ in chosen)]
    if warnings:
        base = base_uri_of(request)
        answer.headers["Warning"] = ", ".join(f"299 {base}: {text}" for text in warnings)
    return answer


def _is_complete(
    chosen: Sequence[tuple[Rendition, Offer]], found: Sequence[StoredInstance]
) -> bool:
    return len(chosen) == len(found) and not any(one.left_out for one, _ in chosen)


def _left_out(shown: Iterable[Rendition]) -> Iterator[str]:
    counts = Counter(reason for one in shown for reason in one.left_out)
    for reason, count in counts.items():
        yield f"{count} of the referenced images cannot be shown: {reason}"


async def single(
    request: Request, service: Service, rendition: Rendition, offer: Offer
) -> Response:
    """One representation, or ranges of it."""
    etag = _etag([(rendition, offer)])
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    _require_profile(offer, rendition.wanted)
    (part,) = _parts(rendition, offer, base_uri_of(request))
    part = await _begun(service, part)
    return single_part(
        request,
        service.archive.reader,
        part.content,
        content_type=part.content_type,
        location=part.location,
        etag=etag,
        **_headers(rendition, offer),
    )


async def _several(
    request: Request,
    service: Service,
    chosen: Sequence[tuple[Rendition, Offer]],
    *,
    status: int,
) -> Response:
    etag = _etag(chosen)
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    for one, offer in chosen:
        _require_profile(offer, one.wanted)
    base = base_uri_of(request)
    parts = [part for one, offer in chosen for part in _parts(one, offer, base)]
    # what cannot be shown has to be known before the answer begins
    parts[0] = await _begun(service, parts[0])
    return multipart_related(
        service.archive.reader,
        parts,
        root_type=chosen[0][1].media_type,
        etag=etag,
        status=status,
    )


def _etag(chosen: Sequence[tuple[Rendition, Offer]]) -> str:
    wanted = chosen[0][0].wanted
    return wado.etag_of(
        "rendered",
        RENDERERS,
        wanted.frame_numbers,
        distinct(wanted.rendering),
        wanted.charset,
        wanted.base_uri,
        wanted.presentation,
        *((one.stored.change, one.stored.digest.hex(), one.state, offer) for one, offer in chosen),
    )


async def _chosen(
    service: Service, accept: Accept, found: Sequence[StoredInstance], wanted: Wanted
) -> list[tuple[Rendition, Offer]]:
    """What each instance is shown as; those that cannot be shown so are left out.

    Raises:
        NotAcceptable: there are none; the text lists what can be made of the first.
    """
    chosen: list[tuple[Rendition, Offer]] = []
    refusal: NotAcceptable | None = None
    for stored in found:
        try:
            one = await renditions.rendition_of(service, stored, wanted)
            chosen.append((one, accept.select(one.offers)))
        except NotAcceptable as error:
            refusal = refusal or error
    if not chosen:
        raise refusal or NotAcceptable("there is nothing to show")
    return chosen


def distinct(rendering: Rendering) -> tuple[object, ...]:
    """For an entity tag: the text of a set has no order that all processes share."""
    return replace(rendering, annotations=frozenset()), sorted(rendering.annotations)


def _headers(rendition: Rendition, offer: Offer) -> dict[str, str]:
    headers = {"Cache-Control": CACHE_CONTROL} if rendition.state else {}
    if offer.media_type in _ACTIVE:
        # what others have written is shown; whatever it asks for beside that is not done
        headers["Content-Security-Policy"] = (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        )
    return headers


def _require_profile(offer: Offer, wanted: Wanted) -> None:
    """
    Raises:
        InvalidQuery: a profile is asked for, and the media type cannot hold one (8.3.5.1.5).
    """
    if wanted.rendering.icc_profile is IccProfile.NO:
        return
    described = IMAGE_TYPES.get(offer.media_type)
    if described is None or not described.embeds_icc:
        raise InvalidQuery("iccprofile", f"cannot be embedded in {offer.media_type}")


def _parts(one: Rendition, offer: Offer, base: str) -> list[Part]:
    return [
        Part(
            _content_type(offer, one.wanted),
            base + one.stored.ref.path + shown.path,
            shown.content,
        )
        for shown in one.shown(offer)
    ]


def _content_type(offer: Offer, wanted: Wanted) -> str:
    if not offer.media_type.startswith("text/"):
        return offer.content_type
    return f"{offer.content_type}; charset={wanted.charset}"


def charset_of(request: Request) -> str:
    """That of text (section 8.8.5): of the media type, the query, the header, or UTF-8.

    Names that are not known are passed over.
    """
    header = ", ".join(request.headers.getlist("accept"))
    of_types = []
    for element in split_outside_quotes(header, ","):
        with suppress(InvalidRequest):
            of_types.append(MediaType.parse(element).parameter("charset") or "")
    of_query = [value for name, value in query_of(request) if name == "charset"]
    accepted = request.headers.get("accept-charset", "")
    for names in (of_types, _by_weight(",".join(of_query)), _by_weight(accepted)):
        for name in names:
            if known := known_charset(name):
                return known
    return UTF_8


def _by_weight(text: str) -> list[str]:
    """The names of a weighted list, the heaviest first."""
    weighted = []
    for element in text.split(",")[:MAX_CHARSETS]:
        name, *parameters = (part.strip() for part in element.split(";"))
        q = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), None)
        weighted.append((-thousandths(q), name))
    return [name for weight, name in sorted(weighted, key=itemgetter(0)) if weight]


async def _begun(service: Service, part: Part) -> Part:
    if not isinstance(part.content.pieces[0], Made):
        return part
    return replace(part, content=Content((await service.archive.reader.whole(part.content),)))
