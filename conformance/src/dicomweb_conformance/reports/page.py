"""The verdicts as one HTML page that needs nothing else: no network, no script."""

from html import escape
from typing import Final

from dicomweb_conformance.cases import CHAPTERS
from dicomweb_conformance.exchanges import Exchange
from dicomweb_conformance.running import Run, Verdict
from dicomweb_conformance.verdicts import Level, Outcome

# In this order: what has to be looked at comes first.
_MEANING: Final = {
    Outcome.FAIL: "breaks a requirement (“shall”)",
    Outcome.ERROR: "a fault of the suite itself; it says nothing about the server",
    Outcome.WARN: "does not follow a recommendation (“should”)",
    Outcome.NOTE: "worth knowing; the Standard leaves it free",
    Outcome.SKIP: "could not be tried, so nothing is known",
    Outcome.NA: "the server does not claim to offer it",
    Outcome.PASS: "as the Standard wants it",
}
_OPEN: Final = {Outcome.FAIL, Outcome.ERROR, Outcome.WARN}
_STYLE: Final = """
:root{color-scheme:light dark;--line:#c8ccd2;--soft:#f3f4f6;--ink:#1b1f24;--paper:#fff}
@media(prefers-color-scheme:dark){
:root{--line:#444b55;--soft:#22272e;--ink:#e6e9ed;--paper:#16191d}}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:62rem;padding:1.5rem;
color:var(--ink);background:var(--paper)}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.facts td:first-child{width:11rem;opacity:.75}
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0;background:var(--paper)}
summary{cursor:pointer;padding:.45rem .7rem}
details>div{padding:0 .8rem .7rem}
details details{background:var(--soft)}details details pre{background:var(--paper)}
section>details>summary{font-weight:600}
.v{display:inline-block;min-width:3.6rem;text-align:center;border-radius:.3rem;padding:0 .4rem;
font-size:.8rem;font-weight:700;color:#fff}
.FAIL{background:#b3261e}.ERROR{background:#7b1fa2}.WARN{background:#8a5300}.NOTE{background:#1f5fa8}
.SKIP,.NA{background:#5a6472}.PASS{background:#1d6f3d}
.id{font-family:ui-monospace,monospace;font-weight:600}.s{opacity:.75}
summary code{overflow-wrap:anywhere}summary small{margin-left:1.2rem}h4{margin:.4rem 0 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem;
border-radius:.3rem;font-size:.82rem;margin:.3rem 0}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.2rem .8rem;margin:.5rem 0}
dt{opacity:.75}dd{margin:0}
"""


