"""Swedish identity numbers: the written variants of one number are one number.

Personnummer and samordningsnummer (SFS 1991:481, the check digit is Luhn over ten digits), the
reserve numbers of Västra Götaland and Stockholm, and the national reserve number. Any other
identifier stands for itself only.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

_PERSONAL: Final = re.compile(r"(\d\d)?(\d\d)(\d\d)(\d\d)([-+]?)(\d{4})", re.ASCII)
_VGR: Final = re.compile(r"(\d{4})(\d\d)(\d\d)-?([KMX])(\d\d)(\d)", re.ASCII | re.IGNORECASE)
_STOCKHOLM: Final = re.compile(r"99(\d{6})-?(\d{4})", re.ASCII)
_NATIONAL: Final = re.compile(
    r"(00|2[2-9])([A-HJ-NPR-UX-Z]{2})(\d\d)(\d\d)-?(\d{3}[0-9A-Z])", re.ASCII | re.IGNORECASE
)
# The letter of a reserve number counts as a digit in the check sum.
_VGR_DIGIT: Final = {"K": "5", "M": "7", "X": "8"}
_COORDINATION_DAYS: Final = 60
_CENTURIES: Final = (18, 19, 20)


def luhn_is_valid(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _birth_date(year: int, month: str, day: str) -> date | None:
    number = int(day)
    if number > _COORDINATION_DAYS:
        number -= _COORDINATION_DAYS
    try:
        return date(year, int(month), number)
    except ValueError:
        return None


def _personal(text: str, today: date) -> tuple[str, ...]:
    match = _PERSONAL.fullmatch(text)
    if match is None:
        return ()
    century, year, month, day, mark, serial = match.groups()
    if not luhn_is_valid(f"{year}{month}{day}{serial}"):
        return ()
    centuries = _CENTURIES if century is None else (int(century),)
    found = []
    for hundred in centuries:
        born = _birth_date(hundred * 100 + int(year), month, day)
        if born is None or born > today or hundred not in _CENTURIES:
            continue
        turned_100 = today.year - born.year >= 100
        # Without a century, "+" says 100 years or older; "-" was often kept after the birthday,
        # but nobody of today was born in the 1800s.
        if century is None and (mark == "+") != turned_100 and (mark == "+" or hundred == 18):
            continue
        found.append(f"{hundred}{year}{month}{day}{serial}")
    return tuple(found)


def _reserve(text: str) -> tuple[str, ...]:
    if match := _VGR.fullmatch(text):
        year, month, day, letter, serial, check = match.groups()
        digits = f"{year[2:]}{month}{day}{_VGR_DIGIT[letter.upper()]}{serial}{check}"
        if luhn_is_valid(digits) and _birth_date(int(year), month, day):
            return (f"{year}{month}{day}{letter.upper()}{serial}{check}",)
        return ()
    if match := _STOCKHOLM.fullmatch(text):
        digits = "".join(match.groups())
        return (f"99{digits}",) if luhn_is_valid(digits[2:]) else ()
    if match := _NATIONAL.fullmatch(text):
        return ("".join(match.groups()).upper(),)
    return ()


def variants(text: str, *, today: date | None = None) -> tuple[str, ...]:
    """The twelve-character numbers that `text` can mean; none when it is no identity number.

    Ten digits can mean a number of two centuries, of which those that lie after `today` are left
    out.
    """
    compact = text.replace(" ", "")
    if not 10 <= len(compact) <= 13:
        return ()
    return _personal(compact, today or datetime.now(UTC).date()) or _reserve(compact)


def canonical(text: str, *, today: date | None = None) -> str | None:
    """The one twelve-character number that `text` means; None when it is none or ambiguous."""
    found = variants(text, today=today)
    return found[0] if len(found) == 1 else None


def match_keys(text: str) -> tuple[str, ...]:
    """What two identifiers share exactly when they match: never a part, never a fold of case."""
    return variants(text) or (text.strip(),)
