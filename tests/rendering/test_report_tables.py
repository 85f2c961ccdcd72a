"""TABLE content items, in the three ways in which their cells are written."""

import pytest

from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.report_content import document_of
from bfr_dicomweb.rendering.report_document import Table, text_of
from bfr_dicomweb.rendering.report_tables import MAX_CELLS, table_of
from content_items import Json, a_report, code, element, item, opened

CONCEPT = code("1", "99X", "Tube current")
TIME = code("2", "99X", "Time")
MILLIAMPERE = code("mA", "UCUM", "milliampere")


def a_table(*cells: Json, **definitions: Json) -> Json:
    tabulated = {"0040A808": element("SQ", *cells)}
    tabulated |= {tag.lstrip("x"): value for tag, value in definitions.items()}
    return item("TABLE", CONCEPT) | {"0040A801": element("SQ", tabulated)}


def a_cell(value: Json, row: int | None = None, column: int | None = None) -> Json:
    places = {"0040A804": row, "0040A805": column}
    found = {tag: element("UL", number) for tag, number in places.items() if number}
    return found | {"00720050": element("CS", value["vr"]), "00720076": value}


def told(table: Table) -> list[list[str]]:
    return [[text_of(cell.words) for cell in row] for row in table.rows]


def test_cells_stand_in_their_places() -> None:
    table = a_table(a_cell(element("FL", 1.5), 2, 2), a_cell(element("LO", "a"), 1, 1))

    assert told(table_of(table, "")) == [["a", ""], ["", "1.5"]]


def test_an_item_can_have_a_whole_column() -> None:
    table = a_table(
        a_cell(element("DT", "20240115", "20240116"), column=1),
        a_cell(element("FL", 100.5, 90), column=2),
    )

    assert told(table_of(table, "")) == [["20240115", "100.5"], ["20240116", "90"]]


def test_an_item_can_have_a_whole_row() -> None:
    table = a_table(a_cell(element("FL", 1, 0), row=1), a_cell(element("FL", 0, 1), row=2))

    assert told(table_of(table, "")) == [["1", "0"], ["0", "1"]]


def test_columns_are_called_what_they_are_with_their_unit() -> None:
    columns = element(
        "SQ",
        {"0040A805": element("UL", 1), "0040A043": element("SQ", TIME)},
        {
            "0040A805": element("UL", 2),
            "0040A043": element("SQ", CONCEPT),
            "004008EA": element("SQ", MILLIAMPERE),
        },
    )
    table = table_of(a_table(a_cell(element("FL", 1, 2), row=1), x0040A807=columns), "")

    assert told(table) == [["Time", "Tube current (mA)"], ["1", "2"]]
    assert [cell.is_heading for row in table.rows for cell in row] == [True, True, False, False]


def test_rows_are_called_what_they_are() -> None:
    names = element("SQ", {"0040A804": element("UL", 1), "0040A043": element("SQ", TIME)})
    table = a_table(a_cell(element("FL", 7), 1, 1), x0040A806=names)

    assert told(table_of(table, "")) == [["Time", "7"]]


def test_codes_are_told_by_their_meaning() -> None:
    assert told(table_of(a_table(a_cell(element("SQ", TIME), 1, 1)), "")) == [["Time"]]


def test_a_table_stands_in_its_report_under_its_name() -> None:
    (block,) = document_of(opened(a_report(a_table(a_cell(element("FL", 7), 1, 1))))).blocks

    assert isinstance(block, Table)
    assert text_of(block.caption) == "Tube current"


def test_a_table_below_another_item_is_told_in_lines() -> None:
    table = a_table(a_cell(element("FL", 1, 2), row=1)) | {
        "0040A010": element("CS", "INFERRED FROM")
    }
    document = document_of(opened(a_report(item("UIDREF", TIME, table))))

    assert "1 | 2" in repr(document.blocks)


def test_numbers_of_rows_that_are_not_there_cost_nothing() -> None:
    table = a_table(a_cell(element("FL", 7), 4_000_000_000, 4_000_000_000))

    assert told(table_of(table, "")) == [["7"]]


def test_a_table_that_is_too_large_is_refused() -> None:
    side = int(MAX_CELLS**0.5) + 1
    cells = [a_cell(element("FL", 1), number, number) for number in range(1, side + 1)]

    with pytest.raises(NotAcceptable, match="cells"):
        table_of(a_table(*cells), "")
