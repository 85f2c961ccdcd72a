"""Documents as PDF: A4, numbered pages, letters of every script that a font is found for.

Bitstream Vera, which reportlab brings, has the letters of western Europe; fonts of the system
are taken before and beside it. Scripts that are written from right to left or whose letters join
are set letter by letter, without the forms that a text engine would choose.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, TypeVar
from xml.sax.saxutils import escape

from bfr_dicomweb.errors import NotAcceptable
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
    Words,
    plain,
    text_of,
    texts,
)

MAX_CHARACTERS: Final = 500_000

_FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
# Regular and bold, the best first.
_FAMILIES: Final = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
)
_OTHERS: Final = ("DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "unifont.ttf")
# Fonts that readers of PDF have for the scripts of eastern Asia, where the system has none.
_ASIAN: Final = (
    ("HeiseiKakuGo-W5", "\u3040", "\u30ff"),
    ("HYGothic-Medium", "\uac00", "\ud7a3"),
    ("STSong-Light", "\u3400", "\u9fff"),
)
_MARKS: Final[Mapping[Style, str]] = {
    Style.BOLD: "b",
    Style.ITALIC: "i",
    Style.UNDERLINED: "u",
    Style.INSERTED: "u",
    Style.DELETED: "strike",
    Style.SUBSCRIPT: "sub",
    Style.SUPERSCRIPT: "super",
}
# A row has to fit on a page. Characters of a narrow column, and the lines that a page holds.
_NARROW: Final = 16
_ROW_LINES: Final = 45
_MAX_COLUMNS: Final = 12
_TABLE_ROWS: Final = 100
_SPACE: Final = 6.0  # below a table
_SIZES: Final = (15.0, 12.5, 11.0, 10.0, 9.5, 9.0)
_INDENT: Final = 9.0
# A heading is not set at the foot of a page with less room below it.
_HEADING_ROOM: Final = 70.0
_WIDTH: Final = 482.0  # points between the margins


def pdf(document: Document) -> bytes:
    """
    Raises:
        NotAcceptable: It is longer than `MAX_CHARACTERS`.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    if sum(map(len, texts(document.blocks))) > MAX_CHARACTERS:
        raise NotAcceptable(f"documents of more than {MAX_CHARACTERS} characters are no PDF here")
    setter = _Setter()
    flow = [setter.heading(1, document.title)]
    flow += setter.blocks((Facts(document.header),) if document.header else (), 0)
    flow += setter.blocks(document.blocks, 0)
    out = io.BytesIO()
    margin = (A4[0] - _WIDTH) / 2
    template = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=margin - 6,
        rightMargin=margin - 6,
        topMargin=margin,
        bottomMargin=margin,
        title=document.title,
        author="",
        lang=document.language or None,
        invariant=1,
    )
    whose = next((row.value for row in document.header if row.label == "Patient"), "")
    foot = " - ".join(filter(None, (document.title[:60], whose[:80])))

    def footer(canvas: Any, _template: Any) -> None:
        canvas.saveState()
        line = setter.paragraph(plain(f"{foot} - {canvas.getPageNumber()}"), size=7.5)
        line.wrapOn(canvas, _WIDTH, 30)
        line.drawOn(canvas, margin, margin / 2)
        canvas.restoreState()

    template.build(flow, onFirstPage=footer, onLaterPages=footer)
    return out.getvalue()


