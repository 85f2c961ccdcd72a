"""Several messages sent as one: with FHS and BHS around them, or one after another.

Each message is taken and answered by itself. The acknowledgements go back together, in the order
of the messages and with the same envelope as they came in.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2 import acknowledgement
from bfr_dicomweb.hl7v2.message import Header, peek

MAX_MESSAGES: Final = 10_000
_ENVELOPES: Final = (b"FHS", b"BHS")
_JUNK: Final = b" \t\r\n\x0b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Part:
    """A message from its MSH to the last segment before the next, or a segment of the envelope."""

    name: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    parts: tuple[Part, ...]

    @property
    def messages(self) -> tuple[bytes, ...]:
        return tuple(part.data for part in self.parts if part.name == b"MSH")


def split(data: bytes) -> Batch | None:
    """The messages of a batch, None when it is one message.

    Raises:
        InvalidMessage: There are more than `MAX_MESSAGES`.
    """
    bare = data.lstrip(_JUNK).removeprefix(_BYTE_ORDER_MARK).lstrip(_JUNK)
    separator = bare[3:4]
    if not bare.startswith((b"MSH", *_ENVELOPES)) or not separator.strip() or separator.isalnum():
        return None
    if bare.startswith(b"MSH") and bare.find(b"MSH" + separator, 4) < 0:
        return None
    starts = [found.start() for found in _beginnings(separator).finditer(bare)]
    if len(starts) == 1 and bare.startswith(b"MSH"):
        return None
    if len(starts) > MAX_MESSAGES:
        raise InvalidMessage(f"a batch may have at most {MAX_MESSAGES} messages", rejected=True)
    ends = [*starts[1:], len(bare)]
    pieces = (bare[start:end] for start, end in zip(starts, ends, strict=True))
    return Batch(tuple(Part(piece[:3], piece) for piece in pieces))


def answer(batch: Batch, acknowledgements: list[bytes | None]) -> bytes | None:
    """
    Args:
        acknowledgements: One for each of the messages, None where none is wanted.
    """
    if not any(acknowledgements) and acknowledgements:
        return None
    answers = iter(acknowledgements)
    envelope = _Envelope()
    for part in batch.parts:
        if part.name == b"MSH":
            envelope.add(next(answers))
        elif part.name in _ENVELOPES:
            envelope.open(part)
        else:
            envelope.close(part.name)
    return envelope.finished()


class _Envelope:
    """The answer as it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._open: list[tuple[bytes, bytes]] = []  # trailer that is due, and its separator
        self._counts = {b"BTS": 0, b"FTS": 0}

    def add(self, acknowledgement: bytes | None) -> None:
        if acknowledgement is not None:
            self._pieces.append(acknowledgement)
            self._counts[b"BTS"] += 1

    def open(self, part: Part) -> None:
        trailer = part.name[:1] + b"TS"
        self.close(trailer)  # of one that was never ended
        header = _header_of(part)
        self._pieces.append(_reversed(header, part.name.decode()))
        self._open.append((trailer, header.encoding.field.encode()))
        self._counts[trailer] = 0

    def close(self, trailer: bytes) -> None:
        """End it, and before it what was begun inside of it."""
        while any(name == trailer for name, _ in self._open):
            name, separator = self._open.pop()
            self._pieces.append(name + separator + str(self._counts[name]).encode() + b"\r")
            if name == b"BTS":
                self._counts[b"FTS"] += 1

    def finished(self) -> bytes:
        while self._open:
            self.close(self._open[-1][0])
        return b"".join(self._pieces)


def _header_of(part: Part) -> Header:
    return peek(b"MSH" + part.data[3:])  # its fields up to the seventh are those of MSH


def _reversed(header: Header, name: str) -> bytes:
    fields = [
        *acknowledgement.reversed_header(header.msh, name),
        *[""] * 3,
        acknowledgement.new_control_id(),
        acknowledgement.copied(header.msh, 11),
    ]
    return (header.encoding.field.join(fields) + "\r").encode(header.charset.codec, "replace")


@lru_cache(maxsize=32)
def _beginnings(separator: bytes) -> re.Pattern[bytes]:
    after = rb"(?=" + re.escape(separator) + rb"|[\r\n]|\Z)"
    return re.compile(rb"(?:\A|(?<=[\r\n]))(?:MSH|[FB]HS|[FB]TS)" + after)
