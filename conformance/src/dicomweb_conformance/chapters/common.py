"""COM: rules of HTTP, query parameters and media types that all services share (chapter 8)."""

import html
from typing import Final

from dicomweb_conformance import dicom_json
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import (
    ANY,
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    EXPLICIT_LE,
    NotAMediaType,
    dicom_in,
    parse,
)
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Unmet, expect, need

_RETRIEVE: Final = (Fixture.F1, Feature.RETRIEVE)
_SEARCH: Final = (Fixture.F1, Feature.SEARCH)
_PAGES: Final = (Fixture.F13, Feature.SEARCH)


def _slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[0]


def _metadata_path(target: Target) -> str:
    return f"{_slice(target).path}/metadata"


async def _need_metadata(target: Target, accept: str = DICOM_JSON) -> None:
    """Raises Unmet: metadata cannot be had even where everything is asked for rightly."""
    answer = await target.get(_metadata_path(target), accept=accept)
    need(answer.status == 200, f"metadata as {accept} cannot be retrieved: {answer.status}")
    need(_is_ours(target, answer), f"{answer.asked}: metadata of something else")


def _is_ours(target: Target, answer: Response) -> bool:
    """Do the metadata, in JSON or XML, name the slice? What else is in them, MET-01 judges."""
    return _slice(target).sop_instance_uid.encode() in answer.content


def _expect_json(target: Target, answer: Response) -> None:
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)
    need(_is_ours(target, answer), f"{answer.asked}: metadata of something else")


async def _need_rendered(target: Target, accept: str = "image/jpeg") -> None:
    answer = await target.get(f"{_slice(target).path}/rendered", accept=accept)
    need(answer.status == 200, f"a CT slice cannot be rendered as {accept}: {answer.status}")


@case(
    "COM-01",
    section="8.7.5, 8.7.7",
    level=Level.SHALL,
    requirement="A retrieve request without an Accept header is answered with 406.",
    request="GET {b}/studies/{S1}/series/{R1}/instances/{I1}/metadata without an Accept header",
    expected="406",
    needs=_RETRIEVE,
)
async def no_accept_header_is_406(target: Target) -> None:
    await _need_metadata(target)
    (await target.get(_metadata_path(target), accept=None)).expect_status(406)


@case(
    "COM-02",
    section="8.7.5",
    level=Level.SHALL,
    requirement="An accept query parameter does not make up for a missing Accept header.",
    request="GET {b}/studies/{S1}/.../rendered?accept=image/jpeg without an Accept header",
    expected="406",
    needs=_RETRIEVE,
)
async def accept_parameter_does_not_replace_the_header(target: Target) -> None:
    await _need_rendered(target)
    path = f"{_slice(target).path}/rendered"
    without = await target.get(path, accept=None)
    need(without.status == 406, "a missing header is not refused at all, which COM-01 judges")
    (await target.get(path, query="accept=image/jpeg", accept=None)).expect_status(406)


@case(
    "COM-03",
    section="8.7.7",
    level=Level.SHALL,
    requirement="*/* stands for the default media type: of metadata, application/dicom+json.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: */*",
    expected="200, application/dicom+json",
    needs=_RETRIEVE,
)
async def any_type_of_metadata_is_json(target: Target) -> None:
    _expect_json(target, await target.get(_metadata_path(target), accept=ANY))


@case(
    "COM-04",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="Where none of the acceptable media types is supported, the answer is 406.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: text/csv",
    expected="406; or application/dicom+json, the default, as Table 8.7.3-1 has it",
    needs=_RETRIEVE,
)
async def unsupported_types_are_406_or_the_default(target: Target) -> None:
    await _need_metadata(target)
    answer = await target.get(_metadata_path(target), accept="text/csv")
    if answer.status == 200:
        answer.expect_media_type(DICOM_JSON)
        target.note("200 with the default media type, as Table 8.7.3-1 has it")
        return
    answer.expect_status(406)


