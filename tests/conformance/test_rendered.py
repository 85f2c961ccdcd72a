"""REN: what each case says of a right server, of a faulty one, and where nothing can be seen."""

from io import BytesIO
from typing import Final

import httpx2
import pytest
from PIL import Image, ImageOps

from dicomweb_conformance.fixtures import Uids
from dicomweb_conformance.verdicts import Outcome
from planted_faults import (
    Fault,
    When,
    body,
    header,
    ids_of,
    in_place_of,
    instead,
    judged,
    on,
    status,
    when_broken,
)
from redrawn_pictures import black, doubled, redrawn, squeezed, unchanged
from right_pictures import server_with
from right_server import BASE, Answer, answer, multipart

CHAPTER: Final = "REN"


def slightly_brighter(image: Image.Image) -> Image.Image:
    return image.point(lambda value: min(value + 3, 255))


def between_bars(image: Image.Image) -> Image.Image:
    padded = Image.new("L", (image.width, image.width))
    padded.paste(image, (0, (image.width - image.height) // 2))
    return padded


def gif_of(frames: int) -> bytes:
    buffer = BytesIO()
    first, *others = (Image.new("L", (4, 4), 50 * number) for number in range(frames))
    first.save(buffer, "GIF", save_all=True, append_images=others)
    return buffer.getvalue()


def asked(query: str, *, ends: str = "/rendered", accept: str = "") -> When:
    return on(ends=ends, query=query, accept=accept)


def exactly(query: str) -> When:
    return lambda request: request.url.query == query.encode()


def less_one_part(right: bytes) -> bytes:
    return right.rsplit(b"--right\r\n", 1)[0] + b"--right--\r\n"


PNG: Final = on(ends="/rendered", accept="image/png")
JPEG: Final = on(ends="/rendered", accept="image/jpeg")
FRAME_2: Final = on(ends="/frames/2/rendered", accept="png", query="window=1900,1800")

FAULTS: Final[list[tuple[str, Fault]]] = [
    ("REN-01", redrawn(unchanged, JPEG, progressive=True)),
    ("REN-01", redrawn(doubled, JPEG)),
    ("REN-01", body(lambda right: right[:40], JPEG)),
    ("REN-01", status(406, JPEG)),
    ("REN-01", header("Content-Type", "image/png", JPEG)),
    ("REN-02", status(406, on(accept="image/gif"))),
    ("REN-02", status(406, on(accept="image/png"))),
    ("REN-02", header("Content-Type", "image/png", on(accept="image/gif"))),
    ("REN-02", instead(answer(200, b"GIF89a", "image/gif"), on(accept="image/gif"))),
    ("REN-03", status(406, on(accept="*/*"))),
    ("REN-03", status(406, on(accept="image/*"))),
    ("REN-03", header("Content-Type", "image/png", on(accept="image/*"))),
    ("REN-04", redrawn(slightly_brighter, FRAME_2)),
    ("REN-04", redrawn(ImageOps.mirror, FRAME_2)),
    ("REN-04", status(404, on(ends="/frames/2/rendered"))),
    ("REN-05", status(200, JPEG)),
    ("REN-06", status(404, on(accept="multipart"))),
    ("REN-06", body(lambda right: right.replace(b"Content-Location", b"X-Location"))),
    ("REN-06", body(lambda right: right.replace(b"/instances/", b"/instances/1."))),
    ("REN-06", body(less_one_part, on(accept="multipart"))),
    ("REN-06", body(lambda right: right.replace(b"\xff\xd8\xff", b"\xff\xd8\x00"))),
    ("REN-07", status(406, on(accept="text/plain"))),
    ("REN-07", status(500, on(accept="text/"))),
    ("REN-07", header("Content-Type", "text/html", on(accept="text/xml"))),
    ("REN-08", body(lambda right: right[:-9], on(accept="pdf"))),
    ("REN-08", header("Content-Type", "text/html", on(accept="pdf"))),
    ("REN-08", status(500, on(accept="pdf"))),
    ("REN-09", status(500, on(accept="transfer-syntax"))),
    (
        "REN-09",
        header("Content-Type", "image/jpeg; transfer-syntax=1.2", on(accept="transfer-syntax")),
    ),
    ("REN-10", redrawn(slightly_brighter, asked("window=40,400,linear"))),
    ("REN-10", status(400, asked("window="))),
    ("REN-11", redrawn(slightly_brighter, asked("sigmoid"))),
    ("REN-11", redrawn(slightly_brighter, asked("linear-exact"))),
    ("REN-11", status(400, asked("sigmoid"))),
    *(
        ("REN-12", status(200, exactly(f"window={each}")))
        for each in ("40", "40,400", "40,400,foo", "a,b,linear")
    ),
    ("REN-13", status(200, asked("window=40,0"))),
    ("REN-13", status(500, asked("window=40,0"))),
    ("REN-14", redrawn(squeezed, asked("viewport=32,32"))),
    ("REN-14", redrawn(doubled, asked("viewport=32,32"))),
    ("REN-15", redrawn(lambda image: image.resize((128, 128)), asked("viewport=128"))),
    ("REN-15", redrawn(squeezed, asked("viewport=128"))),
    ("REN-15", status(400, asked("viewport=128"))),
    ("REN-16", redrawn(ImageOps.mirror, asked("viewport=32"))),
    ("REN-16", redrawn(doubled, asked("viewport=32"))),
    ("REN-17", redrawn(ImageOps.mirror, asked("viewport="))),
    ("REN-17", status(400, asked("viewport="))),
    ("REN-18", redrawn(ImageOps.flip, asked("viewport="))),
    ("REN-18", redrawn(ImageOps.mirror, asked("viewport="))),
    *(
        ("REN-19", status(200, exactly(f"viewport={each}")))
        for each in ("32", "0,10", "a,b", "1,2,3,4,5,6,7")
    ),
    ("REN-20", redrawn(doubled, PNG)),
    ("REN-21", redrawn(unchanged, asked("quality=10"), quality=100)),
    ("REN-21", status(400, asked("quality=95"))),
    *(("REN-22", status(200, exactly(f"quality={each}"))) for each in ("0", "101", "x", "")),
    ("REN-22", status(500, asked("quality="))),
    ("REN-23", redrawn(black, asked("viewport=512"))),
    ("REN-23", status(400, asked("annotation=technique"))),
    ("REN-24", header("Warning", None)),
    ("REN-24", header("Warning", "299 here: no", asked("foo"))),
    ("REN-24", status(500, asked("foo"))),
    ("REN-25", status(200, asked("annotation="))),
    ("REN-26", body(lambda right: right.replace(b"ICC_", b"ICX_"), asked("srgb"))),
    ("REN-26", body(lambda right: right.replace(b"acsp", b"acsq"), asked("srgb"))),
    ("REN-26", body(lambda right: right.replace(b"RGB XYZ", b"GRAYXYZ"), asked("yes"))),
    ("REN-27", redrawn(unchanged, asked("iccprofile=no"), icc_profile=b"x" * 200)),
    ("REN-28", status(200, asked("yes", accept="gif"))),
    ("REN-29", status(200, asked("iccprofile=foo"))),
    ("REN-30", redrawn(slightly_brighter, PNG)),
    ("REN-30", redrawn(ImageOps.mirror, PNG)),
    ("REN-30", status(406, PNG)),
    ("REN-31", redrawn(lambda image: image.point(lambda value: 255 - value), PNG)),
    ("REN-31", redrawn(squeezed, PNG)),
    ("REN-31", status(500, PNG)),
    ("REN-32", status(200, asked("window="))),
    ("REN-33", status(200, asked("viewport="))),
    ("REN-34", status(400, JPEG)),
    ("REN-34", status(200, JPEG)),
    ("REN-35", status(500, on(accept="*/*"))),
    ("REN-35", header("Content-Type", "image/jpeg", on(accept="*/*"))),
    ("REN-35", body(less_one_part, on(accept="*/*"))),
    ("REN-35", instead(answer(200, gif_of(2), "image/gif"), on(accept="*/*"))),
    ("REN-36", status(500, JPEG)),
    ("REN-36", status(400, JPEG)),
    ("REN-36", instead(answer(200, b"a curve", "image/jpeg"), JPEG)),
    ("REN-37", status(404, on(accept="multipart", has=Uids("test")("S14")))),
    ("REN-37", body(less_one_part, on(accept="multipart"))),
    ("REN-38", status(400, on(ends="/frames/1,3/rendered"))),
    ("REN-38", body(less_one_part, on(ends="/frames/1,3/rendered"))),
]


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_the_right_server_passes(id: str) -> None:
    verdict = await judged(id, server=server_with())

    assert (verdict.outcome, verdict.reason) == (Outcome.PASS, "")


@pytest.mark.parametrize(("id", "fault"), FAULTS)
async def test_a_fault_is_found(id: str, fault: Fault) -> None:
    verdict = await judged(id, fault, server=server_with())

    assert verdict.outcome is when_broken(id), verdict.reason


@pytest.mark.parametrize("id", ids_of(CHAPTER))
async def test_nothing_is_said_where_nothing_is_there(id: str) -> None:
    verdict = await judged(id, holds=False)

    assert verdict.outcome is Outcome.SKIP


def test_every_case_has_a_fault() -> None:
    assert {id for id, _ in FAULTS} == set(ids_of(CHAPTER))


@pytest.mark.parametrize(
    "id", ["REN-07", "REN-08", "REN-26", "REN-27", "REN-28", "REN-29", "REN-31", "REN-32", "REN-33"]
)
async def test_what_a_server_does_not_render_is_not_applicable(id: str) -> None:
    """Reports, documents and states are refused, and no picture has a profile."""
    faults: dict[str, Fault] = {
        "REN-07": status(406, on(accept="text/")),
        "REN-08": status(406, on(accept="pdf")),
        "REN-31": status(400, on(ends="/rendered")),
    }
    plain = redrawn(unchanged, on(accept="image/jpeg"))
    fault = faults.get(id, faults["REN-31"] if id in ("REN-32", "REN-33") else plain)

    verdict = await judged(id, fault, server=server_with())

    assert verdict.outcome is Outcome.NA


def multipart_of_any(request: httpx2.Request, right: Answer) -> Answer:
    if request.headers["accept"] != "*/*":
        return right
    return multipart([({"Content-Type": "image/jpeg"}, right.content)], "image/jpeg")


@pytest.mark.parametrize(
    ("id", "alternative", "seen"),
    [
        ("REN-09", status(406, on(accept="transfer-syntax")), "406"),
        ("REN-03", multipart_of_any, "multipart"),
        ("REN-14", redrawn(between_bars, asked("viewport=32")), "bars"),
        ("REN-15", redrawn(between_bars, asked("viewport=128")), "bars"),
        ("REN-24", status(400, asked("foo")), "400"),
        ("REN-35", instead(answer(200, gif_of(3), "image/gif"), on(accept="*/*")), "image/gif"),
        ("REN-36", status(404, JPEG), "404"),
        ("REN-36", status(501, JPEG), "501"),
    ],
)
async def test_a_sanctioned_alternative_passes_and_is_said(
    id: str, alternative: Fault, seen: str
) -> None:
    verdict = await judged(id, alternative, server=server_with())

    assert verdict.outcome is Outcome.PASS
    assert seen in " ".join(verdict.notes)


@pytest.mark.parametrize(
    ("id", "broken", "judge"),
    [
        ("REN-24", redrawn(black, asked("viewport=512")), "REN-23"),
        ("REN-25", redrawn(black, asked("viewport=512")), "REN-23"),
        ("REN-36", in_place_of(406, 400), "COM-04"),
        ("REN-37", status(400, on(accept="multipart")), "REN-06"),
        ("REN-38", status(400, on(accept="multipart")), "REN-06"),
    ],
)
async def test_what_another_case_judges_is_not_held_against_a_server_twice(
    id: str, broken: Fault, judge: str
) -> None:
    verdict = await judged(id, broken, server=server_with())

    assert verdict.outcome is Outcome.SKIP
    assert judge in verdict.reason


async def test_an_annotation_that_is_refused_with_a_warning_passes_and_is_said() -> None:
    def refusing(request: httpx2.Request, right: Answer) -> Answer:
        """Draws nothing, and names what it does not draw."""
        wanted = request.url.query.decode().partition("annotation=")[2]
        if not wanted:
            return black_everywhere(request, right)
        text = f"The following annotation values are not supported: {wanted}"
        return header("Warning", f"299 {BASE}: {text}")(request, black_everywhere(request, right))

    black_everywhere = redrawn(black, asked("viewport=512"))

    verdict = await judged("REN-23", refusing, server=server_with())

    assert verdict.outcome is Outcome.PASS
    assert "refused with a Warning" in " ".join(verdict.notes)
