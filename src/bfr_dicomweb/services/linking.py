"""Studies and the exams they are of, looked at from the side of the studies."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from bfr_dicomweb.index import study_links
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.statements import Connection
from bfr_dicomweb.index.turn import Turn

PAGE: Final = 100


async def link(index: Index, study_instance_uids: Sequence[str]) -> None:
    """Link studies to their exams, or raise findings; to do it again changes nothing.

    For what has been stored or deleted. What orders tell is linked in the transaction that takes
    it over.
    """
    uids = list(dict.fromkeys(study_instance_uids))
    for start in range(0, len(uids), PAGE):
        page = uids[start : start + PAGE]
        planned = await index.ask(partial(study_links.plan, uids=page))
        # Most objects are of studies that are linked already: these need no turn at writing.
        if not planned.is_empty:
            await index.transact(partial(_link, uids=page))


async def _link(conn: Connection, uids: Sequence[str]) -> None:
    turn = await Turn.take(conn)
    await study_links.write(turn, await study_links.plan(conn, uids))
    await turn.end()
