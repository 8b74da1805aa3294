"""One tensor-decomposed linear layer by the name of its format."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dsmsim.tensor.cp_linear import CPLinear
from dsmsim.tensor.decompose import decompose
from dsmsim.tensor.layer import TensorLinear
from dsmsim.tensor.low_rank import LowRankLinear
from dsmsim.tensor.tt_linear import TRLinear, TTLinear
from dsmsim.tensor.tucker_linear import BlockTermLinear, TuckerLinear
from dsmsim.tensor_shapes import FORMATS, Rank, balanced_modes, layer_modes
from dsmsim.tensor_shapes.strategy import Choice

LAYERS: dict[str, type[TensorLinear]] = {
    layer.format: layer
    for layer in (TTLinear, TRLinear, LowRankLinear, CPLinear, TuckerLinear, BlockTermLinear)
}


def tensor_linear(
    format: str,
    in_features: int,
    out_features: int,
    modes_in: Sequence[int] | None = None,
    modes_out: Sequence[int] | None = None,
    *,
    rank: Rank,
    blocks: int = 1,
    bias: bool = True,
    strategy: Choice = "auto",
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    permute_in: Sequence[int] | Tensor | None = None,
    permute_out: Sequence[int] | Tensor | None = None,
) -> TensorLinear:
    """A layer of this format.

    Args:
        format: one of `dsmsim.tensor_shapes.FORMATS`.
        in_features, out_features: sizes of the dense matrix.
        modes_in, modes_out: their factorisations; balanced ones where they are not given, as many on one
            side as on the other. "lowrank" has none.
        rank, blocks: see the layers; `blocks` is for "blockterm" only.
        bias, strategy, permute_in, permute_out: see `TensorLinear`.

    Raises:
        ValueError: an unknown format, or arguments that do not fit it.
    """
    if format not in LAYERS:
        raise ValueError(f"format {format!r} must be one of {', '.join(FORMATS)}")
    shape: dict[str, object] = {"rank": rank}
    if format != "lowrank":
        shape["modes_in"], shape["modes_out"] = _modes(in_features, out_features, modes_in, modes_out)
        shape["blocks"] = blocks
    elif modes_in is not None or modes_out is not None or blocks != 1:
        raise ValueError("format 'lowrank' has no modes and no blocks")
    rest = {
        "bias": bias,
        "strategy": strategy,
        "device": device,
        "dtype": dtype,
        "permute_in": permute_in,
        "permute_out": permute_out,
    }
    return LAYERS[format](in_features, out_features, **shape, **rest)  # type: ignore[arg-type]


def from_dense(
    format: str,
    linear: nn.Linear,
    modes_in: Sequence[int] | None = None,
    modes_out: Sequence[int] | None = None,
    *,
    rank: int | None = None,
    tolerance: float | None = None,
    blocks: int = 1,
    strategy: Choice = "auto",
    permute_in: Sequence[int] | Tensor | None = None,
    permute_out: Sequence[int] | Tensor | None = None,
) -> TensorLinear:
    """The layer of this format next to a dense one, with its bias, precision and device.

    Args:
        format, modes_in, modes_out, blocks, strategy: see `tensor_linear`.
        linear: the dense layer.
        rank, tolerance: one of them, see `decompose.decompose`.
        permute_in, permute_out: the order in which the cores see inputs and outputs.

    Raises:
        ValueError: not one of rank and tolerance, or arguments that do not fit the format.
    """
    weight = linear.weight.detach()
    layer = tensor_linear(
        format,
        linear.in_features,
        linear.out_features,
        modes_in,
        modes_out,
        rank=rank or 1,
        blocks=blocks,
        bias=linear.bias is not None,
        strategy=strategy,
        device=weight.device,
        dtype=weight.dtype,
        permute_in=permute_in,
        permute_out=permute_out,
    )
    if layer.permute_out is not None:
        weight = weight[layer.permute_out.argsort()]
    if layer.permute_in is not None:
        weight = weight[:, layer.permute_in]
    layer.set_cores(decompose(format, weight, layer.modes_out, layer.modes_in, rank, tolerance, blocks))
    if layer.bias is not None:
        layer.bias.data.copy_(linear.bias.data)
    return layer


def _modes(
    in_features: int,
    out_features: int,
    modes_in: Sequence[int] | None,
    modes_out: Sequence[int] | None,
) -> tuple[Sequence[int], Sequence[int]]:
    if modes_in is None and modes_out is None:
        chosen_out, chosen_in = layer_modes(out_features, in_features)
        return chosen_in, chosen_out
    modes_in = balanced_modes(in_features, len(modes_out or ())) if modes_in is None else modes_in
    return modes_in, balanced_modes(out_features, len(modes_in)) if modes_out is None else modes_out
