"""The client of the suite: what it sends, what it keeps to itself, and what it never shows."""

import json
from typing import Final

import httpx2
import pytest

from dicomweb_conformance import archive, running
from dicomweb_conformance.cases import find
from dicomweb_conformance.exchanges import MASK, Shown, query_string
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.synthetic import files
from dicomweb_conformance.target import Target, Unreachable, open_client
from dicomweb_conformance.verdicts import Outcome, Unmet, Violated
from planted_faults import Peer, judged, status
from right_server import BASE, JSON, RightServer, answer

FOREIGN_UID: Final = "1.2.276.0.7230010.3.1.2.123456789.1"
OWN_UID: Final = "2.25.314159265358979323846264338327950288419"


def foreign(**values: str) -> bytes:
    return json.dumps(
        [
            {
                "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Lindqvist^Anna"}]},
                "00100020": {"vr": "LO", "Value": ["19121212-1212"]},
                "00101010": {"vr": "DS", "Value": [71.5]},
                "0020000D": {"vr": "UI", "Value": [FOREIGN_UID]},
                "00280010": {"vr": "US", "Value": [512]},
                "00081190": {"vr": "UR", "Value": [f"http://a/studies/{FOREIGN_UID}"]},
            }
        ]
    ).encode()


@pytest.mark.parametrize("secret", ["Lindqvist", "19121212", "71.5", FOREIGN_UID])
def test_values_of_others_are_masked(secret: str) -> None:
    assert secret not in Shown().body(JSON, foreign(), status=200)


@pytest.mark.parametrize("plain", ["512", "1.2.840.10008.5.1.4.1.1.2", "00100010", MASK])
def test_the_shape_of_an_answer_can_be_seen(plain: str) -> None:
    assert plain in Shown().body(JSON, foreign(), status=200)


def test_dicom_json_is_shown_with_an_attribute_a_line() -> None:
    rows = [{"00280010": {"vr": "US", "Value": [512]}, "00280011": {"vr": "US"}}, {}]

    shown = Shown().body(JSON, json.dumps(rows).encode(), status=200)

    assert json.loads(shown) == rows
    assert len(shown.splitlines()) == 3


async def test_payloads_are_shown_whole_where_a_verdict_rests_on_them() -> None:
    passed, failed = await judged("MET-01"), await judged("MET-01", status(500))

    lengths = [max(len(each.response_body) for each in v.exchanges) for v in (passed, failed)]
    assert (passed.outcome, failed.outcome) == (Outcome.PASS, Outcome.FAIL)
    assert lengths[0] < 500 < lengths[1]


def test_own_values_are_shown() -> None:
    shown = Shown({"Lindqvist^Anna", FOREIGN_UID}).body(JSON, foreign(), status=200)

    assert "Lindqvist^Anna" in shown
    assert FOREIGN_UID in shown


@pytest.mark.parametrize("media_type", ["image/jpeg", "text/html; charset=utf-8", "text/plain"])
def test_other_payloads_of_success_are_only_measured(media_type: str) -> None:
    shown = Shown().body(media_type, b"Lindqvist^Anna", status=200)

    assert shown.startswith("(14 bytes of ")


@pytest.mark.parametrize("uid", [FOREIGN_UID, OWN_UID])
def test_uids_of_others_are_masked_in_paths_and_headers(uid: str) -> None:
    shown = Shown()

    assert shown.text(f"/studies/{uid}/metadata") == f"/studies/{MASK}/metadata"
    assert shown.headers([("Location", f"http://h/studies/{uid}")])["Location"].endswith(MASK)


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "HTTP/1.1", "1.2.840.10008.1.2.4.50", "0.25"])
def test_addresses_versions_and_the_standards_uids_stay(text: str) -> None:
    assert Shown().text(text) == text


@pytest.mark.parametrize("name", ["Set-Cookie", "authorization", "X-Api-Key"])
def test_what_lets_somebody_in_is_masked(name: str) -> None:
    assert Shown().headers([(name, "secret")]) == {name: MASK}


def test_values_of_a_query_are_percent_encoded() -> None:
    assert query_string({"PatientName": "Å^*", "x": "a,b"}) == "PatientName=%C3%85%5E*&x=a%2Cb"


