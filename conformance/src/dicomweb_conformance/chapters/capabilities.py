"""CAP: what a server says of itself (PS3.18 section 8.9, Annexes G and H)."""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from pydicom import datadict

from dicomweb_conformance import claims, payloads
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import WADL, Feature, NotReadable, Operation
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.media_types import ANY
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Unmet, Violated, expect, need

_WADL_TYPE: Final = "application/vnd.sun.wadl+xml"
_JSON_TYPE: Final = "application/json"

# PS3.18 Table 10.3-2, what is mandatory; the search of unrelated levels is optional for proxies.
_INSTANCE: Final = "studies/{}/series/{}/instances/{}"
_LEVELS: Final = ("studies/{}", "studies/{}/series/{}", _INSTANCE)
_MANDATORY: Final[dict[Feature, tuple[tuple[str, str], ...]]] = {
    Feature.RETRIEVE: (
        *(("GET", level) for level in _LEVELS),
        *(("GET", f"{level}/metadata") for level in _LEVELS),
        *(("GET", f"{level}/rendered") for level in _LEVELS),
        ("GET", f"{_INSTANCE}/frames/{{}}"),
        ("GET", f"{_INSTANCE}/frames/{{}}/rendered"),
    ),
    Feature.STORE: (("POST", "studies"), ("POST", "studies/{}")),
    Feature.SEARCH: (
        ("GET", "studies"),
        ("GET", "studies/{}/series"),
        ("GET", "studies/{}/series/{}/instances"),
    ),
}
_RELATIONAL: Final = ("studies/{}/instances", "series", "instances")

# PS3.18 Table 10.6.1-5, study level.
_STUDY_KEYS: Final = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName",
    "PatientName", "PatientID", "StudyInstanceUID", "StudyID",
)  # fmt: skip


async def _described(target: Target, accept: str) -> Response:
    return await target.request("OPTIONS", "/", accept=accept)


async def _in_either_form(target: Target, accept: str, other: str) -> Response:
    """The description in that form. Raises NotClaimed: only the other form is offered."""
    answer = await _described(target, accept)
    if answer.status == 406 and (await _described(target, other)).status == 200:
        raise NotClaimed(f"the capabilities are described as {other} only")
    answer.expect_status(200)
    answer.expect_media_type(accept)
    return answer


async def _wadl(target: Target) -> Element:
    """Raises Unmet: there is no WADL that can be read, which CAP-01 judges."""
    answer = await _described(target, _WADL_TYPE)
    need(answer.status == 200, f"there is no WADL: {answer.status}")
    try:
        return payloads.read_xml(answer.content)
    except payloads.Unreadable:
        raise Unmet("the WADL is not well-formed") from None


@case(
    "CAP-01",
    section="8.9, 8.9.4",
    level=Level.SHALL,
    requirement="OPTIONS on the base URL describes the capabilities, as WADL (or as JSON).",
    request="OPTIONS {b}/, Accept: application/vnd.sun.wadl+xml",
    expected="200, well-formed WADL; or 406, where JSON is offered",
)
async def capabilities_are_described_in_wadl(target: Target) -> None:
    answer = await _in_either_form(target, _WADL_TYPE, _JSON_TYPE)
    try:
        described = claims.read(_WADL_TYPE, answer.content)
    except NotReadable as error:
        raise Violated(f"{answer.asked}: {error}") from None
    expect(described.known, f"{answer.asked}: the WADL names no method of any resource")


@case(
    "CAP-02",
    section="8.9, 8.9.4",
    level=Level.SHALL,
    requirement="OPTIONS on the base URL describes the capabilities, as JSON (or as WADL).",
    request="OPTIONS {b}/, Accept: application/json",
    expected="200, JSON; or 406, where WADL is offered",
)
async def capabilities_are_described_in_json(target: Target) -> None:
    in_either = [(await _described(target, form)).status for form in (_JSON_TYPE, _WADL_TYPE)]
    need(200 in in_either, "there is no description at all, which CAP-01 judges")
    answer = await _in_either_form(target, _JSON_TYPE, _WADL_TYPE)
    answer.json()
    described = claims.read(_JSON_TYPE, answer.content)
    expect(described.known, f"{answer.asked}: the JSON names no method of any resource")


