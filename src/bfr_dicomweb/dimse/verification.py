"""Verification service class (PS3.4 Annex A)."""

from typing import Final

from pynetdicom import evt

from bfr_dicomweb.dimse.door import Service

VERIFICATION: Final = "1.2.840.10008.1.1"
SUCCESS: Final = 0x0000


def echo(*_: object) -> int:
    """C-ECHO: whoever may associate is answered."""
    return SUCCESS


SERVICES: Final = (Service("verification", evt.EVT_C_ECHO, (VERIFICATION,), echo),)
