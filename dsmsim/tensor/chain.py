"""A chain of cores applied to rows, or multiplied to a matrix.

    y(o_1 .. o_G) = sum_i tr(G_1[o_1, i_1] .. G_G[o_G, i_G]) x(i_1 .. i_G)

with core k of shape (r_{k-1}, o_k, i_k, r_k) and r_0 = r_G (1 unless the chain is a ring).

Going from left to right, the state before core k is x(o_1 .. o_{k-1}, r_{k-1}, i_k, i_{k+1} .. i_G): the
core acts on two neighbouring axes and puts (o_k, r_k) in their place, so every step is a product of one
matrix with many that lie one after the other, and nothing is transposed; from right to left likewise. Only a
ring of three or more cores moves its closing bond once, before the last core.

Shapes: B rows, O = prod o_k outputs, I = prod i_k inputs, c = r_0 the ring's bond; n, p, q, s as in
`dsmsim.tensor_shapes.work`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor_shapes.strategy import is_thin
from dsmsim.tensor_shapes.work import Direction, Sizes, merge


def merged(cores: Sequence[Tensor]) -> Tensor:
    """One core (r_0, O, I, r_d) from neighbours, in the order that costs least."""
    if len(cores) == 1:
        return cores[0]
    sizes = tuple(core.shape[1] * core.shape[2] for core in cores)
    cut: int = _cut(sizes, (cores[0].shape[0], *(core.shape[3] for core in cores)))
    left, right = merged(cores[:cut]), merged(cores[cut:])
    (ring, out, into, bond), (_, rows, columns, end) = left.shape, right.shape
    full = left.reshape(ring * out * into, bond) @ right.reshape(bond, rows * columns * end)
    full = full.reshape(ring, out, into, rows, columns, end).transpose(2, 3)
    return full.reshape(ring, out * rows, into * columns, end)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _cut(sizes: Sizes, bonds: Sizes) -> int:
    return merge(sizes, bonds)[1]


def product(left: Tensor, right: Tensor) -> Tensor:
    """W (O, I) of a chain of two cores (c, o_1, i_1, r) and (r, o_2, i_2, c)."""
    ring, bond = left.shape[0], left.shape[3]
    (_, out, into, _), (_, inner_out, inner_in, _) = left.shape, right.shape
    if ring > 1:
        left = left.permute(1, 2, 0, 3)
        right = right.permute(3, 0, 1, 2)
    full = left.reshape(out * into, ring * bond) @ right.reshape(ring * bond, inner_out * inner_in)
    full = full.reshape(out, into, inner_out, inner_in).transpose(1, 2)
    return full.reshape(out * inner_out, into * inner_in)


def apply(x: Tensor, cores: Sequence[Tensor], direction: Direction) -> Tensor:
    """x (B, I) through two or more cores: (B, O)."""
    return _rightwards(x, cores) if direction == "left to right" else _leftwards(x, cores)


def _rightwards(x: Tensor, cores: Sequence[Tensor]) -> Tensor:
    rows, rest = x.shape[0], x.shape[1]
    ring, out, into, bond = cores[0].shape
    rest //= into
    first = cores[0].permute(1, 0, 3, 2).reshape(out * ring * bond, into)
    state = _step(first, x.reshape(rows, into, rest))  # (B, o_1 c r_1, rest)
    start, outs = out, out
    for core in cores[1:-1]:
        left, out, into, bond = core.shape
        rest //= into
        own = core.permute(1, 3, 0, 2).reshape(out * bond, left * into)
        state = _step(own, state.reshape(rows * outs * ring, left * into, rest))
        outs *= out
    left, out, into, _ = cores[-1].shape
    if ring > 1 and len(cores) > 2:  # (B, o_1, c, o_2 .., r i) with c to the bond it closes on
        state = state.reshape(rows, start, ring, outs // start, left * into).transpose(2, 3)
    last = cores[-1].permute(1, 3, 0, 2).reshape(out, ring * left * into)
    return _step(last, state.reshape(rows * outs, ring * left * into, 1)).reshape(rows, outs * out)


def _leftwards(x: Tensor, cores: Sequence[Tensor]) -> Tensor:
    rows, before = x.shape[0], x.shape[1]
    bond, out, into, ring = cores[-1].shape
    before //= into
    last = cores[-1].permute(0, 3, 1, 2).reshape(bond * ring * out, into)
    state = _step(last, x.reshape(rows * before, into, 1))  # (B rest, r c o_G, 1)
    outs, end = out, out
    for core in reversed(cores[1:-1]):
        bond, out, into, right = core.shape
        before //= into
        own = core.reshape(bond * out, into * right)
        state = _step(own, state.reshape(rows * before, into * right, ring * outs))
        outs *= out
    _, out, into, right = cores[0].shape
    if ring > 1 and len(cores) > 2:  # (B, i r, o_2 .., c, o_G)
        state = state.reshape(rows, into * right, outs // end, ring, end).transpose(2, 3)
    first = cores[0].permute(1, 2, 3, 0).reshape(out, into * right * ring)
    return _step(first, state.reshape(rows, into * right * ring, outs)).reshape(rows, out * outs)


def _step(matrix: Tensor, state: Tensor) -> Tensor:
    """A matrix (p, q) times n matrices (q, s): (n, p, s).

    A batched product with the matrix repeated by stride, which neither copies nor transposes, also not in
    its derivatives; `torch.matmul` would. Where s is thin, it is slow, and a copy is worth its time.
    """
    n, q, s = state.shape
    if s == 1:
        return (state.reshape(n, q) @ matrix.T).unsqueeze(2)
    if is_thin(s):
        columns = state.transpose(1, 2).reshape(n * s, q)
        return (columns @ matrix.T).reshape(n, s, len(matrix)).transpose(1, 2)
    return torch.bmm(matrix.expand(n, *matrix.shape), state)
