"""Task of a workitem: one thing, over FHIR and over the worklist service, seen from both sides."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fhir_schema
import registry as registries
from bfr_dicomweb.fhir import workitem_task, workitem_writing
from fhir_served import link
from hl7_said import THORAX, m1, m2, m3, m4
from objects import a_series
from receivers import HttpReceiver
from registry import PERSONNUMMER, Registry, eventually, resources
from workitems_said import (
    JSON,
    Dataset,
    a_workitem,
    coded,
    new_uid,
    performed,
    state,
    text,
)

Resource = dict[str, Any]

TOLVAN = "191212121212"
ENDED = {"start": "2024-01-08T08:15:00Z", "end": "2024-01-08T08:30:00Z"}


class Both:
    """A registry asked over UPS-RS and over FHIR."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.live = registry.live

    # --- UPS-RS

    def ups(self, method: str, path: str, dataset: Any = None) -> httpx2.Response:
        body = None if dataset is None else orjson.dumps(dataset)
        headers = {"Content-Type": JSON, "Accept": JSON}
        return self.registry.http(method, f"{self.live.url}{path}", content=body, headers=headers)

    def made(self, **attributes: Dataset | None) -> str:
        uid = new_uid()
        assert self.ups("POST", f"/workitems?{uid}", a_workitem(**attributes)).status_code == 201
        return uid

    def claimed(self, **attributes: Dataset | None) -> tuple[str, str]:
        uid, transaction = self.made(**attributes), new_uid()
        self.change(uid, "IN PROGRESS", transaction)
        return uid, transaction

    def change(self, uid: str, requested: str, transaction: str) -> None:
        answer = self.ups("PUT", f"/workitems/{uid}/state", state(requested, transaction))
        assert answer.status_code == 200, answer.text

    def completed(self) -> str:
        uid, transaction = self.claimed()
        answer = self.ups("POST", f"/workitems/{uid}?{transaction}", performed())
        assert answer.status_code == 200, answer.text
        self.change(uid, "COMPLETED", transaction)
        return uid

    def cancelled(self) -> str:
        uid = self.made()
        reason = {"00741238": text("LT", "inte aktuell")}
        assert self.ups("POST", f"/workitems/{uid}/cancelrequest", reason).status_code == 202
        return uid

    def workitem(self, uid: str) -> Dataset:
        (found,) = self.ups("GET", f"/workitems/{uid}").json()
        return dict(found)

    def state_of(self, uid: str) -> str:
        return str(first(self.workitem(uid), "00741000"))

    # --- FHIR

    def task(self, uid: str) -> Resource:
        (found,) = self.registry.found("Task", identifier=f"urn:dicom:uid|urn:oid:{uid}")
        return found

    def post(self, **elements: Any) -> httpx2.Response:
        return self.send("POST", "Task", a_task(**elements))

    def created(self, **elements: Any) -> Resource:
        answer = self.post(**elements)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def put(self, task: Resource, *, headers: Any = None, **elements: Any) -> httpx2.Response:
        changed = {**task, **elements}
        return self.send("PUT", f"Task/{task['id']}", changed, headers=headers)

    def updated(self, task: Resource, **elements: Any) -> Resource:
        answer = self.put(task, **elements)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def send(
        self, method: str, path: str, resource: Any, *, headers: Any = None
    ) -> httpx2.Response:
        url = f"{self.live.fhir}/{path}"
        answer = self.registry.http(method, url, json=resource, headers=headers)
        if answer.content:
            fhir_schema.validate(answer.json())
        return answer


def a_task(**elements: Any) -> Resource:
    told = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "for": {"identifier": {"system": "urn:oid:1.2.3", "value": "NN-17"}},
    }
    return {**told, **elements}


def first(dataset: Dataset, *tags: str) -> Any:
    for tag in tags:
        dataset = dataset[tag]["Value"][0]
    return dataset


def uid_of(task: Resource) -> str:
    return str(task["identifier"][0]["value"]).removeprefix("urn:oid:")


