"""Retrieve the instances of a study as files with WADO-RS (PS3.18 section 10.4).

    python examples/retrieve.py --url http://127.0.0.1:8080/dicomweb STUDY_INSTANCE_UID FOLDER

Only the standard library is used. The files are the bytes that were stored: transfer-syntax=*
lets the archive send each instance in the transfer syntax that it has. A file that is in the
folder already is not fetched again, so an interrupted run can be repeated.
"""

import argparse
import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PAGE = 500
SERIES_UID, INSTANCE_UID = "0020000E", "00080018"


def find_instances(url: str, study: str) -> Iterator[tuple[str, str]]:
    """Series and SOP Instance UID of every instance of the study."""
    offset = 0
    while True:
        request = urllib.request.Request(
            f"{url}/studies/{study}/instances?limit={PAGE}&offset={offset}",
            headers={"Accept": "application/dicom+json"},
        )
        with urllib.request.urlopen(request) as answer:
            matches = json.load(answer) if answer.status == 200 else []
        for match in matches:
            yield match[SERIES_UID]["Value"][0], match[INSTANCE_UID]["Value"][0]
        offset += len(matches)
        if len(matches) < PAGE:
            return


def retrieve(url: str, study: str, series: str, instance: str, folder: Path) -> None:
    # It becomes a file name: only what a UID is made of.
    if not re.fullmatch(r"[0-9.]{1,64}", instance):
        raise SystemExit("the archive answered with something that is no UID")
    file = folder / f"{instance}.dcm"
    if file.exists():
        return
    request = urllib.request.Request(
        f"{url}/studies/{study}/series/{series}/instances/{instance}",
        headers={"Accept": "application/dicom; transfer-syntax=*"},
    )
    unfinished = file.with_suffix(".part")
    with urllib.request.urlopen(request) as answer, unfinished.open("wb") as output:
        shutil.copyfileobj(answer, output)
    unfinished.rename(file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Retrieve a study with WADO-RS.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("study", help="Study Instance UID")
    parser.add_argument("folder", type=Path, help="made when it is not there")
    options = parser.parse_args()

    url = options.url.rstrip("/")
    options.folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for series, instance in find_instances(url, options.study):
        retrieve(url, options.study, series, instance, options.folder)
        count += 1
    print(f"{count} instances in {options.folder}")


if __name__ == "__main__":
    main()
