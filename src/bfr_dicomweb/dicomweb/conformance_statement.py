"""The DICOM conformance statement (PS3.2 Annex N), made from the tables that the server runs by.

Run as a module it writes the committed file; with --check it only compares.
"""

import sys
from collections.abc import Iterable
from dataclasses import fields
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID

from bfr_dicomweb import __version__
from bfr_dicomweb.dicom import (
    attributes,
    character_sets,
    compressed_images,
    encapsulated_documents,
    encoding,
    matching,
    media_types,
    part10,
    pixel_parts,
    raster_images,
    transcoding,
)
from bfr_dicomweb.dicom.matching import (
    AnyOf,
    Empty,
    Match,
    Multiple,
    Name,
    Number,
    Range,
    SearchLevel,
    Single,
    Wildcard,
    parse_search,
)
from bfr_dicomweb.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, Codec, TransferSyntax
from bfr_dicomweb.dicomweb import (
    byte_ranges,
    commitment_statement,
    multipart,
    non_patient_statement,
    rendering_parameters,
    representations,
    stow,
    uri_statement,
    wado,
    worklist_statement,
)
from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS, ROOT
from bfr_dicomweb.dicomweb.service import Service
from bfr_dicomweb.dicomweb.worklist_statement import table
from bfr_dicomweb.errors import ArchiveError, InvalidQuery
from bfr_dicomweb.http import border
from bfr_dicomweb.refs import Level
from bfr_dicomweb.rendering import cine, thumbnails
from bfr_dicomweb.rendering.image_encoding import DEFAULT_FRAME_MS
from bfr_dicomweb.services import retrieve, store

FILE: Final = Path("conformance/STATEMENT.md")

# PS3.18 Table 10.6.1-5
_REQUIRED: Final = """
    StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName
    PatientID StudyInstanceUID StudyID Modality SeriesInstanceUID SeriesNumber
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    RequestAttributesSequence.ScheduledProcedureStepID
    RequestAttributesSequence.RequestedProcedureID SOPClassUID SOPInstanceUID InstanceNumber
"""
REQUIRED_KEYS: Final = frozenset(_REQUIRED.split())

# What the results of each level always have, and what they have when it is known.
RETURNED: Final = {
    Level.STUDY: (
        """
        StudyDate StudyTime AccessionNumber InstanceAvailability ReferringPhysicianName RetrieveURL
        PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyID
        NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
        """,
        "ModalitiesInStudy TimezoneOffsetFromUTC",
    ),
    Level.SERIES: (
        """
        InstanceAvailability Modality RetrieveURL StudyInstanceUID SeriesInstanceUID SeriesNumber
        NumberOfSeriesRelatedInstances
        """,
        """
        TimezoneOffsetFromUTC SeriesDescription PerformedProcedureStepStartDate
        PerformedProcedureStepStartTime RequestAttributesSequence
        """,
    ),
    Level.INSTANCE: (
        """
        SOPClassUID SOPInstanceUID InstanceAvailability RetrieveURL StudyInstanceUID
        SeriesInstanceUID InstanceNumber
        """,
        """
        TimezoneOffsetFromUTC Rows Columns BitsAllocated NumberOfFrames AvailableTransferSyntaxUID
        """,
    ),
}

# When a transaction answers with a status; the ones of all resources have no transaction.
CONDITIONS: Final = {
    ("Retrieve", 200): "Everything asked for is in the answer.",
    ("Retrieve", 206): "The byte ranges asked for; or, for the instances of a study or series, only"
    " those that can be sent in an acceptable form.",
    ("Retrieve", 304): "An entity tag in If-None-Match is that of the representation.",
    ("Retrieve", 400): "A UID of the target is none; the frame list is no list of positive numbers;"
    " DICOM and rendered media types are mixed; the accept parameter is malformed, has a wildcard"
    " or is not covered by the Accept header; the query is too long or not UTF-8.",
    ("Retrieve", 404): "No such study, series, instance, frame or bulk value is stored.",
    ("Retrieve", 406): "There is no Accept header, nothing acceptable can be made, or the stored"
    " pixel data cannot be decoded to what is acceptable.",
    ("Retrieve", 410): "It was stored here and has been deleted.",
    ("Retrieve", 413): "More frames are listed than the limit (section 6).",
    ("Retrieve", 416): "No byte of the ranges exists; Content-Range tells the size.",
    ("Retrieve", 503): "The catalogue or the disk cannot be used now; see Retry-After.",
    ("Store", 200): "Every instance is stored, or was already stored with the same bytes.",
    ("Store", 202): "Some instances are stored, others are refused.",
    ("Store", 400): "No instance is stored: the objects cannot be read or identified, or the"
    " payload or the UID of the target is malformed.",
    ("Store", 406): "No acceptable media type for the answer; nothing is stored.",
    ("Store", 409): "No instance is stored, and at least one for a conflict: another object has its"
    " SOP Instance UID, it belongs to another study than the target, or to none (section 11).",
    ("Store", 411): "There is neither Content-Length nor Transfer-Encoding.",
    ("Store", 413): "The payload, or every object of it, is larger than the limit.",
    ("Store", 415): "The payload, or every part of it, has a media type that is not taken.",
    ("Store", 503): "No instance is stored: the catalogue or the disk cannot be used now.",
    ("Store", 507): "No instance is stored: no room is left.",
    ("Search", 200): "There are matches; Warning tells of more, and of ignored parameters.",
    ("Search", 204): "There is no match, or limit and offset leave none.",
    ("Search", 400): "A supported parameter has an invalid value or stands twice; a UID of the"
    " target is none; DICOM and rendered media types are mixed; the query is too long or not UTF-8;"
    " the accept parameter is malformed, has a wildcard or is not covered by the Accept header.",
    ("Search", 406): "There is no Accept header, or nothing acceptable can be made.",
    ("Search", 503): "The catalogue cannot be used now; see Retry-After.",
    (
        "",
        204,
    ): "A preflight request of an allowed origin (CORS); OPTIONS of a resource, with Allow.",
    ("", 403): "A preflight request of another origin.",
    ("", 404): "There is no such resource.",
    ("", 405): "The resource does not have the method; Allow names those it has.",
    ("", 500): "A defect of the server; the request id in the answer finds it in the log.",
}

