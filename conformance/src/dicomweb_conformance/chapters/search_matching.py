"""QID: which values match (PS3.18 sections 8.3.4 and 10.6.1.2, PS3.4 C.2.2.2)."""

from typing import Final

from dicomweb_conformance.cases import case, need_passed
from dicomweb_conformance.chapters.common import percent_encoded_names_are_found
from dicomweb_conformance.claims import Feature
from dicomweb_conformance.fixtures import Fixture
from dicomweb_conformance.searches import (
    CT_STUDY,
    ct_slice,
    expect_all_modalities,
    expect_among,
    expect_found,
    expect_keys,
    expect_not_found,
    in_instances,
    in_series,
    in_studies,
    need_found,
    need_key,
    nobody,
    row_of,
    uids_in,
    warning_in,
)
from dicomweb_conformance.target import Response, Target
from dicomweb_conformance.verdicts import Level, NotClaimed, Violated, expect, need

_DATES: Final = (Fixture.F1, Fixture.F7, Fixture.F14, Feature.SEARCH)
_CASES: Final = (Fixture.F1, Fixture.F12, Feature.SEARCH)
_STEP_ID: Final = "RequestAttributesSequence.ScheduledProcedureStepID"
_UNMATCHED: Final = "keys within sequences are not matched, which QID-31 judges"
_NOT_DECODED: Final = "percent-encoded values are not decoded, which COM-36 judges"
_NOT_SUPPORTED: Final = {
    "fuzzymatching": r"The fuzzymatching parameter is not supported\."
    r" Only literal matching has been performed",
    "emptyvaluematching": r"The emptyvaluematching parameter is not supported\."
    r" Empty Value Matching has not been performed",
    "multiplevaluematching": r"The multiplevaluematching parameter is not supported\."
    r" (?:Multiple|Empty) Value Matching has not been performed",
}


@case(
    "QID-12",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Studies are matched by all required keys of their level.",
    request="GET {b}/studies with each key of Table 10.6.1-5: a right value, then a wrong one",
    expected="found by the right one, not by the wrong one",
    needs=CT_STUDY,
)
async def studies_match_by_all_required_keys(target: Target) -> None:
    study = target.study(Fixture.F1)
    original = study.first.original
    need(str(original.PatientName) == "Åström^Björn", "the study has another patient")
    # wildcards, since ^ and å would have to be encoded, which is a case of its own
    names = {"ReferringPhysicianName": ("Berg*", "Nobody*"), "PatientName": ("*str*", "*nn*")}
    if not await _wildcards_match(target):
        names = {}
        target.note("names are left out: wildcards do not match, which QID-22 judges")
    await expect_keys(
        target,
        in_studies(study),
        {
            **names,
            "StudyDate": (original.StudyDate, "19990101"),
            "StudyTime": (original.StudyTime, "030000"),
            "AccessionNumber": (original.AccessionNumber, "NO-SUCH"),
            "ModalitiesInStudy": ("CT", "MG"),
            "PatientID": (original.PatientID, "NO-SUCH"),
            "StudyID": (original.StudyID, "NO-SUCH"),
        },
    )
    other = await target.get("/studies", query=f"StudyInstanceUID={nobody(target)}")
    expect(study.uid not in uids_in(other), "GET /studies: any StudyInstanceUID finds it")


@case(
    "QID-13",
    section="8.3.4.1",
    level=Level.SHALL,
    requirement="Attributes can be named by tag as well as by keyword.",
    request="GET {b}/studies?StudyInstanceUID={S1} with 00100020 and with PatientID",
    expected="found by the right value, not by a wrong one, whichever way it is named",
    needs=CT_STUDY,
)
async def tags_and_keywords_mean_the_same(target: Target) -> None:
    study = target.study(Fixture.F1)
    right = study.first.original.PatientID
    keys = dict.fromkeys(("PatientID", "00100020"), (right, "NO-SUCH"))
    await expect_keys(target, in_studies(study), keys)


