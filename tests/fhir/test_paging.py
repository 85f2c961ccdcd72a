"""Pages: all matches once, whatever happens in between, and tokens that tell nothing."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.errors import Gone, InvalidQuery
from bfr_dicomweb.fhir.limits import Limits
from bfr_dicomweb.fhir.paging import Pages
from bfr_dicomweb.fhir.search import Reader
from bfr_dicomweb.fhir.searching import Place, Searcher
from bfr_dicomweb.fhir.several import Several
from bfr_dicomweb.fhir.source import Narrowing
from fhir_served import BASE, SECRET, Shelf, issues, link, matched, served

PLACES = st.dictionaries(
    st.text(max_size=5), st.one_of(st.text(), st.integers(-(2**53), 2**53), st.none()), max_size=5
)


def pages(now: float = 0.0, secret: bytes = SECRET) -> Pages:
    return Pages(secret, lifetime_s=60, clock=lambda: now)


@given(place=PLACES)
def test_a_token_opens_to_what_was_sealed(place: dict[str, Any]) -> None:
    assert pages().open(pages().seal(place)) == place


@given(place=PLACES, at=st.integers(0, 10_000), letter=st.sampled_from("AZaz09-_"))
def test_a_token_that_was_changed_is_refused(place: dict[str, Any], at: int, letter: str) -> None:
    token = pages().seal(place)
    # the last letter has bits that stand for nothing
    at %= len(token) - 1
    changed = token[:at] + letter + token[at + 1 :]

    if changed != token:
        with pytest.raises(InvalidQuery):
            pages().open(changed)


@given(token=st.text(max_size=80))
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidQuery):
        pages().open(token)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(InvalidQuery):
        pages(secret=b"x" * 32).open(pages().seal({"a": 1}))


def test_a_token_expires() -> None:
    token = pages(now=1000).seal({"a": 1})

    with pytest.raises(Gone):
        pages(now=1061).open(token)


def test_two_tokens_of_one_place_have_nothing_in_common() -> None:
    one, other = (pages().seal({"q": "191212121212" * 20}) for _ in range(2))

    assert sum(a == b for a, b in zip(one, other, strict=True)) < len(one) / 4


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Pages(b"short", lifetime_s=1)


def shelf(moments: list[int]) -> Shelf:
    made = Shelf("ServiceRequest", "authored")
    for number, moment in enumerate(moments):
        made.put({"id": f"o{number}", "authoredOn": at(moment)}, at(moment))
    return made


def at(number: int) -> str:
    return f"2024-01-01T00:00:{number:02}.000000Z"


async def walked(searcher: Searcher, query: list[tuple[str, str]]) -> list[str]:
    search = Reader(["ServiceRequest"]).read("ServiceRequest", query)
    found: list[str] = []
    place: Place | None = Place()
    while place is not None:
        page = await searcher.page(search, place)
        found += [resource["id"] for resource in page.matches]
        place = page.following
    return found


@given(
    moments=st.lists(st.integers(0, 5), max_size=40),
    count=st.integers(1, 9),
    sort=st.sampled_from(["authored", "-authored", "-_id", "_id", "authored,_id"]),
    scanned=st.integers(1, 60),
)
def test_pages_have_every_match_once(
    moments: list[int], count: int, sort: str, scanned: int
) -> None:
    limits = Limits(scanned=scanned if "authored" in sort else 100)
    searcher = Searcher({"ServiceRequest": shelf(moments)}, limits, BASE)

    found = asyncio.run(walked(searcher, [("_sort", sort), ("_count", str(count))]))

    assert sorted(found) == sorted(f"o{number}" for number in range(len(moments)))


@given(moments=st.lists(st.integers(0, 5), max_size=40), descending=st.booleans())
def test_pages_are_in_order(moments: list[int], descending: bool) -> None:
    searcher = Searcher({"ServiceRequest": shelf(moments)}, Limits(), BASE)
    sort = "-authored" if descending else "authored"

    found = asyncio.run(walked(searcher, [("_sort", sort), ("_count", "3")]))

    order = [moments[int(name[1:])] for name in found]
    assert order == sorted(moments, reverse=descending)


@given(
    moments=st.lists(st.integers(0, 59), max_size=40),
    low=st.integers(0, 59),
    high=st.integers(0, 59),
    sort=st.sampled_from(["authored", "-authored"]),
)
def test_a_walk_between_two_moments_finds_all_that_lies_there(
    moments: list[int], low: int, high: int, sort: str
) -> None:
    searcher = Searcher({"ServiceRequest": shelf(moments)}, Limits(), BASE)
    query = [("_sort", sort), ("authored", f"ge{at(low)}"), ("authored", f"le{at(high)}")]

    found = asyncio.run(walked(searcher, query))

    assert sorted(moments[int(name[1:])] for name in found) == sorted(
        moment for moment in moments if low <= moment <= high
    )


@given(
    first=st.lists(st.integers(0, 4), max_size=20),
    second=st.lists(st.integers(0, 4), max_size=20),
    newest_first=st.booleans(),
    limit=st.integers(1, 5),
)
def test_several_sources_are_walked_as_one(
    first: list[int], second: list[int], newest_first: bool, limit: int
) -> None:
    both = Several(shelf(first), shelf(second))

    async def walk() -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        while True:
            batch = await both.candidates(
                Narrowing(),
                newest_first=newest_first,
                after=found[-1] if found else None,
                limit=limit,
            )
            found += [(one.moment, one.key) for one in batch]
            if len(batch) < limit:
                return found

    found = asyncio.run(walk())
    assert found == sorted(set(found), reverse=newest_first)
    assert len(found) == len(first) + len(second)


def test_a_search_for_a_time_long_ago_does_not_look_at_what_is_newer() -> None:
    kept = Shelf("ServiceRequest", "authored")
    for month in range(1, 13):
        moment = f"2024-{month:02}-01T00:00:00.000000Z"
        kept.put({"id": f"o{month}", "authoredOn": moment}, moment)
    # with a limit of 3 candidates nothing would be found from the newest on
    searcher = Searcher({"ServiceRequest": kept}, Limits(scanned=3), BASE)
    search = Reader(["ServiceRequest"]).read("ServiceRequest", [("authored", "2024-03")])

    page = asyncio.run(searcher.page(search, Place()))

    assert [resource["id"] for resource in page.matches] == ["o3"]


async def test_sixty_orders_are_three_pages(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as one:
        for number in range(60):
            one.put("ServiceRequest", at(number), id=f"o{number}", authoredOn=at(number))
        sizes, found = [], []
        url: str | None = f"{BASE}/ServiceRequest?_sort=-authored&_count=25"
        while url is not None:
            bundle = (await one.client.get(url)).json()
            sizes.append(len(matched(bundle)))
            found += matched(bundle)
            url = link(bundle, "next")

    assert (sizes, len(set(found))) == ([25, 25, 10], 60)


async def test_what_comes_between_two_pages_moves_nothing(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as one:
        for number in range(4):
            one.put("ServiceRequest", at(number), id=f"o{number}", authoredOn=at(number))
        first = await one.search("ServiceRequest?_sort=-authored&_count=2")
        one.put("ServiceRequest", at(50), id="new", authoredOn=at(50))
        second = (await one.client.get(link(first, "next") or "")).json()

    assert matched(first) + matched(second) == ["o3", "o2", "o1", "o0"]


async def test_a_next_link_has_nothing_but_a_token(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as one:
        for number in range(3):
            one.put("Patient", id=f"p{number}", identifier=[{"value": "191212121212"}])
        bundle = await one.search("Patient?identifier=191212121212&_count=1")

    assert "1212" not in (link(bundle, "next") or "")


async def test_a_page_takes_no_other_parameter(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as one:
        for number in range(3):
            one.put("Patient", id=f"p{number}")
        following = link(await one.search("Patient?_count=1"), "next")
        response = await one.client.get(f"{following}&gender=male")

    assert response.status_code == 400


async def test_a_page_of_one_type_is_none_of_another(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url) as one:
        for number in range(3):
            one.put("Patient", id=f"p{number}")
        following = link(await one.search("Patient?_count=1"), "next") or ""
        response = await one.client.get(following.replace("/Patient?", "/Task?"))

    assert response.status_code == 400


async def test_a_page_that_looked_at_enough_goes_on_in_the_next(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with served(tmp_path, sqlite_url, limits=Limits(scanned=10)) as one:
        for number in range(25):
            status = "active" if number == 2 else "completed"
            one.put("ServiceRequest", at(number), id=f"o{number}", status=status)
        bundle = await one.search("ServiceRequest?status=active")
        empty = issues(bundle)[0]["code"], matched(bundle)
        while not matched(bundle):
            bundle = (await one.client.get(link(bundle, "next") or "")).json()

    assert (empty, matched(bundle)) == (("incomplete", []), ["o2"])


@pytest.mark.parametrize(
    ("query", "limits"),
    [
        ("ServiceRequest?_sort=status", Limits(sorted=2)),
        ("Task?focus.status=active", Limits(resolved=2)),
    ],
)
async def test_a_search_that_costs_too_much_is_refused_with_the_reason(
    tmp_path: Path, sqlite_url: str, query: str, limits: Limits
) -> None:
    async with served(tmp_path, sqlite_url, limits=limits) as one:
        for number in range(3):
            one.put("ServiceRequest", at(number), id=f"o{number}", status="active")
        response = await one.client.get(f"{BASE}/{query}")

    assert (response.status_code, response.json()["issue"][0]["code"]) == (400, "too-costly")


async def test_a_total_that_is_too_large_is_left_out(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url, limits=Limits(counted=2)) as one:
        for number in range(4):
            one.put("Patient", id=f"p{number}")
        bundle = await one.search("Patient?_count=1&_total=accurate")

    assert ("total" in bundle, issues(bundle)[0]["code"]) == (False, "too-costly")


async def test_includes_beyond_the_limit_are_left_out_and_that_is_said(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with served(tmp_path, sqlite_url, limits=Limits(included=2)) as one:
        one.put("ServiceRequest", at(1), id="o1")
        for number in range(4):
            one.put("Task", at(number), id=f"t{number}", focus={"reference": "ServiceRequest/o1"})
        bundle = await one.search("ServiceRequest?_revinclude=Task:focus")

    assert (len(matched(bundle, "include")), issues(bundle)[0]["code"]) == (2, "incomplete")


async def test_the_next_page_of_the_longest_query_can_be_reached(
    tmp_path: Path, sqlite_url: str
) -> None:
    chance = random.Random(1)  # what cannot be made shorter
    codes = [f"{chance.getrandbits(256):064x}" for _ in range(480)]
    form = {"identifier": ",".join(["x", *codes]), "_count": "1"}
    async with served(tmp_path, sqlite_url) as one:
        for number in range(2):
            one.put("Patient", id=f"p{number}", identifier=[{"value": "x"}])
        first = (await one.client.post(f"{BASE}/Patient/_search", data=form)).json()
        second = (await one.client.get(link(first, "next") or "")).json()

    assert matched(first) + matched(second) == ["p1", "p0"]