ABSENT: Final = (
    ("Repository query keys (Prior Record Key, Maximum Number of Records)", "10.6.1.2.4", "opt."),
    ("text/rtf and video/mpeg made anew, as rendered media types", "8.7.4", "optional"),
    ("Advanced Blending Presentation States", "8.3.5.1.6", "optional"),
    ("annotation and iccprofile of volumes", "8.3.5.3", "optional"),
)

ABOUT: Final = """\
bfr_dicomweb is an archive for composite DICOM instances. It is an origin server of the Studies
Service of PS3.18 and of the services for workitems and modality procedure steps: it is no user
agent, and it is native, no proxy to DIMSE services. It stores, searches and retrieves; it deletes
what it is told to, and never alters what it holds. The same archive is an application entity, too:
[DIMSE.md](DIMSE.md).

What PS3.2 Annex N asks for is here; section 1.6 tells where. This file is made from the tables in
the code (`python -m bfr_dicomweb.dicomweb.conformance_statement`) and compared with them by the
tests."""

# Sections of PS3.2 Annex N, and of this statement.
PLACES: Final = (
    ("N.1.1", "SOP classes and transfer syntaxes", "1.3, 1.4"),
    ("N.1.3.1", "URI Service", "1.1, 9"),
    ("N.1.3.2", "Studies Service", "1.1, 2"),
    ("N.1.3.3", "Worklist Service", "1.1, 8"),
    ("N.1.3.4", "Non-Patient Instance Service", "1.1, 11"),
    ("N.1.3.5", "Storage Commitment Service", "1.1, 10"),
    ("N.1.3.6, N.1.3.7", "Modality procedure step services", "1.1, 8"),
    ("N.5.3.1", "URI: media types, parameters, headers", "9.1, 9.2"),
    ("N.5.3.2", "Studies: Retrieve, Store, Search with their attributes", "2.1, 2.2, 2.3, 2.4"),
    ("N.5.3.3", "Worklist: the transactions and their attributes", "8.1, 8.3"),
    ("N.5.3.4", "Non-patient instances", "11.1, 11.2, 11.3"),
    ("N.5.3.5", "Notifications", "8.2"),
    ("N.5.3.6", "Storage commitment", "10.1"),
    ("N.5.7", "Character sets", "5"),
    ("N.6.3", "Configuration", "6"),
    ("N.7.3.3", "Status codes", "3, 8.5, 9.5, 10.4, 11.4"),
    ("N.8", "Security", "7"),
)

CLASSES: Final = """\
Instances of every composite SOP class are stored, standard, retired and private ones alike: the
SOP class is recorded and searched but not judged. Instances that belong to no patient have
resources of their own (section 11). All attributes are kept, private ones too (full storage,
level 2 of PS3.4 section B.4.1)."""

SYNTAXES: Final = """\
An instance is stored in the transfer syntax in which it arrives, whichever it is, also a
private one. It can be retrieved unchanged in that transfer syntax. "File in Explicit VR LE"
says whether it can also be sent as application/dicom in Explicit VR Little Endian, which is
what a request that names no transfer syntax gets; "frames decoded" whether its pixel data can
be sent as uncompressed application/octet-stream. Where there is nothing but a lossy form, or
where decoding is not possible, a request that names no transfer syntax gets the stored form."""

TRANSCODING: Final = """\
What can be decoded can be sent in these transfer syntaxes, too: whole instances as
application/dicom, frames in the media type of section 2.2. "Encoded" says how; the pixels
after a lossless one are those before it, bit for bit. Which of them a particular image allows
is decided by its attributes; a request that none satisfies is answered with 406, which lists
those that do. DIMSE receivers that accept nothing else get lossless ones.

- **Lossy** only for requests that name the transfer syntax itself: `*` and the default of
  image/jpeg never mean it. Quality {quality}. The instance then is a derived image: Image Type,
  Derivation Description and Code, Source Image Sequence, Lossy Image Compression with Ratio and
  Method, and a SOP Instance UID of its own, always the same for the same image.
- HTJ2K frames are in RPCL order with TLM and one tile-part a resolution, so that a range
  request for the first bytes of a frame gives a smaller picture. High-Throughput JPEG 2000
  (.203) is lossless as well.
- RGB becomes YBR_RCT in JPEG 2000 and HTJ2K, YBR_FULL_422 becomes YBR_FULL; otherwise colours
  stay as they are described. Planar Configuration is told as it is.
- Compressed frames are in one fragment each, behind an empty Basic Offset Table. Deflated data
  sets hold native pixel data. Icons become native."""

