"""Storage Commitment service (PS3.18 chapter 13); tests bear the numbers of the cases."""

import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, MRImageStorage

from objects import a_series, an_object, uid

Store = Callable[..., httpx2.Response]
JSON = "application/dicom+json"
XML = "application/dicom+xml"
COMMITTED, FAILED = "00081199", "00081198"
STUDIES, FAILED_STUDIES = "00081110", "0008119B"
NO_SUCH_INSTANCE, CLASS_CONFLICT, PROCESSING_FAILURE = 274, 281, 272


def item(sop_instance_uid: str, sop_class_uid: str = CTImageStorage) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = sop_class_uid
    made.ReferencedSOPInstanceUID = sop_instance_uid
    return made


def naming(*items: Dataset) -> Dataset:
    made = Dataset()
    made.ReferencedSOPSequence = list(items)
    return made


def naming_study(study: str, series: str, *instances: str) -> Dataset:
    """The form with studies and series, of CT images."""
    of_class = Dataset()
    of_class.ReferencedSOPClassUID = CTImageStorage
    of_class.ReferencedInstanceSequence = [Dataset() for _ in instances]
    for one, instance in zip(of_class.ReferencedInstanceSequence, instances, strict=True):
        one.ReferencedSOPInstanceUID = instance
    of_series = Dataset()
    of_series.SeriesInstanceUID = series
    of_series.ReferencedInstancesBySOPClassSequence = [of_class]
    of_study = Dataset()
    of_study.StudyInstanceUID = study
    of_study.ReferencedSeriesSequence = [of_series]
    made = Dataset()
    made.ReferencedStudySequence = [of_study]
    return made


def ask(
    client: httpx2.Client, asked: Dataset, transaction: str | None = None, **headers: str
) -> httpx2.Response:
    return client.post(
        f"/commitment-requests/{transaction or uid()}",
        content=asked.to_json(),
        headers={"Content-Type": JSON} | headers,
    )


def uids_of(result: dict[str, Any], sequence: str) -> list[str]:
    items = result.get(sequence, {}).get("Value", [])
    return [one["00081155"]["Value"][0] for one in items]


def reasons_of(result: dict[str, Any]) -> list[int]:
    return [one["00081197"]["Value"][0] for one in result[FAILED]["Value"]]


@pytest.fixture
def series(store: Store) -> list[Dataset]:
    """Two CT images, as they are stored."""
    files = a_series(2)
    store(files)
    return [dcmread(io.BytesIO(file)) for file in files]


@pytest.fixture
def stored(series: list[Dataset]) -> list[str]:
    return [str(one.SOPInstanceUID) for one in series]


def test_scm_01_what_is_stored_is_committed_to(client: httpx2.Client, stored: list[str]) -> None:
    answer = ask(client, naming(*map(item, stored)))
    assert (answer.status_code, uids_of(answer.json(), COMMITTED)) == (200, stored)


def test_scm_01_where_all_is_committed_there_is_no_sequence_of_failures(
    client: httpx2.Client, stored: list[str]
) -> None:
    assert ask(client, naming(*map(item, stored))).json().keys() == {COMMITTED}


def test_scm_02_who_prefers_to_ask_later_gets_no_payload_now(
    client: httpx2.Client, stored: list[str]
) -> None:
    answer = ask(client, naming(*map(item, stored)), Prefer="respond-async")
    assert (answer.status_code, answer.content) == (202, b"")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("prefer", ["respond-async", "wait=10"])
def test_scm_02_the_result_can_be_asked_for(
    client: httpx2.Client, stored: list[str], prefer: str
) -> None:
    transaction = uid()
    ask(client, naming(*map(item, stored)), transaction, Prefer=prefer)
    answer = client.get(f"/commitment-requests/{transaction}")
    assert (answer.status_code, uids_of(answer.json(), COMMITTED)) == (200, stored)


def test_scm_02_the_result_stays_what_it_was(client: httpx2.Client, store: Store) -> None:
    file, transaction = an_object(), uid()
    asked = naming(item(dcmread(io.BytesIO(file)).SOPInstanceUID))
    first = ask(client, asked, transaction).json()
    store([file])
    assert client.get(f"/commitment-requests/{transaction}").json() == first


def test_scm_03_what_is_not_there_is_named_with_the_reason(
    client: httpx2.Client, stored: list[str]
) -> None:
    unknown = uid()
    result = ask(client, naming(item(stored[0]), item(unknown))).json()
    assert uids_of(result, COMMITTED) == stored[:1]
    assert (uids_of(result, FAILED), reasons_of(result)) == ([unknown], [NO_SUCH_INSTANCE])


def test_scm_04_another_sop_class_than_is_stored_is_a_conflict(
    client: httpx2.Client, stored: list[str]
) -> None:
    result = ask(client, naming(item(stored[0], MRImageStorage))).json()
    assert (reasons_of(result), result.keys()) == ([CLASS_CONFLICT], {FAILED})


