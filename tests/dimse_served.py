"""The DIMSE door over an archive of its own, in this process, on a free loopback port."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bfr_dicomweb import following
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.dimse import scp
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.listening import Limits, Server
from bfr_dicomweb.dimse.peers import ANY, Peer, Peers
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.orders import Orders
from live import free_port

T = TypeVar("T")
AE_TITLE = "BFR"


@dataclass(frozen=True, slots=True)
class Served:
    port: int
    door: Door
    server: Server

    @property
    def archive(self) -> Archive:
        return self.door.archive

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.door.wait(work)


@contextmanager
def served(
    folder: Path,
    *,
    peers: Iterable[Peer] = (Peer(ANY),),
    index_url: str | None = None,
    services: Sequence[Service] = scp.SERVICES,
    limits: Limits | None = None,
    ssl_context: ssl.SSLContext | None = None,
    reserve_bytes: int = 0,
) -> Iterator[Served]:
    """Everyone may do everything unless other `peers` are given."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="services", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    url = index_url or f"sqlite:///{folder / 'catalogue.sqlite'}"
    archive = wait(Archive.open(index_url=url, data=folder / "data", reserve_bytes=reserve_bytes))
    orders = Orders(archive.index, Journal(folder / "data"))
    following.configure(orders)
    wait(orders.open())
    known = Peers(peers)
    door = Door(archive, orders, lambda: known, loop, AE_TITLE)
    port = free_port()
    server = scp.start(
        door, "127.0.0.1", port, services=services, limits=limits, ssl_context=ssl_context
    )
    try:
        yield Served(port, door, server)
    finally:
        server.shutdown()
        wait(orders.close())
        wait(archive.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
