"""Pictures as data URIs, which the page itself contains, in fewer bytes than their files."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

WIDEST, TALLEST = 2400, 6000  # pixels; larger pictures are scaled down
LARGEST = 1 << 19  # bytes of a lossless picture; larger ones get a loss that cannot be seen
QUALITY = 90  # of WebP, where it is lossy
DENSITY = 1.5  # pixels of a plot per pixel of the page; its smallest letters are then about 11 pixels high
_MOST = 64_000_000  # pixels of a picture that is decoded at all


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture for an `img`: its source, and its display size in CSS pixels."""

    source: str  # data:image/...;base64,...
    width: int
    height: int


def picture(path: Path, density: float = DENSITY) -> EmbeddedPicture | None:
    """The picture in the file as a data URI, or None if it cannot be read.

    It is re-encoded as WebP, losslessly if that is small enough, and never passed through: the page then contains a
    picture, whatever the file contained. The same file and version of Pillow give the same bytes.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > _MOST:
                return None
            image = file.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # all of which Pillow's readers raise
        return None
    width, height = round(image.width / density), round(image.height / density)
    image.thumbnail((WIDEST, TALLEST), Image.Resampling.LANCZOS)
    content = _webp(image, lossless=True, method=0)
    if len(content) > LARGEST:
        content = min(content, _webp(image, quality=QUALITY, method=4), key=len)
    return EmbeddedPicture(
        f"data:image/webp;base64,{base64.b64encode(content).decode()}", max(width, 1), max(height, 1)
    )


def _webp(image: Image.Image, **options: bool | int) -> bytes:
    content = io.BytesIO()
    image.save(content, "WEBP", **options)
    return content.getvalue()
