import pytest

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.attributes import has_value, tag_of


@pytest.mark.parametrize("name", ["0020000D", "0020000d", "StudyInstanceUID"])
def test_a_tag_is_named_by_digits_or_keyword(name: str) -> None:
    assert tag_of(name) == "0020000D"


@pytest.mark.parametrize("name", ["", "studyinstanceuid", "0020000", "0020,000D", "٠٠٢٠٠٠٠D"])
def test_other_names_are_no_tags(name: str) -> None:
    assert tag_of(name) is None


def test_no_attribute_belongs_to_two_levels_but_those_of_the_sop_common_module() -> None:
    both = attributes.STUDY_LEVEL & attributes.SERIES_LEVEL
    assert both == {tag_of("SpecificCharacterSet"), tag_of("TimezoneOffsetFromUTC")}


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (None, False),
        ({"vr": "LO"}, False),
        ({"vr": "LO", "Value": []}, False),
        ({"vr": "LO", "Value": [None, ""]}, False),
        ({"vr": "PN", "Value": [{}]}, False),
        ({"vr": "LO", "Value": [None, "x"]}, True),
        ({"vr": "IS", "Value": [0]}, True),
        ({"vr": "OB", "InlineBinary": "AA=="}, True),
    ],
)
def test_an_element_has_a_value_when_one_is_not_empty(element: object, expected: bool) -> None:
    assert has_value(element) is expected  # type: ignore[arg-type]
