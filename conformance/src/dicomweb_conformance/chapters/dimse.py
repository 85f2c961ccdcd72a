"""DIM: verification, storage, query, retrieval, commitment and worklist by DIMSE (PS3.4, PS3.7).

For servers whose --dimse is given. A SOP class that the server does not accept is not applicable.
"""

from io import BytesIO
from typing import Final

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items

from dicomweb_conformance import synthetic
from dicomweb_conformance.associations import SUCCESS, Context, Dialogue, Found, Retrieved, talk
from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture, Uids
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

VERIFICATION: Final = "1.2.840.10008.1.1"
CT_STORAGE: Final = str(uid.CTImageStorage)
PATIENT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
COMMITMENT: Final = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
WORKLIST: Final = "1.2.840.10008.5.1.4.31"
IMPLICIT: Final = str(uid.ImplicitVRLittleEndian)
EXPLICIT: Final = str(uid.ExplicitVRLittleEndian)
# One that nobody has registered.
NONSENSE: Final = "2.25.226883472098914271932361337016246187564"
_CT: Final = (Fixture.F1, Feature.DIMSE)


def keys(level: str, **more: object) -> Dataset:
    """An identifier: the attributes by keyword, None for what is to be returned."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.QueryRetrieveLevel = level
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


async def find(target: Target, model: str, identifier: Dataset) -> Found:
    """Raises NotClaimed: the model is not accepted."""

    def work(dialogue: Dialogue) -> Found:
        dialogue.require(model, "that information model")
        return dialogue.find(model, identifier)

    found = await talk(target, [Context(model)], work)
    need(found.status != 0x0124, "C-FIND: not authorized: the server has to permit it")
    return found


def expect_matches(found: Found, wanted: int, what: str) -> None:
    held = found.status == SUCCESS
    expect(held, f"C-FIND of {what}: the final status is 0x{found.status:04X}")
    got = len(found.identifiers)
    expect(got == wanted, f"C-FIND of {what}: expected {wanted} matches, got {got}")


@case(
    "DIM-01",
    section="PS3.4 A.4, PS3.7 9.1.5",
    level=Level.SHALL,
    requirement="Verification: C-ECHO is answered with success.",
    request="C-ECHO",
    expected="status 0x0000",
    needs=(Feature.DIMSE,),
)
async def echo_succeeds(target: Target) -> None:
    def work(dialogue: Dialogue) -> int:
        dialogue.require(VERIFICATION, "verification")
        return dialogue.echo()

    status = await talk(target, [Context(VERIFICATION)], work)
    expect(status == SUCCESS, f"C-ECHO: the status is 0x{status:04X}")


@case(
    "DIM-02",
    section="PS3.5 10.1",
    level=Level.SHALL,
    requirement="For each abstract syntax Implicit VR Little Endian, the default, is supported.",
    request="A-ASSOCIATE for verification, CT storage and query, each in Implicit VR alone",
    expected="what is accepted in Explicit VR Little Endian is accepted in Implicit VR too",
    needs=(Feature.DIMSE,),
)
async def default_transfer_syntax_is_accepted(target: Target) -> None:
    classes = {VERIFICATION: "verification", CT_STORAGE: "CT storage", STUDY_FIND: "query"}

    def accepted(dialogue: Dialogue) -> set[str]:
        return {each for each in classes if dialogue.accepts(each)}

    explicit = await talk(target, [Context(each, [EXPLICIT]) for each in classes], accepted)
    need(bool(explicit), "nothing is accepted in Explicit VR Little Endian")
    try:
        implicit = await talk(target, [Context(each, [IMPLICIT]) for each in classes], accepted)
    except NotClaimed:
        implicit = set()
    refused = [classes[each] for each in classes if each in explicit - implicit]
    expect(not refused, f"not accepted in Implicit VR Little Endian: {', '.join(refused)}")


@case(
    "DIM-03",
    section="PS3.8 9.3.3.2",
    level=Level.MAY,
    requirement="An abstract syntax that names nothing is not accepted, unless any is stored.",
    request="A-ASSOCIATE for verification and for a UID that names nothing",
    expected="verification is accepted, the other is not (an archive may take any for storage)",
    needs=(Feature.DIMSE,),
)
async def unknown_abstract_syntax_is_not_accepted(target: Target) -> None:
    def work(dialogue: Dialogue) -> bool:
        dialogue.require(VERIFICATION, "verification")
        return bool(dialogue.accepts(NONSENSE))

    was_accepted = await talk(target, [Context(VERIFICATION), Context(NONSENSE)], work)
    expect(not was_accepted, "an abstract syntax that names nothing is accepted")


def dimse_files(target: Target) -> dict[str, tuple[str, Dataset]]:
    """New objects by transfer syntax, with the abstract syntax of each."""
    run = target.study(Fixture.F1).uid
    made: dict[str, tuple[str, Dataset]] = {}
    for fixture, syntaxes in (
        (Fixture.F15, (EXPLICIT, IMPLICIT, str(uid.DeflatedExplicitVRLittleEndian))),
        (Fixture.F7, (str(uid.RLELossless),)),
        (Fixture.F2, (str(uid.JPEGBaseline8Bit),)),
    ):
        for syntax in syntaxes:
            ((_, file),) = synthetic.files(fixture, Uids(f"{run}/{syntax}"))
            dataset = _written_in(syntax, pydicom.dcmread(BytesIO(file)))
            made[syntax] = (str(dataset.SOPClassUID), dataset)
    return made


def _written_in(syntax: str, dataset: FileDataset) -> Dataset:
    if str(dataset.file_meta.TransferSyntaxUID) == syntax:
        return dataset
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


async def store(target: Target, syntax: str) -> tuple[Dataset, int]:
    """What was stored in that transfer syntax, and the status. Raises NotClaimed."""
    sop_class, dataset = dimse_files(target)[syntax]

    def work(dialogue: Dialogue) -> int:
        dialogue.require(sop_class, f"storage in {uid.UID(syntax).name}")
        return dialogue.store(dataset)

    target.may_delete.add(f"/studies/{dataset.StudyInstanceUID}")
    return dataset, await talk(target, [Context(sop_class, [syntax])], work)


@case(
    "DIM-04",
    section="PS3.4 B.2.3",
    level=Level.SHALL,
    requirement="What is sent in a transfer syntax that was accepted is stored.",
    request="C-STORE of a synthetic image in every transfer syntax that the suite can write",
    expected="status 0x0000, or a warning 0xBxxx; what is not accepted is left out",
    needs=(*_CT, Feature.WRITING),
)
async def images_are_stored_in_accepted_syntaxes(target: Target) -> None:
    seen: list[str] = []
    for syntax in dimse_files(target):
        name = uid.UID(syntax).name
        try:
            _, status = await store(target, syntax)
        except NotClaimed:
            continue
        need(status != 0x0124, "C-STORE: not authorized: the server has to permit it")
        held = status == SUCCESS or status >> 12 == 0xB
        expect(held, f"C-STORE in {name}: the status is 0x{status:04X}")
        seen.append(name)
    if not seen:
        raise NotClaimed("storage is not accepted")
    target.note(f"stored in {', '.join(seen)}")


@case(
    "DIM-05",
    section="PS3.4 C.4.1.3.1, PS3.4 C.6.2.1",
    level=Level.SHALL,
    requirement="A study is found by its Study Instance UID, with the attributes asked for.",
    request="C-FIND Study Root, STUDY, StudyInstanceUID={S1}",
    expected="one match with its level, its UID and the Accession Number; then 0x0000",
    needs=_CT,
)
async def study_is_found_by_its_uid(target: Target) -> None:
    study = target.study(Fixture.F1)
    identifier = keys("STUDY", StudyInstanceUID=study.uid, AccessionNumber=None, PatientName=None)
    found = await find(target, STUDY_FIND, identifier)
    expect_matches(found, 1, "a study")
    (match,) = found.identifiers
    expect(match.get("StudyInstanceUID") == study.uid, "C-FIND of a study: it is another one")
    expect(match.get("QueryRetrieveLevel") == "STUDY", "C-FIND of a study: it has no level")
    held = match.get("AccessionNumber") == study.first.original.AccessionNumber
    expect(held, "C-FIND of a study: AccessionNumber was asked for and is not that of the study")


@case(
    "DIM-06",
    section="PS3.4 C.6.1.1",
    level=Level.SHALL,
    requirement="A patient is found by the Patient ID.",
    request="C-FIND Patient Root, PATIENT, PatientID=P-001",
    expected="matches with that Patient ID alone; then 0x0000",
    needs=_CT,
)
async def patient_is_found_by_the_id(target: Target) -> None:
    wanted = str(target.study(Fixture.F1).first.original.PatientID)
    found = await find(target, PATIENT_FIND, keys("PATIENT", PatientID=wanted, PatientName=None))
    expect(bool(found.identifiers), "C-FIND of a patient: there is no match")
    expect(found.status == SUCCESS, f"C-FIND of a patient: the status is 0x{found.status:04X}")
    held = all(each.get("PatientID") == wanted for each in found.identifiers)
    expect(held, "C-FIND of a patient: a match has another PatientID")


@case(
    "DIM-07",
    section="PS3.4 C.6.2.1, PS3.4 C.4.1.3.1",
    level=Level.SHALL,
    requirement="The series of a study are found.",
    request="C-FIND Study Root, SERIES, StudyInstanceUID={S1}, SeriesInstanceUID empty",
    expected="the three series of the study, each once; then 0x0000",
    needs=_CT,
)
async def series_of_a_study_are_found(target: Target) -> None:
    study = target.study(Fixture.F1)
    wanted = {each.series_uid for each in study}
    identifier = keys("SERIES", StudyInstanceUID=study.uid, SeriesInstanceUID=None, Modality=None)
    found = await find(target, STUDY_FIND, identifier)
    expect_matches(found, len(wanted), "series")
    got = {str(each.get("SeriesInstanceUID")) for each in found.identifiers}
    expect(got == wanted, "C-FIND of series: they are not those of the study")


@case(
    "DIM-08",
    section="PS3.4 C.6.2.1, PS3.4 C.4.1.3.1",
    level=Level.SHALL,
    requirement="The instances of a series are found.",
    request="C-FIND Study Root, IMAGE, the UIDs of {S1} and {R1}, SOPInstanceUID empty",
    expected="the eight instances of the series, each once; then 0x0000",
    needs=_CT,
)
async def instances_of_a_series_are_found(target: Target) -> None:
    series = target.study(Fixture.F1).series("CT")
    identifier = keys(
        "IMAGE",
        StudyInstanceUID=series[0].study_uid,
        SeriesInstanceUID=series[0].series_uid,
        SOPInstanceUID=None,
        InstanceNumber=None,
    )
    found = await find(target, STUDY_FIND, identifier)
    expect_matches(found, len(series), "instances")
    got = {str(each.get("SOPInstanceUID")) for each in found.identifiers}
    wanted = {each.sop_instance_uid for each in series}
    expect(got == wanted, "C-FIND of instances: they are not those of the series")


@case(
    "DIM-09",
    section="PS3.4 C.4.1.1.4",
    level=Level.SHOULD,
    requirement="An identifier that does not fit its SOP class fails.",
    request="C-FIND Study Root, QueryRetrieveLevel NONSENSE, StudyInstanceUID={S1}",
    expected="a failure (0xA900, 0xCxxx or another) and no match",
    needs=_CT,
)
async def unknown_level_fails(target: Target) -> None:
    study = target.study(Fixture.F1).uid
    right = await find(target, STUDY_FIND, keys("STUDY", StudyInstanceUID=study))
    need(right.status == SUCCESS, f"a right C-FIND fails: 0x{right.status:04X}")
    found = await find(target, STUDY_FIND, keys("NONSENSE", StudyInstanceUID=study))
    held = found.status != SUCCESS and not found.identifiers
    expect(held, "C-FIND at a level that does not exist: success")


@case(
    "DIM-10",
    section="PS3.4 C.2.2.2.4, PS3.4 C.4.1.1.3.1",
    level=Level.SHALL,
    requirement="A wild card matches a name, in the character set of the identifier.",
    request="C-FIND Study Root, STUDY, StudyInstanceUID={S1}, PatientName=Åström*, ISO_IR 192",
    expected="one match, whose name is readable in its Specific Character Set",
    needs=_CT,
)
async def names_are_matched_by_wild_cards(target: Target) -> None:
    study = target.study(Fixture.F1)
    name = str(study.first.original.PatientName)
    identifier = keys("STUDY", StudyInstanceUID=study.uid, PatientName=f"{name.split('^')[0]}*")
    found = await find(target, STUDY_FIND, identifier)
    expect_matches(found, 1, "a study by the name of the patient")
    held = str(found.identifiers[0].get("PatientName", "")) == name
    expect(held, "C-FIND: the name comes back in letters that its character set does not have")
    other = keys("STUDY", StudyInstanceUID=study.uid, PatientName="Astrup*")
    nothing = await find(target, STUDY_FIND, other)
    expect(not nothing.identifiers, "C-FIND: the study is found by a name that is not its own")


@case(
    "DIM-11",
    section="PS3.4 C.4.1.3",
    level=Level.SHALL,
    requirement="Without a match the answer is success alone.",
    request="C-FIND Study Root, STUDY, a StudyInstanceUID that was never stored",
    expected="0x0000, no match",
    needs=_CT,
)
async def nothing_found_is_success(target: Target) -> None:
    study = target.study(Fixture.F1).uid
    right = await find(target, STUDY_FIND, keys("STUDY", StudyInstanceUID=study))
    need(bool(right.identifiers), "the study that is there is not found")
    unknown = Uids(study)("never stored")
    expect_matches(
        await find(target, STUDY_FIND, keys("STUDY", StudyInstanceUID=unknown)), 0, "no study"
    )


async def retrieve(target: Target, identifier: Dataset) -> Retrieved:
    """By C-GET. Raises NotClaimed: it is not accepted."""
    study = target.study(Fixture.F1)
    classes = sorted({each.sop_class_uid for each in study})
    contexts = [Context(each, as_scp=True) for each in classes]

    def work(dialogue: Dialogue) -> Retrieved:
        dialogue.require(STUDY_GET, "retrieval by C-GET")
        return dialogue.get(STUDY_GET, identifier)

    got = await talk(target, [Context(STUDY_GET), *contexts], work)
    need(got.status != 0x0124, "C-GET: not authorized: the server has to permit it")
    return got


@case(
    "DIM-12",
    section="PS3.4 C.4.3.1, PS3.4 C.4.3.3",
    level=Level.SHALL,
    requirement="C-GET of a study sends all of its instances, and counts them right.",
    request="C-GET Study Root, STUDY, StudyInstanceUID={S1}",
    expected="10 instances, each once; 0x0000; 10 completed, none failed",
    needs=_CT,
)
async def study_is_retrieved_on_the_association(target: Target) -> None:
    study = target.study(Fixture.F1)
    got = await retrieve(target, keys("STUDY", StudyInstanceUID=study.uid))
    expect(got.status == SUCCESS, f"C-GET: the final status is 0x{got.status:04X}")
    received = sorted(str(each.get("SOPInstanceUID")) for each in got.datasets)
    wanted = sorted(each.sop_instance_uid for each in study)
    held = received == wanted
    expect(held, f"C-GET: {len(received)} instances came for the {len(wanted)} of the study")
    if got.completed is None:
        # PS3.7 table 9.1-3: the last response may count, those before it have to
        target.note("the final response of C-GET does not count its sub-operations")
        return
    said = (got.completed, got.failed or 0)
    held = said == (len(wanted), 0)
    expect(held, f"C-GET: {said[0]} completed and {said[1]} failed are said of {len(wanted)}")


@case(
    "DIM-13",
    section="PS3.4 C.4.2.1.5",
    level=Level.SHALL,
    requirement="C-MOVE to a destination that the server does not know fails.",
    request="C-MOVE Study Root, STUDY, StudyInstanceUID={S1}, to an AE title of no one",
    expected="a failure: 0xA801 (Move Destination unknown), or another that says less",
    needs=_CT,
)
async def unknown_destination_is_refused(target: Target) -> None:
    def work(dialogue: Dialogue) -> Retrieved:
        dialogue.require(STUDY_MOVE, "retrieval by C-MOVE")
        identifier = keys("STUDY", StudyInstanceUID=target.study(Fixture.F1).uid)
        return dialogue.move(STUDY_MOVE, identifier, "NOBODY_AT_ALL")

    moved = await talk(target, [Context(STUDY_MOVE)], work)
    need(moved.status != 0x0124, "C-MOVE: not authorized: the server has to permit it")
    code = f"0x{moved.status:04X}"
    # Table C.4-2 lists what might be returned: 0xCxxx is a failure of any kind.
    is_failure = moved.status >> 12 in (0xA, 0xC) or moved.status >> 8 == 0x01
    expect(is_failure, f"C-MOVE to a destination of no one: the status is {code}")
    target.note(f"a destination of no one: {code}")


@case(
    "DIM-14",
    section="PS3.4 J.3.2",
    level=Level.SHALL,
    requirement="A request for storage commitment is taken.",
    request="N-ACTION 1 on the Storage Commitment Push Model, of one instance of {S1}",
    expected="0x0000",
    needs=(*_CT, Feature.WRITING),
)
async def commitment_is_taken(target: Target) -> None:
    instance = target.study(Fixture.F1).first
    referenced, request = Dataset(), Dataset()
    referenced.ReferencedSOPClassUID = instance.sop_class_uid
    referenced.ReferencedSOPInstanceUID = instance.sop_instance_uid
    request.TransactionUID = Uids(instance.sop_instance_uid)("commitment")
    request.ReferencedSOPSequence = Items([referenced])

    def work(dialogue: Dialogue) -> int:
        dialogue.require(COMMITMENT, "storage commitment")
        return dialogue.act(request, 1, COMMITMENT, COMMITMENT_INSTANCE)

    status = await talk(target, [Context(COMMITMENT)], work)
    need(status != 0x0124, "N-ACTION: not authorized: the server has to permit it")
    expect(status == SUCCESS, f"N-ACTION: the status is 0x{status:04X}")


@case(
    "DIM-15",
    section="PS3.4 K.6.1.1, PS3.4 K.4.1",
    level=Level.SHALL,
    requirement="The worklist is queried: without a match the answer is success alone.",
    request="C-FIND Modality Worklist, PatientID of no one",
    expected="0x0000, no match",
    needs=(Feature.DIMSE,),
)
async def worklist_is_queried(target: Target) -> None:
    step, identifier = Dataset(), Dataset()
    step.ScheduledProcedureStepStartDate = step.Modality = None
    identifier.PatientID = "CONFORMANCE-NOBODY"
    identifier.PatientName = None
    identifier.ScheduledProcedureStepSequence = Items([step])
    try:
        found = await find(target, WORKLIST, identifier)
    except Violated as error:
        raise Violated(f"the worklist: {error}") from None
    expect_matches(found, 0, "a patient of no one in the worklist")
