"""TABLE content items (PS3.3 section C.18.10)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bfr_dicomweb.dicom.structured_report import Code, code_of
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.elements import first_item, integer, items
from bfr_dicomweb.rendering.report_document import Cell, Table, plain
from bfr_dicomweb.rendering.report_encoding import showable

Attributes = Mapping[str, Any]
Place = tuple[int, int]

MAX_CELLS: Final = 100_000
_SELECTOR_VR: Final = "00720050"
_CONCEPT: Final = "0040A043"
_UNIT: Final = "004008EA"


def table_of(item: Attributes, caption: str) -> Table:
    """The rows and columns that have a value, below and beside what they are called.

    Raises:
        NotAcceptable: It has more than `MAX_CELLS`.
    """
    tabulated = first_item(item, "TabulatedValuesSequence")
    values = dict(_values(tabulated))
    rows = sorted({row for row, _ in values})
    columns = sorted({column for _, column in values})
    if len(rows) * len(columns) > MAX_CELLS:
        raise NotAcceptable(f"the document has a table of more than {MAX_CELLS} cells")
    row_names = _names(tabulated, "TableRowDefinitionSequence", "TableRowNumber")
    column_names = _names(tabulated, "TableColumnDefinitionSequence", "TableColumnNumber")
    lines: list[tuple[Cell, ...]] = []
    if column_names:
        corner = [""] if row_names else []
        headings = [_name(column_names, column) for column in columns]
        lines.append(tuple(Cell(plain(name), is_heading=True) for name in corner + headings))
    for row in rows:
        beside = (Cell(plain(_name(row_names, row)), is_heading=True),) if row_names else ()
        cells = (Cell(plain(values.get((row, column), ""))) for column in columns)
        lines.append((*beside, *cells))
    return Table(tuple(lines), plain(caption))


def in_words(item: Attributes) -> str:
    """The table as lines of text, for where no table can stand."""
    table = table_of(item, "")
    return "\n".join(
        " | ".join("".join(span.text for span in cell.words) for cell in row) for row in table.rows
    )


def _values(tabulated: Attributes) -> Iterator[tuple[Place, str]]:
    """One item has a cell, a whole row or a whole column (section C.18.10.1.2)."""
    for item in items(tabulated, "CellValuesSequence"):
        row, column = integer(item, "TableRowNumber"), integer(item, "TableColumnNumber")
        for number, value in enumerate(_of_cell(item), 1):
            place = (number if row is None else row, number if column is None else column)
            if row is not None and column is not None and number > 1:
                break
            yield place, showable(value)


def _of_cell(item: Attributes) -> Iterator[str]:
    """The values of the one Selector Value attribute that there is."""
    for tag, element in item.items():
        if not tag.startswith("0072") or tag == _SELECTOR_VR or not isinstance(element, dict):
            continue
        for value in element.get("Value") or ():
            yield _told(value)


def _told(value: object) -> str:
    if isinstance(value, dict):
        return _meaning(code_of({_CONCEPT: {"vr": "SQ", "Value": [value]}}, _CONCEPT))
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)


def _names(tabulated: Attributes, sequence: str, number: str) -> dict[int, str]:
    """What rows or columns are called; 0: all of them."""
    found = {}
    for item in items(tabulated, sequence):
        name, unit = _meaning(code_of(item, _CONCEPT)), code_of(item, _UNIT)
        spoken = (
            unit.value if unit.scheme == "UCUM" and unit.value[:1] not in "[{" else unit.meaning
        )
        told = f"{name} ({spoken})" if spoken and unit.value != "1" else name
        found[integer(item, number) or 0] = showable(told)
    return found


def _name(names: Mapping[int, str], number: int) -> str:
    return names.get(number) or names.get(0, "")


def _meaning(code: Code) -> str:
    return code.meaning or code.value
