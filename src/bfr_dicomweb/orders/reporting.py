"""Reports and their versions: what was sent as a message, a document and an SR is one version.

Versions follow each other by the times at which they got their status. The first signed one is the
original, each later one adds to it, unless its sender calls it a correction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bfr_dicomweb.orders import state
from bfr_dicomweb.orders.events import Attachment, Kind, Party, ReportStatus, Section
from bfr_dicomweb.orders.events import Report as Said
from bfr_dicomweb.orders.grouping import Part, Told

REGISTERED: Final = "registered"
PARTIAL: Final = "partial"
PRELIMINARY: Final = "preliminary"
FINAL: Final = "final"
APPENDED: Final = "appended"
CORRECTED: Final = "corrected"
WITHDRAWN: Final = "entered-in-error"
CANCELLED: Final = "cancelled"

_SIGNED: Final = "signed"
_CLASSES: Final = {
    ReportStatus.REGISTERED: REGISTERED,
    ReportStatus.PARTIAL: PRELIMINARY,
    ReportStatus.PRELIMINARY: PRELIMINARY,
    ReportStatus.PROMOTED: _SIGNED,
    ReportStatus.FINAL: _SIGNED,
    ReportStatus.ADDENDUM: _SIGNED,
    ReportStatus.CORRECTED: CORRECTED,
    ReportStatus.CANCELLED: WITHDRAWN,
    ReportStatus.WITHDRAWN: WITHDRAWN,
}
# Which of several renditions' statuses tells the most of their version.
_TELLING: Final = (
    ReportStatus.CORRECTED,
    ReportStatus.ADDENDUM,
    ReportStatus.WITHDRAWN,
    ReportStatus.PRELIMINARY,
)


@dataclass(frozen=True, slots=True)
class Course:
    """A report and how it came to be.

    Attributes:
        standing: Status of the report after each event, by digest.
        opened: By exam, the digests with which it first heard of a version.
        heard: By exam, events of the report that only its other exams were sent.
        strays: Preliminary versions after the signed one.
        is_headless: Said to be an addendum, and what it adds to is not here.
    """

    report: state.Report
    standing: dict[str, str]
    opened: dict[int, frozenset[str]]
    heard: dict[int, tuple[Told, ...]]
    strays: tuple[Told, ...]
    is_headless: bool


@dataclass(slots=True)
class _Draft:
    """A version while its renditions are gathered."""

    class_: str
    told: list[Told]
    sections: tuple[Section, ...]
    status: str = ""
    kind: ReportStatus = ReportStatus.FINAL
    is_addition: bool = False

    def says(self, status: ReportStatus) -> bool:
        return any(_said(told).status == status for told in self.told)


@dataclass(slots=True)
class _Entry:
    """What one event says of a report. `epoch` counts the withdrawals that came before."""

    told: Told
    class_: str
    epoch: int
    sections: tuple[Section, ...]
    text: str


@dataclass(slots=True)
class _Cluster:
    """Events of one report, with the exams that each was said of."""

    events: dict[str, Told] = field(default_factory=dict)
    exams: dict[str, set[int]] = field(default_factory=dict)


def courses(parts: Sequence[Part]) -> list[Course]:
    """All reports of the exams, in the order of their keys."""
    clusters = _clusters(parts)
    keys = _keys(clusters, parts)
    found = [_course(cluster, key, parts) for key, cluster in zip(keys, clusters, strict=True)]
    found.sort(key=lambda course: course.report.key)
    return found


def _said(told: Told) -> Said:
    report = told.event.report
    if report is None:
        raise ValueError("the event has no report")
    return report


def normalised(text: str) -> str:
    """Equal for texts that differ in white space only."""
    return " ".join(text.split())


# Which events are of one report


def _clusters(parts: Sequence[Part]) -> list[_Cluster]:
    entries: dict[str, Told] = {}
    exams: dict[str, set[int]] = {}
    for place, part in enumerate(parts):
        for told in part.events:
            if told.event.report is not None and told.event.kind == Kind.REPORTED:
                entries[told.digest] = told
                exams.setdefault(told.digest, set()).add(place)
    performers = _performers(entries.values(), exams)
    owner: dict[tuple[object, ...], str] = {}
    root = {digest: digest for digest in entries}
    for digest in sorted(entries):
        for token in _tokens(entries[digest], exams[digest], performers):
            other = owner.setdefault(token, digest)
            _join(root, digest, other)
    _join_the_unnumbered(entries, exams, performers, root)
    found: dict[str, _Cluster] = {}
    for digest in sorted(entries):
        cluster = found.setdefault(_find(root, digest), _Cluster())
        cluster.events[digest] = entries[digest]
        cluster.exams[digest] = exams[digest]
    return list(found.values())


def _performers(events: Iterable[Told], exams: dict[str, set[int]]) -> dict[int, str]:
    """Of each exam whose reports name one performer: that performer."""
    named: dict[int, set[str]] = {}
    for told in events:
        for exam in exams[told.digest]:
            named.setdefault(exam, set()).update({told.event.performer} - {""})
    return {exam: next(iter(names)) for exam, names in named.items() if len(names) == 1}


def _tokens(
    told: Told, exams: set[int], performers: dict[int, str]
) -> Iterable[tuple[object, ...]]:
    """Events with a token in common are of one report."""
    said = _said(told)
    if told.event.shared:
        yield ("shared", told.event.source, told.event.shared)
    text = normalised(said.text)
    for exam in exams:
        performer = told.event.performer or performers.get(exam, "")
        if text:
            yield ("text", exam, performer, text)
        numbers = {said.identifier, said.parent} - {""}
        for number in numbers:
            yield ("number", exam, performer, number)
        if not numbers:
            yield ("unnumbered", exam, performer)


def _find(root: dict[str, str], digest: str) -> str:
    while root[digest] != digest:
        digest = root[digest]
    return digest


def _join(root: dict[str, str], one: str, other: str) -> None:
    first, second = sorted((_find(root, one), _find(root, other)))
    root[second] = first


def _join_the_unnumbered(
    entries: dict[str, Told],
    exams: dict[str, set[int]],
    performers: dict[int, str],
    root: dict[str, str],
) -> None:
    """Where there is only one numbered report, what has no number is of that one."""
    numbered: dict[tuple[int, str], set[str]] = {}
    unnumbered: dict[tuple[int, str], set[str]] = {}
    for digest in sorted(entries):
        said = _said(entries[digest])
        for exam in exams[digest]:
            key = exam, entries[digest].event.performer or performers.get(exam, "")
            kind = numbered if said.identifier or said.parent else unnumbered
            kind.setdefault(key, set()).add(digest)
    for key in sorted(unnumbered.keys() & numbered.keys()):
        if len({_find(root, digest) for digest in numbered[key]}) == 1:
            _join(root, min(numbered[key]), min(unnumbered[key]))


def _keys(clusters: Sequence[_Cluster], parts: Sequence[Part]) -> list[str]:
    """A key for each that stays the same as long as nothing is learned that divides them."""
    keys = [""] * len(clusters)
    taken: set[str] = set()
    ranked = sorted(range(len(clusters)), key=lambda place: _precedence(clusters[place]))
    for place in ranked:
        cluster = clusters[place]
        exam = parts[min(min(held) for held in cluster.exams.values())].aliases[0]
        key = f"{exam.kind}|{exam.system}|{exam.value}|{_performer(cluster)}"
        if key in taken:
            key = f"{key}|{_number(cluster) or min(cluster.events)}"
        taken.add(key)
        keys[place] = key
    return keys


def _precedence(cluster: _Cluster) -> tuple[object, ...]:
    is_numbered = all(_said(told).identifier for told in cluster.events.values())
    return is_numbered, _number(cluster), min(cluster.events.values())


def _performer(cluster: _Cluster) -> str:
    return min(
        (told.event.performer for told in cluster.events.values() if told.event.performer),
        default="",
    )


def _number(cluster: _Cluster) -> str:
    """The filler's number, of the one that adds to no other when there are several."""
    said = [_said(told) for told in cluster.events.values()]
    numbers = [report.identifier for report in said if report.identifier]
    roots = [report.identifier for report in said if report.identifier and not report.parent]
    return min(roots or numbers, default="")


