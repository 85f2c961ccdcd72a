"""Media types, and which representation of a resource answers a request (PS3.18 section 8.7).

A resource lists its offers, in its own order of preference; the request gives an Accept
header and perhaps an accept parameter. `select` finds the offer that section 8.7.8 wants:
the quality of an offer is that of the most specific media range that covers it.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

from bfr_dicomweb.errors import InvalidQuery, InvalidRequest, NotAcceptable

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
JSON: Final = "application/json"
OCTET_STREAM: Final = "application/octet-stream"
JPEG: Final = "image/jpeg"
MULTIPART_RELATED: Final = "multipart/related"
ZIP: Final = "application/zip"

EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
ANY: Final = "*"

MAX_LENGTH: Final = 8192
MAX_RANGES: Final = 64


@dataclass(frozen=True, slots=True)
class CompressedBulkdata:
    """A row: the first `defaults` of the transfer syntaxes answer a range that names none."""

    media_type: str
    transfer_syntax_uids: tuple[str, ...]
    defaults: int = 1


def _row(media_type: str, *suffixes: str, defaults: int = 1) -> CompressedBulkdata:
    uids = tuple(f"1.2.840.10008.1.2.{suffix}" for suffix in suffixes)
    return CompressedBulkdata(media_type, uids, defaults)


# Compressed bulkdata media types, PS3.18 Table 8.7.3-5
COMPRESSED_BULKDATA: Final = (
    _row("image/jpeg", "4.70", "4.50", "4.51", "4.57"),
    _row("image/dicom-rle", "5"),
    _row("image/jls", "4.80", "4.81"),
    _row("image/jp2", "4.90", "4.91"),
    _row("image/jpx", "4.92", "4.93"),
    _row("image/jphc", "4.201", "4.202", "4.203"),
    _row("image/jxl", "4.110", "4.111", "4.112"),
    _row("video/mpeg", "4.101", "4.101.1", "4.100", "4.100.1", defaults=2),
    _row(
        "video/mp4",
        *("4.102", "4.102.1", "4.103", "4.103.1", "4.104", "4.104.1"),
        *("4.105", "4.105.1", "4.106", "4.106.1"),
        defaults=2,
    ),
    _row("video/H265", "4.107", "4.108"),
)

# Names that earlier editions and other archives gave to the rows above, and what
# clients write for the DICOM JSON Model. A request may use them; answers never do.
ALIASES: Final = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/jll": "image/jpeg",
    JSON: DICOM_JSON,
}

# Rendered media types, PS3.18 Table 8.7.4-1, and those that this server adds to it
RENDERED: Final = frozenset(
    {"image/jpeg", "image/gif", "image/png", "image/jp2", "image/jph", "image/jxl"}
    | {"video/mpeg", "video/mp4", "video/h265"}
    | {"text/html", "text/plain", "text/xml", "text/rtf", "application/pdf"}
    | {"image/webp", "image/avif", "image/svg+xml", "model/stl", "model/obj", "model/mtl"}
)

_METADATA: Final = frozenset({DICOM_JSON, DICOM_XML})
_DICOM: Final = _METADATA | {DICOM, OCTET_STREAM, ZIP}
_BULKDATA: Final = frozenset(row.media_type.lower() for row in COMPRESSED_BULKDATA)
# An encapsulated document is bulkdata of the type that (0042,0012) names, so that
# asking for these beside application/octet-stream mixes nothing.
_DOCUMENTS: Final = frozenset(
    {"application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl"}
)
_RENDERED_ONLY: Final = RENDERED - _BULKDATA - _DOCUMENTS

_DEFAULT_TRANSFER_SYNTAXES: Final = {
    DICOM: (EXPLICIT_VR_LITTLE_ENDIAN,),
    OCTET_STREAM: (EXPLICIT_VR_LITTLE_ENDIAN,),
    # of the files in it
    ZIP: (EXPLICIT_VR_LITTLE_ENDIAN,),
} | {
    row.media_type.lower(): row.transfer_syntax_uids[: row.defaults] for row in COMPRESSED_BULKDATA
}
_COMPRESSED_MEDIA_TYPES: Final = {
    uid: row.media_type for row in COMPRESSED_BULKDATA for uid in row.transfer_syntax_uids
}


def default_transfer_syntaxes(media_type: str) -> tuple[str, ...]:
    """What a media range without a transfer-syntax parameter asks for; empty: there is none.

    Source: PS3.18 Tables 8.7.3-2, 8.7.3-4 and 8.7.3-5.
    """
    return _DEFAULT_TRANSFER_SYNTAXES.get(media_type.lower(), ())


def bulkdata_media_type(transfer_syntax_uid: str) -> str:
    """The media type of pixel data in this transfer syntax (PS3.18 section 8.7.3.3)."""
    return _COMPRESSED_MEDIA_TYPES.get(transfer_syntax_uid, OCTET_STREAM)


# What is written without quotes in the wild is wider than a token: type=application/dicom
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TYPE: Final = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")
_VALUE: Final = re.compile(
    r'[\x21\x23-\x3a\x3c-\x7e]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"'
)
_ESCAPE: Final = re.compile(r"\\(.)")
_Q: Final = re.compile(r"0?\.[0-9]{1,9}|0\.?|1(?:\.0{0,9})?")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type as a header writes it; names in lower case, values without their quotes."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a Content-Type, or one element of an Accept header.

        Raises:
            InvalidRequest: the text is no media type.

        Source: RFC 9110 section 8.3.1; unquoted values may hold any printable
        character but the semicolon.
        """
        name, *rest = split_outside_quotes(text, ";")
        name = name.strip(" \t")
        if _TYPE.fullmatch(name) is None:
            raise InvalidRequest("a media type is malformed")
        return cls(name.lower(), tuple(_parameter(item) for item in rest if item.strip(" \t")))

    def parameter(self, name: str) -> str | None:
        """The value of the first parameter of this (lower case) name."""
        return next((value for found, value in self.parameters if found == name), None)

    def __str__(self) -> str:
        return "; ".join([self.name, *(f"{name}={_quoted(v)}" for name, v in self.parameters)])


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Split at each separator that stands outside a quoted-string (RFC 9110 section 5.6.4)."""
    if '"' not in text:
        return text.split(separator)
    pieces, start, quoted, escaped = [], 0, False, False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == '"':
            quoted = not quoted
        elif quoted:
            escaped = char == "\\"
        elif char == separator:
            pieces.append(text[start:at])
            start = at + 1
    return [*pieces, text[start:]]


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    name, value = name.strip(" \t"), value.strip(" \t")
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise InvalidRequest("a media type parameter is malformed")
    if value.startswith('"'):
        value = _ESCAPE.sub(r"\1", value[1:-1])
    return name.lower(), value


def _quoted(value: str) -> str:
    if _NAME.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that a resource can give.

    Attributes:
        media_type: Of the single part, or the root type of each part of the multipart.
        transfer_syntax_uid: None for types that have none (JSON, XML, rendered).
        multipart: Sent as multipart/related.
        stored: The form in which the bytes are kept, so that it costs nothing.
        is_default: Its media type is the default of the resource: what `*/*` stands for.
        answers_default: Answers a range without transfer-syntax although its transfer
            syntax is not the default of its media type (PS3.18 section 8.7.3: what is kept
            only in a lossy form, or is too long for Explicit VR Little Endian).
        only_named: Answers only ranges that name its transfer syntax: it loses something,
            which nobody shall get who has not asked for it.
    """

    media_type: str
    transfer_syntax_uid: str | None = None
    multipart: bool = False
    stored: bool = False
    is_default: bool = False
    answers_default: bool = False
    only_named: bool = False

    @property
    def content_type(self) -> str:
        """Of the single part, or of one part of the multipart."""
        if self.transfer_syntax_uid is None:
            return self.media_type
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"

    def __str__(self) -> str:
        if not self.multipart:
            return self.content_type
        root = f'{MULTIPART_RELATED}; type="{self.media_type}"'
        if self.transfer_syntax_uid is None:
            return root
        return f"{root}; transfer-syntax={self.transfer_syntax_uid}"

    def answers(self, transfer_syntax: str | None) -> bool:
        """Whether the transfer-syntax parameter of a range covers this offer."""
        if self.only_named:
            return self.transfer_syntax_uid == transfer_syntax
        if self.transfer_syntax_uid is None or transfer_syntax == ANY:
            # on types without a transfer syntax the parameter is ignored (section 8.7.7)
            return True
        if transfer_syntax is not None:
            return self.transfer_syntax_uid == transfer_syntax
        defaults = default_transfer_syntaxes(self.media_type)
        return self.answers_default or not defaults or self.transfer_syntax_uid in defaults


