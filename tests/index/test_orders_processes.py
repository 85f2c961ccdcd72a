"""Several processes tell of the same orders at the same time."""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.identifiers import Identifier
from orders_kept import LIFE, of_patient, telling

PROCESSES = 3
PATIENTS = 4


async def _tell(url: str, process: int) -> None:
    index = await Index.open(url, readers=1)
    async with telling(index) as teller:
        # each tells every message, beginning with another
        turned = [*LIFE[process:], *LIFE[:process]]
        people = [of_patient(Identifier("urn:oid:1.2", f"{one}")) for one in range(PATIENTS)]
        await asyncio.gather(
            *(
                teller.tell(*events, patient=patient, raw={"sender": f"P{process}"})
                for patient in people
                for events in turned
            )
        )
    await index.close()


def tell(url: str, process: int) -> None:
    asyncio.run(_tell(url, process))


async def test_processes_that_tell_the_same_come_to_what_one_comes_to(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        for one in [pool.submit(tell, database_url, number) for number in range(PROCESSES)]:
            one.result(120)
    index = await Index.open(database_url)
    async with telling(index) as teller:
        together = await teller.state()
        numbers = await teller.rows("SELECT count(*), count(DISTINCT number) FROM change")
        kept = await teller.rows("SELECT count(*) FROM message WHERE state = 'applied'")
        await teller.tell(*LIFE[0], patient=of_patient(Identifier("urn:oid:1.2", "0")))
        assert await teller.state() == together
    await index.close()

    # the bodies of orders of different patients are equal
    assert len(together["orders"]) == PATIENTS
    assert len(set(together["orders"])) == 1
    assert len(together["events"]) == PATIENTS * sum(map(len, LIFE))
    assert numbers[0][0] == numbers[0][1]
    assert kept == [(PROCESSES * PATIENTS * len(LIFE),)]
