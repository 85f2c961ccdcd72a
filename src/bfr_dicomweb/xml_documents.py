"""XML that others wrote, read without what can hurt."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from bfr_dicomweb.errors import InvalidRequest


class _DocumentType(Exception):
    """It can declare text of any length in few bytes, and nothing that is read here has one."""


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        raise _DocumentType


def parse(data: bytes) -> Element:
    """The root element.

    Raises:
        InvalidRequest: It is no well-formed XML, or has a document type declaration.
    """
    try:
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=_Builder()))  # noqa: S314
    except _DocumentType:
        raise InvalidRequest(
            "the XML has a document type declaration, which is not taken"
        ) from None
    except (ElementTree.ParseError, LookupError, ValueError):
        raise InvalidRequest("the XML is not well-formed") from None
