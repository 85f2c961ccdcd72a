"""The life of an order, from placed to addendum, as a RIS tells it and an EHR follows it.

    python examples/order_life.py --mllp 127.0.0.1:2575 --url http://127.0.0.1:8080/fhir

Each step sends one HL7 v2 message by MLLP and then asks, over FHIR, what an EHR asks: what is the
status now, what happened so far, what does the report say. Only the standard library is used.
The person is invented; the identity number is a published test number. Exits with 1 when the
archive refuses a message.
"""

import argparse
import base64
import json
import socket
import sys
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

PERSONNUMMER = "http://electronichealth.se/identifier/personnummer"
PATIENT = "191212121212"
OID = "1.2.752.129.2.1.3.1"
START, END = b"\x0b", b"\x1c\r"
# What happens, after so many hours: message type, ORC-1, ORC-5, OBR-25, text of the report.
STEPS = (
    ("the EHR places the order", 0, "OMI^O23^OMI_O23", "NW", "", "", ""),
    ("the RIS books it", 1, "ORM^O01^ORM_O01", "SC", "SC", "S", ""),
    ("the exam begins", 49, "ORM^O01^ORM_O01", "SC", "IP", "I", ""),
    ("the exam is performed", 49.5, "ORM^O01^ORM_O01", "SC", "CM", "N", ""),
    ("the report is signed", 54, "ORU^R01^ORU_R01", "RE", "CM", "F", "Utlåtande: u.a."),
    ("an addendum follows", 73, "ORU^R01^ORU_R01", "RE", "CM", "F", "Tilläggssvar: 4 mm nodulus."),
)


def message(number: str, step: int, began: datetime) -> bytes:
    """One HL7 v2 message; `number` makes order and exam this run's own."""
    _, hours, kind, control, state, result, text = STEPS[step]
    at = (began + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")
    sender = "EHR|VGR" if control == "NW" else "RIS|RADIOLOGY"
    lines = [
        f"MSH|^~\\&|{sender}|BFR|VGR|{at}||{kind}|{number}-{step}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|||{PATIENT}^^^&{OID}&ISO^NNSWE||Tolvansson^Tolvan||19121212|M",
        f"ORC|{control}|P{number}|A{number}|G{number}|{state}||||{at}",
        f"OBR|1|P{number}|A{number}|83300^CT Thorax{'|' * 14}A{number}||||{at}||CT|{result}",
    ]
    if text:
        lines.append(f"OBX|1|TX|18782-3^Radiology study observation^LN||{text}||||||F|||{at}")
    return "".join(line + "\r" for line in lines).encode()


def send(connection: socket.socket, data: bytes) -> str:
    """Send by MLLP; gives the acknowledgement code."""
    connection.sendall(START + data + END)
    answer = b""
    while END not in answer:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the archive closed the connection")
        answer += piece
    line = next(part for part in answer.split(b"\r") if part.startswith(b"MSA|"))
    return line.split(b"|")[1].decode()


def search(url: str, kind: str, *query: tuple[str, str]) -> list[dict[str, Any]]:
    """By POST: identity numbers do not belong into URLs, which are logged on the way."""
    request = urllib.request.Request(
        f"{url}/{kind}/_search",
        data=urllib.parse.urlencode(query).encode(),
        headers={"Accept": "application/fhir+json"},
    )
    with urllib.request.urlopen(request) as answer:
        bundle = json.load(answer)
    return [entry["resource"] for entry in bundle.get("entry", [])]


def of_type(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["resourceType"] == kind]


def timeline(url: str, number: str) -> list[dict[str, Any]]:
    """The order with all that belongs to it, in one request."""
    return search(
        url,
        "ServiceRequest",
        ("patient.identifier", f"{PERSONNUMMER}|{PATIENT}"),
        ("requisition", f"G{number}"),
        ("intent", "order"),
        ("_revinclude", "ServiceRequest:based-on"),
        ("_revinclude:iterate", "Task:focus"),
        ("_revinclude:iterate", "ImagingStudy:basedon"),
        ("_revinclude:iterate", "DiagnosticReport:based-on"),
    )


def show(url: str, number: str) -> None:
    found = timeline(url, number)
    for task in of_type(found, "Task"):
        fine, *coarse = task["businessStatus"]["coding"]
        shown = f" ({coarse[0]['code']})" if coarse else ""
        print(f"    status: {fine['code']}{shown}")
    for study in of_type(found, "ImagingStudy"):
        print(f"    images: {study['status']}")
    for report in of_type(found, "DiagnosticReport"):
        text = base64.b64decode(report["presentedForm"][0]["data"]).decode()
        print(f"    report: {report['status']}")
        for line in text.splitlines():
            print(f"      | {line}")


def history(url: str, number: str) -> None:
    """All that happened, newest first."""
    (exam,) = (
        one
        for one in of_type(timeline(url, number), "ServiceRequest")
        if one["intent"] == "filler-order"
    )
    for event in search(
        url, "Provenance", ("target", f"ServiceRequest/{exam['id']}"), ("_sort", "-when")
    ):
        code = event["activity"]["coding"][0]["code"]
        print(f"    {event['occurredDateTime']}  {code}")


def main() -> int:
    parser = argparse.ArgumentParser(description="The life of an order, told and followed.")
    parser.add_argument("--url", default="http://127.0.0.1:8080/fhir", help="FHIR base URL")
    parser.add_argument("--mllp", default="127.0.0.1:2575", help="HOST:PORT of the HL7 v2 door")
    options = parser.parse_args()
    host, _, port = options.mllp.rpartition(":")
    url = options.url.rstrip("/")
    now = datetime.now(UTC)
    number = now.strftime("%Y%m%d%H%M%S")
    began = now - timedelta(hours=80)
    with socket.create_connection((host, int(port)), 30) as connection:
        for step, (what, *_) in enumerate(STEPS):
            code = send(connection, message(number, step, began))
            print(f"{what}: {code}")
            if code != "AA":
                return 1
            show(url, number)
    print("what happened:")
    history(url, number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
