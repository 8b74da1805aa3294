"""Tensor-train and tensor-ring tables: rows, what is refused, published counts, and torch's ways of use."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jvp, vmap

from dsmsim.tensor.embedding import TREmbedding, TTEmbedding, covering_modes

KINDS = [TTEmbedding, TREmbedding]
PUBLISHED = [
    (TTEmbedding, (25, 30, 40), (4, 8, 8), 16, 93.0),
    (TTEmbedding, (10, 10, 15, 20), (4, 4, 4, 4), 16, 232.0),
    (TTEmbedding, (5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4), 16, 441.0),
    (TTEmbedding, (25, 30, 40), (4, 8, 8), 8, 341.9),
    (TTEmbedding, (10, 10, 15, 20), (4, 4, 4, 4), 8, 869.6),
    (TTEmbedding, (5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4), 8, 1687.8),
    (TREmbedding, (25, 30, 40), (4, 8, 8), 8, 151.5),
    (TREmbedding, (10, 10, 15, 20), (4, 4, 4, 4), 8, 454.5),
    (TREmbedding, (5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4), 8, 1041.7),
]  # kind, modes of the rows, modes of the columns, rank, table entries by parameters


def table(
    kind: type[TTEmbedding] = TTEmbedding,
    modes_rows: Sequence[int] = (2, 3, 4),
    modes_columns: Sequence[int] = (3, 1, 2),
    rank: int | Sequence[int] = 3,
    padding_idx: int | None = None,
) -> TTEmbedding:
    """A double-precision table of 20 rows, fewer than the modes make, from its own seed."""
    torch.manual_seed(0)
    columns = math.prod(modes_columns)
    return kind(
        20,
        columns,
        padding_idx,
        rank=rank,
        modes_rows=modes_rows,
        modes_columns=modes_columns,
        dtype=torch.float64,
    )


def by_hand(layer: TTEmbedding, row: int) -> torch.Tensor:
    """One row from the definition: matrices of the cores at the row's digits, for every column."""
    digits = []
    for mode in reversed(layer.modes_rows):
        digits.insert(0, row % mode)
        row //= mode
    values = []
    for column in range(layer.embedding_dim):
        product: torch.Tensor | None = None
        below = layer.embedding_dim
        for core, digit, mode in zip(layer.table.cores, digits, layer.modes_columns, strict=True):
            below //= mode
            matrix = core[:, digit, column // below % mode]
            product = matrix if product is None else product @ matrix
        assert product is not None
        values.append(torch.trace(product))
    return torch.stack(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("modes_rows", "modes_columns"),
    [((2, 3, 4), (3, 1, 2)), ((5, 4), (2, 3)), ((2, 2, 5, 1), (1, 2, 1, 3)), ((4, 1, 5), (2, 2, 2))],
)
def test_rows_are_products_of_slices(
    kind: type[TTEmbedding], modes_rows: Sequence[int], modes_columns: Sequence[int]
) -> None:
    """From the definition; few indices go through the cores one by one, many share what they share."""
    layer = table(kind, modes_rows, modes_columns)
    expected = torch.stack([by_hand(layer, row) for row in range(20)])
    torch.testing.assert_close(layer.weight, expected, rtol=1e-12, atol=1e-12)
    everything = torch.randint(20, (200,))
    for index in (torch.tensor(7), torch.tensor([19, 0]), torch.arange(20).reshape(2, 5, 2), everything):
        rows = layer(index)
        assert rows.shape == (*index.shape, layer.embedding_dim)
        torch.testing.assert_close(rows, expected[index], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_indices(kind: type[TTEmbedding]) -> None:
    assert table(kind)(torch.empty(2, 0, dtype=torch.int64)).shape == (2, 0, 6)


def test_the_dense_table_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = table()

    def refuse() -> torch.Tensor:
        raise AssertionError("a look-up rebuilt the table")

    monkeypatch.setattr(layer.table, "rebuilt", refuse)
    assert layer(torch.arange(20).repeat(5)).shape == (100, 6)


@pytest.mark.parametrize("index", [20, 23, 24, 1000, -1, -24])
@pytest.mark.parametrize("many", [1, 100])
def test_rows_that_are_not_there_are_refused(index: int, many: int) -> None:
    """20 .. 23 are rows of the cores but not of the table."""
    layer = table()
    with pytest.raises(IndexError):
        layer(torch.tensor([3] * many + [index]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [4, -16])
def test_padding_is_zero_and_has_no_gradient(kind: type[TTEmbedding], padding: int) -> None:
    layer, free = table(kind, padding_idx=padding), table(kind)
    index = torch.tensor([[4, 5], [6, 4]])
    rows = layer(index)
    assert torch.equal(rows[0, 0], torch.zeros(6, dtype=torch.float64))
    assert torch.equal(rows[1, 1], torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(rows[[0, 1], [1, 0]], free(torch.tensor([5, 6])), rtol=0.0, atol=0.0)
    torch.testing.assert_close(layer(torch.arange(20)), layer.weight, rtol=1e-13, atol=1e-14)
    layer(torch.tensor([4])).sum().backward()
    assert all(core.grad is not None and not core.grad.any() for core in layer.table.cores)


def test_like_a_dense_table_with_the_same_rows() -> None:
    """Values, and the gradient that a dense table would hand down to the cores."""
    layer = table(padding_idx=2)
    dense = nn.Embedding.from_pretrained(layer.weight.detach(), freeze=False, padding_idx=2)
    index, weights = torch.randint(20, (3, 7)), torch.randn(3, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(index), dense(index), rtol=1e-12, atol=1e-12)
    (layer(index) * weights).sum().backward()
    (dense(index) * weights).sum().backward()
    own = [core.grad for core in layer.table.cores]
    through = torch.autograd.grad(layer.weight, list(layer.table.cores), dense.weight.grad)
    torch.testing.assert_close(own, list(through), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("kind", "modes_rows", "modes_columns", "rank", "ratio"), PUBLISHED)
def test_published_counts(
    kind: type[TTEmbedding],
    modes_rows: Sequence[int],
    modes_columns: Sequence[int],
    rank: int,
    ratio: float,
) -> None:
    """25000 x 256 with one rank at all bonds, cut nowhere; whole ratios are published cut off."""
    d = len(modes_rows)
    ranks = [rank] * (d - 1) if kind is TTEmbedding else [rank] * (d + 1)
    layer = kind(25000, 256, rank=ranks, modes_rows=modes_rows, modes_columns=modes_columns)
    count = sum(parameter.numel() for parameter in layer.parameters())
    found = 25000 * 256 / count
    assert (math.floor(found) if rank == 16 else round(found, 1)) == ratio
    assert layer(torch.tensor([24999])).shape == (1, 256)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_start_with_variance_one(kind: type[TTEmbedding]) -> None:
    torch.manual_seed(1)
    layer = kind(64, 64, rank=4, dtype=torch.float64)
    squares = []
    for _ in range(200):
        layer.reset_parameters()
        squares.append(layer.weight.detach().square().mean())
    assert torch.stack(squares).mean().item() == pytest.approx(1.0, rel=0.1)


def test_modes_that_are_not_given() -> None:
    assert covering_modes(25000, 3) == [30, 29, 29]
    assert covering_modes(27, 3) == [3, 3, 3]
    assert covering_modes(1, 2) == [1, 1]
    layer = TTEmbedding(25000, 256, rank=4)
    assert layer.modes_rows == (30, 29, 29)
    assert sorted(layer.modes_columns) == [4, 8, 8]
    assert TTEmbedding(100, 7, rank=2, modes_columns=(7, 1)).modes_rows == (10, 10)
    assert TTEmbedding(6, 8, rank=2, modes_rows=(2, 3)).modes_columns == (2, 4)


def test_covering_modes_cover_closely() -> None:
    for count in (2, 3, 5):
        for size in (*range(1, 200), 999_999, 1_000_000):
            modes = covering_modes(size, count)
            assert len(modes) == count
            assert math.prod(modes) >= size
            assert max(modes) - min(modes) <= 1
            assert math.prod(modes) // max(modes) * (max(modes) - 1) < size


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="make 6 rows, not 7"):
        TTEmbedding(7, 8, rank=2, modes_rows=(2, 3))
    with pytest.raises(ValueError, match="multiply to 6, not 8"):
        TTEmbedding(6, 8, rank=2, modes_rows=(2, 3), modes_columns=(2, 3))
    with pytest.raises(ValueError, match="padding_idx 6"):
        TTEmbedding(6, 8, 6, rank=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("many", [2, 30])
def test_derivatives(kind: type[TTEmbedding], many: int) -> None:
    layer = table(kind, rank=2, padding_idx=1)
    names = [name for name, _ in layer.named_parameters()]
    index = torch.arange(many) % 20
    cores = tuple(core.detach().clone().requires_grad_() for core in layer.parameters())

    def rows(*values: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = functional_call(layer, dict(zip(names, values, strict=True)), (index,))
        return out.square().sum(-1)

    assert gradcheck(rows, cores)
    assert gradgradcheck(rows, cores)
    _, slope = jvp(rows, cores, cores)
    # homogeneous of degree 2 d in all cores together
    torch.testing.assert_close(slope, 2 * len(cores) * rows(*cores), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_indices_and_over_cores(kind: type[TTEmbedding]) -> None:
    layer = table(kind)
    index = torch.randint(20, (5, 3))
    torch.testing.assert_close(vmap(layer)(index), layer(index), rtol=1e-12, atol=1e-12)
    stacked = {name: torch.stack([value, 2 * value]) for name, value in layer.named_parameters()}
    both = vmap(lambda values: functional_call(layer, values, (index,)))(stacked)
    expected = torch.stack([layer(index), 2 ** len(layer.modes_rows) * layer(index)])
    torch.testing.assert_close(both, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_and_copies(kind: type[TTEmbedding]) -> None:
    layer, other = table(kind), table(kind)
    other.reset_parameters()
    index = torch.arange(20)
    assert list(layer.state_dict()) == [f"table.cores.{k}" for k in range(3)]
    assert not torch.equal(other(index), layer(index))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(index), layer(index))
    twin = copy.deepcopy(layer)
    layer.reset_parameters()
    assert torch.equal(twin(index), other(index))
    assert table(kind).float()(index).dtype == torch.float32
