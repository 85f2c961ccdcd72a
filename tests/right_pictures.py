"""Rendered resources of the right server: windows, viewports, annotations, thumbnails, volumes.

Values go through numpy in double precision and end in Pillow, whatever the suite does.
"""

import json
import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageDraw
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

import right_server
from right_server import (
    BASE,
    CAPABILITIES,
    JSON,
    SETS,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    multipart,
    path_of,
    query_of,
    uncompressed,
)

Array = npt.NDArray[Any]
Window = tuple[float, float, str]  # center, width, function
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
TEXTS = ("text/html", "text/plain", "text/xml")
KEYWORDS = ("patient", "technique")
PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _linear(values: Array, center: float, width: float) -> Array:
    return np.asarray(((values - center + 0.5) / (width - 1) + 0.5) * 255)


def _linear_exact(values: Array, center: float, width: float) -> Array:
    return ((values - center) / width + 0.5) * 255


def _sigmoid(values: Array, center: float, width: float) -> Array:
    return 255 / (1 + np.exp(-4 * (values - center) / width))


FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "linear": _linear,
    "linear-exact": _linear_exact,
    "sigmoid": _sigmoid,
}


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Refused(400, "no number") from None
    if not math.isfinite(value):
        raise Refused(400, "no number")
    return value


def whole_number(text: str, *, up_to: int = 10**6) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= up_to:
        raise Refused(400, f"no integer from 1 to {up_to}")
    return int(text)


def window_of(query: dict[str, str]) -> Window | None:
    if "window" not in query:
        return None
    values = query["window"].split(",")
    if len(values) != 3 or values[2] not in FUNCTIONS:
        raise Refused(400, "a window has three values")
    center, width = number(values[0]), number(values[1])
    if width <= 0 or (values[2] == "linear" and width < 1):
        raise Refused(400, "a window is wide")
    return center, width, values[2]


def check(query: dict[str, str], media_type: str, *, is_simple: bool = False) -> None:
    """Refuses wrong values; is_simple: of a presentation state or a thumbnail."""
    if is_simple and "window" in query:
        raise Refused(400, "a presentation state has its own window")
    window_of(query)
    if "quality" in query:
        whole_number(query["quality"], up_to=100)
    if "annotation" in query and not query["annotation"]:
        raise Refused(400, "no annotation")
    profile = query.get("iccprofile", "no")
    if profile not in PROFILES or (profile != "no" and media_type == "image/gif"):
        raise Refused(400, "no such profile")
    viewport = query.get("viewport", "1,1").split(",")
    if len(viewport) not in ((2,) if is_simple else (2, 3, 4, 5, 6)):
        raise Refused(400, "a viewport has two to six values")
    for each in viewport[:2]:
        whole_number(each)
    for each in viewport[2:]:
        number(each or "0")


def grays(values: Array, dataset: Dataset, window: Window | None) -> Array:
    """Stored values as 8-bit greys, in that window or in the one of the dataset."""
    hounsfield = values * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )
    if window is None and "WindowCenter" in dataset:
        window = float(dataset.WindowCenter), float(dataset.WindowWidth), "linear"
    if window is None:
        low, high = float(hounsfield.min()), float(hounsfield.max())
        window = (low + high) / 2, max(high - low, 1), "linear-exact"
    center, width, function = window
    # two values that touch: linear has no width between them
    width = max(width, 1.000001) if function == "linear" else width
    shades = np.clip(FUNCTIONS[function](hounsfield, center, width), 0, 255)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shades = 255 - shades
    eight_bits: Array = np.rint(shades).astype(np.uint8)
    return eight_bits


