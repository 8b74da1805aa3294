"""Arithmetic, canonical forms, rounding and spectra of TT and ring cores, against the dense matrix."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cores import drawn
from torch import Tensor

from dsmsim.tensor.canonical import (
    add,
    balanced,
    bond_singular_values,
    full,
    inner,
    norm,
    orthogonalise,
    rounded,
    scaled,
)
from dsmsim.tensor.dense import tensor_of
from dsmsim.tensor.rings import minimal, ring_spectra
from dsmsim.tensor_shapes import bond_limits

FORMATS = ["tt", "tr"]
OUT, IN = (2, 3, 4), (4, 2, 3)

modes = st.integers(2, 4).flatmap(
    lambda d: st.tuples(*[st.lists(st.integers(1, 3), min_size=d, max_size=d) for _ in range(2)])
)
trains = st.builds(
    lambda format, sides, rank, seed: drawn(format, *sides, rank, seed),
    st.sampled_from(FORMATS),
    modes,
    st.integers(1, 4),
    st.integers(0, 1000),
)


def compressible(format: str, rank: int, noise: float, seed: int = 0) -> list[Tensor]:
    """A matrix of this rank and a small one of rank 2 on top."""
    small = drawn(format, OUT, IN, 2, seed + 1)
    return add(drawn(format, OUT, IN, rank, seed), scaled(small, noise))


def ranks_of(cores: list[Tensor]) -> list[int]:
    return [cores[0].shape[0], *(core.shape[-1] for core in cores)]


def error(cores: list[Tensor], exact: list[Tensor]) -> float:
    return ((full(cores) - full(exact)).norm() / full(exact).norm()).item()


def in_another_gauge(cores: list[Tensor]) -> list[Tensor]:
    """The same ring with a random matrix and its inverse put into every bond."""
    generator = torch.Generator().manual_seed(3)
    found = list(cores)
    for k in range(len(cores)):
        rank, following = cores[k].shape[-1], (k + 1) % len(cores)
        gauge = torch.randn(rank, rank, generator=generator, dtype=torch.float64)
        found[k] = torch.tensordot(found[k], gauge, dims=1)
        found[following] = torch.tensordot(gauge.inverse(), found[following], dims=1)
    return found


def left_defect(core: Tensor) -> float:
    matrix = core.flatten(0, 2)
    return (matrix.T @ matrix - torch.eye(matrix.shape[1])).abs().max().item()


def right_defect(core: Tensor) -> float:
    matrix = core.flatten(1)
    return (matrix @ matrix.T - torch.eye(len(matrix))).abs().max().item()


@settings(max_examples=30, deadline=None)
@given(trains, st.integers(1, 3), st.integers(0, 1000))
def test_inner_norm_sum_and_multiple(cores: list[Tensor], rank: int, seed: int) -> None:
    format = "tt" if cores[0].shape[0] == 1 else "tr"
    sides = [core.shape[1] for core in cores], [core.shape[2] for core in cores]
    other = drawn(format, *sides, rank, seed)
    first, second = full(cores), full(other)
    size = (first.norm() * second.norm()).item()
    assert inner(cores, other).item() == pytest.approx((first * second).sum().item(), abs=1e-12 * size)
    assert norm(cores).item() == pytest.approx(first.norm().item(), rel=1e-12)
    torch.testing.assert_close(full(add(cores, scaled(other, -3.0))), first - 3.0 * second)


def test_a_train_and_a_ring_add_up_to_a_ring() -> None:
    train, ring = drawn("tt", OUT, IN, 3), drawn("tr", OUT, IN, 2)
    both = add(train, ring)
    assert ranks_of(both) == [3, 5, 5, 3]
    torch.testing.assert_close(full(both), full(train) + full(ring))
    assert inner(train, ring).item() == pytest.approx((full(train) * full(ring)).sum().item())


def test_a_single_core_is_a_train_or_ring_of_its_own() -> None:
    core = torch.randn(3, 2, 4, 3, dtype=torch.float64)
    matrix = torch.einsum("aoia->oi", core)
    torch.testing.assert_close(full([core]), matrix)
    torch.testing.assert_close(inner([core], [core]), matrix.square().sum())
    train = core[:1, ..., :1]
    torch.testing.assert_close(full(add([train], [train])), 2.0 * train[0, ..., 0])
    assert torch.equal(rounded([train], 0.1)[0], train)


def test_the_norm_of_a_small_difference_keeps_its_digits() -> None:
    first = drawn("tt", OUT, IN, 3)
    change = scaled(drawn("tt", OUT, IN, 2, seed=1), 1e-10)
    difference = add(add(first, change), scaled(first, -1.0))
    assert norm(difference).item() == pytest.approx(norm(change).item(), rel=1e-4)  # `inner` would see 1e-8


@settings(max_examples=30, deadline=None)
@given(modes, st.integers(1, 12), st.integers(0, 1000), st.data())
def test_canonical_forms(
    sides: tuple[list[int], list[int]], rank: int, seed: int, data: st.DataObject
) -> None:
    cores = drawn("tt", *sides, rank, seed)
    center = data.draw(st.integers(0, len(cores) - 1))
    found = orthogonalise(cores, center)
    torch.testing.assert_close(full(found), full(cores))
    assert all(left_defect(core) < 1e-12 for core in found[:center])
    assert all(right_defect(core) < 1e-12 for core in found[center + 1 :])
    assert found[center].norm().item() == pytest.approx(full(cores).norm().item(), rel=1e-12)
    again = orthogonalise(found, center)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, again, strict=True))


def test_ranks_that_a_bond_cannot_have_shrink() -> None:
    cores = [torch.randn(*shape, dtype=torch.float64) for shape in ((1, 2, 1, 9), (9, 2, 3, 9), (9, 1, 2, 1))]
    assert ranks_of(orthogonalise(cores, 2)) == [1, 2, 9, 1]
    assert ranks_of(orthogonalise(cores, 0)) == [1, 9, 2, 1]
    assert ranks_of(rounded(cores, 0.0)) == [1, 2, 2, 1]


@settings(max_examples=40, deadline=None)
@given(trains, st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 0.3, 0.6, 0.9]))
def test_rounding_keeps_the_tolerance(cores: list[Tensor], tolerance: float) -> None:
    found = rounded(cores, tolerance)
    assert (full(found) - full(cores)).norm() <= (tolerance + 1e-12) * full(cores).norm()
    assert all(a <= b for a, b in zip(ranks_of(found), ranks_of(cores), strict=True))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_rounding_finds_the_ranks_under_noise(format: str, rank: int) -> None:
    cores = compressible(format, rank, 0.01)
    found = rounded(cores, 0.05)
    ends = rank if format == "tr" else 1
    assert ranks_of(found) == [ends, rank, rank, ends]
    assert 0.001 < error(found, cores) < 0.011
    assert sum(ranks_of(rounded(cores, 1e-5))) > sum(ranks_of(found))


def test_a_train_added_to_itself_needs_no_more_rank() -> None:
    cores = drawn("tt", OUT, IN, 3)
    found = rounded(add(cores, cores), 1e-10)
    assert ranks_of(found) == ranks_of(cores)
    assert error(found, scaled(cores, 2.0)) < 1e-12


def test_a_ring_added_to_itself_shrinks() -> None:
    """Directions of equal weight that stand for the same part of W are the hard case of a loop."""
    cores = drawn("tr", OUT, IN, 3)
    found = rounded(add(cores, cores), 1e-6)
    assert sum(core.numel() for core in found) < 0.7 * 4 * sum(core.numel() for core in cores)
    assert error(found, scaled(cores, 2.0)) < 1e-6


def test_blocks_of_a_ring_share_a_bond() -> None:
    """The sum of two rings leaves the bond's off-diagonal blocks free: one bond needs no more than either."""
    both = add(drawn("tr", OUT, IN, 2), drawn("tr", OUT, IN, 3, seed=1))
    found = rounded(both, 1e-9)
    assert min(ranks_of(found)) == 3
    assert error(found, both) < 1e-9