# of a range that covers an offer: form, media type, transfer syntax; the greater wins
_Specificity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an Accept header.

    Attributes:
        media_type: Lower case; `*/*` and `image/*` are ranges. For multipart/related
            its root type, `*/*` when it names none.
        transfer_syntax: A UID, `*` for any, None when not given.
        thousandths: The weight, 0 to 1000.
    """

    media_type: str
    multipart: bool = False
    transfer_syntax: str | None = None
    thousandths: int = 1000

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidRequest: the element is malformed."""
        media_type = MediaType.parse(text)
        name, multipart = media_type.name, media_type.name in (MULTIPART_RELATED, "multipart/*")
        if multipart:
            name = MediaType.parse(media_type.parameter("type") or "*/*").name
        return cls(
            name,
            multipart,
            media_type.parameter("transfer-syntax"),
            thousandths(media_type.parameter("q")),
        )

    @property
    def is_anything(self) -> bool:
        return self.media_type == "*/*"

    def __str__(self) -> str:
        name = self.media_type
        parameters = []
        if self.multipart:
            name, parameters = MULTIPART_RELATED, [("type", self.media_type)]
        if self.transfer_syntax is not None:
            parameters.append(("transfer-syntax", self.transfer_syntax))
        if self.thousandths != 1000:
            parameters.append(("q", f"{self.thousandths / 1000:.3f}"))
        return str(MediaType(name, tuple(parameters)))

    def specificity(self, offer: Offer) -> _Specificity | None:
        """How closely the range describes the offer; None: it does not cover it."""
        anything = self.is_anything and not self.multipart
        if self.multipart != offer.multipart and not anything:
            return None
        level = self._media_type_specificity(offer.media_type.lower())
        if level is None or not offer.answers(self.transfer_syntax):
            return None
        if self.transfer_syntax is None:
            return (not anything, level, 1)
        return (not anything, level, 0 if self.transfer_syntax == ANY else 2)

    def _media_type_specificity(self, media_type: str) -> int | None:
        if _canonical(self.media_type) == _canonical(media_type):
            return 2
        if self.is_anything:
            return 0
        family, _, subtype = self.media_type.partition("/")
        return 1 if subtype == ANY and media_type.startswith(family + "/") else None


