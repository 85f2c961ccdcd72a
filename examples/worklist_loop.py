"""A reading workstation's loop: watch a worklist, claim, read, report, complete (UPS-RS).

    python examples/worklist_loop.py --label UNILABS [--url http://127.0.0.1:8080/dicomweb] [--once]

Workitems of the worklist are claimed as they appear; of several such programs only one gets each.
What is "read" is a sentence; it is stored as a structured report in the study of the workitem and
named in its output. With --once it ends after the first workitem. The events come over a WebSocket;
they are repeated when the connection was lost, so each is only a reason to look at the workitem.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx2
from pydicom import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian
from websockets.sync.client import connect

JSON = "application/dicom+json"
FILTERED_WORKLIST = "1.2.840.10008.5.1.4.34.5.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
STATE, TRANSACTION_UID, SOP_INSTANCE_UID = "00741000", "00081195", "00080018"


def new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def code(value: str, scheme: str, meaning: str) -> dict[str, Any]:
    return element(
        "SQ",
        {
            "00080100": element("SH", value),
            "00080102": element("SH", scheme),
            "00080104": element("LO", meaning),
        },
    )


def first(dataset: dict[str, Any], tag: str) -> str:
    values = dataset.get(tag, {}).get("Value") or [""]
    return str(values[0])


def appearing(client: httpx2.Client, label: str, aet: str) -> Iterator[str]:
    """UIDs of workitems that somebody may claim: first those that wait, then as they come."""
    answer = client.post(
        f"/workitems/{FILTERED_WORKLIST}/subscribers/{aet}",
        params={"filter": f"WorklistLabel={label}"},
    ).raise_for_status()
    with connect(answer.headers["Content-Location"]) as channel:
        query = {"WorklistLabel": label, "ProcedureStepState": "SCHEDULED"}
        waiting = client.get("/workitems", params=query).raise_for_status()
        for workitem in waiting.json() if waiting.status_code == 200 else []:
            yield first(workitem, SOP_INSTANCE_UID)
        for frame in channel:
            event = json.loads(frame)
            if first(event, STATE) == "SCHEDULED":
                yield first(event, "00001000")


def change_state(client: httpx2.Client, uid: str, state: str, transaction: str) -> httpx2.Response:
    dataset = {STATE: element("CS", state), TRANSACTION_UID: element("UI", transaction)}
    return client.put(f"/workitems/{uid}/state", json=dataset, headers={"Content-Type": JSON})


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def report(workitem: dict[str, Any], text: str) -> Dataset:
    """The least that a Basic Text SR may be."""
    sr = Dataset.from_json(
        {tag: workitem[tag] for tag in ("00100010", "00100020") if tag in workitem}
    )
    sr.PatientBirthDate = sr.PatientSex = sr.ReferringPhysicianName = sr.AccessionNumber = ""
    sr.StudyInstanceUID = first(workitem, "0020000D")
    sr.SeriesInstanceUID, sr.SOPInstanceUID = new_uid(), new_uid()
    sr.SOPClassUID, sr.Modality, sr.SpecificCharacterSet = BASIC_TEXT_SR, "SR", "ISO_IR 192"
    sr.SeriesNumber = sr.InstanceNumber = 1
    sr.StudyID = sr.StudyDate = sr.StudyTime = sr.Manufacturer = ""
    now = datetime.now().astimezone()
    sr.ContentDate, sr.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    sr.CompletionFlag, sr.VerificationFlag = "COMPLETE", "UNVERIFIED"
    sr.ReferencedPerformedProcedureStepSequence = sr.PerformedProcedureCodeSequence = []
    sr.ValueType, sr.ContinuityOfContent = "CONTAINER", "SEPARATE"
    sr.ConceptNameCodeSequence = [coded("18748-4", "LN", "Diagnostic Imaging Report")]
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = [coded("121071", "DCM", "Finding")]
    sr.ContentSequence = [item]
    return sr


def store(client: httpx2.Client, sr: Dataset) -> None:
    file = BytesIO()
    sr.ensure_file_meta()
    sr.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, sr, enforce_file_format=True)
    headers = {"Content-Type": "application/dicom", "Accept": JSON}
    client.post("/studies", content=file.getvalue(), headers=headers).raise_for_status()


def performed(sr: Dataset, began: datetime) -> dict[str, Any]:
    """What was done and what came of it: the Performed Procedure Sequence."""
    reference = {
        "00081150": element("UI", sr.SOPClassUID),
        "00081155": element("UI", sr.SOPInstanceUID),
    }
    output = {
        "00081199": element("SQ", reference),
        "0020000D": element("UI", sr.StudyInstanceUID),
        "0020000E": element("UI", sr.SeriesInstanceUID),
        "0040E020": element("CS", "DICOM"),
        "0040E021": element("SQ", {"00080054": element("AE", "BFR")}),
    }
    item = {
        "00404019": code("110005", "DCM", "Interpretation"),
        "00404028": code("READER", "99EXAMPLE", "Example workstation"),
        "00404033": element("SQ", output),
        "00404050": element("DT", began.strftime("%Y%m%d%H%M%S%z")),
        "00404051": element("DT", datetime.now().astimezone().strftime("%Y%m%d%H%M%S%z")),
    }
    return {"00741216": element("SQ", item)}


def work_on(client: httpx2.Client, uid: str) -> bool:
    """Whether it was ours to do."""
    transaction, began = new_uid(), datetime.now().astimezone()
    if change_state(client, uid, "IN PROGRESS", transaction).status_code != 200:
        print(f"{uid}: somebody else was faster")
        return False
    (workitem,) = client.get(f"/workitems/{uid}").raise_for_status().json()
    print(f"{uid}: {first(workitem, '00741204')}")
    study = first(workitem, "0020000D")
    images = client.get(f"/studies/{study}/instances").raise_for_status()
    count = len(images.json()) if images.status_code == 200 else 0
    sr = report(workitem, f"Read {count} images. Nothing remarkable.")
    store(client, sr)
    client.post(
        f"/workitems/{uid}?{transaction}",
        json=performed(sr, began),
        headers={"Content-Type": JSON},
    ).raise_for_status()
    change_state(client, uid, "COMPLETED", transaction).raise_for_status()
    print(f"{uid}: completed, report {sr.SOPInstanceUID}")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080/dicomweb")
    parser.add_argument("--label", required=True, help="Worklist Label of the worklist")
    parser.add_argument("--aet", default="READER", help="name under which events are kept")
    parser.add_argument("--once", action="store_true", help="end after one workitem")
    given = parser.parse_args()
    headers = {"Accept": JSON}
    with httpx2.Client(base_url=given.url, headers=headers, timeout=60) as client:
        for uid in appearing(client, given.label, given.aet):
            if work_on(client, uid) and given.once:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
