"""DetectedIssue: what a person has to look at."""

from bfr_dicomweb.fhir import detected_issue
from orders_said import utc
from rows_said import a_finding


def test_a_finding_is_preliminary_as_long_as_it_holds() -> None:
    assert detected_issue.build(a_finding())["status"] == "preliminary"


def test_a_resolved_finding_is_final_and_says_since_when() -> None:
    built = detected_issue.build(a_finding(resolved=utc("2024-01-10T08:00")))

    assert (built["status"], built["mitigation"][0]["date"]) == ("final", "2024-01-10T08:00:00Z")


def test_a_finding_names_what_it_is_about() -> None:
    built = detected_issue.build(a_finding(study_instance_uid="1.2.3"))

    assert built["implicated"] == [
        {"reference": "ServiceRequest/o10"},
        {"reference": "ServiceRequest/e11"},
        {"reference": "Task/e11"},
        {
            "type": "ImagingStudy",
            "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
        },
    ]


def test_a_finding_whose_code_has_no_name_keeps_its_code() -> None:
    assert detected_issue.build(a_finding(code="new-kind"))["code"]["text"] == "new-kind"
