"""The parts of one archive, as every door is given them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.errors import Unavailable
from bfr_dicomweb.index import instances, kept_secrets
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.services.content import Reader
from bfr_dicomweb.services.decoding import CACHE_BYTES, Decoder
from bfr_dicomweb.services.rendering import CACHE_BYTES as RENDERED_BYTES
from bfr_dicomweb.services.rendering import Renderer
from bfr_dicomweb.services.store import Store


@dataclass(frozen=True, slots=True)
class Archive:
    index: Index
    blobs: FileBlobStore
    store: Store
    reader: Reader
    decoder: Decoder
    renderer: Renderer

    @classmethod
    async def open(
        cls,
        *,
        index_url: str,
        data: Path,
        reserve_bytes: int = 0,
        max_object_bytes: int | None = None,
        max_frame_bytes: int = 1 << 30,
        frame_cache_bytes: int = CACHE_BYTES,
        render_cache_bytes: int = RENDERED_BYTES,
    ) -> Self:
        """Open (and make, or bring up to date, what is missing) one archive.

        Raises:
            Unavailable: the database or the folder cannot be used.
        """
        await asyncio.to_thread(_make_folder, data)
        index = await Index.open(index_url)
        await index.migrate()
        blobs = FileBlobStore(data, reserve_bytes=reserve_bytes)
        store = Store(index, blobs, max_object_bytes=max_object_bytes)
        await store.open()
        decoder = Decoder(max_frame_bytes=max_frame_bytes, cache_bytes=frame_cache_bytes)
        renderer = Renderer(
            index, blobs, max_frame_bytes=max_frame_bytes, cache_bytes=render_cache_bytes
        )
        return cls(index, blobs, store, Reader(blobs), decoder, renderer)

    async def ping(self) -> None:
        """Raises Unavailable: the catalogue does not answer."""
        await self.index.ping()

    async def secret(self, name: str) -> bytes:
        """32 bytes that all processes of this archive share and nobody else knows."""
        return await kept_secrets.secret(self.index, name)

    async def is_empty(self) -> bool:
        return await self.count_instances() == 0

    async def count_instances(self) -> int:
        async with self.index.read() as conn:
            return await instances.count(conn)

    async def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        await self.store.close()
        self.reader.close()
        self.decoder.close()
        self.renderer.close()
        await self.index.close()


def _make_folder(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the data folder {data} cannot be used: {error.strerror}") from None
