"""The planner of tensor layers: what it counts, what it picks, and that all its strategies agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from dsmsim.tensor import TensorLinear, chain, tensor_linear
from dsmsim.tensor_shapes import FORMATS, balanced_modes, plan, tt_ranks
from dsmsim.tensor_shapes import work as counts
from dsmsim.tensor_shapes.strategy import CHUNK_ELEMENTS

MODES = [((4, 3), (2, 5)), ((2, 3, 4), (4, 3, 2)), ((2, 3, 2, 2), (2, 2, 3, 1)), ((2, 3, 16), (3, 2, 2))]


def layer(format: str, modes_in: Sequence[int], modes_out: Sequence[int], **rest: Any) -> TensorLinear:
    """A double-precision layer with all ranks different where a format allows it."""
    torch.manual_seed(0)
    d = len(modes_in)
    modes = {} if format == "lowrank" else {"modes_in": modes_in, "modes_out": modes_out}
    blocks = {"blocks": 2} if format == "blockterm" else {}
    some = [2, 3, 4, 5][:d]
    rank: Any = {"tt": some[1:], "tr": [*some, 2], "tucker": some, "blockterm": some}.get(format, 3)
    sizes = math.prod(modes_in), math.prod(modes_out)
    return tensor_linear(format, *sizes, rank=rank, dtype=torch.float64, **modes, **blocks, **rest)


def variants(own: TensorLinear) -> list[tuple[tuple[int, ...], Any]]:
    """All groupings and directions."""
    groupings = counts.groupings(own.format, len(own.modes_in))
    return list(itertools.product(groupings, counts.DIRECTIONS))


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    """Adds up the multiply-adds of all matrix products, and of outer products, that torch really does."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket._qualified_op_name
        if name in ("aten::mm", "aten::bmm"):
            self.done += found.numel() * args[0].shape[-1]
        elif name == "aten::mul":
            self.done += found.numel()
        return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("modes", MODES)
def test_counts_are_what_torch_does(format: str, modes: Any) -> None:
    own, x = layer(format, *modes), torch.randn(7, math.prod(modes[0]), dtype=torch.float64)
    cores = list(own.cores)
    for grouping, direction in variants(own):
        found = counts.chain(own.format, own.modes_out, own.modes_in, own.ranks, grouping)
        with torch.no_grad(), Products() as making:
            groups = own.grouped(cores, grouping)
        assert [tuple(core.shape) for core in groups] == list(
            zip(found.bonds[:-1], found.modes_out, found.modes_in, found.bonds[1:], strict=True)
        )
        assert making.done == found.multiply_adds
        with torch.no_grad(), Products() as applying:
            chain.apply(x, groups, direction)
        assert applying.done == 7 * sum(step.multiply_adds for step in counts.steps(found, direction))
        if len(grouping) == 2:
            with torch.no_grad(), Products() as rebuilding:
                chain.product(*groups)
            assert rebuilding.done == counts.product_work(found)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("modes", MODES)