def issue_of(answer: httpx2.Response) -> tuple[int, str]:
    """The status and the code of the issue."""
    return answer.status_code, answer.json()["issue"][0]["code"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("tasks")
    with registries.running(folder, {"notified_hosts": '["127.0.0.1"]'}) as running:
        yield Both(running)


@pytest.fixture(scope="module")
def told(both: Both) -> Registry:
    """An exam that has been performed, with its images."""
    both.registry.told(m1(), m2(), m3(), m4())
    both.registry.store(
        *a_series(2, StudyInstanceUID=THORAX.study_uid, PatientID=TOLVAN, Modality="CT")
    )
    return both.registry


@pytest.fixture
def label() -> str:
    """Of a worklist that no other test knows."""
    return f"L{new_uid()[-14:]}"


@pytest.fixture
def exam(told: Registry) -> str:
    (found,) = told.found("ServiceRequest", identifier=THORAX.accession, intent="filler-order")
    return f"ServiceRequest/{found['id']}"


@pytest.fixture
def study(told: Registry) -> str:
    return f"ImagingStudy/{stored(told, THORAX.study_uid)}"


def stored(registry: Registry, study: str) -> str:
    """The id of a study whose images are here, once it is linked."""
    (found,) = eventually(
        lambda: registry.found("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{study}"),
        lambda found: [one["status"] for one in found] == ["available"],
    )
    return str(found["id"])


# --- a workitem as a Task --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("making", "status"),
    [
        (lambda both: both.made(), "requested"),
        (lambda both: both.made(T00404041=text("CS", "INCOMPLETE")), "on-hold"),
        (lambda both: both.claimed()[0], "in-progress"),
        (lambda both: both.completed(), "completed"),
        (lambda both: both.cancelled(), "cancelled"),
    ],
    ids=["scheduled", "not ready", "in progress", "completed", "canceled"],
)
def test_each_state_has_a_status(both: Both, making: Callable[[Both], str], status: str) -> None:
    assert both.task(making(both))["status"] == status


