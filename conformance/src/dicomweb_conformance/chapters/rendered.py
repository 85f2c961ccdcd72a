"""REN: pictures and texts of instances (sections 8.3.5.1, 8.7.4 and 10.4.1.1.3)."""

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from dicomweb_conformance import pictures
from dicomweb_conformance.cases import case
from dicomweb_conformance.chapters.common import expect_not_acceptable
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Instance, Uids
from dicomweb_conformance.media_types import ANY, EXPLICIT_LE
from dicomweb_conformance.pictures import GIF, JPEG, JPEG_PARTS, PNG, Picture, Values
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_CT: Final = (Fixture.F1, Feature.RETRIEVE)
_FRAMES: Final = (Fixture.F8, Feature.RETRIEVE)
_ULTRASOUND: Final = (Fixture.F2, Feature.RETRIEVE)
_STATE: Final = (Fixture.F1, Fixture.F6, Feature.RETRIEVE)
# Shows nearly all values of a slice as different greys.
_WIDE: Final = "window=-400,1600,linear"
# How servers say that they render no instances of some SOP class, which is theirs to choose.
_NOT_RENDERED: Final = frozenset({400, 404, 405, 406, 415, 501})
_REQUEST: Final = "GET {b}/studies/{S1}/series/{R1}/instances/{I8}/rendered"


def _slice(target: Target) -> Instance:
    """The last slice: its values reach from below to above the window 40, 400."""
    return target.study(Fixture.F1).series("CT")[-1]


async def _rendered(
    target: Target, query: str = "", accept: str = PNG, instance: Instance | None = None
) -> Response:
    path = (instance or _slice(target)).path
    return await target.get(f"{path}/rendered", query=query, accept=accept)


def _expect_200_as(answer: Response, media_type: str) -> None:
    """A 200, with the media type in the message: the path does not show it."""
    held = answer.status == 200
    expect(held, f"{answer.asked} as {media_type}: expected 200, got {answer.status}")


async def _picture(target: Target, query: str = "") -> Picture:
    return pictures.of(await _rendered(target, query), PNG)


async def _need_picture(target: Target, query: str = "") -> Picture:
    """Raises Unmet: there is no right picture to compare with."""
    answer = await _rendered(target, query)
    need(answer.status == 200, f"a CT slice cannot be rendered as PNG: {answer.status}")
    return pictures.of(answer, PNG)


def _hounsfield(instance: Instance) -> Values:
    original = instance.original
    stored = np.asarray(original.pixel_array, np.float64)
    return stored * float(original.RescaleSlope) + float(original.RescaleIntercept)


def _expect_gray(picture: Picture, wanted: Values, tolerance: float) -> None:
    rows, columns = wanted.shape
    picture.expect_size(columns, rows)
    worst = pictures.difference(picture.gray, wanted)
    held = worst <= tolerance
    expect(held, f"{picture.asked}: a pixel is off by {worst:.1f} of 255, allowed {tolerance:g}")


async def _expect_400(
    target: Target, queries: Iterable[str], accept: str = PNG, instance: Instance | None = None
) -> None:
    """Each query is wrong, and without it the picture can be had."""
    plain = await _rendered(target, "", accept, instance)
    need(plain.status == 200, f"it cannot be rendered without the parameter: {plain.status}")
    for query in queries:
        (await _rendered(target, query, accept, instance)).expect_status(400)


@case(
    "REN-01",
    section="8.7.4, 10.4.1.1.3",
    level=Level.SHALL,
    requirement="A single frame can be had as image/jpeg: baseline, 8 bits.",
    request=f"{_REQUEST}, Accept: image/jpeg",
    expected="200; one baseline JPEG (SOF0, 8 bits) of 64x48 pixels",
    needs=_CT,
)
async def picture_is_baseline_jpeg(target: Target) -> None:
    picture = pictures.of(await _rendered(target, accept=JPEG), JPEG)
    kind, bits = pictures.jpeg_frame(picture.content)
    held = (kind, bits) == (0, 8)
    expect(held, f"{picture.asked}: expected SOF0 of 8 bits, got SOF{kind} of {bits}")
    original = _slice(target).file and _slice(target).original
    if original:
        picture.expect_size(original.Columns, original.Rows)


