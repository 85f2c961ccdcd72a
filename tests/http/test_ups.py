"""The worklist service (PS3.18 chapter 11); tests bear the numbers of the conformance cases."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from live import Live
from workitems_said import (
    FILTERED_WORKLIST,
    JSON,
    MINIMAL,
    PUSH,
    WORKLIST,
    Dataset,
    a_workitem,
    coded,
    new_uid,
    performed,
    progress,
    state,
    text,
)

XML = "application/dicom+xml"
MULTIPART_XML = f'multipart/related; type="{XML}"'
IN_FINAL_STATE = ("COMPLETED", "CANCELED")


class Worklist:
    """Requests as a client sends them."""

    def __init__(self, client: httpx2.Client) -> None:
        self.http = client

    def send(self, method: str, path: str, dataset: Any = None, **headers: str) -> httpx2.Response:
        if dataset is None:
            return self.http.request(method, path, headers=headers)
        return self.http.request(
            method, path, json=dataset, headers={"Content-Type": JSON} | headers
        )

    def create(self, dataset: Dataset | None = None, workitem: str | None = None) -> str:
        workitem = workitem or new_uid()
        answer = self.send("POST", f"/workitems?{workitem}", dataset or a_workitem())
        assert answer.status_code == 201, answer.text
        return workitem

    def get(self, workitem: str) -> Dataset:
        answer = self.http.get(f"/workitems/{workitem}").raise_for_status()
        (dataset,) = answer.json()
        return dict(dataset)

    def change(
        self, workitem: str, requested: str, transaction: str | None = None
    ) -> httpx2.Response:
        return self.send("PUT", f"/workitems/{workitem}/state", state(requested, transaction))

    def update(
        self, workitem: str, dataset: Dataset, transaction: str | None = None
    ) -> httpx2.Response:
        query = f"?{transaction}" if transaction else ""
        return self.send("POST", f"/workitems/{workitem}{query}", dataset)

    def claimed(self, dataset: Dataset | None = None) -> tuple[str, str]:
        workitem, transaction = self.create(dataset), new_uid()
        answer = self.change(workitem, "IN PROGRESS", transaction)
        assert answer.status_code == 200, answer.text
        return workitem, transaction

    def completed(self) -> tuple[str, str]:
        workitem, transaction = self.claimed()
        assert self.update(workitem, performed(), transaction).status_code == 200
        answer = self.change(workitem, "COMPLETED", transaction)
        assert answer.status_code == 200, answer.text
        return workitem, transaction

    def canceled(self) -> tuple[str, str]:
        workitem, transaction = self.claimed()
        assert self.change(workitem, "CANCELED", transaction).status_code == 200
        return workitem, transaction

    def state_of(self, workitem: str) -> str:
        return str(self.get(workitem)["00741000"]["Value"][0])

    def search(self, query: str) -> list[str]:
        answer = self.http.get(f"/workitems?{query}")
        assert answer.status_code in (200, 204), answer.text
        found = [] if answer.status_code == 204 else answer.json()
        return [each["00080018"]["Value"][0] for each in found]


@pytest.fixture
def worklist(client: httpx2.Client) -> Worklist:
    return Worklist(client)


@pytest.fixture
def label() -> str:
    """Of a worklist that no other test knows."""
    return new_uid()[-16:]


def warning(answer: httpx2.Response) -> str:
    return re.sub(r"^299 \S+: ", "", answer.headers.get("Warning", ""))


# --- create ----------------------------------------------------------------------------------


def test_ups_01_a_created_workitem_is_where_its_location_says(worklist: Worklist) -> None:
    answer = worklist.send("POST", f"/workitems?{new_uid()}", a_workitem())
    assert answer.status_code == 201
    assert worklist.http.get(answer.headers["Location"]).status_code == 200


def test_ups_01_an_array_of_one_is_taken_too(worklist: Worklist) -> None:
    assert worklist.send("POST", f"/workitems?{new_uid()}", [a_workitem()]).status_code == 201


def test_ups_01_creation_answers_without_a_payload(worklist: Worklist) -> None:
    assert worklist.send("POST", f"/workitems?{new_uid()}", a_workitem()).content == b""


@pytest.mark.parametrize("name", ["workitem", "AffectedSOPInstanceUID"])
def test_ups_02_the_uid_may_stand_under_a_name(worklist: Worklist, name: str) -> None:
    workitem = new_uid()
    worklist.send("POST", f"/workitems?{name}={workitem}", a_workitem())
    assert worklist.get(workitem)["00080018"]["Value"] == [workitem]


def test_ups_03_the_uid_may_stand_in_the_data_set(worklist: Worklist) -> None:
    workitem = new_uid()
    dataset = a_workitem(T00080018=text("UI", workitem))
    assert worklist.send("POST", "/workitems", dataset).status_code == 201
    assert worklist.get(workitem)["00080018"]["Value"] == [workitem]


def test_ups_04_without_a_uid_nothing_is_created(worklist: Worklist) -> None:
    answer = worklist.send("POST", "/workitems", a_workitem())
    assert answer.status_code == 400
    assert "SOP Instance UID (0008,0018)" in answer.json()["detail"]


def test_ups_04_two_uids_that_differ_are_refused(worklist: Worklist) -> None:
    dataset = a_workitem(T00080018=text("UI", new_uid()))
    assert worklist.send("POST", f"/workitems?{new_uid()}", dataset).status_code == 400


def test_ups_05_a_uid_is_created_once(worklist: Worklist) -> None:
    workitem = worklist.create()
    assert worklist.send("POST", f"/workitems?{workitem}", a_workitem()).status_code == 409


def test_ups_06_only_scheduled_is_created(worklist: Worklist) -> None:
    dataset = a_workitem(T00741000=text("CS", "IN PROGRESS"))
    workitem = new_uid()
    assert worklist.send("POST", f"/workitems?{workitem}", dataset).status_code == 400
    assert worklist.http.get(f"/workitems/{workitem}").status_code == 404


@pytest.mark.parametrize("tag", MINIMAL)
def test_ups_07_an_attribute_of_type_1_that_is_missing_is_named(
    worklist: Worklist, tag: str
) -> None:
    answer = worklist.send("POST", f"/workitems?{new_uid()}", a_workitem(**{f"T{tag}": None}))
    assert answer.status_code == 400
    assert f"({tag[:4]},{tag[4:]})" in answer.json()["detail"]


@pytest.mark.parametrize("tag", MINIMAL)
def test_ups_07_an_attribute_of_type_1_has_to_have_a_value(worklist: Worklist, tag: str) -> None:
    empty = {"vr": a_workitem()[tag]["vr"]}
    answer = worklist.send("POST", f"/workitems?{new_uid()}", a_workitem(**{f"T{tag}": empty}))
    assert answer.status_code == 400


@pytest.mark.parametrize(("tag", "value"), [("00741200", "URGENT"), ("00404041", "YES")])
def test_ups_08_values_are_those_that_are_enumerated(
    worklist: Worklist, tag: str, value: str
) -> None:
    dataset = a_workitem(**{f"T{tag}": text("CS", value)})
    assert worklist.send("POST", f"/workitems?{new_uid()}", dataset).status_code == 400


def test_ups_09_what_may_be_empty_is_added_and_said(worklist: Worklist) -> None:
    workitem = new_uid()
    answer = worklist.send("POST", f"/workitems?{workitem}", a_workitem(T00100030=None))
    assert warning(answer) == "The Workitem was created with modifications."
    assert worklist.get(workitem)["00100030"] == {"vr": "DA"}


def test_ups_09_a_complete_workitem_is_created_as_it_is(worklist: Worklist) -> None:
    answer = worklist.send("POST", f"/workitems?{new_uid()}", a_workitem())
    assert "Warning" not in answer.headers


def test_ups_10_nothing_is_claimed_by_creating_it(worklist: Worklist) -> None:
    dataset = a_workitem(T00081195=text("UI", new_uid()))
    assert worklist.send("POST", f"/workitems?{new_uid()}", dataset).status_code == 400


@pytest.mark.parametrize("tag", ["00741002", "00741216"])
def test_ups_10_nothing_has_been_done_when_it_is_created(worklist: Worklist, tag: str) -> None:
    filled = {**progress(50), **performed()}[tag]
    dataset = a_workitem(**{f"T{tag}": filled})
    assert worklist.send("POST", f"/workitems?{new_uid()}", dataset).status_code == 400


def test_ups_11_the_server_says_when_it_was_modified(worklist: Worklist) -> None:
    assert worklist.get(worklist.create())["00404010"]["Value"]


def test_ups_11_the_server_names_the_worklist_when_nobody_did(worklist: Worklist) -> None:
    assert worklist.get(worklist.create(a_workitem(T00741202=text("LO"))))["00741202"]["Value"]


def test_ups_11_every_workitem_is_of_the_push_class(worklist: Worklist) -> None:
    assert worklist.get(worklist.create())["00080016"]["Value"] == [PUSH]


def test_ups_12_a_workitem_is_created_from_xml(worklist: Worklist, client: httpx2.Client) -> None:
    source = client.get(f"/workitems/{worklist.create()}", headers={"Accept": MULTIPART_XML})
    document = source.content.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
    root = ElementTree.fromstring(document)
    for element in list(root):
        if element.get("tag") in ("00080016", "00080018", "00404010"):
            root.remove(element)
    workitem = new_uid()
    answer = client.post(
        f"/workitems?{workitem}",
        content=ElementTree.tostring(root),
        headers={"Content-Type": XML},
    )
    assert answer.status_code == 201, answer.text
    assert worklist.get(workitem)["00100010"]["Value"] == [{"Alphabetic": "Öberg^Åsa"}]


def test_an_unknown_media_type_is_refused(client: httpx2.Client) -> None:
    answer = client.post(
        f"/workitems?{new_uid()}", content=b"x", headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415


def test_a_malformed_attribute_is_named_without_its_value(worklist: Worklist) -> None:
    dataset = a_workitem(T00100030=text("DA", "12 dec 1912"))
    answer = worklist.send("POST", f"/workitems?{new_uid()}", dataset)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Patient's Birth Date (0010,0030) is no DA"


def test_codes_need_a_scheme(worklist: Worklist) -> None:
    code = {"vr": "SQ", "Value": [{"00080100": text("SH", "X"), "00080104": text("LO", "x")}]}
    answer = worklist.send("POST", f"/workitems?{new_uid()}", a_workitem(T00404025=code))
    assert answer.status_code == 400
    assert "Coding Scheme Designator (0008,0102)" in answer.json()["detail"]


# --- retrieve --------------------------------------------------------------------------------


def test_ups_13_json_is_an_array_of_one(client: httpx2.Client, worklist: Worklist) -> None:
    assert len(client.get(f"/workitems/{worklist.create()}").json()) == 1


def test_ups_13_xml_is_one_part(client: httpx2.Client, worklist: Worklist) -> None:
    answer = client.get(f"/workitems/{worklist.create()}", headers={"Accept": MULTIPART_XML})
    assert answer.content.count(b"<NativeDicomModel") == 1


def test_ups_14_nobody_is_told_the_transaction_uid(worklist: Worklist) -> None:
    workitem, transaction = worklist.claimed()
    assert transaction not in worklist.http.get(f"/workitems/{workitem}").text


def test_ups_15_an_unknown_workitem_is_not_found(client: httpx2.Client) -> None:
    assert client.get(f"/workitems/{new_uid()}").status_code == 404


# --- state -----------------------------------------------------------------------------------


def test_ups_16_a_claim_takes_the_workitem_in_progress(worklist: Worklist) -> None:
    workitem = worklist.create()
    answer = worklist.change(workitem, "IN PROGRESS", new_uid())
    assert (answer.status_code, answer.content) == (200, b"")
    assert worklist.state_of(workitem) == "IN PROGRESS"


def test_ups_17_a_claim_needs_a_transaction_uid(worklist: Worklist) -> None:
    answer = worklist.change(worklist.create(), "IN PROGRESS")
    assert answer.status_code == 400
    assert warning(answer) == "The Transaction UID is missing."


def test_ups_18_it_is_claimed_once_by_the_same(worklist: Worklist) -> None:
    workitem, transaction = worklist.claimed()
    answer = worklist.change(workitem, "IN PROGRESS", transaction)
    assert answer.status_code == 409
    assert warning(answer).startswith("The submitted request is inconsistent with the state")


def test_ups_19_it_is_claimed_once_by_others(worklist: Worklist) -> None:
    workitem, transaction = worklist.claimed()
    answer = worklist.change(workitem, "IN PROGRESS", new_uid())
    assert answer.status_code == 400
    assert warning(answer) == "The Transaction UID is incorrect."
    assert worklist.update(workitem, progress(10), transaction).status_code == 200


def test_of_a_hundred_claims_exactly_one_is_first(server: Live, worklist: Worklist) -> None:
    workitem = worklist.create()

    def claim(_: int) -> int:
        answer = httpx2.put(
            f"{server.url}/workitems/{workitem}/state",
            json=state("IN PROGRESS", new_uid()),
            headers={"Content-Type": JSON},
            timeout=60,
        )
        return answer.status_code

    with ThreadPoolExecutor(20) as claimants:
        statuses = list(claimants.map(claim, range(100)))
    assert sorted(statuses) == [200] + [400] * 99


@pytest.mark.parametrize("make", ["create", "claimed", "completed", "canceled"])
def test_ups_20_nothing_becomes_scheduled_again(worklist: Worklist, make: str) -> None:
    made = getattr(worklist, make)()
    workitem, transaction = (made, new_uid()) if isinstance(made, str) else made
    assert worklist.change(workitem, "SCHEDULED", transaction).status_code == 400


def test_ups_20_a_warning_says_so(worklist: Worklist) -> None:
    answer = worklist.change(worklist.create(), "SCHEDULED", new_uid())
    assert answer.status_code == 400
    assert warning(answer).startswith("The submitted request is inconsistent with the state")


@pytest.mark.parametrize("requested", IN_FINAL_STATE)
def test_ups_21_what_nobody_claimed_does_not_end(worklist: Worklist, requested: str) -> None:
    workitem = worklist.create()
    assert worklist.change(workitem, requested, new_uid()).status_code == 409
    assert worklist.state_of(workitem) == "SCHEDULED"


def test_ups_22_what_was_not_performed_is_not_completed(worklist: Worklist) -> None:
    workitem, transaction = worklist.claimed()
    answer = worklist.change(workitem, "COMPLETED", transaction)
    assert answer.status_code == 409
    assert "(0074,1216)" in answer.json()["detail"]
    assert worklist.state_of(workitem) == "IN PROGRESS"


def test_ups_23_what_was_performed_is_completed(worklist: Worklist) -> None:
    workitem, _ = worklist.completed()
    assert worklist.state_of(workitem) == "COMPLETED"


@pytest.mark.parametrize(
    ("transaction", "said"),
    [(None, "The Transaction UID is missing."), ("2.25.1", "The Transaction UID is incorrect.")],
)
def test_ups_24_only_the_claimant_completes(
    worklist: Worklist, transaction: str | None, said: str
) -> None:
    workitem, own = worklist.claimed()
    worklist.update(workitem, performed(), own)
    answer = worklist.change(workitem, "COMPLETED", transaction)
    assert (answer.status_code, warning(answer)) == (400, said)


@pytest.mark.parametrize("make", ["completed", "canceled"])
def test_ups_25_26_what_has_ended_so_already_is_said(worklist: Worklist, make: str) -> None:
    workitem, transaction = getattr(worklist, make)()
    answer = worklist.change(workitem, make.upper(), transaction)
    assert answer.status_code == 200
    assert warning(answer) == f"The UPS is already in the requested state of {make.upper()}."


@pytest.mark.parametrize(
    ("make", "requested"), [("completed", "CANCELED"), ("canceled", "COMPLETED")]
)
def test_ups_27_an_end_is_final(worklist: Worklist, make: str, requested: str) -> None:
    workitem, transaction = getattr(worklist, make)()
    assert worklist.change(workitem, requested, transaction).status_code == 409


def test_ups_28_an_unknown_workitem_has_no_state(worklist: Worklist) -> None:
    assert worklist.change(new_uid(), "IN PROGRESS", new_uid()).status_code == 404


def test_ups_29_there_are_four_states(worklist: Worklist) -> None:
    assert worklist.change(worklist.create(), "FOO", new_uid()).status_code == 400


def test_ups_29_a_state_has_to_be_given(worklist: Worklist) -> None:
    assert worklist.send("PUT", f"/workitems/{worklist.create()}/state").status_code == 400


def test_ups_30_the_server_says_when_it_was_canceled(worklist: Worklist) -> None:
    workitem, _ = worklist.canceled()
    (item,) = worklist.get(workitem)["00741002"]["Value"]
    assert item["00404052"]["Value"]


# --- update ----------------------------------------------------------------------------------


def test_ups_31_what_nobody_claimed_is_updated_by_anybody(worklist: Worklist) -> None:
    workitem = worklist.create()
    assert worklist.update(workitem, {"00741204": text("LO", "Ny")}).status_code == 200
    assert worklist.get(workitem)["00741204"]["Value"] == ["Ny"]


def test_ups_32_what_nobody_claimed_has_no_transaction(worklist: Worklist) -> None:
    workitem = worklist.create()
    assert worklist.update(workitem, {"00741204": text("LO", "Ny")}, new_uid()).status_code == 400


@pytest.mark.parametrize("name", ["", "transaction-uid=", "transactionUID="])
def test_ups_33_the_claimant_tells_of_progress(worklist: Worklist, name: str) -> None:
    workitem, transaction = worklist.claimed()
    assert worklist.update(workitem, progress(50), name + transaction).status_code == 200
    (item,) = worklist.get(workitem)["00741002"]["Value"]
    assert item["00741004"]["Value"] == [50]


def test_ups_33_the_transaction_uid_may_stand_in_the_data_set(worklist: Worklist) -> None:
    workitem, transaction = worklist.claimed()
    dataset = progress(50) | {"00081195": text("UI", transaction)}
    assert worklist.update(workitem, dataset).status_code == 200
    assert transaction not in str(worklist.get(workitem))


@pytest.mark.parametrize("transaction", [None, "2.25.1"])
def test_ups_34_only_the_claimant_updates(worklist: Worklist, transaction: str | None) -> None:
    workitem, _ = worklist.claimed()
    before = worklist.get(workitem)
    answer = worklist.update(workitem, progress(50), transaction)
    assert answer.status_code == 400
    assert warning(answer) == "The target URI did not reference a claimed Workitem."
    assert worklist.get(workitem) == before


@pytest.mark.parametrize("make", ["completed", "canceled"])
def test_ups_35_what_has_ended_is_not_updated(worklist: Worklist, make: str) -> None:
    workitem, transaction = getattr(worklist, make)()
    answer = worklist.update(workitem, progress(50), transaction)
    assert answer.status_code == 400
    assert warning(answer).startswith("The submitted request is inconsistent with the current")


@pytest.mark.parametrize(
    ("tag", "element"),
    [
        ("00741000", text("CS", "IN PROGRESS")),
        ("00100020", text("LO", "X")),
        ("0040A370", {"vr": "SQ"}),
        ("00080018", text("UI", "2.25.1")),
    ],
)
def test_ups_36_37_some_attributes_are_never_updated(
    worklist: Worklist, tag: str, element: Dataset
) -> None:
    workitem = worklist.create()
    before = worklist.get(workitem)
    answer = worklist.update(workitem, {tag: element})
    assert answer.status_code == 400
    assert f"({tag[:4]},{tag[4:]})" in answer.json()["detail"]
    assert worklist.get(workitem) == before


def test_ups_38_a_sequence_is_replaced_as_a_whole(worklist: Worklist) -> None:
    two = {"vr": "SQ", "Value": [*coded("A")["Value"], *coded("B")["Value"]]}
    workitem = worklist.create(a_workitem(T00404025=two))
    worklist.update(workitem, {"00404025": coded("C")})
    codes = [each["00080100"]["Value"] for each in worklist.get(workitem)["00404025"]["Value"]]
    assert codes == [["C"]]


def test_ups_39_the_same_update_twice_is_the_same(worklist: Worklist) -> None:
    workitem = worklist.create()
    seen = []
    for _ in range(2):
        assert worklist.update(workitem, {"00741204": text("LO", "Ny")}).status_code == 200
        seen.append({k: v for k, v in worklist.get(workitem).items() if k != "00404010"})
    assert seen[0] == seen[1]


def test_ups_40_an_update_is_whole_or_not_at_all(worklist: Worklist) -> None:
    workitem = worklist.create()
    dataset = {"00741204": text("LO", "Ny"), "00741200": text("CS", "URGENT")}
    assert worklist.update(workitem, dataset).status_code == 400
    assert worklist.get(workitem)["00741204"]["Value"] == ["Läs CT"]


def test_ups_41_an_unknown_workitem_is_not_updated(worklist: Worklist) -> None:
    assert worklist.update(new_uid(), {"00741204": text("LO", "Ny")}).status_code == 404


def test_an_update_of_another_version_is_refused(worklist: Worklist) -> None:
    workitem = worklist.create()
    etag = worklist.http.get(f"/workitems/{workitem}").headers["ETag"]
    worklist.update(workitem, {"00741204": text("LO", "Ny")})
    answer = worklist.send(
        "POST", f"/workitems/{workitem}", {"00741204": text("LO", "Nyare")}, **{"If-Match": etag}
    )
    assert answer.status_code == 412
    assert worklist.get(workitem)["00741204"]["Value"] == ["Ny"]


# --- cancellation ----------------------------------------------------------------------------


def test_ups_42_46_what_nobody_claimed_is_canceled(worklist: Worklist) -> None:
    workitem = worklist.create()
    assert worklist.send("POST", f"/workitems/{workitem}/cancelrequest").status_code == 202
    assert worklist.state_of(workitem) == "CANCELED"


def test_ups_43_whoever_performs_it_is_asked(worklist: Worklist) -> None:
    workitem, _ = worklist.claimed()
    reason = {"00741238": text("LT", "wrong patient")}
    answer = worklist.send("POST", f"/workitems/{workitem}/cancelrequest", reason)
    assert answer.status_code == 202
    assert worklist.state_of(workitem) == "IN PROGRESS"


def test_ups_44_what_is_completed_is_not_canceled(worklist: Worklist) -> None:
    workitem, _ = worklist.completed()
    assert worklist.send("POST", f"/workitems/{workitem}/cancelrequest").status_code == 409


def test_ups_45_what_is_canceled_is_said_to_be(worklist: Worklist) -> None:
    workitem, _ = worklist.canceled()
    answer = worklist.send("POST", f"/workitems/{workitem}/cancelrequest")
    assert answer.status_code == 202
    assert warning(answer) == "The UPS is already in the requested state of CANCELED."


def test_ups_47_an_unknown_workitem_is_not_canceled(worklist: Worklist) -> None:
    assert worklist.send("POST", f"/workitems/{new_uid()}/cancelrequest").status_code == 404


def test_the_reason_of_a_cancellation_is_kept(worklist: Worklist) -> None:
    workitem = worklist.create()
    reason = {"00741238": text("LT", "ordered twice"), "0074100E": coded("110513")}
    worklist.send("POST", f"/workitems/{workitem}/cancelrequest", reason)
    (item,) = worklist.get(workitem)["00741002"]["Value"]
    assert item["00741238"]["Value"] == ["ordered twice"]


# --- search ----------------------------------------------------------------------------------


def test_ups_48_search_is_by_state(worklist: Worklist, label: str) -> None:
    scheduled = worklist.create(a_workitem(T00741202=text("LO", label)))
    worklist.claimed(a_workitem(T00741202=text("LO", label)))
    assert worklist.search(f"WorklistLabel={label}&ProcedureStepState=SCHEDULED") == [scheduled]


@pytest.mark.parametrize("tag", ["00741000", "00741204", "00100010", "00404041", "0040A370"])
def test_ups_48_what_is_always_returned_is(worklist: Worklist, label: str, tag: str) -> None:
    worklist.create(a_workitem(T00741202=text("LO", label)))
    (found,) = worklist.http.get(f"/workitems?WorklistLabel={label}").json()
    assert tag in found


def test_ups_49_no_match_is_204(client: httpx2.Client) -> None:
    assert client.get("/workitems?WorklistLabel=NOBODY").status_code == 204


REQUEST = {
    "00080050": text("SH", "REM1001-1"),
    "0020000D": text("UI", "1.2.3"),
    "00080051": {"vr": "SQ"},
    "00400026": {"vr": "SQ"},
    "00400027": {"vr": "SQ"},
    "00401001": text("SH", "RP1"),
    "00321060": text("LO"),
    "00321064": {"vr": "SQ"},
}


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (a_workitem(T00741204=text("LO", "Läs MR")), "ProcedureStepLabel=Läs MR"),
        (a_workitem(T00741204=text("LO", "Läs MR")), "ProcedureStepLabel=*MR"),
        (a_workitem(T00741200=text("CS", "HIGH")), "ScheduledProcedureStepPriority=HIGH"),
        (a_workitem(T00404041=text("CS", "INCOMPLETE")), "InputReadinessState=INCOMPLETE"),
        (
            a_workitem(T00404005=text("DT", "20240203101500")),
            "ScheduledProcedureStepStartDateTime=20240203-20240204",
        ),
        (
            a_workitem(T00404011=text("DT", "20240203101500")),
            "ExpectedCompletionDateTime=202402031000-202402031030",
        ),
        (a_workitem(T00100010=text("PN", {"Alphabetic": "Ek^Bo"})), "PatientName=ek*"),
        (a_workitem(T00100020=text("LO", "195001019982")), "PatientID=19500101-9982"),
        (a_workitem(T00380010=text("LO", "ADM7")), "AdmissionID=ADM7"),
        (
            a_workitem(T0040A370={"vr": "SQ", "Value": [REQUEST]}),
            "ReferencedRequestSequence.AccessionNumber=REM1001-1",
        ),
        (
            a_workitem(T0040A370={"vr": "SQ", "Value": [REQUEST]}),
            "ReferencedRequestSequence.RequestedProcedureID=RP1",
        ),
        (a_workitem(T00404025=coded("X1")), "ScheduledStationNameCodeSequence.CodeValue=X1"),
        (a_workitem(T00404026=coded("X2")), "ScheduledStationClassCodeSequence.CodeValue=X2"),
        (
            a_workitem(T00404027=coded("X3")),
            "ScheduledStationGeographicLocationCodeSequence.CodeValue=X3",
        ),
        (a_workitem(T00404018=coded("X4")), "ScheduledWorkitemCodeSequence.CodeValue=X4"),
    ],
)
def test_ups_50_required_keys_select(
    worklist: Worklist, label: str, wanted: Dataset, query: str
) -> None:
    own = worklist.create(wanted | {"00741202": text("LO", label)})
    worklist.create(a_workitem(T00741202=text("LO", label)))
    assert worklist.search(f"WorklistLabel={label}&{query}") == [own]


def test_ups_50_a_performer_is_found_by_code(worklist: Worklist, label: str) -> None:
    human = {
        "00404009": coded("DR7"),
        "00404036": text("LO", "Unilabs"),
        "00404037": text("PN", {"Alphabetic": "Ek^Bo"}),
    }
    performers = {"vr": "SQ", "Value": [human]}
    own = worklist.create(a_workitem(T00741202=text("LO", label), T00404034=performers))
    worklist.create(a_workitem(T00741202=text("LO", label)))
    key = "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue=DR7"
    assert worklist.search(f"WorklistLabel={label}&{key}") == [own]


def test_ups_51_nobody_finds_the_transaction_uid(worklist: Worklist, label: str) -> None:
    _, transaction = worklist.claimed(a_workitem(T00741202=text("LO", label)))
    query = f"/workitems?WorklistLabel={label}&includefield=all"
    assert transaction not in worklist.http.get(query).text


def test_ups_52_pages_follow_each_other(worklist: Worklist, label: str) -> None:
    made = [worklist.create(a_workitem(T00741202=text("LO", label))) for _ in range(5)]
    pages = [
        worklist.search(f"WorklistLabel={label}&limit=2&offset={offset}") for offset in (0, 2, 4)
    ]
    assert [each for page in pages for each in page] == made


def test_ups_52_what_remains_is_said(worklist: Worklist, label: str) -> None:
    for _ in range(3):
        worklist.create(a_workitem(T00741202=text("LO", label)))
    answer = worklist.http.get(f"/workitems?WorklistLabel={label}&limit=1")
    assert warning(answer) == "There are 2 additional results that can be requested"


def test_ups_52_what_remains_is_said_of_keys_that_no_index_has(
    worklist: Worklist, label: str
) -> None:
    for _ in range(3):
        worklist.create(a_workitem(T00741202=text("LO", label)))
    answer = worklist.http.get(f"/workitems?WorklistLabel={label}&PatientName=*berg*&limit=1")
    assert warning(answer) == "There are 2 additional results that can be requested"


def test_ups_53_keys_of_a_sequence_match_in_one_item(worklist: Worklist, label: str) -> None:
    two = {
        "vr": "SQ",
        "Value": [*coded("A", scheme="S1")["Value"], *coded("B", scheme="S2")["Value"]],
    }
    own = worklist.create(a_workitem(T00741202=text("LO", label), T00404025=two))
    key = "ScheduledStationNameCodeSequence.CodeValue=A&ScheduledStationNameCodeSequence"
    found = [
        worklist.search(f"WorklistLabel={label}&{key}.CodingSchemeDesignator={scheme}")
        for scheme in ("S1", "S2")
    ]
    assert found == [[own], []]


def test_ups_54_a_meaning_is_no_key(worklist: Worklist, label: str) -> None:
    own = worklist.create(a_workitem(T00741202=text("LO", label), T00404025=coded("A")))
    key = "ScheduledStationNameCodeSequence.CodeMeaning=other"
    assert worklist.search(f"WorklistLabel={label}&{key}") == [own]


# --- subscriptions ---------------------------------------------------------------------------


def test_ups_55_subscribing_says_where_events_come(worklist: Worklist) -> None:
    answer = worklist.send("POST", f"/workitems/{worklist.create()}/subscribers/READER55")
    assert answer.status_code == 201
    assert answer.headers["Content-Location"].startswith("ws://")


def test_ups_71_an_unknown_workitem_has_no_subscribers(worklist: Worklist) -> None:
    answer = worklist.send("POST", f"/workitems/{new_uid()}/subscribers/READER")
    assert answer.status_code == 404


@pytest.mark.parametrize("query", ["", "?filter=", "?filter=Foo%3D1", "?filter=00741200"])
def test_ups_74_the_filtered_worklist_needs_a_filter(worklist: Worklist, query: str) -> None:
    path = f"/workitems/{FILTERED_WORKLIST}/subscribers/READER74{query}"
    assert worklist.send("POST", path).status_code == 400


def test_ups_74_no_other_subscription_has_a_filter(worklist: Worklist) -> None:
    path = f"/workitems/{WORKLIST}/subscribers/READER74?filter=00741204%3DAI"
    assert worklist.send("POST", path).status_code == 400


def test_ups_77_a_lock_is_or_is_not(worklist: Worklist) -> None:
    path = f"/workitems/{worklist.create()}/subscribers/READER77?deletionlock=maybe"
    assert worklist.send("POST", path).status_code == 400


def test_ups_70_a_subscription_ends_once(worklist: Worklist) -> None:
    path = f"/workitems/{worklist.create()}/subscribers/READER70"
    worklist.send("POST", path)
    first, second = worklist.send("DELETE", path), worklist.send("DELETE", path)
    assert (first.status_code, first.content, second.status_code) == (200, b"", 404)


def test_only_the_worklist_is_suspended(worklist: Worklist) -> None:
    path = f"/workitems/{worklist.create()}/subscribers/READER68"
    worklist.send("POST", path)
    assert worklist.send("POST", f"{path}/suspend").status_code == 400


@pytest.mark.parametrize("title", ["ABCDEFGHIJKLMNOPQ", "Ö", "A%5CB", "%20"])
def test_a_subscriber_has_an_ae_title(worklist: Worklist, title: str) -> None:
    path = f"/workitems/{worklist.create()}/subscribers/{title}"
    assert worklist.send("POST", path).status_code == 400