async def expect_not_acceptable(target: Target, answer: Response, *others: int) -> None:
    """406, or one of the others.

    Raises:
        Unmet: the server says something else wherever it should say 406; that is COM-04.
    """
    if answer.status >= 400 and answer.status not in (406, *others):
        unsupported = await target.get(_metadata_path(target), accept="text/csv")
        words = f"what cannot be sent is {answer.status} here, not 406, which COM-04 judges"
        need(unsupported.status != answer.status, words)
    answer.expect_status(406, *others)


@case(
    "COM-05",
    section="8.7.7",
    level=Level.SHALL,
    requirement="Values of Accept that are not supported are ignored beside one that is.",
    request="GET {b}/.../metadata, Accept: application/vnd.example, application/dicom+json",
    expected="200, application/dicom+json",
    needs=_RETRIEVE,
)
async def unsupported_type_beside_a_supported_one_is_ignored(target: Target) -> None:
    accept = f"application/vnd.example, {DICOM_JSON}"
    _expect_json(target, await target.get(_metadata_path(target), accept=accept))


@case(
    "COM-06",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="Of several supported media types the one with the highest weight is sent.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: JSON with q=0.2, XML with q=0.9",
    expected='200, multipart/related; type="application/dicom+xml"',
    needs=_RETRIEVE,
)
async def heavier_xml_wins_over_json(target: Target) -> None:
    await _need_metadata(target)
    await _need_metadata(target, DICOM_XML)
    accept = f"{DICOM_JSON};q=0.2, {DICOM_XML};q=0.9"
    (await target.get(_metadata_path(target), accept=accept)).parts("application/dicom+xml")


@case(
    "COM-07",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="Of several supported media types the one with the highest weight is sent.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: XML with q=0.2, JSON with q=0.9",
    expected="200, application/dicom+json",
    needs=_RETRIEVE,
)
async def heavier_json_wins_over_xml(target: Target) -> None:
    await _need_metadata(target)
    await _need_metadata(target, DICOM_XML)
    other = f"{DICOM_JSON};q=0.2, {DICOM_XML};q=0.9"
    heeded = await target.get(_metadata_path(target), accept=other)
    is_xml = heeded.headers.get("content-type", "").startswith("multipart/")
    need(is_xml, "weights are not heeded, which COM-06 judges")
    accept = f"{DICOM_XML};q=0.2, {DICOM_JSON};q=0.9"
    answer = await target.get(_metadata_path(target), accept=accept)
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)


@case(
    "COM-08",
    section="8.7.1",
    level=Level.SHALL,
    requirement="The type parameter of multipart/related is understood without quotes.",
    request="GET {b}/.../instances/{I1}, Accept: multipart/related; type=application/dicom",
    expected="200, multipart/related of application/dicom",
    needs=_RETRIEVE,
)
async def unquoted_type_parameter_is_understood(target: Target) -> None:
    answer = await target.get(
        _slice(target).path, accept="multipart/related; type=application/dicom"
    )
    answer.parts("application/dicom")


@case(
    "COM-09",
    section="8.7.1",
    level=Level.SHALL,
    requirement="The type parameter of multipart/related is understood in quotes.",
    request='GET {b}/.../instances/{I1}, Accept: multipart/related; type="application/dicom"',
    expected="200, multipart/related of application/dicom",
    needs=_RETRIEVE,
)
async def quoted_type_parameter_is_understood(target: Target) -> None:
    (await target.get(_slice(target).path, accept=DICOM)).parts("application/dicom")


@case(
    "COM-10",
    section="8.7",
    level=Level.SHALL,
    requirement="Names of media types do not depend on upper and lower case.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: APPLICATION/DICOM+JSON",
    expected="200, application/dicom+json",
    needs=_RETRIEVE,
)
async def media_types_ignore_case(target: Target) -> None:
    answer = await target.get(_metadata_path(target), accept="APPLICATION/DICOM+JSON")
    _expect_json(target, answer)


