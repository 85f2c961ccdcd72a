"""The change feed over HTTP."""

import io
import threading
from collections.abc import Callable

import httpx2
import pytest
from pydicom import dcmread

from objects import an_object

Store = Callable[..., httpx2.Response]


def end_of(client: httpx2.Client) -> int:
    """The number behind which nothing has happened yet."""
    after = 0
    while (page := client.get("/changes", params={"since": after}).json())["changes"]:
        after = page["next"]
    return after


def test_what_is_stored_is_told_by_its_uids(client: httpx2.Client, store: Store) -> None:
    since, file = end_of(client), an_object()
    store([file])
    page = client.get("/changes", params={"since": since, "kind": "instance-stored"}).json()
    (told,) = page["changes"]
    stored = dcmread(io.BytesIO(file))
    assert told["StudyInstanceUID"] == stored.StudyInstanceUID
    assert told["SeriesInstanceUID"] == stored.SeriesInstanceUID
    assert told["SOPInstanceUID"] == stored.SOPInstanceUID
    assert page["next"] >= told["number"] > since


def test_who_waits_is_answered_when_something_is_stored(
    client: httpx2.Client, store: Store
) -> None:
    query = {"since": str(end_of(client)), "kind": "instance-stored", "wait": "20"}
    answers: list[httpx2.Response] = []
    waiting = threading.Thread(
        target=lambda: answers.append(httpx2.get(f"{client.base_url}changes", params=query))
    )
    waiting.start()
    waiting.join(0.5)
    is_waiting = waiting.is_alive()
    store([an_object()])
    waiting.join(15)
    assert is_waiting
    assert len(answers[0].json()["changes"]) == 1


@pytest.mark.parametrize(
    "query", ["since=x", "since=-1", "limit=1.5", "wait=-1", "since=99999999999999999999"]
)
def test_a_parameter_that_is_no_number_is_refused(client: httpx2.Client, query: str) -> None:
    assert client.get(f"/changes?{query}").status_code == 400


def test_a_number_that_was_never_given_is_a_conflict(client: httpx2.Client) -> None:
    assert client.get("/changes", params={"since": 1 << 62}).status_code == 409


def test_an_answer_is_not_for_caches(client: httpx2.Client) -> None:
    assert client.get("/changes").headers["Cache-Control"] == "no-store"


def test_a_client_that_takes_no_json_is_refused(client: httpx2.Client) -> None:
    assert client.get("/changes", headers={"Accept": "image/png"}).status_code == 406
