"""HTML as a browser would take it, and texts that try to be more than text."""

import re
from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "&lt;script&gt;",
    "<!-- --><iframe src=//example.org>",
    "]]><foo>",
)
_TAGS = """
    html head meta title style body header main h1 h2 h3 h4 h5 h6 p strong span a table caption
    tr th td ul ol li b i u sub sup ins del details summary
"""
TAGS = frozenset(_TAGS.split())
_ATTRIBUTES = """
    lang charset http-equiv content name class id href scope colspan rowspan
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())


class Seen(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_safe(page: str) -> None:
    """It has the elements of our layout only, nothing that runs and no way to elsewhere."""
    seen = Seen(page)
    assert seen.tags <= TAGS
    assert {name for name, _ in seen.attributes} <= ATTRIBUTES
    links = [value for name, value in seen.attributes if name == "href"]
    assert all(re.fullmatch(r"#[A-Za-z][A-Za-z0-9-]*", link) for link in links)
