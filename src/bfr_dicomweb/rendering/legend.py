"""What the colours in a picture stand for, written into its corner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bfr_dicomweb.rendering.annotation import letter_size
from bfr_dicomweb.rendering.graphics import WHITE, Drawing, Rgb, lettering

# Smaller pictures, thumbnails among them, are not written upon.
SMALLEST_PICTURE: Final = 300
_MAX_ENTRIES: Final = 12
_MAX_LETTERS: Final = 28


@dataclass(frozen=True, slots=True)
class Entry:
    label: str
    color: Rgb


def draw_legend(drawing: Drawing, entries: Sequence[Entry]) -> None:
    """At the lower right; nothing for entries without a label."""
    rows, columns = drawing.picture.rows, drawing.picture.columns
    if min(rows, columns) < SMALLEST_PICTURE:
        return
    named = list(dict.fromkeys(entry for entry in entries if entry.label))
    shown = named[:_MAX_ENTRIES]
    labels = [_shortened(entry.label) for entry in shown]
    if len(named) > len(shown):
        labels.append(f"+ {len(named) - len(shown)}")
    size = letter_size(columns, rows)
    step, side = round(size * 1.4), round(size * 0.75)
    top = rows - step * len(labels) - size // 2
    texts = [lettering(label, size) for label in labels]
    left = columns - max((text.width for text in texts), default=0) - size // 2
    for place, text in enumerate(texts):
        y = top + place * step
        drawing.text(text, WHITE, left=left, top=y)
        if place < len(shown):
            corner = np.array([left - 1.6 * side, y + 0.35 * size])
            square = corner + side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
            drawing.area(square, shown[place].color)


def _shortened(label: str) -> str:
    return label if len(label) <= _MAX_LETTERS else label[: _MAX_LETTERS - 1] + "…"
