"""Clinical documents (HL7 CDA R2) as documents to be read."""

import base64
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.clinical_document import MAX_BYTES, MAX_ELEMENTS, document_of
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
    text_of,
)
from bfr_dicomweb.rendering.report_html import html
from bfr_dicomweb.rendering.report_text import plain_text
from rendering_safety import HOSTILE, Seen, assert_safe
from shared_data import SHARED, require_shared_data

HL7 = "{urn:hl7-org:v3}"


def a_clinical_document(body: str, head: str = "<title>Epikris</title>") -> bytes:
    return (
        f'<ClinicalDocument xmlns="urn:hl7-org:v3">{head}<component>{body}</component>'
        "</ClinicalDocument>"
    ).encode()


def narrated(narrative: str) -> tuple[Block, ...]:
    """The blocks of a section with this text."""
    section = f"<component><section><text>{narrative}</text></section></component>"
    body = f"<structuredBody>{section}</structuredBody>"
    return document_of(a_clinical_document(body)).blocks


def headed(head: str) -> Document:
    return document_of(a_clinical_document("<structuredBody/>", head))


# --- narrative -------------------------------------------------------------------------------


def test_sections_have_their_titles_as_headings() -> None:
    inner = "<component><section><title>Inre</title><text>b</text></section></component>"
    section = f"<section><title>Yttre</title><text>a</text>{inner}</section>"
    body = f"<structuredBody><component>{section}</component></structuredBody>"

    assert document_of(a_clinical_document(body)).blocks == (
        Heading(2, "Yttre"),
        Paragraph(plain("a")),
        Heading(3, "Inre"),
        Paragraph(plain("b")),
    )


def test_text_beside_paragraphs_is_not_lost() -> None:
    assert narrated("before<paragraph>inside</paragraph>after") == (
        Paragraph(plain("before")),
        Paragraph(plain("inside")),
        Paragraph(plain("after")),
    )


def test_spaces_are_joined_and_breaks_are_lines() -> None:
    assert narrated("<paragraph>  a \n\t b <br/> c  </paragraph>") == (Paragraph(plain("a b\nc")),)


def test_styles_are_kept() -> None:
    said = '<paragraph>a <content styleCode="Bold">b</content> H<sub>2</sub>O</paragraph>'

    assert narrated(said) == (
        Paragraph(
            (
                Span("a "),
                Span("b", Style.BOLD),
                Span(" H"),
                Span("2", Style.SUBSCRIPT),
                Span("O"),
            )
        ),
    )


def test_what_a_revision_took_away_is_marked() -> None:
    said = '<paragraph><content revised="delete">höger</content></paragraph>'

    assert narrated(said) == (Paragraph((Span("höger", Style.DELETED),)),)


def test_lists_in_lists_are_kept() -> None:
    inner = "<list><item>b</item></list>"
    said = f'<list listType="ordered"><caption>C</caption><item>a{inner}</item></list>'

    assert narrated(said) == (
        Paragraph((Span("C", Style.BOLD),)),
        Listing(((Paragraph(plain("a")), Listing(((Paragraph(plain("b")),),))),), is_ordered=True),
    )


def test_tables_keep_headings_spans_and_caption() -> None:
    rows = '<thead><tr><th colspan="2">h</th></tr></thead><tbody><tr><td>a</td><td/></tr></tbody>'

    assert narrated(f"<table><caption>C</caption>{rows}</table>") == (
        Table(
            (
                (Cell(plain("h"), is_heading=True, columns=2),),
                (Cell(plain("a")), Cell(())),
            ),
            plain("C"),
        ),
    )


def test_blocks_in_a_cell_are_lines() -> None:
    cell = "<td><paragraph>a</paragraph><list><item>b</item><item>c</item></list></td>"
    table = narrated(f"<table><tbody><tr>{cell}</tr></tbody></table>")[0]

    assert isinstance(table, Table)
    assert text_of(table.rows[0][0].words) == "a\nb\nc"


def test_a_footnote_stands_where_it_is() -> None:
    said = "<paragraph>a<footnote ID='f1'>not</footnote> b<footnoteRef IDREF='f1'/></paragraph>"

    assert narrated(said) == (Paragraph(plain("a [not] b [f1]")),)


