"""Documents as plain text."""

from bfr_dicomweb.rendering.report_document import (
    Block,
    Cell,
    Document,
    Fact,
    Facts,
    Heading,
    Listing,
    Paragraph,
    Table,
    plain,
)
from bfr_dicomweb.rendering.report_text import plain_text


def written(*blocks: Block) -> list[str]:
    """The lines under the title."""
    return plain_text(Document("T", blocks)).splitlines()[2:]


def test_headings_are_underlined() -> None:
    assert written(Heading(2, "Fynd"), Paragraph(plain("Ua."))) == ["", "Fynd", "----", "Ua."]


def test_facts_are_indented_by_depth() -> None:
    rows = (
        Fact("Diameter", "3 mm", detail="left"),
        Fact("Image", "CT", relation="inferred from", level=1),
    )

    assert written(Facts(rows)) == ["Diameter: 3 mm (left)", "  inferred from Image: CT"]


def test_a_value_of_several_lines_goes_on_below() -> None:
    assert written(Facts((Fact("Note", "a\nb"),))) == ["Note: a", "  b"]


def test_cells_of_a_row_stand_on_one_line() -> None:
    table = Table(((Cell(plain("a\nb")), Cell(plain("c"))),), plain("Doser"))

    assert written(table) == ["", "Doser", "a / b | c"]


def test_items_of_a_list_have_marks() -> None:
    items = ((Paragraph(plain("a")),), (Paragraph(plain("b")), Paragraph(plain("c"))))

    assert written(Listing(items)) == ["- a", "- b", "  c"]
    assert written(Listing(items, is_ordered=True)) == ["1. a", "2. b", "   c"]


def test_a_text_ends_in_one_line_feed() -> None:
    assert plain_text(Document("T", (Paragraph(plain("a\n\n")),))) == "T\n=\na\n"
