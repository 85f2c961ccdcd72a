"""Every resource that is made of rows is one of FHIR R4, for two judges that are not ours."""

import importlib
from typing import Any

import orjson
import pytest

import fhir_schema
from bfr_dicomweb.fhir import (
    binary,
    detected_issue,
    diagnostic_report,
    document_reference,
    endpoint,
    imaging_study,
    organizations,
    patient,
    provenance,
    service_request,
    task,
    terminology,
)
from bfr_dicomweb.orders.events import Attachment, Demographics, Party
from bfr_dicomweb.orders.identifiers import HSA_ID, Identifier
from bfr_dicomweb.services.timeline import MessageHead, StudyLink
from orders_said import a_report, an_event, m1_to_m7, utc
from rows_said import Rows, a_finding, a_patient, a_series, a_study, element

NOW = utc("2024-01-15T12:00")
Resource = dict[str, Any]


def of_the_story() -> list[Resource]:
    """All that the story of one order gives."""
    links = {0: (StudyLink("1.2.752.113.99.1.1", 3, 1),)}
    rows = Rows(m1_to_m7(), studies=links, expected=utc("2024-01-12T15:00"))
    exams = {row.id: row for row in rows.exams}
    head = MessageHead(41, "ORM^O01", "RISEVIDIA|EVIDIA", "M1", 0)
    return [
        patient.build(a_patient()),
        service_request.of_order(rows.order),
        *(service_request.of_exam(row, rows.order) for row in rows.exams),
        *map(task.build, rows.exams),
        imaging_study.build(a_study(), rows.exams[:1], 5),
        *(imaging_study.build_awaited(row, NOW) for row in rows.exams[1:]),
        *(diagnostic_report.build(row, rows.answered(row)) for row in rows.reports),
        *(
            document_reference.build(rows.order, a_patient(), version.number)
            for version in rows.order.order.documents
        ),
        *(provenance.build(row, [exams[row.exam_id]], head) for row in rows.events),
        endpoint.build("https://h/dicomweb"),
    ]


def of_odd_rows() -> list[Resource]:
    """With as little as there can be, or with what is rare."""
    bare = Rows([an_event("received")])
    held = Rows([an_event("received"), an_event("held", "2024-01-09T08:00")])
    unknown = Rows([an_event("unknown", codes=(("ORC-1", "SC"), ("ORC-5", "ZZ")))])
    pdf = Attachment("ab" * 32, "application/pdf", "Svar", 1234)
    attached = Rows([a_report("", of={"attachments": (pdf,)})])
    nothing = Rows([a_report()])
    return [
        patient.build(a_patient(identifiers=(), demographics=Demographics(), others=(7, 8))),
        patient.build(a_patient(root_id=7, merged_into=7)),
        patient.build(
            a_patient(demographics=Demographics(deceased="true", security="sekretessmarkering"))
        ),
        *(service_request.of_order(rows.order) for rows in (bare, held, unknown)),
        *(service_request.of_exam(rows.exams[0], None) for rows in (bare, held, unknown)),
        *(task.build(rows.exams[0]) for rows in (bare, held, unknown)),
        imaging_study.build(a_study(series=()), (), None),
        imaging_study.build(
            a_study(
                a_series(_00080060=element("CS"), _00200011=element("IS", -3)),
                _00080020=element("DA", "20241399"),
                _00100020=None,
                _00080090=None,
            ),
            (),
            None,
        ),
        imaging_study.build_awaited(bare.exams[0], NOW),
        *(diagnostic_report.build(row, ()) for row in nothing.reports),
        *(diagnostic_report.build(row, attached.answered(row)) for row in attached.reports),
        *(
            document_reference.build_received(row, *one, [10])
            for row in attached.reports
            for one in document_reference.received_in(row)
        ),
        provenance.build(unknown.events[0], [], None),
        detected_issue.build(a_finding()),
        detected_issue.build(a_finding(resolved=utc("2024-01-10T08:00"), study_instance_uid="1.2")),
        detected_issue.build(
            a_finding(patient_id=0, order_id=0, exam_id=0, message=0, performer="", detail="")
        ),
        binary.build("m41", binary.Content(binary.HL7_V2, b"MSH|^~\\&|\r", "1")),
        *(organizations.build(UNIT, "Organization"), organizations.build(DOCTOR, "Practitioner")),
        *terminology.CODE_SYSTEMS,
        *terminology.CONCEPT_MAPS,
    ]


UNIT = Party(Identifier(HSA_ID, "SE2321000131-E000000000011"), name="VC Hjällbo")
DOCTOR = Party(Identifier(HSA_ID, "SE2321000131-P000000000001"), family="Remittent", given="Rut")


def _all() -> list[Any]:
    made = [*of_the_story(), *of_odd_rows()]
    return [pytest.param(one, id=f"{one['resourceType']}-{n}") for n, one in enumerate(made)]


@pytest.mark.parametrize("resource", _all())
def test_the_published_schema_allows_it(resource: Resource) -> None:
    assert fhir_schema.deviations(orjson.loads(orjson.dumps(resource))) == []


@pytest.mark.parametrize("resource", _all())
def test_the_models_of_fhir_resources_take_it(resource: Resource) -> None:
    kind = resource["resourceType"]
    models = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")

    getattr(models, kind).model_validate(resource)


@pytest.mark.parametrize("resource", _all())
def test_it_has_no_empty_value(resource: Resource) -> None:
    assert list(_empty(resource)) == []


def _empty(value: Any, path: str = "") -> Any:
    if value is None or value in ("", [], {}):
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _empty(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _empty(item, path)
