"""Features kept on the disk: those of real images are computed once for all runs, and checked whenever they are read.

An entry is one safetensors file named by the hash of its key. It holds the key in full and a SHA-256 of its tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from bench.features.extraction import FeatureExtractor, Features, check_images, extract
from bench.records import write_bytes

APPLICATION = "short-run-ebm-benchmark"
VARIABLE = "BENCH_CACHE"
FORMAT = 1
PROBE = 4  # images that are computed anew when an entry is read
TOLERANCE = 1e-2  # of the probe, relative: rounding of devices and versions is far below, other code or images above
BATCH = 64  # for an extractor that names no chunk

_warned: set[Path] = set()  # folders that a warning has been given for


class DamagedError(Exception):
    """An entry that is not what its name promises; says why, in a few words."""


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
    content = path.read_bytes()
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
        tensors = safetensors.torch.load(content)
        features, logits = tensors["features"], tensors["logits"]
    except Exception as error:  # a file of any kind makes the readers fail in any way
        raise DamagedError(f"no features file: {type(error).__name__}") from error
    if metadata.get("key") != key:
        raise DamagedError("of another key")
    shapes = tuple(features.shape), tuple(logits.shape[:1]), logits.ndim
    if shapes != ((n, width), (n,), 2) or {features.dtype, logits.dtype} != {torch.float32}:
        raise DamagedError(f"features {tuple(features.shape)} and logits {tuple(logits.shape)}")
    if metadata.get("sha256") != _digest(features, logits):
        raise DamagedError("wrong checksum")
    if not (torch.isfinite(features).all() and torch.isfinite(logits).all()):
        raise DamagedError("values that are not finite")
    return Features(features, logits)


def _probe(entry: Features, extractor: FeatureExtractor, images: Tensor) -> None:
    """Raise DamagedError if the extractor gives other features now: no key sees its code or a library change."""
    fresh = extract(extractor, [images[:PROBE]])
    for kept, now in ((entry.features, fresh.features), (entry.logits, fresh.logits)):
        scale = float(now.abs().mean())
        if kept.shape[1:] != now.shape[1:] or not torch.allclose(
            kept[:PROBE], now, rtol=TOLERANCE, atol=TOLERANCE * scale
        ):
            raise DamagedError("the extractor now gives others for these images")


def _write(path: Path, key: str, entry: Features) -> None:
    """Keep `entry` at `path`, whole or not at all; where that fails, say so once for each folder."""
    tensors = {"features": entry.features.contiguous(), "logits": entry.logits.contiguous()}
    metadata = {"key": key, "sha256": _digest(entry.features, entry.logits)}
    try:
        write_bytes(path, safetensors.torch.save(tensors, metadata))
    except OSError as error:
        if path.parent not in _warned:
            _warned.add(path.parent)
            _say(f"the cache {path.parent} cannot be written ({error.strerror or error}): going on without it")


def _digest(*tensors: Tensor) -> str:
    """SHA-256, hexadecimal, of the shapes and bytes of tensors."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().reshape(-1).view("uint8"))
    return total.hexdigest()


def _say(line: str) -> None:
    print(f"features: {line}", file=sys.stderr)
