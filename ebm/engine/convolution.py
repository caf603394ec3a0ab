"""Convolutions of a Langevin step: forward, and backward to the input alone, in the forms that are fastest.

Each form prepares its weights once per chain and gives the convolution library's numbers to float rounding.
`docs/performance.md` has what each form gains, and where.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ebm.engine.fused import Kernels

LARGE_WEIGHTS = 4 << 20  # bytes: weights that outgrow a core's cache are fetched anew for every image
FEW_PIXELS = 16  # of the output: with more, unfolding the input costs more than it saves
TYPICAL_BATCH = 64  # images: layouts are chosen for it, and are right for any
FEW_CHANNELS = 4  # of an image: vectors of a gradient with so few channels are mostly padding


class Convolution(Protocol):
    """A layer of one net, prepared for one chain. `backward` belongs to the latest `forward`."""

    def activate(self, leak: float) -> bool:
        """Whether `forward` ends with LeakyReLU of that slope from now on; `backward` stays as it is."""
        ...

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) channels-last -> (n, C', H', W') channels-last, a tensor of its own."""
        ...

    def backward(self, g: Tensor) -> Tensor:
        """Gradient with respect to the output -> the one with respect to the input, a tensor of its own."""
        ...


def prepare(
    weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, side: int, fused: Kernels | None = None
) -> Convolution:
    """The fastest known form for square kernels (C', C, k, k) on inputs of `side`, by device and shape."""
    out = (side + 2 * padding - weight.shape[-1]) // stride + 1
    if stride == 1 and weight.shape[1] <= FEW_CHANNELS and side % 2 == 0:
        return ImageConvolution(weight, bias, padding=padding, side=side, fused=fused)
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        large = weight.numel() * weight.element_size() >= LARGE_WEIGHTS and out * out <= FEW_PIXELS
        if large and stride == 2 and weight.shape[-1] == 4:
            return MatrixConvolution(weight, bias, padding=padding)
    if Prepacked.takes(weight):
        return PrepackedConvolution(weight, bias, stride=stride, padding=padding, side=side)
    return LibraryConvolution(weight, bias, stride=stride, padding=padding, fused=fused)


class Library:
    """The convolution library's `conv2d`, forward alone."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, fused: Kernels | None = None):
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias, self.stride, self.padding = bias, [stride] * 2, [padding] * 2
        self.fused, self.leak = fused, None

    def activate(self, leak: float) -> bool:
        """In the pass that adds the bias, which cuDNN leaves to another kernel."""
        if self.fused is None or self.bias is None:
            return False
        self.leak = leak
        return True

    def forward(self, x: Tensor) -> Tensor:
        if self.leak is None:
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return self.fused.bias_leaky_(F.conv2d(x, self.weight, None, self.stride, self.padding), self.bias, self.leak)


class Prepacked:
    """oneDNN's convolution with weights in the library's own layout, forward alone: `conv2d` rearranges them each time.

    These operators are what torch's compiler emits; they are not public, so a build without them takes `Library`.
    """

    @staticmethod
    def available() -> bool:
        return torch.backends.mkldnn.is_available() and all(
            hasattr(torch.ops.mkldnn, name)
            for name in (
                "_convolution_pointwise",
                "_convolution_transpose_pointwise",
                "_reorder_convolution_transpose_weight",
            )
        )

    @staticmethod
    def takes(weight: Tensor) -> bool:
        return weight.device.type == "cpu" and weight.dtype == torch.float32 and Prepacked.available()

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, side: int):
        self.bias, self.stride, self.padding = bias, [stride] * 2, [padding] * 2
        self.activation: tuple[str, list[float]] = ("none", [])
        self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(
            weight.contiguous().to_mkldnn(),
            self.padding,
            self.stride,
            [1, 1],
            1,
            [TYPICAL_BATCH, weight.shape[1], side, side],
        )

    def activate(self, leak: float) -> bool:
        """In the same pass over memory."""
        self.activation = ("leaky_relu", [leak])
        return True

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1, *self.activation, ""
        )


def forward_alone(
    weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, side: int, fused: Kernels | None = None
) -> Library | Prepacked:
    """The fastest form of a convolution that is only run forward."""
    if Prepacked.takes(weight):
        return Prepacked(weight, bias, stride=stride, padding=padding, side=side)
    return Library(weight, bias, stride=stride, padding=padding, fused=fused)


class LibraryConvolution(Library):
    """The convolution library's own forward and backward."""

    def forward(self, x: Tensor) -> Tensor:
        self.input = x  # only its shape is read
        return super().forward(x)

    def backward(self, g: Tensor) -> Tensor:
        return torch.ops.aten.convolution_backward(
            g,
            self.input,
            self.weight,
            None,
            self.stride,
            self.padding,
            [1, 1],
            False,
            [0, 0],
            1,
            [True, False, False],
        )[0]


