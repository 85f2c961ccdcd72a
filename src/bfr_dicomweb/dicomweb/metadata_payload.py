"""Payloads of metadata and bulk data in parts of their own (PS3.18 section 10.5.1.4)."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final
from urllib.parse import urljoin

from starlette.requests import Request

from bfr_dicomweb.dicom import json_model, native_model_reading
from bfr_dicomweb.dicom.media_types import (
    ALIASES,
    DICOM_JSON,
    DICOM_XML,
    JSON,
    OCTET_STREAM,
    MediaType,
)
from bfr_dicomweb.dicomweb.multipart import MultipartReader, PartBegin, PartData
from bfr_dicomweb.dicomweb.service import base_uri_of, service_of
from bfr_dicomweb.errors import ArchiveError, InvalidRequest, TooLarge
from bfr_dicomweb.services.instance_parts import InstanceParts, instance_parts
from bfr_dicomweb.services.store import Expected, StoreResult

METADATA: Final = frozenset({DICOM_JSON, DICOM_XML, JSON})


async def store_parts(
    request: Request,
    chunks: AsyncIterator[bytes],
    *,
    expected: Expected,
    root_type: str,
    boundary: str,
) -> list[StoreResult]:
    """Store the instances of a multipart payload.

    Raises:
        InvalidMultipart: It is malformed or cut off; nothing of it is stored then.
        InvalidRequest: It has no metadata, or its metadata is no DICOM JSON.
        TooLarge: It exceeds a limit.
    """
    service = service_of(request)
    async with instance_parts(
        service.archive, expected=expected, limits=service.part_limits
    ) as parts:
        payload = _Payload(parts, root_type, service.part_limits.metadata_bytes)
        reader = MultipartReader(boundary)
        async for chunk in chunks:
            for event in reader.feed(chunk):
                if isinstance(event, PartData):
                    await payload.take(event.data)
                elif isinstance(event, PartBegin):
                    payload.begin(event)
                else:
                    await payload.end()
        reader.close()
        payload.require_metadata()
        return await parts.store(partial(_resolved, base_uri_of(request) + "/"))


async def store_metadata(
    request: Request, chunks: AsyncIterator[bytes], *, expected: Expected, media_type: str
) -> list[StoreResult]:
    """Store the instances of a payload that is metadata alone, which needs no parts."""
    service = service_of(request)
    async with instance_parts(
        service.archive, expected=expected, limits=service.part_limits
    ) as parts:
        payload = _Payload(parts, media_type, service.part_limits.metadata_bytes)
        async for chunk in chunks:
            await payload.take(chunk)
        await payload.end()
        return await parts.store(str)


def _resolved(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference.strip())
    except ValueError:
        return reference


class _Payload:
    """Tells metadata from bulk data; what it begins with is metadata."""

    def __init__(self, parts: InstanceParts, root_type: str, max_metadata_bytes: int) -> None:
        self._parts = parts
        self._root_type = ALIASES.get(root_type, root_type)
        self._max_metadata_bytes = max_metadata_bytes
        self._metadata: list[bytes] | None = []
        self._metadata_bytes = 0
        self._found = 0
        self._begun = 0
        self._start = 0
        self._location = ""
        self._media_type = MediaType(OCTET_STREAM)

    def begin(self, part: PartBegin) -> None:
        self._begun += 1
        usual = self._root_type if self._begun == 1 else OCTET_STREAM
        try:
            self._media_type = MediaType.parse(part.headers.get("content-type", usual))
        except InvalidRequest:
            self._media_type = MediaType("")
        if ALIASES.get(self._media_type.name, self._media_type.name) == self._root_type:
            self._metadata = []
            return
        self._metadata = None
        self._location = part.headers.get("content-location", "").strip()
        self._start = self._parts.received_bytes

    async def take(self, data: bytes | memoryview) -> None:
        if self._metadata is None:
            await self._parts.write(data)
            return
        self._metadata_bytes += len(data)
        if self._metadata_bytes > self._max_metadata_bytes:
            raise TooLarge(
                f"a request may have at most {self._max_metadata_bytes} bytes of metadata"
            )
        self._metadata.append(bytes(data))

    async def end(self) -> None:
        if self._metadata is not None:
            encoded, self._metadata = b"".join(self._metadata), []
            for dataset in await asyncio.to_thread(_read, self._root_type, encoded):
                self._found += 1
                self._parts.add_metadata(dataset)
            return
        name = self._media_type.name
        self._parts.add_bulk(
            self._location,
            ALIASES.get(name, name),
            self._media_type.parameter("transfer-syntax") or "",
            start=self._start,
        )

    def require_metadata(self) -> None:
        if not self._found:
            raise InvalidRequest(f"the payload has no part of type {self._root_type}")


def _read(media_type: str, encoded: bytes) -> list[dict[str, Any] | ArchiveError]:
    """All data sets of a part of JSON; the one of a part of XML, or why it is none."""
    if media_type == DICOM_JSON:
        return [*json_model.read_items(encoded)]
    try:
        return [native_model_reading.read_native_model(encoded)]
    except (InvalidRequest, TooLarge) as error:
        return [error]
