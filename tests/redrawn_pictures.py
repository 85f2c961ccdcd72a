"""Planted faults of pictures: another picture in the place of the right one, of the same type."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image

from planted_faults import Fault, When, body

Change = Callable[[Image.Image], Image.Image]


def redrawn(change: Change, when: When, **options: object) -> Fault:
    """Encodes what `change` makes of the picture as the right one is encoded."""

    def painted(right: bytes) -> bytes:
        with Image.open(BytesIO(right)) as image:
            buffer, kind = BytesIO(), image.format
            change(image.copy()).save(buffer, kind, **options)
        return buffer.getvalue()

    return body(painted, when)


def unchanged(image: Image.Image) -> Image.Image:
    return image


def brighter(image: Image.Image) -> Image.Image:
    return image.point(lambda value: min(value + 25, 255))


def black(image: Image.Image) -> Image.Image:
    return image.point(lambda _: 0)


def squeezed(image: Image.Image) -> Image.Image:
    return image.resize((32, 32))


def doubled(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 2, image.height * 2))
