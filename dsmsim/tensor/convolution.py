"""A two-dimensional convolution whose kernel is a tensor train.

    y[s, p] = b[s] + sum_{u, c} K[s, u, c] x[c, p + u]        u the k_1 k_2 positions of the kernel

The kernel is not cut along its four axes: it is a matrix S x (k_1 k_2 C) of which positions and factors of
the channels are modes (Garipov et al., "Ultimate tensorization: compressing convolutional and FC layers
alike", 2016). Cores have shapes (1, 1, k_1 k_2, r_1), (r_1, S_1, C_1, r_2), ... .

The kernel is rebuilt from its cores and given to torch's convolution. That costs about k_1 k_2 C S r
multiply-adds, against k_1 k_2 C S for every pixel of every image, so nothing is gained by applying the cores
one after the other unless ranks are tiny.

Shapes: C channels in (of a group), S channels out, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dsmsim.tensor.tt_linear import TTLinear
from dsmsim.tensor_shapes.cores import Rank
from dsmsim.tensor_shapes.modes import balanced_modes, layer_modes

Pair = int | tuple[int, int]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class TTConv2d(nn.Module):
    """A twin of `torch.nn.Conv2d`, arguments in its order, with its kernel in TT form.

    Args:
        in_channels, out_channels: channels of the images.
        kernel_size: k, or (k_1, k_2).
        stride, dilation, groups: as in `torch.nn.Conv2d`.
        padding: pixels added on both sides, or "same" (not with strides) or "valid".
        bias: whether a bias is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        rank: bond rank, as in `TTLinear`.
        modes_in, modes_out: factors of `in_channels / groups` and of `out_channels`, of equal length;
            balanced ones where not given.

    Raises:
        ValueError: sizes that do not fit modes or groups, or a padding that does not exist.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | Literal["same", "valid"] = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        rank: Rank,
        modes_in: Sequence[int] | None = None,
        modes_out: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels do not make {groups} groups")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode {padding_mode!r} must be one of {', '.join(PADDING_MODES)}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = _pair(kernel_size), _pair(stride), _pair(dilation)
        self.padding_mode = padding_mode
        self.padding = self._sides(padding)
        positions, channels = math.prod(self.kernel_size), in_channels // groups
        count = len(modes_in or modes_out or layer_modes(out_channels, channels)[0])
        modes_in = modes_in or balanced_modes(channels, count)
        modes_out = modes_out or balanced_modes(out_channels, count)
        self.kernel = TTLinear(
            positions * channels,
            out_channels,
            modes_in=[positions, *modes_in],
            modes_out=[1, *modes_out],
            rank=rank,
            bias=False,
            device=device,
            dtype=dtype,
        )
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def _sides(self, padding: Pair | str) -> tuple[int, int, int, int]:
        """Pixels added left, right, above and below."""
        if isinstance(padding, str):
            if padding not in ("same", "valid") or (padding == "same" and self.stride != (1, 1)):
                raise ValueError(f"padding {padding!r} must be numbers, 'valid' or, without strides, 'same'")
            kept = padding == "same"
            both = [kept * d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return both[1] // 2, both[1] - both[1] // 2, both[0] // 2, both[0] - both[0] // 2
        above, left = _pair(padding)
        return left, left, above, above

    def reset_parameters(self) -> None:
        """Draw kernel and bias with the variance of `nn.Conv2d`, 1 / (3 k_1 k_2 C)."""
        self.kernel.reset_parameters()
        if self.bias is not None:
            bound = 1.0 / math.sqrt(self.kernel.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    @property
    def weight(self) -> Tensor:
        """The dense kernel (S, C, k_1, k_2)."""
        positions_last = self.kernel.weight.reshape(self.out_channels, *self.kernel_size, -1)
        return positions_last.movedim(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to images (..., groups C, H, W), with one leading axis or none, as `torch.nn.Conv2d`."""
        left, right, above, below = self.padding
        padding = (above, left)
        if self.padding_mode != "zeros" or left != right or above != below:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x, padding = nn.functional.pad(x, self.padding, mode=mode), (0, 0)
        return nn.functional.conv2d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return f"{sizes}, stride={self.stride}, groups={self.groups}"


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
