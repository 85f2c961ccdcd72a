"""BLK: bulk data, pixel data and frames (PS3.18 sections 8.7.3.3 and 10.4.1.1.5-6)."""

from typing import Final

import numpy as np

from dicomweb_conformance.cases import case
from dicomweb_conformance.chapters.common import expect_not_acceptable
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.media_types import ANY, JPEG_BASELINE, OCTETS, RLE
from dicomweb_conformance.multipart import Part
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_FRAMES: Final = (Fixture.F8, Feature.RETRIEVE)
_LOSSY: Final = (Fixture.F2, Feature.RETRIEVE)
_RLE: Final = (Fixture.F7, Feature.RETRIEVE)
_OCTET_STREAM: Final = "application/octet-stream"
# What a server answers to something optional that it does not offer.
_NOT_OFFERED: Final = (400, 404, 405, 406, 415, 501)

# PS3.18 Table 8.7.3-5: the default transfer syntax of each media type first.
_JPEG: Final = "1.2.840.10008.1.2.4."
COMPRESSED_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "image/jpeg": (f"{_JPEG}70", f"{_JPEG}50", f"{_JPEG}51", f"{_JPEG}57"),
    "image/dicom-rle": (RLE,),
    "image/jls": (f"{_JPEG}80", f"{_JPEG}81"),
    "image/jp2": (f"{_JPEG}90", f"{_JPEG}91"),
    "image/jpx": (f"{_JPEG}92", f"{_JPEG}93"),
    "image/jphc": (f"{_JPEG}201", f"{_JPEG}202", f"{_JPEG}203"),
    "image/jxl": (f"{_JPEG}110", f"{_JPEG}111", f"{_JPEG}112"),
}
# ISO 10918-1 Table B.1: the start of frame says how a JPEG is coded.
_FRAME_MARKERS: Final = {0xC0: (f"{_JPEG}50",), 0xC1: (f"{_JPEG}51",)} | {
    0xC3: (f"{_JPEG}70", f"{_JPEG}57")
}
_MAX_RLE_SEGMENTS: Final = 15


def _frames_path(target: Target, fixture: Fixture, frames: str) -> str:
    return f"{target.instance(fixture).path}/frames/{frames}"


def _octets(answer: Response, number: int) -> list[Part]:
    parts = answer.parts(_OCTET_STREAM)
    expect(len(parts) == number, f"{answer.asked}: expected {number} parts, got {len(parts)}")
    return parts


def _expect_bytes(answer: Response, part: Part, stored: bytes, what: str) -> None:
    sizes = f"{len(part.content)} bytes, {len(stored)} were stored"
    expect(len(part.content) == len(stored), f"{answer.asked}: {what} has {sizes}")
    expect(part.content == stored, f"{answer.asked}: {what} is not what was stored")


def _stored_frame(target: Target, number: int) -> bytes:
    """Of F8. Raises Unmet in a run that stores nothing."""
    original = target.instance(Fixture.F8).original
    size = original.Rows * original.Columns * original.BitsAllocated // 8
    return bytes(original.PixelData[(number - 1) * size : number * size])


@case(
    "BLK-01",
    section="10.4.1.1.6, 8.7.3.3.1",
    level=Level.SHALL,
    requirement="An uncompressed frame is its pixels, little endian, without any header.",
    request="GET {F8}/frames/1 as parts of application/octet-stream",
    expected="200; one part of 1200 bytes: frame 1",
    needs=_FRAMES,
)
async def frame_is_its_pixels(target: Target) -> None:
    stored = _stored_frame(target, 1)
    answer = await target.get(_frames_path(target, Fixture.F8, "1"), accept=OCTETS)
    _expect_bytes(answer, _octets(answer, 1)[0], stored, "frame 1")


@case(
    "BLK-02",
    section="10.4.1.1.6",
    level=Level.SHALL,
    requirement="Several frames are several parts, in the order of the request.",
    request="GET {F8}/frames/1,3 as parts of application/octet-stream",
    expected="200; two parts: frame 1, frame 3",
    needs=_FRAMES,
)
async def frames_are_parts_in_order(target: Target) -> None:
    stored = [_stored_frame(target, number) for number in (1, 3)]
    answer = await target.get(_frames_path(target, Fixture.F8, "1,3"), accept=OCTETS)
    for part, frame, number in zip(_octets(answer, 2), stored, (1, 3), strict=True):
        _expect_bytes(answer, part, frame, f"the part of frame {number}")


