"""Waveforms drawn on millimetre paper, as SVG, as a picture or as PDF."""

import io
from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from bfr_dicomweb.dicom.stored_objects import StoredObject
from bfr_dicomweb.errors import NotAcceptable
from bfr_dicomweb.rendering import image_encoding
from bfr_dicomweb.rendering.fonts import font
from bfr_dicomweb.rendering.picture import Picture
from bfr_dicomweb.rendering.waveform_samples import groups_of
from bfr_dicomweb.rendering.waveform_sheet import Box, Label, Points, Sheet, sheets

SVG: Final = "image/svg+xml"
PDF: Final = "application/pdf"
MEDIA_TYPES: Final = (SVG, "image/png", "image/jpeg", PDF)

_PIXELS_PER_MM: Final = 6
# Pictures are drawn larger by this, and then reduced, so that lines are smooth.
_FINER: Final = 2
_PICTURE_ROWS: Final = 28
_PAGE_ROWS: Final = 6
_MAX_PAGES: Final = 60
_MAX_SECONDS: Final = 3600.0
_INK: Final = (16, 16, 32)
_MILLIMETRE: Final = (248, 214, 212)
_FIVE: Final = (232, 158, 154)
_PAPER: Final = (255, 252, 251)


def render_waveform(stored: StoredObject, media_type: str, *, with_identity: bool) -> bytes:
    """
    Args:
        stored: What is rendered.
        media_type: One of `MEDIA_TYPES`. PDF has all groups and many pages; the others have one
            page of the first group.
        with_identity: Whether it is told whose and from when the curves are, and what is said
            of them.

    Raises:
        NotAcceptable: The waveform cannot be shown, or not so.
    """
    if media_type == SVG:
        return _svg(_page(stored, with_identity=with_identity)).encode()
    if media_type == PDF:
        return _pdf(_pages(stored, with_identity=with_identity))
    if media_type in MEDIA_TYPES:
        return image_encoding.encode(
            [picture_of(stored, with_identity=with_identity)], media_type, quality=None
        )
    raise NotAcceptable(f"waveforms are not shown as {media_type}")


def picture_of(stored: StoredObject, *, with_identity: bool) -> Picture:
    """One page of the first group.

    Raises:
        NotAcceptable: The waveform cannot be shown.
    """
    return _picture(_page(stored, with_identity=with_identity))


def _page(stored: StoredObject, *, with_identity: bool) -> Sheet:
    groups = groups_of(stored, max_seconds=_MAX_SECONDS)
    found = sheets(
        stored.attributes,
        groups[:1],
        with_identity=with_identity,
        rows_per_sheet=_PICTURE_ROWS,
    )
    return next(found)


def _pages(stored: StoredObject, *, with_identity: bool) -> Iterator[Sheet]:
    groups = groups_of(stored, max_seconds=_MAX_SECONDS)
    found = sheets(
        stored.attributes, groups, with_identity=with_identity, rows_per_sheet=_PAGE_ROWS
    )
    return islice(found, _MAX_PAGES)


# --- SVG ---


def _svg(sheet: Sheet) -> str:
    width, height = f"{sheet.width:g}", f"{sheet.height:g}"
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" ',
        f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans,Arial,sans-serif">\n',
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n',
        *_svg_grid(sheet.grid),
        f'<g fill="none" stroke="{_hex(_INK)}" stroke-width="0.25" stroke-linejoin="round">\n',
        *(f'<path d="{_path(mark)}"/>\n' for mark in sheet.marks),
        *(
            f'<path aria-label="{_attribute(trace.name)}" d="{_path(trace.points)}"/>\n'
            for trace in sheet.traces
        ),
        "</g>\n",
        f'<g fill="{_hex(_INK)}">\n',
        *map(_svg_label, sheet.labels),
        "</g>\n</svg>\n",
    ]
    return "".join(parts)


def _svg_grid(grid: Box) -> Iterator[str]:
    area = f'x="{grid.x:g}" y="{grid.y:g}" width="{grid.width:g}" height="{grid.height:g}"'
    yield f'<rect {area} fill="{_hex(_PAPER)}"/>\n'
    for step, color, width in ((1, _MILLIMETRE, 0.08), (5, _FIVE, 0.15)):
        lines = "".join(f"M{a[0]:g} {a[1]:g}L{b[0]:g} {b[1]:g}" for a, b in _grid_lines(grid, step))
        yield f'<path d="{lines}" stroke="{_hex(color)}" stroke-width="{width}" fill="none"/>\n'


