"""C-STORE as SCU: what to propose to a receiver, and sending it stored instances."""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from bfr_dicomweb.dimse.connection import Connection, Response
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.services import data_sets
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.data_sets import StoredInstance

# Presentation contexts of one association have the odd numbers of a byte (PS3.8 section 9.3.2.2).
MAX_CONTEXTS: Final = 128
MAX_MESSAGE_ID: Final = 0xFFFF
MEDIUM: Final = 0  # priority (PS3.7 section 9.3.1.1)

_C_STORE_RQ: Final = 0x0001
_DATA_SET_FOLLOWS: Final = 0x0001


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances for one association, and the presentation contexts to propose for them."""

    contexts: tuple[PresentationContext, ...]
    instances: tuple[StoredInstance, ...]


def batches(
    instances: Iterable[StoredInstance], transfer_syntaxes: Sequence[str] = ()
) -> Iterator[Batch]:
    """Divide instances among associations, as few as the number of contexts allows.

    Each SOP class is proposed once with every stored transfer syntax, so that the receiver can
    accept them all, and once with the uncompressed ones that can be made of it. To compressed
    ones images are brought only for a receiver that is configured to get none of these.

    Args:
        transfer_syntaxes: Only these are proposed; none given is all.
    """
    proposed: dict[tuple[str, tuple[str, ...]], None] = {}
    batch: list[StoredInstance] = []
    for stored in instances:
        wanted = {
            (stored.sop_class_uid, syntaxes): None
            for syntaxes in _proposals(stored, transfer_syntaxes)
        }
        if batch and len(proposed | wanted) > MAX_CONTEXTS:
            yield _batch(proposed, batch)
            proposed, batch = {}, []
        proposed |= wanted
        batch.append(stored)
    if batch:
        yield _batch(proposed, batch)


def _proposals(stored: StoredInstance, allowed: Sequence[str]) -> Iterator[tuple[str, ...]]:
    own, *others = data_sets.transfer_syntaxes(stored)
    proposals = [(own,), tuple(others)]
    if allowed and not {own, *others} & set(allowed):
        proposals = [data_sets.compressed(stored)]
    for syntaxes in proposals:
        kept = tuple(uid for uid in syntaxes if not allowed or uid in allowed)
        if kept:
            yield kept


def _batch(
    proposed: Iterable[tuple[str, tuple[str, ...]]], instances: Sequence[StoredInstance]
) -> Batch:
    contexts = (build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in proposed)
    return Batch(tuple(contexts), tuple(instances))


class Sender:
    """Sends instances one after the other over a connection.

    Args:
        originator: AE title and Message ID of the C-MOVE that asked for them.
        seconds: For the response to each.
        interrupted: Looked at while a response is awaited.
    """

    def __init__(
        self,
        archive: Archive,
        connection: Connection,
        *,
        originator: tuple[str, int] | None = None,
        priority: int = MEDIUM,
        seconds: float,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._archive = archive
        self._connection = connection
        self._originator = originator
        self._priority = priority
        self._seconds = seconds
        self._interrupted = interrupted
        self._message_id = 0
        self._accepted: dict[str, dict[str, int]] = defaultdict(dict)
        for context in connection.association.accepted_contexts:
            if context.as_scu and context.context_id is not None:
                syntax = str(context.transfer_syntax[0])
                self._accepted[str(context.abstract_syntax)].setdefault(syntax, context.context_id)

    def send(self, stored: StoredInstance) -> Response:
        """Send one instance: as stored if that is accepted, else rather uncompressed.

        Raises:
            NotAcceptable: it cannot be sent in what the receiver accepts; nothing was sent.
            Unavailable: it cannot be read; nothing was sent.
            Silent, Interrupted: there was no response.
            Lost: the association is over.
        """
        accepted = self._accepted[stored.sop_class_uid]
        for syntax in data_sets.transfer_syntaxes(stored):
            if syntax in accepted:
                return self._send(stored, syntax, accepted[syntax])
        for syntax in data_sets.compressed(stored):
            if syntax in accepted:
                with suppress(NotAcceptable):  # of these pixels; then the next
                    return self._send(stored, syntax, accepted[syntax])
        if not accepted:
            raise NotAcceptable("the receiver does not take this SOP class")
        raise NotAcceptable("the receiver takes no transfer syntax that can be made")

    def _send(self, stored: StoredInstance, syntax: str, context_id: int) -> Response:
        connection = self._connection
        blocks = data_sets.blocks(self._archive, stored, syntax, block_bytes=connection.block_bytes)
        self._message_id = self._message_id % MAX_MESSAGE_ID + 1
        connection.send(context_id, self._command(stored), blocks)
        return connection.response(
            self._message_id, seconds=self._seconds, interrupted=self._interrupted
        )

    def _command(self, stored: StoredInstance) -> bytes:
        """C-STORE-RQ (PS3.7 Table 9.3-1)."""
        elements = [
            (0x0002, _uid(stored.sop_class_uid)),
            (0x0100, _number(_C_STORE_RQ)),
            (0x0110, _number(self._message_id)),
            (0x0700, _number(self._priority)),
            (0x0800, _number(_DATA_SET_FOLLOWS)),
            (0x1000, _uid(stored.sop_instance_uid)),
        ]
        if self._originator is not None:
            ae_title, message_id = self._originator
            elements.append((0x1030, ae_title.encode("ascii", "replace").ljust(16)[:16]))
            elements.append((0x1031, _number(message_id)))
        content = b"".join(_element(number, value) for number, value in elements)
        return _element(0x0000, struct.pack("<I", len(content))) + content


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _number(value: int) -> bytes:
    return struct.pack("<H", value)


def _uid(value: str) -> bytes:
    text = value.encode("ascii")
    return text + b"\0" * (len(text) % 2)
