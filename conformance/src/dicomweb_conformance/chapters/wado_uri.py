"""URI: the URI service (chapter 9), for servers whose --wado-uri is given.

Most of its parameters are optional: one that a server gives no sign of knowing is not applicable.
"""

from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Final
from urllib.parse import urlencode

import numpy as np
import pydicom

from dicomweb_conformance import part10, pictures
from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance, Uids
from dicomweb_conformance.media_types import ANY, EXPLICIT_LE, RLE
from dicomweb_conformance.pictures import JPEG, Picture
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

FILE: Final = "application/dicom"
_CT: Final = (Fixture.F1, Feature.URI_SERVICE)
_RLE: Final = (Fixture.F7, Feature.URI_SERVICE)
_CINE: Final = (Fixture.F2, Feature.URI_SERVICE)
_STATE: Final = (Fixture.F1, Fixture.F6, Feature.URI_SERVICE)
_REQUEST: Final = "GET {wado}?requestType=WADO&studyUID={S1}&seriesUID={R1}&objectUID={I8}"

Sign = Callable[[], Awaitable[bool]]


def _slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[-1]


def _named(instance: Instance) -> dict[str, str]:
    return {
        "requestType": "WADO",
        "studyUID": instance.study_uid,
        "seriesUID": instance.series_uid,
        "objectUID": instance.sop_instance_uid,
    }


async def _ask(target: Target, query: dict[str, str], accept: str) -> Response:
    # a comma separates values, and stays as it is
    written = urlencode(query, safe=",/")
    return await target.get(target.wado_uri or "", query=written, accept=accept)


async def _file(target: Target, instance: Instance, **more: str) -> Response:
    return await _ask(target, {**_named(instance), "contentType": FILE, **more}, FILE)


async def _jpeg(target: Target, instance: Instance, **more: str) -> Response:
    return await _ask(target, {**_named(instance), "contentType": JPEG, **more}, JPEG)


def _read(answer: Response) -> part10.File:
    answer.expect_status(200)
    answer.expect_media_type(FILE)
    try:
        return part10.read(answer.content)
    except part10.NotReadable as error:
        raise Violated(f"{answer.asked}: {error}") from None


async def _need_file(target: Target, instance: Instance) -> None:
    answer = await _file(target, instance)
    need(answer.status == 200, f"the instance cannot be retrieved as a file: {answer.status}")


async def _need_rendered(target: Target, instance: Instance) -> None:
    answer = await _jpeg(target, instance)
    need(answer.status == 200, f"the instance cannot be rendered: {answer.status}")


async def _need_small_picture(target: Target) -> Picture:
    """The slice without any parameter. Raises Unmet: it is another one than the suite's own."""
    whole = pictures.of(await _jpeg(target, _slice(target)), JPEG)
    need(whole.size == (64, 48), "the slice is not one of 64x48 pixels")
    return whole


async def _require_sign(name: str, *signs: Sign) -> None:
    """Raises NotClaimed: nothing shows that the server knows the optional parameter."""
    for sign in signs:
        if await sign():
            return
    raise NotClaimed(f"nothing shows that {name} is supported")


def _is_400(target: Target, instance: Instance, **more: str) -> Sign:
    async def sign() -> bool:
        return (await _jpeg(target, instance, **more)).status == 400

    return sign


def _changes(target: Target, instance: Instance, **more: str) -> Sign:
    """Is it another picture with the parameters?"""

    async def sign() -> bool:
        plain, other = await _jpeg(target, instance), await _jpeg(target, instance, **more)
        return plain.status == other.status == 200 and plain.content != other.content

    return sign


async def _expect_400(target: Target, instance: Instance, *wrong: dict[str, str]) -> None:
    plain = await _jpeg(target, instance)
    need(plain.status == 200, f"a right request is refused: {plain.status}")
    for more in wrong:
        (await _jpeg(target, instance, **more)).expect_status(400)