class _Setter:
    """Sets blocks as flowables of reportlab."""

    def __init__(self) -> None:
        self._fonts = fonts()

    def heading(self, level: int, text: str) -> Any:
        size = _SIZES[level - 1]
        return self.paragraph((Span(text, Style.BOLD),), size=size, before=size * 0.8, after=3.0)

    def paragraph(
        self,
        words: Words,
        *,
        size: float = 9.0,
        indent: float = 0.0,
        before: float = 0.0,
        after: float = 0.0,
    ) -> Any:
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.platypus import Paragraph as Flowable

        lone = words[0] if len(words) == 1 else Span("", Style.ITALIC)
        bold = lone.style is Style.BOLD
        face = self._fonts.bold if bold else self._fonts.regular
        # most are of one font, and reportlab reads them much faster without markup
        is_plain = lone.style in (Style.PLAIN, Style.BOLD) and all(
            self._fonts.name_for(letter, bold) == face for letter in lone.text
        )
        marked = _escaped(lone.text) if is_plain else "".join(map(self._marked, words))
        style = ParagraphStyle(
            "text",
            fontName=face if is_plain else self._fonts.regular,
            fontSize=size,
            leading=size * 1.3,
            leftIndent=indent,
            spaceBefore=before,
            spaceAfter=after,
            splitLongWords=1,
        )
        return Flowable(marked or " ", style)

    def _marked(self, span: Span) -> str:
        """The markup of reportlab, which the text itself cannot be."""
        bold = span.style is Style.BOLD
        marked = "".join(
            f'<font name="{name}">{_escaped("".join(run))}</font>'
            for name, run in groupby(span.text, lambda letter: self._fonts.name_for(letter, bold))
        )
        mark = "" if bold else _MARKS.get(span.style, "")
        return f"<{mark}>{marked}</{mark}>" if mark else marked

    def blocks(self, blocks: Iterable[Block], indent: float) -> Iterator[Any]:
        from reportlab.platypus import CondPageBreak

        for block in blocks:
            match block:
                case Heading():
                    yield CondPageBreak(_HEADING_ROOM)
                    yield self.heading(block.level, block.text)
                case Paragraph():
                    label = (Span(f"{block.label}: ", Style.BOLD),) if block.label else ()
                    yield from self._text((*label, *block.words), indent)
                case Facts():
                    yield from self._facts(block, indent)
                case Table():
                    yield from self._table(block, indent)
                case Listing():
                    yield from self._listing(block, indent)

    def _text(self, words: Words, indent: float) -> Iterator[Any]:
        yield self.paragraph(words, indent=indent, after=4.0)

    def _listing(self, listing: Listing, indent: float) -> Iterator[Any]:
        indent = min(indent, _WIDTH / 2)
        for number, item in enumerate(listing.items, 1):
            mark = Span(f"{number}. " if listing.is_ordered else "- ")
            first, *others = item or (Paragraph(()),)
            if isinstance(first, Paragraph):
                yield from self._text((mark, *first.words), indent + _INDENT)
            else:
                others = [first, *others]
            yield from self.blocks(others, indent + 2 * _INDENT)

    # --- facts ---

    def _facts(self, facts: Facts, indent: float) -> Iterator[Any]:
        from reportlab.platypus import Spacer

        for (fits, members), rows in groupby(
            facts.rows, lambda row: (_fits(row), " ".join(row.members))
        ):
            if fits and not members:
                for part in _parts(rows):
                    yield self._fact_table(part, indent)
            else:
                for row in rows:
                    yield from self._text(_as_words(row), indent + _INDENT * min(row.level, 8))
                    if members:
                        yield self.paragraph(plain(members), size=5.5, indent=_INDENT, after=4.0)
        yield Spacer(1, _SPACE)

    def _fact_table(self, rows: list[Fact], indent: float) -> Any:
        has_details = any(row.detail for row in rows)
        shares = (0.36, 0.40, 0.24) if has_details else (0.36, 0.64)
        cells = []
        for row in rows:
            label = f"{row.relation} {row.label}".strip()
            line = [
                self.paragraph(plain(label), indent=_INDENT * min(row.level, 8)),
                self.paragraph((Span(row.value, Style.BOLD if row.is_number else Style.PLAIN),)),
            ]
            cells.append([*line, self.paragraph(plain(row.detail))] if has_details else line)
        return self._grid(cells, [(_WIDTH - indent) * share for share in shares], boxed=False)

    # --- tables ---

    def _table(self, table: Table, indent: float) -> Iterator[Any]:
        from reportlab.platypus import Spacer

        if table.caption:
            yield self.paragraph(table.caption, size=9.5, before=4.0, after=2.0)
        columns = max((sum(cell.columns for cell in row) for row in table.rows), default=0)
        tall = any(_lines(text_of(c.words)) > _ROW_LINES for row in table.rows for c in row)
        if not columns:
            return
        if columns > _MAX_COLUMNS or tall:
            for row in table.rows:
                words = (Span(" | ".join(text_of(cell.words) for cell in row)),)
                yield from self._text(words, indent)
            return
        widths = [(_WIDTH - indent) / columns] * columns
        for part in _parts(table.rows):
            cells, spans = self._cells(part, columns)
            yield self._grid(cells, widths, boxed=True, spans=spans)
        yield Spacer(1, _SPACE)

    def _cells(
        self, part: Sequence[tuple[Cell, ...]], columns: int
    ) -> tuple[list[list[Any]], list[Any]]:
        """Cells by row and column; a cell that reaches down leaves those below it empty."""
        cells: list[list[Any]] = [[""] * columns for _ in part]
        spans: list[Any] = []
        taken: set[tuple[int, int]] = set()
        for number, row in enumerate(part):
            column = 0
            for cell in row:
                while (number, column) in taken:
                    column += 1
                if column >= columns:
                    break
                last = min(column + cell.columns, columns) - 1
                words = cell.words
                if cell.is_heading:
                    words = tuple(Span(span.text, Style.BOLD) for span in words)
                cells[number][column] = self.paragraph(words, size=8.5)
                if last > column:
                    spans.append(("SPAN", (column, number), (last, number)))
                rows = range(number + 1, min(number + cell.rows, len(part)))
                taken.update((below, place) for below in rows for place in range(column, last + 1))
                column = last + 1
        return cells, spans

    def _grid(
        self, cells: list[list[Any]], widths: list[float], *, boxed: bool, spans: Iterable[Any] = ()
    ) -> Any:
        from reportlab.lib import colors
        from reportlab.platypus import LongTable

        grey = colors.HexColor(0xC9D1D9)
        everywhere = ((0, 0), (-1, -1))
        line = ("GRID", *everywhere, 0.4, grey) if boxed else ("LINEBELOW", *everywhere, 0.3, grey)
        style = [
            line,
            ("VALIGN", *everywhere, "TOP"),
            ("TOPPADDING", *everywhere, 1.5),
            ("BOTTOMPADDING", *everywhere, 2.0),
            ("LEFTPADDING", *everywhere, 2.0),
            ("RIGHTPADDING", *everywhere, 4.0),
            *spans,
        ]
        return LongTable(cells, colWidths=widths, style=style, hAlign="RIGHT")


