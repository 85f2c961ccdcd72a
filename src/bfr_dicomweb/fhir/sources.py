"""The FHIR service of an archive: all its resources, and where each type comes from."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final

from bfr_dicomweb.fhir import capability, limits, operations, subscriptions, terminology
from bfr_dicomweb.fhir.binary import Binaries
from bfr_dicomweb.fhir.detected_issue import DetectedIssues
from bfr_dicomweb.fhir.diagnostic_report import DiagnosticReports
from bfr_dicomweb.fhir.document_reference import DocumentReferences
from bfr_dicomweb.fhir.endpoint import endpoints
from bfr_dicomweb.fhir.fixed import Fixed
from bfr_dicomweb.fhir.imaging_study import ImagingStudies
from bfr_dicomweb.fhir.organizations import Organizations, PractitionerRoles, Practitioners
from bfr_dicomweb.fhir.patient import Patients
from bfr_dicomweb.fhir.provenance import Provenances
from bfr_dicomweb.fhir.service import Fhir
from bfr_dicomweb.fhir.service_request import ServiceRequests
from bfr_dicomweb.fhir.several import Several
from bfr_dicomweb.fhir.source import Source
from bfr_dicomweb.fhir.task import Tasks
from bfr_dicomweb.fhir.workitem_task import WorkitemTasks
from bfr_dicomweb.fhir.written import Written
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.workitem_claims import Claims
from bfr_dicomweb.services.workitem_making import Access

SECRET: Final = "fhir-pages"  # noqa: S105 # its name
CLAIMS: Final = "fhir-claims"
# Application entity in whose name workitems are asked to be cancelled.
REQUESTER: Final = "FHIR"
# What can be subscribed to: what the archive itself changes.
SUBSCRIBABLE: Final = frozenset(
    {"DetectedIssue", "DiagnosticReport", "ImagingStudy", "Patient", "ServiceRequest", "Task"}
)


async def service(
    archive: Archive,
    *,
    reprocess: Callable[[], Awaitable[int]],
    dicomweb_url: str,
    ae_title: str,
    public_url: str | None,
    trust_forwarded: bool,
    max_payload_bytes: int,
    notified_hosts: Collection[str],
) -> Fhir:
    """
    Args:
        reprocess: Reads messages anew; gives how many.
        dicomweb_url: Of the DICOMweb service, as clients reach it.
        ae_title: Of this archive.
        notified_hosts: To which subscriptions may be delivered; "*" is any.
    """
    claims = Claims(await archive.secret(CLAIMS), REQUESTER)
    tasks = WorkitemTasks(archive, Access(dicomweb_url, ae_title), claims)
    return Fhir.of(
        archive,
        _sources(archive, tasks, dicomweb_url, notified_hosts),
        secret=await archive.secret(SECRET),
        limits=replace(limits.DEFAULT, body_bytes=max_payload_bytes),
        operations=operations.operations(reprocess),
        public_url=public_url,
        trust_forwarded=trust_forwarded,
    )


def _sources(
    archive: Archive, tasks: WorkitemTasks, dicomweb_url: str, notified_hosts: Collection[str]
) -> list[Source]:
    check = subscriptions.checking(SUBSCRIBABLE, notified_hosts)
    return [
        Patients(archive),
        ServiceRequests(archive),
        Several(Tasks(archive), tasks),
        ImagingStudies(archive),
        DiagnosticReports(archive),
        Provenances(archive),
        DetectedIssues(archive),
        Several(DocumentReferences(archive), Written(archive, "DocumentReference", moment="date")),
        Several(Binaries(archive), Written(archive, "Binary", moment="")),
        Several(Organizations(archive), Written(archive, "Organization")),
        Several(Practitioners(archive), Written(archive, "Practitioner")),
        Several(PractitionerRoles(archive), Written(archive, "PractitionerRole")),
        Several(endpoints(dicomweb_url), Written(archive, "Endpoint")),
        Fixed("SearchParameter", tuple(capability.own_search_parameters())),
        terminology.code_systems(),
        terminology.concept_maps(),
        Written(archive, "Subscription", check=check, prepare=subscriptions.activated),
    ]
