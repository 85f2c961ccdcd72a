"""The URI service of the right server (PS3.18 chapter 9), on http://right.example/wado."""

from io import BytesIO

import httpx2
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.uid import UID

import right_pictures
from right_pictures import Window, cut_out, encoded, fitted, number, picture, referred, whole_number
from right_server import (
    LE,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    file_in,
    query_of,
)

WADO = "http://right.example/wado"
FILE = "application/dicom"
TEXTS = ("text/html", "text/plain")


def retrieve(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    query = query_of(request)
    if query.get("requestType") != "WADO":
        raise Refused(400, "requestType is WADO")
    if not {"studyUID", "seriesUID", "objectUID"} <= query.keys():
        raise Refused(400, "three UIDs are needed")
    content_type = query.get("contentType", "")
    if ";" in content_type:
        raise Refused(400, "a content type without parameters")
    named = {"study": "studyUID", "series": "seriesUID", "instance": "objectUID"}
    (dataset,) = server.datasets({level: query[name] for level, name in named.items()})
    header = [each.name for each in accepted(request)]
    wanted = content_type or (FILE if header == [FILE] else "image/jpeg")
    if wanted == FILE:
        return _file(dataset, query)
    if "ContentSequence" in dataset:
        return _text(dataset, wanted)
    if wanted != "image/jpeg" or "PixelData" not in dataset:
        raise Refused(406)
    return answer(200, _jpeg(server, dataset, query), "image/jpeg")


def _file(dataset: FileDataset, query: dict[str, str]) -> Answer:
    if "windowCenter" in query:
        raise Refused(400, "a window is for pictures")
    if "presentationUID" in query:
        raise Refused(406, "a presentation state is for pictures")
    if query.get("anonymize", "yes") != "yes":
        raise Refused(400, "anonymize is yes")
    syntax = query.get("transferSyntax", LE)
    if not syntax.replace(".", "").isdecimal():
        raise Refused(400, "no UID")
    if "anonymize" in query:
        return answer(200, _anonymized(dataset), FILE)
    content = file_in(dataset, syntax)
    if content is None:
        raise Refused(406)
    return answer(200, content, FILE)


def _anonymized(dataset: FileDataset) -> bytes:
    dataset.SOPInstanceUID = "2.25.1234"
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1234")
    dataset.PatientName, dataset.PatientID = "Anonymous", "A1"
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _text(dataset: FileDataset, wanted: str) -> Answer:
    if wanted not in TEXTS:
        raise Refused(406)
    text = dataset.ContentSequence[0].TextValue
    return answer(200, f"<p>{text}</p>".encode(), f"{wanted}; charset=utf-8")


def _jpeg(server: RightServer, dataset: FileDataset, query: dict[str, str]) -> bytes:
    frame, window = _frame(dataset, query), _window(query)
    if {"presentationUID", "presentationSeriesUID"} & query.keys():
        window = _state_window(server, dataset, query)
    image = picture(dataset, frame, window)
    if "region" in query:
        image = _region(image, query["region"])
    if {"rows", "columns"} & query.keys():
        rows = whole_number(query.get("rows", "99999"))
        image = fitted(image, whole_number(query.get("columns", "99999")), rows)
    if "imageQuality" in query:
        whole_number(query["imageQuality"], up_to=100)
    return encoded(image, "image/jpeg", {"quality": query.get("imageQuality", "90")})


def _frame(dataset: FileDataset, query: dict[str, str]) -> int:
    if "frameNumber" not in query:
        return 1
    frames = int(dataset.get("NumberOfFrames", 1))
    if frames == 1:
        raise Refused(400, "one frame has no number")
    return whole_number(query["frameNumber"], up_to=frames)


def _window(query: dict[str, str]) -> Window | None:
    given = [query[name] for name in ("windowCenter", "windowWidth") if name in query]
    if len(given) == 1:
        raise Refused(400, "a window has center and width")
    return (number(given[0]), number(given[1]), "linear") if given else None


def _state_window(server: RightServer, dataset: FileDataset, query: dict[str, str]) -> Window:
    if "windowCenter" in query or "presentationSeriesUID" not in query:
        raise Refused(400, "a presentation state stands for itself, with its series")
    of = {
        "study": str(dataset.StudyInstanceUID),
        "series": query["presentationSeriesUID"],
        "instance": query.get("presentationUID", ""),
    }
    try:
        (state,) = server.datasets(of)
    except Refused:
        raise Refused(400, "no such presentation state") from None
    return referred(server, state)[2]


def _region(image: Image.Image, written: str) -> Image.Image:
    values = [number(each) for each in written.split(",")]
    if len(values) != 4:
        raise Refused(400, "a region has four values")
    left, top, right, bottom = values
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise Refused(400, "a region has a size")
    columns, rows = image.width, image.height
    edges = (left * columns, top * rows, (right - left) * columns, (bottom - top) * rows)
    return cut_out(image, [str(each) for each in edges])


ROUTES: list[tuple[str, str, Handler]] = [("GET", r"/wado", retrieve)]


def server_with_uri_service() -> RightServer:
    return RightServer(routes=[*ROUTES, *right_pictures.RENDERED])
