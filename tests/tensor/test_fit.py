"""Cores fitted to what a layer sees, and orders of its units."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from dsmsim.tensor.build import tensor_linear
from dsmsim.tensor.decompose import decompose, full, tt_svd
from dsmsim.tensor.fit import (
    find_orders,
    find_permutations,
    fit_cores,
    fit_layer,
    fit_low_rank,
    second_moment,
    weighted_error,
)

MODES = [3, 4]


def layer_problem(seed: int = 0, seen: int = 5) -> tuple[Tensor, Tensor]:
    """A weight (12, 12), and second moments of inputs that vary along `seen` directions, ever less."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(12, 12, generator=draw, dtype=torch.float64)
    mixing = torch.randn(12, seen, generator=draw, dtype=torch.float64) * 0.5 ** torch.arange(seen)
    inputs = torch.randn(4000, seen, generator=draw, dtype=torch.float64) @ mixing.T
    return weight, second_moment(inputs)


def test_weighted_error_is_that_of_the_outputs() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(50, 12, generator=draw, dtype=torch.float64)
    one, two = torch.randn(2, 7, 12, generator=draw, dtype=torch.float64)
    found = ((x @ (one - two).T).square().mean() / (x @ one.T).square().mean()).sqrt()
    assert weighted_error(one, two, second_moment(x)) == pytest.approx(float(found), rel=1e-10)


def test_low_rank_is_exact_where_the_inputs_have_that_rank() -> None:
    weight, moment = layer_problem(seen=3)
    a, b = fit_low_rank(weight, moment, rank=3)
    assert weighted_error(weight, a @ b, moment) < 1e-10
    assert float((a @ b - weight).norm() / weight.norm()) > 0.5  # what no input reaches is given up


def test_no_other_low_rank_is_better() -> None:
    """Nor does a small step in any direction lower the error."""
    weight, moment = layer_problem()
    a, b = fit_low_rank(weight, moment, rank=2)
    best = weighted_error(weight, a @ b, moment)
    assert best < weighted_error(weight, full(decompose_svd(weight, 2)), moment)
    draw = torch.Generator().manual_seed(2)
    for _ in range(20):
        da, db = (1e-3 * torch.randn(f.shape, generator=draw, dtype=torch.float64) for f in (a, b))
        assert weighted_error(weight, (a + da) @ (b + db), moment) >= best


def decompose_svd(weight: Tensor, rank: int) -> list[Tensor]:
    """The truncated SVD as a TT with modes (12, 1) and (1, 12)."""
    return tt_svd(weight, [12, 1], [1, 12], ranks=rank)


def test_tolerance_finds_the_smallest_rank() -> None:
    weight, moment = layer_problem()
    a, b = fit_low_rank(weight, moment, tolerance=0.05)
    rank = a.shape[1]
    assert weighted_error(weight, a @ b, moment) <= 0.05
    fewer = fit_low_rank(weight, moment, rank=rank - 1)
    assert weighted_error(weight, fewer[0] @ fewer[1], moment) > 0.05


@pytest.mark.parametrize(("format", "rank"), [("tt", 3), ("tr", 2)])
def test_sweeps_never_raise_the_error_and_beat_the_truncation(format: str, rank: int) -> None:
    weight, moment = layer_problem()
    start = decompose(format, weight, MODES, MODES, rank=rank)
    cores, errors = fit_cores(weight, start, moment)
    assert all(after <= before for before, after in itertools.pairwise(errors))
    assert [core.shape for core in cores] == [core.shape for core in start]
    assert weighted_error(weight, full(cores), moment) == pytest.approx(errors[-1], rel=1e-6)
    assert errors[-1] < 0.3 * errors[0]


def test_three_cores() -> None:
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(12, 12, generator=draw, dtype=torch.float64)
    moment = layer_problem()[1]
    start = tt_svd(weight, [2, 2, 3], [3, 2, 2], ranks=4)
    _, errors = fit_cores(weight, start, moment)
    assert errors[-1] < 0.3 * errors[0]


def test_modes_of_one_make_the_matrix_decomposition() -> None:
    """A TT with modes (n, 1) x (1, n) is a product of two matrices: the sweeps find the closed form."""
    weight, moment = layer_problem()
    a, b = fit_low_rank(weight, moment, rank=2)
    _, errors = fit_cores(weight, decompose_svd(weight, 2), moment)
    assert errors[-1] == pytest.approx(weighted_error(weight, a @ b, moment), rel=1e-3)


def test_what_the_data_leave_open_stays() -> None:
    """Cores that are exact already do not move."""
    weight, moment = layer_problem()
    start = tt_svd(weight, MODES, MODES)
    cores, errors = fit_cores(weight, start, moment)
    assert errors[-1] < 1e-8
    torch.testing.assert_close(full(cores), weight, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("format", ["cp", "tucker"])
def test_other_formats_by_quasi_newton(format: str) -> None:
    weight, moment = layer_problem()
    layer = tensor_linear(format, 12, 12, MODES, MODES, rank=5, dtype=torch.float64)
    layer.set_cores(decompose(format, weight, MODES, MODES, rank=5))
    before = weighted_error(weight, layer.weight.detach(), moment)
    after = fit_layer(layer, weight, moment)
    assert after < 0.5 * before
    assert after == pytest.approx(weighted_error(weight, layer.weight.detach(), moment))


def test_shuffled_rows_and_columns_are_found_again() -> None:
    """A TT of rank 1 whose units were shuffled loses much less in the orders that are found."""
    draw = torch.Generator().manual_seed(4)
    pairs = [torch.randn(3, 3, generator=draw, dtype=torch.float64) for _ in range(2)]
    weight = torch.kron(*pairs)[torch.randperm(9, generator=draw)][:, torch.randperm(9, generator=draw)]

    def lost(matrix: Tensor) -> float:
        return float((full(tt_svd(matrix, [3, 3], [3, 3], ranks=1)) - matrix).norm() / matrix.norm())

    rows, columns = find_permutations(weight, [3, 3], [3, 3], 1, swaps=1000)
    assert sorted(rows.tolist()) == sorted(columns.tolist()) == list(range(9))
    assert lost(weight[rows][:, columns]) < 0.5 * lost(weight)


def test_layers_that_share_units_share_their_order() -> None:
    draw = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(12, 12, generator=draw, dtype=torch.float64) for name in ("up", "down", "self")
    }
    sides = {"up": ("inner", "stream"), "down": ("stream", "inner"), "self": ("stream", "stream")}
    orders = find_orders(weights, sides, MODES, MODES, 2, swaps=200)
    assert set(orders) == {"inner", "stream"}

    def lost(order: dict[str, Tensor]) -> float:
        total = 0.0
        for name, weight in weights.items():
            moved = weight[order[sides[name][0]]][:, order[sides[name][1]]]
            distance = (full(tt_svd(moved, MODES, MODES, ranks=2)) - moved).norm()
            total += float(distance / moved.norm()) ** 2
        return total

    assert lost(orders) < lost({unit: torch.arange(12) for unit in orders})


def test_errors_name_what_is_wrong() -> None:
    weight, moment = layer_problem()
    with pytest.raises(ValueError, match="make no"):
        fit_cores(weight, tt_svd(weight[:6], [2, 3], MODES, ranks=2), moment)
    with pytest.raises(ValueError, match="not finite"):
        fit_low_rank(weight, moment * float("nan"), rank=2)
    with pytest.raises(ValueError, match="all zero"):
        fit_low_rank(weight, 0.0 * moment, rank=2)
