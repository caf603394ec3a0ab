"""Features kept on the disk: those of real images are computed once for all runs, and checked whenever they are read.

An entry is one sealed file of tensors (`bench/storage/sealed.py`) named by the hash of its key, which it holds in full.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from bench.features.extraction import FeatureExtractor, Features, check_images, extract
from bench.storage.files import write_bytes
from bench.storage.sealed import DamagedError, seal, unseal

APPLICATION = "short-run-ebm-benchmark"
VARIABLE = "BENCH_CACHE"
FORMAT = 2  # of an entry; part of its key
PROBE = 4  # images that are computed anew when an entry is read
TOLERANCE = 1e-2  # of the probe, relative: rounding of devices and versions is far below, other code or images above
MOST_CLASSES = 100_000  # logits of an image; a larger entry is not read in
BATCH = 64  # for an extractor that names no chunk

_warned: set[Path] = set()  # folders that a warning has been given for


def cache_folder() -> Path | None:
    """`$BENCH_CACHE`, else `short-run-ebm-benchmark` in the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`).

    None where the user has no home folder. Nothing is created.
    """
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser()
    general = os.environ.get("XDG_CACHE_HOME", "")
    if Path(general).is_absolute():  # the XDG specification has relative ones ignored
        return Path(general) / APPLICATION
    try:
        return Path.home() / ".cache" / APPLICATION
    except RuntimeError:
        return None


def cached(
    extractor: FeatureExtractor,
    images: Tensor,
    *,
    what: str,
    key: str | None = None,
    folder: Path | None = None,
    progress: str | None = None,
) -> Features:
    """The features of `images`, uint8 (n, C, H, W), read from `folder` if they are there, else computed and kept there.

    `what` says which images they are ("train", "held out", "noise"); `key` is the content hash of the set that they
    are the first n of, None to hash the images themselves. `folder` None computes and keeps nothing (`--no-cache`).
    `progress` is the title of the progress bar. Entries depend on both, the images' shape, and the extractor's name,
    side, width and weights. One that is damaged, or differs from what the extractor now gives for the first few
    images, is computed again, and a folder that cannot be written is passed over; a line on stderr says so.
    Raises as `extract`.
    """
    check_images(images)
    if folder is None:
        return _computed(extractor, images, progress)
    identity = {
        "format": FORMAT,
        "what": what,
        "content": key or _digest(images),
        "images": list(images.shape),
        "extractor": extractor.name,
        "resize": extractor.side,
        "width": extractor.width,
        "weights": extractor.weights_hash,
    }
    text = json.dumps(identity)
    path = Path(folder) / "features" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    try:
        entry = _read(path, text, len(images), extractor.width)
        _probe(entry, extractor, images)
        return entry
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (DamagedError, OSError) as error:
        _say(f"the cached features {path} are not usable ({error}): computed again")
    entry = _computed(extractor, images, progress)
    _write(path, text, entry)
    return entry


def _computed(extractor: FeatureExtractor, images: Tensor, progress: str | None) -> Features:
    batches = images.split(getattr(extractor, "chunk", None) or BATCH)
    return extract(extractor, batches, progress=progress, total=len(images))


def _read(path: Path, key: str, n: int, width: int) -> Features:
    """The entry at `path`. Raises OSError, and DamagedError for all that can be wrong with its content."""
    most = 2**20 + 4 * n * (width + MOST_CLASSES)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DamagedError(f"more than {most:,} bytes")
    return parse(content, key, n, width)


def parse(content: bytes, key: str, n: int, width: int) -> Features:
    """The entry of that key in the content of a file, of `n` images; DamagedError for anything else."""
    tensors, note = unseal(content)
    if note != key:
        raise DamagedError("of another key")
    if tensors.keys() != {"features", "logits"}:
        raise DamagedError("no features and logits")
    features, logits = tensors["features"], tensors["logits"]
    shapes = tuple(features.shape), tuple(logits.shape[:1]), logits.ndim
    if shapes != ((n, width), (n,), 2) or {features.dtype, logits.dtype} != {torch.float32}:
        raise DamagedError(f"features {tuple(features.shape)} and logits {tuple(logits.shape)}")
    if not (torch.isfinite(features).all() and torch.isfinite(logits).all()):
        raise DamagedError("values that are not finite")
    return Features(features, logits)


def _probe(entry: Features, extractor: FeatureExtractor, images: Tensor) -> None:
    """Raise DamagedError if the extractor gives other features now: no key sees its code or a library change."""
    fresh = extract(extractor, [images[:PROBE]])
    for kept, now in ((entry.features, fresh.features), (entry.logits, fresh.logits)):
        scale = float(now.abs().mean()) if now.numel() else 0.0
        if kept.shape[1:] != now.shape[1:] or not torch.allclose(
            kept[:PROBE], now, rtol=TOLERANCE, atol=TOLERANCE * scale
        ):
            raise DamagedError("the extractor now gives others for these images")


def _write(path: Path, key: str, entry: Features) -> None:
    """Keep `entry` at `path`, whole or not at all; where that fails, say so once for each folder."""
    tensors = {"features": entry.features.contiguous(), "logits": entry.logits.contiguous()}
    try:
        write_bytes(path, seal(tensors, key))
    except OSError as error:
        if path.parent not in _warned:
            _warned.add(path.parent)
            _say(f"the cache {path.parent} cannot be written ({error.strerror or error}): going on without it")


def _digest(images: Tensor) -> str:
    """SHA-256, hexadecimal, of the shape and bytes of a tensor."""
    total = hashlib.sha256(f"{images.dtype} {tuple(images.shape)}".encode())
    total.update(images.detach().cpu().contiguous().numpy().reshape(-1).view("uint8"))
    return total.hexdigest()


def _say(line: str) -> None:
    print(f"features: {line}", file=sys.stderr)