@case(
    "URI-01",
    section="9.4, 9.4.3",
    level=Level.SHALL,
    requirement="An instance can be had as a single PS3.10 file in Explicit VR Little Endian.",
    request=f"{_REQUEST}&contentType=application/dicom, Accept: application/dicom",
    expected="200, application/dicom, the file of that instance",
    needs=_CT,
)
async def instance_is_a_file(target: Target) -> None:
    instance = _slice(target)
    _expect_file_of(await _file(target, instance), instance)


def _expect_file_of(answer: Response, instance: Instance) -> None:
    file = _read(answer)
    held = file.sop_instance_uid == instance.sop_instance_uid
    expect(held, f"{answer.asked}: it is the file of another instance")
    held = file.transfer_syntax == EXPLICIT_LE
    expect(held, f"{answer.asked}: the file is in {file.transfer_syntax}")


async def _file_with(target: Target, query: dict[str, str]) -> Response:
    """Raises Unmet: the right request is not answered."""
    await _need_file(target, _slice(target))
    return await _ask(target, {**query, "contentType": FILE}, FILE)


def _without(target: Target, name: str) -> dict[str, str]:
    query = _named(_slice(target))
    del query[name]
    return query


@case(
    "URI-02",
    section="9.1.2.1.1",
    level=Level.SHALL,
    requirement="A request without requestType is answered with 400.",
    request="GET {wado}?studyUID={S1}&seriesUID={R1}&objectUID={I8}&contentType=application/dicom",
    expected="400",
    needs=_CT,
)
async def missing_request_type_is_400(target: Target) -> None:
    (await _file_with(target, _without(target, "requestType"))).expect_status(400)


@case(
    "URI-03",
    section="9.1.2.1.1, 9.4.2.1",
    level=Level.SHALL,
    requirement="A requestType that is not supported is answered with 400.",
    request="GET {wado}?requestType=FOO and the three UIDs",
    expected="400",
    needs=_CT,
)
async def unknown_request_type_is_400(target: Target) -> None:
    answer = await _file_with(target, {**_named(_slice(target)), "requestType": "FOO"})
    if answer.status != 400:
        missing = await _file_with(target, _without(target, "requestType"))
        words = f"it is {answer.status}, like one that is missing, which URI-02 judges"
        need(missing.status != answer.status, words)
    answer.expect_status(400)


@case(
    "URI-04",
    section="9.4.2.2",
    level=Level.SHALL,
    requirement="A request without one of the three UIDs is answered with 400.",
    request="GET {wado}?requestType=WADO without studyUID; seriesUID; objectUID",
    expected="400 each",
    needs=_CT,
)
async def missing_uids_are_400(target: Target) -> None:
    for missing in ("studyUID", "seriesUID", "objectUID"):
        (await _file_with(target, _without(target, missing))).expect_status(400)


@case(
    "URI-05",
    section="9.4.3.1",
    level=Level.SHALL,
    requirement="An instance that does not exist is answered with 404.",
    request="GET {wado} with an objectUID that was never stored",
    expected="404",
    needs=_CT,
)
async def unknown_instance_is_404(target: Target) -> None:
    instance = _slice(target)
    await _need_file(target, instance)
    unknown = Uids(instance.sop_instance_uid)("never stored")
    (await _file(target, instance, objectUID=unknown)).expect_status(404)


@case(
    "URI-06",
    section="9.3",
    level=Level.SHALL,
    requirement="Without contentType and with Accept: */* an image is answered as image/jpeg.",
    request=f"{_REQUEST}, Accept: */*",
    expected="200, image/jpeg",
    needs=_CT,
)
async def default_is_jpeg(target: Target) -> None:
    answer = await _ask(target, _named(_slice(target)), ANY)
    try:
        pictures.of(answer, JPEG)
    except Violated:
        why = "not even contentType=image/jpeg is answered rightly, which URI-33 judges"
        await need_passed(target, picture_of_an_instance_is_baseline_jpeg, why)
        raise