def test_the_identifier_of_the_task_is_the_uid_of_the_workitem(both: Both) -> None:
    uid = both.made()

    assert both.task(uid)["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}]


def test_the_task_says_what_the_workitem_says(both: Both) -> None:
    task = both.task(both.made(T00400400=text("LT", "lunga?")))

    (coding,) = task["code"]["coding"]
    assert (coding["code"], task["description"], task["groupIdentifier"]["value"]) == (
        "110005",
        "Läs CT",
        "UNILABS",
    )
    assert (task["note"], task["intent"]) == ([{"text": "lunga?"}], "order")


@pytest.mark.parametrize(
    ("said", "shown"), [("HIGH", "stat"), ("MEDIUM", "urgent"), ("LOW", "routine")]
)
def test_the_priority_keeps_its_rank(both: Both, said: str, shown: str) -> None:
    assert both.task(both.made(T00741200=text("CS", said)))["priority"] == shown


def test_the_owner_is_the_organisation_of_the_performer(both: Both) -> None:
    performer = {
        "00404009": coded("R1"),
        "00404037": text("PN", {"Alphabetic": "Ek^Eva"}),
        "00404036": text("LO", "Unilabs"),
    }
    task = both.task(both.made(T00404034={"vr": "SQ", "Value": [performer]}))

    assert (task["owner"]["identifier"]["value"], task["owner"]["display"]) == ("R1", "Unilabs")


def test_the_transaction_uid_is_told_to_nobody(both: Both) -> None:
    uid, transaction = both.claimed()

    assert transaction not in orjson.dumps(both.task(uid)).decode()


def test_what_was_performed_is_the_execution_period(both: Both) -> None:
    assert both.task(both.completed())["executionPeriod"] == {
        "start": "2024-01-08T08:15:00Z",
        "end": "2024-01-08T08:30:00Z",
    }


def test_the_reason_of_a_cancellation_is_that_of_the_status(both: Both) -> None:
    assert both.task(both.cancelled())["statusReason"] == {"text": "inte aktuell"}


def test_a_patient_that_is_not_known_is_named_by_number(both: Both) -> None:
    task = both.task(both.made(T00100020=text("LO", "NN-1"), T00100021=text("LO", "X")))

    assert task["for"]["identifier"] == {"system": "urn:bfr:assigner:X", "value": "NN-1"}


def test_a_patient_that_is_known_is_referred_to(both: Both, told: Registry) -> None:
    (patient,) = told.found("Patient", identifier=TOLVAN)
    uid = both.made(T00100020=text("LO", "19121212-1212"), T00100021=text("LO", "VGR"))

    assert both.task(uid)["for"] == {"reference": f"Patient/{patient['id']}"}


def test_request_and_study_are_referred_to(both: Both, exam: str, study: str) -> None:
    request = {
        "0020000D": text("UI", THORAX.study_uid),
        "00080050": text("SH", THORAX.accession),
    }
    uid = both.made(
        T0040A370={"vr": "SQ", "Value": [request]},
        T0020000D=text("UI", THORAX.study_uid),
        T00100021=text("LO"),
        T00100020=text("LO", TOLVAN),
    )
    task = both.task(uid)

    assert (task["basedOn"], task["focus"]) == ([{"reference": exam}], {"reference": study})


def test_each_change_is_a_version(both: Both) -> None:
    uid = both.made()
    before = both.task(uid)
    both.change(uid, "IN PROGRESS", new_uid())
    after = both.registry.http("GET", f"{both.live.fhir}/Task/{before['id']}")

    version = after.json()["meta"]["versionId"]
    assert after.headers["ETag"] == f'W/"{version}"'
    assert int(version) > int(before["meta"]["versionId"])


def test_the_current_version_is_in_the_history(both: Both) -> None:
    task = both.task(both.made())

    (version,) = resources(both.registry.get(f"Task/{task['id']}/_history"))
    again = both.registry.get(f"Task/{task['id']}/_history/{task['meta']['versionId']}")
    assert version == again == task


def test_what_is_no_workitem_is_not_found(both: Both) -> None:
    assert both.registry.http("GET", f"{both.live.fhir}/Task/u1").status_code == 404


# --- searching -------------------------------------------------------------------------------


def test_tasks_of_exams_and_of_workitems_are_paged_in_one_order(both: Both, told: Registry) -> None:
    both.made(), both.made()
    page = told.get("Task", _count="1000")
    whole = [one["id"] for one in resources(page)]

    paged: list[str] = []
    page = told.get("Task", _count="2")
    while True:
        paged += [one["id"] for one in resources(page)]
        following = link(page, "next")
        if following is None:
            break
        page = told.ask("GET", following)
    assert paged == whole
    assert {id_[0] for id_ in whole} == {"e", "u"}


@pytest.mark.parametrize(
    "query",
    [
        {"status": "requested"},
        {"status": "requested,completed"},
        {"code": "110005"},
        {"patient.identifier": f"{PERSONNUMMER}|{TOLVAN}"},
        {"priority": "stat"},
        {"modified": "gt2024-01-01"},
        {"authored-on": "gt2024-01-01"},
        {"period:missing": "true"},
        {"_sort": "-authored-on"},
        {"based-on:missing": "true"},
    ],
    ids=lambda query: ",".join(query),
)
def test_a_task_is_found_by_what_it_says(
    both: Both, told: Registry, label: str, query: dict[str, str]
) -> None:
    uid = both.made(
        T00741202=text("LO", label),
        T00741200=text("CS", "HIGH"),
        T00100020=text("LO", TOLVAN),
        T00100021=text("LO"),
    )
    found = told.found("Task", **{"group-identifier": label, **query})

    assert list(map(uid_of, found)) == [uid]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "in-progress"},
        {"status": "received"},
        {"patient": "Patient/p999999"},
        {"code": "110002"},
        {"modified": "lt2024-01-01"},
        {"focus": "ImagingStudy/s999999"},
    ],
    ids=lambda query: ",".join(query),
)
def test_a_task_is_not_found_by_what_it_does_not_say(
    both: Both, label: str, query: dict[str, str]
) -> None:
    both.made(T00741202=text("LO", label))

    assert both.registry.found("Task", **{"group-identifier": label, **query}) == []


