"""The one way from an image file to pixels, and from many of them to a tensor, with a tally of what was converted."""

from __future__ import annotations

import os
import stat
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, features
from torch import Tensor
from tqdm import tqdm

from bench.errors import UserError, one_line

MAX_PIXELS = 50_000_000  # per image; a small file that unpacks to more is a mistake or an attack
MAX_BYTES = 2**29  # per file; 50 million pixels of four 16-bit channels, not packed at all, have 400 MB
AVIF = "avif" in features.modules and features.check("avif")  # whether this Pillow reads it
FORMATS = (  # and never EPS, which would start Ghostscript
    *("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM"),
    *(("AVIF",) if AVIF else ()),
)
_AWAY = "move it elsewhere"
_SMALLER = f"shrink it or {_AWAY}"
GROUP = 16  # images per task of a thread
TINY = 64 * 64  # pixels; up to here threads slow the reading down
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # grey, 0..65535
KNOWN_RANGE = ("PNG", "PPM")  # formats whose mode "I" is 16-bit grey; that of a TIFF is 32 bits, of any range


@dataclass(frozen=True)
class Decoded:
    """One decoded image and what its file held."""

    image: Image.Image  # mode "L" or "RGB"
    mode: str  # Pillow's name of the file's mode: "RGB", "L", "CMYK", "I;16", ...; "RGB;16" for 16 bits a channel
    transparent: bool = False
    turned: bool = False
    animated: bool = False


def decode(file: Path | str | bytes, name: str, *, orient: bool = False) -> Decoded:
    """The image in `file` (a path or the bytes) as 8-bit grey or RGB; `name` is what messages call it.

    Transparency is composited over white, 16 bits a channel become 8, the first frame of an animation is taken;
    `orient` turns the image as its EXIF orientation says. Raises UserError, naming the file, for one that is not an
    image, is truncated (Pillow's LOAD_TRUNCATED_IMAGES is left False), has more than 50 million pixels or 512 MiB.
    """
    try:
        _check_file(file, name)
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"{name} has {width}x{height} pixels, more than the {MAX_PIXELS:,} allowed: {_SMALLER}")
            mode, animated = _mode(image, name), getattr(image, "is_animated", False)
            twelve = _raw_mode(image) == "I;12"
            image.load()
            turned = orient and _orientation(image) in range(2, 9)
            upright = ImageOps.exif_transpose(image) if turned else image
            pixels = _eight_bit(upright, mode, 4095 if twelve else 65_535)
            return Decoded(pixels, mode, upright.has_transparency_data, turned, animated)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} is too large to decode ({one_line(error)}): {_SMALLER}") from error
    except FileNotFoundError as error:
        raise UserError(
            f"{name} is a broken link or was removed just now: restore it, or move the link elsewhere"
        ) from error
    except Exception as error:  # a decoder of broken files raises anything from struct.error to SyntaxError
        reason = one_line(error) or type(error).__name__
        raise UserError(
            f"{name} cannot be read as an image ({reason}): replace the file or move it elsewhere"
        ) from error


def _check_file(file: Path | str | bytes, name: str) -> None:
    """Raise UserError for what must not even be opened: a pipe would wait for ever, a large file fill the memory."""
    status = None if isinstance(file, bytes) else os.stat(file)
    if status and not stat.S_ISREG(status.st_mode):
        raise UserError(f"{name} is no file but a folder, pipe or device: {_AWAY}")
    size = status.st_size if status else len(file)
    if size > MAX_BYTES:
        raise UserError(
            f"{name} has {size:,} bytes, more than the {MAX_BYTES:,} allowed: shrink it or move it elsewhere"
        )


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block says nothing about the orientation; the pixels are still good
        return 1


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name of the pixels as they lie in a file that is open and not yet loaded: "RGB;16B", "I;12"."""
    layout = image.tile[0][3] if image.tile else ""
    return layout if isinstance(layout, str) else str(layout[0])


def _mode(image: Image.Image, name: str) -> str:
    """The mode of a file that is not yet loaded, with the depth that Pillow would reduce to 8 bits without a word.

    UserError for pixels of unknown range.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in KNOWN_RANGE):
        kind = "floating-point" if image.mode == "F" else "32-bit whole-number"
        raise UserError(f"{name} has {kind} pixels of unknown range: convert it to 8 bits a channel")
    if image.mode in SIXTEEN_BIT:
        return image.mode
    raw = _raw_mode(image)
    largest = image.tile[0][3][1] if image.format == "PPM" and isinstance(image.tile[0][3], tuple) else 0
    if ";16" in raw or largest > 255:
        return "LA;16" if raw.startswith("LA") else f"{image.mode};16"
    return image.mode


def _eight_bit(image: Image.Image, mode: str, top: int) -> Image.Image:
    """A loaded image as 8-bit grey or RGB. `mode` is the file's, `top` the white of its grey levels above 8 bits."""
    key = image.info.get("transparency")  # the level or colour that is transparent, where one is
    if image.mode in SIXTEEN_BIT:
        levels = np.asarray(image).astype(np.int64)
        if isinstance(key, int):
            levels = np.where(levels == key, top, levels)
        return Image.fromarray(np.round(levels / (top / 255)).astype(np.uint8))
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image.copy()  # the caller closes the file
    if mode == "RGB;16" and isinstance(key, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in key)
    grey = image.mode in ("1", "L", "LA", "La") or mode == "LA;16"
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("L" if grey else "RGB")


def centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle `width` x `height` pixels."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def centre_square(image: Image.Image, name: str) -> Image.Image:
    """The largest square in the middle of `image`."""
    side = min(image.size)
    return image if image.width == image.height else centre(image, side, side)


def resize(image: Image.Image, side: int) -> Image.Image:
    """A square `image` at `side` x `side` pixels: Lanczos, which Pillow antialiases when it shrinks."""
    return image if image.width == side else image.resize((side, side), Image.Resampling.LANCZOS)


@dataclass
class Tally:
    """What was done to how many images."""

    total: int
    modes: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def count(self, picture: Decoded, cropped: Image.Image, side: int) -> None:
        """Count one picture, its crop, and the side that it was resized to."""
        self.modes[picture.mode] += 1
        self.done["transparent"] += picture.transparent
        self.done["turned"] += picture.turned
        self.done["animated"] += picture.animated
        self.done["cropped"] += cropped.size != picture.image.size
        self.done["resized"] += cropped.width != side
        self.done["enlarged"] += cropped.width < side

    def conversions(self, channels: int) -> tuple[str, ...]:
        """A sentence for each conversion of mode that took place."""
        target, name = ("L", "8-bit grey") if channels == 1 else ("RGB", "RGB")
        others = {mode: n for mode, n in sorted(self.modes.items()) if mode != target}
        modes = ", ".join(f"{n:,} {mode}" for mode, n in others.items())
        return (
            *self._sentence(sum(others.values()), f"converted to {name} ({modes})"),
            *self._sentence(self.done["transparent"], "had an alpha channel, composited over white"),
            *self._sentence(self.done["animated"], "had several frames: the first was taken"),
        )

    def geometry(self, side: int) -> tuple[str, ...]:
        """A sentence for each change of geometry that took place."""
        enlarged = f", {self.done['enlarged']:,} of them enlarged" if self.done["enlarged"] else ""
        return (
            *self._sentence(self.done["turned"], "turned as their EXIF orientation says"),
            *self._sentence(self.done["cropped"], "cropped to their centre square"),
            *self._sentence(self.done["resized"], f"resized to {side}x{side} (Lanczos, antialiased){enlarged}"),
        )

    def _sentence(self, n: int, what: str) -> tuple[str, ...]:
        return (f"{n:,} of {self.total:,} images {what}",) if n else ()


@dataclass(frozen=True)
class Item:
    """One image to read."""

    row: int  # of the result
    file: Path | str | bytes
    name: str  # in messages


_Result = tuple[Item, Decoded, Image.Image, np.ndarray]  # the last two: the crop, and its pixels as asked for


def read_images(
    items: Iterable[Item],
    count: int,  # how many items there are
    *,
    side: int,  # pixels; 0: the images' own, which must then be one
    crop: Callable[[Image.Image, str], Image.Image] = centre_square,  # (image, name) -> a square one
    orient: bool = False,  # obey the EXIF orientation
    colour: bool = False,  # RGB even when every image is grey
    progress: bool = True,
) -> tuple[Tensor, Tally]:
    """Decode, crop and resize: uint8 (count, C, S, S) in [0, 255], and the tally. C is 1 when all images are grey.

    Raises UserError for an image that cannot be decoded, for sizes that differ while `side` is 0, and for more pixels
    than memory holds.
    """

    def work(item: Item) -> _Result:
        picture = decode(item.file, item.name, orient=orient)
        cropped = crop(picture.image, item.name)
        return item, picture, cropped, np.asarray(resize(cropped, side) if side else cropped)

    tally, first, out = Tally(count), None, np.empty((0,), np.uint8)
    with (
        warnings.catch_warnings(),
        tqdm(desc="reading images", total=count, unit="image", leave=False, disable=not progress) as bar,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what matters raises or is tallied
        for item, picture, cropped, pixels in _results(work, items):
            size = picture.image.size
            if first is None:
                first = (item.name, size)
                out = _allocate(count, 3 if colour or pixels.ndim == 3 else 1, len(pixels))
            if not side and size != first[1]:
                sizes = " and ".join(f"{name} is {w}x{h}" for name, (w, h) in (first, (item.name, size)))
                raise UserError(f"{sizes}: images of mixed size need --image-size, such as 32 or 64")
            if pixels.ndim == 3 and out.shape[1] == 1:
                out = np.repeat(out, 3, axis=1)
            out[item.row] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
            tally.count(picture, cropped, len(pixels))
            bar.update()
    return torch.from_numpy(out), tally


def _allocate(count: int, channels: int, side: int) -> np.ndarray:
    try:
        return np.empty((count, channels, side, side), np.uint8)
    except MemoryError as error:
        need = count * channels * side * side / 2**30
        raise UserError(
            f"{count:,} images of {side}x{side} pixels need {need:.0f} GiB of memory: give a smaller --image-size"
        ) from error


def _results(work: Callable[[Item], _Result], items: Iterable[Item]) -> Iterator[_Result]:
    """`work` of each item, in order; by threads, a few groups ahead, unless the images are tiny.

    Pillow decodes outside the interpreter's lock, but for 32x32 pixels waiting for that lock costs more than it gains.
    """
    items = iter(items)
    result = work(next(items))
    yield result
    if result[1].image.width * result[1].image.height <= TINY:
        yield from map(work, items)
        return
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as executor:
        ahead: deque[Future[list[_Result]]] = deque()
        while group := list(islice(items, GROUP)):
            ahead.append(executor.submit(lambda group: [work(item) for item in group], group))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
