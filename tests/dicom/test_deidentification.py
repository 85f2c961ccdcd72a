"""The Basic Application Level Confidentiality Profile (PS3.15 Annex E), read back by pydicom."""

import struct
import tracemalloc
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

from bfr_dicomweb.dicom import deidentification, pixels
from bfr_dicomweb.dicom.codestream_comments import Unended, without_comments
from bfr_dicomweb.dicom.confidentiality_profile import Action, action
from bfr_dicomweb.dicom.deidentification import Pseudonyms
from bfr_dicomweb.dicom.frames import join_fragments
from bfr_dicomweb.dicom.part10 import read_header
from bfr_dicomweb.dicom.pixels import PixelDescription
from bfr_dicomweb.dicom.rewriting import rewrite
from bfr_dicomweb.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup
from bfr_dicomweb.errors import InvalidObject, NotAcceptable, UndecodablePixelData
from objects import a_cine, a_dataset, uid, written
from shared_data import dicom_files

PSEUDONYMS = Pseudonyms(b"k" * 32)
KEPT_SEQUENCE = "SharedFunctionalGroupsSequence"
# VRs whose values are long enough that a token in them cannot come about by chance.
TEXT_VRS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR", "UI"}
IDENTIFYING = sorted(
    tag
    for tag, (vr, *_) in DicomDictionary.items()
    if vr in TEXT_VRS
    and tag >> 16 not in (0, 2, 4)
    and action(f"{tag:08X}", vr) not in (Action.KEEP,)
)


def deidentified(file: bytes, pseudonyms: Pseudonyms = PSEUDONYMS) -> bytes:
    header = read_header(file)
    source = rewrite(file, header, as_file=False).chunks
    made = deidentification.file(source, header.attributes, pseudonyms, EXPLICIT_VR_LITTLE_ENDIAN)
    return b"".join(made)


def read(file: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(file))


def token(number: int, vr: str) -> str:
    if vr == "UI":
        return f"1.2.826.0.1.7{number:08d}1"
    return f"Q{number:06d}Q".upper()


@lru_cache
def vr_of(tag: int) -> str:
    return DicomDictionary[tag][0]


# --- no value survives -----------------------------------------------------------------------


def test_no_identifying_value_of_the_table_survives_at_any_level() -> None:
    top, nested, deeper = Dataset(), Dataset(), Dataset()
    tokens = []
    for number, tag in enumerate(IDENTIFYING):
        for place, ds in enumerate((top, nested, deeper)):
            tokens.append(token(3 * number + place, vr_of(tag)))
            ds.add_new(tag, vr_of(tag), tokens[-1])
    nested.ReferencedSeriesSequence = [deeper]
    dataset = a_dataset()
    dataset.update(top)
    setattr(dataset, KEPT_SEQUENCE, [nested])
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"

    out = deidentified(written(dataset))

    assert [one for one in tokens if one.encode() in out] == []


@st.composite
def nested_data_sets(draw: st.DrawFn, depth: int = 0) -> tuple[Dataset, list[str]]:
    """A data set of identifying attributes, each a token, in sequences of any kind."""
    ds, tokens = Dataset(), []
    for tag in draw(st.lists(st.sampled_from(IDENTIFYING), max_size=6, unique=True)):
        made = token(draw(st.integers(0, 10**6 - 1)), vr_of(tag))
        tokens.append(made)
        ds.add_new(tag, vr_of(tag), made)
    if draw(st.booleans()):
        block = ds.private_block(0x0099, "ACME", create=True)
        tokens.append(token(draw(st.integers(0, 10**6 - 1)), "LO"))
        block.add_new(1, draw(st.sampled_from(["LO", "UT"])), tokens[-1])
    if depth < 3:
        sequences = st.sampled_from(
            ["ReferencedSeriesSequence", "ContentSequence", "OtherPatientIDsSequence"]
        )
        for keyword in draw(st.lists(sequences, max_size=2, unique=True)):
            item, inside = draw(nested_data_sets(depth + 1))
            tokens += inside
            setattr(ds, keyword, Sequence([item]))
            ds[keyword].is_undefined_length = draw(st.booleans())
    return ds, tokens


