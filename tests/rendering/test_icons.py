"""What has no picture has an icon, and every icon is another one."""

import numpy as np
import pytest
from pydicom._uid_dict import UID_dictionary

from bfr_dicomweb.rendering import icons
from bfr_dicomweb.rendering.icons import Icon

EXPLICIT = "1.2.840.10008.1.2.1"
STORAGE = [uid for uid, row in UID_dictionary.items() if uid.startswith("1.2.840.10008.5.1.4.1.1.")]


@pytest.mark.parametrize("icon", Icon, ids=lambda icon: icon.name)
def test_each_is_drawn_in_the_size_that_is_asked_for(icon: Icon) -> None:
    picture = icons.drawn(icon, 48)

    assert picture.pixels.shape == (48, 48, 3)
    assert np.ptp(picture.pixels) > 100


def test_no_two_are_alike() -> None:
    assert len({icons.drawn(icon, 64).pixels.tobytes() for icon in Icon}) == len(Icon)


def test_every_sop_class_without_pixel_data_has_one() -> None:
    assert all(icons.icon_of(uid, EXPLICIT, has_pixel_data=False) for uid in STORAGE)


@pytest.mark.parametrize(
    ("sop_class", "icon"),
    [
        ("88.11", Icon.REPORT),
        ("88.59", Icon.KEY_OBJECTS),
        ("104.1", Icon.DOCUMENT),
        ("104.2", Icon.REPORT),
        ("104.3", Icon.MODEL),
        ("9.1.1", Icon.WAVEFORM),
        ("9.4.2", Icon.AUDIO),
        ("11.1", Icon.PRESENTATION),
        ("481.3", Icon.RADIOTHERAPY),
        ("66", Icon.RAW),
        ("66.1", Icon.REGISTRATION),
        ("66.4", Icon.SEGMENTATION),
    ],
)
def test_it_says_what_the_object_is(sop_class: str, icon: Icon) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    assert icons.icon_of(uid, EXPLICIT, has_pixel_data=False) is icon


@pytest.mark.parametrize("sop_class", ["2", "4", "481.1", "481.2", "30", "77.1.6", "9999"])
def test_images_have_none(sop_class: str) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    assert icons.icon_of(uid, EXPLICIT, has_pixel_data=True) is None
