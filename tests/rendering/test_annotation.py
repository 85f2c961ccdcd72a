from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.annotation import annotate, letter_size, patient_lines, runs
from bfr_dicomweb.rendering.annotation import technique_lines as lines_of
from bfr_dicomweb.rendering.parameters import Annotation, Window, WindowFunction
from bfr_dicomweb.rendering.picture import Picture
from shared_data import NO_TYPEFACE, has_typeface
from stored_images import a_ramp, a_stored_image, an_image, an_item, stored

BOTH = frozenset(Annotation)


def an_object(**attributes: Any) -> StoredObject:
    return a_stored_image(a_ramp(), **attributes)


def in_charset(charset: str, name: bytes) -> StoredObject:
    dataset: Dataset = an_image(a_ramp(), SpecificCharacterSet=charset)
    dataset.PatientName = name.decode({"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}[charset])
    return stored(dataset)


def test_the_patient_is_named_with_identity_birth_date_and_sex() -> None:
    assert patient_lines(an_object().attributes) == [
        "Björn Åkerström",
        "191212121212",
        "1912-12-12 M",
    ]


def test_what_is_not_known_of_the_patient_leaves_no_line() -> None:
    nobody = an_object(PatientName="", PatientID=None, PatientBirthDate="", PatientSex=None)

    assert patient_lines(nobody.attributes) == []


def test_a_name_is_written_in_each_of_its_writings() -> None:
    image = an_object(PatientName="Yamada^Tarou=山田^太郎")

    assert patient_lines(image.attributes)[0] == "Tarou Yamada (太郎 山田)"


def test_swedish_letters_of_latin_1_are_right() -> None:
    image = in_charset("ISO_IR 100", "Åslög^Märta".encode("latin-1"))

    assert patient_lines(image.attributes)[0] == "Märta Åslög"


def test_the_technique_of_ct_is_told() -> None:
    image = an_object(
        KVP="120",
        XRayTubeCurrent="250",
        Exposure="125",
        SliceThickness="2.500000",
        SliceLocation="-12.25",
        SeriesDescription="Buk åäö",
        AcquisitionDate="20240115",
        AcquisitionTime="101530.123",
    )

    assert lines_of(image, 0, Window(40, 400)) == [
        "CT  Buk åäö",
        "Se 1  Im 1",
        "2024-01-15 10:15:30",
        "120 kV  250 mA  125 mAs",
        "2.5 mm  Loc -12.25",
        "C 40  W 400",
    ]


def test_the_technique_of_mr_is_told() -> None:
    image = an_object(
        Modality="MR",
        RepetitionTime="550",
        EchoTime="11.5",
        FlipAngle="90",
        MagneticFieldStrength="3",
    )

    assert "TR 550 ms  TE 11.5 ms  FA 90°  3 T" in lines_of(image, 0, None)


def test_the_technique_of_a_frame_is_found_in_its_functional_groups() -> None:
    shared = an_item(
        MRTimingAndRelatedParametersSequence=[an_item(RepetitionTime=4000, FlipAngle=90)],
        MREchoSequence=[an_item(EffectiveEchoTime=80)],
        PixelMeasuresSequence=[an_item(SliceThickness="3")],
    )
    groups = [
        an_item(PlanePositionSequence=[an_item(ImagePositionPatient=["0", "0", str(place)])])
        for place in (5, 8)
    ]
    image = an_object(
        Modality="MR",
        NumberOfFrames=2,
        PixelData=a_ramp().tobytes() * 2,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=groups,
    )

    found = lines_of(image, 1, None)

    assert "TR 4000 ms  TE 80 ms  FA 90°" in found
    assert "3 mm  Pos 0.0/0.0/8.0" in found
    assert "Se 1  Im 1  Fr 2/2" in found


def test_the_function_of_a_window_is_told_where_it_is_not_linear() -> None:
    window = Window(0.5, 0.25, WindowFunction.SIGMOID)

    assert lines_of(an_object(), 0, window)[-1] == "C 0.5  W 0.25  sigmoid"


def test_lossy_compression_is_told() -> None:
    image = an_object(LossyImageCompression="01", LossyImageCompressionRatio="12.5")

    assert lines_of(image, 0, None)[-1] == "lossy 12.5:1"


@pytest.mark.parametrize("background", [0, 127, 255])
@pytest.mark.parametrize("colors", [False, True])
def test_letters_can_be_read_on_any_background(background: int, colors: bool) -> None:
    shape = (400, 500, 3) if colors else (400, 500)
    picture = Picture(np.full(shape, background, np.uint8), b"profile")

    found = annotate(picture, an_object(), 0, BOTH, window=Window(40, 400))

    for part in (found.pixels[:80], found.pixels[-120:]):
        assert (part > 200).sum() > 200
        assert (part < 50).sum() > 200
    assert found.icc_profile == b"profile"
    assert (picture.pixels == background).all()


def test_the_patient_stands_above_and_the_technique_below() -> None:
    picture = Picture(np.full((400, 500), 127, np.uint8))

    above = annotate(picture, an_object(), 0, [Annotation.PATIENT]).pixels != 127
    below = annotate(picture, an_object(), 0, [Annotation.TECHNIQUE]).pixels != 127

    assert above[:100].any()
    assert not above[200:].any()
    assert below[-100:].any()
    assert not below[:200].any()


def test_without_annotations_a_picture_stays_what_it_is() -> None:
    picture = Picture(np.full((400, 500), 127, np.uint8))

    assert annotate(picture, an_object(), 0, []) is picture


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (8, 400), (48, 64), (3000, 9), (2000, 2500)])
def test_pictures_of_any_size_are_written_on(rows: int, columns: int) -> None:
    picture = Picture(np.full((rows, columns), 127, np.uint8))

    assert annotate(picture, an_object(), 0, BOTH).pixels.shape == (rows, columns)


def test_a_small_picture_shows_that_it_is_annotated() -> None:
    picture = Picture(np.full((48, 64), 127, np.uint8))

    for annotation in Annotation:
        assert (annotate(picture, an_object(), 0, [annotation]).pixels != 127).any()


def test_letters_grow_with_the_picture() -> None:
    sizes = [letter_size(side, side) for side in (64, 512, 1024, 4096)]

    assert sizes == sorted(sizes)
    assert 10 <= letter_size(512, 512) <= 16


def test_letters_of_western_europe_are_drawn_as_themselves() -> None:
    assert "".join(text for text, _font in runs("ÅÄÖåäöéÜß", 20)) == "ÅÄÖåäöéÜß"


@pytest.mark.skipif(not has_typeface(), reason=NO_TYPEFACE)
@pytest.mark.parametrize("letters", ["Łódź", "Иванов", "Παπαδόπουλος"])
def test_letters_of_europe_are_drawn_as_themselves(letters: str) -> None:
    assert "".join(text for text, _font in runs(letters, 20)) == letters


def test_letters_that_no_font_has_become_question_marks() -> None:
    assert "".join(text for text, _font in runs("a\U0001f9ffb", 20)) == "a?b"


def test_control_characters_are_left_out() -> None:
    assert "".join(text for text, _font in runs("a\x1b\n\x00b", 20)) == "ab"


def test_swedish_letters_differ_from_those_without_marks() -> None:
    (_, font), *_ = runs("Å", 24)

    assert bytes(font.getmask("Å")) != bytes(font.getmask("A"))
    assert bytes(font.getmask("ö")) != bytes(font.getmask("o"))