class PrepackedConvolution(Prepacked):
    """Prepacked forward and backward: the gradient with respect to the input is the transposed convolution."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, side: int):
        weight = weight.contiguous()  # once for both directions
        super().__init__(weight, bias, stride=stride, padding=padding, side=side)
        below = (side + 2 * padding - weight.shape[-1]) // stride + 1
        self.extra = [side - ((below - 1) * stride - 2 * padding + weight.shape[-1])] * 2  # rows that no window reached
        batch = [TYPICAL_BATCH, weight.shape[0], below, below]
        self.transposed = torch.ops.mkldnn._reorder_convolution_transpose_weight(
            weight, self.padding, self.extra, self.stride, [1, 1], 1, batch
        )

    def backward(self, g: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            g, self.transposed, None, self.padding, self.extra, self.stride, [1, 1], 1, "none", [], ""
        )


class ImageConvolution:
    """The layer that reads the image, stride 1, even sides: its gradient is computed for 2 x 2 pixels at once.

    A gradient of 1 or 3 channels leaves most of a 16-wide vector empty. Four neighbouring pixels share most of what
    they read, so one convolution of stride 2 with a kernel grown by one row and column gives all four: 4 C channels,
    which are then put in their places. Same products, twice the speed.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, padding: int, side: int, fused: Kernels | None = None):
        _, c, k, _ = weight.shape
        self.channels, self.side = c, side
        turned = weight.flip(2, 3).transpose(0, 1)  # (C, C', k, k): the gradient is a correlation with it
        block = weight.new_zeros(2, 2, c, weight.shape[0], k + 1, k + 1)
        for i in range(2):
            for j in range(2):
                block[i, j, :, :, i : i + k, j : j + k] = turned
        block = block.view(4 * c, -1, k + 1, k + 1)
        # gradient pixels that lie outside the image where the padding exceeds k - 1 are cut off afterwards
        self.cut = max(0, padding - (k - 1))
        outer, below = max(0, k - 1 - padding), side + 2 * padding - k + 1
        self.ahead = forward_alone(weight, bias, stride=1, padding=padding, side=side, fused=fused)
        self.blocks = forward_alone(block, None, stride=2, padding=outer, side=below)

    def activate(self, leak: float) -> bool:
        return self.ahead.activate(leak)

    def forward(self, x: Tensor) -> Tensor:
        return self.ahead.forward(x)

    def backward(self, g: Tensor) -> Tensor:
        made = self.blocks.forward(g).permute(0, 2, 3, 1)
        n, rows, columns, _ = made.shape
        made = made.reshape(n, rows, columns, 2, 2, self.channels).transpose(2, 3)
        made = made.reshape(n, 2 * rows, 2 * columns, self.channels)
        inside = slice(self.cut, self.cut + self.side)
        return made[:, inside, inside].permute(0, 3, 1, 2)


class MatrixConvolution:
    """A 4 x 4 convolution of stride 2 as one matrix product over the whole batch.

    The library walks through the weights once per image; where they are large and the output is small, unfolding
    the input is cheaper.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, padding: int):
        self.out_channels, self.channels, self.kernel, _ = weight.shape
        self.matrix = weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1).contiguous()
        self.bias = bias if bias is not None else weight.new_zeros(self.out_channels)
        self.padding = padding

    def activate(self, leak: float) -> bool:
        return False

    def forward(self, x: Tensor) -> Tensor:
        p, k, c = self.padding, self.kernel, self.channels
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, p, p, p, p)).contiguous()
        n, height, width, _ = padded.shape
        self.padded = padded.shape
        rows, columns = (height - k) // 2 + 1, (width - k) // 2 + 1
        down, across = width * c, c  # a window's row is contiguous: k pixels of c channels
        windows = padded.as_strided((n, rows, columns, k, k * c), (height * down, 2 * down, 2 * across, down, 1))
        made = torch.addmm(self.bias, windows.reshape(n * rows * columns, -1), self.matrix.t())
        return made.view(n, rows, columns, -1).permute(0, 3, 1, 2)

    def backward(self, g: Tensor) -> Tensor:
        n, height, width, c = self.padded
        p, k = self.padding, self.kernel
        rows, columns = g.shape[2:]
        windows = (g.permute(0, 2, 3, 1).reshape(-1, self.out_channels) @ self.matrix).view(n, rows, columns, k, k, c)
        made = g.new_zeros(n, height, width, c)
        for i in range(k):
            for j in range(k):
                made[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] += windows[:, :, :, i, j]
        return made[:, p : height - p, p : width - p].permute(0, 3, 1, 2)