@case(
    "REN-02",
    section="8.7.4",
    level=Level.SHALL,
    requirement="A single frame can be had as image/png and as image/gif.",
    request=f"{_REQUEST}, Accept: image/png; then image/gif",
    expected="200 and a picture of that type, each",
    needs=_CT,
)
async def pictures_are_also_png_and_gif(target: Target) -> None:
    for media_type in (PNG, GIF):
        answer = await _rendered(target, accept=media_type)
        _expect_200_as(answer, media_type)
        pictures.of(answer, media_type)


@case(
    "REN-03",
    section="8.7.7, 8.7.8.1",
    level=Level.SHALL,
    requirement="*/* and image/* stand for the default type of a single frame, image/jpeg.",
    request=f"{_REQUEST}, Accept: */*; then image/*",
    expected="200, image/jpeg",
    needs=_CT,
)
async def default_picture_is_jpeg(target: Target) -> None:
    anything = await _rendered(target, accept=ANY)
    _expect_200_as(anything, ANY)
    if anything.media_type.name == "multipart/related":
        # Table 10.4.4-1 names no default between the single part and the multipart one (D-3).
        target.note("*/* is answered with multipart/related of image/jpeg")
        pictures.parts_of(anything, JPEG)
    else:
        pictures.of(anything, JPEG)
    answer = await _rendered(target, accept="image/*")
    _expect_200_as(answer, "image/*")
    pictures.of(answer, JPEG)


_FRAME_WINDOW: Final = "window=1900,1800,linear"


@case(
    "REN-04",
    section="10.4.1.1.3",
    level=Level.SHALL,
    requirement="A rendered frame is the picture of that frame.",
    request=f"GET {{b}}/.../instances/{{F8}}/frames/2/rendered?{_FRAME_WINDOW}",
    expected="200; the values of frame 2 in that window, within 2 of 255",
    needs=_FRAMES,
)
async def rendered_frame_is_that_frame(target: Target) -> None:
    instance = target.instance(Fixture.F8)
    path = f"{instance.path}/frames/2/rendered"
    as_jpeg = await target.get(path, accept=JPEG)
    pictures.of(as_jpeg, JPEG)
    answer = await target.get(path, query=_FRAME_WINDOW, accept=PNG)
    other = await target.get(path, query="window=1900,9000,linear", accept=PNG)
    need(answer.status == other.status == 200, "frames cannot be rendered as PNG with a window")
    need(answer.content != other.content, "the window is ignored, so frames look the same")
    values = np.asarray(instance.original.pixel_array[1], np.float64)
    _expect_gray(pictures.of(answer, PNG), pictures.linear(values, 1900, 1800), 2)


@case(
    "REN-05",
    section="10.4.4",
    level=Level.SHALL,
    requirement="A single-part type is ignored where the resource is no single item; if no other"
    " is left, the answer is 406.",
    request="GET {b}/studies/{S1}/rendered, Accept: image/jpeg",
    expected="406",
    needs=_CT,
)
async def single_part_of_a_study_is_406(target: Target) -> None:
    path = f"{target.study(Fixture.F1).path}/rendered"
    several = await target.get(path, accept=JPEG_PARTS)
    need(several.status in (200, 206), f"a study cannot be rendered at all: {several.status}")
    (await target.get(path, accept=JPEG)).expect_status(406)


@case(
    "REN-06",
    section="10.4.4, 8.4.2",
    level=Level.SHALL,
    requirement="A rendered series has one part for each image, which says of which.",
    request='GET {b}/studies/{S1}/series/{R1}/rendered, Accept: multipart/related; "image/jpeg"',
    expected="200; 8 parts of image/jpeg; Content-Location names the instance",
    needs=_CT,
)
async def rendered_series_has_a_part_for_each_image(target: Target) -> None:
    series = target.study(Fixture.F1).series("CT")
    answer = await target.get(f"{series[0].series_path}/rendered", accept=JPEG_PARTS)
    parts = answer.parts(JPEG)
    got, wanted = len(parts), len(series)
    expect(got == wanted, f"{answer.asked}: {got} parts for {wanted} images")
    pictures.parts_of(answer, JPEG)
    for instance in series:
        of_it = [p for p in parts if f"/{instance.sop_instance_uid}" in (p.location or "")]
        held = len(of_it) == 1
        expect(held, f"{answer.asked}: {len(of_it)} parts with the Content-Location of {{a slice}}")


