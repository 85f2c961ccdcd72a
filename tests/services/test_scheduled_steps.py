"""The worklist as the catalogue finds it, on both databases."""

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from bfr_dicomweb.index.engine import Index
from bfr_dicomweb.orders.events import Facts, Kind
from bfr_dicomweb.services import scheduled_steps
from modalities import a_query
from orders_kept import OTHER, TOLVAN, Teller, accession, an_event, of_patient, telling

STATIONS = ("CT1", "CT2", "MR1")
STEPS = "00400100"


@pytest.fixture
async def teller(index: Index) -> AsyncIterator[Teller]:
    """Exams of two patients at three stations, one each hour."""
    async with telling(index) as opened:
        for patient, family in ((TOLVAN, "Tolvansson"), (OTHER, "Öberg")):
            events = [
                an_event(
                    Kind.BOOKED,
                    2,
                    accession(f"{family[0]}{number}"),
                    facts=Facts(
                        modality=station[:2],
                        station_ae_title=station,
                        scheduled_start=f"2024-01-{10 + day:02d}T{7 + hour:02d}:00:00.000000Z",
                    ),
                )
                for number, (station, day, hour) in enumerate(
                    (station, day, hour)
                    for station in STATIONS
                    for day in range(2)
                    for hour in range(2)
                )
            ]
            await opened.tell(*events, patient=of_patient(patient, family=family, given="A"))
        yield opened


async def found(
    teller: Teller, keys: Mapping[str, str] | None = None, *, limit: int = 200
) -> list[str]:
    """Accession numbers, in the order in which they are answered."""
    query = scheduled_steps.read_query(a_query(**keys or {}).to_json_dict())
    items, after = [], None
    while True:
        page = await scheduled_steps.page(teller.index, query, after=after, limit=limit)
        items += [item["00080050"]["Value"][0] for item in page.items]
        if (after := page.after) is None:
            return items


@pytest.mark.parametrize("limit", [1, 5, 24, 100])
async def test_pages_have_every_item_once(teller: Teller, limit: int) -> None:
    everything = await found(teller)

    assert (len(everything), await found(teller, limit=limit)) == (24, everything)


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"ScheduledStationAETitle": "CT1"}, 8),
        ({"Modality": "CT"}, 16),
        ({"Modality": "CT", "ScheduledStationAETitle": "MR1"}, 0),
        ({"ScheduledProcedureStepStartDate": "20240110"}, 12),
        ({"ScheduledProcedureStepStartDate": "20240110", "Modality": "MR"}, 4),
        (
            {
                "ScheduledProcedureStepStartDate": "20240110-20240111",
                "ScheduledProcedureStepStartTime": "0900-0800",
            },
            12,
        ),
        ({"PatientID": "191212121212"}, 12),
        ({"PatientID": "191212121212", "ScheduledStationAETitle": "CT1"}, 4),
        ({"PatientName": "öb*"}, 12),
        ({"PatientName": "öb*", "ScheduledProcedureStepStartDate": "20240110"}, 6),
        ({"PatientName": "*berg^A"}, 12),
        ({"AccessionNumber": "T3"}, 1),
        ({"AccessionNumber": "T3", "PatientID": "196408233234"}, 0),
    ],
    ids=str,
)
async def test_keys_narrow_what_is_found(teller: Teller, keys: dict[str, str], count: int) -> None:
    assert len(await found(teller, keys)) == count


async def test_what_is_performed_leaves(teller: Teller) -> None:
    await teller.tell(an_event(Kind.PERFORMED, 10, accession("T3")))

    assert await found(teller, {"AccessionNumber": "T3"}) == []


async def test_what_is_rebooked_moves(teller: Teller) -> None:
    later = Facts(scheduled_start="2024-02-01T08:00:00.000000Z")
    await teller.tell(an_event(Kind.REBOOKED, 5, accession("T0"), facts=later))

    assert (await found(teller))[-1] == "T0"


async def test_the_study_of_an_exam_is_found_by_the_uid_that_the_worklist_gave(
    teller: Teller,
) -> None:
    query = scheduled_steps.read_query(a_query(AccessionNumber="T3").to_json_dict())
    (item,) = (await scheduled_steps.page(teller.index, query)).items
    (uid,) = item["0020000D"]["Value"]

    assert await found(teller, {"StudyInstanceUID": uid}) == ["T3"]


async def test_every_narrowing_gives_what_comparing_everything_gives(teller: Teller) -> None:
    """The catalogue may leave out nothing that the exact comparison would keep."""
    rng = random.Random(3)
    choices = {
        "ScheduledStationAETitle": [*STATIONS, "CT*", ""],
        "Modality": ["CT", "MR", ""],
        "ScheduledProcedureStepStartDate": ["20240110", "20240111-", "-20240110", ""],
        "ScheduledProcedureStepStartTime": ["08", "0900-", ""],
        "PatientName": ["Tolv*", "ÖBERG^A", "*", ""],
        "PatientID": ["191212121212", "19640823-3234", ""],
        "AccessionNumber": ["T1", "Ö1", "T*", ""],
    }
    for _ in range(60):
        keys = {name: rng.choice(values) for name, values in choices.items()}
        query = scheduled_steps.read_query(a_query(**keys).to_json_dict())
        everything = scheduled_steps.read_query(a_query().to_json_dict())
        page = await scheduled_steps.page(
            teller.index, replace(query, returned=everything.returned)
        )
        whole = await scheduled_steps.page(teller.index, everything)
        ids = {"191212121212": TOLVAN.value, "19640823-3234": OTHER.value}.get(keys["PatientID"])
        expected = [
            item
            for item in whole.items
            if scheduled_steps._is_asked(query, item)
            and (ids is None or item["00100020"]["Value"] == [ids])
        ]
        assert page.items == expected, keys