@pytest.mark.parametrize("format", FORMATS)
def test_ranks_can_be_asked_for(format: str) -> None:
    cores = drawn(format, OUT, IN, 4)
    ends = 2 if format == "tr" else 1
    assert ranks_of(rounded(cores, 0.0, 2)) == [ends, 2, 2, ends]
    assert ranks_of(rounded(cores, 0.0, [ends, 3, 2, ends])) == [ends, 3, 2, ends]
    assert error(rounded(cores, 0.0, 3), cores) < error(rounded(cores, 0.0, 2), cores) < 1.0


def test_rounded_trains_are_as_good_as_the_bound_says() -> None:
    """The error lies between the largest tail of an unfolding and the root of the sum of their squares."""
    cores = drawn("tt", OUT, IN, 8)
    tails = torch.stack([values[2:].square().sum() for values in bond_singular_values(cores)])
    found = (full(rounded(cores, 0.0, 2)) - full(cores)).norm().item()
    assert tails.max().sqrt().item() <= found <= tails.sum().sqrt().item() * (1.0 + 1e-12)


def test_a_rounded_train_is_left_canonical() -> None:
    found = rounded(compressible("tt", 3, 0.1), 0.2)
    assert all(left_defect(core) < 1e-12 for core in found[:-1])


def test_rings_keep_single_precision() -> None:
    cores = [core.float() for core in compressible("tr", 2, 0.01)]
    found = rounded(cores, 0.05)
    assert {core.dtype for core in found} == {torch.float32}
    assert ranks_of(found) == [2, 2, 2, 2]


