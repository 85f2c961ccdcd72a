"""Is it alive, may it be asked, how is it doing."""

import os

import orjson
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicomweb.service import service_of
from bfr_dicomweb.errors import ArchiveError


async def live(request: Request) -> Response:
    del request
    return _status(200, "live")


async def ready(request: Request) -> Response:
    """Ready while the catalogue answers; a server that stops takes no connections at all."""
    try:
        await service_of(request).archive.ping()
    except ArchiveError as error:
        return _status(503, str(error))
    return _status(200, "ready")


async def metrics(request: Request) -> Response:
    del request
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _status(code: int, status: str) -> Response:
    body = orjson.dumps({"status": status})
    return Response(
        body, code, media_type="application/json", headers={"Cache-Control": "no-store"}
    )
