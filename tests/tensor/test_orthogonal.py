"""Orthogonal trains: isometries that stay, steps that are tangent to second order, bounded gradients."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from random_cores import drawn
from torch import Tensor

from dsmsim.tensor import TRLinear, TTLinear
from dsmsim.tensor.canonical import full, rounded
from dsmsim.tensor.orthogonal import (
    Metric,
    keep_orthogonal,
    make_orthogonal_,
    orthogonalise_layer,
    project_gradients_,
    retract_,
)

IN, OUT = (3, 2, 4), (4, 3, 2)


def layer(rank: int = 4, seed: int = 0, bias: bool = True) -> TTLinear:
    torch.manual_seed(seed)
    return TTLinear(24, 24, IN, OUT, rank, bias, dtype=torch.float64)


def defect(tt: TTLinear) -> float:
    """Largest deviation of the cores but the last from isometries."""
    grams = [core.flatten(0, 2).T @ core.flatten(0, 2) for core in list(tt.cores)[:-1]]
    return max((gram - torch.eye(len(gram))).abs().max().item() for gram in grams)


def with_gradients(tt: TTLinear, seed: int = 0) -> Tensor:
    """Gradients of a random linear function of W, and dL/dW."""
    slope = torch.randn(24, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tt.zero_grad()
    (tt.weight * slope).sum().backward()
    return slope


def gradients(tt: TTLinear) -> list[Tensor]:
    return [core.grad.clone() for core in tt.cores if core.grad is not None]


def tangent(cores: list[Tensor], steps: list[Tensor]) -> Tensor:
    """The derivative of W along changes of the cores."""
    return torch.func.jvp(lambda *own: full(own), tuple(cores), tuple(steps))[1]


def test_the_left_canonical_form_keeps_the_weight() -> None:
    tt = layer()
    before, parameters = tt.weight.detach().clone(), list(tt.cores)
    assert defect(tt) > 0.1
    make_orthogonal_(tt)
    assert defect(tt) < 1e-13
    torch.testing.assert_close(tt.weight, before)
    assert all(own is other for own, other in zip(tt.cores, parameters, strict=True))
    assert tt.cores[-1].norm().item() == pytest.approx(before.norm().item())
    cores = [core.detach().clone() for core in tt.cores]
    make_orthogonal_(tt)
    assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(tt.cores, cores, strict=True))


def test_projected_gradients_are_in_the_gauge_of_the_tangent_space() -> None:
    tt = layer()
    make_orthogonal_(tt)
    with_gradients(tt)
    before = gradients(tt)
    project_gradients_(tt)
    for core, grad in zip(list(tt.cores)[:-1], gradients(tt)[:-1], strict=True):
        assert (core.flatten(0, 2).T @ grad.flatten(0, 2)).abs().max() < 1e-13
    assert torch.equal(gradients(tt)[-1], before[-1])
    projected = gradients(tt)
    project_gradients_(tt)
    assert all(torch.allclose(a, b) for a, b in zip(gradients(tt), projected, strict=True))


def test_of_any_step_only_the_tangent_part_is_made() -> None:
    """Steps as Adam's are not tangent: what changes the gauge alone, as a weight decay, does nothing."""
    tt = layer()
    make_orthogonal_(tt)
    cores, before = [core.detach().clone() for core in tt.cores], tt.weight.detach().clone()
    with torch.no_grad():
        for core in tt.cores[:-1]:
            core.mul_(0.7)
            core.copy_(torch.tensordot(core, torch.eye(core.shape[-1]).to(core) + 0.1, dims=1))
    retract_(tt, cores)
    torch.testing.assert_close(tt.weight, before)


@pytest.mark.convergence
def test_steps_are_tangent_to_second_order() -> None:
    """|W after step and retraction - W - tangent step| falls as step^2; the cores move as the step says."""
    lengths = [10.0**-k for k in (1.0, 1.5, 2.0, 2.5, 3.0)]
    errors, moves = [], []
    for length in lengths:
        tt = layer()
        make_orthogonal_(tt)
        with_gradients(tt)
        project_gradients_(tt)
        cores, steps = [core.detach().clone() for core in tt.cores], [-length * g for g in gradients(tt)]
        expected = tt.weight.detach() + tangent(cores, steps)
        with torch.no_grad():
            for core, step in zip(tt.cores, steps, strict=True):
                core.add_(step)
        retract_(tt, cores)
        assert defect(tt) < 1e-13
        assert torch.equal(tt.cores[-1].detach(), cores[-1] + steps[-1])
        errors.append((tt.weight.detach() - expected).norm().item())
        moved = zip(tt.cores, cores, steps, strict=True)
        moves.append(max((own - old - step).norm().item() for own, old, step in moved))
    for values in (errors, moves):
        slope = math.log(values[0] / values[-1]) / math.log(lengths[0] / lengths[-1])
        assert 1.9 < slope < 2.1