async def sent(
    *, credentials: bool = True, path: str = "/studies", **how: object
) -> httpx2.Request:
    """The request as it leaves the client."""
    requests: list[httpx2.Request] = []

    def take(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return answer(204)

    async with open_client(transport=httpx2.MockTransport(take)) as client:
        target = Target(
            client, BASE, credentials={"Authorization": "Bearer x"} if credentials else {}
        )
        await target.request("GET", path, **how)  # type: ignore[arg-type]
    return requests[0]


async def test_no_accept_header_means_none() -> None:
    assert "accept" not in (await sent(accept=None)).headers


async def test_payloads_are_asked_for_as_they_are() -> None:
    assert "accept-encoding" not in (await sent()).headers


async def test_credentials_go_to_the_server() -> None:
    assert (await sent()).headers["authorization"] == "Bearer x"


async def test_credentials_go_nowhere_else() -> None:
    assert "authorization" not in (await sent(path="https://elsewhere.example/bulk/1")).headers


async def test_credentials_can_be_left_out() -> None:
    assert "authorization" not in (await sent(anonymous=True)).headers


async def test_a_query_is_sent_as_it_is_written() -> None:
    request = await sent(query="limit=1&x=%C3%85,b")

    assert request.url.raw_path.endswith(b"/studies?limit=1&x=%C3%85,b")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_is_changed_in_a_read_only_run(method: str) -> None:
    def never(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(request.method)

    async with open_client(transport=httpx2.MockTransport(never)) as client:
        with pytest.raises(Unmet):
            await Target(client, BASE, read_only=True).request(method, "/studies")


@pytest.mark.parametrize("id", ["STW-01", "CAP-01", "COM-01", "MET-01", "QID-08"])
async def test_credentials_that_expire_are_nobodys_verdict(id: str) -> None:
    verdict = await judged(
        id, status(401, lambda _: True), credentials={"Authorization": "Bearer right"}
    )

    assert verdict.outcome is Outcome.SKIP
    assert "401, the server wants other credentials" in verdict.reason


def lost(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ReadTimeout("", request=request)


def closed(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused", request=request)


async def test_no_response_is_the_servers_fault() -> None:
    async with open_client(transport=httpx2.MockTransport(lost)) as client:
        with pytest.raises(Violated, match="no response"):
            await Target(client, BASE).get("/studies")


async def test_no_server_is_nobodys_verdict() -> None:
    async with open_client(transport=httpx2.MockTransport(closed)) as client:
        with pytest.raises(Unreachable):
            await running.run(Target(client, BASE), [find("COM-01")], run_id="1")


async def test_what_was_found_before_the_server_went_away_is_kept() -> None:
    peer, asked = Peer(RightServer()), [find(id) for id in ("INS-01", "INS-05", "INS-06")]

    def gone(request: httpx2.Request) -> httpx2.Response:
        # it dies of this question
        if request.headers.get("accept") == "application/dicom":
            peer.fault = closed_for_good
            raise httpx2.RemoteProtocolError("", request=request)
        return peer(request)

    def closed_for_good(request: httpx2.Request, _: httpx2.Response) -> httpx2.Response:
        return closed(request)

    async with open_client(transport=httpx2.MockTransport(gone)) as client:
        done = await running.run(Target(client, BASE), asked, run_id="1")

    assert [each.outcome.value for each in done.verdicts] == ["PASS", "FAIL", "SKIP"]
    assert "it answered before" in done.verdicts[-1].reason
    assert done.lost
    assert done.remaining


async def test_a_read_only_run_finds_studies_that_will_do() -> None:
    server = RightServer()
    peer = Peer(server)
    async with open_client(transport=httpx2.MockTransport(peer)) as client:
        await archive.store(Target(client, BASE), [Fixture.F1, Fixture.F8], Uids("theirs"))
        target = Target(client, BASE, read_only=True)

        done = await running.run(
            target, [find("COM-01"), find("INS-02"), find("BLK-03"), find("BLK-01")], run_id="1"
        )

    outcomes = {each.case.id: each.outcome.value for each in done.verdicts}
    assert outcomes == {"COM-01": "PASS", "INS-02": "PASS", "BLK-03": "PASS", "BLK-01": "SKIP"}
    shown = json.dumps(
        [each.response_body for verdict in done.verdicts for each in verdict.exchanges]
    )
    assert "strom" not in shown
    assert Uids("theirs")("S1") not in shown


def test_the_same_run_id_makes_the_same_objects() -> None:
    first = files(Fixture.F14, Uids("a"))

    assert files(Fixture.F14, Uids("a")) == first
    assert files(Fixture.F14, Uids("b")) != first


@pytest.mark.parametrize("name", ["S1", "S13.30", "å"])
def test_uids_are_of_the_uuid_root_and_short_enough(name: str) -> None:
    uid = Uids("run")(name)

    assert uid.startswith("2.25.")
    assert len(uid) <= 44