@case(
    "COM-11",
    section="8.7.5",
    level=Level.SHALL,
    requirement="An Accept header that mixes DICOM and rendered media types is answered with 400.",
    request="GET {b}/studies/{S1}/.../rendered, Accept: image/jpeg, application/dicom",
    expected="400",
    needs=_RETRIEVE,
)
async def mixed_kinds_in_accept_are_400(target: Target) -> None:
    await _need_rendered(target)
    path = f"{_slice(target).path}/rendered"
    (await target.get(path, accept="image/jpeg, application/dicom")).expect_status(400)


@case(
    "COM-12",
    section="8.3.3.1",
    level=Level.SHALL,
    requirement="An accept parameter that mixes DICOM and rendered types is answered with 400.",
    request="GET {b}/.../instances/{I1}?accept=application/dicom,image/jpeg, Accept: */*",
    expected="400",
    needs=_RETRIEVE,
)
async def mixed_kinds_in_the_accept_parameter_are_400(target: Target) -> None:
    answer = await target.get(_slice(target).path, accept=ANY)
    need(answer.status == 200, f"the instance cannot be retrieved: {answer.status}")
    by_header = await target.get(f"{_slice(target).path}/rendered", accept="image/png")
    if by_header.status == 200:
        await _need_accept_parameter(target)
    mixed = "accept=application/dicom,image/jpeg"
    (await target.get(_slice(target).path, query=mixed, accept=ANY)).expect_status(400)


async def _expect_png(target: Target, accept: str) -> None:
    answer = await _png_by_parameter(target, accept)
    answer.expect_status(200)
    answer.expect_media_type("image/png")


async def _png_by_parameter(target: Target, accept: str) -> Response:
    path = f"{_slice(target).path}/rendered"
    return await target.get(path, query="accept=image/png", accept=accept)


async def _need_accept_parameter(target: Target) -> None:
    """Raises Unmet: it does not choose, where PNG can be had by the header."""
    heeded = await _png_by_parameter(target, ANY)
    is_png = heeded.headers.get("content-type", "").startswith("image/png")
    need(is_png, "the accept parameter is not heeded at all, which COM-13 judges")


@case(
    "COM-13",
    section="8.3.3.1",
    level=Level.SHALL,
    requirement="The accept query parameter chooses the media type, where the header covers it.",
    request="GET {b}/studies/{S1}/.../rendered?accept=image/png, Accept: */*",
    expected="200, image/png",
    needs=_RETRIEVE,
)
async def accept_parameter_chooses_under_any_type(target: Target) -> None:
    await _need_rendered(target, "image/png")
    await _expect_png(target, ANY)


@case(
    "COM-14",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="The accept query parameter comes before the ranges of the Accept header.",
    request="GET {b}/studies/{S1}/.../rendered?accept=image/png, Accept: image/*",
    expected="200, image/png",
    needs=_RETRIEVE,
)
async def accept_parameter_chooses_within_a_range(target: Target) -> None:
    await _need_rendered(target, "image/png")
    await _need_accept_parameter(target)
    await _expect_png(target, "image/*")


@case(
    "COM-15",
    section="8.3.3.1",
    level=Level.SHOULD,
    requirement="A media type of the accept parameter is covered by the Accept header.",
    request="GET {b}/studies/{S1}/.../rendered?accept=image/png, Accept: image/jpeg",
    expected="400, 406, or 200 with image/jpeg: not a type that the header excludes",
    needs=_RETRIEVE,
)
async def accept_parameter_outside_the_header_is_not_sent(target: Target) -> None:
    await _need_rendered(target)
    path = f"{_slice(target).path}/rendered"
    answer = await target.get(path, query="accept=image/png", accept="image/jpeg")
    answer.expect_status(200, 400, 406)
    if answer.status == 200:
        answer.expect_media_type("image/jpeg")
    target.note(f"an accept parameter that the Accept header excludes: {answer.status}")


