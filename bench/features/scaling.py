"""The input of torch-fidelity's networks: TensorFlow 1's bilinear resize, then a mean and deviation of each channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.transforms.functional import normalize


def scaled(images: Tensor, side: int, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Uint8 (n, 3, H, W) -> float32 (n, 3, side, side); `mean` and `deviation` are those of values in [0, 1]."""
    x = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(side, side), align_corners=False)
    return normalize(x, [255 * one for one in mean], [255 * one for one in deviation])
