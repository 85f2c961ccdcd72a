"""Search of the right server, whole: all keys, levels, kinds of matching and included fields.

Its routes come before those of `right_server`, which matches no more than the studies' own text.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pydicom
from pydicom import datadict
from pydicom.dataset import Dataset

from right_server import (
    BASE,
    JSON,
    Answer,
    Handler,
    Refused,
    RightServer,
    accepted,
    answer,
    json_of,
    multipart,
    native_xml,
    path_of,
)

KEYS = {
    "study": (
        "StudyDate", "StudyTime", "AccessionNumber", "InstanceAvailability", "ModalitiesInStudy",
        "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
        "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    "series": (
        "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber",
        "NumberOfSeriesRelatedInstances", "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime", "RequestAttributesSequence",
    ),
    "instance": (
        "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
        "NumberOfFrames", "AvailableTransferSyntaxUID",
    ),
}  # fmt: skip
KNOWN_IF = {
    "SeriesDescription", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    "RequestAttributesSequence", "Rows", "Columns", "BitsAllocated", "NumberOfFrames",
}  # fmt: skip
LEVELS = ("study", "series", "instance")
UID_OF = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
WILD = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
FLAGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
NO_FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."


@dataclass
class Search:
    level: str
    above: tuple[str, ...]  # levels that the path does not fix
    keys: dict[str, str]  # by keyword, or "Sequence.Keyword"
    fields: list[str]
    flags: dict[str, bool]
    offset: int
    limit: int

    @property
    def levels(self) -> tuple[str, ...]:
        return (*self.above, self.level)


def keyword_of(name: str) -> str | None:
    keyword = (
        datadict.keyword_for_tag(int(name, 16)) if re.fullmatch("[0-9A-Fa-f]{8}", name) else name
    )
    return keyword if keyword and datadict.tag_for_keyword(keyword) is not None else None


def read(request: httpx2.Request, of: dict[str, str]) -> Search:
    level = {"studies": "study", "series": "series", "instances": "instance"}[of["level"]]
    fixed = 2 if "series" in of else 1 if "study" in of else 0
    made = Search(level, LEVELS[fixed : LEVELS.index(level)], {}, [], {}, 0, 1000)
    for name, value in parse_qsl(request.url.query.decode(), keep_blank_values=True):
        if name in FLAGS:
            if value not in ("true", "false"):
                raise Refused(400)
            made.flags[name] = value == "true"
        elif name in ("limit", "offset"):
            if not re.fullmatch("[0-9]+", value):
                raise Refused(400)
            setattr(made, name, int(value))
        elif name == "includefield":
            made.fields += value.split(",")
        else:
            _add_key(made, name, value)
    return made


def _add_key(made: Search, name: str, value: str) -> None:
    keywords = [keyword_of(part) for part in name.split(".")]
    known = {keyword for level in made.levels for keyword in KEYS[level]}
    if None in keywords or keywords[0] not in known:
        return
    path = ".".join(map(str, keywords))
    if path in made.keys:
        raise Refused(400, "an attribute is there twice")
    _check(str(keywords[-1]), value, made)
    made.keys[path] = value


def _check(keyword: str, value: str, made: Search) -> None:
    vr = datadict.dictionary_VR(datadict.tag_for_keyword(keyword) or 0)
    if value == '""' and made.flags.get("emptyvaluematching"):
        return
    forms = {"DA": r"(\d{8})?(-(\d{8})?)?", "TM": r"[\d.]*(-[\d.]*)?", "UI": r"[\d.,\\]*"}
    if vr in forms and not re.fullmatch(forms[vr], value):
        raise Refused(400, f"{keyword} has a value that its VR does not allow")


def search(server: RightServer, request: httpx2.Request, of: dict[str, str]) -> Answer:
    asked = read(request, of)
    datasets = [_read(file) for file in server.files.values()]
    scope = [
        each
        for each in datasets
        if each.StudyInstanceUID == of.get("study", each.StudyInstanceUID)
        and each.SeriesInstanceUID == of.get("series", each.SeriesInstanceUID)
    ]
    entities: dict[str, Dataset] = {}
    for dataset in scope:
        uid = str(dataset[UID_OF[asked.level]].value)
        entities.setdefault(uid, _entity(dataset, datasets))
    found = [each for _, each in sorted(entities.items()) if _matches(each, asked)]
    page = found[asked.offset : asked.offset + asked.limit]
    warnings = [f"299 {BASE}: {NO_FUZZY}"] if asked.flags.get("fuzzymatching") else []
    if page and (rest := len(found) - asked.offset - len(page)):
        warnings.append(f"299 {BASE}: There are {rest} additional results that can be requested")
    response = _answer(request, [_row(each, asked) for each in page])
    if warnings:
        response.headers["Warning"] = ", ".join(warnings)
    return response


@lru_cache(100)
def _read(file: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(file))


def _answer(request: httpx2.Request, rows: list[dict[str, Any]]) -> Answer:
    if not rows:
        return answer(204)
    for wanted in accepted(request):
        if wanted.name in (JSON, "*/*"):
            return answer(200, json.dumps(rows).encode(), JSON)
        if wanted.root == "application/dicom+xml":
            headers = {"Content-Type": "application/dicom+xml"}
            return multipart([(headers, native_xml(row)) for row in rows], "application/dicom+xml")
    raise Refused(406)


def _entity(dataset: Dataset, all_of_them: list[Any]) -> Dataset:
    """The instance with what is computed of its study and series."""
    study = [each for each in all_of_them if each.StudyInstanceUID == dataset.StudyInstanceUID]
    series = [each for each in study if each.SeriesInstanceUID == dataset.SeriesInstanceUID]
    made = Dataset()
    made.update(dataset)
    made.ModalitiesInStudy = sorted({each.Modality for each in study})
    made.NumberOfStudyRelatedSeries = len({each.SeriesInstanceUID for each in study})
    made.NumberOfStudyRelatedInstances = len(study)
    made.NumberOfSeriesRelatedInstances = len(series)
    made.InstanceAvailability = "ONLINE"
    made.AvailableTransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    return made


def _row(entity: Dataset, asked: Search) -> dict[str, Any]:
    wanted = [keyword for level in asked.levels for keyword in KEYS[level]]
    below = {
        keyword for level in LEVELS[LEVELS.index(asked.level) + 1 :] for keyword in KEYS[level]
    }
    known = [keyword for level in LEVELS for keyword in KEYS[level] if keyword not in below]
    fields = [keyword_of(each) for each in asked.fields]
    wanted += known if "all" in asked.fields else [each for each in fields if each in known]
    picked = Dataset()
    for keyword in wanted:
        if keyword in entity:
            picked[keyword] = entity[keyword]
        elif keyword not in KNOWN_IF:
            setattr(picked, keyword, None)
    picked.RetrieveURL = BASE + "/".join(
        path_of(entity).split("/")[: 3 + 2 * LEVELS.index(asked.level)]
    )
    if asked.level == "instance" and "00091001" in asked.fields and (0x0009, 0x1001) in entity:
        picked[0x0009, 0x0010], picked[0x0009, 0x1001] = entity[0x00090010], entity[0x00091001]
    return json_of(picked, {})


def _matches(entity: Dataset, asked: Search) -> bool:
    keys = dict(asked.keys)
    date, time = keys.get("StudyDate", ""), keys.get("StudyTime", "")
    if "-" in date and "-" in time and entity.get("StudyDate"):
        del keys["StudyDate"], keys["StudyTime"]
        first, last = zip(date.split("-"), time.split("-"), strict=True)
        at = entity.StudyDate + entity.StudyTime
        if not _filled("".join(first)) <= at <= _filled("".join(last), "9"):
            return False
    return all(_matches_key(entity, path, value, asked) for path, value in keys.items())


def _matches_key(entity: Dataset, path: str, wanted: str, asked: Search) -> bool:
    keyword, _, below = path.partition(".")
    if keyword not in entity or entity[keyword].is_empty:
        return True
    if wanted == '""' and asked.flags.get("emptyvaluematching"):
        return False
    element = entity[keyword]
    if below:
        return any(_matches_key(item, below, wanted, asked) for item in element.value)
    values = [str(each) for each in (element.value if element.VM > 1 else [element.value])]
    if asked.flags.get("multiplevaluematching") and "\\" in wanted:
        return set(wanted.split("\\")) <= set(values)
    return not wanted or any(MATCHES[_kind(element.VR)](value, wanted) for value in values)


def _kind(vr: str) -> str:
    return vr if vr in ("DA", "TM", "UI") else "text" if vr in WILD else "plain"


def _filled(text: str, digit: str = "0") -> str:
    return text.ljust(14, digit)


def _matches_range(value: str, wanted: str) -> bool:
    first, dash, last = wanted.partition("-")
    if not dash:
        return value.ljust(14, "0") == wanted.ljust(14, "0")
    return _filled(first) <= _filled(value) and (not last or _filled(value) <= _filled(last, "9"))


def _matches_text(value: str, wanted: str) -> bool:
    pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, value) is not None


MATCHES: dict[str, Callable[[str, str], bool]] = {
    "DA": _matches_range,
    "TM": _matches_range,
    "UI": lambda value, wanted: value in re.split(r"[,\\]", wanted),
    "text": _matches_text,
    "plain": lambda value, wanted: value == wanted,
}
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", r"/(?P<level>studies|series|instances)", search),
    ("GET", r"/studies/(?P<study>[^/]+)/(?P<level>series|instances)", search),
    (
        "GET",
        r"/studies/(?P<study>[^/]+)/series/(?P<series>[^/]+)/(?P<level>instances)",
        search,
    ),
]
