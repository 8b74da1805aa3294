"""From a dense matrix to cores: exact where the ranks suffice, within the tolerance elsewhere."""

from __future__ import annotations

import math
import warnings
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cores import drawn
from torch import Tensor

from dsmsim.tensor import LAYERS, TTLinear
from dsmsim.tensor.canonical import full, inner, norm, rounded
from dsmsim.tensor.decompose import decompose, dense, low_rank_svd, tr_svd, tt_svd, tucker_svd
from dsmsim.tensor.dense import multiplied, tensor_of
from dsmsim.tensor_shapes import FORMATS, bond_limits, core_shapes

OUT, IN = (4, 3, 2), (3, 2, 4)

modes = st.integers(2, 4).flatmap(
    lambda d: st.tuples(*[st.lists(st.integers(1, 3), min_size=d, max_size=d) for _ in range(2)])
)
tolerances = st.sampled_from([0.0, 1e-9, 0.05, 0.3, 0.7, 0.95])


def random_matrix(modes_out: tuple[int, ...], modes_in: tuple[int, ...], seed: int = 0) -> Tensor:
    """Normal entries on a decaying spectrum, so that truncations differ."""
    rows, columns = math.prod(modes_out), math.prod(modes_in)
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values * torch.linspace(1.0, 0.1, rows, dtype=torch.float64).unsqueeze(1)


def relative(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


@pytest.fixture(scope="module")
def torchtt() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no compiled part here
        module: ModuleType = pytest.importorskip("torchtt")
    return module


@settings(max_examples=40, deadline=None)
@given(modes, tolerances, st.integers(0, 1000))
def test_tt_svd_keeps_the_tolerance(sides: tuple[list[int], list[int]], tolerance: float, seed: int) -> None:
    weight = random_matrix(*sides, seed)
    cores = tt_svd(weight, *sides, tolerance)
    assert relative(full(cores), weight) <= tolerance + 1e-12
    for core in cores[:-1]:
        matrix = core.flatten(0, 2)
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(matrix.shape[1], dtype=torch.float64))
    if tolerance == 0.0:
        assert [core.shape[-1] for core in cores[:-1]] == bond_limits(*sides)


@settings(max_examples=40, deadline=None)
@given(modes, tolerances, st.integers(0, 1000), st.sampled_from([None, 1, 2, 3]))
def test_tr_svd_keeps_the_tolerance(
    sides: tuple[list[int], list[int]], tolerance: float, seed: int, closing: int | None
) -> None:
    weight = random_matrix(*sides, seed)
    cores = tr_svd(weight, *sides, tolerance, closing=closing)
    assert relative(full(cores), weight) <= tolerance + 1e-12
    assert cores[0].shape[0] == cores[-1].shape[-1]
    if closing is not None:
        assert cores[0].shape[0] == closing


@settings(max_examples=20, deadline=None)
@given(modes, tolerances, st.integers(0, 1000))
def test_tucker_and_low_rank_keep_the_tolerance(
    sides: tuple[list[int], list[int]], tolerance: float, seed: int
) -> None:
    weight = random_matrix(*sides, seed)
    left, right = low_rank_svd(weight, tolerance=tolerance)
    assert relative(left @ right, weight) <= tolerance + 1e-12
    tensor = tensor_of(weight, *sides)
    core, *factors = tucker_svd(tensor, tolerance)
    assert relative(multiplied(core, factors), tensor) <= tolerance + 1e-12


def test_the_bound_of_tt_svd_is_nearly_reached_by_flat_spectra() -> None:
    """Both bonds may drop tolerance |W| / 2^(1/2): the error of a random matrix is not far below."""
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert 0.4 < relative(full(tt_svd(weight, (4, 4, 4), (4, 4, 4), 0.5)), weight) <= 0.5


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_ranks_are_found(rank: int) -> None:
    weight = full(drawn("tt", OUT, IN, rank))
    cores = tt_svd(weight, OUT, IN, 1e-10)
    assert [tuple(core.shape) for core in cores] == core_shapes("tt", OUT, IN, rank)


