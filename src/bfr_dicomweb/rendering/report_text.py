"""Documents as plain text: lines, indented by depth, for a terminal or another system."""

from collections.abc import Iterable, Iterator

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
    text_of,
)


def plain_text(document: Document) -> str:
    lines = [document.title, "=" * min(len(document.title), 72)]
    lines += _facts(document.header)
    lines += _blocks(document.blocks)
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading():
                yield from ("", block.text)
                yield ("-" if block.level <= 2 else ".") * min(len(block.text), 72)
            case Paragraph():
                label = f"{block.label}: " if block.label else ""
                yield from (label + text_of(block.words)).split("\n")
            case Facts():
                yield from _facts(block.rows)
            case Table():
                yield from _table(block)
            case Listing():
                yield from _listing(block)


def _facts(rows: Iterable[Fact]) -> Iterator[str]:
    for row in rows:
        indent = "  " * row.level
        label = " ".join(filter(None, (row.relation, row.label)))
        value = (
            f"{row.value} ({row.detail})" if row.detail and row.value else row.value or row.detail
        )
        first, *others = value.split("\n")
        others += row.members
        mark = ": " if label and first else ""
        yield f"{indent}{label}{mark}{first}"
        yield from (f"{indent}  {line}" for line in others)


def _table(table: Table) -> Iterator[str]:
    if caption := text_of(table.caption):
        yield from ("", *caption.split("\n"))
    for row in table.rows:
        yield " | ".join(map(_cell, row))


def _cell(cell: Cell) -> str:
    return " / ".join(filter(None, text_of(cell.words).split("\n")))


def _listing(listing: Listing) -> Iterator[str]:
    for number, item in enumerate(listing.items, 1):
        mark = f"{number}. " if listing.is_ordered else "- "
        indent = " " * len(mark)
        lines = [line for line in _blocks(item) if line] or [""]
        yield mark + lines[0]
        yield from (indent + line for line in lines[1:])
