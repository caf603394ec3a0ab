"""Small random weights of DINOv2 and CLIP in the layout of the published files, and the networks they belong to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torchvision.models import VisionTransformer

from bench.contract.seeds import seeded
from bench.features import clip, dinov2

DINOV2 = dinov2.DINOv2Size(48, 2, 3)
CLIP_SIZES = {
    "clip-vit-b-32": clip.CLIPSize(24, 64, 2, 64, 32),
    "clip-rn50": clip.CLIPSize(24, 64, (1, 2, 1, 1), 64),
}


def draw(make: Callable[[], nn.Module], seed: str) -> nn.Module:
    """What `make` makes, with every tensor drawn: signals live, and no tensor can be left out unseen."""
    generator = seeded("weights", seed)
    with torch.random.fork_rng(devices=[]):
        module = make()
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith(("running_var", "weight", "gamma")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(std=0.3, generator=generator)
    return module.eval()


def save_dinov2(path: Path, seed: str = "dinov2") -> Path:
    torch.save(draw(lambda: dinov2.DinoV2(DINOV2), seed).state_dict(), path)
    return path


def torchvision_twin(state: dict[str, torch.Tensor]) -> nn.Module:
    """torchvision's vision transformer with these weights of DINOv2: LayerScale goes into the layer before it."""
    with torch.random.fork_rng(devices=[]):
        twin = VisionTransformer(
            *(dinov2.SIDE, dinov2.PATCH, DINOV2.depth, DINOV2.heads, DINOV2.width, 4 * DINOV2.width),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
    twin.heads = nn.Identity()
    ours = {
        "class_token": state["cls_token"],
        "conv_proj.weight": state["patch_embed.proj.weight"],
        "conv_proj.bias": state["patch_embed.proj.bias"],
        "encoder.pos_embedding": dinov2.resized(state["pos_embed"], dinov2.SIDE // dinov2.PATCH),
        "encoder.ln.weight": state["norm.weight"],
        "encoder.ln.bias": state["norm.bias"],
    }
    for i in range(DINOV2.depth):
        block = {key.removeprefix(f"blocks.{i}."): one for key, one in state.items() if key.startswith(f"blocks.{i}.")}
        to = f"encoder.layers.encoder_layer_{i}."
        for one in ("weight", "bias"):
            ours[f"{to}ln_1.{one}"] = block[f"norm1.{one}"]
            ours[f"{to}ln_2.{one}"] = block[f"norm2.{one}"]
            ours[f"{to}self_attention.in_proj_{one}"] = block[f"attn.qkv.{one}"]
            ours[f"{to}self_attention.out_proj.{one}"] = _times(block["ls1.gamma"], block[f"attn.proj.{one}"])
            ours[f"{to}mlp.0.{one}"] = block[f"mlp.fc1.{one}"]
            ours[f"{to}mlp.3.{one}"] = _times(block["ls2.gamma"], block[f"mlp.fc2.{one}"])
    twin.load_state_dict(ours)
    return twin.eval()


def _times(gamma, tensor):
    return gamma.view(-1, *[1] * (tensor.ndim - 1)) * tensor


class _Both(nn.Module):
    """CLIP as OpenAI saved it: the image half in half precision, and tensors of the text half beside it."""

    def __init__(self, visual: nn.Module, width: int):
        super().__init__()
        self.visual = visual
        self.text_projection = nn.Parameter(torch.zeros(8, width))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("input_resolution", torch.tensor(64))

    def forward(self, images):
        return self.visual(images)


def save_clip(path: Path, name: str, *, script: bool = True) -> Path:
    """A TorchScript archive, as OpenAI publishes them, or the same weights as a state dict."""
    size = CLIP_SIZES[name]
    visual = draw(lambda: CLIPVisual(size.embedding, size.side, size.layers, size.width, size.patch).visual, name)
    network = _Both(visual.half(), size.embedding)
    if not script:
        torch.save(network.state_dict(), path)
        return path
    with warnings.catch_warnings(action="ignore"):  # of the age of TorchScript
        torch.jit.trace(network, torch.zeros(1, 3, size.side, size.side).half(), check_trace=False).save(str(path))
    return path
