"""Objects that are shown through others, made with pydicom, and images to show them through."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from pydicom.dataset import Dataset

from objects import uid
from stored_images import an_image, an_item

GRAYSCALE_STATE = "1.2.840.10008.5.1.4.1.1.11.1"


def a_slice(
    pixels: npt.NDArray[Any],
    *,
    position: Sequence[float] = (0, 0, 0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: Sequence[float] = (1, 1),
    **attributes: Any,
) -> Dataset:
    """An image in the patient; frame of reference 2.25.7 unless another one is named."""
    return an_image(
        pixels,
        ImagePositionPatient=list(position),
        ImageOrientationPatient=list(orientation),
        PixelSpacing=list(spacing),
        SliceThickness=1,
        **{"FrameOfReferenceUID": "2.25.7", **attributes},
    )


def reference_to(image: Dataset, *frames: int) -> Dataset:
    made = an_item(
        ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID
    )
    if frames:
        made.ReferencedFrameNumber = list(frames)
    return made


def series_of(*images: Dataset) -> list[Dataset]:
    """A Referenced Series Sequence."""
    return [
        an_item(
            SeriesInstanceUID=image.SeriesInstanceUID,
            ReferencedImageSequence=[reference_to(image)],
        )
        for image in images
    ]


def a_state(*images: Dataset, **attributes: Any) -> Dataset:
    """A presentation state that shows all of each image; a grayscale one unless said otherwise."""
    state = an_item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=GRAYSCALE_STATE,
        SOPInstanceUID=uid(),
        StudyInstanceUID=uid(),
        SeriesInstanceUID=uid(),
        Modality="PR",
        PatientName="Åkerström^Björn",
        PatientID="191212121212",
        InstanceNumber=1,
        ContentLabel="STATE",
        PresentationCreationDate="20240115",
        PresentationCreationTime="101500",
        ReferencedSeriesSequence=series_of(*images),
        PresentationLUTShape="IDENTITY",
    )
    for keyword, value in attributes.items():
        setattr(state, keyword, value)
    return state


def a_window(center: float, width: float, *images: Dataset) -> Dataset:
    """An item of a Softcopy VOI LUT Sequence; meant for all, or for some images."""
    made = an_item(WindowCenter=center, WindowWidth=width)
    if images:
        made.ReferencedImageSequence = [reference_to(image) for image in images]
    return made


def an_area(first: Sequence[int], last: Sequence[int], **attributes: Any) -> Dataset:
    """An item of a Displayed Area Selection Sequence; columns and rows count from 1."""
    return an_item(
        DisplayedAreaTopLeftHandCorner=list(first),
        DisplayedAreaBottomRightHandCorner=list(last),
        **{
            "PresentationSizeMode": "SCALE TO FIT",
            "PresentationPixelAspectRatio": [1, 1],
            **attributes,
        },
    )


def a_layer(name: str, order: int = 1, **attributes: Any) -> Dataset:
    return an_item(GraphicLayer=name, GraphicLayerOrder=order, **attributes)


def a_graphic(
    kind: str, points: Sequence[float], *, units: str = "PIXEL", filled: bool = False
) -> Dataset:
    return an_item(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points) // 2,
        GraphicData=list(points),
        GraphicType=kind,
        GraphicFilled="Y" if filled else "N",
    )


def a_text(words: str, box: Sequence[float] = (), *, units: str = "PIXEL", **other: Any) -> Dataset:
    made = an_item(UnformattedTextValue=words, **other)
    if box:
        made.BoundingBoxAnnotationUnits = units
        made.BoundingBoxTopLeftHandCorner = list(box[:2])
        made.BoundingBoxBottomRightHandCorner = list(box[2:])
        made.BoundingBoxTextHorizontalJustification = "LEFT"
    return made


def an_annotation(
    layer: str = "A", graphics: Sequence[Dataset] = (), texts: Sequence[Dataset] = (), **other: Any
) -> Dataset:
    made = an_item(GraphicLayer=layer, **other)
    if graphics:
        made.GraphicObjectSequence = list(graphics)
    if texts:
        made.TextObjectSequence = list(texts)
    return made
