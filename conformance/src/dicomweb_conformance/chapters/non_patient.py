"""NPI: instances that belong to no patient (chapter 12): colour palettes, hanging protocols."""

import asyncio
import uuid
from io import BytesIO
from typing import Final

import pydicom
from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomweb_conformance import dicom_json, native_xml, part10, synthetic
from dicomweb_conformance.archive import SETTLE_S
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.media_types import DICOM_JSON, DICOM_XML
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, Unmet, Violated, expect, need
from dicomweb_conformance.workitems import new_uid, require_known, require_operation

_NEEDS: Final = (Feature.NON_PATIENT, Feature.WRITING)
_PALETTES: Final = "/color-palettes"
_PROTOCOLS: Final = "/hanging-protocols"
_COLOR_PALETTE: Final = UID("1.2.840.10008.5.1.4.39.1")
_HANGING_PROTOCOL: Final = UID("1.2.840.10008.5.1.4.38.1")
_FILE: Final = "application/dicom"
_POLL_S: Final = 0.25


def _new_label(target: Target) -> str:
    """A value of ours alone, for a search that finds nothing else."""
    made = f"CONF{uuid.uuid4().hex[:10].upper()}"
    target.shown.add_own([made])
    return made


def _new_object(target: Target, sop_class: UID) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = sop_class, new_uid(target, "instance")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.Manufacturer = "dicomweb-conformance"
    made.ManufacturerModelName = "dicomweb-conformance"
    made.DeviceSerialNumber, made.SoftwareVersions = "1", "1"
    return made


