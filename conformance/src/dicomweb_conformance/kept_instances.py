"""What a server gives back of the instances that were stored."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomweb_conformance import archive, part10
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Instance
from dicomweb_conformance.media_types import DICOM
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import expect

KEEP: Final = (Feature.STORE, Feature.RETRIEVE, Feature.WRITING)
_POLL_S: Final = 0.25


async def get_when_there(target: Target, path: str, accept: str) -> Response:
    """Waits as long as a server may fairly take to find what it was given."""
    deadline = time.monotonic() + archive.SETTLE_S
    while True:
        answer = await target.get(path, accept=accept)
        if answer.status not in (404, 503) or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(_POLL_S)


async def kept_file(target: Target, instance: Instance, *, accept: str = DICOM) -> part10.File:
    """The instance as the server gives it back. Raises Violated."""
    answer = await get_when_there(target, instance.path, accept)
    files = answer.files()
    expect(len(files) == 1, f"{answer.asked}: {len(files)} files of one instance")
    return files[0]


def differences(sent: Dataset, kept: Dataset) -> list[str]:
    """What was changed or left out; a server may add attributes.

    Decimal strings are compared as numbers: DICOM JSON may have made 5.0 of 5.
    """
    for dataset in (sent, kept):
        for element in dataset.iterall():
            if element.VR == "DS" and not element.is_empty:
                _as_numbers(element)
    return [each for each in part10.differences(sent, kept) if not each.endswith("was added")]


def _as_numbers(element: DataElement) -> None:
    """What is no number, as a server may send it, stays as it is."""
    values = element.value if element.VM > 1 else [element.value]
    with suppress(ValueError, TypeError):
        element.value = [str(float(each)) for each in values]


async def expect_kept(target: Target, *instances: Instance, accept: str = DICOM) -> None:
    """The server gives back what was stored, but for what it may correct."""
    for instance in instances:
        file, original = await kept_file(target, instance, accept=accept), instance.original
        kept = file.dataset
        found = differences(original, kept)
        if found and kept.get("OriginalAttributesSequence"):
            target.note(f"coerced, as (0400,0561) says: {'; '.join(found)}")
        else:
            expect(not found, f"{instance.name} is stored, but otherwise: {'; '.join(found)}")
        same = part10.bytes_of(kept, "PixelData") == bytes(original.get("PixelData", b""))
        expect(same, f"stored, but {instance.name} comes back with other pixels")


async def expect_not_kept(target: Target, *instances: Instance) -> None:
    for instance in instances:
        answer = await target.get(instance.path, accept=DICOM)
        held = answer.status in (404, 410)
        words = f"the answer says that {instance.name} is not stored"
        expect(held, f"{words}, but {answer.asked} is {answer.status}")
