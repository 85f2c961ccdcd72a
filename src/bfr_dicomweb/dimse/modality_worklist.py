"""Modality Worklist Information Model - FIND (PS3.4 Annex K)."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND

from bfr_dicomweb.dicom import data_sets
from bfr_dicomweb.dicom.attributes import tag_of
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Permission
from bfr_dicomweb.errors import ArchiveError, InvalidQuery
from bfr_dicomweb.services import scheduled_steps
from bfr_dicomweb.services.scheduled_steps import WorklistQuery

MODALITY_WORKLIST: Final = "1.2.840.10008.5.1.4.31"

Answer = tuple[int | Dataset, Dataset | None]

log = structlog.get_logger("dimse")


@dataclass(frozen=True, slots=True)
class _Asked:
    """
    Attributes:
        character_sets: That the peer is known to understand.
    """

    query: WorklistQuery
    character_sets: tuple[str, ...]


def find(event: evt.Event, door: Door) -> Iterator[Answer]:
    """Items are looked up a page at a time, as the peer takes them."""
    try:
        yield from _answers(event, door, _asked(event, door))
    except ArchiveError as error:
        yield _refusal(error), None
    except Exception as error:
        log.exception("bug", error=type(error).__name__)
        yield statuses.UNABLE_TO_PROCESS, None


def _asked(event: evt.Event, door: Door) -> _Asked:
    own = door.peer_of(event.assoc).quirks.character_set
    encoded = cast(C_FIND, event.request).Identifier
    received = data_sets.decode(
        encoded.getvalue() if encoded is not None else b"",
        str(event.context.transfer_syntax),
        character_set=own,
    )
    query = scheduled_steps.read_query(received.attributes)
    known = dict.fromkeys(one for one in (own, received.character_set) if one)
    return _Asked(query, tuple(known))


def _answers(event: evt.Event, door: Door, asked: _Asked) -> Iterator[Answer]:
    pending = (
        statuses.PENDING_WITH_UNSUPPORTED_KEYS if asked.query.unsupported else statuses.PENDING
    )
    after = None
    while True:
        page = door.wait(scheduled_steps.page(door.archive.index, asked.query, after=after))
        for item in page.items:
            if event.is_cancelled:
                yield statuses.CANCELLED, None
                return
            yield pending, dataset_of(item, asked.character_sets)
        if (after := page.after) is None:
            return


def dataset_of(attributes: dict[str, Any], character_sets: tuple[str, ...]) -> Dataset:
    """As pynetdicom wants it, in the first character set that can tell all of the text."""
    syntax = EXPLICIT_VR_LITTLE_ENDIAN
    encoded = data_sets.encode(attributes, syntax, character_sets=character_sets)
    return read_dataset(BytesIO(encoded), is_implicit_VR=False, is_little_endian=True)


def _refusal(error: ArchiveError) -> Dataset:
    refused = statuses.refusal(statuses.query(error), error)
    if isinstance(error, InvalidQuery):
        tag = tag_of(error.parameter.rpartition(".")[2])
        if tag is not None:
            refused.OffendingElement = [Tag(int(tag, 16))]
    return refused


SERVICES: Final = (
    Service(
        "modality worklist",
        evt.EVT_C_FIND,
        (MODALITY_WORKLIST,),
        find,
        permission=Permission.WORKLIST,
    ),
)
