"""Structured reports as documents (PS3.3 section C.17.3), whatever their template.

Containers become headings, long texts paragraphs, and runs of short items lists of facts: one row
for each, what qualifies it beside it, what it is inferred from or selected from below it. The
order is that of the tree. An item that points at another of the same tree names it and is
not followed, so that there are no loops.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from bfr_dicomweb.dicom.character_sets import character_set, decode
from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.dicom.structured_report import (
    DEPTH,
    ITEMS,
    TEXT_CHARACTERS,
    Code,
    code_of,
)
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering.elements import element, items, numbers, text, values
from bfr_dicomweb.rendering.report_document import (
    DEEPEST_HEADING,
    Block,
    Document,
    Fact,
    Facts,
    Heading,
    Paragraph,
    plain,
    text_of,
)
from bfr_dicomweb.rendering.report_encoding import showable
from bfr_dicomweb.rendering.report_header import header
from bfr_dicomweb.rendering.report_tables import table_of
from bfr_dicomweb.rendering.report_values import KINDS, date, qualifiers, value_of

Attributes = Mapping[str, Any]
Path = tuple[int, ...]

_CONCEPT: Final = "0040A043"
_LANGUAGE: Final = frozenset({("DCM", "121049"), ("DCM", "121045")})
_COUNTRY: Final = ("DCM", "121046")
_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)
# Relationships that are told; the others are clear from where the item stands.
_RELATIONS: Final = {"INFERRED FROM": "inferred from", "SELECTED FROM": "selected from"}
# Such items stand beside what they qualify when they have nothing below them.
_QUALIFYING: Final = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"})
_BESIDE: Final = frozenset({"CODE", "NUM", "PNAME", "DATE", "TIME", "DATETIME", "TEXT"})
_SHORT: Final = 80
# So many images have a row each.
_FEW: Final = 3
_UID: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)


def document_of(stored: StoredObject) -> Document:
    """
    Raises:
        NotAcceptable: The tree is deeper or larger than any honest one.
    """
    attributes = stored.attributes
    reader = _Reader(stored)
    title = code_of(attributes, _CONCEPT)
    return Document(
        title=showable(title.meaning or title.value or "Structured report"),
        blocks=tuple(reader.blocks(attributes, title, ())),
        language=_language(attributes),
        header=header(attributes),
    )


def _language(attributes: Attributes) -> str:
    for item in items(attributes, "ContentSequence"):
        if code_of(item, _CONCEPT).key in _LANGUAGE:
            language = code_of(item, "0040A168").value
            for below in items(item, "ContentSequence"):
                if code_of(below, _CONCEPT).key == _COUNTRY and "-" not in language:
                    language += f"-{code_of(below, '0040A168').value}"
            return language if _LANGUAGE_TAG.fullmatch(language) else ""
    return ""


class _Reader:
    """Puts a content tree into blocks, within limits."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored
        self._root = stored.attributes
        self._items = 0
        self._characters = 0
        self._charset = character_set(
            "\\".join(map(str, values(self._root, "SpecificCharacterSet"))).encode(
                "ascii", "replace"
            )
        )
        self._targets = frozenset(_targets(self._root, 0))
        found = _found(self._root, (), self._targets)
        self._named = {path: self._in_short(item) for path, item in found}

    def blocks(self, container: Attributes, heading: Code, path: Path) -> Iterator[Block]:
        """What a container holds."""
        children = items(container, "ContentSequence")
        if text(container, "ContinuityOfContent") == "CONTINUOUS" and any(map(_is_said, children)):
            yield from self._running_text(children, path)
            children = []
        rows: list[Fact] = []
        numbering = _numbering(children)
        for place, child in enumerate(children):
            own = (*path, place)
            block = self._block(child, heading, own)
            if block is None:
                rows += self._facts(child, own, 0)
                continue
            if rows:
                yield Facts(tuple(_gathered(rows)))
                rows = []
            yield from block if numbering[place] is None else _numbered(block, numbering[place])
        if rows:
            yield Facts(tuple(_gathered(rows)))

    def _block(self, item: Attributes, heading: Code, path: Path) -> Iterator[Block] | None:
        """A container or a text that is more than a fact; None for what is a fact."""
        value_type = text(item, "ValueType")
        if value_type == "CONTAINER":
            return self._section(item, path)
        if value_type == "TABLE":
            return self._table(item, path)
        if _is_said(item):
            value = self._value(item)
            concept = code_of(item, _CONCEPT)
            label = "" if _repeats(concept, heading) else self._label(item)
            if not label or len(value) > _SHORT or "\n" in value:
                return self._paragraph(item, label, value, path)
        return None

    def _section(self, item: Attributes, path: Path) -> Iterator[Block]:
        self._count(path)
        concept = code_of(item, _CONCEPT)
        level = min(len(path) + 1, DEEPEST_HEADING)
        label = self._label(item)
        if label:
            yield Heading(level, label, self._anchor(path))
        observed = text(item, "ObservationDateTime")
        if observed:
            yield Facts((Fact("Observed", date(observed)),))
        yield from self.blocks(item, concept, path)

    def _paragraph(self, item: Attributes, label: str, value: str, path: Path) -> Iterator[Block]:
        self._count(path)
        beside, below = self._parts(item, path, 0)
        told = f"{value} ({beside})" if beside and value else value or beside
        yield Paragraph(plain(told), label, self._anchor(path))
        if below:
            yield Facts(tuple(below))

    def _table(self, item: Attributes, path: Path) -> Iterator[Block]:
        self._count(path)
        beside, below = self._parts(item, path, 0)
        table = table_of(item, self._label(item))
        for row in table.rows:
            self._counted("".join(text_of(cell.words) for cell in row))
        yield table
        if beside:
            yield Paragraph(plain(beside))
        if below:
            yield Facts(tuple(below))

    # --- facts ---

    def _facts(self, item: Attributes, path: Path, level: int) -> list[Fact]:
        """The row of an item and those of what is below it."""
        self._count(path)
        relation = _RELATIONS.get(text(item, "RelationshipType"), "")
        if pointed := numbers(item, "ReferencedContentItemIdentifier"):
            return [self._pointer(pointed, relation, level)]
        beside, below = self._parts(item, path, level + 1)
        value_type = text(item, "ValueType")
        label = self._label(item) or KINDS.get(value_type, "")
        value = "" if value_type == "CONTAINER" else self._value(item)
        if not (label or value or beside):
            return below
        row = Fact(
            label,
            value,
            detail=beside,
            relation=relation,
            level=level,
            is_number=value_type == "NUM",
            anchor=self._anchor(path),
        )
        return [row, *below]

    def _parts(self, item: Attributes, path: Path, level: int) -> tuple[str, list[Fact]]:
        """What stands beside an item, and the rows below it."""
        beside = [showable(told) for told in qualifiers(item)]
        below: list[Fact] = []
        for place, child in enumerate(items(item, "ContentSequence")):
            own = (*path, place)
            rows = self._facts(child, own, level)
            if len(rows) == 1 and _stands_beside(child, rows[0]):
                beside.append(": ".join(filter(None, (rows[0].label, rows[0].value))))
            else:
                below += rows
        return "; ".join(beside), below

    def _pointer(self, pointed: list[float], relation: str, level: int) -> Fact:
        path = _path_of(pointed)
        name = "item " + ".".join(str(place + 1) for place in (0, *path))
        if path not in self._named:
            return Fact("", f"{name}, which is not there", relation=relation, level=level)
        anchor = self._anchor(path) if path else ""
        told = self._named[path] or name
        return Fact("", told, relation=relation, level=level, target=anchor)

    def _in_short(self, item: Attributes) -> str:
        value_type = text(item, "ValueType")
        label = self._label(item) or KINDS.get(value_type, "")
        value = "" if value_type == "CONTAINER" else showable(value_of(item))
        if len(value) > _SHORT:
            value = value[:_SHORT] + " ..."
        return " ".join(": ".join(filter(None, (label, value))).split())

    def _anchor(self, path: Path) -> str:
        if path not in self._targets:
            return ""
        return "item-" + "-".join(str(place + 1) for place in (0, *path))

    # --- running text (PS3.3 section C.18.8) ---

    def _running_text(self, children: Iterable[Attributes], path: Path) -> Iterator[Block]:
        said: list[str] = []
        rows: list[Fact] = []
        after: list[Block] = []
        for place, child in enumerate(children):
            own = (*path, place)
            if text(child, "RelationshipType") != "CONTAINS":
                rows += self._facts(child, own, 0)
            elif text(child, "ValueType") == "CONTAINER":
                after += self._section(child, own)
            else:
                self._count(own)
                beside, below = self._parts(child, own, 0)
                value = self._value(child) or KINDS.get(text(child, "ValueType"), "")
                said.append(f"{value} ({beside})" if beside else value)
                rows += below
        if told := " ".join(filter(None, said)):
            yield Paragraph(plain(told))
        if rows:
            yield Facts(tuple(rows))
        yield from after

    # --- values ---

    def _label(self, item: Attributes) -> str:
        concept = code_of(item, _CONCEPT)
        return self._counted(showable(concept.meaning or concept.value))

    def _value(self, item: Attributes) -> str:
        value = value_of(item)
        long_text = element(item, "TextValue")
        if not value and "BulkDataURI" in long_text:
            content = self._stored.content(long_text)
            if len(content) > TEXT_CHARACTERS:
                raise NotAcceptable(f"a text of the document has more than {TEXT_CHARACTERS} bytes")
            value = decode(content.rstrip(b" \0"), self._charset)[0]
        lines = showable(value).split("\n")
        return self._counted("\n".join(line.rstrip() for line in lines).strip("\n"))

    def _counted(self, told: str) -> str:
        self._characters += len(told)
        if self._characters > TEXT_CHARACTERS:
            raise NotAcceptable(f"the document has more than {TEXT_CHARACTERS} characters")
        return told

    def _count(self, path: Path) -> None:
        self._items += 1
        if len(path) > DEPTH:
            raise NotAcceptable(f"the document is deeper than {DEPTH} content items")
        if self._items > ITEMS:
            raise NotAcceptable(f"the document has more than {ITEMS} content items")


