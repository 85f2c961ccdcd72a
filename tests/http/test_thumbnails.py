"""Thumbnails (PS3.18 sections 8.3.5.2, 10.4.1.1.4 and 10.4.3.3.4); ids are those of the cases."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    UltrasoundImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from objects import a_dataset, uid, written
from retrieved import path_of
from shared_data import SHARED, require_shared_data

Store = Callable[..., httpx2.Response]
Ask = Callable[..., httpx2.Response]
Pixels = npt.NDArray[Any]

JPEG, PNG = "image/jpeg", "image/png"
# What a browser says when it loads an image (HTML <img>).
OF_A_BROWSER = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def instance_path(dataset: Dataset) -> str:
    return f"{series_path(dataset)}/instances/{dataset.SOPInstanceUID}"


def series_path(dataset: Dataset) -> str:
    return f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"


def an_even_image(shade: int, **attributes: Any) -> Dataset:
    """All pixels alike, from 0 black to 255 white."""
    return a_dataset(
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        WindowCenter=128,
        WindowWidth=256,
        PixelData=np.full((16, 16), shade, np.uint8).tobytes(),
        **attributes,
    )


def a_screen(text: str, **attributes: Any) -> Dataset:
    """512 x 384 pixels of an ultrasound scanner, with something written across it."""
    image = Image.new("L", (512, 384), 40)
    draw = ImageDraw.Draw(image)
    draw.ellipse((150, 120, 360, 330), fill=150)
    draw.text((10, 8), text, fill=255, font_size=40)
    return a_dataset(
        SOPClassUID=UltrasoundImageStorage,
        Modality="US",
        Rows=384,
        Columns=512,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        WindowCenter=128,
        WindowWidth=256,
        PixelData=np.asarray(image).tobytes(),
        **attributes,
    )


def a_report(**attributes: Any) -> Dataset:
    report = a_dataset(SOPClassUID=BasicTextSRStorage, Modality="SR", PixelData=None, **attributes)
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"):
        del report[keyword]
    return report


def image_of(response: httpx2.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(BytesIO(response.content))


def shade_of(response: httpx2.Response) -> float:
    return float(np.asarray(image_of(response).convert("L")).mean())


@pytest.fixture
def ask(client: httpx2.Client) -> Ask:
    """GET /thumbnail of a path; keyword arguments are its query."""

    def get(path: str, header: str = JPEG, **query: Any) -> httpx2.Response:
        return client.get(f"{path}/thumbnail", params=query, headers={"Accept": header})

    return get


@pytest.fixture(scope="module")
def series() -> list[Dataset]:
    """Five images, the one in the middle lighter than the others."""
    study, of = uid(), uid()
    return [
        an_even_image(
            200 if number == 3 else 20,
            StudyInstanceUID=study,
            SeriesInstanceUID=of,
            InstanceNumber=number,
        )
        for number in range(1, 6)
    ]


class TestLevels:
    @pytest.fixture(autouse=True)
    def stored(self, store: Store, series: list[Dataset]) -> None:
        store([written(one) for one in series])

    @pytest.mark.parametrize("level", ["study", "series", "instance", "frame"])
    def test_each_level_has_one(self, ask: Ask, series: list[Dataset], level: str) -> None:
        """THU-01"""
        middle = series[2]
        path = {
            "study": f"/studies/{middle.StudyInstanceUID}",
            "series": series_path(middle),
            "instance": instance_path(middle),
            "frame": f"{instance_path(middle)}/frames/1",
        }[level]

        assert abs(shade_of(ask(path)) - 200) < 2

    def test_any_type_is_one_jpeg(self, ask: Ask, series: list[Dataset]) -> None:
        """THU-02"""
        response = ask(f"/studies/{series[0].StudyInstanceUID}", "*/*")

        assert response.headers["Content-Type"] == JPEG
        assert image_of(response).format == "JPEG"

    def test_it_fits_into_the_viewport(self, ask: Ask, series: list[Dataset]) -> None:
        """THU-03"""
        assert image_of(ask(instance_path(series[0]), viewport="32,20")).size == (20, 20)

    @pytest.mark.parametrize("viewport", ["32,32,0,0,8,8", "32", "0,10", "a,b", ""])
    def test_no_part_of_the_image_can_be_asked_for(
        self, ask: Ask, series: list[Dataset], viewport: str
    ) -> None:
        """THU-04"""
        assert ask(instance_path(series[0]), viewport=viewport).status_code == 400

    def test_a_small_image_is_not_enlarged_unasked(self, ask: Ask, series: list[Dataset]) -> None:
        assert image_of(ask(instance_path(series[0]))).size == (16, 16)

    def test_no_viewport_makes_it_larger_than_the_limit(
        self, ask: Ask, series: list[Dataset]
    ) -> None:
        assert image_of(ask(instance_path(series[0]), viewport="5000,4000")).size == (1024, 1024)

    @pytest.mark.parametrize(
        "media_type", [PNG, "image/gif", "image/jp2", "image/jxl", "image/webp", "image/avif"]
    )
    def test_other_types_are_made(self, ask: Ask, series: list[Dataset], media_type: str) -> None:
        assert ask(instance_path(series[0]), media_type).headers["Content-Type"] == media_type

    @pytest.mark.parametrize("header", ["*/*", OF_A_BROWSER])
    def test_the_accept_parameter_wins_over_the_header(
        self, ask: Ask, series: list[Dataset], header: str
    ) -> None:
        response = ask(instance_path(series[0]), header, accept=PNG)

        assert response.headers["Content-Type"] == PNG

    def test_a_browser_gets_an_image_that_it_names(self, ask: Ask, series: list[Dataset]) -> None:
        response = ask(instance_path(series[0]), OF_A_BROWSER)

        assert response.headers["Content-Type"] in OF_A_BROWSER

    def test_text_is_refused(self, ask: Ask, series: list[Dataset]) -> None:
        assert ask(instance_path(series[0]), "text/html").status_code == 406

    def test_a_known_entity_tag_is_answered_with_304(
        self, ask: Ask, client: httpx2.Client, series: list[Dataset]
    ) -> None:
        etag = ask(series_path(series[0])).headers["ETag"]
        again = client.get(
            f"{series_path(series[0])}/thumbnail",
            headers={"Accept": JPEG, "If-None-Match": etag},
        )

        assert again.status_code == 304

    def test_another_size_has_another_entity_tag(self, ask: Ask, series: list[Dataset]) -> None:
        path = instance_path(series[0])
        assert ask(path).headers["ETag"] != ask(path, viewport="8,8").headers["ETag"]

    @pytest.mark.parametrize("number", ["2", "1,2"])
    def test_a_frame_that_is_not_there_is_404(
        self, ask: Ask, series: list[Dataset], number: str
    ) -> None:
        assert ask(f"{instance_path(series[0])}/frames/{number}").status_code == 404

    def test_what_is_not_stored_is_404(self, ask: Ask) -> None:
        assert ask(f"/studies/{uid()}").status_code == 404
        assert ask(f"/studies/{uid()}/series/{uid()}").status_code == 404


class TestTheRepresentative:
    def test_of_a_study_images_come_before_reports(self, ask: Ask, store: Store) -> None:
        image = an_even_image(200, SeriesNumber=5)
        reports = [
            a_report(
                StudyInstanceUID=image.StudyInstanceUID, SeriesInstanceUID="2.25.77", SeriesNumber=1
            )
            for _ in range(3)
        ]
        store([written(one) for one in (*reports, image)])

        assert abs(shade_of(ask(f"/studies/{image.StudyInstanceUID}")) - 200) < 2

    def test_of_a_study_the_largest_series_of_images_is_chosen(
        self, ask: Ask, store: Store
    ) -> None:
        study, of = uid(), uid()
        localizer = an_even_image(20, StudyInstanceUID=study, SeriesNumber=1)
        volume = [
            an_even_image(
                200, StudyInstanceUID=study, SeriesInstanceUID=of, InstanceNumber=n, SeriesNumber=2
            )
            for n in range(1, 5)
        ]
        store([written(one) for one in (localizer, *volume)])

        assert abs(shade_of(ask(f"/studies/{study}")) - 200) < 2

    def test_of_several_frames_the_one_in_the_middle_is_shown(self, ask: Ask, store: Store) -> None:
        frames = np.stack([np.full((16, 16), shade, np.uint8) for shade in (0, 10, 200, 10, 0)])
        cine = an_even_image(0, SOPClassUID=EnhancedMRImageStorage, NumberOfFrames=5)
        cine.PixelData = frames.tobytes()
        store([written(cine)])

        assert abs(shade_of(ask(instance_path(cine))) - 200) < 2
        assert abs(shade_of(ask(f"{instance_path(cine)}/frames/4")) - 10) < 2

    def test_a_slide_is_shown_as_a_whole(self, ask: Ask, store: Store) -> None:
        shades = (20, 80, 140, 200)
        tiles = np.stack([np.full((16, 16), shade, np.uint8) for shade in shades])
        slide = an_even_image(
            0,
            SOPClassUID=VLWholeSlideMicroscopyImageStorage,
            Modality="SM",
            NumberOfFrames=4,
            TotalPixelMatrixColumns=32,
            TotalPixelMatrixRows=32,
            DimensionOrganizationType="TILED_FULL",
        )
        slide.PixelData = tiles.tobytes()
        label = an_even_image(
            255,
            SOPClassUID=VLWholeSlideMicroscopyImageStorage,
            Modality="SM",
            StudyInstanceUID=slide.StudyInstanceUID,
            SeriesInstanceUID=slide.SeriesInstanceUID,
            ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
        )
        store([written(slide), written(label)])

        shown = np.asarray(image_of(ask(series_path(slide), PNG)).convert("L"))

        assert shown.shape == (32, 32)
        corners = [shown[row, column] for row in (8, 24) for column in (8, 24)]
        assert corners == pytest.approx(shades, abs=2)


class TestWhatHasNoPicture:
    @pytest.mark.parametrize(
        "sop_class",
        [
            BasicTextSRStorage,
            "1.2.840.10008.5.1.4.1.1.104.1",  # PDF
            "1.2.840.10008.5.1.4.1.1.9.1.1",  # ECG
            "1.2.840.10008.5.1.4.1.1.11.1",  # GSPS
            "1.2.840.10008.5.1.4.1.1.88.59",  # key objects
            "1.2.840.10008.5.1.4.1.1.481.5",  # RT plan
            "1.2.840.10008.5.1.4.1.1.9.4.1",  # voice
            "1.2.840.10008.5.1.4.1.1.66",  # raw
            "1.2.840.10008.5.1.4.1.1.999",  # what nobody knows
        ],
    )
    def test_an_icon_stands_for_it(self, ask: Ask, store: Store, sop_class: str) -> None:
        what = a_report()
        what.SOPClassUID = sop_class
        store([written(what)])

        shown = image_of(ask(instance_path(what)))

        assert shown.size == (256, 256)
        assert np.asarray(shown).std() > 10

    def test_objects_of_other_kinds_have_other_icons(self, ask: Ask, store: Store) -> None:
        report, plan = a_report(), a_report()
        plan.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.5"
        store([written(report), written(plan)])

        assert ask(instance_path(report)).content != ask(instance_path(plan)).content

    def test_an_icon_takes_the_viewport(self, ask: Ask, store: Store) -> None:
        report = a_report()
        store([written(report)])

        assert image_of(ask(instance_path(report), viewport="64,48")).size == (48, 48)

    def test_what_cannot_be_decoded_is_an_icon_and_no_error(self, ask: Ask, store: Store) -> None:
        broken = an_even_image(0)
        broken.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\4\0\0\0\xff\x4f\xff\x51"
        broken["PixelData"].VR = "OB"
        broken["PixelData"].is_undefined_length = True
        store([written(broken, JPEG2000Lossless)])

        response = ask(instance_path(broken))

        assert image_of(response).size == (256, 256)


class TestIdentity:
    """THU-05"""

    def pixels_of(self, ask: Ask, store: Store, dataset: Dataset) -> Pixels:
        store([written(dataset)])
        return np.asarray(image_of(ask(instance_path(dataset), PNG)).convert("L")).astype(int)

    def test_burned_in_names_are_not_legible(self, ask: Ask, store: Store) -> None:
        one = self.pixels_of(ask, store, a_screen("ÅKERSTRÖM", BurnedInAnnotation="YES"))
        other = self.pixels_of(ask, store, a_screen("SJÖQVIST ", BurnedInAnnotation="YES"))

        # Where they were there is light; what they were is gone.
        assert np.abs(one - other).max() < 60
        assert np.abs(np.diff(one[:40], axis=1)).max() < 20

    def test_where_nothing_is_said_small_writing_on_a_screen_is_lost(
        self, ask: Ask, store: Store
    ) -> None:
        shown = self.pixels_of(ask, store, a_screen("ÅKERSTRÖM"))
        told = self.pixels_of(ask, store, a_screen("ÅKERSTRÖM", BurnedInAnnotation="NO"))

        assert np.abs(np.diff(shown[:30], axis=1)).max() < 80
        assert np.abs(np.diff(told[:30], axis=1)).max() > 120

    def test_a_face_is_withheld(self, ask: Ask, store: Store) -> None:
        shown = self.pixels_of(
            ask,
            store,
            a_screen("x", BurnedInAnnotation="NO", RecognizableVisualFeatures="YES"),
        )
        plain = self.pixels_of(ask, store, a_screen("x", BurnedInAnnotation="NO"))
        assert np.abs(shown - plain).max() > 60

    def test_overlays_are_left_out(self, ask: Ask, store: Store) -> None:
        image = an_even_image(0)
        image.add_new(0x60000010, "US", 16)
        image.add_new(0x60000011, "US", 16)
        image.add_new(0x60000040, "CS", "G")
        image.add_new(0x60000050, "SS", [1, 1])
        image.add_new(0x60000100, "US", 1)
        image.add_new(0x60000102, "US", 0)
        image.add_new(0x60003000, "OW", b"\xff" * 32)

        assert self.pixels_of(ask, store, image).max() < 2


@pytest.mark.parametrize("name", ["DX/966_fixed.dcm", "MG/GH133.dcm", "OP/sample-op.dcm"])
def test_a_large_image_is_what_all_its_samples_show(
    client: httpx2.Client, ask: Ask, store: Store, name: str
) -> None:
    """Few of its samples are looked at: against the picture that is made of all of them."""
    require_shared_data()
    file = (SHARED / "dicom" / "by_modality" / name).read_bytes()
    store([file])
    path = path_of(file)

    small = image_of(ask(path, PNG)).convert("L")
    whole = image_of(client.get(f"{path}/rendered", headers={"Accept": PNG})).convert("L")

    expected = whole.resize(small.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(small).astype(int) - np.asarray(expected).astype(int))
    assert max(small.size) == 256
    assert difference.mean() < 4
