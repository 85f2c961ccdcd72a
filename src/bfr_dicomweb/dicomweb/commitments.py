"""Storage Commitment service over HTTP (PS3.18 chapter 13)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom import native_model
from bfr_dicomweb.dicom.attributes import Attributes, first_text, has_value, values_of
from bfr_dicomweb.dicom.media_types import DICOM_JSON, DICOM_XML, Offer
from bfr_dicomweb.dicomweb import datasets, multipart
from bfr_dicomweb.dicomweb.service import accept_of, service_of
from bfr_dicomweb.errors import InvalidDataset, InvalidRequest
from bfr_dicomweb.services import commitment
from bfr_dicomweb.services.commitment import Failure, Outcome, Reference
from bfr_dicomweb.services.store import is_uid

OFFERS: Final = (
    Offer(DICOM_JSON, is_default=True),
    Offer(DICOM_XML),
    Offer(DICOM_JSON, multipart=True),
    Offer(DICOM_XML, multipart=True),
)
# More instances than this are not looked at while the request waits.
MOST_AT_ONCE: Final = 2000
RETRY_AFTER_S: Final = 1

_SOP_SEQUENCE: Final = "00081199"
_FAILED_SOP_SEQUENCE: Final = "00081198"
_STUDY_SEQUENCE: Final = "00081110"
_FAILED_STUDY_SEQUENCE: Final = "0008119B"
_SERIES_SEQUENCE: Final = "00081115"
_CLASS_SEQUENCE: Final = "00081112"
_INSTANCE_SEQUENCE: Final = "0008114A"
_STUDY, _SERIES = "0020000D", "0020000E"
_SOP_CLASS, _SOP_INSTANCE = "00081150", "00081155"
_FAILURE_REASON: Final = "00081197"


# --- requests --------------------------------------------------------------------------------


async def request_commitment(request: Request) -> Response:
    """POST /commitment-requests/{transaction} (section 13.4)."""
    uid = _transaction_uid(request)
    offer = accept_of(request, required=False).select(OFFERS)
    references = _references(await datasets.read_dataset(request))
    archive = service_of(request).archive
    await commitment.ask(archive, uid, references)
    if _prefers_to_ask_later(request) or len(references) > MOST_AT_ONCE:
        return Response(status_code=202, headers={"Retry-After": str(RETRY_AFTER_S)})
    return _answer(offer, await commitment.result(archive, uid))


async def check_result(request: Request) -> Response:
    """GET /commitment-requests/{transaction} (section 13.5)."""
    uid = _transaction_uid(request)
    offer = accept_of(request).select(OFFERS)
    return _answer(offer, await commitment.result(service_of(request).archive, uid))


def _transaction_uid(request: Request) -> str:
    uid: str = request.path_params["transaction"]
    if not is_uid(uid):
        raise InvalidRequest("the transaction of the target resource is no UID")
    return uid


def _prefers_to_ask_later(request: Request) -> bool:
    """RFC 7240 section 4.1."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return "respond-async" in (one.partition(";")[0].strip().lower() for one in preferences)


def _references(dataset: Attributes) -> list[Reference]:
    """What is asked for (Annex J.1): instances, or instances with their studies and series.

    Raises:
        InvalidRequest: it is neither, or both.
        InvalidDataset: a UID is missing or is none.
    """
    forms = [tag for tag in (_SOP_SEQUENCE, _STUDY_SEQUENCE) if has_value(dataset.get(tag))]
    if len(forms) != 1:
        raise InvalidRequest(
            "the payload needs either Referenced SOP Sequence (0008,1199) or Referenced Study"
            " Sequence (0008,1110)"
        )
    if forms == [_SOP_SEQUENCE]:
        return [
            Reference(_uid(item, (*path, _SOP_CLASS)), _uid(item, (*path, _SOP_INSTANCE)))
            for item, path in _items(dataset, (_SOP_SEQUENCE,))
        ]
    return list(_references_of_studies(dataset))


