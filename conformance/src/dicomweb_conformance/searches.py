"""What the cases on searching have in common: where ours is searched for, and what finds it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom import datadict
from pydicom.uid import generate_uid

from dicomweb_conformance import dicom_json
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.exchanges import query_string
from dicomweb_conformance.fixtures import Fixture, Instance, Study
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Violated, expect, need

CT_STUDY: Final = (Fixture.F1, Feature.SEARCH)
STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
_MODALITIES: Final = "00080061"


def tag_of(keyword: str) -> str:
    return f"{datadict.tag_for_keyword(keyword):08X}"


def lacking(row: Mapping[str, object], keywords: Iterable[str]) -> list[str]:
    return [keyword for keyword in keywords if tag_of(keyword) not in row]


def warning_in(answer: Response, text: str) -> re.Match[str] | None:
    """The Warning of that text: as the Standard writes it, or with the quotes of RFC 9111."""
    written = ", ".join(answer.headers.get_list("warning"))
    return re.search(rf'299 \S+?:?\s+"?{text}"?\.?"?(?:,|$)', written)


def row_of(answer: Response, tag: str, uid: str) -> dict[str, object]:
    """The result with that UID. Raises Violated."""
    for row in answer.results():
        if dicom_json.text(row, tag) == uid:
            return row
    raise Violated(f"{answer.asked}: what it asks for is not among the results")


def uids_in(answer: Response, tag: str = STUDY_UID) -> list[str]:
    return [dicom_json.text(row, tag) for row in answer.results()]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something of ours is searched for, in such a way that nothing else can be found."""

    path: str
    own: str  # a query that is always sent
    tag: str  # of the UID by which it is known
    uid: str

    async def ask(self, target: Target, query: str | Mapping[str, str] = "") -> Response:
        written = "&".join(part for part in (self.own, query_string(query)) if part)
        return await target.get(self.path, query=written)

    async def finds(self, target: Target, query: str | Mapping[str, str] = "") -> bool:
        """Raises Violated: the answer is neither results nor none."""
        return self.uid in uids_in(await self.ask(target, query), self.tag)

    async def row(self, target: Target, query: str | Mapping[str, str] = "") -> dict[str, object]:
        return row_of(await self.ask(target, query), self.tag, self.uid)


def in_studies(study: Study) -> Scope:
    return Scope("/studies", f"StudyInstanceUID={study.uid}", STUDY_UID, study.uid)


def ct_slice(target: Target) -> Instance:
    return target.study(Fixture.F1).series("CT")[0]


def in_series(target: Target) -> Scope:
    """The CT series among those of its study."""
    instance = ct_slice(target)
    return Scope(f"/studies/{instance.study_uid}/series", "", SERIES_UID, instance.series_uid)


def in_instances(target: Target) -> Scope:
    """The first slice among those of its series."""
    instance = ct_slice(target)
    path = f"{instance.series_path}/instances"
    return Scope(path, "", INSTANCE_UID, instance.sop_instance_uid)


def nobody(target: Target) -> str:
    """A UID that nothing has."""
    uid = str(generate_uid(prefix=None))
    target.shown.names[uid] = "{nothing}"
    target.shown.add_own([uid])
    return uid


async def need_found(target: Target, *scopes: Scope) -> None:
    """Raises Unmet: it cannot be found even without what the case is about."""
    for scope in scopes:
        answer = await scope.ask(target)
        found = answer.status == 200 and scope.uid in uids_in(answer, scope.tag)
        need(found, f"{answer.asked}: does not find it ({answer.status})")


async def need_key(target: Target, scope: Scope, wrong: str, *, judged_by: str) -> None:
    """Raises Unmet: the key of a value that cannot match is not looked at."""
    name = wrong.partition("=")[0]
    held = not await scope.finds(target, wrong)
    need(held, f"{name}: any value finds it, which {judged_by} judges")


async def expect_found(target: Target, scope: Scope, query: str | Mapping[str, str]) -> None:
    answer = await scope.ask(target, query)
    expect(scope.uid in uids_in(answer, scope.tag), f"{answer.asked}: it matches, and is not found")


async def expect_not_found(target: Target, scope: Scope, query: str | Mapping[str, str]) -> None:
    answer = await scope.ask(target, query)
    held = scope.uid not in uids_in(answer, scope.tag)
    expect(held, f"{answer.asked}: it does not match, and is found")


def expect_all_modalities(row: Mapping[str, object], study: Study) -> None:
    got = set(map(str, dicom_json.values_of(row, _MODALITIES)))
    missing = sorted({each.modality for each in study if each.modality} - got)
    expect(not missing, f"GET /studies: ModalitiesInStudy is without {', '.join(missing)}")


async def expect_keys(target: Target, scope: Scope, keys: Mapping[str, tuple[str, str]]) -> None:
    """Each key finds it by the right value, and does not by the wrong one."""
    await need_found(target, scope)
    broken = []
    for name, (right, wrong) in keys.items():
        try:
            if not await scope.finds(target, {name: right}):
                broken.append(f"{name}: the right value does not find it")
            elif await scope.finds(target, {name: wrong}):
                broken.append(f"{name}: any value finds it")
        except Violated as error:
            broken.append(f"{name}: {error}")
    expect(not broken, f"GET {target.shown.briefly(scope.path)}: {'; '.join(broken)}")


async def expect_among(
    target: Target, query: str, *, found: Iterable[Fixture], others: Iterable[Fixture] = ()
) -> None:
    """Those studies match and the others do not; each is asked for by its UID."""
    wanted, unwanted = list(found), list(others)
    await need_found(target, *(in_studies(target.study(each)) for each in wanted + unwanted))
    for fixture in wanted:
        await expect_found(target, in_studies(target.study(fixture)), query)
    for fixture in unwanted:
        await expect_not_found(target, in_studies(target.study(fixture)), query)
