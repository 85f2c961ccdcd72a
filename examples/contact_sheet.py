"""Draw one picture of every kind of object that an archive holds, all on one sheet.

    python examples/contact_sheet.py --url http://127.0.0.1:8080/dicomweb sheet.png

Studies are walked with QIDO-RS; of each modality and SOP class the archive renders one instance
(PS3.18 section 10.4), or more with --each. What it cannot render as an image, reports for
example, is shown by its thumbnail. Needs Pillow and pydicom, which knows the names of SOP classes.
"""

import argparse
import json
import sys
import textwrap
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import UID

PAGE = 500
STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
MODALITY, SOP_CLASS_UID = "00080060", "00080016"
SIDE, MARGIN, CAPTION = 300, 14, 54
PAPER, INK, GREY = (18, 22, 28), (228, 233, 240), (138, 150, 166)


@dataclass(frozen=True)
class Kind:
    modality: str
    sop_class_uid: str

    @property
    def caption(self) -> str:
        name = UID(self.sop_class_uid).name.removesuffix(" Storage")
        return f"{self.modality or '?'} · {name}"


@dataclass(frozen=True)
class Shown:
    caption: str
    note: str
    picture: Image.Image | None


def search(url: str) -> Iterator[dict[str, Any]]:
    """All matches, page by page."""
    offset = 0
    while True:
        joint = "&" if "?" in url else "?"
        request = urllib.request.Request(
            f"{url}{joint}limit={PAGE}&offset={offset}",
            headers={"Accept": "application/dicom+json"},
        )
        with urllib.request.urlopen(request) as answer:
            matches = json.load(answer) if answer.status == 200 else []
        yield from matches
        offset += len(matches)
        if len(matches) < PAGE:
            return


def value(match: dict[str, Any], tag: str) -> str:
    return str((match.get(tag, {}).get("Value") or [""])[0])


def tell(progress: str) -> None:
    """In place on a terminal; in a log, a line each."""
    begin, end = ("\r", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{begin}{progress}", end=end, file=sys.stderr, flush=True)


def kinds(url: str, each: int) -> dict[Kind, list[str]]:
    """The path of one instance, or of a few of different series, for every kind."""
    found: dict[Kind, list[str]] = {}
    for number, study in enumerate(search(f"{url}/studies"), start=1):
        tell(f"{number} studies, {len(found)} kinds")
        study_path = f"/studies/{value(study, STUDY_UID)}"
        for series in search(f"{url}{study_path}/series"):
            series_path = f"{study_path}/series/{value(series, SERIES_UID)}"
            own: dict[str, list[str]] = {}
            for instance in search(f"{url}{series_path}/instances"):
                path = f"{series_path}/instances/{value(instance, INSTANCE_UID)}"
                own.setdefault(value(instance, SOP_CLASS_UID), []).append(path)
            for sop_class_uid, paths in own.items():
                listed = found.setdefault(Kind(value(series, MODALITY), sop_class_uid), [])
                if len(listed) < each:
                    listed.append(paths[len(paths) // 2])
    print(file=sys.stderr)
    return found


def picture_of(url: str, path: str) -> tuple[str, Image.Image | None]:
    """How it was come by, and the picture; None when the archive gives none."""
    query = urllib.parse.urlencode({"viewport": f"{SIDE},{SIDE}", "accept": "image/png"})
    refused = ""
    for resource in ("rendered", "thumbnail"):
        request = urllib.request.Request(
            f"{url}{path}/{resource}?{query}", headers={"Accept": "image/*"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                picture = Image.open(BytesIO(answer.read())).convert("RGB")
                picture.thumbnail((SIDE, SIDE))  # sheets of ECG keep their own size
                return resource, picture
        except urllib.error.HTTPError as error:
            refused = f"{resource}: {error.code}"
    return refused, None


def drawn(shown: list[Shown], columns: int) -> Image.Image:
    rows = -(-len(shown) // columns)
    width, height = SIDE + MARGIN, SIDE + CAPTION + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, one in enumerate(shown):
        left, top = MARGIN + place % columns * width, MARGIN + place // columns * height
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), (8, 10, 13))
        if one.picture is not None:
            middle = ((SIDE - one.picture.width) // 2, (SIDE - one.picture.height) // 2)
            sheet.paste(one.picture, (left + middle[0], top + middle[1]))
        lines = textwrap.wrap(one.caption, 40)[:2]
        draw.multiline_text((left, top + SIDE + 4), "\n".join(lines), INK, font)
        draw.text((left, top + SIDE + 38), one.note, GREY, ImageFont.load_default(12))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Draw one picture of every kind of object in an archive on one sheet."
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("--each", type=int, default=1, help="pictures of each kind; 1 by default")
    parser.add_argument("--columns", type=int, default=6, help="pictures beside each other")
    parser.add_argument("sheet", type=Path, help="the PNG file to write")
    options = parser.parse_args()

    url = options.url.rstrip("/")
    found = kinds(url, options.each)
    shown = []
    for number, kind in enumerate(sorted(found, key=lambda one: one.caption), start=1):
        tell(f"{number} of {len(found)} kinds")
        for path in found[kind]:
            note, picture = picture_of(url, path)
            shown.append(Shown(kind.caption, note, picture))
    print(file=sys.stderr)
    if not shown:
        raise SystemExit("the archive holds nothing")
    drawn(shown, options.columns).save(options.sheet)
    print(f"{len(shown)} pictures of {len(found)} kinds in {options.sheet}")


if __name__ == "__main__":
    main()