# The versions of one report


def _course(cluster: _Cluster, key: str, parts: Sequence[Part]) -> Course:
    events = sorted(cluster.events.values())
    exams = tuple(sorted(set().union(*cluster.exams.values())))
    drafts = _drafts(events)
    strays, is_headless = _stand(drafts)
    versions = tuple(map(_version, drafts))
    heard = {exam: _unheard(drafts, cluster, exam) for exam in exams} if len(exams) > 1 else {}
    return Course(
        report=state.Report(
            key=key,
            identifier=_number(cluster) or _accession(parts[exams[0]]),
            performer=_performer(cluster),
            status=drafts[-1].status,
            versions=versions,
            exams=exams,
        ),
        standing=_standing(events, drafts),
        opened={exam: _opened(drafts, cluster, exam, heard.get(exam, ())) for exam in exams},
        heard=heard,
        strays=tuple(strays),
        is_headless=is_headless,
    )


def _accession(part: Part) -> str:
    return part.aliases[0].value


def _drafts(events: Sequence[Told]) -> list[_Draft]:
    entries = _entries(events)
    drafts: dict[tuple[object, ...], _Draft] = {}
    bare = []
    for entry in entries:
        if entry.text:
            _gather_text(entry, drafts)
        else:
            bare.append(entry)
    for entry in bare:
        said = _said(entry.told)
        if said.attachments or said.sop_instance_uid:
            _gather_document(entry, drafts)
    for entry in bare:
        said = _said(entry.told)
        if not (said.attachments or said.sop_instance_uid):
            _gather_status(entry, drafts)
    found = list(drafts.values())
    for draft in found:
        draft.told.sort()
    found.sort(key=lambda draft: draft.told[0])
    return _without_late_registrations(found)