REQUESTS: Final = """\
- HTTP/1.1. Every resource that has GET has HEAD. Notifications are those of workitems (section 8).
- GET without an Accept header is answered with 406 (8.7.5). POST without one gets
  application/dicom+json.
- The accept parameter is supported and takes no wildcards. When the Accept header covers none
  of its types the answer is 400; when it names nothing that can be made, the header decides.
- Malformed elements of Accept are ignored. application/json is taken for
  application/dicom+json, image/x-dicom-rle for image/dicom-rle, image/x-jls for image/jls and
  image/jll for image/jpeg.
- transfer-syntax is supported with a UID or with `*` for any; `*` prefers the stored form.
- charset, as a parameter, in a media type or as Accept-Charset, is ignored: see section 5.
- DICOM and rendered media types in one request are answered with 400.
- Metadata and results in application/dicom+json are compressed with zstd or gzip for clients that
  accept it.
- Failures are told as application/problem+json with a request id, the X-Request-ID of the
  answer."""

RETRIEVE: Final = """\
- Metadata holds all attributes but group 0002 and group lengths. Binary values of more than
  {inline} bytes, and others that PS3.18 section 10.4.3.3.2 permits of more than {value} bytes,
  and all pixel data, are Bulk Data URIs. Available Transfer Syntax UID (0008,3002) is added:
  first the stored transfer syntax.
- Metadata is one JSON array, or multipart/related with one part of application/dicom+xml for
  each instance.
- A frame list may be in any order and is answered in its order, one part a frame. Frame numbers
  beyond those of the instance are answered with 404, zero with 400.
- One frame, one bulk value and one instance may be asked for as a single part.
- Compressed pixel data is sent one part a frame, uncompressed pixel data of an instance as one
  part. Frames of one-bit pixels begin at the first bit of their part.
- Encapsulated documents are offered in the type that MIME Type of Encapsulated Document
  (0042,0012) names, and as application/octet-stream.
- Entity tags are strong; If-None-Match is heeded. Range and If-Range work on single parts of
  known size, which metadata of up to {whole} instances is."""

THUMBNAILS: Final = """\
- A thumbnail is one picture, at every level, of the frame in the middle of the instance in the
  middle of the series; of a study, of its largest series of images, or else of what comes next
  to images. Of a frame list it is the one in its middle. A slide of at most {tiles} tiles is
  shown as a whole.
- Without viewport it has at most {default} pixels a side and is not enlarged; with it it fills the
  viewport, from 1 to {most} pixels a side. Larger viewports, up to {viewport}, get that.
- Nothing is written upon it: no annotations, no overlays. Where Burned In Annotation (0028,0301)
  or Recognizable Visual Features (0028,0302) is YES, it is made of {withheld} x {withheld} pixels,
  in which no letter is left, and marked. Images of ultrasound and secondary capture that say
  nothing of it are made of {coarse} pixels a side at most, and of a sixth of their own.
- Reports, documents, waveforms, presentation states, key objects, segmentations, objects of
  radiotherapy, raw data, and what else has no picture, have icons; so have images that cannot
  be decoded, and videos where the extra `video` is not installed."""

RENDERED: Final = """\
- All images are rendered, whichever Photometric Interpretation; media types as in the table of
  resources. Multi-frame images: the frames in parts, or one moving picture; the still picture of a
  link (accept parameter) is that of the frame in the middle. Pixels become square.
- quality: JPEG, WebP and AVIF take it as their libraries do; JPEG XL: the distance that its
  library takes it for; JPEG 2000: 28 + quality / 4 dB; HTJ2K: a quantisation step of
  0.005 * 2^((90 - quality) / 20). 90 by default; 100 is lossless in JPEG 2000, HTJ2K, JPEG XL and
  WebP. PNG and GIF ignore it.
- Without window: the VOI LUT, else the first window, of the frame, else of the object; else all
  values of up to 8 bits stored, and of others those between the 0.5th and the 99.5th percentile.
- Presentation LUT Shape counts before MONOCHROME1. Graphics overlays (G) are burnt in, regions of
  interest (R) where a presentation state says so; shutters are applied.
- viewport: up to {viewport} pixels a side; a source region ends at the edge of the image, and one
  that lies wholly outside of it is refused (400).
- annotation: patient and technique. iccprofile: all values; GIF and JPEG XL cannot hold one (400).
- Presentation states (grayscale, XA/XRF grayscale, variable modality LUT, colour, pseudo-colour,
  blending): TRUE SIZE shows one pixel of the image as one of the picture. What a grayscale state
  does not say is not taken from the image. Compound graphics are not read. Referenced images that
  are not stored are counted in a Warning, and the status is 206.
- Segmentations and parametric maps are laid over their source images, else over what lies there in
  the same frame of reference; structure sets over the images that they name; key objects are the
  images that they name. A legend is drawn from 300 pixels a side on.
- A whole slide image is one picture; source regions of its viewport count in the Total Pixel
  Matrix, and tiles come from the level of its series that is fine enough.
- Volumes: the largest of the target unless volumeinputreference or attributes select another one;
  renderingmethod defaults to average_ip (MPR) and volume_rendered (3D), the camera to the anterior,
  animations to 10 degrees or a 20th of the curve, and 10 a second. Parameters that belong to the
  other of the two resources are refused (400). Volumetric presentation states: one volume, not
  cropped, not registered; others are refused (406).
- Text: UTF-8 unless charset or Accept-Charset name another set that can hold it. text/xml of a
  structured report is its Native DICOM Model, of a clinical document the document itself."""

