"""What the conformance statement says of the URI service, ZIP files and Capabilities."""

from collections.abc import Iterator
from typing import Final

from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS
from bfr_dicomweb.dicomweb.worklist_statement import statuses, table

SERVICES: Final = ("URI", "Capabilities")

CONDITIONS: Final = {
    ("Retrieve DICOM Instance", 200): "The instance is in the answer.",
    ("Retrieve DICOM Instance", 206): "The byte ranges asked for.",
    ("Retrieve DICOM Instance", 400): "A mandatory parameter is missing, a parameter stands twice"
    " or has an invalid value, or parameters contradict each other; the answer names it. Also a"
    " frame or a presentation state that there is not.",
    ("Retrieve DICOM Instance", 404): "No such instance is stored.",
    ("Retrieve DICOM Instance", 406): "The instance cannot be shown in the media types asked for,"
    " or not be sent in that transfer syntax, and the answer lists what can be made; or it cannot"
    " be anonymized, and the answer says why.",
    ("Retrieve DICOM Instance", 410): "It was stored here and has been deleted.",
    ("Retrieve DICOM Instance", 416): "No byte of the ranges exists.",
    ("Retrieve DICOM Instance", 503): "The catalogue or the disk cannot be used now.",
    ("Retrieve Capabilities", 200): "The description is in the answer.",
    ("Retrieve Capabilities", 400): "The Accept header or the accept parameter is malformed.",
    ("Retrieve Capabilities", 406): "Neither WADL nor JSON is accepted.",
    ("", 304): "An entity tag in If-None-Match is that of the representation.",
}

URI: Final = """\
- The URI is `wado` below the base URI. Retrieve DICOM Instance (9.4) and Retrieve Rendered Instance
  (9.5) are supported with all their parameters; what is shown, and how, stands in section 2.2.
  `annotation` may be written `imageAnnotation`; one of `rows` and `columns` is enough.
- `contentType` decides, whatever the Accept header is; without both an image is meant.
- `transferSyntax` is a UID, or `*` for any, which is an extension and prefers the stored form.
  Explicit VR Little Endian is the default, or the stored form where there is nothing but a lossy
  one.
- `anonymize=yes` applies the Basic Application Level Confidentiality Profile of PS3.15 (2024b).
  Where Table E.1-1 gives a choice that depends on the IOD, the last of its actions is taken.
  Private attributes, overlays, curves, icons, attributes that are not in PS3.6, and names, dates
  and times that the table does not list are removed, emptied or replaced, too. UIDs that are not
  of the Standard and Patient ID get replacements that are the same in all objects of this archive
  and that nobody can make or trace back without its secret.
- Pixels are not cleaned: an instance whose Burned In Annotation or Recognizable Visual Features is
  YES, and an encapsulated document, are refused with 406. Where nothing is known of burned in
  text a Warning says so. Of compressed frames that are sent as they are stored, comments and
  application segments of JPEG, JPEG-LS and JPEG 2000 are blanked; JPEG XL and videos are not looked
  into."""

ZIP: Final = """\
- Studies, series and instances are sent as application/zip when Accept asks for it by name. The
  files in it are those that multipart/related would have, and `transfer-syntax` means the same;
  but `*` has every file in its stored form.
- Entries are named as in a File-set (PS3.10 section 8.2): `DICOM/SE000001/IM000001`. With the
  query parameter `dicomdir=true`, which is an extension, a DICOMDIR is the last entry. What its
  records require and an instance lacks is `UNKNOWN`, 0 or 19000101.
- Entries are deflated without compression, as they are sent while they are read."""

CAPABILITIES: Final = """\
- OPTIONS of the base URI is answered in WADL or JSON (Annexes G and H), without an Accept header in
  WADL. With `Origin` and `Access-Control-Request-Method` it is a CORS preflight.
- DELETE of studies, series and instances is in the description where BFR_ALLOW_DELETION is true,
  rendered MPR and 3D where the extra `volume` is installed.
- OPTIONS of any other resource tells its methods in Allow.
- The same resources, and those that are not of PS3.18, are described in OpenAPI 3.1 at
  `/openapi.json`."""


def sections() -> Iterator[tuple[str, ...]]:
    yield ("### 9.1 URI Service", URI)
    yield ("### 9.2 Parameters", _parameters())
    yield ("### 9.3 application/zip", ZIP)
    yield ("### 9.4 Capabilities (8.9)", CAPABILITIES)
    yield ("### 9.5 Status codes", statuses(SERVICES, CONDITIONS))


def _parameters() -> str:
    (endpoint,) = (one for one in ENDPOINTS if one.service == "URI")
    rows = (
        (f"`{param.name}`", str(param.kind), "yes" if param.is_required else "-", param.meaning)
        for param in endpoint.query
    )
    return table(("Parameter", "Type", "Required", "Meaning"), rows)