def _without_late_registrations(drafts: list[_Draft]) -> list[_Draft]:
    """That a report is awaited is a version only as long as there is no other."""
    found = drafts[:1]
    for draft in drafts[1:]:
        if draft.class_ == REGISTERED:
            found[-1].told += draft.told
        else:
            found.append(draft)
    return found


def _entries(events: Sequence[Told]) -> list[_Entry]:
    found: list[_Entry] = []
    epoch, is_withdrawn = 0, False
    last: tuple[Section, ...] = ()
    for told in events:
        said = _said(told)
        class_ = _CLASSES[said.status]
        if class_ == WITHDRAWN:
            is_withdrawn = True
        elif is_withdrawn and class_ != REGISTERED:
            epoch, is_withdrawn, last = epoch + 1, False, ()
        own = said.sections
        if said.status == ReportStatus.PROMOTED and not said.text:
            own = last
        if class_ == PRELIMINARY and said.text:
            last = own
        text = said.text if own is said.sections else _text(own)
        found.append(_Entry(told, class_, epoch, own, normalised(text)))
    return found


def _text(sections: tuple[Section, ...]) -> str:
    return "\n\n".join(section.text for section in sections if section.text)


def _gather_text(entry: _Entry, drafts: dict[tuple[object, ...], _Draft]) -> None:
    key = (entry.epoch, entry.class_, entry.text)
    same = drafts.get(key)
    if same is None and entry.class_ in (_SIGNED, CORRECTED):
        same = _correction(entry, drafts)
    if same is None:
        drafts[key] = _Draft(entry.class_, [entry.told], entry.sections)
    else:
        same.told.append(entry.told)


def _correction(entry: _Entry, drafts: dict[tuple[object, ...], _Draft]) -> _Draft | None:
    """An SR cannot say that it is a correction, a message with the same text can."""
    if entry.class_ == _SIGNED:
        return drafts.get((entry.epoch, CORRECTED, entry.text))
    same = drafts.get((entry.epoch, _SIGNED, entry.text))
    return same if same and same.told[0].time == entry.told.time else None


def _gather_document(entry: _Entry, drafts: dict[tuple[object, ...], _Draft]) -> None:
    """A document without text is of the text that got the same status at the same time."""
    for (epoch, class_, _), draft in drafts.items():
        if (
            epoch == entry.epoch
            and (class_ == entry.class_ or {class_, entry.class_} == {_SIGNED, CORRECTED})
            and any(told.time == entry.told.time for told in draft.told)
        ):
            draft.told.append(entry.told)
            return
    key = (entry.epoch, entry.class_, ("at", entry.told.time))
    drafts[key] = _Draft(entry.class_, [entry.told], entry.sections)


