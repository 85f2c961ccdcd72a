"""Studies, series and instances as application/zip, with and without DICOMDIR."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import httpx2
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from media import read_media
from objects import a_dataset, a_series, uid, written

Store = Callable[..., httpx2.Response]

ZIP = "application/zip"
AS_STORED = {"Accept": f"{ZIP}; transfer-syntax=*"}


def opened(response: httpx2.Response) -> zipfile.ZipFile:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == ZIP
    file = zipfile.ZipFile(BytesIO(response.content))
    assert file.testzip() is None
    return file


def instances(response: httpx2.Response) -> list[Dataset]:
    file = opened(response)
    return [
        pydicom.dcmread(BytesIO(file.read(name))) for name in file.namelist() if name != "DICOMDIR"
    ]


@pytest.fixture
def study(store: Store) -> tuple[str, list[bytes]]:
    """The path of a study of two series of two instances, and its files."""
    study_uid, files = uid(), []
    for number in (1, 2):
        files += a_series(2, StudyInstanceUID=study_uid, SeriesNumber=number)
    store(files)
    return f"/studies/{study_uid}", files


def test_a_study_comes_as_the_files_that_were_stored(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    path, files = study

    file = opened(client.get(path, headers=AS_STORED))

    assert sorted(map(file.read, file.namelist())) == sorted(files)


def test_a_series_has_its_own_instances_alone(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    path, files = study
    series = pydicom.dcmread(BytesIO(files[0])).SeriesInstanceUID

    found = instances(client.get(f"{path}/series/{series}", headers=AS_STORED))

    assert [one.SeriesInstanceUID for one in found] == [series, series]


def test_an_instance_is_a_zip_file_of_one(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    path, files = study
    one = pydicom.dcmread(BytesIO(files[0]))
    resource = f"{path}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"

    found = instances(client.get(resource, headers=AS_STORED))

    assert [each.SOPInstanceUID for each in found] == [one.SOPInstanceUID]


def test_without_a_transfer_syntax_the_files_are_explicit_little_endian(
    client: httpx2.Client, store: Store
) -> None:
    dataset = a_dataset()
    store([written(dataset, ImplicitVRLittleEndian)])

    (found,) = instances(
        client.get(f"/studies/{dataset.StudyInstanceUID}", headers={"Accept": ZIP})
    )

    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.PixelData == dataset.PixelData


def test_a_transfer_syntax_that_cannot_be_made_is_406(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    response = client.get(study[0], headers={"Accept": f"{ZIP}; transfer-syntax=1.2.3.4"})

    assert response.status_code == 406


def test_names_are_those_of_a_file_set_and_tell_of_no_one(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    names = opened(client.get(study[0], headers=AS_STORED)).namelist()

    assert names == [
        "DICOM/SE000001/IM000001",
        "DICOM/SE000001/IM000002",
        "DICOM/SE000002/IM000001",
        "DICOM/SE000002/IM000002",
    ]


def test_anything_is_still_answered_with_multipart(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    response = client.get(study[0], headers={"Accept": "*/*"})

    assert response.headers["Content-Type"].startswith("multipart/related")


def test_a_browser_can_ask_by_the_accept_parameter(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    response = client.get(study[0], params={"accept": ZIP}, headers={"Accept": "text/html,*/*"})

    assert len(opened(response).namelist()) == 4


def test_zip_and_a_rendered_type_are_not_mixed(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    response = client.get(study[0], headers={"Accept": f"{ZIP}, image/png"})

    assert response.status_code == 400


def test_an_unknown_study_is_404(client: httpx2.Client) -> None:
    assert client.get(f"/studies/{uid()}", headers={"Accept": ZIP}).status_code == 404


def test_a_known_entity_tag_is_answered_with_304(
    client: httpx2.Client, study: tuple[str, list[bytes]]
) -> None:
    etag = client.get(study[0], headers=AS_STORED).headers["ETag"]

    again = client.get(study[0], headers=AS_STORED | {"If-None-Match": etag})

    assert again.status_code == 304


def test_head_makes_nothing(client: httpx2.Client, study: tuple[str, list[bytes]]) -> None:
    response = client.head(study[0], headers=AS_STORED)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == ZIP


@pytest.mark.parametrize("value", ["", "yes", "1"])
def test_dicomdir_is_true_or_false(
    client: httpx2.Client, study: tuple[str, list[bytes]], value: str
) -> None:
    response = client.get(study[0], params={"dicomdir": value}, headers=AS_STORED)

    assert response.status_code == 400


def test_a_dicomdir_lists_every_file(
    client: httpx2.Client, study: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    path, files = study
    opened(client.get(path, params={"dicomdir": "true"}, headers=AS_STORED)).extractall(tmp_path)

    listed = {str(one.SOPInstanceUID) for _, one in read_media(tmp_path / "DICOMDIR")}

    assert listed == {str(pydicom.dcmread(BytesIO(file)).SOPInstanceUID) for file in files}
