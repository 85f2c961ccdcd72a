"""Rendered MPR and 3D resources (PS3.18 section 8.3.5.3), by ids of the conformance cases."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from objects import a_dataset, uid, written
from retrieved import raw_parts

Store = Callable[..., httpx2.Response]
Ask = Callable[..., httpx2.Response]

JPEG, PNG, JSON = "image/jpeg", "image/png", "application/dicom+json"
SIDE, SLICES = 32, 16

# What is shown does not depend on the database.
pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="session")


def phantom() -> list[Dataset]:
    """Slices of 1 mm with a bright cube on the patient's left, at the front, at the head."""
    voxels = np.zeros((SLICES, SIDE, SIDE), np.int16)
    voxels[10:14, 4:10, 20:28] = 1000
    shared: dict[str, Any] = {
        "StudyInstanceUID": uid(),
        "SeriesInstanceUID": uid(),
        "FrameOfReferenceUID": uid(),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
        "SliceThickness": 1,
        "Rows": SIDE,
        "Columns": SIDE,
        "PixelRepresentation": 1,
        "BitsStored": 16,
        "HighBit": 15,
        "WindowCenter": 500,
        "WindowWidth": 1000,
    }
    return [
        a_dataset(
            InstanceNumber=number + 1,
            ImagePositionPatient=[0, 0, number],
            PixelData=voxels[number].tobytes(),
            **shared,
        )
        for number in range(SLICES)
    ]


@pytest.fixture(scope="module")
def slices() -> list[Dataset]:
    return phantom()


@pytest.fixture
def ask(client: httpx2.Client, store: Store, slices: list[Dataset]) -> Ask:
    """GET a volume resource of the series; keyword arguments are its query."""
    store([written(one) for one in slices])
    first = slices[0]
    series = f"/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"

    def get(resource: str, header: str = JPEG, path: str = series, **query: Any) -> httpx2.Response:
        return client.get(f"{path}/{resource}", params=query, headers={"Accept": header})

    return get


def pixels_of(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)).convert("L")).astype(int)


def center_of(response: httpx2.Response) -> tuple[float, float]:
    """Of what is bright: from 0 at the left or top to 1 at the right or bottom."""
    rows, columns = np.nonzero(pixels_of(response) > 128)
    height, width = pixels_of(response).shape
    return columns.mean() / width, rows.mean() / height


@pytest.mark.parametrize("resource", ["renderedmpr", "renderedMPR"])
def test_a_plane_is_a_picture(ask: Ask, resource: str) -> None:
    """VOL-01, D-11"""
    response = ask(resource, renderingmethod="average_ip")

    assert response.headers["Content-Type"] == JPEG
    assert pixels_of(response).ndim == 2


@pytest.mark.parametrize("resource", ["rendered3d", "rendered3D"])
def test_a_view_is_a_picture(ask: Ask, resource: str) -> None:
    """VOL-02, VOL-11"""
    response = ask(resource, renderingmethod="volume_rendered")

    assert response.headers["Content-Type"] == JPEG


def test_from_the_front_the_left_is_on_the_right_and_the_head_is_up(ask: Ask) -> None:
    x, y = center_of(ask("rendered3d", PNG, renderingmethod="maximum_ip", orientation="a"))

    assert x > 0.6
    assert y < 0.5


def test_from_the_left_the_front_is_on_the_left(ask: Ask) -> None:
    x, _ = center_of(ask("rendered3d", PNG, renderingmethod="maximum_ip", orientation="l"))

    assert x < 0.4


def test_a_plane_through_a_point_shows_what_is_there(ask: Ask) -> None:
    through = pixels_of(ask("renderedmpr", PNG, orientation="h", mprslab="1"))
    there = pixels_of(
        ask(
            "renderedmpr",
            PNG,
            viewpointlookat="24,7,12",
            viewpointposition="24,7,40",
            viewpointup="0,-1,0",
        )
    )

    assert through.max() < 128
    assert there.max() > 128


REFUSED = {
    "VOL-03": {"orientation": "a", "viewpointup": "0,0,1"},
    "VOL-04": {"volumeinputreference": "2.25.1"},
    "VOL-05": {"volumeinputreference": "2.25.1", "InstanceNumber": "1"},
    "VOL-09-zero": {"mprslab": "0"},
    "VOL-09-below": {"mprslab": "-1"},
    "VOL-09-word": {"mprslab": "x"},
    "VOL-10": {"renderingmethod": "foo"},
    "viewport": {"viewport": "0,10"},
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=list(REFUSED))
def test_an_invalid_parameter_is_refused(ask: Ask, query: dict[str, str]) -> None:
    assert ask("renderedmpr", **query).status_code == 400


def test_what_a_picture_shows_can_be_asked_for(ask: Ask) -> None:
    """VOL-06, Annex K"""
    said = ask("renderedmpr", JSON, renderedvolumetricmetadata="yes", orientation="a").json()

    assert said["00720510"]["Value"] == ["MPR"]
    assert {"0070120D", "00701603", "00701604", "00701605"} <= said.keys()
    assert said["00701605"]["Value"] == [0, 0, 1]


def test_the_same_request_is_told_the_same(ask: Ask) -> None:
    """VOL-07"""
    first, second = (
        ask("rendered3d", JSON, renderedvolumetricmetadata="yes", orientation="l").content
        for _ in range(2)
    )
    assert first == second


def test_colours_make_no_volume(ask: Ask, store: Store) -> None:
    """VOL-08"""
    colour = a_dataset(
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=bytes(16 * 16 * 3),
    )
    store([written(colour)])
    path = (
        f"/studies/{colour.StudyInstanceUID}/series/{colour.SeriesInstanceUID}"
        f"/instances/{colour.SOPInstanceUID}"
    )
    response = ask("renderedmpr", path=path)

    assert response.status_code == 400
    assert "volume" in response.text


def test_a_swivel_moves(ask: Ask) -> None:
    query = {"renderingmethod": "maximum_ip", "swivelrange": "40", "animationstepsize": "10"}
    moving = Image.open(BytesIO(ask("rendered3d", "image/gif", **query).content))
    parts = raw_parts(ask("rendered3d", 'multipart/related; type="image/jpeg"', **query))

    assert getattr(moving, "n_frames", 1) == len(parts) == 4


def test_a_swivel_is_a_film(ask: Ask) -> None:
    query = {"renderingmethod": "maximum_ip", "swivelrange": "40", "animationstepsize": "10"}
    response = ask("rendered3d", "video/mp4", **query)

    assert response.headers["Content-Type"] == "video/mp4"
    with av.open(BytesIO(response.content), "r") as film:
        assert len(list(film.decode(video=0))) == 4


def test_an_unknown_series_is_404(ask: Ask) -> None:
    assert ask("renderedmpr", path=f"/studies/{uid()}/series/{uid()}").status_code == 404


def test_a_study_is_shown_by_its_volume(ask: Ask, slices: list[Dataset]) -> None:
    response = ask("renderedmpr", path=f"/studies/{slices[0].StudyInstanceUID}")

    assert response.status_code == 200
