"""Which engine an input gets, and that every engine adds up to the same loss and gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import POTENTIAL, TT, config_of, flat, objective, trained_on
from torch import Tensor

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.training import engines
from dsmsim.training.batch import Batch, training_points
from dsmsim.training.engines import GradientFunction, gradient_function
from dsmsim.training.state import TrainState, new_state

PROBES = {"train.divergence": "hutchinson"}


def start(changes: dict[str, Any]) -> tuple[Config, TrainState, Batch]:
    config = config_of(changes)
    state = new_state(config, World())
    batch = training_points(config, state.system, state.initial, state.fields, 0, range(3))
    return config, state, batch


def gradient_of(engine: GradientFunction, state: TrainState, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of the points, score and newton, and the gradient, with weights that tell all points apart."""
    for parameter in state.fields.parameters():
        parameter.grad = None
    weights = torch.linspace(0.5, 1.5, len(batch.x), dtype=torch.float64)
    found = engine(batch, weights, weights.flip(0))
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in state.fields.parameters()]
    return torch.stack(found), torch.cat([gradient.reshape(-1) for gradient in gradients])


@pytest.mark.parametrize("changes", [{}, TT, {"train.form": "convective"}])
def test_the_fused_engine_is_chosen_and_is_the_oracle(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, state, batch = start(changes)
    oracle = config_of(changes | {"train.engine": "torch_func"})
    expected = gradient_of(gradient_function(oracle, state.fields, state.system), state, batch)
    calls: list[int] = []
    plain = engines.fused_loss

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return plain(*arguments)

    monkeypatch.setattr(engines, "fused_loss", counted)
    for engine in ("auto", "fused"):
        chosen = config_of(changes | {"train.engine": engine})
        found = gradient_of(gradient_function(chosen, state.fields, state.system), state, batch)
        torch.testing.assert_close(found[0], expected[0].detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11)
    assert len(calls) == 2


@pytest.mark.parametrize("changes", [{}, PROBES, POTENTIAL, POTENTIAL | {"train.block": 4}])
def test_chunks_do_not_change_the_result(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config, state, batch = start(changes)
    whole = gradient_of(gradient_function(config, state.fields, state.system), state, batch)
    monkeypatch.setattr(engines, "RESIDUAL_CHUNK", 5)
    monkeypatch.setattr("dsmsim.networks.potential_fields.CACHED_BYTES", 1)
    parts = gradient_of(gradient_function(config, state.fields, state.system), state, batch)
    for found, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


def test_probes_are_independent_signs_keyed_by_block() -> None:
    config, state, batch = start(PROBES)
    assert batch.probes is not None
    assert batch.probes.shape == (2, *batch.x.shape)
    assert torch.equal(batch.probes.abs(), torch.ones_like(batch.probes))
    assert not torch.equal(batch.probes[0], batch.probes[1])
    last = training_points(config, state.system, state.initial, state.fields, 0, [2])
    assert last.probes is not None
    assert torch.equal(last.probes, batch.probes[:, -len(last.x) :])
    exact = training_points(config_of({}), state.system, state.initial, state.fields, 0, range(3))
    assert exact.probes is None
    assert torch.equal(exact.x, batch.x)  # the probes are drawn after everything else


def test_probes_train_on_any_number_of_ranks() -> None:
    config = config_of(PROBES | {"train.epochs": 3})
    (alone,) = trained_on(1, config)
    for state in trained_on(7, config):  # one of seven ranks has no block
        torch.testing.assert_close(flat(state), flat(alone), rtol=0.0, atol=1e-9)


def test_probes_estimate_the_exact_gradient() -> None:
    """The mean over many draws at the same points."""
    config, state, batch = start(PROBES)
    exact = gradient_of(gradient_function(config_of({}), state.fields, state.system), state, batch)[1]
    engine = gradient_function(config, state.fields, state.system)
    generator = torch.Generator().manual_seed(1)
    draws = []
    for _ in range(200):
        signs = torch.randint(0, 2, (2, *batch.x.shape), generator=generator).to(batch.x) * 2.0 - 1.0
        drawn = Batch(batch.x, batch.t, batch.slices, batch.x0, 1, signs)
        draws.append(gradient_of(engine, state, drawn)[1])
    found = torch.stack(draws)
    error = (found.mean(0) - exact) / (found.std(0) / len(draws) ** 0.5).clamp_min(1e-12)
    assert error.square().mean() < 2.0
    assert found.std(0).max() > 1e-3 * exact.abs().max()


def test_potentials_have_their_own() -> None:
    config, state, _ = start(POTENTIAL)
    report = objective(config, state, World()).loss_and_gradient()
    assert report.finite
    assert report.gradient_norm > 0.0