@settings(max_examples=60, deadline=None)
@given(made=nested_data_sets(), implicit=st.booleans())
def test_no_token_survives(made: tuple[Dataset, list[str]], implicit: bool) -> None:
    identifying, tokens = made
    dataset = a_dataset()
    pixels = dataset.PixelData
    dataset.update(identifying)
    syntax = "1.2.840.10008.1.2" if implicit else ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.2"), uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = uid()

    out = deidentified(written(dataset, syntax))

    assert [one for one in tokens if one.encode() in out] == []
    assert read(out).PixelData == pixels


def test_private_attributes_are_removed_with_all_that_is_in_them() -> None:
    dataset = a_dataset()
    block = dataset.private_block(0x0011, "ACME", create=True)
    block.add_new(1, "LO", "SECRETONE")
    hidden = Dataset()
    hidden.PatientComments = "SECRETTWO"
    block.add_new(2, "SQ", [hidden])
    dataset[0x00111002].is_undefined_length = True

    out = deidentified(written(dataset))

    assert b"SECRET" not in out
    assert [element.tag for element in read(out) if element.tag.is_private] == []


def test_attributes_that_nobody_knows_are_removed() -> None:
    dataset = a_dataset()
    dataset.add_new(0x0018FFF0, "LO", "SECRET")

    assert b"SECRET" not in deidentified(written(dataset))


def test_overlays_and_curves_are_removed() -> None:
    dataset = a_dataset()
    dataset.add_new(0x60003000, "OW", b"SECRET")
    dataset.add_new(0x60000022, "LO", "SECRET")
    dataset.add_new(0x50003000, "OW", b"SECRET")

    assert b"SECRET" not in deidentified(written(dataset))


def test_the_preamble_is_not_kept() -> None:
    file = written(a_dataset())

    assert deidentified(b"SECRET".ljust(128) + file[128:])[:128] == bytes(128)


# --- what is there instead -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", ""),
        ("PatientBirthDate", None),
        ("AccessionNumber", ""),
        ("StudyDate", ""),
        ("StudyID", ""),
        ("SeriesDate", "19000101"),
        ("ContentTime", "000000"),
        ("InstitutionName", "ANONYMIZED"),
        ("AcquisitionDateTime", "19000101000000"),
    ],
)
def test_a_value_is_emptied_or_replaced_as_the_table_says(keyword: str, value: str) -> None:
    dataset = a_dataset(
        SeriesDate="20240101",
        ContentTime="101112",
        InstitutionName="Sjukhuset",
        AcquisitionDateTime="20240101101112.123",
    )

    found = read(deidentified(written(dataset)))[keyword]

    assert (found.value or "") == (value or "")


@pytest.mark.parametrize(
    "keyword",
    ["PatientAge", "StudyDescription", "OtherPatientIDsSequence", "PatientAddress"],
)
def test_an_attribute_is_removed_as_the_table_says(keyword: str) -> None:
    other = Dataset()
    other.PatientID = "X"
    dataset = a_dataset(
        PatientAge="040Y",
        StudyDescription="Thorax",
        OtherPatientIDsSequence=[other],
        PatientAddress="Gatan 1",
    )

    assert keyword not in read(deidentified(written(dataset)))


@pytest.mark.parametrize(
    "keyword", ["Modality", "Rows", "BitsStored", "InstanceNumber", "SOPClassUID"]
)
def test_an_attribute_that_tells_of_no_one_is_kept(keyword: str) -> None:
    dataset = a_dataset()

    assert read(deidentified(written(dataset)))[keyword] == dataset[keyword]


def test_the_object_says_that_and_how_it_was_deidentified() -> None:
    found = read(deidentified(written(a_dataset())))

    assert found.PatientIdentityRemoved == "YES"
    assert found.DeidentificationMethod
    assert [item.CodeValue for item in found.DeidentificationMethodCodeSequence] == ["113100"]
    assert found.LongitudinalTemporalInformationModified == "REMOVED"


