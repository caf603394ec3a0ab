"""DINOv2 and CLIP: their blocks by hand, and the sizes of the published networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from bench.features import EXTRACTORS, clip, dinov2, official
from tests.transformer_weights import draw


def test_a_gated_block_is_swiglu():
    """Two thirds of 4 x 24 hidden features are 64: (silu(x A) * x B) C."""
    block = draw(lambda: dinov2._Gated(dinov2.DINOv2Size(24, 1, 3, gated=True)), "gated")
    assert block.w12.weight.shape == (128, 24)
    x = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
    both = np.einsum("nti,oi->nto", x.numpy(), block.w12.weight.detach().numpy()) + block.w12.bias.detach().numpy()
    a, b = both[..., :64], both[..., 64:]
    expected = np.einsum("nto,io->nti", a / (1 + np.exp(-a)) * b, block.w3.weight.detach().numpy())
    expected += block.w3.bias.detach().numpy()
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_position_embedding_is_resized_by_cubic_convolution_with_the_published_scale():
    """Keys 1981 with a = -3/4, the edge repeated; position i of 16 lies at (i + 1/2) 37 / 16.1 - 1/2 of 37."""
    embedding = torch.randn(1, 1 + 37**2, 2, generator=torch.Generator().manual_seed(2))
    along = np.zeros((16, 37))
    for i in range(16):
        at = (i + 0.5) * 37 / 16.1 - 0.5
        for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            t = abs(at - k)
            inner, outer = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            along[i, min(max(k, 0), 36)] += inner if t <= 1 else outer
    square = embedding[0, 1:].reshape(37, 37, 2).numpy()
    expected = np.einsum("ia,jb,abc->ijc", along, along, square).reshape(256, 2)
    actual = dinov2.resized(embedding, 16)
    assert torch.equal(actual[:, 0], embedding[:, 0])
    np.testing.assert_allclose(actual[0, 1:], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "published"), [("s", 88_283_115), ("b", 346_378_731), ("l", 1_217_586_395), ("g", 4_546_108_579)]
)
def test_dinov2_has_as_many_parameters_as_its_published_file(size, published):
    with torch.device("meta"):
        network = dinov2.DinoV2(dinov2.SIZES[size])
    total = 4 * sum(one.numel() for one in network.state_dict().values())
    assert 0.998 * published < total < published < official.dinov2(size).most


@pytest.mark.parametrize(
    ("name", "parameters"), [("clip-vit-b-32", 87_849_216), ("clip-vit-l-14", 303_966_208), ("clip-rn50", 38_316_896)]
)
def test_clips_image_half_has_as_many_parameters_as_published(name, parameters):
    size = clip.SIZES[name]
    with torch.device("meta"):
        network = CLIPVisual(size.embedding, size.side, size.layers, size.width, size.patch)
    assert sum(one.numel() for one in network.parameters()) == parameters


def test_every_dinov2_and_clip_that_torch_fidelity_registers_is_offered():
    theirs = {name for name in FEATURE_EXTRACTORS_REGISTRY if name.startswith(("dinov2-", "clip-"))}
    assert len(theirs) == 13
    assert theirs == {name for name in EXTRACTORS if name.startswith(("dinov2-", "clip-"))}
    assert theirs == {*clip.SIZES, *(f"dinov2-vit-{size}-14" for size in dinov2.SIZES)}
