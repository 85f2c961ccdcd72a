"""Which events are of one exam, and which exams of one order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import grouping
from bfr_dicomweb.orders.events import Event
from bfr_dicomweb.orders.fold import fold
from bfr_dicomweb.orders.identifiers import Alias
from orders_said import ISSUER, a_report, aliases, an_event, m1_to_m7


def known_by(at: str = "2024-01-08T08:00", **numbers: str) -> Event:
    return an_event("booked", at, aliases=aliases(**numbers))


def exams(*events: Event) -> int:
    return len(fold(events).exams)


def statuses(*events: Event) -> list[str]:
    return [exam.status.value for exam in fold(events).exams]


@pytest.mark.parametrize("kind", ["accession", "filler", "placer", "procedure", "step"])
def test_events_with_one_number_in_common_are_of_one_exam(kind: str) -> None:
    first = known_by(filler="1", placer="1", accession="1", procedure="1", step="1")

    assert exams(first, known_by(**{kind: "1"})) == 1


def test_numbers_tie_through_what_lies_between() -> None:
    assert (
        exams(known_by(accession="1"), known_by(accession="1", step="2"), known_by(step="2")) == 1
    )


def test_an_order_that_knows_only_its_placer_number_is_tied_by_it() -> None:
    placed, booked = known_by(placer="P", group="G"), known_by(placer="P", accession="1")

    assert exams(placed, booked) == 1


def test_two_accession_numbers_are_two_exams_though_their_placer_number_is_one() -> None:
    assert exams(known_by(accession="1", placer="P"), known_by(accession="2", placer="P")) == 2


def test_exams_with_one_placer_number_and_no_group_are_of_one_order() -> None:
    first, second = known_by(accession="1", placer="P"), known_by(accession="2", placer="P")

    assert len(fold([first, second]).orders) == 1


def test_what_is_said_of_a_placer_number_is_said_of_all_its_exams() -> None:
    first, second = known_by(accession="1", placer="P"), known_by(accession="2", placer="P")
    cancelled = an_event("cancelled", "2024-01-09T08:00", aliases=aliases(placer="P"))

    assert statuses(first, second, cancelled) == ["cancelled", "cancelled"]


def test_what_is_said_of_a_group_is_said_of_all_its_exams() -> None:
    first, second = known_by(accession="1", group="G"), known_by(accession="2", group="G")
    cancelled = an_event("cancelled", "2024-01-09T08:00", aliases=aliases(group="G"))

    assert statuses(first, second, cancelled) == ["cancelled", "cancelled"]


def test_a_group_alone_is_an_exam_until_more_is_known() -> None:
    assert exams(known_by(group="G"), known_by("2024-01-09T08:00", group="G")) == 1


def test_exams_of_one_group_are_exams_of_their_own() -> None:
    assert exams(known_by(accession="1", group="G"), known_by(accession="2", group="G")) == 2


def test_exams_of_one_study_are_exams_of_their_own() -> None:
    assert exams(known_by(accession="1", study="1.2"), known_by(accession="2", study="1.2")) == 2


def test_what_names_only_a_study_is_of_the_exam_that_has_it() -> None:
    exam, report = known_by(accession="1", study="1.2"), a_report(aliases=aliases(study="1.2"))

    assert statuses(exam, report) == ["signed"]


def test_what_names_only_a_study_of_two_exams_is_of_both() -> None:
    first, second = known_by(accession="1", study="1.2"), known_by(accession="2", study="1.2")

    report = a_report(aliases=aliases(study="1.2"))
    assert statuses(first, second, report) == ["signed", "signed"]


def test_a_study_uid_is_the_same_with_its_urn() -> None:
    report = a_report(aliases=aliases(study="urn:oid:1.2"))

    assert exams(known_by(accession="1", study="1.2"), report) == 1


def test_an_addendum_that_names_only_its_report_is_of_the_same_exam() -> None:
    report = a_report(of={"identifier": "D1"})
    addendum = a_report("Mer", "2024-01-11T08:00", of={"parent": "D1"}, aliases=())

    assert statuses(report, addendum) == ["addendum"]


def test_a_number_without_issuer_is_that_of_the_only_issuer() -> None:
    assert exams(known_by(accession="1"), known_by(accession="1", issuer="")) == 1


def test_equal_numbers_of_two_issuers_are_two_exams() -> None:
    assert exams(known_by(accession="1", issuer="A"), known_by(accession="1", issuer="B")) == 2


def test_a_number_without_issuer_that_two_issuers_gave_stays_apart() -> None:
    folded = fold([known_by(accession="1", issuer=issuer) for issuer in ("A", "B", "")])

    assert [finding.code for finding in folded.findings] == ["accession-conflict"]


def test_a_number_without_issuer_is_not_ambiguous_when_both_issuers_name_one_exam() -> None:
    named = [known_by(accession="1", issuer=issuer, placer="P") for issuer in ("A", "B")]

    assert exams(*named, known_by(accession="1", issuer="")) == 1


def test_an_exam_lists_a_number_once_with_its_issuer() -> None:
    (exam,) = fold([known_by(accession="1", issuer=""), known_by(accession="1")]).exams

    assert exam.aliases == aliases(accession="1")


def test_the_group_is_not_an_alias_of_the_exam() -> None:
    (exam,) = fold([known_by(accession="1", group="G")]).exams

    assert exam.aliases == aliases(accession="1")


@pytest.mark.parametrize(
    ("numbers", "key"),
    [
        ({"accession": "1", "placer": "P", "group": "G"}, {"group": "G"}),
        ({"accession": "1", "placer": "P"}, {"placer": "P"}),
        ({"accession": "1", "filler": "F"}, {"accession": "1"}),
    ],
)
def test_the_key_of_an_order_is_its_most_general_number(
    numbers: dict[str, str], key: dict[str, str]
) -> None:
    (order,) = fold([known_by(**numbers)]).orders

    assert (order.key,) == aliases(**key)


def test_an_exam_whose_placer_number_is_grouped_elsewhere_is_of_that_group() -> None:
    grouped, plain = (
        known_by(accession="1", placer="P", group="G"),
        known_by(accession="2", placer="P"),
    )

    assert len(fold([grouped, plain]).orders) == 1


def test_an_exam_is_of_the_order_that_was_said_last() -> None:
    first = known_by(accession="1", group="G1")
    second = known_by("2024-01-09T08:00", accession="1", group="G2")

    folded = fold([second, first])
    assert (folded.orders[0].key.value, folded.findings[0].code) == ("G2", "several-orders")


def test_an_event_without_any_number_stands_for_itself() -> None:
    first = an_event("booked", aliases=())
    second = an_event("booked", "2024-01-09T08:00", aliases=())

    assert exams(first, second) == 2


def test_keys_to_look_up_have_each_alias_with_and_without_its_system() -> None:
    keys = grouping.lookup_keys([known_by(accession="1", group="G")])

    assert keys == {*aliases(accession="1", group="G"), *aliases(accession="1", issuer="")}


_NUMBERS = st.sampled_from(("", "1", "2"))
_KNOWN = st.builds(
    an_event,
    st.sampled_from(("received", "booked")),
    st.sampled_from(("2024-01-08T08:00", "2024-01-09T08:00")),
    aliases=st.builds(
        aliases,
        accession=_NUMBERS,
        issuer=st.sampled_from((ISSUER, "B", "")),
        filler=_NUMBERS,
        placer=_NUMBERS,
        step=_NUMBERS,
        study=_NUMBERS,
        group=_NUMBERS,
    ),
)
_MANY = st.lists(_KNOWN, min_size=1, max_size=7)


@given(events=_MANY, data=st.data())
def test_the_order_of_events_does_not_matter(events: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))

    assert grouping.partition(shuffled) == grouping.partition(events)


@given(events=_MANY)
def test_no_event_is_left_out(events: list[Event]) -> None:
    parts = grouping.partition(events)

    assert {e.digest for part in parts for e in part} == {e.digest for e in events}


@given(events=_MANY)
def test_an_accession_number_with_issuer_is_of_one_exam(events: list[Event]) -> None:
    holders: dict[Alias, set[int]] = {}
    for place, part in enumerate(grouping.partition(events)):
        for event in part:
            for alias in grouping.aliases_of(event):
                if alias.kind == "accession" and alias.system:
                    holders.setdefault(alias, set()).add(place)

    assert all(len(places) == 1 for places in holders.values())


@given(events=_MANY)
def test_what_shares_no_key_has_no_effect_on_the_rest(events: list[Event]) -> None:
    stranger = known_by(accession="9", issuer="Z")

    parts = grouping.partition([*events, stranger])
    parts.remove([stranger])
    assert parts == grouping.partition(events)


@given(events=_MANY, data=st.data())
def test_what_the_keys_find_is_all_that_an_exam_depends_on(
    events: list[Event], data: st.DataObject
) -> None:
    closed = [data.draw(st.sampled_from(events))]
    while more := [e for e in events if e not in closed and _is_tied(e, closed)]:
        closed += more

    of_all = [part for part in grouping.partition(events) if part[0] in closed]
    assert grouping.partition(closed) == of_all


def _is_tied(event: Event, others: list[Event]) -> bool:
    return not grouping.lookup_keys([event]).isdisjoint(grouping.lookup_keys(others))


def test_an_order_of_seven_messages_is_one_of_two_exams() -> None:
    folded = fold(m1_to_m7())

    assert [order.exams for order in folded.orders] == [(0, 1)]
