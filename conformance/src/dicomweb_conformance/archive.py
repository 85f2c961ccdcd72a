"""Brings the fixtures to the server before the cases run, and takes them away afterwards."""

import asyncio
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from dicomweb_conformance import dicom_json, multipart, synthetic
from dicomweb_conformance.fixtures import Fixture, Instance, Study, Uids, studies_of
from dicomweb_conformance.media_types import DICOM, DICOM_JSON
from dicomweb_conformance.target import Target, Unreachable
from dicomweb_conformance.verdicts import Unmet, Violated

# A server may answer before it can find what it was given.
SETTLE_S: Final = 10.0
_POLL_S: Final = 0.25


async def store(target: Target, fixtures: Iterable[Fixture], uids: Uids) -> None:
    """Stores the fixtures with STOW-RS; what could not be stored is known with its reason."""
    by_study: dict[str, list[Study] | str] = {}
    for fixture in sorted(set(fixtures), key=lambda each: int(each.name[1:])):
        files, studies, own_values = _made(fixture, uids)
        if studies[0].uid not in by_study:
            target.shown.add_own(own_values)
            target.shown.names |= _names(fixture, studies)
            by_study[studies[0].uid] = await _stored(target, files, studies)
        target.held[fixture] = by_study[studies[0].uid]


@cache
def _made(
    fixture: Fixture, uids: Uids
) -> tuple[list[tuple[str, bytes]], list[Study], frozenset[str]]:
    """The files, the studies that they make up, and the values that may be shown of them."""
    files = synthetic.files(fixture, uids)
    studies = studies_of(files)
    return files, studies, frozenset().union(*map(_own_values, studies))


async def _stored(
    target: Target, files: list[tuple[str, bytes]], studies: list[Study]
) -> list[Study] | str:
    content_type, payload = multipart.write(
        [({"Content-Type": "application/dicom"}, file) for _, file in files],
        root_type="application/dicom",
    )
    for study in studies:
        target.may_delete.add(study.path)
    try:
        answer = await target.post("/studies", payload, content_type=content_type)
        if answer.status not in (200, 202):
            return f"could not be stored: POST /studies answered {answer.status}"
        await _settle(target, studies[-1])
    except (Violated, Unmet) as error:
        return f"could not be stored: {error}"
    return studies


