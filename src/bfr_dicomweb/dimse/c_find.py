"""C-FIND of the Query/Retrieve Service Class (PS3.4 section C.4.1), with the search of QIDO-RS.

Matches are read a stretch at a time and sent before the next is read, so that neither their number
nor the speed of the peer costs memory or holds anything in the catalogue. They are encoded as they
stand in the catalogue and sent over the held connection (`connection`); only the last response is
left to pynetdicom.
"""

import asyncio
import select
import struct
import time
from collections.abc import Coroutine, Iterator
from concurrent import futures
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt, status
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.transport import AssociationSocket

from bfr_dicomweb.dicom import data_sets
from bfr_dicomweb.dicom.attributes import tag_of
from bfr_dicomweb.dicom.query_identifiers import (
    Negotiated,
    Query,
    QueryLevel,
    answer,
    parse_query,
)
from bfr_dicomweb.dimse import negotiation, statuses
from bfr_dicomweb.dimse.connection import Lost, held
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Permission
from bfr_dicomweb.errors import ArchiveError, InvalidQuery
from bfr_dicomweb.services.search import Stretch, custom_keys, next_results, resolved

T = TypeVar("T")

PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_STUDY_ONLY: Final = "1.2.840.10008.5.1.4.1.2.3.1"
# PS3.4 sections C.6.1.1, C.6.2.1 and C.6.3.1
MODELS: Final = {
    PATIENT_ROOT: tuple(QueryLevel),
    STUDY_ROOT: (QueryLevel.STUDY, QueryLevel.SERIES, QueryLevel.IMAGE),
    PATIENT_STUDY_ONLY: (QueryLevel.PATIENT, QueryLevel.STUDY),
}

# More matches are not sent; that there are more is told (B001).
MOST_MATCHES: Final = 1_000_000
MATCHES_LEFT_OUT: Final = 0xB001
# The first ones soon, the others with few questions to the catalogue.
FIRST_STRETCH: Final = 50
STRETCH: Final = 500
# Between two looks whether the peer still wants an answer.
GLANCE_SECONDS: Final = 0.05
# In which the thread of pynetdicom reads what has come from the peer.
READ_SECONDS: Final = 0.02

C_FIND_RSP: Final = 0x8020
DATA_SET_FOLLOWS: Final = 0x0001

Answer = tuple[int | Dataset, None]

log = structlog.get_logger("dimse")

# pynetdicom takes this status for one that others follow, but it is the last (PS3.4 C.4.1.1.4).
status.QR_FIND_SERVICE_CLASS_STATUS.pop(MATCHES_LEFT_OUT, None)


class _Cancelled(Exception):
    """The peer wants no more matches."""


def find(event: evt.Event, door: Door) -> Iterator[Answer]:
    """Answers one query; all but the last status is sent before it is given."""
    try:
        query = _query(event, door)
        if _respond(event, door, query):
            yield MATCHES_LEFT_OUT, None
    except _Cancelled:
        yield statuses.CANCELLED, None
    except Lost:
        # nobody is there to be told
        event.assoc.abort()
    except ArchiveError as error:
        yield _refusal(error), None
    except Exception as error:
        log.exception("bug", error=type(error).__name__)
        yield statuses.UNABLE_TO_PROCESS, None


def _refusal(error: ArchiveError) -> Dataset:
    refused = statuses.refusal(statuses.query(error), error)
    if isinstance(error, InvalidQuery):
        tag = tag_of(error.parameter.rpartition(".")[2])
        if tag is not None:
            refused.OffendingElement = [Tag(int(tag, 16))]
    return refused


@dataclass(frozen=True, slots=True)
class _Asked:
    """
    Attributes:
        character_sets: That the peer is known to understand.
    """

    query: Query
    transfer_syntax_uid: str
    character_sets: tuple[str, ...]
    retrieve_ae_title: str


def _query(event: evt.Event, door: Door) -> _Asked:
    sop_class = str(event.context.abstract_syntax)
    syntax = str(event.context.transfer_syntax)
    own = door.peer_of(event.assoc).quirks.character_set
    encoded = cast(C_FIND, event.request).Identifier
    received = data_sets.decode(
        encoded.getvalue() if encoded is not None else b"", syntax, character_set=own
    )
    read = partial(
        parse_query,
        received.attributes,
        levels=MODELS[sop_class],
        negotiated=_negotiated(event, sop_class),
        page=STRETCH,
    )
    query = read()
    if query.unsupported and (custom := door.wait(custom_keys(door.archive.index))):
        query = read(custom=custom)
    known = tuple(dict.fromkeys(s for s in (own, received.character_set) if s))
    return _Asked(query, syntax, known, door.ae_title)


