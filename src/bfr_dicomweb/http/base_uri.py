"""The base URI of the service as the client sees it, from which all our URLs are made.

What a request says of itself is used only where it is well formed, because it is
reflected into metadata and headers; what is not is treated as not said.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_PORT: Final = r"[1-9][0-9]{0,4}"
_HOST: Final = re.compile(
    rf"(?P<name>[0-9A-Za-z_](?:[0-9A-Za-z_.-]{{0,251}}[0-9A-Za-z_.])?|\[[0-9A-Fa-f:.]{{2,45}}\])"
    rf"(?::(?P<port>{_PORT}))?"
)
_ONLY_PORT: Final = re.compile(_PORT)
_PREFIX: Final = re.compile(r"(?:/[0-9A-Za-z._~!$&'()*+,;=:%-]+)+")
_PAIR: Final = re.compile(
    r'[ \t]*([0-9A-Za-z!#$%&\'*+.^_`|~-]+)=([0-9A-Za-z!#$%&\'*+.^_`|~:\[\]-]+|"[^"\\]*")[ \t]*'
)
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|\[?::1\]?", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_READ: Final = (
    "host",
    "forwarded",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
)


def base_uri(
    headers: Mapping[str, str],
    *,
    scheme: str,
    server: tuple[str, int | None] | None,
    root_path: str = "",
    configured: str | None = None,
    trust_forwarded: bool = False,
) -> str:
    """The absolute base URI, without a slash at its end.

    Args:
        headers: With names in lower case.
        scheme: Of the connection, as in the ASGI scope.
        server: The address on which the connection arrived, as in the ASGI scope.
        root_path: Path below which the service is mounted.
        configured: The public base URI; when given, it is the answer.
        trust_forwarded: Whether a proxy that sets Forwarded (RFC 7239) or the
            X-Forwarded fields stands in front; the former is looked at first.
    """
    if configured:
        return configured.rstrip("/")
    wanted = _READ if trust_forwarded else _READ[:1]
    # two headers that are one list count by their first element, as set by the outermost proxy
    said = tuple(headers.get(name, "") for name in wanted)
    return _base_uri(said, _SCHEMES.get(scheme, "http"), server, root_path.rstrip("/"))


@lru_cache(maxsize=512)
def _base_uri(
    said: tuple[str, ...], scheme: str, server: tuple[str, int | None] | None, root_path: str
) -> str:
    host, *proxied = said
    if proxied:
        forwarded, proto, forwarded_host, port, prefix = proxied
        pairs = _first_forwarded(forwarded)
        scheme = _known_scheme(pairs.get("proto", ""), _first(proto)) or scheme
        public = _valid_host(pairs.get("host", ""), _first(forwarded_host))
        authority = public or _authority(host, scheme, server)
        authority = _with_port(authority, _first(port), scheme)
        root_path = _with_prefix(root_path, _first(prefix))
    else:
        authority = _authority(host, scheme, server)
    return f"{scheme}://{authority}{root_path}"


def _first(text: str) -> str:
    return text.split(",", 1)[0].strip(" \t")


def _first_forwarded(text: str) -> dict[str, str]:
    """The pairs of the first element; empty when that is malformed."""
    pairs: dict[str, str] = {}
    place = 0
    while (pair := _PAIR.match(text, place)) is not None:
        pairs.setdefault(pair[1].lower(), pair[2].strip('"'))
        place = pair.end()
        if place == len(text) or text[place] == ",":
            return pairs
        if text[place] != ";":
            break
        place += 1
    return {}


def _known_scheme(*candidates: str) -> str | None:
    return next((_SCHEMES[text.lower()] for text in candidates if text.lower() in _SCHEMES), None)


def _valid_host(*candidates: str) -> str | None:
    for text in candidates:
        match = _HOST.fullmatch(text)
        if match is not None and int(match["port"] or 1) < 65536:
            return text
    return None


def _authority(host: str, scheme: str, server: tuple[str, int | None] | None) -> str:
    name, port = server or ("localhost", None)
    suffix = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    said = _valid_host(host)
    if said is None:
        return (f"[{name}]" if ":" in name else name) + suffix
    # the Python dicomweb-client leaves the port out of Host
    if _LOOPBACK.fullmatch(said) and _LOOPBACK.fullmatch(name):
        return said + suffix
    return said


def _with_port(authority: str, port: str, scheme: str) -> str:
    match = _HOST.fullmatch(authority)
    if match is None or match["port"] or _ONLY_PORT.fullmatch(port) is None:
        return authority
    if int(port) == _DEFAULT_PORTS[scheme]:
        return authority
    return _valid_host(f"{authority}:{port}") or authority


def _with_prefix(root_path: str, prefix: str) -> str:
    prefix = prefix.rstrip("/")
    hostile = _PREFIX.fullmatch(prefix) is None or {".", ".."} & set(prefix.split("/"))
    if hostile or f"{root_path}/".startswith(f"{prefix}/"):
        # the application server may have been told the prefix as well
        return root_path
    return prefix + root_path
