"""What the handlers of the DIMSE door share, and how they declare themselves."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pynetdicom import evt
from pynetdicom.association import Association

from bfr_dicomweb import tls
from bfr_dicomweb.dimse.peers import Peer, Peers, Permission
from bfr_dicomweb.errors import Undelivered
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.orders import Orders

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What this archive shows to peers that it calls with TLS, and whom it then trusts.

    Attributes:
        certificate: PEM, with the intermediate certificates after it.
        key: PEM.
        ca: PEM; the authorities of this machine when None.
    """

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def context(self, peer: Peer) -> ssl.SSLContext | None:
        """To call a peer with; None when it is called without TLS.

        Raises:
            Undelivered: the files cannot be used.
        """
        if not peer.tls:
            return None
        try:
            return tls.client_context(peer.tls_ca or self.ca, self.certificate, self.key)
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            raise Undelivered(f"certificates for {peer.ae_title}: {reason}") from None


@dataclass(frozen=True, slots=True)
class Door:
    """
    Attributes:
        peers: Those that are configured now.
        loop: In which the services run.
        ae_title: Of this archive, when it is called and when it calls.
        credentials: Of this archive, when it calls.
    """

    archive: Archive
    orders: Orders
    peers: Callable[[], Peers]
    loop: asyncio.AbstractEventLoop
    ae_title: str
    credentials: Credentials = Credentials()

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
        as_scu: This archive is the SCU of the SOP class on an association that a peer opens, and
            not the SCP: of events of a service (N-EVENT-REPORT), of C-STORE within C-GET.
    """

    name: str
    event: evt.InterventionEvent
    sop_classes: tuple[str, ...] | None
    handler: Callable[[evt.Event, Door], Any]
    permission: Permission | None = None
    transfer_syntaxes: tuple[str, ...] | None = None
    as_scu: bool = False
