"""Composition: from settings to running doors."""

import asyncio
import gc
import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from bfr_dicomweb import following, logs, processes, tls
from bfr_dicomweb import settings as settings_module
from bfr_dicomweb.blobs.journal import Journal
from bfr_dicomweb.dicomweb import endpoints
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.errors import ArchiveError, NotFound, Unavailable
from bfr_dicomweb.fhir import outcomes
from bfr_dicomweb.fhir import routes as fhir_routes
from bfr_dicomweb.fhir import service as fhir_service
from bfr_dicomweb.fhir import sources as fhir_sources
from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.fhir.subscriptions import Subscriptions
from bfr_dicomweb.following import Following
from bfr_dicomweb.hl7v2 import exchange as exchanges
from bfr_dicomweb.hl7v2 import http_post, mllp, rereading
from bfr_dicomweb.hl7v2.door import Door, handler
from bfr_dicomweb.hl7v2.message import Limits
from bfr_dicomweb.http.border import Border
from bfr_dicomweb.services import indexing, workitem_rules, worklist
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.change_feed import ChangeFeed
from bfr_dicomweb.services.event_channels import EventChannels
from bfr_dicomweb.services.instance_parts import PartLimits
from bfr_dicomweb.services.orders import Orders
from bfr_dicomweb.services.workitem_rules import Rule, WorkitemRules
from bfr_dicomweb.settings import Settings, SettingsError

if TYPE_CHECKING:
    # loaded where it is used: the other processes start faster without pynetdicom
    from bfr_dicomweb.dimse.delivery import Deliveries
    from bfr_dicomweb.dimse.door import Credentials
    from bfr_dicomweb.dimse.listening import Server
    from bfr_dicomweb.dimse.peers import Peers

KEEP_ALIVE_SECONDS: Final = 75
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
# A process has to be gone so long after what was under way in it had to be.
ENDED_AFTER_S: Final = 5.0
# Beside several HTTP workers: one process with all the other parts but DIMSE.
BACKGROUND: Final = "background"

log = structlog.get_logger("app")


async def open_archive(settings: Settings) -> Archive:
    try:
        return await Archive.open(
            index_url=settings.index_url,
            data=settings.data,
            reserve_bytes=settings.reserve_bytes,
            max_object_bytes=settings.max_object_bytes,
            max_frame_bytes=settings.max_frame_bytes,
            frame_cache_bytes=settings.frame_cache_bytes,
            render_cache_bytes=settings.render_cache_bytes,
        )
    except ValueError as error:
        raise SettingsError(f"database_url: {error}") from None


def read_exchange(file: Path) -> str:
    """The text of a configuration of senders and receivers that can be used.

    Raises:
        SettingsError: it cannot; says why.
    """
    try:
        text = file.read_text("utf-8")
        exchanges.parse(text)
    except (OSError, UnicodeDecodeError, ArchiveError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"exchange: {file}: {reason}") from None
    return text


def read_rules(file: Path) -> tuple[Rule, ...]:
    """
    Raises:
        SettingsError: they cannot be used; says why.
    """
    try:
        return workitem_rules.parse(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ArchiveError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"worklist_rules: {file}: {reason}") from None


def indexed_attributes(settings: Settings) -> indexing.File:
    """
    Raises:
        SettingsError: the file cannot be used; says why.
    """
    try:
        return indexing.File(settings.indexed_attributes)
    except ArchiveError as error:
        raise SettingsError(f"indexed_attributes: {error}") from None


def workitem_rules_of(settings: Settings, archive: Archive) -> WorkitemRules:
    return WorkitemRules(
        archive,
        () if settings.worklist_rules is None else read_rules(settings.worklist_rules),
        retrieve_url=(settings.public_url or f"http://{settings.http}") + endpoints.ROOT,
        ae_title=settings.dimse_ae_title,
    )


def require_usable_files(settings: Settings) -> None:
    """
    Raises:
        SettingsError: a file that the settings name cannot be used.
    """
    if settings.exchange is not None:
        read_exchange(settings.exchange)
    if settings.worklist_rules is not None:
        read_rules(settings.worklist_rules)
    indexed_attributes(settings)
    _tls(settings)
    if settings.dimse_addresses:
        known_peers(settings)
    _dimse_tls(settings)