def test_clean_pixels_are_told_of_when_the_object_says_that_they_are() -> None:
    found = read(deidentified(written(a_dataset(BurnedInAnnotation="NO"))))

    codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101"]


def test_elements_stay_in_ascending_order() -> None:
    dataset = a_dataset(PatientIdentityRemoved="NO", DeidentificationMethod="none")

    tags = [element.tag for element in read(deidentified(written(dataset)))]

    assert tags == sorted(set(tags))


# --- identities ------------------------------------------------------------------------------


def test_file_meta_information_has_the_new_sop_instance_uid() -> None:
    dataset = a_dataset()
    found = read(deidentified(written(dataset)))

    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert found.SOPInstanceUID != dataset.SOPInstanceUID


def test_a_uid_has_the_same_replacement_in_all_objects() -> None:
    first = a_dataset()
    second = a_dataset(FrameOfReferenceUID=first.StudyInstanceUID)

    one, other = (read(deidentified(written(ds))) for ds in (first, second))

    assert one.StudyInstanceUID == other.FrameOfReferenceUID


def test_a_reference_to_another_instance_follows_its_new_uid() -> None:
    image = a_dataset()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        image.SOPClassUID,
        image.SOPInstanceUID,
    )
    state = a_dataset(ReferencedImageSequence=[item])

    found = read(deidentified(written(state))).ReferencedImageSequence[0]

    assert found.ReferencedSOPInstanceUID == read(deidentified(written(image))).SOPInstanceUID
    assert found.ReferencedSOPClassUID == image.SOPClassUID


def test_another_archive_makes_other_replacements() -> None:
    file = written(a_dataset())

    found = {
        read(deidentified(file, Pseudonyms(secret))).StudyInstanceUID for secret in (b"a", b"b")
    }

    assert len(found) == 2


@given(st.text("0123456789.", min_size=1, max_size=64))
def test_a_replacement_is_a_valid_uid(value: str) -> None:
    made = UID(PSEUDONYMS.uid(value))

    assert made.is_valid
    assert len(made) <= 64


def test_uids_of_the_standard_are_kept() -> None:
    well_known = "1.2.840.10008.1.4.1.1"
    dataset = a_dataset(FrameOfReferenceUID=well_known)

    assert read(deidentified(written(dataset))).FrameOfReferenceUID == well_known


def test_a_patient_keeps_one_pseudonym_in_all_objects() -> None:
    found = {read(deidentified(written(a_dataset()))).PatientID for _ in range(2)}

    assert len(found) == 1
    assert found != {a_dataset().PatientID}