async def _settle(target: Target, study: Study) -> None:
    """Waits until what was stored is found, as long as that may fairly take."""
    deadline = time.monotonic() + SETTLE_S
    while not await _is_there(target, study.first):
        if time.monotonic() > deadline:
            raise Unmet(f"stored, but not found within {SETTLE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


async def _is_there(target: Target, instance: Instance) -> bool:
    """By its metadata or by itself: there may be a server that sends one of them only."""
    for path, accept in ((f"{instance.path}/metadata", DICOM_JSON), (instance.path, DICOM)):
        if (await target.get(path, accept=accept)).status not in (404, 503):
            return True
    return False


def _names(fixture: Fixture, studies: list[Study]) -> dict[str, str]:
    """What messages call the UIDs: /studies/{F1}/series/{CT}/instances/{slice 1}."""
    made = {}
    for study in studies:
        made[study.uid] = f"{{{fixture.name}}}"
        for instance in study:
            made[instance.series_uid] = f"{{{instance.modality}}}"
            made[instance.sop_instance_uid] = f"{{{instance.name}}}"
    return made


def _own_values(study: Study) -> set[str]:
    """Every text and number in the study's objects: what the report may show."""
    found: set[str] = {study.uid}
    for instance in study:
        dataset = instance.original
        dataset.PixelData = b""
        for element in dataset.iterall():
            if element.VR == "SQ" or element.VR in ("OB", "OW", "UN", "OF"):
                continue
            values = element.value if element.VM > 1 else [element.value]
            found |= {str(value) for value in values}
            if element.VR == "PN":
                for name in values:
                    found |= {str(part) for part in name.components}
    return {value for value in found if value}


async def clean_up(target: Target) -> list[str]:
    """Deletes what the run stored; the paths of what remains."""
    paths = sorted(target.may_delete)
    remaining: list[str] = []
    for number, path in enumerate(paths):
        try:
            answer = await target.request("DELETE", path)
            gone = answer.status in (200, 202, 204, 404, 410)
        except (Violated, Unmet):
            gone = False
        except Unreachable:
            return remaining + paths[number:]
        if not gone:
            remaining.append(path)
    return remaining


# The attributes that tell what an existing object is good for.
_SOP_CLASSES: Final = {
    Fixture.F3: {"1.2.840.10008.5.1.4.1.1.66.4"},
    Fixture.F4: {"1.2.840.10008.5.1.4.1.1.104.1"},
    Fixture.F5: {"1.2.840.10008.5.1.4.1.1.9.1.1"},
    Fixture.F6: {"1.2.840.10008.5.1.4.1.1.11.1"},
}
_MODALITIES: Final = {
    Fixture.F1: "CT",
    Fixture.F2: "US",
    Fixture.F3: "SEG",
    Fixture.F4: "DOC",
    Fixture.F5: "ECG",
    Fixture.F6: "PR",
}
_MAX_OF_MODALITY: Final = 10
_MAX_LOOKED_AT: Final = 40
_MAX_INSTANCES: Final = 100


async def find(target: Target, fixtures: Iterable[Fixture]) -> None:
    """Looks for existing studies that can stand in for the fixtures; changes nothing."""
    wanted = set(fixtures)
    for fixture in wanted:
        target.held[fixture] = "no study that would do was found (the run is --read-only)"
    try:
        await _search(target, wanted)
    except (Violated, Unmet) as error:
        for fixture in wanted:
            if not target.has(fixture):
                target.held[fixture] = f"searching for one failed: {error}"


async def _search(target: Target, wanted: set[Fixture]) -> None:
    """By modality where that tells something, then among those that come first."""
    likely = {_MODALITIES[each]: each for each in wanted if each in _MODALITIES}
    looked_at: set[str] = set()
    for query, fixture in [
        *(
            (f"ModalitiesInStudy={name}&limit={_MAX_OF_MODALITY}", one)
            for name, one in likely.items()
        ),
        (f"limit={_MAX_LOOKED_AT}", None),
    ]:
        for found in (await target.get("/studies", query=query)).datasets():
            uid = dicom_json.text(found, "0020000D")
            enough = all(map(target.has, wanted if fixture is None else [fixture]))
            if not enough and uid not in looked_at:
                looked_at.add(uid)
                await _look_at(target, wanted, uid)


async def _look_at(target: Target, wanted: set[Fixture], study_uid: str) -> None:
    found = await target.get(f"/studies/{study_uid}/instances", query=f"limit={_MAX_INSTANCES}")
    rows = found.datasets()
    if not rows or len(rows) == _MAX_INSTANCES:
        return
    from_rows = Study(study_uid, tuple(_instance(study_uid, row) for row in rows))
    metadata = (await target.get(f"{from_rows.first.path}/metadata")).datasets()
    for fixture in wanted:
        is_missing = bool(metadata) and not target.has(fixture)
        if is_missing and _can_stand_in(fixture, from_rows, metadata[0]):
            target.held[fixture] = [from_rows]


def _instance(study_uid: str, row: dict[str, object]) -> Instance:
    return Instance(
        "",
        study_uid,
        dicom_json.text(row, "0020000E"),
        dicom_json.text(row, "00080018"),
        dicom_json.text(row, "00080016"),
        dicom_json.text(row, "00080060"),
    )


def _can_stand_in(fixture: Fixture, study: Study, first: dict[str, object]) -> bool:
    """Is the first instance of the study of the kind that the fixture is?"""
    frames = int(dicom_json.text(first, "00280008") or 1)
    if fixture in _SOP_CLASSES:
        return study.first.sop_class_uid in _SOP_CLASSES[fixture]
    if fixture is Fixture.F1:
        return study.first.modality == "CT" and frames == 1 and len(study.instances) > 1
    if fixture is Fixture.F2:
        return frames > 1 and dicom_json.text(first, "00282110") == "01"
    if fixture is Fixture.F8:
        return frames > 1 and dicom_json.text(first, "00280100") == "16"
    photometric = {Fixture.F10: "PALETTE COLOR", Fixture.F11: "MONOCHROME1"}
    return fixture in photometric and dicom_json.text(first, "00280004") == photometric[fixture]
