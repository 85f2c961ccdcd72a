"""Instances of a study, series or instance resource as application/zip."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicom.media_types import ZIP
from bfr_dicomweb.dicomweb.responses import CACHE_IMMUTABLE, ContentResponse, not_modified
from bfr_dicomweb.dicomweb.service import Service, base_uri_of, query_of, ref_of
from bfr_dicomweb.errors import InvalidQuery
from bfr_dicomweb.services import packing
from bfr_dicomweb.services.packing import Packed

# This archive's own query parameter, as others have it.
PARAMETER: Final = "dicomdir"
_VALUES: Final = {"true": True, "false": False}


async def answer(
    request: Request, service: Service, files: Sequence[Packed], *, etag: str, status: int
) -> Response:
    ref, with_directory = ref_of(request), _is_directory_wanted(request)
    etag = f'{etag[:-1]}-dicomdir"' if with_directory else etag
    if (unchanged := not_modified(request, etag)) is not None:
        return unchanged
    content = await packing.packed(service.archive, ref, files, with_directory=with_directory)
    headers = {
        "Content-Type": ZIP,
        "Content-Disposition": f'attachment; filename="{ref.level}.zip"',
        "Content-Location": base_uri_of(request) + ref.path,
        "ETag": etag,
        "Cache-Control": CACHE_IMMUTABLE,
        "Vary": "Accept",
    }
    return ContentResponse(service.archive.reader, content, status=status, headers=headers)


def _is_directory_wanted(request: Request) -> bool:
    values = [value for name, value in query_of(request) if name == PARAMETER]
    if not values:
        return False
    if len(values) != 1 or values[0] not in _VALUES:
        raise InvalidQuery(PARAMETER, "must be true or false")
    return _VALUES[values[0]]
