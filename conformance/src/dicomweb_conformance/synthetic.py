"""The suite's own objects: synthetic patients, small, and the same for the same run id."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from dicomweb_conformance.fixtures import Fixture, Uids

Named = Iterator[tuple[str, Dataset]]
Pixels = npt.NDArray[np.generic]

_IMPLEMENTATION = uid.UID("2.25.226883472098914271932361337016246187563")


@cache
def files(fixture: Fixture, uids: Uids) -> list[tuple[str, bytes]]:
    """The named PS3.10 files of a fixture."""
    return [(name, _file(dataset)) for name, dataset in _MAKERS[fixture](uids)]


def _file(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        # A value too long for its VR becomes UN (PS3.5 section 6.2.2), which pydicom reports.
        warnings.simplefilter("ignore", UserWarning)
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _instance(
    uids: Uids, sop_class: str, *, study: str, series: str, name: str, modality: str
) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = _IMPLEMENTATION
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = uids(f"{study}/{series}/{name}")
    made.StudyInstanceUID = uids(study)
    made.SeriesInstanceUID = uids(f"{study}/{series}")
    made.Modality = modality
    made.PatientName = f"Conformance^{study}"
    made.PatientID = f"CONFORMANCE-{study}"
    made.PatientBirthDate = "19700101"
    made.PatientSex = "O"
    made.StudyDate, made.StudyTime = "20240105", "120000"
    made.AccessionNumber = f"A-{study}"
    made.ReferringPhysicianName = "Berg^Eva"
    made.StudyID = study
    made.SeriesNumber = 1
    made.InstanceNumber = 1
    made.Laterality = None
    made.Manufacturer = "dicomweb-conformance"
    return made


def _put_pixels(made: Dataset, pixels: Pixels, *, frames: int | None = None) -> None:
    """Uncompressed: shape ([frames,] rows, columns), unsigned where the type is."""
    rows, columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    if frames is not None:
        made.NumberOfFrames = frames
    made.Rows, made.Columns = rows, columns
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    made["PixelData"].VR = "OW" if bits > 8 else "OB"


def slice_pixels(number: int) -> Pixels:
    """A slice of 48 rows of 64 columns, in which no two rows, columns or slices are the same."""
    rows, columns = np.mgrid[0:48, 0:64]
    return np.asarray(rows * 20 + columns * 3 + number * 50 - 100, np.int16)


def _ct_slice(uids: Uids, number: int, *, study: str, series: str = "R1") -> Dataset:
    made = _instance(
        uids, uid.CTImageStorage, study=study, series=series, name=f"{number}", modality="CT"
    )
    made.InstanceNumber = number
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.FrameOfReferenceUID = uids(f"{study}/frame of reference")
    made.PositionReferenceIndicator = None
    made.AcquisitionNumber = 1
    made.KVP = "120"
    made.SliceThickness = "5"
    made.PatientPosition = "HFS"
    made.ImagePositionPatient = [0, 0, number * 5]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.PixelSpacing = [1, 1]
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "-1024", "1", "HU"
    made.WindowCenter, made.WindowWidth = "40", "400"
    _put_pixels(made, slice_pixels(number))
    return made


def _of_bjorn(made: Dataset) -> Dataset:
    """The patient and the study of F1."""
    made.PatientName, made.PatientID = "Åström^Björn", "P-001"
    made.StudyTime, made.AccessionNumber, made.StudyID = "101500", "A001", "ST1"
    return made


def _f1(uids: Uids) -> Named:
    for number in range(1, 9):
        made = _of_bjorn(_ct_slice(uids, number, study="S1"))
        made.SeriesDescription = "Axial"
        made.PerformedProcedureStepStartDate = "20240105"
        made.PerformedProcedureStepStartTime = "101600"
        request = Dataset()
        request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS-1", "RP-1"
        made.RequestAttributesSequence = Sequence([request])
        yield f"slice {number}", made
    yield "report", _of_bjorn(_report(uids))
    yield "presentation state", _of_bjorn(_presentation_state(uids))


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return Sequence([made])


def _report(uids: Uids) -> Dataset:
    made = _instance(
        uids, uid.BasicTextSRStorage, study="S1", series="R2", name="report", modality="SR"
    )
    made.SeriesNumber = 2
    made.ContentDate, made.ContentTime = "20240105", "110000"
    made.CompletionFlag, made.VerificationFlag = "PARTIAL", "UNVERIFIED"
    made.ReferencedPerformedProcedureStepSequence = Sequence()
    made.PerformedProcedureCodeSequence = Sequence()
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = _code("18748-4", "LN", "Diagnostic Imaging Report")
    text = Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = _code("121071", "DCM", "Finding")
    text.TextValue = "Småcellig förändring på vänster sida: å ä ö Å Ä Ö"
    made.ContentSequence = Sequence([text])
    return made


def _presentation_state(uids: Uids) -> Dataset:
    made = _instance(
        uids,
        uid.GrayscaleSoftcopyPresentationStateStorage,
        study="S1",
        series="R3",
        name="presentation state",
        modality="PR",
    )
    made.SeriesNumber = 3
    made.ContentLabel, made.ContentDescription = "WINDOW", None
    made.PresentationCreationDate, made.PresentationCreationTime = "20240105", "111500"
    made.ContentCreatorName = None
    image = Dataset()
    image.ReferencedSOPClassUID = uid.CTImageStorage
    image.ReferencedSOPInstanceUID = uids("S1/R1/1")
    series = Dataset()
    series.SeriesInstanceUID = uids("S1/R1")
    series.ReferencedImageSequence = Sequence([image])
    made.ReferencedSeriesSequence = Sequence([series])
    area = Dataset()
    area.ReferencedImageSequence = Sequence([image])
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [64, 48]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = [1, 1]
    made.DisplayedAreaSelectionSequence = Sequence([area])
    window = Dataset()
    window.WindowCenter, window.WindowWidth = "300", "600"
    made.SoftcopyVOILUTSequence = Sequence([window])
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "-1024", "1", "HU"
    made.PresentationLUTShape = "IDENTITY"
    return made


def _jpeg(frame: npt.NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=90, subsampling="4:2:2")
    return buffer.getvalue()


def _f2(uids: Uids) -> Named:
    made = _instance(
        uids,
        uid.UltrasoundMultiFrameImageStorage,
        study="S2",
        series="R1",
        name="cine",
        modality="US",
    )
    made.PatientName = "Wang^XiaoDong=王^小東"
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.PatientOrientation = None
    frames = []
    for number in range(10):
        frame = np.zeros((24, 32, 3), np.uint8)
        frame[..., 0], frame[..., 1] = number * 25, 200
        frame[:, 16:, 2] = 220
        frames.append(_jpeg(frame))
    _put_pixels(made, np.zeros((24, 32), np.uint8), frames=len(frames))
    made.SamplesPerPixel, made.PlanarConfiguration = 3, 0
    made.PhotometricInterpretation = "YBR_FULL_422"
    made.FrameTime, made.FrameIncrementPointer = "40", 0x00181063
    made.LossyImageCompression, made.LossyImageCompressionRatio = "01", "4"
    made.LossyImageCompressionMethod = "ISO_10918_1"
    made.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    made.PixelData = encapsulate(frames)
    made["PixelData"].VR = "OB"
    yield "cine", made


def segment_bits() -> npt.NDArray[np.uint8]:
    """5 frames of 5 rows of 7 columns, each with another pattern that begins with a 1."""
    numbers = np.arange(5 * 35).reshape(5, 5, 7)
    steps = (np.arange(5) + 2)[:, None, None]
    return np.asarray((numbers % 35) % steps == 0, np.uint8)


def _f3(uids: Uids) -> Named:
    made = _instance(
        uids, uid.SegmentationStorage, study="S3", series="R1", name="segments", modality="SEG"
    )
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.FrameOfReferenceUID = uids("S3/frame of reference")
    made.PositionReferenceIndicator = None
    made.ManufacturerModelName = "dicomweb-conformance"
    made.DeviceSerialNumber, made.SoftwareVersions = "1", "1"
    made.ContentDate, made.ContentTime = "20240105", "120000"
    made.ContentLabel, made.ContentDescription = "SEGMENTS", None
    made.ContentCreatorName, made.LossyImageCompression = None, "00"
    made.SegmentationType = "BINARY"
    del made.Laterality  # the place is said for each segment
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "organ"
    segment.SegmentAlgorithmType = "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = _code("91723000", "SCT", "Anatomical structure")
    segment.SegmentedPropertyTypeCodeSequence = _code("10200004", "SCT", "Liver")
    made.SegmentSequence = Sequence([segment])
    _add_functional_groups(made, uids)
    _put_pixels(made, np.zeros((5, 7), np.uint8), frames=5)
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    packed = np.packbits(segment_bits().ravel(), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    yield "segments", made


def _add_functional_groups(made: Dataset, uids: Uids) -> None:
    organization, index = Dataset(), Dataset()
    organization.DimensionOrganizationUID = uids("S3/dimensions")
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00200032, 0x00209113
    made.DimensionOrganizationSequence = Sequence([organization])
    made.DimensionIndexSequence = Sequence([index])
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1, 1], "5"
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence([_of_frame(each) for each in range(1, 6)])


def _of_frame(number: int) -> Dataset:
    content, position, segment, made = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = number
    position.ImagePositionPatient = [0, 0, number * 5]
    segment.ReferencedSegmentNumber = 1
    made.FrameContentSequence = Sequence([content])
    made.PlanePositionSequence = Sequence([position])
    made.SegmentIdentificationSequence = Sequence([segment])
    return made


_PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
trailer<</Root 1 0 R/Size 4>>
%%EOF
"""


