"""The Rendered Volume Response Module (PS3.18 Annex K)."""

from typing import Any, Final

from bfr_dicomweb.dicom.attributes import tag_of
from bfr_dicomweb.rendering.parameters import Window, WindowFunction
from bfr_dicomweb.rendering.volume_camera import Camera
from bfr_dicomweb.rendering.volume_parameters import RenderingMethod

_FUNCTIONS: Final = {
    WindowFunction.LINEAR: "LINEAR",
    WindowFunction.LINEAR_EXACT: "LINEAR_EXACT",
    WindowFunction.SIGMOID: "SIGMOID",
}


def rendered_volume_response(
    *,
    mpr: bool,
    method: RenderingMethod,
    camera: Camera,
    slab_mm: float | None,
    window: Window | None,
    swivel_degrees: float | None,
    step: float | None,
    rate: float | None,
) -> dict[str, Any]:
    """DICOM JSON of Table K.1-1, in the order of tags; what is None is not there.

    Args:
        camera: Of the first picture.
        window: None for volume rendering, which has none.
    """
    values = {
        "WindowCenter": ("DS", [] if window is None else [window.center]),
        "WindowWidth": ("DS", [] if window is None else [window.width]),
        "VOILUTFunction": ("CS", [] if window is None else [_FUNCTIONS[window.function]]),
        "RenderingMethod": ("CS", [method.name]),
        "MPRSlabThickness": ("FD", [] if slab_mm is None else [slab_mm]),
        "ViewpointPosition": ("FD", list(camera.position)),
        "ViewpointLookAtPoint": ("FD", list(camera.look_at)),
        "ViewpointUpDirection": ("FD", list(camera.up)),
        "RecommendedAnimationRate": ("FD", [] if rate is None else [rate]),
        "AnimationStepSize": ("FD", [] if step is None else [step]),
        "SwivelRange": ("FD", [] if swivel_degrees is None else [swivel_degrees]),
        "ReformattingOperationType": ("CS", ["MPR" if mpr else "3D_RENDERING"]),
    }
    found = {
        tag: {"vr": vr, "Value": value}
        for keyword, (vr, value) in values.items()
        if value and (tag := tag_of(keyword)) is not None
    }
    return dict(sorted(found.items()))
