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
from pathlib import Path
from typing import Any

FILES_PER_REQUEST = 20
# Sequences of the answer: what was stored, what was not, and what had no identity to name.
REFERENCED, FAILED, OTHER_FAILURES = "00081199", "00081198", "0008119A"
INSTANCE, REASON, COMMENT = "00081155", "00081197", "00000902"


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
        # When nothing could be stored, the answer still says why, instance by instance.
        if error.headers.get_content_type() != "application/dicom+json":
            raise
        return dict(json.load(error))


def items(answer: dict[str, Any], sequence: str) -> list[dict[str, Any]]:
    return list(answer.get(sequence, {}).get("Value", []))


def value(item: dict[str, Any], tag: str, default: Any) -> Any:
    return item.get(tag, {}).get("Value", [default])[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Store DICOM files with STOW-RS.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("path", nargs="+", type=Path, help="a file, or a folder with files in it")
    options = parser.parse_args()

    files = files_below(options.path)
    stored = failed = 0
    for start in range(0, len(files), FILES_PER_REQUEST):
        answer = store(options.url.rstrip("/"), files[start : start + FILES_PER_REQUEST])
        stored += len(items(answer, REFERENCED))
        for item in items(answer, FAILED) + items(answer, OTHER_FAILURES):
            failed += 1
            instance = value(item, INSTANCE, "an object without identity")
            reason = f"failure reason {value(item, REASON, 0):04X}H"
            print(f"refused {instance}: {reason} {value(item, COMMENT, '')}")
    print(f"{stored} stored, {failed} refused")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