def _canonical(media_type: str) -> str:
    return ALIASES.get(media_type, media_type)


def thousandths(q: str | None) -> int:
    """A weight (RFC 9110 section 12.4.2) as an integer.

    A weight that is none is ignored like any invalid parameter (PS3.18 section 8.7.7).
    """
    if q is None or _Q.fullmatch(q) is None:
        return 1000
    return min(1000, int(float(q) * 1000 + 0.5))


@dataclass(frozen=True, slots=True)
class Accept:
    """What a request accepts: its Accept header and its accept parameter."""

    ranges: tuple[MediaRange, ...]
    parameter: tuple[MediaRange, ...] = ()

    @staticmethod
    @lru_cache(maxsize=512)
    def parse(header: str | None, parameter: str | None = None) -> "Accept":
        """Read both; malformed elements of the header are ignored (section 8.7.7).

        Raises:
            NotAcceptable: there is no Accept header (section 8.7.5).
            InvalidQuery: the parameter has a malformed element or a wildcard, or
                nothing of it is covered by the header (section 8.3.3.1).
            InvalidRequest: the header is too long.
        """
        if header is None:
            raise NotAcceptable("the request has no Accept header")
        ranges = parse_accept(header)
        if not parameter:
            return Accept(ranges)
        wanted = parse_accept_parameter(parameter)
        covered = tuple(one for one in wanted if _covered(one, ranges))
        if not covered:
            raise InvalidQuery("accept", "the Accept header covers none of its media types")
        return Accept(ranges, covered)

    def select(self, offers: Sequence[Offer]) -> Offer:
        """The offer to answer with (section 8.7.8).

        Raises:
            InvalidRequest: DICOM and rendered media types are mixed.
            NotAcceptable: no offer is acceptable; the text lists the offers.
        """
        return _select(self, tuple(offers))


def parse_accept(text: str) -> tuple[MediaRange, ...]:
    """The elements of an Accept header that are well formed, in its order."""
    _check_size(text)
    ranges = []
    for element in split_outside_quotes(text, ","):
        with suppress(InvalidRequest):
            ranges.append(MediaRange.parse(element))
    return tuple(ranges)


