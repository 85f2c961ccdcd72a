"""What a resource can be sent as, and which of it a request gets (PS3.18 section 8.7.8)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from bfr_dicomweb.dicom import transcoding, transfer_syntaxes
from bfr_dicomweb.dicom.encoding import BY_TRANSFER_SYNTAX
from bfr_dicomweb.dicom.media_types import (
    DICOM,
    EXPLICIT_VR_LITTLE_ENDIAN,
    OCTET_STREAM,
    ZIP,
    Accept,
    Offer,
)
from bfr_dicomweb.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import retrieve

# PS3.18 section 8.7.3 has them used for nothing.
_NOT_USED: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
# What an instance can be sent as, given the compressed transfer syntaxes that it can be brought to.
# Of the instance only its transfer syntax counts, whether it is native and has several frames.
OffersOf = Callable[[retrieve.StoredInstance, tuple[str, ...]], tuple[Offer, ...]]


async def selected(
    service: Service, accept: Accept, stored: retrieve.StoredInstance, offers_of: OffersOf
) -> Offer:
    """
    Raises:
        NotAcceptable: nothing of what can be made is accepted; the text lists it.
    """
    (offer,) = await _selection(service, stored.ref, [stored], accept, offers_of)
    return await _required(service, accept, stored, offers_of) if offer is None else offer


async def sendable(
    service: Service,
    ref: Ref,
    found: Sequence[retrieve.StoredInstance],
    accept: Accept,
    offers_of: OffersOf,
) -> list[tuple[retrieve.StoredInstance, Offer]]:
    """
    Raises:
        NotAcceptable: there are none; the text lists what can be made of the first.
    """
    selection = await _selection(service, ref, found, accept, offers_of)
    chosen = [
        (stored, offer) for stored, offer in zip(found, selection, strict=True) if offer is not None
    ]
    return chosen or [(found[0], await _required(service, accept, found[0], offers_of))]


async def _selection(
    service: Service,
    ref: Ref,
    found: Sequence[retrieve.StoredInstance],
    accept: Accept,
    offers_of: OffersOf,
) -> list[Offer | None]:
    """What each instance is sent as; None where nothing of what can be made is accepted.

    To what an image can be brought only its attributes tell. They are looked at where the
    answer depends on it.
    """
    known: dict[tuple[object, ...], Offer | None] = {}

    def chosen(stored: retrieve.StoredInstance, targets: tuple[str, ...]) -> Offer | None:
        kind = (
            stored.transfer_syntax_uid,
            stored.frame_bits > 0,
            stored.number_of_frames > 1,
            targets,
        )
        if kind not in known:
            known[kind] = _chosen(accept, offers_of(stored, targets))
        return known[kind]

    selection = [chosen(stored, _possible(stored)) for stored in found]
    unsure = [stored for stored, offer in zip(found, selection, strict=True) if is_encoded(offer)]
    if not unsure:
        return selection
    described = await retrieve.descriptions(service.archive, ref, unsure)
    sure = {uid: transcoding.targets(description) for uid, description in described.items()}
    return [
        chosen(stored, sure.get(stored.sop_instance_uid, ())) if is_encoded(offer) else offer
        for stored, offer in zip(found, selection, strict=True)
    ]


async def _required(
    service: Service, accept: Accept, stored: retrieve.StoredInstance, offers_of: OffersOf
) -> Offer:
    described = await retrieve.descriptions(service.archive, stored.ref, [stored])
    targets = [transcoding.targets(description) for description in described.values()]
    return accept.select(offers_of(stored, targets[0] if targets else ()))


async def file_offer(
    service: Service,
    accept: Accept,
    stored: retrieve.StoredInstance,
    is_possible: Callable[[str], bool],
) -> Offer:
    """The single PS3.10 file to answer with.

    Args:
        is_possible: Of a transfer syntax UID.

    Raises:
        NotAcceptable: nothing of what can be made is accepted; the text lists it.
    """

    def offers(one: retrieve.StoredInstance, targets: tuple[str, ...]) -> tuple[Offer, ...]:
        return tuple(
            offer
            for offer in offers_of_file(one, targets, single=True)
            if not offer.multipart and is_possible(offer.transfer_syntax_uid or "")
        )

    return await selected(service, accept, stored, offers)


def _possible(stored: retrieve.StoredInstance) -> tuple[str, ...]:
    if stored.pixel_tag is None:
        return ()
    return transcoding.possible_targets(stored.transfer_syntax_uid)


def is_encoded(offer: Offer | None) -> bool:
    return (
        offer is not None and not offer.stored and offer.transfer_syntax_uid in BY_TRANSFER_SYNTAX
    )


def _chosen(accept: Accept, offers: Sequence[Offer]) -> Offer | None:
    try:
        return accept.select(offers)
    except NotAcceptable:
        return None


def offers_of_file(
    stored: retrieve.StoredInstance, targets: tuple[str, ...], *, single: bool
) -> tuple[Offer, ...]:
    return file_offers(stored.transfer_syntax_uid, single=single, targets=targets)


def offers_of_zip(stored: retrieve.StoredInstance, targets: tuple[str, ...]) -> tuple[Offer, ...]:
    return zip_offers(stored.transfer_syntax_uid, targets=targets)


@lru_cache(maxsize=512)
def file_offers(
    transfer_syntax_uid: str, *, single: bool, targets: tuple[str, ...] | None = None
) -> tuple[Offer, ...]:
    """PS3.10 files: as stored, and in the transfer syntaxes to which they can be brought.

    Args:
        targets: Of these the compressed ones; None is all that an image may be brought to.
    """
    offers = _every_file_offer(transfer_syntax_uid, single=single, targets=targets)
    if transfer_syntax_uid not in _NOT_USED:
        return offers
    return tuple(offer for offer in offers if not offer.stored)


def _every_file_offer(
    transfer_syntax_uid: str, *, single: bool, targets: tuple[str, ...] | None
) -> tuple[Offer, ...]:
    syntax = transfer_syntaxes.lookup(transfer_syntax_uid)
    if targets is None:
        targets = transcoding.possible_targets(transfer_syntax_uid)
    explicit = transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN
    convertible = not explicit and syntax.decodable
    native = [uid for uid in transcoding.NATIVE if uid != transfer_syntax_uid and syntax.decodable]
    offers = []
    for is_multipart in (True, False) if single else (True,):
        offers.append(
            Offer(
                DICOM,
                transfer_syntax_uid,
                multipart=is_multipart,
                stored=True,
                is_default=True,
                answers_default=syntax.lossy or not (convertible or explicit),
            )
        )
        offers += [
            Offer(
                DICOM,
                uid,
                multipart=is_multipart,
                is_default=True,
                only_named=uid in transcoding.LOSSY,
            )
            for uid in (*native, *targets)
        ]
    return tuple(offers)


def zip_offers(
    transfer_syntax_uid: str, *, targets: tuple[str, ...] | None = None
) -> tuple[Offer, ...]:
    """The same files in one ZIP file, whatever the level of the resource.

    There all can have the form in which they came: what section 8.7.3 excludes, it excludes from
    DICOM media types.
    """
    return tuple(
        replace(offer, media_type=ZIP, multipart=False, is_default=False)
        for offer in _every_file_offer(transfer_syntax_uid, single=False, targets=targets)
    )


@lru_cache(maxsize=512)
def pixel_offers(
    transfer_syntax_uid: str,
    *,
    native: bool,
    one: bool = True,
    targets: tuple[str, ...] = (),
) -> tuple[Offer, ...]:
    """Pixel data: as stored, decoded, and encoded anew (PS3.18 section 8.7.3.3).

    Args:
        native: The stored pixel data is not encapsulated.
        one: It is one item, so that a single part can answer, too.
        targets: Compressed transfer syntaxes to which it can be brought.
    """
    syntax = transfer_syntaxes.lookup(transfer_syntax_uid)
    offers: list[Offer] = []
    for is_multipart in (True, False) if one else (True,):
        if native:
            offers.append(
                Offer(
                    OCTET_STREAM,
                    EXPLICIT_VR_LITTLE_ENDIAN,
                    multipart=is_multipart,
                    stored=not syntax.big_endian,
                    is_default=True,
                )
            )
            offers += _encoded_offers(targets, is_multipart=is_multipart)
            continue
        undecodable = syntax.lossy or not syntax.decodable
        offers += [
            Offer(
                media_type,
                transfer_syntax_uid,
                multipart=is_multipart,
                stored=True,
                is_default=undecodable,
                # uncompressed bytes are what octet-stream means where they can be made
                answers_default=media_type != OCTET_STREAM or not syntax.decodable,
            )
            for media_type in dict.fromkeys((syntax.media_type, OCTET_STREAM))
        ]
        if syntax.decodable:
            offers.append(
                Offer(
                    OCTET_STREAM,
                    EXPLICIT_VR_LITTLE_ENDIAN,
                    multipart=is_multipart,
                    is_default=not undecodable,
                )
            )
        offers += _encoded_offers(targets, is_multipart=is_multipart)
    return tuple(offers)


def _encoded_offers(targets: Sequence[str], *, is_multipart: bool) -> list[Offer]:
    return [
        Offer(
            media_type,
            uid,
            multipart=is_multipart,
            only_named=uid in transcoding.LOSSY,
        )
        for uid in targets
        for media_type in dict.fromkeys((transfer_syntaxes.lookup(uid).media_type, OCTET_STREAM))
    ]


def instance_pixel_offers(
    stored: retrieve.StoredInstance, targets: tuple[str, ...], *, one: bool
) -> tuple[Offer, ...]:
    single = one and (stored.frame_bits > 0 or stored.number_of_frames == 1)
    offers = pixel_offers(
        stored.transfer_syntax_uid, native=stored.frame_bits > 0, one=single, targets=targets
    )
    if stored.number_of_frames > 1:
        # encoded anew, each frame is an item
        offers = tuple(offer for offer in offers if offer.multipart or not is_encoded(offer))
    if not one or single:
        return offers
    # all frames decoded are one item, too
    decoded = Offer(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN)
    decodable = transfer_syntaxes.lookup(stored.transfer_syntax_uid).decodable
    return (*offers, decoded) if decodable else offers


def value_offers(document: str | None, *, one: bool = True) -> tuple[Offer, ...]:
    """A bulk value other than pixel data; `document` is the MIME type of a document."""
    offers: list[Offer] = []
    for is_multipart in (True, False) if one else (True,):
        if document is not None:
            offers.append(Offer(document, multipart=is_multipart, stored=True, is_default=True))
        offers.append(
            Offer(
                OCTET_STREAM,
                EXPLICIT_VR_LITTLE_ENDIAN,
                multipart=is_multipart,
                stored=True,
                is_default=document is None,
            )
        )
    return tuple(offers)


def transfer_syntax_made(offer: Offer) -> str | None:
    """The transfer syntax that pixel data is brought to; None is as stored."""
    return None if offer.stored else offer.transfer_syntax_uid