@case(
    "REN-07",
    section="8.7.4",
    level=Level.SHALL,
    requirement="A text can be had as text/html, text/plain and text/xml.",
    request="GET {b}/.../instances/{report}/rendered, Accept: each of the three",
    expected="200 and that type, each",
    needs=_CT,
)
async def report_is_rendered_as_every_text(target: Target) -> None:
    report = target.study(Fixture.F1).instance("report")
    answers = {
        name: await _rendered(target, accept=name, instance=report)
        for name in ("text/html", "text/plain", "text/xml")
    }
    if all(each.status in _NOT_RENDERED for each in answers.values()):
        # Section 10.4.3.3.3 speaks of the SOP classes for which conformance is claimed.
        raise NotClaimed("structured reports are not rendered at all")
    for name, answer in answers.items():
        _expect_200_as(answer, name)
        answer.expect_media_type(name)


@case(
    "REN-08",
    section="8.7.4",
    level=Level.SHALL,
    requirement="Where a PDF can be had as application/pdf, it is the one in the instance.",
    request="GET {b}/.../instances/{F4}/rendered, Accept: application/pdf",
    expected="200, the bytes of the document (406 where not offered)",
    needs=(Fixture.F4, Feature.RETRIEVE),
)
async def rendered_pdf_is_the_document(target: Target) -> None:
    instance = target.instance(Fixture.F4)
    answer = await _rendered(target, accept="application/pdf", instance=instance)
    if answer.status in _NOT_RENDERED:
        raise NotClaimed(f"documents are not offered as application/pdf: {answer.status}")
    answer.expect_status(200)
    answer.expect_media_type("application/pdf")
    document = bytes(instance.original.EncapsulatedDocument)
    held = answer.content.rstrip(b"\0\n") == document.rstrip(b"\0\n")
    expect(held, f"{answer.asked}: {len(answer.content)} bytes that are not the document")


@case(
    "REN-09",
    section="8.7.4",
    level=Level.SHALL,
    requirement="Rendered media types have no transfer-syntax parameter.",
    request=f"{_REQUEST}, Accept: image/jpeg; transfer-syntax={EXPLICIT_LE}",
    expected="400 or 406, or the parameter is ignored",
    needs=_CT,
)
async def transfer_syntax_of_a_picture_means_nothing(target: Target) -> None:
    plain = await _rendered(target, accept=JPEG)
    need(plain.status == 200, f"a CT slice cannot be rendered as JPEG: {plain.status}")
    answer = await _rendered(target, accept=f"{JPEG}; transfer-syntax={EXPLICIT_LE}")
    answer.expect_status(200, 400, 406)
    target.note(f"a picture with a transfer syntax: {answer.status}")
    if answer.status == 200:
        pictures.of(answer, JPEG)
        said = answer.media_type.parameters
        expect("transfer-syntax" not in said, f"{answer.asked}: the answer has the parameter too")


@case(
    "REN-10",
    section="8.3.5.1.4, PS3.3 C.11.2.1.2",
    level=Level.SHALL,
    requirement="A linear window maps values as PS3.3 defines it.",
    request=f"{_REQUEST}?window=40,400,linear as PNG",
    expected="up to -160 HU black, above 239 white, linear between, within 1 of 255",
    needs=_CT,
)
async def linear_window_is_exact(target: Target) -> None:
    wanted = pictures.linear(_hounsfield(_slice(target)), 40, 400)
    _expect_gray(await _picture(target, "window=40,400,linear"), wanted, 1)


@case(
    "REN-11",
    section="8.3.5.1.4, PS3.3 C.11.2.1.3",
    level=Level.SHALL,
    requirement="The window functions linear-exact and sigmoid are those of PS3.3.",
    request=f"{_REQUEST}?window=40,400,linear-exact; then sigmoid; as PNG",
    expected="the values of the function, within 1 of 255",
    needs=_CT,
)
async def other_window_functions_are_exact(target: Target) -> None:
    values = _hounsfield(_slice(target))
    exact = pictures.linear_exact(values, 40, 5)
    _expect_gray(await _picture(target, "window=40,5,linear-exact"), exact, 1)
    wanted = pictures.sigmoid(values, 40, 400)
    _expect_gray(await _picture(target, "window=40,400,sigmoid"), wanted, 1)


@case(
    "REN-12",
    section="8.3.5.1.4",
    level=Level.SHALL,
    requirement="A window without its three values, or with others, is answered with 400.",
    request=f"{_REQUEST}?window=40; 40,400; 40,400,foo; a,b,linear",
    expected="400 each",
    needs=_CT,
)
async def ill_formed_windows_are_400(target: Target) -> None:
    wrong = ("40", "40,400", "40,400,foo", "a,b,linear")
    await _expect_400(target, [f"window={each}" for each in wrong])


