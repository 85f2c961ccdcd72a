import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.dicom.json_model import MAX_DEPTH, read_json
from bfr_dicomweb.errors import ArchiveError, InvalidDataset, InvalidRequest, TooLarge
from workitems_said import a_workitem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ELEMENT = st.fixed_dictionaries(
    {}, optional={"vr": st.sampled_from(["PN", "SQ", "DS", "CS", "XX", ""]), "Value": JSON}
)
DATASET = st.dictionaries(
    st.sampled_from(["00100010", "0040a370", "00741004", "00741000", "x"]), ELEMENT
)


def read(*datasets: object) -> list[dict[str, object]]:
    return read_json(orjson.dumps(list(datasets)))


def test_tags_are_upper_case_and_ascending() -> None:
    (found,) = read({"0040a370": {"vr": "SQ"}, "00100020": {"vr": "LO", "Value": ["X"]}})
    assert list(found) == ["00100020", "0040A370"]


def test_one_data_set_needs_no_array() -> None:
    assert read_json(b"{}") == [{}]


def test_a_missing_vr_is_that_of_the_dictionary() -> None:
    assert read({"00100020": {"Value": ["X"]}}) == [{"00100020": {"vr": "LO", "Value": ["X"]}}]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"00100020": {"vr": "CS", "Value": ["X"]}}, "Patient ID (0010,0020) must have the vr LO"),
        ({"00100020": {"vr": "LO", "Value": [1]}}, "Patient ID (0010,0020) must be text"),
        ({"00100020": {"vr": "LO", "Value": "X"}}, "must have its values in an array"),
        ({"00100010": {"vr": "PN", "Value": ["A^B"]}}, "must be a name in its groups"),
        ({"00741004": {"vr": "DS", "Value": ["x"]}}, "must be a number"),
        ({"00404005": {"vr": "DT", "Value": ["soon"]}}, "is no DT"),
        ({"0020000D": {"vr": "UI", "Value": ["1..2"]}}, "is no UI"),
        ({"0040A370": {"vr": "SQ", "Value": ["x"]}}, "must hold items"),
    ],
)
def test_a_malformed_attribute_is_named(dataset: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidDataset) as caught:
        read(dataset)
    assert said in str(caught.value)


def test_an_attribute_in_an_item_is_named_with_its_sequence() -> None:
    with pytest.raises(InvalidDataset) as caught:
        read({"0040A370": {"vr": "SQ", "Value": [{"00080050": {"vr": "SH", "Value": [1]}}]}})
    assert caught.value.path == ("0040A370", "00080050")


def test_the_values_of_an_attribute_are_not_told() -> None:
    with pytest.raises(InvalidDataset) as caught:
        read({"00100030": {"vr": "DA", "Value": ["19121212x"]}})
    assert "19121212" not in str(caught.value)


def test_sequences_end_somewhere() -> None:
    dataset: dict[str, object] = {}
    for _ in range(MAX_DEPTH + 2):
        dataset = {"0040A370": {"vr": "SQ", "Value": [dataset]}}
    with pytest.raises(TooLarge):
        read(dataset)


@pytest.mark.parametrize("payload", [b"", b"x", b"1", b"[]", b"[1]", b'"text"'])
def test_what_is_no_data_set_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_json(payload)


def test_a_good_data_set_stays_as_it_is() -> None:
    assert read(a_workitem()) == [a_workitem()]


@given(DATASET)
def test_whatever_is_written_is_read_or_refused(dataset: dict[str, object]) -> None:
    try:
        (found,) = read_json(orjson.dumps(dataset, option=orjson.OPT_NON_STR_KEYS))
    except ArchiveError:
        return
    assert read_json(orjson.dumps(found)) == [found]
