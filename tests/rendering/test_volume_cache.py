"""What is kept of volumes."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bfr_dicomweb.rendering.volume_cache import VolumeCache


@dataclass
class Kept:
    size_bytes: int


def test_what_is_kept_is_not_made_again() -> None:
    cache = VolumeCache[Kept](10)
    first = cache.get("a", lambda: Kept(4))

    assert cache.get("a", lambda: Kept(5)) is first


def test_the_least_recently_used_goes_first() -> None:
    cache = VolumeCache[Kept](10)
    kept = {key: cache.get(key, lambda: Kept(4)) for key in "ab"}
    cache.get("a", lambda: Kept(4))
    cache.get("c", lambda: Kept(4))

    assert cache.get("a", lambda: Kept(4)) is kept["a"]
    assert cache.get("b", lambda: Kept(4)) is not kept["b"]


def test_what_has_grown_counts_as_it_is_now() -> None:
    cache = VolumeCache[Kept](10)
    first = cache.get("a", lambda: Kept(4))
    first.size_bytes = 8
    cache.get("b", lambda: Kept(4))

    assert cache.get("a", lambda: Kept(4)) is not first


def test_what_does_not_fit_is_given_and_not_kept() -> None:
    cache = VolumeCache[Kept](10)

    assert cache.get("a", lambda: Kept(11)).size_bytes == 11
    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12))), st.integers(0, 20))
def test_the_bound_holds_whatever_is_asked_for(asked: list[tuple[int, int]], most: int) -> None:
    cache = VolumeCache[Kept](most)
    for key, size in asked:
        cache.get(key, lambda size=size: Kept(size))  # type: ignore[misc]
        assert cache.size_bytes <= most