@case(
    "REN-13",
    section="8.3.5.1.4, PS3.3 C.11.2.1.2",
    level=Level.SHALL,
    requirement="A window has a width of at least 1 (linear).",
    request=f"{_REQUEST}?window=40,0,linear",
    expected="400",
    needs=_CT,
)
async def window_without_width_is_400(target: Target) -> None:
    await _expect_400(target, ["window=40,0,linear"])


async def _expect_fitted(target: Target, viewport: int, columns: int, rows: int) -> None:
    """The slice in a square viewport; or in the middle of a picture that is all of the viewport."""
    full = await _need_picture(target, _WIDE)
    need(full.size == (64, 48), "the slice is not one of 64x48 pixels")
    picture = await _picture(target, f"{_WIDE}&viewport={viewport},{viewport}")
    if picture.size != (viewport, viewport):
        picture.expect_size(columns, rows)
        return
    top = (viewport - rows) // 2
    bars = np.concatenate([picture.gray[:top], picture.gray[top + rows :]])
    is_padded = float(bars.max() - bars.min()) <= 2
    got = f"{viewport}x{viewport}"
    expect(is_padded, f"{picture.asked}: expected {columns}x{rows} pixels, got {got} distorted")
    # The Standard says how the image fits, and not what becomes of the rest of the viewport.
    target.note("the picture is as large as the viewport, with bars beside the image")


@case(
    "REN-14",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A picture is scaled to fit into its viewport, and keeps its proportions.",
    request=f"{_REQUEST}?viewport=32,32",
    expected="32x24 pixels (or those between two bars)",
    needs=_CT,
)
async def small_viewport_is_fitted(target: Target) -> None:
    await _expect_fitted(target, 32, 32, 24)


@case(
    "REN-15",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A picture is as large as fits into its viewport.",
    request=f"{_REQUEST}?viewport=128,128",
    expected="128x96 pixels (or those between two bars)",
    needs=_CT,
)
async def large_viewport_is_filled(target: Target) -> None:
    await _expect_fitted(target, 128, 128, 96)


async def _expect_region(target: Target, viewport: str, wanted: Values, other: Values) -> None:
    need(pictures.difference(wanted, other) > 8, "the picture has too few greys to tell")
    picture = await _picture(target, f"{_WIDE}&viewport={viewport}")
    _expect_gray(picture, wanted, 1)


@case(
    "REN-16",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A viewport with a source region shows that region.",
    request=f"{_REQUEST}?viewport=32,24,0,0,32,24 as PNG",
    expected="the upper left quarter of the whole picture, within 1 of 255",
    needs=_CT,
)
async def source_region_is_cut_out(target: Target) -> None:
    full = (await _need_picture(target, _WIDE)).gray
    need(full.shape == (48, 64), "the slice is not one of 64x48 pixels")
    await _expect_region(target, "32,24,0,0,32,24", full[:24, :32], full[24:, 32:])


@case(
    "REN-17",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A negative width of the source region mirrors it horizontally.",
    request=f"{_REQUEST}?viewport=64,48,,,-64,48 as PNG",
    expected="the whole picture with left and right exchanged, within 1 of 255",
    needs=_CT,
)
async def negative_width_mirrors_horizontally(target: Target) -> None:
    full = (await _need_picture(target, _WIDE)).gray
    need(full.shape == (48, 64), "the slice is not one of 64x48 pixels")
    await _expect_region(target, "64,48,,,-64,48", full[:, ::-1], full)


@case(
    "REN-18",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A negative height of the source region mirrors it vertically.",
    request=f"{_REQUEST}?viewport=64,48,,,64,-48 as PNG",
    expected="the whole picture upside down, within 1 of 255",
    needs=_CT,
)
async def negative_height_mirrors_vertically(target: Target) -> None:
    full = (await _need_picture(target, _WIDE)).gray
    need(full.shape == (48, 64), "the slice is not one of 64x48 pixels")
    await _expect_region(target, "64,48,,,64,-48", full[::-1], full)