VIDEOS: Final = """\
- A stored video that is an MP4 file is sent as it is (video/mp4, and ranges of it). With the extra
  `video`, H.264 and HEVC in other files are put into MP4 without a loss, MPEG-2 is encoded anew,
  and HEVC can be had without its file (video/H265). MPEG-2 as stored is video/mpeg. Images of a
  video, and frames of it by their numbers, are decoded; viewport and annotation are supported.
- The frames of an image, or a list of them, are one video/mp4 (H.264, 8 bits, 4:2:0) or one
  image/gif, each frame shown as long as Recommended Display Frame Rate, Frame Time Vector, Frame
  Time or Cine Rate say, the first of these that is there; otherwise {frame} ms. Limits of
  video/mp4: {frames} frames, {pixels} pixels in all, {side} a side; of image/gif {gif} pixels."""

STORE: Final = """\
- Payload: multipart/related with parts of application/dicom, or one application/dicom object; or
  metadata and bulk data, as told below.
- Each object needs Study Instance UID, Series Instance UID, SOP Instance UID and SOP Class UID,
  each of digits and dots and at most 64 characters; leading zeros of components are tolerated.
  What cannot be read to its end as a data set is refused. Nothing else is: other defects are
  kept.
- **Bytes are kept as they were received**, preamble and file meta information included. No
  attribute of a PS3.10 object is coerced.
- **Duplicates**: the same SOP Instance UID with the same bytes is a success and stored once.
  With other bytes it is refused, and the first object is kept.
- The answer is sent when bytes and catalogue are on stable storage.
- Parts that are complete before a malformed part are stored; the rest is one Other Failures
  item.
- Error Comment (0000,0902) in a failure item names the defect.
- Location names the study, or the search for studies when there are several.
- Where the instances of a study or series contradict each other in an attribute of the study or
  series, searches show and match the value that was stored first; values that are missing are
  filled from later instances."""

WARNING: Final = """\
Warning Reason {reasons}: the File Meta Information names another SOP class than the data set,
which is believed. Warning Reason {coerced}: attributes were supplied for an object that came as
metadata and bulk data; Original Attributes Sequence names them, in the answer and in the object."""

PARTS: Final = """\
Metadata and bulk data (PS3.18 section 10.5.1.4) come as multipart/related, with type
application/dicom+json (one part, an array; one data set alone is tolerated) or
application/dicom+xml (a part for each instance). Bulk data follow, each part with the
Content-Location that a BulkDataURI names; relative references mean the same on both sides. The
metadata without any bulk data need no parts.

- Group 0002, group lengths, offset tables and Available Transfer Syntax UID are ignored in
  metadata. Objects without encapsulated pixel data are made in Explicit VR Little Endian.
- Pixel data: native, in one part or one a frame; compressed, one part a frame; a video in one
  part. What the stream tells may be left out of the metadata. Where both tell it, Rows, Columns,
  Samples per Pixel and Number of Frames have to agree, else the instance is refused. A
  transfer-syntax parameter has to fit the stream.
- Compressed frames are kept byte for byte; the boxes of JP2, JPX and JPH are taken off. GIF and
  PNG are decoded, without transparency; the frames of an animation keep their times. Progressive
  JPEG gets a retired transfer syntax, the only one in which it stays what it is.
- The padding of frames, videos and documents of odd length is left off when they are retrieved.
- Missing UIDs are generated (2.25); those of one request share a study, and a series for each
  SOP class. A SOP class that is missing follows from the payload. For secondary captures, visible
  light images, their videos and encapsulated documents, missing attributes of types 1 and 2 are
  supplied; other classes are stored as they are told.
- Each instance succeeds or fails alone. Bulk data that nothing refers to is one Other Failures
  item. A payload that is cut off, or whose JSON is none, is refused whole (400), and so is one
  beyond the limits (413).

{types}"""

