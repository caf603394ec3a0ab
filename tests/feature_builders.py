"""What the tests of features share: images, an extractor of nothing, random Inception weights, a network's answers."""

from __future__ import annotations

import io
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as reference

from bench.contract.seeds import seeded, seeded_init

CPU = torch.device("cpu")
OFFICIAL = "weights-inception-2015-12-05-6726825d.pth"


def pictures(n, channels=3, side=12, seed=0):
    """Uint8 images of smooth blobs: noise alone looks the same to any network."""
    coarse = torch.randint(0, 256, (n, channels, 3, 3), generator=seeded("pictures", seed)).float()
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").round().to(torch.uint8)


class Constant:
    """An extractor of nothing: each image's first pixel, as its feature and its logit; `sizes` counts its calls."""

    name, side, width, weights_hash, label = "constant", 1, 1, "00", "constant, 1 px"

    def __init__(self, poison=None, chunk=None, shift=0):
        self.poison, self.chunk, self.shift = poison, chunk, shift
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(len(images))
        x = images[:, 0, 0, :1].double() + self.shift
        return torch.where(x == self.poison, torch.nan, x) if self.poison is not None else x, x


def counted(n):
    """n images of one pixel, whose value is their index."""
    return torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)


def save_random_inception(path: Path) -> Path:
    """A file of random Inception weights that keep signals alive through the depth."""

    class Unloaded(reference.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            pass

    with pytest.MonkeyPatch.context() as patch, seeded_init(seeded("inception")):
        patch.setattr(reference, "load_state_dict_from_url", lambda *a, **k: {})
        network = Unloaded("inception-v3-compat", ["2048"])
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):  # folding must use every one of its four tensors
                nn.init.uniform_(module.weight, 0.7, 1.3)
                nn.init.normal_(module.bias, std=0.1)
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.7, 1.3)
    torch.save(network.state_dict(), path)
    return path


def empty_hub(monkeypatch, folder: Path) -> Path:
    """An empty hub folder for torch under `folder`; where its weights would lie."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return folder / "hub" / "checkpoints"


def serve(monkeypatch, answer):
    """Let every download answer with these bytes, or raise this error."""

    class Response(io.BytesIO):
        headers = {"Content-Length": str(len(answer) if isinstance(answer, bytes) else 0)}  # noqa: RUF012

    def urlopen(url, timeout):
        assert timeout <= 15
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text
