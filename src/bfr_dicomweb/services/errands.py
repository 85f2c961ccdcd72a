"""Reasons to call another application entity, in the outbox.

An entry of the outbox is a call to get going and no more: what there is to do stands in tables of
its own, so that one thing that a peer refuses does not hold up the rest. Each act of each peer has
a line of its own.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from bfr_dicomweb.index import findings, outbox
from bfr_dicomweb.index.outbox import Entry
from bfr_dicomweb.index.turn import Turn

KIND: Final = "dicom"
# After so long nobody is tried any more; what is given up is a finding.
LONGEST_US: Final = 7 * 86_400_000_000
# For so long it can be asked what became of it.
KEPT_US: Final = 30 * 86_400_000_000


class Act(StrEnum):
    SEND = "send"
    REPORT = "report"
    NOTIFY = "notify"
    TELL = "tell"


def put(turn: Turn, act: Act, peers: Iterable[str], *, delay_us: int = 0) -> None:
    """There is something to do at each of these peers; also the sign that it may succeed now."""
    for peer in peers:
        receiver = receiver_of(act, peer)
        if not delay_us:
            outbox.hasten(turn, receiver)
        outbox.enqueue(turn, [(receiver, KIND, f"{act} {peer}".encode())], delay_us=delay_us)


def receiver_of(act: Act, peer: str) -> str:
    """Of the entries of this act in the outbox."""
    return f"{peer} ({act})"


def read(entry: Entry) -> tuple[Act, str]:
    """What is to be done, and the AE title of the peer."""
    act, _, peer = entry.payload.decode().partition(" ")
    return Act(act), peer


async def state_given_up(turn: Turn, act: Act, given_up: Iterable[tuple[str, str, str]]) -> None:
    """A finding for each: what names it, the peer, and why."""
    stated = [
        findings.Stated(
            key=f"given-up/{act}/{name}",
            code="undelivered",
            severity="high",
            subject=f"receiver/{peer}",
            detail=f"{_GIVEN_UP[act]} {peer} was given up: {why or 'it could not be called'}",
        )
        for name, peer, why in given_up
    ]
    await findings.settle(turn, stated, [])


_GIVEN_UP: Final = {
    Act.SEND: "sending to",
    Act.REPORT: "reporting a storage commitment to",
    Act.NOTIFY: "telling of a study to",
    Act.TELL: "telling of workitems to",
}
