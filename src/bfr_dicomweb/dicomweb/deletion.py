"""Deleting over HTTP: no transaction of PS3.18, but the method that everyone expects."""

from starlette.requests import Request
from starlette.responses import Response

from bfr_dicomweb.dicomweb.service import ref_of, service_of
from bfr_dicomweb.errors import NotAllowed
from bfr_dicomweb.refs import Level
from bfr_dicomweb.services import deletion


async def delete(request: Request) -> Response:
    """DELETE of a study, a series or an instance."""
    service, ref = service_of(request), ref_of(request)
    if not service.allows_deletion:
        stores = ("POST",) if ref.level is Level.STUDY else ()
        raise NotAllowed(("GET", *stores, "HEAD", "OPTIONS"))
    await deletion.delete(service.archive, ref)
    return Response(status_code=204)
