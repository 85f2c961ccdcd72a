"""THU: thumbnails (sections 8.3.5.2 and 10.4.1.1.4), for servers that have them."""

from typing import Final
from urllib.parse import urljoin

from dicomweb_conformance import pictures
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance
from dicomweb_conformance.media_types import ANY
from dicomweb_conformance.pictures import JPEG, Picture
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_CT: Final = (Fixture.F1, Feature.THUMBNAIL)
_NOT_OFFERED: Final = frozenset({400, 404, 405, 406, 501})


def _slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[-1]


def _paths(target: Target) -> dict[str, str]:
    """At the four levels."""
    instance = _slice(target)
    return {
        "study": f"/studies/{instance.study_uid}/thumbnail",
        "series": f"{instance.series_path}/thumbnail",
        "instance": f"{instance.path}/thumbnail",
        "frame": f"{instance.path}/frames/1/thumbnail",
    }


async def _thumbnail(
    target: Target, level: str = "study", query: str = "", accept: str = JPEG
) -> Response:
    """The answer, or what it redirects to: a rendered resource (10.4.3.3.4)."""
    answer = await target.get(_paths(target)[level], query=query, accept=accept)
    if answer.status in {302, 303, 307}:
        where = answer.headers.get("location")
        if where is None:
            raise Violated(f"{answer.asked}: {answer.status} without a Location")
        target.note(f"the thumbnail of a {level} is a redirect")
        base = target.base_url + _paths(target)[level]
        return await target.get(urljoin(base, where), accept=accept)
    return answer


async def _require_thumbnails(target: Target) -> Picture:
    """The thumbnail of the study. Raises NotClaimed: there are none at any level."""
    for level in _paths(target):
        answer = await _thumbnail(target, level)
        if answer.status not in _NOT_OFFERED:
            break
    else:
        raise NotClaimed("there are thumbnails at no level")
    answer = await _thumbnail(target)
    need(answer.status == 200, f"the study has no thumbnail: {answer.status}")
    return pictures.of(answer, JPEG)


@case(
    "THU-01",
    section="10.4.1.1.4",
    level=Level.SHALL,
    requirement="Who supports one of the four thumbnail resources supports them all.",
    request="GET {b}/.../thumbnail of {S1}, {R1}, {I8} and its frame 1, Accept: image/jpeg",
    expected="a JPEG each, or a redirect to one",
    needs=_CT,
)
async def thumbnails_are_there_at_every_level(target: Target) -> None:
    answers = {level: await _thumbnail(target, level) for level in _paths(target)}
    if all(each.status in _NOT_OFFERED for each in answers.values()):
        raise NotClaimed("there are thumbnails at no level")
    for answer in answers.values():
        pictures.of(answer, JPEG)


@case(
    "THU-02",
    section="10.4.4, 10.4.3.3.4",
    level=Level.SHALL,
    requirement="A thumbnail is one picture, and image/jpeg by default.",
    request="GET {b}/studies/{S1}/thumbnail, Accept: */*",
    expected="200, image/jpeg, a single part",
    needs=_CT,
)
async def thumbnail_is_one_jpeg(target: Target) -> None:
    await _require_thumbnails(target)
    pictures.of(await _thumbnail(target, accept=ANY), JPEG)


async def _require_viewport(target: Target) -> None:
    """Raises NotClaimed: the parameter is optional for thumbnails, and nothing shows it."""
    await _require_thumbnails(target)
    small = await _thumbnail(target, query="viewport=16,16")
    large = await _thumbnail(target, query="viewport=60,60")
    is_followed = small.status == large.status == 200 and small.content != large.content
    refusal = await _thumbnail(target, query="viewport=x")
    if not is_followed and refusal.status != 400:
        raise NotClaimed("nothing shows that viewport is supported")


@case(
    "THU-03",
    section="8.3.5.2, 8.3.5.1.3",
    level=Level.SHALL,
    requirement="Where viewport is supported, a thumbnail fits into it.",
    request="GET {b}/studies/{S1}/thumbnail?viewport=32,32",
    expected="200; a picture of at most 32x32 pixels, and one side of 32",
    needs=_CT,
)
async def thumbnail_fits_into_the_viewport(target: Target) -> None:
    await _require_viewport(target)
    picture = pictures.of(await _thumbnail(target, query="viewport=32,32"), JPEG)
    columns, rows = picture.size
    expect(max(columns, rows) == 32, f"{picture.asked}: a picture of {columns}x{rows} pixels")


@case(
    "THU-04",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="The viewport of a thumbnail has no source region: 400.",
    request="GET {b}/studies/{S1}/thumbnail?viewport=32,32,0,0,8,8",
    expected="400",
    needs=_CT,
)
async def region_of_a_thumbnail_is_400(target: Target) -> None:
    await _require_viewport(target)
    (await _thumbnail(target, query="viewport=32,32,0,0,8,8")).expect_status(400)


@case(
    "THU-05",
    section="10.4.3.3.4",
    level=Level.SHALL,
    requirement="A thumbnail does not identify the patient: not in its text, not when asked to.",
    request="GET {b}/studies/{S1}/thumbnail; then ?annotation=patient",
    expected="no name and no id in the file; the annotation is not drawn (look at it yourself"
    " for text that the pixels hold)",
    needs=_CT,
)
async def thumbnail_does_not_name_the_patient(target: Target) -> None:
    plain = await _require_thumbnails(target)
    original = _slice(target).original
    texts = [str(original.PatientID), *str(original.PatientName).split("^")]
    for encoding in ("utf-8", "latin-1", "utf-16-le"):
        held = all(each.encode(encoding) not in plain.content for each in texts)
        expect(held, f"{plain.asked}: the file holds the name or the id of the patient")
    answer = await _thumbnail(target, query="annotation=patient")
    answer.expect_status(200, 400)
    if answer.status == 200:
        drawn = pictures.of(answer, JPEG)
        held = pictures.difference(plain.colors, drawn.colors) <= 2
        expect(held, f"{answer.asked}: the annotation is drawn")
