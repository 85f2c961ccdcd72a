"""Rendered representations (PS3.18 section 8.7.4), made in processes of their own.

What is shown, and how, is knowledge of `bfr_dicomweb.rendering`. Here it is given what the
archive holds, each result is made once for all who ask for it, and kept for a while. The
processes are others than those that decode frames, which a slow picture must not delay.
"""

import hashlib
import os
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import orjson

from bfr_dicomweb.blobs.filesystem import FileBlobStore
from bfr_dicomweb.dicom.frames import Frames
from bfr_dicomweb.dicom.stored_objects import Layout
from bfr_dicomweb.errors import ArchiveError, NotFound, TooLarge, UndecodablePixelData
from bfr_dicomweb.index import instances
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.instances import StoredInstance
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.rendering import cine, work
from bfr_dicomweb.rendering.icons import Icon, icon_of
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.thumbnails import MAX_TILES
from bfr_dicomweb.rendering.work import VolumeRequest
from bfr_dicomweb.services.work_processes import Call, Made, WorkProcesses

PROCESSES: Final = max(2, (os.cpu_count() or 2) - 1)
# A long film, a large volume; beyond it is given up.
RENDER_SECONDS: Final = 120.0
CACHE_BYTES: Final = 64 << 20
# Images that one object is shown through; those behind are left out, and said to be.
MAX_REFERENCED: Final = 2000
# Single-frame slices of one target.
MAX_VOLUME_INSTANCES: Final = 4096

# Of entity tags: the bytes of a picture depend on what makes them.
_MAKERS: Final = ("bfr-dicomweb", "pillow", *(("av",) if cine.is_installed() else ()))
RENDERERS: Final = "|".join(f"{name} {version(name)}" for name in _MAKERS)


