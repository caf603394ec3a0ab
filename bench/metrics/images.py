"""Measures of images against images: reconstruction error and similarity, one number for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import NotFiniteError

RANGE = 2.0  # of images in [-1, 1]
LARGEST_PSNR = 100.0  # dB: equal images would be infinitely far up, and a mean over images with them
WINDOW = 7  # pixels: fits images of side 8, where the 11 of the SSIM paper would not
_ROWS = 256  # images at once


def reconstruction_mse(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error per pixel and channel of each image: (n, C, H, W) twice, float in [-1, 1] -> (n,).

    Range [0, 4]; in the range [0, 1] it would be a quarter as large.
    Raises ValueError: shapes that differ, values that are not finite.
    """
    if images.shape != reconstructions.shape or images.ndim != 4:
        raise ValueError(
            f"images {tuple(images.shape)} and reconstructions {tuple(reconstructions.shape)} must be of one shape, "
            "(n, C, H, W)"
        )
    errors = (images - reconstructions).square().flatten(1).mean(1)
    if not torch.isfinite(errors).all():
        first = int((~torch.isfinite(errors)).nonzero()[0])
        raise NotFiniteError(f"reconstruction {first} or its image holds values that are not finite")
    return errors


def psnr(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, 10 log10(2^2 / MSE): (n, C, H, W) twice in [-1, 1] -> (n,).

    The peak is the range's width, 2, so that it equals what images in [0, 1] with a peak of 1 would score. At least 0
    for images in range; cut off at 100 dB. Raises as `reconstruction_mse`.
    """
    return (10 * torch.log10(RANGE**2 / reconstruction_mse(images, reconstructions))).clamp(max=LARGEST_PSNR)


def ssim(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Structural similarity of each image: (n, C, H, W) twice, float in [-1, 1], sides of 7 or more -> (n,) float64.

    Range [-1, 1], 1 for equal images. Wang et al. 2004 (IEEE TIP 13(4), eq. 13) with K1 = 0.01 and K2 = 0.03, in
    uniform 7x7 windows that lie wholly in the image, with sample variances (n - 1); the mean over windows and channels.
    These are the defaults of scikit-image's `structural_similarity`; the paper's Gaussian window of 11 pixels would not
    fit images of side 8. The images are first brought to [0, 1], range 1, since SSIM compares mean intensities by their
    ratio: in [-1, 1], where they change sign, an image and its negative could count as similar.
    Raises as `reconstruction_mse`, and ValueError for smaller sides.
    """
    reconstruction_mse(images, reconstructions)
    if min(images.shape[2:]) < WINDOW:
        raise ValueError(f"images are {tuple(images.shape[2:])} pixels: SSIM needs sides of {WINDOW} or more")
    parts = zip(images.split(_ROWS), reconstructions.split(_ROWS), strict=True)
    return torch.cat([_ssim((x.double() + 1) / 2, (y.double() + 1) / 2) for x, y in parts])


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, WINDOW, stride=1)

    c1, c2 = 0.01**2, 0.03**2
    of_samples = WINDOW**2 / (WINDOW**2 - 1)
    mx, my = mean(x), mean(y)
    vx, vy = of_samples * (mean(x * x) - mx * mx), of_samples * (mean(y * y) - my * my)
    covariance = of_samples * (mean(x * y) - mx * my)
    values = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return values.flatten(1).mean(1)
