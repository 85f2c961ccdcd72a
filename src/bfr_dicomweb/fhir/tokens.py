"""Identifiers and codes as they are compared: several ways to write one are one."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bfr_dicomweb import identity_numbers
from bfr_dicomweb.fhir.search import Token
from bfr_dicomweb.orders.identifiers import of_patient, system_of


@lru_cache(maxsize=1024)
def plain_system(system: str) -> str:
    """Of several URIs that are in use for one system the one that we write."""
    return system_of(universal_id=system) if system.startswith("urn:oid:") else system


def plain_value(value: str) -> str:
    """A UID may be written as a URI (FHIR R4 on ImagingStudy.identifier), or as it is."""
    return value.removeprefix("urn:oid:")


def spellings(token: Token) -> list[tuple[str | None, str]]:
    """System (None: any) and value of each identifier that a token can mean.

    An identity number is taken in all its written forms; of ten digits it may be two.
    """
    system = None if token.system is None else plain_system(token.system)
    value = plain_value(token.code)
    found: dict[tuple[str | None, str], None] = {(system, value): None}
    for variant in identity_numbers.variants(value):
        if system is None:
            found[None, variant] = None
        else:
            known = of_patient(variant, system)
            found[known.system, known.value] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What any of some tokens asks for.

    Attributes:
        codes: Of any system.
        pairs: Of the system that is named with it.
        systems: With any code.
        plain: All codes: an element that has no room for a system has it implied.
    """

    codes: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    systems: frozenset[str]
    plain: frozenset[str]

    @classmethod
    def of(cls, tokens: Iterable[Token]) -> "Wanted":
        codes, pairs, systems = set(), set(), set()
        for token in tokens:
            if not token.code:
                systems.add(plain_system(token.system or ""))
                continue
            for system, value in spellings(token):
                if system is None:
                    codes.add(value)
                else:
                    pairs.add((system, value))
        plain = codes | {value for _, value in pairs}
        return cls(frozenset(codes), frozenset(pairs), frozenset(systems), frozenset(plain))

    def has(self, element: Any) -> bool:
        """Whether a code, boolean, Coding, CodeableConcept, Identifier or ContactPoint is one."""
        if isinstance(element, str):
            return plain_value(element) in self.plain
        if isinstance(element, bool):
            return ("true" if element else "false") in self.plain
        if not isinstance(element, dict):
            return False
        if "coding" in element:
            return any(
                self._has(coding.get("system"), coding.get("code")) for coding in element["coding"]
            )
        value = element.get("value")
        return self._has(element.get("system"), element.get("code") if value is None else value)

    def _has(self, system: str | None, value: str | None) -> bool:
        if value is None:
            return False
        value = plain_value(value)
        if value in self.codes:
            return True
        if not self.pairs and not self.systems:
            return False
        known = plain_system(system or "")
        return (known, value) in self.pairs or known in self.systems
