"""The base URI: what proxies and clients say of it, and what hostile ones try."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.http.base_uri import base_uri

LOOPBACK = ("127.0.0.1", 8042)


def seen(
    headers: dict[str, str],
    *,
    scheme: str = "http",
    server: tuple[str, int | None] | None = ("10.0.0.1", 8042),
    root_path: str = "/dicom-web",
    trusted: bool = True,
) -> str:
    return base_uri(
        headers, scheme=scheme, server=server, root_path=root_path, trust_forwarded=trusted
    )


def test_the_configured_base_wins_over_everything() -> None:
    headers = {"host": "inner", "forwarded": "host=outer"}
    configured = "https://images.example.org/pacs/"
    answer = base_uri(
        headers, scheme="http", server=LOOPBACK, configured=configured, trust_forwarded=True
    )
    assert answer == "https://images.example.org/pacs"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "h"}, "http://h/dicom-web"),
        ({"host": "h:8042"}, "http://h:8042/dicom-web"),
        ({"host": "[2001:db8::1]:80"}, "http://[2001:db8::1]:80/dicom-web"),
        ({"host": "bild_arkiv.example"}, "http://bild_arkiv.example/dicom-web"),
        # RFC 7239; a port needs the quotes, though not every proxy knows
        ({"host": "i", "forwarded": 'host="h:9";proto=https'}, "https://h:9/dicom-web"),
        ({"host": "i", "forwarded": "for=1.2.3.4; Proto=HTTPS; Host=h"}, "https://h/dicom-web"),
        ({"host": "i", "forwarded": "host=h:9"}, "http://h:9/dicom-web"),
        ({"host": "i", "forwarded": "host=a, host=b"}, "http://a/dicom-web"),
        (
            {"host": "i", "forwarded": 'for="[2001:db8::17]:47";host="[::2]:1"'},
            "http://[::2]:1/dicom-web",
        ),
        ({"host": "i", "forwarded": "proto=https"}, "https://i/dicom-web"),
        # what most proxies send
        ({"host": "i", "x-forwarded-host": "h"}, "http://h/dicom-web"),
        ({"host": "i", "x-forwarded-host": "h:9, i"}, "http://h:9/dicom-web"),
        (
            {"host": "i", "x-forwarded-host": "h", "x-forwarded-proto": "https"},
            "https://h/dicom-web",
        ),
        ({"host": "i", "x-forwarded-proto": "https, http"}, "https://i/dicom-web"),
        ({"host": "i", "x-forwarded-port": "9"}, "http://i:9/dicom-web"),
        ({"host": "i:7", "x-forwarded-port": "9"}, "http://i:7/dicom-web"),
        ({"host": "i", "x-forwarded-port": "80"}, "http://i/dicom-web"),
        (
            {"host": "i", "x-forwarded-proto": "https", "x-forwarded-port": "443"},
            "https://i/dicom-web",
        ),
        ({"host": "i", "x-forwarded-prefix": "/pacs/"}, "http://i/pacs/dicom-web"),
        ({"host": "i", "x-forwarded-prefix": "/dicom-web"}, "http://i/dicom-web"),
        ({"host": "i", "forwarded": "host=f", "x-forwarded-host": "x"}, "http://f/dicom-web"),
    ],
)
def test_the_client_gets_the_base_that_it_used(headers: dict[str, str], expected: str) -> None:
    assert seen(headers) == expected


@pytest.mark.parametrize(
    "name", ["forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"]
)
def test_forwarded_fields_are_not_believed_by_default(name: str) -> None:
    value = {"forwarded": "host=h;proto=https", "x-forwarded-prefix": "/p"}.get(name, "https")
    assert seen({"host": "i", name: value}, trusted=False) == "http://i/dicom-web"


HOSTILE = [
    "h\r\nX: y",
    "h\nX: y",
    "a b",
    "user@h",
    "user:secret@h",
    "h/path",
    "h?q",
    "h#f",
    "h:0",
    "h:65536",
    "h:x",
    "h:",
    ":80",
    "",
    '"h"',
    "<script>",
    "h%0d",
    "[::1",
    "::1",
    "hé",
    "h\x00",
    "-h",
    "h\\x",
    "a" * 300,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_host_is_never_reflected(hostile: str) -> None:
    assert seen({"host": hostile}) == "http://10.0.0.1:8042/dicom-web"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_forwarded_host_is_not_said(hostile: str) -> None:
    assert seen({"host": "i", "x-forwarded-host": hostile}) == "http://i/dicom-web"


@pytest.mark.parametrize(
    "forwarded",
    ["host", "host=", "host=a b", 'host="a', "host=a;;", "=h", "host=<a>", 'host="a\\"b"', ";"],
)
def test_a_malformed_forwarded_is_not_said(forwarded: str) -> None:
    assert seen({"host": "i", "forwarded": forwarded}) == "http://i/dicom-web"


@pytest.mark.parametrize("proto", ["ftp", "javascript", "https:", "h ttps", ""])
def test_another_scheme_is_not_said(proto: str) -> None:
    assert seen({"host": "i", "x-forwarded-proto": proto}) == "http://i/dicom-web"


@pytest.mark.parametrize(
    "prefix", ["pacs", "//evil", "/a/../b", "/a b", "/a\r\n", "/?", "/", "/./a"]
)
def test_a_malformed_prefix_is_not_said(prefix: str) -> None:
    assert seen({"host": "i", "x-forwarded-prefix": prefix}) == "http://i/dicom-web"


@pytest.mark.parametrize("port", ["x", "0", "99999", "-1", "8 0", "\u0661"])
def test_a_malformed_port_is_not_said(port: str) -> None:
    assert seen({"host": "i", "x-forwarded-port": port}) == "http://i/dicom-web"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]", "127.0.1.1"])
def test_the_port_that_a_client_left_out_of_a_loopback_host_is_restored(host: str) -> None:
    assert seen({"host": host}, server=LOOPBACK) == f"http://{host}:8042/dicom-web"


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("127.0.0.1:9", LOOPBACK),
        ("127.0.0.1", ("127.0.0.1", 80)),
        ("127.0.0.1", ("10.0.0.1", 8042)),
        ("127.0.0.1", ("127.0.0.1", None)),
        ("127.0.0.1", None),
        ("archive", LOOPBACK),
    ],
)
def test_any_other_host_is_left_as_given(host: str, server: tuple[str, int | None] | None) -> None:
    assert seen({"host": host}, server=server) == f"http://{host}/dicom-web"


def test_without_host_the_address_of_the_server_is_used() -> None:
    assert seen({}, server=("::1", 8042)) == "http://[::1]:8042/dicom-web"


def test_a_server_on_a_unix_socket_has_a_base_too() -> None:
    assert seen({}, server=None) == "http://localhost/dicom-web"


@pytest.mark.parametrize(("scheme", "expected"), [("ws", "http://h"), ("wss", "https://h")])
def test_a_web_socket_has_the_base_of_its_http_service(scheme: str, expected: str) -> None:
    assert seen({"host": "h"}, scheme=scheme, root_path="/") == expected


NAMES = ["host", "forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"]


VALUES = st.one_of(
    st.text(),
    st.text('ah1:/.,;="@[]%_- \r\n'),
    st.text("ah1:@", min_size=1).map("host={};proto=https".format),
)


@given(headers=st.dictionaries(st.sampled_from([*NAMES, "x-forwarded-proto"]), VALUES))
def test_any_headers_give_an_absolute_http_uri_of_printable_ascii(headers: dict[str, str]) -> None:
    answer = seen(headers)
    parts = urlsplit(answer)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.path.endswith("/dicom-web")
    assert answer.isascii()
    assert answer.isprintable()
    assert not set(answer) & set(' "<>\\@?#')