def test_a_task_is_found_by_request_study_and_owner(
    both: Both, label: str, exam: str, study: str
) -> None:
    owner = {"reference": "Organization/abc", "display": "Reader"}
    both.created(
        basedOn=[{"reference": exam}], **{"for": {}}, owner=owner, groupIdentifier={"value": label}
    )
    asked = {"group-identifier": label}

    assert len(both.registry.found("Task", **asked, **{"based-on": exam})) == 1
    assert len(both.registry.found("Task", **asked, focus=study)) == 1
    assert len(both.registry.found("Task", **asked, owner="Organization/abc")) == 1


# --- creating --------------------------------------------------------------------------------


def test_a_created_task_is_a_workitem_of_its_worklist(both: Both, label: str, study: str) -> None:
    task = both.created(focus={"reference": study}, owner={"display": label}, **{"for": {}})

    query = f"WorklistLabel={label}&ProcedureStepState=SCHEDULED"
    (found,) = both.ups("GET", f"/workitems?{query}").json()
    assert first(found, "00080018") == uid_of(task)


def test_a_workitem_is_a_task_of_its_group(both: Both, label: str) -> None:
    uid = both.made(T00741202=text("LO", label))

    assert [uid_of(one) for one in both.registry.found("Task", **{"group-identifier": label})] == [
        uid
    ]


def test_a_created_task_is_where_its_location_says(both: Both) -> None:
    answer = both.post()

    assert answer.status_code == 201
    version = both.registry.http("GET", answer.headers["Location"])
    assert (version.json(), version.headers["ETag"]) == (answer.json(), answer.headers["ETag"])


def test_the_inputs_are_all_instances_of_the_study(both: Both, study: str) -> None:
    task = both.created(focus={"reference": study}, **{"for": {}})
    workitem = both.workitem(uid_of(task))

    (series,) = workitem["00404021"]["Value"]
    assert len(series["00081199"]["Value"]) == 2
    (url,) = [one["valueUrl"] for one in task["input"]]
    assert url.endswith(f"/studies/{THORAX.study_uid}")


def test_patient_and_request_are_those_of_the_exam(both: Both, exam: str) -> None:
    task = both.created(basedOn=[{"reference": exam}], **{"for": {}})
    workitem = both.workitem(uid_of(task))

    assert first(workitem, "00100020") == TOLVAN
    assert first(workitem, "0040A370", "00080050") == THORAX.accession
    assert task["basedOn"] == [{"reference": exam}]


def test_what_is_created_says_what_was_asked(both: Both) -> None:
    asked = {
        "status": "on-hold",
        "priority": "stat",
        "description": "Läs om",
        "code": {"coding": [{"system": "urn:bfr:coding-scheme:99BFR", "code": "X1"}]},
        "groupIdentifier": {"system": "urn:bfr:worklist", "value": "ÖREBRO"},
        "owner": {"identifier": {"value": "SE232100-001"}, "display": "Örebro"},
        "restriction": {"period": {"start": "2026-01-08T09:00:00Z", "end": "2026-01-09"}},
        "note": [{"text": "bråttom"}],
    }
    made = both.created(**asked)
    made["code"] = {
        "coding": [{k: v for k, v in made["code"]["coding"][0].items() if k != "display"}]
    }

    assert {name: made[name] for name in asked} == asked


def test_the_uid_may_be_given(both: Both) -> None:
    uid = new_uid()
    both.created(identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}])

    assert both.state_of(uid) == "SCHEDULED"


def test_a_uid_is_taken_once(both: Both) -> None:
    identifier = [{"system": "urn:dicom:uid", "value": f"urn:oid:{both.made()}"}]

    assert issue_of(both.post(identifier=identifier)) == (409, "conflict")


