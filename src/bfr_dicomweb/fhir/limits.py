"""How much one request may ask for. What is beyond is refused or cut, and the answer says so."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Attributes:
    query_length: Characters of a query string, or of a form.
    criteria: Parameters that narrow a search.
    values: Alternatives of one criterion.
    chain: Steps of a chained parameter.
    default_count: Matches on a page when the client does not say; `count`: at most.
    scanned: Candidates that one page looks at; a page that ends there has a next link.
    resolved: Resources that a chained parameter may stand for.
    sorted: Matches that are sorted by another parameter than the one they are kept by.
    counted: Matches that are counted for Bundle.total.
    included: Resources that includes may add to a page.
    include_rounds: Steps of `:iterate`.
    entries: Of a batch or transaction.
    body_bytes: Of a request.
    versions: Of one page of a history.
    page_lifetime_s: How long a link to a next page can be followed.
    """

    query_length: int = 32_768
    criteria: int = 64
    values: int = 500
    chain: int = 4
    includes: int = 32
    default_count: int = 50
    count: int = 1000
    scanned: int = 10_000
    resolved: int = 1000
    sorted: int = 1000
    counted: int = 10_000
    included: int = 5000
    include_rounds: int = 6
    entries: int = 1000
    body_bytes: int = 32 << 20
    versions: int = 200
    page_lifetime_s: int = 3600


DEFAULT: Final = Limits()
