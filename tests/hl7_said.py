"""HL7 v2 messages as the systems around an archive say them, built and not copied.

`m1()` to `m7()` tell of one order with two exams: placed, both booked, the first started,
performed, reported, given an addendum; the second cancelled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

PATIENT: Final = "191212121212"
PERSONNUMMER_OID: Final = "1.2.752.129.2.1.3.1"
HSA_OID: Final = "1.2.752.129.2.1.4.1"
ISSUER_OID: Final = "1.2.752.113.99.7"  # of accession numbers
GROUP: Final = "REM1001"
EHR: Final = ("EHR", "VGR")
RIS: Final = ("RISEVIDIA", "EVIDIA")
REQUESTER: Final = f"SE2321000131-P000000000001^Remittent^Rut^^^^^^&{HSA_OID}&ISO"
REQUESTING_UNIT: Final = f"VC Hjällbo^^^^^&{HSA_OID}&ISO^HSA^^^SE2321000131-E000000000011"
REPORT_CODE: Final = "18782-3^Radiology study observation^LN"


@dataclass(frozen=True, slots=True)
class Exam:
    """What an order message says of one exam."""

    placer: str
    accession: str
    study_uid: str
    procedure: str = "83300^CT Thorax^KVÅ"
    modality: str = "CT"
    station: str = "CT1_SU"
    start: str = "202401100900"
    issuer: str = ISSUER_OID


THORAX: Final = Exam("REM1001-1", "SU24000123", "1.2.752.113.99.1.1")
ABDOMEN: Final = Exam("REM1001-2", "SU24000124", "1.2.752.113.99.1.2", "84300^CT Buk^KVÅ")


def segment(name: str, fields: dict[int, str]) -> str:
    """One segment; `fields` by their HL7 numbers, the others empty."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def message(*segments: str, encoding: str = "utf-8", end: str = "\r") -> bytes:
    return "".join(text + end for text in segments).encode(encoding)


def msh(
    kind: str,
    control_id: str,
    time: str,
    *,
    sender: tuple[str, str] = RIS,
    version: str = "2.5.1",
    charset: str = "UNICODE UTF-8",
    processing: str = "P",
) -> str:
    """`kind` is MSH-9 as it is written: ``ORM^O01^ORM_O01``."""
    application, facility = sender
    return segment(
        f"MSH|^~\\&|{application}|{facility}|BFR|VGR|{time}",
        {2: kind, 3: control_id, 4: processing, 5: version, 11: charset},
    )


def pid(
    number: str = PATIENT,
    *,
    oid: str = PERSONNUMMER_OID,
    name: str = "Tolvansson^Tolvan^^^^^L",
    birth: str = "19121212",
    sex: str = "M",
) -> str:
    identifier = f"{number}^^^&{oid}&ISO^NNSWE" if oid else number
    return segment("PID", {3: identifier, 5: name, 7: birth, 8: sex})


def orc(exam: Exam, control: str, status: str, time: str, *, group: str = GROUP) -> str:
    numbers = {1: control, 2: exam.placer, 3: exam.accession, 4: group}
    return segment("ORC", {**numbers, 5: status, 9: time, 12: REQUESTER, 21: REQUESTING_UNIT})


def obr(exam: Exam, status: str, time: str, *, place: int = 1) -> str:
    numbers = {1: str(place), 2: exam.placer, 3: exam.accession, 4: exam.procedure}
    return segment("OBR", {**numbers, 18: exam.accession, 22: time, 24: exam.modality, 25: status})


def ipc(exam: Exam) -> str:
    accession = f"{exam.accession}^^{exam.issuer}^ISO" if exam.issuer else exam.accession
    return segment(
        "IPC",
        {
            1: accession,
            2: f"RP{exam.accession}",
            3: exam.study_uid,
            4: f"SPS{exam.accession}",
            5: exam.modality,
            9: exam.station,
        },
    )


def obx(place: int, kind: str, code: str, value: str, *, status: str = "F", time: str = "") -> str:
    fields = {1: str(place), 2: kind, 3: code, 5: value, 11: status}
    return segment("OBX", fields | ({14: time} if time else {}))


def order(
    *exams: Exam,
    control_id: str,
    time: str,
    codes: tuple[str, str, str] = ("NW", "", ""),
    kind: str = "OMI^O23^OMI_O23",
    sender: tuple[str, str] = EHR,
    patient: str | None = None,
    group: str = GROUP,
    version: str = "2.5.1",
) -> bytes:
    """A new order, or with other `codes` (ORC-1, ORC-5, OBR-25) and `kind` a status of one.

    `patient` is a whole PID segment.
    """
    control, state, result = codes
    groups: list[str] = []
    for place, exam in enumerate(exams, start=1):
        groups += [
            orc(exam, control, state, time, group=group),
            segment("TQ1", {1: "1", 7: exam.start, 9: "R^Rutin"}),
            obr(exam, result, time, place=place),
            ipc(exam),
        ]
    head = msh(kind, control_id, time, sender=sender, version=version)
    return message(head, patient or pid(), "PV1|1|O", *groups)


def status(
    *exams: Exam,
    codes: tuple[str, str, str],
    control_id: str,
    time: str,
    sender: tuple[str, str] = RIS,
    patient: str | None = None,
    group: str = GROUP,
) -> bytes:
    """The performer's ORM^O01; `codes` are ORC-1, ORC-5 and OBR-25."""
    return order(
        *exams,
        codes=codes,
        control_id=control_id,
        time=time,
        kind="ORM^O01^ORM_O01",
        sender=sender,
        patient=patient,
        group=group,
    )


def report(
    exam: Exam,
    text: str,
    *,
    control_id: str,
    time: str,
    result: str = "F",
    sender: tuple[str, str] = RIS,
    patient: str | None = None,
    group: str = GROUP,
    more: Sequence[str] = (),
) -> bytes:
    """The performer's ORU^R01; `more` are segments at its end."""
    return message(
        msh("ORU^R01^ORU_R01", control_id, time, sender=sender),
        patient or pid(),
        orc(exam, "RE", "CM", time, group=group),
        obr(exam, result, time),
        obx(1, "TX", REPORT_CODE, text, status=result, time=time),
        obx(2, "ST", "110180^Study Instance UID^DCM", exam.study_uid, status="O"),
        *more,
    )


def m1() -> bytes:
    """Both exams are ordered."""
    return order(THORAX, ABDOMEN, control_id="M1", time="20240108080000")


def m2() -> bytes:
    """Both are booked."""
    codes = ("SC", "SC", "S")
    return status(THORAX, ABDOMEN, codes=codes, control_id="M2", time="20240108090000")


def m3() -> bytes:
    """The first is started."""
    return status(THORAX, codes=("SC", "IP", "I"), control_id="M3", time="20240110091500")


def m4() -> bytes:
    """The first is performed."""
    return status(THORAX, codes=("SC", "CM", "N"), control_id="M4", time="20240110093000")


def m5() -> bytes:
    """The first has its signed report."""
    return report(THORAX, "Utlåtande: u.a.", control_id="M5", time="20240110150000")


def m6() -> bytes:
    """The report gets an addendum."""
    text = "Tilläggssvar: 4 mm nodulus."
    return report(THORAX, text, control_id="M6", time="20240111100000")


def m7() -> bytes:
    """The second is cancelled by its performer."""
    return status(ABDOMEN, codes=("OC", "CA", "X"), control_id="M7", time="20240110120000")


STORY: Final[tuple[Callable[[], bytes], ...]] = (m1, m2, m3, m4, m5, m6, m7)
