"""What makes a workitem and how it lives (PS3.4 Annex CC): the tables, row by row, and laws."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bfr_dicomweb.dicom import workitems
from bfr_dicomweb.dicom.workitem_attributes import RULES, Rule
from bfr_dicomweb.dicom.workitems import (
    EventType,
    Outcome,
    State,
    Workitem,
    change_state,
    create,
    request_cancellation,
    update,
)
from bfr_dicomweb.errors import (
    ArchiveError,
    InvalidDataset,
    NotTheClaimant,
    WorkitemEnded,
    WorkitemStateConflict,
)
from workitems_said import (
    MINIMAL,
    PUSH,
    Dataset,
    a_workitem,
    coded,
    performed,
    progress,
    text,
)

NOW = "20240108090000.000000+0000"
LATER = "20240108100000.000000+0000"
OWN, OTHER = "2.25.1", "2.25.2"
TOP = tuple(rule for rule in RULES if len(rule.path) == 1)
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = State


def created(**attributes: Dataset | None) -> Workitem:
    return create(a_workitem(**attributes), uid="2.25.7", now=NOW).workitem


def claimed() -> Workitem:
    return change_state(created(), IN_PROGRESS, transaction_uid=OWN, now=NOW).workitem


def completed() -> Workitem:
    done = update(claimed(), performed(), transaction_uid=OWN, now=NOW).workitem
    return change_state(done, COMPLETED, transaction_uid=OWN, now=NOW).workitem


def canceled() -> Workitem:
    return change_state(claimed(), CANCELED, transaction_uid=OWN, now=NOW).workitem


IN_STATE: dict[State, Callable[[], Workitem]] = {
    SCHEDULED: created,
    IN_PROGRESS: claimed,
    COMPLETED: completed,
    CANCELED: canceled,
}


def tag_of(rule: Rule) -> str:
    return rule.path[-1]


def value_for(tag: str) -> Dataset:
    """Something that an attribute may hold, or at least not nothing."""
    known = a_workitem().get(tag) or {"vr": "LO"}
    return known if known.get("Value") else {"vr": known["vr"], "Value": ["1"]}


# --- creation --------------------------------------------------------------------------------


def test_what_is_given_is_kept() -> None:
    given = a_workitem(T00404025=coded("CT1"))
    kept = created(T00404025=coded("CT1")).attributes
    assert {tag: kept[tag] for tag in given.keys() & kept.keys()} == {
        tag: given[tag] for tag in given if tag != "00081195"
    }


@pytest.mark.parametrize(
    ("tag", "value"), [("00080016", PUSH), ("00080018", "2.25.7"), ("00404010", NOW)]
)
def test_creation_sets(tag: str, value: str) -> None:
    assert created().attributes[tag]["Value"] == [value]


def test_tags_ascend() -> None:
    assert list(created().attributes) == sorted(created().attributes)


def test_what_is_complete_is_not_modified() -> None:
    assert not create(a_workitem(), uid="2.25.7", now=NOW).is_modified


@pytest.mark.parametrize("rule", [rule for rule in TOP if rule.create == "1"], ids=tag_of)
@pytest.mark.parametrize("defect", ["missing", "empty"])
def test_type_1_has_a_value_when_a_workitem_is_created(rule: Rule, defect: str) -> None:
    tag = rule.path[0]
    element = None if defect == "missing" else {"vr": a_workitem()[tag]["vr"]}
    with pytest.raises(InvalidDataset) as refused:
        created(**{f"T{tag}": element})
    assert (refused.value.path, refused.value.defect) == (rule.path, defect)


def test_what_is_of_type_1_is_the_minimum() -> None:
    assert {rule.path[0] for rule in TOP if rule.create == "1"} == set(MINIMAL)


@pytest.mark.parametrize("rule", [rule for rule in TOP if rule.create in ("2", "2E")], ids=tag_of)
def test_type_2_is_added_when_a_workitem_is_created(rule: Rule) -> None:
    tag = rule.path[0]
    outcome = create(a_workitem(**{f"T{tag}": None}), uid="2.25.7", now=NOW)
    assert tag in outcome.workitem.attributes
    assert outcome.is_modified


@pytest.mark.parametrize("done", [progress(1), performed()])
def test_nothing_is_performed_yet(done: Dataset) -> None:
    ((tag, element),) = done.items()
    with pytest.raises(InvalidDataset) as refused:
        created(**{f"T{tag}": element})
    assert (refused.value.path, refused.value.defect) == ((tag,), "invalid")


@pytest.mark.parametrize("requested", [IN_PROGRESS, COMPLETED, CANCELED, "DONE"])
def test_only_scheduled_is_created(requested: str) -> None:
    with pytest.raises(InvalidDataset) as refused:
        created(T00741000=text("CS", requested))
    assert (refused.value.path, refused.value.defect) == (("00741000",), "invalid")


def test_nothing_is_claimed_by_creation() -> None:
    with pytest.raises(InvalidDataset):
        created(T00081195=text("UI", OWN))
    assert created().transaction_uid == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, [EventType.STATE_REPORT]),
        ({"T00404025": coded("CT1")}, [EventType.STATE_REPORT, EventType.ASSIGNED]),
    ],
)
def test_creation_is_reported(given: dict[str, Dataset], told: list[EventType]) -> None:
    outcome = create(a_workitem(**given), uid="2.25.7", now=NOW)
    assert [event.type for event in outcome.events] == told


# --- the macros ------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["00080100", "00080102", "00080104"])
def test_a_code_is_whole(left_out: str) -> None:
    code = coded("CT1")
    del code["Value"][0][left_out]
    with pytest.raises(InvalidDataset) as refused:
        created(T00404025=code)
    assert refused.value.path == ("00404025", left_out)


@pytest.mark.parametrize("tag", ["00080119", "00080120"])
def test_a_code_may_be_long_or_a_urn(tag: str) -> None:
    code = coded("CT1")
    del code["Value"][0]["00080100"]
    code["Value"][0][tag] = text("UC", "urn:x")
    assert created(T00404025=code).attributes["00404025"] == {
        "vr": "SQ",
        "Value": [dict(sorted(code["Value"][0].items()))],
    }


# --- states ----------------------------------------------------------------------------------


def refusal(work: Callable[[], Outcome]) -> str | Outcome:
    """The status of PS3.4 section CC.2.1.4, or what came of it."""
    try:
        return work()
    except NotTheClaimant:
        return "C301"
    except InvalidDataset:
        return "C303"
    except WorkitemStateConflict as error:
        return error.refusal


# PS3.4 Table CC.1.1-2, with the right Transaction UID: to IN PROGRESS, COMPLETED, CANCELED.
TRANSITIONS = {
    SCHEDULED: (IN_PROGRESS, "C310", "C310"),
    IN_PROGRESS: ("C302", "C304", CANCELED),
    COMPLETED: ("C300", "B306", "C300"),
    CANCELED: ("C300", "C300", "B304"),
}


@pytest.mark.parametrize(
    ("before", "requested", "expected"),
    [
        (before, requested, expected)
        for before, row in TRANSITIONS.items()
        for requested, expected in zip((IN_PROGRESS, COMPLETED, CANCELED), row, strict=True)
    ],
)
def test_the_claimant_changes_the_state(before: State, requested: State, expected: str) -> None:
    workitem = IN_STATE[before]()
    found = refusal(lambda: change_state(workitem, requested, transaction_uid=OWN, now=LATER))
    if isinstance(found, str):
        assert found == expected
    elif expected.startswith("B"):
        assert found == Outcome(workitem, is_already=True)
    else:
        assert found.workitem.state == expected


@pytest.mark.parametrize(
    ("before", "shown"),
    # whoever claims it says which one is right
    [
        (before, shown)
        for before in State
        for shown in ("", OTHER)
        if (before, shown) != (SCHEDULED, OTHER)
    ],
)
@pytest.mark.parametrize("requested", [IN_PROGRESS, COMPLETED, CANCELED])
def test_nobody_else_changes_the_state(before: State, shown: str, requested: State) -> None:
    workitem = IN_STATE[before]()
    assert (
        refusal(lambda: change_state(workitem, requested, transaction_uid=shown, now=LATER))
        == "C301"
    )


@pytest.mark.parametrize("before", State)
def test_only_creation_schedules(before: State) -> None:
    workitem = IN_STATE[before]()
    found = refusal(lambda: change_state(workitem, SCHEDULED, transaction_uid=OWN, now=LATER))
    assert found == "C303"


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.final == "P" and len(rule.path) == 2], ids=tag_of
)
def test_what_is_performed_is_told_before_it_is_completed(rule: Rule) -> None:
    item = dict(performed()["00741216"]["Value"][0])
    if rule.update_scp == "2":
        # type 2: it is there, and may be empty
        item[rule.path[1]] = {"vr": "SQ"}
    else:
        del item[rule.path[1]]
    changes = {"00741216": {"vr": "SQ", "Value": [item]}}
    done = update(claimed(), changes, transaction_uid=OWN, now=NOW).workitem
    found = refusal(lambda: change_state(done, COMPLETED, transaction_uid=OWN, now=LATER))
    assert isinstance(found, Outcome) if rule.update_scp == "2" else found == "C304"


def test_what_is_canceled_says_when() -> None:
    (item,) = canceled().attributes["00741002"]["Value"]
    assert item["00404052"]["Value"] == [NOW]


def test_the_time_of_a_cancellation_that_was_told_stays() -> None:
    told = {"00741002": {"vr": "SQ", "Value": [{"00404052": text("DT", "2023")}]}}
    before = update(claimed(), told, transaction_uid=OWN, now=NOW).workitem
    after = change_state(before, CANCELED, transaction_uid=OWN, now=LATER).workitem
    assert after.attributes["00741002"]["Value"][0]["00404052"]["Value"] == ["2023"]


# --- cancellation ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (SCHEDULED, CANCELED, [EventType.STATE_REPORT, EventType.STATE_REPORT]),
        (IN_PROGRESS, IN_PROGRESS, [EventType.CANCEL_REQUESTED]),
        (CANCELED, CANCELED, []),
    ],
)
def test_a_cancellation_that_is_asked_for(
    before: State, after: State, told: list[EventType]
) -> None:
    found = request_cancellation(IN_STATE[before](), {}, requesting_ae="X", now=LATER)
    assert (found.workitem.state, [event.type for event in found.events]) == (after, told)


def test_what_is_completed_is_not_canceled() -> None:
    found = refusal(lambda: request_cancellation(completed(), {}, requesting_ae="X", now=LATER))
    assert found == "C311"


# --- updates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in TOP if rule.update == "NA"], ids=tag_of)
def test_what_is_not_allowed_is_not_updated(rule: Rule) -> None:
    tag = rule.path[0]
    with pytest.raises(InvalidDataset) as refused:
        update(created(), {tag: value_for(tag)}, transaction_uid="", now=LATER)
    assert (refused.value.path, refused.value.defect) == (rule.path, "not-allowed")


@pytest.mark.parametrize(
    "rule", [rule for rule in TOP if (rule.update, rule.update_scp) == ("3", "1")], ids=tag_of
)
def test_type_1_is_not_emptied(rule: Rule) -> None:
    with pytest.raises(InvalidDataset) as refused:
        update(created(), {rule.path[0]: {"vr": "LO"}}, transaction_uid="", now=LATER)
    assert (refused.value.path, refused.value.defect) == (rule.path, "empty")


@pytest.mark.parametrize("before", [COMPLETED, CANCELED])
@pytest.mark.parametrize("shown", ["", OWN, OTHER])
def test_what_is_over_is_not_updated(before: State, shown: str) -> None:
    with pytest.raises(WorkitemEnded):
        update(IN_STATE[before](), progress(1), transaction_uid=shown, now=LATER)


@pytest.mark.parametrize(
    ("before", "shown"), [(SCHEDULED, OWN), (IN_PROGRESS, ""), (IN_PROGRESS, OTHER)]
)
def test_only_the_claimant_updates(before: State, shown: str) -> None:
    with pytest.raises(NotTheClaimant):
        update(IN_STATE[before](), progress(1), transaction_uid=shown, now=LATER)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"00741204": text("LO", "Ny")}, []),
        ({"00404041": text("CS", "INCOMPLETE")}, [EventType.STATE_REPORT]),
        ({"00404041": text("CS", "READY")}, []),
        ({"00404025": coded("CT2")}, [EventType.ASSIGNED]),
        (progress(50), [EventType.PROGRESS_REPORT]),
    ],
)
def test_updates_are_reported(changes: Dataset, told: list[EventType]) -> None:
    found = update(created(), changes, transaction_uid="", now=LATER)
    assert [event.type for event in found.events] == told


CHANGES = st.sampled_from(
    [
        {"00741204": text("LO", "Ny")},
        {"00404025": coded("CT2")},
        {"00404041": text("CS", "INCOMPLETE")},
        progress(50),
        performed(),
    ]
)


@given(changes=CHANGES)
def test_the_same_update_twice_is_the_same(changes: Dataset) -> None:
    once = update(created(), changes, transaction_uid="", now=LATER)
    twice = update(once.workitem, changes, transaction_uid="", now=LATER)
    assert (twice.workitem, twice.events) == (once.workitem, ())


# --- laws ------------------------------------------------------------------------------------

UIDS = st.sampled_from(["", OWN, OTHER])
STEPS = st.one_of(
    st.tuples(st.just("update"), CHANGES, UIDS),
    st.tuples(st.just("change"), st.sampled_from([IN_PROGRESS, COMPLETED, CANCELED]), UIDS),
    st.tuples(st.just("cancel"), st.none(), UIDS),
)


def taken(workitem: Workitem, step: tuple[str, Any, str]) -> Outcome:
    what, value, shown = step
    try:
        if what == "update":
            return update(workitem, value, transaction_uid=shown, now=LATER)
        if what == "change":
            return change_state(workitem, value, transaction_uid=shown, now=LATER)
        return request_cancellation(workitem, {}, requesting_ae="X", now=LATER)
    except ArchiveError:
        return Outcome(workitem)


ALLOWED = {
    SCHEDULED: {SCHEDULED, IN_PROGRESS, CANCELED},
    IN_PROGRESS: {IN_PROGRESS, COMPLETED, CANCELED},
    COMPLETED: {COMPLETED},
    CANCELED: {CANCELED},
}


@given(steps=st.lists(STEPS, max_size=12))
def test_whatever_is_asked_a_workitem_goes_its_way(steps: list[tuple[str, Any, str]]) -> None:
    workitem = created()
    for step in steps:
        before, outcome = workitem, taken(workitem, step)
        workitem = outcome.workitem
        states = [
            event.information[workitems.STATE]["Value"][0]
            for event in outcome.events
            if event.type is EventType.STATE_REPORT
        ]
        assert workitem.state in ALLOWED[before.state]
        assert workitem.state is before.state or states[-1] == workitem.state
        assert before.state not in workitems.FINAL or workitem == before
        assert workitems.TRANSACTION_UID not in workitem.attributes
        assert before.transaction_uid in ("", workitem.transaction_uid)