def as_html(run: Run) -> str:
    parts = [_heading(run), _summary(run), _chapters(run)]
    for outcome, meaning in _MEANING.items():
        of_it = [each for each in run.verdicts if each.outcome is outcome]
        if of_it:
            parts.append(_group(outcome, meaning, of_it))
    parts.append(_remaining(run))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>DICOMweb conformance of {escape(run.base_url)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _badge(outcome: Outcome) -> str:
    return f'<span class="v {outcome.name}">{escape(outcome)}</span>'


def _heading(run: Run) -> str:
    mode = "read-only: existing studies were asked for" if run.read_only else "with own studies"
    facts = {
        "Server": run.base_url,
        "Asked on": f"{run.started:%Y-%m-%d %H:%M} UTC, {mode}, for {run.seconds:.0f} s",
        "Suite": f"dicomweb-conformance {run.suite_version}, DICOM PS3.18 2024e (14, 15: 2025e)",
        "Capabilities": "described by the server"
        if run.capabilities_known
        else "not described by the server: what is optional was tried, not claimed",
    }
    if run.unavailable:
        facts["Not available"] = "; ".join(f"{k}: {v}" for k, v in run.unavailable.items())
    if run.remaining:
        facts["Left behind"] = f"{len(run.remaining)} synthetic studies, named at the end"
    rows = "".join(f"<tr><td>{k}</td><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return f'<h1>DICOMweb conformance</h1><table class="facts">{rows}</table>'


def _summary(run: Run) -> str:
    counts = run.counts()
    rows = "".join(
        f'<tr><td>{_badge(outcome)}</td><td class="n">{counts[outcome]}</td>'
        f"<td>{escape(meaning)}</td></tr>"
        for outcome, meaning in _MEANING.items()
        if counts[outcome]
    )
    return f"<h2>What was found</h2><table>{rows}</table>"


def _chapters(run: Run) -> str:
    heads = "".join(
        f'<th class="n">{escape(each)}</th>' for each in ("passed", "broken", "not tried")
    )
    rows = []
    for chapter in run.chapters:
        shalls = [
            each.outcome
            for each in run.verdicts
            if each.case.chapter == chapter and each.case.level is Level.SHALL
        ]
        untried = sum(each in (Outcome.SKIP, Outcome.NA, Outcome.ERROR) for each in shalls)
        numbers = (shalls.count(Outcome.PASS), shalls.count(Outcome.FAIL), untried)
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        rows.append(f"<tr><td>{chapter} {escape(CHAPTERS[chapter])}</td>{cells}</tr>")
    return (
        "<h2>Requirements (“shall”) by chapter</h2>"
        f"<table><tr><th>Chapter</th>{heads}</tr>{''.join(rows)}</table><h2>Case by case</h2>"
    )


def _remaining(run: Run) -> str:
    if not run.remaining:
        return ""
    rows = "\n".join(run.remaining)
    return (
        "<h2>Left behind</h2><details><summary>Synthetic studies that the suite stored and could"
        f" not delete</summary><div><pre>{escape(rows)}</pre></div></details>"
    )


def _group(outcome: Outcome, meaning: str, verdicts: list[Verdict]) -> str:
    state = " open" if outcome in _OPEN else ""
    inside = "".join(_verdict(each) for each in verdicts)
    return (
        f"<section><details{state}><summary>{_badge(outcome)} {len(verdicts)} · {escape(meaning)}"
        f"</summary><div>{inside}</div></details></section>"
    )


def _verdict(verdict: Verdict) -> str:
    case = verdict.case
    why = f"<br><small>{escape(verdict.reason)}</small>" if verdict.reason else ""
    notes = "".join(f"<p>Seen: {escape(note)}</p>" for note in verdict.notes)
    part = case.section if case.section.startswith("PS3.") else f"PS3.18 {case.section}"
    return (
        f'<details id="{case.id}"><summary>{_badge(verdict.outcome)} '
        f'<span class="id">{case.id}</span> {escape(case.slug.replace("-", " "))} '
        f'<span class="s">{escape(part)}</span>{why}</summary><div>{notes}'
        f"<dl><dt>The Standard</dt><dd>{escape(case.requirement)} "
        f'<span class="s">({escape(part)}, {case.level})</span></dd>'
        f"<dt>Asked</dt><dd>{escape(case.request)}</dd>"
        f"<dt>Expected</dt><dd>{escape(case.expected)}</dd></dl>"
        f"{''.join(_exchange(each) for each in verdict.exchanges)}</div></details>"
    )


def _exchange(exchange: Exchange) -> str:
    asked = "\n".join(f"{name}: {value}" for name, value in exchange.request_headers.items())
    got = "\n".join(f"{name}: {value}" for name, value in exchange.response_headers.items())
    body = exchange.request_body and f"\n\n{exchange.request_body}"
    answer = exchange.response_body and f"\n\n{exchange.response_body}"
    # of DIMSE the status stands in the answer
    status = exchange.status or ("answered" if exchange.response_body else "no response")
    sent = escape(f"{exchange.request}\n{asked}{body}")
    received = escape(f"{status}\n{got}{answer}")
    return (
        f"<details><summary><code>{escape(exchange.request)}</code> → {status}</summary><div>"
        f"<h4>Request</h4><pre>{sent}</pre><h4>Response</h4><pre>{received}</pre></div></details>"
    )