@case(
    "URI-07",
    section="9.1.2.1",
    level=Level.SHALL,
    requirement="The parameters come in any order.",
    request="GET {wado}?contentType=application/dicom&objectUID=...&...&requestType=WADO",
    expected="200, as in the other order",
    needs=_CT,
)
async def order_of_parameters_means_nothing(target: Target) -> None:
    instance = _slice(target)
    await _need_file(target, instance)
    query = {**_named(instance), "contentType": FILE}
    backwards = dict(reversed(query.items()))
    _expect_file_of(await _ask(target, backwards, FILE), instance)


@case(
    "URI-08",
    section="9.1.2.2.1",
    level=Level.SHALL,
    requirement="contentType has no transfer-syntax parameter: 400.",
    request=f"{_REQUEST}&contentType=application/dicom%3Btransfer-syntax%3D{EXPLICIT_LE}",
    expected="400",
    needs=_CT,
)
async def transfer_syntax_in_content_type_is_400(target: Target) -> None:
    instance = _slice(target)
    await _need_file(target, instance)
    content_type = f"{FILE};transfer-syntax={EXPLICIT_LE}"
    (await _file(target, instance, contentType=content_type)).expect_status(400)


async def _require_transfer_syntax(target: Target) -> None:
    instance = target.instance(Fixture.F7)
    await _need_file(target, instance)

    def answers(value: str, status: int) -> Sign:
        async def sign() -> bool:
            return (await _file(target, instance, transferSyntax=value)).status == status

        return sign

    async def keeps_rle() -> bool:
        plain, kept = (
            await _file(target, instance),
            await _file(target, instance, transferSyntax=RLE),
        )
        if kept.status != 200:
            return False
        return _read(kept).transfer_syntax == RLE != _read(plain).transfer_syntax

    await _require_sign("transferSyntax", answers("abc", 400), answers("1.2.3.4", 406), keeps_rle)


@case(
    "URI-09",
    section="9.4.2.4",
    level=Level.SHALL,
    requirement="Where transferSyntax is supported, the file is in that transfer syntax.",
    request=f"GET {{wado}} of {{F7}}&contentType=application/dicom&transferSyntax={RLE}",
    expected="200 in RLE Lossless (406 where it is not offered)",
    needs=_RLE,
)
async def file_is_in_the_transfer_syntax_asked_for(target: Target) -> None:
    await _require_transfer_syntax(target)
    answer = await _file(target, target.instance(Fixture.F7), transferSyntax=RLE)
    if answer.status == 406:
        raise NotClaimed("RLE Lossless is not among the transfer syntaxes that are supported")
    got = _read(answer).transfer_syntax
    expect(got == RLE, f"{answer.asked}: the file is in {got}")


@case(
    "URI-10",
    section="9.4.2.4",
    level=Level.SHALL,
    requirement="A transferSyntax that is a UID, but not supported, is answered with 406.",
    request="GET {wado} of {F7}&contentType=application/dicom&transferSyntax=1.2.3.4",
    expected="406",
    needs=_RLE,
)
async def unsupported_transfer_syntax_is_406(target: Target) -> None:
    await _require_transfer_syntax(target)
    answer = await _file(target, target.instance(Fixture.F7), transferSyntax="1.2.3.4")
    answer.expect_status(406)


@case(
    "URI-11",
    section="9.4.2.4",
    level=Level.SHALL,
    requirement="A transferSyntax that is no UID is answered with 400.",
    request="GET {wado} of {F7}&contentType=application/dicom&transferSyntax=abc",
    expected="400",
    needs=_RLE,
)
async def transfer_syntax_that_is_no_uid_is_400(target: Target) -> None:
    await _require_transfer_syntax(target)
    answer = await _file(target, target.instance(Fixture.F7), transferSyntax="abc")
    answer.expect_status(400)


async def _require_anonymize(target: Target) -> None:
    instance = _slice(target)
    await _need_file(target, instance)

    async def refuses_no() -> bool:
        return (await _file(target, instance, anonymize="no")).status == 400

    async def makes_another() -> bool:
        answer = await _file(target, instance, anonymize="yes")
        if answer.status != 200:
            return False
        return _read(answer).sop_instance_uid != instance.sop_instance_uid

    await _require_sign("anonymize", refuses_no, makes_another)


