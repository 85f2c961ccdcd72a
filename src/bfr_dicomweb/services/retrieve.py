"""Retrieve transaction (PS3.18 section 10.4), shared by WADO-RS, C-GET and C-MOVE."""

import asyncio
import mmap
import struct
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson
import zstandard

from bfr_dicomweb.dicom import frames, part10, pixels, rewriting, transfer_syntaxes
from bfr_dicomweb.dicom.encoding import BY_TRANSFER_SYNTAX
from bfr_dicomweb.dicom.transcoding import Conversion
from bfr_dicomweb.errors import Gone, NotFound, Unavailable, UndecodablePixelData
from bfr_dicomweb.index import instances, series, studies, tombstones
from bfr_dicomweb.index.instances import StoredInstance as StoredInstance
from bfr_dicomweb.index.series import StoredSeries
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.studies import StoredStudy
from bfr_dicomweb.refs import Level, Ref
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.content import Content, FileRange, Made, Piece, Streamed

# The marker of "the URL of this instance" as the documents hold it (see part10.MARKER).
STORED_MARKER: Final = b'"BulkDataURI":"\\u0000/'
# Metadata is put together this many instances at a time.
PAGE: Final = 200
# Spans up to this size are read whole; of larger ones first the item headers.
SMALL_SPAN: Final = 1 << 20
# Frames of one request that lie closer than this on average are looked up together.
SPARSE: Final = 8
# Files of so many frames at most are made out of frames that are kept and shared.
SHARED_FRAMES: Final = 4
MAX_INFLATED_BYTES: Final = 1 << 30
# Bytes that Explicit VR Big Endian turns round together, beside those of part10.BINARY.
NUMBER_BYTES: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8}
ITEM: Final = b"\xfe\xff\x00\xe0"


async def locate(archive: Archive, ref: Ref) -> StoredInstance:
    """Raises NotFound, Gone."""
    found = await archive.index.ask(partial(instances.locate, ref=ref))
    if found is None:
        raise await absence(archive, ref)
    return found


async def absence(archive: Archive, ref: Ref) -> NotFound:
    """Why nothing is there: it never was, or it has been deleted."""
    if await archive.index.ask(partial(tombstones.was_here, ref=ref)):
        return Gone(f"the {ref.level} has been deleted")
    return NotFound(f"no such {ref.level}")


async def list_instances(archive: Archive, ref: Ref) -> Sequence[StoredInstance]:
    """The instances at or below a resource, in the order of their series and numbers.

    Raises:
        NotFound: there are none.
        Gone: they have been deleted.
    """
    if ref.level is Level.INSTANCE:
        return [await locate(archive, ref)]
    found = await archive.index.ask(partial(instances.list_instances, ref=ref))
    if not found:
        raise await absence(archive, ref)
    return found


async def state_of(archive: Archive, ref: Ref) -> tuple[int, int]:
    """The latest change at or below a resource, and how many instances are there.

    Raises:
        NotFound: there are none.
        Gone: they have been deleted.
    """
    found = await archive.index.ask(partial(_state, ref=ref))
    if found is None:
        raise await absence(archive, ref)
    return found


async def _state(conn: Connection, *, ref: Ref) -> tuple[int, int] | None:
    if ref.sop_instance_uid is not None:
        instance = await instances.locate(conn, ref)
        return None if instance is None else (instance.change, 1)
    found: StoredSeries | StoredStudy | None
    if ref.series_instance_uid is not None:
        found = await series.find(conn, ref.study_instance_uid, ref.series_instance_uid)
    else:
        found = await studies.find(conn, ref.study_instance_uid)
    return None if found is None else (found.change, found.number_of_instances)


async def metadata_pages(archive: Archive, ref: Ref, base_uri: str) -> AsyncIterator[list[bytes]]:
    """The metadata of the instances at or below a resource, as DICOM JSON objects."""
    after: instances.Position | None = None
    while True:
        page, after = await archive.index.ask(
            partial(_metadata_page, ref=ref, base_uri=base_uri, after=after)
        )
        if page:
            yield page
        if after is None:
            return