def test_the_weight_metric_is_the_projection_of_the_dense_gradient() -> None:
    """Along the Riemannian gradient W moves by the orthogonal projection of dL/dW to the tangent space."""
    tt = layer(rank=2, bias=False)
    make_orthogonal_(tt)
    slope = with_gradients(tt)
    project_gradients_(tt, metric="weight", damping=1e-14)
    cores = [core.detach() for core in tt.cores]
    moved = tangent(cores, gradients(tt))
    jacobian = torch.func.jacrev(lambda own: full(own))(cores)
    basis = torch.cat([own.flatten(0, 1).flatten(1) for own in jacobian], dim=1)  # (O I, entries)
    vectors, values, _ = torch.linalg.svd(basis, full_matrices=False)
    vectors = vectors[:, values > 1e-10 * values[0]]
    projected = vectors @ (vectors.T @ slope.reshape(-1))
    torch.testing.assert_close(moved.reshape(-1), projected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("cores", [2, 4, 7])
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_gradients_are_bounded_by_the_weight(cores: int, size: float) -> None:
    """|dL/dU_k| <= |dL/dW| |W| and |dL/dG_d| <= |dL/dW|, however many cores; unbounded without isometries."""
    tt = TTLinear(2**cores, 2**cores, (2,) * cores, (2,) * cores, 4, False, dtype=torch.float64)
    tt.reset_cores(size)
    make_orthogonal_(tt)
    slope = torch.randn(2**cores, 2**cores, dtype=torch.float64)
    (tt.weight * slope).sum().backward()
    *others, last = [grad.norm() for grad in gradients(tt)]
    limit = slope.norm() * (1.0 + 1e-12)
    assert last <= limit
    assert all(own <= limit * tt.weight.norm() for own in others)
    orthogonal = orthogonalise_layer(copy.deepcopy(tt))
    (orthogonal.weight * slope).sum().backward()
    for parameter in orthogonal.parameters():
        assert parameter.grad is not None
        assert parameter.grad.norm() <= math.sqrt(2.0) * limit * max(1.0, tt.weight.norm().item())


@pytest.mark.parametrize("metric", ["cores", "weight"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimiser_keeps_the_layer_orthogonal(kind: type[torch.optim.Optimizer], metric: Metric) -> None:
    tt, target = layer(3, bias=False), full(drawn("tt", OUT, IN, 3, seed=9))
    target = target / target.norm()
    optimizer = kind(tt.parameters(), lr=0.05)  # type: ignore[call-arg]
    hooks = keep_orthogonal(tt, optimizer, metric)

    def train(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (tt.weight - target).square().sum()
            loss.backward()
            optimizer.step()
        return loss.item()

    first = train(1)
    assert train(60) < 0.5 * first
    assert defect(tt) < 1e-12
    for hook in hooks:
        hook.remove()
    train(5)
    assert defect(tt) > 1e-6


def test_rings_and_frozen_cores_are_left_alone() -> None:
    ring = TRLinear(4, 4, (2, 2), (2, 2), 2, dtype=torch.float64)
    frozen = layer()
    make_orthogonal_(frozen)
    frozen.cores[0].requires_grad_(False)
    module = torch.nn.ModuleList([ring, frozen])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    keep_orthogonal(module, optimizer)
    before = [core.detach().clone() for core in ring.cores]
    frozen.weight.square().sum().backward()
    optimizer.step()
    assert frozen.cores[0].grad is None
    assert all(torch.equal(own, old) for own, old in zip(ring.cores, before, strict=True))


def test_a_parametrised_layer_is_the_same_function() -> None:
    tt = layer()
    x = torch.randn(7, 24, dtype=torch.float64)
    before, names = tt(x), {name for name, _ in tt.named_parameters()}
    other = orthogonalise_layer(copy.deepcopy(tt))
    torch.testing.assert_close(other(x), before)
    torch.testing.assert_close(other.sequential(x), x @ tt.weight.T)
    assert other.ranks == tt.ranks
    assert names == {"cores.0", "cores.1", "cores.2", "bias"}
    for parameter in other.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    assert defect(other) < 1e-13  # whatever is trained
    torch.testing.assert_close(copy.deepcopy(other)(x), other(x))
    loaded = orthogonalise_layer(layer(seed=5))
    loaded.load_state_dict(other.state_dict())
    assert torch.equal(loaded(x), other(x))


def test_a_parametrised_layer_in_function_transforms() -> None:
    tt = orthogonalise_layer(layer(2))
    x = torch.randn(5, 24, dtype=torch.float64)
    parameters = dict(tt.named_parameters())

    def loss(own: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(tt, own, (x,)).square().sum()

    slopes = torch.func.grad(loss)(parameters)
    steps = {name: torch.randn_like(value) for name, value in parameters.items()}
    _, along = torch.func.jvp(loss, (parameters,), (steps,))
    expected = torch.stack([(slopes[name] * steps[name]).sum() for name in steps]).sum()
    torch.testing.assert_close(along, expected)
    stacked = {name: torch.stack([value, value + steps[name]]) for name, value in parameters.items()}
    found = torch.func.vmap(loss)(stacked)
    single = [loss({name: value[k] for name, value in stacked.items()}) for k in range(2)]
    torch.testing.assert_close(found, torch.stack(single))


def test_a_parametrised_layer_takes_left_canonical_cores_only() -> None:
    tt = orthogonalise_layer(layer())
    smaller = rounded([core.detach() for core in tt.cores], 0.6)
    tt.set_cores(smaller)
    torch.testing.assert_close(tt.weight, full(smaller))
    assert tt.ranks == (1, *(core.shape[-1] for core in smaller))
    with pytest.raises(ValueError, match="cores of the left canonical form"):
        tt.set_cores(drawn("tt", OUT, IN, 2))
    with pytest.raises(ValueError, match="parametrisation computes cannot be filled"):
        tt.reset_parameters()


def test_what_cannot_be_orthogonal_is_refused() -> None:
    with pytest.raises(ValueError, match="a ring has no canonical form"):
        make_orthogonal_(TRLinear(4, 4, (2, 2), (2, 2), 2))
    wide = TTLinear(4, 4, (2, 2), (2, 2), [1, 9, 1], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"ranks \(1, 9, 1\) are more than isometries can have.*\[1, 4, 1\]"):
        orthogonalise_layer(wide)
