"""In which fields an item of an order stands, the first one first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_NAME: Final = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,6})(?:\.(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FieldName:
    """``OBR-18``, ``OBR-27.4``, or ``OBX-110180``: the value of the OBX with that code in OBX-3."""

    segment: str
    number: int
    component: int = 1
    code: str = ""

    @classmethod
    def parse(cls, name: str) -> "FieldName":
        """
        Raises:
            ValueError: it is no name of a field.
        """
        match = _NAME.fullmatch(name)
        if match is None or int(match[2]) == 0 or match[3] == "0":
            raise ValueError("a field is written as OBR-18 or OBR-27.4")
        if match[1] == "OBX" and len(match[2]) > 2:
            return cls("OBX", 5, 1, match[2])
        return cls(match[1], int(match[2]), int(match[3] or 1))


def _names(*names: str) -> tuple[FieldName, ...]:
    return tuple(FieldName.parse(name) for name in names)


# IHE Scheduled Workflow (RAD-1 to RAD-4, RAD-13), and what scheduling and documents have instead.
DEFAULT_FIELDS: Final[Mapping[str, tuple[FieldName, ...]]] = MappingProxyType(
    {
        "accession": _names("OBR-18", "IPC-1", "TXA-16"),
        "placer": _names("ORC-2", "OBR-2", "SCH-26", "TXA-14", "SCH-1"),
        "filler": _names("ORC-3", "OBR-3", "SCH-27", "TXA-15", "SCH-2"),
        "group": _names("ORC-4"),
        "procedure_id": _names("IPC-2", "OBR-19"),
        "step_id": _names("IPC-4", "OBR-20"),
        "study_uid": _names("IPC-3", "ZDS-1", "OBX-110180", "OBX-113014"),
        "modality": _names("IPC-5", "OBR-24"),
        "station_name": _names("IPC-7", "OBR-21"),
        "station_ae_title": _names("IPC-9"),
        "start": _names("TQ1-7", "AIS-4", "OBR-36", "OBR-27.4", "ORC-7.4", "SCH-11.4"),
        "end": _names("TQ1-8", "OBR-27.5", "ORC-7.5", "SCH-11.5"),
    }
)
