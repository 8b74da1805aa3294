"""Singular values and entropies of the bonds: how much of its rank each bond uses.

At inner bond k, W((o_1 i_1 .. o_k i_k), (o_{k+1} i_{k+1} .. o_d i_d)) has singular values s_a, at most r_k of
them in a tensor train. With p_a = s_a^2 / sum_b s_b^2 its entropy is

    S_k = -sum_a p_a ln p_a    (nats; 0 for a product, ln r_k for a flat spectrum)

the von Neumann entropy of an operator's cut (Schollwoeck, Ann. Phys. 326, 96, 2011). A ring is cut at two
bonds at once, k and the closing one, and has up to r_0 r_k values there: it is read as a train of these
ranks. (`canonical.bond_singular_values` has spectra of single bonds of a ring, which are another thing.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from dsmsim.tensor.canonical import bond_singular_values
from dsmsim.tensor.tt_linear import TTLinear


class RankReport(TypedDict):
    """Ranks r_0 .. r_d and the entropies (nats) of the inner bonds of a layer."""

    ranks: tuple[int, ...]
    entropies: list[float]


def as_train(cores: Sequence[Tensor]) -> list[Tensor]:
    """Cores of a train for the matrix of a ring: bond k carries (r_0, r_k), the ends are closed."""
    ring = cores[0].shape[0]
    if ring == 1:
        return list(cores)
    one = torch.eye(ring, dtype=cores[0].dtype, device=cores[0].device)
    train = [cores[0].permute(1, 2, 0, 3).flatten(2).unsqueeze(0)]
    for core in cores[1:-1]:
        left, out, into, right = core.shape
        wide = torch.einsum("ab,loir->aloibr", one, core)
        train.append(wide.reshape(ring * left, out, into, ring * right))
    return [*train, cores[-1].permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(-1)]


@torch.no_grad()
def bond_spectra(layer: TTLinear) -> list[Tensor]:
    """Singular values of W at each inner bond, falling, in double precision; exact for trains and rings."""
    return bond_singular_values(as_train([core.detach().double() for core in layer.cores]))


def bond_entropies(layer: TTLinear) -> list[float]:
    """Von Neumann entropy (nats) of the normalised squared singular values at each inner bond."""
    return [_entropy(values) for values in bond_spectra(layer)]


def rank_report(module: nn.Module) -> dict[str, RankReport]:
    """Ranks and entropies of all TT and TR layers of a module, by dotted name."""
    return {
        name: {"ranks": layer.ranks, "entropies": bond_entropies(layer)}
        for name, layer in module.named_modules()
        if isinstance(layer, TTLinear)
    }


def _entropy(values: Tensor) -> float:
    squares = values.square()
    share = squares / squares.sum().clamp_min(torch.finfo(squares.dtype).tiny)
    return float(-torch.xlogy(share, share).sum())
