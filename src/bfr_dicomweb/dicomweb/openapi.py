"""The OpenAPI description of the HTTP door, made from the route table.

Run as a module it writes the committed file; with --check it only compares.
"""

import re
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson

from bfr_dicomweb import __version__
from bfr_dicomweb.dicomweb.capabilities import media_types_of
from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS, PROBLEM, Endpoint

FILE: Final = Path("openapi/dicomweb.json")
PATH_PARAMETERS: Final = {
    "study": "Study Instance UID",
    "series": "Series Instance UID",
    "instance": "SOP Instance UID",
    "frames": "Frame numbers, 1-based, separated by commas",
    "attribute": "Path of a bulk value as the metadata's BulkDataURI gives it",
    "workitem": "SOP Instance UID of the workitem",
    "aet": "AE title of the subscriber",
    "transaction": "Transaction UID",
    "npi": "SOP Instance UID of the instance",
    "mpps": "SOP Instance UID of the performed procedure step",
}
UID_SCHEMA: Final = {"type": "string", "pattern": "^[0-9]+([.][0-9]+)*$", "maxLength": 64}
# Of path parameters that are no UIDs.
SCHEMAS: Final = {
    "frames": {"type": "string", "pattern": "^[1-9][0-9]*(,[1-9][0-9]*)*$"},
    "attribute": {"type": "string"},
    "aet": {"type": "string", "minLength": 1, "maxLength": 16},
}
# Bodies of these have none of the media types that the endpoint produces.
EMPTY_STATUSES: Final = frozenset({204, 302, 304})
PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


def document() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        path = PARAMETER.sub(r"{\1}", endpoint.full_path)
        operations = paths.setdefault(path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, path)
        if endpoint.method == "GET":
            operations["head"] = _head(operations["get"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bfr_dicomweb",
            "version": __version__,
            "description": "QIDO-RS, WADO-RS, WADO-URI, STOW-RS and UPS-RS of DICOM PS3.18.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": {"Problem": _problem_schema()}},
    }


def _operation(endpoint: Endpoint, path: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}{_identifier(path)}",
        "summary": endpoint.summary,
        "tags": [endpoint.transaction],
        "parameters": [*map(_path_parameter, PARAMETER.findall(path)), *_query(endpoint)],
        "responses": {str(status): _response(endpoint, status) for status in endpoint.statuses},
    }
    if endpoint.section:
        operation["description"] = f"PS3.18 section {endpoint.section}"
    if endpoint.consumes:
        content: dict[str, Any] = {media_type: {} for media_type in endpoint.consumes}
        operation["requestBody"] = {
            "required": not endpoint.is_payload_optional,
            "content": content,
        }
    return operation


def _head(get: dict[str, Any]) -> dict[str, Any]:
    responses = {
        status: {"description": response["description"]}
        for status, response in get["responses"].items()
    }
    return {**get, "operationId": get["operationId"] + "_head", "responses": responses}


def _identifier(path: str) -> str:
    return re.sub(r"\W+", "_", path).rstrip("_")


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": PATH_PARAMETERS[name],
        "schema": SCHEMAS.get(name, UID_SCHEMA),
    }


def _query(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": param.name,
            "in": "query",
            **({"required": True} if param.is_required else {}),
            "description": param.meaning,
            "schema": {"type": param.kind, **({"enum": [*param.values]} if param.values else {})},
        }
        for param in endpoint.query
    ]


def _response(endpoint: Endpoint, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status in EMPTY_STATUSES:
        return response
    content: dict[str, Any] = {}
    if status < 400 or endpoint.consumes:
        content = {media_type: {} for media_type in media_types_of(endpoint)}
    if status == 206:
        content["multipart/byteranges"] = {}
    if status >= 400 and endpoint.section:
        content[PROBLEM] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    elif status >= 400:
        content = {media_type: {} for media_type in media_types_of(endpoint)}
    return {**response, "content": content} if content else response


def _problem_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A Status Report (PS3.18 section 8.6.3) as problem details (RFC 9457).",
        "required": ["title", "status", "detail", "request"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request": {"type": "string", "description": "Identifies the request in the log."},
        },
    }


def main(arguments: list[str]) -> int:
    made = orjson.dumps(document(), option=orjson.OPT_INDENT_2) + b"\n"
    if "--check" in arguments:
        same = FILE.is_file() and FILE.read_bytes() == made
        sys.stderr.write(f"{FILE} is {'up to date' if same else 'out of date: write it anew'}\n")
        return 0 if same else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
