"""Person names as they are compared: folded for literal and phonetic for fuzzy matching.

PS3.4 section C.2.2.2.1.1 leaves the matching of the VR PN to the archive. Here a name is compared
without regard to case and accents, any component group may match, and empty components at the end
do not count. A folded group ends in exactly one ``^``, so that ``Svensson``, ``Svensson^`` and
``svensson^^^`` are one name and ``Svensson^*`` finds all three.

Fuzzy matching reduces each word of a name to a code of what is heard in Swedish, so that spellings
of one sound (Carlsson, Karlson; Kristina, Christina; Göran, Joeran) have one code.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

# Letters that no decomposition takes apart.
_LETTERS: Final = str.maketrans(
    {
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "ß": "ss",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ł": "l",
        "ħ": "h",
        "ı": "i",
    }
)
_SPACES: Final = re.compile(r"\s+")
_AROUND_CARET: Final = re.compile(r" ?\^ ?")
_NOT_LETTERS: Final = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Text without case, accents and superfluous spaces."""
    if text.isascii():
        plain = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        marks_off = "".join(c for c in decomposed if not unicodedata.combining(c))
        plain = unicodedata.normalize("NFC", marks_off.translate(_LETTERS))
    return _SPACES.sub(" ", plain).strip()


def fold_group(text: str) -> str:
    """A component group, folded, with one ``^`` at its end; empty when nothing is in it."""
    folded = _AROUND_CARET.sub("^", fold(text)).rstrip("^ ")
    return f"{folded}^" if folded else ""


def fold_pattern(text: str) -> str:
    """A component group with wildcards, to compare with what `fold_group` gives."""
    folded = _AROUND_CARET.sub("^", fold(text)).rstrip("^ ")
    if folded.endswith("*") or not folded:
        return folded
    return f"{folded}^"


def folded_groups(name: Mapping[str, Any]) -> list[str]:
    """The folded component groups of a DICOM JSON person name that are not empty."""
    groups = (name.get(key) for key in ("Alphabetic", "Ideographic", "Phonetic"))
    return [folded for group in groups if isinstance(group, str) and (folded := fold_group(group))]


def words(folded: str) -> list[str]:
    """The words of a folded group or pattern, wildcards taken away."""
    return [word for word in _NOT_LETTERS.split(folded) if word]


# What sounds alike gets one letter: J for the sound of j, X for that of sj and tj, K, S, F, T ...
# Longest spelling first; the vowels that decide about g, k and sk are the folded soft ones.
_START: Final = (
    ("skj", "X"),
    ("stj", "X"),
    ("sch", "X"),
    ("chr", "KR"),
    ("sj", "X"),
    ("kj", "X"),
    ("tj", "X"),
    ("dj", "J"),
    ("gj", "J"),
    ("hj", "J"),
    ("lj", "J"),
)
_ANYWHERE: Final = (
    ("chr", "KR"),
    ("sch", "X"),
    ("ch", "K"),
    ("ck", "K"),
    ("ph", "F"),
    ("th", "T"),
    ("dt", "T"),
    ("gh", "G"),
    ("qu", "KF"),
    ("ks", "KS"),
    ("cs", "KS"),
    ("rs", "RS"),
)
_SINGLE: Final = {
    "b": "B",
    "d": "T",
    "f": "F",
    "g": "G",
    "h": "",
    "j": "J",
    "k": "K",
    "l": "L",
    "m": "M",
    "n": "N",
    "p": "P",
    "q": "K",
    "r": "R",
    "s": "S",
    "t": "T",
    "v": "F",
    "w": "F",
    "x": "KS",
    "z": "S",
}
_VOWELS: Final = frozenset("aeiouy")
_SOFT: Final = frozenset("eiy")


def _spelling(word: str, at: int) -> tuple[str, int]:
    """The code of the spelling that begins at `at`, and how many letters it takes."""
    for spelling, code in _START if at == 0 else ():
        if word.startswith(spelling):
            return code, len(spelling)
    for spelling, code in _ANYWHERE:
        if word.startswith(spelling, at):
            return code, len(spelling)
    letter, following = word[at], word[at + 1 : at + 2]
    if letter == "c":
        return ("S" if following in _SOFT else "K"), 1
    if letter == "g" and at == 0 and (following in _SOFT or word.startswith("goe")):
        return "J", 1
    return _SINGLE.get(letter, "" if letter in _VOWELS else letter.upper()), 1


_LONGEST_WORD: Final = 64


# A population shares most of its names.
@lru_cache(maxsize=16_384)
def sound(word: str) -> str:
    """The phonetic code of one folded word; vowels count only at its beginning."""
    if word.isdecimal():
        return word
    # oe, ae and aa are how names with umlauts and rings are typed abroad; after folding, the
    # stored name has o or a.
    word = word.replace("aa", "a").replace("ae", "a").replace("oe", "o")
    code = "A" if word[:1] in _VOWELS else ""
    if word[:2] == "go" or word[:2] == "jo":
        # Göran and Joeran: the folded vowel no longer tells soft from hard.
        code, word = "J", word[1:]
    at = 0
    while at < len(word):
        heard, taken = _spelling(word, at) if code != "J" or at else ("", 1)
        if heard and not code.endswith(heard):
            code += heard
        at += taken
    return code


def sounds(folded: str) -> list[str]:
    """The distinct phonetic codes of the words of a folded group, sorted."""
    return sorted({code for word in words(folded) if (code := sound(word[:_LONGEST_WORD]))})
