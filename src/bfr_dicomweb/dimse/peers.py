"""Application entities that this archive knows: who they are, what they may do, what they need."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

# In place of an AE title: whoever no other peer's title names.
ANY: Final = "*"


class Permission(StrEnum):
    """What a peer may do here. To verify (C-ECHO) everyone may who may associate."""

    STORE = "store"
    QUERY = "query"
    RETRIEVE = "retrieve"
    COMMIT = "commit"
    WORKLIST = "worklist"
    PERFORM = "perform"


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a peer departs from the Standard or from what its site means by it.

    Attributes:
        character_set: Specific Character Set of text in which it declares none, and of what it is
            answered; "" leaves the Standard's default, and UTF-8 in answers when that cannot tell.
        issuer: Issuer of Patient ID of objects that name none, as a universal entity id (OID) or a
            local name.
        coercions: Attributes that are added to what it stores when they are missing or empty: DICOM
            JSON elements by tag.
    """

    character_set: str = ""
    issuer: str = ""
    coercions: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Attributes:
        ae_title: Under which it calls and is called.
        host: Where it listens; "" when it is never called.
        addresses: From where it may call; none given is from anywhere.
        may: What it may ask of this archive.
        tls: Whether it has to use TLS to call, and is called with TLS.
        transfer_syntaxes: That it takes; none given is all.
        max_associations: That it may have at one time with each process.
        commits_on_same_association: Results of storage commitment go over the association of the
            request while that is open, else over one of their own.
        is_notified: Of instances that become available (Instance Availability Notification).
    """

    ae_title: str
    host: str = ""
    port: int = 104
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    may: frozenset[Permission] = frozenset(Permission)
    tls: bool = False
    transfer_syntaxes: tuple[str, ...] = ()
    max_associations: int = 16
    commits_on_same_association: bool = False
    is_notified: bool = False
    quirks: Quirks = field(default_factory=Quirks)


class Peers:
    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._by_title = {peer.ae_title: peer for peer in peers}

    def find(self, ae_title: str) -> Peer | None:
        """The peer of this title, or the one that stands for all others if there is one."""
        return self._by_title.get(ae_title) or self._by_title.get(ANY)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_title.values())
