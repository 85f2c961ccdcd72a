"""The catalogue of requirements is complete: no gap without a reason, no case for nothing."""

import re
from pathlib import Path

from dicomweb_conformance import requirements
from dicomweb_conformance.cases import CHAPTERS, all_cases


def test_every_shall_has_a_case_or_a_reason_and_every_case_a_requirement() -> None:
    assert requirements.gaps(requirements.catalogue(), all_cases()) == []


def test_every_case_is_of_a_chapter_with_planted_faults() -> None:
    """Each module of faults says for its chapter that every case has one."""
    modules = Path(__file__).parent.glob("test_*.py")
    named = {
        chapter
        for module in modules
        for chapter in re.findall(r'^CHAPTERS?: Final = .*"([A-Z]{3})"', module.read_text(), re.M)
    }

    assert {case.chapter for case in all_cases()} <= named


def test_ids_are_of_a_known_chapter() -> None:
    assert {case.chapter for case in all_cases()} <= CHAPTERS.keys()


def test_slugs_are_unique() -> None:
    slugs = [case.slug for case in all_cases()]

    assert len(set(slugs)) == len(slugs)


def test_texts_do_not_quote_more_than_a_sentence() -> None:
    assert [case.id for case in all_cases() if len(case.requirement) > 200] == []


def test_the_suite_knows_nothing_of_this_server() -> None:
    """It judges any server; what it shares with ours would hide ours' mistakes."""
    package = Path(requirements.__file__).parents[1]

    assert [path for path in package.rglob("*.py") if "bfr_dicomweb" in path.read_text()] == []
