"""OHIF's two pages as a person uses them: the study list and the viewer."""

import base64
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Locator, Page, Response, expect

POSITION = re.compile(r"I:\s*(\d+)\s*\((\d+)/(\d+)\)")


@dataclass(slots=True)
class Ohif:
    """One browser page with OHIF in it, and what the archive refused it."""

    page: Page
    url: str
    archive_url: str
    screenshots: Path
    answers: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("response", lambda response: self._note_answer(response))

    def _note_answer(self, response: Response) -> None:
        if response.url.startswith(self.archive_url):
            path = response.url.removeprefix(self.archive_url).partition("?")[0]
            self.answers.append((response.status, response.request.method, path))

    def refused(self) -> list[tuple[int, str, str]]:
        return [answer for answer in self.answers if answer[0] >= 400]

    def save_screenshot(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png")


@dataclass(frozen=True, slots=True)
class StudyList:
    ohif: Ohif

    @classmethod
    def opened(cls, ohif: Ohif) -> "StudyList":
        ohif.page.goto(f"{ohif.url}/")
        expect(ohif.page.get_by_role("button", name="Reset filters")).to_be_visible()
        return cls(ohif)

    @property
    def rows(self) -> Locator:
        # The first table holds the headings and the filters, the second the studies.
        return self.ohif.page.locator("table").nth(1).locator("tbody tr")

    def row_of(self, patient: str) -> Locator:
        return self.rows.filter(has_text=patient)

    def filter(self, column: str, text: str) -> None:
        head = self.ohif.page.locator("table").nth(0)
        column_number = head.locator("th").all_inner_texts().index(column)
        head.locator("tbody td").nth(column_number).locator("input").fill(text)


@dataclass(frozen=True, slots=True)
class Viewer:
    ohif: Ohif

    @classmethod
    def opened(cls, ohif: Ohif, study_instance_uid: str) -> "Viewer":
        """The study in the basic viewer, its first picture on the screen."""
        ohif.page.goto(f"{ohif.url}/viewer?StudyInstanceUIDs={study_instance_uid}")
        viewer = cls(ohif)
        expect(viewer.overlay).to_contain_text(POSITION)
        ohif.page.wait_for_function(
            """() => {
                const canvas = document.querySelector('.cornerstone-canvas');
                const context = canvas && canvas.getContext('2d');
                if (!context) return false;
                const {width, height} = canvas;
                return context.getImageData(0, height / 2, width, 1).data.some(
                    (value, index) => index % 4 !== 3 && value > 60);
            }"""
        )
        return viewer

    @property
    def overlay(self) -> Locator:
        return self.ohif.page.locator("[data-cy=viewport-overlay-bottom-right]")

    @property
    def canvas(self) -> Locator:
        return self.ohif.page.locator(".cornerstone-canvas")

    @property
    def thumbnails(self) -> Locator:
        return self.ohif.page.locator("[data-cy=study-browser-thumbnail] img")

    def instance_number(self) -> int:
        return self._position()[0]

    def image_number(self) -> int:
        """1-based place of the picture in the stack: an instance or a frame."""
        return self._position()[1]

    def _position(self) -> tuple[int, int, int]:
        found = POSITION.search(self.overlay.inner_text())
        if found is None:
            raise AssertionError("the viewport does not say which image it shows")
        return int(found[1]), int(found[2]), int(found[3])

    def picture(self, *, columns: int, rows: int) -> npt.NDArray[np.uint8]:
        """The image in the viewport without overlays, shape (rows, columns, 3).

        OHIF fits an image to the height of a wide viewport and centres it.
        """
        url: str = self.canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
        width = shown.height * columns / rows
        left = (shown.width - width) / 2
        box = (left, 0, left + width, shown.height)
        return np.asarray(shown.resize((columns, rows), Image.Resampling.BOX, box))

    def scroll(self, notches: int) -> None:
        self.canvas.hover()
        for _ in range(notches):
            before = self.overlay.inner_text()
            self.ohif.page.mouse.wheel(0, 100)
            expect(self.overlay).not_to_have_text(before)
        self._let_the_picture_follow()

    def play_until_image(self, image_number: int) -> None:
        button = self.ohif.page.locator("[data-cy=cine-player-play-pause]")
        button.click()
        self.ohif.page.wait_for_function(
            """wanted => {
                const overlay = document.querySelector('[data-cy=viewport-overlay-bottom-right]');
                return Number(overlay.innerText.match(/\\((\\d+)\\//)[1]) >= wanted;
            }""",
            arg=image_number,
        )
        button.click()
        self._let_the_picture_follow()

    def _let_the_picture_follow(self) -> None:
        # The overlay may change one drawing ahead of the canvas, and nothing tells when.
        self.ohif.page.wait_for_timeout(500)

    def draw_length(self) -> None:
        """A tracked Length measurement across the middle of the image."""
        page = self.ohif.page
        page.locator("[data-cy=MeasurementTools-split-button-primary] [data-cy=Length]").click()
        box = self.canvas.bounding_box()
        if box is None:
            raise AssertionError("the viewport is not visible")
        x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 60, y + 20, steps=4)
        page.mouse.move(x + 150, y + 40, steps=4)
        page.mouse.up()
        page.get_by_role("button", name="Yes", exact=True).click()

    def length_label_mm(self) -> float:
        label = self.ohif.page.locator("svg text").filter(has_text=re.compile(r"\d mm"))
        return float((label.first.text_content() or "").removesuffix("mm"))

    def save_measurements(self, name: str) -> None:
        page = self.ohif.page
        page.locator("[data-cy=trackedMeasurements-btn]").first.click()
        page.get_by_role("button", name="Create SR").click()
        page.locator("[data-cy=dialog-input]").fill(name)
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.get_by_role("dialog").get_by_role("button", name="Save").click()