def test_what_exists_is_not_created_again(both: Both, label: str) -> None:
    task = a_task(groupIdentifier={"value": label})
    condition = {"If-None-Exist": f"group-identifier={label}"}
    one = both.send("POST", "Task", task, headers=condition)
    other = both.send("POST", "Task", task, headers=condition)

    assert (one.status_code, other.status_code) == (201, 200)
    assert other.json()["id"] == one.json()["id"]


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"intent": "plan"}, "intent"),
        ({"status": "no-status"}, "status"),
        ({"priority": "now"}, "priority"),
        ({"for": {}}, "Task.focus, basedOn or for"),
        ({"for": {"reference": "Patient/p999999"}}, "Task.for"),
        ({"focus": {"reference": "ImagingStudy/s999999"}}, "Task.focus"),
        ({"basedOn": [{"reference": "ServiceRequest/e999999"}]}, "Task.basedOn"),
        ({"basedOn": [{"reference": "http://elsewhere.example/ServiceRequest/1"}]}, "basedOn"),
        ({"description": "x" * 65}, "description"),
        ({"owner": {"type": "Organization"}}, "owner"),
        ({"identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:x"}]}, "identifier"),
        ({"input": [{"type": {"text": "x"}, "valueUrl": "http://x/studies/1.2.9.9"}]}, "input"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_workitem_can_be_is_refused(both: Both, elements: Resource, said: str) -> None:
    answer = both.post(**elements)

    assert answer.status_code == 400
    assert said in answer.json()["issue"][0]["diagnostics"]


def test_only_what_is_to_be_done_is_created(both: Both) -> None:
    assert issue_of(both.post(status="in-progress")) == (409, "business-rule")


def test_a_study_of_another_patient_is_refused(both: Both, study: str) -> None:
    (patient,) = both.registry.found("Patient", identifier=TOLVAN)
    mine = both.post(
        focus={"reference": study}, **{"for": {"reference": f"Patient/{patient['id']}"}}
    )
    assert mine.status_code == 201

    other = stored(both.registry, other_study(both))
    answer = both.post(
        focus={"reference": f"ImagingStudy/{other}"},
        **{"for": {"reference": f"Patient/{patient['id']}"}},
    )
    assert issue_of(answer) == (409, "conflict")


def other_study(both: Both) -> str:
    uid = new_uid()
    both.registry.store(*a_series(1, StudyInstanceUID=uid, PatientID="SOMEBODY-ELSE"))
    return uid


# --- what becomes of it ----------------------------------------------------------------------


def test_an_update_to_in_progress_claims(both: Both) -> None:
    task = both.updated(both.created(), status="in-progress")

    assert task["status"] == "in-progress"
    assert both.state_of(uid_of(task)) == "IN PROGRESS"


def test_what_is_claimed_over_fhir_cannot_be_ended_with_another_transaction(both: Both) -> None:
    uid = uid_of(both.updated(both.created(), status="in-progress"))
    answer = both.ups("PUT", f"/workitems/{uid}/state", state("CANCELED", new_uid()))

    assert answer.status_code == 400


def test_an_update_to_completed_finishes(both: Both) -> None:
    task = both.updated(both.created(), status="in-progress")
    task = both.updated(task, status="completed", executionPeriod=ENDED)

    workitem = both.workitem(uid_of(task))
    done = first(workitem, "00741216")
    assert (task["status"], first(workitem, "00741000")) == ("completed", "COMPLETED")
    assert task["executionPeriod"] == ENDED
    assert first(done, "00404019", "00080100") == "110005"


def test_what_was_made_is_the_output(both: Both, study: str) -> None:
    task = both.updated(
        both.created(focus={"reference": study}, **{"for": {}}), status="in-progress"
    )
    output = [{"type": {"text": "report"}, "valueReference": {"reference": study}}]
    task = both.updated(task, status="completed", executionPeriod=ENDED, output=output)

    urls = [one["valueUrl"] for one in task["output"]]
    assert len(urls) == 2
    assert all(f"/studies/{THORAX.study_uid}/series/" in url for url in urls)


def test_what_is_not_said_keeps_a_task_from_being_completed(both: Both) -> None:
    task = both.updated(both.created(), status="in-progress")
    answer = both.put(task, status="completed")

    assert issue_of(answer) == (409, "business-rule")
    assert "Task.executionPeriod.end" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("claimed", [False, True])
def test_an_update_to_cancelled_ends(both: Both, *, claimed: bool) -> None:
    task = both.created()
    if claimed:
        task = both.updated(task, status="in-progress")
    task = both.updated(task, status="cancelled", statusReason={"text": "dubbel"})

    assert (task["status"], task["statusReason"]) == ("cancelled", {"text": "dubbel"})
    assert both.state_of(uid_of(task)) == "CANCELED"


def test_what_is_claimed_over_dicom_is_only_asked_to_be_cancelled(both: Both) -> None:
    uid, transaction = both.claimed()
    answer = both.put(both.task(uid), status="cancelled")

    assert (answer.status_code, answer.json()["status"]) == (202, "in-progress")
    both.change(uid, "CANCELED", transaction)


def test_what_is_claimed_over_dicom_is_finished_by_its_claimant_alone(both: Both) -> None:
    uid, _ = both.claimed()
    answer = both.put(both.task(uid), status="completed", executionPeriod=ENDED)

    assert issue_of(answer) == (409, "business-rule")


@pytest.mark.parametrize(
    ("making", "status"),
    [
        (lambda both: both.made(), "completed"),
        (lambda both: both.made(), "rejected"),
        (lambda both: both.completed(), "in-progress"),
        (lambda both: both.completed(), "cancelled"),
        (lambda both: both.cancelled(), "requested"),
        (lambda both: both.cancelled(), "completed"),
        (lambda both: both.claimed()[0], "requested"),
    ],
)
def test_other_transitions_are_refused(
    both: Both, making: Callable[[Both], str], status: str
) -> None:
    answer = both.put(both.task(making(both)), status=status, executionPeriod=ENDED)

    assert issue_of(answer) == (409, "business-rule")


def test_what_fhir_has_claimed_is_not_given_back(both: Both) -> None:
    task = both.updated(both.created(), status="in-progress")

    assert issue_of(both.put(task, status="requested")) == (409, "business-rule")


def test_an_update_without_a_change_changes_nothing(both: Both) -> None:
    task = both.created()

    assert both.updated(task) == task


def test_an_element_that_changes_is_changed_in_the_workitem(both: Both) -> None:
    task = both.updated(both.created(), priority="routine", status="on-hold", description="Vänta")

    workitem = both.workitem(uid_of(task))
    tags = ("00741200", "00404041", "00741204")
    assert [first(workitem, tag) for tag in tags] == ["LOW", "UNAVAILABLE", "Vänta"]


def test_a_claim_says_by_whom(both: Both) -> None:
    owner = {"reference": "Organization/abc", "display": "Läsare"}
    task = both.updated(both.created(), status="in-progress", owner=owner)

    performer = first(both.workitem(uid_of(task)), "00404034")
    assert (task["owner"], first(performer, "00404036")) == (owner, "Läsare")


@pytest.mark.parametrize(
    "element",
    [
        {"for": {"reference": "Patient/p999"}},
        {"focus": {"reference": "ImagingStudy/s999"}},
        {"identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}]},
    ],
    ids=lambda element: next(iter(element)),
)
def test_what_a_task_is_about_stays(both: Both, element: Resource) -> None:
    assert issue_of(both.put(both.created(), **element)) == (409, "business-rule")


def test_another_version_than_if_match_says_is_refused(both: Both) -> None:
    task = both.created()
    both.updated(task, status="in-progress")
    old = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}

    assert both.put(task, status="in-progress", headers=old).status_code == 412


def test_the_version_that_if_match_says_is_changed(both: Both) -> None:
    task = both.created()
    current = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}

    assert both.put(task, status="in-progress", headers=current).status_code == 200