async def _metadata_page(
    conn: Connection, *, ref: Ref, base_uri: str, after: instances.Position | None
) -> tuple[list[bytes], instances.Position | None]:
    page, next_after = await instances.document_page(conn, ref, after=after, limit=PAGE)
    return _metadata(page, ref, base_uri), next_after


def _metadata(page: Sequence[instances.Document], ref: Ref, base_uri: str) -> list[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    served = []
    for one in page:
        path = Ref(ref.study_instance_uid, one.series_instance_uid, one.sop_instance_uid).path
        located = f'"BulkDataURI":"{base_uri}{path}/'.encode()
        served.append(decompressor.decompress(one.document).replace(STORED_MARKER, located))
    return served


async def attributes(archive: Archive, stored: StoredInstance) -> dict[str, Any]:
    """The metadata of one instance, its BulkDataURIs still marked."""
    page, _ = await archive.index.ask(
        partial(instances.document_page, ref=stored.ref, after=None, limit=1)
    )
    if not page:
        raise NotFound("no such instance")
    document: dict[str, Any] = orjson.loads(
        zstandard.ZstdDecompressor().decompress(page[0].document)
    )
    return document


def as_stored(stored: StoredInstance) -> Content:
    return Content((FileRange(stored.blob_key, 0, stored.size_bytes),))


def can_be_decoded(stored: StoredInstance) -> bool:
    """Whether a codec for the pixel data is known; the data may still turn out to be broken."""
    return stored.frame_bits > 0 or transfer_syntaxes.lookup(stored.transfer_syntax_uid).decodable


async def descriptions(
    archive: Archive, ref: Ref, found: Sequence[StoredInstance]
) -> dict[str, pixels.PixelDescription]:
    """How the frames of the instances at or below a resource are stored, by SOP Instance UID.

    Those without pixel data, and those whose attributes do not describe it, are left out.
    """
    kept = archive.decoder.descriptions
    images = {stored.sop_instance_uid: stored for stored in found if stored.pixel_tag is not None}
    described = {
        uid: known
        for uid, stored in images.items()
        if (known := kept.find(stored.digest)) is not None
    }
    unknown = images.keys() - described.keys()
    after: instances.Position | None = None
    while unknown:
        page, after = await archive.index.ask(
            partial(instances.document_page, ref=ref, after=after, limit=PAGE)
        )
        wanted = [one for one in page if one.sop_instance_uid in unknown]
        new = await asyncio.to_thread(_descriptions, wanted, images)
        for uid, description in new.items():
            kept.keep(images[uid].digest, description)
        described |= new
        if after is None:
            break
    return described


def _descriptions(
    documents: Sequence[instances.Document], images: Mapping[str, StoredInstance]
) -> dict[str, pixels.PixelDescription]:
    decompressor = zstandard.ZstdDecompressor()
    described: dict[str, pixels.PixelDescription] = {}
    for one in documents:
        found = orjson.loads(decompressor.decompress(one.document))
        with suppress(UndecodablePixelData):
            described[one.sop_instance_uid] = _description(images[one.sop_instance_uid], found)
    return described


def _description(stored: StoredInstance, found: dict[str, Any]) -> pixels.PixelDescription:
    described = pixels.PixelDescription.from_attributes(found, stored.transfer_syntax_uid)
    return described.stored_in(stored.frame_bits) if stored.frame_bits else described


async def frame_contents(
    archive: Archive,
    stored: StoredInstance,
    frame_numbers: Sequence[int],
    *,
    transfer_syntax_uid: str | None = None,
) -> list[Content]:
    """The asked frames, one content each, in the asked order.

    Args:
        frame_numbers: 1-based.
        transfer_syntax_uid: Explicit VR Little Endian for native little-endian bytes, or one of
            `encoding`; None is as stored. Sizes of compressed frames but the first are
            known only when they are made.

    Raises:
        NotFound: no pixel data, or no such frame.
        UndecodablePixelData: the frames cannot be told apart or the first cannot be decoded.
        NotAcceptable: the transfer syntax cannot hold them.
    """
    if stored.pixel_tag is None:
        raise NotFound("the instance has no pixel data")
    for number in frame_numbers:
        if not 1 <= number <= stored.number_of_frames:
            raise NotFound(
                f"there is no frame {number}: the instance has {stored.number_of_frames}"
            )
    indices = [number - 1 for number in frame_numbers]
    encoded = transfer_syntax_uid in BY_TRANSFER_SYNTAX
    if stored.frame_bits:
        turn = stored.big_endian and transfer_syntax_uid is not None
        contents = await (_turned_frames if turn else _native_frames)(archive, stored, indices)
        is_ready = not encoded
    else:
        contents = await _encapsulated_frames(archive, stored, indices)
        is_ready = False
    if transfer_syntax_uid is None or is_ready:
        return contents
    return await _converted_frames(archive, stored, indices, contents, transfer_syntax_uid)


async def _native_frames(
    archive: Archive, stored: StoredInstance, indices: Sequence[int]
) -> list[Content]:
    inflated = await _inflated(archive, stored) if stored.deflated else None
    contents: list[Content] = []
    for index in indices:
        first_bit = index * stored.frame_bits
        start = stored.frame_offset + first_bit // 8
        stop = stored.frame_offset + (first_bit + stored.frame_bits + 7) // 8
        if inflated is not None:
            piece: Piece = inflated[start:stop]
        else:
            piece = FileRange(stored.blob_key, start, stop)
        if first_bit % 8 or stored.frame_bits % 8:
            piece = _aligned(archive, piece, first_bit % 8, stored.frame_bits)
        contents.append(Content((piece,)))
    return contents


def _aligned(archive: Archive, piece: Piece, first_bit: int, frame_bits: int) -> Piece:
    async def make() -> bytes:
        return pixels.packed_frame(await archive.reader.bytes_of(piece), first_bit, frame_bits)

    return Made((frame_bits + 7) // 8, make)


async def _turned_frames(
    archive: Archive, stored: StoredInstance, indices: Sequence[int]
) -> list[Content]:
    """Frames of Explicit VR Big Endian pixel data; two may share the bytes of a word."""
    word = await _swapped_unit(archive, stored)
    contents: list[Content] = []
    for index in indices:
        first_bit = index * stored.frame_bits
        start = first_bit // (8 * word) * word
        stop = -(-(first_bit + stored.frame_bits) // (8 * word)) * word
        words = FileRange(
            stored.blob_key,
            stored.frame_offset + start,
            min(stored.frame_offset + stop, stored.size_bytes),
        )
        turned = _turned(archive, words, word)
        if not contents:
            # what cannot be turned has to be known before the answer begins
            turned = await archive.reader.bytes_of(turned)
        contents.append(
            Content((_aligned(archive, turned, first_bit - 8 * start, stored.frame_bits),))
        )
    return contents


async def _swapped_unit(archive: Archive, stored: StoredInstance) -> int:
    described = pixels.PixelDescription.from_attributes(
        await attributes(archive, stored), stored.transfer_syntax_uid
    )
    return pixels.swapped_unit(described.vr, described.bits_allocated)


def _turned(archive: Archive, words: FileRange, unit: int) -> Piece:
    async def make() -> bytes:
        value = await archive.reader.read(words)
        return await asyncio.to_thread(pixels.little_endian, value, unit)

    return Made(words.size_bytes, make)


async def _encapsulated_frames(
    archive: Archive, stored: StoredInstance, indices: Sequence[int]
) -> list[Content]:
    spans = await _spans(archive, stored, indices)
    if len(spans) == 1:
        return [await _joined(archive, stored.blob_key, *spans[0])]
    return await asyncio.to_thread(
        lambda: [Content(_fragments(archive, stored.blob_key, *span)) for span in spans]
    )


async def _spans(
    archive: Archive, stored: StoredInstance, indices: Sequence[int]
) -> list[tuple[int, int]]:
    """Where the asked frames lie in the file; one look-up for neighbours."""
    taken = await archive.index.ask(partial(_packed_spans, stored=stored, indices=indices))
    if any(len(span) != 16 for span in taken):
        raise UndecodablePixelData("the frames of this instance cannot be told apart")
    return [struct.unpack("<QQ", span) for span in taken]


async def _packed_spans(
    conn: Connection, *, stored: StoredInstance, indices: Sequence[int]
) -> list[bytes]:
    first, last = min(indices), max(indices)
    if last - first >= SPARSE * len(indices):
        return [await instances.spans(conn, stored, index) for index in indices]
    packed = await instances.spans(conn, stored, first, last - first + 1)
    return [packed[(index - first) * 16 : (index - first + 1) * 16] for index in indices]


async def _joined(archive: Archive, blob_key: str, start: int, stop: int) -> Content:
    """Fragments without their item headers: read at once when small, else located first."""
    if stop - start <= SMALL_SPAN:
        span = await archive.reader.read(FileRange(blob_key, start, stop))
        return Content((frames.join_fragments(span),))
    return Content(await asyncio.to_thread(_fragments, archive, blob_key, start, stop))


def _fragments(archive: Archive, blob_key: str, start: int, stop: int) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    while start + 8 <= stop:
        item = archive.blobs.read(blob_key, start, start + 8)
        end = min(start + 8 + int.from_bytes(item[4:], "little"), stop)
        pieces.append(FileRange(blob_key, start + 8, end))
        start = end
    return tuple(pieces)


async def _converted_frames(
    archive: Archive,
    stored: StoredInstance,
    indices: Sequence[int],
    contents: Sequence[Content],
    transfer_syntax_uid: str,
) -> list[Content]:
    conversion = await _conversion(archive, stored, transfer_syntax_uid)
    conversion.require_encoder()
    size = None if conversion.encoder else conversion.description.frame_bytes
    made: list[Content] = []
    for index, content in zip(indices, contents, strict=True):
        make = partial(
            archive.decoder.frame,
            (stored.digest, index),
            partial(archive.reader.whole, content),
            conversion,
        )
        piece: Piece = Made(size, make)
        if not made:
            # what cannot be made has to be known before the answer begins
            piece = await make()
        made.append(Content((piece,)))
    return made


async def _conversion(
    archive: Archive, stored: StoredInstance, transfer_syntax_uid: str
) -> Conversion:
    """Of frames as `_native_frames`, `_turned_frames` and `_encapsulated_frames` give them."""
    described = archive.decoder.descriptions.find(stored.digest)
    if described is None:
        described = _description(stored, await attributes(archive, stored))
        archive.decoder.descriptions.keep(stored.digest, described)
    if stored.frame_bits:
        explicit = transfer_syntaxes.lookup(transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN)
        described = replace(described, transfer_syntax=explicit)
    if transfer_syntax_uid in BY_TRANSFER_SYNTAX:
        return Conversion(described, transfer_syntax_uid)
    # native frames lie as the metadata says, which goes with them
    return Conversion(described, transfer_syntax_uid, described.planar_configuration)


async def pixel_contents(
    archive: Archive, stored: StoredInstance, *, transfer_syntax_uid: str | None = None
) -> list[Content]:
    """All pixel data: one content when uncompressed, one a frame when not (PS3.18 8.7.3.3).

    Raises:
        NotFound: the instance has no pixel data.
        UndecodablePixelData, NotAcceptable: as `frame_contents`.
    """
    if stored.pixel_tag is None:
        raise NotFound("the instance has no pixel data")
    encoded = transfer_syntax_uid in BY_TRANSFER_SYNTAX
    if stored.frame_bits and not encoded:
        values = {value.path: value for value in await bulk_values(archive, stored)}
        return [await bulk_content(archive, stored, values[stored.pixel_tag])]
    numbers = range(1, stored.number_of_frames + 1)
    contents = await frame_contents(
        archive, stored, numbers, transfer_syntax_uid=transfer_syntax_uid
    )
    if transfer_syntax_uid is None or encoded:
        return contents
    return [Content(tuple(piece for content in contents for piece in content.pieces))]


async def bulk_values(archive: Archive, stored: StoredInstance) -> tuple[part10.BulkValue, ...]:
    """Every value of the instance that its metadata refers to by a BulkDataURI."""
    table = await archive.index.ask(partial(instances.bulk_table, key=stored.key))
    return part10.bulk_from_bytes(table) if table else ()


async def bulk_content(
    archive: Archive, stored: StoredInstance, value: part10.BulkValue
) -> Content:
    """One bulk value other than encapsulated pixel data, as little-endian bytes."""
    stop = value.offset + value.length
    if stored.deflated:
        inflated = await _inflated(archive, stored)
        return Content((inflated[value.offset : stop],))
    stored_range = FileRange(stored.blob_key, value.offset, stop)
    if "/" in value.path and value.path.endswith(frames.PIXEL_DATA):
        return await _nested_pixel_data(archive, stored_range, value)
    unit = part10.BINARY.get(value.vr, NUMBER_BYTES.get(value.vr, 1))
    if stored.big_endian and value.path == stored.pixel_tag:
        unit = await _swapped_unit(archive, stored)
    if not stored.big_endian or unit == 1:
        return Content((stored_range,))
    return Content((_turned(archive, stored_range, unit),))


async def _nested_pixel_data(
    archive: Archive, stored_range: FileRange, value: part10.BulkValue
) -> Content:
    """Pixel data inside a sequence (an icon): without items where it is encapsulated."""
    if value.length < 8:
        return Content((stored_range,))
    head = await archive.reader.read(
        FileRange(stored_range.blob_key, value.offset, value.offset + 8)
    )
    if head[:4] != ITEM:
        return Content((stored_range,))
    first = value.offset + 8 + int.from_bytes(head[4:], "little")
    return await _joined(archive, stored_range.blob_key, first, stored_range.stop)


async def _inflated(archive: Archive, stored: StoredInstance) -> bytes:
    whole = await archive.reader.read(
        FileRange(stored.blob_key, stored.dataset_offset, stored.size_bytes)
    )
    return await asyncio.to_thread(_inflate, whole)


def _inflate(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise Unavailable("the inflated data set exceeds the limit")
    return inflated


async def as_file(
    archive: Archive,
    stored: StoredInstance,
    *,
    transfer_syntax_uid: str = transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN,
    whole_answer: bool,
) -> Content:
    """The instance as a PS3.10 file in another transfer syntax than it is stored in.

    Args:
        whole_answer: It is all that is sent: what cannot be made is found out now, and
            its size is known if it can be. One of many is made when its turn comes.

    Raises:
        UndecodablePixelData: the pixel data cannot be decoded.
        NotAcceptable: that transfer syntax cannot hold it.
    """
    make = partial(rewritten, archive, stored, transfer_syntax_uid=transfer_syntax_uid)
    if not whole_answer:
        return Content((Streamed(None, lambda: make().chunks),))
    made = await asyncio.to_thread(make)
    return Content((Streamed(made.size_bytes, lambda: made.chunks),))


def rewritten(
    archive: Archive,
    stored: StoredInstance,
    *,
    transfer_syntax_uid: str = transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN,
    as_file: bool = True,
) -> rewriting.Rewritten:
    """As `rewriting.rewrite`; for threads.

    Raises:
        UndecodablePixelData: the first frame cannot be decoded.
        NotAcceptable: the data set cannot be said in that transfer syntax.
        Unavailable: the stored file cannot be read.
    """
    # few frames are kept for the next who asks; many would only drive out what others ask for
    key = stored.digest if stored.number_of_frames <= SHARED_FRAMES else None
    try:
        with archive.blobs.path(stored.blob_key).open("rb") as file:
            # kept alive by the iterator that reads it
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except OSError as error:
        raise Unavailable(f"a stored file cannot be read: {error.strerror}") from error
    return rewriting.rewrite(
        mapped,
        part10.read_header(mapped),
        transfer_syntax_uid=transfer_syntax_uid,
        as_file=as_file,
        convert=partial(archive.decoder.convert, key=key),
    )
