"""Distillation: fields that are known become those of a network, whatever branch their phase is on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import GAUSS_NEWTON, POTENTIAL, SILENT, TT, config_of, flat
from exact_fields import exact_form
from ranks import run_ranks
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly
from dsmsim.networks import PotentialFields
from dsmsim.parallel import StopRequest, World
from dsmsim.training import distill as module
from dsmsim.training.batch import training_points
from dsmsim.training.distill import BLOCK, TIMES, ValueRows, VelocityRows, distill, teacher_points
from dsmsim.training.loop import train
from dsmsim.training.state import TrainState, new_state

# hbar so small that the phase turns more than once over the cloud
SHARP = {"system.hbar": 0.02, "initial.variance": 0.1}
POTENTIAL_CASE = GAUSS_NEWTON | POTENTIAL | {"network.width": 10}
VELOCITY_CASE = GAUSS_NEWTON | {"network.width": 10}


class Gaussian:
    """The closed form of the tiny input; its velocities are linear in x, so log psi is quadratic."""

    def __init__(self, config: Config, *, wrapped: bool = False, bad: float | None = None) -> None:
        self.form, self.wrapped, self.bad = exact_form(config), wrapped, bad
        self.quantum = config.system.hbar / config.system.mass

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        u, v = self.form.u(x, t), self.form.v(x, t)
        return (u if self.bad is None else u + self.bad), v

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        at_x, at_0 = self(x, t), self(torch.zeros_like(x), t)
        values = [(0.5 * x * (f + g)).sum(1) / self.quantum for f, g in zip(at_x, at_0, strict=True)]
        if self.wrapped:
            values[1] = torch.remainder(values[1] + math.pi, 2.0 * math.pi) - math.pi
        return torch.stack(values, -1)


class Meeting(Gaussian):
    """Another phase: one that turns more than once where two particles are nearly at one place."""

    TURN, WIDTH = 9.0, 0.1

    def __call__(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        distance = x[:, :1] - x[:, 1:]
        slope = 2.0 * self.TURN * self.WIDTH**2 * distance / (distance**2 + self.WIDTH**2) ** 2
        return torch.zeros_like(x), self.quantum * torch.cat([slope, -slope], 1)

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        square = (x[:, 0] - x[:, 1]) ** 2
        phase = self.TURN * square / (square + self.WIDTH**2)
        phase = torch.remainder(phase, 2.0 * math.pi) if self.wrapped else phase
        return torch.stack([torch.zeros_like(phase), phase], -1)


def begun(changes: dict[str, Any]) -> tuple[Config, TrainState]:
    config = config_of(changes)
    return config, new_state(config, World())


def field_errors(config: Config, state: TrainState) -> tuple[float, float]:
    """Root mean square errors of u and v over the natural velocity, on the network's own trajectories."""
    batch = training_points(config, state.system, state.initial, state.fields, 99, [0, 1, 2, 3])
    with torch.no_grad():
        found, exact = state.fields(batch.x, batch.t), Gaussian(config)(batch.x, batch.t)
    scale = state.fields.frame.velocity
    u, v = (float((a - b).square().mean().sqrt() / scale) for a, b in zip(found, exact, strict=True))
    return u, v


@pytest.mark.parametrize(
    ("changes", "error"),
    [(POTENTIAL_CASE, 0.03), (POTENTIAL_CASE | SHARP, 0.03), (VELOCITY_CASE, 0.01)],
    ids=["potential", "sharp", "velocity"],
)
def test_a_network_becomes_what_it_is_taught(changes: dict[str, Any], error: float) -> None:
    config, state = begun(changes)
    before = max(field_errors(config, state))
    losses: list[float] = []
    teacher = Gaussian(config, wrapped=True)
    found = distill(config, state, teacher, World(), lambda done, total, loss: losses.append(loss))
    assert max(field_errors(config, state)) < min(error, before / 10.0)
    assert (found.epochs, found.loss) == (len(losses), losses[-1])


def test_an_optimiser_of_gradients_learns_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.EPOCHS, "soap", 100)
    changes = {"network.kind": "potential", "train.optimizer": "soap", "train.learning_rate": 1e-2}
    config, state = begun(changes)
    before = max(field_errors(config, state))
    distill(config, state, Gaussian(config), World())
    assert max(field_errors(config, state)) < before / 5.0