@case(
    "REN-19",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="An ill-formed viewport is answered with 400.",
    request=f"{_REQUEST}?viewport=32; 0,10; a,b; 1,2,3,4,5,6,7",
    expected="400 each",
    needs=_CT,
)
async def ill_formed_viewports_are_400(target: Target) -> None:
    wrong = ("32", "0,10", "a,b", "1,2,3,4,5,6,7")
    await _expect_400(target, [f"viewport={each}" for each in wrong])


@case(
    "REN-20",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="Without a viewport the picture is not scaled.",
    request=f"{_REQUEST} as PNG",
    expected="64x48 pixels",
    needs=_CT,
)
async def picture_has_the_size_of_the_image(target: Target) -> None:
    original = _slice(target).original
    (await _picture(target)).expect_size(original.Columns, original.Rows)


@case(
    "REN-21",
    section="8.3.5.1.2",
    level=Level.SHALL,
    requirement="The quality of a lossy picture can be chosen.",
    request=f"{_REQUEST}?quality=10; then 95; as JPEG",
    expected="200 both; the one of 10 is not larger than that of 95",
    needs=_CT,
)
async def lower_quality_is_not_larger(target: Target) -> None:
    poor = pictures.of(await _rendered(target, "quality=10", JPEG), JPEG)
    good = pictures.of(await _rendered(target, "quality=95", JPEG), JPEG)
    sizes = f"{len(poor.content)} bytes with 10, {len(good.content)} with 95"
    expect(len(poor.content) <= len(good.content), f"{good.asked}: {sizes}")
    if poor.content == good.content:
        target.note("the quality makes no difference")


@case(
    "REN-22",
    section="8.3.5.1.2",
    level=Level.SHALL,
    requirement="A quality that is no integer from 1 to 100 is answered with 400.",
    request=f"{_REQUEST}?quality=0; 101; x; nothing; as JPEG",
    expected="400 each",
    needs=_CT,
)
async def impossible_qualities_are_400(target: Target) -> None:
    await _expect_400(target, [f"quality={each}" for each in ("0", "101", "x", "")], JPEG)


def _unsupported(answer: Response, values: str) -> bool:
    """Does a Warning say that these annotations are not supported? (8.3.5.1.1, D-23)"""
    text = f"The following annotation values are not supported: {values}"
    pattern = rf'299 \S+?:?\s+"?{re.escape(text)}"?\.?"?'
    return any(re.fullmatch(pattern, each) for each in answer.headers.get_list("warning"))


@case(
    "REN-23",
    section="8.3.5.1.1, 10.4.1.2",
    level=Level.SHALL,
    requirement="Pictures can be annotated with the patient and with the technique.",
    request=f"{_REQUEST}?viewport=512,384&annotation=patient; technique; both",
    expected="200; the picture is another one than without",
    needs=_CT,
)
async def annotations_are_drawn(target: Target) -> None:
    # large enough that text can be read on it
    place = "viewport=512,384"
    plain = await _need_picture(target, place)
    for wanted in ("patient", "technique", "patient,technique"):
        answer = await _rendered(target, f"{place}&annotation={wanted}")
        drawn = pictures.of(answer, PNG)
        if pictures.difference(plain.colors, drawn.colors) > 0:
            continue
        expect(_unsupported(answer, wanted), f"{answer.asked}: the picture is that without it")
        target.note(f"the annotation {wanted} is refused with a Warning")


async def _need_annotations(target: Target) -> None:
    """Raises Unmet: the parameter makes no difference at all."""
    place = "viewport=512,384"
    plain = await _need_picture(target, place)
    answer = await _rendered(target, f"{place}&annotation=patient")
    is_ignored = answer.content == plain.content and not _unsupported(answer, "patient")
    need(not is_ignored, "annotation is not heeded at all, which REN-23 judges")


@case(
    "REN-24",
    section="8.3.5.1.1",
    level=Level.SHALL,
    requirement="An annotation that is not supported is ignored, and a Warning says so.",
    request=f"{_REQUEST}?annotation=foo",
    expected="200 with Warning: 299 {b}: The following annotation values are not supported: foo"
    " (or 400, as of no keyword)",
    needs=_CT,
)
async def unknown_annotation_is_warned_of(target: Target) -> None:
    await _need_annotations(target)
    answer = await _rendered(target, "annotation=foo")
    answer.expect_status(200, 400)
    if answer.status == 400:
        # The same section wants 400 for a value that is no keyword.
        target.note("400: foo is taken for no keyword")
        return
    got = "another one" if "warning" in answer.headers else "none"
    expect(_unsupported(answer, "foo"), f"{answer.asked}: expected that Warning, got {got}")


