"""Retrieve Capabilities (PS3.18 section 8.9, Annexes G and H) and the served OpenAPI."""

import re
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from bfr_dicomweb.dicomweb import capabilities, openapi
from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS
from live import Live
from objects import uid

WADL = "application/vnd.sun.wadl+xml"
W = "{http://wadl.dev.java.net/2009/02}"
JSON = "application/json"
# Templates that are no UIDs.
FILLED = {
    "framelist": "1",
    "BulkDataReference": "7FE00010",
    "AETitle": "NOBODY",
}


@pytest.fixture
def wadl(client: httpx2.Client) -> ElementTree.Element:
    response = client.request("OPTIONS", "/", headers={"Accept": WADL})
    assert response.status_code == 200
    return ElementTree.fromstring(response.content)


@pytest.fixture
def described(client: httpx2.Client) -> dict[str, Any]:
    response = client.request("OPTIONS", "/", headers={"Accept": JSON})
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def resource(wadl: ElementTree.Element, *path: str) -> ElementTree.Element:
    found = wadl.find(f"{W}resources")
    for segment in path:
        assert found is not None
        found = found.find(f"{W}resource[@path='{segment}']")
    assert found is not None, path
    return found


def paths(node: ElementTree.Element, above: str = "") -> list[tuple[str, str]]:
    """Every method and the path that it is for."""
    found = []
    for below in node.findall(f"{W}resource"):
        path = f"{above}/{below.get('path')}"
        found += [(str(method.get("name")), path) for method in below.findall(f"{W}method")]
        found += paths(below, path)
    return found


def test_wadl_is_answered_as_what_it_is(client: httpx2.Client) -> None:
    """CAP-01"""
    response = client.request("OPTIONS", "/", headers={"Accept": WADL})

    assert response.headers["Content-Type"] == WADL


def test_json_is_answered_as_what_it_is(client: httpx2.Client) -> None:
    """CAP-02"""
    response = client.request("OPTIONS", "/", headers={"Accept": JSON})

    assert response.headers["Content-Type"] == JSON


def test_without_an_accept_header_wadl_is_answered(client: httpx2.Client) -> None:
    """D-1"""
    request = client.build_request("OPTIONS", "/")
    del request.headers["Accept"]

    assert client.send(request).headers["Content-Type"] == WADL


def test_the_base_uri_may_be_written_without_its_slash(server: Live) -> None:
    assert httpx2.request("OPTIONS", server.url, headers={"Accept": WADL}).status_code == 200


def test_another_media_type_is_406(client: httpx2.Client) -> None:
    assert client.request("OPTIONS", "/", headers={"Accept": "text/csv"}).status_code == 406


def test_there_is_one_resources_element_with_the_absolute_base(
    wadl: ElementTree.Element, server: Live
) -> None:
    """CAP-03"""
    assert wadl.tag == f"{W}application"
    assert [one.get("base") for one in wadl.findall(f"{W}resources")] == [server.url]


@pytest.mark.parametrize(
    "path",
    [
        ("studies",),
        ("studies", "{StudyInstance}"),
        ("studies", "{StudyInstance}", "metadata"),
        ("studies", "{StudyInstance}", "bulkdata"),
        ("studies", "{StudyInstance}", "pixeldata"),
        ("studies", "{StudyInstance}", "series"),
        ("studies", "{StudyInstance}", "series", "{SeriesInstance}", "instances"),
        (
            *("studies", "{StudyInstance}", "series", "{SeriesInstance}", "instances"),
            *("{SOPInstance}", "frames", "{framelist}"),
        ),
        ("studies", "{StudyInstance}", "instances"),
        ("series",),
        ("instances",),
        ("workitems",),
        ("workitems", "{Workitem}", "state"),
        ("workitems", "{Workitem}", "subscribers", "{AETitle}", "suspend"),
    ],
    ids="/".join,
)
def test_a_resource_of_table_h_1_has_its_methods(
    wadl: ElementTree.Element, path: tuple[str, ...]
) -> None:
    """CAP-04"""
    assert resource(wadl, *path).findall(f"{W}method")


