"""What a modality tells of what it does, by pynetdicom's SCU; seen in the archive's exams."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.services import timeline
from bfr_dicomweb.services.timeline import ExamRow
from dimse_served import Served, served
from hl7_said import ABDOMEN, THORAX, Exam, m1, m2, order, report
from modalities import (
    Modality,
    a_scheduled_item,
    a_step,
    completed,
    discontinued,
    told,
)
from objects import uid

SUCCESS = 0x0000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that each take an exam or a step of their own."""
    with served(tmp_path_factory.mktemp("steps")) as archive:
        yield archive


@pytest.fixture(scope="module")
def modality(archive: Served) -> Modality:
    return Modality(archive.port)


_NUMBERS = iter(range(1, 1000))


def booked(archive: Served, *, like: Exam = THORAX, patient: str | None = None) -> Exam:
    """A new exam of the patient of the story, with a date and a station."""
    number = next(_NUMBERS)
    exam = replace(
        like,
        placer=f"P{number}",
        accession=f"A{number}",
        study_uid=like.study_uid and uid(),
    )
    sent = order(
        exam, control_id=f"N{number}", time="20240108080000", patient=patient, group=f"G{number}"
    )
    archive.wait(told(archive.door.orders, sent))
    return exam


def item_of(exam: Exam, **values: Any) -> Dataset:
    return a_scheduled_item(exam.accession, exam.study_uid, **values)


def rows_of(archive: Served, accession: str) -> list[ExamRow]:
    return archive.wait(timeline.exams_identified(archive.archive.index, [(None, accession)]))


def status_of(archive: Served, exam: Exam) -> str:
    (row,) = rows_of(archive, exam.accession)
    return row.exam.status.value


def begun(archive: Served, modality: Modality, *exams: Exam, **values: Any) -> str:
    step = uid()
    answer = modality.create(a_step(*map(item_of, exams), **values), step)
    assert answer.Status == SUCCESS, answer
    return step


def findings(archive: Served, code: str) -> list[str]:
    page = timeline.Page(100)
    found = archive.wait(timeline.walk_findings(archive.archive.index, page, codes=[code]))
    return [row.code for row in found if not row.resolved]


# --- an exam's life --------------------------------------------------------------------------


def test_an_exam_is_started_when_its_step_is_created(archive: Served, modality: Modality) -> None:
    exam = booked(archive)

    begun(archive, modality, exam)

    assert status_of(archive, exam) == "started"


def test_an_exam_is_performed_when_its_step_is_completed(
    archive: Served, modality: Modality
) -> None:
    exam = booked(archive)
    step = begun(archive, modality, exam)

    modality.set(completed(), step)

    (row,) = rows_of(archive, exam.accession)
    assert (row.exam.status, row.exam.facts.exam_start, row.exam.performed) == (
        "performed",
        "2024-01-10T08:15:00.000000Z",
        "2024-01-10T08:30:00.000000Z",
    )


def test_an_exam_is_cancelled_with_the_reason_of_its_discontinued_step(
    archive: Served, modality: Modality
) -> None:
    exam = booked(archive)
    step = begun(archive, modality, exam)

    modality.set(discontinued("110501", "Equipment failure"), step)

    (row,) = rows_of(archive, exam.accession)
    code = row.exam.facts.status_reason_code
    assert code is not None
    assert (row.exam.status, code.code, row.exam.facts.status_reason) == (
        "cancelled",
        "110501",
        "Equipment failure",
    )


def test_the_exam_of_a_wrongly_chosen_entry_is_what_it_was(
    archive: Served, modality: Modality
) -> None:
    exam = booked(archive)
    before = status_of(archive, exam)
    step = begun(archive, modality, exam)

    modality.set(discontinued("110514", "Incorrect worklist entry selected"), step)

    assert (before, status_of(archive, exam)) == ("received", "received")


def test_the_exam_of_a_wrongly_chosen_entry_is_on_the_worklist(
    archive: Served, modality: Modality
) -> None:
    exam = booked(archive)
    step = begun(archive, modality, exam)

    modality.set(discontinued("110514", "Incorrect worklist entry selected"), step)

    assert len(modality.worklist(AccessionNumber=exam.accession)) == 1