@case(
    "REN-25",
    section="8.3.5.1.1",
    level=Level.SHALL,
    requirement="An annotation without a value is answered with 400.",
    request=f"{_REQUEST}?annotation=",
    expected="400",
    needs=_CT,
)
async def empty_annotation_is_400(target: Target) -> None:
    await _need_annotations(target)
    await _expect_400(target, ["annotation="])


async def _colored(target: Target, query: str, accept: str = JPEG) -> Response:
    path = f"{target.instance(Fixture.F2).path}/frames/1/rendered"
    return await target.get(path, query=query, accept=accept)


async def _require_profiles(target: Target) -> None:
    """Raises NotClaimed: the server does not know the parameter iccprofile."""
    plain = await _colored(target, "")
    need(plain.status == 200, f"a frame in colour cannot be rendered: {plain.status}")
    for query in ("iccprofile=yes", "iccprofile=srgb"):
        answer = await _colored(target, query)
        if answer.status == 200 and pictures.of(answer, JPEG).icc_profile:
            return
    raise NotClaimed("no profile is embedded, whatever iccprofile says")


@case(
    "REN-26",
    section="8.3.5.1.5",
    level=Level.SHALL,
    requirement="Where iccprofile is supported, srgb and yes embed a profile of the pixels.",
    request="GET {b}/.../instances/{F2}/frames/1/rendered?iccprofile=srgb; then yes; as JPEG",
    expected="200; a JPEG with an ICC profile for RGB in APP2",
    needs=_ULTRASOUND,
)
async def profile_is_embedded(target: Target) -> None:
    await _require_profiles(target)
    for value in ("srgb", "yes"):
        picture = pictures.of(await _colored(target, f"iccprofile={value}"), JPEG)
        profile = picture.icc_profile
        if profile is None:
            raise Violated(f"{picture.asked}: no ICC profile is embedded")
        # ICC.1 section 7.2: the length, the space of the pixels, and the signature
        held = profile[36:40] == b"acsp" and int.from_bytes(profile[:4]) == len(profile)
        expect(held, f"{picture.asked}: what is embedded is no ICC profile")
        expect(profile[16:20] == b"RGB ", f"{picture.asked}: the profile is not one for RGB")


@case(
    "REN-27",
    section="8.3.5.1.5",
    level=Level.SHALL,
    requirement="iccprofile=no leaves the profile out.",
    request="GET {b}/.../instances/{F2}/frames/1/rendered?iccprofile=no as JPEG",
    expected="200; a JPEG without an ICC profile",
    needs=_ULTRASOUND,
)
async def no_profile_is_embedded(target: Target) -> None:
    await _require_profiles(target)
    picture = pictures.of(await _colored(target, "iccprofile=no"), JPEG)
    expect(picture.icc_profile is None, f"{picture.asked}: an ICC profile is embedded")


@case(
    "REN-28",
    section="8.3.5.1.5",
    level=Level.SHALL,
    requirement="A profile wanted in a media type that cannot hold one is answered with 400.",
    request="GET {b}/.../instances/{F2}/frames/1/rendered?iccprofile=yes, Accept: image/gif",
    expected="400",
    needs=_ULTRASOUND,
)
async def profile_in_a_gif_is_400(target: Target) -> None:
    await _require_profiles(target)
    plain = await _colored(target, "", GIF)
    need(plain.status == 200, f"a frame cannot be rendered as GIF: {plain.status}")
    (await _colored(target, "iccprofile=yes", GIF)).expect_status(400)


@case(
    "REN-29",
    section="8.3.5.1.5",
    level=Level.SHALL,
    requirement="Where iccprofile is supported, another value than its five is answered with 400.",
    request="GET {b}/.../instances/{F2}/frames/1/rendered?iccprofile=foo as JPEG",
    expected="400",
    needs=_ULTRASOUND,
)
async def unknown_profile_is_400(target: Target) -> None:
    await _require_profiles(target)
    (await _colored(target, "iccprofile=foo")).expect_status(400)


