"""QID: results page by page (section 8.3.4.4)."""

from typing import Final

from dicomweb_conformance.cases import case
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.searches import uids_in, warning_in
from dicomweb_conformance.target import Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Unmet, Violated, expect, need

_PAGES: Final = (Fixture.F13, Feature.SEARCH)
_PAGE: Final = "PatientID=PAGE"
_MAX_FOUND: Final = 3000  # of a hundred earlier runs: a server may never end
_ADDITIONAL: Final = r"There are (\d{1,9}) additional results that can be requested"


async def _total(target: Target) -> int:
    """How many studies the patient PAGE has, also of earlier runs. Raises Unmet."""
    answer = await target.get("/studies", query=_PAGE)
    warning = warning_in(answer, _ADDITIONAL)
    total = len(uids_in(answer)) + (int(warning[1]) if warning else 0)
    need(total >= len(target.studies(Fixture.F13)), f"{total} of 30 studies are found or announced")
    return total


async def _pages(target: Target, size: int) -> list[str]:
    """The UIDs of the patient PAGE, page by page.

    Raises:
        Violated: a page repeats another.
        Unmet: they do not end.
    """
    found: list[str] = []
    while True:
        query = f"{_PAGE}&limit={size}&offset={len(found)}"
        page = uids_in(await target.get("/studies", query=query))
        expect(len(page) <= size, f"GET /studies?limit={size}: {len(page)} results")
        if not page:
            break
        twice = len(set(page) & set(found)) + len(page) - len(set(page))
        expect(not twice, f"GET /studies?{query}: {twice} results come twice")
        found += page
        need(len(found) <= _MAX_FOUND, f"the patient PAGE has more than {_MAX_FOUND} studies")
    return found


@case(
    "QID-44",
    section="8.3.4.4.1, 10.6.3.1",
    level=Level.SHALL,
    requirement="Where there are more results than returned, a Warning says how many.",
    request="GET {b}/studies?PatientID=PAGE&limit=10",
    expected='10 results; "There are 20 additional results that can be requested"',
    needs=_PAGES,
)
async def remaining_results_are_announced(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&limit=10")
    got = len(uids_in(answer))
    expect(got == 10, f"{answer.asked}: {got} results")
    warning = warning_in(answer, _ADDITIONAL)
    expect(warning is not None, f"{answer.asked}: no Warning says that there are more results")
    said = int(warning[1]) if warning else 0
    expect(said == total - 10, f"{answer.asked}: {said} additional results, not {total - 10}")


@case(
    "QID-45",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="The last page has what is left, and no Warning of more.",
    request="GET {b}/studies?PatientID=PAGE&limit=10&offset=25",
    expected="5 results, no such Warning",
    needs=_PAGES,
)
async def last_page_has_the_rest(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&limit=10&offset={total - 5}")
    got = len(uids_in(answer))
    expect(got == 5, f"{answer.asked}: {got} results, not 5")
    held = warning_in(answer, _ADDITIONAL) is None
    expect(held, f"{answer.asked}: a Warning says that there are more results")


@case(
    "QID-46",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Beyond the last result there are none: 204, or 200 with an empty payload.",
    request="GET {b}/studies?PatientID=PAGE&offset=30",
    expected="204, no payload; or 200 with an empty one",
    needs=_PAGES,
)
async def offset_beyond_the_end_has_no_results(target: Target) -> None:
    total = await _total(target)
    answer = await target.get("/studies", query=f"{_PAGE}&offset={total}")
    target.expect_no_results(answer)


@case(
    "QID-47",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Where no result is wanted there is none: 204, or 200 with an empty payload.",
    request="GET {b}/studies?PatientID=PAGE&limit=0",
    expected="204, no payload; or 200 with an empty one",
    needs=_PAGES,
)
async def limit_of_zero_has_no_results(target: Target) -> None:
    await _total(target)
    target.expect_no_results(await target.get("/studies", query=f"{_PAGE}&limit=0"))


@case(
    "QID-48",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Pages one after the other hold each result once.",
    request="GET {b}/studies?PatientID=PAGE&limit=7&offset=0, 7, 14, ...",
    expected="all 30 studies, none twice",
    needs=_PAGES,
)
async def pages_hold_each_result_once(target: Target) -> None:
    plain = uids_in(await target.get("/studies", query=_PAGE))
    need(bool(plain), "a search without pages finds nothing")
    found = await _pages(target, 7)
    missing = {each.uid for each in target.studies(Fixture.F13)} - set(found)
    expect(not missing, f"{len(missing)} of 30 studies are on no page")


@case(
    "QID-49",
    section="8.3.4.4.1",
    level=Level.SHALL,
    requirement="Where the server returns no more than its maximum, a Warning says what is left.",
    request="GET {b}/studies?PatientID=PAGE",
    expected="all; or a Warning with the number of the others",
    needs=_PAGES,
)
async def server_maximum_is_announced(target: Target) -> None:
    try:
        total = len(await _pages(target, 20))
    except Violated as error:
        raise Unmet(f"pages cannot be asked for: {error}") from None
    answer = await target.get("/studies", query=_PAGE)
    got, warning = len(uids_in(answer)), warning_in(answer, _ADDITIONAL)
    if got == total and warning is None:
        raise NotClaimed(f"the server's maximum is not below {total}")
    said = int(warning[1]) if warning else 0
    held = said == total - got
    expect(held, f"{answer.asked}: {got} results, {said} additional ones announced, {total} exist")
