"""The matrix products of the fused engine, and which library makes them.

On a CPU in single precision the linear layer of oneDNN is up to twice as fast as the BLAS that torch.mm
calls, depending on the processor. torch offers it on plain tensors only under a private name (the one its own
compiler uses), hence the check; without it, in other precisions and for narrow matrices it is torch.mm.
The choice depends on shapes alone, so that a run can be repeated bit by bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# below this width oneDNN's start-up costs more than it gains, at least with a transposed left factor
ONEDNN_WIDTH = 128
_pointwise: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_onednn: Any = torch.backends.mkldnn


def onednn_applies(x: Tensor, width: int) -> bool:
    """Whether products of x with matrices of this width go to oneDNN."""
    return (
        _pointwise is not None
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and width >= ONEDNN_WIDTH
        and bool(_onednn.is_available())
        and bool(_onednn.enabled)
    )


def linear(stack: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """stack (K, rows, P, M) times the transpose of weight (K, N, M): (K, rows, P, N), in `out` or not."""
    flat = stack.flatten(1, 2)
    if len(flat) == 1 and onednn_applies(flat, min(weight.shape[1:])):
        product: Tensor = _pointwise(flat[0], weight[0], None, "none", [], "")
        return product.view(out.shape)
    torch.bmm(flat, weight.transpose(1, 2), out=out.flatten(1, 2))
    return out


def add_linear(total: Tensor, stack: Tensor, weight: Tensor) -> Tensor:
    """Add `linear` of stack and weight to total, which is returned."""
    flat = stack.flatten(1, 2)
    if len(flat) == 1 and onednn_applies(flat, min(weight.shape[1:])):
        total.view(flat.shape[1], -1).add_(_pointwise(flat[0], weight[0], None, "none", [], ""))
    else:
        total.flatten(1, 2).baddbmm_(flat, weight.transpose(1, 2))
    return total


def narrow_linear(stack: Tensor, weight: Tensor) -> Tensor:
    """`linear` for few outputs, in new memory and with points last: (K, N, rows, P)."""
    # BLAS is four times faster at a wide product than at the same tall one
    networks, rows, points, _ = stack.shape
    flat = torch.bmm(weight.contiguous(), stack.flatten(1, 2).transpose(1, 2))
    return flat.view(networks, -1, rows, points)


def outer(left: Tensor, right: Tensor, total: Tensor) -> None:
    """Add the sum over rows and points of left (K, rows, P, N) x right (K, rows, P, M) to total (K, N, M)."""
    a, b = left.flatten(1, 2), right.flatten(1, 2)
    if len(a) == 1 and onednn_applies(a, min(total.shape[1:])):
        total[0].add_(_pointwise(a[0].t(), b[0].t(), None, "none", [], ""))
    elif total.shape[2] < total.shape[1]:
        total.add_(torch.bmm(b.transpose(1, 2), a).transpose(1, 2))
    else:
        total.baddbmm_(a.transpose(1, 2), b)