@case(
    "CAP-03",
    section="H",
    level=Level.SHALL,
    requirement="The WADL has one application with one resources element, whose base is the base"
    " URL.",
    request="OPTIONS {b}/, Accept: application/vnd.sun.wadl+xml",
    expected="application, resources once, its base an absolute URL",
)
async def wadl_has_one_application_with_an_absolute_base(target: Target) -> None:
    root = await _wadl(target)
    expect(root.tag == f"{WADL}application", "the root is not application in WADL's namespace")
    resources = root.findall(f"{WADL}resources")
    expect(len(resources) == 1, f"expected one resources element, got {len(resources)}")
    base = resources[0].get("base", "")
    expect(bool(re.match(r"https?://[^/]", base)), "base is not an absolute URL")


def _search_of_studies(target: Target) -> Operation:
    for operation in target.claims.operations or ():
        if (operation.method, operation.path) == ("GET", "studies"):
            return operation
    raise NotClaimed("the capabilities do not name the search for studies")


@case(
    "CAP-04",
    section="H",
    level=Level.SHALL,
    requirement="The description of a search names the query parameters that it takes.",
    request="OPTIONS {b}/: the parameters of GET studies",
    expected="the required matching attributes (Table 10.6.1-5), by keyword or by tag",
    needs=(Feature.SEARCH,),
)
async def search_names_its_parameters(target: Target) -> None:
    need(target.claims.known, "there is no description that can be read")
    named = _search_of_studies(target).parameters
    both, missing = True, []
    for keyword in _STUDY_KEYS:
        forms = {keyword, f"{datadict.tag_for_keyword(keyword):08X}"}
        both = both and forms <= named
        if forms.isdisjoint(named):
            missing.append(keyword)
    expect(not missing, f"GET studies does not name {', '.join(missing)}")
    target.note(f"attributes are named by {'keyword and tag' if both else 'keyword or tag only'}")


# PS3.18 Annex G: what WADL lets occur once is an object, what may be repeated is an array.
_SINGLE: Final = frozenset({"application", "resources", "request", "grammars"})
_REPEATED: Final = frozenset(
    {"doc", "resource", "method", "param", "representation", "response", "option"}
)


def _misshapen(node: dict[str, object], where: str) -> Iterator[str]:
    """What breaks the mapping of Annex G, in words."""
    for name, member in node.items():
        at = f"{where}/{name}"
        if name in _REPEATED:
            if not isinstance(member, list):
                yield f"{at} is no array"
                continue
            for below in member:
                if isinstance(below, dict):
                    yield from _misshapen(below, at)
                else:
                    yield f"{at} holds something that is no object"
        elif isinstance(member, dict):
            yield from _misshapen(member, at)
        elif name in _SINGLE:
            yield f"{at} is no object"
        elif not name.startswith("@") and name != "value":
            yield f"{at} is an attribute without @"


@case(
    "CAP-05",
    section="G",
    level=Level.SHALL,
    requirement="In JSON, elements that WADL may repeat are arrays, others are objects, and names"
    " of attributes begin with @.",
    request="OPTIONS {b}/, Accept: application/json",
    expected="resource, method, param, representation, response, option, doc are arrays",
)
async def json_capabilities_have_the_shape_of_annex_g(target: Target) -> None:
    answer = await _described(target, _JSON_TYPE)
    need(answer.status == 200, f"there is no JSON: {answer.status}")
    described = answer.json()
    if not isinstance(described, dict):
        raise Violated(f"{answer.asked}: the top level is no object")
    problems = list(dict.fromkeys(_misshapen(described, "")))
    expect(not problems, f"{len(problems)} problems, the first: {problems[:1]}")


