"""Drawn cores: W has the variance that was asked for, at every format, number of cores and rank."""

from __future__ import annotations

import math

import pytest
import torch
from random_cores import drawn

from dsmsim.tensor.dense import dense
from dsmsim.tensor.initial import core_std, draw_cores, frobenius_square
from dsmsim.tensor_shapes import FORMATS, core_shapes

MODES = {2: (8, 8), 3: (4, 4, 4), 4: (3, 3, 3, 3), 5: (2, 3, 2, 3, 2), 6: (2, 2, 2, 2, 2, 2)}


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("cores", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("format", ["tt", "tr"])
def test_variance_at_every_depth_and_rank(format: str, cores: int, rank: int) -> None:
    """n Var(W) of a single draw; entries share cores, so that a mean that is not 0 would be seen, too."""
    modes = MODES[cores]
    width, target = math.prod(modes), 1.0 / 3.0
    weight = dense(format, drawn(format, modes, modes, rank, variance=target / width), modes, modes)
    assert width * weight.square().mean().item() == pytest.approx(target, rel=1e-10)
    assert width * weight.var().item() == pytest.approx(target, rel=0.1)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("format", FORMATS)
def test_mean_square_is_exact_in_every_format(format: str, rank: int, blocks: int) -> None:
    modes_out, modes_in = (2, 3, 2), (4, 2, 3)
    cores = drawn(format, modes_out, modes_in, rank, blocks=blocks, variance=0.7)
    weight = dense(format, cores, modes_out, modes_in)
    assert weight.square().mean().item() == pytest.approx(0.7, rel=1e-12)
    assert frobenius_square(format, cores).item() == pytest.approx(weight.square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("format", FORMATS)
def test_frobenius_square_of_any_cores_and_its_gradient(format: str) -> None:
    modes = (2, 3, 2)
    generator = torch.Generator().manual_seed(0)
    cores = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in core_shapes(format, modes, modes, 3, 2)
    ]
    weight = dense(format, cores, modes, modes)
    expected = torch.autograd.grad(weight.square().sum(), cores)
    found = torch.autograd.grad(frobenius_square(format, cores), cores)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("format", FORMATS)
def test_all_cores_are_drawn_with_one_spread(format: str) -> None:
    cores = drawn(format, (8, 8), (8, 8), 8, blocks=2)
    spreads = torch.stack([core.std() for core in cores])
    assert (spreads / spreads.mean() - 1.0).abs().max() < 0.25


@pytest.mark.parametrize("format", ["tt", "tr"])
def test_the_average_draw_needs_no_rescaling(format: str) -> None:
    """`core_std` is right on average: at 5 standard errors over draws that are not rescaled."""
    modes, ranks = (2, 3, 2), [1 if format == "tt" else 2, 2, 2, 1 if format == "tt" else 2]
    std, generator = core_std(0.5, ranks), torch.Generator().manual_seed(1)
    squares = []
    for _ in range(500):
        cores = [
            std * torch.randn(left, size, size, right, generator=generator, dtype=torch.float64)
            for left, size, right in zip(ranks[:-1], modes, ranks[1:], strict=True)
        ]
        squares.append(frobenius_square(format, cores) / math.prod(modes) ** 2)
    found = torch.stack(squares)
    assert abs(found.mean().item() - 0.5) < 5.0 * found.std().item() / math.sqrt(len(found))


def test_the_spread_at_rank_one_is_what_the_rescaling_takes_away() -> None:
    """Two cores of 2 x 2 at rank 1: |W|_F^2 has a relative standard deviation of (1.5^2 - 1)^(1/2) = 1.12."""
    generator = torch.Generator().manual_seed(2)
    draws = torch.randn(2, 20000, 4, generator=generator, dtype=torch.float64).square().sum(-1).prod(0)
    assert (draws.std() / draws.mean()).item() == pytest.approx(math.sqrt(1.25), rel=0.05)


def test_a_generator_decides_and_leaves_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = drawn("tr", (2, 2), (2, 2), 3, seed=5), drawn("tr", (2, 2), (2, 2), 3, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(before, torch.random.get_rng_state())


def test_single_precision_and_shapes_without_memory() -> None:
    cores = drawn("tr", (8, 8, 8), (8, 8, 8), 8, dtype=torch.float32)
    assert frobenius_square("tr", cores).item() == pytest.approx(512.0**2, rel=1e-4)
    draw_cores(
        "tt", [torch.empty(shape, device="meta") for shape in core_shapes("tt", [2, 2], [2, 2], 2)], 1.0
    )


def test_zero_variance_gives_zeros() -> None:
    assert all(bool((core == 0.0).all()) for core in drawn("cp", (2, 2), (2, 2), 3, variance=0.0))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"variance of -1\.0 is negative"):
        drawn("tt", (2, 2), (2, 2), 1, variance=-1.0)
    with pytest.raises(ValueError, match=r"must be one of tt, tr, lowrank, cp, tucker, blockterm"):
        frobenius_square("svd", [torch.ones(1, 1)])
    made = [core.requires_grad_() * 1.0 for core in drawn("tt", (2, 2), (2, 2), 1)]
    with pytest.raises(ValueError, match="parametrisation computes cannot be filled"):
        draw_cores("tt", made, 1.0)
