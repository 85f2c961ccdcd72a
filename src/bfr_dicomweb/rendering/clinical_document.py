"""Clinical documents (HL7 CDA R2) as documents to be read: the header and the narrative.

What the author attested is the narrative (CDA R2 section 4.3.5); the coded entries say it again
for machines and are not shown. Elements of the narrative that are not known lose their tags and
keep their text.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from xml.etree.ElementTree import Element

from bfr_dicomweb import xml_documents
from bfr_dicomweb.errors import InvalidRequest, NotAcceptable
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
    Span,
    Style,
    Table,
    Words,
    plain,
)
from bfr_dicomweb.rendering.report_encoding import showable
from bfr_dicomweb.rendering.report_values import date

MAX_BYTES: Final = 16 << 20
MAX_ELEMENTS: Final = 200_000
_DEPTH: Final = 60
_MAX_SPAN: Final = 100
_HL7: Final = "{urn:hl7-org:v3}"
_SPACES: Final = re.compile(r"[ \t\r\n]+")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)
_BLOCKS: Final = frozenset({"paragraph", "list", "item", "table", "tr", "caption"})
_STYLES: Final = {
    "Bold": Style.BOLD,
    "Emphasis": Style.ITALIC,
    "Italics": Style.ITALIC,
    "Underline": Style.UNDERLINED,
}
_ELEMENT_STYLES: Final = {"sub": Style.SUBSCRIPT, "sup": Style.SUPERSCRIPT}
_REVISED: Final = {"insert": Style.INSERTED, "delete": Style.DELETED}


def document_of(content: bytes) -> Document:
    """
    Raises:
        NotAcceptable: It is no clinical document that can be shown: not well-formed, with a
            document type declaration, larger or deeper than any honest one.
    """
    root = _parsed(content)
    title = _said(root.find(_HL7 + "title")) or _coded(root.find(_HL7 + "code"))
    language = _get(root, "languageCode", "code")
    return Document(
        title=title or "Clinical document",
        blocks=tuple(_Narrator(root).body()),
        language=language if _LANGUAGE.fullmatch(language) else "",
        header=tuple(Fact(label, value) for label, value in _header(root) if value),
    )


def _parsed(content: bytes) -> Element:
    if len(content) > MAX_BYTES:
        raise NotAcceptable(f"clinical documents of more than {MAX_BYTES} bytes are not shown")
    try:
        root = xml_documents.parse(content)
    except InvalidRequest as error:
        raise NotAcceptable(f"the clinical document cannot be shown: {error}") from None
    if root.tag != _HL7 + "ClinicalDocument":
        raise NotAcceptable("the document is no HL7 clinical document")
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise NotAcceptable(f"clinical documents of over {MAX_ELEMENTS} elements are not shown")
    return root


# --- header ----------------------------------------------------------------------------------


def _header(root: Element) -> Iterator[tuple[str, str]]:
    for role in _all(root, "recordTarget/patientRole"):
        yield "Patient", _joined(_patient(role))
    yield "Kind", _coded(root.find(_HL7 + "code"))
    yield "Date", _time(root.find(_HL7 + "effectiveTime"))
    for author in _all(root, "author"):
        assigned = author.find(_HL7 + "assignedAuthor")
        yield "Author", _joined((*_who(assigned), _time(author.find(_HL7 + "time"))))
    for label, name in (("Signed by", "legalAuthenticator"), ("Confirmed by", "authenticator")):
        for signer in _all(root, name):
            entity = signer.find(_HL7 + "assignedEntity")
            yield label, _joined((*_who(entity), _time(signer.find(_HL7 + "time"))))
    custodian = "custodian/assignedCustodian/representedCustodianOrganization/name"
    yield "Custodian", _joined(map(_said, _all(root, custodian)))
    for event in _all(root, "documentationOf/serviceEvent"):
        told = (_coded(event.find(_HL7 + "code")), _time(event.find(_HL7 + "effectiveTime")))
        yield "About", _joined(told)
    for order in _all(root, "inFulfillmentOf/order"):
        yield "Order", _joined(map(_identifier, _all(order, "id")))
    yield "Version", _get(root, "versionNumber", "value")
    for parent in _all(root, "relatedDocument/parentDocument"):
        yield "Replaces", _joined(map(_identifier, _all(parent, "id")))


def _patient(role: Element) -> Iterator[str]:
    yield from (_said(name) for name in _all(role, "patient/name"))
    yield from (_identifier(identifier) for identifier in _all(role, "id"))
    for born in _all(role, "patient/birthTime"):
        told = _time(born)
        yield f"born {told}" if told else ""
    yield from (_coded(sex) for sex in _all(role, "patient/administrativeGenderCode"))


def _who(entity: Element | None) -> Iterator[str]:
    if entity is None:
        return
    yield from (_said(name) for name in _all(entity, "assignedPerson/name"))
    for device in ("manufacturerModelName", "softwareName"):
        yield from (_said(one) for one in _all(entity, f"assignedAuthoringDevice/{device}"))
    yield from (_said(one) for one in _all(entity, "representedOrganization/name"))


def _identifier(element: Element) -> str:
    return showable(element.get("extension") or element.get("root") or "")


def _coded(element: Element | None) -> str:
    if element is None:
        return ""
    original = _said(element.find(_HL7 + "originalText"))
    return (
        showable(element.get("displayName") or "") or original or showable(element.get("code", ""))
    )


def _time(element: Element | None) -> str:
    """A point in time or an interval (data types TS and IVL_TS)."""
    if element is None:
        return ""
    if value := element.get("value"):
        return showable(date(value))
    ends = [date(_get(element, end, "value")) for end in ("low", "high")]
    return showable(" to ".join(end for end in ends if end))


def _get(element: Element, child: str, attribute: str) -> str:
    found = element.find(_HL7 + child)
    return "" if found is None else found.get(attribute, "")


def _all(element: Element, path: str) -> list[Element]:
    return element.findall("/".join(_HL7 + step for step in path.split("/")))


def _joined(told: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, told)))


def _said(element: Element | None) -> str:
    """All text of an element, on one line."""
    if element is None:
        return ""
    return showable(" ".join(" ".join(element.itertext()).split()))


def _local(element: Element) -> str:
    # comments and processing instructions have no name; the parser leaves them out
    return str(element.tag).rpartition("}")[2]


# --- body ------------------------------------------------------------------------------------


class _Narrator:
    def __init__(self, root: Element) -> None:
        self._root = root
        self._media = {
            media.get("ID", ""): media.find(_HL7 + "value")
            for media in root.iter(_HL7 + "observationMedia")
        }
        self._depth = 0

    def body(self) -> Iterator[Block]:
        for component in _all(self._root, "component"):
            for section in _all(component, "structuredBody/component/section"):
                yield from self._section(section, 2)
            for text in _all(component, "nonXMLBody/text"):
                yield from _unstructured(text)

    def _section(self, section: Element, level: int) -> Iterator[Block]:
        self._deeper(level)
        title = _said(section.find(_HL7 + "title")) or _coded(section.find(_HL7 + "code"))
        if title:
            yield Heading(min(level, DEEPEST_HEADING), title)
        authors = [_joined(_who(one)) for one in _all(section, "author/assignedAuthor")]
        if rows := tuple(Fact("Author", author) for author in authors if author):
            yield Facts(rows)
        for text in _all(section, "text"):
            yield from self._flow(text, 0)
        for below in _all(section, "component/section"):
            yield from self._section(below, level + 1)

    def _deeper(self, depth: int) -> None:
        if depth > _DEPTH:
            raise NotAcceptable(f"the clinical document is nested more than {_DEPTH} deep")

    def _flow(self, element: Element, depth: int) -> Iterator[Block]:
        """The blocks of mixed content."""
        self._deeper(depth)
        line: list[Span] = [Span(element.text or "")]
        for child in element:
            make = self._MAKERS.get(_local(child))
            if make is None:
                line += self._spans(child, Style.PLAIN, depth + 1)
            else:
                yield from _paragraph(line)
                line = []
                yield from make(self, child, depth + 1)
            line.append(Span(child.tail or ""))
        yield from _paragraph(line)

    def _list(self, element: Element, depth: int) -> Iterator[Block]:
        self._deeper(depth)
        for caption in _all(element, "caption"):
            yield from _paragraph([*self._spans(caption, Style.BOLD, depth)])
        items = (tuple(self._flow(item, depth + 1)) for item in _all(element, "item"))
        yield Listing(tuple(items), is_ordered=element.get("listType") == "ordered")

    def _table(self, element: Element, depth: int) -> Iterator[Block]:
        captions = [words for one in _all(element, "caption") if (words := self._words(one, depth))]
        rows = tuple(
            tuple(
                Cell(
                    self._words(cell, depth),
                    is_heading=_local(cell) == "th",
                    columns=_span(cell.get("colspan")),
                    rows=_span(cell.get("rowspan")),
                )
                for cell in row
                if _local(cell) in ("td", "th")
            )
            for row in _rows(element)
        )
        yield Table(tuple(row for row in rows if row), captions[0] if captions else ())

    _MAKERS: Final[Mapping[str, Callable[["_Narrator", Element, int], Iterator[Block]]]] = {
        "paragraph": _flow,
        "caption": _flow,
        "list": _list,
        "table": _table,
    }

    def _words(self, element: Element, depth: int) -> Words:
        return _tidy([*self._spans(element, Style.PLAIN, depth)])

    def _spans(self, element: Element, style: Style, depth: int) -> Iterator[Span]:
        """All text of an element in one run; blocks in it begin new lines."""
        self._deeper(depth)
        name = _local(element)
        style = _style(element, name) or style
        before, after = self._around(element, name)
        yield Span(before)
        yield Span(element.text or "", style)
        for child in element:
            yield from self._spans(child, style, depth + 1)
            yield Span(child.tail or "", style)
        yield Span(after)

    def _around(self, element: Element, name: str) -> tuple[str, str]:
        if name == "br":
            return _BREAK, ""
        if name in _BLOCKS:
            return _BREAK, _BREAK
        if name in ("td", "th"):
            return " ", " "
        if name == "footnote":
            return " [", "] "
        if name == "footnoteRef":
            return f" [{element.get('IDREF', '')}] ", ""
        if name == "renderMultiMedia":
            return f" [{self._medium(element)}] ", ""
        href = element.get("href", "")
        if name == "linkHtml" and href and not href.startswith("#") and href != element.text:
            return "", f" <{href}> "
        return "", ""

    def _medium(self, element: Element) -> str:
        """A picture or the like by its name; it is not shown."""
        told = []
        for identifier in element.get("referencedObject", "").split():
            value = self._media.get(identifier)
            kind = "" if value is None else value.get("mediaType", "")
            told.append(f"{identifier}, {kind}" if kind else identifier)
        return "; ".join(told) or "media"


# Stands for a new line until spaces have been joined; XML cannot hold it.
_BREAK: Final = "\0"
_BREAKS: Final = re.compile(f" ?{_BREAK}[ {_BREAK}]*")


def _style(element: Element, name: str) -> Style | None:
    revised = _REVISED.get(element.get("revised", ""))
    if revised or name in _ELEMENT_STYLES:
        return revised or _ELEMENT_STYLES[name]
    codes = element.get("styleCode", "").split()
    return next((_STYLES[code] for code in codes if code in _STYLES), None)


def _paragraph(spans: list[Span]) -> Iterator[Block]:
    if words := _tidy(spans):
        yield Paragraph(words)


def _tidy(spans: list[Span]) -> Words:
    """Spaces joined as in HTML, none at either end of a line; neighbours of one style joined."""
    tidy: list[tuple[Style, list[str]]] = []
    end = "\n"
    for span in spans:
        said = _SPACES.sub(" ", span.text)
        said = showable(_BREAKS.sub("\n", said))
        if end in (" ", "\n"):
            said = said.lstrip(" \n" if end == "\n" else " ")
        if not said:
            continue
        if said[0] == "\n" and tidy:
            tidy[-1][1][-1] = tidy[-1][1][-1].rstrip(" ")
        end = said[-1]
        if tidy and tidy[-1][0] == span.style:
            tidy[-1][1].append(said)
        else:
            tidy.append((span.style, [said]))
    words = [Span("".join(parts), style) for style, parts in tidy]
    while words and not words[-1].text.rstrip():
        words.pop()
    if words:
        words[-1] = Span(words[-1].text.rstrip(), words[-1].style)
    return tuple(words)


def _rows(table: Element) -> Iterator[Element]:
    for part in table:
        if _local(part) == "tr":
            yield part
        elif _local(part) in ("thead", "tbody", "tfoot"):
            yield from (row for row in part if _local(row) == "tr")


def _span(written: str | None) -> int:
    return min(max(int(written), 1), _MAX_SPAN) if written and written.isdecimal() else 1


def _unstructured(text: Element) -> Iterator[Block]:
    """A body that is no XML: told when it is text, named when it is anything else."""
    media_type = text.get("mediaType", "text/plain").lower()
    content = "".join(text.itertext())
    if media_type.startswith("text/plain"):
        if text.get("representation") == "B64":
            try:
                content = base64.b64decode(content).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                content = ""
        yield from (
            Paragraph(plain(line)) for line in showable(content).split("\n") if line.strip()
        )
        return
    rows = [Fact("Body", showable(media_type))]
    if reference := _get(text, "reference", "value"):
        rows.append(Fact("Lies at", showable(reference)))
    yield Facts(tuple(rows))
