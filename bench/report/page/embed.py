"""Pictures as data URIs: the page holds them itself, in fewer bytes than their files."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

WIDEST, TALLEST = 2400, 6000  # pixels; what is larger is scaled down
LARGEST = 1 << 19  # bytes of a picture without loss; above, with one that cannot be seen
QUALITY = 90  # of WebP, where bytes must be saved
DENSITY = 1.5  # pixels of a plot for a pixel of the page: its smallest letters are then about 11 high
_MOST = 64_000_000  # pixels that are decoded at all


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture for an `img`: its source, and the size in CSS pixels at which it is to be seen."""

    source: str  # data:image/...;base64,...
    width: int
    height: int


def picture(path: Path, density: float = DENSITY) -> EmbeddedPicture | None:
    """The picture in the file, as a data URI; None where it cannot be read.

    Re-encoded as WebP, without loss where that is small enough, never passed through: what the page holds is a picture
    whatever the file was. The same file and version of Pillow give the same bytes.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > _MOST:
                return None
            image = file.convert("RGB") if file.mode in ("RGB", "L") else _on_white(file.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's readers raise any of these
        return None
    width, height = round(image.width / density), round(image.height / density)
    image.thumbnail((WIDEST, TALLEST), Image.Resampling.LANCZOS)
    content = _webp(image, lossless=True, method=0)
    if len(content) > LARGEST:
        content = min(content, _webp(image, quality=QUALITY, method=4), key=len)
    return EmbeddedPicture(
        f"data:image/webp;base64,{base64.b64encode(content).decode()}", max(width, 1), max(height, 1)
    )


def _on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image).convert("RGB")


def _webp(image: Image.Image, **options: bool | int) -> bytes:
    content = io.BytesIO()
    image.save(content, "WEBP", **options)
    return content.getvalue()