def _f4(uids: Uids) -> Named:
    made = _instance(
        uids, uid.EncapsulatedPDFStorage, study="S4", series="R1", name="pdf", modality="DOC"
    )
    made.ConversionType, made.BurnedInAnnotation = "WSD", "NO"
    made.ContentDate = made.ContentTime = made.AcquisitionDateTime = None
    made.DocumentTitle, made.ConceptNameCodeSequence = "Empty page", Sequence()
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = _PDF + b"\n" * (len(_PDF) % 2)
    made.EncapsulatedDocumentLength = len(_PDF)
    yield "pdf", made


def _f5(uids: Uids) -> Named:
    made = _instance(
        uids,
        uid.TwelveLeadECGWaveformStorage,
        study="S5",
        series="R1",
        name="ecg",
        modality="ECG",
    )
    made.ContentDate, made.ContentTime = "20240105", "120000"
    made.AcquisitionDateTime, made.AcquisitionContextSequence = "20240105120000", Sequence()
    del made.Laterality  # a waveform has none
    waveform = Dataset()
    waveform.WaveformOriginality = "ORIGINAL"
    waveform.NumberOfWaveformChannels, waveform.NumberOfWaveformSamples = 12, 500
    waveform.SamplingFrequency = "500"
    waveform.ChannelDefinitionSequence = Sequence([_lead(number) for number in range(12)])
    waveform.WaveformBitsAllocated, waveform.WaveformSampleInterpretation = 16, "SS"
    waveform.WaveformData = np.arange(12 * 500, dtype="<i2").tobytes()
    waveform["WaveformData"].VR = "OW"
    made.WaveformSequence = Sequence([waveform])
    yield "ecg", made


