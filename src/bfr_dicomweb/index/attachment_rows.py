"""Reading documents that came with reports."""

from dataclasses import dataclass

from bfr_dicomweb.index.statements import Connection, row


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    digest: str
    content_type: str
    body: bytes


async def find(conn: Connection, digest: str) -> AttachmentRow | None:
    """By the SHA-256 of the body, hexadecimal, or its beginning."""
    found = await row(
        conn,
        "SELECT digest, content_type, body FROM attachment WHERE digest >= ?1 AND digest < ?2",
        (digest, f"{digest}g"),
    )
    return None if found is None else AttachmentRow(found[0], found[1], bytes(found[2]))
