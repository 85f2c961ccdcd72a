"""What a video tells of its pictures, compared with the data sets of real ones."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.encaps import generate_fragments

from bfr_dicomweb.dicom import videos
from metadata_parts import mp4
from shared_data import dicom_files, require_shared_data

SYNTAX = "1.2.840.10008.1.2.4."


def mpeg2(*, rows: int = 576, columns: int = 720, rate: int = 3, level: int = 8) -> bytes:
    """A sequence header and its extension, and some pictures (ISO/IEC 13818-2 section 6.2.2)."""
    header = (
        b"\0\0\1\xb3" + ((columns << 20) | (rows << 8) | (1 << 4) | rate).to_bytes(4) + bytes(4)
    )
    extension = b"\0\0\1\xb5" + bytes([0x10 | 4, level << 4 | 8]) + bytes(4)
    return header + extension + 25 * (b"\0\0\1\0" + bytes(50))


def describe(stream: bytes) -> videos.Video:
    return videos.describe(b"12345" + stream + b"6", 5, 5 + len(stream))


@pytest.mark.parametrize(("level", "syntax"), [(8, "100"), (4, "101")])
def test_the_level_of_mpeg_2_decides_its_transfer_syntax(level: int, syntax: str) -> None:
    assert describe(mpeg2(level=level)).transfer_syntax_uids[0] == SYNTAX + syntax


def test_the_pictures_of_mpeg_2_are_counted_and_timed() -> None:
    found = describe(mpeg2())
    assert (found.rows, found.columns, found.number_of_frames) == (576, 720, 25)
    assert found.frame_time_ms == 40


def test_pictures_at_the_edge_of_what_is_scanned_at_once_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for size in range(50, 60):
        monkeypatch.setattr(videos, "_SCANNED_BYTES", size)
        assert describe(mpeg2()).number_of_frames == 25


def test_a_transport_stream_is_read_through_its_packets() -> None:
    stream = b"\0\0\1\xe0\0\0\x80\0\0" + mpeg2()
    stream += bytes(-len(stream) % 170)
    other = b"G" + bytes([0, 17, 0x10]) + mpeg2()[:184].ljust(184, b"\0")
    packets = []
    for number, at in enumerate(range(0, len(stream), 170)):
        stuffed = b"G" + bytes([0, 16, 0x30, 13]) + bytes(13) + stream[at : at + 170]
        packets += [stuffed, other] if number else [other, stuffed]
    assert describe(b"".join(packets)).number_of_frames == 25


def test_the_tables_of_an_mp4_are_read() -> None:
    found = describe(mp4(b"", rows=1080, columns=1920, frames=60))
    assert (found.rows, found.columns, found.number_of_frames) == (1080, 1920, 60)
    assert found.frame_time_ms == pytest.approx(100 / 3)
    assert found.transfer_syntax_uids[0] == SYNTAX + "102"


def test_stereo_has_a_syntax_of_its_own() -> None:
    assert describe(mp4(b"", profile=128)).transfer_syntax_uids[0] == SYNTAX + "106"


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"RIFF" + bytes(100), "neither"),
        (b"\0\0\1\xba" + bytes(100), "no MPEG-2 video"),
        (b"".join(b"G" + bytes(187) for _ in range(4)), "no MPEG-2 video"),
        (mpeg2(rate=15), "frame rate"),
        (mpeg2().replace(b"\0\0\1\xb5", b"\0\0\1\xb6"), "not MPEG-2"),
        (mp4(b"", frames=0), "fragments or is empty"),
        (mp4(b"", profile=122), "profile above High"),
        (mp4(b"").replace(b"avc1", b"mp4v"), "no track"),
        (mp4(b"").replace(b"avcC", b"xxxx"), "how its video is coded"),
        (mp4(b"")[:40], "no track|cut off"),
        (b"", "neither"),
    ],
)
def test_what_cannot_be_read_is_told(stream: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        describe(stream)


@pytest.mark.parametrize("cut", range(8, 400, 11))
def test_a_film_that_is_cut_off_is_a_value_error_or_still_has_its_tables(cut: int) -> None:
    try:
        found = describe(mp4(b"")[:cut])
    except ValueError:
        return
    assert (found.rows, found.columns) == (480, 640)


READ = ("100_", "100.1_", "101_", "102_", "102.1_", "107_", "108_")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem)
        for path in dicom_files("by_modality/VIDEO_SYNTHETIC/*")
        if path.name.removeprefix(SYNTAX).startswith(READ)
    ],
)
def test_a_real_video_says_what_its_data_set_says(path: Path) -> None:
    require_shared_data()
    dataset = dcmread(path)
    stream = b"".join(list(generate_fragments(dataset.PixelData))[1:])
    found = describe(stream)
    assert dataset.file_meta.TransferSyntaxUID in found.transfer_syntax_uids
    assert (found.rows, found.columns) == (dataset.Rows, dataset.Columns)
    assert found.number_of_frames == dataset.NumberOfFrames
    assert found.frame_time_ms == pytest.approx(float(dataset.FrameTime), rel=0.01)