@case(
    "COM-16",
    section="8.3",
    level=Level.SHALL,
    requirement="Query parameters that the server does not support are ignored.",
    request="GET {b}/studies?StudyInstanceUID={S1}&foo=bar",
    expected="the same as without foo",
    needs=_SEARCH,
)
async def unknown_query_parameter_is_ignored(target: Target) -> None:
    study = target.study(Fixture.F1).uid
    without = _study_uids(await target.get("/studies", query={"StudyInstanceUID": study}))
    need(study in without, "the search without it does not find the study")
    answer = await target.get("/studies", query={"StudyInstanceUID": study, "foo": "bar"})
    expect(_study_uids(answer) == without, f"{answer.asked}: other results than without foo")


def _study_uids(answer: Response) -> list[str]:
    return [dicom_json.text(row, "0020000D") for row in answer.results()]


@case(
    "COM-17",
    section="8.3.1",
    level=Level.SHALL,
    requirement="Names of query parameters are case-sensitive: LIMIT is not limit.",
    request="GET {b}/studies?PatientID=PAGE&LIMIT=1",
    expected="as many results as without LIMIT",
    needs=_PAGES,
)
async def parameter_names_are_case_sensitive(target: Target) -> None:
    without = _study_uids(await target.get("/studies", query="PatientID=PAGE"))
    need(len(without) > 1, "the search without it finds fewer than two studies")
    answer = await target.get("/studies", query="PatientID=PAGE&LIMIT=1")
    got = len(_study_uids(answer))
    expect(got == len(without), f"{answer.asked}: {got} results, without LIMIT {len(without)}")


async def _expect_400(target: Target, parameter: str) -> None:
    own = f"StudyInstanceUID={target.study(Fixture.F1).uid}"
    plain = await target.get("/studies", query=own)
    need(plain.status == 200, f"the search without it does not work: {plain.status}")
    (await target.get("/studies", query=f"{own}&{parameter}")).expect_status(400)


@case(
    "COM-18",
    section="8.3, 8.3.4.4",
    level=Level.SHALL,
    requirement="A supported parameter with an invalid value is answered with 400.",
    request="GET {b}/studies?StudyInstanceUID={S1}&limit=abc",
    expected="400",
    needs=_SEARCH,
)
async def limit_that_is_no_number_is_400(target: Target) -> None:
    await _expect_400(target, "limit=abc")


@case(
    "COM-19",
    section="8.3, 8.3.4.4",
    level=Level.SHALL,
    requirement="A supported parameter with an invalid value is answered with 400:"
    " limit is a uint.",
    request="GET {b}/studies?StudyInstanceUID={S1}&limit=-1",
    expected="400",
    needs=_SEARCH,
)
async def negative_limit_is_400(target: Target) -> None:
    await _expect_400(target, "limit=-1")


@case(
    "COM-20",
    section="8.3, 8.3.4.4",
    level=Level.SHALL,
    requirement="A supported parameter with an invalid value is answered with 400:"
    " offset is a uint.",
    request="GET {b}/studies?StudyInstanceUID={S1}&offset=x",
    expected="400",
    needs=_SEARCH,
)
async def offset_that_is_no_number_is_400(target: Target) -> None:
    await _expect_400(target, "offset=x")


@case(
    "COM-21",
    section="8.3, 8.3.4.2",
    level=Level.SHALL,
    requirement="A supported parameter with an invalid value is answered with 400:"
    " fuzzymatching is true or false.",
    request="GET {b}/studies?StudyInstanceUID={S1}&fuzzymatching=maybe",
    expected="400",
    needs=_SEARCH,
)
async def fuzzymatching_that_is_no_truth_is_400(target: Target) -> None:
    await _expect_400(target, "fuzzymatching=maybe")


