"""One stored object opened for reading: attributes, bulk values, and its frames as samples.

For work that needs the values themselves, such as rendering. It can be described without
being read (`Layout`), so that another process opens what the catalogue knows already.
"""

import mmap
import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from bfr_dicomweb.dicom import part10, pixels, transcoding
from bfr_dicomweb.dicom.frames import Frames, join_fragments
from bfr_dicomweb.dicom.part10 import MARKER, BulkValue
from bfr_dicomweb.dicom.pixels import MAX_FRAME_BYTES, PixelDescription
from bfr_dicomweb.dicom.rewriting import WORD_BYTES
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, Codec, lookup
from bfr_dicomweb.errors import NotFound, Unavailable, UndecodablePixelData

Attributes = Mapping[str, Any]
Samples = npt.NDArray[Any]

MAX_INFLATED_BYTES: Final = 512 << 20
_FLOAT: Final[dict[str, np.dtype[Any]]] = {"7FE00008": np.dtype("<f4"), "7FE00009": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a stored object lies and what is known of it; can be sent to another process.

    Attributes:
        document: Its attributes as DICOM JSON, compressed by Zstandard; BulkDataURIs start
            with `part10.MARKER`.
        bulk: `part10.bulk_to_bytes` of where these values lie.
        frames: None where there is no pixel data. Of encapsulated pixel data its spans may be
            those of the first frames only.
    """

    path: Path
    transfer_syntax_uid: str
    big_endian: bool
    deflated: bool
    dataset_offset: int
    document: bytes
    bulk: bytes
    frames: Frames | None

    def open(self) -> "StoredObject":
        """
        Raises:
            Unavailable: the file cannot be read.
        """
        source: mmap.mmap | bytes = _mapped(self.path)
        if self.deflated:
            source = _inflated(source, self.dataset_offset)
        return StoredObject(
            source,
            transfer_syntax_uid=self.transfer_syntax_uid,
            big_endian=self.big_endian,
            attributes=orjson.loads(zstandard.ZstdDecompressor().decompress(self.document)),
            bulk=part10.bulk_from_bytes(self.bulk) if self.bulk else (),
            frames=self.frames,
        )


class StoredObject:
    """An object whose values can be asked for; frames are counted from 0 here.

    Attributes:
        attributes: DICOM JSON (PS3.18 Annex F), BulkDataURIs marked as in `part10`.
        frames: None: no pixel data.
    """

    def __init__(
        self,
        source: mmap.mmap | bytes,
        *,
        transfer_syntax_uid: str,
        big_endian: bool,
        attributes: Attributes,
        bulk: Sequence[BulkValue],
        frames: Frames | None,
    ) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self.attributes = attributes
        self.frames = frames
        self._source = source
        self._big_endian = big_endian
        self._bulk = {value.path: value for value in bulk}

    @classmethod
    def read(cls, path: Path) -> "StoredObject":
        """Open a PS3.10 file that no catalogue knows.

        Raises:
            InvalidObject: it is none.
            Unavailable: it cannot be read.
        """
        source: mmap.mmap | bytes = _mapped(path)
        header = part10.read_header(source)
        if header.deflated:
            source = _inflated(source, header.dataset_offset)
        return cls(
            source,
            transfer_syntax_uid=header.transfer_syntax_uid,
            big_endian=header.big_endian,
            attributes=header.attributes,
            bulk=header.bulk,
            frames=header.frames,
        )

    @property
    def sop_class_uid(self) -> str:
        return str((self.attributes.get("00080016", {}).get("Value") or [""])[0])

    @property
    def number_of_frames(self) -> int:
        """0 without pixel data; the whole stream of a video is 1."""
        return 0 if self.frames is None else self.frames.number_of_frames

    def content(self, element: Mapping[str, Any]) -> bytes:
        """The bytes of a binary value, little endian, of an element of `attributes` or its items.

        b"" where it has none. Padding to an even length is not taken away.
        """
        inline = element.get("InlineBinary")
        if isinstance(inline, str):
            return b64decode(inline)
        uri = element.get("BulkDataURI")
        if not isinstance(uri, str) or not uri.startswith(MARKER):
            return b""
        return self.bulk_value(uri.removeprefix(MARKER))

    def bulk_value(self, path: str) -> bytes:
        """The value that a BulkDataURI of this path names, little endian; b"" if there is none."""
        value = self._bulk.get(path)
        if value is None:
            return b""
        stored = self._source[value.offset : value.offset + value.length]
        unit = WORD_BYTES.get(value.vr, 1) if self._big_endian else 1
        return pixels.little_endian(stored[: len(stored) // unit * unit], unit)

    def words(self, element: Mapping[str, Any]) -> npt.NDArray[np.uint16]:
        """A value of 16-bit words (OW, US, SS), whether it is in the JSON or beside it."""
        values = element.get("Value")
        if isinstance(values, list):
            numbers = [int(value) & 0xFFFF for value in values if isinstance(value, int | float)]
            return np.array(numbers, np.uint16)
        content = self.content(element)
        return np.frombuffer(content[: len(content) // 2 * 2], "<u2").astype(np.uint16, copy=False)

    @cached_property
    def description(self) -> PixelDescription:
        """How the frames are stored.

        Raises:
            UndecodablePixelData: the attributes do not describe them.
        """
        found = PixelDescription.from_attributes(self.attributes, self.transfer_syntax_uid)
        bits = 0 if self.frames is None else self.frames.frame_bits
        return found.stored_in(bits) if bits else found

    @property
    def photometric_interpretation(self) -> str:
        """That of `samples`, which is the stored one but for what decoding undoes."""
        native = self.description.native_photometric_interpretation
        return "YBR_FULL" if native == "YBR_FULL_422" else native

    def stored_frame(self, index: int) -> bytes:
        """One frame as `pixels.decode_frame` takes it: joined fragments, or native bytes.

        Raises:
            NotFound: there is no such frame.
            UndecodablePixelData: the frames cannot be told apart.
        """
        table = self.frames
        if table is None:
            raise NotFound("the instance has no pixel data")
        if not 0 <= index < table.number_of_frames:
            raise NotFound(
                f"there is no frame {index + 1}: the instance has {table.number_of_frames}"
            )
        if not table.frame_bits:
            try:
                start, stop = table.span(index)
            except IndexError:
                raise UndecodablePixelData(
                    "the frames of this instance cannot be told apart"
                ) from None
            return join_fragments(self._source[start:stop])
        unit = 8
        if self._big_endian:
            vr = self.attributes.get(table.tag, {}).get("vr", "OW")
            unit = 8 * pixels.swapped_unit(vr, self.description.bits_allocated)
        first_bit = index * table.frame_bits
        start = first_bit // unit * unit
        stop = -(-(first_bit + table.frame_bits) // unit) * unit
        words = self._source[table.offset + start // 8 : table.offset + stop // 8]
        turned = pixels.little_endian(words, unit // 8)
        return pixels.packed_frame(turned, first_bit - start, table.frame_bits)

    def fragments(self, index: int) -> list[memoryview]:
        """The fragments of an encapsulated frame; of a stream of gigabytes nothing is copied.

        Raises:
            UndecodablePixelData: there is no such frame, or they cannot be told apart.
        """
        if self.frames is None or self.frames.frame_bits:
            raise UndecodablePixelData("the instance has no encapsulated pixel data")
        try:
            position, stop = self.frames.span(index)
        except IndexError:
            raise UndecodablePixelData("the frames of this instance cannot be told apart") from None
        whole = memoryview(self._source)
        found = []
        while position + 8 <= stop:
            length = int.from_bytes(whole[position + 4 : position + 8], "little")
            found.append(whole[position + 8 : min(position + 8 + length, stop)])
            position += 8 + length
        return found

    def samples(self, index: int, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> Samples:
        """The decoded samples of one frame.

        Returns:
            (rows, columns), or (rows, columns, samples per pixel): unsigned or signed integers
            in which the bits above Bits Stored are not part of the number, 0 and 1 for single
            bits, or floats of Float and Double Float Pixel Data. May be read-only.

        Raises:
            NotFound: there is no such frame.
            UndecodablePixelData: it cannot be decoded, or is too large.
        """
        described = self.description
        frame = self.stored_frame(index)
        if self.frames is not None and self.frames.frame_bits:
            described = replace(described, transfer_syntax=lookup(EXPLICIT_VR_LITTLE_ENDIAN))
        native = transcoding.convert_frame(
            frame,
            transcoding.Conversion(described, EXPLICIT_VR_LITTLE_ENDIAN),
            max_frame_bytes=max_frame_bytes,
        )
        if described.shares_chroma:
            native = transcoding.with_own_chroma(native, described)
        return self._as_array(native, described)

    def stored_samples(self, index: int) -> Samples:
        """As `samples`, with the bits above Bits Stored as they are: old overlays lie there.

        Raises:
            NotFound, UndecodablePixelData: as `samples`.
        """
        described = self.description
        frame = self.stored_frame(index)
        if described.transfer_syntax.codec is not Codec.NATIVE:
            frame = pixels.decode_frame(frame, described)
        unsigned = np.dtype(f"<u{max(1, described.bits_allocated // 8)}")
        try:
            whole = np.frombuffer(frame, unsigned).reshape(described.rows, described.columns, -1)
        except ValueError:
            raise UndecodablePixelData("the frame has another size than described") from None
        return whole[:, :, 0]

    def _as_array(self, native: bytes, described: PixelDescription) -> Samples:
        shape: tuple[int, ...] = (described.rows, described.columns)
        if described.samples_per_pixel > 1:
            shape += (described.samples_per_pixel,)
        if described.bits_allocated == 1:
            count = described.rows * described.columns
            bits = np.unpackbits(np.frombuffer(native, np.uint8), count=count, bitorder="little")
            return bits.reshape(shape)
        tag = "" if self.frames is None else self.frames.tag
        if tag in _FLOAT:
            return np.frombuffer(native, _FLOAT[tag]).reshape(shape)
        kind = "iu"[1 - described.pixel_representation]
        container: np.dtype[Any] = np.dtype(f"<{kind}{described.bits_allocated // 8}")
        samples: Samples = np.frombuffer(native, container).reshape(shape)
        unused = described.bits_allocated - described.bits_stored
        if unused and described.transfer_syntax.codec is Codec.NATIVE:
            # numpy shifts signed numbers arithmetically, which extends the sign
            above = described.bits_allocated - 1 - self._high_bit(described)
            samples = np.right_shift(np.left_shift(samples, above), unused)
        return samples

    def _high_bit(self, described: PixelDescription) -> int:
        """Where it is senseless, the highest of the bits stored."""
        found = (self.attributes.get("00280102", {}).get("Value") or [None])[0]
        usual = described.bits_stored - 1
        if isinstance(found, int) and usual <= found < described.bits_allocated:
            return found
        return usual


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is empty"
        raise Unavailable(f"a stored file cannot be read: {reason}") from error


def _inflated(source: mmap.mmap | bytes, start: int) -> bytes:
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
        source[start:], MAX_INFLATED_BYTES + 1
    )
    if len(inflated) > MAX_INFLATED_BYTES:
        raise Unavailable(f"the data set inflates to more than {MAX_INFLATED_BYTES} bytes")
    return inflated
