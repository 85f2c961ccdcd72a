"""Every shared sample file through a running server: stored and served as it is, or refused.

Some files share a SOP Instance UID. The later one is refused for that, or not kept when its
data set is that of the first, and is then sent with another UID of the same length; all its
other bytes stay.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import frame_oracles as oracles
from http_described import deviation
from live import Live, running
from objects import multipart
from shared_data import NO_DCMTK, SHARED, dicom_files, require_shared_data

DICOM, OCTETS = "application/dicom", "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
# PS3.18 section 8.7.3 has no use for them.
NOT_USED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
AS_STORED = f"{OCTETS}; transfer-syntax=*"
MULTI_OCTETS = f'multipart/related; type="{OCTETS}"'
DECODED = f"{OCTETS}; transfer-syntax={EXPLICIT}"
TIMEOUT_S = 30
MEMORY_KIB = 600 * 1024

NO_STUDY = "Study Instance UID (0020,000D) is missing"
NO_PATIENT = "of no study: its resource is "
NO_META = "no DICM prefix: a data set without File Meta Information"
NO_PREAMBLE = "no DICM prefix: File Meta Information without preamble"
NO_SYNTAX = "Transfer Syntax UID (0002,0010) is missing or empty"

# Error Comment of each file that is refused; all others have to be stored.
REFUSED = {
    "by_modality/COLOR_PALETTE/hotiron.dcm": NO_PATIENT + "/color-palettes",
    "by_modality/COLOR_PALETTE/pet.dcm": NO_PATIENT + "/color-palettes",
    "by_modality/COLOR_PALETTE/spring.dcm": NO_PATIENT + "/color-palettes",
    "by_modality/DICOMDIR_set/DICOMDIR": NO_STUDY,
    "by_modality/DICOMDIR_set/DICOMDIR-bigEnd": NO_STUDY,
    "by_modality/DICOMDIR_set/DICOMDIR-empty.dcm": NO_STUDY,
    "by_modality/DICOMDIR_set/DICOMDIR-implicit": NO_STUDY,
    "by_modality/DICOMDIR_set/DICOMDIR-nooffset": (
        "the item at byte 10860 has only 224 of 248 bytes"
    ),
    "by_modality/DICOMDIR_set/DICOMDIR-nopatient": NO_STUDY,
    "by_modality/DICOMDIR_set/DICOMDIR-reordered": NO_STUDY,
    "by_modality/HP_hanging_protocol/NeurosurgeryPlan.dcm": NO_PATIENT + "/hanging-protocols",
    "by_transfer_syntax/1.2.840.10008.1.2.4.201_htj2k_lossless/HTJ2KLossless_08_RGB.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.203_htj2k/HTJ2K_08_RGB.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.70_jpeg_lossless_sv1/"
    "JPEGLosslessP14SV1_1s_1f_u_16_16.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.80_jpegls_lossless/JLSL_08_07_0_1F.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.80_jpegls_lossless/JLSL_16_15_1_1F.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.80_jpegls_lossless/JLSL_RGB_ILV0.dcm": NO_PREAMBLE,
    "by_transfer_syntax/1.2.840.10008.1.2.4.80_jpegls_lossless/JLSL_RGB_ILV1.dcm": NO_PREAMBLE,
    "by_transfer_syntax/1.2.840.10008.1.2.4.80_jpegls_lossless/JLSL_RGB_ILV2.dcm": NO_PREAMBLE,
    "by_transfer_syntax/1.2.840.10008.1.2.4.81_jpegls_near/JLSN_RGB_ILV0.dcm": NO_PREAMBLE,
    "by_transfer_syntax/1.2.840.10008.1.2.4.81_jpegls_near/JPEGLSNearLossless_08.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.81_jpegls_near/JPEGLSNearLossless_16.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.81_jpegls_near/SC_rgb_jls_lossy_line.dcm": NO_STUDY,
    "by_transfer_syntax/1.2.840.10008.1.2.4.81_jpegls_near/SC_rgb_jls_lossy_sample.dcm": NO_STUDY,
    "charsets/FreezePattern.dcm": "SOP Instance UID (0008,0018) is missing",
    "charsets/chrSQEncoding.dcm": NO_STUDY,
    "charsets/chrSQEncoding1.dcm": NO_STUDY,
    "odd/ExplVR_BigEndNoMeta.dcm": NO_META,
    "odd/ExplVR_LitEndNoMeta.dcm": NO_META,
    "odd/GH220.dcm": NO_STUDY,
    "odd/GH223.dcm": NO_STUDY,
    "odd/GH340.dcm": NO_META,
    "odd/GH487.dcm": NO_STUDY,
    "odd/MR_truncated.dcm": "(7FE0,0010) at byte 1488 has only 8130 of 8192 bytes",
    "odd/OT-PAL-8-face.dcm": NO_META,
    "odd/SYNTHETIC_bad_study_uid_path.dcm": (
        "Study Instance UID (0020,000D) is not made of digits and dots"
    ),
    "odd/SYNTHETIC_dataset_only_explicit.dcm": NO_META,
    "odd/SYNTHETIC_jpeg_named.dcm": "no DICM prefix: a JPEG image",
    "odd/SYNTHETIC_no_preamble_meta_first.dcm": NO_PREAMBLE,
    "odd/SYNTHETIC_no_sop_instance_uid.dcm": "SOP Instance UID (0008,0018) is missing",
    "odd/SYNTHETIC_no_study_uid.dcm": NO_STUDY,
    "odd/SYNTHETIC_not_dicom.dcm": "no DICM prefix: not a PS3.10 file",
    "odd/SYNTHETIC_preamble_only.dcm": NO_SYNTAX,
    "odd/SYNTHETIC_truncated_in_header.dcm": "(0008,0016) at byte 370 has only 22 of 26 bytes",
    "odd/SYNTHETIC_truncated_in_pixels.dcm": (
        "(7FE0,0010) at byte 1006 has only 724 of 1024 bytes"
    ),
    "odd/SYNTHETIC_uid_over_64.dcm": (
        "Series Instance UID (0020,000E) has more than 64 characters"
    ),
    "odd/SYNTHETIC_zero_bytes.dcm": "0 bytes are too few: not a PS3.10 file",
    "odd/UN_sequence.dcm": NO_STUDY,
    "odd/bad_sequence.dcm": "Study Instance UID (0020,000D) is not made of digits and dots",
    "odd/empty_charset_LEI.dcm": NO_STUDY,
    "odd/meta_missing_tsyntax.dcm": NO_SYNTAX,
    "odd/nested_priv_SQ.dcm": NO_STUDY,
    "odd/no_meta_group_length.dcm": NO_STUDY,
    "odd/priv_SQ.dcm": NO_STUDY,
    "odd/rtplan_truncated.dcm": "(300A,00B0) at byte 1410 has only 711 of 976 bytes",
    "odd/rtstruct.dcm": NO_META,
}
# Stored, but pydicom 3.0.2 does not get at the pixels, or at any attribute.
MISREAD = {
    "odd/GH1339.dcm": "a missing delimiter makes it drop everything",
    "odd/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "implicit items in big endian",
    "odd/GH179A.dcm": "a VR of NULs makes it read the rest as one value",
    "odd/SYNTHETIC_invalid_vr_bytes.dcm": "a VR ?? makes it read the rest as one value",
    "odd/badVR.dcm": "Number of Frames is 1A",
    "odd/emri_small_jpeg_2k_lossless_too_short.dcm": "a missing delimiter makes it drop everything",
}
BIG_ENDIAN_TWIN = "odd/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm"
LITTLE_ENDIAN_TWIN = "odd/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_ELE_undefinded_length.dcm"
MISREAD_PIXELS = MISREAD.keys() - {"odd/GH179A.dcm"}  # that one has none
# Character sets in which pydicom 3.0.2 does not read names as PS3.3 section C.12.1.1.2 says.
MISREAD_NAMES = {
    "charsets/SYNTHETIC_2022_58.dcm",
    "charsets/SYNTHETIC_ISO_IR_203.dcm",
    "charsets/chrGB2312.dcm",
}
MISREAD_NUMBER = "odd/SYNTHETIC_invalid_values.dcm"  # an IS that is no number
# Stored with pixels that no decoder reads; the manifest knows of none for these either.
BROKEN_PIXELS = {"odd/JPEG2000-embedded-sequence-delimiter.dcm"}
# Nobody knows what a data set of this transfer syntax would be in another one.
UNKNOWN_SYNTAX = "odd/SYNTHETIC_unknown_transfer_syntax.dcm"

COMPARED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate",
    "StudyTime", "AccessionNumber", "Modality", "PatientName", "PatientID", "PatientBirthDate",
    "PatientSex", "StudyID", "SeriesNumber", "InstanceNumber", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "PhotometricInterpretation", "PixelSpacing", "WindowCenter",
)  # fmt: skip


def file_id(path: Path) -> str:
    return path.relative_to(SHARED / "dicom").as_posix()


@cache
def manifest() -> dict[str, dict[str, str]]:
    with (SHARED / "MANIFEST.tsv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["path"].removeprefix("dicom/"): row for row in rows}


def is_image(path: Path) -> bool:
    check = manifest()[file_id(path)]["pixel_check"]
    return not check.startswith(("no pixel data", "native: FAILS"))


def is_native_explicit(path: Path) -> bool:
    return manifest()[file_id(path)]["transfer_syntax"] == EXPLICIT


def is_video(path: Path) -> bool:
    return manifest()[file_id(path)]["pixel_check"].startswith("video")


FILES = dicom_files()
KEPT = [path for path in FILES if file_id(path) not in REFUSED]
READ = [path for path in KEPT if file_id(path) not in MISREAD]
USED = [path for path in READ if manifest()[file_id(path)]["transfer_syntax"] not in NOT_USED]
MISREAD_IMAGES = [path for path in KEPT if file_id(path) in MISREAD_PIXELS]
IMAGES = [path for path in READ if is_image(path)]
WITHOUT_PIXELS = [path for path in READ if not is_image(path)]
UNDECODABLE = [path for path in IMAGES if is_video(path) or file_id(path) in BROKEN_PIXELS]
# Where decoding or rewriting has something to do.
TO_DECODE = [path for path in IMAGES if path not in UNDECODABLE and not is_native_explicit(path)]
TO_REWRITE = [path for path in TO_DECODE if file_id(path) != UNKNOWN_SYNTAX]
NOT_TO_REWRITE = [path for path in IMAGES if path in UNDECODABLE or file_id(path) == UNKNOWN_SYNTAX]

every_file = pytest.mark.parametrize("path", FILES, ids=file_id)
every_stored_file = pytest.mark.parametrize("path", KEPT, ids=file_id)
every_image = pytest.mark.parametrize("path", IMAGES, ids=file_id)


class Samples:
    """The sample files in one archive; each is sent when a test first needs it."""

    def __init__(self, live: Live, client: httpx2.Client) -> None:
        self.live = live
        self.client = client
        self._sent: dict[Path, tuple[bytes, httpx2.Response]] = {}
        self._metadata: dict[Path, dict[str, Any]] = {}
        self._taken: set[str] = set()

    def sent(self, path: Path) -> tuple[bytes, httpx2.Response]:
        """What was sent of this file, and the answer."""
        if path not in self._sent:
            file = path.read_bytes()
            response = self._post(file)
            uid = _sop_instance_uid(response)
            if uid and uid in self._taken:
                file = file.replace(uid.encode(), f"{uid[:-3]}{len(self._sent):03}".encode())
                response = self._post(file)
            self._taken.add(_sop_instance_uid(response))
            self._sent[path] = file, response
        return self._sent[path]

    def url(self, path: Path) -> str:
        _, response = self.sent(path)
        assert response.status_code in (200, 202), response.text
        url: str = response.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        return url

    def get(self, url: str, accept: str) -> httpx2.Response:
        return self.client.get(url, headers={"Accept": accept})

    def metadata(self, path: Path) -> dict[str, Any]:
        if path not in self._metadata:
            response = self.get(f"{self.url(path)}/metadata", "application/dicom+json")
            (self._metadata[path],) = response.json()
        return self._metadata[path]

    def _post(self, file: bytes) -> httpx2.Response:
        body, content_type = multipart([file])
        return self.client.post("/studies", content=body, headers={"Content-Type": content_type})


def _sop_instance_uid(response: httpx2.Response) -> str:
    """That of what was stored or refused; "" when the file has none."""
    report = response.json()
    told = report.get("00081199") or report.get("00081198") or {}
    (item,) = told.get("Value") or [{}]
    return str(item.get("00081155", {}).get("Value", [""])[0])


def _check(response: httpx2.Response) -> None:
    response.read()
    assert response.status_code < 500, response.text
    assert deviation(response) is None


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    require_shared_data()
    with (
        running(tmp_path_factory.mktemp("samples")) as live,
        httpx2.Client(
            base_url=live.url,
            headers={"Accept": "application/dicom+json"},
            event_hooks={"response": [_check]},
            timeout=TIMEOUT_S,
        ) as client,
    ):
        yield Samples(live, client)


def error_comment(response: httpx2.Response) -> str:
    report = response.json()
    (failure,) = report.get("00081198", report.get("0008119A"))["Value"]
    return str(failure["00000902"]["Value"][0])


@every_file
def test_a_file_is_stored_or_refused_for_its_defect(samples: Samples, path: Path) -> None:
    _, response = samples.sent(path)
    if file_id(path) in REFUSED:
        reason = REFUSED[file_id(path)]
        status = 409 if reason.startswith(NO_PATIENT) else 400
        assert (response.status_code, error_comment(response)) == (status, reason)
    else:
        assert response.status_code in (200, 202), error_comment(response)


@every_stored_file
def test_the_file_comes_back_byte_for_byte(samples: Samples, path: Path) -> None:
    """In a ZIP file, which has them in all transfer syntaxes."""
    file, _ = samples.sent(path)
    response = samples.get(samples.url(path), "application/zip; transfer-syntax=*")
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        (name,) = (name for name in archive.namelist() if name != "DICOMDIR")
        assert archive.read(name) == file


@pytest.mark.parametrize("path", USED, ids=file_id)
def test_the_file_is_sent_byte_for_byte_as_any(samples: Samples, path: Path) -> None:
    file, _ = samples.sent(path)
    response = samples.get(samples.url(path), f"{DICOM}; transfer-syntax=*")
    assert response.content == file


def comparable(attribute: dict[str, Any]) -> dict[str, Any]:
    """Without padding, and with null for what is empty."""
    values = [
        (value.strip(" \0") or None) if isinstance(value, str) else value
        for value in attribute.get("Value", ())
    ]
    return {"vr": str(attribute["vr"]), "Value": values}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "path", [path for path in READ if file_id(path) != MISREAD_NUMBER], ids=file_id
)
def test_the_metadata_says_what_pydicom_reads(samples: Samples, path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(samples.sent(path)[0]), stop_before_pixels=True)
    found = samples.metadata(path)
    expected = {
        f"{element.tag:08X}": comparable(element.to_json_dict(None, 0))
        for element in (dataset[keyword] for keyword in COMPARED if keyword in dataset)
        if file_id(path) not in MISREAD_NAMES or element.VR != "PN"
    }
    assert {tag: comparable(found[tag]) for tag in expected} == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", READ, ids=file_id)
def test_the_metadata_has_every_attribute_of_the_file(samples: Samples, path: Path) -> None:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    tags = {f"{tag:08X}" for tag in set(dataset.keys())}
    described = {tag for tag in tags if not tag.startswith("FFFE") and not tag.endswith("0000")}
    assert described <= samples.metadata(path).keys()


@pytest.mark.parametrize("path", READ, ids=file_id)
def test_the_metadata_names_the_stored_transfer_syntax(samples: Samples, path: Path) -> None:
    syntax = manifest()[file_id(path)]["transfer_syntax"]
    assert samples.metadata(path)["00083002"]["Value"][0] == syntax


@every_stored_file
def test_the_metadata_is_also_there_in_xml(samples: Samples, path: Path) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    response = samples.get(f"{samples.url(path)}/metadata", accept)
    _, _, xml = response.content.split(b"\r\n\r\n", 1)[1].partition(b"<?xml")
    root = ElementTree.fromstring(b"<?xml" + xml.rsplit(b"\r\n--", 1)[0])
    kept = {tag for tag in samples.metadata(path) if int(tag[:4], 16) % 2 == 0}
    assert kept <= {attribute.get("tag") for attribute in root}


def bulk_values(attributes: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Any]:
    """Each BulkDataURI, and the tags and item indices that lead to it."""
    for tag, attribute in attributes.items():
        if "BulkDataURI" in attribute:
            yield attribute["BulkDataURI"], (*path, tag)
        if attribute["vr"] == "SQ":
            for index, item in enumerate(attribute.get("Value", ())):
                yield from bulk_values(item, (*path, tag, index))


def raw_value(dataset: Dataset, path: tuple[Any, ...]) -> Any:
    """The bytes that pydicom has not interpreted yet; None when it has."""
    *parents, tag = path
    for sequence, index in zip(parents[::2], parents[1::2], strict=True):
        dataset = dataset[int(sequence, 16)].value[index]
    value = dataset.get_item(int(tag, 16)).value
    return value if isinstance(value, bytes) else None


def bulk_value(samples: Samples, url: str) -> bytes:
    """As one body, unless it is pixel data: that comes in as many parts as it has frames."""
    accept = AS_STORED if "/bulkdata/7FE0" not in url else f"{MULTI_OCTETS}; transfer-syntax=*"
    response = samples.get(url, accept)
    assert response.status_code == 200, response.text
    return response.content


@pytest.mark.parametrize("path", MISREAD_IMAGES, ids=file_id)
def test_bulk_values_that_pydicom_does_not_find_are_there(samples: Samples, path: Path) -> None:
    values = [bulk_value(samples, url) for url, _ in bulk_values(samples.metadata(path))]
    assert min(map(len, values)) > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", READ, ids=file_id)
def test_bulk_values_are_those_of_the_file(samples: Samples, path: Path) -> None:
    dataset = pydicom.dcmread(path)
    for url, places in bulk_values(samples.metadata(path)):
        value, expected = bulk_value(samples, url), raw_value(dataset, places)
        if places[-1] == "00420011" and "EncapsulatedDocumentLength" in dataset:
            expected = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
        if not places[-1].startswith("7FE0") and expected is not None:
            assert value == expected, places


def some_frames(path: Path) -> list[int]:
    """Indices of the first, the middle and the last; a video is one."""
    count = 1 if is_video(path) else oracles.frame_count(oracles.dataset_of(path))
    return sorted({0, count // 2, count - 1})


@pytest.mark.filterwarnings("ignore::UserWarning")
@every_image
def test_frames_as_stored_are_those_of_the_file(samples: Samples, path: Path) -> None:
    count = 1 if is_video(path) else oracles.frame_count(oracles.dataset_of(path))
    for index in some_frames(path):
        response = samples.get(f"{samples.url(path)}/frames/{index + 1}", AS_STORED)
        assert response.content == oracles.stored_frame(path, index, count), index


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", TO_DECODE, ids=file_id)
def test_decoded_frames_are_those_of_other_decoders(samples: Samples, path: Path) -> None:
    lossy = "_lossy_" in path.name and oracles.made_of(path) is not None
    for index in some_frames(path):
        response = samples.get(f"{samples.url(path)}/frames/{index + 1}", DECODED)
        expected = oracles.decoded_frame(path, index)
        if expected is None:
            pytest.skip(NO_DCMTK)
        near = lossy and oracles.is_near(response.content, expected, oracles.dataset_of(path))
        assert near or response.content == expected, index


@pytest.mark.parametrize(
    "path", [path for path in MISREAD_IMAGES if file_id(path) != BIG_ENDIAN_TWIN], ids=file_id
)
def test_frames_that_pydicom_does_not_find_are_in_the_file(samples: Samples, path: Path) -> None:
    frame = samples.get(f"{samples.url(path)}/frames/1", AS_STORED).content
    assert len(frame) > 300
    assert frame in samples.sent(path)[0]


@pytest.mark.parametrize(
    "path", [path for path in KEPT if file_id(path) == BIG_ENDIAN_TWIN], ids=file_id
)
def test_the_big_endian_twin_has_the_pixels_of_the_other(samples: Samples, path: Path) -> None:
    twin = oracles.dataset_of(SHARED / "dicom" / LITTLE_ENDIAN_TWIN)
    response = samples.get(f"{samples.url(path)}/frames/1", DECODED)
    assert response.content == oracles.native_frame(twin, 0)


@pytest.mark.parametrize("path", UNDECODABLE, ids=file_id)
def test_pixels_that_cannot_be_decoded_are_not_acceptable(samples: Samples, path: Path) -> None:
    assert samples.get(f"{samples.url(path)}/frames/1", DECODED).status_code == 406


@pytest.mark.parametrize("path", NOT_TO_REWRITE, ids=file_id)
def test_a_file_that_cannot_be_rewritten_is_not_acceptable(samples: Samples, path: Path) -> None:
    response = samples.get(samples.url(path), f"{DICOM}; transfer-syntax={EXPLICIT}")
    assert response.status_code == 406


@pytest.mark.parametrize("path", WITHOUT_PIXELS, ids=file_id)
def test_an_instance_without_pixels_has_no_frames(samples: Samples, path: Path) -> None:
    assert samples.get(f"{samples.url(path)}/frames/1", "*/*").status_code == 404


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", TO_REWRITE, ids=file_id)
def test_the_file_in_explicit_little_endian_has_the_same_pixels(
    samples: Samples, path: Path
) -> None:
    url = samples.url(path)
    response = samples.get(url, f"{DICOM}; transfer-syntax={EXPLICIT}")
    made = pydicom.dcmread(io.BytesIO(response.content))
    assert made.file_meta.TransferSyntaxUID == EXPLICIT
    for index in some_frames(path):
        frame = samples.get(f"{url}/frames/{index + 1}", DECODED).content
        if made.get("PlanarConfiguration") != oracles.dataset_of(path).get("PlanarConfiguration"):
            frame = by_pixel(frame, made)
        assert oracles.native_frame(made, index) == frame, index


def by_pixel(planes: bytes, dataset: Dataset) -> bytes:
    cells = np.frombuffer(planes, f"V{dataset.BitsAllocated // 8}")
    return cells.reshape(dataset.SamplesPerPixel, -1).T.tobytes()


def test_no_bug_is_in_the_log(samples: Samples) -> None:
    assert "bug" not in samples.live.log.read_text()


def test_the_server_has_stayed_small(samples: Samples) -> None:
    status = Path(f"/proc/{samples.live.pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is told by Linux only")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert int(peak) < MEMORY_KIB