@case(
    "COM-22",
    section="8.4.2, 8.4.3",
    level=Level.SHALL,
    requirement="A response with a payload has a Content-Type, and either a Content-Length or a"
    " Transfer-Encoding.",
    request="GET {b}/studies/{S1}/.../metadata and .../instances/{I1}",
    expected="Content-Type; exactly one of Content-Length and Transfer-Encoding",
    needs=_RETRIEVE,
)
async def payloads_are_described_by_headers(target: Target) -> None:
    for path, accept in ((_metadata_path(target), DICOM_JSON), (_slice(target).path, DICOM)):
        answer = await target.get(path, accept=accept)
        need(answer.status == 200 and bool(answer.content), f"there is no payload: {answer.status}")
        expect("content-type" in answer.headers, f"{answer.asked}: no Content-Type")
        got = [name for name in ("content-length", "transfer-encoding") if name in answer.headers]
        expect(len(got) == 1, f"{answer.asked}: has {' and '.join(got) or 'neither'}")


@case(
    "COM-23",
    section="8.6.1.2",
    level=Level.SHALL,
    requirement="A multipart payload is delimited by the boundary that its Content-Type names, is"
    " closed, and each part has a Content-Type.",
    request='GET {b}/.../series/{R1}, Accept: multipart/related; type="application/dicom"',
    expected="200, multipart/related that a strict reader can read",
    needs=_RETRIEVE,
)
async def multipart_is_well_formed(target: Target) -> None:
    (await target.get(_slice(target).series_path, accept=DICOM)).parts()


@case(
    "COM-24",
    section="8.6.1.2",
    level=Level.SHALL,
    requirement="A part that represents a resource has a Content-Location that names it.",
    request='GET {b}/.../series/{R1}, Accept: multipart/related; type="application/dicom"',
    expected="each part has a Content-Location that ends in the SOP Instance UID of its file",
    needs=_RETRIEVE,
)
async def parts_name_their_resource(target: Target) -> None:
    answer = await target.get(_slice(target).series_path, accept=DICOM)
    for part, file in zip(answer.parts(), answer.files(), strict=True):
        location = (part.location or "").partition("?")[0].rstrip("/")
        expect(bool(location), f"{answer.asked}: a part has no Content-Location")
        held = location.endswith(f"/{file.sop_instance_uid}")
        expect(held, f"{answer.asked}: a Content-Location does not name the instance of its part")


@case(
    "COM-25",
    section="8.7.9",
    level=Level.SHALL,
    requirement="The Content-Type of a part says its transfer syntax, unless it is the default.",
    request="GET the instance of F7, Accept: application/dicom parts in transfer-syntax=*",
    expected="transfer-syntax (or, without it, Explicit VR Little Endian) is that of (0002,0010)",
    needs=(Fixture.F7, Feature.RETRIEVE),
)
async def content_type_and_file_agree_on_the_transfer_syntax(target: Target) -> None:
    answer = await target.get(target.instance(Fixture.F7).path, accept=dicom_in("*"))
    for part, file in zip(answer.parts("application/dicom"), answer.files(), strict=True):
        said = part.media_type.transfer_syntax
        held = said == file.transfer_syntax
        expect(held, f"{answer.asked}: said {said}, the file is in {file.transfer_syntax}")


async def _refused_methods(target: Target) -> list[Response]:
    """The answers to methods that these resources do not have (never DELETE on /studies itself:
    it might work). Raises Unmet: a method that they have is refused too."""
    await _need_metadata(target)
    return [
        await target.request("PATCH", "/studies"),
        await target.request("DELETE", _metadata_path(target)),
    ]


@case(
    "COM-26",
    section="8.5",
    level=Level.SHOULD,
    requirement="A method that a resource does not have is answered with 405, or with 501 where no"
    " resource has it (RFC 9110 section 9.1).",
    request="PATCH {b}/studies; DELETE {b}/studies/{S1}/.../metadata",
    expected="405 or 501",
    needs=(*_RETRIEVE, Feature.WRITING),
)
async def unknown_method_is_405_or_501(target: Target) -> None:
    for answer in await _refused_methods(target):
        answer.expect_status(405, 501)