def _is_said(item: Attributes) -> bool:
    return text(item, "ValueType") == "TEXT" and text(item, "RelationshipType") == "CONTAINS"


def _targets(item: Attributes, depth: int) -> Iterator[Path]:
    if depth > DEPTH:
        raise NotAcceptable(f"the document is deeper than {DEPTH} content items")
    for child in items(item, "ContentSequence"):
        if pointed := numbers(child, "ReferencedContentItemIdentifier"):
            yield _path_of(pointed)
        yield from _targets(child, depth + 1)


def _found(
    item: Attributes, path: Path, targets: frozenset[Path]
) -> Iterator[tuple[Path, Attributes]]:
    """The items at these places, in one walk."""
    if path in targets:
        yield path, item
    for place, child in enumerate(items(item, "ContentSequence")):
        yield from _found(child, (*path, place), targets)


def _path_of(pointed: list[float]) -> Path:
    """Places from 0 below the root, which is 1 itself (PS3.3 section C.17.3.2.5)."""
    return tuple(int(place) - 1 for place in pointed[1 : DEPTH + 2])


def _repeats(concept: Code, heading: Code) -> bool:
    """Whether a concept tells no more than the heading above."""
    return concept == heading or concept.meaning.casefold() == heading.meaning.casefold()


def _stands_beside(item: Attributes, row: Fact) -> bool:
    return (
        text(item, "RelationshipType") in _QUALIFYING
        and text(item, "ValueType") in _BESIDE
        and not row.anchor
        and len(row.value) + len(row.detail) <= _SHORT
        and not row.detail
        and "\n" not in row.value
    )


