"""The verdicts as JUnit XML, for continuous integration."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dicomweb_conformance.cases import CHAPTERS
from dicomweb_conformance.running import Run, Verdict
from dicomweb_conformance.verdicts import Outcome

_CHILD = {
    Outcome.FAIL: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIP: "skipped",
    Outcome.NA: "skipped",
}


def as_xml(run: Run) -> str:
    root = Element("testsuites", name="dicomweb-conformance", time=str(run.seconds))
    for chapter in run.chapters:
        of_it = [each for each in run.verdicts if each.case.chapter == chapter]
        counts = run.counts(chapter)
        suite = SubElement(
            root,
            "testsuite",
            name=f"{chapter} {CHAPTERS[chapter]}",
            tests=str(len(of_it)),
            failures=str(counts[Outcome.FAIL]),
            errors=str(counts[Outcome.ERROR]),
            skipped=str(counts[Outcome.SKIP] + counts[Outcome.NA]),
            time=str(round(sum(each.seconds for each in of_it), 3)),
        )
        for verdict in of_it:
            _add(suite, verdict)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: Element, verdict: Verdict) -> None:
    case = verdict.case
    made = SubElement(
        suite,
        "testcase",
        classname=f"PS3.18 {case.section}",
        name=f"{case.id} {case.slug}",
        time=str(verdict.seconds),
    )
    child = _CHILD.get(verdict.outcome)
    if child is not None:
        below = SubElement(made, child, message=f"{verdict.outcome}: {verdict.reason}")
        below.text = f"{case.requirement} (PS3.18 {case.section})"
    said = [f"{verdict.outcome}: {verdict.reason}"] if verdict.reason and child is None else []
    if said or verdict.notes:
        SubElement(made, "system-out").text = "\n".join([*said, *verdict.notes])
