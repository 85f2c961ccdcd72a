"""Documents that came with reports, by the SHA-256 of their bytes."""

from bfr_dicomweb.index import attachment_rows
from bfr_dicomweb.index.attachment_rows import AttachmentRow as AttachmentRow
from bfr_dicomweb.index.engine import Index


async def attachment(index: Index, digest: str) -> AttachmentRow | None:
    return await index.ask(lambda conn: attachment_rows.find(conn, digest))
