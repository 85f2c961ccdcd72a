"""Search transaction (PS3.18 section 10.6), shared by QIDO-RS, C-FIND and FHIR."""

from functools import partial

from bfr_dicomweb.dicom.matching import Search
from bfr_dicomweb.index import search as index_search
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.search import Matches as Matches
from bfr_dicomweb.refs import Level, Ref


async def search(index: Index, wanted: Search, *, ref: Ref | None = None) -> Matches:
    """One page of the studies, series or instances that match.

    Args:
        ref: The study or series below which to search; None searches the archive.
    """
    find = {
        Level.STUDY: index_search.find_studies,
        Level.SERIES: index_search.find_series,
        Level.INSTANCE: index_search.find_instances,
    }[wanted.level.level]
    return await index.ask(partial(find, search=wanted, ref=ref))
