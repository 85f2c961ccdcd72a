"""Which instance of a study or series its thumbnail shows (PS3.18 section 10.4.3.3.4)."""

from functools import partial

from bfr_dicomweb.index import representatives
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.retrieve import StoredInstance


async def representative(archive: Archive, ref: Ref) -> StoredInstance:
    """Raises NotFound, Gone."""
    found = await archive.index.ask(partial(representatives.find, ref=ref))
    if found is None:
        raise await retrieve.absence(archive, ref)
    return found