@case(
    "QID-14",
    section="8.3.1",
    level=Level.SHALL,
    requirement="The hexadecimal digits of a tag may be in lower case.",
    request="GET {b}/studies/{S1}/series with 0020000e={R1}, and with another UID",
    expected="found; not found",
    needs=CT_STUDY,
)
async def lower_case_tags_are_understood(target: Target) -> None:
    scope, other = in_series(target), nobody(target)
    await need_key(target, scope, f"0020000E={other}", judged_by="QID-13")
    await expect_keys(target, scope, {"0020000e": (scope.uid, other)})


@case(
    "QID-15",
    section="8.3.1, 8.3",
    level=Level.SHALL,
    requirement="Keywords are case-sensitive: another spelling is unknown, and ignored.",
    request="GET {b}/studies?StudyInstanceUID={S1}&patientid=NO-SUCH",
    expected="200; found, as without it",
    needs=CT_STUDY,
)
async def keyword_in_another_case_is_ignored(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    await expect_found(target, scope, "patientid=NO-SUCH")


@case(
    "QID-16",
    section="8.3.4.1, 10.6.3.1",
    level=Level.SHALL,
    requirement="An attribute that is there twice is answered with 400.",
    request="GET {b}/studies?StudyInstanceUID={S1}&PatientID=a&PatientID=b",
    expected="400",
    needs=CT_STUDY,
)
async def repeated_attribute_is_400(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    (await scope.ask(target, "PatientID=a&PatientID=b")).expect_status(400)


@case(
    "QID-17",
    section="8.3, 10.6.3.1",
    level=Level.SHALL,
    requirement="A value that the VR of a supported attribute does not allow is answered with 400.",
    request="GET {b}/studies?StudyDate=2024-01-05; StudyDate=abc; StudyInstanceUID=x.y",
    expected="400 each",
    needs=CT_STUDY,
)
async def invalid_value_of_an_attribute_is_400(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    answers = [await scope.ask(target, f"StudyDate={each}") for each in ("2024-01-05", "abc")]
    answers.append(await target.get("/studies", query="StudyInstanceUID=x.y&limit=1"))
    wrong = [f"{each.asked} is {each.status}" for each in answers if each.status != 400]
    expect(not wrong, f"expected 400 each: {'; '.join(wrong)}")


@case(
    "QID-18",
    section="PS3.4 C.2.2.2.5.1",
    level=Level.SHALL,
    requirement="Ranges of dates include both ends, and one of these may be left out.",
    request="GET {b}/studies?StudyDate=20240105-20240106; 20240106-; -20240105",
    expected="F1, F7, F14; F7; F1, F14",
    needs=_DATES,
)
async def ranges_of_dates_match(target: Target) -> None:
    early = (Fixture.F1, Fixture.F14)
    await expect_among(target, "StudyDate=20240105-20240106", found=(*early, Fixture.F7))
    await expect_among(target, "StudyDate=20240106-", found=[Fixture.F7], others=early)
    await expect_among(target, "StudyDate=-20240105", found=early, others=[Fixture.F7])


async def _need_times(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_key(target, scope, "StudyTime=030000", judged_by="QID-12")


@case(
    "QID-19",
    section="PS3.4 C.2.2.2.5.2",
    level=Level.SHALL,
    requirement="Ranges of times match.",
    request="GET {b}/studies?StudyTime=1000-1100",
    expected="F1 (10:15), not F14 (22:00)",
    needs=(Fixture.F1, Fixture.F14, Feature.SEARCH),
)
async def range_of_times_matches(target: Target) -> None:
    query = "StudyTime=1000-1100"
    await _need_times(target)
    await expect_among(target, query, found=[Fixture.F1], others=[Fixture.F14])


@case(
    "QID-20",
    section="8.3.4.1.1",
    level=Level.SHALL,
    requirement="A range of dates and one of times are one interval, from the first time of the"
    " first date on.",
    request="GET {b}/studies?StudyDate=20240105-20240106&StudyTime=0900-1200",
    expected="F1 (5th, 10:15) and F14 (5th, 22:00), not F7 (6th, 23:59)",
    needs=_DATES,
)
async def dates_and_times_are_one_interval(target: Target) -> None:
    query = "StudyDate=20240105-20240106&StudyTime=0900-1200"
    await _need_times(target)
    await expect_among(target, query, found=(Fixture.F1, Fixture.F14), others=[Fixture.F7])


@case(
    "QID-21",
    section="PS3.4 C.2.2.2.1.3",
    level=Level.SHALL,
    requirement="Times match by their meaning, not as they are written.",
    request="GET {b}/studies?StudyInstanceUID={S1} with StudyTime=101500, 1015 and 1016",
    expected="found, found, not found",
    needs=CT_STUDY,
)
async def times_match_by_meaning(target: Target) -> None:
    need(ct_slice(target).original.StudyTime == "101500", "the study is of another time")
    await _need_times(target)
    await expect_among(target, "StudyTime=101500", found=[Fixture.F1])
    await expect_among(target, "StudyTime=1015", found=[Fixture.F1])
    await expect_among(target, "StudyTime=1016", found=(), others=[Fixture.F1])


async def _wildcards_match(target: Target) -> bool:
    scope = in_studies(target.study(Fixture.F1))
    return await scope.finds(target, "AccessionNumber=A0*")


@case(
    "QID-22",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="In text, * stands for any characters and ? for one.",
    request="GET {b}/studies?StudyInstanceUID={S1} with AccessionNumber=A0*, A?01, *, ?01, B*",
    expected="found by the first three, not by the others",
    needs=CT_STUDY,
)
async def wildcards_match(target: Target) -> None:
    need(
        ct_slice(target).original.AccessionNumber == "A001",
        "the study has another accession number",
    )
    for pattern in ("A0*", "A?01", "*"):
        await expect_among(target, f"AccessionNumber={pattern}", found=[Fixture.F1])
    for pattern in ("?01", "B*"):
        query = f"AccessionNumber={pattern}"
        await expect_among(target, query, found=(), others=[Fixture.F1])


@case(
    "QID-23",
    section="PS3.4 C.2.2.2.1",
    level=Level.SHALL,
    requirement="Text other than names of persons is matched with its case.",
    request="GET {b}/studies?PatientID=p-001",
    expected="F12 (p-001), not F1 (P-001)",
    needs=_CASES,
)
async def patient_id_is_case_sensitive(target: Target) -> None:
    need(ct_slice(target).original.PatientID == "P-001", "the study has another patient")
    await expect_among(target, "PatientID=p-001", found=[Fixture.F12], others=[Fixture.F1])


async def _need_decoding(target: Target) -> None:
    """Raises Unmet: percent-encoded values are not understood."""
    encoded = _encoded(ct_slice(target).original.PatientID)
    found = await in_studies(target.study(Fixture.F1)).finds(target, f"PatientID={encoded}")
    need(found, _NOT_DECODED)


def _encoded(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


@case(
    "QID-24",
    section="PS3.4 C.2.2.2.1.1",
    level=Level.MAY,
    requirement="Whether names of persons are matched with their case and accents is up to the"
    " server, which documents it.",
    request="GET {b}/studies?PatientName=astrom^bjorn",
    expected="F12; whether also F1 (Åström^Björn) is reported",
    needs=_CASES,
)
async def names_match_by_the_documented_rules(target: Target) -> None:
    need(
        str(ct_slice(target).original.PatientName) == "Åström^Björn",
        "the study has another patient",
    )
    await _need_decoding(target)
    query = "PatientName=astrom%5Ebjorn"
    await expect_among(target, query, found=[Fixture.F12])
    also = await in_studies(target.study(Fixture.F1)).finds(target, query)
    target.note(f"astrom^bjorn {'finds' if also else 'does not find'} Åström^Björn")


@case(
    "QID-25",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="Wildcards work in names of persons, and beyond ASCII.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientName=%C3%85str*, %C3%85nn*",
    expected="found; not found",
    needs=CT_STUDY,
)
async def wildcards_match_in_names(target: Target) -> None:
    need(
        str(ct_slice(target).original.PatientName) == "Åström^Björn",
        "the study has another patient",
    )
    await _need_decoding(target)
    need(await _wildcards_match(target), "wildcards do not match, which QID-22 judges")
    await expect_among(target, "PatientName=%C3%85str*", found=[Fixture.F1])
    await expect_among(target, "PatientName=%C3%85nn*", found=(), others=[Fixture.F1])


@case(
    "QID-26",
    section="PS3.4 C.2.2.2.1.1",
    level=Level.MAY,
    requirement="Ideographic names may be matched as well.",
    request="GET {b}/studies?StudyInstanceUID={S2}&PatientName=*王*",
    expected="found",
    needs=(Fixture.F2, Feature.SEARCH),
)
async def ideographic_names_match(target: Target) -> None:
    name = str(target.instance(Fixture.F2).original.PatientName)
    need("王" in name, "the study has another patient")
    need(
        await in_studies(target.study(Fixture.F2)).finds(target, "PatientName=W%61ng*"),
        _NOT_DECODED,
    )
    await expect_among(target, "PatientName=*%E7%8E%8B*", found=[Fixture.F2])


def _two(target: Target) -> tuple[str, str]:
    return target.study(Fixture.F1).uid, target.study(Fixture.F7).uid


async def _expect_both(target: Target, separator: str) -> None:
    wanted = _two(target)
    await need_found(target, *(in_studies(target.study(each)) for each in (Fixture.F1, Fixture.F7)))
    answer = await target.get("/studies", query=f"StudyInstanceUID={separator.join(wanted)}")
    found = sorted(uids_in(answer))
    held = found == sorted(wanted)
    expect(held, f"{answer.asked}: {len(found)} results, and not just the two that are listed")


@case(
    "QID-27",
    section="8.3.4.1, PS3.4 C.2.2.2.2",
    level=Level.SHALL,
    requirement="A list of UIDs, separated by commas, matches each of them.",
    request="GET {b}/studies?StudyInstanceUID={S1},{S7}",
    expected="both and no other",
    needs=(Fixture.F1, Fixture.F7, Feature.SEARCH),
)
async def list_of_uids_matches_each(target: Target) -> None:
    await _expect_both(target, ",")


@case(
    "QID-28",
    section="PS3.4 C.2.2.2.2",
    level=Level.MAY,
    requirement="A list of UIDs may also be separated as in DIMSE, by a backslash.",
    request="GET {b}/studies?StudyInstanceUID={S1}%5C{S7}",
    expected="both and no other",
    needs=(Fixture.F1, Fixture.F7, Feature.SEARCH),
)
async def list_of_uids_with_backslash_matches_each(target: Target) -> None:
    await _need_decoding(target)
    await _expect_both(target, "%5C")


@case(
    "QID-29",
    section="PS3.4 C.2.2.2.4",
    level=Level.SHALL,
    requirement="UIDs have no wildcards.",
    request="GET {b}/studies?StudyInstanceUID={S1 without its last digit}*",
    expected="400; or 204, or 200 with an empty payload",
    needs=CT_STUDY,
)
async def uids_have_no_wildcards(target: Target) -> None:
    study = target.study(Fixture.F1)
    await need_found(target, in_studies(study))
    answer = await target.get("/studies", query=f"StudyInstanceUID={study.uid[:-1]}*")
    target.expect_no_results(answer, 400)


@case(
    "QID-30",
    section="PS3.4 C.2.2.2.3",
    level=Level.SHALL,
    requirement="A key without a value matches everything.",
    request="GET {b}/studies?StudyInstanceUID={S1}&PatientID=",
    expected="found",
    needs=CT_STUDY,
)
async def empty_key_matches_everything(target: Target) -> None:
    await expect_among(target, "PatientID=", found=[Fixture.F1])


async def _expect_request_attributes(target: Target, *names: str) -> None:
    """By each name of the Scheduled Procedure Step ID, among the series of the study."""
    right = ct_slice(target).original.RequestAttributesSequence[0].ScheduledProcedureStepID
    await expect_keys(target, in_series(target), dict.fromkeys(names, (right, "NO-SUCH")))


@case(
    "QID-31",
    section="PS3.4 C.2.2.2.6, 10.6.1.2.3",
    level=Level.SHALL,
    requirement="Keys within a sequence match what is in its items.",
    request="GET {b}/studies/{S1}/series"
    "?RequestAttributesSequence.ScheduledProcedureStepID=SPS-1, and =NO-SUCH",
    expected="the CT series is found; is not found",
    needs=CT_STUDY,
)
async def keys_in_sequences_match(target: Target) -> None:
    await _expect_request_attributes(target, _STEP_ID)


@case(
    "QID-32",
    section="8.3.1",
    level=Level.SHALL,
    requirement="The path of a key within a sequence may be of tags, and of tags and keywords.",
    request="GET {b}/studies/{S1}/series?00400275.00400009=SPS-1, and mixed",
    expected="as with keywords",
    needs=CT_STUDY,
)
async def paths_may_mix_tags_and_keywords(target: Target) -> None:
    await need_passed(target, keys_in_sequences_match, _UNMATCHED)
    await _expect_request_attributes(
        target,
        "00400275.00400009",
        "RequestAttributesSequence.00400009",
        "00400275.ScheduledProcedureStepID",
    )


@case(
    "QID-33",
    section="PS3.4 C.2.2.3",
    level=Level.SHALL,
    requirement="One value of several is enough to match, and all of them are returned.",
    request="GET {b}/studies?StudyInstanceUID={S1}&ModalitiesInStudy=CT, and =ZZ",
    expected="found with all its modalities; not found",
    needs=CT_STUDY,
)
async def one_value_matches_and_all_come_back(target: Target) -> None:
    study = target.study(Fixture.F1)
    modalities = sorted({each.modality for each in study})
    need(len(modalities) > 1, "the study has one modality")
    scope = in_studies(study)
    plain = await scope.row(target)
    need("00080061" in plain, "ModalitiesInStudy is not in the result, which QID-05 judges")
    for modality in modalities:
        row = await scope.row(target, f"ModalitiesInStudy={modality}")
        expect_all_modalities(row, study)
    await expect_not_found(target, scope, "ModalitiesInStudy=ZZ")


@case(
    "QID-34",
    section="PS3.4 C.2.2.1.2",
    level=Level.SHOULD,
    requirement="An entity without a value for a required key is unknown, so that any value"
    " matches.",
    request="GET {b}/studies?StudyInstanceUID={S12}&StudyDate=20240105",
    expected="F12, which has no date, is found",
    needs=(Fixture.F12, Feature.SEARCH),
)
async def unknown_values_match(target: Target) -> None:
    await expect_among(target, "StudyDate=20240105", found=[Fixture.F12])


@case(
    "QID-43",
    section="8.3, PS3.4 C.2.2.1.3",
    level=Level.SHALL,
    requirement="A key that is not supported is ignored.",
    request="GET {b}/studies?StudyInstanceUID={S1}&StationName=NO-SUCH",
    expected="200 as without it; or no result where it is supported",
    needs=CT_STUDY,
)
async def unsupported_key_is_ignored(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    answer = await scope.ask(target, "StationName=NO-SUCH")
    answer.expect_status(200, 204)
    if scope.uid in uids_in(answer):
        target.note("StationName is ignored" + (", with a Warning" * ("warning" in answer.headers)))
    else:
        target.note("StationName is matched")


def _says_unsupported(target: Target, answer: Response, parameter: str) -> bool:
    """Is it a Warning that this kind of matching has not been performed?"""
    if warning_in(answer, _NOT_SUPPORTED[parameter]) is None:
        return False
    target.note(f"{parameter} is not supported, as the Warning says")
    return True


@case(
    "QID-50",
    section="8.3.4.2",
    level=Level.SHALL,
    requirement="Fuzzy matching is performed, or a Warning says that it is not supported.",
    request="GET {b}/studies?StudyInstanceUID={S12}&fuzzymatching=true&PatientName=astrom",
    expected="found by the first part of astrom^bjorn; or the Warning of 8.3.4.2",
    needs=(Fixture.F12, Feature.SEARCH),
)
async def fuzzy_matching_is_done_or_denied(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F12))
    await need_found(target, scope)
    name = target.instance(Fixture.F12).original.PatientName.family_name
    answer = await scope.ask(target, {"fuzzymatching": "true", "PatientName": name})
    answer.expect_status(200, 204)
    held = _says_unsupported(target, answer, "fuzzymatching") or scope.uid in uids_in(answer)
    expect(held, f"{answer.asked}: literal matching, and no Warning says so")


@case(
    "QID-51",
    section="8.3.4.2",
    level=Level.SHALL,
    requirement="Where no fuzzy matching is asked for, there is no Warning of it.",
    request="GET {b}/studies?StudyInstanceUID={S1}&fuzzymatching=false",
    expected="200; found, and no such Warning",
    needs=CT_STUDY,
)
async def no_fuzzy_matching_is_no_reason_to_warn(target: Target) -> None:
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    answer = await scope.ask(target, "fuzzymatching=false")
    row_of(answer, scope.tag, scope.uid)
    held = warning_in(answer, _NOT_SUPPORTED["fuzzymatching"]) is None
    expect(held, f"{answer.asked}: a Warning says that fuzzymatching is not supported")


async def _expect_or_warning(
    target: Target, parameter: str, query: str, *, found: Fixture, other: Fixture
) -> None:
    wanted, unwanted = in_studies(target.study(found)), in_studies(target.study(other))
    await need_found(target, wanted, unwanted)
    answer = await wanted.ask(target, f"{parameter}=true&{query}")
    if answer.status == 400 and (await wanted.ask(target, query)).status == 400:
        raise NotClaimed(f"{parameter} is not supported: {query} is 400, with it as without it")
    if _says_unsupported(target, answer, parameter):
        answer.expect_status(200, 204)
        return
    held = wanted.uid in uids_in(answer)
    expect(held, f"{answer.asked}: neither found, nor does a Warning say that it is not supported")
    await expect_not_found(target, unwanted, f"{parameter}=true&{query}")


@case(
    "QID-52",
    section="8.3.4.5",
    level=Level.SHALL,
    requirement="Empty values are matched, or a Warning says that this is not supported.",
    request='GET {b}/studies?emptyvaluematching=true&StudyDate=""',
    expected="F12 (no date), not F1; or the Warning of 8.3.4.5",
    needs=_CASES,
)
async def empty_values_match_or_are_denied(target: Target) -> None:
    await _need_decoding(target)
    await _expect_or_warning(
        target,
        "emptyvaluematching",
        "StudyDate=%22%22",
        found=Fixture.F12,
        other=Fixture.F1,
    )


@case(
    "QID-53",
    section="8.3.4.6",
    level=Level.SHALL,
    requirement="Several values are matched together, or a Warning says that they are not.",
    request="GET {b}/studies?multiplevaluematching=true&ModalitiesInStudy=CT%5CPT",
    expected="F14 (CT and PT), not F1; or the Warning of 8.3.4.6",
    needs=(Fixture.F1, Fixture.F14, Feature.SEARCH),
)
async def several_values_match_or_are_denied(target: Target) -> None:
    await _need_decoding(target)
    await _expect_or_warning(
        target,
        "multiplevaluematching",
        "ModalitiesInStudy=CT%5CPT",
        found=Fixture.F14,
        other=Fixture.F1,
    )


@case(
    "QID-54",
    section="10.6.1.2.1",
    level=Level.SHOULD,
    requirement="Keys of the study, which are none for the series of one study, do no harm.",
    request="GET {b}/studies/{S1}/series?StudyDate=19000101",
    expected="200 as without it, or 400; or 204, where they are matched all the same",
    needs=CT_STUDY,
)
async def keys_of_another_level_are_ignored_or_400(target: Target) -> None:
    scope = in_series(target)
    await need_found(target, scope)
    answer = await scope.ask(target, "StudyDate=19000101")
    answer.expect_status(200, 204, 400)
    target.note(f"a key of the study for the series of one: {answer.status}")


@case(
    "QID-60",
    section="8.3.1",
    level=Level.SHALL,
    requirement="Characters that are percent-encoded in a value are part of it.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientID=%50%2D%30%30%31, and with"
    " P-001%26x%3Dy, P-001%23x, P-001%2Cx",
    expected="found by the first, not by the others",
    needs=CT_STUDY,
)
async def encoded_characters_belong_to_the_value(target: Target) -> None:
    await need_passed(target, percent_encoded_names_are_found, _NOT_DECODED)
    right = ct_slice(target).original.PatientID
    await expect_among(target, f"PatientID={_encoded(right)}", found=[Fixture.F1])
    for more in ("%26x%3Dy", "%23x", "%2Cx"):
        await expect_among(target, f"PatientID={right}{more}", found=(), others=[Fixture.F1])


@case(
    "QID-62",
    section="PS3.4 C.2.2.2.1, 10.6.3.1",
    level=Level.SHOULD,
    requirement="Characters that mean something to databases are taken as they are.",
    request="GET {b}/studies?StudyInstanceUID={S1} with PatientID and PatientName of ' % _ [",
    expected="not found, and no 5xx",
    needs=CT_STUDY,
)
async def characters_of_other_languages_are_literal(target: Target) -> None:
    await _need_decoding(target)
    right = ct_slice(target).original.PatientID
    scope = in_studies(target.study(Fixture.F1))
    await need_found(target, scope)
    for value in (f"{right}'", "%", f"{right[:-1]}_", f"[{right[0]}]{right[1:]}", "' OR '1'='1"):
        for name in ("PatientID", "PatientName"):
            answer = await scope.ask(target, {name: value})
            expect(answer.status < 500, f"{answer.asked}: {answer.status}")
            found = answer.status == 200 and scope.uid in uids_in(answer)
            expect(not found, f"{answer.asked}: it does not match, and is found")


@case(
    "QID-63",
    section="8.3.4.1.1",
    level=Level.SHOULD,
    requirement="In one interval of dates and times the first time may be later than the last one.",
    request="GET {b}/studies?StudyDate=20240105-20240106&StudyTime=2100-0100",
    expected="F14 (5th, 22:00), neither F1 (5th, 10:15) nor F7 (6th, 23:59)",
    needs=_DATES,
)
async def interval_may_begin_later_in_the_day_than_it_ends(target: Target) -> None:
    query = "StudyDate=20240105-20240106&StudyTime=2100-0100"
    await _need_times(target)
    try:
        await expect_among(target, query, found=[Fixture.F14], others=(Fixture.F1, Fixture.F7))
    except Violated:
        why = "dates and times are not one interval at all, which QID-20 judges"
        await need_passed(target, dates_and_times_are_one_interval, why)
        raise


@case(
    "QID-64",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Series are matched by all required keys of their level.",
    request="GET {b}/studies/{S1}/series with each key of Table 10.6.1-5: a right value, then a"
    " wrong one",
    expected="found by the right one, not by the wrong one",
    needs=CT_STUDY,
)
async def series_match_by_all_required_keys(target: Target) -> None:
    scope, original = in_series(target), ct_slice(target).original
    step = original.RequestAttributesSequence[0]
    within = "RequestAttributesSequence"
    await expect_keys(
        target,
        scope,
        {
            "Modality": (original.Modality, "MG"),
            "SeriesInstanceUID": (scope.uid, nobody(target)),
            "SeriesNumber": (str(original.SeriesNumber), "99"),
            "PerformedProcedureStepStartDate": (
                original.PerformedProcedureStepStartDate,
                "19990101",
            ),
            "PerformedProcedureStepStartTime": (original.PerformedProcedureStepStartTime, "030000"),
        },
    )
    requested = {
        f"{within}.ScheduledProcedureStepID": (step.ScheduledProcedureStepID, "NO-SUCH"),
        f"{within}.RequestedProcedureID": (step.RequestedProcedureID, "NO-SUCH"),
    }
    try:
        await expect_keys(target, scope, requested)
    except Violated:
        await need_passed(target, keys_in_sequences_match, _UNMATCHED)
        raise


@case(
    "QID-65",
    section="10.6.1.2.3",
    level=Level.SHALL,
    requirement="Instances are matched by all required keys of their level.",
    request="GET {b}/studies/{S1}/series/{R1}/instances with each key of Table 10.6.1-5: a right"
    " value, then a wrong one",
    expected="found by the right one, not by the wrong one",
    needs=CT_STUDY,
)
async def instances_match_by_all_required_keys(target: Target) -> None:
    scope, original = in_instances(target), ct_slice(target).original
    other = nobody(target)
    await expect_keys(
        target,
        scope,
        {
            "SOPClassUID": (str(original.SOPClassUID), other),
            "SOPInstanceUID": (scope.uid, other),
            "InstanceNumber": (str(original.InstanceNumber), "99"),
        },
    )