@case(
    "COM-27",
    section="8.5",
    level=Level.SHALL,
    requirement="A 405 names in Allow the methods that the resource has.",
    request="PATCH {b}/studies; DELETE {b}/studies/{S1}/.../metadata",
    expected="Allow with each 405",
    needs=(*_RETRIEVE, Feature.WRITING),
)
async def refused_method_names_the_allowed_ones(target: Target) -> None:
    refused = [each for each in await _refused_methods(target) if each.status == 405]
    need(bool(refused), "no method was refused with 405")
    for answer in refused:
        expect("allow" in answer.headers, f"{answer.asked}: a 405 without Allow")


@case(
    "COM-28",
    section="8.5",
    level=Level.SHALL,
    requirement="A 401 says in WWW-Authenticate how to authenticate.",
    request="GET {b}/studies/{S1}/.../metadata without the credentials of this run",
    expected="401 with WWW-Authenticate; other refusals are free",
    needs=(*_RETRIEVE, Feature.AUTHENTICATION),
)
async def missing_credentials_are_401_with_a_challenge(target: Target) -> None:
    await _need_metadata(target)
    answer = await target.request("GET", _metadata_path(target), anonymous=True)
    if answer.status == 200:
        raise NotClaimed("the server answers without credentials too")
    if answer.status != 401:
        raise NotClaimed(f"{answer.asked}: {answer.status} without credentials, and no 401")
    expect("www-authenticate" in answer.headers, f"{answer.asked}: a 401 without WWW-Authenticate")


@case(
    "COM-30",
    section="8.5",
    level=Level.SHALL,
    requirement="What the server knows to have been deleted is answered with 410 rather than 404.",
    request="DELETE {b}/studies/{S15}, then GET it",
    expected="410; 404 only where the server keeps no memory of it",
    needs=(Fixture.F15, Feature.RETRIEVE, Feature.DELETE, Feature.WRITING),
)
async def deleted_study_is_gone(target: Target) -> None:
    study = target.study(Fixture.F15)
    deleted = await target.request("DELETE", study.path)
    if deleted.status in (403, 404, 405, 501):
        raise NotClaimed(f"studies cannot be deleted here: {deleted.status}")
    need(deleted.status in (200, 204), f"deleting it is not done: {deleted.status}")
    answer = await target.get(study.path, accept=DICOM)
    answer.expect_status(410, 404)
    if answer.status == 404:
        target.note("404: right only if the server cannot know that the study was deleted")


@case(
    "COM-31",
    section="8.1.2.3, 8.5",
    level=Level.SHOULD,
    requirement="The response to a request that failed has a payload that explains it.",
    request="GET {b}/.../metadata, Accept: text/csv; GET {b}/studies/{unknown}/metadata",
    expected="a payload with every 4xx",
    needs=_RETRIEVE,
)
async def failures_are_explained(target: Target) -> None:
    unacceptable = await target.get(_metadata_path(target), accept="text/csv")
    unknown = await target.get("/studies/2.25.404/metadata")
    failed = [answer for answer in (unacceptable, unknown) if 400 <= answer.status < 500]
    need(bool(failed), "none of the requests that should fail did")
    for answer in failed:
        expect(bool(answer.content), f"{answer.asked}: {answer.status} without an explanation")


async def _rendered_report(target: Target, **headers: str) -> Response:
    """Raises Unmet: the server does not render reports, which is for REN to judge."""
    path = f"{target.study(Fixture.F1).instance('report').path}/rendered"
    plain = await target.get(path, accept="text/html")
    need(plain.status == 200, f"the structured report is not rendered: {plain.status}")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await target.get(path, accept=sent.pop("Accept", "text/html"), headers=sent)


def _expect_swedish(answer: Response, *, default: str = "utf-8") -> str:
    """The charset that was used. Raises Violated: the letters å ä ö did not come through it."""
    charset = answer.media_type.parameters.get("charset", default)
    try:
        text = html.unescape(answer.content.decode(charset))
    except (LookupError, ValueError):
        text = ""
    held = "Småcellig förändring" in text
    expect(held, f"{answer.asked}: å ä ö cannot be read as {charset}")
    return charset.lower()