@pytest.mark.parametrize("meeting", [False, True], ids=["plain", "meeting"])
def test_the_phase_may_be_known_modulo_a_turn(meeting: bool) -> None:
    config, state = begun(POTENTIAL_CASE | SHARP)
    make = Meeting if meeting else Gaussian
    plain, wrapped = make(config), make(config, wrapped=True)
    batch = teacher_points(config, state, wrapped, 0, [0, 1, 2])
    x, t = batch.x[:, :2], batch.t
    exact = plain.log_psi(x, t)[:, 1] - state.initial.phase(x)
    blocks = exact.reshape(-1, BLOCK)
    assert isinstance(state.fields, PotentialFields)
    expected = (blocks - blocks.mean(1, keepdim=True)).reshape(-1) / state.fields.amplitude
    torch.testing.assert_close(batch.x[:, 3], expected, rtol=0.0, atol=1e-9)
    turns = (plain.log_psi(x, t) - wrapped.log_psi(x, t))[:, 1] / (2.0 * math.pi)
    assert len(turns.round().unique()) > 1  # so there was something to undo


def test_what_is_compared_are_deviations_at_equal_times() -> None:
    config, state = begun(POTENTIAL_CASE)
    batch = teacher_points(config, state, Gaussian(config), 3, [0, 1])
    assert batch.group == BLOCK
    times = batch.t.reshape(2, TIMES, BLOCK)
    assert bool((times == times[:, :, :1]).all())
    assert bool((times[:, 1:, 0] > times[:, :-1, 0]).all())
    assert float(batch.x[:, 2:].reshape(-1, BLOCK, 2).mean(1).abs().max()) < 1e-12
    # the difference from psi_0 vanishes with t, and so does what the network has to learn
    sizes = batch.x[:, 3].reshape(2, TIMES, BLOCK).square().mean((0, 2))
    assert sizes[0] < 0.05 * sizes[-1]


@pytest.mark.parametrize("tensor", [{}, TT], ids=["dense", "tensor train"])
@pytest.mark.parametrize("kind", ["potential", "functional_tt", "mlp"])
def test_the_jacobian_is_that_of_the_values(kind: str, tensor: dict[str, Any]) -> None:
    config, state = begun(GAUSS_NEWTON | {"network.kind": kind} | tensor)
    fields = state.fields
    batch = teacher_points(config, state, Gaussian(config), 0, [0])
    some = slice(0, 12 * TIMES, TIMES + 5)  # of many times
    x, t = batch.x[some], batch.t[some]
    rows = (
        ValueRows(fields, 2)
        if isinstance(fields, PotentialFields)
        else VelocityRows(fields, state.system, config.train.form)
    )
    parameters = dict(fields.named_parameters())
    found = rows.jacobian(parameters, x, t)
    values = rows.values(parameters, x, t)
    assert found.shape == (*values.shape, len(flat(state)))
    for number, value in enumerate(values.reshape(-1)):
        one = torch.autograd.grad(value, list(fields.parameters()), retain_graph=True, materialize_grads=True)
        expected = torch.cat([gradient.reshape(-1) for gradient in one])
        torch.testing.assert_close(found.flatten(0, 2)[number], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("changes", [POTENTIAL_CASE, VELOCITY_CASE], ids=["potential", "velocity"])
def test_ranks_agree(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.EPOCHS, "gauss_newton", 6)
    config = config_of(changes)

    def after(size: int) -> list[Tensor]:
        states = [new_state(config, World()) for _ in range(size)]
        run_ranks(
            size, lambda world: distill(config, states[world.rank], Gaussian(config, wrapped=True), world)
        )
        return [flat(state) for state in states]

    (alone,) = after(1)
    for size in (2, 3):  # two blocks an epoch: one rank of three has none
        for found in after(size):
            torch.testing.assert_close(found, alone, rtol=0.0, atol=1e-9)


def test_training_goes_on_from_there() -> None:
    config, state = begun(POTENTIAL_CASE)
    _, fresh = begun(POTENTIAL_CASE)
    distill(config, state, Gaussian(config), World())

    def losses(state: TrainState) -> list[float]:
        found: list[float] = []
        train(config, state, World(), StopRequest(), replace(SILENT, progress=lambda k, x: found.append(x)))
        return found

    distilled, anew = losses(state), losses(fresh)
    assert distilled[0] < anew[0] / 20.0
    assert distilled[-1] < anew[-1]


def test_values_that_are_not_finite_end_it_on_all_ranks() -> None:
    config = config_of(VELOCITY_CASE)
    states = [new_state(config, World()) for _ in range(2)]
    before = flat(states[0])

    def work(world: World) -> bool:
        bad = math.nan if world.rank == 1 else None
        with pytest.raises(DivergedError, match="not finite on their own"):
            distill(config, states[world.rank], Gaussian(config, bad=bad), world)
        return True

    assert run_ranks(2, work) == [True, True]
    assert all(torch.equal(flat(state), before) for state in states)


class Asked(StopRequest):
    """Asked to stop from the start."""

    def agreed(self, world: World, *, ahead: float = 0.0) -> str | None:
        return "signal SIGUSR1"


def test_it_stops_when_it_is_asked_to() -> None:
    config, state = begun(VELOCITY_CASE)
    with pytest.raises(StoppedEarly, match="SIGUSR1"):
        distill(config, state, Gaussian(config), World(), stop=Asked())