MATCHING: Final = """\
- **Unsupported parameters**, unknown attributes and keys of a level that the resource does not
  search are ignored, and Warning 299 names them. A supported parameter with an invalid value,
  or one that stands twice, is answered with 400.
- **Text** matches exactly: case and accents count (PS3.4 C.2.2.2.1). Leading and trailing
  spaces do not, nor does the way in which Unicode composes a character.
- **Wildcards** are `*` and `?`, for the attributes so marked. `*` alone is universal matching.
- **Person names** match without regard to case, accents and superfluous spaces; ø is o, æ is
  ae, ß is ss, þ is th. Each component group of the key must match some component group of the
  stored name. Empty components at the end do not count: `Svensson` is `Svensson^`, but not
  `Svensson^Anna`, which `Svensson*` finds.
- **fuzzymatching=true**: each word of the key must begin a word of the stored name or sound
  like its beginning, in any order. Sounds are those of Swedish (Karlsson, Carlson; Göran,
  Joeran). Wildcards are passed over.
- **emptyvaluematching=true**: the value `""` matches attributes that are absent or empty, for
  the attributes so marked.
- **multiplevaluematching=true**: several values, separated by a comma or a backslash, must all
  be present, for the attributes so marked. They cannot have wildcards.
- **Lists**: several UIDs, or several codes (VR CS), separated by a comma or a backslash, match
  any of them. For codes this is an extension.
- **An empty stored value never matches a key that has a value.** PS3.4 section C.2.2.1.2 calls
  it a match for any value; a viewer that asks for one patient would then be shown the studies
  of others.
- **Patient ID** also finds studies that have the value in Other Patient IDs (0010,1000) or its
  sequence (0010,1002). Swedish identity numbers (personnummer, samordningsnummer, national
  reserve numbers and those of Västra Götaland and Stockholm) match in all their written forms:
  with and without century, hyphen or plus, where the check digit is right. A number without a
  century that can mean two persons matches both. Other identifiers match exactly, and wildcards
  match the value as it is stored.
- **Dates and times** match by meaning. A key of less precision is the whole interval it
  denotes; a stored value of less precision is its beginning. Ranges include their ends. The
  form 1997.07.01 is tolerated.
- **Combined date and time matching** is always on: ranges of the same form for a date and its
  time are one interval ({pairs}).
- **Time zones**: TimezoneOffsetFromUTC in the request is the zone of the dates and times of the
  request. Study and performed procedure step start are then compared in UTC with data that
  tells its zone; data that does not is compared as it stands. No zone is assumed where none is
  told. A DT value with an offset is compared in UTC.
- **Numbers** (VR IS, US) match by value.
- **Sequences**: all keys of a sequence must match in one item of it.
- **includefield** takes keywords, tags, paths and private tags, or `all` alone. Attributes
  below the level of the results are not returned. A sequence is returned whole."""

RESULTS: Final = """\
- **Order**: studies by Study Date and Study Time, newest first, then by Study Instance UID;
  series of a study by Series Number and UID; instances below a study or series by Series
  Number, Series Instance UID, Instance Number and SOP Instance UID. Series and instances of all
  studies come in the order in which they were stored. The order is total, so that pages do not
  overlap.
- **limit** is at most the maximum of section 6; **offset** is any unsigned integer.
- **Warning 299** tells how many results remain: `There are <n> additional results that can be
  requested`. Counting is bounded: where there are very many, it is `There are at least <n>
  additional results that can be requested`.
- Attributes that are always returned are empty when nothing is known. Modalities in Study is
  left out then.
- application/dicom+json, or multipart/related with one part of application/dicom+xml for each
  result."""

CHARACTER_SETS: Final = """\
Answers are always in UTF-8, and Specific Character Set (0008,0005) in metadata is `ISO_IR 192`.
Stored files keep theirs. These are read, with and without code extensions (ISO 2022), and also
when their names are misspelled in usual ways:

{terms}

Text beyond ASCII without a declared character set is read as UTF-8 if it is that, else as
Windows-1252. Characters that cannot be read are replaced in metadata and searches by U+FFFD,
never in the file. Queries are UTF-8, percent-encoded; other bytes are answered with 400."""

CONFIGURATION: Final = """\
The base URI is `{root}` at the address that BFR_HTTP names, or below BFR_PUBLIC_URL. URLs in
answers are made from BFR_PUBLIC_URL or from what the request says of itself (Host, Forwarded,
X-Forwarded-*; BFR_TRUST_FORWARDED=false ignores the latter two)."""

SECURITY: Final = """\
There is **no authentication, no authorisation and no encryption** in this version. The server
therefore listens on loopback addresses only and refuses to start on any other unless
BFR_ALLOW_UNAUTHENTICATED=true says that something in front of it decides who may come. Pages of
browsers may read from origins on the same machine and from those in BFR_CORS_ORIGINS. Logs,
metrics, error texts and generated URLs hold no patient data except UIDs in URLs that answers
contain. The preamble of received files is kept and sent as it is (PS3.10 section 7.5)."""

DEVIATIONS: Final = """\
1. What section 1.2 lists is missing.
2. An empty stored value does not match a key that has a value (PS3.4 C.2.2.1.2); see 2.4 (QID-34 of
   the conformance suite).
3. Implicit VR Little Endian and Explicit VR Big Endian are taken, and sent as Explicit VR Little
   Endian, also to clients that ask for `*` (PS3.18 section 8.7.3 wants neither used). In a ZIP
   file, which is no DICOM media type, `*` sends them byte for byte as they were received.
4. 206 is used without a Range request where only some instances can be sent (sections 8.5 and
   10.4.3.1 of PS3.18 differ).
5. An Accept header that nothing satisfies is answered with 406 (8.7.8.1), also where section
   8.3.3.1 would send the default.
6. A frame list need not be in ascending order.
7. A single application/dicom object is taken as the payload of Store.
8. Warning texts are those of PS3.18 section 8.3.4.4.1, without the quotes of RFC 7234.
9. Failure reasons 0111H and A901H are used beside those of PS3.18 Annex I."""


