"""dicomweb-client, the client that Python programs use, does all that it can do here."""

from urllib.parse import urlsplit

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from clients.archive import Archive
from clients.studies import CT_SIZE, CT_SLICES, US_FRAMES, Study
from objects import a_dataset, an_object, written

NO_SUCH_UID = "2.25.1"


@pytest.fixture
def client(archive: Archive, ct: Study, ultrasound: Study) -> DICOMwebClient:
    client = DICOMwebClient(archive.url)
    # A failed request is a failed test, not one to repeat for half a minute.
    client.set_http_retry_params(retry=False)
    return client


def values(matches: list[dict[str, dict[str, object]]], tag: str) -> list[object]:
    return [match[tag]["Value"][0] for match in matches]  # type: ignore[index]


def parsed(file: bytes) -> Dataset:
    return dcmread(DicomBytesIO(file))


def same_data_set(found: Dataset, stored: bytes) -> bool:
    """Value for value, pixel data included; the file meta information may have other words."""
    return bool(found == parsed(stored))


# Search


def test_studies_are_found_by_patient_id(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_studies(search_filters={"PatientID": ct.patient_id})

    assert values(found, "0020000D") == [ct.study_instance_uid]


def test_a_wildcard_finds_a_name_without_case_and_marks(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_studies(search_filters={"PatientName": "akerst*"})

    assert values(found, "0020000D") == [ct.study_instance_uid]


def test_fuzzy_matching_finds_a_name_as_it_sounds(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_studies(
        search_filters={"PatientName": "Åkerstrøm"}, fuzzymatching=True
    )

    assert ct.study_instance_uid in values(found, "0020000D")


def test_a_date_range_finds_the_study_within_it(client: DICOMwebClient, ultrasound: Study) -> None:
    found = client.search_for_studies(search_filters={"StudyDate": "20260401-20260430"})

    assert values(found, "0020000D") == [ultrasound.study_instance_uid]


def test_names_stored_in_latin_1_are_found_and_answered_in_unicode(client: DICOMwebClient) -> None:
    found = client.search_for_studies(search_filters={"PatientName": "Sjöqvist^Märta"})

    assert values(found, "00100010") == [{"Alphabetic": "Sjöqvist^Märta"}]


def test_a_field_asked_for_is_in_the_answer(client: DICOMwebClient, ct: Study) -> None:
    [found] = client.search_for_studies(
        search_filters={"StudyInstanceUID": ct.study_instance_uid},
        fields=["StudyDescription", "00081030"],
    )

    assert found["00081030"]["Value"] == ["DT Thorax utan kontrast"]


def test_no_match_is_an_empty_list(client: DICOMwebClient) -> None:
    assert client.search_for_studies(search_filters={"PatientID": "NO-SUCH"}) == []


def test_pages_do_not_overlap(client: DICOMwebClient, ct: Study) -> None:
    uids = [
        uid
        for offset in range(0, CT_SLICES, 5)
        for uid in values(
            client.search_for_instances(ct.study_instance_uid, limit=5, offset=offset), "00080018"
        )
    ]

    assert len(uids) == len(set(uids)) == CT_SLICES


def test_the_remaining_pages_are_fetched(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_instances(ct.study_instance_uid, limit=5, get_remaining=True)

    assert len(found) == CT_SLICES


def test_series_of_a_study_are_found(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_series(ct.study_instance_uid)

    assert values(found, "0020000E") == [ct.series_instance_uid]


def test_series_of_all_studies_are_found_by_modality(
    client: DICOMwebClient, ultrasound: Study
) -> None:
    found = client.search_for_series(search_filters={"Modality": "US"})

    assert values(found, "0020000E") == [ultrasound.series_instance_uid]


def test_an_instance_of_a_series_is_found_by_its_number(client: DICOMwebClient, ct: Study) -> None:
    found = client.search_for_instances(
        ct.study_instance_uid, ct.series_instance_uid, search_filters={"InstanceNumber": 7}
    )

    assert values(found, "00080018") == [ct.sop_instance_uid(7)]


# Metadata


def test_metadata_of_a_study_has_every_instance(client: DICOMwebClient, ct: Study) -> None:
    found = client.retrieve_study_metadata(ct.study_instance_uid)

    assert set(values(found, "00080018")) == {ct.sop_instance_uid(n + 1) for n in range(CT_SLICES)}


def test_metadata_of_a_series_has_every_instance(client: DICOMwebClient, ct: Study) -> None:
    found = client.retrieve_series_metadata(ct.study_instance_uid, ct.series_instance_uid)

    assert len(found) == CT_SLICES


def test_metadata_says_what_the_file_says(client: DICOMwebClient, ct: Study) -> None:
    found = client.retrieve_instance_metadata(
        ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(3)
    )

    expected = parsed(ct.files[2])
    pixels = {found["7FE00010"]["BulkDataURI"]: expected.PixelData}
    answered = Dataset.from_json(found, lambda tag, vr, uri: pixels[uri])
    assert {element.tag for element in expected} <= {element.tag for element in answered}
    assert [element for element in expected if answered[element.tag] != element] == []


# Retrieve


def test_an_instance_comes_back_as_it_was_stored(client: DICOMwebClient, ct: Study) -> None:
    found = client.retrieve_instance(
        ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(5)
    )

    assert same_data_set(found, ct.files[4])


def test_a_compressed_instance_comes_back_compressed(
    client: DICOMwebClient, ultrasound: Study
) -> None:
    found = client.retrieve_instance(
        ultrasound.study_instance_uid,
        ultrasound.series_instance_uid,
        ultrasound.sop_instance_uid(1),
    )

    assert found.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert same_data_set(found, ultrasound.files[0])


def test_a_series_comes_back_whole(client: DICOMwebClient, ct: Study) -> None:
    found = client.retrieve_series(ct.study_instance_uid, ct.series_instance_uid)

    by_number = sorted(found, key=lambda image: int(image.InstanceNumber))
    assert all(same_data_set(image, file) for image, file in zip(by_number, ct.files, strict=True))


def test_a_study_comes_back_one_instance_at_a_time(client: DICOMwebClient, ct: Study) -> None:
    found = client.iter_study(ct.study_instance_uid)

    assert {image.SOPInstanceUID for image in found} == {
        ct.sop_instance_uid(n + 1) for n in range(CT_SLICES)
    }


def test_a_compressed_study_comes_back_in_its_own_transfer_syntax_when_asked_for(
    client: DICOMwebClient, ultrasound: Study
) -> None:
    [found] = client.retrieve_study(
        ultrasound.study_instance_uid, media_types=(("application/dicom", JPEGBaseline8Bit),)
    )

    assert same_data_set(found, ultrasound.files[0])


def test_an_unknown_study_is_not_found(client: DICOMwebClient) -> None:
    with pytest.raises(OSError, match="404"):
        client.retrieve_study(NO_SUCH_UID)


# Frames


def test_a_frame_comes_as_its_pixels(client: DICOMwebClient, ct: Study) -> None:
    [frame] = client.retrieve_instance_frames(
        ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(9), [1]
    )

    pixels = np.frombuffer(frame, "<i2").reshape(CT_SIZE, CT_SIZE)
    assert np.array_equal(pixels, parsed(ct.files[8]).pixel_array)


def test_frames_come_in_the_order_asked_for(client: DICOMwebClient, ultrasound: Study) -> None:
    found = client.retrieve_instance_frames(
        ultrasound.study_instance_uid,
        ultrasound.series_instance_uid,
        ultrasound.sop_instance_uid(1),
        [9, 2, 24],
        media_types=(("image/jpeg", JPEGBaseline8Bit),),
    )

    image = parsed(ultrasound.files[0])
    stored = list(generate_frames(image.PixelData, number_of_frames=US_FRAMES))
    assert [frame.rstrip(b"\0") for frame in found] == [
        stored[index].rstrip(b"\0") for index in (8, 1, 23)
    ]


def test_a_frame_that_is_not_there_is_not_found(client: DICOMwebClient, ct: Study) -> None:
    with pytest.raises(OSError, match="404"):
        client.retrieve_instance_frames(
            ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(1), [2]
        )


# Bulk data


def test_the_bulk_data_uri_of_the_metadata_leads_to_the_pixels(
    client: DICOMwebClient, ct: Study
) -> None:
    metadata = client.retrieve_instance_metadata(
        ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(2)
    )

    [pixel_data] = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])

    assert pixel_data == parsed(ct.files[1]).PixelData


def test_the_bulk_data_uri_names_the_server_that_was_asked(
    client: DICOMwebClient, archive: Archive, ct: Study
) -> None:
    metadata = client.retrieve_instance_metadata(
        ct.study_instance_uid, ct.series_instance_uid, ct.sop_instance_uid(2)
    )

    uri = metadata["7FE00010"]["BulkDataURI"]

    assert urlsplit(uri).netloc == urlsplit(archive.url).netloc


# Store


def test_what_was_stored_is_named_in_the_answer(client: DICOMwebClient) -> None:
    image = parsed(an_object())

    answer = client.store_instances([image])

    [stored] = answer.ReferencedSOPSequence
    assert stored.ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_what_was_stored_can_be_retrieved(client: DICOMwebClient) -> None:
    file = an_object(PatientName="Lindström^Göran")
    image = parsed(file)
    client.store_instances([image])

    found = client.retrieve_instance(
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID
    )

    assert same_data_set(found, file)


def test_an_instance_of_another_study_is_refused(client: DICOMwebClient) -> None:
    with pytest.raises(OSError, match="409"):
        client.store_instances([parsed(an_object())], study_instance_uid=generate_uid())


def test_one_refused_instance_does_not_stop_the_others(client: DICOMwebClient) -> None:
    good, bad = a_dataset(), a_dataset()
    del bad.StudyInstanceUID
    answer = client.store_instances([parsed(written(good)), parsed(written(bad))])

    assert len(answer.ReferencedSOPSequence) == len(answer.FailedSOPSequence) == 1
