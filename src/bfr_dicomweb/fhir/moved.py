"""What an order, exam or report has become that is no more."""

from bfr_dicomweb.errors import Gone
from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.archive import Archive


async def refuse(archive: Archive, type: str, letter: str, number: int) -> None:
    """Raises Gone: it was there; the text names what took its place, if anything did."""
    found = await timeline.successors(archive.index, [number])
    if number not in found:
        return
    if successor := found[number]:
        raise Gone(f"{type}/{letter}{successor} took its place")
    raise Gone("what it was read from counts no more")
