"""The reports of a run, written into a folder."""

from pathlib import Path

from dicomweb_conformance.reports import junit, page, record
from dicomweb_conformance.running import Run


def write(run: Run, folder: Path) -> list[Path]:
    """report.json, junit.xml and report.html. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "report.json": record.as_json(run),
        "junit.xml": junit.as_xml(run),
        "report.html": page.as_html(run),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]
