"""A catalogue made anew from the stored files keeps what came by messages."""

from pathlib import Path

import registry as registries
from hl7_said import THORAX, m1, m4, m5, m6
from objects import an_object
from registry import Registry, eventually, status_of


def shown(registry: Registry) -> tuple[str, list[str], int]:
    """Status of the exam, those of its studies, and how many messages are behind it."""
    (task,) = registry.found("Task", **{"focus:ServiceRequest.identifier": THORAX.accession})
    studies = registry.found("ImagingStudy", basedon=task["focus"]["reference"])
    events = registry.found("Provenance", target=task["focus"]["reference"])
    return status_of(task), [study["status"] for study in studies], len(events)


def test_rebuilding_takes_orders_and_reports_over(tmp_path: Path) -> None:
    with registries.running(tmp_path) as registry:
        registry.store(an_object(StudyInstanceUID=THORAX.study_uid))
        registry.told(m1(), m4(), m5(), m6())
        before = eventually(lambda: shown(registry), lambda found: found[1] == ["available"])
        registry.live.stop()
        rebuilt = registry.live.command("rebuild")
        registry.live.start()

        assert "messages taken over 4" in rebuilt.stdout, rebuilt.stderr
        assert shown(registry) == before


def test_rebuilding_says_when_the_old_catalogue_is_lost(tmp_path: Path) -> None:
    with registries.running(tmp_path) as registry:
        registry.told(m1())
        registry.live.stop()
        catalogue = registry.live.data / "catalogue.sqlite"
        catalogue.write_bytes(b"no database" * 1000)
        for suffix in ("-wal", "-shm"):
            catalogue.with_name(catalogue.name + suffix).unlink(missing_ok=True)

        rebuilt = registry.live.command("rebuild")

        assert (rebuilt.returncode, "cannot be read" in rebuilt.stderr) == (0, True)
        registry.live.start()