def document() -> str:
    sections = (
        ("# DICOM conformance statement of bfr_dicomweb", f"Version {__version__}.", ABOUT),
        ("## 1 Overview", "### 1.1 Services (N.1.3)", _services()),
        ("### 1.2 Not supported", table(("What", "PS3.18", "In the Standard"), ABSENT)),
        ("### 1.3 SOP classes (N.1.1)", CLASSES),
        ("### 1.4 Transfer syntaxes (N.1.1)", SYNTAXES, _transfer_syntaxes()),
        (
            "### 1.5 Transcoding on retrieve (PS3.18 8.7.3)",
            TRANSCODING.format(quality=encoding.JPEG_QUALITY),
            _transcoding(),
        ),
        (
            "### 1.6 Where the sections of PS3.2 Annex N are",
            table(("PS3.2", "What", "Sections here"), PLACES),
        ),
        (
            "## 2 Studies Service (N.5.3.2)",
            f"Paths are below the base URI, `{ROOT}`.",
            _resources("Studies"),
        ),
        ("### 2.1 All requests", REQUESTS),
        ("### 2.2 Retrieve", _retrieve(), _bulk_media_types()),
        ("### 2.3 Store", STORE, _parts(), _failure_reasons(), _warning_reasons()),
        ("### 2.4 Search", _search_parameters(), _searched_levels(), _keys(), _matching()),
        ("#### Results", _returned(), RESULTS),
        ("## 3 Status codes (N.7.3.3)", _statuses()),
        ("## 4 Deviations and choices", DEVIATIONS),
        ("## 5 Character sets (N.5.7)", _character_sets()),
        ("## 6 Configuration and limits (N.6.3)", CONFIGURATION.format(root=ROOT), _limits()),
        ("## 7 Security (N.8)", SECURITY),
        (
            "## 8 Worklist and procedure step services (N.5.3.3)",
            _resources(*worklist_statement.SERVICES),
        ),
        *worklist_statement.sections(),
        (
            "## 9 URI Service, ZIP files and Capabilities (N.5.3.1)",
            _resources(*uri_statement.SERVICES),
        ),
        *uri_statement.sections(),
        (
            "## 10 Storage commitment, deleting, change feed (N.5.3.6)",
            _resources(*commitment_statement.SERVICES),
        ),
        *commitment_statement.sections(),
        (
            "## 11 Non-Patient Instance service (N.5.3.4)",
            _resources(*non_patient_statement.SERVICES),
        ),
        *non_patient_statement.sections(),
    )
    return "\n\n".join(part for section in sections for part in section) + "\n"


def _code(items: Iterable[str]) -> str:
    return "<br>".join(f"`{item}`" for item in items)


def _mark(is_true: bool) -> str:
    return "yes" if is_true else "-"


# Sections of resources whose transaction is Retrieve.
_OF_VOLUMES: Final = {"10.4.1.1.7": "Retrieve Rendered MPR", "10.4.1.1.8": "Retrieve Rendered 3D"}


def _services() -> str:
    transactions = dict.fromkeys(
        (e.service, e.transaction, e.section) for e in ENDPOINTS if e.section
    )
    rows = (
        (f"{of}: {_OF_VOLUMES.get(section, name)}", section, "yes", "-")
        for of, name, section in transactions
    )
    # one route answers both transactions of the URI Service
    rendered = ("URI: Retrieve Rendered Instance", "9.5", "yes", "-")
    return table(("Service", "PS3.18", "Origin server", "User agent"), (*rows, rendered))


def _resources(*services: str) -> str:
    rows = (
        (e.method, f"`{e.path.replace(':path', '')}`", e.transaction, e.section, _code(e.produces))
        for e in ENDPOINTS
        if e.service in services
    )
    return table(("Method", "Resource", "Transaction", "PS3.18", "Answers"), rows)


def _has_frames(syntax: TransferSyntax) -> bool:
    """Not those that refer to pixel data elsewhere, and none that have no DICOM encoding."""
    return syntax.encapsulated is not False or syntax.codec is not Codec.NONE


def _transfer_syntaxes() -> str:
    rows = []
    for syntax in TRANSFER_SYNTAXES:
        native = syntax.encapsulated is False
        offers = (
            representations.pixel_offers(syntax.uid, native=native) if _has_frames(syntax) else ()
        )
        as_stored = dict.fromkeys(offer.media_type for offer in offers if offer.stored)
        decoded = any(offer.transfer_syntax_uid != syntax.uid or native for offer in offers)
        name = f"{syntax.name} (retired)" if syntax.retired else syntax.name
        rows.append(
            (
                name.replace("|", "\\|"),
                syntax.uid,
                _mark(syntax.decodable),
                _code(as_stored) or "-",
                _mark(decoded),
            )
        )
    head = (
        "Transfer syntax",
        "UID",
        "File in Explicit VR LE",
        "Frames as stored",
        "Frames decoded",
    )
    return table(head, rows)