def test_a_condition_chooses_the_task(both: Both, label: str) -> None:
    task = both.created(groupIdentifier={"value": label})
    changed = {**task, "status": "in-progress"}
    answer = both.send("PUT", f"Task?group-identifier={label}", changed)

    assert (answer.status_code, answer.json()["status"]) == (200, "in-progress")


def test_of_claims_of_one_version_at_a_time_one_wins(both: Both) -> None:
    task = both.created()
    current = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}
    with ThreadPoolExecutor(8) as pool:
        claims = [
            pool.submit(both.put, task, status="in-progress", headers=current) for _ in range(20)
        ]
        statuses = sorted(claim.result().status_code for claim in claims)

    assert statuses == [200, *[412] * 19]


# --- what is not done ------------------------------------------------------------------------


def test_tasks_of_exams_are_only_read(both: Both, exam: str) -> None:
    task = both.registry.get(f"Task/{exam.partition('/')[2]}")
    answer = both.put(task, status="cancelled")

    assert (answer.status_code, issue_of(answer)[1]) == (405, "not-supported")


def test_no_task_is_deleted(both: Both) -> None:
    url = f"{both.live.fhir}/Task/{both.created()['id']}"

    assert both.registry.http("DELETE", url).status_code == 405


def test_in_a_transaction_no_task_is_written(both: Both, label: str) -> None:
    request = {"method": "POST", "url": "Task"}
    entry = {"resource": a_task(groupIdentifier={"value": label}), "request": request}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = both.registry.http("POST", both.live.fhir, json=bundle)

    assert answer.status_code == 400
    assert both.registry.found("Task", **{"group-identifier": label}) == []


