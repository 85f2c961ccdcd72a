"""Which exams a study is of."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.orders import linking
from bfr_dicomweb.orders.fold import fold
from bfr_dicomweb.orders.identifiers import PERSONNUMMER, Identifier
from bfr_dicomweb.orders.linking import ExamKeys, Linked, StudyKeys, link
from orders_said import ISSUER, aliases, m1_to_m7, utc

TOLVAN = (Identifier(PERSONNUMMER, "191212121212"),)
OTHER = (Identifier(PERSONNUMMER, "198108290719"),)


def an_exam(number: int = 1, *, patient: tuple[Identifier, ...] = TOLVAN, **known: str) -> ExamKeys:
    return ExamKeys(number, aliases(**known), patient)


def a_study(uid: str = "9.9", **known: object) -> StudyKeys:
    return replace(StudyKeys(uid, TOLVAN), **known)  # type: ignore[arg-type]


def codes(linked: Linked) -> list[str]:
    return [finding.code for finding in linked.findings]


def test_an_exam_that_names_the_study_is_on_the_first_rung() -> None:
    assert link(a_study("1.2"), [an_exam(study="1.2")]).rungs == {1: 1}


def test_an_accession_number_of_the_same_issuer_is_the_second_rung() -> None:
    assert link(a_study(accessions=((ISSUER, "A"),)), [an_exam(accession="A")]).rungs == {1: 2}


def test_an_accession_number_of_another_issuer_links_nothing() -> None:
    assert link(a_study(accessions=(("other", "A"),)), [an_exam(accession="A")]).rungs == {}


def test_an_accession_number_of_another_issuer_is_a_suggestion() -> None:
    linked = link(a_study(accessions=(("other", "A"),)), [an_exam(accession="A")])

    assert linked.suggestions == (1,)


def test_an_accession_number_without_issuer_links_the_only_exam_that_has_it() -> None:
    assert link(a_study(accessions=(("", "A"),)), [an_exam(accession="A")]).rungs == {1: 2}


def test_an_exam_whose_number_has_no_issuer_is_linked() -> None:
    exam = an_exam(accession="A", issuer="")

    assert link(a_study(accessions=((ISSUER, "A"),)), [exam]).rungs == {1: 2}


def test_an_accession_number_without_issuer_that_two_exams_have_is_ambiguous() -> None:
    exams = [an_exam(1, accession="A"), an_exam(2, accession="A", issuer="other")]

    linked = link(a_study(accessions=(("", "A"),)), exams)
    assert (linked.rungs, codes(linked)) == ({}, ["study-ambiguous", "images-without-order"])


def test_a_study_with_two_accession_numbers_is_of_two_exams() -> None:
    exams = [an_exam(1, accession="A"), an_exam(2, accession="B"), an_exam(3, accession="C")]

    assert link(a_study(accessions=((ISSUER, "A"), ("", "B"))), exams).rungs == {1: 2, 2: 2}


def test_one_exam_by_its_study_and_another_by_its_accession_number() -> None:
    exams = [an_exam(1, accession="A", study="1.2"), an_exam(2, accession="B")]

    linked = link(a_study("1.2", accessions=((ISSUER, "A"), (ISSUER, "B"))), exams)
    assert linked.rungs == {1: 1, 2: 2}


def test_a_scheduled_step_is_the_third_rung() -> None:
    assert link(a_study(step_ids=("S",)), [an_exam(step="S")]).rungs == {1: 3}


def test_a_requested_procedure_is_the_third_rung() -> None:
    assert link(a_study(procedure_ids=("P",)), [an_exam(procedure="P")]).rungs == {1: 3}


def test_a_step_of_two_exams_is_ambiguous() -> None:
    linked = link(a_study(step_ids=("S",)), [an_exam(1, step="S"), an_exam(2, step="S")])

    assert (linked.rungs, linked.suggestions) == ({}, (1, 2))


def test_the_third_rung_does_not_count_beside_a_better_one() -> None:
    exams = [an_exam(1, accession="A"), an_exam(2, step="S")]

    assert link(a_study(accessions=((ISSUER, "A"),), step_ids=("S",)), exams).rungs == {1: 2}


def test_the_exam_of_another_patient_is_not_linked_and_is_found_odd() -> None:
    linked = link(a_study("1.2"), [an_exam(study="1.2", patient=OTHER)])

    assert (linked.rungs, codes(linked)) == ({}, ["study-patient-mismatch", "images-without-order"])


def test_a_number_that_another_patient_has_too_is_not_odd() -> None:
    exams = [an_exam(1, accession="A"), an_exam(2, accession="A", patient=OTHER)]

    assert codes(link(a_study(accessions=((ISSUER, "A"),)), exams)) == []


def test_a_patient_is_known_by_any_of_the_identifiers() -> None:
    study = replace(a_study("1.2"), patient=(*OTHER, Identifier("", "191212121212")))

    assert link(study, [an_exam(study="1.2")]).rungs == {1: 1}


def test_a_study_without_patient_is_not_linked() -> None:
    assert link(replace(a_study("1.2"), patient=()), [an_exam(study="1.2")]).rungs == {}


def test_what_only_looks_alike_is_suggested_and_not_linked() -> None:
    exam = replace(an_exam(accession="A"), modality="CT", times=(utc("2024-01-10T08:00"),))

    linked = link(a_study(modalities=("CT",), study_date="20240110"), [exam])
    assert (linked.rungs, linked.suggestions) == ({}, (1,))


def test_the_likeliest_is_suggested_first() -> None:
    day_before = replace(an_exam(1), modality="CT", times=(utc("2024-01-09T08:00"),))
    same_day = replace(an_exam(2), modality="CT", times=(utc("2024-01-10T08:00"),))

    study = a_study(modalities=("CT",), study_date="20240110")
    assert link(study, [day_before, same_day]).suggestions == (2, 1)


def test_another_modality_is_not_suggested() -> None:
    exam = replace(an_exam(), modality="MR", times=(utc("2024-01-10T08:00"),))

    assert link(a_study(modalities=("CT",), study_date="20240110"), [exam]).suggestions == ()


def test_a_study_date_that_is_none_suggests_nothing() -> None:
    exam = replace(an_exam(), times=(utc("2024-01-10T08:00"),))

    assert link(a_study(study_date="1 april"), [exam]).suggestions == ()


def test_the_keys_of_a_folded_exam_link_its_study() -> None:
    exam = fold(m1_to_m7()).exams[0]

    assert link(a_study("1.2.752.113.99.1.1"), [linking.keys_of(7, exam, TOLVAN)]).rungs == {7: 1}


_VALUES = st.sampled_from(("", "1", "2"))
_EXAMS = st.lists(
    st.builds(
        an_exam,
        st.integers(1, 9),
        accession=_VALUES,
        issuer=st.sampled_from((ISSUER, "")),
        step=_VALUES,
        study=_VALUES,
        patient=st.sampled_from((TOLVAN, OTHER)),
    ),
    unique_by=lambda exam: exam.id,
    max_size=5,
)
_STUDIES = st.builds(
    StudyKeys,
    st.sampled_from(("1", "2", "3")),
    st.just(TOLVAN),
    st.lists(st.tuples(st.sampled_from((ISSUER, "")), _VALUES), max_size=2).map(tuple),
    step_ids=st.lists(_VALUES, max_size=2).map(tuple),
)


@given(study=_STUDIES, exams=_EXAMS, data=st.data())
def test_it_does_not_matter_what_came_first(
    study: StudyKeys, exams: list[ExamKeys], data: st.DataObject
) -> None:
    assert link(study, data.draw(st.permutations(exams))) == link(study, exams)


@given(study=_STUDIES, exams=_EXAMS)
def test_no_exam_of_another_patient_is_ever_linked(study: StudyKeys, exams: list[ExamKeys]) -> None:
    linked = link(study, exams)

    strangers = {exam.id for exam in exams if exam.patient == OTHER}
    assert strangers.isdisjoint({*linked.rungs, *linked.suggestions})
