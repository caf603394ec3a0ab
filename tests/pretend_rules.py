"""What the pretended CUDA device knows of operators, and how it says what a GPU refuses."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parent.parent)
HERE = ("pretend_cuda.py", "pretend_graphs.py", "pretend_rules.py")

# operators that return to the host what the device has computed, or whose result has a size that depends on it
WAITING = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "unique2", "unique_dim", "_unique2"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
RANDOM = {"rand", "randn", "randint", "randperm", "normal", "normal_", "uniform_", "bernoulli", "bernoulli_", "random_"}
RANDOM |= {"rand_like", "randn_like", "randint_like", "native_dropout", "multinomial", "exponential_"}
# the sums of these are in no fixed order on CUDA (torch.use_deterministic_algorithms lists them)
UNREPEATABLE = {f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")}
UNREPEATABLE |= {f"_upsample_{kind}_aa_backward" for kind in ("bilinear2d", "bicubic2d")}
UNREPEATABLE |= {"scatter_add", "scatter_add_", "index_add", "index_add_", "cumsum", "histc", "bincount", "kthvalue"}
UNREPEATABLE |= {"_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "max_pool2d_with_indices_backward"}
UNREPEATABLE |= {"reflection_pad2d_backward", "replication_pad2d_backward", "grid_sampler_2d_backward", "put_"}


class ForbiddenError(AssertionError):
    """What a GPU refuses, or what costs its repeatability: no code of the project catches it."""


def line() -> str:
    """The innermost line of the project that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and "site-packages" not in name and Path(name).name not in HERE:
            return f"{Path(name).relative_to(ROOT).as_posix()}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
