"""A document to be read: headings, text, facts, lists and tables, in the order of the reader.

Structured reports and clinical documents become one of these, and it becomes HTML, plain text
or PDF. Texts are what people read: nothing in them is markup.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# Headings are no deeper than HTML's.
DEEPEST_HEADING: Final = 6


class Style(StrEnum):
    """How a part of a text is set; the value is the element of HTML."""

    PLAIN = ""
    BOLD = "b"
    ITALIC = "i"
    UNDERLINED = "u"
    SUBSCRIPT = "sub"
    SUPERSCRIPT = "sup"
    INSERTED = "ins"
    DELETED = "del"


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a text; a line feed in it begins a new line."""

    text: str
    style: Style = Style.PLAIN


Words = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """
    Attributes:
        level: From 1, the title of the document, to `DEEPEST_HEADING`.
        anchor: What a `Fact` elsewhere points at, "" for what nothing points at.
    """

    level: int
    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    words: Words
    label: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what is known: a label and a value.

    Attributes:
        detail: What qualifies the value.
        relation: How it belongs to the fact above it that is less deep.
        level: How deep, from 0.
        is_number: The value is a number, with its unit.
        target: The anchor that the value points at.
        members: What the value counts: to be looked up rather than read.
    """

    label: str
    value: str
    detail: str = ""
    relation: str = ""
    level: int = 0
    is_number: bool = False
    anchor: str = ""
    target: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    rows: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    words: Words
    is_heading: bool = False
    columns: int = 1
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Rows may be shorter than others, where cells above reach into them or where they are."""

    rows: tuple[tuple[Cell, ...], ...]
    caption: Words = ()


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[tuple["Block", ...], ...]
    is_ordered: bool = False


Block = Heading | Paragraph | Facts | Table | Listing


@dataclass(frozen=True, slots=True)
class Document:
    """
    Attributes:
        language: A language tag (RFC 5646), "" when the document does not tell it.
        header: What stands under the title: whose and from when it is, who answers for it.
    """

    title: str
    blocks: tuple[Block, ...]
    language: str = ""
    header: tuple[Fact, ...] = field(default_factory=tuple)


def plain(text: str) -> Words:
    return (Span(text),) if text else ()


def text_of(words: Words) -> str:
    return "".join(span.text for span in words)


def texts(blocks: tuple[Block, ...]) -> Iterator[str]:
    """Every text in these blocks."""
    for block in blocks:
        match block:
            case Heading():
                yield block.text
            case Paragraph():
                yield block.label
                yield text_of(block.words)
            case Facts():
                for row in block.rows:
                    yield from (row.relation, row.label, row.value, row.detail, *row.members)
            case Table():
                yield text_of(block.caption)
                yield from (text_of(cell.words) for row in block.rows for cell in row)
            case Listing():
                for item in block.items:
                    yield from texts(item)