@case(
    "URI-12",
    section="9.4.2.3",
    level=Level.SHALL,
    requirement="Where anonymize is supported, another value than yes is answered with 400.",
    request=f"{_REQUEST}&contentType=application/dicom&anonymize=no",
    expected="400",
    needs=_CT,
)
async def anonymize_is_yes_or_400(target: Target) -> None:
    await _require_anonymize(target)
    (await _file(target, _slice(target), anonymize="no")).expect_status(400)


@case(
    "URI-13",
    section="9.4.2.3",
    level=Level.SHALL,
    requirement="An anonymized instance is a new one, without the identity of the patient.",
    request=f"{_REQUEST}&contentType=application/dicom&anonymize=yes",
    expected="200; another SOP Instance UID, another Patient's Name and ID (or an error)",
    needs=_CT,
)
async def anonymized_instance_is_another_one(target: Target) -> None:
    await _require_anonymize(target)
    instance = _slice(target)
    answer = await _file(target, instance, anonymize="yes")
    if answer.status != 200:
        raise NotClaimed(f"this instance is not anonymized: {answer.status}")
    file = _read(answer)
    is_new = file.sop_instance_uid != instance.sop_instance_uid
    expect(is_new, f"{answer.asked}: the SOP Instance UID is the same")
    made = pydicom.dcmread(BytesIO(answer.content), stop_before_pixels=True)
    for keyword in ("PatientName", "PatientID"):
        held = str(made.get(keyword, "")) != str(instance.original.get(keyword))
        expect(held, f"{answer.asked}: {keyword} is the original one")


async def _require_frame_number(target: Target) -> None:
    cine = target.instance(Fixture.F2)
    await _require_sign(
        "frameNumber",
        _changes(target, cine, frameNumber="9"),
        _is_400(target, cine, frameNumber="0"),
        _is_400(target, cine, frameNumber="11"),
        _is_400(target, cine, frameNumber="1.5"),
    )


@case(
    "URI-14",
    section="9.5.2.1",
    level=Level.SHALL,
    requirement="Where frameNumber is supported, the picture is of that frame.",
    request="GET {wado} of {F2}&contentType=image/jpeg&frameNumber=3",
    expected="200; 32x24 pixels, with the red of frame 3 and of no other",
    needs=_CINE,
)
async def picture_is_of_the_frame(target: Target) -> None:
    await _require_frame_number(target)
    cine = target.instance(Fixture.F2)
    picture = pictures.of(await _jpeg(target, cine, frameNumber="3"), JPEG)
    picture.expect_size(cine.original.Columns, cine.original.Rows)
    # the frames of the fixture are 25 apart in red, and frame 3 has 50
    red = float(picture.colors[..., 0].mean())
    expect(abs(red - 50) < 12, f"{picture.asked}: the picture is not of frame 3")


@case(
    "URI-15",
    section="9.5.2.1",
    level=Level.SHALL,
    requirement="A frameNumber that the instance does not have is answered with 400.",
    request="GET {wado} of {F2}&contentType=image/jpeg&frameNumber=0; 11; 1.5",
    expected="400 each",
    needs=_CINE,
)
async def impossible_frame_numbers_are_400(target: Target) -> None:
    await _require_frame_number(target)
    wrong = ({"frameNumber": each} for each in ("0", "11", "1.5"))
    await _expect_400(target, target.instance(Fixture.F2), *wrong)


@case(
    "URI-16",
    section="9.5.2.1",
    level=Level.SHALL,
    requirement="A frameNumber of an image that is no multi-frame is answered with 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&frameNumber=1",
    expected="400",
    needs=(Fixture.F1, Fixture.F2, Feature.URI_SERVICE),
)
async def frame_number_of_a_single_frame_is_400(target: Target) -> None:
    await _require_frame_number(target)
    await _need_rendered(target, _slice(target))
    await _expect_400(target, _slice(target), {"frameNumber": "1"})


_WINDOW: Final = {"windowCenter": "40", "windowWidth": "100"}


