"""Composition: from settings to a running server."""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.routing import Router
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from bfr_dicomweb import logs
from bfr_dicomweb import settings as settings_module
from bfr_dicomweb.dicomweb import endpoints
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.http.border import Border
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.settings import Settings, SettingsError

KEEP_ALIVE_SECONDS: Final = 75
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


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


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application; with no settings given, those of the environment."""
    chosen = settings or settings_module.load()
    logs.configure(chosen.log_level)

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[dict[str, Service]]:
        archive = await open_archive(chosen)
        service = Service(
            archive,
            root=endpoints.ROOT,
            public_url=chosen.public_url,
            trust_forwarded=chosen.trust_forwarded,
            max_results=chosen.max_results,
            max_request_bytes=chosen.max_request_bytes,
            max_query_length=chosen.max_query_length,
        )
        _spare_the_collector()
        try:
            yield {"service": service}
        finally:
            await archive.close()

    # a router and not an application: errors are the border's alone to answer
    router = Router(
        routes=endpoints.routes(), default=_not_found, redirect_slashes=False, lifespan=lifespan
    )
    return Border(router, cors_origins=chosen.cors_origins)


def _spare_the_collector() -> None:
    """What is loaded by now stays; a header makes a thousand containers that die young."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


async def _not_found(*_: object) -> None:
    raise NotFound("there is no such resource")


def serve(settings: Settings) -> None:
    """Run until told to stop. Requests under way then get `shutdown_seconds` to finish."""
    host, port = settings.http_address
    settings_module.export(settings)
    config = uvicorn.Config(
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
    if settings.workers == 1:
        uvicorn.Server(config).run()
        return
    metrics = Path(tempfile.mkdtemp(prefix="bfr-metrics-"))
    os.environ[METRICS_FOLDER] = str(metrics)
    try:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)