Point = tuple[float, float]


def _grid_lines(grid: Box, step: int) -> Iterator[tuple[Point, Point]]:
    right, bottom = grid.x + grid.width, grid.y + grid.height
    for place in range(0, int(grid.width) + 1, step):
        if step > 1 or place % 5:
            yield (grid.x + place, grid.y), (grid.x + place, bottom)
    for place in range(0, int(grid.height) + 1, step):
        if step > 1 or place % 5:
            yield (grid.x, grid.y + place), (right, grid.y + place)


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points.tolist())


def _svg_label(label: Label) -> str:
    weight = ' font-weight="bold"' if label.is_bold else ""
    return (
        f'<text x="{label.x:g}" y="{label.y:g}" font-size="{label.size:g}"{weight}>'
        f"{escape(label.text)}</text>\n"
    )


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;", "\n": " "})


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + bytes(color).hex()


# --- pictures ---


def _picture(sheet: Sheet) -> Picture:
    scale = _PIXELS_PER_MM * _FINER
    size = (round(sheet.width) * scale, round(sheet.height) * scale)
    image = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(image)
    grid = sheet.grid
    corners = (grid.x, grid.y, grid.x + grid.width, grid.y + grid.height)
    draw.rectangle([corner * scale for corner in corners], fill=_PAPER)
    for step, color, width in ((1, _MILLIMETRE, 1), (5, _FIVE, _FINER)):
        for start, end in _grid_lines(grid, step):
            places = [place * scale for place in (*start, *end)]
            draw.line(places, fill=color, width=width)
    for points in (*sheet.marks, *(trace.points for trace in sheet.traces)):
        draw.line((points * scale).ravel().tolist(), fill=_INK, width=_FINER + 1, joint="curve")
    for label in sheet.labels:
        face = font(round(label.size * scale))
        place = (label.x * scale, label.y * scale)
        heavy = 1 if label.is_bold else 0
        draw.text(place, label.text, fill=_INK, font=face, anchor="ls", stroke_width=heavy)
    return Picture(np.asarray(image.reduce(_FINER)))


# --- PDF ---


def _pdf(pages: Iterator[Sheet]) -> bytes:
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, invariant=1, pageCompression=1)
    for sheet in pages:
        canvas.setPageSize((sheet.width * mm, sheet.height * mm))
        # y down and millimetres, as on the sheet
        canvas.transform(mm, 0, 0, -mm, 0, sheet.height * mm)
        _pdf_curves(canvas, sheet)
        for label in sheet.labels:
            _pdf_label(canvas, label)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _pdf_curves(canvas: Any, sheet: Sheet) -> None:
    grid = sheet.grid
    canvas.setFillColorRGB(*_fractions(_PAPER))
    canvas.rect(grid.x, grid.y, grid.width, grid.height, stroke=0, fill=1)
    for step, color, width in ((1, _MILLIMETRE, 0.08), (5, _FIVE, 0.15)):
        canvas.setStrokeColorRGB(*_fractions(color))
        canvas.setLineWidth(width)
        canvas.lines([(*start, *end) for start, end in _grid_lines(grid, step)])
    canvas.setStrokeColorRGB(*_fractions(_INK))
    canvas.setLineWidth(0.25)
    canvas.setLineJoin(1)
    for points in (*sheet.marks, *(trace.points for trace in sheet.traces)):
        path = canvas.beginPath()
        first, *others = points.tolist()
        path.moveTo(*first)
        for point in others:
            path.lineTo(*point)
        canvas.drawPath(path)


def _pdf_label(canvas: Any, label: Label) -> None:
    from bfr_dicomweb.rendering.pdf import fonts

    names = fonts()
    canvas.saveState()
    canvas.translate(label.x, label.y)
    canvas.scale(1, -1)
    canvas.setFillColorRGB(*_fractions(_INK))
    text = canvas.beginText(0, 0)
    for name, run in groupby(label.text, lambda letter: names.name_for(letter, label.is_bold)):
        text.setFont(name, label.size)
        text.textOut("".join(run))
    canvas.drawText(text)
    canvas.restoreState()


def _fractions(color: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(part / 255 for part in color)
