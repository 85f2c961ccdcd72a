"""VOL: views of volumes (sections 8.3.5.3, 10.4.1.1.7 and 10.4.1.1.8), for servers that have them.

The Standard prints the resources as renderedmpr and renderedMPR, rendered3d and rendered3D (D-11):
the first one that answers is asked.
"""

from collections.abc import Sequence
from typing import Final

from dicomweb_conformance import pictures
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.media_types import DICOM_JSON
from dicomweb_conformance.pictures import JPEG
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, expect, need

_MPR: Final = (Fixture.F1, Feature.MPR)
_3D: Final = (Fixture.F1, Feature.RENDERED_3D)
_NOT_OFFERED: Final = frozenset({404, 405, 501})
_AVERAGE: Final = "renderingmethod=average_ip"
# From the front onto the middle of the fixture's 64 x 48 x 40 mm. A server may want all of it.
_CAMERA: Final = "viewpointposition=32,-200,22&viewpointlookat=32,24,22&viewpointup=0,0,1"


def _spellings(target: Target, *names: str) -> list[str]:
    first = target.study(Fixture.F1).series("CT")[0]
    need(first.file is not None, "whether a series that is not the suite's is a volume is unknown")
    return [f"{first.series_path}/{name}" for name in names]


async def _resource(target: Target, spellings: Sequence[str], query: str) -> str:
    """The path that is served, under the query that works. Raises NotClaimed."""
    for path in spellings:
        answer = await target.get(path, query=query, accept=JPEG)
        if answer.status not in _NOT_OFFERED:
            target.note(f"the resource is called {path.rpartition('/')[2]}")
            return path
    raise NotClaimed("no such resource, in either spelling")


async def _mpr(target: Target) -> str:
    spellings = _spellings(target, "renderedmpr", "renderedMPR")
    return await _resource(target, spellings, f"{_AVERAGE}&{_CAMERA}")


async def _view(target: Target, path: str, method: str) -> Response:
    """With defaults or, where the server has none, with all parameters."""
    answer = await target.get(path, query=method, accept=JPEG)
    if answer.status == 400:
        target.note("a view without a camera is refused, which is allowed")
        return await target.get(path, query=f"{method}&{_CAMERA}", accept=JPEG)
    return answer


async def _expect_400(target: Target, *wrong: str) -> None:
    """Each makes a right query wrong."""
    path = await _mpr(target)
    right = f"{_AVERAGE}&{_CAMERA}"
    plain = await target.get(path, query=right, accept=JPEG)
    need(plain.status == 200, f"a right view is refused: {plain.status}")
    for each in wrong:
        (await target.get(path, query=f"{right}&{each}", accept=JPEG)).expect_status(400)


@case(
    "VOL-01",
    section="10.4.1.1.7",
    level=Level.SHALL,
    requirement="Where planes can be rendered, those of a series of parallel slices can.",
    request=f"GET {{b}}/studies/{{S1}}/series/{{R1}}/renderedmpr?{_AVERAGE}, Accept: image/jpeg",
    expected="200, a JPEG",
    needs=_MPR,
)
async def plane_of_a_series_is_rendered(target: Target) -> None:
    picture = pictures.of(await _view(target, await _mpr(target), _AVERAGE), JPEG)
    shades = float(picture.gray.max() - picture.gray.min())
    expect(shades > 0, f"{picture.asked}: the picture is empty")


@case(
    "VOL-02",
    section="10.4.1.1.8",
    level=Level.SHALL,
    requirement="Where volumes can be rendered, a series of parallel slices can.",
    request="GET {b}/studies/{S1}/series/{R1}/rendered3d?renderingmethod=volume_rendered",
    expected="200, a JPEG",
    needs=_3D,
)
async def volume_of_a_series_is_rendered(target: Target) -> None:
    method = "renderingmethod=volume_rendered"
    spellings = _spellings(target, "rendered3d", "rendered3D")
    path = await _resource(target, spellings, f"{method}&{_CAMERA}")
    pictures.of(await _view(target, path, method), JPEG)