def _transcoding() -> str:
    rows = (
        (
            one.transfer_syntax.uid,
            one.transfer_syntax.name.replace("|", "\\|"),
            _mark(one.decodes),
            one.encodes or "-",
        )
        for one in transcoding.capabilities()
    )
    return table(("UID", "Transfer syntax", "Decoded", "Encoded"), rows)


def _retrieve() -> str:
    retrieve = RETRIEVE.format(
        inline=part10.INLINE_BYTES, value=part10.VALUE_BYTES, whole=wado.WHOLE_METADATA
    )
    moving = VIDEOS.format(
        frame=round(DEFAULT_FRAME_MS),
        frames=cine.MAX_FRAMES,
        pixels=cine.MAX_PIXELS,
        side=cine.MAX_SIDE,
        gif=cine.MAX_GIF_PIXELS,
    )
    small = THUMBNAILS.format(
        tiles=thumbnails.MAX_TILES,
        default=thumbnails.DEFAULT_SIDE,
        most=thumbnails.MAX_SIDE,
        viewport=rendering_parameters.MAX_VIEWPORT,
        withheld=thumbnails.WITHHELD_SIDE,
        coarse=thumbnails.COARSE_SIDE,
    )
    shown = RENDERED.format(viewport=rendering_parameters.MAX_VIEWPORT)
    return f"{retrieve}\n{shown}\n{moving}\n{small}"


def _bulk_media_types() -> str:
    rows = (
        (
            f"`{row.media_type}`",
            ", ".join(row.transfer_syntax_uids[: row.defaults]),
            ", ".join(row.transfer_syntax_uids[row.defaults :]) or "-",
        )
        for row in media_types.COMPRESSED_BULKDATA
    )
    return table(("Compressed bulk data", "Without transfer-syntax", "When named"), rows)


def _failure_reasons() -> str:
    rows = []
    for error, code in stow.FAILURE_REASON.items():
        doc = (error.__doc__ or "").split("\n", maxsplit=1)[0]
        rows.append((f"{code:04X}H ({code})", "Anything else." if error is ArchiveError else doc))
    return table(("Failure Reason (0008,1197)", "When"), sorted(rows, key=lambda row: row[0]))


def _warning_reasons() -> str:
    reasons = ", ".join(f"{code:04X}H ({code})" for code in stow.WARNING_REASON.values())
    coerced = f"{stow.COERCED:04X}H ({stow.COERCED})"
    return WARNING.format(reasons=reasons, coerced=coerced)


def _parts() -> str:
    rows = [
        ("`application/octet-stream`", "Native pixel data, documents, any other bulk data"),
        *((f"`{name}`", "Pixel data, kept") for name in compressed_images.FAMILIES),
        (f"`{pixel_parts.RLE}`", "Pixel data that the metadata describes, kept"),
        *((f"`{name}`", "Video, kept") for name in sorted(pixel_parts.VIDEO_TYPES)),
        *((f"`{name}`", "Pixel data, decoded") for name in sorted(raster_images.RASTER)),
        *(
            (f"`{one.mime_type}`", f"Document of {UID(one.sop_class_uid).name}, kept")
            for one in encapsulated_documents.DOCUMENT_TYPES
        ),
    ]
    return PARTS.format(types=table(("Media type of a part", "What it may be"), rows))


def _search_parameters() -> str:
    search = next(e for e in ENDPOINTS if e.transaction == "Search")
    rows = [
        *((f"`{param.name}`", str(param.kind), param.meaning) for param in search.query),
        ("attribute", "as its VR", "A matching key: keyword, tag, or a path with dots."),
    ]
    return table(("Parameter", "Type", "Meaning"), rows)


_RESOURCE_OF: Final = {e.search_level: e.path for e in ENDPOINTS if e.search_level is not None}


def _searched_levels() -> str:
    rows = (
        (
            f"`{path}`",
            ", ".join(("patient", *(str(one) for one in Level if one in level.key_levels))),
        )
        for level, path in _RESOURCE_OF.items()
    )
    return table(("Resource", "Keys of these levels are matched"), rows)


# Values that show how a key is matched: each VR takes some of them.
_PROBES: Final = (
    ("1", "1.2", "CT", "064Y", "20240131", "101500", "20240131101500"),
    ("1.2,1.3", "CT,MR"),
    ("A*",),
    ("20240101-20240131", "10-11"),
    ('""',),
    ("A,B",),
)
_SHOWN: Final = ("Single", "List", "Wildcard", "Range", "Empty", "Several")
_KINDS: Final = (
    (Single, Number, Name, AnyOf, Range),
    (AnyOf,),
    (Wildcard, Name),
    (Range,),
    (Empty,),
    (Multiple,),
)


def _level_where_matched(level: Level) -> SearchLevel:
    return next(one for one in _RESOURCE_OF if one.level is level and level in one.key_levels)


def _probe(path: matching.Path, level: Level, value: str, switch: str) -> Match | None:
    params = [(".".join(path), value), *([(switch, "true")] if switch else [])]
    try:
        found = parse_search(params, level=_level_where_matched(level), max_results=1)
    except InvalidQuery:
        return None
    return found.keys[0].match if found.keys else None