def test_all_exams_of_a_group_follow_their_step(archive: Served, modality: Modality) -> None:
    exams = [booked(archive), booked(archive)]
    step = begun(archive, modality, *exams)

    modality.set(completed(), step)

    assert [status_of(archive, exam) for exam in exams] == ["performed"] * 2


def test_a_time_in_another_zone_is_what_it_says(archive: Served, modality: Modality) -> None:
    exam = booked(archive)

    begun(archive, modality, exam, TimezoneOffsetFromUTC="-0500")

    (row,) = rows_of(archive, exam.accession)
    assert row.exam.facts.exam_start == "2024-01-10T14:15:00.000000Z"


def test_a_clock_that_is_ahead_is_a_finding(archive: Served, modality: Modality) -> None:
    exam = booked(archive)
    before = len(findings(archive, "future-dated"))

    begun(archive, modality, exam, PerformedProcedureStepStartDate="20990110")

    assert len(findings(archive, "future-dated")) == before + 1


def test_a_report_makes_a_late_completion_change_nothing(
    archive: Served, modality: Modality
) -> None:
    exam = booked(archive)
    step = begun(archive, modality, exam)
    signed = report(exam, "U.a.", control_id=f"R{exam.placer}", time="20240110150000")
    archive.wait(told(archive.door.orders, signed))

    modality.set(completed(), step)

    assert status_of(archive, exam) == "signed"


# --- whose it is -----------------------------------------------------------------------------


def test_an_exam_is_known_by_the_study_that_the_worklist_gave_it(
    archive: Served, modality: Modality
) -> None:
    """The order has a placer's number and nothing else."""
    sent = order(
        Exam("PONLY", "", "", issuer=""), control_id="PONLY", time="20240108080000", group=""
    )
    sent = sent.replace(b"|RP|", b"||").replace(b"|SPS|", b"||")
    archive.wait(told(archive.door.orders, sent))
    (item,) = modality.worklist(RequestedProcedureID="PONLY")
    scheduled = a_scheduled_item(
        "",
        item.StudyInstanceUID,
        RequestedProcedureID=item.RequestedProcedureID,
        ScheduledProcedureStepID=item.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID,
    )

    modality.create(a_step(scheduled), uid())

    (row,) = rows_of(archive, "PONLY")
    assert (row.exam.status, row.exam.values("study")) == ("started", (item.StudyInstanceUID,))


def test_what_nobody_ordered_is_an_exam_without_an_order(
    archive: Served, modality: Modality
) -> None:
    study = uid()
    step = a_step(a_scheduled_item("", study), PerformedProcedureStepDescription="Akut DT hjärna")

    modality.create(step, uid())

    (row,) = rows_of(archive, study)
    assert row.exam.facts.procedure is not None
    assert (row.exam.status, row.exam.ordered, row.exam.facts.procedure.display) == (
        "started",
        False,
        "Akut DT hjärna",
    )


def test_the_exam_of_another_patient_is_left_alone(archive: Served, modality: Modality) -> None:
    exam = booked(archive)

    modality.create(a_step(item_of(exam), patient_id="196408233234"), uid())

    by_patient = {row.patient_id: row.exam.status for row in rows_of(archive, exam.accession)}
    assert sorted(by_patient.values()) == ["received", "started"]


def test_a_step_without_a_patient_is_kept_and_is_a_finding(
    archive: Served, modality: Modality
) -> None:
    step = uid()
    before = len(findings(archive, "step-without-patient"))

    answer = modality.create(a_step(a_scheduled_item("", uid()), patient_id=""), step)

    assert (answer.Status, modality.get(step)[0].Status) == (SUCCESS, SUCCESS)
    assert len(findings(archive, "step-without-patient")) == before + 1


# --- the protocol ----------------------------------------------------------------------------


def test_a_second_step_of_the_same_uid_is_refused(archive: Served, modality: Modality) -> None:
    step = begun(archive, modality, booked(archive))

    assert modality.create(a_step(), step).Status == 0x0111


def test_a_step_that_nobody_created_cannot_be_set(modality: Modality) -> None:
    assert modality.set(completed(), uid()).Status == 0x0112


