"""The results of a search as DICOM JSON (PS3.18 Tables 10.6.3-3 to 10.6.3-5).

Every U+0000 in a result stands for the base URI: in Retrieve URL and in Bulk Data URIs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bfr_dicomweb.dicom import attributes
from bfr_dicomweb.dicom.attributes import vr_of
from bfr_dicomweb.dicom.matching import Search, SearchLevel
from bfr_dicomweb.refs import Level, Ref

Element = dict[str, Any]
Result = dict[str, Element]


def _tags(keywords: str) -> frozenset[str]:
    return frozenset(tag for word in keywords.split() if (tag := attributes.tag_of(word)))


# Required ones stand in every result, empty when nothing is known.
_STUDY_REQUIRED: Final = _tags("""
    StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID
    PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries
    NumberOfStudyRelatedInstances
""")
_STUDY_KNOWN: Final = _tags("ModalitiesInStudy TimezoneOffsetFromUTC")
_SERIES_REQUIRED: Final = _tags("""
    Modality SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances StudyInstanceUID
""")
_SERIES_KNOWN: Final = _tags("""
    TimezoneOffsetFromUTC SeriesDescription PerformedProcedureStepStartDate
    PerformedProcedureStepStartTime RequestAttributesSequence
""")
_INSTANCE_REQUIRED: Final = _tags("""
    SOPClassUID SOPInstanceUID InstanceNumber StudyInstanceUID SeriesInstanceUID
""")
_INSTANCE_KNOWN: Final = _tags("""
    TimezoneOffsetFromUTC Rows Columns BitsAllocated NumberOfFrames AvailableTransferSyntaxUID
""")
_ALWAYS: Final = _tags("InstanceAvailability RetrieveURL")
# OHIF reads the length of the values of this one without looking whether there are any.
_NEVER_EMPTY: Final = _tags("ModalitiesInStudy")
_UPPER: Final = attributes.STUDY_LEVEL | attributes.SERIES_LEVEL
_PIXEL_DATA: Final = _tags("PixelData FloatPixelData DoubleFloatPixelData")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attributes a result has. `every` asks for all that is known of the level."""

    required: frozenset[str]
    known: frozenset[str]
    every_study: bool
    every_series: bool
    every_instance: bool

    @property
    def needs_study(self) -> bool:
        own = _ALWAYS | {"0020000D", "00080201"}
        return self.every_study or bool((self.required | self.known) & attributes.STUDY_LEVEL - own)

    @property
    def needs_series(self) -> bool:
        own = _ALWAYS | {"0020000E", "00080201"}
        asked = (self.required | self.known) & attributes.SERIES_LEVEL
        return self.every_series or bool(asked - own)

    @property
    def needs_document(self) -> bool:
        thin = _INSTANCE_REQUIRED | _INSTANCE_KNOWN | _ALWAYS | _UPPER
        return self.every_instance or bool((self.required | self.known) - thin)


def wanted(search: Search) -> Wanted:
    level, above = search.level.level, _LEVELS_ABOVE[search.level]
    required, known = set(_ALWAYS), set[str]()
    for each in (level, *above):
        required |= _REQUIRED[each]
        known |= _KNOWN[each]
    asked = search.returned_tags
    if level is Level.STUDY:
        asked &= attributes.STUDY_LEVEL
    elif level is Level.SERIES:
        asked &= _UPPER
    every = search.include_all
    return Wanted(
        required=frozenset(required),
        known=frozenset(known | asked) - required,
        every_study=every and (level is Level.STUDY or Level.STUDY in above),
        every_series=every and (level is Level.SERIES or Level.SERIES in above),
        every_instance=every and level is Level.INSTANCE,
    )


_REQUIRED: Final[Mapping[Level, frozenset[str]]] = {
    Level.STUDY: _STUDY_REQUIRED,
    Level.SERIES: _SERIES_REQUIRED,
    Level.INSTANCE: _INSTANCE_REQUIRED,
}
_KNOWN: Final[Mapping[Level, frozenset[str]]] = {
    Level.STUDY: _STUDY_KNOWN,
    Level.SERIES: _SERIES_KNOWN,
    Level.INSTANCE: _INSTANCE_KNOWN,
}
# PS3.18 sections 10.6.3.3.2 and 10.6.3.3.3: what the path does not say is told in the result.
_LEVELS_ABOVE: Final[Mapping[SearchLevel, tuple[Level, ...]]] = {
    SearchLevel.STUDIES: (),
    SearchLevel.SERIES: (Level.STUDY,),
    SearchLevel.STUDY_SERIES: (),
    SearchLevel.INSTANCES: (Level.SERIES, Level.STUDY),
    SearchLevel.STUDY_INSTANCES: (Level.SERIES,),
    SearchLevel.SERIES_INSTANCES: (),
}


def element(vr: str, *values: Any) -> Element:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


@lru_cache(maxsize=4096)
def shared(vr: str, value: Any) -> Element:
    """An attribute that many results have; nobody may change it."""
    return element(vr, value)


def told(ref: Ref) -> Result:
    """What every result tells of the resource itself."""
    found = {
        "00080056": shared("CS", "ONLINE"),
        "00081190": element("UR", "\0" + ref.path),
        "0020000D": shared("UI", ref.study_instance_uid),
    }
    if ref.series_instance_uid is not None:
        found["0020000E"] = shared("UI", ref.series_instance_uid)
    if ref.sop_instance_uid is not None:
        found["00080018"] = element("UI", ref.sop_instance_uid)
    return found


class Assembly:
    """Puts results together: the same choice of attributes for every row of a search."""

    def __init__(self, chosen: Wanted) -> None:
        self._required = chosen.required
        self._everything = chosen
        tags = sorted(chosen.required | chosen.known)
        self._empty = [(tag, {"vr": vr_of(tag) or "UN"}) for tag in tags]

    def result(self, own: Result, *sources: Mapping[str, Element]) -> Result:
        """The chosen attributes from what the archive tells and from what was stored."""
        found: Result = {}
        for tag, empty in self._empty:
            value = own.get(tag)
            if value is None:
                for source in sources:
                    value = source.get(tag)
                    if value is not None:
                        break
            if value is None:
                if tag in self._required:
                    found[tag] = empty
            elif "Value" in value or tag not in _NEVER_EMPTY:
                found[tag] = value
        return found

    def with_all(self, result: Result, *sources: Iterable[tuple[str, Element]]) -> Result:
        """The result with everything the sources have."""
        together = dict(result)
        for source in sources:
            for tag, value in source:
                together.setdefault(tag, value)
        return {tag: together[tag] for tag in sorted(together)}


def of_instance(document: Mapping[str, Element]) -> dict[str, Element]:
    """The attributes of the instance level, without the pixels."""
    return {
        tag: value
        for tag, value in document.items()
        if tag not in _UPPER and tag not in _PIXEL_DATA
    }


def rooted(value: Any, ref: Ref) -> Any:
    """The same with Bulk Data URIs that begin at the base URI instead of at the instance."""
    if isinstance(value, list):
        return [rooted(item, ref) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.replace("\0", f"\0{ref.path}", 1)
        if key == "BulkDataURI" and isinstance(item, str)
        else rooted(item, ref)
        for key, item in value.items()
    }
