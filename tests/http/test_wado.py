"""Retrieve transaction, PS3.18 section 10.4."""

import io
from collections.abc import Callable, Sequence

import httpx2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from objects import DICOM, a_cine, a_dataset, a_series, an_object, uid, written
from retrieved import jpeg, parts_of, path_of, raw_parts

Store = Callable[..., httpx2.Response]

MULTI_DICOM = f'multipart/related; type="{DICOM}"'
OCTETS = "application/octet-stream"
MULTI_OCTETS = f'multipart/related; type="{OCTETS}"'
AS_STORED = {"Accept": f"{DICOM}; transfer-syntax=*"}
PIXELS = np.arange(256, dtype="<u2").tobytes()


@pytest.fixture
def image(store: Store) -> str:
    """The path of a stored native image whose pixels are PIXELS."""
    file = an_object()
    store([file])
    return path_of(file)


@pytest.fixture
def cine(store: Store) -> tuple[str, Sequence[bytes]]:
    frames = [jpeg(shade) for shade in (0, 100, 200)]
    file = a_cine(frames)
    store([file])
    return path_of(file), frames


class TestInstances:
    def test_a_series_comes_as_one_part_an_instance(
        self, client: httpx2.Client, store: Store
    ) -> None:
        files = a_series(3)
        store(files)
        series = path_of(files[0]).split("/instances")[0]
        accept = f"{MULTI_DICOM}; transfer-syntax=*"
        assert raw_parts(client.get(series, headers={"Accept": accept})) == files

    def test_parts_are_located_at_their_instance(self, client: httpx2.Client, image: str) -> None:
        response = client.get(image, headers={"Accept": MULTI_DICOM})
        ((part, _),) = parts_of(response)
        assert part["Content-Location"] == str(client.base_url).rstrip("/") + image

    def test_the_length_is_told_in_advance(self, client: httpx2.Client, image: str) -> None:
        response = client.get(image, headers={"Accept": MULTI_DICOM})
        assert int(response.headers["Content-Length"]) == len(response.content)

    @pytest.mark.parametrize(
        "stored_as",
        [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    )
    def test_explicit_little_endian_is_made_of_any_encoding(
        self, client: httpx2.Client, store: Store, stored_as: str
    ) -> None:
        dataset = a_dataset()
        if stored_as == ExplicitVRBigEndian:
            dataset.PixelData = np.arange(256, dtype=">u2").tobytes()
            dataset["PixelData"].VR = "OW"
        file = written(dataset, stored_as)
        store([file])
        response = client.get(path_of(file), headers={"Accept": DICOM})
        made = dcmread(io.BytesIO(response.content))
        assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert bytes(made.PixelData) == PIXELS

    @pytest.mark.parametrize("stored_as", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
    def test_as_stored_is_byte_for_byte(
        self, client: httpx2.Client, store: Store, stored_as: str
    ) -> None:
        file = written(a_dataset(), stored_as)
        store([file])
        response = client.get(path_of(file), headers={"Accept": f"{DICOM}; transfer-syntax=*"})
        assert response.content == file

    @pytest.mark.parametrize("stored_as", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
    def test_what_dicomweb_does_not_use_is_explicit_little_endian_as_any(
        self, client: httpx2.Client, store: Store, stored_as: str
    ) -> None:
        """8.7.3"""
        file = written(a_dataset(), stored_as)
        store([file])
        response = client.get(path_of(file), headers={"Accept": f"{DICOM}; transfer-syntax=*"})
        made = dcmread(io.BytesIO(response.content))
        assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian

    @pytest.mark.parametrize("stored_as", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
    def test_what_dicomweb_does_not_use_is_not_acceptable_by_its_uid(
        self, client: httpx2.Client, store: Store, stored_as: str
    ) -> None:
        file = written(a_dataset(), stored_as)
        store([file])
        accepted = f"{DICOM}; transfer-syntax={stored_as}"
        assert client.get(path_of(file), headers={"Accept": accepted}).status_code == 406

    def test_lossy_pixels_are_sent_as_stored(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        response = client.get(cine[0], headers={"Accept": DICOM})
        syntax = dcmread(io.BytesIO(response.content)).file_meta.TransferSyntaxUID
        assert syntax == "1.2.840.10008.1.2.4.50"

    def test_lossy_pixels_are_decoded_when_explicitly_asked(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        accept = f"{DICOM}; transfer-syntax={ExplicitVRLittleEndian}"
        response = client.get(cine[0], headers={"Accept": accept})
        assert len(dcmread(io.BytesIO(response.content)).PixelData) == 3 * 16 * 16 * 3

    def test_an_unknown_instance_is_404(self, client: httpx2.Client) -> None:
        path = f"/studies/{uid()}/series/{uid()}/instances/{uid()}"
        assert client.get(path, headers={"Accept": DICOM}).status_code == 404

    def test_an_instance_under_another_study_is_404(
        self, client: httpx2.Client, image: str
    ) -> None:
        path = image.replace(image.split("/")[2], uid())
        assert client.get(path, headers={"Accept": DICOM}).status_code == 404

    def test_a_transfer_syntax_that_cannot_be_made_is_406(
        self, client: httpx2.Client, image: str
    ) -> None:
        accept = f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.91"
        assert client.get(image, headers={"Accept": accept}).status_code == 406

    def test_no_accept_header_is_406(self, client: httpx2.Client, image: str) -> None:
        request = client.build_request("GET", image)
        del request.headers["Accept"]
        assert client.send(request).status_code == 406

    def test_mixed_dicom_and_rendered_types_are_400(
        self, client: httpx2.Client, image: str
    ) -> None:
        accept = f"{DICOM}, text/html"
        assert client.get(image, headers={"Accept": accept}).status_code == 400

    def test_the_accept_parameter_replaces_the_header(
        self, client: httpx2.Client, image: str
    ) -> None:
        response = client.get(image, params={"accept": DICOM}, headers={"Accept": "*/*"})
        assert response.headers["Content-Type"].startswith(DICOM)


class TestConditions:
    def test_the_same_entity_tag_is_304(self, client: httpx2.Client, image: str) -> None:
        etag = client.get(image, headers=AS_STORED).headers["ETag"]
        again = client.get(image, headers=AS_STORED | {"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")

    def test_a_range_is_206_with_those_bytes(self, client: httpx2.Client, image: str) -> None:
        whole = client.get(image, headers=AS_STORED).content
        part = client.get(image, headers=AS_STORED | {"Range": "bytes=128-131"})
        assert (part.status_code, part.content) == (206, whole[128:132])

    def test_a_suffix_range_is_the_end(self, client: httpx2.Client, image: str) -> None:
        whole = client.get(image, headers=AS_STORED).content
        part = client.get(image, headers=AS_STORED | {"Range": "bytes=-10"})
        assert (
            part.headers["Content-Range"]
            == f"bytes {len(whole) - 10}-{len(whole) - 1}/{len(whole)}"
        )

    def test_a_range_beyond_the_end_is_416(self, client: httpx2.Client, image: str) -> None:
        response = client.get(image, headers=AS_STORED | {"Range": "bytes=9999999-"})
        assert response.status_code == 416
        assert response.headers["Content-Range"].startswith("bytes */")

    def test_several_ranges_are_multipart_byteranges(
        self, client: httpx2.Client, image: str
    ) -> None:
        headers = AS_STORED | {"Range": "bytes=0-3,-4"}
        assert raw_parts(client.get(image, headers=headers)) == [bytes(4), PIXELS[-4:]]

    def test_a_range_of_what_has_changed_is_all_of_it(
        self, client: httpx2.Client, image: str
    ) -> None:
        headers = AS_STORED | {"Range": "bytes=0-3", "If-Range": '"other"'}
        assert client.get(image, headers=headers).status_code == 200

    def test_head_tells_the_length_without_a_payload(
        self, client: httpx2.Client, image: str
    ) -> None:
        got = client.get(image, headers=AS_STORED)
        head = client.head(image, headers=AS_STORED)
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
        assert head.content == b""

    def test_metadata_has_an_entity_tag_for_each_coding(
        self, client: httpx2.Client, store: Store
    ) -> None:
        files = a_series(3)
        store(files)
        path = path_of(files[0]).split("/instances")[0] + "/metadata"
        tags = {
            client.get(path, headers={"Accept-Encoding": coding}).headers["ETag"]
            for coding in ("identity", "gzip", "zstd")
        }
        assert len(tags) == 3

    def test_metadata_is_304_for_its_coded_entity_tag(
        self, client: httpx2.Client, store: Store
    ) -> None:
        files = a_series(3)
        store(files)
        path = path_of(files[0]).split("/instances")[0] + "/metadata"
        etag = client.get(path, headers={"Accept-Encoding": "gzip"}).headers["ETag"]
        again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
        assert again.status_code == 304

    def test_a_range_of_metadata_is_of_its_json(self, client: httpx2.Client, image: str) -> None:
        whole = client.get(f"{image}/metadata", headers={"Accept-Encoding": "identity"}).content
        headers = {"Accept-Encoding": "identity", "Range": "bytes=2-11"}
        part = client.get(f"{image}/metadata", headers=headers)
        assert (part.status_code, part.content) == (206, whole[2:12])

    def test_metadata_changes_its_entity_tag_with_a_new_instance(
        self, client: httpx2.Client, store: Store
    ) -> None:
        first, second = a_series(2)
        store([first])
        path = path_of(first).split("/instances")[0] + "/metadata"
        before = client.get(path).headers["ETag"]
        store([second])
        assert client.get(path).headers["ETag"] != before


class TestMetadata:
    def test_metadata_of_a_study_has_every_instance(
        self, client: httpx2.Client, store: Store
    ) -> None:
        files = a_series(3)
        store(files)
        study = path_of(files[0]).split("/series")[0]
        numbers = [one["00200013"]["Value"] for one in client.get(f"{study}/metadata").json()]
        assert numbers == [[1], [2], [3]]

    def test_pixel_data_is_a_bulk_data_uri_that_gives_the_pixels(
        self, client: httpx2.Client, image: str
    ) -> None:
        uri = client.get(f"{image}/metadata").json()[0]["7FE00010"]["BulkDataURI"]
        assert client.get(uri, headers={"Accept": OCTETS}).content == PIXELS

    def test_the_stored_transfer_syntax_is_told(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        metadata = client.get(f"{cine[0]}/metadata").json()[0]
        assert metadata["00083002"]["Value"][0] == "1.2.840.10008.1.2.4.50"

    def test_metadata_has_no_file_meta(self, client: httpx2.Client, image: str) -> None:
        (metadata,) = client.get(f"{image}/metadata").json()
        assert not [tag for tag in metadata if tag.startswith("0002")]

    def test_xml_comes_as_one_part_an_instance(self, client: httpx2.Client, store: Store) -> None:
        files = a_series(2)
        store(files)
        study = path_of(files[0]).split("/series")[0]
        accept = 'multipart/related; type="application/dicom+xml"'
        response = client.get(f"{study}/metadata", headers={"Accept": accept})
        assert [part.get_content_type() for part, _ in parts_of(response)] == [
            "application/dicom+xml",
            "application/dicom+xml",
        ]

    def test_xml_refers_to_the_same_bulk_data(self, client: httpx2.Client, image: str) -> None:
        uri = client.get(f"{image}/metadata").json()[0]["7FE00010"]["BulkDataURI"]
        accept = 'multipart/related; type="application/dicom+xml"'
        response = client.get(f"{image}/metadata", headers={"Accept": accept})
        assert f'<BulkData uri="{uri}"/>'.encode() in response.content

    def test_json_is_compressed_when_asked(self, client: httpx2.Client, store: Store) -> None:
        files = a_series(3)
        store(files)
        study = path_of(files[0]).split("/series")[0]
        response = client.get(f"{study}/metadata", headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"

    def test_a_forwarded_host_is_that_of_the_uris(self, client: httpx2.Client, image: str) -> None:
        forwarded = {"Forwarded": 'host="pacs.example:8443";proto=https'}
        metadata = client.get(f"{image}/metadata", headers=forwarded).json()[0]
        assert metadata["7FE00010"]["BulkDataURI"].startswith(
            "https://pacs.example:8443/dicomweb/studies/"
        )

    def test_unknown_series_is_404(self, client: httpx2.Client) -> None:
        path = f"/studies/{uid()}/series/{uid()}/metadata"
        assert client.get(path).status_code == 404


class TestFrames:
    def test_a_native_frame_is_its_bytes(self, client: httpx2.Client, image: str) -> None:
        response = client.get(f"{image}/frames/1", headers={"Accept": OCTETS})
        assert response.content == PIXELS

    def test_a_viewer_gets_one_part_with_its_transfer_syntax(
        self, client: httpx2.Client, image: str
    ) -> None:
        accept = f'multipart/related; type="{OCTETS}"; transfer-syntax="*"'
        response = client.get(f"{image}/frames/1", headers={"Accept": accept})
        assert f"Content-Type: {OCTETS}; transfer-syntax=1.2.840.10008.1.2.1".encode() in (
            response.content
        )

    def test_a_compressed_frame_is_its_codestream(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        path, frames = cine
        accept = "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
        response = client.get(f"{path}/frames/2", headers={"Accept": accept})
        assert response.content.rstrip(b"\0") == frames[1]

    def test_a_list_of_frames_comes_in_the_asked_order(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        path, frames = cine
        accept = f"{MULTI_OCTETS}; transfer-syntax=*"
        got = raw_parts(client.get(f"{path}/frames/3,1", headers={"Accept": accept}))
        assert [part.rstrip(b"\0") for part in got] == [frames[2], frames[0]]

    def test_a_compressed_frame_is_decoded_when_asked(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        response = client.get(f"{cine[0]}/frames/1", headers={"Accept": OCTETS})
        assert len(response.content) == 16 * 16 * 3

    def test_a_frame_beyond_the_last_is_404(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        response = client.get(f"{cine[0]}/frames/4", headers={"Accept": "*/*"})
        assert response.status_code == 404

    @pytest.mark.parametrize("frames", ["0", "-1", "a", "1,,2", "1, 2", "1;2", "%EF%BC%91"])
    def test_a_list_that_is_none_is_400(
        self, client: httpx2.Client, image: str, frames: str
    ) -> None:
        response = client.get(f"{image}/frames/{frames}", headers={"Accept": "*/*"})
        assert response.status_code == 400

    def test_frames_may_be_kept_by_the_browser(self, client: httpx2.Client, image: str) -> None:
        response = client.get(f"{image}/frames/1", headers={"Accept": OCTETS})
        assert "immutable" in response.headers["Cache-Control"]

    def test_an_instance_without_pixels_has_no_frames(
        self, client: httpx2.Client, store: Store
    ) -> None:
        file = an_object(PixelData=None)
        store([file])
        response = client.get(f"{path_of(file)}/frames/1", headers={"Accept": "*/*"})
        assert response.status_code == 404

    def test_unaligned_one_bit_frames_start_at_their_first_bit(
        self, client: httpx2.Client, store: Store
    ) -> None:
        # two frames of 3 x 3 bits: 0b111111111 and 0b000000001, packed without padding
        file = an_object(
            Rows=3,
            Columns=3,
            BitsAllocated=1,
            BitsStored=1,
            HighBit=0,
            NumberOfFrames=2,
            PixelData=(0b111111111 | 1 << 9).to_bytes(4, "little"),
        )
        store([file])
        response = client.get(f"{path_of(file)}/frames/2", headers={"Accept": OCTETS})
        assert response.content == b"\x01\x00"

    def test_decoding_what_is_no_codestream_is_406(
        self, client: httpx2.Client, store: Store
    ) -> None:
        file = a_cine([b"this is no JPEG stream at all"])
        store([file])
        accept = f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}"
        response = client.get(f"{path_of(file)}/frames/1", headers={"Accept": accept})
        assert response.status_code == 406


class TestBulkdata:
    def test_pixel_data_of_an_instance(self, client: httpx2.Client, image: str) -> None:
        response = client.get(f"{image}/pixeldata", headers={"Accept": OCTETS})
        assert response.content == PIXELS

    def test_compressed_pixel_data_is_one_part_a_frame(
        self, client: httpx2.Client, cine: tuple[str, Sequence[bytes]]
    ) -> None:
        path, frames = cine
        accept = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'
        got = raw_parts(client.get(f"{path}/pixeldata", headers={"Accept": accept}))
        assert [part.rstrip(b"\0") for part in got] == list(frames)

    def test_pixel_data_of_a_series_is_one_part_an_instance(
        self, client: httpx2.Client, store: Store
    ) -> None:
        files = a_series(2)
        store(files)
        series = path_of(files[0]).split("/instances")[0]
        response = client.get(f"{series}/pixeldata", headers={"Accept": MULTI_OCTETS})
        assert raw_parts(response) == [PIXELS, PIXELS]

    def test_bulk_data_of_an_instance_has_every_bulk_value(
        self, client: httpx2.Client, store: Store
    ) -> None:
        palette = bytes(range(256)) * 8
        file = an_object(RedPaletteColorLookupTableData=palette)
        store([file])
        response = client.get(f"{path_of(file)}/bulkdata", headers={"Accept": MULTI_OCTETS})
        assert raw_parts(response) == [palette, PIXELS]

    def test_an_encapsulated_document_has_its_own_type(
        self, client: httpx2.Client, store: Store
    ) -> None:
        document = b"%PDF-1.4 " + bytes(2000)
        file = an_object(
            SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
            PixelData=None,
            MIMETypeOfEncapsulatedDocument="application/pdf",
            EncapsulatedDocument=document + b"\0",
        )
        store([file])
        accept = (
            'multipart/related; type="application/pdf",'
            ' multipart/related; type="application/octet-stream"'
        )
        uri = client.get(f"{path_of(file)}/metadata").json()[0]["00420011"]["BulkDataURI"]
        response = client.get(uri, headers={"Accept": accept})
        assert 'type="application/pdf"' in response.headers["Content-Type"]

    def test_an_unknown_bulk_value_is_404(self, client: httpx2.Client, image: str) -> None:
        response = client.get(f"{image}/bulkdata/00880200", headers={"Accept": OCTETS})
        assert response.status_code == 404

    def test_the_historical_way_to_ask_an_instance_for_its_bulk_data(
        self, client: httpx2.Client, image: str
    ) -> None:
        response = client.get(image, headers={"Accept": MULTI_OCTETS})
        assert raw_parts(response) == [PIXELS]
