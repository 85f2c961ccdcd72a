"""Store DICOM files and folders of them with STOW-RS (PS3.18 section 10.5).

    python examples/store.py --url http://127.0.0.1:8080/dicomweb PATH...

Only the standard library is used. Exits with 1 when the archive refused anything.
"""

import argparse
import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES_PER_REQUEST = 20
FAILED, REFERENCED, REASON, INSTANCE = "00081198", "00081199", "00081197", "00081155"


def files_below(paths: list[Path]) -> list[Path]:
    found = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file for file in found if file.is_file())


def multipart(files: list[Path]) -> tuple[bytes, str]:
    """The payload, and its Content-Type."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + file.read_bytes() + b"\r\n" for file in files)
    body += f"--{boundary}--\r\n".encode()
    return body, f'multipart/related; type="application/dicom"; boundary={boundary}'


def store(url: str, files: list[Path]) -> dict[str, Any]:
    """The archive's answer, a Store Instances Response Module as DICOM JSON."""
    body, content_type = multipart(files)
    request = urllib.request.Request(
        f"{url}/studies",
        data=body,
        headers={"Content-Type": content_type, "Accept": "application/dicom+json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        # With 409 nothing was stored, and the answer says why for each instance.
        if error.code != 409:
            raise
        return dict(json.load(error))


def items(answer: dict[str, Any], sequence: str) -> Iterator[dict[str, Any]]:
    yield from answer.get(sequence, {}).get("Value", [])


def main() -> int:
    parser = argparse.ArgumentParser(description="Store DICOM files with STOW-RS.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("path", nargs="+", type=Path, help="a file, or a folder with files in it")
    options = parser.parse_args()

    files = files_below(options.path)
    stored = failed = 0
    for start in range(0, len(files), FILES_PER_REQUEST):
        answer = store(options.url.rstrip("/"), files[start : start + FILES_PER_REQUEST])
        stored += len(list(items(answer, REFERENCED)))
        for item in items(answer, FAILED):
            failed += 1
            instance = item.get(INSTANCE, {}).get("Value", ["without a UID"])[0]
            reason = item.get(REASON, {}).get("Value", [0])[0]
            print(f"refused {instance}: failure reason {reason:04X} hex (PS3.18 Annex I)")
    print(f"{stored} stored, {failed} refused")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
