"""A few hundred instances whose values collide, repeat, are missing or odd."""

import random
from functools import lru_cache
from typing import Any

from bfr_dicomweb.index.instances import NewInstance
from catalogue_objects import CT, a_new_instance

NAMES = (
    None,
    "Åkesson^Åsa",
    "Akesson^Asa^^Dr",
    "ÅKESSON^ÅSA",
    "Svensson^Anna",
    "Svenson^Anna-Maria",
    "Söderström^Bo",
    "a^b^c",
    "Øst^Ægir",
    {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
    "x*[y]?_%\\",
)
IDENTIFIERS = (
    None,
    "19121212-1212",
    "191212121212",
    "121212-1212",
    "201212121212",
    "196109732393",
    "P1",
    "P10",
    "p1",
    "A_B",
    "AxB",
)
DATES = (None, "20240131", "20240201", "20240229", "20231231", "19991231", "2024.02.01")
TIMES = (None, "10", "1030", "103059", "103059.5", "235959.999999", "000000")
TEXTS = (None, "DT buk", "DT BUK", "dt thorax", "MR hjärna", "50%_[a-z]*?", "buk")
MODALITIES = ("CT", "MR", "SR")
SOP_CLASSES = (CT, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.33")
ZONES = (None, "+0100", "-0500")


def _present(values: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Without some of what is empty: absent and empty must be alike."""
    return {k: v for k, v in values.items() if v is not None or rng.random() < 0.5}


def _study(rng: random.Random) -> dict[str, Any]:
    other = [
        {"PatientID": rng.choice(IDENTIFIERS[1:]), "IssuerOfPatientID": rng.choice("XY")}
        for _ in range(rng.choice((0, 0, 1, 2)))
    ]
    codes = [
        {"CodeValue": rng.choice("KLM"), "CodingSchemeDesignator": rng.choice(("99A", "99B"))}
        for _ in range(rng.choice((0, 1, 2)))
    ]
    readers = rng.sample([n for n in NAMES if isinstance(n, str)], rng.choice((0, 1, 2)))
    return {
        "PatientName": rng.choice(NAMES),
        "PatientID": rng.choice(IDENTIFIERS),
        "IssuerOfPatientID": rng.choice((None, "X", "Y")),
        "PatientBirthDate": rng.choice(DATES),
        "PatientSex": rng.choice((None, "F", "M", "O")),
        "OtherPatientIDsSequence": other or None,
        "StudyDate": rng.choice(DATES),
        "StudyTime": rng.choice(TIMES),
        "TimezoneOffsetFromUTC": rng.choice(ZONES),
        "AccessionNumber": rng.choice((None, "A1", "A2", "A10")),
        "StudyDescription": rng.choice(TEXTS),
        "ReferringPhysicianName": rng.choice(NAMES),
        "NameOfPhysiciansReadingStudy": readers or None,
        "InstitutionName": rng.choice(TEXTS),
        "ProcedureCodeSequence": codes or None,
    }


def _series(rng: random.Random) -> dict[str, Any]:
    requests = [
        {
            "ScheduledProcedureStepID": rng.choice(("S1", "S2")),
            "RequestedProcedureID": rng.choice(("R1", "R2")),
        }
        for _ in range(rng.choice((0, 1, 2)))
    ]
    return {
        "Modality": rng.choice(MODALITIES),
        "SeriesNumber": rng.choice((None, 1, 2, 30)),
        "SeriesDescription": rng.choice(TEXTS),
        "BodyPartExamined": rng.choice((None, "ABDOMEN", "CHEST")),
        "PerformedProcedureStepStartDate": rng.choice(DATES),
        "PerformedProcedureStepStartTime": rng.choice(TIMES),
        "PerformingPhysicianName": rng.choice(NAMES),
        "RequestAttributesSequence": requests or None,
    }


def _instance(rng: random.Random) -> dict[str, Any]:
    return {
        "InstanceNumber": rng.choice((None, 1, 2, 3)),
        "ContentDate": rng.choice(DATES),
        "ContentTime": rng.choice(TIMES),
        "Rows": rng.choice((None, 64, 512)),
        "NumberOfFrames": rng.choice((None, 1, 20)),
        "AcquisitionDateTime": rng.choice((None, "202402", "20240201103000.5+0100")),
    }


@lru_cache(maxsize=1)
def population(studies: int = 150) -> tuple[NewInstance, ...]:
    """Instances of one study have the same study attributes, and those of a series too."""
    rng = random.Random(1997)
    found = []
    for study in range(studies):
        study_uid = f"2.25.{rng.randrange(10**6)}{study:03d}"
        of_study = _present(_study(rng), rng)
        for number in range(rng.choice((1, 1, 2, 3))):
            series_uid = f"{study_uid}.{number}"
            of_series = _present(_series(rng), rng)
            for item in range(rng.choice((1, 1, 2))):
                values = of_study | of_series | _present(_instance(rng), rng)
                uid = f"{series_uid}.{item}"
                sop_class = rng.choice(SOP_CLASSES)
                found.append(
                    a_new_instance(study_uid, series_uid, uid, sop_class=sop_class, **values)
                )
    return tuple(found)
