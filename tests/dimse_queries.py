"""Queries by pynetdicom and pydicom, and the same by QIDO-RS of the same archive."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx2
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import decode
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from bfr_dicomweb.dicomweb import endpoints
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.dimse.c_find import MODELS, STUDY_ROOT
from bfr_dicomweb.services.change_feed import ChangeFeed
from bfr_dicomweb.services.event_channels import EventChannels
from dimse_served import AE_TITLE, Served

Json = dict[str, Any]
UIDS = {
    "PATIENT": "00100020",
    "STUDY": "0020000D",
    "SERIES": "0020000E",
    "IMAGE": "00080018",
}


@dataclass
class Found:
    answers: list[Json] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)
    status: Dataset = field(default_factory=Dataset)

    def uids(self, level: str) -> list[str]:
        """Without those that pydicom does not tell, because they are no UIDs."""
        told = (answer.get(UIDS[level]) for answer in self.answers)
        return [element["Value"][0] for element in told if element]


def identifier(level: str, keys: Iterable[tuple[str, Any]]) -> Dataset:
    """Keys by keyword; a dotted keyword is a key in the item of a sequence."""
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    asked.QueryRetrieveLevel = level
    for keyword, value in keys:
        *above, last = keyword.split(".")
        inside = asked
        for sequence in above:
            if sequence not in inside:
                setattr(inside, sequence, Sequence([Dataset()]))
            inside = inside[sequence].value[0]
        setattr(inside, last, value)
    return asked


@dataclass(frozen=True, slots=True)
class Scu:
    association: Association

    def find(self, level: str, *keys: tuple[str, Any], model: str = STUDY_ROOT) -> Found:
        return self.ask(identifier(level, keys), model)

    def send(self, encoded: bytes, model: str = STUDY_ROOT) -> Found:
        """Ask with any bytes as the identifier."""
        association = self.association
        (context,) = (c for c in association.accepted_contexts if c.abstract_syntax == model)
        request = C_FIND()
        request.MessageID, request.Priority = 7, 2
        request.AffectedSOPClassUID = model
        request.Identifier = BytesIO(encoded)
        found = Found()
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            time.sleep(0.001)
        try:
            association.dimse.send_msg(request, context.context_id or 0)
            while True:
                _, response = association.dimse.get_msg(block=True)
                assert isinstance(response, C_FIND), "the association is dead"
                if response.Identifier is None or response.Status not in (0xFF00, 0xFF01):
                    found.status.Status = response.Status
                    return found
                answer = decode(response.Identifier, *_form(context.transfer_syntax[0]))
                found.answers.append(answer.to_json_dict(suppress_invalid_tags=True))
        finally:
            association._reactor_checkpoint.set()
            # or the next question would take it for paused already
            while association._is_paused:
                time.sleep(0.001)

    def ask(self, asked: Dataset, model: str = STUDY_ROOT) -> Found:
        found = Found()
        for status, answer in self.association.send_c_find(asked, model):
            if answer is None:
                found.status = status
            else:
                found.pending.add(status.Status)
                found.answers.append(answer.to_json_dict(suppress_invalid_tags=True))
        return found


def _form(syntax: UID) -> tuple[bool, bool]:
    return syntax.is_implicit_VR, syntax.is_little_endian


@contextmanager
def scu(
    port: int,
    *,
    title: str = "SCU",
    extended: bytes = b"",
    syntaxes: Iterable[str] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
) -> Iterator[Scu]:
    entity = AE(title)
    for model in MODELS:
        entity.add_requested_context(model, list(syntaxes))
    items: list[Any] = []
    for model in MODELS if extended else ():
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = model
        item.service_class_application_information = extended
        items.append(item)
    association = entity.associate("127.0.0.1", port, ae_title=AE_TITLE, ext_neg=items)
    assert association.is_established
    try:
        yield Scu(association)
    finally:
        association.release()


class Qido:
    """The HTTP door over the archive of a DIMSE door."""

    def __init__(self, archive: Served) -> None:
        self._archive = archive
        self._router = Router(routes=endpoints.routes())
        self._service = Service(
            archive.archive,
            archive.door.orders,
            EventChannels(archive.archive.index),
            ChangeFeed(archive.archive.index),
            root=endpoints.ROOT,
            max_results=10_000,
        )

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router({**scope, "state": {"service": self._service}}, receive, send)

    def search(self, path: str, *params: tuple[str, str]) -> list[Json]:
        return self._archive.wait(self._search(path, params))

    async def _search(self, path: str, params: Iterable[tuple[str, str]]) -> list[Json]:
        transport = httpx2.ASGITransport(app=self._app)
        async with httpx2.AsyncClient(transport=transport) as client:
            response = await client.get(
                f"http://archive.test{endpoints.ROOT}/{path}",
                params=list(params),
                headers={"Accept": "application/dicom+json"},
            )
        assert response.status_code in (200, 204), response.text
        rows: list[Json] = response.json() if response.content else []
        return rows
