from datetime import date

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.identity_numbers import canonical, match_keys, variants

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize("text", ["191212121212", "19121212-1212", "19121212 1212", "121212+1212"])
def test_written_variants_mean_the_same_number(text: str) -> None:
    assert "191212121212" in variants(text, today=TODAY)


def test_ten_digits_mean_a_number_of_either_century() -> None:
    assert variants("121212-1212", today=TODAY) == ("191212121212", "201212121212")


def test_nobody_is_born_in_the_future() -> None:
    assert variants("9810101016", today=TODAY) in (("199810101016",), ())
    assert all(v < "20261124" for v in variants("6109732393", today=TODAY))


@pytest.mark.parametrize("text", ["196109732393", "610973-2393"])
def test_a_coordination_number_is_a_number(text: str) -> None:
    assert canonical(text, today=TODAY) == "196109732393"


@pytest.mark.parametrize("text", ["19810829M071", "19810829-m071"])
def test_a_reserve_number_of_the_region_is_a_number(text: str) -> None:
    assert canonical(text) == "19810829M071"


@pytest.mark.parametrize(
    "text",
    [
        "191212121213",  # check digit
        "19810829M070",
        "191213121212",  # month
        "12121212",
        "",
        "A1212121212",
        "١٩١٢١٢١٢١٢١٢",
        "1912121212120",
        "219912121212",
    ],
)
def test_other_text_is_no_identity_number(text: str) -> None:
    assert variants(text, today=TODAY) == ()


@given(st.text(max_size=14))
def test_an_identifier_matches_itself(text: str) -> None:
    assert match_keys(text)
    assert match_keys(text) == match_keys(text.strip())


@given(st.integers(0, 10**9 - 1))
def test_exactly_one_check_digit_is_valid(number: int) -> None:
    valid = [d for d in range(10) if identity_numbers.luhn_is_valid(f"{number:09d}{d}")]
    assert len(valid) == 1
