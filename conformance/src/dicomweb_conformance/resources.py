"""Resources that a server of the Studies Service has to have (PS3.18 Tables 10.3-2 and 10.6.1-1).

Where one of them is not there at all, one case says so. The others that would ask it find nothing
out: they would only say the same again.
"""

from dataclasses import dataclass
from typing import Final

from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import DICOM_JSON, OCTETS
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Unmet, Violated

# What a server says of a path that it does not know.
_UNKNOWN: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class _Resource:
    pattern: str  # of its paths below the base URL
    judged_by: str  # the case that says that it is not there
    asked: tuple[str, ...]  # it is not there where all of these say so
    accept: str


def _resources(instance: Instance) -> tuple[_Resource, ...]:
    study = f"/studies/{instance.study_uid}"
    of_study = f"?StudyInstanceUID={instance.study_uid}"
    metadata = (f"{study}/metadata", f"{instance.path}/metadata")
    return (
        _Resource(r"/metadata$", "MET-01", metadata, DICOM_JSON),
        _Resource(r"/rendered$", "REN-01", (f"{instance.path}/rendered",), "image/jpeg"),
        _Resource(r"/frames/[^/]+$", "BLK-01", (f"{instance.path}/frames/1",), OCTETS),
        _Resource(r"^/series$", "QID-01", (f"/series{of_study}",), DICOM_JSON),
        _Resource(r"^/instances$", "QID-01", (f"/instances{of_study}",), DICOM_JSON),
        _Resource(r"^/studies/[^/]+/instances$", "QID-01", (f"{study}/instances",), DICOM_JSON),
    )


async def find_absent(target: Target) -> None:
    """Asks each of them about a slice that is there, and remembers in the target what is not."""
    try:
        instance = target.study(Fixture.F1).series("CT")[0]
    except Unmet:
        return
    for resource in _resources(instance):
        if await _is_absent(target, resource):
            target.absent[resource.pattern] = resource.judged_by


async def _is_absent(target: Target, resource: _Resource) -> bool:
    for asked in resource.asked:
        path, _, query = asked.partition("?")
        try:
            answer = await target.get(path, query=query, accept=resource.accept)
        except (Violated, Unmet):
            return False
        if answer.status not in _UNKNOWN:
            return False
    return True
