"""C-MOVE (PS3.4 section C.4.2): instances go to a peer over associations of their own."""

from collections.abc import Sequence
from typing import Final, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE

from bfr_dicomweb.dimse import statuses
from bfr_dicomweb.dimse.connection import Interrupted, Lost, Silent, held
from bfr_dicomweb.dimse.door import Door, Service
from bfr_dicomweb.dimse.peers import Peer, Permission
from bfr_dicomweb.dimse.requesting import associated
from bfr_dicomweb.dimse.retrieving import MOVE_CLASSES, Progress, Retrieval
from bfr_dicomweb.dimse.sending_instances import Batch, Sender, batches
from bfr_dicomweb.errors import Undelivered
from bfr_dicomweb.services.data_sets import StoredInstance

log = structlog.get_logger("dimse")

# For what an association left undone that broke.
ATTEMPTS: Final = 2


def move(event: evt.Event, door: Door) -> Dataset | None:
    """Send what is asked for to the destination, and all responses but a refusal."""
    retrieval = Retrieval(event)
    title = str(cast(C_MOVE, retrieval.request).MoveDestination or "").strip()
    destination = door.peers().find(title)
    if destination is None or destination.ae_title != title or not destination.host:
        unknown = f"no such move destination: {title}"
        return statuses.refusal(statuses.MOVE_DESTINATION_UNKNOWN, unknown)
    instances = retrieval.instances(door)
    movement = _Movement(door, retrieval, destination, Progress(len(instances)))
    movement.run(instances)
    return None


class _Movement:
    """The instances of one request on their way to one destination."""

    def __init__(
        self, door: Door, retrieval: Retrieval, destination: Peer, progress: Progress
    ) -> None:
        self._door = door
        self._retrieval = retrieval
        self._destination = destination
        self._progress = progress

    def run(self, instances: Sequence[StoredInstance]) -> None:
        for batch in batches(instances, self._destination.transfer_syntaxes):
            if not self._retrieval.is_over:
                self._deliver(batch)
        progress = self._progress
        if self._retrieval.association.is_established:
            self._respond(self._retrieval.final(progress))
        log.info(
            "C-MOVE",
            peer=self._retrieval.caller,
            destination=self._destination.ae_title,
            completed=progress.completed,
            failed=len(progress.failed),
            remaining=progress.remaining,
            problem=progress.problem,
        )

    def _deliver(self, batch: Batch) -> None:
        left = list(batch.instances)
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                self._attempt(batch, left)
            except Interrupted:
                return
            except (Silent, Undelivered) as error:
                problem = f"{self._destination.ae_title}: {error}"
                break
            except Lost as error:
                problem = f"{self._destination.ae_title}: {error}"
                # What it broke at may be the reason, and is tried last.
                left.append(left.pop(0))
            else:
                return
        self._progress.fail(left, problem)

    def _attempt(self, batch: Batch, left: list[StoredInstance]) -> None:
        """Send over one association; what has been answered is taken from `left`.

        Raises:
            Undelivered: there is no association.
            Lost: it broke at the first that is left.
        """
        retrieval = self._retrieval
        ae_title = self._door.ae_title
        with (
            associated(
                self._destination,
                batch.contexts,
                ae_title=ae_title,
                tls=self._door.credentials.context(self._destination),
            ) as association,
            held(association) as connection,
        ):
            sender = Sender(
                self._door.archive,
                connection,
                originator=(retrieval.caller, retrieval.message_id),
                priority=retrieval.request.Priority,
                seconds=self._destination.response_seconds,
                interrupted=lambda: retrieval.is_over,
            )
            while left and not retrieval.is_over:
                self._progress.attempt(left[0], sender)
                del left[0]
                retrieval.pending(self._progress, self._respond)

    def _respond(self, response: C_GET | C_MOVE) -> None:
        retrieval = self._retrieval
        retrieval.association.dimse.send_msg(response, retrieval.context_id)


SERVICES: Final = (
    Service("retrieve by C-MOVE", evt.EVT_C_MOVE, MOVE_CLASSES, move, Permission.RETRIEVE),
)
