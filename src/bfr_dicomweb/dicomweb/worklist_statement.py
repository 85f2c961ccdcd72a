"""What the conformance statement says of workitems and modality procedure steps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from bfr_dicomweb.dicom.json_model import named
from bfr_dicomweb.dicom.workitem_attributes import RULES, Rule
from bfr_dicomweb.dicomweb.endpoints import ENDPOINTS, EVENT_CHANNEL
from bfr_dicomweb.services import event_channels

SERVICES: Final = (
    "Worklist",
    "Modality Scheduled Procedure Step",
    "Modality Performed Procedure Step",
)

# What each status of these services means; the others have one meaning for all of them.
CONDITIONS: Final = {
    ("Create", 201): "The workitem is there, as Location says; Warning tells when it was modified.",
    ("Create", 409): "There is one with this UID, or there was.",
    ("Update", 200): "The attributes are set; Warning tells when others were added.",
    ("Update", 409): "The state of the workitem does not allow it.",
    ("Update", 412): "It has another version than If-Match says.",
    ("Change State", 200): "It is in the requested state; Warning tells when it was before.",
    ("Change State", 409): "The state machine or the requirements of the final state forbid it.",
    ("Change State", 412): "It has another version than If-Match says.",
    ("Request Cancellation", 202): "It is canceled, or whoever performs it has been asked to.",
    ("Request Cancellation", 409): "It is COMPLETED.",
    ("Subscribe", 201): "Content-Location is where to open a notification connection.",
    ("Unsubscribe", 200): "There is no subscription any more.",
    ("Suspend Global Subscription", 200): "Workitems that are to come are not subscribed.",
    ("Search", 200): "There are matches; Warning tells of more, and of ignored parameters.",
    ("Search", 204): "There is no match, or limit and offset leave none.",
    ("Retrieve", 200): "It is in the answer, without its Transaction UID.",
    ("Create, Update", 200): "The step is updated.",
    ("Create, Update", 201): "The step is there.",
    ("Create, Update", 409): "There is one with this UID; or it is COMPLETED or DISCONTINUED.",
    ("", 400): "The data set, a parameter or a UID is malformed, breaks a rule of PS3.4, or the"
    " Transaction UID is not the one of the claim; the answer names the attribute.",
    ("", 404): "There is no such workitem, step or subscription.",
    ("", 406): "There is no Accept header, or nothing acceptable can be made.",
    ("", 410): "The workitem has been deleted.",
    ("", 413): "The data set is larger than 8 MiB, or too deep.",
    ("", 415): "The payload has a media type that is not taken.",
    ("", 503): "The catalogue cannot be used now; see Retry-After.",
}

CHOICES: Final = """\
- All transactions of chapter 11 are supported, of all UPS SOP classes (Push, Pull, Watch, Event,
  Query). Workitems are the same over DIMSE and, as Task, over FHIR.
- Payloads are application/dicom+json (a data set or an array of one), application/dicom+xml, or
  multipart/related with one part of it. Retrieve and Search answer with an array, or with parts.
- The UID of a new workitem is the whole query, or its parameter `workitem` or
  `AffectedSOPInstanceUID`, or SOP Instance UID (0008,0018) of the data set. Without one the
  answer is 400.
- The Transaction UID of an update is the whole query, its parameter `transaction-uid` or
  `transactionUID`, or (0008,1195) of the data set. It is never told to anybody.
- Attributes of type 2 that are missing are added without a value, which the Warning tells. An
  empty Worklist Label becomes `BFR`. What is wrong otherwise is refused, and nothing is changed.
- A request to cancel a SCHEDULED workitem cancels it; Procedure Step Discontinuation Reason Code
  Sequence is not insisted on.
- Search matches by the keys of the table below and by `CodeValue`, `CodingSchemeDesignator`,
  `LongCodeValue` and `URNCodeValue` in code sequences, as section 2.4 says. Results come in the
  order in which workitems were created.
- Workitems that are over are deleted after `BFR_WORKITEM_DAYS` unless a deletion lock keeps them;
  then the answer is 410.
- Rules in `BFR_WORKLIST_RULES` make workitems of complete studies, of exams that come to a status
  and of findings."""

EVENTS: Final = f"""\
- Global, filtered and single subscriptions, with and without deletion lock. `filter` is
  `attribute=value`, several joined by commas.
- The notification connection is a WebSocket at `{EVENT_CHANNEL}` below the base URI.
- Events are kept with the workitems: what happens while a subscriber is away, or while the server
  is restarted, is told later, in order. Events of the last {event_channels.SURE_S:.0f} seconds
  before a lost connection are told again, with the same Message ID. They are forgotten after 7
  days.
- A subscriber that is more than {event_channels.BACKLOG} events behind is disconnected (1013), and
  may connect again.
- A subscriber that subscribed over DIMSE is called instead, with N-EVENT-REPORT."""

STEPS: Final = """\
- The modality worklist is made of the orders that HL7 v2 tells of; every attribute that is known is
  returned. Start date and time are one interval.
- A performed procedure step needs the attributes of PS3.4 Table F.7.2-1; `update` in the query says
  that it is there. Its exam follows it as if it had been told of over DIMSE."""


def sections() -> Iterator[tuple[str, ...]]:
    yield ("### 8.1 Workitems", CHOICES)
    yield ("### 8.2 Notifications (8.10, N.5.3.5)", EVENTS)
    yield ("### 8.3 Attributes of workitems (PS3.4 Table CC.2.5-3)", _attributes())
    yield ("### 8.4 Modality procedure steps", STEPS)
    yield ("### 8.5 Status codes", statuses(SERVICES, CONDITIONS))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _attributes() -> str:
    head = ("Attribute", "Creation", "Update", "Final state", "Matching key", "Return key")
    return table(head, map(_row, RULES))


def _row(rule: Rule) -> tuple[str, ...]:
    name = ">" * (len(rule.path) - 1) + named(rule.path[-1:])
    usage = (_usage(rule.create, rule.create_scp), _usage(rule.update, rule.update_scp))
    return (name, *usage, rule.final, rule.matching, rule.returned)


def _usage(scu: str, scp: str) -> str:
    return "not allowed" if scu == "NA" else f"{scu}/{scp}"


def statuses(services: Sequence[str], conditions: Mapping[tuple[str, int], str]) -> str:
    """
    Raises:
        LookupError: A status of an endpoint of these services has no condition.
    """
    for endpoint in ENDPOINTS:
        for status in endpoint.statuses if endpoint.service in services else ():
            if (endpoint.transaction, status) not in conditions and ("", status) not in conditions:
                raise LookupError(f"{endpoint.transaction} {status} has no condition")
    rows = (
        (transaction or "any", f"{status} ({HTTPStatus(status).phrase})", condition)
        for (transaction, status), condition in conditions.items()
    )
    return table(("Transaction", "Status", "When"), rows)
