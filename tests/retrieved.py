"""Answers of Retrieve taken apart, and what to ask for."""

import io
from email import message_from_bytes
from typing import Any

import httpx2
from PIL import Image
from pydicom import dcmread


def parts_of(response: httpx2.Response) -> list[tuple[Any, bytes]]:
    """Headers and bytes of each part, read by the standard library."""
    assert response.status_code in (200, 206), response.text
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content)
    payload: Any = message.get_payload()
    return [(part, part.get_payload(decode=True)) for part in payload]


def raw_parts(response: httpx2.Response) -> list[bytes]:
    """The bytes of each part, cut at the boundary (the standard library alters line ends)."""
    boundary = response.headers["Content-Type"].split("boundary=")[1].strip('"')
    pieces = response.content.split(f"--{boundary}".encode())[1:-1]
    return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces]


def path_of(file: bytes) -> str:
    dataset = dcmread(io.BytesIO(file), stop_before_pixels=True)
    return (
        f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        f"/instances/{dataset.SOPInstanceUID}"
    )


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 255 - shade, 0)).save(file, "JPEG")
    return file.getvalue()
