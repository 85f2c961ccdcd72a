"""Documents as HTML that is safe to show: no script, nothing from elsewhere, every text escaped.

The policy in its head allows one style sheet, the one here, by its digest, and nothing else; what
an error here let through would be dead.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from bfr_dicomweb.rendering.report_document import (
    DEEPEST_HEADING,
    Block,
    Cell,
    Document,
    Fact,
    Facts,
    Heading,
    Listing,
    Paragraph,
    Table,
    Words,
    text_of,
)

_DEEPEST_INDENT: Final = 8
_ANCHOR: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)

_STYLE: Final = (
    """
:root{color-scheme:light}
body{font:15px/1.45 system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",Arial,sans-serif;
color:#1b1f24;background:#fff;max-width:62em;margin:0 auto;padding:1.5em}
h1{font-size:1.6em;margin:0 0 .5em}
h2{font-size:1.25em;margin:1.4em 0 .4em;border-bottom:1px solid #c9d1d9}
h3{font-size:1.1em;margin:1.1em 0 .3em}
h4,h5,h6{font-size:1em;margin:.9em 0 .2em}
h5,h6{font-weight:600;color:#4a535d}
p{margin:.4em 0;white-space:pre-line;overflow-wrap:anywhere}
ul,ol{margin:.4em 0;padding-left:1.6em}
table{border-collapse:collapse;margin:.5em 0 .8em;max-width:100%}
caption{text-align:left;font-weight:600;padding:.2em 0}
th,td{text-align:left;vertical-align:top;padding:.2em .9em .2em .3em;
border-bottom:1px solid #e4e8ec;white-space:pre-line;overflow-wrap:anywhere}
.facts th{font-weight:400;color:#4a535d;min-width:11em}
.facts td.number{font-variant-numeric:tabular-nums;font-weight:600}
.facts td.detail{color:#4a535d}
.grid th,.grid td{border:1px solid #c9d1d9;padding:.2em .5em}
.grid th,.grid td{overflow-wrap:break-word}
.grid th{background:#f3f5f7}
header table{background:#f3f5f7;width:100%}
header th{white-space:nowrap}
details{font-size:.8em}
summary{font-size:1.25em}
.relation{font-style:italic;padding-right:.4em}
:target{background:#fff3c4}
"""
    + "".join(f".in{n}{{padding-left:{n * 1.3:.1f}em!important}}" for n in range(1, 9))
    + """
@media print{body{font-size:10pt;max-width:none;padding:0}
h1,h2,h3,h4,h5,h6{break-after:avoid}tr{break-inside:avoid}a{color:inherit;text-decoration:none}}
"""
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
)


def html(document: Document, charset: str) -> str:
    """
    Args:
        document: What is written.
        charset: Its declaration, as IANA names it.
    """
    language = f' lang="{escape(document.language)}"' if document.language else ""
    title = escape(document.title)
    parts = [
        f'<!DOCTYPE html>\n<html{language}>\n<head>\n<meta charset="{escape(charset)}">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
        f"<header>\n<h1>{title}</h1>\n",
        *(_facts(Facts(document.header)) if document.header else ()),
        "</header>\n<main>\n",
        *_blocks(document.blocks),
        "</main>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading():
                level = min(max(block.level, 1), DEEPEST_HEADING)
                yield f"<h{level}{_id(block.anchor)}>{escape(block.text)}</h{level}>\n"
            case Paragraph():
                label = f"<strong>{escape(block.label)}:</strong> " if block.label else ""
                yield f"<p{_id(block.anchor)}>{label}{_words(block.words)}</p>\n"
            case Facts():
                yield from _facts(block)
            case Table():
                yield from _table(block)
            case Listing():
                name = "ol" if block.is_ordered else "ul"
                yield f"<{name}>\n"
                for item in block.items:
                    yield from ("<li>", *_blocks(item), "</li>\n")
                yield f"</{name}>\n"


def _facts(facts: Facts) -> Iterator[str]:
    has_details = any(row.detail for row in facts.rows)
    yield '<table class="facts">\n'
    for row in facts.rows:
        yield _fact(row, has_details=has_details)
    yield "</table>\n"


def _fact(row: Fact, *, has_details: bool) -> str:
    indent = f' class="in{min(row.level, _DEEPEST_INDENT)}"' if row.level else ""
    relation = f'<span class="relation">{escape(row.relation)}</span> ' if row.relation else ""
    value = escape(row.value)
    if _ANCHOR.fullmatch(row.target):
        value = f'<a href="#{row.target}">{value}</a>'
    if row.members:
        members = escape(" ".join(row.members))
        value = f"<details><summary>{value}</summary>{members}</details>"
    number = ' class="number"' if row.is_number else ""
    detail = f'<td class="detail">{escape(row.detail)}</td>' if has_details else ""
    return (
        f'<tr{_id(row.anchor)}><th scope="row"{indent}>{relation}{escape(row.label)}</th>'
        f"<td{number}>{value}</td>{detail}</tr>\n"
    )


def _table(table: Table) -> Iterator[str]:
    yield '<table class="grid">\n'
    if text_of(table.caption):
        yield f"<caption>{_words(table.caption)}</caption>\n"
    for row in table.rows:
        yield f"<tr>{''.join(map(_cell, row))}</tr>\n"
    yield "</table>\n"


def _cell(cell: Cell) -> str:
    name = "th" if cell.is_heading else "td"
    spans = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    spans += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    return f"<{name}{spans}>{_words(cell.words)}</{name}>"


def _words(words: Words) -> str:
    return "".join(
        f"<{span.style}>{escape(span.text)}</{span.style}>" if span.style else escape(span.text)
        for span in words
    )


def _id(anchor: str) -> str:
    return f' id="{anchor}"' if _ANCHOR.fullmatch(anchor) else ""
