"""The text that names further attributes to search by."""

import pytest

from bfr_dicomweb.errors import InvalidRequest
from bfr_dicomweb.services import indexing


def test_the_example_can_be_used() -> None:
    assert [one.name for one in indexing.parse(indexing.EXAMPLE)] == [
        "ImageComments",
        "RadiopharmaceuticalInformationSequence.Radiopharmaceutical",
        "00191008",
    ]


def test_the_dictionary_of_private_attributes_tells_their_vr() -> None:
    text = '[[attributes]]\npath = "00191008"\ncreator = "SIEMENS MR HEADER"'

    assert indexing.parse(text)[0].vr == "CS"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('path = "NoSuchAttribute"', "path: has to be keywords or tags, with dots between them"),
        ('path = "PatientName"', "path: is searched by already"),
        ('path = "PixelData"', "vr: has to be one of "),
        ('path = "RequestAttributesSequence"', "vr: has to be one of "),
        ('path = "KVP.Rows"', "path: all but the last have to be sequences"),
        ('path = "KVP"\nvr = "LO"', "vr: is DS in PS3.6"),
        ('path = "KVP"\nlevel = "patient"', "level: has to be one of study, series, instance"),
        ('path = "KVP"\ncreator = "X"', "creator: belongs to private attributes"),
        ('path = "00191008"\nvr = "LO"', "creator: belongs to private attributes"),
        ('path = "00190008"\nvr = "LO"\ncreator = "X"', "path: a private tag has to be written"),
        ('path = "00191008"\ncreator = "X"', "vr: has to be one of "),
        ('path = "KVP"\nname = "kilovolts"', "name: there is no such key"),
        ('path = "KVP"\n[[attributes]]\npath = "00180060"', "stands twice"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_with_the_place(lines: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^attributes\[") as refused:
        indexing.parse(f"[[attributes]]\n{lines}")

    assert reason in str(refused.value)
