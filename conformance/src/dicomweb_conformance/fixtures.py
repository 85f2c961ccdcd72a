"""The objects that cases ask about: what each is for, and where to find it on the server."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

import pydicom
from pydicom.dataset import FileDataset

from dicomweb_conformance.verdicts import Unmet


class Fixture(StrEnum):
    F1 = "CT study: 8 slices, a structured report, a presentation state (UTF-8 names)"
    F2 = "ultrasound multi-frame, RGB, 10 frames, stored as JPEG Baseline (lossy)"
    F3 = "segmentation, 1 bit, 5 frames of 7 x 5 pixels"
    F4 = "encapsulated PDF"
    F5 = "12-lead ECG waveform"
    F6 = "presentation state in the study of F1, referring to slice 1"
    F7 = "CT slice stored as RLE Lossless"
    F8 = "multi-frame of 3 frames, 16 bit, uncompressed"
    F9 = "kitchen sink: private block, empty values and items, every uncommon VR"
    F10 = "PALETTE COLOR image"
    F11 = "MONOCHROME1 image with an icon"
    F12 = "study without a date, of a patient who differs from F1's in case and accents"
    F13 = "30 tiny studies of the patient PAGE"
    F14 = "PET-CT of two series"
    F15 = "study that cases may delete"


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs of a run: the same run id gives the same UIDs (2.25., PS3.5 section B.2)."""

    run_id: str

    def __call__(self, name: str) -> str:
        digest = hashlib.sha256(f"{self.run_id}/{name}".encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16])}"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance on the server. `file` is None where the suite did not store it itself."""

    name: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    file: bytes | None = None  # as it was sent (PS3.10)

    @property
    def path(self) -> str:
        return f"{self.series_path}/instances/{self.sop_instance_uid}"

    @property
    def series_path(self) -> str:
        return f"/studies/{self.study_uid}/series/{self.series_uid}"

    @property
    def original(self) -> FileDataset:
        """What was stored. Raises Unmet where the suite did not store it itself."""
        if self.file is None:
            raise Unmet("the suite stored nothing, so it does not know what the answer should hold")
        return pydicom.dcmread(BytesIO(self.file))


@dataclass(frozen=True, slots=True)
class Study:
    uid: str
    instances: tuple[Instance, ...]

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    @property
    def path(self) -> str:
        return f"/studies/{self.uid}"

    def series(self, modality: str) -> tuple[Instance, ...]:
        """The instances of the first series of that modality. Raises Unmet if there is none."""
        of_it = [each for each in self.instances if each.modality == modality]
        if not of_it:
            raise Unmet(f"the study has no {modality} series")
        return tuple(each for each in of_it if each.series_uid == of_it[0].series_uid)

    def instance(self, name: str) -> Instance:
        """Raises Unmet where the suite did not store an instance of that name."""
        for each in self.instances:
            if each.name == name:
                return each
        raise Unmet(f"there is no instance {name} that the suite stored itself")

    @property
    def first(self) -> Instance:
        return self.instances[0]


def studies_of(files: list[tuple[str, bytes]]) -> list[Study]:
    """The studies that named PS3.10 files make up, in the order of their first file."""
    grouped: dict[str, list[Instance]] = {}
    for name, file in files:
        dataset = pydicom.dcmread(BytesIO(file), stop_before_pixels=True)
        instance = Instance(
            name,
            str(dataset.StudyInstanceUID),
            str(dataset.SeriesInstanceUID),
            str(dataset.SOPInstanceUID),
            str(dataset.SOPClassUID),
            str(dataset.Modality),
            file,
        )
        grouped.setdefault(instance.study_uid, []).append(instance)
    return [Study(uid, tuple(instances)) for uid, instances in grouped.items()]
