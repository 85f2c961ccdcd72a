"""The newest report is the first that a viewer finds (PS3.18 section 10.6, over HTTP)."""

from collections.abc import Callable

import httpx2

from objects import an_object, uid

Store = Callable[..., httpx2.Response]
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def a_report(study: str, series: str, date: str, time: str, number: int = 1) -> bytes:
    return an_object(
        SOPClassUID=BASIC_TEXT_SR,
        Modality="SR",
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        SeriesNumber=number,
        ContentDate=date,
        ContentTime=time,
        Rows=None,
        Columns=None,
        PixelData=None,
    )


def found(client: httpx2.Client, path: str, tag: str) -> list[str]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return [row[tag]["Value"][0] for row in response.json()]


def test_the_addendum_is_before_the_report_though_it_came_first(
    client: httpx2.Client, store: Store
) -> None:
    study, report, addendum = uid(), uid(), uid()

    store([a_report(study, addendum, "20240111", "110000", 2)])
    store([a_report(study, report, "20240110", "160000", 1)])

    path = f"/studies/{study}/series?Modality=SR"
    assert found(client, path, "0020000E") == [addendum, report]


def test_images_stay_in_the_order_of_their_series_numbers(
    client: httpx2.Client, store: Store
) -> None:
    study, report = uid(), uid()
    images = [uid(), uid()]

    store(
        [
            a_report(study, report, "20240110", "160000", 1),
            an_object(StudyInstanceUID=study, SeriesInstanceUID=images[1], SeriesNumber=3),
            an_object(StudyInstanceUID=study, SeriesInstanceUID=images[0], SeriesNumber=2),
        ]
    )

    assert found(client, f"/studies/{study}/series", "0020000E") == [*images, report]


def test_the_first_report_instance_of_a_study_is_the_newest(
    client: httpx2.Client, store: Store
) -> None:
    study, series = uid(), uid()

    store([a_report(study, series, "20240110", f"16000{second}") for second in (1, 3, 2)])

    path = f"/studies/{study}/instances?Modality=SR&limit=1&includefield=ContentTime"
    assert found(client, path, "00080033") == ["160003"]


def test_the_metadata_of_a_series_has_the_newest_report_first(
    client: httpx2.Client, store: Store
) -> None:
    study, series = uid(), uid()

    store([a_report(study, series, "20240110", f"16000{second}") for second in (1, 3, 2)])

    path = f"/studies/{study}/series/{series}/metadata"
    assert found(client, path, "00080033") == ["160003", "160002", "160001"]