@case(
    "BLK-03",
    section="10.4.3.3.6, 8.6.1.2",
    level=Level.SHALL,
    requirement="The part of a frame has a Content-Location that names the frame.",
    request="GET {F8}/frames/1,3 as parts of application/octet-stream",
    expected="Content-Locations that end in /frames/1 and /frames/3",
    needs=_FRAMES,
)
async def parts_name_their_frame(target: Target) -> None:
    answer = await target.get(_frames_path(target, Fixture.F8, "1,3"), accept=OCTETS)
    for part, number in zip(_octets(answer, 2), (1, 3), strict=True):
        location = (part.location or "").partition("?")[0]
        expect(bool(location), f"{answer.asked}: a part has no Content-Location")
        held = location.endswith(f"/frames/{number}")
        expect(held, f"{answer.asked}: the Content-Location of frame {number} does not name it")


async def _need_frame(target: Target, fixture: Fixture = Fixture.F8) -> None:
    answer = await target.get(_frames_path(target, fixture, "1"), accept=OCTETS)
    need(answer.status == 200, f"not even frame 1 can be retrieved: {answer.status}")


@case(
    "BLK-04",
    section="10.4.1.1.6, 10.4.3.1",
    level=Level.SHALL,
    requirement="A frame that the image does not have is not found.",
    request="GET {F8}/frames/4 of an image of 3 frames",
    expected="404, or 400",
    needs=_FRAMES,
)
async def frame_beyond_the_last_is_not_found(target: Target) -> None:
    need(target.instance(Fixture.F8).original.NumberOfFrames == 3, "it has other frames")
    await _need_frame(target)
    answer = await target.get(_frames_path(target, Fixture.F8, "4"), accept=OCTETS)
    answer.expect_status(404, 400)
    target.note(f"a frame beyond the last: {answer.status}")


@case(
    "BLK-05",
    section="10.4.1.1.6, 5.1.3",
    level=Level.SHALL,
    requirement="Frames are named by positive numbers, without gaps in the list.",
    request="GET {F8}/frames/0, /frames/a and /frames/1,,2",
    expected="400 or 404 each",
    needs=_FRAMES,
)
async def misnamed_frames_are_refused(target: Target) -> None:
    await _need_frame(target)
    for frames in ("0", "a", "1,,2"):
        answer = await target.get(_frames_path(target, Fixture.F8, frames), accept=OCTETS)
        answer.expect_status(400, 404)


@case(
    "BLK-06",
    section="10.1.1",
    level=Level.MAY,
    requirement="Frame numbers are in ascending order; what happens otherwise is left open.",
    request="GET {F8}/frames/3,1",
    expected="200 in the order of the request, or 400",
    needs=_FRAMES,
)
async def descending_frames_are_in_order_of_request_or_refused(target: Target) -> None:
    stored = [_stored_frame(target, number) for number in (3, 1)]
    await _need_frame(target)
    answer = await target.get(_frames_path(target, Fixture.F8, "3,1"), accept=OCTETS)
    answer.expect_status(200, 400)
    if answer.status == 200:
        for part, frame in zip(_octets(answer, 2), stored, strict=True):
            _expect_bytes(answer, part, frame, "a part")
    target.note(f"frames in descending order: {answer.status}")


def _compressed(media_type: str, transfer_syntax: str = "") -> str:
    chosen = f"; transfer-syntax={transfer_syntax}" if transfer_syntax else ""
    return f'multipart/related; type="{media_type}"{chosen}'


async def _compressed_frame(target: Target, fixture: Fixture, accept: str) -> tuple[Response, Part]:
    """Frame 1, compressed. Raises NotClaimed: not offered so."""
    answer = await target.get(_frames_path(target, fixture, "1"), accept=accept)
    if answer.status in _NOT_OFFERED:
        raise NotClaimed(f"frames are not offered as {accept}: {answer.status}")
    parts = answer.parts()
    expect(len(parts) == 1, f"{answer.asked}: expected 1 part, got {len(parts)}")
    return answer, parts[0]


