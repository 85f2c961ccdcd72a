"""Dates and times of FHIR as spans of time, which is how a search compares them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

# What has no time zone is told in the time of the place that the archive serves.
LOCAL: Final = ZoneInfo("Europe/Stockholm")
FOREVER: Final = 1 << 62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = "0001-01-01T00:00:00.000000Z"
_LAST: Final = "9999-12-31T23:59:59.999999Z"
_TEXT: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` up to but without `high`, in microseconds since 1970 UTC."""

    low: int
    high: int


ALWAYS: Final = Interval(-FOREVER, FOREVER)


@lru_cache(maxsize=16384)
def interval(text: str) -> Interval:
    """What a date, dateTime or instant covers: 2024-01 is a month, 2024-01-08T09:00 a minute.

    Raises:
        ValueError: It is none of these.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("no date or time of FHIR")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if second == "60":  # a leap second: the next minute
        second = "59"
    start = datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0")[:6].ljust(6, "0")),
        tzinfo=_zone(zone),
    )
    try:
        return Interval(_microseconds(start), _microseconds(_end(start, match)))
    except OverflowError:
        return Interval(_edge(start), _edge(start) + 1)


def _zone(text: str | None) -> Any:
    if text is None:
        return LOCAL
    if text == "Z":
        return UTC
    return datetime.strptime(text, "%z").tzinfo


def _end(start: datetime, match: re.Match[str]) -> datetime:
    _, month, day, hour, _, second, fraction, _ = match.groups()
    if fraction is not None:
        digits = min(len(fraction), 6)
        return start + timedelta(microseconds=int(10 ** (6 - digits)))
    if hour is not None:
        return start + (timedelta(minutes=1) if second is None else timedelta(seconds=1))
    if day is not None:
        return start + timedelta(days=1)  # of the local calendar: a day may have 23 or 25 hours
    if month is not None and start.month < 12:
        return start.replace(month=start.month + 1)
    if start.year == 9999:
        raise OverflowError
    return start.replace(year=start.year + 1, month=1)


def _microseconds(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def _edge(moment: datetime) -> int:
    return FOREVER if moment.year > 5000 else -FOREVER


def interval_of(value: Any) -> Interval | None:
    """What an element covers: a date, dateTime, instant, Period or Timing; None for another."""
    if isinstance(value, str):
        return _interval_or_none(value)
    if not isinstance(value, dict):
        return None
    if "start" in value or "end" in value:
        start, end = _interval_or_none(value.get("start")), _interval_or_none(value.get("end"))
        return Interval(start.low if start else -FOREVER, end.high if end else FOREVER)
    repeat = value.get("repeat", {})
    if "boundsPeriod" in repeat:
        return interval_of(repeat["boundsPeriod"])
    events = [found for event in value.get("event", ()) if (found := _interval_or_none(event))]
    if not events:
        return None
    return Interval(min(event.low for event in events), max(event.high for event in events))


def _interval_or_none(text: Any) -> Interval | None:
    if not isinstance(text, str):
        return None
    try:
        return interval(text)
    except ValueError:
        return None


def text_of(microseconds: int) -> str:
    """As the catalogue has times: text of one width that sorts."""
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S.%f}Z"
