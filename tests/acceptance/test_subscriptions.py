"""Who asked for it is told of resources that changed (FHIR R4, Subscription, rest-hook)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

import fhir_schema
import registry as registries
from hl7_said import Exam, order, report, status
from objects import an_object
from receivers import Called, HttpReceiver
from registry import Registry, status_of

JSON: Final = "application/fhir+json"
SETTINGS: Final = {"notified_hosts": '["127.0.0.1"]'}


@pytest.fixture(scope="module")
def subscriber() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.running(tmp_path_factory.mktemp("hooks"), SETTINGS) as running:
        yield running


def subscription(endpoint: str, criteria: str, **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "follow up",
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": endpoint} | channel,
    }


def subscribed(registry: Registry, endpoint: str, criteria: str, **channel: Any) -> dict[str, Any]:
    asked = subscription(endpoint, criteria, **channel)
    return registry.ask("POST", "Subscription", json=asked)


def under(path: str) -> Callable[[Called], bool]:
    return lambda called: called.path.startswith(path)


def exam(number: int) -> Exam:
    return Exam(f"P{number}", f"A{number}", f"1.2.752.113.99.30.{number}")


def ordered(number: int) -> bytes:
    return order(exam(number), control_id=f"N{number}", time="20240108080000", group=f"G{number}")


def performed(number: int) -> bytes:
    return status(
        exam(number),
        codes=("SC", "CM", "N"),
        control_id=f"S{number}",
        time="20240110093000",
        group=f"G{number}",
    )


def signed(number: int, *, result: str = "F", time: str = "20240110150000") -> bytes:
    return report(
        exam(number),
        f"Utlåtande {result}",
        control_id=f"R{number}{result}",
        time=time,
        group=f"G{number}",
        result=result,
    )


def resources_of(called: Sequence[Called]) -> list[dict[str, Any]]:
    return [orjson.loads(one.body) for one in called]


def test_a_requested_subscription_is_active(registry: Registry, subscriber: HttpReceiver) -> None:
    made = subscribed(registry, f"{subscriber.url}/active", "Task?status=completed")

    assert registry.get(f"Subscription/{made['id']}")["status"] == "active"


def test_with_a_payload_the_resource_is_put(registry: Registry, subscriber: HttpReceiver) -> None:
    criteria = "Task?business-status=performed"
    headers = ["Authorization: Bearer abc", "X-Kind: two words"]
    endpoint = f"{subscriber.url}/put"
    subscribed(registry, endpoint, criteria, payload=JSON, header=headers)

    registry.told(ordered(1), performed(1))
    (called,) = subscriber.wait_for(under("/put"))

    (task,) = resources_of([called])
    fhir_schema.validate(task)
    assert (called.method, called.path) == ("PUT", f"/put/Task/{task['id']}")
    assert status_of(task) == "performed"
    sent = [called.headers[name] for name in ("content-type", "authorization", "x-kind")]
    assert sent == [JSON, "Bearer abc", "two words"]


def test_without_a_payload_an_empty_post_comes(
    registry: Registry, subscriber: HttpReceiver
) -> None:
    subscribed(registry, f"{subscriber.url}/post", "DiagnosticReport?status=final")

    registry.told(ordered(2), performed(2), signed(2))
    (called,) = subscriber.wait_for(under("/post"))

    assert (called.method, called.path, called.body) == ("POST", "/post", b"")


def test_what_does_not_match_is_not_told(registry: Registry, subscriber: HttpReceiver) -> None:
    criteria = "DiagnosticReport?status=final"
    subscribed(registry, f"{subscriber.url}/final", criteria, payload=JSON)

    registry.told(ordered(3), performed(3), signed(3, result="P", time="20240110140000"))
    registry.told(ordered(4), performed(4), signed(4))
    called = subscriber.wait_for(under("/final"))

    (found,) = registry.found("DiagnosticReport", **{"based-on.identifier": "A4"})
    assert {one["id"] for one in resources_of(called)} == {found["id"]}


def test_a_criterion_may_lead_through_a_reference(
    registry: Registry, subscriber: HttpReceiver
) -> None:
    criteria = "Task?focus:ServiceRequest.identifier=A6"
    subscribed(registry, f"{subscriber.url}/chain", criteria, payload=JSON)

    registry.told(ordered(5), ordered(6))
    called = subscriber.wait_for(under("/chain"))

    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": "A6"})
    assert {one["id"] for one in resources_of(called)} == {task["id"]}


def test_images_that_come_are_told(registry: Registry, subscriber: HttpReceiver) -> None:
    criteria = "ImagingStudy?status=available"
    subscribed(registry, f"{subscriber.url}/study", criteria, payload=JSON)

    image = an_object(StudyInstanceUID="1.2.752.113.99.31.1")
    registry.store(image)
    called = subscriber.wait_for(under("/study"))

    (study,) = {one["id"]: one for one in resources_of(called)}.values()
    assert study["identifier"][0]["value"] == "urn:oid:1.2.752.113.99.31.1"


def test_changes_of_one_exam_are_told_in_their_order(
    registry: Registry, subscriber: HttpReceiver
) -> None:
    criteria = "Task?focus:ServiceRequest.identifier=A7"
    subscribed(registry, f"{subscriber.url}/order", criteria, payload=JSON)

    for place, message in enumerate((ordered(7), performed(7), signed(7)), start=1):
        registry.told(message)
        subscriber.wait_for(under("/order"), place)

    called = subscriber.wait_for(under("/order"))
    statuses = [status_of(task) for task in resources_of(called)]
    assert list(dict.fromkeys(statuses)) == ["received", "performed", "signed"]


def test_a_subscriber_that_fails_is_told_again(registry: Registry) -> None:
    answers = iter((500, 503))

    def failing(_: Called) -> tuple[int, str, bytes]:
        return next(answers, 200), "", b""

    with HttpReceiver(failing) as subscriber:
        criteria = "Task?focus:ServiceRequest.identifier=A8"
        subscribed(registry, f"{subscriber.url}/again", criteria, payload=JSON)
        registry.told(ordered(8))

        called = subscriber.wait_for(under("/again"), 3)

    assert len({one.body for one in called}) == 1


def test_a_subscription_that_is_deleted_tells_nothing(
    registry: Registry, subscriber: HttpReceiver
) -> None:
    ended = subscribed(registry, f"{subscriber.url}/ended", "Task?", payload=JSON)
    subscribed(registry, f"{subscriber.url}/lasting", "Task?", payload=JSON)
    deleted = registry.http("DELETE", f"{registry.live.fhir}/Subscription/{ended['id']}")

    registry.told(ordered(9))
    subscriber.wait_for(under("/lasting"))

    assert deleted.is_success
    assert subscriber.wait_for(under("/ended"), count=0) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (subscription("http://example.org/in", "Task?"), "notified_hosts"),
        (subscription("ftp://127.0.0.1/in", "Task?"), "endpoint"),
        (subscription("http://127.0.0.1:1/in", "Medication?"), "criteria"),
        (subscription("http://127.0.0.1:1/in", "Task?no-such=1"), "no-such"),
        (subscription("http://127.0.0.1:1/in", "Task?", payload="text/html"), "payload"),
        (subscription("http://127.0.0.1:1/in", "Task?", type="email"), "rest-hook"),
        (subscription("http://127.0.0.1:1/in", "Task?", header=["a: b\r\nc: d"]), "header"),
    ],
    ids=["host", "scheme", "type", "parameter", "payload", "channel", "header"],
)
def test_what_cannot_be_delivered_is_refused(
    registry: Registry, asked: dict[str, Any], said: str
) -> None:
    answer = registry.http("POST", f"{registry.live.fhir}/Subscription", json=asked)

    outcome = answer.json()
    fhir_schema.validate(outcome)
    assert answer.status_code in range(400, 500)
    assert said in outcome["issue"][0]["diagnostics"]


def test_a_subscription_survives_the_server(tmp_path: Path) -> None:
    with registries.running(tmp_path, SETTINGS) as registry, HttpReceiver() as subscriber:
        subscribed(registry, f"{subscriber.url}/after", "Task?", payload=JSON)
        registry.live.kill()
        registry.live.start()

        registry.told(ordered(1))
        called = subscriber.wait_for(under("/after"))

    assert {status_of(task) for task in resources_of(called)} == {"received"}


def test_what_is_told_later_is_what_is_true_then(registry: Registry) -> None:
    with HttpReceiver(lambda _: (500, "", b"")) as failing:
        criteria = "Task?focus:ServiceRequest.identifier=A10"
        subscribed(registry, f"{failing.url}/late", criteria, payload=JSON)
        registry.told(ordered(10))
        failing.wait_for(under("/late"))
        registry.told(performed(10))

        called = failing.wait_for(under("/late"), 2)

    assert status_of(resources_of(called)[1]) == "performed"