async def _require_orientation(target: Target, path: str) -> None:
    """Raises NotClaimed: the parameter is optional, and makes no difference."""
    seen = [
        await target.get(path, query=f"{_AVERAGE}&orientation={each}", accept=JPEG)
        for each in ("a", "r", "x")
    ]
    need(any(each.status == 200 for each in seen), "a view with an orientation is refused")
    is_followed = seen[0].status == seen[1].status == 200 and seen[0].content != seen[1].content
    if not is_followed and seen[2].status != 400:
        raise NotClaimed("nothing shows that orientation is supported")


@case(
    "VOL-03",
    section="8.3.5.3.4",
    level=Level.SHALL,
    requirement="An orientation and a camera exclude each other: 400.",
    request="GET {b}/.../renderedmpr?renderingmethod=average_ip&orientation=a&viewpointup=0,0,1",
    expected="400",
    needs=_MPR,
)
async def orientation_beside_a_camera_is_400(target: Target) -> None:
    path = await _mpr(target)
    await _require_orientation(target, path)
    query = f"{_AVERAGE}&orientation=a&viewpointup=0,0,1"
    (await target.get(path, query=query, accept=JPEG)).expect_status(400)


async def _require_reference(target: Target) -> None:
    """Raises NotClaimed: what can be no UID is no better than one, so it is not looked at."""
    path = await _mpr(target)
    known = target.study(Fixture.F1).series("CT")[0].sop_instance_uid
    query = f"{_AVERAGE}&{_CAMERA}&volumeinputreference="
    right = await target.get(path, query=f"{query}{known}", accept=JPEG)
    need(right.status == 200, f"a view with a right reference is refused: {right.status}")
    for wrong in ("x", _unknown(target), f"{known},99"):
        if (await target.get(path, query=f"{query}{wrong}", accept=JPEG)).status == 400:
            return
    raise NotClaimed("nothing shows that volumeinputreference is supported")


def _unknown(target: Target) -> str:
    return Uids(target.study(Fixture.F1).uid)("never stored")


@case(
    "VOL-04",
    section="8.3.5.3.1",
    level=Level.SHALL,
    requirement="A volumeinputreference that is not of the target is answered with 400.",
    request="GET {b}/.../renderedmpr?renderingmethod=average_ip&volumeinputreference=unknown",
    expected="400",
    needs=_MPR,
)
async def foreign_reference_is_400(target: Target) -> None:
    await _require_reference(target)
    await _expect_400(target, f"volumeinputreference={_unknown(target)}")


@case(
    "VOL-05",
    section="8.3.5.3.1, 8.3.5.3.2",
    level=Level.SHALL,
    requirement="A volumeinputreference and a match attribute exclude each other: 400.",
    request="GET {b}/.../renderedmpr?...&volumeinputreference={I1}&InstanceNumber=1",
    expected="400",
    needs=_MPR,
)
async def reference_beside_a_match_is_400(target: Target) -> None:
    await _require_reference(target)
    known = target.study(Fixture.F1).series("CT")[0].sop_instance_uid
    await _expect_400(target, f"volumeinputreference={known}&InstanceNumber=1")


# Annex K: what every rendered volume has. Three numbers where it is a point.
_METHOD: Final = ("00720510", "0070120D")
_POINTS: Final = ("00701603", "00701604", "00701605")


async def _module(target: Target) -> dict[str, object]:
    path = await _mpr(target)
    query = f"{_AVERAGE}&renderedvolumetricmetadata=yes"
    answer = await target.get(path, query=f"{query}&orientation=a", accept=DICOM_JSON)
    if answer.status == 400:
        answer = await target.get(path, query=f"{query}&{_CAMERA}", accept=DICOM_JSON)
    answer.expect_status(200)
    answer.expect_media_type(DICOM_JSON)
    found = answer.json()
    if isinstance(found, list) and len(found) == 1:
        # B.32 shows an object, Annex F wants arrays of results (D-16)
        target.note("the module comes in an array")
        found = found[0]
    expect(isinstance(found, dict), f"{answer.asked}: expected one object")
    return found if isinstance(found, dict) else {}