def test_a_picture_is_named() -> None:
    value = '<value mediaType="image/jpeg"/>'
    media = f'<entry><observationMedia ID="MM1">{value}</observationMedia></entry>'
    said = '<renderMultiMedia referencedObject="MM1"><caption>Bild</caption></renderMultiMedia>'
    section = f"<section><text>{said}</text>{media}</section>"
    body = f"<structuredBody><component>{section}</component></structuredBody>"

    found = document_of(a_clinical_document(body)).blocks
    assert found == (Paragraph(plain("[MM1, image/jpeg]\nBild")),)


def test_a_link_is_told_and_leads_nowhere() -> None:
    blocks = narrated('<paragraph><linkHtml href="javascript:alert(1)">x</linkHtml></paragraph>')

    assert blocks == (Paragraph(plain("x <javascript:alert(1)>")),)
    assert_safe(html(Document("", blocks), "utf-8"))


def test_elements_that_are_not_known_keep_their_text() -> None:
    assert narrated("<blink>a</blink>") == (Paragraph(plain("a")),)


# --- bodies of other kinds -------------------------------------------------------------------


def test_a_body_of_text_is_told() -> None:
    encoded = base64.b64encode("Rad ett\nRad två".encode()).decode()
    kind = 'mediaType="text/plain" representation="B64"'
    body = f"<nonXMLBody><text {kind}>{encoded}</text></nonXMLBody>"

    assert document_of(a_clinical_document(body)).blocks == (
        Paragraph(plain("Rad ett")),
        Paragraph(plain("Rad två")),
    )


def test_a_body_of_another_type_is_named() -> None:
    text = '<text mediaType="application/pdf"><reference value="a.pdf"/></text>'
    body = f"<nonXMLBody>{text}</nonXMLBody>"
    assert document_of(a_clinical_document(body)).blocks == (
        Facts((Fact("Body", "application/pdf"), Fact("Lies at", "a.pdf"))),
    )


# --- header ----------------------------------------------------------------------------------


def test_the_header_tells_who_the_patient_is() -> None:
    patient = (
        "<patient><name><given>Åsa</given><family>Öberg</family></name>"
        '<administrativeGenderCode displayName="Kvinna"/><birthTime value="19121212"/></patient>'
    )
    role = f'<patientRole><id extension="19121212-1212" root="1.2"/>{patient}</patientRole>'
    found = headed(f"<recordTarget>{role}</recordTarget>").header

    assert found == (Fact("Patient", "Åsa Öberg, 19121212-1212, born 1912-12-12, Kvinna"),)


def test_the_header_tells_who_wrote_it_and_when() -> None:
    person = "<assignedPerson><name>Dr Ek</name></assignedPerson>"
    author = (
        f'<author><time value="202401151015"/><assignedAuthor>{person}</assignedAuthor></author>'
    )

    assert headed(author).header == (Fact("Author", "Dr Ek, 2024-01-15 10:15"),)


@pytest.mark.parametrize(("code", "language"), [("sv-SE", "sv-SE"), ('"><script>', "")])
def test_the_language_is_the_documents(code: str, language: str) -> None:
    head = f"<languageCode code={_quoted(code)}/>"

    assert headed(head).language == language


def _quoted(value: str) -> str:
    return '"' + escape(value, {'"': "&quot;"}) + '"'


# --- what can hurt ---------------------------------------------------------------------------


@pytest.mark.parametrize("said", HOSTILE)
def test_markup_in_a_document_is_text(said: str) -> None:
    section = f"<section><title>{escape(said)}</title><text>{escape(said)}</text></section>"
    body = f"<structuredBody><component>{section}</component></structuredBody>"
    page = html(document_of(a_clinical_document(body, f"<title>{escape(said)}</title>")), "utf-8")

    assert_safe(page)
    assert Seen(page).text.count(" ".join(said.split())) >= 3