@pytest.mark.parametrize("prefer", ["respond-async", "wait=10"])
def test_scm_05_a_transaction_uid_is_used_once(
    client: httpx2.Client, stored: list[str], prefer: str
) -> None:
    transaction, asked = uid(), naming(*map(item, stored))
    ask(client, asked, transaction, Prefer=prefer)
    assert ask(client, asked, transaction).status_code == 409


def test_scm_06_an_unknown_transaction_is_not_found(client: httpx2.Client) -> None:
    assert client.get(f"/commitment-requests/{uid()}").status_code == 404


def test_scm_07_who_names_studies_is_answered_with_studies(
    client: httpx2.Client, series: list[Dataset], stored: list[str]
) -> None:
    study, of_series = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    asked = naming_study(study, of_series, *stored)
    assert ask(client, asked).json() == {STUDIES: asked.to_json_dict()[STUDIES]}


def test_scm_07_failures_stand_in_their_study_with_the_reason(
    client: httpx2.Client, series: list[Dataset], stored: list[str]
) -> None:
    study, of_series = series[0].StudyInstanceUID, series[0].SeriesInstanceUID
    result = ask(client, naming_study(study, of_series, stored[0], uid())).json()
    told = Dataset.from_json(result)
    (failed,) = told[FAILED_STUDIES].value
    (of_class,) = failed.ReferencedSeriesSequence[0].ReferencedInstancesBySOPClassSequence
    assert result.keys() == {STUDIES, FAILED_STUDIES}
    assert of_class.ReferencedInstanceSequence[0].FailureReason == NO_SUCH_INSTANCE


def test_scm_07_an_instance_is_committed_to_in_its_own_study_only(
    client: httpx2.Client, stored: list[str]
) -> None:
    result = ask(client, naming_study(uid(), uid(), *stored)).json()
    assert result.keys() == {FAILED_STUDIES}


def xml_of(stored: list[str]) -> str:
    items = "".join(
        f'<Item number="{number}">'
        f'<DicomAttribute tag="00081150" vr="UI"><Value number="1">{CTImageStorage}</Value>'
        "</DicomAttribute>"
        f'<DicomAttribute tag="00081155" vr="UI"><Value number="1">{one}</Value></DicomAttribute>'
        "</Item>"
        for number, one in enumerate(stored, 1)
    )
    return (
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        f'<DicomAttribute tag="00081199" vr="SQ">{items}</DicomAttribute></NativeDicomModel>'
    )


def test_scm_08_requests_and_results_may_be_xml(client: httpx2.Client, stored: list[str]) -> None:
    answer = client.post(
        f"/commitment-requests/{uid()}",
        content=xml_of(stored),
        headers={"Content-Type": XML, "Accept": XML},
    )
    told = [one.text for one in ElementTree.fromstring(answer.text).iter() if one.text in stored]
    assert (answer.status_code, answer.headers["Content-Type"], told) == (200, XML, stored)


@pytest.mark.parametrize("media_type", [JSON, XML])
def test_scm_08_results_may_be_multipart(
    client: httpx2.Client, stored: list[str], media_type: str
) -> None:
    accept = f'multipart/related; type="{media_type}"'
    answer = ask(client, naming(*map(item, stored)), Accept=accept)
    assert answer.headers["Content-Type"].startswith(accept)
    assert f"Content-Type: {media_type}".encode() in answer.content


@pytest.mark.parametrize("kind", ["empty", "nothing", "both", "no item", "no uid"])
def test_scm_09_a_request_that_names_nothing_rightly_is_refused(
    client: httpx2.Client, kind: str
) -> None:
    both = naming(item(uid()))
    both.ReferencedStudySequence = naming_study(uid(), uid(), uid()).ReferencedStudySequence
    payloads = {
        "empty": "",
        "nothing": "{}",
        "both": both.to_json(),
        "no item": naming().to_json(),
        "no uid": naming(Dataset()).to_json(),
    }
    answer = client.post(
        f"/commitment-requests/{uid()}", content=payloads[kind], headers={"Content-Type": JSON}
    )
    assert answer.status_code == 400


def test_scm_09_a_transaction_that_is_no_uid_is_refused(client: httpx2.Client) -> None:
    assert ask(client, naming(item(uid())), "abc").status_code == 400


def test_scm_10_no_result_holds_the_transaction_uid(
    client: httpx2.Client, stored: list[str]
) -> None:
    result = ask(client, naming(item(stored[0]), item(uid()))).json()
    assert "00081195" not in result


def test_who_was_refused_with_other_bytes_is_not_told_that_they_are_here(
    client: httpx2.Client, store: Store
) -> None:
    uids = {"SOPInstanceUID": uid(), "StudyInstanceUID": uid(), "SeriesInstanceUID": uid()}
    store([an_object(**uids)])
    store([an_object(**uids, PatientID="other")], status=409)
    result = ask(client, naming(item(uids["SOPInstanceUID"]))).json()
    assert reasons_of(result) == [PROCESSING_FAILURE]