async def _require_window(target: Target) -> None:
    instance = _slice(target)
    await _need_rendered(target, instance)
    await _require_sign(
        "windowCenter",
        _changes(target, instance, **_WINDOW),
        _is_400(target, instance, windowCenter="40"),
        _is_400(target, instance, windowCenter="a", windowWidth="1"),
    )


@case(
    "URI-17",
    section="9.5.1.2.6",
    level=Level.SHALL,
    requirement="Of windowCenter and windowWidth there are both or neither; else 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&windowCenter=40",
    expected="400",
    needs=_CT,
)
async def center_without_width_is_400(target: Target) -> None:
    await _require_window(target)
    await _expect_400(target, _slice(target), {"windowCenter": "40"})


@case(
    "URI-18",
    section="9.5.1.2.6",
    level=Level.SHALL,
    requirement="A window for application/dicom is answered with 400.",
    request=f"{_REQUEST}&contentType=application/dicom&windowCenter=40&windowWidth=100",
    expected="400",
    needs=_CT,
)
async def window_of_a_file_is_400(target: Target) -> None:
    await _require_window(target)
    await _need_file(target, _slice(target))
    (await _file(target, _slice(target), **_WINDOW)).expect_status(400)


@case(
    "URI-19",
    section="9.5.2.2",
    level=Level.SHALL,
    requirement="A window that is no pair of decimals is answered with 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&windowCenter=a&windowWidth=1",
    expected="400",
    needs=_CT,
)
async def window_that_is_no_number_is_400(target: Target) -> None:
    await _require_window(target)
    await _expect_400(target, _slice(target), {"windowCenter": "a", "windowWidth": "1"})


async def _require_region(target: Target) -> None:
    instance = _slice(target)
    await _need_rendered(target, instance)
    await _require_sign(
        "region",
        _changes(target, instance, region="0.5,0.5,1,1"),
        _is_400(target, instance, region="0.5,0,0.25,1"),
        _is_400(target, instance, region="0,0,0.5"),
    )


@case(
    "URI-20",
    section="9.5.2.4",
    level=Level.SHALL,
    requirement="A region whose minimum is not below its maximum is answered with 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&region=0.5,0,0.25,1",
    expected="400",
    needs=_CT,
)
async def region_turned_round_is_400(target: Target) -> None:
    await _require_region(target)
    await _expect_400(target, _slice(target), {"region": "0.5,0,0.25,1"})


@case(
    "URI-21",
    section="9.5.2.4",
    level=Level.SHALL,
    requirement="A region without its four values is answered with 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&region=0,0,0.5",
    expected="400",
    needs=_CT,
)
async def region_of_three_values_is_400(target: Target) -> None:
    await _require_region(target)
    await _expect_400(target, _slice(target), {"region": "0,0,0.5"})


@case(
    "URI-22",
    section="9.5.2.4, 9.5.1.2.5",
    level=Level.SHALL,
    requirement="Where region is supported, the picture is of that part of the image.",
    request=f"{_REQUEST}&contentType=image/jpeg&region=0.5,0.5,1,1",
    expected="200; the lower right quarter, 32x24 pixels",
    needs=_CT,
)
async def region_is_cut_out(target: Target) -> None:
    await _require_region(target)
    whole = await _need_small_picture(target)
    picture = pictures.of(await _jpeg(target, _slice(target), region="0.5,0.5,1,1"), JPEG)
    picture.expect_size(32, 24)
    off = float(np.mean(np.abs(picture.gray - whole.gray[24:, 32:])))
    expect(off <= 8, f"{picture.asked}: not the lower right quarter")


async def _require_rows_and_columns(target: Target) -> None:
    instance = _slice(target)
    await _need_rendered(target, instance)
    await _require_sign(
        "rows and columns",
        _changes(target, instance, rows="24", columns="64"),
        _is_400(target, instance, rows="x", columns="y"),
    )
    await _need_small_picture(target)