@pytest.mark.parametrize("name", ["PatientName", "00100010", "limit", "StudyDate", "00080020"])
def test_a_search_lists_its_parameters_by_keyword_and_tag(
    wadl: ElementTree.Element, name: str
) -> None:
    """CAP-04"""
    params = resource(wadl, "studies").findall(f"{W}method[@name='GET']/{W}request/{W}param")

    assert name in {one.get("name") for one in params}


@pytest.mark.parametrize("name", ["StudyInstanceUID", "includefield"])
def test_what_may_stand_several_times_is_said_to_repeat(
    wadl: ElementTree.Element, name: str
) -> None:
    """B.26"""
    request = resource(wadl, "studies").find(f"{W}method[@name='GET']/{W}request")
    assert request is not None
    param = request.find(f"{W}param[@name='{name}']")

    assert param is not None
    assert param.get("repeating") == "true"


def test_ids_of_methods_are_unique(wadl: ElementTree.Element) -> None:
    ids = [one.get("id") for one in wadl.iter(f"{W}method")]

    assert len(ids) == len(set(ids))


def test_json_says_what_wadl_says(wadl: ElementTree.Element, described: dict[str, Any]) -> None:
    """CAP-05, Annex G: what may be there several times is an array, attributes begin with @."""

    def of_json(node: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
        found = []
        for below in node.get("resource", []):
            path = f"{above}/{below['@path']}"
            found += [(method["@name"], path) for method in below.get("method", [])]
            found += of_json(below, path)
        return found

    root = wadl.find(f"{W}resources")
    assert root is not None
    assert of_json(described["application"]["resources"]) == paths(root)


def test_a_document_is_an_array_of_what_a_human_reads(described: dict[str, Any]) -> None:
    """CAP-05"""
    (doc,) = described["application"]["doc"]

    assert doc.keys() == {"@xml:lang", "@title", "value"}


def test_a_known_entity_tag_is_answered_with_304(client: httpx2.Client) -> None:
    """CAP-06"""
    etag = client.request("OPTIONS", "/", headers={"Accept": WADL}).headers["ETag"]

    again = client.request("OPTIONS", "/", headers={"Accept": WADL, "If-None-Match": etag})

    assert again.status_code == 304


def test_a_preflight_of_a_browser_is_no_request_for_capabilities(client: httpx2.Client) -> None:
    """CAP-07"""
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}

    response = client.request("OPTIONS", "/", headers=headers)

    assert response.status_code == 204
    assert "GET" in response.headers["Access-Control-Allow-Methods"]


def test_no_claimed_resource_is_missing(client: httpx2.Client, wadl: ElementTree.Element) -> None:
    """CAP-08: each claimed path has a resource; where GET is claimed it is no 405."""
    root = wadl.find(f"{W}resources")
    assert root is not None
    for method, template in paths(root):
        path = re.sub(r"\{(\w+)\}", lambda found: FILLED.get(found[1], "1.2.8"), template)
        if path == "//":
            continue
        allowed = client.request("OPTIONS", path).headers["Allow"]
        assert method in allowed.split(", "), path


@pytest.mark.parametrize("installed", [True, False])
def test_volumes_are_offered_where_they_can_be_made(installed: bool) -> None:
    told = capabilities.offered("/dicomweb", deletion=False, volumes=installed)

    assert any("rendered3d" in one.path for one in told) is installed


def test_options_of_a_resource_tells_its_methods(client: httpx2.Client) -> None:
    response = client.request("OPTIONS", f"/studies/{uid()}")

    assert response.status_code == 204
    assert "GET" in response.headers["Allow"].split(", ")


def test_get_of_the_base_uri_is_405(client: httpx2.Client) -> None:
    response = client.get("/")

    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS"


def test_the_served_description_is_that_of_the_route_table(server: Live) -> None:
    served = httpx2.get(f"{server.origin}/openapi.json").json()

    assert served.pop("servers") == [{"url": server.origin}]
    assert served == openapi.document()


def test_every_endpoint_is_in_the_served_description(server: Live) -> None:
    served = httpx2.get(f"{server.origin}/openapi.json").json()["paths"]

    missing = [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.method.lower() not in served.get(endpoint.full_path.replace(":path", ""), {})
    ]
    assert missing == []