class Renderer:
    """
    Args:
        max_frame_bytes: Frames that are larger decoded are refused.
        cache_bytes: Results kept for the next who asks.
    """

    def __init__(
        self,
        index: Index,
        blobs: FileBlobStore,
        *,
        max_frame_bytes: int,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._max_frame_bytes = max_frame_bytes
        self._work = WorkProcesses(
            processes=PROCESSES, seconds=RENDER_SECONDS, cache_bytes=cache_bytes, failed=_failed
        )
        # one process, which keeps the volumes that it was asked for last
        self._volumes = WorkProcesses(
            processes=1, seconds=RENDER_SECONDS, cache_bytes=cache_bytes, failed=_failed
        )

    def close(self) -> None:
        self._work.close()
        self._volumes.close()

    async def layout(self, stored: StoredInstance, frames: int | None = None) -> Layout:
        """
        Args:
            frames: How many of its first frames are needed; None: all.

        Raises:
            NotFound: it has been deleted meanwhile.
        """
        count = stored.number_of_frames if frames is None else frames
        found = await self._index.ask(partial(instances.contents, stored=stored, frames=count))
        if found is None:
            raise NotFound("no such instance")
        table = None
        if stored.pixel_tag is not None:
            table = Frames(
                stored.pixel_tag,
                stored.number_of_frames,
                stored.frame_offset,
                stored.frame_bits,
                found.spans,
            )
        return Layout(
            self._blobs.path(stored.blob_key),
            stored.transfer_syntax_uid,
            stored.big_endian,
            stored.deflated,
            stored.dataset_offset,
            found.document,
            found.bulk,
            table,
        )

    async def frame(
        self, stored: StoredInstance, number: int, media_type: str, rendering: Rendering
    ) -> bytes:
        """One frame as an encoded picture; counted from 1.

        Raises:
            NotFound: there is no such frame.
            UndecodablePixelData: it cannot be decoded, or is too large.
            InvalidQuery: it cannot be shown in the way that is asked for.
        """
        require_frames(stored, [number])

        async def call() -> Call:
            layout = await self.layout(stored, number)
            return work.render_frame, (
                layout,
                number - 1,
                media_type,
                rendering,
                self._max_frame_bytes,
            )

        return _one(await self._result([stored], ("frame", number, media_type, rendering), call))

    async def thumbnail(
        self, stored: StoredInstance, number: int | None, media_type: str, size: Viewport | None
    ) -> bytes:
        """One frame of an image in small, or an icon for what is none.

        Args:
            number: Of the frame, from 1; None: one that stands for all.

        Raises:
            NotFound: it has been deleted meanwhile.
        """
        icon = icon_of(
            stored.sop_class_uid,
            stored.transfer_syntax_uid,
            has_pixel_data=stored.pixel_tag is not None,
        )
        if icon not in (None, Icon.VIDEO):
            return await self._icon(icon, media_type, size)
        needed = number or stored.number_of_frames
        if number is None and needed > MAX_TILES:
            needed = (needed + 1) // 2

        async def call() -> Call:
            layout = await self.layout(stored, needed)
            if icon is Icon.VIDEO:
                return work.render_video_thumbnail, (layout, media_type, size)
            return work.render_thumbnail, (
                layout,
                None if number is None else number - 1,
                media_type,
                size,
                self._max_frame_bytes,
            )

        try:
            made = await self._result([stored], ("thumbnail", number, media_type, size), call)
        except UndecodablePixelData:  # the decoder crashed, or hung
            return await self._icon(Icon.PICTURE, media_type, size)
        return _one(made)

    async def _icon(self, icon: Icon, media_type: str, size: Viewport | None) -> bytes:
        async def call() -> Call:
            return work.render_icon, (icon, media_type, size)

        return _one(await self._result([], ("icon", icon, media_type, size), call))

    async def animation(
        self,
        stored: StoredInstance,
        numbers: tuple[int, ...],
        media_type: str,
        rendering: Rendering,
    ) -> bytes:
        """Frames as one moving picture; counted from 1.

        Raises:
            UndecodablePixelData, InvalidQuery, NotFound: as `frame`.
            NotAcceptable: they are too many for one.
        """
        require_frames(stored, numbers)

        async def call() -> Call:
            return work.render_animation, (
                await self.layout(stored, max(numbers)),
                tuple(number - 1 for number in numbers),
                media_type,
                rendering,
                self._max_frame_bytes,
            )

        what = ("animation", numbers, media_type, rendering)
        return _one(await self._result([stored], what, call))

    async def video(self, stored: StoredInstance, media_type: str, rendering: Rendering) -> bytes:
        """A stored video in another form than it has.

        Raises:
            NotAcceptable: that cannot be made here, or it is too large for it.
            UndecodablePixelData: it cannot be read.
        """

        async def call() -> Call:
            return work.render_video, (await self.layout(stored), media_type, rendering)

        return _one(await self._result([stored], ("video", media_type, rendering), call))

    async def video_frame(
        self,
        stored: StoredInstance,
        number: int,
        count: int,
        media_type: str,
        rendering: Rendering,
    ) -> bytes:
        """One frame of so many of a stored video as an encoded picture; counted from 1.

        Raises:
            NotFound: there is no such frame.
            NotAcceptable, UndecodablePixelData: as `video`.
        """

        async def call() -> Call:
            layout = await self.layout(stored)
            return work.render_video_frame, (layout, number - 1, count, media_type, rendering)

        what = ("video frame", number, media_type, rendering)
        return _one(await self._result([stored], what, call))

    async def document(
        self, stored: StoredInstance, media_type: str, charset: str, url: str
    ) -> bytes:
        """A report, an encapsulated document or a waveform in one of its media types.

        Args:
            url: Of the instance, where the document refers to parts of it.

        Raises:
            NotAcceptable: it cannot be said so, or not in this character set.
        """

        async def call() -> Call:
            return work.render_document, (await self.layout(stored, 0), media_type, charset, url)

        return _one(await self._result([stored], ("document", media_type, charset, url), call))

    async def showing(
        self, stored: StoredInstance, presentation: StoredInstance | None = None
    ) -> "Showing":
        """What an object shows that is shown through others, as far as the archive has them.

        Args:
            stored: Such an object; or the image to show, with `presentation`.
            presentation: A presentation state, of which what it says of the image is wanted.

        Raises:
            NotFound: nothing of what it refers to is here.
        """
        referring = stored if presentation is None else presentation
        layout = await self.layout(referring)

        async def references() -> Call:
            return work.list_references, (layout,)

        named: list[list[Any]] = orjson.loads(
            _one(await self._result([referring], "references", references))
        )
        images = [stored] if presentation is not None else await self._images(referring, named)
        layouts = tuple([await self.layout(image) for image in images])

        async def targets() -> Call:
            return work.list_targets, (layout, layouts)

        found: dict[str, Any] = orjson.loads(
            _one(await self._result([referring, *images], "targets", targets))
        )
        listed = tuple(
            Target(uid, number, tuple(own), index)
            for index, (uid, number, own) in enumerate(found["targets"])
        )
        if not listed:
            raise NotFound("what the instance shows is not stored here")
        return Showing(referring, tuple(images), layouts, layout, listed, found["left_out"])

    async def _images(
        self, referring: StoredInstance, named: Sequence[Sequence[Any]]
    ) -> list[StoredInstance]:
        uids = list(dict.fromkeys(uid for uid, _, _ in named if uid))
        found = {
            one.sop_instance_uid: one
            for one in await self._index.ask(partial(instances.by_uids, sop_instance_uids=uids))
        }
        images = [found[uid] for uid in uids if uid in found]
        for uid, series, study in dict.fromkeys(map(tuple, named)):
            if uid or not series:
                continue
            ref = Ref(study or referring.study_instance_uid, series)
            images += await self._index.ask(partial(instances.list_instances, ref=ref))
        unique = {one.sop_instance_uid: one for one in images}
        return list(unique.values())[:MAX_REFERENCED]

    async def target(
        self, showing: "Showing", target: "Target", media_type: str, rendering: Rendering
    ) -> bytes:
        """One of the pictures that an object is shown as.

        Raises:
            UndecodablePixelData: a frame of it cannot be decoded.
        """

        async def call() -> Call:
            return work.render_target, (
                showing.layout,
                showing.layouts,
                target.index,
                media_type,
                rendering,
            )

        what = ("target", target.index, media_type, rendering)
        return _one(await self._result([showing.referring, *showing.images], what, call))

    async def volume(
        self,
        found: Sequence[StoredInstance],
        frame_numbers: Sequence[int] | None,
        asked: VolumeRequest,
        presentation: StoredInstance | None = None,
    ) -> tuple[bytes, ...]:
        """A picture, or pictures, of the volume that instances make, behind what they show.

        Args:
            found: All of the target.
            frame_numbers: From 1, of the only instance; None: all.
            presentation: The volumetric presentation state that is the target, whose images are
                looked for; `found` is not.

        Returns:
            The Rendered Volume Response Module (PS3.18 Annex K) as DICOM JSON, then the pictures.

        Raises:
            NoVolume, InvalidQuery: they make none, or none that is meant.
            NotFound: images of the presentation state are not here.
            TooLarge: it is.
            NotAcceptable: volumes are not shown here.
        """
        images = [one for one in found if one.pixel_tag is not None]
        if presentation is not None:
            images = await self._presented(presentation)
        if len(images) > MAX_VOLUME_INSTANCES:
            raise TooLarge(f"a volume is made of at most {MAX_VOLUME_INSTANCES} instances")
        on = images if presentation is None else [presentation, *images]
        key = hashlib.blake2b(digest_size=16)
        for stored in on:
            key.update(stored.digest + stored.change.to_bytes(8, "big"))
        key.update(repr((frame_numbers, asked.parameters.selection)).encode())
        kept = (key.digest(), asked)

        async def known() -> Call:
            return work.render_known_volume, (key.digest(), asked)

        async def unknown() -> Call:
            layouts = tuple([await self.layout(stored) for stored in images])
            state = None if presentation is None else await self.layout(presentation)
            return work.render_volume, (key.digest(), layouts, frame_numbers, state, asked)

        made = await self._volumes.result(("known", *kept), known)
        if made == work.NOT_KNOWN:
            # the process that has it, if one has, needs no description of its slices
            made = await self._volumes.result(kept, unknown)
        return made if isinstance(made, tuple) else (made,)

    async def _presented(self, presentation: StoredInstance) -> list[StoredInstance]:
        layout = await self.layout(presentation)

        async def references() -> Call:
            return work.list_volume_references, (layout,)

        uids: list[str] = orjson.loads(
            _one(await self._result([presentation], "volume references", references))
        )
        found = {
            one.sop_instance_uid: one
            for one in await self._index.ask(partial(instances.by_uids, sop_instance_uids=uids))
        }
        return [found[uid] for uid in uids if uid in found]

    async def _result(
        self, on: Sequence[StoredInstance], what: Hashable, call: Callable[[], Awaitable[Call]]
    ) -> Made:
        """Shared by all who want the same of the same instances, as they are now."""
        key = (*((stored.key, stored.change, stored.digest) for stored in on), what)
        return await self._work.result(key, call)


@dataclass(frozen=True, slots=True)
class Target:
    """One picture of a `Showing`: the image under it, its frame, and frames of the object itself;
    both counted from 1.
    """

    sop_instance_uid: str
    frame_number: int
    own_frames: tuple[int, ...]
    index: int


@dataclass(frozen=True, slots=True)
class Showing:
    """An object with the images of the archive that it is shown through.

    Attributes:
        left_out: What is referenced and cannot be shown, in words.
    """

    referring: StoredInstance
    images: tuple[StoredInstance, ...]
    layouts: tuple[Layout, ...]
    layout: Layout
    targets: tuple[Target, ...]
    left_out: list[str]


def require_frames(stored: StoredInstance, numbers: Sequence[int]) -> None:
    """
    Raises:
        NotFound: one of these frames is not there; counted from 1.
    """
    if stored.pixel_tag is None:
        raise NotFound("the instance has no pixel data")
    for number in numbers:
        if not 1 <= number <= stored.number_of_frames:
            raise NotFound(
                f"there is no frame {number}: the instance has {stored.number_of_frames}"
            )


def _one(made: Made) -> bytes:
    return made if isinstance(made, bytes) else made[0]


def _failed(hung: bool | None) -> ArchiveError:
    if hung is None:
        return UndecodablePixelData("the renderer ended before this was made; ask again")
    return UndecodablePixelData(f"the renderer {'took too long for' if hung else 'crashed on'} it")
