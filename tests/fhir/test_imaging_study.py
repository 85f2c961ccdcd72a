"""ImagingStudy: a study that is stored, or that an exam lets expect."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.fhir import imaging_study
from bfr_dicomweb.fhir.intervals import interval
from bfr_dicomweb.orders.events import Kind
from bfr_dicomweb.orders.identifiers import Identifier
from bfr_dicomweb.services.timeline import StudyLink
from orders_said import ABDOMEN, THORAX, an_event, m1, m1_to_m7, m2, m4, utc
from rows_said import Rows, a_series, a_study, element

NOW = utc("2024-01-15T12:00")


def stored(**attributes: Any) -> dict[str, Any]:
    return imaging_study.build(a_study(**attributes), (), None)


def test_the_study_instance_uid_is_a_uri() -> None:
    identifier = stored()["identifier"][0]

    assert identifier == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.752.113.99.1.1"}


@pytest.mark.parametrize(
    ("date", "time", "zone", "told"),
    [
        ("20240110", "092500", "", "2024-01-10T09:25:00+01:00"),
        ("20240710", "0925", "", "2024-07-10T09:25:00+02:00"),
        ("20240110", "092500.123456", "-0330", "2024-01-10T09:25:00-03:30"),
        ("20240110", "09", "+1500", "2024-01-10T09:00:00+01:00"),
        ("2024.01.10", "09:25:00", "", "2024-01-10T09:25:00+01:00"),
        ("20240110", "235960", "", "2024-01-10T23:59:59+01:00"),
        ("20240110", "", "", "2024-01-10"),
        ("20240110", "9925", "", "2024-01-10"),
        ("20240110", "9", "", "2024-01-10"),
        ("20241310", "0925", "", ""),
        ("2024", "0925", "", ""),
        ("", "0925", "", ""),
    ],
)
def test_a_study_starts_in_its_own_zone_or_in_the_local_one(
    date: str, time: str, zone: str, told: str
) -> None:
    assert imaging_study.date_time(date, time, zone) == told


@given(st.text(max_size=10), st.text(max_size=10), st.text(max_size=6))
def test_whatever_a_study_says_of_its_time_becomes_a_time_or_nothing(
    date: str, time: str, zone: str
) -> None:
    told = imaging_study.date_time(date, time, zone)

    assert told == "" or interval(told)


def test_a_study_is_based_on_all_exams_that_it_is_linked_to() -> None:
    rows = Rows(m1())

    built = imaging_study.build(a_study(), rows.exams, 5)

    assert [one["reference"] for one in built["basedOn"]] == [
        "ServiceRequest/e11",
        "ServiceRequest/e12",
    ]


def test_the_accession_number_of_an_exam_says_who_gave_it() -> None:
    built = imaging_study.build(a_study(), [Rows(m1()).of(THORAX)], 5)

    accessions = [one for one in built["identifier"] if one["value"] == THORAX]
    assert [one.get("system") for one in accessions] == ["urn:oid:1.2.752.113.99.7"]


def test_an_accession_number_that_only_the_images_have_is_shown() -> None:
    issuer = {"00400032": element("UT", "1.2.3"), "00400033": element("CS", "ISO")}

    built = stored(_00080050=element("SH", "X9"), _00080051=element("SQ", issuer))

    assert (built["identifier"][1]["system"], built["identifier"][1]["value"]) == (
        "urn:oid:1.2.3",
        "X9",
    )


def test_a_patient_who_is_known_is_referred_to() -> None:
    built = imaging_study.build(a_study(), (), 5)

    assert built["subject"] == {"reference": "Patient/p5"}


def test_a_patient_who_is_not_known_is_named_by_the_canonical_number() -> None:
    assert stored()["subject"]["identifier"]["value"] == "191212121212"


@pytest.mark.parametrize(
    ("attributes", "identifier"),
    [
        ({"_00100021": element("LO", "SU")}, Identifier("urn:bfr:assigner:SU", "19121212-1212")),
        (
            {"_00100024": element("SQ", {"00400032": element("UT", "1.2.752.129.2.1.3.1")})},
            Identifier("http://electronichealth.se/identifier/personnummer", "191212121212"),
        ),
        ({"_00100020": element("LO")}, None),
    ],
    ids=["named issuer", "universal issuer", "none"],
)
def test_a_patient_id_goes_with_its_issuer(
    attributes: dict[str, Any], identifier: Identifier | None
) -> None:
    assert imaging_study.patient_identifier(a_study(**attributes).attributes) == identifier


def test_counts_are_those_of_the_series() -> None:
    built = stored()

    assert (built["numberOfSeries"], built["numberOfInstances"]) == (1, 300)


def test_a_series_says_what_it_is() -> None:
    (series,) = stored()["series"]

    assert series == {
        "uid": "1.2.752.113.99.1.1.2",
        "number": 2,
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
        "description": "Lunga 1 mm",
        "numberOfInstances": 300,
        "bodySite": {"display": "CHEST"},
        "started": "2024-01-10T09:27:00+01:00",
    }


def test_a_series_number_that_fhir_cannot_have_is_left_out() -> None:
    (series,) = imaging_study.build(a_study(a_series(_00200011=element("IS", -1))), (), None)[
        "series"
    ]

    assert "number" not in series


def test_the_version_is_the_last_change_of_the_study() -> None:
    assert stored()["meta"]["versionId"] == "77"


def test_where_the_images_are_fetched_is_told() -> None:
    assert stored()["endpoint"] == [{"reference": "Endpoint/dicomweb"}]


# --- awaited ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (utc("2024-01-16T15:00"), "Bilder väntas 2024-01-16 16:00"),
        (utc("2024-01-12T15:00"), "Bilder saknas: de skulle ha kommit 2024-01-12 16:00"),
        ("", "Bilder är inte arkiverade"),
    ],
    ids=["expected", "overdue", "not known when"],
)
def test_an_awaited_study_says_when_images_come(expected: str, text: str) -> None:
    rows = Rows([*m1(), *m2(), *m4()], expected=expected)

    built = imaging_study.build_awaited(rows.of(THORAX), NOW)

    assert (built["status"], built["note"]) == ("registered", [{"text": text}])


def test_no_images_are_expected_of_a_cancelled_exam() -> None:
    rows = Rows(m1_to_m7(), expected=utc("2024-01-12T15:00"))

    built = imaging_study.build_awaited(rows.of(ABDOMEN), NOW)

    assert (built["status"], built["note"][0]["text"]) == (
        "cancelled",
        "Undersökningen är avbruten, inga bilder väntas",
    )


def test_an_awaited_study_has_the_uid_that_was_told() -> None:
    built = imaging_study.build_awaited(Rows(m1()).of(THORAX), NOW)

    assert built["identifier"][0]["value"] == "urn:oid:1.2.752.113.99.1.1"


@pytest.mark.parametrize(
    ("study_id", "awaited"), [(0, True), (3, False)], ids=["not stored", "stored"]
)
def test_an_exam_awaits_a_study_as_long_as_none_is_stored(study_id: int, *, awaited: bool) -> None:
    links = {0: (StudyLink("1.2.3", study_id, 1),), 1: (StudyLink("1.2.3", study_id, 1),)}

    assert imaging_study.is_awaited(Rows(m1(), studies=links).exams[0]) is awaited


@pytest.mark.parametrize("kind", [Kind.WITHDRAWN, Kind.MOVED, Kind.REFUSED])
def test_nothing_is_awaited_of_an_exam_that_is_no_more(kind: Kind) -> None:
    rows = Rows([an_event(), an_event(kind, "2024-01-09T08:00")])

    assert not imaging_study.is_awaited(rows.exams[0])


@pytest.mark.parametrize(
    ("expected", "code"),
    [(utc("2024-01-16T15:00"), "incomplete"), (utc("2024-01-12T15:00"), "not-found")],
    ids=["expected", "overdue"],
)
def test_the_reason_names_the_study_and_no_patient(expected: str, code: str) -> None:
    row = Rows([*m1(), *m4()], expected=expected).of(THORAX)

    reason = imaging_study.reason(row, NOW)

    assert (reason["severity"], reason["code"], reason["diagnostics"][:21]) == (
        "information",
        code,
        "ImagingStudy/w11: Bil",
    )
