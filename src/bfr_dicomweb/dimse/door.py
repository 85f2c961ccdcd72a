"""What the handlers of the DIMSE door share, and how they declare themselves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from pynetdicom import evt
from pynetdicom.association import Association

from bfr_dicomweb.dimse.peers import Peer, Peers, Permission
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.orders import Orders

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Door:
    """
    Attributes:
        peers: Those that are configured now.
        loop: In which the services run.
        ae_title: Of this archive, when it calls.
    """

    archive: Archive
    orders: Orders
    peers: Callable[[], Peers]
    loop: asyncio.AbstractEventLoop
    ae_title: str

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of what a service does, from the thread of an association."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def peer_of(self, association: Association) -> Peer:
        """Who is calling; whoever is associated was known when it was accepted."""
        title = association.requestor.ae_title.strip()
        return self.peers().find(title) or Peer(title, may=frozenset())


@dataclass(frozen=True, slots=True)
class Service:
    """A row of the door: for messages of these SOP classes, who may send them and who answers.

    Attributes:
        event: The message, as pynetdicom names it.
        sop_classes: None is every storage SOP class, known or not.
        handler: Called in the thread of the association; gives what pynetdicom wants of a handler
            of `event`.
        permission: None needs none.
        transfer_syntaxes: None is the uncompressed ones.
        as_scu: This archive acts as SCU of the SOP class on associations that a peer opens, too
            (events of a service, C-STORE of C-GET).
    """

    name: str
    event: evt.InterventionEvent
    sop_classes: tuple[str, ...] | None
    handler: Callable[[evt.Event, Door], Any]
    permission: Permission | None = None
    transfer_syntaxes: tuple[str, ...] | None = None
    as_scu: bool = False
