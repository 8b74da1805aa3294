"""Exchange of particles: who is equivariant, and what happens where two particles meet."""

from __future__ import annotations

import itertools

import pytest
import torch
from field_problems import problem
from network_fields import fields_of, points
from torch import Tensor

from dsmsim.config import parse_config
from dsmsim.networks import Fields
from dsmsim.networks.sorted_mlp import SortedMLP

SYMMETRIC = [("equivariant", 1), ("equivariant", 2), ("equivariant", 3), ("sorted", 1)]


def exchanged(values: Tensor, order: tuple[int, ...], dimensions: int) -> Tensor:
    """Configurations (B, n) with the particles in another order."""
    return values.reshape(len(values), -1, dimensions)[:, list(order)].reshape(values.shape)


def largest_defect(fields: Fields, x: Tensor, t: Tensor, particles: int, dimensions: int) -> float:
    """Largest |f(Px) - P f(x)| over all permutations, in units of the largest |f|."""
    values = fields(x, t)
    defects = [
        (moved - exchanged(value, order, dimensions)).abs().max() / value.abs().max()
        for order in itertools.permutations(range(particles))
        for moved, value in zip(fields(exchanged(x, order, dimensions), t), values, strict=True)
    ]
    return max(defect.item() for defect in defects)


@pytest.mark.parametrize("frame", ["lab", "comoving"])
@pytest.mark.parametrize(("kind", "dimensions"), SYMMETRIC)
def test_exchanging_particles_exchanges_their_velocities(kind: str, dimensions: int, frame: str) -> None:
    config = problem(kind, dimensions=dimensions, frame=frame)
    x, t = points(config, 10)
    assert largest_defect(fields_of(config), x, t, 3, dimensions) < 1e-13


@pytest.mark.parametrize(("kind", "dimensions"), SYMMETRIC)
def test_equivariance_with_tensor_layers(kind: str, dimensions: int) -> None:
    config = problem(kind, dimensions=dimensions, tensor={"rank": 2})
    x, t = points(config, 10)
    assert largest_defect(fields_of(config), x, t, 3, dimensions) < 1e-13


@pytest.mark.parametrize("dimensions", [1, 2])
def test_an_mlp_has_no_symmetry_built_in(dimensions: int) -> None:
    config = problem("mlp", dimensions=dimensions)
    x, t = points(config, 10)
    assert largest_defect(fields_of(config), x, t, 3, dimensions) > 1e-3


def test_an_equivariant_field_depends_on_the_other_particles() -> None:
    """Equivariance alone would hold for particles that do not see each other."""
    config = problem("equivariant")
    fields = fields_of(config)
    x, t = points(config, 5)
    moved = x.clone()
    moved[:, 2] += 0.3
    for before, after in zip(fields(x, t), fields(moved, t), strict=True):
        assert ((after - before)[:, :2].abs() > 1e-7 * fields.frame.velocity).all()


def relative_velocities(fields: Fields, gaps: Tensor, dimensions: int) -> Tensor:
    """f_1 - f_2 along the first axis with x_1 - x_2 = gap along it: (gaps, 2), of u and of v."""
    third = torch.linspace(0.3, 0.6, dimensions, dtype=torch.float64)
    middle = torch.linspace(0.1, 0.2, dimensions, dtype=torch.float64)
    x = torch.stack([middle, middle, third]).reshape(1, -1).repeat(len(gaps), 1)
    x[:, 0] += 0.5 * gaps
    x[:, dimensions] -= 0.5 * gaps
    u, v = fields(x, torch.full((len(gaps), 1), 0.8, dtype=torch.float64))
    return torch.stack([f[:, 0] - f[:, dimensions] for f in (u, v)], dim=-1)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_equivariant_fields_are_smooth_where_particles_meet(dimensions: int) -> None:
    """The relative velocity is odd in the gap and vanishes with it: linearly, with a cubic correction."""
    fields = fields_of(problem("equivariant", dimensions=dimensions))
    gaps = torch.tensor([0.2, 0.1, 0.05, 0.025], dtype=torch.float64)
    ahead, behind = (relative_velocities(fields, sign * gaps, dimensions) for sign in (1.0, -1.0))
    at_contact = relative_velocities(fields, torch.zeros(1, dtype=torch.float64), dimensions)
    assert at_contact.abs().max() < 1e-14
    torch.testing.assert_close(ahead, -behind, rtol=1e-10, atol=1e-14)
    curvature = (ahead[:-1] - 2.0 * ahead[1:]).abs().log2()  # the linear part cancels
    orders = curvature[:-1] - curvature[1:]
    assert ((orders > 2.7) & (orders < 3.3)).all()


def test_sorted_fields_jump_where_particles_meet() -> None:
    fields = fields_of(problem("sorted"))
    gaps = torch.tensor([1e-2, 1e-4, 1e-6], dtype=torch.float64)
    ahead, behind = (relative_velocities(fields, sign * gaps, 1) for sign in (1.0, -1.0))
    jump = ahead - behind
    assert (jump.abs() > 1e-2 * fields.frame.velocity).all()
    torch.testing.assert_close(jump[1], jump[2], rtol=1e-2, atol=0.0)  # it stays as the gap closes


@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
def test_smooth_kinds_do_not_jump(kind: str) -> None:
    fields = fields_of(problem(kind))
    gaps = torch.tensor([1e-2, 1e-4, 1e-6], dtype=torch.float64)
    jump = relative_velocities(fields, gaps, 1) - relative_velocities(fields, -gaps, 1)
    assert (jump.abs() < 20.0 * gaps[:, None] * fields.frame.velocity).all()


def test_sorted_needs_a_line() -> None:
    table = parse_config(
        {
            "system": {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}},
            "time": {"end": 1.0},
        }
    ).network
    with pytest.raises(ValueError, match="dimensions must be 1"):
        SortedMLP(table, 2, 2)
