"""The server under test: asks it, and remembers what was said."""

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import httpx2

from dicomweb_conformance import media_types, multipart, native_xml, part10, payloads
from dicomweb_conformance.claims import Claims, Feature
from dicomweb_conformance.exchanges import Exchange, Shown, path_of, query_string
from dicomweb_conformance.fixtures import Fixture, Instance, Study
from dicomweb_conformance.media_types import DICOM_JSON, MediaType
from dicomweb_conformance.multipart import Part
from dicomweb_conformance.verdicts import NotClaimed, Unmet, Violated, expect

TIMEOUT_S: Final = 60.0
MAX_RESPONSE_BYTES: Final = 256 * 2**20
# The encoding chapter judges the payloads that the others have seen: as many, at most.
MAX_SEEN: Final = 500
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
UNAUTHORIZED: Final = 401


class Unreachable(Exception):
    """The server cannot be asked at all: nothing can be said about it."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: httpx2.Headers
    content: bytes
    asked: str  # "GET /studies/...": for messages

    @property
    def media_type(self) -> MediaType:
        """Raises Violated without a Content-Type that can be read."""
        written = self.headers.get("content-type")
        if written is None:
            raise Violated(f"{self.asked}: the response has a payload and no Content-Type")
        try:
            return media_types.parse(written)
        except media_types.NotAMediaType as error:
            raise Violated(f"{self.asked}: the Content-Type cannot be read: {error}") from None

    def expect_status(self, *statuses: int) -> None:
        wanted = " or ".join(map(str, statuses))
        expect(self.status in statuses, f"{self.asked}: expected {wanted}, got {self.status}")

    def expect_media_type(self, *names: str) -> None:
        got = self.media_type.name
        expect(got in names, f"{self.asked}: expected {' or '.join(names)}, got {got}")

    def json(self) -> object:
        """Raises Violated: not JSON in UTF-8."""
        try:
            return payloads.read_json(self.content, parse_constant=_refuse_constant)
        except payloads.Unreadable as error:
            reason = str(error) if isinstance(error, _NotJson) else "cannot be parsed"
            raise Violated(f"{self.asked}: the payload is no JSON: {reason}") from None

    def datasets(self) -> list[dict[str, object]]:
        """The objects of a 200 answer in DICOM JSON (or none of a 204)."""
        self.expect_status(200, 204)
        if self.status == 204:
            return []
        self.expect_media_type(DICOM_JSON)
        listed = self.json()
        held = isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
        expect(held, f"{self.asked}: expected one top-level array of objects")
        return listed if isinstance(listed, list) else []

    def results(self) -> list[dict[str, object]]:
        """Of a search: none is 204; or 200 with an empty payload, since CP-2473."""
        return [] if self.status == 200 and not self.content else self.datasets()

    def parts(self, root_type: str | None = None) -> list[Part]:
        """The parts of a 200 answer, all of that type if one is given; at least one."""
        self.expect_status(200)
        try:
            parts = multipart.read(self.media_type, self.content)
            got = {part.media_type.name for part in parts}
        except multipart.Malformed as error:
            raise Violated(f"{self.asked}: {error}") from None
        expect(
            root_type is None or got == {root_type},
            f"{self.asked}: expected parts of {root_type}, got {', '.join(sorted(got))}",
        )
        return parts

    def xml_documents(self) -> list[native_xml.Document]:
        """The Native DICOM Models of the parts. Raises Violated."""
        try:
            parts = self.parts("application/dicom+xml")
            return [native_xml.read(part.content) for part in parts]
        except native_xml.NotReadable as error:
            raise Violated(f"{self.asked}: {error}") from None

    def files(self) -> list[part10.File]:
        """The PS3.10 files of the parts. Raises Violated: one of them cannot be read."""
        try:
            return [part10.read(part.content) for part in self.parts("application/dicom")]
        except part10.NotReadable as error:
            raise Violated(f"{self.asked}: {error}") from None


class _NotJson(payloads.Unreadable):
    pass


def _refuse_constant(name: str) -> object:
    raise _NotJson(f"{name} is no JSON number")


@dataclass(slots=True)
class Seen:
    """Payloads of success that the run has met, for the chapter on encodings."""

    json: list[Response] = field(default_factory=list)
    xml: list[Response] = field(default_factory=list)

    def add(self, response: Response) -> None:
        content_type = response.headers.get("content-type", "").lower()
        if response.status != 200 or not response.content:
            return
        kept = self.xml if "dicom+xml" in content_type else self.json
        if ("dicom+json" in content_type or kept is self.xml) and len(kept) < MAX_SEEN:
            kept.append(response)


@dataclass(slots=True)
class Target:
    """What a case is given."""

    client: httpx2.AsyncClient
    base_url: str
    wado_uri: str | None = None
    dimse: str | None = None  # HOST:PORT/AET
    credentials: Mapping[str, str] = field(default_factory=dict)  # headers; never recorded
    tls: ssl.SSLContext | None = None  # of WebSockets; None trusts whom the machine trusts
    read_only: bool = False
    shown: Shown = field(default_factory=Shown)
    claims: Claims = field(default_factory=Claims)
    held: dict[Fixture, list[Study] | str] = field(default_factory=dict)  # or why there is none
    seen: Seen = field(default_factory=Seen)
    exchanges: list[Exchange] = field(default_factory=list)  # of the case that runs
    notes: list[str] = field(default_factory=list)  # of the case that runs
    may_delete: set[str] = field(default_factory=set)  # paths that this run stored
    judging: str = ""  # the case that runs
    absent: dict[str, str] = field(default_factory=dict)  # pattern of paths: the case that says so

    def __post_init__(self) -> None:
        self.shown.add_secrets(self.credentials)

    def note(self, text: str) -> None:
        """Say in the report what was seen, where the Standard leaves a choice."""
        if text not in self.notes:
            self.notes.append(text)

    def has(self, fixture: Fixture) -> bool:
        return not isinstance(self.held.get(fixture, ""), str)

    def studies(self, fixture: Fixture) -> list[Study]:
        """Raises Unmet: the server has no such objects."""
        held = self.held.get(fixture, "this case did not name it in `needs`")
        if isinstance(held, str):
            raise Unmet(f"{fixture.name} ({fixture.value}): {held}")
        return held

    def study(self, fixture: Fixture) -> Study:
        return self.studies(fixture)[0]

    def instance(self, fixture: Fixture) -> Instance:
        """The first instance of its study."""
        return self.study(fixture).first

    def require(self, feature: Feature) -> None:
        """Raises NotClaimed, or Unmet where the run excludes it."""
        if feature is Feature.WRITING and self.read_only:
            raise Unmet("the run is --read-only")
        if feature is Feature.URI_SERVICE and self.wado_uri is None:
            raise NotClaimed("no --wado-uri was given")
        if feature is Feature.DIMSE and self.dimse is None:
            raise NotClaimed("no --dimse was given")
        if feature is Feature.AUTHENTICATION and not self.credentials:
            raise Unmet("no --auth was given, so nothing is known of what needs it")
        if self.claims.offers(feature) is False:
            raise NotClaimed(f"the capabilities do not name {feature.words}")

    def expect_no_results(self, answer: Response, *others: int) -> None:
        """204; or 200 with an empty payload, which CP-2473 made of it in later editions.

        Args:
            others: further statuses that are right.

        Raises:
            Violated: there are results, or it is another status.
        """
        if answer.status != 200:
            answer.expect_status(200, 204, *others)
            held = answer.status != 204 or not answer.content
            expect(held, f"{answer.asked}: 204 with a payload of {len(answer.content)} bytes")
            return
        count = len(answer.results())
        expect(not count, f"{answer.asked}: expected no results, got {count}")
        self.note("no results: 200 with an empty payload (CP-2473), not 204")

    def absolute(self, uri: str, *, path: str = "/") -> str:
        """A URI that the answer for `path` gave. Raises Violated: it is none."""
        try:
            return urljoin(self.base_url + path, uri)
        except ValueError as error:
            raise Violated(f"a URL that the server gave cannot be followed: {error}") from None

    async def get(
        self,
        path: str,
        *,
        query: str | Mapping[str, str] = "",
        accept: str | None = DICOM_JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        return await self.request("GET", path, query=query, accept=accept, headers=headers)

    async def post(
        self,
        path: str,
        content: bytes,
        *,
        content_type: str,
        accept: str | None = DICOM_JSON,
        query: str | Mapping[str, str] = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        sent = {"Content-Type": content_type, **(headers or {})}
        return await self.request(
            "POST", path, query=query, accept=accept, headers=sent, content=content
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str | Mapping[str, str] = "",
        accept: str | None = DICOM_JSON,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        anonymous: bool = False,
    ) -> Response:
        """One request, never repeated. `path` is below the base URL, or an absolute URL.

        Args:
            accept: None leaves the header out.
            anonymous: without the credentials of the run.

        Raises:
            Unmet: it would change something, and the run is read-only; or the server has no such
                resource at all, which another case judges; or the credentials of the run are not
                enough (401), which says nothing about the requirement.
            Violated: no response came (PS3.18 section 8.1.2).
        """
        if self.read_only and method not in SAFE_METHODS:
            raise Unmet(f"the run is --read-only, and {method} would change something")
        self._need_there(path)
        try:
            request = self._made(method, path, query, accept, headers, content)
        except httpx2.InvalidURL as error:
            raise Violated(f"a URL that the server gave cannot be followed: {error}") from None
        is_own = request.url.netloc == httpx2.URL(self.base_url).netloc
        # a foreign BulkDataURI gets no credentials
        if not anonymous and is_own:
            request.headers.update(self.credentials)
        url = path_of(str(request.url), self.base_url)
        asked, briefly = f"{method} {self.shown.text(url)}", f"{method} {self.shown.briefly(url)}"
        started = time.monotonic()
        try:
            status, received, body = await self._send(request)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            if is_own and isinstance(error, httpx2.ConnectError):
                raise Unreachable(f"{self.base_url} cannot be reached: {_why(error)}") from error
            self._record(asked, request, 0, [], b"", started)
            raise Violated(f"{briefly}: no response: {type(error).__name__}") from error
        self._record(asked, request, status, received.multi_items(), body, started)
        if status == UNAUTHORIZED and not anonymous:
            other = "other " if self.credentials else ""
            raise Unmet(f"{briefly}: {status}, the server wants {other}credentials")
        response = Response(status, received, body, briefly)
        self.seen.add(response)
        return response

    def _need_there(self, path: str) -> None:
        """One defect, one verdict: the case that judges it goes on and asks."""
        for pattern, judged_by in self.absent.items():
            if judged_by != self.judging and re.search(pattern, path):
                raise Unmet(f"{self.shown.briefly(path)} is not there, which {judged_by} judges")

    def _made(
        self,
        method: str,
        path: str,
        query: str | Mapping[str, str],
        accept: str | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> httpx2.Request:
        url = path if path.startswith(("http://", "https://")) else self.base_url + path
        written = query_string(query)
        sent = {"Accept": accept} if accept is not None else {}
        sent |= headers or {}
        request = self.client.build_request(
            method, f"{url}?{written}" if written else url, headers=sent, content=content
        )
        for name in ("accept", "accept-encoding"):
            # the client adds its own where a case wants none
            if name not in {each.lower() for each in sent}:
                request.headers.pop(name, None)
        return request

    def _without_credentials(self, headers: httpx2.Headers) -> list[tuple[str, str]]:
        secret = {name.lower() for name in self.credentials}
        return [(name, value) for name, value in headers.multi_items() if name not in secret]

    async def _send(self, request: httpx2.Request) -> tuple[int, httpx2.Headers, bytes]:
        answer = await self.client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise Unmet(f"a response is longer than {MAX_RESPONSE_BYTES >> 20} MiB")
        finally:
            await answer.aclose()
        return answer.status_code, answer.headers, bytes(body)

    def _record(
        self,
        asked: str,
        request: httpx2.Request,
        status: int,
        received: list[tuple[str, str]],
        body: bytes,
        started: float,
    ) -> None:
        sent_type = request.headers.get("content-type", "")
        sent_body = request.content
        content_type = dict(received).get("content-type", "")
        self.exchanges.append(
            Exchange(
                asked,
                self.shown.headers(self._without_credentials(request.headers)),
                self.shown.body(sent_type, sent_body, status=status),
                status,
                self.shown.headers(received),
                self.shown.body(content_type, body, status=status),
                round(time.monotonic() - started, 3),
            )
        )


def _why(error: BaseException) -> str:
    """Why there is no connection: for TLS, the cause lies below what the client says."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted: {below.verify_message.rstrip('.')}"
                " (see --ca and --insecure)"
            )
        below = below.__cause__ or below.__context__
    return str(error)


def open_client(
    *,
    verify: ssl.SSLContext | bool = True,
    timeout_s: float = TIMEOUT_S,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """One connection at a time, no redirects, no retries, nothing from the environment."""
    client = httpx2.AsyncClient(
        verify=verify,
        timeout=timeout_s,
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        limits=httpx2.Limits(max_connections=1),
    )
    client.headers["User-Agent"] = "dicomweb-conformance"
    return client