def matches(path: matching.Path, level: Level) -> list[list[Match]]:
    """What a key can mean, for each kind of matching in the table of keys; found out by trying."""
    switches = ("", "", "", "", "emptyvaluematching", "multiplevaluematching")
    found: list[list[Match]] = []
    for values, kinds, switch in zip(_PROBES, _KINDS, switches, strict=True):
        tried = (_probe(path, level, value, switch) for value in values)
        found.append([one for one in tried if one is not None and isinstance(one, kinds)])
    ranges = _SHOWN.index("Range")
    found[ranges] = [one for one in found[ranges] if isinstance(one, Range) and not one.single]
    return found


def keywords(path: matching.Path) -> str:
    return ".".join(keyword_for_tag(int(tag, 16)) for tag in path)


def _keys() -> str:
    rows = []
    for path, level in matching.LEVEL_OF_KEY.items():
        name = keywords(path)
        shown = "patient" if path in matching.PATIENT_KEYS else str(level)
        rows.append(
            (
                name,
                ".".join(path),
                attributes.vr_of(path[-1]) or "",
                shown,
                "R" if name in REQUIRED_KEYS else "O",
                *map(_mark, map(bool, matches(path, level))),
            )
        )
    text = (
        "Keys that are matched. R: required by PS3.18 Table 10.6.1-5. Several: with"
        " multiplevaluematching. Empty: with emptyvaluematching. All of VR PN are matched"
        " phonetically with fuzzymatching. Every other attribute of PS3.6 may be asked for with an"
        " empty value or with includefield, and is not matched.\n\n"
    )
    return text + table(("Attribute", "Tag", "VR", "Level", "", *_SHOWN), rows)


def _matching() -> str:
    pairs = ", ".join(
        f"{keywords(date)} with {keywords(time)}" for date, time in matching.DATE_TIME_PAIRS
    )
    return MATCHING.format(pairs=pairs)


def _returned() -> str:
    rows = (
        (str(level), ", ".join(always.split()), ", ".join(known.split()))
        for level, (always, known) in RETURNED.items()
    )
    text = (
        "\n\nBeside these a result has the keys of the request and what includefield asks for, and"
        " what the resource leaves open of the levels above: /series has the attributes of the"
        " study, /instances those of study and series, /studies/{study}/instances those of the"
        " series."
    )
    return table(("Results", "Always", "When known"), rows) + text


def _statuses() -> str:
    for endpoint in ENDPOINTS:
        for status in endpoint.statuses if endpoint.service == "Studies" else ():
            if (endpoint.transaction, status) not in CONDITIONS:
                raise LookupError(f"{endpoint.transaction} {status} has no condition")
    rows = (
        (transaction or "any", f"{status} ({HTTPStatus(status).phrase})", condition)
        for (transaction, status), condition in CONDITIONS.items()
    )
    return table(("Transaction", "Status", "When"), rows)


def _character_sets() -> str:
    others = ("ISO_IR 14", "ISO_IR 87", "ISO_IR 159", *character_sets.DESIGNATED)
    names = dict.fromkeys((*character_sets.SINGLE, *others))
    return CHARACTER_SETS.format(
        terms=", ".join(name.replace("ISO 2022 IR", "ISO_IR") for name in names)
    )


def _limits() -> str:
    defaults = {field.name: field.default for field in fields(Service)}
    data_set, payload = part10.DEFAULT_LIMITS, multipart.DEFAULT_LIMITS
    rows = (
        ("Results of one search", defaults["max_results"], "BFR_MAX_RESULTS"),
        ("Characters of a query", defaults["max_query_length"], "BFR_MAX_QUERY_LENGTH"),
        ("Bytes of a request", "none", "BFR_MAX_REQUEST_BYTES"),
        ("Bytes of an object", "none", "BFR_MAX_OBJECT_BYTES"),
        ("Bytes of a decoded frame", 1 << 30, "BFR_MAX_FRAME_BYTES"),
        ("Free bytes below which nothing is stored", 64 << 20, "BFR_RESERVE_BYTES"),
        ("Frames in one list", wado.MAX_FRAMES_LISTED, "-"),
        ("Media types in Accept", media_types.MAX_RANGES, "-"),
        ("Characters of Accept", media_types.MAX_LENGTH, "-"),
        ("Byte ranges of a request, beyond which all is sent", byte_ranges.MAX_RANGES, "-"),
        ("Parts of a payload", payload.parts, "-"),
        ("Depth of sequences", data_set.depth, "-"),
        ("Elements of an object", data_set.elements, "-"),
        ("Items of an object", data_set.items, "-"),
        ("Bytes of an inflated data set", data_set.inflated_bytes, "-"),
        ("Bytes of an inflated data set that is sent", retrieve.MAX_INFLATED_BYTES, "-"),
        ("Objects on their way in, a process", store.IN_FLIGHT, "-"),
        ("Seconds of Retry-After", border.RETRY_AFTER_SECONDS, "-"),
    )
    return table(("Limit", "Default", "Setting"), ((a, str(b), c) for a, b, c in rows))


def main(arguments: list[str]) -> int:
    made = document()
    if "--check" in arguments:
        same = FILE.is_file() and FILE.read_text("utf-8") == made
        sys.stderr.write(f"{FILE} is {'up to date' if same else 'out of date: write it anew'}\n")
        return 0 if same else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
