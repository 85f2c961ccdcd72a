"""Who may associate, and for what (PS3.8 section 7.1, PS3.7 Annex D)."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import structlog
from pydicom.uid import UID, MediaStorageDirectoryStorage
from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext

from bfr_dicomweb.dicom import transfer_syntaxes
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Peer

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
STORAGE_SERVICE_CLASS: Final = "1.2.840.10008.4.2"
# The uncompressed transfer syntaxes, the ones that cost least first.
UNCOMPRESSED: Final = (
    transfer_syntaxes.EXPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntaxes.IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntaxes.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntaxes.EXPLICIT_VR_BIG_ENDIAN,
)
# A PDU has to hold the header of a PDV and something of a message.
LEAST_PDU_BYTES: Final = 128

# Results of a presentation context (PS3.8 Table 9-18).
ACCEPTED: Final = 0
USER_REJECTION: Final = 1
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4

log = structlog.get_logger("dimse")


# --- who -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """An association is not accepted (PS3.8 Table 9-21).

    Attributes:
        result: 1 permanent, 2 transient.
        source: 1 service user, 2 service provider (ACSE), 3 service provider (presentation).
        diagnostic: The reason; what it means depends on the source.
        reason: For the log.
    """

    result: int
    source: int
    diagnostic: int
    reason: str


NO_SUCH_APPLICATION_CONTEXT: Final = Refusal(1, 1, 2, "application context name not supported")
UNKNOWN_CALLING_TITLE: Final = Refusal(1, 1, 3, "calling AE title not known")
WRONG_ADDRESS: Final = Refusal(1, 1, 3, "calling AE title not known from this address")
UNKNOWN_CALLED_TITLE: Final = Refusal(1, 1, 7, "called AE title is not ours")
WITHOUT_TLS: Final = Refusal(1, 1, 1, "this peer has to use TLS")
WRONG_CERTIFICATE: Final = Refusal(1, 1, 1, "certificate has none of the names of this peer")
PDU_TOO_SMALL: Final = Refusal(1, 1, 1, "maximum PDU length is too small")
TOO_MANY: Final = Refusal(2, 3, 2, "too many associations")
TOO_MANY_OF_PEER: Final = Refusal(2, 3, 2, "too many associations of this peer")

REFUSALS: Final = (
    NO_SUCH_APPLICATION_CONTEXT,
    UNKNOWN_CALLED_TITLE,
    UNKNOWN_CALLING_TITLE,
    WRONG_ADDRESS,
    WITHOUT_TLS,
    WRONG_CERTIFICATE,
    PDU_TOO_SMALL,
    TOO_MANY,
    TOO_MANY_OF_PEER,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Attributes:
        certificate_names: Of the certificate that it showed; None when it came without TLS.
    """

    application_context: str
    called: str
    calling: str
    address: str
    certificate_names: frozenset[str] | None
    max_pdu_bytes: int


def admitted(caller: Caller, door: Door) -> Peer | Refusal:
    """Who is calling, or why it may not."""
    if caller.application_context != APPLICATION_CONTEXT:
        return NO_SUCH_APPLICATION_CONTEXT
    peer = door.peers().find(caller.calling)
    if caller.called != door.ae_title and (peer is None or caller.called not in peer.called):
        return UNKNOWN_CALLED_TITLE
    if peer is None:
        return UNKNOWN_CALLING_TITLE
    if not peer.may_call_from(caller.address):
        return WRONG_ADDRESS
    names = caller.certificate_names
    if names is None:
        if peer.tls:
            return WITHOUT_TLS
        names = frozenset()
    if peer.certificates and not names & set(peer.certificates):
        return WRONG_CERTIFICATE
    if 0 < caller.max_pdu_bytes < LEAST_PDU_BYTES:
        return PDU_TOO_SMALL
    return peer