def test_a_ring_of_an_even_split() -> None:
    """Rank 7 at the first unfolding: 2 x 4, of which one is a singular vector more, or zeros."""
    assert [core.shape[0] for core in tr_svd(random_matrix(OUT, IN), OUT, IN, ranks=[2, 4, 9, 2])] == [
        2,
        4,
        9,
    ]
    weight = full(drawn("tt", OUT, IN, 7))
    cores = tr_svd(weight, OUT, IN, 1e-10)
    assert (cores[0].shape[0], cores[0].shape[-1]) == (2, 4)
    assert relative(full(cores), weight) < 1e-10


@pytest.mark.parametrize("rank", [1, 3, 9])
@pytest.mark.parametrize("format", FORMATS)
def test_any_layer_can_start_from_a_matrix(format: str, rank: int) -> None:
    weight = random_matrix(OUT, IN)
    cores = decompose(format, weight, OUT, IN, rank=rank, blocks=2)
    assert [tuple(core.shape) for core in cores] == core_shapes(format, OUT, IN, rank, 2)
    assert relative(dense(format, cores, OUT, IN), weight) < 1.0
    sizes = torch.stack([core.square().mean().sqrt() for core in cores])
    torch.testing.assert_close(sizes, sizes.mean().expand(len(sizes)))


