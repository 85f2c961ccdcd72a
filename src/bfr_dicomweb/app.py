"""Composition: from settings to running doors."""

import asyncio
import gc
import multiprocessing
import os
import shutil
import signal
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from bfr_dicomweb import following, logs
from bfr_dicomweb import settings as settings_module
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
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.orders import Orders
from bfr_dicomweb.settings import Settings, SettingsError

KEEP_ALIVE_SECONDS: Final = 75
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
RESTART_AFTER_S: Final = 2.0
# Beside several HTTP workers: one process with all the other parts.
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


def require_usable_files(settings: Settings) -> None:
    """
    Raises:
        SettingsError: a file that the settings name cannot be used.
    """
    if settings.exchange is not None:
        read_exchange(settings.exchange)
    _tls(settings)


@asynccontextmanager
async def open_orders(settings: Settings) -> AsyncIterator[Orders]:
    """For commands that look at messages, beside a server or without one."""
    archive = await open_archive(settings)
    orders = Orders(archive.index)
    following.configure(orders)
    await orders.open()
    try:
        yield orders
    finally:
        await orders.close()
        await archive.close()


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
    async with AsyncExitStack() as stack:
        archive = await open_archive(settings)
        stack.push_async_callback(archive.close)
        orders = Orders(archive.index)
        following.configure(orders)
        await orders.open()
        stack.push_async_callback(orders.close)
        if settings.exchange is not None:
            await orders.put_exchange(read_exchange(settings.exchange))
        await orders.exchange()
        door = Door(orders, limits=Limits(message_bytes=settings.max_message_bytes))
        fhir = await fhir_sources.service(
            archive,
            reprocess=partial(rereading.reprocess, door, orders),
            dicomweb_url=(settings.public_url or f"http://{settings.http}") + endpoints.ROOT,
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
        return mllp.server_context(certificate, key, settings.mllp_client_ca)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise SettingsError(
            f"mllp_certificate, mllp_key, mllp_client_ca: cannot be used: {reason}"
        ) from None


@asynccontextmanager
async def _dispatching(parts: Parts) -> AsyncIterator[None]:
    base = (parts.settings.public_url or f"http://{parts.settings.http}") + fhir_service.ROOT
    subscriptions = Subscriptions(parts.fhir, public_url=base)
    dispatcher = Following(parts.archive, parts.orders, subscriptions)
    dispatcher.start()
    try:
        yield
    finally:
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
        async with _running(chosen, chosen.only) as parts:
            routes[:] = [
                *endpoints.routes(),
                Route("/hl7v2", http_post.receive_message, methods=["POST"]),
                *fhir_routes.routes(parts.fhir),
            ]
            _spare_the_collector()
            yield {"service": _service(parts), "hl7v2": parts.door}

    # a router and not an application: errors are the border's alone to answer
    router = Router(default=_not_found, redirect_slashes=False, lifespan=lifespan)
    router.routes = routes
    return Border(
        router,
        cors_origins=chosen.cors_origins,
        reporters={fhir_service.ROOT: outcomes.report},
    )


def _service(parts: Parts) -> Service:
    settings = parts.settings
    return Service(
        parts.archive,
        root=endpoints.ROOT,
        public_url=settings.public_url,
        trust_forwarded=settings.trust_forwarded,
        max_results=settings.max_results,
        max_request_bytes=settings.max_request_bytes,
        max_query_length=settings.max_query_length,
        viewer_url=settings.viewer_url,
    )


def _spare_the_collector() -> None:
    """What is loaded by now stays; a header makes a thousand containers that die young."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


async def _not_found(*_: object) -> None:
    raise NotFound("there is no such resource")


# --- processes -------------------------------------------------------------------------------


def serve(settings: Settings) -> None:
    """Run until told to stop. Requests under way then get `shutdown_seconds` to finish."""
    if settings.only in ("mllp", "dispatcher"):
        _run_beside_http(settings, settings.only)
        return
    if settings.workers == 1:
        settings_module.export(settings)
        uvicorn.Server(_config(settings)).run()
        return
    with _metrics_folder(), _background(settings):
        config = _config(settings)
        settings_module.export(settings.model_copy(update={"only": "http"}))
        Multiprocess(config, sockets=[config.bind_socket()]).run()


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
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with _running(settings, only):
        _spare_the_collector()
        await ended.wait()


def _run_beside_http(settings: Settings, only: str) -> None:
    # the same event loop as HTTP has
    with asyncio.Runner(loop_factory=_config(settings).get_loop_factory()) as runner:
        runner.run(_run(settings, only))


def _run_background(settings: Settings) -> None:
    _run_beside_http(settings, BACKGROUND)


@contextmanager
def _background(settings: Settings) -> Iterator[None]:
    """All parts but HTTP in a process of their own, which is started again when it dies."""
    if settings.only == "http":
        yield
        return
    context = multiprocessing.get_context("spawn")
    ending = threading.Event()
    process = context.Process(target=_run_background, args=(settings,), name="background")
    process.start()

    def mind() -> None:
        nonlocal process
        while not ending.is_set():
            process.join(1.0)
            if process.is_alive() or ending.is_set():
                continue
            log.error("background process ended", exit=process.exitcode)
            if ending.wait(RESTART_AFTER_S):
                return
            process = context.Process(target=_run_background, args=(settings,), name="background")
            process.start()

    minder = threading.Thread(target=mind, name="background-minder", daemon=True)
    minder.start()
    try:
        yield
    finally:
        ending.set()
        minder.join()
        process.terminate()
        process.join(settings.shutdown_seconds + RESTART_AFTER_S)