def _escaped(text: str) -> str:
    return escape(text).replace("\n", "<br/>")


Row = TypeVar("Row")


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Tables of so many rows that the time for setting them grows with their number only."""
    left = iter(rows)
    while part := list(islice(left, _TABLE_ROWS)):
        yield part


def _lines(text: str) -> int:
    return sum(1 + len(line) // _NARROW for line in text.split("\n"))


def _fits(row: Fact) -> bool:
    label = f"{row.relation} {row.label}"
    return max(_lines(label), _lines(row.value) // 2, _lines(row.detail)) <= _ROW_LINES


def _as_words(row: Fact) -> Words:
    label = f"{row.relation} {row.label}".strip()
    detail = f" ({row.detail})" if row.detail else ""
    return (*((Span(f"{label}: ", Style.BOLD),) if label else ()), Span(row.value + detail))


class Fonts:
    """Fonts by the names under which reportlab knows them."""

    def __init__(self) -> None:
        self.regular, self.bold = _family()
        self._names: dict[tuple[str, bool], str] = {}

    def name_for(self, letter: str, bold: bool) -> str:
        """Of the font that a letter is set in."""
        if letter < "\u00ff" and (letter < "\u007f" or letter > "\u00a0"):
            return self.bold if bold else self.regular
        key = (letter, bold)
        if key not in self._names:
            self._names[key] = self._found(letter, bold)
        return self._names[key]

    def _found(self, letter: str, bold: bool) -> str:
        own = self.bold if bold else self.regular
        if letter == "\n" or _has(own, letter):
            return own
        for file in _OTHERS:
            if (path := _font_file(file)) and _has(_registered(path), letter):
                return _registered(path)
        for name, first, last in _ASIAN:
            if first <= letter <= last:
                return _reader_font(name)
        return own


@lru_cache(maxsize=1)
def fonts() -> Fonts:
    return Fonts()


def _family() -> tuple[str, str]:
    import reportlab

    for regular, bold in _FAMILIES:
        if (path := _font_file(regular)) and (bold_path := _font_file(bold)):
            return _registered(path), _registered(bold_path)
    own = Path(reportlab.__file__).parent / "fonts"
    return _registered(str(own / "Vera.ttf")), _registered(str(own / "VeraBd.ttf"))


@lru_cache(maxsize=1)
def _system_fonts() -> Mapping[str, str]:
    folders = (Path(folder) for folder in _FOLDERS)
    return {path.name: str(path) for folder in folders for path in sorted(folder.rglob("*.ttf"))}


def _font_file(name: str) -> str:
    return _system_fonts().get(name, "")


@lru_cache(maxsize=64)
def _registered(path: str) -> str:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    name = Path(path).stem
    pdfmetrics.registerFont(TTFont(name, path))
    # markup asks for a bold and an italic of each; there is one of each here
    pdfmetrics.registerFontFamily(name, normal=name, bold=name, italic=name, boldItalic=name)
    return name


@lru_cache(maxsize=8)
def _reader_font(name: str) -> str:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont

    pdfmetrics.registerFont(UnicodeCIDFont(name))
    pdfmetrics.registerFontFamily(name, normal=name, bold=name, italic=name, boldItalic=name)
    return name


def _has(name: str, letter: str) -> bool:
    from reportlab.pdfbase import pdfmetrics

    return ord(letter) in pdfmetrics.getFont(name).face.charToGlyph