def parse_accept_parameter(text: str) -> tuple[MediaRange, ...]:
    """The value of the query parameter `accept`, percent-decoded (section 8.3.3.1)."""
    try:
        _check_size(text)
        # form decoding makes a space of the plus in application/dicom+json
        elements = [
            re.sub(r"(?<=\w) (?=\w)", "+", element.strip(" \t"))
            for element in split_outside_quotes(text, ",")
        ]
        ranges = tuple(MediaRange.parse(element) for element in elements)
    except InvalidRequest as error:
        raise InvalidQuery("accept", str(error)) from None
    if any(ANY in one.media_type for one in ranges):
        raise InvalidQuery("accept", "wildcards are for the Accept header")
    return ranges


def select(header: str | None, parameter: str | None, offers: Sequence[Offer]) -> Offer:
    """`Accept.parse(header, parameter).select(offers)`."""
    return Accept.parse(header, parameter).select(offers)


@lru_cache(maxsize=1024)
def _select(accept: Accept, offers: tuple[Offer, ...]) -> Offer:
    # An accept parameter stands in a link: the header beside it is the browser's own.
    if _is_mixed(
        accept.parameter or accept.ranges,
        rendered=_is_rendered(offers),
        linked=bool(accept.parameter),
    ):
        where = "accept parameter" if accept.parameter else "Accept header"
        raise InvalidRequest(f"the {where} mixes DICOM and rendered media types")
    chosen = _best(accept.parameter, offers) or _best(accept.ranges, offers)
    if chosen is None:
        available = ", ".join(dict.fromkeys(str(offer) for offer in offers))
        raise NotAcceptable(f"available here: {available or 'nothing'}")
    return chosen


def _check_size(text: str) -> None:
    if len(text) > MAX_LENGTH or text.count(",") >= MAX_RANGES:
        raise InvalidRequest(
            f"at most {MAX_RANGES} media types in {MAX_LENGTH} characters are accepted"
        )


def _covered(wanted: MediaRange, ranges: Iterable[MediaRange]) -> bool:
    as_offer = Offer(wanted.media_type, multipart=wanted.multipart)
    return any(one.thousandths and one.specificity(as_offer) for one in ranges)


def _is_rendered(offers: Iterable[Offer]) -> bool:
    return all(
        offer.transfer_syntax_uid is None and offer.media_type.lower() in RENDERED
        for offer in offers
    )


def _is_mixed(ranges: Sequence[MediaRange], *, rendered: bool, linked: bool) -> bool:
    """Whether DICOM and rendered media types are asked for together (section 8.7.5).

    image/jpeg and others stand in both tables: beside application/dicom they are
    compressed bulkdata, unless the resource is a rendered one, or they stand in a link,
    which is about one thing; beside metadata, which has no bulkdata, they can only mean
    rendered.
    """
    if linked and any(one.media_type == DICOM for one in ranges):
        rendered = True
    wanted = {one.media_type for one in ranges if one.thousandths}
    if wanted.isdisjoint(_DICOM):
        return False
    if not wanted.isdisjoint(_RENDERED_ONLY):
        return True
    return not wanted.isdisjoint(RENDERED & _BULKDATA) and (
        rendered or not wanted.isdisjoint(_METADATA)
    )


def _best(ranges: Sequence[MediaRange], offers: Sequence[Offer]) -> Offer | None:
    ranked = [
        (rank, place)
        for place, offer in enumerate(offers)
        if (rank := _rank(ranges, offer)) is not None
    ]
    return offers[min(ranked)[1]] if ranked else None


def _rank(ranges: Sequence[MediaRange], offer: Offer) -> tuple[int, bool, bool, bool, int] | None:
    """The lower, the better; None: not acceptable."""
    covering = [
        (specificity, one.thousandths, -place)
        for place, one in enumerate(ranges)
        if (specificity := one.specificity(offer)) is not None
    ]
    if not covering:
        return None
    _, thousandths, place = max(covering)
    if not thousandths:
        return None
    closest = ranges[-place]
    return (
        -thousandths,
        # `*/*` stands for the default media type, and for another only where that is refused
        closest.is_anything and not offer.is_default,
        not offer.stored,
        closest.transfer_syntax == ANY,
        -place,
    )
