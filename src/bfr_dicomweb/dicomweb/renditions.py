"""What an instance can be rendered as, and how each representation is come by.

Source: PS3.18 Tables 8.7.4-1 and 10.4.4-1.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from bfr_dicomweb.dicom.media_types import JPEG, Offer
from bfr_dicomweb.dicomweb import rendering_parameters
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.errors import InvalidQuery, NotAcceptable, NotFound
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.rendering import cine, document_rendering, elements, video
from bfr_dicomweb.rendering.image_encoding import IMAGE_TYPES
from bfr_dicomweb.rendering.kinds import Kind, kind_of
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.referring import SHOWS_LEVELS, SHOWS_OTHERS
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.content import Content, Made
from bfr_dicomweb.services.rendering import Showing, require_frames
from bfr_dicomweb.services.retrieve import StoredInstance

# One picture each; the first is what `*/*` gets.
STILL: Final = (JPEG, *(name for name in IMAGE_TYPES if name != JPEG))
# Of reports, encapsulated documents and waveforms.
DOCUMENTS: Final = (
    *("text/html", "text/plain", "text/xml", "application/pdf"),
    *("image/svg+xml", "model/stl", "model/obj", "model/mtl"),
)
# All frames in one.
MOVING: Final = (*(name for name, row in IMAGE_TYPES.items() if row.is_animated), cine.MP4)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown of an instance, and how.

    Attributes:
        frame_numbers: Counted from 1; None: all that it has.
        is_alone: It is all that is asked for, so that a single part can answer.
        is_linked: The media type comes from a link (the accept parameter), where one picture
            is better than none.
        charset: Of text.
        base_uri: Of the service, for what a text refers to.
        presentation: The presentation state to apply; None: as the image says itself.
    """

    frame_numbers: tuple[int, ...] | None
    rendering: Rendering
    is_alone: bool
    is_linked: bool
    charset: str = "utf-8"
    base_uri: str = ""
    presentation: Ref | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """One item of an answer: the path below the instance that names it, and its bytes."""

    path: str
    content: Content


@dataclass(frozen=True, slots=True)
class Rendition:
    """
    Attributes:
        state: What the bytes depend on beside the instance and what is wanted of it.
        left_out: What should be shown and cannot be, in words.
    """

    stored: StoredInstance
    wanted: Wanted
    offers: tuple[Offer, ...]
    shown: Callable[[Offer], Sequence[Shown]]
    state: tuple[object, ...] = ()
    left_out: tuple[str, ...] = ()


