"""HTML that is safe to show, whatever stands in the document."""

import base64
import hashlib
import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bfr_dicomweb.rendering import report_content
from bfr_dicomweb.rendering.report_document import (
    Block,
    Cell,
    Document,
    Fact,
    Facts,
    Heading,
    Listing,
    Paragraph,
    Span,
    Style,
    Table,
    plain,
    texts,
)
from bfr_dicomweb.rendering.report_html import POLICY, html
from content_items import a_report, code, container, item, opened, text
from rendering_safety import HOSTILE, Seen, assert_safe


def a_document(*blocks: Block, title: str = "Svar", header: tuple[Fact, ...] = ()) -> Document:
    return Document(title, blocks, "sv", header)


@pytest.mark.parametrize("said", HOSTILE)
def test_markup_in_a_report_is_text(said: str) -> None:
    concept = code("1", "99X", said)
    report = a_report(
        container(concept, text(concept, said), item("UIDREF", concept, xA124=_uid(said))),
        x00100010={"vr": "PN", "Value": [{"Alphabetic": said}]},
        x00081030={"vr": "LO", "Value": [said]},
    )

    page = html(report_content.document_of(opened(report)), "utf-8")

    assert_safe(page)
    assert Seen(page).text.count(said) >= 3


def _uid(said: str) -> dict[str, object]:
    return {"vr": "UI", "Value": [said]}


TEXT = st.text(max_size=12) | st.sampled_from(HOSTILE)
SPANS = st.lists(st.builds(Span, TEXT, st.sampled_from(Style)), max_size=3).map(tuple)
FACTS = st.builds(
    Fact,
    TEXT,
    TEXT,
    detail=TEXT,
    relation=TEXT,
    level=st.integers(0, 90),
    is_number=st.booleans(),
    anchor=TEXT,
    target=TEXT,
    members=st.lists(TEXT, max_size=2).map(tuple),
)
CELLS = st.builds(Cell, SPANS, st.booleans(), st.integers(1, 9), st.integers(1, 9))
ROWS = st.lists(CELLS, max_size=3).map(tuple)
LEAVES = st.one_of(
    st.builds(Heading, st.integers(-3, 12), TEXT, TEXT),
    st.builds(Paragraph, SPANS, TEXT, TEXT),
    st.builds(Facts, st.lists(FACTS, max_size=3).map(tuple)),
    st.builds(Table, st.lists(ROWS, max_size=3).map(tuple), SPANS),
)
BLOCKS = st.recursive(
    LEAVES,
    lambda blocks: st.builds(
        Listing,
        st.lists(st.lists(blocks, max_size=2).map(tuple), max_size=3).map(tuple),
        st.booleans(),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.lists(BLOCKS, max_size=4).map(tuple), TEXT, st.lists(FACTS, max_size=2).map(tuple))
def test_any_document_has_no_elements_but_those_of_its_layout(
    blocks: tuple[Block, ...], title: str, header: tuple[Fact, ...]
) -> None:
    assert_safe(html(Document(title, blocks, "", header), "utf-8"))


@settings(deadline=None)
@given(st.lists(BLOCKS, max_size=4).map(tuple))
def test_every_text_is_in_the_page(blocks: tuple[Block, ...]) -> None:
    seen = Seen(html(Document("", blocks), "utf-8")).text

    # a parser turns CR into LF; what is no character of HTML never comes this far
    assert all(said in seen or "\r" in said or "\0" in said for said in texts(blocks))


def test_the_page_allows_its_own_style_sheet_and_nothing_else() -> None:
    page = html(a_document(), "utf-8")
    style = re.search("<style>(.*?)</style>", page, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()

    assert POLICY.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert ("content", POLICY) in Seen(page).attributes


def test_nothing_in_the_page_comes_from_elsewhere() -> None:
    page = html(a_document(Heading(2, "Fynd")), "utf-8")

    assert re.search(r"url\(|@import|src=|https?:", page) is None


def test_the_language_is_the_documents() -> None:
    assert '<html lang="sv">' in html(a_document(), "utf-8")


def test_a_link_leads_to_the_row_with_its_anchor() -> None:
    page = html(
        a_document(Facts((Fact("a", "b", anchor="item-1-2"), Fact("c", "d", target="item-1-2")))),
        "utf-8",
    )

    assert '<tr id="item-1-2">' in page
    assert '<a href="#item-1-2">d</a>' in page


def test_a_table_keeps_its_spans() -> None:
    cell = Cell(plain("x"), is_heading=True, columns=2, rows=3)

    assert '<th colspan="2" rowspan="3">x</th>' in html(a_document(Table(((cell,),))), "utf-8")
