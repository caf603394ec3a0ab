"""Which extractor: names with their layers and input sizes, `auto`, and classes of the user's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import torch

from bench.contract import plugins
from bench.errors import UserError
from bench.features.extraction import FeatureExtractor, extract
from bench.features.weights import UnavailableError, inception_file

CLIP_SIZES = (
    *("vit-b-32", "vit-b-16", "vit-l-14", "vit-l-14-336px"),
    *("rn50", "rn101", "rn50x4", "rn50x16", "rn50x64"),
)

# name -> "module:function"; function(device, weights: Path | None, layer: str = ..., side: int = ...), the last two
# given only when they were asked for; it returns a FeatureExtractor
EXTRACTORS: dict[str, str] = {
    "inception": "bench.features.inception:build",
    "efficientnet-lite0": "bench.features.efficientnet_lite0:build",
    **{f"dinov2-vit-{size}-14": f"bench.features.dinov2:build_{size}" for size in "sblg"},
    **{f"clip-{size}": f"bench.features.clip:build_{size.replace('-', '_')}" for size in CLIP_SIZES},
}
NO_WEIGHTS = ("efficientnet-lite0",)  # comes with its own, and takes no others

_CHOICE = re.compile(r"(?P<name>[^/@]+)(/(?P<layer>[^/@]+))?(@(?P<side>[0-9]{1,5}))?")
_PROTOCOL: dict[str, tuple[type, str]] = {
    "name": (str, 'a str, such as "my-net"'),
    "side": (int, "an int, the side in pixels that images are resized to"),
    "width": (int, "an int, the number of features"),
    "weights_hash": (str, "a str, the SHA-256 of the weights"),
    "label": (str, 'a str, such as "my-net, 224 px"'),
}


def resolve(choice: str, *, device: torch.device, weights: Path | None = None) -> FeatureExtractor:
    """The extractor of that choice, loaded and ready; "auto" says in one line on stderr which it took, and why.

    A choice is `auto`, `NAME`, `NAME/LAYER`, `NAME@SIDE`, `NAME/LAYER@SIDE` for a name in `EXTRACTORS`, or
    `package.module:Class`, or the name that an installed package gives to such a class, which is called as
    `Class(device)` and tried on two images.
    `weights` is a file of weights for the named network, None for the official ones. `auto` takes Inception when its
    weights are given, are in torch's hub folder or can be fetched, and EfficientNet-Lite0 otherwise. Weights are read
    here, so that a wrong file fails before any training.
    Raises UserError: an unknown name, layer or side; weights that are missing, damaged or of another network; a class
    that cannot be had or lacks the protocol, with what is missing.
    """
    parsed = _CHOICE.fullmatch(choice)
    name = parsed["name"] if parsed else ""
    listed = plugins.names("feature extractor", EXTRACTORS)
    custom = name not in ("auto", *EXTRACTORS) and (":" in name or name in listed)
    if not parsed or not (custom or name in ("auto", *EXTRACTORS)):
        raise UserError(
            f"unknown feature extractor {choice!r}: take one of {', '.join(['auto', *listed])}, "
            "one of these as NAME/LAYER or NAME@SIDE, or package.module:Class"
        )
    if weights is not None and (custom or name in NO_WEIGHTS):
        raise UserError(
            f"--extractor-weights {weights} does not go with the extractor {choice!r}: "
            "drop it, or take inception, a dinov2 or a clip"
        )
    asked: dict[str, Any] = {"layer": parsed["layer"]} if parsed["layer"] else {}
    if parsed["side"]:
        asked["side"] = int(parsed["side"])
    if asked and (custom or name == "auto"):
        raise UserError(f"feature extractor {choice!r}: {name} takes no /LAYER or @SIDE: drop it, or name a network")
    if custom:
        return _custom(choice, device)
    if name == "auto":
        return _automatic(device, weights)
    return _build(name, device, weights, **asked)


def _build(name: str, device: torch.device, weights: Path | None, **asked: Any) -> FeatureExtractor:
    return plugins.load(name, "feature extractor", EXTRACTORS)(device, weights, **asked)


def _automatic(device: torch.device, weights: Path | None) -> FeatureExtractor:
    if weights is not None:
        extractor = _build("inception", device, weights)
        return _announce(extractor, f"its weights were given ({weights})")
    try:
        path, where = inception_file()
    except UnavailableError as absent:
        return _announce(_build("efficientnet-lite0", device, None), f"no Inception weights ({absent})")
    return _announce(_build("inception", device, path), where)


def _announce(extractor: FeatureExtractor, why: str) -> FeatureExtractor:
    print(f"features: {extractor.label}: {why}", file=sys.stderr)
    return extractor


def _custom(target: str, device: torch.device) -> FeatureExtractor:
    """The extractor of a user's own class, checked as far as two images can tell."""
    factory = plugins.load(target, "feature extractor", EXTRACTORS, form="package.module:Class")
    if not callable(factory):
        raise UserError(f"feature extractor {target!r} is not a class or function: name one that is called (device)")
    try:
        extractor = factory(device)
    except UserError:
        raise
    except Exception as error:  # a stranger's code fails in any way
        raise _refused(target, f"{target.partition(':')[2]}(device) failed ({plugins.described(error)})") from error
    if isinstance(extractor, type) or not callable(extractor):
        raise _refused(target, "it lacks __call__(images)")
    missing = [f"{name} ({what})" for name, (_, what) in _PROTOCOL.items() if not hasattr(extractor, name)]
    if missing:
        raise _refused(target, f"it lacks {', '.join(missing)}")
    for name, (kind, what) in _PROTOCOL.items():
        value = getattr(extractor, name)
        if not isinstance(value, kind) or isinstance(value, bool) or not value or (kind is int and value < 1):
            raise _refused(target, f"its {name} is {value!r}, not {what}")
    stem = re.split("[/:]", extractor.name)[0]
    if stem in EXTRACTORS:
        raise _refused(target, f"its name {extractor.name!r} is that of another extractor ({stem})")
    if extractor.name not in extractor.label or str(extractor.side) not in extractor.label:
        raise _refused(
            target, f"its label {extractor.label!r} does not hold its name {extractor.name!r} and side {extractor.side}"
        )
    for channels in (1, 3):
        try:
            extract(extractor, [torch.zeros(2, channels, 8, 8, dtype=torch.uint8)])
        except Exception as error:
            raise _refused(
                target, f"it failed on uint8 images (2, {channels}, 8, 8) ({plugins.described(error)})"
            ) from error
    return extractor


def _refused(target: str, what: str) -> UserError:
    return UserError(f"feature extractor {target!r} does not keep the protocol: {what}; see docs/extractors.md")