class Seats:
    """Associations at one time, in all and by calling AE title."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, title: str, *, most: int) -> Refusal | None:
        """Why there is none left; None once one is taken."""
        with self._lock:
            if self._taken.total() >= self._most:
                return TOO_MANY
            if self._taken[title] >= most:
                return TOO_MANY_OF_PEER
            self._taken[title] += 1
            return None

    def leave(self, title: str) -> None:
        with self._lock:
            self._taken[title] -= 1
            if not self._taken[title]:
                del self._taken[title]


# --- what ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offered:
    """What the door has for one SOP class."""

    services: tuple[Service, ...]
    transfer_syntaxes: tuple[str, ...] | None

    def roles(self, peer: Peer) -> tuple[bool, bool]:
        """Whether this archive acts as SCU and as SCP for this peer."""
        permitted = [s for s in self.services if s.permission is None or s.permission in peer.may]
        as_scu = any(service.as_scu for service in permitted)
        as_scp = any(not service.as_scu for service in permitted)
        return as_scu, as_scp


class Offer:
    """What the door has, made once of its rows; looked up by each association."""

    def __init__(self, services: Sequence[Service]) -> None:
        by_class: dict[str, list[Service]] = {}
        for service in services:
            for sop_class in service.sop_classes or ():
                by_class.setdefault(sop_class, []).append(service)
        self._by_class = {
            sop_class: Offered(tuple(found), _transfer_syntaxes(found))
            for sop_class, found in by_class.items()
        }
        storing = tuple(service for service in services if service.sop_classes is None)
        self._storage = Offered(storing, None) if storing else None

    def find(self, sop_class: str, *, storage: bool = False) -> Offered | None:
        """
        Args:
            storage: The peer says that it is a storage SOP class.
        """
        found = self._by_class.get(sop_class)
        if found is None and (storage or is_storage(sop_class)):
            return self._storage
        return found


def _transfer_syntaxes(services: Iterable[Service]) -> tuple[str, ...]:
    """Those of all; each service reads what comes in its own."""
    found = [service.transfer_syntaxes or UNCOMPRESSED for service in services]
    return tuple(uid for uid in found[0] if all(uid in others for others in found))


@lru_cache(maxsize=4096)
def is_storage(sop_class: str) -> bool:
    """Storage SOP classes are those of the Standard, retired ones too, and all private ones."""
    uid = _uid(sop_class)
    if uid.type and uid.name:
        return _STORAGE_NAME.search(uid.name) is not None and uid != MediaStorageDirectoryStorage
    return not sop_class.startswith("1.2.840.10008.") or sop_class.startswith(
        ("1.2.840.10008.5.1.4.1.1.", "1.2.840.10008.5.1.4.34.")
    )


_STORAGE_NAME: Final = re.compile(r"Storage(?! Commitment| Service)")
_KNOWN_TRANSFER_SYNTAXES: Final = frozenset(s.uid for s in transfer_syntaxes.TRANSFER_SYNTAXES)


@dataclass(frozen=True, slots=True)
class Roles:
    """Role selection that a peer proposes for a SOP class; also what it is answered."""

    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class Agreed:
    contexts: tuple[PresentationContext, ...]
    roles: Mapping[str, Roles]


def agree(
    proposed: Iterable[PresentationContext],
    *,
    roles: Mapping[str, Roles],
    storage: frozenset[str],
    offer: Offer,
    peer: Peer,
) -> Agreed:
    """What of the proposed presentation contexts is accepted.

    Args:
        roles: Proposed, by SOP class.
        storage: SOP classes that the peer says are of the Storage Service Class.
    """
    answered: dict[str, Roles] = {}
    contexts = []
    for context in proposed:
        sop_class = str(context.abstract_syntax)
        offered = offer.find(sop_class, storage=sop_class in storage)
        wanted = roles.get(sop_class)
        given = _given(offered, wanted, peer)
        # where neither role is left the context is refused, and there is nothing to say of roles
        if wanted is not None and (given.scu or given.scp):
            answered[sop_class] = given
        contexts.append(_answer(context, offered, given))
    return Agreed(tuple(contexts), answered)


def _given(offered: Offered | None, wanted: Roles | None, peer: Peer) -> Roles:
    if offered is None:
        return Roles(scu=False, scp=False)
    as_scu, as_scp = offered.roles(peer)
    wanted = wanted or Roles(scu=True, scp=False)
    return Roles(scu=wanted.scu and as_scp, scp=wanted.scp and as_scu)


def _answer(
    proposed: PresentationContext, offered: Offered | None, given: Roles
) -> PresentationContext:
    context = PresentationContext()
    context.context_id = proposed.context_id
    context._abstract_syntax = proposed.abstract_syntax
    # the peer as SCU has this archive as SCP, and the other way round
    context._as_scp, context._as_scu = given.scu, given.scp
    chosen = None
    if offered is None:
        context.result = ABSTRACT_SYNTAX_NOT_SUPPORTED
    elif not given.scu and not given.scp:
        context.result = USER_REJECTION
    else:
        chosen = _chosen(proposed.transfer_syntax, offered.transfer_syntaxes)
        context.result = TRANSFER_SYNTAXES_NOT_SUPPORTED if chosen is None else ACCEPTED
    context._transfer_syntax = [chosen or proposed.transfer_syntax[0]]
    return context


def _chosen(proposed: Sequence[UID], taken: tuple[str, ...] | None) -> UID | None:
    """The first of ours; what is stored as it comes, comes as its sender likes it best."""
    if taken is None:
        known = (uid for uid in proposed if uid in _KNOWN_TRANSFER_SYNTAXES)
        return next(known, proposed[0])
    return next((_uid(uid) for uid in taken if uid in proposed), None)


# --- how -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extended:
    """What was agreed on beyond the baseline of a SOP class (PS3.4 C.3.4, C.5.1.1, C.5.2.1).

    Attributes:
        relational: Queries and retrievals need no unique keys of the levels above.
        date_time: A range of dates and one of times are one range.
        fuzzy: Person names match by their sound.
        timezone: Dates and times are compared in one time zone.
        enhanced_multi_frame: Classic images are shown as enhanced ones, and the other way round.
    """

    relational: bool = False
    date_time: bool = False
    fuzzy: bool = False
    timezone: bool = False
    enhanced_multi_frame: bool = False


# What this archive does when asked, in the order of the bytes of the application information.
QUERIES: Final = ("relational", "date_time", "fuzzy", "timezone", "enhanced_multi_frame")
RETRIEVALS: Final = ("relational", "enhanced_multi_frame")
SUPPORTED: Final = Extended(relational=True, date_time=True, fuzzy=True, timezone=True)
# PS3.4 B.3.1: all attributes (level 2), signatures stay valid (level 3), nothing is coerced.
_STORING: Final = bytes((2, 0, 3, 0, 0, 0))


def extended(association: Association, sop_class: str) -> Extended:
    """What was agreed on for a SOP class; nothing when nothing was proposed."""
    agreed = association.acceptor.sop_class_extended.get(_uid(sop_class))
    if agreed is None:
        return Extended()
    names = QUERIES if _is_query(sop_class) else RETRIEVALS
    return Extended(**{name: byte == 1 for name, byte in zip(names, agreed, strict=False)})


def _is_query(sop_class: str) -> bool:
    return "FIND" in _uid(sop_class).name


def _extension(proposed: bytes, offered: Offered) -> bytes | None:
    """The answer to application information; None when there is none to give."""
    events = {service.event for service in offered.services}
    if events & {evt.EVT_C_FIND}:
        names: tuple[str, ...] = QUERIES
    elif events & {evt.EVT_C_MOVE, evt.EVT_C_GET}:
        names = RETRIEVALS
    elif events & {evt.EVT_C_STORE}:
        return _STORING[: len(proposed)]
    else:
        return None
    supported = (getattr(SUPPORTED, name) for name in names)
    return bytes(int(byte == 1 and able) for byte, able in zip(proposed, supported, strict=False))


class Acceptance(ACSE):
    """Answers the request for an association as the configuration of peers has it."""

    def __init__(
        self,
        association: Association,
        *,
        door: Door,
        offer: Offer,
        seats: Seats,
        certificate_names: Callable[[], frozenset[str] | None],
    ) -> None:
        super().__init__(association)
        self._door = door
        self._offer = offer
        self._seats = seats
        self._certificate_names = certificate_names
        self._seat: str | None = None

    def _negotiate_as_acceptor(self) -> None:
        request = cast(A_ASSOCIATE, self.requestor.primitive)
        caller = self._caller(request)
        self.requestor.ae_title = caller.calling
        peer = admitted(caller, self._door)
        if isinstance(peer, Peer):
            refusal = self._seats.take(caller.calling, most=peer.max_associations)
            if refusal is None:
                self._seat = caller.calling
                self._accept(request, peer)
                return
        else:
            refusal = peer
        self._refuse(refusal, caller)

    def leave(self) -> bool:
        """The association is over; tells whether there was one."""
        if self._seat is None:
            return False
        self._seats.leave(self._seat)
        self._seat = None
        return True

    def _caller(self, request: A_ASSOCIATE) -> Caller:
        return Caller(
            application_context=str(request.application_context_name),
            called=_title(request.called_ae_title),
            calling=_title(request.calling_ae_title),
            address=self.requestor.address,
            certificate_names=self._certificate_names(),
            max_pdu_bytes=request.maximum_length_received or 0,
        )

    def _refuse(self, refusal: Refusal, caller: Caller) -> None:
        log.warning(
            "association refused",
            reason=refusal.reason,
            calling=caller.calling,
            called=caller.called,
            address=caller.address,
        )
        self.send_reject(refusal.result, refusal.source, refusal.diagnostic)
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()

    def _accept(self, request: A_ASSOCIATE, peer: Peer) -> None:
        if 0 < peer.max_pdu_bytes < (request.maximum_length_received or peer.max_pdu_bytes + 1):
            request.maximum_length_received = peer.max_pdu_bytes
        storage = frozenset(
            str(uid)
            for uid, item in self.requestor.sop_class_common_extended.items()
            if item.service_class_uid == STORAGE_SERVICE_CLASS
        )
        agreed = agree(
            request.presentation_context_definition_list,
            roles={
                str(uid): Roles(bool(item.scu_role), bool(item.scp_role))
                for uid, item in self.requestor.role_selection.items()
            },
            storage=storage,
            offer=self._offer,
            peer=peer,
        )
        taken = {cast(int, cx.context_id): cx for cx in agreed.contexts if cx.result == ACCEPTED}
        self.assoc._accepted_cx = taken
        self.assoc._rejected_cx = [cx for cx in agreed.contexts if cx.result != ACCEPTED]
        self._answer_items(agreed, storage)
        self.send_accept()
        log.info(
            "association accepted",
            calling=self.requestor.ae_title,
            address=self.requestor.address,
            contexts=len(taken),
            refused_contexts=len(agreed.contexts) - len(taken),
        )
        evt.trigger(self.assoc, evt.EVT_ACCEPTED, {})
        self.assoc.is_established = True
        evt.trigger(self.assoc, evt.EVT_ESTABLISHED, {})

    def _answer_items(self, agreed: Agreed, storage: frozenset[str]) -> None:
        for sop_class, given in agreed.roles.items():
            role = SCP_SCU_RoleSelectionNegotiation()
            role.sop_class_uid = _uid(sop_class)
            role.scu_role, role.scp_role = given.scu, given.scp
            self.acceptor.add_negotiation_item(role)
        for uid, proposed in self.requestor.sop_class_extended.items():
            offered = self._offer.find(str(uid), storage=uid in storage)
            answer = _extension(proposed, offered) if offered is not None else None
            if answer:
                item = SOPClassExtendedNegotiation()
                item.sop_class_uid = uid
                item.service_class_application_information = answer
                self.acceptor.add_negotiation_item(item)
        if self.requestor.asynchronous_operations != (1, 1):
            window = AsynchronousOperationsWindowNegotiation()
            window.maximum_number_operations_invoked = 1
            window.maximum_number_operations_performed = 1
            self.acceptor.add_negotiation_item(window)


def _uid(text: str) -> UID:
    """Whatever a peer takes for one."""
    return UID(text, validation_mode=0)


def _title(title: Any) -> str:
    return str(title or "").strip(" \0")
