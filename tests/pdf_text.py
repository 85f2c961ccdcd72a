"""The text of a PDF, by way of the Unicode tables of its fonts: what searching and copying find.

Enough of PDF for what reportlab writes, no more.
"""

import base64
import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)\nendobj", re.S)
_STREAM = re.compile(rb"(.*?)stream\r?\n(.*)\r?\n?endstream", re.S)
_SHOWN = re.compile(rb"/(F[\d+]+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\) Tj|(\bTd\b|T\*|\bTm\b)", re.S)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.S)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def pdf_pages(written: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", written))


def pdf_text(written: bytes) -> str:
    """Its words in the order in which they are set, a space between each two lines and cells."""
    objects = {int(number): body for number, body in _OBJECT.findall(written)}
    fonts = {
        found[1].decode(): _letters(_content(objects[int(table[1])]))
        for body in objects.values()
        if (found := re.search(rb"/Name /(F[\d+]+)", body))
        and (table := re.search(rb"/ToUnicode (\d+) 0 R", body))
    }
    streams = [
        _content(objects[int(page[1])])
        for body in objects.values()
        if (page := re.search(rb"/Contents (\d+) 0 R", body))
    ]
    return " ".join(" ".join(_shown(stream, fonts) for stream in streams).split())


def _content(body: bytes) -> bytes:
    found = _STREAM.match(body)
    assert found is not None
    head, content = found[1], found[2]
    if b"ASCII85Decode" in head:
        content = base64.a85decode(content.strip(), adobe=True)
    return zlib.decompress(content) if b"FlateDecode" in head else content


def _letters(table: bytes) -> dict[int, str]:
    pairs = re.findall(rb"<([0-9A-F]{2})> <([0-9A-F]{4,8})>\n", table)
    return {
        int(code, 16): bytes.fromhex(letter.decode()).decode("utf-16-be") for code, letter in pairs
    }


def _shown(stream: bytes, fonts: dict[str, dict[int, str]]) -> str:
    letters: dict[int, str] = {}
    said: list[str] = []
    for found in _SHOWN.finditer(stream):
        if found[1]:
            letters = fonts.get(found[1].decode(), {})
        elif found[2] is not None:
            said.append("".join(letters.get(code, chr(code)) for code in _unescaped(found[2])))
        else:
            said.append(" ")
    return "".join(said)


def _unescaped(text: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code, 8)]) if code.isdigit() else _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, text)
