"""Key object selections."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotFound
from bfr_dicomweb.rendering.parameters import Rendering, Viewport
from bfr_dicomweb.rendering.references import Reason
from bfr_dicomweb.rendering.referring import references_of, render_references, showing
from objects import a_dataset, uid
from presentation_objects import a_state, reference_to
from shared_data import dicom_files, require_shared_data
from stored_images import a_ramp, an_image, an_item, stored


def a_selection(*named: Dataset) -> Dataset:
    """Items of Referenced SOP Sequence, in this order."""
    return an_item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59",
        SOPInstanceUID=uid(),
        StudyInstanceUID="2.25.5",
        SeriesInstanceUID=uid(),
        Modality="KO",
        ValueType="CONTAINER",
        CurrentRequestedProcedureEvidenceSequence=[
            an_item(
                StudyInstanceUID="2.25.5",
                ReferencedSeriesSequence=[
                    an_item(SeriesInstanceUID="2.25.6", ReferencedSOPSequence=list(named))
                ],
            )
        ],
        ContentSequence=[
            an_item(RelationshipType="CONTAINS", ValueType="TEXT", TextValue="Bra bilder"),
            *(
                an_item(
                    RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=[each]
                )
                for each in named
            ),
        ],
    )


def ramp(frames: int = 1) -> Dataset:
    image = an_image((a_ramp() % 251).astype(np.uint8), WindowCenter=128, WindowWidth=256)
    if frames > 1:
        image.NumberOfFrames, image.PixelData = frames, image.PixelData * frames
    return image


def test_images_are_shown_in_the_order_of_the_selection() -> None:
    first, second = ramp(), ramp(frames=3)
    selection = a_selection(reference_to(second, 3, 1), reference_to(first))
    archive = {image.SOPInstanceUID: stored(image) for image in (first, second)}

    found = showing(stored(selection), archive)

    assert [(each.sop_instance_uid, each.frame_number) for each in found.targets] == [
        (second.SOPInstanceUID, 3),
        (second.SOPInstanceUID, 1),
        (first.SOPInstanceUID, 1),
    ]


def test_an_image_is_shown_as_it_is_by_itself() -> None:
    image = ramp()
    archive = {image.SOPInstanceUID: stored(image)}

    found = render_references(
        stored(a_selection(reference_to(image))), archive, Rendering(viewport=Viewport(32, 32))
    )

    assert found.shown[0].picture.pixels.shape == (24, 32)


def test_an_image_is_seen_through_the_presentation_state_that_is_selected_with_it() -> None:
    image = ramp()
    state = a_state(image, PresentationLUTShape="INVERSE")
    named = reference_to(image)
    named.ReferencedSOPSequence = [reference_to(state)]
    archive = {each.SOPInstanceUID: stored(each) for each in (image, state)}

    found = render_references(stored(a_selection(named)), archive, Rendering())

    assert found.shown[0].picture.pixels[0, 0] == 255


def test_everything_that_is_needed_is_referenced() -> None:
    image = ramp()
    state = a_state(image)
    named = reference_to(image, 2)
    named.ReferencedSOPSequence = [reference_to(state)]

    of_image, of_state = references_of(stored(a_selection(named)))

    assert (of_image.frame_numbers, of_image.series_instance_uid) == ((2,), "2.25.6")
    assert of_image.study_instance_uid == "2.25.5"
    assert of_state.sop_instance_uid == state.SOPInstanceUID


def test_a_slide_of_which_no_tile_is_named_is_one_picture() -> None:
    slide = ramp(frames=4)
    slide.TotalPixelMatrixColumns, slide.TotalPixelMatrixRows = 128, 96
    slide.DimensionOrganizationType = "TILED_FULL"
    archive = {slide.SOPInstanceUID: stored(slide)}

    found = render_references(stored(a_selection(reference_to(slide))), archive, Rendering())

    assert [each.picture.pixels.shape for each in found.shown] == [(96, 128)]


def test_what_is_no_image_is_told() -> None:
    image, report = ramp(), a_dataset(PixelData=None)
    archive = {each.SOPInstanceUID: stored(each) for each in (image, report)}

    found = showing(stored(a_selection(reference_to(report), reference_to(image))), archive)

    assert [each.reason for each in found.left_out] == [Reason.NO_PIXELS]
    assert len(found.targets) == 1


def test_a_selection_of_nothing_shows_nothing() -> None:
    with pytest.raises(NotFound, match="refers to nothing"):
        showing(stored(a_selection()), {})


@pytest.mark.parametrize(
    "file", dicom_files("by_modality/KO_SYNTHETIC/*"), ids=lambda path: path.name
)
def test_selections_of_the_sample_files_name_three_images(file: object) -> None:
    require_shared_data()

    assert len(references_of(StoredObject.read(file))) == 3  # type: ignore[arg-type]