def _references_of_studies(dataset: Attributes) -> Iterator[Reference]:
    for study, of_study in _items(dataset, (_STUDY_SEQUENCE,)):
        study_uid = _uid(study, (*of_study, _STUDY))
        for series, of_series in _items(study, (*of_study, _SERIES_SEQUENCE)):
            series_uid = _uid(series, (*of_series, _SERIES))
            for kind, of_class in _items(series, (*of_series, _CLASS_SEQUENCE)):
                class_uid = _uid(kind, (*of_class, _SOP_CLASS))
                for one, path in _items(kind, (*of_class, _INSTANCE_SEQUENCE)):
                    uid = _uid(one, (*path, _SOP_INSTANCE))
                    yield Reference(class_uid, uid, study_uid, series_uid)


def _items(
    dataset: Attributes, path: tuple[str, ...]
) -> Iterator[tuple[Attributes, tuple[str, ...]]]:
    items = [item for item in values_of(dataset, path[-1]) if isinstance(item, dict)]
    if not items:
        raise InvalidDataset(path, "missing", f"{_named(path[-1])} needs an item")
    for item in items:
        yield item, path


def _uid(item: Attributes, path: tuple[str, ...]) -> str:
    text = first_text(item, path[-1])
    if not text:
        raise InvalidDataset(path, "missing", f"{_named(path[-1])} is missing")
    if not is_uid(text):
        raise InvalidDataset(path, "invalid", f"{_named(path[-1])} is no UID")
    return text


def _named(tag: str) -> str:
    return f"attribute ({tag[:4]},{tag[4:]})"


# --- results ---------------------------------------------------------------------------------


def _answer(offer: Offer, outcome: Outcome) -> Response:
    told = result_of(outcome)
    is_xml = offer.media_type == DICOM_XML
    payload = native_model.native_dicom_model(told) if is_xml else orjson.dumps(told)
    headers = {"Cache-Control": "no-store"}
    if not offer.multipart:
        return Response(payload, media_type=offer.media_type, headers=headers)
    boundary = multipart.new_boundary()
    headers["Content-Type"] = multipart.content_type_of(boundary, offer.media_type)
    head = multipart.part_header(boundary, offer.media_type, length=len(payload))
    return Response(
        b"".join([head, payload, multipart.PART_END, multipart.closing(boundary)]), headers=headers
    )


def result_of(outcome: Outcome) -> dict[str, Any]:
    """The result in the form of its request (Annex J.2)."""
    failed = outcome.failed
    every = [*outcome.committed, *(one.reference for one in failed)]
    if any(one.study_instance_uid for one in every):
        made = {
            _STUDY_SEQUENCE: _studies([(one, {}) for one in outcome.committed]),
            _FAILED_STUDY_SEQUENCE: _studies([(one.reference, _reason(one)) for one in failed]),
        }
    else:
        made = {
            _FAILED_SOP_SEQUENCE: [_item(one.reference) | _reason(one) for one in failed],
            _SOP_SEQUENCE: [_item(one) for one in outcome.committed],
        }
    return {tag: {"vr": "SQ", "Value": made[tag]} for tag in sorted(made) if made[tag]}


def _item(reference: Reference) -> dict[str, Any]:
    return {
        _SOP_CLASS: _ui(reference.sop_class_uid),
        _SOP_INSTANCE: _ui(reference.sop_instance_uid),
    }


def _reason(failure: Failure) -> dict[str, Any]:
    return {_FAILURE_REASON: {"vr": "US", "Value": [int(failure.reason)]}}


def _studies(listed: Sequence[tuple[Reference, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    grouped: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for one, more in listed:
        item = {**more, _SOP_INSTANCE: _ui(one.sop_instance_uid)}
        of_study = grouped.setdefault(one.study_instance_uid, {})
        of_series = of_study.setdefault(one.series_instance_uid, {})
        of_series.setdefault(one.sop_class_uid, []).append(dict(sorted(item.items())))
    return [
        {_SERIES_SEQUENCE: _sq(_series(of_study)), _STUDY: _ui(study_uid)}
        for study_uid, of_study in grouped.items()
    ]


def _series(of_study: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    return [
        {
            _CLASS_SEQUENCE: _sq(
                [
                    {_INSTANCE_SEQUENCE: _sq(items), _SOP_CLASS: _ui(class_uid)}
                    for class_uid, items in of_series.items()
                ]
            ),
            _SERIES: _ui(series_uid),
        }
        for series_uid, of_series in of_study.items()
    ]


def _sq(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}


def _ui(uid: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [uid]}
