"""Functions of a distance: their definition, its derivatives, and distances that are 0 or huge."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dsmsim.march.pair_basis import PairBasis

BASIS = PairBasis(length=0.4, reach=7.0, order=6)


def plain(basis: PairBasis, r: Tensor) -> Tensor:
    """phi (K + 1, ...) of distances (...)."""
    y = math.pi * torch.asinh(r / basis.length) / math.asinh(basis.reach / basis.length)
    return torch.stack([torch.cos(k * y) for k in range(basis.order + 1)])


def vectors(axes: int) -> Tensor:
    """(W, p, D) with lengths between a thousandth and 30."""
    generator = torch.Generator().manual_seed(1)
    unit = torch.nn.functional.normalize(
        torch.randn(5, 4, axes, generator=generator, dtype=torch.float64), dim=-1
    )
    sizes = torch.logspace(-3.0, math.log10(30.0), 20, dtype=torch.float64)
    return unit * sizes.reshape(5, 4, 1)


@pytest.mark.parametrize("order", [0, 1, 2, 32])
def test_values_are_cosines(order: int) -> None:
    basis = BASIS._replace(order=order)
    square = vectors(2).square().sum(-1)
    expected = plain(basis, square.sqrt())
    tables = basis.tables(square, 2, laplacian=True)
    assert tables.laplacian is not None
    assert tables.value.shape == tables.slope.shape == tables.laplacian.shape == (order + 1, 5, 4)
    torch.testing.assert_close(tables.value, expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_derivatives(axes: int) -> None:
    r, func = vectors(axes), torch.func
    tables = BASIS.tables(r.square().sum(-1), axes, laplacian=True)

    def value(r: Tensor) -> Tensor:
        return plain(BASIS, r.square().sum().sqrt())

    flat = r.reshape(-1, axes)
    gradient = func.vmap(func.jacrev(value))(flat).reshape(5, 4, -1, axes).permute(2, 0, 1, 3)
    hessian = func.vmap(func.jacfwd(func.jacrev(value)))(flat)
    laplacian = hessian.diagonal(dim1=-2, dim2=-1).sum(-1).reshape(5, 4, -1).permute(2, 0, 1)
    scale = float(laplacian.abs().max())
    torch.testing.assert_close(tables.slope.unsqueeze(-1) * r, gradient, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(tables.laplacian, laplacian, rtol=1e-9, atol=1e-11 * scale)
    without = BASIS.tables(r.square().sum(-1), axes, laplacian=False)
    assert without.laplacian is None
    assert torch.equal(without.slope, tables.slope)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("size", [0.0, 1e-200, 1e-30, 1e-12])
def test_where_particles_meet(axes: int, size: float) -> None:
    square = torch.full((1, 1), size**2, dtype=torch.float64)
    tables = BASIS.tables(square, axes, laplacian=True)
    k = torch.arange(7, dtype=torch.float64).reshape(-1, 1, 1)
    # cos(k y) = 1 - (k y)^2/2 with y = rate r/length
    bend = -((k * math.pi / math.asinh(7.0 / 0.4) / 0.4) ** 2)
    assert tables.laplacian is not None
    torch.testing.assert_close(tables.value, torch.ones_like(bend), rtol=1e-14, atol=0.0)
    torch.testing.assert_close(tables.slope, bend, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(tables.laplacian, axes * bend, rtol=1e-12, atol=1e-12)


def test_far_away_nothing_grows() -> None:
    square = torch.tensor([[1e4, 1e12, 1e24]], dtype=torch.float64)
    tables = BASIS.tables(square, 3, laplacian=True)
    assert tables.laplacian is not None
    for table in tables:
        assert bool(torch.isfinite(table).all())
    assert float(tables.value.abs().max()) <= 1.0 + 1e-12
    assert float(tables.laplacian[:, 0, 1:].abs().max()) < 1e-9
    # at the reach the first of them has run through half a period
    torch.testing.assert_close(
        BASIS.tables(torch.tensor([[49.0]], dtype=torch.float64), 1, laplacian=False).value[:, 0, 0],
        (-1.0) ** torch.arange(7, dtype=torch.float64),
        rtol=1e-12,
        atol=1e-12,
    )