def test_two_patients_have_two_pseudonyms() -> None:
    found = {read(deidentified(written(a_dataset(PatientID=one)))).PatientID for one in "12"}

    assert len(found) == 2


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"BurnedInAnnotation": "YES"},
        {"RecognizableVisualFeatures": "YES"},
        {"EncapsulatedDocument": b"%PDF"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_what_cannot_be_cleaned_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(NotAcceptable, match="cannot be anonymized"):
        deidentified(written(a_dataset(**attributes)))


def test_a_data_set_that_breaks_off_is_refused() -> None:
    header = read_header(written(a_dataset()))
    broken = iter([written(a_dataset())[header.dataset_offset : -600]])

    with pytest.raises(NotAcceptable, match="ends in the middle"):
        b"".join(
            deidentification.file(broken, header.attributes, PSEUDONYMS, EXPLICIT_VR_LITTLE_ENDIAN)
        )


# --- pixels and size -------------------------------------------------------------------------


def test_encapsulated_frames_pass_unchanged() -> None:
    file = a_cine([b"one of them", b"the other"])
    header = read_header(file)
    source = iter([file[header.dataset_offset :]])

    made = b"".join(deidentification.file(source, header.attributes, PSEUDONYMS, JPEGBaseline8Bit))

    assert read(made).PixelData == read(file).PixelData
    assert read(made).file_meta.TransferSyntaxUID == JPEGBaseline8Bit


def a_commented_jpeg() -> bytes:
    file = BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    Image.new("RGB", (16, 16), (200, 100, 50)).save(file, "JPEG", comment="SECRET", exif=exif)
    return file.getvalue()


def a_commented_jpeg_2000() -> bytes:
    stream = imagecodecs.jpeg2k_encode(
        np.arange(256, dtype=np.uint8).reshape(16, 16), codecformat="j2k", reversible=True
    )
    end_of_size = 4 + int.from_bytes(stream[4:6], "big")
    comment = b"\xff\x64\x00\x0a\x00\x01SECRET"
    return bytes(stream[:end_of_size] + comment + stream[end_of_size:])


@pytest.mark.parametrize("frame", [a_commented_jpeg(), a_commented_jpeg_2000()])
def test_comments_in_frames_are_blanked(frame: bytes) -> None:
    assert b"SECRET" in frame
    file = a_cine([frame, frame])
    header = read_header(file)

    made = b"".join(
        deidentification.file(
            iter([file[header.dataset_offset :]]), header.attributes, PSEUDONYMS, JPEGBaseline8Bit
        )
    )

    assert b"SECRET" not in made
    found = next(generate_frames(read(made).PixelData, number_of_frames=2))
    assert len(found) == len(frame) + len(frame) % 2
    np.testing.assert_array_equal(imagecodecs.imread(found), imagecodecs.imread(frame))


def test_a_color_profile_is_no_comment() -> None:
    file = BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (16, 16)).save(file, "JPEG", icc_profile=profile)

    assert without_comments(file.getvalue()) == file.getvalue()


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8", b"\xff\x4f", b""]))
def test_no_frame_changes_its_length(content: bytes, start: bytes) -> None:
    frame = start + content
    try:
        made = without_comments(frame)
    except Unended:
        return

    assert len(made) == len(frame)


