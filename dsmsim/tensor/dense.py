"""The dense matrix of cores of any format, and back from a matrix to a tensor.

The formats and the shapes of their cores are in `dsmsim.tensor_shapes.cores`. W is O x I with O = prod o_k
and I = prod i_k; a tensor of W has the modes n_k = o_k i_k, k = 1 .. d; r and q are ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.arithmetic import full

Modes = Sequence[int]


def dense(format: str, cores: Sequence[Tensor], modes_out: Modes, modes_in: Modes) -> Tensor:
    """W (O, I) of cores of any format; differentiable."""
    if format == "lowrank":
        return cores[0] @ cores[1]
    if format in ("tt", "tr"):
        return full(cores)
    if format == "cp":
        tensor = summed([factor.flatten(0, 1) for factor in cores])
    elif format == "tucker":
        tensor = multiplied(cores[0], [factor.flatten(0, 1) for factor in cores[1:]])
    else:
        factors = [factor.flatten(1, 2) for factor in cores[1:]]
        tensor = sum_of_terms(cores[0], factors)
    count = len(modes_out)
    pairs = [size for pair in zip(modes_out, modes_in, strict=True) for size in pair]
    order = [*range(0, 2 * count, 2), *range(1, 2 * count, 2)]
    weight: Tensor = tensor.reshape(pairs).permute(order)
    return weight.reshape(math.prod(modes_out), math.prod(modes_in))


def sum_of_terms(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """sum_b of Tucker terms, core (B, q_1 .. q_d) and factors (B, n_k, q_k): (n_1 .. n_d)."""
    terms = [multiplied(core[b], [factor[b] for factor in factors]) for b in range(len(core))]
    return torch.stack(terms).sum(0)


def multiplied(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """A tensor multiplied by a matrix (n_k, q_k) along every mode."""
    for factor in factors:  # every product takes the first axis and puts the new one last
        core = torch.tensordot(core, factor, dims=([0], [1]))
    return core


def summed(factors: Sequence[Tensor]) -> Tensor:
    """sum_q of outer products of columns: (n_1 .. n_d) from factors (n_k, r)."""
    first, *others = factors
    tensor = first @ columns_multiplied(others).T
    return tensor.reshape([len(factor) for factor in factors])


def columns_multiplied(factors: Sequence[Tensor]) -> Tensor:
    """Khatri-Rao product (prod n_k, r) of factors (n_k, r), the last one's index fastest."""
    product = factors[0].new_ones(1, factors[0].shape[1])
    for factor in factors:
        product = (product.unsqueeze(1) * factor).flatten(0, 1)
    return product


def tensor_of(weight: Tensor, modes_out: Modes, modes_in: Modes) -> Tensor:
    """W (O, I) as a tensor of the modes n_k = o_k i_k.

    Raises:
        ValueError: the modes do not multiply to W's shape.
    """
    count = len(modes_out)
    if (math.prod(modes_out), math.prod(modes_in)) != tuple(weight.shape) or len(modes_in) != count:
        raise ValueError(
            f"modes {list(modes_out)} x {list(modes_in)} do not make a matrix of {list(weight.shape)}"
        )
    order = [axis for k in range(count) for axis in (k, count + k)]
    sizes = [out * into for out, into in zip(modes_out, modes_in, strict=True)]
    return weight.reshape(*modes_out, *modes_in).permute(order).reshape(sizes)
