"""What is true of every answer."""

import json
from typing import Any

import httpx2
import pytest

from bfr_dicomweb.errors import ArchiveError
from bfr_dicomweb.http.border import HTTP_STATUS
from live import Live
from objects import an_object, multipart, uid


def concrete(cls: type[ArchiveError]) -> set[type[ArchiveError]]:
    return {cls}.union(*(concrete(sub) for sub in cls.__subclasses__()))


def test_every_error_has_an_http_status() -> None:
    # a door may have errors of its own, which no other door meets
    shared = {cls for cls in concrete(ArchiveError) if cls.__module__ == ArchiveError.__module__}

    assert shared - {ArchiveError} == HTTP_STATUS.keys()


def preflight(client: httpx2.Client, origin: str) -> httpx2.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "accept",
    }
    return client.options("/studies", headers=headers)


def test_pages_on_this_machine_may_read(client: httpx2.Client) -> None:
    origin = "http://localhost:3000"
    response = preflight(client, origin)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (204, origin)


def test_pages_from_elsewhere_may_not_read(client: httpx2.Client) -> None:
    assert preflight(client, "https://evil.example").status_code == 403


def test_a_page_that_may_not_read_is_told_no_origin(client: httpx2.Client) -> None:
    response = client.get("/studies?limit=1", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_errors_are_problem_details(client: httpx2.Client) -> None:
    response = client.get(f"/studies/{uid()}/metadata")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == 404


def test_a_request_id_is_kept(client: httpx2.Client) -> None:
    response = client.get("/studies?limit=1", headers={"X-Request-ID": "abc-1"})
    assert response.headers["X-Request-ID"] == "abc-1"


def test_a_hostile_request_id_is_replaced(client: httpx2.Client) -> None:
    response = client.get("/studies?limit=1", headers={"X-Request-ID": "<script>"})
    assert response.headers["X-Request-ID"] != "<script>"


def test_a_method_that_a_resource_lacks_is_405_with_those_it_has(client: httpx2.Client) -> None:
    response = client.delete("/studies")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_path_that_is_no_resource_is_404(client: httpx2.Client) -> None:
    assert client.get("/nothing").status_code == 404


def test_a_malformed_uid_is_400(client: httpx2.Client) -> None:
    assert client.get("/studies/1.2.x/metadata").status_code == 400


def test_the_log_holds_no_patient_data(server: Live, client: httpx2.Client) -> None:
    body, content_type = multipart([an_object(PatientName="Hemligsson^Greta")])
    client.post("/studies", content=body, headers={"Content-Type": content_type})
    client.get("/studies", params={"PatientName": "Hemligsson*", "limit": "x"})
    log = server.log.read_text().lower()
    assert "hemlig" not in log
    assert '"path":"/dicomweb/studies"' in log


def test_metrics_count_requests_by_path_template(server: Live, client: httpx2.Client) -> None:
    study = uid()
    client.get(f"/studies/{study}/metadata")
    metrics = httpx2.get(f"{server.origin}/metrics").text
    assert 'path="/dicomweb/studies/{study}/metadata"' in metrics
    assert study not in metrics


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_running_server_is_healthy(server: Live, path: str) -> None:
    assert httpx2.get(server.origin + path).status_code == 200


def test_openapi_is_what_the_route_table_says() -> None:
    from bfr_dicomweb.dicomweb import openapi

    made: Any = json.loads(json.dumps(openapi.document()))
    committed = json.loads(openapi.FILE.read_text())
    made["info"].pop("version")
    committed["info"].pop("version")
    assert made == committed
