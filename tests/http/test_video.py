"""Moving pictures (PS3.18 sections 8.7.2 and 8.7.4): stored video, and cine of frames."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import EnhancedMRImageStorage

from objects import a_dataset, written
from retrieved import path_of
from shared_data import SHARED, require_shared_data

Store = Callable[..., httpx2.Response]
Ask = Callable[..., httpx2.Response]
Pixels = npt.NDArray[Any]

MP4, JPEG, PNG, GIF = "video/mp4", "image/jpeg", "image/png", "image/gif"
FOLDER = SHARED / "dicom" / "by_modality" / "VIDEO_SYNTHETIC"
IN_MP4 = "1.2.840.10008.1.2.4.102_h264_hp41_mp4.dcm"
IN_FRAGMENTS = "1.2.840.10008.1.2.4.102.1_h264_hp41_mp4_multifragment.dcm"
IN_TRANSPORT_STREAM = "1.2.840.10008.1.2.4.103_h264_bd_ts.dcm"
HEVC = "1.2.840.10008.1.2.4.107_hevc_main.dcm"
MPEG_2 = "1.2.840.10008.1.2.4.100_mpeg2_mp_ml.dcm"


def stream_of(name: str) -> bytes:
    """The stored stream, as pydicom joins its fragments."""
    dataset = pydicom.dcmread(FOLDER / name)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    return stream


def decoded(content: bytes) -> list[Pixels]:
    with av.open(BytesIO(content), "r") as container:
        return [np.asarray(one.to_ndarray(format="rgb24")) for one in container.decode(video=0)]


def described(content: bytes) -> tuple[str, str, int, float]:
    """File format, codec, frames, and seconds."""
    with av.open(BytesIO(content), "r") as container:
        codec = container.streams.video[0].codec_context.name
        count = len(list(container.decode(video=0)))
        return container.format.name.split(",")[0], codec, count, (container.duration or 0) / 1e6


@pytest.fixture
def ask(client: httpx2.Client) -> Ask:
    def get(path: str, header: str = "*/*", **query: Any) -> httpx2.Response:
        return client.get(f"{path}/rendered", params=query, headers={"Accept": header})

    return get


@pytest.fixture
def video(store: Store) -> Callable[[str], str]:
    """Stores one of the samples; gives its path."""
    require_shared_data()

    def stored(name: str) -> str:
        file = Path(FOLDER / name).read_bytes()
        store([file])
        return path_of(file)

    return stored


Video = Callable[[str], str]


class TestStoredVideo:
    @pytest.mark.parametrize("name", [IN_MP4, IN_FRAGMENTS, HEVC])
    def test_an_mp4_file_is_sent_as_it_is(self, ask: Ask, video: Video, name: str) -> None:
        response = ask(video(name))

        assert response.headers["Content-Type"] == MP4
        assert response.headers["Content-Length"] == str(len(response.content))
        assert response.content.rstrip(b"\0") == stream_of(name).rstrip(b"\0")

    def test_a_player_can_seek_in_it(self, client: httpx2.Client, video: Video) -> None:
        path = video(IN_FRAGMENTS)
        whole = stream_of(IN_FRAGMENTS)
        headers = {"Accept": "*/*", "Range": "bytes=100000-200000"}

        response = client.get(f"{path}/rendered", headers=headers)

        assert response.status_code == 206
        assert response.headers["Content-Range"].startswith("bytes 100000-200000/")
        assert response.content == whole[100000:200001]

    def test_a_transport_stream_gets_an_mp4_file_around_the_same_pictures(
        self, ask: Ask, video: Video
    ) -> None:
        response = ask(video(IN_TRANSPORT_STREAM), MP4)

        assert described(response.content) == ("mov", "h264", 25, 1.0)
        stored = decoded(stream_of(IN_TRANSPORT_STREAM))
        assert (decoded(response.content)[7] == stored[7]).all()

    def test_mpeg_2_is_sent_as_it_is_to_who_names_it(self, ask: Ask, video: Video) -> None:
        response = ask(video(MPEG_2), "video/mpeg")

        assert response.headers["Content-Type"] == "video/mpeg"
        assert response.content.rstrip(b"\0") == stream_of(MPEG_2).rstrip(b"\0")

    def test_mpeg_2_is_encoded_anew_for_browsers(self, ask: Ask, video: Video) -> None:
        response = ask(video(MPEG_2))

        assert described(response.content) == ("mov", "h264", 25, 1.0)
        shown, stored = decoded(response.content)[12], decoded(stream_of(MPEG_2))[12]
        assert np.abs(shown.astype(int) - stored.astype(int)).mean() < 6

    def test_hevc_can_be_had_without_the_mp4_around_it(self, ask: Ask, video: Video) -> None:
        response = ask(video(HEVC), "video/H265")

        assert response.headers["Content-Type"] == "video/H265"
        assert described(response.content)[:3] == ("hevc", "hevc", 25)

    def test_a_viewport_makes_it_smaller(self, ask: Ask, video: Video) -> None:
        response = ask(video(IN_MP4), MP4, viewport="320,320")

        assert decoded(response.content)[0].shape == (180, 320, 3)

    def test_a_picture_of_it_is_the_frame_in_its_middle(self, ask: Ask, video: Video) -> None:
        response = ask(video(IN_MP4), PNG)

        shown = np.asarray(Image.open(BytesIO(response.content)))
        assert (shown == decoded(stream_of(IN_MP4))[12]).all()

    @pytest.mark.parametrize("name", [IN_MP4, IN_TRANSPORT_STREAM, MPEG_2])
    def test_a_frame_of_it_is_a_picture(self, ask: Ask, video: Video, name: str) -> None:
        response = ask(f"{video(name)}/frames/21", PNG)

        shown = np.asarray(Image.open(BytesIO(response.content)))
        assert (shown == decoded(stream_of(name))[20]).all()

    def test_a_frame_that_is_not_there_is_404(self, ask: Ask, video: Video) -> None:
        assert ask(f"{video(IN_MP4)}/frames/26").status_code == 404

    def test_what_is_no_video_is_406(self, ask: Ask, video: Video) -> None:
        assert ask(video(IN_MP4), "text/html").status_code == 406

    def test_a_thumbnail_of_it_is_one_of_its_frames(
        self, client: httpx2.Client, video: Video
    ) -> None:
        response = client.get(f"{video(IN_MP4)}/thumbnail", headers={"Accept": PNG})

        shown = Image.open(BytesIO(response.content))
        whole = Image.fromarray(decoded(stream_of(IN_MP4))[12])
        assert shown.size == (256, 144)
        expected = np.asarray(whole.resize(shown.size, Image.Resampling.BOX)).astype(int)
        assert np.abs(np.asarray(shown) - expected).mean() < 6

    def test_a_stream_that_is_no_video_is_406_and_its_thumbnail_an_icon(
        self, client: httpx2.Client, ask: Ask, store: Store
    ) -> None:
        require_shared_data()
        broken = pydicom.dcmread(FOLDER / IN_TRANSPORT_STREAM)
        broken.SOPInstanceUID = pydicom.uid.generate_uid()
        broken.file_meta.MediaStorageSOPInstanceUID = broken.SOPInstanceUID
        broken.PixelData = pydicom.encaps.encapsulate([b"G" + b"\1\2\3\4" * 400])
        file = BytesIO()
        broken.save_as(file)
        store([file.getvalue()])
        path = path_of(file.getvalue())

        assert ask(path, MP4).status_code == 406
        icon = client.get(f"{path}/thumbnail", headers={"Accept": PNG})
        assert Image.open(BytesIO(icon.content)).size == (256, 256)


class TestCine:
    """F8"""

    SHADES = (20, 80, 140, 200, 240)

    @pytest.fixture
    def cine(self, store: Store) -> Callable[..., str]:
        def stored(**attributes: Any) -> str:
            pixels = np.stack([np.full((17, 31), shade, np.uint8) for shade in self.SHADES])
            dataset: Dataset = a_dataset(
                SOPClassUID=EnhancedMRImageStorage,
                NumberOfFrames=len(self.SHADES),
                Rows=17,
                Columns=31,
                BitsAllocated=8,
                BitsStored=8,
                HighBit=7,
                WindowCenter=128,
                WindowWidth=256,
                PixelData=pixels.tobytes() + b"\0",
                **attributes,
            )
            file = written(dataset)
            store([file])
            return path_of(file)

        return stored

    def times_of(self, content: bytes) -> list[float]:
        with av.open(BytesIO(content), "r") as container:
            return [float(frame.time or 0) for frame in container.decode(video=0)]

    def test_all_frames_are_a_film(self, ask: Ask, cine: Callable[..., str]) -> None:
        response = ask(cine(FrameTime=200), MP4)

        frames = decoded(response.content)
        assert response.headers["Content-Type"] == MP4
        assert [frame.shape for frame in frames] == [(18, 32, 3)] * 5  # even sides
        assert [frame.mean() for frame in frames] == pytest.approx(self.SHADES, abs=4)
        assert self.times_of(response.content) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])

    def test_listed_frames_are_a_film(self, ask: Ask, cine: Callable[..., str]) -> None:
        response = ask(f"{cine(FrameTime=200)}/frames/4,1,2", MP4)

        means = [frame.mean() for frame in decoded(response.content)]
        assert means == pytest.approx([200, 20, 80], abs=4)

    def test_they_are_shown_as_long_as_the_frame_time_vector_says(
        self, ask: Ask, cine: Callable[..., str]
    ) -> None:
        attributes = {"FrameIncrementPointer": 0x00181065, "FrameTimeVector": [0, 40, 80, 120, 200]}
        path = cine(**attributes)

        assert self.times_of(ask(path, MP4).content) == pytest.approx([0, 0.04, 0.12, 0.24, 0.44])
        gif = Image.open(BytesIO(ask(path, GIF).content))
        shown = []
        for number in range(4):
            gif.seek(number)
            shown.append(gif.info["duration"])
        assert shown == [40, 80, 120, 200]

    @pytest.mark.parametrize(
        ("attributes", "seconds"),
        [
            ({"CineRate": 4}, 0.25),
            ({"CineRate": 4, "RecommendedDisplayFrameRate": 5}, 0.2),
            ({}, 0.1),
        ],
    )
    def test_or_as_a_rate_says(
        self, ask: Ask, cine: Callable[..., str], attributes: dict[str, Any], seconds: float
    ) -> None:
        assert self.times_of(ask(cine(**attributes), MP4).content)[1] == pytest.approx(seconds)

    def test_a_part_of_it_can_be_asked_for(
        self, client: httpx2.Client, ask: Ask, cine: Callable[..., str]
    ) -> None:
        path = cine()
        whole = ask(path, MP4).content
        headers = {"Accept": MP4, "Range": "bytes=10-99"}

        response = client.get(f"{path}/rendered", headers=headers)

        assert (response.status_code, response.content) == (206, whole[10:100])

    def test_a_link_can_name_it(self, ask: Ask, cine: Callable[..., str]) -> None:
        assert ask(cine(), accept=MP4).headers["Content-Type"] == MP4

    def test_one_frame_is_no_film(self, ask: Ask, cine: Callable[..., str]) -> None:
        assert ask(f"{cine()}/frames/1", MP4).status_code == 406
