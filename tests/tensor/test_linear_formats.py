"""Linear layers of all formats: their weight by definition, and that they are twins of `nn.Linear`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from dsmsim.tensor import (
    LAYERS,
    BlockTermLinear,
    LowRankLinear,
    TensorLinear,
    TRLinear,
    TTLinear,
    TuckerLinear,
    from_dense,
    kept_weights,
    tensor_linear,
)
from dsmsim.tensor_shapes import FORMATS, core_shapes, parameters

MODES = [((2, 3), (4, 2)), ((3, 2, 2), (2, 2, 3)), ((2, 2, 2, 3), (2, 1, 3, 2))]  # in, out


def layer(format: str, modes_in: Sequence[int], modes_out: Sequence[int], **rest: Any) -> TensorLinear:
    """A double-precision layer of rank 3, with two blocks where there are blocks, from its own seed."""
    torch.manual_seed(rest.pop("seed", 0))
    modes = {} if format == "lowrank" else {"modes_in": modes_in, "modes_out": modes_out}
    blocks = {"blocks": 2} if format == "blockterm" else {}
    sizes = math.prod(modes_in), math.prod(modes_out)
    return tensor_linear(format, *sizes, **{"rank": 3, "dtype": torch.float64, **modes, **blocks, **rest})


def definition(format: str, cores: Sequence[torch.Tensor]) -> torch.Tensor:
    """W in one einsum: letters a.. are outputs, m.. inputs, t.. bonds, z blocks."""
    if format == "lowrank":
        return torch.einsum("at,tm->am", *cores)
    factors = len(cores) - (format in ("tucker", "blockterm"))
    out, into, bonds = "abcdef"[:factors], "mnopqr"[:factors], "tuvwxy"
    if format in ("tt", "tr"):
        right = bonds[1:factors] + bonds[0]
        terms = ["".join(letters) for letters in zip(bonds, out, into, right, strict=False)]
    elif format == "cp":
        terms = [o + i + "t" for o, i in zip(out, into, strict=True)]
    else:
        block = "z" if format == "blockterm" else ""
        terms = [block + bonds[:factors]]
        terms += [block + "".join(letters) for letters in zip(out, into, bonds, strict=False)]
    full = torch.einsum(f"{','.join(terms)}->{out}{into}", *cores)
    return full.reshape(math.prod(full.shape[:factors]), -1)


def everything() -> Iterator[TensorLinear]:
    """Every format with every choice of modes."""
    for format in FORMATS:
        for modes_in, modes_out in MODES:
            yield layer(format, modes_in, modes_out)


@pytest.mark.parametrize("own", list(everything()), ids=lambda own: f"{own.format}{len(own.modes_in)}")
def test_weight_is_the_definition(own: TensorLinear) -> None:
    torch.testing.assert_close(own.weight, definition(own.format, list(own.cores)), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("own", list(everything()), ids=lambda own: f"{own.format}{len(own.modes_in)}")
def test_the_cores_have_the_shapes_that_are_planned(own: TensorLinear) -> None:
    blocks = 2 if own.format == "blockterm" else 1
    shapes = core_shapes(own.format, own.modes_out, own.modes_in, 3, blocks)
    assert [tuple(core.shape) for core in own.cores] == shapes
    count = sum(core.numel() for core in own.cores)
    assert parameters(own.format, own.modes_out, own.modes_in, 3, blocks) == count
    assert f"{count} entries" in repr(own)


@pytest.mark.parametrize("own", list(everything()), ids=lambda own: f"{own.format}{len(own.modes_in)}")
def test_the_start_has_exactly_the_mean_square_of_a_dense_layer(own: TensorLinear) -> None:
    assert 3 * own.in_features * own.weight.square().mean().item() == pytest.approx(1.0, rel=1e-12)
    own.reset_cores(0.7)
    assert own.weight.square().mean().item() == pytest.approx(0.7, rel=1e-12)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("strategy", ["auto", "rebuild", "sequential"])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)])
def test_forward_is_the_dense_layer(format: str, strategy: str, leading: tuple[int, ...]) -> None:
    for bias in (True, False):
        own = layer(format, (3, 4), (2, 5), bias=bias, strategy=strategy)
        dense = nn.Linear(12, 10, bias=bias, dtype=torch.float64)
        with torch.no_grad():
            dense.weight.copy_(own.weight)
            if own.bias is not None:
                dense.bias.copy_(own.bias)
        x = torch.randn(*leading, 12, dtype=torch.float64)
        torch.testing.assert_close(own(x), dense(x), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("strategy", ["rebuild", "sequential"])
def test_permutations_reorder_inputs_and_outputs(format: str, strategy: str) -> None:
    orders = {"permute_in": torch.randperm(12), "permute_out": torch.randperm(10)}
    own = layer(format, (3, 4), (2, 5), strategy=strategy, bias=False, **orders)
    x = torch.randn(4, 12, dtype=torch.float64)
    expected = (x[:, orders["permute_in"]] @ own.rebuilt().T)[:, orders["permute_out"]]
    torch.testing.assert_close(own(x), expected)
    torch.testing.assert_close(x @ own.weight.T, expected)
    torch.testing.assert_close(own.sequential(x), expected)
    other = layer(
        format, (3, 4), (2, 5), bias=False, seed=1, **{name: range(len(o)) for name, o in orders.items()}
    )
    other.load_state_dict(own.state_dict())
    torch.testing.assert_close(other(x), expected)


@pytest.mark.parametrize("format", FORMATS)
def test_state_copies_and_precision(format: str) -> None:
    first, second = (layer(format, (3, 4), (2, 5), seed=seed) for seed in (1, 2))
    names = {f"cores.{k}" for k in range(len(first.cores))} | {"bias"}
    assert set(first.state_dict()) == names
    assert not torch.equal(first.weight, second.weight)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.weight, second.weight)
    third = copy.deepcopy(first)
    with torch.no_grad():
        third.cores[0].mul_(2.0)
    torch.testing.assert_close(third.weight, 2.0 * first.weight)
    assert third.float()(torch.randn(3, 12)).dtype == torch.float32
    with pytest.raises(RuntimeError, match=r"size mismatch for cores\.0"):
        first.load_state_dict(layer(format, (3, 4), (2, 5), rank=2).state_dict())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("strategy", ["rebuild", "sequential"])
def test_torch_func(format: str, strategy: str) -> None:
    layers = [layer(format, (3, 4), (2, 5), strategy=strategy, seed=seed) for seed in range(3)]
    x, dx = torch.randn(2, 3, 4, 12, dtype=torch.float64)
    found = torch.func.functional_call(layers[0], dict(layers[1].named_parameters()), (x,))
    torch.testing.assert_close(found, layers[1](x))
    torch.testing.assert_close(torch.vmap(layers[0])(x), layers[0](x))
    _, pushed = torch.func.jvp(layers[0], (x,), (dx,))
    torch.testing.assert_close(pushed, dx @ layers[0].weight.T)
    stacked, _ = torch.func.stack_module_state(layers)
    found = torch.vmap(lambda p, y: torch.func.functional_call(layers[0], p, (y,)))(stacked, x)
    torch.testing.assert_close(found, torch.stack([own(y) for own, y in zip(layers, x, strict=True)]))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("strategy", ["rebuild", "sequential"])
def test_first_and_second_derivatives(format: str, strategy: str) -> None:
    own = layer(format, (2, 2), (1, 2), strategy=strategy, rank=2)
    names = [name for name, _ in own.named_parameters()]
    inputs = [torch.randn(2, 4, dtype=torch.float64, requires_grad=True)]
    inputs += [p.detach().clone().requires_grad_(True) for p in own.parameters()]

    def apply(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        # tanh, so that second derivatives with respect to one tensor are not zero
        return torch.tanh(torch.func.functional_call(own, dict(zip(names, values, strict=True)), (x,)))

    assert torch.autograd.gradcheck(apply, inputs)
    assert torch.autograd.gradgradcheck(apply, inputs)


@pytest.mark.parametrize("format", FORMATS)
def test_compiled_layers_give_the_same(format: str) -> None:
    """Also for a second number of rows, where shapes become symbolic; no compiler is needed for this."""
    torch._dynamo.reset()
    own = layer(format, (3, 4), (2, 5))
    compiled = torch.compile(own, backend="aot_eager", fullgraph=True)
    for rows in (3, 40):
        x = torch.randn(rows, 12, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), own(x))
        compiled(x).sum().backward()


def test_distributed_data_parallel(tmp_path: Any) -> None:
    rendezvous = f"file://{tmp_path}/group"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
    try:
        own = layer("tt", (3, 4), (2, 5))
        parallel = nn.parallel.DistributedDataParallel(own)
        x = torch.randn(4, 12, dtype=torch.float64)
        parallel(x).square().sum().backward()
        expected = torch.autograd.grad(own(x).square().sum(), list(own.parameters()))
        torch.testing.assert_close([p.grad for p in own.parameters()], list(expected))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("strategy", ["rebuild", "sequential"])
def test_cores_of_other_ranks_are_taken_over(format: str, strategy: str) -> None:
    own = layer(format, (3, 4), (2, 5), strategy=strategy)
    before = list(own.cores)
    other = layer(format, (3, 4), (2, 5), rank=2, seed=1)
    own.set_cores(list(other.cores))
    x = torch.randn(4, 12, dtype=torch.float64)
    assert own.ranks == other.ranks
    torch.testing.assert_close(own.weight, other.weight)
    torch.testing.assert_close(own(x) - own.bias, other(x) - other.bias)
    assert all(new is not old for new, old in zip(own.cores, before, strict=True))
    assert own.state_dict().keys() == other.state_dict().keys()
    own(x).sum().backward()
    assert all(core.grad is not None and core.grad.shape == core.shape for core in own.cores)
    same = list(own.cores)
    own.set_cores([2.0 * core for core in other.cores])
    assert all(new is old for new, old in zip(own.cores, same, strict=True))


@pytest.mark.parametrize("format", FORMATS)
def test_cores_that_do_not_fit_are_refused(format: str) -> None:
    own = layer(format, (3, 4), (2, 5))
    with pytest.raises(ValueError, match="do not fit"):
        own.set_cores(list(layer(format, (4, 3), (2, 5 + (format == "lowrank"))).cores))
    with pytest.raises(ValueError, match="do not fit"):
        own.set_cores(list(own.cores)[:-1])


@pytest.mark.parametrize("format", FORMATS)
def test_a_dense_layer_in_this_format(format: str) -> None:
    """At full rank the same function, with permutations too."""
    torch.manual_seed(0)
    linear = nn.Linear(12, 10, dtype=torch.float64)
    orders = {"permute_in": torch.randperm(12), "permute_out": torch.randperm(10)}
    x = torch.randn(3, 12, dtype=torch.float64)
    for rest in ({}, orders):
        own = from_dense(format, linear, tolerance=1e-10, **rest)
        torch.testing.assert_close(own(x), linear(x), rtol=1e-8, atol=1e-8)


TR_EMBEDDINGS = [
    ((25, 30, 40), (4, 8, 8), 151.5),
    ((10, 10, 15, 20), (4, 4, 4, 4), 454.5),
    ((5, 5, 5, 5, 6, 8), (2, 2, 2, 2, 4, 4), 1041.7),
]


@pytest.mark.parametrize(("rows", "columns", "published"), TR_EMBEDDINGS)
def test_published_compression_by_rings(
    rows: Sequence[int], columns: Sequence[int], published: float
) -> None:
    """25000 x 256 with rank 8 at all bonds, the closing one included."""
    ring = TRLinear(256, math.prod(rows), columns, rows, 8, bias=False)
    assert round(25000 * 256 / sum(p.numel() for p in ring.parameters()), 1) == published


def test_ranks_one_by_one() -> None:
    modes = {"modes_in": (2, 3, 2), "modes_out": (3, 2, 2)}
    assert TTLinear(12, 12, rank=[5, 7], **modes).ranks == (1, 5, 7, 1)
    assert TTLinear(12, 12, rank=[1, 5, 7, 1], **modes).ranks == (1, 5, 7, 1)
    assert TRLinear(12, 12, rank=[2, 3, 4, 2], **modes).ranks == (2, 3, 4, 2)
    assert TuckerLinear(12, 12, rank=[2, 3, 4], **modes).ranks == (2, 3, 4)
    assert BlockTermLinear(12, 12, rank=[2, 3, 4], blocks=5, **modes).ranks == (5, 2, 3, 4)
    for own in (TRLinear(12, 12, rank=[2, 3, 4, 2], **modes), TuckerLinear(12, 12, rank=[2, 3, 4], **modes)):
        torch.testing.assert_close(own.weight, definition(own.format, list(own.cores)))


@pytest.mark.parametrize(
    ("format", "rest", "message"),
    [
        (
            "tt",
            {"rank": [2, 2]},
            r"ranks \[2, 2\] do not fit 2 cores: give 1 inner ranks or 1, r_1 .. r_1, 1",
        ),
        ("tt", {"rank": [2, 2, 2]}, "do not fit 2 cores"),
        ("tr", {"rank": [2, 2, 3]}, r"do not fit 2 cores: give r_0 .. r_2 = r_0"),
        ("tucker", {"rank": [2]}, "do not fit 2 factors"),
        ("cp", {"rank": [2, 2]}, "format 'cp' has one rank"),
        ("lowrank", {"rank": 0}, "rank 0 must be at least 1"),
        ("blockterm", {"rank": 2, "blocks": 0}, "blocks 0 must be at least 1"),
        ("tt", {"rank": 2, "blocks": 2}, "only blockterm has blocks"),
        ("mera", {"rank": 2}, "format 'mera' must be one of tt, tr, lowrank"),
        ("lowrank", {"rank": 2, "modes_in": (3, 4)}, "'lowrank' has no modes"),
        ("tt", {"rank": 2, "modes_in": (3, 3)}, r"modes_in \[3, 3\] multiply to 9, not 12"),
        ("tt", {"rank": 2, "strategy": "fast"}, "strategy 'fast' must be one of auto, rebuild, sequential"),
        ("tt", {"rank": 2, "permute_in": [0] * 12}, "permute_in is not a permutation of 0 .. 11"),
    ],
)
def test_wrong_arguments(format: str, rest: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tensor_linear(format, 12, 10, **rest)


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"input of shape \(4, 3\) needs a last axis of 12"):
        layer("tt", (3, 4), (2, 5))(torch.zeros(4, 3, dtype=torch.float64))


def test_modes_are_chosen_where_they_are_not_given() -> None:
    assert set(LAYERS) == set(FORMATS)
    chosen = tensor_linear("tt", 784, 10, rank=2)
    assert (chosen.modes_in, chosen.modes_out) == ((28, 28), (2, 5))
    one_sided = tensor_linear("cp", 64, 27, modes_out=(3, 3, 3), rank=2)
    assert (one_sided.modes_in, one_sided.modes_out) == ((4, 4, 4), (3, 3, 3))
    assert isinstance(tensor_linear("lowrank", 7, 3, rank=2), LowRankLinear)


@pytest.mark.parametrize("format", FORMATS)
def test_kept_weights_are_the_weights(format: str) -> None:
    own = layer(format, (3, 4), (2, 5))
    x = torch.randn(4, 12, dtype=torch.float64)
    expected = own(x)
    with torch.no_grad(), kept_weights(own):
        assert own.weight is own.weight
        torch.testing.assert_close(own(x), expected.detach())
        with kept_weights(own):
            assert own.weight is own.weight
        assert own.weight is own.weight
    assert own.weight is not own.weight


def test_kept_weights_follow_changes_and_gradients() -> None:
    own, other = (layer("tt", (3, 4), (2, 5), strategy="rebuild", seed=seed) for seed in (1, 2))
    x = torch.randn(4, 12, dtype=torch.float64)
    wanted = torch.autograd.grad(own(x).square().sum(), list(own.cores))
    with torch.no_grad(), kept_weights(own):
        found = torch.func.functional_call(own, dict(other.named_parameters()), (x,))
        torch.testing.assert_close(found, other(x))
        with torch.enable_grad():  # kept without a graph, so it cannot serve here
            torch.testing.assert_close(torch.autograd.grad(own(x).square().sum(), list(own.cores)), wanted)
        own.cores[0].mul_(2.0)
        torch.testing.assert_close(own.weight, own.rebuilt())
        own.cores[0].mul_(0.5)
    with kept_weights(own):
        assert own.weight is own.weight
        torch.testing.assert_close(torch.autograd.grad(own(x).square().sum(), list(own.cores)), wanted)


def test_kept_weights_end_with_an_exception() -> None:
    own = layer("tt", (3, 4), (2, 5))
    with pytest.raises(RuntimeError, match="stop"), kept_weights(nn.Sequential(own)):
        raise RuntimeError("stop")
    assert own._kept is None
