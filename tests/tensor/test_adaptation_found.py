"""Growth and shrinkage find the ranks of a train from its noisy answers."""

from __future__ import annotations

import pytest
import torch
from tensor_regression import Regression, train_layer
from torch import nn

from dsmsim.tensor import TRLinear
from dsmsim.tensor.adaptation import RankRule, ShrinkageAdapter
from dsmsim.tensor.adaptation.growth import widened
from dsmsim.tensor.canonical import full

STEPS, EVERY = 800, 40
TARGETS = [((4, 4), (1, 3, 1)), ((3, 3, 3), (1, 2, 4, 1))]
Modes = tuple[int, ...]


@pytest.mark.parametrize(("modes", "ranks"), TARGETS)
def test_growth_goes_from_rank_one_to_the_ranks_of_the_target_and_stops(modes: Modes, ranks: Modes) -> None:
    """No bond that has got an index that the target needs loses it at any later rounding."""
    target = train_layer(modes, ranks, 1)
    fit = Regression(target, train_layer(modes, 1, 2), "growth", RankRule(0.05, EVERY), STEPS)
    fit.run()
    assert fit.history[0] == (1, *[2] * (len(modes) - 1), 1)
    assert fit.layer.ranks == ranks
    assert fit.error() < 1e-6
    assert max(max(found) for found in fit.history) <= 2 * max(ranks)
    for bond, needed in enumerate(ranks):
        useful = [min(found[bond], needed) for found in fit.history]
        assert useful == sorted(useful)


def test_offers_leave_the_weight_and_show_its_normal_gradient() -> None:
    """Gradients of the new columns are those of W seen through directions that the core did not have."""
    layer = train_layer((3, 3, 3), (1, 2, 3, 1), 1)
    old = [core.detach() for core in layer.cores]
    cores = [core.requires_grad_() for core in widened(old, [2, 3], seed=0)]
    assert [core.shape[-1] for core in cores] == [4, 6, 1]
    torch.testing.assert_close(full(cores), full(old))
    fresh = cores[2][3:].flatten(1)
    assert torch.allclose(fresh @ old[2].flatten(1).T, torch.zeros(3, 3, dtype=torch.float64), atol=1e-12)
    full(cores).square().sum().backward()  # dL/dW = 2 W lies in the train's own space
    assert cores[1].grad is not None
    assert float(cores[1].grad[..., 3:].abs().max()) < 1e-12
    full(cores)[0, 0].backward()
    assert float(cores[1].grad[..., 3:].abs().max()) > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(cores, widened(old, [2, 3], seed=0), strict=True))


def test_no_more_is_offered_than_there_is() -> None:
    cores = [core.detach() for core in train_layer((2, 2), 4, 1).cores]
    assert [core.shape for core in widened(cores, [3], seed=0)] == [core.shape for core in cores]


@pytest.mark.parametrize(
    ("modes", "ranks", "noise"), [(*TARGETS[0], 3.0), *((*TARGETS[1], noise) for noise in (0.03, 0.3, 3.0))]
)
def test_shrinkage_finds_the_ranks_under_noise_of_any_size(modes: Modes, ranks: Modes, noise: float) -> None:
    """At a tolerance far below the noise, so that the prior has to do it; it is told nothing of the noise."""
    target = train_layer(modes, ranks, 1)
    fit = Regression(target, train_layer(modes, 9, 2), "shrinkage", RankRule(0.01, EVERY), STEPS, noise)
    fit.run()
    assert fit.layer.ranks == ranks


def test_rounding_alone_keeps_the_noise() -> None:
    target = train_layer((4, 4), (1, 3, 1), 1)
    fit = Regression(target, train_layer((4, 4), 9, 2), "rounding", RankRule(0.01, EVERY), STEPS, 3.0)
    fit.run()
    assert fit.layer.ranks[1] > 3


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_pull_of_the_prior_follows_the_unit_of_the_loss(unit: float) -> None:
    """Gradients c times as large get a prior c times as large; from a full batch, none."""
    pulls = []
    for scale in (1.0, unit):
        layer = train_layer((4, 4), 3, 1)
        adapter = ShrinkageAdapter(nn.Sequential(layer), RankRule(1e-6, 1))
        adapter.adapt(1, 100)
        generator = torch.Generator().manual_seed(0)
        for step in range(2, 5):
            for core in layer.cores:
                core.grad = scale * torch.randn(core.shape, generator=generator, dtype=torch.float64)
            data = [core.grad.clone() for core in layer.cores if core.grad is not None]
            adapter.observe(step)
        changes = [c.grad - g for c, g in zip(layer.cores, data, strict=True) if c.grad is not None]
        pulls.append([change / scale for change in changes])
        for change, core in zip(changes, layer.cores, strict=True):
            assert float((change * core.detach()).sum()) > 0.0  # the optimiser goes against it
    for one, other in zip(*pulls, strict=True):
        torch.testing.assert_close(one, other)


def test_a_full_batch_has_no_noise_and_no_prior() -> None:
    torch.manual_seed(0)
    layer = TRLinear(16, 16, (4, 4), (4, 4), 3)
    adapter = ShrinkageAdapter(nn.Sequential(layer), RankRule(1e-6, 1))
    adapter.adapt(1, 100)
    for step in range(2, 5):
        for core in layer.cores:
            core.grad = torch.ones_like(core)
        adapter.observe(step)
    assert all(torch.equal(core.grad, torch.ones_like(core)) for core in layer.cores if core.grad is not None)
