"""The URI service (PS3.18 chapter 9): one instance, named by the query."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.encoding import ENCODERS
from bfr_dicomweb.dicom.media_types import DICOM, Accept, Offer
from bfr_dicomweb.dicomweb import rendered, renditions, representations, wado
from bfr_dicomweb.dicomweb.renditions import Wanted
from bfr_dicomweb.dicomweb.responses import not_modified, single_part
from bfr_dicomweb.dicomweb.service import Service, base_uri_of, query_of, service_of
from bfr_dicomweb.dicomweb.uri_parameters import UriRequest
from bfr_dicomweb.errors import InvalidQuery, NotAcceptable
from bfr_dicomweb.services import anonymizing, retrieve
from bfr_dicomweb.services.content import Content

PATH: Final = "/wado"
# What a request asks for that names nothing (section 9.3).
DEFAULT_ACCEPT: Final = "*/*"


async def retrieve_instance(request: Request) -> Response:
    """Retrieve DICOM Instance (9.4) and Retrieve Rendered Instance (9.5)."""
    service = service_of(request)
    wanted = UriRequest.parse(query_of(request))
    stored = await retrieve.locate(service.archive, wanted.ref)
    if not _wants_dicom(request, wanted):
        return await _rendered(request, service, wanted, stored)
    if wanted.shown.presentation is not None:
        raise NotAcceptable("a presentation state is for rendered images, not application/dicom")
    offer = await _offer(service, wanted, stored)
    etag = wado.etag_of(
        "uri",
        stored.change,
        stored.digest.hex(),
        offer.transfer_syntax_uid,
        wanted.anonymize,
        ENCODERS,
    )
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    base = base_uri_of(request)
    headers = {}
    if wanted.anonymize and not await anonymizing.are_pixels_clean(service.archive, stored):
        headers["Warning"] = (
            f"299 {base}: Whether identifying text is burned into the pixels is not known."
        )
    return single_part(
        request,
        service.archive.reader,
        await _content(service, stored, offer, anonymize=wanted.anonymize),
        # without the transfer syntax, which is no parameter of this service (section 9.1.3)
        content_type=DICOM,
        location=f"{base}{PATH}?{_query(wanted, offer)}",
        etag=etag,
        **headers,
    )


async def _rendered(
    request: Request, service: Service, wanted: UriRequest, stored: retrieve.StoredInstance
) -> Response:
    _check_frame_number(wanted, stored)
    number = wanted.shown.frame_number
    named = ", ".join(wanted.content_types)
    header = ", ".join(request.headers.getlist("accept")) or DEFAULT_ACCEPT
    rendition = await renditions.rendition_of(
        service,
        stored,
        Wanted(
            None if number is None else (number,),
            wanted.shown.rendering,
            is_alone=True,
            is_linked=True,
            charset=rendered.charset_of(request),
            base_uri=base_uri_of(request),
            presentation=wanted.shown.presentation,
        ),
    )
    # there are no multipart answers in this service
    offers = [offer for offer in rendition.offers if not offer.multipart]
    offer = Accept.parse(named or header).select(offers)
    return await rendered.single(request, service, rendition, offer)


def _query(wanted: UriRequest, offer: Offer) -> str:
    """What names the representation that is answered."""
    named = {
        "requestType": "WADO",
        "studyUID": wanted.ref.study_instance_uid,
        "seriesUID": wanted.ref.series_instance_uid,
        "objectUID": wanted.ref.sop_instance_uid,
        "contentType": DICOM,
        "transferSyntax": offer.transfer_syntax_uid,
    }
    return urlencode(named | ({"anonymize": "yes"} if wanted.anonymize else {}), safe="/")


def _wants_dicom(request: Request, wanted: UriRequest) -> bool:
    """Whether an instance is asked for, and no image of it (section 9.3).

    A contentType is an answer in itself: viewers send Accept headers of other services with it.
    """
    if wanted.content_types:
        return wanted.wants_dicom
    header = ", ".join(request.headers.getlist("accept")) or DEFAULT_ACCEPT
    ranges = Accept.parse(header).ranges
    return any(one.media_type == DICOM and one.thousandths for one in ranges)


async def _offer(service: Service, wanted: UriRequest, stored: retrieve.StoredInstance) -> Offer:
    """The transfer syntax to answer in (section 9.4.2.4).

    Raises:
        NotAcceptable: it cannot be made; lists those that can.
    """
    asked = wanted.transfer_syntax_uid
    accept = Accept.parse(DICOM if asked is None else f"{DICOM}; transfer-syntax={asked}")
    return await representations.file_offer(
        service, accept, stored, anonymizing.can_be_written if wanted.anonymize else bool
    )


async def _content(
    service: Service, stored: retrieve.StoredInstance, offer: Offer, *, anonymize: bool
) -> Content:
    if anonymize and offer.transfer_syntax_uid is not None:
        return await anonymizing.anonymized(service.archive, stored, offer.transfer_syntax_uid)
    return await wado.file_content(service, stored, offer, whole_answer=True)


def _check_frame_number(wanted: UriRequest, stored: retrieve.StoredInstance) -> None:
    """What only the instance can tell is wrong with it (section 9.5.2.1)."""
    number = wanted.shown.frame_number
    if number is not None:
        if stored.number_of_frames < 2:
            raise InvalidQuery("frameNumber", "the instance has not several frames")
        if number > stored.number_of_frames:
            raise InvalidQuery("frameNumber", f"the instance has {stored.number_of_frames} frames")
