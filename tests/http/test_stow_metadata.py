"""Store of metadata and bulk data (PS3.18 section 10.5.1.4); tests bear the cases' numbers."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset as PydicomDataset
from pydicom import dcmread
from pydicom.uid import UID

from live import Live, running
from metadata_parts import (
    AS_STORED,
    CDA,
    COLOUR,
    GREY,
    GREY_16,
    JSON,
    MTL,
    OBJ,
    OCTETS,
    PDF,
    STL,
    XML,
    Bulk,
    Dataset,
    Samples,
    described,
    element,
    errors_of,
    gif,
    jpeg,
    mp4,
    native,
    of_odd_size,
    payload,
    png,
    referred,
    saved,
    send,
    stored_paths,
    texts,
)
from objects import an_object, uid
from retrieved import raw_parts

CT = "1.2.840.10008.5.1.4.1.1.2"
MAX_BULK = 8 << 20
SYNTAX = "1.2.840.10008.1.2."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = {"max_bulk_bytes": str(MAX_BULK), "max_metadata_bytes": "1000000"}
    with running(tmp_path_factory.mktemp("parts"), settings) as live:
        yield live


def file_of(client: httpx2.Client, path: str) -> PydicomDataset:
    answer = client.get(path, headers=AS_STORED)
    assert answer.status_code == 200, answer.text
    return dcmread(io.BytesIO(answer.content))


def frames_of(client: httpx2.Client, path: str, numbers: str = "1") -> list[bytes]:
    """As they are stored."""
    headers = {"Accept": f'multipart/related; type="{OCTETS}"; transfer-syntax=*'}
    answer = client.get(f"{path}/frames/{numbers}", headers=headers)
    assert answer.status_code == 200, answer.text
    return raw_parts(answer)


def metadata_of(client: httpx2.Client, path: str) -> Dataset:
    (found,) = client.get(f"{path}/metadata").raise_for_status().json()
    return dict(found)


def url_of(path: str) -> dict[str, str]:
    study, series, instance = path.split("/")[2::2]
    return {"0020000D": study, "0020000E": series, "00080018": instance}


class TestMetadata:
    def test_stw_16_json_and_native_pixels_come_back_equal(self, client: httpx2.Client) -> None:
        sent = described(CT) | native(50, 71)
        (path,) = stored_paths(send(client, [sent], Bulk(GREY_16.tobytes())))
        found = metadata_of(client, path)
        kept = {tag: one for tag, one in sent.items() if tag != "7FE00010"}
        assert kept | {"00080005": element("CS", "ISO_IR 192")} == {
            tag: found[tag] for tag in found if tag not in ("7FE00010", "00083002")
        }
        assert frames_of(client, path) == [GREY_16.tobytes()]

    def test_stw_17_xml_and_native_pixels_come_back_equal(
        self, client: httpx2.Client, store: Callable[..., httpx2.Response]
    ) -> None:
        first, copied = an_object(), uid()
        (path,) = stored_paths(store([first]))
        (document,) = raw_parts(
            client.get(f"{path}/metadata", headers={"Accept": f'multipart/related; type="{XML}"'})
        )
        instance = path.rsplit("/", 1)[1]
        document = document.replace(f">{instance}<".encode(), f">{copied}<".encode())
        location = f"{str(client.base_url).rstrip('/')}{path}/bulkdata/7FE00010"
        pixels = dcmread(io.BytesIO(first)).PixelData
        body, content_type = payload([document], [Bulk(pixels, location=location)], root_type=XML)
        if location.encode() not in document:  # small values are inline
            body, content_type = payload([document], root_type=XML)
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 200, answer.text
        (copy,) = stored_paths(answer)
        before, after = metadata_of(client, path), metadata_of(client, copy)
        for found in (before, after):
            del found["00080018"]
            found.pop("7FE00010")
        assert after == before
        assert frames_of(client, copy) == [pixels]

    def test_stw_18_two_instances_of_one_array_are_both_stored(self, client: httpx2.Client) -> None:
        series = {"0020000D": element("UI", uid()), "0020000E": element("UI", uid())}
        sent = [
            described(CT) | native(50, 71) | series | {"7FE00010": referred("OW", f"bulk/{number}")}
            for number in (1, 2)
        ]
        parts = [Bulk((GREY_16 + number).tobytes(), location=f"bulk/{number}") for number in (2, 1)]
        paths = stored_paths(send(client, sent, *parts))
        assert [frames_of(client, path) for path in paths] == [
            [(GREY_16 + number).tobytes()] for number in (1, 2)
        ]

    def test_stw_19_a_reference_without_its_part_is_refused(self, client: httpx2.Client) -> None:
        sent = described(CT) | native(50, 71)
        answer = send(client, [sent], status=400)
        assert texts(answer) == ["bulk data is referred to that is no part of the payload"]
        study = sent["0020000D"]["Value"][0]
        assert client.get(f"/studies/{study}/metadata").status_code == 404

    def test_stw_26_file_meta_in_the_metadata_is_not_believed(self, client: httpx2.Client) -> None:
        sent = described(CT) | native(50, 71) | {"00020010": element("UI", SYNTAX + "4.70")}
        (path,) = stored_paths(send(client, [sent], Bulk(GREY_16.tobytes())))
        assert file_of(client, path).file_meta.TransferSyntaxUID == SYNTAX + "1"

    def test_bulk_data_is_taken_in_sequences_too(self, client: httpx2.Client) -> None:
        item = {"56000020": referred("OF", "spectrum")}
        sent = described(CT) | native(50, 71) | {"00420013": element("SQ", item)}
        spectrum = np.arange(1000, dtype="<f4").tobytes()
        (path,) = stored_paths(
            send(client, [sent], Bulk(GREY_16.tobytes()), Bulk(spectrum, location="spectrum"))
        )
        assert file_of(client, path)[0x00420013][0][0x56000020].value == spectrum

    def test_metadata_alone_needs_no_parts(self, client: httpx2.Client) -> None:
        sent = described("1.2.840.10008.5.1.4.1.1.11.1")
        del sent["7FE00010"]
        answer = client.post("/studies", content=json.dumps([sent]), headers={"Content-Type": JSON})
        assert answer.status_code == 200, answer.text

    def test_numbers_that_json_cannot_tell_are_kept(self, client: httpx2.Client) -> None:
        large = {
            "00081163": {"vr": "FD", "Value": [1.5]},
            "00720083": element("UV", str(2**64 - 1)),
        }
        sent = described(CT) | native(50, 71) | large
        (path,) = stored_paths(send(client, [sent], Bulk(GREY_16.tobytes())))
        assert file_of(client, path)[0x00720083].value == 2**64 - 1


# --- images ----------------------------------------------------------------------------------


J2K: dict[str, Any] = {"level": 0, "reversible": True}
COMPRESSED = [
    pytest.param(jpeg(), "image/jpeg", "4.50", id="STW-20 colour"),
    pytest.param(of_odd_size(jpeg(GREY)), "image/jpeg", "4.50", id="grey, odd"),
    pytest.param(jpeg(progressive=True), "image/jpeg", "4.55", id="progressive"),
    pytest.param(imagecodecs.ljpeg_encode(GREY_16), "image/jpeg", "4.57", id="lossless"),
    pytest.param(imagecodecs.jpegls_encode(GREY), "image/jls", "4.80", id="JPEG-LS"),
    pytest.param(
        imagecodecs.jpeg2k_encode(GREY_16, codecformat="j2k", **J2K), "image/jp2", "4.90", id="j2k"
    ),
    pytest.param(imagecodecs.htj2k_encode(COLOUR), "image/jph", "4.201", id="HTJ2K"),
    pytest.param(imagecodecs.htj2k_encode(GREY, tlm=True), "image/jphc", "4.202", id="RPCL"),
    pytest.param(imagecodecs.jpegxl_encode(GREY, lossless=True), "image/jxl", "4.110", id="jxl"),
    pytest.param(
        imagecodecs.jpegxl_encode(COLOUR, distance=1.0), "image/jxl", "4.112", id="jxl, lossy"
    ),
    pytest.param(imagecodecs.jpegxl_encode_jpeg(jpeg()), "image/jxl", "4.111", id="jxl of JPEG"),
]
JPEG_2000_FILE = saved(COLOUR, "JPEG2000", mct=1)


class TestImages:
    @pytest.mark.parametrize(("frame", "media_type", "syntax"), COMPRESSED)
    def test_a_compressed_image_is_kept_byte_for_byte(
        self, client: httpx2.Client, frame: bytes, media_type: str, syntax: str
    ) -> None:
        (path,) = stored_paths(send(client, [described()], Bulk(bytes(frame), media_type)))
        assert frames_of(client, path) == [bytes(frame)]
        stored = file_of(client, path)
        assert stored.file_meta.TransferSyntaxUID == SYNTAX + syntax
        assert (stored.Rows, stored.Columns) == GREY.shape

    @pytest.mark.parametrize(("frame", "media_type", "syntax"), COMPRESSED)
    def test_what_is_derived_is_what_decoding_needs(
        self, client: httpx2.Client, frame: bytes, media_type: str, syntax: str
    ) -> None:
        (path,) = stored_paths(send(client, [described()], Bulk(bytes(frame), media_type)))
        stored = metadata_of(client, path)
        samples, bits = (stored[tag]["Value"][0] for tag in ("00280002", "00280100"))
        decoded = client.get(f"{path}/frames/1", headers={"Accept": OCTETS})
        assert decoded.status_code == 200, syntax
        assert len(decoded.content) == GREY.size * samples * bits // 8

    def test_stw_20_the_pixel_description_is_derived(self, client: httpx2.Client) -> None:
        (path,) = stored_paths(send(client, [described()], Bulk(jpeg(), "image/jpeg")))
        stored = file_of(client, path)
        assert (stored.SamplesPerPixel, stored.PhotometricInterpretation) == (3, "YBR_FULL_422")
        assert (stored.BitsAllocated, stored.BitsStored, stored.HighBit) == (8, 8, 7)
        assert (stored.PixelRepresentation, stored.PlanarConfiguration) == (0, 0)
        assert stored.LossyImageCompression == "01"
        assert stored.LossyImageCompressionMethod == "ISO_10918_1"
        assert stored.LossyImageCompressionRatio > 1

    def test_stw_20_the_picture_is_the_one_that_was_sent(self, client: httpx2.Client) -> None:
        (path,) = stored_paths(send(client, [described()], Bulk(jpeg(), "image/jpeg")))
        wanted = np.asarray(Image.open(io.BytesIO(jpeg())))
        shown = file_of(client, path).pixel_array
        assert np.abs(shown.astype(int) - wanted).mean() < 2

    @pytest.mark.parametrize(
        "samples",
        [
            pytest.param(GREY, id="STW-21 grey"),
            pytest.param(GREY_16, id="16 bits"),
            pytest.param(COLOUR, id="colour"),
            pytest.param(np.stack([GREY_16] * 3, axis=-1), id="colour of 16 bits"),
        ],
    )
    def test_stw_21_the_pixels_of_a_png_are_those_of_the_object(
        self, client: httpx2.Client, samples: Samples
    ) -> None:
        sent = described(CT)
        (path,) = stored_paths(send(client, [sent], Bulk(png(samples), "image/png")))
        stored = file_of(client, path)
        assert stored.file_meta.TransferSyntaxUID == SYNTAX + "1"
        assert (stored.pixel_array == samples).all()

    def test_the_transparency_of_a_png_is_left_out(self, client: httpx2.Client) -> None:
        samples = np.concatenate([COLOUR, GREY[:, :, None]], axis=-1)
        (path,) = stored_paths(send(client, [described()], Bulk(png(samples), "image/png")))
        assert (file_of(client, path).pixel_array == COLOUR).all()

    def test_stw_22_an_animated_gif_has_as_many_frames(self, client: httpx2.Client) -> None:
        frames = [GREY, GREY[::-1], 255 - GREY]
        sent = described("1.2.840.10008.5.1.4.1.1.3.1")
        (path,) = stored_paths(send(client, [sent], Bulk(gif(frames), "image/gif")))
        stored = file_of(client, path)
        assert (stored.NumberOfFrames, stored.FrameTime) == (3, 40)
        assert (stored.pixel_array == np.stack(frames)).all()

    def test_stw_22_frames_that_are_shown_unevenly_have_a_vector(
        self, client: httpx2.Client
    ) -> None:
        file = gif([GREY, GREY[::-1], 255 - GREY], durations=[40, 80, 120])
        sent = described("1.2.840.10008.5.1.4.1.1.3.1")
        (path,) = stored_paths(send(client, [sent], Bulk(file, "image/gif")))
        assert list(file_of(client, path).FrameTimeVector) == [0, 40, 80]

    def test_stw_23_the_boxes_of_jp2_are_taken_off(self, client: httpx2.Client) -> None:
        (path,) = stored_paths(send(client, [described()], Bulk(JPEG_2000_FILE, "image/jp2")))
        (frame,) = frames_of(client, path)
        assert frame.startswith(b"\xff\x4f\xff\x51")
        assert frame == JPEG_2000_FILE[-len(frame) :]
        stored = file_of(client, path)
        assert stored.file_meta.TransferSyntaxUID == SYNTAX + "4.90"
        assert (stored.pixel_array == COLOUR).all()

    def test_stw_24_one_part_a_compressed_frame(self, client: httpx2.Client) -> None:
        frames = [of_odd_size(jpeg(GREY)), jpeg(GREY[::-1]), of_odd_size(jpeg(255 - GREY))]
        sent = described("1.2.840.10008.5.1.4.1.1.3.1")
        parts = [Bulk(frame, "image/jpeg") for frame in frames]
        (path,) = stored_paths(send(client, [sent], *parts))
        assert frames_of(client, path, "1,2,3") == frames
        assert file_of(client, path).NumberOfFrames == 3

    def test_frames_have_a_basic_offset_table_that_others_read(self, client: httpx2.Client) -> None:
        frames = [of_odd_size(jpeg(GREY)), jpeg(GREY[::-1])]
        sent = described("1.2.840.10008.5.1.4.1.1.3.1")
        (path,) = stored_paths(send(client, [sent], *(Bulk(one, "image/jpeg") for one in frames)))
        shown = file_of(client, path).pixel_array
        assert np.abs(shown[1].astype(int) - GREY[::-1]).mean() < 2

    def test_native_frames_may_be_parts_of_their_own(self, client: httpx2.Client) -> None:
        frames = [GREY_16, GREY_16[::-1]]
        sent = described("1.2.840.10008.5.1.4.1.1.3.1") | native(50, 71, frames=2)
        (path,) = stored_paths(send(client, [sent], *(Bulk(one.tobytes()) for one in frames)))
        assert (file_of(client, path).pixel_array == np.stack(frames)).all()

    def test_the_transfer_syntax_that_the_part_names_is_taken(self, client: httpx2.Client) -> None:
        media_type = f"image/jpeg; transfer-syntax={SYNTAX}4.51"
        (path,) = stored_paths(send(client, [described()], Bulk(jpeg(), media_type)))
        assert file_of(client, path).file_meta.TransferSyntaxUID == SYNTAX + "4.51"

    def test_pixels_of_one_bit_are_packed(self, client: httpx2.Client) -> None:
        sent = described("1.2.840.10008.5.1.4.1.1.66.4") | native(5, 7, bits=1, frames=5)
        packed = bytes(range(22))
        (path,) = stored_paths(send(client, [sent], Bulk(packed)))
        assert file_of(client, path).PixelData == packed


# --- what says nothing of itself -------------------------------------------------------------

PHOTOGRAPH = [{"7FE00010": referred("OB")}]
DOCUMENT = [{"00420011": referred("OB")}]
FILM = mp4(bytes(10_001))


def odd(document: bytes, filling: bytes = b" ") -> bytes:
    return document if len(document) % 2 else document + filling


BARE = [
    pytest.param(PHOTOGRAPH, jpeg(), "image/jpeg", "77.1.4", id="photograph"),
    pytest.param(PHOTOGRAPH, of_odd_size(jpeg()), "image/jpeg", "77.1.4", id="odd photograph"),
    pytest.param(PHOTOGRAPH, jpeg(GREY), "image/jpeg", "7", id="grey photograph"),
    pytest.param(PHOTOGRAPH, JPEG_2000_FILE, "image/jp2", "77.1.4", id="JPEG 2000"),
    pytest.param(PHOTOGRAPH, png(COLOUR), "image/png", "77.1.4", id="PNG"),
    pytest.param(PHOTOGRAPH, png(GREY_16), "image/png", "7", id="PNG of 16 bits"),
    pytest.param(PHOTOGRAPH, gif([GREY, GREY[::-1]]), "image/gif", "7.2", id="grey GIF"),
    pytest.param(PHOTOGRAPH, gif([COLOUR, COLOUR[::-1]]), "image/gif", "7.4", id="GIF"),
    pytest.param(PHOTOGRAPH, FILM, "video/mp4", "77.1.4.1", id="film"),
    pytest.param(DOCUMENT, PDF, "application/pdf", "104.1", id="PDF"),
    pytest.param(DOCUMENT, CDA, "text/xml", "104.2", id="CDA"),
    pytest.param(DOCUMENT, STL, "model/stl", "104.3", id="STL"),
    pytest.param(DOCUMENT, OBJ, "model/obj", "104.4", id="OBJ"),
    pytest.param(DOCUMENT, MTL, "model/mtl", "104.5", id="MTL"),
]


class TestWhatIsNotDicom:
    @pytest.mark.parametrize(("metadata", "content", "media_type", "sop_class"), BARE)
    def test_it_becomes_an_object_of_a_fitting_class(
        self,
        client: httpx2.Client,
        metadata: list[Dataset],
        content: bytes,
        media_type: str,
        sop_class: str,
    ) -> None:
        answer = send(client, metadata, Bulk(content, media_type), status=202)
        (path,) = stored_paths(answer)
        stored = file_of(client, path)
        assert stored.SOPClassUID == f"1.2.840.10008.5.1.4.1.1.{sop_class}"
        assert stored.file_meta.MediaStorageSOPInstanceUID == stored.SOPInstanceUID

    # the validator does not know the classes of OBJ and MTL
    @pytest.mark.parametrize(("metadata", "content", "media_type", "sop_class"), BARE[:-2])
    def test_an_independent_validator_finds_no_error(
        self,
        client: httpx2.Client,
        tmp_path: Path,
        metadata: list[Dataset],
        content: bytes,
        media_type: str,
        sop_class: str,
    ) -> None:
        program = shutil.which("dciodvfy")
        if program is None:
            pytest.skip("dicom3tools is not installed: apt-get install dicom3tools")
        answer = send(client, metadata, Bulk(content, media_type), status=202)
        (path,) = stored_paths(answer)
        file = client.get(path, headers=AS_STORED).content
        # nobody knows what part of the body a film shows
        unknown = "AnatomicRegionSequence"
        found = [one for one in errors_of(tmp_path, file, program) if unknown not in one]
        assert found == [], sop_class

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (odd(PDF), "application/pdf"),
            (odd(PDF) + b" ", "application/pdf"),
            (odd(CDA), "text/xml"),
            (odd(STL), "model/stl"),
            (odd(OBJ), "model/obj"),
        ],
    )
    def test_stw_25_a_document_comes_back_byte_for_byte(
        self, client: httpx2.Client, content: bytes, media_type: str
    ) -> None:
        (path,) = stored_paths(send(client, DOCUMENT, Bulk(content, media_type), status=202))
        found = client.get(f"{path}/bulkdata/00420011", headers={"Accept": f"{OCTETS}, */*"})
        assert found.content == content
        assert file_of(client, path).EncapsulatedDocumentLength == len(content)

    def test_stw_25_a_document_with_its_metadata_is_stored_without_warning(
        self, client: httpx2.Client
    ) -> None:
        sent = described(
            "1.2.840.10008.5.1.4.1.1.104.1",
            x00420011=referred("OB"),
            x00420012=element("LO", "application/pdf"),
            x00280301=element("CS", "NO"),
            x00080064=element("CS", "SI"),
        )
        del sent["7FE00010"]
        (path,) = stored_paths(send(client, [sent], Bulk(PDF, "application/pdf")))
        assert file_of(client, path).EncapsulatedDocument.rstrip(b"\0") == PDF

    def test_a_small_document_is_whole_in_the_metadata(self, client: httpx2.Client) -> None:
        content = odd(MTL)
        (path,) = stored_paths(send(client, DOCUMENT, Bulk(content, "model/mtl"), status=202))
        inline = PydicomDataset.from_json(metadata_of(client, path)).EncapsulatedDocument
        assert inline == content

    def test_the_identifier_of_a_clinical_document_is_derived(self, client: httpx2.Client) -> None:
        (path,) = stored_paths(send(client, DOCUMENT, Bulk(CDA, "text/xml"), status=202))
        stored = file_of(client, path)
        assert stored.HL7InstanceIdentifier == "1.2.3^d-1"
        assert stored.MIMETypeOfEncapsulatedDocument == "text/XML"

    @pytest.mark.parametrize("size", [10_000, 10_001])
    def test_a_film_comes_back_byte_for_byte(self, client: httpx2.Client, size: int) -> None:
        film = mp4(bytes(size))
        (path,) = stored_paths(send(client, PHOTOGRAPH, Bulk(film, "video/mp4"), status=202))
        assert frames_of(client, path) == [film]
        stored = file_of(client, path)
        assert (stored.NumberOfFrames, stored.FrameTime, stored.CineRate) == (50, 40, 25)
        assert (stored.Rows, stored.Columns) == (480, 640)
        assert stored.file_meta.TransferSyntaxUID == SYNTAX + "4.102"

    def test_stw_27_what_was_supplied_is_told(self, client: httpx2.Client) -> None:
        answer = send(client, PHOTOGRAPH, Bulk(jpeg(), "image/jpeg"), status=202)
        (item,) = answer.json()["00081199"]["Value"]
        assert item["00081196"]["Value"] == [0xB000]
        ((modified,),) = (one["04000550"]["Value"] for one in item["04000561"]["Value"])
        assert {"00080016", "00080018", "0020000D", "0020000E", "00080060"} <= modified.keys()

    def test_stw_27_what_was_supplied_stands_in_the_object(self, client: httpx2.Client) -> None:
        answer = send(client, PHOTOGRAPH, Bulk(jpeg(), "image/jpeg"), status=202)
        (path,) = stored_paths(answer)
        (original,) = file_of(client, path).OriginalAttributesSequence
        assert original.ReasonForTheAttributeModification == "COERCE"
        assert "SOPInstanceUID" in original.ModifiedAttributesSequence[0]

    def test_what_has_no_identity_belongs_together(self, client: httpx2.Client) -> None:
        sent: list[Dataset] = [{"7FE00010": referred("OB", name)} for name in ("a", "b")]
        parts = [Bulk(jpeg(), "image/jpeg", name) for name in ("a", "b")]
        paths = stored_paths(send(client, sent, *parts, status=202))
        series = {path.rsplit("/instances", 1)[0] for path in paths}
        assert (len(set(paths)), len(series)) == (2, 1)

    def test_the_study_of_the_target_is_the_one_that_is_missing(
        self, client: httpx2.Client
    ) -> None:
        study = uid()
        answer = send(
            client,
            PHOTOGRAPH,
            Bulk(jpeg(), "image/jpeg"),
            path=f"/studies/{study}",
            status=202,
        )
        assert stored_paths(answer)[0].startswith(f"/studies/{study}/")

    def test_made_uids_are_valid(self, client: httpx2.Client) -> None:
        answer = send(client, PHOTOGRAPH, Bulk(jpeg(), "image/jpeg"), status=202)
        for found in url_of(stored_paths(answer)[0]).values():
            assert UID(found).is_valid

    def test_a_class_that_is_not_of_such_things_gets_nothing(self, client: httpx2.Client) -> None:
        sent = described(CT) | native(50, 71)
        del sent["00080070"], sent["00400555"]
        (path,) = stored_paths(send(client, [sent], Bulk(GREY_16.tobytes())))
        assert not {"00080070", "00400555", "04000561"} & metadata_of(client, path).keys()


# --- what is refused -------------------------------------------------------------------------


def _ct(**elements: Any) -> Dataset:
    return described(CT) | native(50, 71) | {key[1:]: value for key, value in elements.items()}


PIXELS = Bulk(GREY_16.tobytes())
REFUSED = [
    ("size", _ct(), [Bulk(GREY_16.tobytes()[:-2])], "the pixel data has 7098 bytes, not the 7100"),
    (
        "no rows",
        _ct(x00280010=element("US")),
        [PIXELS],
        "Rows (0028,0010) is needed for pixel data",
    ),
    (
        "no samples",
        _ct(x00280002=element("US")),
        [PIXELS],
        "Samples per Pixel (0028,0002) is needed",
    ),
    ("frames", _ct(x00280008=element("IS", 2)), [PIXELS], "the pixel data has 7100 bytes, not"),
    (
        "rows",
        described(x00280010=element("US", 51)),
        [Bulk(jpeg(), "image/jpeg")],
        "Rows (0028,0010) contradicts the pixel data",
    ),
    ("type", described(), [Bulk(jpeg(), "image/jp2")], "the pixel data is JPEG, not image/jp2"),
    (
        "syntax",
        described(),
        [Bulk(jpeg(), f"image/jpeg; transfer-syntax={SYNTAX}4.70")],
        "the pixel data is not what transfer syntax 1.2.840.10008.1.2.4.7",
    ),
    ("no image", described(), [Bulk(b"nothing", "image/jpeg")], "pixel data: no known codestream"),
    ("empty", described(), [Bulk(b"", "image/jpeg")], "pixel data: no known codestream"),
    ("no PNG", described(), [Bulk(jpeg(), "image/png")], "pixel data: the image is no PNG"),
    ("no film", described(), [Bulk(jpeg(), "video/mp4")], "pixel data: the video is neither MP4"),
    (
        "cut",
        described(),
        [Bulk(jpeg()[:-100], "image/jpeg")],
        "pixel data: a JPEG stream without its end: it is cut off",
    ),
    (
        "frames of two sizes",
        described(),
        [Bulk(jpeg(), "image/jpeg"), Bulk(jpeg(COLOUR[1:]), "image/jpeg")],
        "the frames of the pixel data have different sizes or colours",
    ),
    (
        "number of frames",
        described(x00280008=element("IS", 3)),
        [Bulk(jpeg(), "image/jpeg")],
        "1 frames for a Number of Frames (0028,0008) of 3",
    ),
    (
        "two types",
        described(),
        [Bulk(jpeg(), "image/jpeg"), Bulk(png(COLOUR), "image/png")],
        "the frames of the pixel data have different media types",
    ),
    (
        "no PDF",
        _ct(x00420011=referred("OB", "d")),
        [PIXELS, Bulk(b"x" * 9, "application/pdf", "d")],
        "the document is no PDF",
    ),
    (
        "another document",
        _ct(x00420011=referred("OB", "d"), x00420012=element("LO", "text/XML")),
        [PIXELS, Bulk(PDF, "application/pdf", "d")],
        "a application/pdf document is not what was described",
    ),
    (
        "size of numbers",
        _ct(x00080106=referred("FD", "n")),
        [PIXELS, Bulk(b"12345", location="n")],
        "bulk data of VR FD has 5 bytes",
    ),
    (
        "characters",
        _ct(x00080119=referred("UC", "t")),
        [PIXELS, Bulk(b"\xff\xfe", location="t")],
        "bulk data of VR UC has to be in UTF-8",
    ),
    ("number", _ct(x00280010=element("US", 70000)), [PIXELS], "Rows (0028,0010) must be a number"),
    (
        "sequence",
        _ct(x00081140=element("SQ", 1)),
        [PIXELS],
        "Referenced Image Sequence (0008,1140)",
    ),
    (
        "base64",
        _ct(x00420011={"vr": "OB", "InlineBinary": "!"}),
        [PIXELS],
        "Encapsulated Document (0042,0011) must have its value in base64",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(
        ("sent", "parts", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
    )
    def test_what_is_wrong_with_an_instance_is_told(
        self, client: httpx2.Client, sent: Dataset, parts: list[Bulk], text: str
    ) -> None:
        answer = send(client, [sent], *parts, status=400)
        (item,) = answer.json()["00081198"]["Value"]
        assert item["00081155"]["Value"] == sent["00080018"]["Value"]
        (found,) = texts(answer)
        assert found.startswith(text[:64])

    def test_another_instance_of_the_request_is_stored_all_the_same(
        self, client: httpx2.Client
    ) -> None:
        good, bad = _ct(), _ct(x00280010=element("US", 51))
        answer = send(client, [bad, good], PIXELS, status=202)
        assert len(stored_paths(answer)) == len(texts(answer)) == 1

    def test_a_type_that_pixels_do_not_have_is_415(self, client: httpx2.Client) -> None:
        send(client, [described()], Bulk(b"text", "text/plain"), status=415)

    def test_an_instance_without_a_class_is_refused(self, client: httpx2.Client) -> None:
        sent = _ct()
        del sent["00080016"]
        answer = send(client, [sent], PIXELS, status=400)
        assert texts(answer) == ["SOP Class UID (0008,0016) is missing"]

    def test_an_instance_of_another_study_is_refused(self, client: httpx2.Client) -> None:
        answer = send(client, [_ct()], PIXELS, path=f"/studies/{uid()}", status=409)
        assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA901]

    def test_a_taken_uid_is_a_conflict(self, client: httpx2.Client) -> None:
        sent = _ct()
        send(client, [sent], PIXELS)
        send(client, [sent], Bulk((GREY_16 + 1).tobytes()), status=409)

    def test_the_same_again_is_a_success(self, client: httpx2.Client) -> None:
        sent = _ct()
        send(client, [sent], PIXELS)
        send(client, [sent], PIXELS)

    @pytest.mark.parametrize(
        ("location", "text"),
        [
            ("other", "1 bulk data parts are not referred to by any metadata"),
            (None, "1 bulk data parts have no Content-Location"),
        ],
    )
    def test_bulk_data_to_spare_is_told(
        self, client: httpx2.Client, location: str | None, text: str
    ) -> None:
        answer = send(client, [_ct()], PIXELS, Bulk(b"1234", location=location), status=202)
        assert texts(answer) == [text]
        assert len(stored_paths(answer)) == 1

    @pytest.mark.parametrize(
        "metadata", [b'"text"', b"[]", b"[1]", b"{", b"", b"null"], ids=lambda found: repr(found)
    )
    def test_metadata_that_is_no_array_of_data_sets_is_400(
        self, client: httpx2.Client, metadata: bytes
    ) -> None:
        body, content_type = payload([metadata], [PIXELS])
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 400

    def test_a_data_set_alone_is_taken_for_an_array_of_one(self, client: httpx2.Client) -> None:
        body, content_type = payload([json.dumps(_ct()).encode()], [PIXELS])
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 200

    def test_xml_that_is_not_well_formed_is_told_beside_what_is_stored(
        self, client: httpx2.Client
    ) -> None:
        body, content_type = payload([b"<NativeDicomModel"], root_type=XML)
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, texts(answer)) == (400, ["the XML is not well-formed"])

    def test_a_payload_without_metadata_is_400(self, client: httpx2.Client) -> None:
        body, content_type = payload([], [Bulk(b"1"), Bulk(b"2")])
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 400

    def test_a_payload_that_is_cut_off_stores_nothing(self, client: httpx2.Client) -> None:
        sent = _ct()
        body, content_type = payload([json.dumps([sent]).encode()], [PIXELS])
        answer = client.post("/studies", content=body[:-50], headers={"Content-Type": content_type})
        study = sent["0020000D"]["Value"][0]
        found = client.get(f"/studies/{study}/metadata").status_code
        assert (answer.status_code, found) == (400, 404)

    def test_more_bulk_data_than_allowed_is_413(self, client: httpx2.Client) -> None:
        body, content_type = payload([json.dumps([_ct()]).encode()], [Bulk(bytes(MAX_BULK + 1))])
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 413

    def test_frames_that_decode_to_more_than_allowed_are_413(self, client: httpx2.Client) -> None:
        large = png(np.zeros((3000, 3000), "u1"))
        send(client, [described()], Bulk(large, "image/png"), status=413)

    def test_more_metadata_than_allowed_is_413(self, client: httpx2.Client) -> None:
        sent = _ct(x00104000=element("LT", "x" * 1_000_000))
        body, content_type = payload([json.dumps([sent]).encode()], [PIXELS])
        answer = client.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 413

    def test_nothing_is_left_in_staging(self, client: httpx2.Client, server: Live) -> None:
        send(client, [_ct(x00280010=element("US", 51))], PIXELS, status=400)
        body, content_type = payload([json.dumps([_ct()]).encode()], [Bulk(bytes(MAX_BULK + 1))])
        client.post("/studies", content=body, headers={"Content-Type": content_type})
        send(client, [_ct()], PIXELS)
        send(client, [_ct()], PIXELS)
        left = [path for path in (server.data / "staging").rglob("*") if path.is_file()]
        # the link of the last object stays until the next group of objects
        assert len([path for path in left if path.name != "lock"]) <= 1