@case(
    "REN-30",
    section="10.4.3.3.3",
    level=Level.SHALL,
    requirement="Every Photometric Interpretation of the SOP class can be rendered.",
    request="GET {b}/.../instances/{F10}/rendered and {F11}/rendered as PNG",
    expected="PALETTE COLOR in its colours; MONOCHROME1 with low values bright",
    needs=(Fixture.F10, Fixture.F11, Feature.RETRIEVE),
)
async def photometric_interpretations_are_followed(target: Target) -> None:
    palette, inverted = target.instance(Fixture.F10), target.instance(Fixture.F11)
    indices = np.asarray(palette.original.pixel_array)
    wanted = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.float64)[indices]
    colored = pictures.of(await _rendered(target, instance=palette), PNG)
    held = pictures.difference(colored.colors, wanted) <= 2
    expect(held, f"{colored.asked}: not in the colours of the palette")
    turned = pictures.of(await _rendered(target, instance=inverted), PNG)
    row = turned.gray[0]
    held = bool(np.all(np.diff(row) <= 0)) and row[0] > row[-1]
    expect(held, f"{turned.asked}: the low values of MONOCHROME1 are not the bright ones")


async def _require_state(target: Target) -> Picture:
    """The picture of the presentation state. Raises NotClaimed: it is not rendered."""
    state = target.study(Fixture.F1).instance("presentation state")
    for accept in (PNG, 'multipart/related; type="image/png"'):
        answer = await _rendered(target, accept=accept, instance=state)
        if answer.status in _NOT_RENDERED:
            continue
        answer.expect_status(200)
        if answer.media_type.name == PNG:
            return pictures.of(answer, PNG)
        found = pictures.parts_of(answer, PNG)
        expect(len(found) == 1, f"{answer.asked}: {len(found)} pictures of one referenced image")
        return found[0]
    raise NotClaimed("presentation states are not rendered")


@case(
    "REN-31",
    section="8.3.5.1.6",
    level=Level.SHALL,
    requirement="A rendered presentation state shows the images that it refers to, its own way.",
    request="GET {b}/.../instances/{F6}/rendered as PNG",
    expected="slice 1 in the window 300, 600 of the presentation state, within 8 of 255",
    needs=_STATE,
)
async def presentation_state_shows_its_image(target: Target) -> None:
    picture = await _require_state(target)
    values = _hounsfield(target.study(Fixture.F1).series("CT")[0])
    wanted = pictures.linear(values, 300, 600)
    rows, columns = wanted.shape
    # the state says SCALE TO FIT: the size is the server's choice, the proportions are not
    is_alike = abs(picture.size[0] * rows - picture.size[1] * columns) <= rows + columns
    expect(is_alike, f"{picture.asked}: other proportions than those of the image")
    if picture.size != (columns, rows):
        picture = Picture(picture.content, picture.image.resize((columns, rows)), picture.asked)
    worst = pictures.difference(picture.gray, wanted)
    expect(worst <= 8, f"{picture.asked}: a pixel is off by {worst:.1f} of 255")


async def _expect_state_400(target: Target, query: str) -> None:
    await _require_state(target)
    state = target.study(Fixture.F1).instance("presentation state")
    (await _rendered(target, query, ANY, state)).expect_status(400)


@case(
    "REN-32",
    section="8.3.5.1.6, 8.3.5.1.4",
    level=Level.SHALL,
    requirement="A window is refused where a presentation state is rendered.",
    request="GET {b}/.../instances/{F6}/rendered?window=1,2,linear",
    expected="400",
    needs=_STATE,
)
async def window_of_a_presentation_state_is_400(target: Target) -> None:
    await _expect_state_400(target, "window=1,2,linear")


@case(
    "REN-33",
    section="8.3.5.1.3",
    level=Level.SHALL,
    requirement="A source region is refused where a presentation state is rendered.",
    request="GET {b}/.../instances/{F6}/rendered?viewport=10,10,0,0,5,5",
    expected="400",
    needs=_STATE,
)
async def region_of_a_presentation_state_is_400(target: Target) -> None:
    await _expect_state_400(target, "viewport=10,10,0,0,5,5")


@case(
    "REN-34",
    section="10.4.3.1",
    level=Level.SHALL,
    requirement="A rendered instance that does not exist is answered with 404.",
    request="GET {b}/studies/{S1}/series/{R1}/instances/unknown/rendered",
    expected="404",
    needs=_CT,
)
async def rendering_of_an_unknown_instance_is_404(target: Target) -> None:
    await _need_picture(target)
    unknown = Uids(_slice(target).sop_instance_uid)("never stored")
    path = f"{_slice(target).series_path}/instances/{unknown}/rendered"
    (await target.get(path, accept=JPEG)).expect_status(404)


