"""STW: the forms that a request to store may have (sections 8.4.2, 8.6.1.2 and 8.7.1)."""

from collections.abc import AsyncIterator

import httpx2

from dicomweb_conformance.cases import case
from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.kept_instances import KEEP, expect_kept
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.store_responses import expect_stored, need_stored
from dicomweb_conformance.submissions import as_files, new_study, stored_files, submit
from dicomweb_conformance.target import UNAUTHORIZED, Response, Target
from dicomweb_conformance.verdicts import Level, Violated, need


@case(
    "STW-30",
    section="B.21",
    level=Level.SHOULD,
    requirement="A single file can be stored without multipart, as an example of Annex B has it.",
    request="POST {b}/studies, Content-Type: application/dicom",
    expected="200, or 415",
    needs=KEEP,
)
async def single_part_is_stored_or_415(target: Target) -> None:
    instance = new_study(target).first
    (file,) = stored_files(instance)
    answer = await submit(target, ("application/dicom", file))
    answer.expect_status(200, 202, 415)
    if answer.status == 415:
        await need_stored(target, new_study(target).first)
        target.note("415: single-part requests are not taken")
    else:
        expect_stored(target, answer, instance)
        await expect_kept(target, instance)


@case(
    "STW-31",
    section="8.7.1, 8.6.1.2.1",
    level=Level.SHALL,
    requirement="The type parameter of a request may stand without quotes.",
    request="POST {b}/studies, multipart/related; type=application/dicom; boundary in quotes",
    expected="200, and the slice can be retrieved",
    needs=KEEP,
)
async def unquoted_type_of_a_request_is_understood(target: Target) -> None:
    instance = new_study(target).first
    content_type, payload = as_files(*stored_files(instance))
    unquoted = content_type.replace('"application/dicom"', "application/dicom")
    expect_stored(target, await submit(target, (unquoted, payload)), instance)
    await expect_kept(target, instance)


@case(
    "STW-32",
    section="8.6.1.2.1",
    level=Level.SHALL,
    requirement="A boundary may have all the characters that RFC 2046 allows.",
    request='POST {b}/studies with the boundary "\'()+_,-./:=?suite"',
    expected="200, and the slice can be retrieved",
    needs=KEEP,
)
async def boundary_of_odd_characters_is_understood(target: Target) -> None:
    instance = new_study(target).first
    sent = as_files(*stored_files(instance), boundary="'()+_,-./:=?suite")
    expect_stored(target, await submit(target, sent), instance)
    await expect_kept(target, instance)


def _record_chunked(target: Target, content_type: str, payload: bytes, got: Response) -> None:
    shown, received = target.shown, got.headers
    sent = {"Content-Type": content_type, "Accept": DICOM_JSON, "Transfer-Encoding": "chunked"}
    target.exchanges.append(
        Exchange(
            "POST /studies",
            shown.headers(sent.items()),
            shown.body(content_type, payload, status=got.status),
            got.status,
            shown.headers(received.multi_items()),
            shown.body(received.get("content-type", ""), got.content, status=got.status),
            0.0,
        )
    )


async def _in_chunks(payload: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(payload), 1000):
        yield payload[start : start + 1000]


@case(
    "STW-33",
    section="8.4.2, 10.5.1.3",
    level=Level.SHALL,
    requirement="A request may have a Transfer-Encoding instead of a Content-Length.",
    request="POST {b}/studies with one CT slice, Transfer-Encoding: chunked",
    expected="200, and the slice can be retrieved",
    needs=KEEP,
)
async def chunked_request_is_understood(target: Target) -> None:
    instance = new_study(target).first
    content_type, payload = as_files(*stored_files(instance))
    sent = {"Content-Type": content_type, "Accept": DICOM_JSON, **target.credentials}
    # not with target.post, which knows the length of what it sends
    url = f"{target.base_url}/studies"
    try:
        answer = await target.client.post(url, content=_in_chunks(payload), headers=sent)
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise Violated(f"POST /studies in chunks: no response: {type(error).__name__}") from error
    got = Response(answer.status_code, answer.headers, answer.content, "POST /studies in chunks")
    _record_chunked(target, content_type, payload, got)
    need(got.status != UNAUTHORIZED, f"{got.asked}: {got.status}, the server wants credentials")
    expect_stored(target, got, instance)
    await expect_kept(target, instance)
