"""Rows of the catalogue as they follow from events, for what is made of rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from bfr_dicomweb.orders import fold
from bfr_dicomweb.orders.events import Demographics, Event
from bfr_dicomweb.orders.identifiers import PERSONNUMMER, Identifier
from bfr_dicomweb.services.timeline import (
    EventRow,
    ExamRow,
    FindingRow,
    OrderRow,
    PatientRow,
    ReportRow,
    SeriesRow,
    StudyLink,
    StudyRow,
)

ORDER = 10
PATIENT = 5
CHANGED_US = 1_704_700_800_000_000  # 2024-01-08T08:00Z


class Rows:
    """All that a set of events of one order comes to; exam n has the id 11 + n, report n 31 + n."""

    def __init__(
        self,
        events: Iterable[Event],
        *,
        expected: str = "",
        studies: Mapping[int, tuple[StudyLink, ...]] | None = None,
    ) -> None:
        told = list(events)
        folded = fold.fold(told)
        (order,) = folded.orders
        self.exam_ids = tuple(11 + place for place in range(len(folded.exams)))
        self.order = OrderRow(
            id=ORDER,
            patient_id=PATIENT,
            order=order,
            exam_ids=self.exam_ids,
            change=90,
            changed_us=CHANGED_US,
            moment=order.authored,
        )
        self.exams = [
            ExamRow(
                id=11 + place,
                order_id=ORDER,
                patient_id=PATIENT,
                exam=exam,
                expected=expected,
                studies=(studies or {}).get(place, ()),
                report_ids=tuple(
                    31 + number
                    for number, report in enumerate(folded.reports)
                    if place in report.exams
                ),
                change=91 + place,
                changed_us=CHANGED_US,
                moment=exam.modified,
            )
            for place, exam in enumerate(folded.exams)
        ]
        self.reports = [
            ReportRow(
                id=31 + number,
                patient_id=PATIENT,
                report=report,
                exam_ids=tuple(11 + place for place in report.exams),
                arrivals=tuple(range(71, 71 + len(report.versions))),
                change=95,
                changed_us=CHANGED_US,
                moment=report.versions[-1].time,
            )
            for number, report in enumerate(folded.reports)
        ]
        self.events = [
            EventRow(
                number=51 + place,
                recorded_us=CHANGED_US,
                message=41,
                exam_id=self._exam_of(event),
                order_id=ORDER,
                patient_id=PATIENT,
                superseded=0,
                event=event,
                digest=event.digest,
                moment=event.time,
            )
            for place, event in enumerate(told)
        ]

    def _exam_of(self, event: Event) -> int:
        known = set(event.aliases)
        return next(row.id for row in self.exams if known & set(row.exam.aliases))

    def of(self, accession: str) -> ExamRow:
        return next(row for row in self.exams if accession in row.exam.values("accession"))

    def answered(self, report: ReportRow) -> list[ExamRow]:
        return [row for row in self.exams if row.id in report.exam_ids]


def a_patient(**others: Any) -> PatientRow:
    said: dict[str, Any] = {
        "id": PATIENT,
        "root_id": PATIENT,
        "identifiers": (Identifier(PERSONNUMMER, "191212121212"),),
        "demographics": Demographics(
            family="Tolvansson", given="Tolvan", birth_date="1912-12-12", gender="male"
        ),
        "merged_into": None,
        "others": (),
        "change": 6,
        "changed_us": CHANGED_US,
    }
    return PatientRow(**(said | others))


def a_finding(**others: Any) -> FindingRow:
    said: dict[str, Any] = {
        "id": 61,
        "finding_key": "fold|10|unmapped-status",
        "code": "unmapped-status",
        "severity": "moderate",
        "subject": "accession||SU24000123",
        "detail": "evidia: ORC-5 ZZ",
        "performer": "evidia",
        "patient_id": PATIENT,
        "order_id": ORDER,
        "exam_id": 11,
        "study_instance_uid": "",
        "message": 41,
        "raised": "2024-01-09T08:00:00.000000Z",
        "resolved": "",
        "change": 62,
        "changed_us": CHANGED_US,
    }
    return FindingRow(**(said | others))


def element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def a_study(series: tuple[SeriesRow, ...] | None = None, **others: Any) -> StudyRow:
    """`others` are attributes by tag, written ``_00080020``; None takes one away."""
    attributes: dict[str, Any] = {
        "00080020": element("DA", "20240110"),
        "00080030": element("TM", "092500"),
        "00080050": element("SH", "SU24000123"),
        "00080061": element("CS", "CT"),
        "00081030": element("LO", "CT Thorax"),
        "00080090": element("PN", {"Alphabetic": "Remittent^Rut"}),
        "00100020": element("LO", "19121212-1212"),
        "0020000D": element("UI", "1.2.752.113.99.1.1"),
    }
    attributes |= {name[1:]: value for name, value in others.items()}
    kept = {tag: value for tag, value in attributes.items() if value is not None}
    own = a_series() if series is None else series
    return StudyRow(
        id=3,
        study_instance_uid="1.2.752.113.99.1.1",
        change=77,
        attributes=kept,
        series=own,
        moment="2024-01-10T09:25:00",
    )


def a_series(**others: Any) -> tuple[SeriesRow, ...]:
    attributes: dict[str, Any] = {
        "00080060": element("CS", "CT"),
        "0008103E": element("LO", "Lunga 1 mm"),
        "00180015": element("CS", "CHEST"),
        "00080021": element("DA", "20240110"),
        "00080031": element("TM", "092700.5"),
        "0020000E": element("UI", "1.2.752.113.99.1.1.2"),
        "00200011": element("IS", 2),
        "00201209": element("IS", 300),
    }
    attributes |= {name[1:]: value for name, value in others.items()}
    return (SeriesRow(4, "1.2.752.113.99.1.1.2", change=77, attributes=attributes),)
