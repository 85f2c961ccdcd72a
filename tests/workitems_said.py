"""Workitems as clients write them, in DICOM JSON."""

from typing import Any

from objects import uid

Dataset = dict[str, Any]

JSON = "application/dicom+json"
PUSH = "1.2.840.10008.5.1.4.34.6.1"
WORKLIST = "1.2.840.10008.5.1.4.34.5"
FILTERED_WORKLIST = "1.2.840.10008.5.1.4.34.5.1"
MINIMAL = ("00741000", "00741200", "00741204", "00404005", "00404041")


def text(vr: str, *values: Any) -> Dataset:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def coded(value: str, meaning: str = "something", scheme: str = "99BFR") -> Dataset:
    item = {
        "00080100": text("SH", value),
        "00080102": text("SH", scheme),
        "00080104": text("LO", meaning),
    }
    return {"vr": "SQ", "Value": [item]}


def a_workitem(**attributes: Dataset | None) -> Dataset:
    """Valid, with everything of type 2; attributes by `T` and their tag, None leaves one out."""
    dataset: Dataset = {
        "00081080": text("LO"),
        "00081084": {"vr": "SQ"},
        "00081195": text("UI"),
        "00100010": text("PN", {"Alphabetic": "Öberg^Åsa"}),
        "00100020": text("LO", "19121212-1212"),
        "00100021": text("LO", "VGR"),
        "00100030": text("DA", "19121212"),
        "00100040": text("CS", "F"),
        "00101002": {"vr": "SQ"},
        "0020000D": text("UI"),
        "00380010": text("LO"),
        "00380014": {"vr": "SQ"},
        "00400400": text("LT"),
        "00404005": text("DT", "20240108090000"),
        "00404018": coded("110005", "Interpretation", "DCM"),
        "00404021": {"vr": "SQ"},
        "00404025": {"vr": "SQ"},
        "00404026": {"vr": "SQ"},
        "00404027": {"vr": "SQ"},
        "00404041": text("CS", "READY"),
        "0040A370": {"vr": "SQ"},
        "00741000": text("CS", "SCHEDULED"),
        "00741002": {"vr": "SQ"},
        "00741200": text("CS", "MEDIUM"),
        "00741202": text("LO", "UNILABS"),
        "00741204": text("LO", "Läs CT"),
        "00741210": {"vr": "SQ"},
        "00741216": {"vr": "SQ"},
    }
    for name, element in attributes.items():
        tag = name.removeprefix("T")
        if element is None:
            del dataset[tag]
        else:
            dataset[tag] = element
    return {tag: dataset[tag] for tag in sorted(dataset)}


def state(requested: str, transaction_uid: str | None = None) -> Dataset:
    dataset = {"00741000": text("CS", requested)}
    if transaction_uid is not None:
        dataset["00081195"] = text("UI", transaction_uid)
    return dataset


def performed() -> Dataset:
    """What a workitem needs to be COMPLETED."""
    item = {
        "00404019": coded("110005", "Interpretation", "DCM"),
        "00404028": coded("READER1"),
        "00404033": {"vr": "SQ"},
        "00404050": text("DT", "20240108091500"),
        "00404051": text("DT", "20240108093000"),
    }
    return {"00741216": {"vr": "SQ", "Value": [item]}}


def progress(percent: float, description: str = "reading") -> Dataset:
    item = {"00741004": text("DS", percent), "00741006": text("ST", description)}
    return {"00741002": {"vr": "SQ", "Value": [item]}}


def new_uid() -> str:
    return uid()
