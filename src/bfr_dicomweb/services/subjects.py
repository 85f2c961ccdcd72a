"""The patient that a data set is about, as messages tell of patients."""

from typing import Final

from bfr_dicomweb.dicom.attributes import Attributes, first_text, values_of
from bfr_dicomweb.index.study_rows import patient_identifiers
from bfr_dicomweb.orders.events import Demographics, PatientFacts

# What attributes say is older than what any message says: they repeat what somebody once typed.
LONG_AGO: Final = "0001-01-01T00:00:00.000000Z"
_SEXES: Final = {"M": "male", "F": "female", "O": "other"}


def patient_of(attributes: Attributes) -> PatientFacts | None:
    """None when it names nobody."""
    identifiers = patient_identifiers(attributes)
    if not identifiers:
        return None
    names = [name for name in values_of(attributes, "00100010") if isinstance(name, dict)]
    name: str = names[0].get("Alphabetic", "") if names else ""
    family, given, *_ = [*name.split("^"), "", ""]
    birth = first_text(attributes, "00100030")
    return PatientFacts(
        tuple(sorted(identifiers)),
        LONG_AGO,
        Demographics(
            family=family,
            given=given,
            birth_date=f"{birth[:4]}-{birth[4:6]}-{birth[6:]}" if len(birth) == 8 else "",
            gender=_SEXES.get(first_text(attributes, "00100040"), ""),
        ),
    )