def _said_transfer_syntax(answer: Response, part: Part) -> str:
    """What the Content-Type says, or the default of its media type (Table 8.7.3-5)."""
    media_type = part.media_type
    if media_type.name not in COMPRESSED_TYPES:
        raise Violated(f"{answer.asked}: {media_type.name} is no media type of compressed frames")
    allowed = COMPRESSED_TYPES[media_type.name]
    said = media_type.parameters.get("transfer-syntax", allowed[0])
    expect(said in allowed, f"{answer.asked}: {media_type.name} cannot be {said}")
    return said


@case(
    "BLK-07",
    section="8.7.3.3.2",
    level=Level.SHALL,
    requirement="A compressed frame is the bare codestream, and its part says the transfer syntax.",
    request="GET {F2}/frames/1 as parts of image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50",
    expected="200; a JPEG (FFD8...) of image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50; or 406",
    needs=_LOSSY,
)
async def compressed_frame_is_a_bare_codestream(target: Target) -> None:
    accept = _compressed("image/jpeg", JPEG_BASELINE)
    answer, part = await _compressed_frame(target, Fixture.F2, accept)
    expect(part.content[:2] == b"\xff\xd8", f"{answer.asked}: the part does not begin with FFD8")
    said = _said_transfer_syntax(answer, part)
    expect(said == JPEG_BASELINE, f"{answer.asked}: the part is said to be {said}")


@case(
    "BLK-08",
    section="8.7.3.3.2",
    level=Level.SHALL,
    requirement="image/jpeg without a transfer syntax is JPEG Lossless; pixels are never said to be"
    " in a transfer syntax that they are not in.",
    request="GET {F2}/frames/1 (stored in JPEG Baseline) as parts of image/jpeg",
    expected="406; or a JPEG in the transfer syntax that its part says",
    needs=_LOSSY,
)
async def jpeg_is_what_it_is_said_to_be(target: Target) -> None:
    await _compressed_frame(target, Fixture.F2, _compressed("image/jpeg", "*"))
    answer = await target.get(
        _frames_path(target, Fixture.F2, "1"), accept=_compressed("image/jpeg")
    )
    answer.expect_status(406, 200)
    if answer.status == 406:
        target.note("a lossy frame as image/jpeg without transfer-syntax: 406")
        return
    part = answer.parts("image/jpeg")[0]
    said = _said_transfer_syntax(answer, part)
    held = said in _jpeg_transfer_syntaxes(part.content)
    expect(held, f"{answer.asked}: said to be {said}, and is coded in another way")
    target.note(f"a lossy frame as image/jpeg without transfer-syntax comes in {said}")


def _jpeg_transfer_syntaxes(content: bytes) -> tuple[str, ...]:
    """Those that the start of frame of a JPEG allows; none where there is no such marker."""
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker in _FRAME_MARKERS:
            return _FRAME_MARKERS[marker]
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return ()


@case(
    "BLK-09",
    section="8.7.3.3.2",
    level=Level.SHALL,
    requirement="The media type and the transfer syntax of a compressed frame are a pair of Table"
    " 8.7.3-5.",
    request="GET {F2}/frames/1 and {F7}/frames/1 in every compressed media type, transfer-syntax=*",
    expected="where it is offered: a pair of the table, of the media type that was asked for",
    needs=(Fixture.F2, Fixture.F7, Feature.RETRIEVE),
)
async def media_type_and_transfer_syntax_are_a_pair(target: Target) -> None:
    offered = []
    for fixture in (Fixture.F2, Fixture.F7):
        for media_type in COMPRESSED_TYPES:
            accept = _compressed(media_type, "*")
            answer = await target.get(_frames_path(target, fixture, "1"), accept=accept)
            if answer.status == 200:
                part = answer.parts(media_type)[0]
                offered.append(f"{media_type} {_said_transfer_syntax(answer, part)}")
    if not offered:
        raise NotClaimed("frames are not offered in any compressed media type")
    target.note(f"offered: {', '.join(dict.fromkeys(offered))}")