@pytest.mark.parametrize("format", ["tt", "tr"])
def test_a_layer_takes_the_cores(format: str) -> None:
    weight = random_matrix((4, 4), (4, 4))
    layer = LAYERS[format](16, 16, (4, 4), (4, 4), 16, bias=False, dtype=torch.float64)
    layer.set_cores(decompose(format, weight, (4, 4), (4, 4), rank=16))
    torch.testing.assert_close(layer.weight, weight, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("tolerance", [0.7, 0.3, 1e-6])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_keeps_a_tolerance(format: str, tolerance: float) -> None:
    weight = random_matrix(OUT, IN)
    cores = decompose(format, weight, OUT, IN, tolerance=tolerance, blocks=2)
    assert relative(dense(format, cores, OUT, IN), weight) <= tolerance


@pytest.mark.parametrize("format", ["tt", "lowrank", "tucker"])
def test_what_has_the_format_is_found_again(format: str) -> None:
    weight = dense(format, drawn(format, OUT, IN, 3), OUT, IN)
    assert relative(dense(format, decompose(format, weight, OUT, IN, rank=3), OUT, IN), weight) < 1e-12


@pytest.mark.parametrize(("format", "rank"), [("tr", 2), ("cp", 2), ("cp", 3), ("blockterm", 1)])
def test_local_searches_find_it_too_where_it_is_easy(format: str, rank: int) -> None:
    weight = dense(format, drawn(format, OUT, IN, rank, blocks=2), OUT, IN)
    cores = decompose(format, weight, OUT, IN, rank=rank, blocks=2)
    assert relative(dense(format, cores, OUT, IN), weight) < 1e-3


def test_least_squares_improve_on_the_ring_of_svds() -> None:
    weight = full(drawn("tr", OUT, IN, 2))
    assert relative(full(tr_svd(weight, OUT, IN, ranks=2)), weight) > 0.3
    searched = decompose("tr", weight, OUT, IN, tolerance=1e-3)
    assert sum(c.numel() for c in searched) < 0.5 * sum(c.numel() for c in tr_svd(weight, OUT, IN, 1e-3))


@pytest.mark.parametrize("format", FORMATS)
def test_superfluous_ranks_change_nothing_and_can_be_trained(format: str) -> None:
    """Zeros against copies: W stays, and after one step of descent all entries have a gradient."""
    weight = dense("lowrank", drawn("lowrank", OUT, IN, 1), OUT, IN)
    weight = weight if format in ("lowrank", "blockterm", "tr") else full(drawn("tt", OUT, IN, 1))
    cores = decompose(format, weight, OUT, IN, rank=4, blocks=2)
    target = random_matrix(OUT, IN, seed=1)
    for step in range(2):
        cores = [core.detach().requires_grad_() for core in cores]
        loss = (dense(format, cores, OUT, IN) - target).square().sum()
        grads = torch.autograd.grad(loss, cores)
        if step == 0:
            cores = [core - 1e-3 * grad for core, grad in zip(cores, grads, strict=True)]
    assert all(bool((grad != 0.0).all()) for grad in grads)


def test_single_precision_comes_back() -> None:
    weight = random_matrix(OUT, IN).float()
    cores = decompose("tt", weight, OUT, IN, tolerance=1e-6)
    assert {core.dtype for core in cores} == {torch.float32}
    assert relative(full(cores), weight) < 1e-6


def test_zero_has_cores_of_rank_one() -> None:
    weight = torch.zeros(24, 24, dtype=torch.float64)
    for format in FORMATS:
        cores = decompose(format, weight, OUT, IN, tolerance=0.1)
        assert dense(format, cores, OUT, IN).abs().max() == 0.0


def test_wrong_arguments_are_refused() -> None:
    weight = random_matrix(OUT, IN)
    with pytest.raises(ValueError, match="a rank or a tolerance, one of them"):
        decompose("tt", weight, OUT, IN)
    with pytest.raises(ValueError, match="format 'svd' must be one of"):
        decompose("svd", weight, OUT, IN, rank=1)
    with pytest.raises(ValueError, match=r"do not make a matrix of \[24, 24\]"):
        tt_svd(weight, (4, 3), (6, 4))
    with pytest.raises(ValueError, match=r"tolerance of -1\.0 is negative"):
        low_rank_svd(weight, tolerance=-1.0)
    with pytest.raises(ValueError, match="at least two cores"):
        tr_svd(weight, (24,), (24,))
    with pytest.raises(ValueError, match="closing rank of 0"):
        tr_svd(weight, OUT, IN, closing=0)


@pytest.mark.parametrize("tolerance", [1e-10, 0.1, 0.4])
def test_torchtt_decomposes_and_rounds_likewise(torchtt: ModuleType, tolerance: float) -> None:
    weight = random_matrix(OUT, IN)
    shape = list(zip(OUT, IN, strict=True))
    other = torchtt.TT(weight.reshape(*OUT, *IN), shape, eps=tolerance)
    cores = tt_svd(weight, OUT, IN, tolerance)
    assert [core.shape[-1] for core in cores] == list(other.R[1:])
    torch.testing.assert_close(other.full().reshape(24, 24), full(cores))
    exact = tt_svd(weight, OUT, IN)
    rough = torchtt.TT(exact).round(tolerance)
    found = rounded(exact, tolerance)
    assert [core.shape[-1] for core in found] == list(rough.R[1:])
    # it sweeps the other way, which gives other matrices of the same ranks
    errors = [relative(own, weight) for own in (rough.full().reshape(24, 24), full(found))]
    assert errors[0] == pytest.approx(errors[1], rel=0.1, abs=1e-12)
    assert max(errors) <= tolerance


def test_torchtt_knows_the_same_inner_products_and_norms(torchtt: ModuleType) -> None:
    first, second = drawn("tt", OUT, IN, 3), drawn("tt", OUT, IN, 2, seed=1)
    a, b = (torchtt.TT([core.flatten(1, 2) for core in cores]) for cores in (first, second))
    assert inner(first, second).item() == pytest.approx(torchtt.dot(a, b).item(), rel=1e-12)
    assert norm(first).item() == pytest.approx(float(a.norm()), rel=1e-12)
    layer = TTLinear(24, 24, IN, OUT, 3, dtype=torch.float64)
    own = torchtt.TT([core.detach() for core in layer.cores]).full().reshape(24, 24)
    torch.testing.assert_close(own, layer.weight.detach())