def _lead(number: int) -> Dataset:
    made = Dataset()
    made.ChannelSourceSequence = _code(f"2:{number + 1}", "MDC", f"Lead {number + 1}")
    made.ChannelSensitivity, made.ChannelBaseline = "1", "0"
    made.ChannelSensitivityUnitsSequence = _code("uV", "UCUM", "microvolt")
    made.ChannelSensitivityCorrectionFactor, made.WaveformBitsStored = "1", 16
    made.ChannelSampleSkew = "0"
    return made


def _f7(uids: Uids) -> Named:
    made = _ct_slice(uids, 1, study="S7")
    made.StudyDate, made.StudyTime = "20240106", "235900"
    made.compress(uid.RLELossless, generate_instance_uid=False)
    yield "rle", made


def frame_pixels() -> Pixels:
    """3 frames of 20 rows of 30 columns, 16 bit, all values different."""
    return np.arange(1000, 1000 + 3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)


def _capture(uids: Uids, *, study: str, name: str, sop_class: str) -> Dataset:
    made = _instance(uids, sop_class, study=study, series="R1", name=name, modality="OT")
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = None
    return made


def _f8(uids: Uids) -> Named:
    made = _capture(
        uids,
        study="S8",
        name="frames",
        sop_class=uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    )
    _put_pixels(made, frame_pixels(), frames=3)
    made.BurnedInAnnotation, made.PresentationLUTShape = "NO", "IDENTITY"
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "0", "1", "US"
    made.FrameIncrementPointer, made.PageNumberVector = 0x00182001, [1, 2, 3]
    yield "frames", made


ACME = "ACME 1.0"
_ACME_GROUP = 0x0009


def _sink(uids: Uids, name: str) -> Dataset:
    made = _capture(uids, study="S9", name=name, sop_class=uid.SecondaryCaptureImageStorage)
    made.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    made.StudyDescription = None
    made.SoftwareVersions = ["one", "", "three"]
    _put_pixels(made, np.arange(12, dtype=np.uint8).reshape(3, 4))
    return made


def _f9(uids: Uids) -> Named:
    made = _sink(uids, "sink")
    block = made.private_block(_ACME_GROUP, ACME, create=True)
    block.add_new(0x01, "LO", "private text")
    block.add_new(0x02, "AT", [0x00080018, 0x0020000D])
    block.add_new(0x03, "FD", [1.5, -2.25e100])
    block.add_new(0x04, "SV", -(2**63))
    block.add_new(0x05, "UV", 2**64 - 1)
    block.add_new(0x06, "UR", "https://example.org/a?b=c")
    block.add_new(0x07, "UC", "unlimited characters")
    block.add_new(0x08, "UN", b"\x00\x01\x02\xff")
    block.add_new(0x09, "DS", ["1.50", "2.0"])
    block.add_new(0x0A, "OB", b"\x01\x02\x03\x04")
    filled = Dataset()
    filled.add_new(0x00080100, "SH", "C1")
    block.add_new(0x0B, "SQ", Sequence([filled, Dataset()]))
    block.add_new(0x0C, "SQ", Sequence())
    block.add_new(0x0D, "LO", "")
    block.add_new(0x0E, "FL", 0.5)
    block.add_new(0x0F, "OF", np.array([1, 2], "<f4").tobytes())
    block.add_new(0x10, "SS", [-1, 2])
    block.add_new(0x11, "UL", 2**32 - 1)
    yield "sink", made
    unusual = _sink(uids, "not a number")
    block = unusual.private_block(_ACME_GROUP, ACME, create=True)
    block.add_new(0x03, "FD", [float("nan"), float("inf")])
    yield "not a number", unusual
    long = _sink(uids, "long")
    block = long.private_block(_ACME_GROUP, ACME, create=True)
    # more than the 65534 bytes that a 16-bit length can say: Explicit VR has to call it UN
    block.add_new(0x09, "DS", ["1.25"] * 14000)
    yield "long", long


