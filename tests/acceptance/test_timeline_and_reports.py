"""What a clinician follows from the placed order to the signed report (domain I-01 to I-09)."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import registry as registries
from hl7_said import ABDOMEN, THORAX, Exam, m1, m2, m4, m5, m6, m7, order, report, status
from objects import an_object
from registry import PERSONNUMMER, Registry, eventually, resources, status_of

PATIENT = f"{PERSONNUMMER}|191212121212"
TIMELINE = {
    "patient.identifier": PATIENT,
    "intent": "order",
    "_sort": "-authored",
    "_count": "25",
    "_revinclude": ["ServiceRequest:based-on", "DocumentReference:related"],
    "_revinclude:iterate": ["Task:focus", "ImagingStudy:basedon", "DiagnosticReport:based-on"],
    "_include:iterate": "ImagingStudy:endpoint",
}


def an_order(number: int) -> bytes:
    exam = Exam(f"P{number}", f"ACC{number}", f"1.2.752.113.99.5.{number}")
    day = datetime(2024, 1, 1, 8, tzinfo=UTC) + timedelta(hours=number)
    return order(
        exam, control_id=f"N{number}", time=day.strftime("%Y%m%d%H%M%S"), group=f"G{number}"
    )


def matches(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "match"]


def next_of(bundle: dict[str, Any]) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


def pages(registry: Registry, first: dict[str, Any]) -> list[list[dict[str, Any]]]:
    found, bundle = [matches(first)], first
    while url := next_of(bundle):
        bundle = registry.ask("GET", url)
        found.append(matches(bundle))
    return found


# --- I-01: the timeline -----------------------------------------------------------------------


def test_the_timeline_shows_the_newest_25_orders_newest_first(registry: Registry) -> None:
    registry.told(*(an_order(number) for number in range(60)))

    first = matches(registry.get("ServiceRequest", **TIMELINE))

    times = [order["authoredOn"] for order in first]
    assert (len(times), times) == (25, sorted(times, reverse=True))


def test_all_pages_of_the_timeline_hold_each_order_once(registry: Registry) -> None:
    registry.told(*(an_order(number) for number in range(60)))

    found = pages(registry, registry.get("ServiceRequest", **TIMELINE))

    ids = [order["id"] for page in found for order in page]
    assert ([len(page) for page in found], len(set(ids))) == ([25, 25, 10], 60)


def test_an_order_placed_between_two_pages_moves_nothing(registry: Registry) -> None:
    registry.told(*(an_order(number) for number in range(30)))
    first = registry.get("ServiceRequest", **TIMELINE)
    registry.told(an_order(50))

    found = pages(registry, first)

    ids = [order["id"] for page in found for order in page]
    assert len(ids) == len(set(ids)) == 30


def test_links_to_pages_name_no_patient(registry: Registry) -> None:
    registry.told(*(an_order(number) for number in range(30)))

    url = next_of(registry.get("ServiceRequest", **TIMELINE)) or ""

    assert (bool(url), "191212121212" in url, "patient" in parse_qs(urlsplit(url).query)) == (
        True,
        False,
        False,
    )


def test_the_timeline_by_post_is_the_timeline_by_get(registry: Registry) -> None:
    registry.told(m1(), m2(), m4(), m5())

    got = registry.get("ServiceRequest", **TIMELINE)
    posted = registry.ask("POST", "ServiceRequest/_search", data=TIMELINE)

    assert resources(posted) == resources(got)


def test_the_timeline_brings_all_that_belongs_to_its_orders(registry: Registry) -> None:
    registry.told(m1(), m2(), m4(), m5())
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))
    bundle = eventually(
        lambda: registry.get("ServiceRequest", **TIMELINE),
        lambda b: "available" in [s["status"] for s in resources(b, "ImagingStudy")],
    )

    counts = {
        kind: len(resources(bundle, kind))
        for kind in ("ServiceRequest", "Task", "ImagingStudy", "DiagnosticReport", "Endpoint")
    }
    assert counts == {
        "ServiceRequest": 3,
        "Task": 2,
        "ImagingStudy": 2,
        "DiagnosticReport": 1,
        "Endpoint": 1,
    }


# --- I-04, I-05: reports ----------------------------------------------------------------------


def text_of(resource: dict[str, Any]) -> str:
    data: str = resource["presentedForm"][0]["data"]
    return base64.b64decode(data).decode()


@pytest.mark.parametrize("late", [False, True], ids=["in order", "addendum first"])
def test_bfr_20231012_report_order(registry: Registry, *, late: bool) -> None:
    """The addendum was there and hidden behind the older report (fault of 2023-10-12)."""
    reports = [m6(), m5()] if late else [m5(), m6()]
    registry.told(m1(), m2(), m4(), *reports)

    (found,) = registry.found(
        "DiagnosticReport", **{"based-on.identifier": THORAX.accession, "_count": "1"}
    )
    history = registry.get(f"DiagnosticReport/{found['id']}/_history")

    text = text_of(found)
    assert (found["status"], text.startswith("Tilläggssvar"), "Utlåtande" in text) == (
        "appended",
        True,
        True,
    )
    # newest first, by when things happened and not by when they came
    assert [version["status"] for version in resources(history)] == ["appended", "final"]


def test_a_viewer_that_opens_the_first_report_series_sees_all_of_the_report(
    registry: Registry,
) -> None:
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))
    registry.told(m1(), m2(), m4(), m5(), m6())

    series = eventually(
        lambda: registry.qido(f"/studies/{THORAX.study_uid}/series", Modality="SR"),
        lambda found: len(found) == 2,
    )
    first, second = (
        registry.qido(
            f"/studies/{THORAX.study_uid}/series/{one['0020000E']['Value'][0]}/instances",
            includefield="all",
        )[0]
        for one in series
    )

    predecessors = {
        item["00081155"]["Value"][0]
        for study in first["0040A360"]["Value"]
        for one in study["00081115"]["Value"]
        for item in one["00081199"]["Value"]
    }
    assert predecessors == {second["00080018"]["Value"][0]}


def documents(registry: Registry, *messages: bytes) -> list[dict[str, Any]]:
    registry.told(*messages)
    (placed,) = registry.found("ServiceRequest", identifier="REM1001", intent="order")
    return registry.found(
        "DocumentReference", related=f"ServiceRequest/{placed['id']}", _sort="-date"
    )


def test_the_document_of_an_order_is_rewritten_at_each_status(registry: Registry) -> None:
    found = documents(registry, m1(), m2(), m4(), m5(), m6())

    states = [document["status"] for document in found]
    assert states == ["current"] + ["superseded"] * 4


def test_the_current_document_holds_both_texts_and_all_statuses(registry: Registry) -> None:
    current = documents(registry, m1(), m2(), m4(), m5(), m6())[0]
    url = current["content"][0]["attachment"]["url"]
    document = registry.http(
        "GET", f"{registry.live.fhir}/{url}", headers={"Accept": "application/hl7-v3+xml"}
    ).text

    wanted = ("4 mm nodulus", "Utlåtande", "Mottagen", "Bokad", "Genomförd", "Signerad")
    assert [text for text in wanted if text.casefold() not in document.casefold()] == []


def test_a_cancellation_makes_one_more_document(registry: Registry) -> None:
    found = documents(registry, m1(), m2(), m4(), m5(), m6(), m7())
    url = found[0]["content"][0]["attachment"]["url"]
    document = registry.http(
        "GET", f"{registry.live.fhir}/{url}", headers={"Accept": "application/hl7-v3+xml"}
    ).text

    assert (len(found), "avbruten" in document.casefold()) == (6, True)


# --- I-03: two exams --------------------------------------------------------------------------


def store_both(registry: Registry) -> None:
    registry.store(
        *(
            an_object(StudyInstanceUID=exam.study_uid, AccessionNumber=exam.accession)
            for exam in (THORAX, ABDOMEN)
        )
    )


def linked(registry: Registry) -> list[dict[str, Any]]:
    """Stored studies that are known to be of an exam."""
    studies = registry.found("ImagingStudy", status="available")
    return [study for study in studies if study.get("basedOn")]


def chain(registry: Registry) -> dict[str, Any]:
    return registry.get(
        "ServiceRequest",
        identifier="REM1001",
        **{
            "_revinclude": "ServiceRequest:based-on",
            "_revinclude:iterate": "ImagingStudy:basedon",
        },
    )


def test_bfr_20230908_two_exams(registry: Registry) -> None:
    """An order with two exams opened "no result" through the chain icon (fault of 2023-09-08)."""
    registry.told(m1())
    store_both(registry)

    bundle = eventually(
        lambda: chain(registry),
        lambda b: [s["status"] for s in resources(b, "ImagingStudy")] == ["available"] * 2,
    )
    uids = {
        identifier["value"]
        for study in resources(bundle, "ImagingStudy")
        for identifier in study["identifier"]
        if identifier.get("system") == "urn:dicom:uid"
    }
    by_order = registry.qido("/studies", PlacerOrderNumberImagingServiceRequest="REM1001")
    by_uids = registry.qido("/studies", StudyInstanceUID=f"{THORAX.study_uid},{ABDOMEN.study_uid}")
    by_accession = registry.qido("/studies", AccessionNumber=THORAX.accession)
    assert uids == {f"urn:oid:{THORAX.study_uid}", f"urn:oid:{ABDOMEN.study_uid}"}
    assert [len(found) for found in (by_order, by_uids, by_accession)] == [2, 2, 1]


def test_one_exam_of_an_order_opens_exactly_its_own_study(registry: Registry) -> None:
    registry.told(m1())
    store_both(registry)
    eventually(lambda: linked(registry), lambda found: len(found) == 2)

    (exam,) = registry.found("ServiceRequest", identifier=THORAX.accession)
    studies = registry.found("ImagingStudy", basedon=f"ServiceRequest/{exam['id']}")

    assert [
        identifier["value"]
        for study in studies
        for identifier in study["identifier"]
        if identifier.get("system") == "urn:dicom:uid"
    ] == [f"urn:oid:{THORAX.study_uid}"]


def test_an_exam_without_images_is_shown_with_the_reason(registry: Registry) -> None:
    registry.told(m1())
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))

    bundle = eventually(
        lambda: chain(registry),
        lambda b: "available" in [s["status"] for s in resources(b, "ImagingStudy")],
    )

    outcomes = [entry for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    statuses = sorted(study["status"] for study in resources(bundle, "ImagingStudy"))
    assert (statuses, len(outcomes)) == (["available", "registered"], 1)


def launch(registry: Registry, **query: str) -> tuple[int, str, str | None]:
    answer = registry.http(
        "GET", f"{registry.live.origin}/IHEInvokeImageDisplay", params=query, follow_redirects=False
    )
    return answer.status_code, answer.headers.get("location", ""), answer.headers.get("warning")


@pytest.mark.parametrize("by", ["accessionNumber", "studyUID"])
def test_invoking_the_display_of_both_exams_opens_both_studies(registry: Registry, by: str) -> None:
    registry.told(m1())
    store_both(registry)
    eventually(lambda: linked(registry), lambda found: len(found) == 2)
    values = {
        "accessionNumber": f"{THORAX.accession},{ABDOMEN.accession}",
        "studyUID": f"{THORAX.study_uid},{ABDOMEN.study_uid}",
    }

    code, location, _ = launch(registry, requestType="STUDY", **{by: values[by]})

    assert (code, parse_qs(urlsplit(location).query)["StudyInstanceUIDs"]) == (
        302,
        [f"{THORAX.study_uid},{ABDOMEN.study_uid}"],
    )


def test_invoking_the_display_says_which_study_is_not_archived(registry: Registry) -> None:
    registry.told(m1())
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))
    eventually(lambda: linked(registry), bool)

    code, location, warning = launch(
        registry,
        requestType="STUDY",
        accessionNumber=f"{THORAX.accession},{ABDOMEN.accession}",
    )

    assert (code, THORAX.study_uid in location, (warning or "")[:3]) == (302, True, "299")


# --- I-07: the messages themselves ------------------------------------------------------------


def test_the_message_behind_an_event_is_there_byte_for_byte(registry: Registry) -> None:
    sent = m1()
    registry.told(sent)

    (exam,) = registry.found("ServiceRequest", identifier=THORAX.accession)
    provenance = registry.found("Provenance", target=f"ServiceRequest/{exam['id']}")[0]
    url = provenance["entity"][0]["what"]["reference"]
    kept = registry.http(
        "GET",
        f"{registry.live.fhir}/{url}",
        headers={"Accept": "x-application/hl7-v2+er7"},
    ).content

    assert hashlib.sha256(kept).hexdigest() == hashlib.sha256(sent).hexdigest()


def test_the_event_view_lists_all_that_happened_newest_first(registry: Registry) -> None:
    registry.told(m1(), m4(), m2(), m5())

    (exam,) = registry.found("ServiceRequest", identifier=THORAX.accession)
    events = registry.found("Provenance", target=f"ServiceRequest/{exam['id']}", _sort="-when")

    codes = [event["activity"]["coding"][0]["code"] for event in events]
    assert codes == ["signed", "performed", "booked", "received"]


# --- I-09: images that are expected -----------------------------------------------------------

CARLANDERSKA = """
[[senders]]
name = "carlanderska"
facility = "CARL"
role = "filler"
performer = { identifier = "SE5560000000-CARL", name = "Carlanderska" }
delay = { criterion = "signed", hours = 48 }
"""
CARL_RIS = ("RISCARL", "CARL")


def local(moment: datetime) -> str:
    """As HL7 v2 writes it, with its offset."""
    return moment.strftime("%Y%m%d%H%M%S+0000")


def signed_ago(hours: float) -> list[bytes]:
    signed = datetime.now(UTC) - timedelta(hours=hours)
    placed = signed - timedelta(days=1)
    return [
        order(THORAX, control_id="N1", time=local(placed)),
        status(
            THORAX,
            codes=("SC", "CM", "N"),
            control_id="S1",
            time=local(signed - timedelta(hours=1)),
            sender=CARL_RIS,
        ),
        report(THORAX, "Utlåtande: u.a.", control_id="R1", time=local(signed), sender=CARL_RIS),
    ]


@pytest.fixture
def with_carlanderska(tmp_path: Path) -> Iterator[Registry]:
    file = tmp_path / "exchange.toml"
    file.write_text(CARLANDERSKA)
    with registries.running(tmp_path / "registry", {"exchange": str(file)}) as running:
        yield running


def test_images_that_are_not_yet_due_are_shown_as_expected(with_carlanderska: Registry) -> None:
    registry = with_carlanderska
    registry.told(*signed_ago(1))

    (study,) = registry.found("ImagingStudy", **{"patient.identifier": PATIENT})

    due = datetime.now(UTC) + timedelta(hours=47)
    days = {(due + timedelta(hours=shift)).strftime("%Y-%m-%d") for shift in (-2, 0, 2)}
    note = study["note"][0]["text"]
    assert (study["status"], any(day in note for day in days)) == ("registered", True)


def test_overdue_images_are_a_finding_until_they_come(with_carlanderska: Registry) -> None:
    registry = with_carlanderska
    registry.told(*signed_ago(49))

    def findings() -> list[tuple[str, str]]:
        found = registry.found("DetectedIssue", code="images-overdue")
        return [(one["status"], one["code"]["coding"][0]["code"]) for one in found]

    raised = eventually(findings, bool)
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))
    resolved = eventually(findings, lambda found: found[0][0] != "preliminary")

    assert (raised, resolved) == (
        [("preliminary", "images-overdue")],
        [("final", "images-overdue")],
    )


def test_the_status_of_a_task_is_shown_fine_and_coarse(registry: Registry) -> None:
    registry.told(m1(), m2())

    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": THORAX.accession})

    codes = [coding["code"] for coding in task["businessStatus"]["coding"]]
    assert (status_of(task), codes) == ("booked", ["booked", "bokad"])


def warning_of(registry: Registry, **query: str) -> tuple[int, str]:
    answer = registry.http("GET", f"{registry.live.url}/studies", params=query)
    return answer.status_code, answer.headers.get("warning", "")


def test_a_search_for_images_that_have_not_come_says_so(registry: Registry) -> None:
    registry.told(m1())

    code, warning = warning_of(registry, AccessionNumber=THORAX.accession)

    assert (code, warning.startswith("299 "), "archived yet" in warning) == (204, True, True)


def by_order(registry: Registry) -> tuple[int, str]:
    return warning_of(registry, PlacerOrderNumberImagingServiceRequest="REM1001")


def test_a_search_by_order_says_what_is_missing(registry: Registry) -> None:
    registry.told(m1())
    registry.store(an_object(StudyInstanceUID=THORAX.study_uid, AccessionNumber=THORAX.accession))

    found = eventually(lambda: by_order(registry), lambda found: found[0] == 200)

    assert "No images of 1 exam " in found[1]


def test_a_search_that_finds_all_says_nothing(registry: Registry) -> None:
    registry.told(m1())
    store_both(registry)

    eventually(lambda: by_order(registry), lambda found: found == (200, ""))
