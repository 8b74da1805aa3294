"""The tensor-train layer: its weight, its start, and how it behaves as a torch module."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from dsmsim.tensor import TTLinear, core_std
from dsmsim.tensor_shapes import tt_ranks

LAYERS = [
    ((2, 3), (4, 2), 1),
    ((2, 3), (4, 2), 3),
    ((3, 2, 2), (2, 2, 3), 2),
    ((3, 2, 2), (2, 2, 3), 50),
    ((2, 2, 2, 3), (2, 1, 3, 2), 4),
]  # modes_in, modes_out, rank


def layer(
    modes_in: Sequence[int], modes_out: Sequence[int], rank: int, bias: bool = True, seed: int = 0
) -> TTLinear:
    """A double-precision layer of these modes, from its own seed."""
    torch.manual_seed(seed)
    sizes = math.prod(modes_in), math.prod(modes_out)
    return TTLinear(*sizes, modes_in, modes_out, rank, bias=bias, dtype=torch.float64)


def contraction(cores: Sequence[torch.Tensor]) -> torch.Tensor:
    """W from the definition, one einsum: all outputs o_1..o_d, then all inputs i_1..i_d."""
    out, into, bonds = "abcd", "mnop", "vwxyz"
    d = len(cores)
    terms = [bonds[k] + out[k] + into[k] + bonds[k + 1] for k in range(d)]
    full = torch.einsum(",".join(terms) + "->" + out[:d] + into[:d], *cores)
    rows = math.prod(core.shape[1] for core in cores)
    return full.reshape(rows, -1)


def parameters(modes_out: Sequence[int], modes_in: Sequence[int], ranks: Sequence[int]) -> int:
    """sum_k r_{k-1} o_k i_k r_k."""
    shapes = zip(ranks[:-1], modes_out, modes_in, ranks[1:], strict=True)
    return sum(math.prod(shape) for shape in shapes)


@pytest.mark.parametrize(("modes_in", "modes_out", "rank"), LAYERS)
def test_weight_is_the_contraction_of_the_cores(
    modes_in: Sequence[int], modes_out: Sequence[int], rank: int
) -> None:
    tt = layer(modes_in, modes_out, rank)
    expected = contraction(list(tt.cores))
    assert tt.weight.shape == (math.prod(modes_out), math.prod(modes_in))
    torch.testing.assert_close(tt.weight, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_forward_is_the_dense_layer(bias: bool, leading: tuple[int, ...]) -> None:
    tt = layer((3, 4), (2, 5), 3, bias)
    dense = nn.Linear(12, 10, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(tt.weight)
        if tt.bias is not None:
            dense.bias.copy_(tt.bias)
    x = torch.randn(*leading, 12, dtype=torch.float64)
    torch.testing.assert_close(tt(x), dense(x), rtol=1e-14, atol=1e-14)


def test_full_rank_holds_any_matrix() -> None:
    """At the largest ranks the cores can be read off an SVD, so no matrix is out of reach."""
    tt, target = layer((3, 4), (2, 5), 99, bias=False), torch.randn(10, 12, dtype=torch.float64)
    grouped = target.reshape(2, 5, 3, 4).permute(0, 2, 1, 3).reshape(6, 20)
    u, s, vh = torch.linalg.svd(grouped, full_matrices=False)
    with torch.no_grad():
        tt.cores[0].copy_((u * s).reshape(1, 2, 3, 6))
        tt.cores[1].copy_(vh.reshape(6, 5, 4, 1))
    torch.testing.assert_close(tt.weight, target, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("variance", "ranks"), [(0.3, [1, 4, 1]), (2.0, [1, 3, 5, 1]), (1e-3, [1, 2, 2, 2, 1])]
)
def test_core_std_formula(variance: float, ranks: list[int]) -> None:
    std, cores = core_std(variance, ranks), len(ranks) - 1
    assert std ** (2 * cores) * math.prod(ranks) == pytest.approx(variance, rel=1e-13)


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_weight_starts_with_the_variance_of_a_dense_layer(cores: int, rank: int) -> None:
    """n Var(W) = 1/3 as in `nn.Linear`, to 10 %; entries share cores, so the average runs over draws."""
    tt = layer((4,) * cores, (4,) * cores, rank, bias=False, seed=3)
    squares = []
    with torch.no_grad():
        for _ in range(1000):
            tt.reset_parameters()
            squares.append(_mean_square(list(tt.cores)))
    variance = torch.stack(squares).mean().item() / tt.weight.numel()
    assert tt.in_features * variance == pytest.approx(1.0 / 3.0, rel=0.1)


def _mean_square(cores: Sequence[torch.Tensor]) -> torch.Tensor:
    """|W|_F^2 without building W."""
    overlap = torch.ones(1, 1, dtype=torch.float64)
    for core in cores:
        left = torch.einsum("ab,boic->aoic", overlap, core)
        overlap = torch.einsum("aoib,aoic->bc", core, left)
    return overlap.squeeze()


def test_frobenius_norm_without_the_weight() -> None:
    tt = layer((3, 2, 2), (2, 2, 3), 4)
    expected = tt.weight.square().sum()
    torch.testing.assert_close(_mean_square(list(tt.cores)), expected, rtol=1e-12, atol=0.0)


def test_bias_starts_as_in_a_dense_layer() -> None:
    tt = layer((4, 4), (40, 50), 2)
    assert tt.bias is not None
    bound = 1.0 / 4.0
    assert tt.bias.abs().max() <= bound
    assert tt.bias.std().item() == pytest.approx(bound / math.sqrt(3.0), rel=0.1)


@pytest.mark.parametrize("make", [tt_ranks])
def test_ranks_are_cut_to_what_a_bond_can_have(make: object) -> None:
    assert callable(make)
    assert make([2, 3], [4, 2], 3) == [1, 3, 1]
    assert make([2, 3], [4, 2], 100) == [1, 6, 1]  # the smaller side, 3 * 2, holds 6
    assert make([2, 2, 2, 2], [2, 2, 2, 2], 9) == [1, 4, 9, 4, 1]
    assert make([2, 2, 2, 2], [2, 2, 2, 2], 17) == [1, 4, 16, 4, 1]
    assert layer((2, 2, 2, 2), (2, 2, 2, 2), 9).ranks == (1, 4, 9, 4, 1)


@pytest.mark.parametrize(("modes_in", "modes_out", "rank"), LAYERS)
def test_parameters_are_counted_by_the_formula(
    modes_in: Sequence[int], modes_out: Sequence[int], rank: int
) -> None:
    tt = layer(modes_in, modes_out, rank)
    cores = parameters(modes_out, modes_in, tt.ranks)
    assert sum(p.numel() for p in tt.parameters()) == cores + math.prod(modes_out)
    assert parameters(modes_out, modes_in, tt_ranks(modes_out, modes_in, rank)) == cores


EMBEDDINGS = [
    ((25, 30, 40), (4, 8, 8), 93, 341.9),
    ((10, 10, 15, 20), (4, 4, 4, 4), 232, 869.6),
    ((5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4), 441, 1687.8),
]


@pytest.mark.parametrize(("rows", "columns", "at_16", "at_8"), EMBEDDINGS)
def test_published_compression_of_an_embedding(
    rows: Sequence[int], columns: Sequence[int], at_16: int, at_8: float
) -> None:
    """25000 x 256 with equal ranks (16: Hrinchuk et al., "Tensorized Embedding Layers", 2020)."""
    dense, inner = 25000 * 256, len(rows) - 1
    assert int(dense / parameters(rows, columns, [1, *[16] * inner, 1])) == at_16
    assert round(dense / parameters(rows, columns, [1, *[8] * inner, 1]), 1) == at_8


@pytest.mark.parametrize(("rows", "columns", "at_16", "at_8"), EMBEDDINGS)
def test_the_layer_compresses_as_published(
    rows: Sequence[int], columns: Sequence[int], at_16: int, at_8: float
) -> None:
    dense = 25000 * 256
    for rank, published in ((16, at_16), (8, at_8)):
        shape = {"modes_in": columns, "modes_out": rows, "rank": [rank] * (len(rows) - 1)}
        ratio = dense / sum(
            p.numel() for p in TTLinear(256, math.prod(rows), bias=False, **shape).parameters()
        )
        assert (int(ratio) if rank == 16 else round(ratio, 1)) == published


def test_one_rank_for_all_is_cut_below_the_published_one() -> None:
    """The published count keeps rank 16 at a bond that 10 describes exactly."""
    assert layer((2, 2, 2, 2, 4, 4), (5, 5, 5, 5, 6, 8), 16).ranks == (1, 10, 16, 16, 16, 16, 1)


def test_precision() -> None:
    double = layer((2, 3), (3, 2), 2)
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    single = TTLinear(6, 6, (2, 3), (3, 2), 2)
    assert {p.dtype for p in single.parameters()} == {torch.float32}
    x = torch.randn(4, 6, dtype=torch.float64)
    assert single.double()(x).dtype == torch.float64


def test_state_dict_round_trip() -> None:
    first, second = layer((2, 3), (3, 2), 2, seed=1), layer((2, 3), (3, 2), 2, seed=2)
    assert not torch.equal(first.weight, second.weight)
    assert set(first.state_dict()) == {"cores.0", "cores.1", "bias"}
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 6, dtype=torch.float64)
    assert torch.equal(first(x), second(x))


def test_copies_are_independent() -> None:
    first = layer((2, 3), (3, 2), 2)
    second = copy.deepcopy(first)
    x = torch.randn(4, 6, dtype=torch.float64)
    before = first(x)
    assert torch.equal(second(x), before)
    with torch.no_grad():
        second.cores[0].mul_(2.0)
    assert torch.equal(first(x), before)
    torch.testing.assert_close(second.weight, 2.0 * first.weight)


def test_the_seed_decides_the_start() -> None:
    assert torch.equal(layer((2, 3), (3, 2), 2, seed=5).weight, layer((2, 3), (3, 2), 2, seed=5).weight)


def test_functional_call_uses_the_given_parameters() -> None:
    first, second = layer((2, 3), (3, 2), 2, seed=1), layer((2, 3), (3, 2), 2, seed=2)
    x = torch.randn(4, 6, dtype=torch.float64)
    found = torch.func.functional_call(first, dict(second.named_parameters()), (x,))
    assert torch.equal(found, second(x))
    assert not torch.equal(found, first(x))


def test_jvp_is_the_weight_times_the_tangent() -> None:
    tt = layer((2, 3), (3, 2), 2)
    x, dx = torch.randn(2, 4, 6, dtype=torch.float64)
    _, pushed = torch.func.jvp(tt, (x,), (dx,))
    torch.testing.assert_close(pushed, dx @ tt.weight.T)


def test_vmap_over_inputs_and_over_layers() -> None:
    layers = [layer((2, 3), (3, 2), 2, seed=seed) for seed in range(3)]
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(layers[0])(x), layers[0](x))
    stacked, _ = torch.func.stack_module_state(layers)
    found = torch.vmap(lambda p, y: torch.func.functional_call(layers[0], p, (y,)))(stacked, x)
    torch.testing.assert_close(found, torch.stack([tt(y) for tt, y in zip(layers, x, strict=True)]))


def test_first_and_second_derivatives() -> None:
    tt = layer((2, 2, 1), (1, 2, 2), 2)
    names = [name for name, _ in tt.named_parameters()]
    inputs = [torch.randn(2, 4, dtype=torch.float64, requires_grad=True)]
    inputs += [p.detach().clone().requires_grad_(True) for p in tt.parameters()]

    def apply(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        # tanh, so that second derivatives with respect to one tensor are not zero
        return torch.tanh(torch.func.functional_call(tt, dict(zip(names, values, strict=True)), (x,)))

    assert torch.autograd.gradcheck(apply, inputs)
    assert torch.autograd.gradgradcheck(apply, inputs)


def test_gradients_reach_every_core() -> None:
    tt = layer((2, 3), (3, 2), 2)
    tt(torch.randn(4, 6, dtype=torch.float64)).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0.0).any()) for p in tt.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((6, 6, (2, 2), (3, 2), 2), r"modes_in \[2, 2\] multiply to 4, not 6"),
        ((6, 6, (2, 3), (3, 3), 2), r"modes_out \[3, 3\] multiply to 9, not 6"),
        ((6, 6, (6,), (6,), 2), "same length, at least 2"),
        ((6, 6, (2, 3), (3, 2, 1), 2), "same length, at least 2"),
        ((6, 6, (2, 3), (3, 2), 0), "rank 0 must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TTLinear(*arguments)  # type: ignore[arg-type]


def test_repr_tells_modes_and_ranks() -> None:
    assert "modes_out=(3, 2), modes_in=(2, 3), ranks=(1, 2, 1)" in repr(layer((2, 3), (3, 2), 2))
