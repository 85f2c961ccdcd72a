"""The rules of PS3.4 Table F.7.2-1 and the states of a performed procedure step."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from bfr_dicomweb.dicom import performed_steps
from bfr_dicomweb.dicom.performed_steps import FINAL, RULES, TRANSITIONS, Rule, State
from bfr_dicomweb.errors import Conflict, InvalidDataset
from modalities import a_scheduled_item, a_series, a_step, completed, discontinued

STATUS = performed_steps.STATUS


def tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


def as_json(dataset: Any) -> dict[str, Any]:
    found: dict[str, Any] = dataset.to_json_dict()
    return found


def a_created(**values: Any) -> dict[str, Any]:
    return performed_steps.created(as_json(a_step(**values)))


def path_of(rule: Rule) -> str:
    return ".".join(keyword_for_tag(int(tag, 16)) for tag in rule.path)


def a_whole_step() -> dict[str, Any]:
    """With an item in each sequence of the table."""
    item = a_scheduled_item()
    reference = a_series().ReferencedImageSequence[0]
    item.ReferencedStudySequence = [reference]
    series = a_series()
    series.ReferencedNonImageCompositeSOPInstanceSequence = [reference]
    return as_json(
        a_step(item, ReferencedPatientSequence=[reference], PerformedSeriesSequence=[series])
    )


def inside(dataset: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """The data set or item in which the attribute of a rule stands."""
    for tag in rule.path[:-1]:
        dataset = dataset[tag]["Value"][0]
    return dataset


def refused(dataset: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    with pytest.raises(InvalidDataset) as caught:
        performed_steps.created(dataset)
    return caught.value.path, caught.value.defect


@pytest.mark.parametrize("rule", [r for r in RULES if r.create in "12"], ids=path_of)
def test_what_has_to_be_there_on_creation_is_named_when_it_is_missing(rule: Rule) -> None:
    step = a_whole_step()
    del inside(step, rule)[rule.path[-1]]

    assert refused(step) == (rule.path, "missing")


@pytest.mark.parametrize("rule", [r for r in RULES if r.create == "1"], ids=path_of)
def test_what_must_have_a_value_on_creation_is_named_when_it_has_none(rule: Rule) -> None:
    step = a_whole_step()
    inside(step, rule)[rule.path[-1]].pop("Value")

    assert refused(step) == (rule.path, "empty")


@pytest.mark.parametrize("rule", [r for r in RULES if r.create in "23"], ids=path_of)
def test_what_may_be_empty_on_creation_is_taken_empty(rule: Rule) -> None:
    step = a_whole_step()
    inside(step, rule).get(rule.path[-1], {}).pop("Value", None)

    assert performed_steps.created(step)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PerformedProcedureStepStartDate", "20240199"),
        ("PerformedProcedureStepStartTime", "2515"),
        ("PerformedProcedureStepStatus", "SCHEDULED"),
    ],
)
def test_a_value_that_is_none_is_refused(keyword: str, value: str) -> None:
    step = as_json(a_step())
    own = tag(keyword)
    step[own]["Value"] = [value]

    assert refused(step) == ((own,), "invalid")


def test_a_study_instance_uid_has_to_be_one() -> None:
    step = as_json(a_step())
    step[performed_steps.SCHEDULED]["Value"][0]["0020000D"]["Value"] = ["1.02.x"]

    assert refused(step) == ((performed_steps.SCHEDULED, "0020000D"), "invalid")


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_a_step_begins_in_progress(state: str) -> None:
    assert refused(as_json(a_step(PerformedProcedureStepStatus=state))) == ((STATUS,), "invalid")


ENDS = {State.COMPLETED: completed(), State.DISCONTINUED: discontinued()}


@pytest.mark.parametrize("requested", State)
@pytest.mark.parametrize("state", State)
def test_a_step_changes_its_state_as_the_table_says(state: State, requested: State) -> None:
    step = a_created()
    if state in ENDS:
        step = performed_steps.updated(step, as_json(ENDS[state]))
    wanted = as_json(completed(PerformedProcedureStepStatus=requested.value))

    if requested in TRANSITIONS[state]:
        assert performed_steps.state_of(performed_steps.updated(step, wanted)) is requested
    else:
        with pytest.raises(Conflict, match="may no longer be updated"):
            performed_steps.updated(step, wanted)


@given(st.lists(st.sampled_from(State)))
def test_the_first_end_of_a_step_is_its_end(requests: list[State]) -> None:
    step = a_created()
    for requested in requests:
        try:
            wanted = as_json(completed(PerformedProcedureStepStatus=requested.value))
            step = performed_steps.updated(step, wanted)
        except Conflict:
            continue

    ends = [requested for requested in requests if requested in FINAL]
    assert performed_steps.state_of(step) is (ends[0] if ends else State.IN_PROGRESS)


@pytest.mark.parametrize(
    "keyword",
    [path_of(r) for r in RULES if r.update == "NA" and len(r.path) == 1 and r.create in "12"],
)
def test_what_may_not_be_set_is_refused(keyword: str) -> None:
    step = a_created()
    own = tag(keyword)
    value: Any = [{"00080005": {"vr": "CS", "Value": ["X"]}}]
    vr = step[own]["vr"]
    if vr != "SQ":
        value = [{"Alphabetic": "Other"}] if vr == "PN" else ["99990101"]

    with pytest.raises(InvalidDataset) as caught:
        performed_steps.updated(step, {own: {"vr": vr, "Value": value}})

    assert (caught.value.path, caught.value.defect) == ((own,), "not-allowed")


def test_what_may_not_be_set_may_be_repeated() -> None:
    step = a_created()

    after = performed_steps.updated(step, step | as_json(completed()))

    assert performed_steps.state_of(after) is State.COMPLETED


@pytest.mark.parametrize("keyword", [path_of(r) for r in RULES if r.final in "RC"])
def test_what_a_completed_step_must_have_is_required(keyword: str) -> None:
    last = as_json(completed())
    own = tag(keyword)
    del last[own]

    with pytest.raises(InvalidDataset) as caught:
        performed_steps.updated(a_created(), last)

    assert (caught.value.path, caught.value.defect) == ((own,), "empty")


def test_a_step_that_is_discontinued_needs_no_series() -> None:
    last = as_json(discontinued())
    del last[tag("PerformedSeriesSequence")]

    after = performed_steps.updated(a_created(), last)

    assert performed_steps.state_of(after) is State.DISCONTINUED


@pytest.mark.parametrize(
    "rule",
    [r for r in RULES if r.update in "12" and r.path[0] == "00400340" and len(r.path) > 1],
    ids=path_of,
)
def test_what_a_series_has_to_have_on_update_is_named_when_it_is_missing(rule: Rule) -> None:
    last = as_json(completed())
    whole = a_whole_step()
    last["00400340"] = whole["00400340"]
    del inside(last, rule)[rule.path[-1]]

    with pytest.raises(InvalidDataset) as caught:
        performed_steps.updated(a_created(), last)

    assert (caught.value.path, caught.value.defect) == (rule.path, "missing")


def test_an_attribute_that_the_table_does_not_have_is_kept() -> None:
    dose = {"vr": "US", "Value": [12]}

    after = performed_steps.updated(a_created(), {"00400300": dose})

    assert after["00400300"] == dose


def test_no_character_set_is_kept() -> None:
    step = as_json(a_step(SpecificCharacterSet="ISO_IR 100"))

    assert "00080005" not in performed_steps.created(step)
