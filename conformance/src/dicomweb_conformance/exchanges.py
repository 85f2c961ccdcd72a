"""What was asked and what came back, fit to be shown: no values of patients but the suite's own."""

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote

from dicomweb_conformance import media_types, multipart, payloads

MASK: Final = "•••"
MAX_SHOWN_CHARACTERS: Final = 6_000
MAX_SHOWN_ELEMENTS: Final = 400
# Of a verdict that holds nothing against the server: as much as shows what kind of payload it was.
MAX_BRIEF_CHARACTERS: Final = 400

# Never shown, whatever their value: they let the reader of a report in.
_SECRET_HEADERS = {"authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"}
# A shorter secret would be found in innocent words.
_MIN_SECRET: Final = 4
# A dotted number that is long enough to name an object, and no IP address and no version.
_UID = re.compile(r"(?<![\d.])(?=[\d.]{16})[0-2](?:\.\d+){2,}(?![\d.])")
_STANDARD_UID = re.compile(r"1\.2\.840\.10008\.[\d.]+")
# VRs and groups whose values describe the encoding and never a person.
_PLAIN_GROUPS = ("0002", "0028")
_PLAIN_ELEMENTS = {
    "00080005", "00080016", "00080056", "00080060", "00080061", "00081150", "00081196",
    "00081197", "00201206", "00201208", "00201209", "00741000", "00200013", "00200011",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response as a report shows them."""

    request: str  # the request line
    request_headers: dict[str, str]
    request_body: str
    status: int
    response_headers: dict[str, str]
    response_body: str
    seconds: float

    def briefly(self) -> "Exchange":
        """With the beginnings of its payloads."""
        return replace(
            self,
            request_body=_cut(self.request_body, MAX_BRIEF_CHARACTERS),
            response_body=_cut(self.response_body, MAX_BRIEF_CHARACTERS),
        )


@dataclass(slots=True)
class Shown:
    """Decides what may be shown. `own` are the values that the suite made up itself."""

    own: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)  # of the suite's own UIDs, for messages
    secrets: set[str] = field(default_factory=set)  # a server may repeat them

    def add_own(self, values: Iterable[str]) -> None:
        self.own.update(value for value in values if value)

    def add_secrets(self, credentials: Mapping[str, str]) -> None:
        """The values of these headers are never shown, nor is what they are made of."""
        for value in credentials.values():
            scheme, _, rest = value.partition(" ")
            found = [value, rest]
            if scheme.lower() == "basic":
                with contextlib.suppress(binascii.Error):
                    pair = base64.b64decode(rest).decode("utf-8", "replace")
                    found += [pair, pair.partition(":")[2]]
            self.secrets.update(each for each in found if len(each) >= _MIN_SECRET)

    def without_secrets(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def text(self, text: str) -> str:
        """Without secrets, and all UIDs masked that are neither the Standard's nor the suite's."""
        return _UID.sub(lambda found: self._uid(found[0]), self.without_secrets(text))

    def _uid(self, uid: str) -> str:
        return uid if uid in self.own or _STANDARD_UID.fullmatch(uid) else MASK

    def briefly(self, url: str) -> str:
        """A path and query with names instead of the suite's own long UIDs."""
        told = self.without_secrets(url)
        return _UID.sub(lambda found: self.names.get(found[0], self._uid(found[0])), told)

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        return {
            name: MASK if name.lower() in _SECRET_HEADERS else self.text(value)
            for name, value in headers
        }

    def body(self, content_type: str, content: bytes, *, status: int) -> str:
        """The payload where that says something and betrays nobody; otherwise its size."""
        return self.without_secrets(self._told(content_type, content, status))

    def _told(self, content_type: str, content: bytes, status: int) -> str:
        if not content:
            return ""
        try:
            kind = media_types.parse(content_type)
        except media_types.NotAMediaType:
            return f"({len(content)} bytes)"
        if kind.name == "multipart/related":
            return self._parts(kind, content, status)
        if kind.name == "application/dicom+json":
            return self._json(content)
        # Descriptions of the server and of errors are about the request, which is the suite's.
        describes = status >= 400 or "wadl" in kind.name or kind.name == "application/json"
        if describes and (kind.name.startswith("text/") or kind.name.endswith(("json", "xml"))):
            return _cut(self.text(content.decode("utf-8", "replace")))
        return f"({len(content)} bytes of {kind.name})"

    def _parts(self, kind: media_types.MediaType, content: bytes, status: int) -> str:
        try:
            parts = multipart.read(kind, content)
        except multipart.Malformed as error:
            return f"({len(content)} bytes that are not multipart: {error})"
        shown = []
        for part in parts[:20]:
            headers = self.headers(part.headers.items())
            lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
            own_type = part.headers.get("content-type", "application/octet-stream")
            shown.append(f"{lines}\n\n{self.body(own_type, part.content, status=status)}")
        more = f"\n\n({len(parts) - 20} more parts)" if len(parts) > 20 else ""
        return _cut("\n--\n".join(shown)) + more

    def _json(self, content: bytes) -> str:
        try:
            parsed = payloads.read_json(content)
        except payloads.Unreadable:
            return f"({len(content)} bytes that are not JSON)"
        return _cut(_in_lines(self._masked(parsed)))

    def _masked(self, data: object) -> object:
        if isinstance(data, list):
            return [self._masked(each) for each in data[:MAX_SHOWN_ELEMENTS]]
        if not isinstance(data, dict):
            return self._value(data)
        return {self.text(str(tag)): self._attribute(str(tag), data[tag]) for tag in data}

    def _attribute(self, tag: str, attribute: object) -> object:
        if not isinstance(attribute, dict):
            return self._masked(attribute)
        return {str(name): self._member(tag, name, attribute[name]) for name in attribute}

    def _member(self, tag: str, name: object, member: object) -> object:
        if name == "vr":
            return member if isinstance(member, str) and len(member) <= 2 else MASK
        if name == "BulkDataURI":
            return self.text(str(member))
        if name == "Value" and isinstance(member, list):
            plain = tag.startswith(_PLAIN_GROUPS) or tag in _PLAIN_ELEMENTS
            return [
                self._masked(each) if isinstance(each, dict) else self._value(each, plain=plain)
                for each in member
            ]
        return self._value(member)

    def _value(self, value: object, *, plain: bool = False) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | int | float):
            text = str(value)
            if text in self.own or _STANDARD_UID.fullmatch(text) or (plain and len(text) <= 64):
                return value
            if text.startswith(("http://", "https://")):
                return self.text(text)
        return MASK


def _cut(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n(cut: {len(text)} characters in all)"


def _in_lines(data: object) -> str:
    """JSON with an attribute a line, since a value a line would take most of the page."""
    if isinstance(data, list) and any(isinstance(each, dict) for each in data):
        return "[" + ",\n".join(map(_in_lines, data)) + "]"
    if not isinstance(data, dict):
        return json.dumps(data, ensure_ascii=False)
    lines = (f"{json.dumps(tag)}: {json.dumps(data[tag], ensure_ascii=False)}" for tag in data)
    return "{" + ",\n ".join(lines) + "}"


def query_string(query: str | Mapping[str, str]) -> str:
    """A query as it goes over the wire: a string as it is, values of a mapping percent-encoded."""
    if isinstance(query, str):
        return query
    return "&".join(f"{name}={quote(value, safe='*?-')}" for name, value in query.items())


def path_of(url: str, base_url: str) -> str:
    """The part of a URL below the base URL; other URLs whole."""
    return url.removeprefix(base_url) if unquote(url).startswith(unquote(base_url)) else url
