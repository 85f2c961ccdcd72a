"""Store transaction over HTTP (PS3.18 sections 10.5 and 12.5)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom import native_model
from bfr_dicomweb.dicom.media_types import DICOM, DICOM_JSON, DICOM_XML, MediaType, Offer
from bfr_dicomweb.dicomweb import metadata_payload
from bfr_dicomweb.dicomweb.multipart import (
    MultipartReader,
    PartBegin,
    PartData,
    boundary_of,
)
from bfr_dicomweb.dicomweb.service import Service, accept_of, base_uri_of, service_of
from bfr_dicomweb.errors import (
    ArchiveError,
    Conflict,
    DifferentDuplicate,
    InvalidMultipart,
    InvalidObject,
    InvalidRequest,
    LengthRequired,
    SOPClassMismatch,
    StorageFull,
    TargetMismatch,
    TooLarge,
    Unavailable,
    UnidentifiableObject,
    UnsupportedMediaType,
)
from bfr_dicomweb.refs import NonPatientRef, Ref
from bfr_dicomweb.services.store import Expected, Outcome, Receiving, StoreResult, is_uid

# Failure Reason (0008,1197), PS3.18 section I.2.2 and PS3.7 Annex C; nearest class wins.
FAILURE_REASON: Final[dict[type[ArchiveError], int]] = {
    StorageFull: 0xA700,  # out of resources
    TooLarge: 0xA700,
    UnidentifiableObject: 0xA900,  # data set does not match SOP class
    TargetMismatch: 0xA901,
    SOPClassMismatch: 0x0122,  # SOP class not supported
    DifferentDuplicate: 0x0111,  # duplicate SOP instance
    InvalidObject: 0xC000,  # cannot understand
    UnsupportedMediaType: 0xC000,
    InvalidRequest: 0xC000,
    ArchiveError: 0x0110,  # processing failure
}
# Warning Reason (0008,1196), PS3.18 section I.2.1, by the finding that calls for it.
WARNING_REASON: Final = {"sop-class-mismatch": 0xB007}
COERCED: Final = 0xB000  # coercion of data elements
TAKEN: Final = (
    f'taken here: multipart/related; type="{DICOM}", "{DICOM_JSON}" or "{DICOM_XML}"; or {DICOM}'
)
ERROR_COMMENT_LENGTH: Final = 64  # VR LO, PS3.5 Table 6.2-1

_ANSWERS: Final = (Offer(DICOM_JSON, is_default=True), Offer(DICOM_XML))


async def store_instances(request: Request) -> Response:
    """POST /studies and /studies/{study}."""
    study = request.path_params.get("study")
    if study is not None and not is_uid(study):
        raise InvalidRequest("the study of the target resource is no UID")
    return await store(request, Expected(study))


async def store(request: Request, expected: Expected) -> Response:
    """Store the instances of the payload, which has to hold what is expected."""
    offer = accept_of(request, required=False).select(_ANSWERS)
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        raise LengthRequired("a payload with Content-Length or Transfer-Encoding is needed")
    results = await _receive(request, expected)
    base = base_uri_of(request)
    report = store_instances_response(results, base)
    status = status_of(results)
    headers = {"Cache-Control": "no-store"}
    if any(result.outcome is not Outcome.REFUSED for result in results):
        created = _created(results, base)
        headers |= {"Location": created, "Content-Location": created}
    if offer.media_type == DICOM_XML:
        body = native_model.native_dicom_model(report)
        return Response(body, status, headers=headers, media_type=DICOM_XML)
    return Response(orjson.dumps(report), status, headers=headers, media_type=DICOM_JSON)


async def _receive(request: Request, expected: Expected) -> list[StoreResult]:
    service = service_of(request)
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise UnsupportedMediaType(f"there is no Content-Type; {TAKEN}")
    essence = content_type.split(";", 1)[0].strip().lower()
    if essence == DICOM:
        return await _receive_single(request, service, expected)
    chunks = _limited(request, service)
    if essence in (DICOM_JSON, DICOM_XML):
        return await metadata_payload.store_metadata(
            request, chunks, expected=expected, media_type=essence
        )
    root_type, boundary = boundary_of(content_type)
    if root_type in metadata_payload.METADATA:
        return await metadata_payload.store_parts(
            request, chunks, expected=expected, root_type=root_type, boundary=boundary
        )
    if root_type not in ("", DICOM):
        raise UnsupportedMediaType(TAKEN)
    payload = _Payload(service, expected, MultipartReader(boundary))
    async with payload:
        async for chunk in chunks:
            await payload.take(chunk)
        payload.end()
    return await payload.results()


async def _receive_single(
    request: Request, service: Service, expected: Expected
) -> list[StoreResult]:
    receiving = service.archive.store.receive(expected)
    try:
        async for chunk in _limited(request, service):
            await receiving.write(chunk)
    except BaseException:
        await receiving.abort()
        raise
    return [await (await receiving.finish())]


async def _limited(request: Request, service: Service) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        limit = service.max_request_bytes
        if limit is not None and received > limit:
            raise TooLarge(f"a request may have at most {limit} bytes")
        if chunk:
            yield chunk


class _Payload:
    """The parts of one multipart payload on their way into the store."""

    def __init__(self, service: Service, expected: Expected, reader: MultipartReader) -> None:
        self._store = service.archive.store
        self._expected = expected
        self._reader = reader
        self._receiving: Receiving | None = None
        self._results: list[asyncio.Task[StoreResult] | StoreResult] = []

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._receiving is not None:
            receiving, self._receiving = self._receiving, None
            await receiving.abort()
        if error is not None:
            # nobody hears of them, but the parts that are complete are stored all the same
            await asyncio.gather(*self._tasks(), return_exceptions=True)

    async def take(self, chunk: bytes) -> None:
        if self._broken:
            return
        try:
            events = self._reader.feed(chunk)
        except InvalidMultipart as error:
            self._break(error)
            return
        for event in events:
            if isinstance(event, PartData):
                if self._receiving is not None:
                    await self._receiving.write(event.data)
            elif isinstance(event, PartBegin):
                self._begin(event)
            elif self._receiving is not None:
                receiving, self._receiving = self._receiving, None
                self._results.append(await receiving.finish())

    def end(self) -> None:
        """The request has ended; what is not complete by now never will be."""
        if self._broken:
            return
        try:
            self._reader.close()
        except InvalidMultipart as error:
            self._break(error)

    async def results(self) -> list[StoreResult]:
        """One result a part, in the order of the parts."""
        done = []
        for result in self._results:
            done.append(result if isinstance(result, StoreResult) else await result)  # noqa: PERF401
        return done

    @property
    def _broken(self) -> bool:
        last = self._results[-1] if self._results else None
        return isinstance(last, StoreResult) and isinstance(last.error, InvalidMultipart)

    def _break(self, error: InvalidMultipart) -> None:
        if not self._results:
            raise error
        self._results.append(_refusal(error))

    def _begin(self, event: PartBegin) -> None:
        content_type = event.headers.get("content-type", DICOM)
        try:
            media_type = MediaType.parse(content_type).name
        except InvalidRequest:
            media_type = ""
        if media_type == DICOM:
            self._receiving = self._store.receive(self._expected)
        else:
            self._results.append(
                _refusal(UnsupportedMediaType(f"a part is no {DICOM}: its type is not taken"))
            )

    def _tasks(self) -> list[asyncio.Task[StoreResult]]:
        return [result for result in self._results if isinstance(result, asyncio.Task)]


def _refusal(error: ArchiveError) -> StoreResult:
    return StoreResult(Outcome.REFUSED, None, "", "", error=error)


def status_of(results: Sequence[StoreResult]) -> int:
    """PS3.18 Table 10.5.3-1, with 507 and 503 for an archive that cannot store now."""
    errors = [result.error for result in results if result.error is not None]
    if len(errors) < len(results):
        warned = any(_warning_reason(result) for result in results)
        return 202 if errors or warned else 200
    if any(isinstance(error, StorageFull) for error in errors):
        return 507
    if any(isinstance(error, Unavailable) for error in errors):
        return 503
    if all(isinstance(error, TooLarge) for error in errors):
        return 413
    if all(isinstance(error, UnsupportedMediaType) for error in errors):
        return 415
    if any(isinstance(error, Conflict | TargetMismatch) for error in errors):
        return 409
    return 400


def store_instances_response(results: Sequence[StoreResult], base: str) -> dict[str, Any]:
    """The Store Instances Response Module (PS3.18 Annex I), as DICOM JSON."""
    failed, referenced, other = [], [], []
    studies: set[str] = set()
    for result in results:
        if result.error is None and result.ref is not None:
            if isinstance(result.ref, Ref):
                studies.add(result.ref.study_instance_uid)
            referenced.append(_referenced(result, result.ref, base))
        elif result.sop_instance_uid and result.error is not None:
            failed.append(_failed(result, result.error))
        elif result.error is not None:
            other.append(_reason(result.error))
    response: dict[str, Any] = {"00081190": {"vr": "UR"}}
    if len(studies) == 1:
        response["00081190"]["Value"] = [base + Ref(studies.pop()).path]
    for tag, items in (("00081198", failed), ("00081199", referenced), ("0008119A", other)):
        if items:
            response[tag] = {"vr": "SQ", "Value": items}
    return response


def _created(results: Sequence[StoreResult], base: str) -> str:
    """The resource that holds all that is stored: a study, an instance of no study, or a search."""
    stored = [result.ref for result in results if result.error is None]
    paths = {ref.path if isinstance(ref, NonPatientRef) else _study(ref) for ref in stored if ref}
    if len(paths) == 1:
        return base + paths.pop()
    category = next((f"/{ref.category}" for ref in stored if isinstance(ref, NonPatientRef)), None)
    return base + (category or "/studies")


def _study(ref: Ref) -> str:
    return Ref(ref.study_instance_uid).path


def _referenced(result: StoreResult, ref: Ref | NonPatientRef, base: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": [result.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [result.sop_instance_uid]},
        "00081190": {"vr": "UR", "Value": [base + ref.path]},
    }
    if warning := _warning_reason(result):
        item["00081196"] = {"vr": "US", "Value": [warning]}
    if result.original_attributes is not None:
        item["04000561"] = {"vr": "SQ", "Value": [result.original_attributes]}
    return item


def _failed(result: StoreResult, error: ArchiveError) -> dict[str, Any]:
    sop_class = {"vr": "UI", "Value": [result.sop_class_uid]}
    reason = _reason(error)
    return {
        "00000902": reason["00000902"],
        "00081150": sop_class if result.sop_class_uid else {"vr": "UI"},
        "00081155": {"vr": "UI", "Value": [result.sop_instance_uid]},
        "00081197": reason["00081197"],
    }


def _reason(error: ArchiveError) -> dict[str, Any]:
    """Error Comment (0000,0902) names the defect, as a C-STORE response would."""
    code = next(FAILURE_REASON[cls] for cls in type(error).__mro__ if cls in FAILURE_REASON)
    return {
        "00000902": {"vr": "LO", "Value": [str(error)[:ERROR_COMMENT_LENGTH]]},
        "00081197": {"vr": "US", "Value": [code]},
    }


def _warning_reason(result: StoreResult) -> int | None:
    codes = (WARNING_REASON.get(finding.code) for finding in result.findings)
    coerced = COERCED if result.original_attributes is not None else None
    return next((code for code in codes if code is not None), coerced)
