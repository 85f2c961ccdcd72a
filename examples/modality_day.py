"""A modality's day: worklist, procedure step, images, commitment, and the priors for comparison.

    python examples/modality_day.py --dimse 127.0.0.1:11112 --mllp 127.0.0.1:2575

First a RIS orders an examination by HL7 v2, so that there is something on the worklist, and last
year's images are stored, so that there is a prior. Everything after that is what a modality does,
with pynetdicom. The person is invented; the identity number is a published test number. Exits with
1 when the archive refuses something.
"""

import argparse
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when it is imported
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

PATIENT_ID = "191212121212"
PATIENT_NAME = "Tolvansson^Tolvan"
OID = "1.2.752.129.2.1.3.1"
STATION = "CT1_SU"
IMAGES = 5
START, END = b"\x0b", b"\x1c\r"
PENDING = (0xFF00, 0xFF01)


class Refused(Exception):
    """The archive did not do what it was asked; the text says what."""


# --- the RIS ------------------------------------------------------------------------------------


def order(accession: str, study_uid: str, at: datetime) -> bytes:
    """An examination that is scheduled now (HL7 v2 OMI^O23)."""
    now = at.strftime("%Y%m%d%H%M%S")
    kind = "OMI^O23^OMI_O23"
    lines = [
        f"MSH|^~\\&|RIS|RADIOLOGY|BFR|VGR|{now}||{kind}|{accession}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|||{PATIENT_ID}^^^&{OID}&ISO^NNSWE||{PATIENT_NAME}||19121212|M",
        f"ORC|SC|P{accession}|{accession}|G{accession}|SC||||{now}",
        f"TQ1|1||||||{now}||R^Rutin",
        f"OBR|1|P{accession}|{accession}|83300^CT Thorax{'|' * 14}{accession}||||{now}||CT|S",
        f"IPC|{accession}|RP{accession}|{study_uid}|SPS{accession}|CT|83300^CT Thorax|||{STATION}",
    ]
    return "".join(line + "\r" for line in lines).encode()


def tell(address: str, message: bytes) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(START + message + END)
        answer = b""
        while END not in answer:
            piece = connection.recv(65536)
            if not piece:
                raise Refused("the archive closed the connection")
            answer += piece
    if b"\rMSA|AA|" not in answer:
        raise Refused("the order was not accepted")


# --- the modality -------------------------------------------------------------------------------


