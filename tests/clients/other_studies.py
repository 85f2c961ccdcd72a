"""Self-made studies of what is no image: a video, a PDF and an electrocardiogram."""

import io

import av
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    TwelveLeadECGWaveformStorage,
    VideoEndoscopicImageStorage,
    generate_uid,
)
from reportlab.pdfgen.canvas import Canvas

from objects import a_dataset, written

VIDEO_FRAMES, VIDEO_RATE = 75, 25
VIDEO_ROWS, VIDEO_COLUMNS = 240, 320
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ECG_SAMPLES, ECG_RATE = 2500, 500


def a_video() -> bytes:
    """An MP4 file that turns from blue to red in three seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_RATE)
        stream.width, stream.height, stream.pix_fmt = VIDEO_COLUMNS, VIDEO_ROWS, "yuv420p"
        for index in range(VIDEO_FRAMES):
            red = round(255 * index / (VIDEO_FRAMES - 1))
            pixels = np.full((VIDEO_ROWS, VIDEO_COLUMNS, 3), (red, 0, 255 - red), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def video_object() -> Dataset:
    video = a_dataset(
        SOPClassUID=VideoEndoscopicImageStorage,
        Modality="ES",
        PatientID="199001012384",
        SOPInstanceUID=generate_uid(),
        Rows=VIDEO_ROWS,
        Columns=VIDEO_COLUMNS,
        NumberOfFrames=VIDEO_FRAMES,
        FrameTime=1000 / VIDEO_RATE,
        FrameIncrementPointer=0x00181063,
        CineRate=VIDEO_RATE,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_PARTIAL_420",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        LossyImageCompression="01",
    )
    video.PixelData = encapsulate([a_video()])
    video["PixelData"].VR = "OB"
    video["PixelData"].is_undefined_length = True
    return video


def pdf_object() -> Dataset:
    """A page with some kilobytes in it, so that it is bulk data."""
    file = io.BytesIO()
    canvas = Canvas(file, pageCompression=0)
    canvas.drawString(72, 700, "Utlåtande")
    for line in range(400):
        canvas.drawString(72, 680 - line * 1.5, "Inga avvikande fynd")
    canvas.save()
    document = _without_pixels(EncapsulatedPDFStorage, "DOC", "199001022383")
    document.DocumentTitle = "Utlåtande"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = file.getvalue() + b"\n" * (len(file.getvalue()) % 2)
    return document


def ecg_object() -> Dataset:
    ecg = _without_pixels(TwelveLeadECGWaveformStorage, "ECG", "199001032382")
    seconds = np.arange(ECG_SAMPLES) / ECG_RATE
    beat = 800 * np.exp(-(((seconds % 0.8) - 0.4) ** 2) / 0.0004)
    samples = np.stack([beat * (1 + lead / 12) for lead in range(len(LEADS))], axis=1)
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(LEADS), ECG_SAMPLES
    group.SamplingFrequency = ECG_RATE
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.ChannelDefinitionSequence = [_channel(number, name) for number, name in enumerate(LEADS)]
    group.WaveformData = samples.astype("<i2").tobytes()
    group["WaveformData"].VR = "OW"
    ecg.WaveformSequence = [group]
    return ecg


def _channel(number: int, name: str) -> Dataset:
    channel = Dataset()
    channel.WaveformChannelNumber = number + 1
    channel.ChannelSourceSequence = [_code("2:1", "MDC", f"Lead {name}")]
    channel.ChannelSensitivity = 1
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = 1
    channel.ChannelBaseline = 0
    channel.WaveformBitsStored = 16
    return channel


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _without_pixels(sop_class_uid: str, modality: str, patient_id: str) -> Dataset:
    dataset = a_dataset(SOPClassUID=sop_class_uid, Modality=modality, PatientID=patient_id)
    for element in [element for element in dataset if element.tag.group in (0x0028, 0x7FE0)]:
        del dataset[element.tag]
    return dataset


def as_file(dataset: Dataset) -> bytes:
    is_video = "PixelData" in dataset
    return written(dataset, MPEG4HP41 if is_video else ExplicitVRLittleEndian)
