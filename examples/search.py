"""Search for studies with QIDO-RS (PS3.18 section 10.6).

    python examples/search.py --url http://127.0.0.1:8080/dicomweb PatientName='akerstrom*'
    python examples/search.py StudyDate=20260101-20260331 ModalitiesInStudy=CT

A filter is a keyword or tag and a value; * stands for any text. Only the standard library is
used. Prints a line for each study: date, modalities, instances, description and Study Instance
UID, and nothing that names the patient.
"""

import argparse
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

PAGE = 100
STUDY_DATE, MODALITIES, INSTANCES = "00080020", "00080061", "00201208"
DESCRIPTION, STUDY_UID = "00081030", "0020000D"


def find_studies(url: str, filters: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every match, asked for page by page."""
    offset = 0
    while True:
        query = {**filters, "includefield": DESCRIPTION, "limit": PAGE, "offset": offset}
        request = urllib.request.Request(
            f"{url}/studies?{urllib.parse.urlencode(query)}",
            headers={"Accept": "application/dicom+json"},
        )
        with urllib.request.urlopen(request) as answer:
            # No match is 204 without a payload.
            matches = json.load(answer) if answer.status == 200 else []
        yield from matches
        offset += len(matches)
        if len(matches) < PAGE:
            return


def text(match: dict[str, Any], tag: str) -> str:
    return "/".join(str(value) for value in match.get(tag, {}).get("Value", []))


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for studies with QIDO-RS.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb", help="DICOMweb base URL")
    parser.add_argument("filter", nargs="*", help="e.g. PatientID=191212121212")
    options = parser.parse_args()

    filters = dict(argument.split("=", 1) for argument in options.filter)
    for match in find_studies(options.url.rstrip("/"), filters):
        columns = (STUDY_DATE, MODALITIES, INSTANCES, DESCRIPTION, STUDY_UID)
        print("\t".join(text(match, tag) for tag in columns))


if __name__ == "__main__":
    main()
