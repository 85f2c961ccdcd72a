"""Broken answers: some that are always the same, and any number that are drawn by a seed."""

import copy
import json
import random
import re
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import httpx2
from PIL import Image

from planted_faults import Fault
from right_server import Answer, answer

JSON_TYPE: Final = "application/dicom+json"

# What stands where something else belongs: an attribute, a value, an item, a member.
_MISPLACED: Final[tuple[Any, ...]] = (
    None, True, 1, -1, 1.5, 10**400, "", "x", "\ud800", "http://[::1", [], [None], [[]], {}, [{}],
    {"Value": None}, {"Value": [None]}, {"Value": [{}]}, {"Value": [[]]},
    {"vr": None}, {"vr": []}, {"vr": "XX"}, {"vr": "SQ", "Value": [1, None, "x"]},
    {"vr": "PN", "Value": ["x"]}, {"vr": "UI", "Value": [1]}, {"vr": "DS", "Value": ["x"]},
    {"vr": "OW", "BulkDataURI": "http://["}, {"vr": "OB", "BulkDataURI": 7},
    {"vr": "OB", "InlineBinary": "!"}, {"vr": "OB", "InlineBinary": 5},
)  # fmt: skip
_NAMES: Final = ("", "x", "0020000d", "00080018", "00081199", "7FE00010", "FFFFFFFF", "GGGGGGGG")
_HEADERS: Final = (
    "content-type", "content-location", "location", "etag", "warning", "content-range", "allow",
    "retry-after", "last-modified", "vary",
)  # fmt: skip
_HEADER_VALUES: Final = (
    "", "x", "/", "a/b;c", "multipart/related", "multipart/related; boundary=", "image/jpeg",
    'multipart/related; boundary="', "multipart/related; type=application/dicom; boundary=x",
    "application/dicom+json", "application/dicom+xml", "text/html; charset=none", "http://[",
    "http://x:99999/", "//", "bytes 5-2/x", "-1", "9" * 5000, '"', "299 x: y", "\xe9",
    "application/dicom; transfer-syntax=1.2.3",
)  # fmt: skip
_STATUSES: Final = (200, 201, 202, 204, 206, 299, 301, 304, 400, 404, 406, 409, 410, 500, 503, 599)
_ERRORS: Final = (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.ReadTimeout)


def _without_length(right: Answer) -> dict[str, str]:
    return {name: value for name, value in right.headers.items() if name != "content-length"}


def _with(right: Answer, content: bytes) -> Answer:
    return Answer(right.status_code, headers=_without_length(right), content=content)


def damaged(request: httpx2.Request, right: Answer) -> Answer:
    """Some bytes of the right payload are others, and its parts are still parts."""
    content = bytearray(right.content)
    for position in range(300, len(content) - 40, 97):
        content[position] ^= 0x15
    return _with(right, bytes(content))


def another(content: bytes, media_type: str) -> Fault:
    return lambda request, right: answer(right.status_code, content, media_type)


GARBAGE: Final[dict[str, Fault]] = {
    "damaged": damaged,
    "no content type": lambda request, right: Answer(200, content=right.content),
    "objects of nothing": another(b'[{}, {"00080018": null}, 1]', JSON_TYPE),
    "wrong members": another(
        b'[{"StudyDate": 1, "00080018": {"Value": {}}, "7FE00010": {"vr": "OW", "InlineBinary":'
        b' "?"}, "00091001": {"vr": "AT", "BulkDataURI": "http://["}}]',
        JSON_TYPE,
    ),
    "failure": lambda request, right: answer(500, b"<html>", "text/html; charset=none"),
}


# Of a server that says the same to everything, also where that is right.
ONE_ANSWER: Final[dict[str, Fault]] = {
    "a page": lambda *_: answer(200, b"<!doctype html><p>Log in</p>", "text/html; charset=utf-8"),
    "an empty object": lambda *_: answer(200, b"[{}]", JSON_TYPE),
    **{str(each): lambda *_, each=each: answer(each) for each in (204, 400, 404, 406)},
}


def drawn(seed: str) -> Fault:
    """Breaks some of the answers, each in a way of its own; the same for the same seed."""
    draw = random.Random(seed)
    spared = draw.choice((0, 0, 1, 2, 3, 5))  # so many answers are right, that a case gets further
    share = draw.choice((0.4, 1.0))
    breaks = draw.choices(_BREAKS, k=4)
    met = {"answers": 0}

    def fault(request: httpx2.Request, right: Answer) -> Answer:
        met["answers"] += 1
        if met["answers"] <= spared or draw.random() > share:
            return right
        return draw.choice(breaks)(draw, right)

    return fault