@pytest.mark.parametrize("last", [completed(), discontinued()], ids=["completed", "discontinued"])
def test_what_is_final_may_no_longer_be_updated(
    archive: Served, modality: Modality, last: Dataset
) -> None:
    step = begun(archive, modality, booked(archive))
    modality.set(last, step)

    answer = modality.set(completed(), step)

    assert (answer.Status, answer.ErrorID, answer.ErrorComment) == (
        0x0110,
        0xA710,
        "Performed Procedure Step Object may no longer be updated",
    )


def test_a_missing_attribute_is_named(modality: Modality) -> None:
    step = a_step()
    del step.ScheduledStepAttributesSequence[0].StudyInstanceUID

    answer = modality.create(step, uid())

    assert (answer.Status, answer.ErrorComment) == (
        0x0120,
        "(0040,0270) > (0020,000D) is missing",
    )


def test_a_step_that_does_not_begin_in_progress_is_refused(modality: Modality) -> None:
    answer = modality.create(a_step(PerformedProcedureStepStatus="COMPLETED"), uid())

    assert (answer.Status, answer.ErrorComment) == (0x0106, "(0040,0252) is not valid here")


def test_a_completion_without_a_series_names_what_is_missing(
    archive: Served, modality: Modality
) -> None:
    step = begun(archive, modality, booked(archive))

    answer = modality.set(completed(PerformedSeriesSequence=[]), step)

    assert (answer.Status, answer.AttributeIdentifierList) == (0x0121, 0x00400340)


def test_what_is_refused_changes_nothing(archive: Served, modality: Modality) -> None:
    exam = booked(archive)
    step = begun(archive, modality, exam)

    modality.set(completed(PerformedSeriesSequence=[]), step)

    assert status_of(archive, exam) == "started"


def test_a_step_without_a_uid_is_given_one(archive: Served, modality: Modality) -> None:
    answer = modality.create(a_step(a_scheduled_item("", uid())))

    assert answer.Status == SUCCESS


def test_a_step_is_what_was_created_and_set(archive: Served, modality: Modality) -> None:
    step = begun(archive, modality, booked(archive))
    last = completed(CommentsOnThePerformedProcedureStep="Åter i kväll")
    last.SpecificCharacterSet = "ISO_IR 100"
    modality.set(last, step)

    _, found = modality.get(step)

    assert found is not None
    assert (
        found.SOPInstanceUID,
        found.PerformedProcedureStepStatus,
        found.PatientName,
        found.CommentsOnThePerformedProcedureStep,
        found.PerformedSeriesSequence,
    ) == (
        step,
        "COMPLETED",
        "Tolvansson^Tolvan",
        "Åter i kväll",
        last.PerformedSeriesSequence,
    )


def test_only_the_attributes_that_are_named_are_retrieved(
    archive: Served, modality: Modality
) -> None:
    step = begun(archive, modality, booked(archive))

    _, found = modality.get(step, 0x00400252, 0x00080060)

    assert found is not None
    assert found.dir() == ["Modality", "PerformedProcedureStepStatus"]


def test_a_step_that_nobody_created_cannot_be_retrieved(modality: Modality) -> None:
    status, _ = modality.get(uid())

    assert status.Status == 0x0112


def test_steps_of_many_modalities_at_once_are_all_taken(
    archive: Served, modality: Modality
) -> None:
    exams = [booked(archive) for _ in range(6)]

    async def work() -> None:
        await asyncio.gather(*(asyncio.to_thread(begun, archive, modality, exam) for exam in exams))

    asyncio.run(work())

    assert [status_of(archive, exam) for exam in exams] == ["started"] * 6


def test_the_day_of_two_exams_is_told_without_hl7(tmp_path: Path) -> None:
    with served(tmp_path) as archive:
        archive.wait(told(archive.door.orders, m1(), m2()))
        modality = Modality(archive.port)
        first, second = modality.worklist(ScheduledStationAETitle="CT1_SU")
        steps = [
            begun(archive, modality, exam)
            for exam, item in ((THORAX, first), (ABDOMEN, second))
            if item.AccessionNumber == exam.accession
        ]
        modality.set(completed(), steps[0])
        modality.set(discontinued(), steps[1])
        statuses = [status_of(archive, THORAX), status_of(archive, ABDOMEN)]
        left = modality.worklist()

    assert (statuses, left) == (["performed", "cancelled"], [])
