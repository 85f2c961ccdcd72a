"""Objects sent by C-STORE as they lie in their files, with nothing decoded or mended on the way."""

import io
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import filereader
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from dimse_served import AE_TITLE

CALLING = "MODALITY"
MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Sendable:
    """A data set, and what the request says of it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


def sendable(source: Path | bytes) -> Sendable:
    """Of a PS3.10 file. Raises Exception: it has no usable File Meta Information."""
    file = source if isinstance(source, bytes) else source.read_bytes()
    opened = io.BytesIO(file)
    opened.seek(132)
    meta = filereader._read_file_meta_info(opened)
    return Sendable(
        str(meta.MediaStorageSOPClassUID),
        str(meta.MediaStorageSOPInstanceUID),
        str(meta.TransferSyntaxUID),
        file[data_set_offset(file) :],
    )


def data_set_offset(file: bytes) -> int:
    """Behind group 0002, whose length stands in its first element (PS3.10 Table 7.1-1)."""
    tag, length = struct.unpack_from("<L", file, 132)[0], struct.unpack_from("<L", file, 140)[0]
    if tag != 0x00000002:
        raise ValueError("no File Meta Information Group Length")
    return 144 + int(length)


class Sender:
    """Sends on as few associations as it takes, opened when they are needed."""

    def __init__(self, port: int, objects: Iterable[Sendable]) -> None:
        self._port = port
        firsts = {(one.sop_class_uid, one.transfer_syntax_uid): one for one in objects}
        together = list(firsts.values())
        self._groups = [
            together[at : at + MOST_CONTEXTS] for at in range(0, len(together), MOST_CONTEXTS)
        ]
        self._opened: list[Association | None] = [None] * len(self._groups)

    def store(self, one: Sendable) -> C_STORE | None:
        """The response; None when the object is of no class that the archive stores."""
        for place, group in enumerate(self._groups):
            if any(named(one) == named(other) for other in group):
                association = self._open(place)
                return c_store(association, one) if context_of(association, one) else None
        raise RuntimeError("not announced")

    def _open(self, place: int) -> Association:
        association = self._opened[place]
        if association is None or not association.is_established:
            association = open_association(self._port, self._groups[place])
            self._opened[place] = association
        return association

    def close(self) -> None:
        for association in self._opened:
            if association is not None and association.is_established:
                association.release()


def named(one: Sendable) -> tuple[str, str]:
    return one.sop_class_uid, one.transfer_syntax_uid


def open_association(
    port: int, objects: Sequence[Sendable], *, calling: str = CALLING, called: str = AE_TITLE
) -> Association:
    entity = AE(calling)
    contexts = [
        build_context(UID(sop_class, validation_mode=0), UID(syntax, validation_mode=0))
        for sop_class, syntax in dict.fromkeys(map(named, objects))
    ]
    association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    if not association.is_established:
        raise RuntimeError("the association was not accepted")
    return association


@contextmanager
def associated(
    port: int, objects: Sequence[Sendable], *, calling: str = CALLING, called: str = AE_TITLE
) -> Iterator[Association]:
    association = open_association(port, objects, calling=calling, called=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def context_of(association: Association, one: Sendable) -> int:
    """0 when none was accepted for the object."""
    for context in association.accepted_contexts:
        if (context.abstract_syntax, context.transfer_syntax[0]) == named(one):
            return context.context_id or 0
    return 0


def request(one: Sendable, *, message_id: int = 1) -> C_STORE:
    made = C_STORE()
    made.MessageID = message_id
    # around the checks of pynetdicom: some files have UIDs that are none
    made._affected_sop_class_uid = UID(one.sop_class_uid, validation_mode=0)
    made._affected_sop_instance_uid = UID(one.sop_instance_uid, validation_mode=0)
    made.Priority = 0
    made.DataSet = io.BytesIO(one.data_set)
    return made


def c_store(association: Association, one: Sendable) -> C_STORE:
    """The response to the object, byte for byte as given."""
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    try:
        association.dimse.send_msg(request(one), context_of(association, one))
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    if not isinstance(response, C_STORE):
        raise RuntimeError("no response to the C-STORE request")  # noqa: TRY004
    return response


def store(port: int, one: Sendable, *, calling: str = CALLING) -> C_STORE:
    """The response, on an association for it alone."""
    with associated(port, [one], calling=calling) as association:
        return c_store(association, one)


def send_part(
    association: Association, one: Sendable, parts: Iterable[bytes], *, is_last: bool
) -> None:
    """The request of an object and a data set in parts, each of them a PDU.

    Args:
        is_last: Whether the last part ends the data set; without, the object is not all there.
    """
    context_id = context_of(association, one)
    # else its thread takes the response away
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request(Sendable(*named_fully(one), b"")), context_id)
    connection = association.dul.socket
    if connection is None or connection.socket is None:
        raise RuntimeError("the association is over")
    while association.dul.to_provider_queue.qsize():
        time.sleep(0.001)
    time.sleep(0.05)
    waiting: bytes | None = None
    for part in parts:
        if waiting is not None:
            connection.socket.sendall(p_data(context_id, waiting, is_last=False))
        waiting = part
    if waiting is not None:
        connection.socket.sendall(p_data(context_id, waiting, is_last=is_last))


def named_fully(one: Sendable) -> tuple[str, str, str]:
    return one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid


def p_data(context_id: int, part: bytes, *, is_last: bool) -> bytes:
    value = struct.pack(">LBB", len(part) + 2, context_id, 2 * is_last) + part
    return struct.pack(">BxL", 4, len(value)) + value