@case(
    "BLK-10",
    section="8.7.3.3.1",
    level=Level.SHALL,
    requirement="A frame of 1 bit begins with the first bit of its part, packed; only the end is"
    " padded.",
    request="GET {F3}/frames/2 (35 bits) as parts of application/octet-stream",
    expected="5 bytes: the bits of frame 2",
    needs=(Fixture.F3, Feature.RETRIEVE),
)
async def one_bit_frame_begins_with_its_first_bit(target: Target) -> None:
    original = target.instance(Fixture.F3).original
    packed = np.frombuffer(original.PixelData, np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[35:70]
    stored = np.packbits(bits, bitorder="little").tobytes()
    answer = await target.get(_frames_path(target, Fixture.F3, "2"), accept=OCTETS)
    part = _octets(answer, 1)[0]
    if len(part.content) == len(stored) + 1 and part.content[-1] == 0:
        target.note("the frame is padded to an even length")
        expect(part.content[:-1] == stored, f"{answer.asked}: not the bits of frame 2")
        return
    _expect_bytes(answer, part, stored, "frame 2")


async def _offered(target: Target, path: str, what: str) -> Response:
    """Raises NotClaimed: the server has no such resource."""
    answer = await target.get(path, accept=OCTETS)
    if answer.status in _NOT_OFFERED:
        raise NotClaimed(f"{what} is not offered: {answer.status}")
    return answer


@case(
    "BLK-11",
    section="10.4.1.1.6",
    level=Level.SHALL,
    requirement="The pixel data of an uncompressed multi-frame image are one part of all frames.",
    request="GET {F8}/pixeldata as parts of application/octet-stream",
    expected="200; one part of 3600 bytes",
    needs=(*_FRAMES, Feature.PIXELDATA),
)
async def pixel_data_are_all_frames_in_one_part(target: Target) -> None:
    instance = target.instance(Fixture.F8)
    stored = bytes(instance.original.PixelData)
    answer = await _offered(target, f"{instance.path}/pixeldata", "/pixeldata")
    _expect_bytes(answer, _octets(answer, 1)[0], stored, "the pixel data")


@case(
    "BLK-12",
    section="10.4.1.1.5, 10.4.3.3.5",
    level=Level.SHALL,
    requirement="The bulk data of a study are what its metadata refer to, under the same URIs.",
    request="GET {b}/studies/{S1}/bulkdata as parts of application/octet-stream",
    expected="the Content-Locations of the parts are the BulkDataURIs of the metadata",
    needs=(Fixture.F1, Feature.RETRIEVE, Feature.BULKDATA),
)
async def bulk_data_of_a_study_are_those_of_its_metadata(target: Target) -> None:
    path = target.study(Fixture.F1).path
    metadata = (await target.get(f"{path}/metadata")).datasets()
    wanted = {target.absolute(uri) for data in metadata for uri in _uris(data)}
    need(bool(wanted), "the metadata refer to no bulk data")
    answer = await _offered(target, f"{path}/bulkdata", "/bulkdata")
    got = {target.absolute(part.location or "") for part in answer.parts()}
    differing = f"{len(wanted - got)} are missing, {len(got - wanted)} are other ones"
    expect(got == wanted, f"{answer.asked}: of the URIs of the metadata {differing}")


def _uris(data: object) -> list[str]:
    if isinstance(data, list):
        return [uri for each in data for uri in _uris(each)]
    if not isinstance(data, dict):
        return []
    own = [data["BulkDataURI"]] if isinstance(data.get("BulkDataURI"), str) else []
    return own + [uri for each in data.values() for uri in _uris(each)]


@case(
    "BLK-13",
    section="10.4.3.3.6",
    level=Level.SHALL,
    requirement="Pixel data are those of the image; an icon's are not.",
    request="GET {F11}/pixeldata as parts of application/octet-stream",
    expected="one part: the pixel data of the image",
    needs=(Fixture.F11, Feature.RETRIEVE, Feature.PIXELDATA),
)
async def pixel_data_leave_the_icon_out(target: Target) -> None:
    instance = target.instance(Fixture.F11)
    stored = bytes(instance.original.PixelData)
    answer = await _offered(target, f"{instance.path}/pixeldata", "/pixeldata")
    _expect_bytes(answer, _octets(answer, 1)[0], stored, "the pixel data")


@case(
    "BLK-14",
    section="10.4.4",
    level=Level.SHALL,
    requirement="A single frame may be had as a single part; then it is the frame alone.",
    request="GET {F8}/frames/1, Accept: application/octet-stream",
    expected="200, application/octet-stream: frame 1; or 406 where it is not offered",
    needs=_FRAMES,
)
async def single_part_is_the_frame_alone(target: Target) -> None:
    stored = _stored_frame(target, 1)
    answer = await target.get(_frames_path(target, Fixture.F8, "1"), accept=_OCTET_STREAM)
    if answer.status in _NOT_OFFERED:
        raise NotClaimed(f"single parts are not offered: {answer.status}")
    answer.expect_status(200)
    answer.expect_media_type(_OCTET_STREAM)
    expect(answer.content == stored, f"{answer.asked}: not the frame that was stored")


@case(
    "BLK-15",
    section="10.4.4",
    level=Level.SHALL,
    requirement="Several frames are never a single part.",
    request="GET {F8}/frames/1,2, Accept: application/octet-stream",
    expected="406",
    needs=(Fixture.F1, *_FRAMES),
)
async def several_frames_as_single_part_are_406(target: Target) -> None:
    await _need_frame(target)
    answer = await target.get(_frames_path(target, Fixture.F8, "1,2"), accept=_OCTET_STREAM)
    await expect_not_acceptable(target, answer)


@case(
    "BLK-16",
    section="10.4.4",
    level=Level.SHOULD,
    requirement="*/* of frames gives what every server supports: parts of octet-stream. The"
    " Standard names no default.",
    request="GET {F8}/frames/1, Accept: */*",
    expected='200, multipart/related; type="application/octet-stream"',
    needs=_FRAMES,
)
async def any_type_of_frames_is_octet_stream(target: Target) -> None:
    answer = await target.get(_frames_path(target, Fixture.F8, "1"), accept=ANY)
    answer.expect_status(200)
    answer.expect_media_type("multipart/related")
    _octets(answer, 1)


@case(
    "BLK-17",
    section="10.4.1.1.6",
    level=Level.SHALL,
    requirement="An object without pixels has no frames.",
    request="GET {F5}/frames/1 of a waveform",
    expected="404, 406 or 400",
    needs=(Fixture.F5, Fixture.F8, Feature.RETRIEVE),
)
async def waveform_has_no_frames(target: Target) -> None:
    await _need_frame(target)
    answer = await target.get(_frames_path(target, Fixture.F5, "1"), accept=OCTETS)
    answer.expect_status(404, 406, 400)
    target.note(f"a frame of a waveform: {answer.status}")


@case(
    "BLK-18",
    section="8.7.3.3.2",
    level=Level.SHALL,
    requirement="A frame in RLE begins with the RLE header, without item tag or offset table.",
    request="GET {F7}/frames/1 as parts of image/dicom-rle",
    expected="200; the number of segments and their offsets, the first of them 64; or 406",
    needs=_RLE,
)
async def rle_frame_begins_with_its_header(target: Target) -> None:
    answer, part = await _compressed_frame(target, Fixture.F7, _compressed("image/dicom-rle"))
    said = _said_transfer_syntax(answer, part)
    expect(said == RLE, f"{answer.asked}: the part is said to be {said}")
    header = np.frombuffer(part.content[:64].ljust(64, b"\0"), "<u4")
    held = 1 <= header[0] <= _MAX_RLE_SEGMENTS and header[1] == 64
    expect(bool(held), f"{answer.asked}: the part does not begin with an RLE header")


@case(
    "BLK-19",
    section="8.7.3.3.1",
    level=Level.SHALL,
    requirement="A frame stored losslessly compressed can be had uncompressed, unchanged.",
    request="GET {F7}/frames/1 as parts of application/octet-stream",
    expected="200; the pixels that were stored",
    needs=_RLE,
)
async def compressed_frame_can_be_had_uncompressed(target: Target) -> None:
    original = target.instance(Fixture.F7).original
    original.decompress()
    answer = await target.get(_frames_path(target, Fixture.F7, "1"), accept=OCTETS)
    _expect_bytes(answer, _octets(answer, 1)[0], bytes(original.PixelData), "frame 1")
