import hypothesis.strategies as st
import pytest
from hypothesis import given

from bfr_dicomweb.dicom import person_names

TEXT = st.text(st.sampled_from("aåÅäöÖøØæßéŁ ^-=ĳﬁ山İ"), max_size=12)


@given(TEXT)
def test_folding_twice_is_folding_once(text: str) -> None:
    once = person_names.fold(text)
    assert person_names.fold(once) == once


@given(TEXT)
def test_folding_forgets_case(text: str) -> None:
    assert person_names.fold(text.lower()) == person_names.fold(text)


@given(TEXT, st.integers(0, 4))
def test_empty_components_at_the_end_do_not_count(text: str, carets: int) -> None:
    group = person_names.fold_group(text)
    assert person_names.fold_group(text + "^" * carets) == group


@given(st.text(st.sampled_from("aö^- "), max_size=8))
def test_a_name_has_the_pattern_that_is_its_own(text: str) -> None:
    assert person_names.fold_pattern(text) == person_names.fold_group(text)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("ÅKESSON^Åsa^^^", "akesson^asa^"),
        ("  Svensson  ^ Anna Maria ", "svensson^anna maria^"),
        ("Østergård^Ægir", "ostergard^aegir^"),
        ("Groß", "gross^"),
        ("^^^", ""),
    ],
)
def test_a_group_is_folded(written: str, folded: str) -> None:
    assert person_names.fold_group(written) == folded


SAME_SOUND = """
    Svensson Svenson, Karlsson Carlsson, Kristina Christina, Göran Joeran, Eriksson Ericsson,
    Philip Filip, Viktor Wiktor, Håkan Haakan, Björn Bjoern, Lindqvist Lindkvist, Sjöberg Schöberg,
    Gustavsson Gustafsson, Mathias Matias, Lindh Lind, Zackrisson Sakrisson, Hjalmar Jalmar,
    Johansson Johanson, Åse Aase
"""


@pytest.mark.parametrize("pair", SAME_SOUND.split(","))
def test_spellings_of_one_sound_have_one_code(pair: str) -> None:
    one, other = (person_names.fold(name) for name in pair.split())
    assert person_names.sound(one) == person_names.sound(other)


@pytest.mark.parametrize("pair", ["Anna Karin", "Nilsson Olsson", "Lars Nils"])
def test_other_names_have_other_codes(pair: str) -> None:
    one, other = (person_names.fold(name) for name in pair.split())
    assert person_names.sound(one) != person_names.sound(other)


@given(TEXT)
def test_every_word_has_a_sound_or_none(text: str) -> None:
    for word in person_names.words(person_names.fold(text)):
        assert person_names.sound(word).strip() == person_names.sound(word)
