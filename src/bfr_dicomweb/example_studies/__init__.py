"""Example studies: realistic objects of invented people, made without any file or network."""

from collections.abc import Iterator
from typing import Final

OBJECTS: Final = 99  # how many example_objects() makes


def example_objects() -> Iterator[bytes]:
    """PS3.10 files, one at a time and the same in every run: about 50 MB in a few seconds.

    The codecs and the libraries that draw are imported when the first object is asked for.
    """
    from bfr_dicomweb.example_studies import (
        computed_tomography,
        radiography,
        report,
        ultrasound,
    )

    yield from radiography.chest_files()
    yield from ultrasound.heart_files()
    yield from computed_tomography.prior_files()
    yield from computed_tomography.abdomen_files()
    yield from report.report_files()
