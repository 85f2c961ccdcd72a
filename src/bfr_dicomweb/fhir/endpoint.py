"""Endpoint: where the images are fetched (WADO-RS of this archive)."""

from bfr_dicomweb.fhir import ids
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.fixed import Fixed
from bfr_dicomweb.fhir.source import Resource

REFERENCE: Element = {"reference": f"Endpoint/{ids.ENDPOINT}"}


def build(address: str) -> Resource:
    """`address` is the base of the DICOMweb service, as clients reach it."""
    return {
        "resourceType": "Endpoint",
        "id": ids.ENDPOINT,
        "meta": {"versionId": "1"},
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
            "display": "DICOM WADO-RS",
        },
        "name": "DICOMweb",
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom", "application/dicom+json"],
        "address": address,
    }


def endpoints(address: str) -> Fixed:
    """In the order in which clients' own are kept, before all of them."""
    return Fixed("Endpoint", (build(address),), "_lastUpdated")
