"""Thumbnails (PS3.18 sections 8.3.5.2 and 10.4.1.1.4)."""

from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.media_types import JPEG, Offer
from bfr_dicomweb.dicomweb import rendering_parameters, wado
from bfr_dicomweb.dicomweb.renditions import STILL
from bfr_dicomweb.dicomweb.responses import CACHE_CONTROL, not_modified, single_part
from bfr_dicomweb.dicomweb.service import (
    accept_of,
    base_uri_of,
    query_of,
    ref_of,
    service_of,
)
from bfr_dicomweb.refs import Level
from bfr_dicomweb.services import thumbnails
from bfr_dicomweb.services.content import Content, Made
from bfr_dicomweb.services.rendering import RENDERERS, require_frames

OFFERS: Final = tuple(Offer(name, is_default=name == JPEG) for name in STILL)


async def retrieve_thumbnail(request: Request) -> Response:
    """/thumbnail of a study, a series, an instance, or a frame of it: always one picture."""
    service, ref = service_of(request), ref_of(request)
    size = rendering_parameters.parse_thumbnail(query_of(request))
    offer = accept_of(request).select(OFFERS)
    stored = await thumbnails.representative(service.archive, ref)
    listed = request.path_params.get("frames")
    number = None
    path = ref.path
    if listed is not None:
        numbers = wado.frame_numbers(listed)
        require_frames(stored, numbers)
        number = numbers[len(numbers) // 2]
        path += f"/frames/{listed}"
    etag = wado.etag_of(
        *("thumbnail", RENDERERS, stored.change, stored.digest.hex(), number, size),
        offer.media_type,
    )
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    renderer = service.archive.renderer
    made = Made(None, partial(renderer.thumbnail, stored, number, offer.media_type, size))
    return single_part(
        request,
        service.archive.reader,
        Content((await service.archive.reader.bytes_of(made),)),
        content_type=offer.content_type,
        location=f"{base_uri_of(request)}{path}/thumbnail",
        etag=etag,
        # another instance may stand for it tomorrow
        **({} if ref.level is Level.INSTANCE else {"Cache-Control": CACHE_CONTROL}),
    )
