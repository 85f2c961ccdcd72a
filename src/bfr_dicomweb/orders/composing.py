"""Reports and documents as text to read: everything that is in force, the newest first."""

from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from bfr_dicomweb.orders.events import Party, ReportStatus
from bfr_dicomweb.orders.state import COARSE, Report, ReportVersion, Status

LOCAL: Final = ZoneInfo("Europe/Stockholm")

_HEADS: Final = {
    ReportStatus.FINAL: "Utlåtande",
    ReportStatus.PROMOTED: "Utlåtande",
    ReportStatus.ADDENDUM: "Tilläggssvar",
    ReportStatus.CORRECTED: "Rättat svar",
    ReportStatus.PRELIMINARY: "Preliminärt svar",
    ReportStatus.PARTIAL: "Preliminärt svar",
}
_WITHDRAWALS: Final = frozenset({ReportStatus.WITHDRAWN, ReportStatus.CANCELLED})
_PRELIMINARY: Final = frozenset({ReportStatus.PRELIMINARY, ReportStatus.PARTIAL})
_WITHDRAWN: Final = "Återkallat svar"
_NO_TEXT: Final = "Se bifogat dokument."
# What is added to the name of one of the five statuses.
_FINER: Final = {
    Status.PRELIMINARY: ", preliminärt svar",
    Status.ADDENDUM: ", tilläggssvar",
    Status.CORRECTED: ", rättat svar",
    Status.MOVED: ", flyttad",
}
_OTHERS: Final = {
    Status.UNKNOWN: "Okänd status",
    Status.REFUSED: "Avböjd",
    Status.ERROR: "Felregistrerad",
}


def local_time(time: str) -> str:
    """A UTC time as Swedish clocks show it: ``2024-01-08 09:00``."""
    return datetime.fromisoformat(time).astimezone(LOCAL).strftime("%Y-%m-%d %H:%M")


def status_name(status: Status) -> str:
    coarse = COARSE[status]
    return _OTHERS[status] if coarse is None else coarse.capitalize() + _FINER.get(status, "")


def status_line(time: str, status: Status) -> str:
    """``2024-01-08 10:00 Bokad``"""
    return f"{local_time(time)} {status_name(status)}"


def signer_name(signer: Party | None) -> str:
    if signer is None:
        return ""
    return " ".join(part for part in (signer.given, signer.family) if part) or signer.name


def in_force(report: Report) -> tuple[ReportVersion, ...]:
    """The versions that a reader has to know, the newest first; the last withdrawal alone.

    Preliminary versions give way to a signed one. One that is dated after it comes last, because
    it may say something that the signed one does not.
    """
    versions = _since_withdrawal(report.versions)
    if versions and versions[0].kind in _WITHDRAWALS:
        return versions[:1]
    newest_first = [v for v in reversed(versions) if v.kind != ReportStatus.REGISTERED]
    signed = [version for version in newest_first if version.kind not in _PRELIMINARY]
    if not signed:
        return tuple(newest_first)
    stray = [v for v in newest_first if v.kind in _PRELIMINARY and v.time > signed[-1].time]
    return (*signed, *stray)


def _since_withdrawal(versions: tuple[ReportVersion, ...]) -> tuple[ReportVersion, ...]:
    """What followed the last withdrawal, or only that one when nothing did."""
    last = -1
    for place, version in enumerate(versions):
        if version.kind in _WITHDRAWALS:
            last = place
    after = tuple(v for v in versions[last + 1 :] if v.kind != ReportStatus.REGISTERED)
    return after or versions[max(last, 0) :]


def report_text(report: Report) -> str:
    """All that is in force as plain text, the newest first."""
    return "\n\n".join("\n".join(_lines(version)) for version in in_force(report))


def report_html(report: Report) -> str:
    """The same as the children of an HTML ``body``."""
    articles = (_article(version) for version in in_force(report))
    return "\n".join(articles)


def _article(version: ReportVersion) -> str:
    head, body, foot = _composed(version)
    parts = [f"<h2>{escape(head)}</h2>"] if head else []
    for paragraph in body.split("\n\n"):
        lines = "<br/>".join(escape(line) for line in paragraph.splitlines())
        parts.append(f"<p>{lines}</p>")
    if foot:
        parts.append(f"<p><small>{escape(foot)}</small></p>")
    return f"<article>{''.join(parts)}</article>"


def _lines(version: ReportVersion) -> list[str]:
    return [line for line in _composed(version) if line]


def _composed(version: ReportVersion) -> tuple[str, str, str]:
    """Head, text and foot. A text that begins with the head keeps its own."""
    signed = ", ".join(
        part for part in (local_time(version.time), signer_name(version.signer)) if part
    )
    if version.kind in _WITHDRAWALS:
        return f"{_WITHDRAWN} {signed}", "Svaret har återkallats.", ""
    head = _HEADS.get(version.kind, "Utlåtande")
    text = text_of(version) or _NO_TEXT
    if _begins_with(text, head):
        return "", text, signed
    return f"{head} {signed}", text, ""


def text_of(version: ReportVersion) -> str:
    """Without the sections that have been withdrawn."""
    return "\n\n".join(
        section.text.strip()
        for section in version.sections
        if section.text.strip() and section.status not in _WITHDRAWALS
    )


def _begins_with(text: str, head: str) -> bool:
    beginning, after = text[: len(head)], text[len(head) : len(head) + 1]
    return beginning.casefold() == head.casefold() and not after.isalnum()
