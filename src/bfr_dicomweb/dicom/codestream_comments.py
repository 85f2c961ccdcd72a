"""Comments and metadata of others in compressed frames, blanked in place.

A modality may write anything into them, the patient's name too. What is blanked keeps its length,
so that neither fragments nor offset tables change.
"""

from typing import Final

# ISO/IEC 10918-1 Table B.1 and ISO/IEC 15444-1 Table A.1
_JPEG_START: Final = b"\xff\xd8"
_JPEG_2000_START: Final = b"\xff\x4f"
_JPEG_COMMENT: Final = 0xFE
_JPEG_2000_COMMENT: Final = 0x64
_APPLICATION: Final = range(0xE0, 0xF0)
# Where coded data begins: start of scan, start of tile part.
_ENDS: Final = frozenset({0xDA, 0x90})
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9), 0x4F})
# Application segments without which a frame would look different.
_NEEDED: Final = (b"JFIF\0", b"ICC_PROFILE\0", b"Adobe", b"mrfx", b"SPIFF\0")


class Unended(ValueError):
    """The header goes on behind the bytes that are there."""


def without_comments(head: bytes) -> bytes:
    """The beginning of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K frame; anything else as it is.

    Args:
        head: With the whole header of the codestream.

    Raises:
        Unended: The header does not end within `head`.
    """
    if not head.startswith((_JPEG_START, _JPEG_2000_START)):
        return head
    made = bytearray(head)
    position = 2
    while True:
        if position + 4 > len(head):
            raise Unended
        marker = head[position + 1]
        if head[position] != 0xFF or marker in _ENDS:
            return bytes(made)
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        stop = position + 2 + max(int.from_bytes(head[position + 2 : position + 4], "big"), 2)
        start = _blanked_from(marker, head, position + 4)
        if start is not None:
            if stop > len(head):
                raise Unended
            made[start:stop] = b" " * (stop - start)
        position = stop


def _blanked_from(marker: int, head: bytes, content: int) -> int | None:
    """Where in a segment that begins here its text begins; None: it has none."""
    if head.startswith(_JPEG_2000_START):
        # behind the two bytes that say whether it is text
        return content + 2 if marker == _JPEG_2000_COMMENT else None
    if marker == _JPEG_COMMENT:
        return content
    if marker in _APPLICATION and not head[content : content + 16].startswith(_NEEDED):
        return content
    return None