def test_rounding_a_zero() -> None:
    for format in FORMATS:
        cores = [torch.zeros_like(core) for core in drawn(format, OUT, IN, 3)]
        found = rounded(cores, 0.1)
        assert full(found).abs().max() == 0.0
        assert all(torch.equal(a, b) for a, b in zip(balanced(cores), cores, strict=True))


@settings(max_examples=20, deadline=None)
@given(modes, st.integers(1, 6), st.integers(0, 1000))
def test_bond_singular_values_are_those_of_the_unfoldings(
    sides: tuple[list[int], list[int]], rank: int, seed: int
) -> None:
    cores = drawn("tt", *sides, rank, seed)
    tensor, found = tensor_of(full(cores), *sides), bond_singular_values(cores)
    assert len(found) == len(cores) - 1
    for k, (values, limit) in enumerate(zip(found, bond_limits(*sides), strict=True), start=1):
        exact = torch.linalg.svdvals(tensor.flatten(0, k - 1).reshape(math.prod(tensor.shape[:k]), -1))
        assert len(values) == min(rank, limit)
        torch.testing.assert_close(values, exact[: len(values)], rtol=1e-9, atol=1e-9)


def test_spectra_have_gradients() -> None:
    cores = [core.requires_grad_() for core in drawn("tt", (2, 2, 2), (2, 2, 2), 2)]

    def entropy(*own: Tensor) -> Tensor:
        shares = [values.square() / values.square().sum() for values in bond_singular_values(own)]
        return torch.stack([-(share * share.log()).sum() for share in shares]).sum()

    assert torch.autograd.gradcheck(entropy, cores)


def test_spectra_of_a_ring_that_is_a_train() -> None:
    cores = drawn("tt", OUT, IN, 3)
    for found, exact in zip(ring_spectra(cores)[:-1], bond_singular_values(cores), strict=True):
        torch.testing.assert_close(found, exact)
    torch.testing.assert_close(ring_spectra(cores)[-1], norm(cores).reshape(1))


def test_spectra_of_rings_show_what_is_superfluous_in_any_gauge() -> None:
    cores = compressible("tr", 2, 0.01)
    spectra = bond_singular_values(cores)
    assert [len(values) for values in spectra] == [4, 4, 4]
    assert all(values[2] < 0.05 * values[1] for values in spectra)
    for found, exact in zip(bond_singular_values(in_another_gauge(cores)), spectra, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-7)


def test_the_minimal_gauge_balances_both_sides_of_every_bond() -> None:
    cores = in_another_gauge(drawn("tr", OUT, IN, 4))
    found = minimal(cores)
    torch.testing.assert_close(full(found), full(cores))
    for left, right in zip(found, [*found[1:], found[0]], strict=True):
        behind, before = left.flatten(0, 2), right.flatten(1)
        torch.testing.assert_close(behind.T @ behind, before @ before.T, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(trains)
def test_balanced_cores_have_one_size_and_the_same_matrix(cores: list[Tensor]) -> None:
    uneven = [core * 10.0**k for k, core in enumerate(cores)]
    found = balanced(uneven)
    sizes = torch.stack([core.square().mean().sqrt() for core in found])
    torch.testing.assert_close(sizes, sizes.mean().expand(len(sizes)))
    torch.testing.assert_close(full(found), full(uneven))


def test_inner_differentiates_twice() -> None:
    for format in FORMATS:
        cores = [core.requires_grad_() for core in drawn(format, (2, 2), (1, 2), 2)]
        assert torch.autograd.gradcheck(lambda *own: inner(own, own), cores)
        assert torch.autograd.gradgradcheck(lambda *own: inner(own, own), cores)


def test_wrong_arguments_are_refused() -> None:
    train, ring = drawn("tt", OUT, IN, 2), drawn("tr", OUT, IN, 2)
    with pytest.raises(ValueError, match="need the same modes"):
        inner(train, drawn("tt", IN, OUT, 2))
    with pytest.raises(ValueError, match="a ring has no canonical form"):
        orthogonalise(ring, 0)
    with pytest.raises(ValueError, match="center 3 must be one of the 3 cores"):
        orthogonalise(train, 3)
    with pytest.raises(ValueError, match=r"tolerance of -0.1 is negative"):
        rounded(train, -0.1)
    with pytest.raises(ValueError, match="4 numbers, not 2"):
        rounded(train, 0.1, [2, 2])
    with pytest.raises(ValueError, match="must be at least 1"):
        rounded(ring, 0.1, 0)