@case(
    "REN-35",
    section="8.7.4, 10.4.4",
    level=Level.SHOULD,
    requirement="A multi-frame image can be rendered: all of its frames.",
    request="GET {b}/.../instances/{F8}/rendered, Accept: */*",
    expected="200; a picture for each frame, or an animation, or a video",
    needs=_FRAMES,
)
async def multi_frame_is_rendered_with_all_frames(target: Target) -> None:
    instance = target.instance(Fixture.F8)
    wanted = int(instance.original.NumberOfFrames)
    answer = await _rendered(target, accept=ANY, instance=instance)
    answer.expect_status(200)
    said = answer.media_type.name
    target.note(f"a multi-frame image as */* is {said}")
    if said == "multipart/related":
        got = len(answer.parts())
        expect(got == wanted, f"{answer.asked}: {got} parts for {wanted} frames")
    elif said == GIF:
        got = pictures.of(answer, GIF).frames
        expect(got == wanted, f"{answer.asked}: an animation of {got} frames for {wanted}")
    else:
        held = said.startswith("video/")
        expect(held, f"{answer.asked}: one {said} for {wanted} frames")


@case(
    "REN-36",
    section="8.7.8.1",
    level=Level.SHALL,
    requirement="What cannot be rendered in an acceptable type is answered with 406.",
    request="GET {b}/.../instances/{F5}/rendered, Accept: image/jpeg",
    expected="406 (200 where waveforms are rendered; 404 or 501 where they never are)",
    needs=(Fixture.F1, Fixture.F5, Feature.RETRIEVE),
)
async def picture_of_a_waveform_is_406(target: Target) -> None:
    waveform = target.instance(Fixture.F5)
    plain = await target.get(f"{waveform.path}/metadata")
    need(waveform.sop_instance_uid.encode() in plain.content, "the waveform is not there")
    answer = await _rendered(target, accept=JPEG, instance=waveform)
    # Table 8.5-1: 404 without a representation, 501 for a SOP class that is not supported.
    await expect_not_acceptable(target, answer, 200, 404, 501)
    target.note(f"a waveform as a picture: {answer.status}")
    if answer.status == 200:
        pictures.of(answer, JPEG)


async def _need_parts(target: Target) -> None:
    """Raises Unmet: pictures do not come in parts at all."""
    path = f"{_slice(target).series_path}/rendered"
    answer = await target.get(path, accept=JPEG_PARTS)
    words = f"a rendered series in parts is {answer.status}, which REN-06 judges"
    need(answer.status in (200, 206), words)


@case(
    "REN-37",
    section="10.2, 10.4.1.1.3",
    level=Level.SHALL,
    requirement="Studies can be rendered: the pictures of all their images.",
    request='GET {b}/studies/{S14}/rendered, Accept: multipart/related; type="image/jpeg"',
    expected="200; 2 parts of image/jpeg for two series of one image",
    needs=(Fixture.F1, Fixture.F14, Feature.RETRIEVE),
)
async def rendered_study_has_a_part_for_each_image(target: Target) -> None:
    await _need_parts(target)
    study = target.study(Fixture.F14)
    answer = await target.get(f"{study.path}/rendered", accept=JPEG_PARTS)
    got, wanted = len(pictures.parts_of(answer, JPEG)), len(study.instances)
    expect(got == wanted, f"{answer.asked}: {got} parts for {wanted} images")


@case(
    "REN-38",
    section="10.4.1.1.3",
    level=Level.SHALL,
    requirement="Of several frames each is rendered, and no other.",
    request='GET {b}/.../instances/{F8}/frames/1,3/rendered, Accept: multipart; "image/jpeg"',
    expected="200; 2 parts of image/jpeg",
    needs=(Fixture.F1, *_FRAMES),
)
async def several_rendered_frames_are_parts(target: Target) -> None:
    await _need_parts(target)
    path = f"{target.instance(Fixture.F8).path}/frames"
    one = await target.get(f"{path}/1/rendered", accept=JPEG)
    need(one.status == 200, f"a single frame cannot be rendered: {one.status}")
    answer = await target.get(f"{path}/1,3/rendered", accept=JPEG_PARTS)
    got = len(pictures.parts_of(answer, JPEG))
    expect(got == 2, f"{answer.asked}: {got} parts for 2 frames")