@case(
    "COM-32",
    section="8.8",
    level=Level.SHALL,
    requirement="Retrieve Rendered supports UTF-8.",
    request="GET {b}/studies/{S1}/.../{SR}/rendered, Accept: text/html; charset=utf-8",
    expected="200; å ä ö of the report in UTF-8",
    needs=_RETRIEVE,
)
async def rendered_text_is_utf_8(target: Target) -> None:
    answer = await _rendered_report(target, Accept="text/html; charset=utf-8")
    answer.expect_status(200)
    used = _expect_swedish(answer)
    expect(used in ("utf-8", "utf8"), f"{answer.asked}: the charset is {used}")


@case(
    "COM-33",
    section="8.8.1",
    level=Level.SHALL,
    requirement="Character sets that the server does not support are ignored.",
    request="GET {b}/studies/{S1}/.../metadata?charset=nonsense",
    expected="200 in UTF-8",
    needs=_RETRIEVE,
)
async def unsupported_charset_parameter_is_ignored(target: Target) -> None:
    await _need_metadata(target)
    answer = await target.get(_metadata_path(target), query="charset=nonsense")
    answer.datasets()
    expect(_is_ours(target, answer), f"{answer.asked}: other metadata than without it")


@case(
    "COM-34",
    section="8.8.5",
    level=Level.SHALL,
    requirement="Text is in the character set that the Content-Type says, and one that the client"
    " asked for if it is supported.",
    request="GET {b}/studies/{S1}/.../{SR}/rendered, Accept-Charset: ISO-8859-1",
    expected="200 in ISO-8859-1, declared; or in UTF-8 where it is not supported; never mojibake",
    needs=_RETRIEVE,
)
async def asked_charset_is_used_or_ignored_but_always_true(target: Target) -> None:
    answer = await _rendered_report(target, Accept_Charset="ISO-8859-1")
    if answer.status == 406:
        target.note("406: the text cannot be had in ISO-8859-1")
        return
    answer.expect_status(200)
    target.note(f"asked for ISO-8859-1, got {_expect_swedish(answer)}")


@case(
    "COM-35",
    section="8.7.3.5.3",
    level=Level.SHALL,
    requirement="DICOM media types may carry a charset parameter.",
    request="GET {b}/studies/{S1}/.../metadata, Accept: application/dicom+json; charset=utf-8",
    expected="200, application/dicom+json",
    needs=_RETRIEVE,
)
async def charset_of_dicom_json_is_understood(target: Target) -> None:
    answer = await target.get(_metadata_path(target), accept=f"{DICOM_JSON}; charset=utf-8")
    _expect_json(target, answer)


@case(
    "COM-36",
    section="8.3.1",
    level=Level.SHALL,
    requirement="Values of query parameters are percent-encoded UTF-8.",
    request="GET {b}/studies?PatientName=%C3%85str%C3%B6m%5EBj%C3%B6rn",
    expected="200; the study of Åström^Björn is among the results",
    needs=_SEARCH,
)
async def percent_encoded_names_are_found(target: Target) -> None:
    study = target.study(Fixture.F1)
    query = {"PatientName": str(study.first.original.PatientName), "StudyInstanceUID": study.uid}
    found = _study_uids(await target.get("/studies", query=query))
    expect(study.uid in found, "the study of Åström^Björn is not found by his name")
    other = {**query, "PatientName": "Astrup^Ake"}
    if study.uid in _study_uids(await target.get("/studies", query=other)):
        raise Unmet("the study is found by any name: PatientName is not matched at all")


