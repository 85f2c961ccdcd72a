"""An instance is sent as a file, whatever it is stored as, unless its bulk data is asked for."""

from collections.abc import Callable

import httpx2
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from objects import DICOM, a_cine, a_dataset, uid, written

Store = Callable[..., httpx2.Response]

JPIP_REFERENCED = "1.2.840.10008.1.2.4.94"
UNKNOWN = "1.2.840.99999.1.2.1"
MULTI_DICOM = f'multipart/related; type="{DICOM}"'


def stored(store: Store, file: bytes) -> str:
    (item,) = store([file]).json()["00081199"]["Value"]
    url: str = item["00081190"]["Value"][0]
    return url


def referring(study: str) -> bytes:
    """An object whose pixels are at a JPIP server."""
    dataset = a_dataset(StudyInstanceUID=study, PixelData=None)
    dataset.PixelDataProviderURL = "https://jpip.example/1"
    return written(dataset, JPIP_REFERENCED)


def in_unknown_syntax() -> bytes:
    return written(a_dataset()).replace(ExplicitVRLittleEndian.encode(), UNKNOWN.encode())


@pytest.mark.parametrize(
    "file",
    [
        *(
            pytest.param(written(a_dataset(PixelData=bytes(512)), syntax), id=syntax.name)
            for syntax in (
                ExplicitVRLittleEndian,
                ImplicitVRLittleEndian,
                DeflatedExplicitVRLittleEndian,
            )
        ),
        pytest.param(written(a_dataset(PixelData=None), ExplicitVRBigEndian), id="big endian"),
        pytest.param(a_cine([b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xd9"]), id="JPEG"),
        pytest.param(referring(uid()), id="JPIP"),
        pytest.param(in_unknown_syntax(), id="unknown"),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "multipart/related"])
def test_a_client_that_accepts_anything_gets_a_file(
    client: httpx2.Client, store: Store, file: bytes, accept: str
) -> None:
    response = client.get(stored(store, file), headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(MULTI_DICOM)


def test_a_file_that_only_refers_to_its_pixels_is_sent_as_stored_in_its_study(
    client: httpx2.Client, store: Store
) -> None:
    study = uid()
    file = referring(study)
    store([file, written(a_dataset(StudyInstanceUID=study), ImplicitVRLittleEndian)])
    response = client.get(f"/studies/{study}", headers={"Accept": MULTI_DICOM})
    assert response.status_code == 200
    assert file in response.content


@pytest.mark.parametrize(
    ("file", "syntax"), [(referring(uid()), JPIP_REFERENCED), (in_unknown_syntax(), UNKNOWN)]
)
def test_only_what_can_be_made_is_called_available(
    client: httpx2.Client, store: Store, file: bytes, syntax: str
) -> None:
    url = stored(store, file)
    (attributes,) = client.get(f"{url}/metadata").json()
    assert attributes["00083002"]["Value"] == [syntax]
