"""A running registry as its users reach it: messages by MLLP, images by STOW-RS, FHIR by HTTP."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

import fhir_schema
from live import Live, free_port
from mllp_client import MllpClient, acknowledged
from objects import multipart

T = TypeVar("T")

PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
WAIT_S = 30.0


class Registry:
    """Every FHIR answer is compared with the published schema of R4."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._http = httpx2.Client(timeout=60)

    def send(self, *messages: bytes) -> list[tuple[str, str]]:
        """MSA-1 and MSA-2 of each message, sent one after the other."""
        with MllpClient(self.live.mllp_port) as connection:
            return [acknowledged(connection.send(message)) for message in messages]

    def told(self, *messages: bytes) -> None:
        """Send what must be accepted."""
        codes = {code for code, _ in self.send(*messages)}
        assert codes <= {"AA"}, codes

    def store(self, *files: bytes) -> httpx2.Response:
        body, content_type = multipart(list(files))
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        url = f"{self.live.url}/studies"
        return self._http.post(url, content=body, headers=headers).raise_for_status()

    def qido(self, path: str, **query: str) -> list[dict[str, Any]]:
        accept = {"Accept": "application/dicom+json"}
        answer = self._http.get(f"{self.live.url}{path}", params=query, headers=accept)
        answer.raise_for_status()
        return [] if answer.status_code == 204 else list(answer.json())

    def get(self, path: str, **query: str | Sequence[str]) -> dict[str, Any]:
        return self.ask("GET", path, params=query)

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """A FHIR answer, which must be a success and what the schema allows."""
        url = path if path.startswith("http") else f"{self.live.fhir}/{path}"
        answer = self._http.request(method, url, **request)
        assert answer.is_success, (answer.status_code, answer.text)
        resource: dict[str, Any] = answer.json()
        fhir_schema.validate(resource)
        return resource

    def http(self, method: str, url: str, **request: Any) -> httpx2.Response:
        return self._http.request(method, url, **request)

    def found(self, path: str, **query: str | Sequence[str]) -> list[dict[str, Any]]:
        """The resources of a search, without what says how it went."""
        return resources(self.get(path, **query))

    def close(self) -> None:
        self._http.close()


def resources(bundle: Mapping[str, Any], *types: str) -> list[dict[str, Any]]:
    """Those of a bundle, in its order; of these types when any are named."""
    found = [entry["resource"] for entry in bundle.get("entry", [])]
    wanted = types or {resource["resourceType"] for resource in found} - {"OperationOutcome"}
    return [resource for resource in found if resource["resourceType"] in wanted]


def status_of(task: Mapping[str, Any]) -> str:
    """The fine status of an exam, as its Task shows it."""
    code: str = task["businessStatus"]["coding"][0]["code"]
    return code


def eventually(ask: Callable[[], T], is_so: Callable[[T], bool], *, within_s: float = WAIT_S) -> T:
    """The first answer that is so; what follows from a change may come a moment after it."""
    deadline = time.monotonic() + within_s
    while True:
        answer = ask()
        if is_so(answer):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


@contextmanager
def running(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Registry]:
    folder.mkdir(parents=True, exist_ok=True)
    live = Live(folder, {"mllp": f"127.0.0.1:{free_port()}"} | dict(settings or {}))
    registry = Registry(live)
    try:
        live.start()
        yield registry
    finally:
        registry.close()
        live.stop()
