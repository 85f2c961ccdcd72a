"""Who is to be told that a study is available (PS3.4 Annex R), once it has stopped growing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bfr_dicomweb.index import availability, changes
from bfr_dicomweb.index.availability import SETTLED as SETTLED
from bfr_dicomweb.index.availability import Notice as Notice
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.refs import Ref
from bfr_dicomweb.services import errands, retrieve
from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.dispatching import Followed
from bfr_dicomweb.services.errands import Act
from bfr_dicomweb.services.retrieve import StoredInstance as StoredInstance

# The follower that watches studies grow; its place begins with the table (migration 0005).
FOLLOWER: Final = "availability"
# Without a change, after which a study is taken to be complete.
QUIET_S: Final = 5.0
AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Available:
    """A study as it is now, its instances by series."""

    study_instance_uid: str
    series: dict[str, list[StoredInstance]]


async def follow(index: Index, followed: Sequence[Followed]) -> None:
    """Note which studies grow."""
    grown = {one.study_instance_uid for one in followed if one.what == changes.INSTANCE_STORED}
    if grown:
        now = changes.now_us()
        await index.transact(
            partial(availability.grows, study_instance_uids=sorted(grown), now_us=now)
        )


async def tell_quiet(index: Index, peers: Collection[str], *, quiet_s: float = QUIET_S) -> None:
    """Let each of these peers be told of the studies that have not changed for a while."""
    before = changes.now_us() - int(quiet_s * 1e6)
    if not await index.ask(partial(availability.any_quiet, before_us=before)):
        return

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        if await availability.tell(turn, before, peers):
            errands.put(turn, Act.NOTIFY, peers)
        await turn.end()

    await index.transact(work)


async def waiting(index: Index, peer: str) -> list[Notice]:
    return await index.ask(partial(availability.waiting, peer=peer, limit=AT_ONCE))


async def available(archive: Archive, study_instance_uid: str) -> Available:
    """
    Raises:
        NotFound: it is no longer here.
    """
    series: dict[str, list[StoredInstance]] = {}
    for one in await retrieve.list_instances(archive, Ref(study_instance_uid)):
        series.setdefault(one.series_instance_uid, []).append(one)
    return Available(study_instance_uid, series)


async def told(index: Index, notice: Notice) -> None:
    await index.transact(partial(availability.told, notice=notice))


async def untold(index: Index, notice: Notice, error: str) -> None:
    await index.transact(partial(availability.untold, notice=notice, error=error))


async def age(index: Index) -> None:
    """Give up peers that are gone for good."""

    async def work(conn: Connection) -> None:
        turn = await Turn.take(conn)
        given_up = await availability.abandon(conn, changes.now_us() - errands.LONGEST_US)
        named = [(f"{peer}/{study}", peer, error) for peer, study, error in given_up]
        await errands.state_given_up(turn, Act.NOTIFY, named)
        await turn.end()

    await index.transact(work)