@case(
    "VOL-06",
    section="8.3.5.3.13",
    level=Level.SHALL,
    requirement="renderedvolumetricmetadata=yes answers the effective parameters, as a camera.",
    request="GET {b}/.../renderedmpr?...&orientation=a&renderedvolumetricmetadata=yes as JSON",
    expected="200; the Rendered Volume Response module of Annex K",
    needs=_MPR,
)
async def parameters_are_answered(target: Target) -> None:
    module = await _module(target)
    for tag in (*_METHOD, *_POINTS):
        attribute = module.get(tag)
        values = attribute.get("Value") if isinstance(attribute, dict) else None
        held = isinstance(values, list) and len(values) == (3 if tag in _POINTS else 1)
        expect(held, f"the module has no right ({tag[:4]},{tag[4:]})")


@case(
    "VOL-07",
    section="8.3.5.3.13",
    level=Level.SHALL,
    requirement="The same request has the same effective parameters.",
    request="the request of VOL-06, twice",
    expected="identical values",
    needs=_MPR,
)
async def parameters_are_the_same_again(target: Target) -> None:
    first = await _module(target)
    need(bool(first), "the module is empty")
    expect(await _module(target) == first, "the second answer has other values")


@case(
    "VOL-08",
    section="8.3.5.3, PS3.3 C.11.23.1",
    level=Level.SHALL,
    requirement="What is no valid volume is answered with 400.",
    request="GET {b}/.../instances/{F2}/renderedmpr?renderingmethod=average_ip (in colour)",
    expected="400",
    needs=(Fixture.F1, Fixture.F2, Feature.MPR),
)
async def picture_in_color_is_no_volume(target: Target) -> None:
    plain = await _mpr(target)
    right = await target.get(plain, query=f"{_AVERAGE}&{_CAMERA}", accept=JPEG)
    need(right.status == 200, f"a right view is refused: {right.status}")
    name = plain.rpartition("/")[2]
    path = f"{target.instance(Fixture.F2).path}/{name}"
    answer = await target.get(path, query=f"{_AVERAGE}&{_CAMERA}", accept=JPEG)
    answer.expect_status(400)


@case(
    "VOL-09",
    section="8.3.5.3.8",
    level=Level.SHALL,
    requirement="A slab is more than 0 mm thick; else 400.",
    request="GET {b}/.../renderedmpr?renderingmethod=average_ip&mprslab=0; -1; x",
    expected="400 each",
    needs=_MPR,
)
async def impossible_slabs_are_400(target: Target) -> None:
    await _expect_400(target, "mprslab=0", "mprslab=-1", "mprslab=x")


@case(
    "VOL-10",
    section="8.3.5.3.3",
    level=Level.SHALL,
    requirement="An unknown renderingmethod is answered with 400.",
    request="GET {b}/.../renderedmpr?renderingmethod=foo",
    expected="400",
    needs=_MPR,
)
async def unknown_method_is_400(target: Target) -> None:
    await _expect_400(target)
    path = await _mpr(target)
    answer = await target.get(path, query=f"renderingmethod=foo&{_CAMERA}", accept=JPEG)
    answer.expect_status(400)


@case(
    "VOL-11",
    section="10.4.1.1.8",
    level=Level.MAY,
    requirement="The examples of Annex B spell the resource rendered3D.",
    request="GET {b}/studies/{S1}/series/{R1}/rendered3D?renderingmethod=volume_rendered",
    expected="200, as under rendered3d",
    needs=_3D,
)
async def other_spelling_is_known(target: Target) -> None:
    lower, upper = _spellings(target, "rendered3d", "rendered3D")
    method = "renderingmethod=volume_rendered"
    seen = {
        path.rpartition("/")[2]: _is_jpeg(await _view(target, path, method))
        for path in (lower, upper)
    }
    if not any(seen.values()):
        raise NotClaimed("volumes are not rendered")
    expect(seen["rendered3D"], "rendered3d is known, rendered3D is not")


def _is_jpeg(answer: Response) -> bool:
    return answer.status == 200 and answer.media_type.name == JPEG