def _gathered(rows: list[Fact]) -> Iterator[Fact]:
    """Images of one kind that nothing is said of, one after another, in one row."""
    for said, run in groupby(rows, _bare_reference):
        found = list(run)
        if said is None or len(found) <= _FEW:
            yield from found
            continue
        label, kind = said
        uids = tuple(row.value.partition(", ")[2] for row in found)
        yield Fact(label, f"{len(found)} x {kind}", members=uids)


def _bare_reference(row: Fact) -> tuple[str, str] | None:
    """Label and kind of a row that has nothing but the UID of an instance."""
    kind, _, uid = row.value.partition(", ")
    is_bare = row == Fact(row.label, row.value) and _UID.fullmatch(uid) is not None
    return (row.label, kind) if is_bare else None


def _numbering(children: list[Attributes]) -> list[int | None]:
    """The number of each container among its siblings of the same name, where there are several."""
    keys = [
        code_of(child, _CONCEPT) if text(child, "ValueType") == "CONTAINER" else None
        for child in children
    ]
    seen: dict[Code, int] = {}
    found: list[int | None] = []
    for key in keys:
        if key is None:
            found.append(None)
            continue
        seen[key] = seen.get(key, 0) + 1
        found.append(seen[key])
    return [
        number if key is not None and seen[key] > 1 else None
        for key, number in zip(keys, found, strict=True)
    ]


def _numbered(section: Iterator[Block], number: int | None) -> Iterator[Block]:
    for block in section:
        if isinstance(block, Heading) and number is not None:
            yield Heading(block.level, f"{block.text} {number}", block.anchor)
            number = None
        else:
            yield block