def test_in_a_batch_a_task_is_written(both: Both) -> None:
    request = {"method": "POST", "url": "Task"}
    entry = {"resource": a_task(), "request": request}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = both.registry.ask("POST", "", json=bundle)

    assert answer["entry"][0]["response"]["status"].startswith("201")


def test_the_capabilities_say_what_can_be_done(both: Both) -> None:
    statement = both.registry.get("metadata")
    (task,) = [one for one in statement["rest"][0]["resource"] if one["type"] == "Task"]

    codes = {one["code"] for one in task["interaction"]}
    assert codes >= {"read", "vread", "create", "update", "search-type"}
    assert "delete" not in codes


# --- who is told -----------------------------------------------------------------------------


def test_a_subscription_hears_of_a_claim(both: Both, label: str) -> None:
    with HttpReceiver() as subscriber:
        subscription = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "follow up",
            "criteria": f"Task?status=in-progress&group-identifier={label}",
            "channel": {
                "type": "rest-hook",
                "endpoint": f"{subscriber.url}/claims",
                "payload": "application/fhir+json",
            },
        }
        both.registry.ask("POST", "Subscription", json=subscription)
        uid, _ = both.claimed(T00741202=text("LO", label))
        (called,) = subscriber.wait_for(lambda one: one.path.startswith("/claims"))

    task = orjson.loads(called.body)
    fhir_schema.validate(task)
    assert (uid_of(task), task["status"]) == (uid, "in-progress")


# --- times -----------------------------------------------------------------------------------


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_is_the_same_there_and_back(at: datetime) -> None:
    written = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").replace(".000000Z", "Z")

    assert workitem_task.time(workitem_writing.moment_of(written)) == written


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("20240108", "2024-01-08"),
        ("202401", "2024-01"),
        ("20240108090000", "2024-01-08T08:00:00Z"),
        ("20240708090000", "2024-07-08T07:00:00Z"),
        ("202401080900+0200", "2024-01-08T07:00:00Z"),
        ("20240108090000.5+0000", "2024-01-08T09:00:00.500000Z"),
        ("nonsense", ""),
        ("20241308090000", ""),
    ],
)
def test_a_dicom_time_without_a_zone_is_of_the_place(said: str, shown: str) -> None:
    assert workitem_task.time(said) == shown
