"""CodeSystem and ConceptMap: the statuses of an exam, and which of BFR's five each of them is."""

from collections.abc import Iterable
from typing import Final

from bfr_dicomweb.fhir import codings
from bfr_dicomweb.fhir.codings import Element
from bfr_dicomweb.fhir.detected_issue import TITLES
from bfr_dicomweb.fhir.fixed import Fixed
from bfr_dicomweb.fhir.source import Resource
from bfr_dicomweb.orders.state import COARSE

_DESIGNATED: Final = "en"


def _concept(code: str, names: tuple[str, str]) -> Element:
    swedish, english = names
    designation = {"language": _DESIGNATED, "value": english}
    return {"code": code, "display": swedish, "designation": [designation]}


def _code_system(id: str, url: str, title: str, concepts: Iterable[Element]) -> Resource:
    listed = list(concepts)
    return {
        "resourceType": "CodeSystem",
        "id": id,
        "meta": {"versionId": "1"},
        "language": "sv",
        "url": url,
        "version": "1",
        "name": "".join(part.capitalize() for part in id.split("-")),
        "title": title,
        "status": "active",
        "experimental": False,
        "caseSensitive": True,
        "content": "complete",
        "count": len(listed),
        "concept": listed,
    }


def _coarse_of_fine() -> Resource:
    told = [
        {"code": status.value, "target": [{"code": coarse.value, "equivalence": "wider"}]}
        for status, coarse in COARSE.items()
        if coarse is not None
    ]
    return {
        "resourceType": "ConceptMap",
        "id": "bfr-exam-status-coarse",
        "meta": {"versionId": "1"},
        "url": "urn:bfr:concept-map:bfr-exam-status-coarse",
        "version": "1",
        "name": "BfrExamStatusCoarse",
        "title": "Status för undersökning till BFR:s fem",
        "status": "active",
        "group": [
            {
                "source": codings.EXAM_STATUS,
                "target": codings.COARSE_EXAM_STATUS,
                "element": told,
            }
        ],
    }


CODE_SYSTEMS: Final = (
    _code_system(
        "bfr-exam-status",
        codings.EXAM_STATUS,
        "Status för undersökning",
        (_concept(code, names) for code, names in codings.STATUS_NAMES.items()),
    ),
    _code_system(
        "bfr-exam-status-coarse",
        codings.COARSE_EXAM_STATUS,
        "BFR:s fem statusar",
        (_concept(code, names) for code, names in codings.COARSE_NAMES.items()),
    ),
    _code_system(
        "bfr-finding",
        codings.FINDING_CODE,
        "Anmärkningar",
        ({"code": code, "display": title} for code, title in TITLES.items()),
    ),
)
CONCEPT_MAPS: Final = (_coarse_of_fine(),)


def code_systems() -> Fixed:
    return Fixed("CodeSystem", CODE_SYSTEMS)


def concept_maps() -> Fixed:
    return Fixed("ConceptMap", CONCEPT_MAPS)
