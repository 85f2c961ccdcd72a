"""Instances by the unique keys of Query/Retrieve (PS3.4 section C.4.2.2.1)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.dicom.matching import AnyOf, Key, Search, SearchLevel, Single
from bfr_dicomweb.index import instances, series
from bfr_dicomweb.index import search as index_search
from bfr_dicomweb.index.instances import StoredInstance as StoredInstance
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services.archive import Archive

_PATIENT_ID: Final = ("00100020",)
_STUDY_INSTANCE_UID: Final = ("0020000D",)
_STUDY_UID_ELEMENT: Final = "0020000D"
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Every key that is given has to match; the UIDs of each are alternatives."""

    patient_id: str = ""
    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


async def select_instances(archive: Archive, selection: Selection) -> list[StoredInstance]:
    """The instances with these keys, by study, series and number; none is a result, too."""
    if selection.sop_instance_uids:
        found = await _instances(archive, selection)
    elif selection.series_instance_uids:
        refs = await archive.index.ask(
            partial(series.identified, series_instance_uids=list(selection.series_instance_uids))
        )
        found = await _below(archive, (ref for ref in refs if _fits(selection, ref)))
    elif selection.study_instance_uids:
        found = await _below(archive, map(Ref, selection.study_instance_uids))
    else:
        studies = await _studies_of(archive, selection.patient_id, None)
        return await _below(archive, map(Ref, studies))
    if not selection.patient_id:
        return found
    studies = await _studies_of(
        archive, selection.patient_id, {stored.study_instance_uid for stored in found}
    )
    return [stored for stored in found if stored.study_instance_uid in studies]


async def _instances(archive: Archive, selection: Selection) -> list[StoredInstance]:
    """In the order in which they are named."""
    named = {uid: number for number, uid in enumerate(selection.sop_instance_uids)}
    found = await archive.index.ask(
        partial(instances.by_uids, sop_instance_uids=selection.sop_instance_uids)
    )
    found = [stored for stored in found if _fits(selection, stored.ref)]
    return sorted(found, key=lambda stored: named[stored.sop_instance_uid])


def _fits(selection: Selection, ref: Ref) -> bool:
    studies, of_series = selection.study_instance_uids, selection.series_instance_uids
    return (not studies or ref.study_instance_uid in studies) and (
        not of_series or ref.series_instance_uid in of_series
    )


async def _below(archive: Archive, refs: Iterable[Ref]) -> list[StoredInstance]:
    found: list[StoredInstance] = []
    for ref in dict.fromkeys(refs):
        found += await archive.index.ask(partial(instances.list_instances, ref=ref))
    return found


async def _studies_of(
    archive: Archive, patient_id: str, among: Collection[str] | None
) -> dict[str, None]:
    """UIDs of the studies that a search for the patient finds."""
    if among is not None and not among:
        return {}
    keys = [Key(_PATIENT_ID, Single(patient_id))]
    if among is not None:
        keys.append(Key(_STUDY_INSTANCE_UID, AnyOf(tuple(among))))
    studies: dict[str, None] = {}
    while True:
        wanted = Search(SearchLevel.STUDIES, tuple(keys), limit=_PAGE, offset=len(studies))
        page = await archive.index.ask(partial(index_search.find_studies, search=wanted))
        uids = [str(row[_STUDY_UID_ELEMENT]["Value"][0]) for row in page.rows]
        studies |= dict.fromkeys(uids)
        if len(uids) < _PAGE:
            return studies
