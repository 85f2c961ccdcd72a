"""What is answered to a message: MSH, MSA, and ERR when it was not taken.

Original mode (MSH-15 and MSH-16 empty) answers AA, AE or AR. In enhanced mode a sender names the
answers that it wants. It gets one at most: the application acknowledgement when MSH-16 asks for
one, because it says all that the accept acknowledgement would and is known at the same moment;
else the accept acknowledgement (CA, CE, CR) when MSH-15 asks for it; else none.
"""

import re
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from bfr_dicomweb.errors import InvalidMessage
from bfr_dicomweb.hl7v2.message import Encoding, Header, Segment

# HL7 table 0357, message error condition codes.
ERROR_CONDITIONS: Final = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    104: "Value too long",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}
# HL7 table 0155, accept/application acknowledgment conditions: (when taken, when not).
CONDITIONS: Final = {
    "AL": (True, True),
    "NE": (False, False),
    "ER": (False, True),
    "SU": (True, False),
}
ENHANCED: Final = {"AA": "CA", "AE": "CE", "AR": "CR"}

_DEFAULT_VERSION: Final = "2.5.1"
_CONTROL_CHARACTERS: Final = dict.fromkeys((*range(0x20), 0x7F))
_VERSION = re.compile(r"2\.(\d)(?:\.(\d))?")


def code_of(error: InvalidMessage | None) -> str:
    """HL7 table 0008: AA taken, AE an error in the contents, AR not a message for us."""
    if error is None:
        return "AA"
    return "AR" if error.rejected else "AE"


def answer(header: Header, error: InvalidMessage | None = None) -> bytes | None:
    """The acknowledgement that the sender wants, None when it wants none."""
    code = _wanted(header, code_of(error))
    if code is None:
        return None
    lines = [_msh(header), _msa(header, code, error)]
    if error is not None:
        lines.append(_err(header, error))
    text = "".join(line + "\r" for line in lines)
    return text.encode(header.charset.codec, "replace")


def _wanted(header: Header, code: str) -> str | None:
    accept, application = header.msh.text(15).upper(), header.msh.text(16).upper()
    if accept not in CONDITIONS and application not in CONDITIONS:
        return code
    if application not in CONDITIONS and accept == "NE":
        return code  # of the two answers it declines one only
    column = 0 if code == "AA" else 1
    if application in CONDITIONS and CONDITIONS[application][column]:
        return code
    return ENHANCED[code] if accept in CONDITIONS and CONDITIONS[accept][column] else None


def reversed_header(segment: Segment, name: str) -> list[str]:
    """The first seven fields of MSH, BHS or FHS of an answer: sender and receiver swapped."""
    sender, receiver = (
        [copied(segment, 3), copied(segment, 4)],
        [copied(segment, 5), copied(segment, 6)],
    )
    return [name, copied(segment, 2) or "^~\\&", *receiver, *sender, timestamp()]


def copied(segment: Segment, field: int) -> str:
    """A field as it was sent, without what could break the framing of the answer."""
    return _framed(segment.raw(field))


def _framed(raw: str) -> str:
    return raw if raw.isprintable() else raw.translate(_CONTROL_CHARACTERS)


def timestamp() -> str:
    return _second(int(time.time()))


@lru_cache(maxsize=2)
def _second(since_epoch_s: int) -> str:
    return datetime.fromtimestamp(since_epoch_s, UTC).strftime("%Y%m%d%H%M%S+0000")


def new_control_id() -> str:
    return secrets.token_hex(10)  # 20 characters, all that version 2.3 has room for


def _msh(header: Header) -> str:
    sent = tuple([header.msh.raw(field) for field in _ANSWERED])
    before, between, after = _around(sent, header.encoding, header.trigger, _release(header))
    return f"{before}{timestamp()}{between}{new_control_id()}{after}"


# The fields of MSH that an answer repeats.
_ANSWERED: Final = (2, 3, 4, 5, 6, 11, 12, 18)


@lru_cache(maxsize=256)
def _around(
    sent: tuple[str, ...], encoding: Encoding, trigger: str, release: tuple[int, int]
) -> tuple[str, str, str]:
    """An answer's MSH before its time, between that and its control id, and behind it."""
    characters, *names, processing, version, charset = map(_framed, sent)
    event = encoding.escaped(trigger)
    parts = ["ACK"]
    if event:
        parts.append(event)
        if release >= (3, 1):
            parts.append("ACK")
    separator = encoding.field
    before = ["MSH", characters or "^~\\&", *names[2:], *names[:2], ""]
    between = ["", "", (encoding.component or "^").join(parts), ""]
    after = ["", processing or "P", version or _DEFAULT_VERSION, *[""] * 5, charset]
    return (
        separator.join(before),
        separator.join(between),
        separator.join(after).rstrip(separator),
    )


def _msa(header: Header, code: str, error: InvalidMessage | None) -> str:
    encoding = header.encoding
    fields = ["MSA", code, copied(header.msh, 10)]
    if error is not None and _release(header) < (7, 0):
        fields.append(encoding.escaped(str(error)))
    return encoding.field.join(fields)


def _err(header: Header, error: InvalidMessage) -> str:
    encoding = header.encoding
    component, subcomponent = encoding.component or "^", encoding.subcomponent or "&"
    location = _location(error)
    condition = (str(error.code), ERROR_CONDITIONS.get(error.code, ""), "HL70357")
    if _release(header) < (5, 0):
        place = [*location, "", "", ""][:3]
        return encoding.field.join(["ERR", component.join([*place, subcomponent.join(condition)])])
    if error.component:
        location += ["", str(error.component)]  # after the repetition, which is not told
    fields = ["ERR", "", component.join(location), component.join(condition), "E", "", "", ""]
    return encoding.field.join([*fields, encoding.escaped(str(error))])


def _location(error: InvalidMessage) -> list[str]:
    if not error.segment:
        return []
    where = [error.segment, str(error.sequence)]
    return [*where, str(error.field)] if error.field else where


def _release(header: Header) -> tuple[int, int]:
    """(5, 1) of version 2.5.1."""
    found = _VERSION.match(header.version or _DEFAULT_VERSION)
    return (int(found[1]), int(found[2] or 0)) if found is not None else (5, 1)
