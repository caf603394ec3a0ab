"""How well one number tells two sets apart."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(scores_in: Tensor, scores_out: Tensor) -> float:
    """P(a score in > a score out) + P(they are equal) / 2, over all pairs: (n,) and (m,) -> [0, 1].

    The area under the receiver operating characteristic where high scores speak for "in", exact with ties; 0.5 where
    the scores do not tell the sets apart. It is the Mann-Whitney statistic U / nm.
    Fawcett 2006, "An introduction to ROC analysis". Raises ValueError: an empty set, another shape, NaN.
    """
    return float(wins(scores_in, scores_out).mean())


def wins(a: Tensor, b: Tensor) -> Tensor:
    """The share of `b` that each of `a` exceeds, ties counted half: (n,) and (m,) -> (n,) float64 in [0, 1]."""
    for scores in (a, b):
        if scores.ndim != 1 or not len(scores):
            raise ValueError(f"scores are {tuple(scores.shape)}: they must be (n,) with one or more")
        if torch.isnan(scores).any():
            raise ValueError("scores hold values that are not numbers")
    ordered = b.double().sort().values
    queries = a.double().contiguous()
    below, up_to = (torch.searchsorted(ordered, queries, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(b))
