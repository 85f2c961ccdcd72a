"""Instances that belong to no patient: search and retrieve (PS3.18 chapter 12)."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
import zstandard

from bfr_dicomweb.dicom import non_patient, part10
from bfr_dicomweb.dicom.matching import Asked
from bfr_dicomweb.dicom.non_patient import Category
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.index import non_patient_instances
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.non_patient_instances import Candidate
from bfr_dicomweb.index.non_patient_instances import (
    StoredNonPatientInstance as StoredNonPatientInstance,
)
from bfr_dicomweb.refs import NonPatientRef
from bfr_dicomweb.services.retrieve import STORED_MARKER

RETRIEVE_URL: Final = "00081190"
_PAGE: Final = 200
# Matches beyond a page that are counted to tell how many there are.
_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Matches:
    """
    Attributes:
        rows: DICOM JSON.
        remaining_is_exact: There are no more than `remaining` behind these.
    """

    rows: list[dict[str, Any]]
    remaining: int
    remaining_is_exact: bool


async def search(index: Index, category: Category, asked: Asked, base_uri: str) -> Matches:
    """One page of what matches, in the order of storing."""
    wanted = asked.offset + asked.limit
    found: list[Candidate] = []
    after, is_end, beyond = 0, asked.limit == 0, 0
    while not is_end and beyond < _COUNTED:
        page = await index.ask(
            partial(
                non_patient_instances.candidates,
                category=category.name,
                keys=asked.keys,
                after=after,
                limit=_PAGE,
            )
        )
        beyond += len(page) if len(found) >= wanted else 0
        found += [one for one in page if non_patient.matches(asked.keys, orjson.loads(one.summary))]
        is_end = len(page) < _PAGE
        after = page[-1].key if page else after
    rows = await _shown(index, category, asked, found[asked.offset : wanted], base_uri)
    return Matches(rows, max(0, len(found) - wanted), is_end)


async def _shown(
    index: Index,
    category: Category,
    asked: Asked,
    found: list[Candidate],
    base_uri: str,
) -> list[dict[str, Any]]:
    others = asked.returned_tags - category.shown
    documents: dict[int, bytes] = {}
    if found and (asked.include_all or others):
        keys = [one.key for one in found]
        documents = await index.ask(partial(non_patient_instances.documents, keys=keys))
    rows = []
    for one in found:
        ref = NonPatientRef(category.name, one.sop_instance_uid)
        row = orjson.loads(_located(one.summary, ref, base_uri))
        if one.key in documents:
            whole = orjson.loads(_metadata(documents[one.key], ref, base_uri))
            row |= {tag: whole[tag] for tag in whole if asked.include_all or tag in others}
        row[RETRIEVE_URL] = {"vr": "UR", "Value": [base_uri + ref.path]}
        rows.append({tag: row[tag] for tag in sorted(row)})
    return rows


async def locate(index: Index, ref: NonPatientRef) -> StoredNonPatientInstance:
    """Raises NotFound."""
    found = await index.ask(partial(non_patient_instances.locate, ref=ref))
    if found is None:
        raise NotFound("no such instance in this category")
    return found


async def metadata(index: Index, stored: StoredNonPatientInstance, base_uri: str) -> bytes:
    """DICOM JSON of all attributes, large values as URLs below that of the instance."""
    key = stored.instance.key
    found = await index.ask(partial(non_patient_instances.documents, keys=[key]))
    return _metadata(found[key], stored.ref, base_uri)


def _metadata(document: bytes, ref: NonPatientRef, base_uri: str) -> bytes:
    return _located(zstandard.ZstdDecompressor().decompress(document), ref, base_uri)


def _located(attributes: bytes, ref: NonPatientRef, base_uri: str) -> bytes:
    """With whole URIs of bulk values."""
    located = f'"BulkDataURI":"{base_uri}{ref.path}/'.encode()
    return attributes.replace(STORED_MARKER, located)


async def bulk_value(index: Index, stored: StoredNonPatientInstance, path: str) -> part10.BulkValue:
    """What a BulkDataURI of the metadata names.

    Raises:
        NotFound: there is no such value.
    """
    key = stored.instance.key
    table = await index.ask(partial(non_patient_instances.bulk_table, key=key))
    values = part10.bulk_from_bytes(table) if table else ()
    for value in values:
        if value.path == path:
            return value
    raise NotFound("the instance has no such bulk value")
