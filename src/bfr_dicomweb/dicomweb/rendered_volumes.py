"""Rendered MPR and Rendered 3D resources (PS3.18 sections 8.3.5.3, 10.4.1.1.7 and 10.4.1.1.8)."""

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom import native_model
from bfr_dicomweb.dicom.media_types import DICOM_JSON, DICOM_XML, JPEG, Offer
from bfr_dicomweb.dicomweb import rendered, rendering_parameters, volume_parameters, wado
from bfr_dicomweb.dicomweb.renditions import MOVING, STILL
from bfr_dicomweb.dicomweb.responses import Part, multipart_related, not_modified, single_part
from bfr_dicomweb.dicomweb.service import accept_of, base_uri_of, query_of, ref_of, service_of
from bfr_dicomweb.refs import Level
from bfr_dicomweb.rendering import volume_presentation
from bfr_dicomweb.rendering.work import VolumeRequest
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.content import Content
from bfr_dicomweb.services.rendering import RENDERERS

PRESENTATIONS: Final = volume_presentation.PLANAR | volume_presentation.RENDERED
# What the pictures would show, instead of them (section 8.3.5.3.13).
_SAID: Final = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML))


def retrieve_volume(*, mpr: bool) -> Callable[[Request], Awaitable[Response]]:
    """The handler of renderedmpr, or of rendered3d."""

    async def retrieve(request: Request) -> Response:
        return await _volume(request, mpr=mpr)

    return retrieve


async def _volume(request: Request, *, mpr: bool) -> Response:
    service, ref = service_of(request), ref_of(request)
    pairs = query_of(request)
    asked = rendering_parameters.parse(pairs)
    parameters = volume_parameters.parse(pairs, mpr=mpr)
    listed = request.path_params.get("frames")
    numbers = None if listed is None else tuple(wado.frame_numbers(listed))
    found = await retrieve.list_instances(service.archive, ref)
    presentation = None
    if ref.level is Level.INSTANCE and found[0].sop_class_uid in PRESENTATIONS:
        (presentation,) = found
        volume_parameters.check_with_presentation_state(pairs)
    is_moving = bool(parameters.swivel_degrees or parameters.curve) or presentation is not None
    offers = _SAID if parameters.wants_metadata else _offers(is_moving=is_moving)
    offer = accept_of(request).select(offers)
    wanted = VolumeRequest(
        mpr,
        parameters,
        asked.rendering,
        "" if parameters.wants_metadata else offer.media_type,
    )
    base = base_uri_of(request)
    etag = wado.etag_of(
        "volume",
        RENDERERS,
        numbers,
        rendered.distinct(asked.rendering),
        mpr,
        parameters,
        offer,
        *((one.change, one.digest.hex()) for one in found),
    )
    if presentation is None and (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    said, *pictures = await service.archive.renderer.volume(found, numbers, wanted, presentation)
    frames = "" if listed is None else f"/frames/{listed}"
    location = f"{base}{ref.path}{frames}/{'renderedmpr' if mpr else 'rendered3d'}"
    if parameters.wants_metadata:
        pictures = [said if offer.media_type == DICOM_JSON else _as_xml(said)]
    if not offer.multipart:
        return single_part(
            request,
            service.archive.reader,
            Content((pictures[0],)),
            content_type=offer.content_type,
            location=location,
            etag=etag,
        )
    parts = [Part(offer.content_type, location, Content((picture,))) for picture in pictures]
    return multipart_related(service.archive.reader, parts, root_type=offer.media_type, etag=etag)


def _offers(*, is_moving: bool) -> tuple[Offer, ...]:
    several = tuple(Offer(name, multipart=True, is_default=name == JPEG) for name in STILL)
    if is_moving:
        return (*(Offer(name) for name in MOVING), *several)
    return (*(Offer(name, is_default=name == JPEG) for name in STILL), *several)


def _as_xml(said: bytes) -> bytes:
    return native_model.native_dicom_model(orjson.loads(said))