def _bytes(draw: random.Random, right: Answer) -> Answer:
    content = bytearray(right.content)
    for _ in range(draw.choice((1, 3, 30)) if content else 0):
        content[draw.randrange(len(content))] = draw.choice((0, 255, 65, 34, 91, 123))
    return _with(right, bytes(content))


def _cut(draw: random.Random, right: Answer) -> Answer:
    return _with(right, right.content[: draw.randrange(len(right.content) + 1)])


def _nothing(draw: random.Random, right: Answer) -> Answer:
    return Answer(right.status_code)


def _members(draw: random.Random, right: Answer) -> Answer:
    """In DICOM JSON something is another thing, is missing, or is there besides."""
    try:
        data = json.loads(right.content)
    except ValueError:
        return _files(draw, right)
    for _ in range(draw.choice((1, 1, 2, 5))):
        data = _changed(draw, data)
    return _with(right, json.dumps(data).encode())


def _changed(draw: random.Random, data: Any) -> Any:
    parent, key = draw.choice([(None, None), *_places(data)])
    wrong = copy.deepcopy(draw.choice(_MISPLACED))
    if parent is None:
        return wrong if draw.random() < 0.3 else data
    if draw.random() < 0.2:
        del parent[key]
    elif draw.random() < 0.15 and isinstance(parent, dict):
        parent[draw.choice(_NAMES)] = wrong
    else:
        parent[key] = wrong
    return data


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Each member and each element, as what holds it and its name or position."""
    pairs: Any = ()
    if isinstance(data, dict | list):
        pairs = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in pairs:
        found.append((data, key))
        found += _places(value)
    return found


def _files(draw: random.Random, right: Answer) -> Answer:
    """In the headers of PS3.10 files some bytes are others."""
    content = bytearray(right.content)
    for found in re.finditer(b"DICM", right.content):
        for _ in range(draw.choice((1, 2, 5, 20))):
            position = found.start() + draw.randrange(4, 1200)
            if position < len(content):
                content[position] = draw.choice((0, 1, 65, 255, draw.randrange(256)))
    return _with(right, bytes(content))


def _names(draw: random.Random, right: Answer) -> Answer:
    """XML attributes have other values."""

    def wrong(found: re.Match[str]) -> str:
        value = draw.choice(("", "x", "7FE00010", "-1", "99", "SQ", "http://["))
        return found[0] if draw.random() < 0.9 else f'{found[1]}="{value}"'

    text = right.content.decode("utf-8", "replace")
    names = r'(tag|vr|number|keyword|uri|path|name)="[^"]*"'
    return _with(right, re.sub(names, wrong, text).encode())


def _header(draw: random.Random, right: Answer) -> Answer:
    headers = _without_length(right)
    name = draw.choice([*headers, *_HEADERS])
    headers[name] = draw.choice(_HEADER_VALUES)
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Answer(right.status_code, headers=sent, content=right.content)


def _status(draw: random.Random, right: Answer) -> Answer:
    headers = _without_length(right)
    return Answer(draw.choice(_STATUSES), headers=headers, content=right.content)


def _type(draw: random.Random, right: Answer) -> Answer:
    """What is said to be of one type is of another."""
    content = draw.choice((right.content, b"[]", b"[{}]", b"null", b"[" * 20_000, b"<a/>"))
    return answer(200, content, draw.choice(_HEADER_VALUES[5:12]))


def _picture(draw: random.Random, right: Answer) -> Answer:
    return _with(right, draw.choice((_large(), _tiny(draw))))


def _tiny(draw: random.Random) -> bytes:
    buffer = BytesIO()
    mode = draw.choice(("L", "RGB", "1", "P", "CMYK"))
    size = draw.choice(((1, 1), (1, 300), (64, 64)))
    Image.new(mode, size).save(buffer, draw.choice(("TIFF", "JPEG" if mode != "P" else "GIF")))
    return buffer.getvalue()


def _large() -> bytes:
    """A PNG of few bytes that says of itself that it has 60,000 x 60,000 pixels."""
    buffer = BytesIO()
    Image.new("L", (16, 16)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def _silence(draw: random.Random, right: Answer) -> Answer:
    raise draw.choice(_ERRORS)("as if the connection had ended")


_BREAKS: Final[tuple[Callable[[random.Random, Answer], Answer], ...]] = (
    _cut, _nothing, _bytes, _members, _members, _members, _files, _files, _names, _header,
    _header, _status, _type, _picture, _silence,
)  # fmt: skip