def test_all_strategies_give_the_same_numbers_and_gradients(format: str, modes: Any) -> None:
    own = layer(format, *modes)
    cores = list(own.cores)
    x = torch.randn(7, own.in_features, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(7, own.out_features, dtype=torch.float64)
    y = x @ own.rebuilt().T
    expected = torch.autograd.grad(y, [x, *cores], upstream)
    for grouping, direction in variants(own):
        groups = own.grouped(cores, grouping)
        found = chain.apply(x, groups, direction)
        torch.testing.assert_close(found, y, rtol=1e-12, atol=1e-12)
        gradients = torch.autograd.grad(found, [x, *cores], upstream)
        torch.testing.assert_close(list(gradients), list(expected), rtol=1e-12, atol=1e-12)
        if len(grouping) == 2:
            torch.testing.assert_close(chain.product(*own.grouped(cores, grouping)), own.rebuilt())


def test_chunks_of_rows_give_the_same() -> None:
    own = layer("tt", (16, 16), (16, 16), strategy="sequential", bias=False)
    x = torch.randn(3000, 256, dtype=torch.float64, requires_grad=True)
    strategy = own.plan(3000, backward=True)
    assert strategy.kind == "sequential"
    assert 0 < strategy.chunk_rows < 3000
    y = x @ own.weight.T
    torch.testing.assert_close(own(x), y, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(y.square().sum(), [x, *own.cores])
    found = torch.autograd.grad(own(x).square().sum(), [x, *own.cores])
    torch.testing.assert_close(list(found), list(wanted), rtol=1e-12, atol=1e-10)


def test_merging_takes_the_cheapest_order() -> None:
    """Against all orders of merging neighbours."""

    def cheapest(cores: list[tuple[int, int, int]]) -> int:
        if len(cores) == 1:
            return 0
        found = []
        for k in range(len(cores) - 1):
            (left, size, bond), (_, other, right) = cores[k : k + 2]
            rest = [*cores[:k], (left, size * other, right), *cores[k + 2 :]]
            found.append(left * size * bond * other * right + cheapest(rest))
        return min(found)

    sizes, bonds = (6, 4, 9, 2, 5), (2, 7, 3, 8, 4, 2)
    cores = list(zip(bonds[:-1], sizes, bonds[1:], strict=True))
    assert counts.merge(sizes, bonds)[0] == cheapest(cores)
    assert counts.merge(sizes[:3], bonds[:4])[0] == cheapest(cores[:3])


def test_groupings() -> None:
    assert set(counts.groupings("tt", 3)) == {(1, 2), (2, 1), (1, 1, 1)}
    assert len(list(counts.groupings("tr", 5))) == 2**4 - 1
    assert set(counts.groupings("cp", 4)) == {(1, 3), (2, 2), (3, 1)}
    assert list(counts.groupings("lowrank", 1)) == [(1, 1)]


def square(width: int, cores: int, rank: int) -> tuple[Any, ...]:
    """The first arguments of `plan` for a square TT matrix."""
    modes = tuple(balanced_modes(width, cores))
    return "tt", modes, modes, tuple(tt_ranks(modes, modes, rank))


def test_the_whole_is_counted() -> None:
    """Width 4, two cores, rank 2, ten rows: by hand."""
    shape = ("tt", (2, 2), (2, 2), (1, 2, 1))
    rebuilt = plan(*shape, 10, False, choice="rebuild")
    assert rebuilt.multiply_adds == 4 * 2 * 4 + 10 * 16
    assert plan(*shape, 10, False, kept=True, choice="rebuild").multiply_adds == 10 * 16
    sequential = plan(*shape, 10, False, choice="sequential")
    assert sequential.multiply_adds == 10 * (4 * 2 * 2 + 2 * 4 * 2)
    assert plan(*shape, 10, True, choice="sequential").multiply_adds == 3 * sequential.multiply_adds
    assert rebuilt.dense_multiply_adds == 160
    assert "of the multiply-adds of a dense layer" in str(rebuilt)
    assert str(sequential).startswith("cores (1, 1) from ")


def test_what_was_measured_is_picked() -> None:
    for rank, kind in ((1, "sequential"), (2, "sequential"), (8, "rebuild"), (32, "rebuild")):
        for rows in (1024, 16384):
            assert plan(*square(512, 2, rank), rows, True).kind == kind
    assert plan(*square(1024, 2, 4), 4096, True).kind == "sequential"
    assert plan(*square(16, 2, 1), 100, True).kind == "rebuild"


def test_few_rows_are_not_worth_a_weight() -> None:
    shape = square(1024, 2, 16)
    assert plan(*shape, 1, False).kind == "sequential"
    assert plan(*shape, 100000, False).kind == "rebuild"
    assert plan(*shape, 1, False, kept=True).time <= 1.0
    assert plan(*square(64, 2, 8), 1, False, kept=True).kind == "rebuild"
    assert plan(*shape, 0, False).dense_multiply_adds > 0


def test_chunks_fit_the_cache() -> None:
    strategy = plan(*square(1024, 2, 4), 4096, False, choice="sequential")
    assert strategy.chunk_rows * 4096 == CHUNK_ELEMENTS  # the widest intermediate has rank * 1024 entries
    assert plan(*square(1024, 2, 4), 64, False, choice="sequential").chunk_rows == 64


def test_auto_is_the_cheaper_of_both() -> None:
    for rank, rows, backward in itertools.product((1, 4, 16), (10, 1000), (False, True)):
        shape = (*square(512, 3, rank), rows, backward)
        both = [plan(*shape, choice=kind) for kind in ("rebuild", "sequential")]
        assert plan(*shape) == min(both, key=lambda strategy: strategy.time)
