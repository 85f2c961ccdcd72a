"""Stills, volumes and moving images as a viewer loads them: six connections at once."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx2
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

import registry as registries
from objects import a_cine, a_dataset, uid, written
from registry import Registry

SLICES: Final = 300
LOOP_FRAMES: Final = 60
CONNECTIONS: Final = 6
MPEG4: Final = "1.2.840.10008.1.2.4.102"
VIDEO_PHOTOGRAPHIC: Final = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
GEOMETRY: Final = ("00200032", "00200037", "00280030", "00200052", "00280010", "00280011")
AS_STORED: Final = {"Accept": "application/octet-stream; transfer-syntax=*"}


def a_volume() -> tuple[str, str, list[bytes], list[bytes]]:
    """Study, series, objects and the pixels of each."""
    study, series, frame = uid(), uid(), uid()
    rng = np.random.default_rng(11)
    pixels = [rng.integers(0, 4096, (32, 32), dtype="<u2").tobytes() for _ in range(SLICES)]
    files = []
    for number, data in enumerate(pixels, start=1):
        dataset = a_dataset(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            FrameOfReferenceUID=frame,
            InstanceNumber=number,
            Rows=32,
            Columns=32,
            PixelSpacing=[0.7, 0.7],
            ImagePositionPatient=[0, 0, 1.25 * number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelData=data,
        )
        files.append(written(dataset, ExplicitVRLittleEndian))
    return study, series, files, pixels


def a_loop() -> tuple[str, str, str, bytes, list[bytes]]:
    frames = []
    for number in range(LOOP_FRAMES):
        image = Image.new("RGB", (16, 16), (number * 4, 80, 255 - number * 4))
        stream = io.BytesIO()
        image.save(stream, "JPEG")
        frames.append(stream.getvalue())
    study, series, instance = uid(), uid(), uid()
    file = a_cine(
        frames,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        SOPInstanceUID=instance,
        FrameTime="33.3",
    )
    return study, series, instance, file, frames


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.running(tmp_path_factory.mktemp("images"), {"mllp": "off"}) as running:
        yield running


def loaded(registry: Registry, urls: list[str]) -> list[bytes]:
    with httpx2.Client(timeout=60) as client, ThreadPoolExecutor(CONNECTIONS) as crew:

        def fetch(url: str) -> bytes:
            return client.get(url, headers=AS_STORED).raise_for_status().content

        return list(crew.map(fetch, urls))


def metadata(registry: Registry, path: str) -> list[dict[str, Any]]:
    return registry.qido(f"{path}/metadata")


def test_a_volume_is_loaded_with_its_geometry_and_every_pixel(archive: Registry) -> None:
    study, series, files, pixels = a_volume()
    archive.store(*files)
    path = f"/studies/{study}/series/{series}"

    told = metadata(archive, path)

    told.sort(key=lambda one: one["00200013"]["Value"][0])
    urls = [
        f"{archive.live.url}{path}/instances/{one['00080018']['Value'][0]}/frames/1" for one in told
    ]
    assert [tag for one in told for tag in GEOMETRY if tag not in one] == []
    assert loaded(archive, urls) == pixels


def test_a_loop_is_loaded_frame_by_frame_with_its_time(archive: Registry) -> None:
    study, series, instance, file, frames = a_loop()
    archive.store(file)
    path = f"/studies/{study}/series/{series}"
    base = f"{archive.live.url}{path}/instances/{instance}/frames"
    urls = [f"{base}/{number}" for number in range(1, LOOP_FRAMES + 1)]

    with httpx2.Client(timeout=60) as client:
        accept = {"Accept": "image/jpeg"}
        found = [client.get(url, headers=accept).raise_for_status().content for url in urls]

    (told,) = metadata(archive, path)
    shown = [np.asarray(Image.open(io.BytesIO(one))).tolist() for one in found]
    stored = [np.asarray(Image.open(io.BytesIO(one))).tolist() for one in frames]
    assert (shown == stored, told["00181063"]["Value"]) == (True, [33.3])


def test_a_film_can_be_entered_at_any_byte(archive: Registry) -> None:
    study, series, instance = uid(), uid(), uid()
    film = bytes(range(256)) * 64
    dataset = a_dataset(
        SOPClassUID=VIDEO_PHOTOGRAPHIC,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        SOPInstanceUID=instance,
        Modality="XC",
        NumberOfFrames=10,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_PARTIAL_420",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    dataset.PixelData = encapsulate([film])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    archive.store(written(dataset, UID(MPEG4)))
    url = f"{archive.live.url}/studies/{study}/series/{series}/instances/{instance}/pixeldata"

    answer = archive.http(
        "GET", url, headers={"Accept": "video/mp4; transfer-syntax=*", "Range": "bytes=100-199"}
    )

    assert (answer.status_code, answer.content) == (206, film[100:200])
