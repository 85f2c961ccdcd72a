"""Instance Availability Notification (PS3.4 Annex R), of which this archive is the SCU."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from bfr_dicomweb.dicom.attributes import first_text
from bfr_dicomweb.services import availability, retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.availability import Available, Notice

NOTIFICATION: Final = "1.2.840.10008.5.1.4.33"
ONLINE: Final = "ONLINE"
_PERFORMED_STEPS: Final = "00081111"
_SOP_CLASS: Final = "00081150"
_SOP_INSTANCE: Final = "00081155"

# SOP class and instance of a performed procedure step.
Step = tuple[str, str]


async def notification_of(archive: Archive, notice: Notice, ae_title: str) -> Dataset:
    """What a peer is told of a study as it is now.

    Args:
        ae_title: From which the instances can be retrieved.

    Raises:
        NotFound: the study is no longer here.
    """
    found = await availability.available(archive, notice.study_instance_uid)
    steps: dict[Step, None] = {}
    for instances in found.series.values():
        attributes = await retrieve.attributes(archive, instances[0])
        steps.update(dict.fromkeys(_steps(attributes)))
    return attribute_list(found, steps, ae_title)


def attribute_list(found: Available, steps: Iterable[Step], ae_title: str) -> Dataset:
    """The Attribute List of N-CREATE (PS3.4 Table R.3.2-1)."""
    made = Dataset()
    made.ReferencedPerformedProcedureStepSequence = [_step(*step) for step in steps]
    made.StudyInstanceUID = found.study_instance_uid
    made.ReferencedSeriesSequence = []
    for series_instance_uid, instances in found.series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_instance_uid
        series.ReferencedSOPSequence = []
        for stored in instances:
            item = Dataset()
            item.ReferencedSOPClassUID = stored.sop_class_uid
            item.ReferencedSOPInstanceUID = stored.sop_instance_uid
            item.InstanceAvailability = ONLINE
            item.RetrieveAETitle = ae_title
            series.ReferencedSOPSequence.append(item)
        made.ReferencedSeriesSequence.append(series)
    return made


def sop_instance_uid(notice: Notice) -> str:
    """Of the notification: the same whenever the same is told again."""
    told = [notice.peer, notice.study_instance_uid, str(notice.number)]
    return str(generate_uid(prefix="2.25.", entropy_srcs=told))


def _steps(attributes: Mapping[str, Any]) -> Iterable[Step]:
    """The performed procedure steps to which an instance says that it belongs."""
    for item in attributes.get(_PERFORMED_STEPS, {}).get("Value", ()):
        step = first_text(item, _SOP_CLASS), first_text(item, _SOP_INSTANCE)
        if all(step):
            yield step


def _step(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    item.PerformedWorkitemCodeSequence = []
    return item