def _palette(target: Target, label: str) -> Dataset:
    made = _new_object(target, _COLOR_PALETTE)
    made.ContentLabel, made.ContentDescription = label, "Conformance check"
    made.ContentCreatorName = "Conformance^Suite"
    made.PaletteColorLookupTableUID = new_uid(target, "lookup table")
    for colour in ("Red", "Green", "Blue"):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(made, f"{colour}PaletteColorLookupTableData", bytes(range(256)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made.ICCProfile = profile + b"\0" * (len(profile) % 2)
    return made


def _protocol(target: Target, name: str) -> Dataset:
    made = _new_object(target, _HANGING_PROTOCOL)
    made.HangingProtocolName, made.HangingProtocolDescription = name, "Conformance check"
    made.HangingProtocolLevel, made.HangingProtocolCreator = "SITE", "Conformance"
    made.HangingProtocolCreationDateTime = "20240105120000"
    definition = Dataset()
    definition.Modality, definition.Laterality = "CT", None
    definition.ProcedureCodeSequence = Sequence()
    definition.ReasonForRequestedProcedureCodeSequence = Sequence()
    made.HangingProtocolDefinitionSequence = Sequence([definition])
    made.NumberOfPriorsReferenced = 0
    made.HangingProtocolUserIdentificationCodeSequence = Sequence()
    selector, image_set, time = Dataset(), Dataset(), Dataset()
    selector.ImageSetSelectorUsageFlag, selector.SelectorAttribute = "NO_MATCH", 0x00080060
    selector.SelectorAttributeVR, selector.SelectorCSValue = "CS", "CT"
    selector.SelectorValueNumber = 1
    time.ImageSetNumber, time.ImageSetSelectorCategory = 1, "RELATIVE_TIME"
    time.RelativeTime, time.RelativeTimeUnits = [0, 0], "SECONDS"
    image_set.ImageSetSelectorSequence = Sequence([selector])
    image_set.TimeBasedImageSetsSequence = Sequence([time])
    made.ImageSetsSequence = Sequence([image_set])
    made.NominalScreenDefinitionSequence = Sequence()
    made.DisplaySetsSequence, made.PartialDataDisplayHandling = Sequence(), None
    return made


def _file(made: Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()


async def _post(target: Target, path: str, made: Dataset) -> Response:
    """The report of the run names it where the server has no way to delete it."""
    category = "/" + path.split("/")[1]
    require_operation(target, "POST", category[1:])
    answer = await target.post(path, _file(made), content_type=_FILE)
    require_known(target, answer)
    if answer.status < 300:
        target.may_delete.add(f"{category}/{made.SOPInstanceUID}")
    return answer


async def _need_stored(target: Target, category: str, made: Dataset) -> str:
    """Its path. Raises Unmet: it cannot be stored, or not found in time."""
    answer = await _post(target, category, made)
    need(answer.status in (200, 202), f"{answer.asked}: {answer.status}, nothing is stored")
    path = f"{category}/{made.SOPInstanceUID}"
    for _ in range(int(SETTLE_S / _POLL_S)):
        if (await target.get(path)).status != 404:
            return path
        await asyncio.sleep(_POLL_S)
    raise Unmet("it was stored and is not found")


@case(
    "NPI-01",
    section="12.5.1, 12.5.3.1",
    level=Level.SHALL,
    requirement="Where storing is offered, an instance of the category is stored.",
    request="POST {b}/color-palettes with a Color Palette, Content-Type: application/dicom",
    expected="200 or 202",
    needs=_NEEDS,
)
async def non_patient_instance_is_stored(target: Target) -> None:
    answer = await _post(target, _PALETTES, _palette(target, _new_label(target)))
    answer.expect_status(200, 202)


@case(
    "NPI-02",
    section="12.4.1, 12.1.3",
    level=Level.SHALL,
    requirement="An instance is retrieved as a file, in DICOM JSON and in DICOM XML.",
    request="GET {b}/color-palettes/{uid}, Accept: application/dicom; JSON; XML",
    expected="200 each, of the instance that was stored",
    needs=_NEEDS,
)
async def non_patient_instance_is_retrieved_in_three_media_types(target: Target) -> None:
    made = _palette(target, _new_label(target))
    path = await _need_stored(target, _PALETTES, made)
    as_file = await target.get(path, accept=_FILE)
    as_file.expect_status(200)
    as_file.expect_media_type(_FILE)
    try:
        found = part10.read(as_file.content)
    except part10.NotReadable as error:
        raise Violated(f"{as_file.asked}: {error}") from None
    expect(found.sop_instance_uid == made.SOPInstanceUID, "the file is of another instance")
    rows = (await target.get(path, accept=DICOM_JSON)).datasets()
    uids = [dicom_json.text(row, "00080018") for row in rows]
    expect(uids == [made.SOPInstanceUID], "DICOM JSON is not of the one instance")
    documents = (await target.get(path, accept=DICOM_XML)).xml_documents()
    uids = [dicom_json.text(native_xml.to_json(each), "00080018") for each in documents]
    expect(uids == [made.SOPInstanceUID], "DICOM XML is not of the one instance")


@case(
    "NPI-03",
    section="12.4.3.1",
    level=Level.SHALL,
    requirement="An instance or a category that the server does not know is 404.",
    request="GET {b}/color-palettes/{a UID that nothing has}; GET {b}/no-such-category/{uid}",
    expected="404 each",
    needs=_NEEDS,
)
async def unknown_non_patient_instance_is_404(target: Target) -> None:
    made = _palette(target, _new_label(target))
    path = await _need_stored(target, _PALETTES, made)
    answer = await target.get(path)
    need(answer.status == 200, f"{answer.asked}: {answer.status}")
    (await target.get(f"{_PALETTES}/{new_uid(target, 'unknown')}")).expect_status(404)
    (await target.get(f"/no-such-category/{made.SOPInstanceUID}")).expect_status(404)


@case(
    "NPI-04",
    section="12.6.1, 12.6.2, PS3.4 X.6",
    level=Level.SHALL,
    requirement="A search of colour palettes matches the Content Label and returns what is required"
    " of the category.",
    request="GET {b}/color-palettes?ContentLabel={own}",
    expected="200; SOP Class and Instance UID, Content Label, Description, Creator's Name; only it",
    needs=_NEEDS,
)
async def palette_is_found_by_its_label(target: Target) -> None:
    require_operation(target, "GET", _PALETTES[1:])
    label, other = _new_label(target), _new_label(target)
    made, another = _palette(target, label), _palette(target, other)
    await _need_stored(target, _PALETTES, another)
    await _need_stored(target, _PALETTES, made)
    answer = await target.get(_PALETTES, query=f"ContentLabel={label}")
    rows = answer.datasets()
    found = [dicom_json.text(row, "00080018") for row in rows]
    expect(found == [made.SOPInstanceUID], f"{answer.asked}: not the one palette of that label")
    wanted = ("00080016", "00700080", "00700081", "00700084")
    missing = [tag for tag in wanted if tag not in rows[0]]
    expect(not missing, f"{answer.asked}: not returned: {', '.join(missing)}")
    nothing = await target.get(_PALETTES, query=f"ContentLabel={_new_label(target)}")
    target.expect_no_results(nothing)


@case(
    "NPI-05",
    section="12.4.3.1, 8.7.8.1",
    level=Level.SHALL,
    requirement="An instance in a media type that is not supported is 406.",
    request="GET {b}/color-palettes/{uid}, Accept: image/jpeg",
    expected="406",
    needs=_NEEDS,
)
async def non_patient_instance_as_a_picture_is_406(target: Target) -> None:
    path = await _need_stored(target, _PALETTES, _palette(target, _new_label(target)))
    answer = await target.get(path)
    need(answer.status == 200, f"{answer.asked}: {answer.status}")
    (await target.get(path, accept="image/jpeg")).expect_status(406)


@case(
    "NPI-06",
    section="12.5.3.1",
    level=Level.SHALL,
    requirement="An instance of another kind is not stored in a category.",
    request="POST {b}/color-palettes with a CT image",
    expected="400 or 409; it cannot be retrieved there",
    needs=_NEEDS,
)
async def image_is_no_color_palette(target: Target) -> None:
    await _need_stored(target, _PALETTES, _palette(target, _new_label(target)))
    _, file = synthetic.files(Fixture.F15, Uids(new_uid(target, "image")))[0]
    image = pydicom.dcmread(BytesIO(file))
    target.shown.add_own([image.SOPInstanceUID, image.StudyInstanceUID])
    target.shown.names[image.SOPInstanceUID] = "{image}"
    answer = await _post(target, _PALETTES, image)
    if answer.status < 300:
        target.may_delete.add(f"/studies/{image.StudyInstanceUID}")
    answer.expect_status(400, 409)
    (await target.get(f"{_PALETTES}/{image.SOPInstanceUID}")).expect_status(404)


@case(
    "NPI-07",
    section="12.5.1.1, 12.5.3.1",
    level=Level.SHALL,
    requirement="An instance that is stored at a UID has that UID.",
    request="POST {b}/color-palettes/{another UID} with a Color Palette",
    expected="409 or 400; it cannot be retrieved",
    needs=_NEEDS,
)
async def instance_of_another_uid_is_refused(target: Target) -> None:
    require_operation(target, "POST", "color-palettes/{}")
    right = _palette(target, _new_label(target))
    answer = await _post(target, f"{_PALETTES}/{right.SOPInstanceUID}", right)
    need(answer.status in (200, 202), f"{answer.asked}: {answer.status}, with its own UID")
    other = new_uid(target, "another")
    wrong = _palette(target, _new_label(target))
    (await _post(target, f"{_PALETTES}/{other}", wrong)).expect_status(409, 400)
    for uid in (other, wrong.SOPInstanceUID):
        (await target.get(f"{_PALETTES}/{uid}")).expect_status(404)


@case(
    "NPI-08",
    section="12.6.2, PS3.4 U.6",
    level=Level.SHALL,
    requirement="A search of hanging protocols matches keys of their definition.",
    request="GET {b}/hanging-protocols?HangingProtocolName={own}"
    "&HangingProtocolDefinitionSequence.Modality=CT; =MR",
    expected="200 with the protocol; 204, or 200 with an empty payload",
    needs=_NEEDS,
)
async def hanging_protocol_is_found_by_its_definition(target: Target) -> None:
    name = _new_label(target)
    made = _protocol(target, name)
    await _need_stored(target, _PROTOCOLS, made)
    key = f"HangingProtocolName={name}&HangingProtocolDefinitionSequence.Modality"
    answer = await target.get(_PROTOCOLS, query=f"{key}=CT")
    found = [dicom_json.text(row, "00080018") for row in answer.datasets()]
    expect(found == [made.SOPInstanceUID], f"{answer.asked}: not the one protocol for CT")
    target.expect_no_results(await target.get(_PROTOCOLS, query=f"{key}=MR"))
