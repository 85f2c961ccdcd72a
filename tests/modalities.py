"""A modality with a worklist and performed procedure steps, by pynetdicom."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
)

import hl7_read
from bfr_dicomweb.services.orders import Orders, RawMessage
from objects import uid

PENDING = (0xFF00, 0xFF01)
ISSUER = "1.2.752.113.99.7"


async def told(orders: Orders, *messages: bytes) -> None:
    """Keep, read and apply HL7 v2 messages."""
    for body in messages:
        raw = RawMessage("mllp", "RIS", "", "", "2.5.1", "utf-8", body, 0, 1_700_000_000_000_000)
        number = await orders.keep(raw)
        await orders.apply(number, hl7_read.read(body), sender="RIS")


def a_query(**keys: str) -> Dataset:
    """Every key of Table K.6-1 that is required; `keys` are those with values."""
    query, step = Dataset(), Dataset()
    for keyword in (
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledPerformingPhysicianName",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
    ):
        setattr(step, keyword, keys.pop(keyword, ""))
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID"):
        setattr(query, keyword, keys.pop(keyword, ""))
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    query.ScheduledProcedureStepSequence = [step]
    return query


def a_scheduled_item(
    accession: str = "SU24000123", study_uid: str = "1.2.752.113.99.1.1", **values: Any
) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = accession
    item.RequestedProcedureID = f"RP{accession}" if accession else ""
    item.RequestedProcedureDescription = ""
    item.ScheduledProcedureStepID = f"SPS{accession}" if accession else ""
    item.ScheduledProcedureStepDescription = ""
    item.ScheduledProtocolCodeSequence = []
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def a_step(*items: Dataset, patient_id: str = "191212121212", **values: Any) -> Dataset:
    """A whole N-CREATE of PS3.4 Table F.7.2-1; begun 2024-01-10 09:15 local time."""
    step = Dataset()
    step.ScheduledStepAttributesSequence = list(items or (a_scheduled_item(),))
    step.PatientName = "Tolvansson^Tolvan"
    step.PatientID = patient_id
    step.PatientBirthDate = "19121212"
    step.PatientSex = "M"
    step.ReferencedPatientSequence = []
    step.PerformedProcedureStepID = "PPS1"
    step.PerformedStationAETitle = "CT1_SU"
    step.PerformedStationName = "CT1"
    step.PerformedLocation = ""
    step.PerformedProcedureStepStartDate = "20240110"
    step.PerformedProcedureStepStartTime = "091500"
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepDescription = ""
    step.PerformedProcedureTypeDescription = ""
    step.ProcedureCodeSequence = []
    step.PerformedProcedureStepEndDate = ""
    step.PerformedProcedureStepEndTime = ""
    step.Modality = "CT"
    step.StudyID = ""
    step.PerformedProtocolCodeSequence = []
    step.PerformedSeriesSequence = []
    for keyword, value in values.items():
        setattr(step, keyword, value)
    return step


def a_series() -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.ReferencedSOPInstanceUID = uid()
    series = Dataset()
    series.PerformingPhysicianName = ""
    series.ProtocolName = "Thorax"
    series.OperatorsName = ""
    series.SeriesInstanceUID = uid()
    series.SeriesDescription = ""
    series.RetrieveAETitle = ""
    series.ReferencedImageSequence = [image]
    series.ReferencedNonImageCompositeSOPInstanceSequence = []
    return series


def completed(**values: Any) -> Dataset:
    """The last N-SET; done 2024-01-10 09:30 local time."""
    last = Dataset()
    last.PerformedProcedureStepStatus = "COMPLETED"
    last.PerformedProcedureStepEndDate = "20240110"
    last.PerformedProcedureStepEndTime = "093000"
    last.PerformedSeriesSequence = [a_series()]
    for keyword, value in values.items():
        setattr(last, keyword, value)
    return last


def discontinued(
    code: str = "110513", meaning: str = "Discontinued for unspecified reason"
) -> Dataset:
    last = completed(PerformedProcedureStepStatus="DISCONTINUED")
    reason = Dataset()
    reason.CodeValue = code
    reason.CodingSchemeDesignator = "DCM"
    reason.CodeMeaning = meaning
    last.PerformedProcedureStepDiscontinuationReasonCodeSequence = [reason]
    return last


@dataclass(frozen=True, slots=True)
class Modality:
    port: int
    ae_title: str = "CT1_SU"
    called: str = "BFR"
    transfer_syntax: str = ExplicitVRLittleEndian

    @contextmanager
    def associated(self) -> Iterator[Association]:
        entity = AE(self.ae_title)
        for sop_class in (
            ModalityWorklistInformationFind,
            ModalityPerformedProcedureStep,
            ModalityPerformedProcedureStepRetrieve,
        ):
            entity.add_requested_context(sop_class, self.transfer_syntax)
        association = entity.associate("127.0.0.1", self.port, ae_title=self.called)
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    def worklist(self, query: Dataset | None = None, **keys: str) -> list[Dataset]:
        items = []
        with self.associated() as association:
            asked = query or a_query(**keys)
            for status, item in association.send_c_find(asked, ModalityWorklistInformationFind):
                if status.Status in PENDING:
                    assert item is not None
                    items.append(item)
                else:
                    assert status.Status == 0x0000, hex(status.Status)
        return items

    def create(self, step: Dataset, sop_instance_uid: str | None = None) -> Dataset:
        """The status."""
        with self.associated() as association:
            status, _ = association.send_n_create(
                step, ModalityPerformedProcedureStep, sop_instance_uid
            )
        return status

    def set(self, modifications: Dataset, sop_instance_uid: str) -> Dataset:
        """The status."""
        with self.associated() as association:
            status, _ = association.send_n_set(
                modifications, ModalityPerformedProcedureStep, sop_instance_uid
            )
        return status

    def get(self, sop_instance_uid: str, *tags: int) -> tuple[Dataset, Dataset | None]:
        with self.associated() as association:
            return association.send_n_get(
                [Tag(tag) for tag in tags], ModalityPerformedProcedureStepRetrieve, sop_instance_uid
            )
