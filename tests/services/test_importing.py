"""Which files an import tries, and what it makes of them."""

import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread

from bfr_dicomweb.services.archive import Archive
from bfr_dicomweb.services.importing import Source, Summary, import_files, sources
from media import write_media
from objects import a_series, an_object
from shared_data import SHARED, require_shared_data


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    data = tmp_path / "archive"
    opened = await Archive.open(index_url=f"sqlite:///{data}/catalogue.sqlite", data=data)
    yield opened
    await opened.close()


def written(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


async def imported(archive: Archive, paths: Sequence[Path]) -> Summary:
    async def found() -> AsyncIterator[Source]:
        for source in sources(paths):
            yield source

    return await import_files(archive.store, found(), lambda _: None)


def test_a_folder_stands_for_all_files_below_it_in_order(tmp_path: Path) -> None:
    files = [written(tmp_path / name) for name in ("a/b/1", "a/c", "d")]

    assert [source.path for source in sources([tmp_path])] == files


def test_a_file_is_tried_whatever_its_name(tmp_path: Path) -> None:
    file = written(tmp_path / "readme.txt")

    assert list(sources([file])) == [Source(file)]


def test_the_media_directory_in_a_folder_is_not_tried(tmp_path: Path) -> None:
    written(tmp_path / "DICOMDIR")
    image = written(tmp_path / "IMAGE")

    assert list(sources([tmp_path])) == [Source(image)]


def test_a_zip_archive_stands_for_its_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "media.ZIP", A=b"1", DICOMDIR=b"2", B=b"3")

    assert list(sources([path])) == [Source(path, "A"), Source(path, "B")]


def test_folders_in_a_zip_archive_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "media.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("IMAGES")
        archive.writestr("IMAGES/1", b"")

    assert [source.member for source in sources([path])] == ["IMAGES/1"]


def test_what_is_only_called_a_zip_archive_is_tried_itself(tmp_path: Path) -> None:
    file = written(tmp_path / "image.zip", b"no zip archive")

    assert list(sources([file])) == [Source(file)]


def test_a_media_directory_stands_for_what_it_lists(tmp_path: Path) -> None:
    directory = write_media(tmp_path / "media", a_series(3))
    written(tmp_path / "media" / "OTHER")

    listed = [source.path for source in sources([directory])]

    assert sorted(listed) == sorted(
        path for path in directory.parent.rglob("*") if path.is_file() and path.name[0] == "I"
    )


def test_what_is_only_called_a_media_directory_is_tried_itself(tmp_path: Path) -> None:
    file = written(tmp_path / "DICOMDIR", b"no media directory")

    assert list(sources([file])) == [Source(file)]


def test_a_member_is_named_with_its_zip_archive() -> None:
    assert Source(Path("/media/disc.zip"), "IMAGES/1").name == "/media/disc.zip:IMAGES/1"


async def test_new_files_are_stored(archive: Archive, tmp_path: Path) -> None:
    for number, file in enumerate(a_series(3)):
        written(tmp_path / "in" / str(number), file)

    assert (await imported(archive, [tmp_path / "in"])).stored == 3


async def test_files_that_are_stored_already_are_duplicates(
    archive: Archive, tmp_path: Path
) -> None:
    file = written(tmp_path / "in" / "1", an_object())
    await imported(archive, [file])

    summary = await imported(archive, [file])

    assert (summary.stored, summary.duplicates) == (0, 1)


async def test_a_file_that_two_paths_name_is_stored_once(archive: Archive, tmp_path: Path) -> None:
    file = written(tmp_path / "in" / "1", an_object())

    summary = await imported(archive, [file, file.parent])

    assert (summary.stored, summary.duplicates) == (1, 1)


async def test_members_of_a_zip_archive_are_stored(archive: Archive, tmp_path: Path) -> None:
    path = zipped(tmp_path / "media.zip", A=an_object(), B=an_object())

    assert (await imported(archive, [path])).stored == 2


async def test_what_is_no_object_is_refused_with_the_reason_and_its_name(
    archive: Archive, tmp_path: Path
) -> None:
    file = written(tmp_path / "in" / "readme", b"no object at all, but longer than a preamble" * 4)

    summary = await imported(archive, [file])

    ((reason, example),) = summary.examples.items()
    assert "PS3.10" in reason
    assert example == str(file)


async def test_a_file_that_vanished_is_refused_and_the_others_stored(
    archive: Archive, tmp_path: Path
) -> None:
    file = written(tmp_path / "in" / "1", an_object())

    summary = await imported(archive, [tmp_path / "in" / "gone", file])

    assert summary.stored == 1
    assert list(summary.refused) == ["it cannot be read: No such file or directory"]


async def test_a_damaged_member_is_refused_and_the_others_stored(
    archive: Archive, tmp_path: Path
) -> None:
    good, bad = an_object(), an_object()
    path = tmp_path / "media.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as media:
        media.writestr("A", bad)
        media.writestr("B", good)
    content = path.read_bytes()
    at = content.index(bad[1000:]) + 50
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])

    summary = await imported(archive, [path])

    assert (summary.stored, summary.refused.total()) == (1, 1)


async def test_progress_is_told_once_a_file_even_when_it_is_refused(
    archive: Archive, tmp_path: Path
) -> None:
    files = [written(tmp_path / "1", an_object()), written(tmp_path / "2", b"none")]
    done: list[Path] = []

    async def found() -> AsyncIterator[Source]:
        for source in sources(files):
            yield source

    await import_files(archive.store, found(), lambda source: done.append(source.path))

    assert sorted(done) == files


async def test_a_real_media_set_is_imported(archive: Archive) -> None:
    require_shared_data()
    directory = SHARED / "dicom" / "by_modality" / "DICOMDIR_set" / "DICOMDIR"
    records = dcmread(directory).DirectoryRecordSequence
    listed = [record for record in records if "ReferencedFileID" in record]

    summary = await imported(archive, [directory])

    assert summary.files == len(listed)
    assert summary.stored > 0