def _f10(uids: Uids) -> Named:
    made = _capture(uids, study="S10", name="palette", sop_class=uid.SecondaryCaptureImageStorage)
    _put_pixels(made, (np.arange(24 * 32) % 4).astype(np.uint8).reshape(24, 32))
    made.PhotometricInterpretation = "PALETTE COLOR"
    tables = {"Red": (0, 255, 0, 0), "Green": (0, 0, 255, 0), "Blue": (0, 0, 0, 255)}
    for colour, table in tables.items():
        entries = np.zeros(256, "<u2")
        entries[:4] = np.array(table, "<u2") * 257
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    yield "palette", made


def _f11(uids: Uids) -> Named:
    made = _capture(uids, study="S11", name="inverted", sop_class=uid.SecondaryCaptureImageStorage)
    _put_pixels(made, np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1)))
    made.PhotometricInterpretation = "MONOCHROME1"
    icon = Dataset()
    _put_pixels(icon, np.full((8, 8), 77, np.uint8))
    made.IconImageSequence = Sequence([icon])
    yield "inverted", made


def _f12(uids: Uids) -> Named:
    made = _ct_slice(uids, 1, study="S12")
    made.PatientName, made.PatientID = "astrom^bjorn", "p-001"
    made.StudyDate = made.StudyTime = None
    yield "slice", made


def _f13(uids: Uids) -> Named:
    for number in range(1, 31):
        made = _capture(
            uids,
            study=f"S13.{number}",
            name="tiny",
            sop_class=uid.SecondaryCaptureImageStorage,
        )
        made.PatientID, made.PatientName = "PAGE", "Conformance^Page"
        made.StudyID = f"P{number}"
        _put_pixels(made, np.full((2, 2), number, np.uint8))
        yield f"tiny {number}", made


def _f14(uids: Uids) -> Named:
    slice_of_ct = _ct_slice(uids, 1, study="S14")
    slice_of_ct.StudyTime = "220000"
    yield "ct", slice_of_ct
    made = _ct_slice(uids, 1, study="S14", series="R2")
    for keyword in ("KVP", "RescaleType", "PatientPosition"):
        delattr(made, keyword)
    made.SOPClassUID, made.Modality = uid.PositronEmissionTomographyImageStorage, "PT"
    made.StudyTime, made.SeriesNumber = "220000", 2
    made.SeriesDate, made.SeriesTime = "20240105", "220000"
    made.AcquisitionDate, made.AcquisitionTime = "20240105", "220000"
    made.Units, made.CountsSource, made.SeriesType = "BQML", "EMISSION", ["STATIC", "IMAGE"]
    made.NumberOfSlices, made.CorrectedImage, made.DecayCorrection = 1, "ATTN", "NONE"
    made.CollimatorType, made.RescaleIntercept, made.ImageIndex = "NONE", "0", 1
    made.FrameReferenceTime, made.ActualFrameDuration = "0", "1000"
    made.RadiopharmaceuticalInformationSequence = Sequence()
    made.PatientOrientationCodeSequence = Sequence()
    made.PatientGantryRelationshipCodeSequence = Sequence()
    yield "pet", made


def _f15(uids: Uids) -> Named:
    yield "slice", _ct_slice(uids, 1, study="S15")


_MAKERS: dict[Fixture, Callable[[Uids], Named]] = {
    Fixture.F1: _f1,
    Fixture.F2: _f2,
    Fixture.F3: _f3,
    Fixture.F4: _f4,
    Fixture.F5: _f5,
    Fixture.F6: _f1,  # it stands in the study of F1
    Fixture.F7: _f7,
    Fixture.F8: _f8,
    Fixture.F9: _f9,
    Fixture.F10: _f10,
    Fixture.F11: _f11,
    Fixture.F12: _f12,
    Fixture.F13: _f13,
    Fixture.F14: _f14,
    Fixture.F15: _f15,
}
