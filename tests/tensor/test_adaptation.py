"""What all rank adapters share, and rounding: when ranks change, how far W moves, and resuming."""

from __future__ import annotations

import math

import pytest
import torch
from tensor_regression import Regression, train_layer
from torch import nn

from dsmsim.tensor import LowRankLinear, TRLinear, TTLinear
from dsmsim.tensor.adaptation import ADAPTERS, DEFAULT_ADAPTER, RankRule, ShrinkageAdapter


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b|."""
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))


def ring(rank: int = 4) -> TRLinear:
    torch.manual_seed(5)
    return TRLinear(27, 27, (3, 3, 3), (3, 3, 3), rank, dtype=torch.float64)


def test_the_default_is_one_of_them() -> None:
    assert DEFAULT_ADAPTER in ADAPTERS
    assert set(ADAPTERS) == {"rounding", "growth", "shrinkage"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tolerance": 0.0}, "tolerance 0.0 must lie between"),
        ({"tolerance": 1.0}, "tolerance 1.0 must lie between"),
        ({"every": 0}, "every 0 must be at least 1"),
        ({"most": 0}, "most 0 must be at least 1"),
        ({"until": 0.0}, "until 0.0 must lie"),
        ({"until": 1.5}, "until 1.5 must lie"),
    ],
)
def test_wrong_rules_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RankRule(**{"tolerance": 0.1, "every": 10, **values})  # type: ignore[arg-type]


def test_ranks_stand_still_at_the_end() -> None:
    rule = RankRule(0.1, 10)
    assert [step for step in range(1, 101) if rule.due(step, 100)] == list(range(10, 81, 10))


@pytest.mark.parametrize("tolerance", [0.5, 0.2, 0.02])
@pytest.mark.parametrize("kind", ["train", "ring"])
def test_rounding_keeps_the_weight_within_the_tolerance(kind: str, tolerance: float) -> None:
    layer = train_layer((3, 3, 3), 9, 1) if kind == "train" else ring()
    module, before = nn.Sequential(layer), layer.weight.detach()
    numbers = sum(core.numel() for core in layer.cores)
    changed = ADAPTERS["rounding"](module, RankRule(tolerance, 10)).adapt(10, 100)
    error = distance(layer.weight.detach(), before)
    assert error <= tolerance
    assert changed == (sum(core.numel() for core in layer.cores) < numbers)
    assert changed or error == 0.0
    assert changed or tolerance < 0.5
    if changed:
        sizes = [float(core.detach().square().mean().sqrt()) for core in layer.cores]
        assert sizes == pytest.approx([sizes[0]] * len(sizes), rel=1e-12)


def test_rounding_finds_the_ranks_of_a_weight_that_has_few() -> None:
    small, layer = train_layer((3, 3, 3), (1, 2, 4, 1), 1), train_layer((3, 3, 3), 9, 2)
    with torch.no_grad():
        for core, value in zip(layer.cores, small.cores, strict=True):
            core.zero_()
            core[tuple(slice(size) for size in value.shape)] = value
    assert ADAPTERS["rounding"](nn.Sequential(layer), RankRule(1e-6, 1)).adapt(1, 10)
    assert layer.ranks == (1, 2, 4, 1)
    torch.testing.assert_close(layer.weight, small.weight)


def test_most_goes_before_the_tolerance() -> None:
    layer = train_layer((3, 3, 3), 9, 1)
    assert ADAPTERS["rounding"](nn.Sequential(layer), RankRule(1e-6, 1, most=3)).adapt(1, 10)
    assert max(layer.ranks) == 3


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_nothing_happens_when_it_is_not_time(name: str) -> None:
    layer = train_layer((4, 4), 6, 1)
    before = [core.detach().clone() for core in layer.cores]
    adapter = ADAPTERS[name](nn.Sequential(layer), RankRule(0.9, 10))
    assert not any(adapter.adapt(step, 100) for step in (1, 9, 11, 85, 90, 100))
    assert all(torch.equal(old, new) for old, new in zip(before, layer.cores, strict=True))


def test_only_trains_and_rings_are_adapted() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "chain": TTLinear(16, 16, (4, 4), (4, 4), 8),
            "dense": nn.Linear(16, 16),
            "low": LowRankLinear(16, 16, 4),
            "ring": TRLinear(16, 16, (4, 4), (4, 4), 3),
        }
    )
    others = {name: p for name, p in model.named_parameters() if name.startswith(("dense", "low"))}
    adapter = ADAPTERS["rounding"](model, RankRule(0.8, 1))
    assert set(adapter.layers) == {"chain", "ring"}
    assert adapter.adapt(1, 10)
    assert all(p is dict(model.named_parameters())[name] for name, p in others.items())


def test_growth_refuses_rings_and_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r'0 are tensor rings.*"rounding" or "shrinkage"'):
        ADAPTERS["growth"](nn.Sequential(ring()), RankRule(0.1, 1))


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_same_start_same_end_and_resuming_changes_nothing(name: str) -> None:
    """Bit for bit, from the cores, the optimiser's state and `arrays`, also right after ranks changed."""
    target, rule = train_layer((4, 4), (1, 3, 1), 1), RankRule(0.05, 10)

    def fresh(rank: int | tuple[int, ...] = 5) -> Regression:
        return Regression(target, train_layer((4, 4), rank, 2), name, rule, 120, noise=0.5)

    straight = fresh()
    straight.run()
    for stop in (30, 47):
        first = fresh()
        first.run(stop)
        second = fresh(first.layer.ranks)
        second.layer.load_state_dict(first.layer.state_dict())
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        second.generator.set_state(first.generator.get_state())
        second.adapter.load(first.adapter.arrays())
        second.done, second.history = first.done, first.history
        second.run()
        assert second.history == straight.history
        assert torch.equal(second.layer.weight, straight.layer.weight)
        ends = second.adapter.arrays(), straight.adapter.arrays()
        assert set(ends[0]) == set(ends[1])
        assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_arrays_of_another_adapter_are_refused() -> None:
    module = nn.Sequential(train_layer((4, 4), 3, 1))
    with pytest.raises(ValueError, match=r"arrays \['steps'\] must be \[\]"):
        ADAPTERS["rounding"](module, RankRule(0.1, 1)).load({"steps": torch.tensor(3)})
    shrinkage = ShrinkageAdapter(module, RankRule(0.1, 1))
    with pytest.raises(ValueError, match="must have one named steps"):
        shrinkage.load({})
    wrong = {"steps": torch.tensor(3), "0.cores.0.noise": torch.zeros(math.prod((1, 4, 4, 2)))}
    with pytest.raises(ValueError, match=r"array 0.cores.0.noise of shape \(32,\) is not of these layers"):
        shrinkage.load(wrong)
