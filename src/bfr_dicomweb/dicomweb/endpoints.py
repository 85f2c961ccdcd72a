"""The route table: the one place where a resource, its method and its handler meet.

Routes, `openapi/`, and later the Capabilities answer and the conformance statement
are all made from `ENDPOINTS`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from bfr_dicomweb.dicom.matching import LEVEL_OF_KEY, Path, SearchLevel
from bfr_dicomweb.dicom.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    JPEG,
    JSON,
    OCTET_STREAM,
    ZIP,
)
from bfr_dicomweb.dicom.non_patient import CATEGORIES, Category
from bfr_dicomweb.dicomweb import (
    capabilities,
    changes,
    commitments,
    deletion,
    event_channel,
    health,
    image_display,
    modality_steps,
    non_patient,
    qido,
    rendered,
    rendered_volumes,
    renditions,
    stow,
    thumbnails,
    ups,
    wado,
    wado_uri,
    zip_payload,
)
from bfr_dicomweb.errors import NotAllowed
from bfr_dicomweb.rendering import cine, video

Handler = Callable[[Request], Awaitable[Response]]
ROOT: Final = "/dicomweb"

STUDY: Final = "/studies/{study}"
SERIES: Final = "/studies/{study}/series/{series}"
INSTANCE: Final = "/studies/{study}/series/{series}/instances/{instance}"

MULTIPART_DICOM: Final = f'multipart/related; type="{DICOM}"'
MULTIPART_JSON: Final = f'multipart/related; type="{DICOM_JSON}"'
MULTIPART_XML: Final = f'multipart/related; type="{DICOM_XML}"'
MULTIPART_BULK: Final = f'multipart/related; type="{OCTET_STREAM}"'
PROBLEM: Final = "application/problem+json"


# By chapter of PS3.18.
SERVICES: Final = {
    "8": "Capabilities",
    "9": "URI",
    "10": "Studies",
    "11": "Worklist",
    "12": "Non-Patient Instance",
    "13": "Storage Commitment",
    "14": "Modality Scheduled Procedure Step",
    "15": "Modality Performed Procedure Step",
}


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter; `kind` is its JSON schema type, `values` are all that it may have."""

    name: str
    kind: Literal["string", "integer", "boolean"] = "string"
    meaning: str = ""
    is_required: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One transaction on one resource.

    Attributes:
        path: Below the base URI, or below the origin for `section` "".
        section: Of PS3.18.
        statuses: Every status that the handler answers with beside 500.
        search_level: Of searches of studies, series and instances.
        matched: Of other searches whose query may have attributes to be matched.
    """

    method: Literal["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    path: str
    handler: Handler
    transaction: str
    section: str
    summary: str
    produces: tuple[str, ...]
    statuses: tuple[int, ...]
    consumes: tuple[str, ...] = ()
    query: tuple[Param, ...] = ()
    is_payload_optional: bool = False
    search_level: SearchLevel | None = None
    matched: tuple[Path, ...] = ()

    @property
    def keys(self) -> tuple[Path, ...]:
        """What the query may have to be matched."""
        if self.search_level is None:
            return self.matched
        levels = self.search_level.key_levels
        return tuple(path for path, level in LEVEL_OF_KEY.items() if level in levels)

    @property
    def service(self) -> str:
        """Of PS3.18, by the chapter that `section` is in; "" for what is none of it."""
        return SERVICES.get(self.section.partition(".")[0], "")

    @property
    def full_path(self) -> str:
        return ROOT + self.path if self.section else self.path


ACCEPT: Final = Param("accept", meaning="Media types, instead of the Accept header (8.3.3.1).")
SEARCH: Final = (
    Param("limit", "integer", "Most matches wanted."),
    Param("offset", "integer", "Matches to pass over."),
    Param("includefield", meaning="Attributes wanted beside the usual ones, or all."),
    Param("fuzzymatching", "boolean", "Phonetic matching of person names."),
    Param("emptyvaluematching", "boolean", 'A value of "" matches empty attributes.'),
    Param("multiplevaluematching", "boolean", "Several values must all be present."),
    ACCEPT,
)

FOUND: Final = (200, 206, 304, 400, 404, 406, 410, 413, 416, 503)
FOUND_ALONE: Final = (200, 206, 304, 400, 404, 406, 416, 503)
SEARCHED: Final = (200, 204, 400, 406, 503)
STORED: Final = (200, 202, 400, 406, 409, 411, 413, 415, 503, 507)
PAYLOADS: Final = (MULTIPART_DICOM, DICOM, MULTIPART_JSON, MULTIPART_XML, DICOM_JSON, DICOM_XML)


def _search(path: str, handler: Handler, what: str, level: SearchLevel) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        transaction="Search",
        section="10.6",
        summary=f"Search for {what}",
        query=SEARCH,
        produces=(DICOM_JSON, MULTIPART_XML),
        statuses=SEARCHED,
        search_level=level,
    )


def _store(path: str, what: str) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=stow.store_instances,
        transaction="Store",
        section="10.5",
        summary=f"Store instances of {what}",
        consumes=PAYLOADS,
        produces=(DICOM_JSON, DICOM_XML),
        statuses=STORED,
    )


def _retrieve(path: str, handler: Handler, summary: str, *produces: str) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        transaction="Retrieve",
        section="10.4",
        summary=summary,
        query=(ACCEPT,),
        produces=produces,
        statuses=FOUND,
    )


DICOMDIR: Final = Param(
    zip_payload.PARAMETER, "boolean", "application/zip alone: with a DICOMDIR. Not of PS3.18."
)


def _files(path: str, summary: str, *produces: str) -> Endpoint:
    files = _retrieve(path, wado.retrieve_instances, summary, *produces)
    return replace(files, query=(ACCEPT, DICOMDIR))


# PS3.18 sections 8.3.5.1 and 8.3.5.2
VIEWPORT: Final = Param("viewport", meaning="vw,vh: the size that the image has to fit in.")
RENDERING: Final = (
    ACCEPT,
    Param("charset", meaning="Character set of text."),
    Param("annotation", meaning="patient, technique: what is burnt in."),
    Param("quality", "integer", "1 to 100, of media types that lose something."),
    replace(VIEWPORT, meaning="vw,vh[,sx,sy,sw,sh]: size, and part of the source."),
    Param("window", meaning="center,width,function: linear, linear-exact or sigmoid."),
    Param(
        "iccprofile",
        meaning="Colour space of the answer, which says so.",
        values=("no", "yes", "srgb", "adobergb", "rommrgb"),
    ),
)


def _rendered(path: str, what: str) -> Endpoint:
    shown = _retrieve(path, rendered.retrieve_rendered, f"{what}, rendered", *RENDERED_TYPES)
    return replace(shown, query=RENDERING)


# PS3.18 section 8.3.5.3
VOLUME: Final = (
    *RENDERING,
    Param("volumeinputreference", meaning="uid or uid,frame: an instance of the volume."),
    Param(
        "renderingmethod",
        meaning="What becomes of the voxels behind each other; volume_rendered is of 3D.",
        values=("volume_rendered", "maximum_ip", "minimum_ip", "average_ip"),
    ),
    Param(
        "orientation",
        meaning="Side that is looked at; not with a viewpoint.",
        values=("a", "p", "r", "l", "h", "f"),
    ),
    Param("viewpointposition", meaning="x,y,z of the camera in mm."),
    Param("viewpointlookat", meaning="x,y,z of the point that it looks at."),
    Param("viewpointup", meaning="x,y,z of the direction that is up."),
    Param("mprslab", meaning="Thickness in mm; renderedmpr alone."),
    Param("swivelrange", meaning="Degrees around the volume; rendered3d alone."),
    Param("volumetriccurvepoint", meaning="x,y,z, several of them; renderedmpr alone."),
    Param("animationstepsize", "integer", "Degrees or mm between pictures."),
    Param("animationrate", "integer", "Pictures a second."),
    Param("renderedvolumetricmetadata", meaning="The parameters alone.", values=("yes",)),
)


def _volume(path: str, what: str, name: str) -> Endpoint:
    is_mpr = name.lower() == "renderedmpr"
    handler = RETRIEVE_MPR if is_mpr else RETRIEVE_3D
    told = "Planes through a volume" if is_mpr else "Views of a volume"
    shown = _retrieve(
        f"{path}/{name}", handler, f"{told} of {what}", *PICTURES, DICOM_JSON, DICOM_XML
    )
    return replace(shown, query=VOLUME, section="10.4.1.1.7" if is_mpr else "10.4.1.1.8")


RETRIEVE_MPR: Final = rendered_volumes.retrieve_volume(mpr=True)
RETRIEVE_3D: Final = rendered_volumes.retrieve_volume(mpr=False)
# As the templates of the Standard and as its examples print them.
VOLUME_RESOURCES: Final = ("renderedmpr", "renderedMPR", "rendered3d", "rendered3D")


def _thumbnail(path: str, what: str) -> Endpoint:
    handler = thumbnails.retrieve_thumbnail
    small = _retrieve(path, handler, f"{what} as one small picture", *renditions.STILL)
    return replace(small, query=(ACCEPT, VIEWPORT))


def _delete(path: str, what: str) -> Endpoint:
    """No transaction of the Standard."""
    return Endpoint(
        method="DELETE",
        path=ROOT + path,
        handler=deletion.delete,
        transaction="Delete",
        section="",
        summary=f"Delete {what}, where that is allowed",
        produces=(PROBLEM,),
        statuses=(204, 400, 404, 405, 410, 503, 507),
    )


def _plain(path: str, handler: Handler, summary: str, media_type: str, *statuses: int) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        transaction="Operation",
        section="",
        summary=summary,
        produces=(media_type,),
        statuses=statuses,
    )


WORKITEM: Final = "/workitems/{workitem}"
SUBSCRIBER: Final = f"{WORKITEM}/subscribers/{{aet}}"
PERFORMED_STEP: Final = "/modality-performed-procedure-steps/{mpps}"
# What a notification connection is opened on (section 8.10.4).
EVENT_CHANNEL: Final = "/ws/subscribers/{aet}"


def _worklist(
    method: Literal["GET", "POST", "PUT", "DELETE"],
    path: str,
    handler: Handler,
    told: tuple[str, str, str],
    statuses: tuple[int, ...],
    *,
    query: tuple[Param, ...] = (),
    produces: tuple[str, ...] = (),
    is_payload: bool = False,
    is_payload_optional: bool = False,
) -> Endpoint:
    """`told` is the transaction, its section and a summary."""
    transaction, section, summary = told
    return Endpoint(
        method=method,
        path=path,
        handler=handler,
        transaction=transaction,
        section=section,
        summary=summary,
        produces=produces,
        statuses=statuses,
        consumes=(DICOM_JSON, MULTIPART_XML, DICOM_XML) if is_payload else (),
        is_payload_optional=is_payload_optional,
        query=query,
    )


def _non_patient(category: Category) -> tuple[Endpoint, ...]:
    """The resources of a category (section 12.1.1)."""
    set_of, one = f"/{category.name}", f"/{category.name}/{{npi}}"
    search = Endpoint(
        method="GET",
        path=set_of,
        handler=non_patient.search(category),
        transaction="Search",
        section="12.6",
        summary=f"Search for {category.name}",
        query=SEARCH,
        produces=METADATA,
        statuses=SEARCHED,
        matched=category.keys,
    )
    retrieve = Endpoint(
        method="GET",
        path=one,
        handler=non_patient.retrieve_instance(category),
        transaction="Retrieve",
        section="12.4",
        summary=f"{category.title.capitalize()}, or its metadata",
        query=(ACCEPT,),
        produces=(DICOM_JSON, MULTIPART_XML, MULTIPART_DICOM, DICOM),
        statuses=FOUND_ALONE,
    )
    bulk = replace(
        retrieve,
        path=f"{one}/bulkdata/{{attribute:path}}",
        handler=non_patient.retrieve_bulk_value(category),
        summary=f"One bulk value of {category.title}",
        produces=(MULTIPART_BULK, OCTET_STREAM),
    )
    store = Endpoint(
        method="POST",
        path=set_of,
        handler=non_patient.store(category),
        transaction="Store",
        section="12.5",
        summary=f"Store {category.name}",
        consumes=PAYLOADS,
        produces=(DICOM_JSON, DICOM_XML),
        statuses=STORED,
    )
    store_one = replace(store, path=one, summary=f"Store {category.title} with this UID")
    return search, store, retrieve, store_one, bulk


METADATA: Final = (DICOM_JSON, MULTIPART_XML)
BULK: Final = (MULTIPART_BULK, OCTET_STREAM, capabilities.COMPRESSED)
PICTURES: Final = (*renditions.STILL, cine.MP4, f'multipart/related; type="{JPEG}"')
RENDERED_TYPES: Final = (
    *renditions.STILL,
    *video.FORMS,
    *renditions.DOCUMENTS,
    f'multipart/related; type="{JPEG}"',
)
COMMITMENT: Final = "/commitment-requests/{transaction}"
COMMITTED: Final = (DICOM_JSON, DICOM_XML, MULTIPART_JSON, MULTIPART_XML)

# PS3.18 Tables 9.1.2-1, 9.4.1-1 and 9.5.1-1
URI_QUERY: Final = (
    Param("requestType", meaning="WADO", is_required=True, values=("WADO",)),
    Param("studyUID", meaning="Study Instance UID", is_required=True),
    Param("seriesUID", meaning="Series Instance UID", is_required=True),
    Param("objectUID", meaning="SOP Instance UID", is_required=True),
    Param("contentType", meaning="application/dicom, or rendered media types."),
    Param("charset", meaning="Character sets; ignored, as only instances are answered."),
    Param("transferSyntax", meaning="One UID; *, not in PS3.18, is as stored where it may be."),
    Param("anonymize", meaning="By the Basic Profile of PS3.15.", values=("yes",)),
    Param("annotation", meaning="patient, technique"),
    Param("frameNumber", "integer", "From 1."),
    Param("rows", "integer", "Most rows of the image."),
    Param("columns", "integer", "Most columns of the image."),
    Param("region", meaning="xmin,ymin,xmax,ymax from 0 to 1."),
    Param("windowCenter", meaning="A decimal, with windowWidth."),
    Param("windowWidth", meaning="A decimal, with windowCenter."),
    Param("imageQuality", "integer", "1 to 100."),
    Param("presentationSeriesUID", meaning="Of the presentation state, with presentationUID."),
    Param("presentationUID", meaning="SOP Instance UID of the presentation state."),
)

# PS3.18 Table 10.3-2, in the order in which a viewer's requests are frequent.
ENDPOINTS: Final = (
    _retrieve(f"{INSTANCE}/frames/{{frames}}", wado.retrieve_frames, "Retrieve frames", *BULK),
    _retrieve(f"{SERIES}/metadata", wado.retrieve_metadata, "Metadata of a series", *METADATA),
    _retrieve(f"{INSTANCE}/metadata", wado.retrieve_metadata, "Metadata of an instance", *METADATA),
    _retrieve(f"{STUDY}/metadata", wado.retrieve_metadata, "Metadata of a study", *METADATA),
    _search("/studies", qido.search_for_studies, "studies", SearchLevel.STUDIES),
    _search(
        f"{STUDY}/series", qido.search_for_series, "series of a study", SearchLevel.STUDY_SERIES
    ),
    _search(
        f"{STUDY}/instances",
        qido.search_for_instances,
        "instances of a study",
        SearchLevel.STUDY_INSTANCES,
    ),
    _search(
        f"{SERIES}/instances",
        qido.search_for_instances,
        "instances of a series",
        SearchLevel.SERIES_INSTANCES,
    ),
    _search("/series", qido.search_for_series, "series", SearchLevel.SERIES),
    _search("/instances", qido.search_for_instances, "instances", SearchLevel.INSTANCES),
    _store("/studies", "any studies"),
    _store(STUDY, "one study"),
    _files(INSTANCE, "An instance", MULTIPART_DICOM, DICOM, ZIP, *BULK),
    _files(SERIES, "Instances of a series", MULTIPART_DICOM, ZIP, *BULK),
    _files(STUDY, "Instances of a study", MULTIPART_DICOM, ZIP, *BULK),
    _retrieve(
        f"{INSTANCE}/bulkdata/{{attribute:path}}", wado.retrieve_bulk_value, "One bulk value", *BULK
    ),
    *(
        _retrieve(f"{target}/{resource}", handler, f"{resource} of {article} {level}", *BULK)
        for target, article, level in (
            (INSTANCE, "an", "instance"),
            (SERIES, "a", "series"),
            (STUDY, "a", "study"),
        )
        for resource, handler in (
            ("bulkdata", wado.retrieve_bulkdata),
            ("pixeldata", wado.retrieve_pixel_data),
        )
    ),
    *(
        _rendered(f"{target}/rendered", what)
        for target, what in (
            (f"{INSTANCE}/frames/{{frames}}", "Frames"),
            (INSTANCE, "An instance"),
            (SERIES, "Instances of a series"),
            (STUDY, "Instances of a study"),
        )
    ),
    *(
        _volume(target, what, name)
        for target, what in (
            (f"{INSTANCE}/frames/{{frames}}", "frames"),
            (INSTANCE, "an instance"),
            (SERIES, "a series"),
            (STUDY, "a study"),
        )
        for name in VOLUME_RESOURCES
    ),
    *(
        _thumbnail(f"{target}/thumbnail", what)
        for target, what in (
            (f"{INSTANCE}/frames/{{frames}}", "A frame"),
            (INSTANCE, "An instance"),
            (SERIES, "A series"),
            (STUDY, "A study"),
        )
    ),
    Endpoint(
        method="GET",
        path=f"{ROOT}/changes",
        handler=changes.changes,
        transaction="Change Feed",
        section="",
        summary="What was stored, changed and deleted, in order",
        produces=(JSON, PROBLEM),
        statuses=(200, 400, 406, 409, 503),
        query=(
            Param("since", "integer", "Number behind which to go on; 0 is the beginning."),
            Param("limit", "integer", "Most changes wanted; 1000 by default, 10000 at most."),
            Param("wait", "integer", "Seconds to wait when there is none; 20 at most."),
            Param("kind", meaning="Kinds of changes, separated by commas; all by default."),
        ),
    ),
    _delete(STUDY, "a study"),
    _delete(SERIES, "a series"),
    _delete(INSTANCE, "an instance"),
    _worklist(
        "GET",
        "/workitems",
        ups.search_for_workitems,
        ("Search", "11.9", "Search for workitems"),
        SEARCHED,
        query=SEARCH,
        produces=METADATA,
    ),
    _worklist(
        "POST",
        "/workitems",
        ups.create_workitem,
        ("Create", "11.4", "Create a workitem"),
        (201, 400, 409, 413, 415, 503),
        query=(Param("workitem", meaning="UID of the workitem; may be the whole query."),),
        is_payload=True,
    ),
    _worklist(
        "GET",
        WORKITEM,
        ups.retrieve_workitem,
        ("Retrieve", "11.5", "A workitem"),
        (200, 400, 404, 406, 410, 503),
        query=(ACCEPT,),
        produces=METADATA,
    ),
    _worklist(
        "POST",
        WORKITEM,
        ups.update_workitem,
        ("Update", "11.6", "Update a workitem"),
        (200, 400, 404, 409, 410, 412, 413, 415, 503),
        query=(Param("transaction-uid", meaning="Of the claim; may be the whole query."),),
        is_payload=True,
    ),
    _worklist(
        "PUT",
        f"{WORKITEM}/state",
        ups.change_workitem_state,
        ("Change State", "11.7", "Claim, complete or cancel a workitem"),
        (200, 400, 404, 409, 410, 412, 413, 415, 503),
        is_payload=True,
    ),
    _worklist(
        "POST",
        f"{WORKITEM}/cancelrequest",
        ups.request_cancellation,
        ("Request Cancellation", "11.8", "Ask for a workitem to be cancelled"),
        (202, 400, 404, 409, 410, 413, 415, 503),
        query=(Param("requester", meaning="AE title of who asks."),),
        is_payload=True,
        is_payload_optional=True,
    ),
    _worklist(
        "POST",
        SUBSCRIBER,
        ups.subscribe,
        ("Subscribe", "11.10", "Subscribe to a workitem or the worklist"),
        (201, 400, 404, 410, 503),
        query=(
            Param("deletionlock", "boolean", "Keeps what is over from being deleted."),
            Param("filter", meaning="attribute=value, joined by commas; filtered worklist alone."),
        ),
    ),
    _worklist(
        "DELETE",
        SUBSCRIBER,
        ups.unsubscribe,
        ("Unsubscribe", "11.11", "Unsubscribe from a workitem or the worklist"),
        (200, 400, 404, 410, 503),
    ),
    _worklist(
        "POST",
        f"{SUBSCRIBER}/suspend",
        ups.suspend,
        ("Suspend Global Subscription", "11.12", "Subscribe to no more workitems"),
        (200, 400, 404, 503),
    ),
    _worklist(
        "POST",
        COMMITMENT,
        commitments.request_commitment,
        ("Request", "13.4", "Ask for storage commitment"),
        (200, 202, 400, 406, 409, 413, 415, 503),
        produces=COMMITTED,
        is_payload=True,
    ),
    _worklist(
        "GET",
        COMMITMENT,
        commitments.check_result,
        ("Result Check", "13.5", "The result of asking for storage commitment"),
        (200, 400, 404, 406, 410, 503),
        query=(ACCEPT,),
        produces=COMMITTED,
    ),
    _worklist(
        "GET",
        "/modality-scheduled-procedure-steps",
        modality_steps.search_for_scheduled_steps,
        ("Search", "14.4", "Search the modality worklist"),
        SEARCHED,
        query=SEARCH,
        produces=METADATA,
    ),
    _worklist(
        "POST",
        PERFORMED_STEP,
        modality_steps.keep_performed_step,
        ("Create, Update", "15.4, 15.5", "Create or update a performed procedure step"),
        (200, 201, 400, 404, 409, 413, 415, 503),
        query=(Param("update", meaning="The step is there, and is to be updated."),),
        is_payload=True,
    ),
    _worklist(
        "GET",
        PERFORMED_STEP,
        modality_steps.retrieve_performed_step,
        ("Retrieve", "15.6", "A performed procedure step"),
        (200, 400, 404, 406, 503),
        query=(ACCEPT, Param("includefield", meaning="Everything is returned in any case.")),
        produces=METADATA,
    ),
    *(endpoint for category in CATEGORIES for endpoint in _non_patient(category)),
    Endpoint(
        method="OPTIONS",
        path="/",
        handler=capabilities.retrieve_capabilities,
        transaction="Retrieve Capabilities",
        section="8.9",
        summary="Resources, methods and media types of the service",
        produces=(capabilities.WADL, JSON),
        statuses=(200, 304, 400, 406),
    ),
    Endpoint(
        method="GET",
        path=wado_uri.PATH,
        handler=wado_uri.retrieve_instance,
        transaction="Retrieve DICOM Instance",
        section="9.4",
        summary="An instance that the query names, or a picture or text of it",
        produces=(DICOM, *renditions.STILL, *renditions.DOCUMENTS),
        statuses=(200, 206, 304, 400, 404, 406, 410, 416, 503),
        query=URI_QUERY,
    ),
    Endpoint(
        method="GET",
        path="/IHEInvokeImageDisplay",
        handler=image_display.invoke_image_display,
        transaction="Invoke Image Display",
        section="",
        summary="Open studies in the configured viewer (IHE RAD-106)",
        produces=(PROBLEM,),
        statuses=(302, 400, 404, 409, 503),
        query=(
            Param("requestType", meaning="PATIENT or STUDY."),
            Param("studyUID", meaning="Study Instance UIDs, separated by commas."),
            Param("accessionNumber", meaning="Accession numbers, separated by commas."),
            Param("patientID", meaning="id^^^namespace&oid&ISO, or the number alone."),
            Param("mostRecentResults", "integer", "Most studies of the patient; 0 is all."),
            Param("modalitiesInStudy", meaning="Modalities, separated by commas."),
            Param("lowerDateTime", meaning="Not older than this."),
            Param("upperDateTime", meaning="Not newer than this."),
        ),
    ),
    _plain("/health/live", health.live, "Is the process alive", "application/json", 200),
    _plain("/health/ready", health.ready, "May requests come", "application/json", 200, 503),
    _plain("/metrics", health.metrics, "Prometheus metrics", "text/plain", 200),
    _plain("/openapi.json", capabilities.describe, "This description", JSON, 200, 304),
)


def routes() -> list[BaseRoute]:
    """One route a path, in table order; each knows all the methods of its path."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.full_path, {})[endpoint.method] = endpoint
    resources = [Route(path, _Resource(path, methods)) for path, methods in by_path.items()]
    # the base URI may be written without its slash
    base = Route(ROOT, _Resource(ROOT + "/", by_path[ROOT + "/"]))
    return [
        *resources,
        base,
        WebSocketRoute(ROOT + EVENT_CHANNEL, event_channel.open_event_channel),
    ]


class _Resource:
    """The ASGI application of one path: picks the endpoint of the method."""

    def __init__(self, path: str, endpoints: dict[str, Endpoint]) -> None:
        self._path = path
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_template"] = self._path
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is not None:
            response = await endpoint.handler(Request(scope, receive, send))
        else:
            allowed = tuple(dict.fromkeys((*self._endpoints, "OPTIONS")))
            if scope["method"] != "OPTIONS":
                raise NotAllowed(allowed)
            response = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
        await response(scope, receive, send)