@asynccontextmanager
async def open_orders(settings: Settings) -> AsyncIterator[Orders]:
    """For commands that look at messages, beside a server or without one."""
    async with _opened(settings) as (_, orders):
        yield orders


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Archive, Orders]]:
    async with AsyncExitStack() as stack:
        archive = await open_archive(settings)
        stack.push_async_callback(archive.close)
        orders = Orders(archive.index, Journal(settings.data))
        following.configure(orders)
        await orders.open()
        stack.push_async_callback(orders.close)
        yield archive, orders


@dataclass(frozen=True, slots=True)
class Parts:
    """What the doors of one process share."""

    settings: Settings
    archive: Archive
    orders: Orders
    door: Door
    fhir: Fhir


@asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[Parts]:
    async with _opened(settings) as (archive, orders):
        if settings.exchange is not None:
            await orders.put_exchange(read_exchange(settings.exchange))
        await orders.exchange()
        door = Door(orders, limits=Limits(message_bytes=settings.max_message_bytes))
        fhir = await fhir_sources.service(
            archive,
            reprocess=partial(rereading.reprocess, door, orders),
            dicomweb_url=(settings.public_url or f"http://{settings.http}") + endpoints.ROOT,
            ae_title=settings.dimse_ae_title,
            public_url=settings.public_url,
            trust_forwarded=settings.trust_forwarded,
            max_payload_bytes=settings.max_message_bytes,
            notified_hosts=settings.notified_hosts,
        )
        yield Parts(settings, archive, orders, door, fhir)


@asynccontextmanager
async def _listening(parts: Parts) -> AsyncIterator[None]:
    """The HL7 v2 door, where it is not switched off."""
    settings = parts.settings
    # those that came over HTTP too
    await rereading.recover(parts.door, parts.orders)
    if settings.mllp_address is None:
        yield
        return
    host, port = settings.mllp_address
    server = mllp.MllpServer(
        handler(parts.door),
        host,
        port,
        ssl_context=_tls(settings),
        limits=mllp.MllpLimits(message_bytes=settings.max_message_bytes),
    )
    try:
        await server.start()
    except OSError as error:
        raise Unavailable(f"mllp: cannot listen on {settings.mllp}: {error.strerror}") from None
    try:
        yield
    finally:
        await server.stop(settings.shutdown_seconds)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Of the HL7 v2 door, when it has a certificate.

    Raises:
        SettingsError: its files cannot be used.
    """
    certificate, key = settings.mllp_certificate, settings.mllp_key
    if certificate is None or key is None:
        return None
    try:
        return tls.server_context(certificate, key, settings.mllp_client_ca)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise SettingsError(
            f"mllp_certificate, mllp_key, mllp_client_ca: cannot be used: {reason}"
        ) from None


def deliveries(settings: Settings, archive: Archive) -> "Deliveries":
    """What goes to DIMSE peers from here; made in the event loop in which it goes."""
    from bfr_dicomweb.dimse.delivery import Deliveries

    return Deliveries(
        archive,
        peers=known_peers(settings),
        ae_title=settings.dimse_ae_title,
        credentials=dimse_credentials(settings),
    )


@asynccontextmanager
async def _dispatching(parts: Parts) -> AsyncIterator[None]:
    base = (parts.settings.public_url or f"http://{parts.settings.http}") + fhir_service.ROOT
    subscriptions = Subscriptions(parts.fhir, public_url=base)
    to_peers = deliveries(parts.settings, parts.archive)
    index = parts.archive.index
    indexer = indexing.Indexing(index, indexed_attributes(parts.settings))
    # before anything is stored, so that it need not be indexed afterwards
    await indexer.configure()
    dispatcher = Following(
        parts.archive,
        parts.orders,
        subscriptions,
        to_peers,
        workitem_rules_of(parts.settings, parts.archive),
        parts.settings.workitem_days,
        parts.settings.deleted_days,
        indexer,
    )
    dispatcher.start()
    await worklist.announce(index, worklist.RESTARTED)
    try:
        yield
    finally:
        with suppress(Unavailable):
            await worklist.announce(index, worklist.GOING_DOWN)
        await dispatcher.stop()


@asynccontextmanager
async def _running(settings: Settings, only: str | None) -> AsyncIterator[Parts]:
    """The parts of this process beside its HTTP door; all of them when `only` is None."""
    async with _parts(settings) as parts, AsyncExitStack() as stack:
        if only in (None, "mllp", BACKGROUND):
            await stack.enter_async_context(_listening(parts))
        if only in (None, "dispatcher", BACKGROUND):
            await stack.enter_async_context(_dispatching(parts))
        yield parts


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application; with no settings given, those of the environment."""
    chosen = settings or settings_module.load()
    logs.configure(chosen.log_level)
    routes: list[BaseRoute] = []

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[dict[str, Any]]:
        async with (
            _running(chosen, chosen.only) as parts,
            _event_channels(parts) as channels,
            _change_feed(parts) as feed,
        ):
            routes[:] = [
                *endpoints.routes(),
                Route("/hl7v2", http_post.receive_message, methods=["POST"]),
                *fhir_routes.routes(parts.fhir),
            ]
            _spare_the_collector()
            yield {"service": _service(parts, channels, feed), "hl7v2": parts.door}

    # a router and not an application: errors are the border's alone to answer
    router = Router(default=_not_found, redirect_slashes=False, lifespan=lifespan)
    router.routes = routes
    return Border(
        router,
        cors_origins=chosen.cors_origins,
        reporters={fhir_service.ROOT: outcomes.report},
    )


