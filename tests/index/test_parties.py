"""Parties follow from what was told of them, however and however often it came."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from bfr_dicomweb.index import changes
from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.index.parties import Notebook
from bfr_dicomweb.index.statements import Connection, rows
from bfr_dicomweb.index.turn import Turn
from bfr_dicomweb.orders.events import Contents, Event, Facts, Kind, Party, Report, ReportStatus
from bfr_dicomweb.orders.identifiers import HSA_ID, Identifier
from bfr_dicomweb.orders.parties import PartyKind, ToldParty, id_of, parties_of
from bfr_dicomweb.services import parties
from bfr_dicomweb.services.parties import PartyRow
from orders_said import aliases, utc

DOCTOR = Identifier(HSA_ID, "SE2321000131-P000000000001")
OTHER = Identifier(HSA_ID, "SE2321000131-P000000000002")
CLINIC = Identifier(HSA_ID, "SE2321000131-E000000000011")
EVIDIA = Identifier(HSA_ID, "SE5560000000-E000000000001")
UNIT, PERSON, ROLE = PartyKind.UNIT, PartyKind.PERSON, PartyKind.ROLE


def contents(at: str = "2024-01-08T08:00", report: Report | None = None, **facts: Any) -> Contents:
    kind = Kind.RECEIVED if report is None else Kind.REPORTED
    known_as = aliases(accession="SU1")
    event = Event(kind, utc(at), "EHR", "M1", known_as, facts=Facts(**facts), report=report)
    return Contents(events=(event,))


def a_doctor(family: str = "Remittent", given: str = "Rut", **others: Any) -> Party:
    said: dict[str, Any] = {"identifier": DOCTOR, "family": family, "given": given}
    return Party(**(said | others))


def a_clinic(name: str = "VC Hjällbo") -> Party:
    return Party(CLINIC, name)


async def noted(index: Index, *told: Contents, notebook: Notebook | None = None) -> None:
    """Each in a turn of its own."""
    for one in told:

        async def work(conn: Connection, one: Contents = one) -> None:
            turn = await Turn.take(conn)
            (notebook or Notebook()).note(turn, parties_of(one))
            await turn.end()

        await index.transact(work)


async def the_only(index: Index, kind: PartyKind) -> PartyRow:
    (found,) = await parties.walk(index, kind, 100)
    return found


def kinds(told: Sequence[ToldParty]) -> list[tuple[str, Identifier]]:
    return [(one.kind.value, one.identifier) for one in told]


# --- whom a message tells of -----------------------------------------------------------------


def test_requester_units_and_signer_are_parties() -> None:
    report = Report(ReportStatus.FINAL, signer=Party(OTHER, family="Läkare"))
    said = contents(
        report=report,
        requester=a_doctor(),
        requesting_unit=a_clinic(),
        performing_unit=Party(EVIDIA, name="Evidia"),
    )

    assert kinds(parties_of(said)) == [
        ("person", DOCTOR),
        ("person", OTHER),
        ("unit", CLINIC),
        ("unit", EVIDIA),
        ("role", DOCTOR),
    ]


@pytest.mark.parametrize("identifier", [None, Identifier("", "1234")])
def test_who_has_no_identifier_of_its_own_is_nobody(identifier: Identifier | None) -> None:
    said = contents(requester=a_doctor(identifier=identifier), requesting_unit=a_clinic())

    assert kinds(parties_of(said)) == [("unit", CLINIC)]


def test_a_requester_without_a_unit_has_no_role() -> None:
    assert kinds(parties_of(contents(requester=a_doctor()))) == [("person", DOCTOR)]


def test_a_role_has_another_id_than_its_person() -> None:
    assert id_of(DOCTOR, CLINIC) != id_of(DOCTOR)


# --- what is written -------------------------------------------------------------------------


async def test_a_party_is_found_by_id_and_by_identifier(index: Index) -> None:
    await noted(index, contents(requester=a_doctor(), requesting_unit=a_clinic()))

    (by_id,) = await parties.by_ids(index, PERSON, [id_of(DOCTOR)])
    assert (by_id.identifier, by_id.family, by_id.given) == (DOCTOR, "Remittent", "Rut")
    assert await parties.identified(index, PERSON, [(None, DOCTOR.value)]) == [by_id]
    assert await parties.identified(index, PERSON, [("urn:other", DOCTOR.value)]) == []
    assert await parties.identified(index, UNIT, [(HSA_ID, DOCTOR.value)]) == []


async def test_a_role_is_found_by_its_person_and_by_its_unit(index: Index) -> None:
    await noted(index, contents(requester=a_doctor(), requesting_unit=a_clinic()))

    role = await the_only(index, ROLE)
    assert (role.person_id, role.unit_id) == (id_of(DOCTOR), id_of(CLINIC))
    assert await parties.roles(index, persons=[role.person_id]) == [role]
    assert await parties.roles(index, units=[role.unit_id]) == [role]
    assert await parties.roles(index, persons=[id_of(OTHER)], units=[role.unit_id]) == []


async def test_the_name_that_was_told_last_counts_in_whatever_order_it_came(
    sqlite_url: str, postgresql_url: str
) -> None:
    said = [
        contents("2024-01-08T08:00", requester=a_doctor("Ung")),
        contents("2024-01-09T08:00", requester=a_doctor("Gift")),
        contents("2024-01-09T08:30", requester=a_doctor("Gift", "Rut Ros")),
        contents("2024-01-10T08:00", requester=a_doctor("", "")),
    ]
    for url in (sqlite_url, postgresql_url):
        index = await Index.open(url)
        for order in permutations(said):
            async with index.write() as conn:
                await rows(conn, "DELETE FROM party RETURNING id")
            await noted(index, *order)
            found = await the_only(index, PERSON)
            assert (found.family, found.given) == ("Gift", "Rut Ros")
        await index.close()


async def test_what_is_told_again_is_no_change(index: Index) -> None:
    await noted(index, contents(requester=a_doctor()))
    before = await the_only(index, PERSON)

    await noted(index, contents("2024-02-08T08:00", requester=a_doctor()))

    assert await the_only(index, PERSON) == before


async def test_a_new_name_is_a_change(index: Index) -> None:
    await noted(index, contents(requesting_unit=a_clinic()))
    before = await the_only(index, UNIT)

    await noted(index, contents("2024-02-08T08:00", requesting_unit=a_clinic("Hjällbo VC")))

    after = await the_only(index, UNIT)
    assert after.name == "Hjällbo VC"
    assert after.change > before.change


async def numbers_taken(index: Index, notebook: Notebook, said: Contents) -> int:
    """By the second time that a notebook is told the same."""
    await noted(index, said, notebook=notebook)
    async with index.write() as conn:
        before = (await changes.take_counter(conn)).change
    await noted(index, said, notebook=notebook)
    async with index.write() as conn:
        return (await changes.take_counter(conn)).change - before


async def test_what_a_process_has_written_it_does_not_write_again(index: Index) -> None:
    said = contents(requester=a_doctor(), requesting_unit=a_clinic())

    assert await numbers_taken(index, Notebook(), said) == 0


async def test_what_a_process_has_no_room_for_it_writes_again(index: Index) -> None:
    said = contents(requester=a_doctor(), requesting_unit=a_clinic())

    assert await numbers_taken(index, Notebook(most=2), said) > 0
    assert len(await parties.walk(index, UNIT, 100)) == 1


async def test_what_was_not_committed_is_written_the_next_time(index: Index) -> None:
    notebook, said = Notebook(), contents(requester=a_doctor())

    async def work(conn: Connection) -> None:
        notebook.note(await Turn.take(conn), parties_of(said))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await index.transact(work)
    notebook.forget()
    await noted(index, said, notebook=notebook)

    assert (await the_only(index, PERSON)).identifier == DOCTOR


# --- walking ---------------------------------------------------------------------------------


async def units(index: Index, *names: str) -> None:
    known = [Identifier("urn:oid:1.2", str(number)) for number in range(len(names))]
    for identifier, name in zip(known, names, strict=True):
        await noted(index, contents(requesting_unit=Party(identifier, name=name)))


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_give_every_party_once_in_the_order_of_change(
    index: Index, *, newest_first: bool
) -> None:
    await units(index, "Ett", "Två", "Tre", "Fyra", "Fem")
    found: list[PartyRow] = []
    after = None
    while page := await parties.walk(index, UNIT, 2, newest_first=newest_first, after=after):
        found += page
        after = page[-1].change

    names = ["Ett", "Två", "Tre", "Fyra", "Fem"]
    assert [row.name for row in found] == (names[::-1] if newest_first else names)


async def test_the_beginning_of_a_name_narrows_whatever_case_and_accents(index: Index) -> None:
    await units(index, "Ängelholms röntgen", "Angered", "Borås")

    found = await parties.walk(index, UNIT, 100, newest_first=False, begins="ANGE")

    assert [row.name for row in found] == ["Ängelholms röntgen", "Angered"]
