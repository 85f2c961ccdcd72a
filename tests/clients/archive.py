"""The archive under test, as a client finds it: a base URL, and a way to fill it."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from objects import multipart


@dataclass(frozen=True, slots=True)
class Archive:
    """A DICOMweb service whose base URL is `url`, without a slash at the end."""

    url: str

    def store(self, files: Sequence[bytes]) -> None:
        """Store Part 10 files in one request; each must be accepted."""
        body, content_type = multipart(files)
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        answer = httpx2.post(f"{self.url}/studies", content=body, headers=headers, timeout=60)
        assert answer.status_code == 200