@case(
    "URI-23",
    section="9.5.2.5",
    level=Level.SHALL,
    requirement="rows and columns are the most that a picture has; its proportions are kept.",
    request=f"{_REQUEST}&contentType=image/jpeg&rows=24&columns=64",
    expected="200; 32x24 pixels",
    needs=_CT,
)
async def picture_fits_into_rows_and_columns(target: Target) -> None:
    await _require_rows_and_columns(target)
    answer = await _jpeg(target, _slice(target), rows="24", columns="64")
    pictures.of(answer, JPEG).expect_size(32, 24)


@case(
    "URI-24",
    section="9.5.2.5, 9.5.1.2.4",
    level=Level.MAY,
    requirement="columns without rows: the Standard says both that it is allowed and that not.",
    request=f"{_REQUEST}&contentType=image/jpeg&columns=32",
    expected="200 with 32x24 pixels, or 400",
    needs=_CT,
)
async def columns_alone_keep_the_proportions(target: Target) -> None:
    await _require_rows_and_columns(target)
    answer = await _jpeg(target, _slice(target), columns="32")
    target.note(f"columns without rows: {answer.status}")
    if answer.status != 400:
        pictures.of(answer, JPEG).expect_size(32, 24)


def _state(target: Target) -> dict[str, str]:
    state = target.study(Fixture.F1).instance("presentation state")
    return {
        "presentationUID": state.sop_instance_uid,
        "presentationSeriesUID": state.series_uid,
    }


def _unknown_state(target: Target) -> dict[str, str]:
    known = _state(target)
    return {**known, "presentationUID": Uids(known["presentationUID"])("never stored")}


async def _require_state(target: Target) -> Instance:
    """The slice that the presentation state shows. Raises NotClaimed."""
    shown = target.study(Fixture.F1).series("CT")[0]
    await _need_rendered(target, shown)
    await _require_sign(
        "presentationUID",
        _changes(target, shown, **_state(target)),
        _is_400(target, shown, **_unknown_state(target)),
    )
    plain = await _jpeg(target, shown, **_state(target))
    need(plain.status == 200, f"the presentation state is not applied: {plain.status}")
    return shown


@case(
    "URI-25",
    section="9.5.2.2, 9.5.1.2.6",
    level=Level.SHALL,
    requirement="A window beside a presentation state is answered with 400.",
    request="GET {wado} of {I1}&presentationUID={F6}&presentationSeriesUID=...&windowCenter=...",
    expected="400",
    needs=_STATE,
)
async def window_beside_a_presentation_state_is_400(target: Target) -> None:
    shown = await _require_state(target)
    await _expect_400(target, shown, {**_state(target), **_WINDOW})


@case(
    "URI-26",
    section="9.5.1.2.7",
    level=Level.SHALL,
    requirement="presentationUID without presentationSeriesUID is answered with 400.",
    request="GET {wado} of {I1}&contentType=image/jpeg&presentationUID={F6}",
    expected="400",
    needs=_STATE,
)
async def state_without_its_series_is_400(target: Target) -> None:
    shown = await _require_state(target)
    alone = {"presentationUID": _state(target)["presentationUID"]}
    await _expect_400(target, shown, alone)


@case(
    "URI-27",
    section="8.3.5.1.6, 9.5.1.2.7",
    level=Level.SHALL,
    requirement="A presentation state that does not exist is answered with 400.",
    request="GET {wado} of {I1}&presentationUID=unknown&presentationSeriesUID=...",
    expected="400",
    needs=_STATE,
)
async def unknown_state_is_400(target: Target) -> None:
    shown = await _require_state(target)
    await _expect_400(target, shown, _unknown_state(target))


@case(
    "URI-28",
    section="8.3.5.1.2",
    level=Level.SHALL,
    requirement="An imageQuality that is no integer from 1 to 100 is answered with 400.",
    request=f"{_REQUEST}&contentType=image/jpeg&imageQuality=0; 101; x",
    expected="400 each",
    needs=_CT,
)
async def impossible_image_qualities_are_400(target: Target) -> None:
    instance = _slice(target)
    await _need_rendered(target, instance)
    wrong = [{"imageQuality": each} for each in ("0", "101", "x")]
    await _require_sign(
        "imageQuality",
        _changes(target, instance, imageQuality="5"),
        *(_is_400(target, instance, **each) for each in wrong),
    )
    await _expect_400(target, instance, *wrong)


