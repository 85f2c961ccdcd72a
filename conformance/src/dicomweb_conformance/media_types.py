"""Media types as HTTP writes them (RFC 9110 section 8.3.1)."""

import re
from dataclasses import dataclass
from typing import Final

DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = 'multipart/related; type="application/dicom+xml"'
DICOM: Final = 'multipart/related; type="application/dicom"'
OCTETS: Final = 'multipart/related; type="application/octet-stream"'
ANY: Final = "*/*"

EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
RLE: Final = "1.2.840.10008.1.2.5"

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"\s*({_WORD})/({_WORD})\s*")
# An unquoted value may hold a slash: PS3.18 8.7.1 writes type=application/dicom.
_PARAMETER = re.compile(rf';\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*')


class NotAMediaType(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class MediaType:
    name: str  # lower case, without parameters
    parameters: dict[str, str]  # by lower-case name

    def __str__(self) -> str:
        written = (f'; {name}="{value}"' for name, value in self.parameters.items())
        return self.name + "".join(written)

    @property
    def transfer_syntax(self) -> str:
        """What it says or, if nothing, the default of PS3.18 section 8.7.3.4."""
        return self.parameters.get("transfer-syntax", EXPLICIT_LE)


def parse(text: str) -> MediaType:
    """Raises NotAMediaType."""
    matched = _TYPE.match(text)
    if matched is None:
        raise NotAMediaType(f"{text!r} is no media type")
    name = f"{matched[1]}/{matched[2]}".lower()
    parameters: dict[str, str] = {}
    position = matched.end()
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise NotAMediaType(f"{text!r} has parameters that cannot be read")
        quoted, bare = parameter[2], parameter[3]
        value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters.setdefault(parameter[1].lower(), value)
        position = parameter.end()
    return MediaType(name, parameters)


def dicom_in(transfer_syntax: str, *, weight: str = "") -> str:
    """The media type of PS3.10 files in that transfer syntax, or "*"."""
    weighed = f";q={weight}" if weight else ""
    return f"{DICOM}; transfer-syntax={transfer_syntax}{weighed}"