@case(
    "COM-37",
    section="8.6.1.1",
    level=Level.SHALL,
    requirement="Where ranges are supported, 206 has the bytes of Content-Range, and a range that"
    " cannot be satisfied is 416.",
    request="GET .../frames/1, Accept: application/octet-stream, Range: bytes=0-15",
    expected="206 with Content-Range and 16 bytes; 416 beyond the end",
    needs=(Fixture.F8, Feature.RETRIEVE),
)
async def ranges_of_single_parts_are_exact(target: Target) -> None:
    path, octets = f"{target.instance(Fixture.F8).path}/frames/1", "application/octet-stream"
    whole = await target.get(path, accept=octets)
    if whole.status != 200:
        raise NotClaimed(f"frames cannot be had as a single part: {whole.status}")
    some = await target.get(path, accept=octets, headers={"Range": "bytes=0-15"})
    if some.status == 200:
        raise NotClaimed("ranges are not supported: the whole frame came back")
    some.expect_status(206)
    said = some.headers.get("content-range")
    held = said == f"bytes 0-15/{len(whole.content)}"
    expect(held, f"{some.asked}: Content-Range is {said}, and the frame has {len(whole.content)}")
    expect(some.content == whole.content[:16], f"{some.asked}: not the first 16 bytes")
    beyond = {"Range": f"bytes={len(whole.content)}-"}
    (await target.get(path, accept=octets, headers=beyond)).expect_status(416)


@case(
    "COM-38",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="The same search of unchanged studies gives the same ordered list.",
    request="GET {b}/studies?PatientID=PAGE, twice",
    expected="the same results in the same order",
    needs=_PAGES,
)
async def equal_searches_have_equal_answers(target: Target) -> None:
    first = _study_uids(await target.get("/studies", query="PatientID=PAGE"))
    need(len(first) > 1, "the search finds fewer than two studies")
    second = _study_uids(await target.get("/studies", query="PatientID=PAGE"))
    expect(sorted(first) == sorted(second), "the second search finds other studies")
    expect(first == second, "the second search has another order")


@case(
    "COM-39",
    section="8.7.1",
    level=Level.SHALL,
    requirement="The Content-Type of a multipart payload names the type of its parts.",
    request='GET {b}/.../series/{R1}, Accept: multipart/related; type="application/dicom"',
    expected="Content-Type: multipart/related with type=application/dicom",
    needs=_RETRIEVE,
)
async def multipart_names_the_type_of_its_parts(target: Target) -> None:
    answer = await target.get(_slice(target).series_path, accept=DICOM)
    answer.expect_status(200)
    answer.expect_media_type("multipart/related")
    said = answer.media_type.parameters.get("type")
    try:
        named = "" if said is None else parse(said).name
    except NotAMediaType:
        named = said or ""
    expect(named == "application/dicom", f"{answer.asked}: the type is {said}")


@case(
    "COM-40",
    section="8.6.1.2",
    level=Level.SHALL,
    requirement="Each part has a Content-Length where the response has no Transfer-Encoding.",
    request='GET {b}/.../series/{R1}, Accept: multipart/related; type="application/dicom"',
    expected="each part has a Content-Length, and it is right",
    needs=_RETRIEVE,
)
async def parts_have_their_length(target: Target) -> None:
    answer = await target.get(_slice(target).series_path, accept=DICOM)
    is_chunked = "transfer-encoding" in answer.headers
    for part in answer.parts():
        said = part.headers.get("content-length")
        if said is None and is_chunked:
            raise Unmet("the response has a Transfer-Encoding, so its parts need no length")
        held = said == str(len(part.content))
        expect(held, f"{answer.asked}: Content-Length {said} of a part of {len(part.content)}")


@case(
    "COM-41",
    section="8.7.3, 8.7.3.4",
    level=Level.SHALL,
    requirement="Without a transfer-syntax parameter, DICOM objects are sent in Explicit VR Little"
    " Endian.",
    request='GET {b}/.../instances/{I1}, Accept: multipart/related; type="application/dicom"',
    expected="(0002,0010) is 1.2.840.10008.1.2.1",
    needs=_RETRIEVE,
)
async def files_are_in_explicit_little_endian_by_default(target: Target) -> None:
    answer = await target.get(_slice(target).path, accept=DICOM)
    for file in answer.files():
        held = file.transfer_syntax == EXPLICIT_LE
        expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")
