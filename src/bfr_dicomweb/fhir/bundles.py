"""Bundles: the answers to searches and histories."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from bfr_dicomweb.fhir import references
from bfr_dicomweb.fhir.source import Resource

Entry = dict[str, Any]
# In the list that a source gives as a history: this version is a deletion.
DELETED: Final = "\0deleted"


def link(relation: str, url: str) -> dict[str, str]:
    return {"relation": relation, "url": url}


def url_of(base: str, path: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(pairs), quote_via=quote, safe=":|,/")
    return f"{base}/{path}?{query}" if query else f"{base}/{path}"


def entry(base: str, resource: Resource, mode: str) -> Entry:
    """`mode`: match, include or outcome."""
    found: Entry = {"resource": resource, "search": {"mode": mode}}
    if "id" in resource:
        found = {"fullUrl": f"{base}/{references.of_resource(resource)}", **found}
    return found


def searchset(
    entries: Sequence[Entry], links: Sequence[dict[str, str]], *, total: int | None
) -> Resource:
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = list(links)
    # an empty list is no value in FHIR
    if entries:
        bundle["entry"] = list(entries)
    return bundle


def tombstone(kind: str, id: str, version: str, deleted_at: str) -> Resource:
    """A deletion among the versions of a resource."""
    meta = {"versionId": version, "lastUpdated": deleted_at}
    return {"resourceType": kind, "id": id, "meta": meta, DELETED: True}


def history(
    base: str, versions: Sequence[Resource], links: Sequence[dict[str, str]], *, total: int
) -> Resource:
    bundle: Resource = {"resourceType": "Bundle", "type": "history", "total": total}
    bundle["link"] = list(links)
    if versions:
        bundle["entry"] = [_version(base, version) for version in versions]
    return bundle


def _version(base: str, version: Resource) -> Entry:
    reference = references.of_resource(version)
    meta = version.get("meta", {})
    deleted = DELETED in version
    response: Resource = {"status": "204" if deleted else "200"}
    if "versionId" in meta:
        response["etag"] = f'W/"{meta["versionId"]}"'
    if "lastUpdated" in meta:
        response["lastModified"] = meta["lastUpdated"]
    found: Entry = {"fullUrl": f"{base}/{reference}"}
    if not deleted:
        found["resource"] = version
    found["request"] = {"method": "DELETE" if deleted else "PUT", "url": reference}
    found["response"] = response
    return found
