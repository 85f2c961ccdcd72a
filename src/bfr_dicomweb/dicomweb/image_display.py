"""Invoke Image Display (IHE RAD-106): a link of an EHR becomes one of the configured viewer."""

import re
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bfr_dicomweb.dicomweb.service import base_uri_of, query_of, service_of
from bfr_dicomweb.errors import InvalidQuery, NotFound
from bfr_dicomweb.services import display
from bfr_dicomweb.services.display import Display
from bfr_dicomweb.services.store import is_uid

MAX_VALUES: Final = 100
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d)", re.ASCII)


async def invoke_image_display(request: Request) -> Response:
    """302 to the viewer with all studies that are stored; Warning 299 names what is not."""
    query = dict(query_of(request))
    viewer = service_of(request).viewer_url
    if viewer is None:
        raise NotFound("no viewer is configured here: set viewer_url")
    found = await _display(request, query)
    if not found.studies:
        raise NotFound("nothing is stored yet of what was asked for")
    url = viewer + ("&" if "?" in viewer else "?")
    url += urlencode({"StudyInstanceUIDs": ",".join(found.studies)}, safe=",")
    headers = {"Cache-Control": "no-store"}
    if found.missing:
        missing = f"nothing is stored yet of {len(found.missing)} of the studies asked for"
        headers["Warning"] = f'299 {base_uri_of(request)} "{missing}"'
    return RedirectResponse(url, 302, headers)


async def _display(request: Request, query: dict[str, str]) -> Display:
    index = service_of(request).archive.index
    kind = query.get("requestType")
    if kind == "PATIENT":
        return await display.of_patient(
            index,
            display.patient_identifier(_required(query, "patientID")),
            most_recent=_count(query),
            modalities=frozenset(_list(query, "modalitiesInStudy")),
            lower=_date(query, "lowerDateTime"),
            upper=_date(query, "upperDateTime"),
        )
    if kind != "STUDY":
        raise InvalidQuery("requestType", "must be PATIENT or STUDY")
    uids, numbers = _list(query, "studyUID"), _list(query, "accessionNumber")
    if bool(uids) == bool(numbers):
        raise InvalidQuery("studyUID", "either it or accessionNumber is required")
    if not all(is_uid(uid) for uid in uids):
        raise InvalidQuery("studyUID", "not all of its values are UIDs")
    if uids:
        return await display.of_studies(index, uids)
    patient = query.get("patientID")
    return await display.of_accession_numbers(
        index, numbers, patient=display.patient_identifier(patient) if patient else None
    )


def _required(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise InvalidQuery(name, "is required")
    return query[name]


def _list(query: dict[str, str], name: str) -> list[str]:
    values = list(dict.fromkeys(filter(None, query.get(name, "").split(","))))
    if len(values) > MAX_VALUES:
        raise InvalidQuery(name, f"at most {MAX_VALUES} values are accepted")
    return values


def _count(query: dict[str, str]) -> int | None:
    text = query.get("mostRecentResults", "")
    if not text or text == "0":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise InvalidQuery("mostRecentResults", "must be a number")
    return int(text)


def _date(query: dict[str, str], name: str) -> str:
    text = query.get(name, "")
    if not text:
        return ""
    match = _DATE.match(text)
    if match is None:
        raise InvalidQuery(name, "must begin with a date, YYYY-MM-DD")
    return match[1]