def _gather_status(entry: _Entry, drafts: dict[tuple[object, ...], _Draft]) -> None:
    """A status and nothing else is of the first version that has it."""
    status = _said(entry.told).status
    same = [
        draft
        for (epoch, class_, _), draft in drafts.items()
        if epoch == entry.epoch and class_ == entry.class_
    ]
    said = [draft for draft in same if draft.says(status)]
    if same:
        min(said or same, key=lambda draft: draft.told[0]).told.append(entry.told)
    else:
        key = (entry.epoch, entry.class_, "")
        drafts[key] = _Draft(entry.class_, [entry.told], entry.sections)


class _Standing:
    """What a report has come to, version by version."""

    def __init__(self) -> None:
        self.status = ""
        self.has_original = False
        self.has_addition = False

    @property
    def is_signed(self) -> bool:
        return self.has_original or self.has_addition

    def hear(self, draft: _Draft) -> None:
        kind = draft.kind
        if kind == ReportStatus.REGISTERED:
            self.status = self.status or REGISTERED
        elif draft.class_ == PRELIMINARY:
            self.status = self.status if self.is_signed else kind.value
        elif draft.class_ == WITHDRAWN:
            is_cancelled = kind == ReportStatus.CANCELLED and not self.is_signed
            self.status = CANCELLED if is_cancelled else WITHDRAWN
            self.has_original = self.has_addition = False
        elif kind == ReportStatus.CORRECTED:
            self.status, self.has_original = CORRECTED, True
        elif kind == ReportStatus.ADDENDUM or self.has_original:
            draft.kind, draft.is_addition = ReportStatus.ADDENDUM, self.has_original
            self.status, self.has_addition = (APPENDED if self.has_original else FINAL), True
        else:
            self.status, self.has_original = (APPENDED if self.has_addition else FINAL), True
        draft.status = self.status


def _stand(drafts: Sequence[_Draft]) -> tuple[list[Told], bool]:
    """Give each version its kind and the report's status after it.

    Returns what was preliminary after the signed one, and whether all that is signed adds to
    something that is not here.
    """
    standing = _Standing()
    strays = []
    for draft in drafts:
        draft.kind = next((said for said in _TELLING if draft.says(said)), _kind(draft))
        if draft.class_ == PRELIMINARY and standing.is_signed:
            strays.append(draft.told[0])
        standing.hear(draft)
    return strays, standing.has_addition and not standing.has_original


def _kind(draft: _Draft) -> ReportStatus:
    status = _said(draft.told[0]).status
    return ReportStatus.FINAL if draft.class_ == _SIGNED else status


def _standing(events: Sequence[Told], drafts: Sequence[_Draft]) -> dict[str, str]:
    place = {told.digest: at for at, draft in enumerate(drafts) for told in draft.told}
    found, latest = {}, 0
    for told in events:
        latest = max(latest, place[told.digest])
        found[told.digest] = drafts[latest].status
    return found


def _version(draft: _Draft) -> state.ReportVersion:
    said = [_said(told) for told in draft.told]
    attachments: dict[str, Attachment] = {}
    for report in said:
        for attachment in report.attachments:
            attachments.setdefault(attachment.digest, attachment)
    signer: Party | None = next((report.signer for report in said if report.signer), None)
    return state.ReportVersion(
        time=draft.told[0].time,
        status=draft.status,
        sections=draft.sections,
        attachments=tuple(attachments.values()),
        signer=signer,
        digests=tuple(told.digest for told in draft.told),
        sources=tuple(sorted({told.event.source for told in draft.told})),
        sop_instance_uids=tuple(
            sorted({report.sop_instance_uid for report in said if report.sop_instance_uid})
        ),
        is_addition=draft.is_addition,
        kind=draft.kind,
    )


def _opened(
    drafts: Sequence[_Draft], cluster: _Cluster, exam: int, heard: Sequence[Told]
) -> frozenset[str]:
    digests = {told.digest for told in heard}
    for draft in drafts:
        if draft.class_ != REGISTERED:
            own = (told for told in draft.told if exam in cluster.exams[told.digest])
            if first := next(own, None):
                digests.add(first.digest)
    return frozenset(digests)


def _unheard(drafts: Sequence[_Draft], cluster: _Cluster, exam: int) -> tuple[Told, ...]:
    return tuple(
        draft.told[0]
        for draft in drafts
        if draft.class_ != REGISTERED
        and all(exam not in cluster.exams[told.digest] for told in draft.told)
    )