def picture(dataset: FileDataset, frame: int, window: Window | None) -> Image.Image:
    photometric = dataset.PhotometricInterpretation
    values = pixel_array(uncompressed(dataset), index=frame - 1)
    if photometric == "PALETTE COLOR":
        return Image.fromarray((apply_color_lut(values, dataset) // 257).astype(np.uint8))
    if dataset.SamplesPerPixel == 3:
        return Image.fromarray(np.asarray(values, np.uint8))
    return Image.fromarray(grays(values.astype(np.float64), dataset, window))


def cut_out(image: Image.Image, values: list[str]) -> Image.Image:
    """The source region of a viewport, mirrored where a size is negative."""
    texts = [*values, "", "", "", ""][:4]
    left, top = number(texts[0] or "0"), number(texts[1] or "0")
    width = number(texts[2]) if texts[2] else image.width - left
    height = number(texts[3]) if texts[3] else image.height - top
    right, bottom = left + abs(width), top + abs(height)
    image = image.crop((round(left), round(top), round(right), round(bottom)))
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if height < 0 else image


def fitted(image: Image.Image, columns: float, rows: float) -> Image.Image:
    factor = min(columns / image.width, rows / image.height)
    size = round(image.width * factor), round(image.height * factor)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def in_viewport(image: Image.Image, query: dict[str, str]) -> Image.Image:
    if "viewport" not in query:
        return image
    columns, rows, *source = query["viewport"].split(",")
    return fitted(cut_out(image, source), int(columns), int(rows))


def annotated(image: Image.Image, dataset: Dataset, query: dict[str, str]) -> Image.Image:
    wanted = query.get("annotation", "").split(",")
    texts = {
        "patient": f"{dataset.get('PatientID')}",
        "technique": f"{dataset.get('KVP')} kV {dataset.get('SliceThickness')} mm",
    }
    for row, keyword in enumerate(each for each in KEYWORDS if each in wanted):
        ImageDraw.Draw(image).text((2, 2 + 12 * row), texts[keyword], fill=255)
    return image


def encoded(image: Image.Image, media_type: str, query: dict[str, str]) -> bytes:
    more: dict[str, Any] = {}
    if media_type == "image/jpeg":
        more["quality"] = int(query.get("quality", "90"))
    if query.get("iccprofile", "no") != "no":
        more["icc_profile"] = SRGB
    buffer = BytesIO()
    image.save(buffer, FORMATS[media_type], **more)
    return buffer.getvalue()


def warned(response: Answer, query: dict[str, str]) -> Answer:
    unknown = [each for each in query.get("annotation", "").split(",") if each not in KEYWORDS]
    if any(unknown):
        response.headers["Warning"] = (
            f"299 {BASE}: The following annotation values are not supported: {','.join(unknown)}"
        )
    return response


def referred(server: RightServer, state: FileDataset) -> tuple[FileDataset, int, Window]:
    """The image that a presentation state shows, the frame, and in which window."""
    uid = state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID
    window = state.SoftcopyVOILUTSequence[0]
    of = {"study": state.StudyInstanceUID, "instance": uid}
    shown = (float(window.WindowCenter), float(window.WindowWidth), "linear")
    return server.datasets(of)[0], 1, shown


def rendered(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    datasets, query = server.datasets(of), query_of(request)
    if "instance" in of and (text := _text(request, datasets[0])):
        return text
    is_state = len(datasets) == 1 and "GraphicLayerSequence" not in datasets[0]
    is_state = is_state and "ReferencedSeriesSequence" in datasets[0]
    shown: list[tuple[FileDataset, int, Window | None]] = []
    for dataset in datasets:
        if is_state:
            shown.append(referred(server, dataset))
        elif "PixelData" in dataset:
            shown += [(dataset, n, window_of(query)) for n in _frames(dataset, of)]
    is_alone = "instance" in of and len(shown) == 1
    for wanted in accepted(request):
        name = wanted.root or _chosen(wanted.name)
        if name not in FORMATS or not shown:
            continue
        if not wanted.root and not is_alone and "*" not in wanted.name:
            continue
        check(query, name, is_simple=is_state)
        made = [(d, n, _drawn(d, n, w, query, name)) for d, n, w in shown]
        if is_alone and not wanted.root:
            return warned(answer(200, made[0][2], name), query)
        parts = [
            (
                {
                    "Content-Type": name,
                    "Content-Location": f"{BASE}{path_of(d)}/frames/{n}/rendered",
                },
                content,
            )
            for d, n, content in made
        ]
        return warned(multipart(parts, name), query)
    raise Refused(406)


def _chosen(name: str) -> str:
    return "image/jpeg" if name in ("*/*", "image/*") else name


def _frames(dataset: FileDataset, of: dict[str, str]) -> list[int]:
    last = int(dataset.get("NumberOfFrames", 1))
    wanted = [int(each) for each in of["frames"].split(",")] if "frames" in of else None
    if wanted and max(wanted) > last:
        raise Refused(404)
    return wanted or list(range(1, last + 1))


def _drawn(
    dataset: FileDataset,
    frame: int,
    window: Window | None,
    query: dict[str, str],
    media_type: str,
) -> bytes:
    image = in_viewport(picture(dataset, frame, window), query)
    return encoded(annotated(image, dataset, query), media_type, query)


def _text(request: httpx2.Request, dataset: FileDataset) -> Answer | None:
    """A report or a document; None of an image."""
    if "EncapsulatedDocument" in dataset:
        if any(each.name in ("application/pdf", "*/*") for each in accepted(request)):
            content = bytes(dataset.EncapsulatedDocument)[: dataset.EncapsulatedDocumentLength]
            return answer(200, content, "application/pdf")
        raise Refused(406)
    if "ContentSequence" not in dataset:
        return None
    for wanted in accepted(request):
        name = "text/html" if "*" in wanted.name else wanted.name
        if name in TEXTS:
            text = dataset.ContentSequence[0].TextValue
            return answer(200, f"<p>{text}</p>".encode(), f"{name}; charset=utf-8")
    raise Refused(406)


def thumbnail(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    images = [each for each in server.datasets(of) if "PixelData" in each]
    query = query_of(request)
    if not images:
        raise Refused(404)
    for wanted in accepted(request):
        name = _chosen(wanted.name)
        if name in FORMATS:
            check({"viewport": query.get("viewport", "48,48")}, name, is_simple=True)
            image = picture(images[0], int(of.get("frames", 1)), None)
            small = in_viewport(image, {"viewport": query.get("viewport", "48,48")})
            return answer(200, encoded(small, name, {}), name)
    raise Refused(406)


METHODS = ("volume_rendered", "maximum_ip", "minimum_ip", "average_ip")
CAMERA = ("viewpointposition", "viewpointlookat", "viewpointup")
SIDES = {"a": 1, "p": 1, "l": 2, "r": 2, "h": 0, "f": 0}


def volume(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    query, datasets = query_of(request), server.datasets(of)
    _check_volume(query, {str(each.SOPInstanceUID) for each in datasets})
    slices = [each for each in datasets if each.get("PhotometricInterpretation") == "MONOCHROME2"]
    if len(slices) < 2:
        raise Refused(400, "no volume")
    wanted = accepted(request)
    if query.get("renderedvolumetricmetadata") == "yes":
        return answer(200, json.dumps(_module(query)).encode(), JSON)
    stacked = np.stack([grays(each.pixel_array, each, (0, 2000, "linear")) for each in slices])
    side = query.get("orientation", "a")
    flat = stacked.mean(axis=SIDES[side]).astype(np.uint8)
    if side in "prf":
        flat = flat[:, ::-1]
    for each in wanted:
        if (name := _chosen(each.name)) in FORMATS:
            return answer(200, encoded(Image.fromarray(flat), name, {}), name)
    raise Refused(406)


def _check_volume(query: dict[str, str], uids: set[str]) -> None:
    if query.get("renderingmethod", METHODS[0]) not in METHODS:
        raise Refused(400, "no such method")
    camera = [name for name in CAMERA if name in query]
    if "orientation" in query and (camera or query["orientation"] not in SIDES):
        raise Refused(400, "an orientation instead of a camera")
    if any(len([number(v) for v in query[name].split(",")]) != 3 for name in camera):
        raise Refused(400, "no point")
    if "mprslab" in query and number(query["mprslab"]) <= 0:
        raise Refused(400, "a slab is thick")
    reference = query.get("volumeinputreference")
    if reference is not None and (reference not in uids or "InstanceNumber" in query):
        raise Refused(400, "no such reference")


def _module(query: dict[str, str]) -> dict[str, Any]:
    given = {name: [number(v) for v in query.get(name, "1,2,3").split(",")] for name in CAMERA}
    return {
        "00701603": {"vr": "FD", "Value": given["viewpointposition"]},
        "00701604": {"vr": "FD", "Value": given["viewpointlookat"]},
        "00701605": {"vr": "FD", "Value": given["viewpointup"]},
        "0070120D": {"vr": "CS", "Value": [query["renderingmethod"].upper()]},
        "00720510": {"vr": "CS", "Value": ["MPR"]},
    }


_OF_FRAMES = right_server._INSTANCE + r"/frames/(?P<frames>[\d,]+)"
RENDERED: list[tuple[str, str, Handler]] = [
    ("GET", SETS + r"/rendered", rendered),
    ("GET", _OF_FRAMES + r"/rendered", rendered),
]
THUMBNAILS: list[tuple[str, str, Handler]] = [
    ("GET", SETS + r"/thumbnail", thumbnail),
    ("GET", _OF_FRAMES + r"/thumbnail", thumbnail),
]
VOLUMES: list[tuple[str, str, Handler]] = [
    ("GET", SETS + r"/rendered(?:mpr|MPR|3d|3D)", volume),
]
_PLACES = [path for path in CAPABILITIES if path.endswith("/rendered")]


def server_with(*names: str) -> RightServer:
    """The right server that also claims resources of these names, such as thumbnail."""
    claimed = {p.removesuffix("rendered") + name: ["GET"] for p in _PLACES for name in names}
    return RightServer(
        routes=[*RENDERED, *THUMBNAILS, *VOLUMES], capabilities={**CAPABILITIES, **claimed}
    )
