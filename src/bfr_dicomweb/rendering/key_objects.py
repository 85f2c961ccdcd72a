"""Key object selections: the images and frames that they name, in their order (PS3.3 A.35.4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.rendering.elements import Attributes, first_item, items, text
from bfr_dicomweb.rendering.frame_rendering import render_frame
from bfr_dicomweb.rendering.parameters import Rendering
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.presentation_states import PresentationState
from bfr_dicomweb.rendering.references import (
    WHOLE_SLIDE,
    Images,
    LeftOut,
    Reference,
    Target,
    find,
    reference_of,
)
from bfr_dicomweb.rendering.slides import slide_region

KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"
# How deep content is looked into: key objects lie right below the root.
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class KeyObject:
    """
    Attributes:
        presentation_state: What it is to be seen through; None: it says nothing.
    """

    image: Reference
    presentation_state: Reference | None


def key_objects(stored: StoredObject) -> tuple[KeyObject, ...]:
    series = _series(stored.attributes)
    return tuple(_content(stored.attributes, series, _MAX_DEPTH))


def references_of(stored: StoredObject) -> tuple[Reference, ...]:
    """What is selected, each followed by its presentation state."""
    found: dict[Reference, None] = {}
    for selected in key_objects(stored):
        found[selected.image] = None
        if selected.presentation_state is not None:
            found[selected.presentation_state] = None
    return tuple(found)


def _series(attributes: Attributes) -> dict[str, tuple[str, str]]:
    """Series and study of each instance of the evidence."""
    found = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(attributes, keyword):
            for series in items(study, "ReferencedSeriesSequence"):
                of = text(series, "SeriesInstanceUID"), text(study, "StudyInstanceUID")
                for item in items(series, "ReferencedSOPSequence"):
                    found[text(item, "ReferencedSOPInstanceUID")] = of
    return found


def _content(
    item: Attributes, series: dict[str, tuple[str, str]], depth: int
) -> Iterator[KeyObject]:
    for content in items(item, "ContentSequence"):
        if text(content, "ValueType") in ("IMAGE", "COMPOSITE", "WAVEFORM"):
            named = first_item(content, "ReferencedSOPSequence")
            state = first_item(named, "ReferencedSOPSequence")
            yield KeyObject(_reference(named, series), _reference(state, series) if state else None)
        elif depth:
            yield from _content(content, series, depth - 1)


def _reference(item: Attributes, series: dict[str, tuple[str, str]]) -> Reference:
    uid = text(item, "ReferencedSOPInstanceUID")
    of_series, of_study = series.get(uid, ("", ""))
    return reference_of(item, series=of_series, study=of_study)


class KeyObjects:
    """A key object selection with its images; see `references.Showing`."""

    def __init__(self, stored: StoredObject, images: Images) -> None:
        self._images = images
        self._states: dict[Target, str] = {}
        self.left_out: tuple[LeftOut, ...] = ()
        targets: dict[Target, None] = {}
        for selected in key_objects(stored):
            found, missing = find((selected.image,), images)
            self.left_out += missing
            state = selected.presentation_state
            if state is not None and state.sop_instance_uid not in images:
                self.left_out += find((state,), images)[1]
            for target in found:
                targets[target] = None
                if state is not None and state.sop_instance_uid in images:
                    self._states.setdefault(target, state.sop_instance_uid)
        self.targets = tuple(targets)

    def picture(self, target: Target, rendering: Rendering) -> Picture:
        state = self._states.get(target)
        if state is not None and rendering.window is None:
            seen = PresentationState(self._images[state], self._images)
            if target in seen.targets:
                return seen.picture(target, rendering)
        image = self._images[target.sop_instance_uid]
        if target.frame_number == WHOLE_SLIDE:
            return slide_region([image], rendering)
        return render_frame(image, target.frame_number - 1, rendering)
