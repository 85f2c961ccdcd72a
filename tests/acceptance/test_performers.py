"""Every performer's statuses are seen, whatever words it uses (domain I-02)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import postgresql_server
import registry as registries
from hl7_said import Exam, order, report, status
from objects import uid
from registry import PERSONNUMMER, Registry, eventually, status_of

PATIENT: Final = f"{PERSONNUMMER}|191212121212"
# Each performer's own words for booked, performed and cancelled: ORC-1, ORC-5, OBR-25.
DIALECTS: Final = {
    "EVIDIA": (("SC", "SC", "S"), ("SC", "CM", "N"), ("OC", "CA", "X")),
    "UNILABS": (("SC", "SC", ""), ("SC", "CM", ""), ("OC", "", "")),
    "SU": (("SC", "BK", ""), ("SC", "UTF", ""), ("SC", "AVB", "")),
    "CARLANDERSKA": (("SC", "SC", "S"), ("SC", "A", "A"), ("CR", "CA", "")),
    "FTV": (("XO", "SC", "S"), ("SC", "CM", "N"), ("OD", "CA", "X")),
}
SENDER: Final = """
[[senders]]
name = "{name}"
facility = "{name}"
role = "filler"
performer = {{ identifier = "SE2321000131-{name}", name = "{name}" }}
"""
SU_RULES: Final = """
[[senders.statuses]]
orc5 = "BK"
kind = "booked"
[[senders.statuses]]
orc5 = "UTF"
kind = "performed"
[[senders.statuses]]
orc5 = "AVB"
kind = "cancelled"
"""
CARL_RULES: Final = """
[[senders.statuses]]
orc5 = "A"
kind = "performed"
"""
ZZ_RULE: Final = """
[[senders.statuses]]
orc5 = "ZZ"
kind = "arrived"
"""
RULES: Final = {"SU": SU_RULES, "CARLANDERSKA": CARL_RULES}


def exchange(rules: dict[str, str] = RULES) -> str:
    return "\n".join(SENDER.format(name=name) + rules.get(name, "") for name in DIALECTS)


def exam_of(name: str, *, cancelled: bool = False) -> Exam:
    place = list(DIALECTS).index(name) * 2 + cancelled
    return Exam(f"P-{name}-{place}", f"ACC-{place}", f"1.2.752.113.99.9.{place + 1}")


def script(name: str) -> list[bytes]:
    """One exam that is booked, performed and signed, and one that is cancelled."""
    booked, performed, cancelled = DIALECTS[name]
    done, dropped = exam_of(name), exam_of(name, cancelled=True)
    ris = (f"RIS{name}", name)

    def told(exam: Exam, codes: tuple[str, str, str], at: str) -> bytes:
        control_id = f"{name}-{exam.accession}-{at}"
        return status(
            exam, codes=codes, control_id=control_id, time=at, sender=ris, group=f"G-{name}"
        )

    return [
        order(done, dropped, control_id=f"N-{name}", time="20240108080000", group=f"G-{name}"),
        told(done, booked, "20240108090000"),
        told(dropped, booked, "20240108090100"),
        told(done, performed, "20240110093000"),
        told(dropped, cancelled, "20240110094500"),
        report(
            done,
            "Utlåtande: u.a.",
            control_id=f"R-{name}",
            time="20240110150000",
            sender=ris,
            group=f"G-{name}",
        ),
    ]


@pytest.fixture
def nodes(
    postgresql: postgresql_server.Server, tmp_path: Path
) -> Iterator[tuple[Registry, Registry]]:
    """Two servers over one catalogue."""
    name = f"nodes{uid()[-12:]}"
    postgresql.create_database(name)
    file = tmp_path / "exchange.toml"
    file.write_text(exchange())
    settings = {"database_url": postgresql.url(name), "exchange": str(file)}
    with (
        registries.running(tmp_path / "a", settings) as node_a,
        registries.running(tmp_path / "b", settings) as node_b,
    ):
        yield node_a, node_b


def seen(registry: Registry) -> dict[str, tuple[str, int]]:
    """By accession number the status, and how many events are listed."""
    found: dict[str, tuple[str, int]] = {}
    for task in registry.found("Task", **{"patient.identifier": PATIENT, "_count": "100"}):
        events = registry.found("Provenance", target=task["focus"]["reference"], _count="100")
        request = registry.get(task["focus"]["reference"])
        accession = next(
            identifier["value"]
            for identifier in request["identifier"]
            if identifier["type"]["coding"][0]["code"] == "ACSN"
        )
        found[accession] = status_of(task), len(events)
    return found


def test_bfr_20230908_performer_status(nodes: tuple[Registry, Registry]) -> None:
    """The statuses of one performer were missing (fault of 2023-09-08)."""
    for place, name in enumerate(DIALECTS):
        nodes[place % 2].told(*script(name))

    expected = {}
    for name in DIALECTS:
        expected[exam_of(name).accession] = ("signed", 4)
        expected[exam_of(name, cancelled=True).accession] = ("cancelled", 3)
    assert [seen(node) for node in nodes] == [expected] * 2


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "exchange.toml").write_text(exchange())
    with registries.running(tmp_path, {"exchange": str(tmp_path / "exchange.toml")}) as running:
        yield running


UNMAPPED: Final = status(
    exam_of("EVIDIA"),
    codes=("SC", "ZZ", ""),
    control_id="ZZ1",
    time="20240109120000",
    sender=("RISEVIDIA", "EVIDIA"),
    group="G-EVIDIA",
)


def events_of(registry: Registry, exam: Exam) -> list[dict[str, Any]]:
    (request,) = registry.found("ServiceRequest", identifier=exam.accession)
    target = f"ServiceRequest/{request['id']}"
    return registry.found("Provenance", target=target, _sort="-when")


def test_a_status_code_nobody_mapped_is_accepted_and_shown(registry: Registry) -> None:
    registry.told(*script("EVIDIA")[:2])

    answers = registry.send(UNMAPPED)

    activity = events_of(registry, exam_of("EVIDIA"))[0]["activity"]
    shown = (activity["coding"][0]["code"], "ZZ" in activity["text"])
    assert (answers, shown) == ([("AA", "ZZ1")], ("unknown", True))


def test_a_status_code_nobody_mapped_leaves_the_status(registry: Registry) -> None:
    registry.told(*script("EVIDIA")[:2], UNMAPPED)

    accession = exam_of("EVIDIA").accession
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": accession})

    assert status_of(task) == "booked"


def test_a_status_code_nobody_mapped_is_one_finding_that_names_the_performer(
    registry: Registry,
) -> None:
    registry.told(*script("EVIDIA")[:2], UNMAPPED, UNMAPPED)

    findings = registry.found("DetectedIssue", code="unmapped-status")

    assert ["EVIDIA" in finding["detail"] for finding in findings] == [True]


def test_a_mapping_that_is_added_classifies_the_past(registry: Registry) -> None:
    registry.told(*script("EVIDIA")[:2], UNMAPPED)
    file = registry.live.data.parent / "more.toml"
    file.write_text(exchange(RULES | {"EVIDIA": ZZ_RULE}))
    configured = registry.live.command("hl7", "configure", str(file))
    assert configured.returncode == 0, configured.stderr

    registry.ask("POST", "Task/$reprocess")

    accession = exam_of("EVIDIA").accession
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": accession})
    (finding,) = registry.found("DetectedIssue", code="unmapped-status")
    assert (status_of(task), finding["status"]) == ("arrived", "final")


def test_a_performer_that_falls_silent_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "exchange.toml"
    file.write_text(exchange() + "silence_hours = 0.0003\n")
    with registries.running(tmp_path, {"exchange": str(file)}) as registry:
        registry.told(*script("FTV"))

        findings = eventually(
            lambda: registry.found("DetectedIssue", code="performer-silent"), bool, within_s=90
        )

    assert ["FTV" in finding["detail"] for finding in findings] == [True]