@pytest.mark.parametrize(
    "said",
    [
        "<script>alert(1)</script>",
        '<img src="https://example.org/x.png" onerror="alert(1)"/>',
        '<content onclick="alert(1)" style="background:url(//example.org)">x</content>',
        '<table onload="alert(1)"><tr><td background="//example.org/x">a</td></tr></table>',
        '<x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>',
    ],
)
def test_elements_of_html_in_the_narrative_do_not_come_through(said: str) -> None:
    assert_safe(html(Document("", narrated(said)), "utf-8"))


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "https://example.org/x.dtd">',
    ],
)
def test_a_document_type_declaration_is_refused(declaration: str) -> None:
    content = declaration.encode() + a_clinical_document("<structuredBody/>")

    with pytest.raises(NotAcceptable, match="document type"):
        document_of(content)


@pytest.mark.parametrize(
    "element", ["paragraph", "content", "list><item", "table><tbody><tr><td", "caption"]
)
def test_a_narrative_that_is_too_deep_is_refused(element: str) -> None:
    opening = f"<{element}>" * 20_000
    names = [name.strip("<>") for name in element.split("><")]
    closing = "".join(f"</{name}>" for name in reversed(names)) * 20_000

    with pytest.raises(NotAcceptable, match="deep"):
        narrated(f"{opening}a{closing}")


def test_sections_that_are_too_deep_are_refused() -> None:
    deep = "<component><section>" * 5000 + "</section></component>" * 5000
    body = f"<structuredBody>{deep}</structuredBody>"

    with pytest.raises(NotAcceptable, match="deep"):
        document_of(a_clinical_document(body))


def test_a_document_that_is_too_large_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="bytes"):
        document_of(b" " * (MAX_BYTES + 1))


def test_a_document_of_too_many_elements_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="elements"):
        narrated("<br/>" * (MAX_ELEMENTS + 1))


@pytest.mark.parametrize("content", [b"", b"<a>", b"<a/>", b"\xff\xfe", b"%PDF-1.4"])
def test_what_is_no_clinical_document_is_refused(content: bytes) -> None:
    with pytest.raises(NotAcceptable):
        document_of(content)


def test_a_cell_cannot_reach_further_than_a_page_is_wide() -> None:
    table = narrated(
        '<table><tr><td colspan="999999999">a</td><td rowspan="-1">b</td></tr></table>'
    )

    assert table == (Table(((Cell(plain("a"), columns=100), Cell(plain("b"))),)),)


_ELEMENT_NAMES = """
    paragraph content list item table thead tbody tr td th caption br sub sup footnote linkHtml
    renderMultiMedia text section script
"""
NAMES = st.sampled_from(_ELEMENT_NAMES.split())


def _element(name: str, said: str, children: list[str]) -> str:
    return f"<{name}>{escape(said)}{''.join(children)}</{name}>"


TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Cn")), max_size=6)
TREES = st.recursive(
    st.builds(_element, NAMES, TEXT, st.just([])),
    lambda children: st.builds(_element, NAMES, TEXT, st.lists(children, max_size=4)),
    max_leaves=15,
)


@settings(deadline=None)
@given(st.lists(TREES, max_size=3).map("".join))
def test_any_narrative_is_shown_safely(narrative: str) -> None:
    document = Document("", narrated(narrative))

    assert_safe(html(document, "utf-8"))
    assert plain_text(document).endswith("\n")


# --- documents of others ---------------------------------------------------------------------


def _samples() -> list[Path]:
    return sorted(
        path
        for folder in ("documents", "imaging_report", "unstructured")
        for path in (SHARED / "cda" / folder).glob("*")
    )


@pytest.mark.parametrize("path", _samples(), ids=lambda path: path.name)
def test_every_word_of_the_narrative_of_a_sample_is_shown(path: Path) -> None:
    require_shared_data()
    root = ElementTree.fromstring(path.read_bytes())
    sections = root.findall(f".//{HL7}section")

    said = Seen(html(document_of(path.read_bytes()), "utf-8")).text
    words = {
        word
        for section in sections
        for part in ("title", "text")
        for element in section.findall(HL7 + part)
        for word in " ".join(element.itertext()).split()
    }
    assert {word for word in words if word not in said} == set()
