"""The typeface of what is written into pictures; it has the letters of western Europe."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import ImageFont

# Bitstream Vera comes with reportlab. Pillow's own typeface has English letters only.
_FILE: Final = "Vera.ttf"
MIN_SIZE: Final = 6
MAX_SIZE: Final = 400


@lru_cache(64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """
    Args:
        size: Height of its lines without the space between them, in pixels.
    """
    within = max(MIN_SIZE, min(size, MAX_SIZE))
    return ImageFont.truetype(str(_folder() / _FILE), within)


@lru_cache(1)
def _folder() -> Path:
    found = find_spec("reportlab")
    places = found.submodule_search_locations if found else None
    if not places:
        raise RuntimeError("reportlab, which pictures are written in the typeface of, is missing")
    return Path(places[0]) / "fonts"
