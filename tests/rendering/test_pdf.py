"""Documents as PDF: what is in them, and that anything can be set."""

import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import report_content
from bfr_dicomweb.rendering.pdf import MAX_CHARACTERS, pdf
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
)
from pdf_text import pdf_pages, pdf_text
from rendering_safety import HOSTILE
from shared_data import NO_TYPEFACE, dicom_files, has_typeface, require_shared_data


def a_document(*blocks: Block) -> Document:
    return Document("Svar", blocks, "sv", (Fact("Patient", "Åsa Öberg"),))


def test_a_document_is_a_pdf_of_one_page() -> None:
    written = pdf(a_document(Heading(2, "Fynd"), Paragraph(plain("Ua."))))

    assert written.startswith(b"%PDF-1.")
    assert written.rstrip().endswith(b"%%EOF")
    assert pdf_pages(written) == 1


def test_equal_documents_are_equal_bytes() -> None:
    document = a_document(Paragraph(plain("Ua.")))

    assert pdf(document) == pdf(document)


def test_it_tells_its_language() -> None:
    assert b"/Lang (sv)" in pdf(a_document())


def test_long_tables_go_on_on_the_next_page() -> None:
    rows = tuple(Fact(f"Row {number}", "1 mm", is_number=True) for number in range(200))

    assert pdf_pages(pdf(a_document(Facts(rows)))) > 3


def test_letters_and_order_are_those_of_the_document() -> None:
    rows = (Fact("Storlek", "12 mm", detail="höger", is_number=True),)
    items = ((Paragraph(plain("ett")),), (Paragraph(plain("två")),))
    table = Table(((Cell(plain("kolumn"), is_heading=True), Cell(plain("µGy·m²"))),))
    blocks = (Heading(2, "Fynd"), Facts(rows), Listing(items), table, Paragraph(plain("Slut.")))

    said = pdf_text(pdf(a_document(*blocks)))
    expected = "Svar Patient Åsa Öberg Fynd Storlek 12 mm höger - ett - två kolumn µGy·m² Slut."
    assert said == f"Svar - Åsa Öberg - 1 {expected}"


@pytest.mark.skipif(not has_typeface(), reason=NO_TYPEFACE)
@pytest.mark.parametrize("said", ["Ελληνικά", "Русский", "Łódź"])
def test_other_scripts_are_set_in_fonts_that_have_them(said: str) -> None:
    assert said in pdf_text(pdf(a_document(Paragraph(plain(said)))))


@pytest.mark.parametrize("said", ["山田太郎", "ひらがな", "한국어"])
def test_scripts_of_eastern_asia_are_set(said: str) -> None:
    written = pdf(a_document(Paragraph(plain(said))))

    assert re.search(rb"/(Type0|CIDFontType0|TrueType)\b", written) is not None


@pytest.mark.parametrize("said", [*HOSTILE, "<b>a", "&amp;", "<br/>", '<img src="/etc/passwd"/>'])
def test_markup_in_a_document_is_text(said: str) -> None:
    blocks = (Heading(2, said), Paragraph(plain(said), said), Facts((Fact(said, said),)))

    found = pdf_text(pdf(Document(said, blocks)))
    assert found.replace(" ", "").count(said.replace(" ", "")) >= 4


@pytest.mark.parametrize(
    "block",
    [
        Facts((Fact("x" * 9000, "y" * 9000, detail="z" * 9000),)),
        Facts((Fact("a", "\n" * 500),)),
        Table(((Cell(plain("x " * 9000)), Cell(plain("b"))),)),
        Table(((Cell(plain("a"), columns=100, rows=100),), (Cell(plain("b")),))),
        Table((tuple(Cell(plain(str(number))) for number in range(60)),)),
        Table(((), ())),
        Listing(((),)),
        Facts((Fact("a", "b", level=500),)),
    ],
)
def test_what_does_not_fit_a_row_is_set_all_the_same(block: Block) -> None:
    assert pdf_pages(pdf(a_document(block))) >= 1


def test_lists_in_lists_never_leave_the_page() -> None:
    block: Block = Listing(((Paragraph(plain("in")),),))
    for _ in range(50):
        block = Listing(((Paragraph(plain("a")), block),))

    assert pdf_pages(pdf(a_document(block))) >= 1


def test_a_document_that_is_too_long_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="characters"):
        pdf(a_document(Paragraph(plain("x" * (MAX_CHARACTERS + 1)))))


TEXT = st.text(max_size=10)
SPANS = st.lists(st.builds(Span, TEXT, st.sampled_from(Style)), max_size=3).map(tuple)
FACTS = st.builds(
    Fact,
    TEXT,
    TEXT,
    detail=TEXT,
    relation=TEXT,
    level=st.integers(0, 60),
    members=st.lists(TEXT, max_size=2).map(tuple),
)
CELLS = st.builds(Cell, SPANS, st.booleans(), st.integers(1, 5), st.integers(1, 5))
BLOCKS = st.recursive(
    st.one_of(
        st.builds(Heading, st.integers(1, 6), TEXT),
        st.builds(Paragraph, SPANS, TEXT),
        st.builds(Facts, st.lists(FACTS, max_size=3).map(tuple)),
        st.builds(
            Table, st.lists(st.lists(CELLS, max_size=3).map(tuple), max_size=3).map(tuple), SPANS
        ),
    ),
    lambda blocks: st.builds(
        Listing, st.lists(st.lists(blocks, max_size=2).map(tuple), max_size=3).map(tuple)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(BLOCKS, max_size=3).map(tuple), TEXT)
def test_any_document_can_be_set(blocks: tuple[Block, ...], title: str) -> None:
    assert pdf_pages(pdf(Document(title, blocks))) >= 1


@pytest.mark.parametrize(
    "path", dicom_files("by_modality/SR_[bce]*/*.dcm"), ids=lambda path: path.name
)
def test_the_words_of_a_sample_are_in_its_pdf(path: Path) -> None:
    require_shared_data()
    document = report_content.document_of(StoredObject.read(path))

    said = pdf_text(pdf(document)).replace(" ", "")
    labels = {
        row.label for block in document.blocks if isinstance(block, Facts) for row in block.rows
    }
    assert {label for label in labels if label.replace(" ", "") not in said} == set()
