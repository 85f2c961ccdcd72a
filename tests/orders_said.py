"""Events as readers make them of messages, by hand: each valid by itself, naming what matters.

`m1()` to `m7()` tell of one order with two exams: placed, both booked, the first started,
performed, reported, given an addendum; the second cancelled.
"""

from typing import Any, Final

from bfr_dicomweb.orders.events import Coding as Coding
from bfr_dicomweb.orders.events import Event, Facts, Kind, Party, Report, ReportStatus, Section
from bfr_dicomweb.orders.identifiers import DICOM_UID, Alias, AliasKind

ISSUER: Final = "urn:oid:1.2.752.113.99.7"
ORDER: Final = "REM1001"
THORAX: Final = "SU24000123"
ABDOMEN: Final = "SU24000124"
_NUMBERS: Final = {THORAX: 1, ABDOMEN: 2}
SIGNER: Final = Party(family="Läkare", given="Lena")


def utc(at: str) -> str:
    """``2024-01-08T08:00`` as the text of one width that events have."""
    return f"{at}:00.000000Z" if len(at) == 16 else f"{at}.000000Z"


def an_alias(kind: str, value: str, system: str = "") -> Alias:
    return Alias(AliasKind(kind), system, value)


def aliases(
    *,
    accession: str = "",
    issuer: str = ISSUER,
    placer: str = "",
    filler: str = "",
    procedure: str = "",
    step: str = "",
    study: str = "",
    report: str = "",
    group: str = "",
) -> tuple[Alias, ...]:
    """What is not "" of these."""
    said = (
        an_alias("accession", accession, issuer),
        an_alias("filler", filler),
        an_alias("placer", placer),
        an_alias("procedure", procedure),
        an_alias("step", step),
        an_alias("study", study, DICOM_UID),
        an_alias("report", report),
        an_alias("group", group),
    )
    return tuple(alias for alias in said if alias.value)


def of_exam(accession: str) -> tuple[Alias, ...]:
    """All numbers of an exam of the order REM1001."""
    number = _NUMBERS.get(accession, 9)
    return aliases(
        accession=accession,
        filler=accession,
        placer=f"{ORDER}-{number}",
        procedure=f"RP{accession}",
        step=f"SPS{accession}",
        study=f"1.2.752.113.99.1.{number}",
        group=ORDER,
    )


def an_event(
    kind: Kind | str = Kind.RECEIVED,
    at: str = "2024-01-08T08:00",
    accession: str = THORAX,
    **others: Any,
) -> Event:
    """Of an exam of REM1001, from its performer, unless `others` (fields of Event) say else."""
    said: dict[str, Any] = {
        "source": "RISEVIDIA|EVIDIA",
        "control_id": f"{kind}-{at}",
        "aliases": of_exam(accession),
        "performer": "evidia",
        "is_order": True,
    }
    return Event(kind=Kind(kind), time=utc(at), **(said | others))


def a_report(
    text: str = "Utlåtande: u.a.",
    at: str = "2024-01-10T15:00",
    status: ReportStatus | str = ReportStatus.FINAL,
    accession: str = THORAX,
    *,
    of: dict[str, Any] | None = None,
    **others: Any,
) -> Event:
    """A report event; `of` are fields of its Report."""
    sections = (Section(Coding("18782-3"), text),) if text else ()
    report = Report(**{"status": ReportStatus(status), "sections": sections} | (of or {}))
    said: dict[str, Any] = {"report": report, "is_order": False, "control_id": f"R-{at}"}
    return an_event(Kind.REPORTED, at, accession, **(said | others))


def m1() -> list[Event]:
    facts = Facts(authored=utc("2024-01-08T07:00"), modality="CT")
    return [
        an_event(
            "received",
            "2024-01-08T07:00",
            accession,
            source="EHR|VGR",
            performer="",
            control_id="M1",
            facts=facts,
        )
        for accession in (THORAX, ABDOMEN)
    ]


def m2() -> list[Event]:
    facts = Facts(scheduled_start=utc("2024-01-10T08:00"))
    return [
        an_event("booked", "2024-01-08T08:00", accession, control_id="M2", facts=facts)
        for accession in (THORAX, ABDOMEN)
    ]


def m3() -> list[Event]:
    return [an_event("started", "2024-01-10T08:15", control_id="M3")]


def m4() -> list[Event]:
    return [an_event("performed", "2024-01-10T08:30", control_id="M4")]


def m5() -> list[Event]:
    return [a_report("Utlåtande: u.a.", "2024-01-10T14:00", control_id="M5")]


def m6() -> list[Event]:
    return [a_report("Tilläggssvar: 4 mm nodulus.", "2024-01-11T09:00", control_id="M6")]


def m7() -> list[Event]:
    return [an_event("cancelled", "2024-01-10T11:00", ABDOMEN, control_id="M7")]


def m1_to_m7() -> list[Event]:
    return [*m1(), *m2(), *m3(), *m4(), *m5(), *m6(), *m7()]
