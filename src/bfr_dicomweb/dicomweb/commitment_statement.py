"""What the conformance statement says of storage commitment, deleting and the change feed."""

from collections.abc import Iterator
from typing import Final

from bfr_dicomweb.dicomweb.commitments import MOST_AT_ONCE
from bfr_dicomweb.dicomweb.worklist_statement import statuses
from bfr_dicomweb.services import change_feed

SERVICES: Final = ("Storage Commitment",)

CONDITIONS: Final = {
    ("Request", 200): "The result is in the answer; some or all instances may have failed.",
    ("Request", 202): "The request is kept, and its result can be asked for.",
    ("Request", 409): "The Transaction UID has been used.",
    ("Request", 413): "The payload is larger than the limit.",
    ("Request", 415): "The payload is of another media type.",
    ("Result Check", 200): "The result is in the answer.",
    ("Result Check", 404): "Nothing was asked for under this Transaction UID.",
    ("Result Check", 410): "The result is no longer kept.",
    ("", 400): "The Transaction UID or an attribute is none, or is missing; the answer names it.",
    ("", 406): "Nothing acceptable can be made.",
    ("", 503): "The catalogue cannot be used now; see Retry-After.",
}

COMMITMENT: Final = f"""\
- An instance is committed to when its catalogue entry is durable, under the SOP class (and in the
  study and series) that is named, and its file is there in its full length. It is kept until it is
  deleted on purpose. The same is promised over DIMSE.
- The result is in the answer to the request. It is not (202) when more than {MOST_AT_ONCE}
  instances are named, or the request says `Prefer: respond-async`. It is worked out once, and kept
  30 days.
- Failure Reasons: 0112H for what is not there; 0119H for another SOP class; 0110H when the file is
  damaged, or when the requester sent other bytes under that SOP Instance UID within the last seven
  days, which were refused. Requesters are told apart by their AE titles; those that come over HTTP
  count as one."""

DELETING: Final = """\
- `DELETE` of a study, a series or an instance, where `BFR_ALLOW_DELETION` is set, is an extension.
  It is answered with 204. Afterwards nothing of it is found, and to retrieve it is answered with
  410. Bytes are removed after `BFR_DELETED_DAYS`.
- What was deleted may be stored again, with the same bytes or with others, and is there again."""

FEED: Final = f"""\
- `/changes` tells what was stored, changed and deleted behind the number `since`, in order, and
  where to go on; `wait` is for a change to come, {change_feed.LONGEST_WAIT_S:.0f} seconds at most.
  It is an extension, and holds no attribute of a patient."""


def sections() -> Iterator[tuple[str, ...]]:
    yield ("### 10.1 Storage commitment", COMMITMENT)
    yield ("### 10.2 Deleting", DELETING)
    yield ("### 10.3 Change feed", FEED)
    yield ("### 10.4 Status codes", statuses(SERVICES, CONDITIONS))
