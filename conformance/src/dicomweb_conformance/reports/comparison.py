"""Two records side by side: what changed, or in what two servers differ."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    id: str
    slug: str
    before: str  # an outcome, or "-" where the case was not run
    after: str
    reason: str  # of the outcome after, or before where there is none

    @property
    def is_worse(self) -> bool:
        return self.after in ("FAIL", "ERROR") and self.before not in ("FAIL", "ERROR")


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[Difference]:
    earlier, later = _by_id(before), _by_id(after)
    found = []
    for id in dict.fromkeys([*earlier, *later]):
        old, new = earlier.get(id, {}), later.get(id, {})
        was, became = str(old.get("outcome", "-")), str(new.get("outcome", "-"))
        if was != became:
            slug = str(new.get("slug") or old.get("slug"))
            reason = str(new.get("reason") or old.get("reason") or "")
            found.append(Difference(id, slug, was, became, reason))
    return found


def _by_id(record: Mapping[str, object]) -> dict[str, dict[str, object]]:
    cases = record.get("cases")
    listed = cases if isinstance(cases, list) else []
    return {str(each["id"]): each for each in listed if isinstance(each, dict)}
