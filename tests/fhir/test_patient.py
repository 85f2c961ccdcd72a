"""Patient: a record, and what other records are of the same person."""

from bfr_dicomweb.fhir import patient
from bfr_dicomweb.orders.events import Demographics
from orders_said import utc
from rows_said import a_patient


def test_a_record_that_was_merged_is_replaced_and_not_active() -> None:
    built = patient.build(a_patient(root_id=7, merged_into=7))

    assert (built["active"], built["link"]) == (
        False,
        [{"other": {"reference": "Patient/p7"}, "type": "replaced-by"}],
    )


def test_a_record_that_others_were_merged_into_names_them() -> None:
    built = patient.build(a_patient(others=(7, 8)))

    assert [(one["other"]["reference"], one["type"]) for one in built["link"]] == [
        ("Patient/p7", "replaces"),
        ("Patient/p8", "replaces"),
    ]


def test_given_names_are_apart() -> None:
    known = Demographics(family="Tolvansson", given="Tolvan Tolv")

    assert patient.build(a_patient(demographics=known))["name"] == [
        {"family": "Tolvansson", "given": ["Tolvan", "Tolv"], "text": "Tolvan Tolv Tolvansson"}
    ]


def test_a_protected_person_has_a_security_label() -> None:
    built = patient.build(a_patient(demographics=Demographics(security="sekretessmarkering")))

    assert built["meta"]["security"][0]["code"] == "sekretessmarkering"


def test_a_time_of_death_is_a_time() -> None:
    built = patient.build(a_patient(demographics=Demographics(deceased=utc("2024-01-08T08:00"))))

    assert built["deceasedDateTime"] == "2024-01-08T08:00:00Z"