async def rendition_of(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    """
    Raises:
        NotFound: there is no such frame.
        NotAcceptable: nothing can be shown of it; says why.
    """
    kind = kind_of(
        stored.sop_class_uid,
        stored.transfer_syntax_uid,
        has_pixel_data=stored.pixel_tag is not None,
    )
    if wanted.presentation is not None:
        return await _presented(service, stored, wanted, wanted.presentation)
    make = _RENDITIONS.get(kind)
    if make is None:
        raise NotAcceptable("objects of this SOP class are not rendered")
    return await make(service, stored, wanted)


async def _image_or_slide(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    """A whole slide is one picture out of its tiles; a tile is a frame of it."""
    is_tiled = stored.sop_class_uid in SHOWS_LEVELS and stored.number_of_frames > 1
    if is_tiled and wanted.frame_numbers is None:
        with suppress(NotFound):  # it has no place in a total pixel matrix
            showing = await service.archive.renderer.showing(stored)
            return _of_showing(service, stored, wanted, showing)
    return await _image(service, stored, wanted)


async def _image(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    numbers = wanted.frame_numbers or tuple(range(1, stored.number_of_frames + 1))
    require_frames(stored, numbers)
    renderer = service.archive.renderer
    path = frames_path(wanted.frame_numbers)

    def frame(number: int, media_type: str) -> Shown:
        make = partial(renderer.frame, stored, number, media_type, wanted.rendering)
        own_path = frames_path((number,) if stored.number_of_frames > 1 else None)
        return Shown(own_path, made(make))

    def shown(offer: Offer) -> list[Shown]:
        media_type = offer.media_type
        if offer.multipart or len(numbers) == 1:
            return [frame(number, media_type) for number in numbers]
        if media_type in MOVING:
            make = partial(renderer.animation, stored, numbers, media_type, wanted.rendering)
            return [Shown(path, made(make))]
        return [frame(representative_frame(stored), media_type)]

    offers = _image_offers(
        is_alone=wanted.is_alone,
        is_one=len(numbers) == 1,
        is_moving=len(numbers) > 1,
        is_linked=wanted.is_linked and wanted.frame_numbers is None,
    )
    return Rendition(stored, wanted, offers, shown)


def frames_path(numbers: tuple[int, ...] | None) -> str:
    """Below the instance; None: that of all of it."""
    return "/rendered" if numbers is None else f"/frames/{','.join(map(str, numbers))}/rendered"


def made(make: Callable[[], Awaitable[bytes]]) -> Content:
    return Content((Made(None, make),))


async def _video(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    """As it is where that can be played, or else put into an MP4 file, or encoded anew."""
    attributes = await retrieve.attributes(service.archive, stored)
    count = elements.integer(attributes, "NumberOfFrames") or 1
    if wanted.frame_numbers is not None:
        return _video_frames(service, stored, wanted, wanted.frame_numbers, count)
    (content,) = await retrieve.frame_contents(service.archive, stored, [1])
    head = await service.archive.reader.whole(content.cut(0, video.HEAD_BYTES))
    forms = video.forms_of(stored.transfer_syntax_uid, video.file_format_of(head))
    renderer = service.archive.renderer

    def shown(offer: Offer) -> list[Shown]:
        media_type = offer.media_type
        if media_type in STILL:
            return [_video_frame(service, stored, wanted, (count + 1) // 2, count, media_type)]
        if forms[media_type] and video.is_as_stored(wanted.rendering):
            return [Shown("/rendered", content)]
        make = partial(renderer.video, stored, media_type, wanted.rendering)
        return [Shown("/rendered", made(make))]

    default = video.default_of(forms)
    offers = [
        Offer(name, multipart=is_multipart, is_default=name == default)
        for is_multipart in ((False, True) if wanted.is_alone else (True,))
        for name in forms
    ]
    if wanted.is_alone:
        offers += [Offer(name) for name in STILL]
    return Rendition(stored, wanted, tuple(offers), shown)


def _video_frames(
    service: Service,
    stored: StoredInstance,
    wanted: Wanted,
    numbers: tuple[int, ...],
    count: int,
) -> Rendition:
    if max(numbers) > count:
        raise NotFound(f"there is no frame {max(numbers)}: the instance has {count}")

    def shown(offer: Offer) -> list[Shown]:
        return [
            _video_frame(service, stored, wanted, number, count, offer.media_type)
            for number in numbers
        ]

    offers = _image_offers(
        is_alone=wanted.is_alone, is_one=len(numbers) == 1, is_moving=False, is_linked=False
    )
    return Rendition(stored, wanted, offers, shown)


def _video_frame(
    service: Service,
    stored: StoredInstance,
    wanted: Wanted,
    number: int,
    count: int,
    media_type: str,
) -> Shown:
    renderer = service.archive.renderer
    make = partial(renderer.video_frame, stored, number, count, media_type, wanted.rendering)
    return Shown(frames_path((number,)), made(make))


def representative_frame(stored: StoredInstance) -> int:
    """The one in the middle, counted from 1: it shows more than the first of most objects."""
    return (stored.number_of_frames + 1) // 2


@lru_cache(maxsize=64)
def _image_offers(
    *, is_alone: bool, is_one: bool, is_moving: bool, is_linked: bool
) -> tuple[Offer, ...]:
    """
    Args:
        is_alone: A single part can answer, if it is one picture or a moving one.
        is_one: It is one picture.
        is_moving: It is several frames, which can be shown one after the other.
        is_linked: Of several, one may stand for all.
    """
    offers = [Offer(name, multipart=True, is_default=name == JPEG) for name in STILL]
    if is_alone and is_one:
        single = [Offer(offer.media_type, is_default=offer.is_default) for offer in offers]
        return (*single, *offers)
    if is_alone and is_moving:
        # a still picture is named by links alone: of a header it would hide the other frames
        names = (*STILL, cine.MP4) if is_linked else MOVING
        offers += [Offer(name) for name in names]
    return tuple(offers)


async def _document(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    if wanted.frame_numbers is not None:
        raise NotFound("the instance has no frames")
    attributes = await retrieve.attributes(service.archive, stored)
    media_types = document_rendering.media_types_of(attributes, stored.sop_class_uid)
    if not media_types:
        raise NotAcceptable("objects of this SOP class are not rendered")
    offers = [
        Offer(name, multipart=is_multipart, is_default=name == media_types[0])
        for is_multipart in ((False, True) if wanted.is_alone else (True,))
        for name in media_types
    ]
    renderer = service.archive.renderer

    def shown(offer: Offer) -> list[Shown]:
        # only XML refers to parts of the instance
        url = wanted.base_uri + stored.ref.path if offer.media_type == "text/xml" else ""
        make = partial(renderer.document, stored, offer.media_type, wanted.charset, url)
        return [Shown("/rendered", made(make))]

    return Rendition(stored, wanted, tuple(offers), shown)


async def _referring(service: Service, stored: StoredInstance, wanted: Wanted) -> Rendition:
    if wanted.frame_numbers is not None and stored.pixel_tag is None:
        raise InvalidQuery("frames", "the instance has none; those that it shows are not numbered")
    if SHOWS_OTHERS[stored.sop_class_uid].is_presentation_state:
        rendering_parameters.require_presentation(wanted.rendering)
    showing = await service.archive.renderer.showing(stored)
    return _of_showing(service, stored, wanted, showing)


async def _presented(
    service: Service, stored: StoredInstance, wanted: Wanted, presentation: Ref
) -> Rendition:
    """An image as a presentation state has it (section 9.5.1.2.7)."""
    try:
        state = await retrieve.locate(service.archive, presentation)
    except NotFound:
        raise InvalidQuery("presentationUID", "no such presentation state") from None
    try:
        showing = await service.archive.renderer.showing(stored, state)
    except NotFound:
        raise InvalidQuery("presentationUID", "it does not refer to this instance") from None
    return _of_showing(service, stored, wanted, showing)


def _of_showing(
    service: Service, stored: StoredInstance, wanted: Wanted, showing: Showing
) -> Rendition:
    renderer = service.archive.renderer
    targets = showing.targets
    if wanted.frame_numbers is not None:
        asked = set(wanted.frame_numbers)
        targets = tuple(target for target in targets if asked & set(target.own_frames))
        if not targets:
            raise NotFound("none of these frames is shown")
    is_one = len(targets) == 1

    def shown(offer: Offer) -> list[Shown]:
        picked = targets if offer.multipart or is_one else targets[len(targets) // 2 :][:1]
        return [
            Shown(
                "/rendered",
                made(partial(renderer.target, showing, target, offer.media_type, wanted.rendering)),
            )
            for target in picked
        ]

    offers = _image_offers(
        is_alone=wanted.is_alone,
        is_one=is_one or wanted.is_linked,
        is_moving=False,
        is_linked=wanted.is_linked,
    )
    state = tuple((one.change, one.digest.hex()) for one in showing.images)
    return Rendition(stored, wanted, offers, shown, state, tuple(showing.left_out))


_RENDITIONS: Final[
    dict[Kind, Callable[[Service, StoredInstance, Wanted], Awaitable[Rendition]]]
] = {
    Kind.IMAGE: _image_or_slide,
    Kind.VIDEO: _video,
    Kind.DOCUMENT: _document,
    Kind.REFERRING: _referring,
}