def test_memory_stays_flat_however_large_the_pixel_data() -> None:
    chunk, count = bytes(1 << 20), 200
    file = written(a_dataset(PixelData=None))
    header = read_header(file)

    def source() -> Iterator[bytes]:
        yield file[header.dataset_offset :]
        yield b"\xe0\x7f\x10\x00OW\0\0" + (len(chunk) * count).to_bytes(4, "little")
        for _ in range(count):
            yield chunk

    tracemalloc.start()
    size = sum(
        len(piece)
        for piece in deidentification.file(
            source(), header.attributes, PSEUDONYMS, EXPLICIT_VR_LITTLE_ENDIAN
        )
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > len(chunk) * count
    assert peak < 12 << 20


def kept_samples() -> list[Path]:
    return [path for path in dicom_files() if path.suffix not in {".txt", ".json", ".md"}]


@pytest.mark.parametrize("path", kept_samples(), ids=lambda path: path.name)
def test_a_sample_file_loses_its_identities_and_keeps_its_pixels(path: Path) -> None:
    file = path.read_bytes()
    try:
        header = read_header(file)
        source = b"".join(rewrite(file, header, as_file=False).chunks)
    except (InvalidObject, NotAcceptable):
        return  # it cannot be sent in this transfer syntax at all
    if deidentification.refusal(header.attributes) is not None:
        return

    out = b"".join(
        deidentification.file(
            iter([source]), header.attributes, PSEUDONYMS, EXPLICIT_VR_LITTLE_ENDIAN
        )
    )

    again = read_header(out)
    before = {value.path: value for value in header.bulk if value.path.startswith("7FE0")}
    after = {value.path: value for value in again.bulk if value.path.startswith("7FE0")}
    assert after.keys() == before.keys()
    for value in after.values():
        assert out[value.offset : value.offset + value.length] in source
    for tag in ("00100010", "00080050", "00081030", "00100030", "00080080"):
        for one in header.attributes.get(tag, {}).get("Value", []):
            assert one not in again.attributes.get(tag, {}).get("Value", [])
    assert again.attributes["00120062"]["Value"] == ["YES"]


def encapsulated_samples() -> list[Path]:
    return [path for path in kept_samples() if "by_transfer_syntax" in path.parts]


@pytest.mark.parametrize("path", encapsulated_samples(), ids=lambda path: path.name)
def test_a_sample_file_can_be_sent_as_its_frames_are_stored(path: Path) -> None:
    file = path.read_bytes()
    try:
        header = read_header(file)
    except InvalidObject:
        return
    if header.implicit_vr or header.big_endian or header.deflated:
        return  # it is rewritten first
    source = iter([file[header.dataset_offset :]])

    out = b"".join(
        deidentification.file(source, header.attributes, PSEUDONYMS, header.transfer_syntax_uid)
    )

    assert [len(frame) for frame in frames_of(out)] == [len(frame) for frame in frames_of(file)]
    if lookup(header.transfer_syntax_uid).decodable:
        assert decoded(out) == decoded(file)


def frames_of(file: bytes) -> list[bytes]:
    frames = read_header(file).frames
    spans = () if frames is None else struct.iter_unpack("<QQ", frames.spans)
    return [join_fragments(file[start:stop]) for start, stop in spans]


def decoded(file: bytes) -> list[bytes]:
    header = read_header(file)
    described = PixelDescription.from_attributes(header.attributes, header.transfer_syntax_uid)
    try:
        return [pixels.decode_frame(frame, described) for frame in frames_of(file)]
    except UndecodablePixelData:
        return []


def sent_as_un(tag: bytes, value: bytes) -> bytes:
    """A de-identified data set of one element whose VR is UN."""
    header = read_header(written(a_dataset()))
    source = iter([tag + b"UN\0\0" + len(value).to_bytes(4, "little") + value])
    return b"".join(
        deidentification.file(source, header.attributes, PSEUDONYMS, EXPLICIT_VR_LITTLE_ENDIAN)
    )


MANUFACTURER = b"\x08\x00\x70\x00"
PATIENT_COMMENTS = b"\x10\x00\x00\x40"
DATA_FRAME_ASSIGNMENT_SEQUENCE = b"\x28\x00\x01\x14"
LUT_DATA = b"\x28\x00\x06\x30"
ITEM = b"\xfe\xff\x00\xe0"


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (MANUFACTURER, b"SECRET"),
        (PATIENT_COMMENTS, b"SECRET"),
        (DATA_FRAME_ASSIGNMENT_SEQUENCE, ITEM + b"\x0e\0\0\0\x08\0\x60\0\x06\0\0\0SECRET"),
    ],
)
def test_what_is_hidden_in_un_is_not_kept(tag: bytes, value: bytes) -> None:
    assert b"SECRET" not in sent_as_un(tag, value)


def test_numbers_that_are_too_long_for_their_vr_are_kept() -> None:
    """PS3.5 section 6.2.2"""
    assert b"NUMBER" * 20_000 in sent_as_un(LUT_DATA, b"NUMBER" * 20_000)


@pytest.mark.parametrize(
    ("tag", "vr", "expected"),
    [
        ("00100010", "PN", Action.EMPTY),
        ("00100020", "LO", Action.DUMMY),
        ("0020000D", "UI", Action.NEW_UID),
        ("00081030", "LO", Action.REMOVE),
        ("00280010", "US", Action.KEEP),
        ("00091001", "LO", Action.REMOVE),
        ("00080016", "UI", Action.KEEP),
        ("00081140", "SQ", Action.KEEP),
    ],
)
def test_an_attribute_has_the_action_of_the_table(tag: str, vr: str, expected: Action) -> None:
    assert action(tag, vr) is expected


@pytest.mark.parametrize("vr", ["PN", "DA", "DT", "TM", "AE"])
def test_no_attribute_of_a_telling_vr_is_kept(vr: str) -> None:
    kept = [
        f"{tag:08X}"
        for tag, (known, *_) in DicomDictionary.items()
        if known == vr and action(f"{tag:08X}", vr) is Action.KEEP
    ]

    assert kept == []