def _negotiated(event: evt.Event, sop_class: str) -> Negotiated:
    agreed = negotiation.extended(event.assoc, sop_class)
    return Negotiated(
        combined_date_time=agreed.date_time, fuzzy_names=agreed.fuzzy, timezone=agreed.timezone
    )


def _respond(event: evt.Event, door: Door, asked: _Asked) -> bool:
    """Send all matches; True when there are more than are sent."""
    index, query = door.archive.index, asked.query
    search = _wait(event, door, resolved(index, query.search))
    left, after, limit = MOST_MATCHES, None, FIRST_STRETCH
    while True:
        stretch: Stretch = _wait(
            event,
            door,
            next_results(
                index,
                replace(search, limit=limit),
                after,
                of_patients=query.level is QueryLevel.PATIENT,
            ),
        )
        _send(event, asked, stretch.rows[:left])
        left -= len(stretch.rows)
        if stretch.after is None or left < 0:
            return left < 0
        after, limit = stretch.after, STRETCH


def _wait(event: evt.Event, door: Door, work: Coroutine[Any, Any, T]) -> T:
    """What a service finds, as long as the peer wants to know."""
    future = asyncio.run_coroutine_threadsafe(work, door.loop)
    while not future.done():
        _require_wanted(event)
        futures.wait([future], GLANCE_SECONDS)
    return future.result()


def _require_wanted(event: evt.Event) -> None:
    if event.is_cancelled:
        raise _Cancelled
    association = event.assoc
    if not association.is_established or association.acse.is_aborted():
        raise Lost("the association has ended")


def _send(event: evt.Event, asked: _Asked, results: list[dict[str, Any]]) -> None:
    """Send matches, until something comes from the peer: that is read in between."""
    encoded = (_encoded(asked, result) for result in results)
    request = cast(C_FIND, event.request)
    pending = (
        statuses.PENDING_WITH_UNSUPPORTED_KEYS if asked.query.unsupported else statuses.PENDING
    )
    command = _command(str(request.AffectedSOPClassUID), cast(int, request.MessageID), pending)
    is_interrupted = bool(results)
    while is_interrupted:
        _require_wanted(event)
        is_interrupted = _send_undisturbed(event, command, encoded)
        if is_interrupted:
            time.sleep(READ_SECONDS)


def _send_undisturbed(event: evt.Event, command: bytes, encoded: Iterator[bytes]) -> bool:
    """False when all are sent, True when something has come from the peer before."""
    connected = cast(AssociationSocket, event.assoc.dul.socket).socket
    with held(event.assoc) as connection:
        for identifier in encoded:
            connection.send(event.context.context_id, command, [identifier])
            if connected is None or select.select([connected], [], [], 0)[0]:
                return True
    return False


def _encoded(asked: _Asked, result: dict[str, Any]) -> bytes:
    return data_sets.encode(
        answer(asked.query, result, retrieve_ae_title=asked.retrieve_ae_title),
        asked.transfer_syntax_uid,
        character_sets=asked.character_sets,
    )


@lru_cache(maxsize=64)
def _command(sop_class: str, message_id: int, pending: int) -> bytes:
    """The command set of a response that a data set follows (PS3.7 Table 9.3-4)."""
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    content = b"".join(
        struct.pack("<HHI", 0x0000, number, len(value)) + value
        for number, value in (
            (0x0002, uid),
            (0x0100, struct.pack("<H", C_FIND_RSP)),
            (0x0120, struct.pack("<H", message_id)),
            (0x0800, struct.pack("<H", DATA_SET_FOLLOWS)),
            (0x0900, struct.pack("<H", pending)),
        )
    )
    return struct.pack("<HHII", 0x0000, 0x0000, 4, len(content)) + content


SERVICES: Final = (
    Service("query", evt.EVT_C_FIND, tuple(MODELS), find, permission=Permission.QUERY),
)
