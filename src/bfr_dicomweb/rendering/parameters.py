"""What a client can ask of a rendered image (PS3.18 section 8.3.5), read from its query or not."""

from dataclasses import dataclass, field
from enum import StrEnum


class WindowFunction(StrEnum):
    """PS3.3 sections C.11.2.1.2.1, C.11.2.1.3.2 and C.11.2.1.3.1."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window, in what the Modality LUT puts out."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size that an image has to fit in, and the part of the source that is shown in it.

    Attributes:
        width, height: In pixels of the answer; the aspect is kept.
        left, top: Of the part, in source pixels.
        source_width, source_height: Of the part; None: to the edge. A negative one turns the
            picture over (section 8.3.5.1.3).
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """Part of the image that is wanted, each from 0 to 1 (section 9.5.1.2.5)."""

    left: float
    top: float
    right: float
    bottom: float


class Annotation(StrEnum):
    """What is burnt in (section 8.3.5.1.1)."""

    PATIENT = "patient"
    TECHNIQUE = "technique"


class IccProfile(StrEnum):
    """Section 8.3.5.1.5."""

    NO = "no"
    YES = "yes"
    SRGB = "srgb"
    ADOBE_RGB = "adobergb"
    ROMM_RGB = "rommrgb"


@dataclass(frozen=True, slots=True)
class Rendering:
    """One way to show an image.

    Attributes:
        viewport: None: no scaling.
        region: Shown instead of the whole; only the URI service asks for it.
        window: Instead of what the image or its presentation state says.
        quality: 1 to 100, for the media types that lose something; None: the server's choice.
    """

    viewport: Viewport | None = None
    region: Region | None = None
    window: Window | None = None
    quality: int | None = None
    annotations: frozenset[Annotation] = field(default_factory=frozenset)
    icc_profile: IccProfile = IccProfile.NO
