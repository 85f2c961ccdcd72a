"""Cases: functions that know which sentence of the Standard they check."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from dicomweb_conformance import chapters
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, Unmet, Violated

Check = Callable[[Target], Awaitable[None]]
Need = Fixture | Feature


class UnknownSelection(Exception):
    """Nothing in the suite goes by that name."""


@dataclass(frozen=True, slots=True)
class Case:
    id: str  # COM-01
    slug: str  # no-accept-header-is-406: what is true when it passes
    section: str  # of PS3.18, or "PS3.10 7.1"
    level: Level
    requirement: str  # one sentence, our own words
    request: str  # what is asked; {S1} stands for the study of fixture F1
    expected: str
    needs: tuple[Need, ...]
    check: Check
    wants: tuple[Fixture, ...] = ()  # makes it see more, but is not needed

    @property
    def chapter(self) -> str:
        return self.id.partition("-")[0]

    @property
    def fixtures(self) -> tuple[Fixture, ...]:
        return tuple(one for one in self.needs if isinstance(one, Fixture))

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(one for one in self.needs if isinstance(one, Feature))


# Chapters in the order in which they run: encodings judge what the others have seen.
CHAPTERS = {
    "STW": "Store (STOW-RS)",
    "COM": "Common rules of HTTP, parameters and media types",
    "CAP": "Retrieve Capabilities",
    "INS": "Retrieve instances (WADO-RS)",
    "MET": "Retrieve metadata (WADO-RS)",
    "BLK": "Retrieve bulk data and frames (WADO-RS)",
    "REN": "Retrieve rendered (WADO-RS)",
    "THU": "Retrieve thumbnails (WADO-RS)",
    "VOL": "Volumetric rendering (WADO-RS)",
    "QID": "Search (QIDO-RS)",
    "URI": "URI service (WADO-URI)",
    "UPS": "Worklist service (UPS-RS)",
    "NPI": "Non-patient instances",
    "CMT": "Storage commitment",
    "MSP": "Modality scheduled procedure steps",
    "MPP": "Modality performed procedure steps",
    "DIM": "DIMSE",
    "CON": "DIMSE and DICOMweb say the same",
    "ENC": "DICOM JSON and XML, wherever they were seen",
}

_CASES: dict[str, Case] = {}


def case(
    id: str,
    *,
    section: str,
    level: Level,
    requirement: str,
    request: str,
    expected: str,
    needs: Iterable[Need] = (),
    wants: Iterable[Fixture] = (),
) -> Callable[[Check], Check]:
    """Register the function as the case `id`; its name becomes the slug."""

    def register(check: Check) -> Check:
        if id in _CASES:
            raise ValueError(f"two cases are called {id}")
        slug = check.__name__.replace("_", "-")
        _CASES[id] = Case(
            id,
            slug,
            section,
            level,
            requirement,
            request,
            expected,
            tuple(needs),
            check,
            tuple(wants),
        )
        return check

    return register


async def need_passed(target: Target, check: Check, why: str) -> None:
    """Raises Unmet: it is broken what another case judges, and that is said there alone."""
    try:
        await check(target)
    except Violated:
        raise Unmet(why) from None


def all_cases() -> list[Case]:
    """In the order in which they run."""
    for module in pkgutil.iter_modules(chapters.__path__):
        importlib.import_module(f"{chapters.__name__}.{module.name}")
    order = list(CHAPTERS)
    return sorted(_CASES.values(), key=lambda each: (order.index(each.chapter), each.id))


def find(name: str) -> Case:
    for each in all_cases():
        if name.upper() == each.id or name == each.slug:
            return each
    raise UnknownSelection(f"no case is called {name}; `list` shows them all")


def select(names: Iterable[str], *, level: Level = Level.MAY) -> list[Case]:
    """The cases of a chapter (COM), a section (8.7, with all below it), an id or a slug."""
    wanted = list(names)
    known = all_cases()
    for name in wanted:
        if not any(_goes_by(each, name) for each in known):
            raise UnknownSelection(f"no chapter, section or case is called {name}")
    return [
        each
        for each in known
        if level.includes(each.level)
        and (not wanted or any(_goes_by(each, name) for name in wanted))
    ]


def _goes_by(each: Case, name: str) -> bool:
    sections = [section.strip() for section in each.section.split(",")]
    return (
        name.upper() in (each.id, each.chapter)
        or name == each.slug
        or any(section == name or section.startswith(f"{name}.") for section in sections)
    )