@asynccontextmanager
async def _event_channels(parts: Parts) -> AsyncIterator[EventChannels]:
    channels = EventChannels(parts.archive.index)
    await channels.start()
    try:
        yield channels
    finally:
        await channels.stop()


@asynccontextmanager
async def _change_feed(parts: Parts) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(parts.archive.index)
    try:
        yield feed
    finally:
        await feed.close()


def _service(parts: Parts, channels: EventChannels, feed: ChangeFeed) -> Service:
    settings = parts.settings
    return Service(
        parts.archive,
        parts.orders,
        channels,
        feed,
        root=endpoints.ROOT,
        public_url=settings.public_url,
        trust_forwarded=settings.trust_forwarded,
        max_results=settings.max_results,
        max_request_bytes=settings.max_request_bytes,
        part_limits=PartLimits(
            metadata_bytes=settings.max_metadata_bytes,
            bulk_bytes=settings.max_bulk_bytes,
            frame_bytes=settings.max_frame_bytes,
        ),
        max_query_length=settings.max_query_length,
        viewer_url=settings.viewer_url,
        allows_deletion=settings.allow_deletion,
    )


def _spare_the_collector() -> None:
    """What is loaded by now stays; a header makes a thousand containers that die young."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


async def _not_found(*_: object) -> None:
    raise NotFound("there is no such resource")


# --- DIMSE -----------------------------------------------------------------------------------


def known_peers(settings: Settings, *, anyone_here: bool = False) -> "Callable[[], Peers]":
    """
    Args:
        anyone_here: Where no peers are configured, whoever calls from this machine may do all.

    Raises:
        SettingsError: the file cannot be used; says why.
    """
    from bfr_dicomweb.dimse import peers

    if settings.peers is None:
        found = peers.anyone_on_loopback() if anyone_here else peers.Peers()
        return lambda: found
    strangers = settings.allow_unauthenticated or not settings.opens_dimse_to_strangers
    try:
        return peers.PeersFile(settings.peers, strangers=strangers)
    except ArchiveError as error:
        raise SettingsError(f"peers: {error}") from None


def dimse_credentials(settings: Settings) -> "Credentials":
    """What this archive shows to the peers that it calls."""
    from bfr_dicomweb.dimse.door import Credentials

    return Credentials(settings.dimse_certificate, settings.dimse_key, settings.dimse_ca)


def _dimse_tls(settings: Settings) -> ssl.SSLContext | None:
    """
    Raises:
        SettingsError: its files cannot be used.
    """
    certificate, key = settings.dimse_certificate, settings.dimse_key
    if certificate is None or key is None:
        return None
    try:
        return tls.server_context(certificate, key, settings.dimse_ca)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise SettingsError(
            f"dimse_certificate, dimse_key, dimse_ca: cannot be used: {reason}"
        ) from None


@asynccontextmanager
async def _associating(
    settings: Settings, archive: Archive, orders: Orders, *, anyone_here: bool
) -> AsyncIterator[None]:
    """The DIMSE door."""
    from bfr_dicomweb.dimse import door, listening, negotiation, scp

    entrance = door.Door(
        archive,
        orders,
        known_peers(settings, anyone_here=anyone_here),
        asyncio.get_running_loop(),
        settings.dimse_ae_title,
        dimse_credentials(settings),
    )
    limits = listening.Limits(
        associations=settings.dimse_max_associations,
        idle_seconds=settings.dimse_idle_seconds,
        pdu_bytes=settings.dimse_max_pdu_bytes,
    )
    contexts = {"dimse": None, "dimse_tls": _dimse_tls(settings)}
    seats = negotiation.Seats(limits.associations)
    servers: list[Server] = []
    try:
        for name, (host, port) in settings.dimse_addresses.items():
            try:
                server = scp.start(
                    entrance,
                    host,
                    port,
                    limits=limits,
                    seats=seats,
                    ssl_context=contexts[name],
                    shares_port=settings.dimse_workers > 1,
                )
            except OSError as error:
                reason = f"cannot listen on {host}:{port}: {error.strerror}"
                raise Unavailable(f"{name}: {reason}") from None
            servers.append(server)
            log.info("dimse listening", address=f"{host}:{port}", tls=contexts[name] is not None)
        yield
    finally:
        # what is under way needs this loop until it has ended
        stopping = (asyncio.to_thread(one.shutdown, settings.shutdown_seconds) for one in servers)
        await asyncio.gather(*stopping)


async def _serve_dimse(settings: Settings, *, anyone_here: bool) -> None:
    logs.configure(settings.log_level)
    ended = processes.ending()
    async with (
        _opened(settings) as (archive, orders),
        _associating(settings, archive, orders, anyone_here=anyone_here),
    ):
        _spare_the_collector()
        await ended.wait()


def _run_dimse(settings: Settings, *, anyone_here: bool) -> None:
    with asyncio.Runner(loop_factory=_config(settings).get_loop_factory()) as runner:
        runner.run(_serve_dimse(settings, anyone_here=anyone_here))


# --- processes -------------------------------------------------------------------------------


def serve(settings: Settings, *, anyone_here: bool = False) -> None:
    """Run until told to stop. Requests under way then get `shutdown_seconds` to finish.

    Args:
        anyone_here: Where no DIMSE peers are configured, whoever calls from this machine may do
            all.
    """
    if settings.only in ("mllp", "dispatcher"):
        _run_beside_http(settings, settings.only)
        return
    beside = _beside_http(settings, anyone_here=anyone_here)
    if settings.only == "dimse":
        _serve_dimse_alone(settings, beside)
        return
    if settings.workers == 1:
        settings_module.export(settings)
        with _children(settings, beside):
            uvicorn.Server(_config(settings)).run()
        return
    with _metrics_folder(), _children(settings, beside):
        config = _config(settings)
        settings_module.export(settings.model_copy(update={"only": "http"}))
        Multiprocess(config, sockets=[config.bind_socket()]).run()


def _beside_http(settings: Settings, *, anyone_here: bool) -> dict[str, Callable[[], None]]:
    """What runs in processes of its own, by name."""
    found: dict[str, Callable[[], None]] = {}
    if settings.only in (None, "dimse") and settings.dimse_addresses:
        run = partial(_run_dimse, settings, anyone_here=anyone_here)
        found |= {f"dimse-{number}": run for number in range(1, settings.dimse_workers + 1)}
    if settings.only is None and settings.workers > 1:
        found[BACKGROUND] = partial(_run_beside_http, settings, BACKGROUND)
    return found


def _children(
    settings: Settings, parts: Mapping[str, Callable[[], None]]
) -> AbstractContextManager[None]:
    return processes.children(
        parts,
        expected=(ArchiveError, SettingsError),
        end_seconds=settings.shutdown_seconds + ENDED_AFTER_S,
    )


def _serve_dimse_alone(settings: Settings, parts: Mapping[str, Callable[[], None]]) -> None:
    if not parts:
        raise SettingsError("only: dimse and dimse_tls are off")
    if len(parts) == 1:
        for run in parts.values():
            run()
        return
    with _children(settings, parts):
        signal.pause()


def _config(settings: Settings) -> uvicorn.Config:
    host, port = settings.http_address
    return uvicorn.Config(
        "bfr_dicomweb.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=settings.workers,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


@contextmanager
def _metrics_folder() -> Iterator[None]:
    metrics = Path(tempfile.mkdtemp(prefix="bfr-metrics-"))
    os.environ[METRICS_FOLDER] = str(metrics)
    try:
        yield
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


async def _run(settings: Settings, only: str) -> None:
    """The parts beside HTTP, until a signal ends them."""
    logs.configure(settings.log_level)
    ended = processes.ending()
    async with _running(settings, only):
        _spare_the_collector()
        await ended.wait()


def _run_beside_http(settings: Settings, only: str) -> None:
    # the same event loop as HTTP has
    with asyncio.Runner(loop_factory=_config(settings).get_loop_factory()) as runner:
        runner.run(_run(settings, only))
