"""Is it alive, may it be asked, how is it doing."""

import os

import orjson
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicomweb.service import service_of
from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.services import indexing
from bfr_dicomweb.services.archive import Archive


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
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    found = generate_latest(registry) + await _indexing(service_of(request).archive)
    return Response(found, media_type=CONTENT_TYPE_LATEST)


async def _indexing(archive: Archive) -> bytes:
    """From the catalogue, so that it is the same whichever process is asked."""
    try:
        configured = await indexing.configured(archive.index)
    except ArchiveError:
        return b""  # the other figures tell more when the catalogue does not answer
    if not configured:
        return b""
    registry = CollectorRegistry()
    left = Gauge(
        "bfr_indexing_instances_left",
        "Stored instances that the index of an attribute does not cover yet",
        ["attribute"],
        registry=registry,
    )
    for one in configured:
        left.labels(one.attribute.name).set(one.left)
    return generate_latest(registry)


def _status(code: int, status: str) -> Response:
    body = orjson.dumps({"status": status})
    return Response(
        body, code, media_type="application/json", headers={"Cache-Control": "no-store"}
    )
