"""Is an answer one that the committed openapi/ describes?"""

import json
import re
from pathlib import Path
from typing import Any

import httpx2

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "openapi" / "dicomweb.json").read_text()
)
TEMPLATES = [
    (re.compile("^" + re.sub(r"\\\{attribute\\\}", ".+", _escaped) + "$"), operations)
    for path, operations in DOCUMENT["paths"].items()
    for _escaped in [re.sub(r"\\\{(?!attribute)\w+\\\}", "[^/]+", re.escape(path))]
]


def deviation(response: httpx2.Response) -> str | None:
    """How the answer deviates from its description; None when it does not."""
    request = response.request
    if "access-control-request-method" in request.headers:
        return None  # the border answers it, for every path
    path = request.url.path
    operation = next(
        (
            operations.get(request.method.lower())
            for template, operations in TEMPLATES
            if template.match(path)
        ),
        None,
    )
    if operation is None:
        allowed = response.status_code in (204, 403, 404, 405)
        return None if allowed else f"{request.method} {path} is not described"
    described = operation["responses"].get(str(response.status_code))
    if described is None:
        return f"{request.method} {path}: status {response.status_code} is not described"
    if request.method == "HEAD":
        return None
    return _content_deviation(response, described)


def _content_deviation(response: httpx2.Response, described: dict[str, Any]) -> str | None:
    content = described.get("content", {})
    content_type = response.headers.get("content-type")
    if content_type is None:
        return None if not response.content else "a payload without Content-Type"
    if not content:
        return f"a payload where none is described: {content_type}"
    name = content_type.split(";")[0].strip()
    names = {described_type.split(";")[0] for described_type in content}
    compressed = any("image/dicom-rle" in described_type for described_type in content)
    if name in names or (compressed and name.split("/")[0] in ("image", "video", "application")):
        return None
    return f"{content_type} is not described, only {sorted(names)}"
