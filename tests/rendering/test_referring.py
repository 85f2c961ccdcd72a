"""Objects that are shown through others: what holds for all of them."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pydicom.dataset import Dataset
from pydicom.uid import UID

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import ArchiveError, NotFound, TooLarge
from bfr_dicomweb.rendering import referring
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.referring import (
    SHOWS_OTHERS,
    references_of,
    render_references,
    showing,
)
from presentation_objects import (
    a_graphic,
    a_layer,
    a_slice,
    a_state,
    a_text,
    a_window,
    an_annotation,
    an_area,
    reference_to,
)
from segmentation_objects import a_segmentation, slices
from stored_images import an_item, stored

Json = dict[str, Any]


def a_full_state(image: Dataset) -> Dataset:
    annotation = an_annotation(
        graphics=[
            a_graphic("CIRCLE", [4, 4, 8, 8]),
            a_graphic("ELLIPSE", [1, 2, 3, 4, 5, 6, 7, 8], filled=True),
            a_graphic("INTERPOLATED", [1, 2, 3, 4, 5, 6, 1, 2]),
        ],
        texts=[
            a_text(
                "å",
                [1, 2, 20, 9],
                AnchorPoint=[3, 3],
                AnchorPointVisibility="Y",
                AnchorPointAnnotationUnits="DISPLAY",
            )
        ],
    )
    annotation.GraphicObjectSequence[0].LineStyleSequence = [
        an_item(LineThickness=2.0, LineDashingStyle="DASHED", PatternOnOpacity=0.5)
    ]
    return a_state(
        image,
        SoftcopyVOILUTSequence=[a_window(10, 20, image)],
        DisplayedAreaSelectionSequence=[
            an_area([1, 1], [16, 16], PresentationPixelMagnificationRatio=2.0)
        ],
        ImageRotation=90,
        ImageHorizontalFlip="Y",
        ShutterShape=["CIRCULAR", "RECTANGULAR"],
        CenterOfCircularShutter=[5, 5],
        RadiusOfCircularShutter=9,
        ShutterLeftVerticalEdge=1,
        GraphicLayerSequence=[
            a_layer("A", GraphicLayerRecommendedDisplayCIELabValue=[40000, 20000, 10000])
        ],
        GraphicAnnotationSequence=[annotation],
        RecommendedViewingMode="SUB",
        MaskSubtractionSequence=[an_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])],
    )


def a_structure_set(image: Dataset) -> Dataset:
    contour = an_item(
        ContourGeometricType="CLOSED_PLANAR",
        ContourData=[1, 1, 0, 9, 1, 0, 9, 9, 0],
        ContourImageSequence=[reference_to(image)],
    )
    return an_item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        SOPInstanceUID="2.25.1",
        StudyInstanceUID="2.25.2",
        SeriesInstanceUID="2.25.3",
        ROIContourSequence=[
            an_item(
                ReferencedROINumber=1, ROIDisplayColor=[1, 2, 3], ContourSequence=[contour, contour]
            )
        ],
    )


def subjects() -> list[tuple[StoredObject, dict[str, StoredObject]]]:
    """Objects of several kinds with their images."""
    sources = slices()
    masks = np.zeros((3, 16, 16, 2), np.bool_)
    masks[:, 3:9, 3:9, 0] = masks[:, 8:12, 8:12, 1] = True
    archive = {image.SOPInstanceUID: stored(image) for image in sources}
    made = [
        a_full_state(sources[0]),
        a_segmentation(sources, masks),
        a_segmentation(sources, masks[..., 0].astype(np.uint8), kind="LABELMAP"),
        a_structure_set(sources[1]),
    ]
    return [(stored(each), archive) for each in made]


SUBJECTS = subjects()
VALUE = st.one_of(
    st.none(),
    st.just({}),
    st.integers(-(2**63), 2**63),
    st.integers(-2, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "-5", "1e400", "nan", "Y", "PIXEL", "MATRIX", "TILED_FULL"]),
)


def elements(attributes: Json) -> Iterator[tuple[Json, str]]:
    """Each attribute, at every depth, by the data set or item that it is in."""
    for tag, element in attributes.items():
        yield attributes, tag
        for item in element.get("Value") or () if element.get("vr") == "SQ" else ():
            if isinstance(item, dict):
                yield from elements(item)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), subject=st.integers(0, len(SUBJECTS) - 1))
def test_whatever_is_written_in_an_object_is_no_bug(data: st.DataObject, subject: int) -> None:
    original, archive = SUBJECTS[subject]
    attributes = deepcopy(dict(original.attributes))
    for _ in range(data.draw(st.integers(1, 4))):
        places = list(elements(attributes))
        holder, tag = places[data.draw(st.integers(0, len(places) - 1))]
        vr = holder[tag].get("vr", "UN")
        holder[tag] = {"vr": vr, "Value": data.draw(st.lists(VALUE, max_size=4))}
    broken = StoredObject(
        b"",
        transfer_syntax_uid=original.transfer_syntax_uid,
        big_endian=False,
        attributes=attributes,
        bulk=(),
        frames=None,
    )
    # the pixel data of the original, described by what is broken
    broken.frames, broken._source, broken._bulk = (
        original.frames,
        original._source,
        original._bulk,
    )

    with suppress(ArchiveError):
        found = render_references(broken, archive, Rendering(viewport=Viewport(64, 64)))
        assert all(max(each.picture.pixels.shape) <= 64 for each in found.shown)


def test_each_class_is_a_storage_class() -> None:
    unknown = {"1.2.840.10008.5.1.4.1.1.66.7"}  # younger than pydicom's dictionary

    assert all(UID(uid).name.endswith("Storage") for uid in SHOWS_OTHERS.keys() - unknown)


def test_an_image_is_shown_by_itself() -> None:
    image = stored(a_slice(np.zeros((8, 8), np.uint16)))

    assert references_of(image) == ()
    with pytest.raises(NotFound):
        showing(image, {})


def test_frames_that_are_declared_and_not_there_are_not_counted_out() -> None:
    image = a_slice(np.zeros((8, 8), np.uint16), NumberOfFrames=2**31 - 1, PixelData=bytes(4))
    state = stored(a_state(image))

    with pytest.raises(TooLarge, match="frames"):
        showing(state, {image.SOPInstanceUID: stored(image)})


def test_more_pictures_than_are_made_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referring, "MAX_PICTURES", 2)
    segmentation, archive = SUBJECTS[1]

    with pytest.raises(TooLarge, match="single frames"):
        render_references(segmentation, archive, Rendering())


def test_presentation_states_are_told_from_others() -> None:
    states = {uid for uid, way in SHOWS_OTHERS.items() if way.is_presentation_state}

    assert {uid.rsplit(".", 2)[1] for uid in states} == {"11"}
    assert len(states) == 6