@case(
    "URI-29",
    section="9.5",
    level=Level.SHOULD,
    requirement="A presentation state cannot be applied to application/dicom: 406.",
    request="GET {wado} of {I1}&contentType=application/dicom&presentationUID={F6}&...",
    expected="406",
    needs=_STATE,
)
async def file_with_a_presentation_state_is_406(target: Target) -> None:
    shown = await _require_state(target)
    (await _file(target, shown, **_state(target))).expect_status(406)


@case(
    "URI-30",
    section="8.7.4",
    level=Level.SHALL,
    requirement="A text can be had as text/html and as text/plain.",
    request="GET {wado} of {report}&contentType=text/html; then text/plain",
    expected="200 and that type, each",
    needs=_CT,
)
async def report_is_html_and_plain_text(target: Target) -> None:
    report = target.study(Fixture.F1).instance("report")
    answers = {
        name: await _ask(target, {**_named(report), "contentType": name}, name)
        for name in ("text/html", "text/plain")
    }
    # Which SOP classes are supported is for the conformance statement to say (9.2).
    if all(each.status in {400, 404, 406, 415, 501} for each in answers.values()):
        raise NotClaimed("structured reports are not rendered at all")
    for name, answer in answers.items():
        held = answer.status == 200
        expect(held, f"{answer.asked} as {name}: expected 200, got {answer.status}")
        answer.expect_media_type(name)


@case(
    "URI-31",
    section="9.4.2.4, 8.7.3.4",
    level=Level.SHALL,
    requirement="Without transferSyntax a file is in Explicit VR Little Endian, however stored.",
    request="GET {wado} of {F7} (stored as RLE Lossless)&contentType=application/dicom",
    expected="200; (0002,0010) is 1.2.840.10008.1.2.1",
    needs=_RLE,
)
async def default_transfer_syntax_is_explicit_little_endian(target: Target) -> None:
    instance = target.instance(Fixture.F7)
    _expect_file_of(await _file(target, instance), instance)


@case(
    "URI-32",
    section="9.5.1.2.6, PS3.3 C.11.2.1.2",
    level=Level.SHALL,
    requirement="Where a window is supported, it maps values as PS3.3 defines it.",
    request=f"{_REQUEST}&contentType=image/jpeg&windowCenter=40&windowWidth=400",
    expected="the values of the linear function, on average within 4 of 255 (JPEG loses some)",
    needs=_CT,
)
async def window_is_applied(target: Target) -> None:
    await _require_window(target)
    instance = _slice(target)
    answer = await _jpeg(target, instance, windowCenter="40", windowWidth="400")
    picture = pictures.of(answer, JPEG)
    original = instance.original
    picture.expect_size(original.Columns, original.Rows)
    stored = np.asarray(original.pixel_array, np.float64)
    values = stored * float(original.RescaleSlope) + float(original.RescaleIntercept)
    off = float(np.mean(np.abs(picture.gray - pictures.linear(values, 40, 400))))
    expect(off <= 4, f"{answer.asked}: the picture is off by {off:.1f} of 255 on average")


@case(
    "URI-33",
    section="9.5, 8.7.4",
    level=Level.SHALL,
    requirement="An image can be had as image/jpeg: baseline, 8 bits.",
    request=f"{_REQUEST}&contentType=image/jpeg, Accept: image/jpeg",
    expected="200; one baseline JPEG (SOF0, 8 bits) of the size of the image",
    needs=_CT,
)
async def picture_of_an_instance_is_baseline_jpeg(target: Target) -> None:
    instance = _slice(target)
    picture = pictures.of(await _jpeg(target, instance), JPEG)
    kind, bits = pictures.jpeg_frame(picture.content)
    held = (kind, bits) == (0, 8)
    expect(held, f"{picture.asked}: expected SOF0 of 8 bits, got SOF{kind} of {bits}")
    picture.expect_size(instance.original.Columns, instance.original.Rows)
