"""What a client can ask of an image made from a volume (PS3.18 section 8.3.5.3)."""

from dataclasses import dataclass
from enum import StrEnum

from bfr_dicomweb.dicom.matching import Key

Point = tuple[float, float, float]


class RenderingMethod(StrEnum):
    """Section 8.3.5.3.3; the upper case names are those of Rendering Method (0070,120D)."""

    VOLUME_RENDERED = "volume_rendered"
    MAXIMUM_IP = "maximum_ip"
    MINIMUM_IP = "minimum_ip"
    AVERAGE_IP = "average_ip"


class Orientation(StrEnum):
    """The side of the patient that the camera looks at (section 8.3.5.3.4)."""

    ANTERIOR = "a"
    POSTERIOR = "p"
    RIGHT = "r"
    LEFT = "l"
    HEAD = "h"
    FEET = "f"


@dataclass(frozen=True, slots=True)
class Between:
    """A range of numbers, both ends included; matched beside what a search can match."""

    path: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PrivateMatch:
    """A value of a private attribute, in whatever block of its group the creator has.

    Attributes:
        tag: As it was asked for; the block in it is not that of every object.
    """

    tag: str
    creator: str
    value: str


AttributeMatch = Key | Between | PrivateMatch


@dataclass(frozen=True, slots=True)
class VolumeSelection:
    """Which of the volumes of a target is meant; nothing: the largest.

    Attributes:
        instance_uid: An instance of the volume.
        frame_number: From 1, of that instance, or of the only instance of the target.
        matches: Values that all frames of the volume have.
    """

    instance_uid: str | None = None
    frame_number: int | None = None
    matches: tuple[AttributeMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeParameters:
    """What was asked for; None and () stand for what was not.

    Attributes:
        position, look_at, up: Of the camera, mm in the frame of reference of the volume.
        slab_mm: Thickness of what a reformatted plane shows.
        swivel_degrees: Over which the camera goes around the volume.
        curve: Along which a reformatted plane moves, mm; at least two points.
        step: Of an animation: degrees of a swivel, or mm of a curve.
        rate: Steps per second.
        wants_metadata: Not the images, but the parameters that they are made with (Annex K).
    """

    selection: VolumeSelection = VolumeSelection()
    method: RenderingMethod | None = None
    orientation: Orientation | None = None
    position: Point | None = None
    look_at: Point | None = None
    up: Point | None = None
    slab_mm: float | None = None
    swivel_degrees: float | None = None
    curve: tuple[Point, ...] = ()
    step: float | None = None
    rate: float | None = None
    wants_metadata: bool = False
