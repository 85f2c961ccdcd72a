"""Instances without what identifies the patient (PS3.18 section 9.4.1.2.1)."""

import asyncio
from collections.abc import Iterator
from typing import Final

from bfr_dicomweb.dicom import deidentification, transfer_syntaxes
from bfr_dicomweb.dicom.deidentification import Pseudonyms
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, Codec
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.content import CHUNK_BYTES, Content, Streamed
from bfr_dicomweb.services.retrieve import StoredInstance

# What the replacements come from in all processes, as long as this archive lives.
SECRET: Final = "pseudonyms"  # noqa: S105 # its name
# In Implicit VR and in big endian nothing is written here.
_WRITTEN: Final = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.1.99"})


def can_be_written(transfer_syntax_uid: str) -> bool:
    native = transfer_syntaxes.lookup(transfer_syntax_uid).codec is Codec.NATIVE
    return not native or transfer_syntax_uid in _WRITTEN


async def are_pixels_clean(archive: Archive, stored: StoredInstance) -> bool:
    """Whether it is known that nothing identifying is burned into the pixels."""
    return deidentification.pixels_are_clean(await retrieve.attributes(archive, stored))


async def anonymized(archive: Archive, stored: StoredInstance, transfer_syntax_uid: str) -> Content:
    """A PS3.10 file of the instance by the Basic Application Level Confidentiality Profile.

    Args:
        transfer_syntax_uid: One that `can_be_written`, and that the instance can be sent in.

    Raises:
        NotAcceptable: the instance cannot be anonymized; says why.
        UndecodablePixelData: the pixel data cannot be decoded.
        Unavailable: the stored file cannot be read.
    """
    attributes = await retrieve.attributes(archive, stored)
    pseudonyms = Pseudonyms(await archive.secret(SECRET))
    source = await asyncio.to_thread(_data_set, archive, stored, transfer_syntax_uid)
    made = deidentification.file(source, attributes, pseudonyms, transfer_syntax_uid)
    return Content((Streamed(None, lambda: made),))


def _data_set(
    archive: Archive, stored: StoredInstance, transfer_syntax_uid: str
) -> Iterator[bytes]:
    """The data set in an explicit little-endian encoding, never deflated."""
    native = transfer_syntaxes.lookup(transfer_syntax_uid).codec is Codec.NATIVE
    if not native and transfer_syntax_uid == stored.transfer_syntax_uid:
        return _stored_data_set(archive, stored)
    target = EXPLICIT_VR_LITTLE_ENDIAN if native else transfer_syntax_uid
    return retrieve.rewritten(archive, stored, transfer_syntax_uid=target, as_file=False).chunks


def _stored_data_set(archive: Archive, stored: StoredInstance) -> Iterator[bytes]:
    for start in range(stored.dataset_offset, stored.size_bytes, CHUNK_BYTES):
        stop = min(start + CHUNK_BYTES, stored.size_bytes)
        yield archive.blobs.read(stored.blob_key, start, stop)