class Modality:
    def __init__(self, address: str, called: str) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port, self.called = host, int(port), called

    @contextmanager
    def associated(self, *sop_classes: str, roles=(), handlers=()) -> Iterator[Association]:  # type: ignore[no-untyped-def]
        entity = AE(STATION)
        for sop_class in sop_classes:
            entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        association = entity.associate(
            self.host,
            self.port,
            ae_title=self.called,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
        )
        if not association.is_established:
            raise Refused(f"no association with {self.called} at {self.host}:{self.port}")
        try:
            yield association
        finally:
            association.release()

    def worklist(self, accession: str) -> Dataset:
        """The entry of the examination (C-FIND)."""
        wanted, step = Dataset(), Dataset()
        step.ScheduledStationAETitle = STATION
        step.Modality = "CT"
        step.ScheduledProcedureStepStartDate = step.ScheduledProcedureStepStartTime = ""
        step.ScheduledProcedureStepDescription = step.ScheduledProcedureStepID = ""
        wanted.ScheduledProcedureStepSequence = [step]
        wanted.AccessionNumber = accession
        wanted.PatientName = wanted.PatientID = wanted.PatientBirthDate = wanted.PatientSex = ""
        wanted.StudyInstanceUID = wanted.RequestedProcedureID = ""
        wanted.RequestedProcedureDescription = ""
        with self.associated(ModalityWorklistInformationFind) as association:
            answers = association.send_c_find(wanted, ModalityWorklistInformationFind)
            found = [item for status, item in answers if status.Status in PENDING and item]
        if len(found) != 1:
            raise Refused(f"{len(found)} entries on the worklist")
        return found[0]

    def begin(self, item: Dataset, at: datetime) -> str:
        """Tell that the procedure step is in progress (N-CREATE); gives its UID."""
        scheduled = item.ScheduledProcedureStepSequence[0]
        reference = Dataset()
        reference.StudyInstanceUID = item.StudyInstanceUID
        reference.ReferencedStudySequence = []
        reference.AccessionNumber = item.AccessionNumber
        reference.RequestedProcedureID = item.RequestedProcedureID
        reference.RequestedProcedureDescription = item.RequestedProcedureDescription
        reference.ScheduledProcedureStepID = scheduled.ScheduledProcedureStepID
        reference.ScheduledProcedureStepDescription = scheduled.ScheduledProcedureStepDescription
        reference.ScheduledProtocolCodeSequence = []
        step = Dataset()
        step.ScheduledStepAttributesSequence = [reference]
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            setattr(step, keyword, item[keyword].value)
        step.ReferencedPatientSequence = []
        step.PerformedProcedureStepID = f"PPS{item.AccessionNumber}"
        step.PerformedStationAETitle = step.PerformedStationName = STATION
        step.PerformedLocation = ""
        step.PerformedProcedureStepStartDate = at.strftime("%Y%m%d")
        step.PerformedProcedureStepStartTime = at.strftime("%H%M%S")
        step.PerformedProcedureStepStatus = "IN PROGRESS"
        step.PerformedProcedureStepDescription = "CT Thorax"
        step.PerformedProcedureTypeDescription = ""
        step.ProcedureCodeSequence = []
        step.PerformedProcedureStepEndDate = step.PerformedProcedureStepEndTime = ""
        step.Modality = "CT"
        step.StudyID = ""
        step.PerformedProtocolCodeSequence = step.PerformedSeriesSequence = []
        uid = str(generate_uid(prefix="2.25."))
        with self.associated(ModalityPerformedProcedureStep) as association:
            status, _ = association.send_n_create(step, ModalityPerformedProcedureStep, uid)
        require(status, "the procedure step was not created")
        return uid

    def complete(self, step_uid: str, images: list[Dataset], at: datetime) -> None:
        """Tell that the procedure step is completed, and with which images (N-SET)."""
        series = Dataset()
        series.PerformingPhysicianName = series.OperatorsName = ""
        series.ProtocolName = "Thorax"
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.SeriesDescription = ""
        series.RetrieveAETitle = self.called
        series.ReferencedImageSequence = [reference_to(image) for image in images]
        series.ReferencedNonImageCompositeSOPInstanceSequence = []
        last = Dataset()
        last.PerformedProcedureStepStatus = "COMPLETED"
        last.PerformedProcedureStepEndDate = at.strftime("%Y%m%d")
        last.PerformedProcedureStepEndTime = at.strftime("%H%M%S")
        last.PerformedSeriesSequence = [series]
        with self.associated(ModalityPerformedProcedureStep) as association:
            status, _ = association.send_n_set(last, ModalityPerformedProcedureStep, step_uid)
        require(status, "the procedure step was not completed")

    def store(self, images: list[Dataset]) -> None:
        """C-STORE, all on one association."""
        with self.associated(CTImageStorage) as association:
            for image in images:
                require(association.send_c_store(image), "an image was not stored")

    def commit(self, images: list[Dataset]) -> int:
        """Ask the archive to keep the images (N-ACTION); gives how many it promises to keep."""
        told: list[Dataset] = []

        def hear(event: evt.Event) -> tuple[int, None]:
            told.append(event.event_information)
            return 0x0000, None

        asked = Dataset()
        asked.TransactionUID = str(generate_uid(prefix="2.25."))
        asked.ReferencedSOPSequence = [reference_to(image) for image in images]
        handlers = [(evt.EVT_N_EVENT_REPORT, hear)]
        with self.associated(StorageCommitmentPushModel, handlers=handlers) as association:
            status, _ = association.send_n_action(
                asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
            require(status, "the commitment was not taken up")
            deadline = time.monotonic() + 30
            while not told:
                if time.monotonic() > deadline:
                    raise Refused("the commitment was not answered")
                time.sleep(0.05)
        return len(told[0].get("ReferencedSOPSequence") or ())

    def priors(self, patient_id: str, besides: str) -> list[str]:
        """Earlier studies of the patient, the newest first (C-FIND)."""
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.PatientID = patient_id
        wanted.ModalitiesInStudy = "CT"
        wanted.StudyDate = wanted.StudyInstanceUID = ""
        model = StudyRootQueryRetrieveInformationModelFind
        with self.associated(model) as association:
            answers = association.send_c_find(wanted, model)
            found = [item for status, item in answers if status.Status in PENDING and item]
        found.sort(key=lambda item: item.StudyDate, reverse=True)
        return [item.StudyInstanceUID for item in found if item.StudyInstanceUID != besides]

    def fetch(self, study_uid: str) -> list[Dataset]:
        """The images of a study (C-GET)."""
        images: list[Dataset] = []

        def take(event: evt.Event) -> int:
            images.append(event.dataset)
            return 0x0000

        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = study_uid
        model = StudyRootQueryRetrieveInformationModelGet
        with self.associated(
            model,
            CTImageStorage,
            roles=[build_role(CTImageStorage, scp_role=True)],
            handlers=[(evt.EVT_C_STORE, take)],
        ) as association:
            for status, _ in association.send_c_get(wanted, model):
                if status.get("Status") not in (*PENDING, 0x0000):
                    raise Refused("the prior was not sent")
        return images


def require(status: Dataset, otherwise: str) -> None:
    if status.get("Status") != 0x0000:
        raise Refused(f"{otherwise}: {status.get('ErrorComment') or status.get('Status')}")


def reference_to(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return reference


def ct_images(study_uid: str, accession: str, at: datetime, step_uid: str = "") -> list[Dataset]:
    """A small series."""
    series_uid = generate_uid(prefix="2.25.")
    images = []
    for number in range(1, IMAGES + 1):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = generate_uid(prefix="2.25.")
        image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
        image.PatientName, image.PatientID = PATIENT_NAME, PATIENT_ID
        image.PatientBirthDate, image.PatientSex = "19121212", "M"
        image.StudyDate, image.StudyTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
        image.AccessionNumber, image.StudyID = accession, "1"
        image.StudyDescription = "CT Thorax"
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, number
        if step_uid:
            step = Dataset()
            step.ReferencedSOPClassUID = ModalityPerformedProcedureStep
            step.ReferencedSOPInstanceUID = step_uid
            image.ReferencedPerformedProcedureStepSequence = [step]
        image.Rows = image.Columns = 64
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelRepresentation = 0
        image.PixelData = bytes(64 * 64 * 2)
        images.append(image)
    return images


def day(modality: Modality, mllp: str) -> None:
    now = datetime.now().astimezone()
    accession = f"{time.time_ns() // 1_000_000:x}"[-10:].upper()
    tell(mllp, order(accession, str(generate_uid(prefix="2.25.")), now))
    last_year = now - timedelta(days=365)
    modality.store(ct_images(generate_uid(prefix="2.25."), "", last_year))

    item = modality.worklist(accession)
    print(f"worklist:   {item.AccessionNumber} for {STATION}")
    step_uid = modality.begin(item, now)
    print("step:       in progress")
    images = ct_images(item.StudyInstanceUID, accession, now, step_uid)
    modality.store(images)
    print(f"stored:     {len(images)} images")
    modality.complete(step_uid, images, now + timedelta(minutes=10))
    print("step:       completed")
    print(f"committed:  {modality.commit(images)} of {len(images)} images")
    prior, *_ = modality.priors(item.PatientID, besides=item.StudyInstanceUID)
    print(f"prior:      {len(modality.fetch(prior))} images fetched")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimse", default="127.0.0.1:11112", help="HOST:PORT of the archive")
    parser.add_argument("--aet", default="BFR", help="AE title of the archive")
    parser.add_argument("--mllp", default="127.0.0.1:2575", help="HOST:PORT for HL7 v2")
    chosen = parser.parse_args()
    try:
        day(Modality(chosen.dimse, chosen.aet), chosen.mllp)
    except (Refused, OSError) as error:
        print(f"modality_day: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