@case(
    "CAP-06",
    section="8.9.3.1",
    level=Level.SHALL,
    requirement="304 is for a request with If-None-Match, where the description is still the same.",
    request="OPTIONS {b}/ with If-None-Match: the ETag that it had",
    expected="304 without a payload",
)
async def unchanged_capabilities_are_304(target: Target) -> None:
    answer = await _described(target, ANY)
    need(answer.status == 200, f"there is no description: {answer.status}")
    tag = answer.headers.get("etag")
    if tag is None:
        raise NotClaimed("the description has no ETag")
    again = await target.request("OPTIONS", "/", accept=ANY, headers={"If-None-Match": tag})
    again.expect_status(304)
    expect(not again.content, f"{again.asked}: a 304 with a payload")


@case(
    "CAP-07",
    section="8.9",
    level=Level.MAY,
    requirement="A preflight of a browser (CORS) also uses OPTIONS; the Standard does not say which"
    " answer it gets.",
    request="OPTIONS {b}/ with Origin and Access-Control-Request-Method",
    expected="an answer to the preflight, not the description",
)
async def preflight_is_not_answered_with_capabilities(target: Target) -> None:
    preflight = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
    answer = await target.request("OPTIONS", "/", accept=ANY, headers=preflight)
    if "access-control-allow-origin" not in answer.headers:
        raise NotClaimed("browsers of other origins are not let in")
    expect(b"wadl" not in answer.content[:1000], "a preflight is answered with the description")


def _filled(path: str, values: tuple[str, ...]) -> str | None:
    """The resource of a CT slice for a template, or None where it is about something else."""
    known = r"studies(/\{\}(/series(/\{\}(/instances(/\{\}(/frames/\{\})?)?)?)?)?)?"
    ends = r"(/(metadata|rendered|thumbnail|bulkdata|pixeldata|instances))?"
    if not re.fullmatch(known + ends, path):
        return None
    for value in values:
        path = path.replace("{}", value, 1)
    return f"/{path}"


@case(
    "CAP-08",
    section="8.9.3.2",
    level=Level.SHOULD,
    requirement="The description tells the truth: what it names is there.",
    request="GET every resource below studies that is named, for a CT slice, Accept: */*",
    expected="no 404, 405 or 501",
    needs=(Fixture.F1, Feature.RETRIEVE),
)
async def claimed_resources_are_there(target: Target) -> None:
    need(target.claims.known, "there is no description that can be read")
    slice_ = target.study(Fixture.F1).series("CT")[0]
    values = (slice_.study_uid, slice_.series_uid, slice_.sop_instance_uid, "1")
    absent = []
    for operation in sorted(target.claims.operations or (), key=lambda each: each.path):
        path = _filled(operation.path, values) if operation.method == "GET" else None
        if path is not None:
            query = f"StudyInstanceUID={slice_.study_uid}" if path == "/studies" else ""
            answer = await target.get(path, query=query, accept=ANY)
            if answer.status in (404, 405, 501):
                absent.append(f"{operation.path} ({answer.status})")
    expect(not absent, f"named, but not there: {', '.join(absent)}")


@case(
    "CAP-09",
    section="10.2",
    level=Level.SHALL,
    requirement="Whoever claims Retrieve, Store or Search has all mandatory resources of that"
    " transaction.",
    request="OPTIONS {b}/: the resources below studies",
    expected="each resource that Table 10.3-2 marks with M; the relational searches may be missing"
    " where the server is a proxy",
)
async def claimed_transactions_have_their_mandatory_resources(target: Target) -> None:
    need(target.claims.known, "there is no description that can be read")
    named = {(each.method, each.path) for each in target.claims.operations or ()}
    missing = [
        f"{method} {path}"
        for feature, resources in _MANDATORY.items()
        if target.claims.offers(feature)
        for method, path in resources
        if (method, path) not in named
    ]
    expect(not missing, f"not named: {', '.join(missing)}")
    if target.claims.offers(Feature.SEARCH):
        absent = [path for path in _RELATIONAL if ("GET", path) not in named]
        if absent:
            target.note(f"right for a proxy only: no search of {', '.join(absent)}")
