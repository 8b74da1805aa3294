"""The linear companion: its variances are exact for any slopes, and it follows a linear process exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from exact_fields import ExactFields, exact_form
from tiny import tiny_config

from dsmsim.parallel import World
from dsmsim.system import build_initial
from dsmsim.training.companion import build_companion, slopes
from dsmsim.training.draws import SampleBlock
from dsmsim.training.evaluate import course_of
from dsmsim.training.pilot import pilot
from dsmsim.training.state import TrainState, new_state


def test_variances_are_those_of_the_linear_map() -> None:
    """From unit starts and unit kicks, for arbitrary slopes on an uneven grid."""
    rng = np.random.default_rng(1)
    initial = build_initial(tiny_config({"system.particles": 3}))
    grid = np.cumsum(np.concatenate(([0.0], 0.1 + rng.random(5))))
    companion = build_companion(initial, grid, rng.normal(size=(6, 2, 1)), diffusion=0.7)
    maps = [torch.eye(3, dtype=torch.float64)]
    for k in range(5):
        advanced = [companion.step(k, a, torch.zeros_like(a)) for a in maps]
        unit = torch.eye(3, dtype=torch.float64)
        maps = [*advanced, companion.step(k, torch.zeros_like(unit), unit)]
        weights = [0.3, *(0.7 * np.diff(grid)[: k + 1])]
        covariance = sum(w * (a.T @ a).numpy() for w, a in zip(weights, maps, strict=True))
        law = companion.laws[k + 1]
        np.testing.assert_allclose(np.diag(covariance), law.particle[0], rtol=1e-12)
        np.testing.assert_allclose(covariance.mean(), law.center[0], rtol=1e-12)
    assert companion.laws[0].particle[0] == 0.3
    assert companion.laws[0].center[0] == pytest.approx(0.1)


def test_without_noise_it_stays_at_its_start() -> None:
    initial = build_initial(tiny_config())
    companion = build_companion(initial, np.linspace(0.0, 1.0, 4), np.ones((4, 2, 1)), diffusion=0.0)
    y = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(companion.step(1, y, torch.zeros_like(y)), y, rtol=1e-14, atol=1e-14)
    assert {(law.particle[0], law.center[0]) for law in companion.laws} == {(0.3, 0.15)}


def test_slopes_of_a_linear_drift() -> None:
    """b_i = 2 x_i - 3 R + 0.5 along x and 0.1 x_i along y, for three particles."""
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(50, 3, 2)))
    center = x.mean(1, keepdim=True)
    drift = torch.stack((2.0 * x - 3.0 * center + 0.5, 0.1 * x), -1)[..., [0, 1], [0, 1]]
    found = slopes(x.reshape(50, 6), drift.reshape(50, 6), 3)
    np.testing.assert_allclose(found, [[2.0, 0.1], [-1.0, 0.1]], rtol=1e-12)


def test_a_single_particle_has_no_relative_motion() -> None:
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(50, 1)))
    np.testing.assert_allclose(slopes(x, 1.0 - 2.0 * x, 1), [[0.0], [-2.0]], rtol=1e-12)


@pytest.mark.parametrize("scheme", ["heun", "rk4"])
def test_it_follows_the_process_of_linear_velocities(scheme: str) -> None:
    """Bosons with a harmonic interaction: the distance is the same for all trajectories."""
    table = {"evaluation.scheme": scheme, "evaluation.nu": 1.0, "time.steps": 200, "time.save": 3}
    config = tiny_config(table)
    state, form = new_state(config, World()), exact_form(config)
    fields: Any = ExactFields(form, state.fields.frame)
    course = course_of(config, TrainState(state.system, state.initial, fields, state.optimizer))
    rates = pilot(course, World()).slopes
    companion = build_companion(state.initial, course.grid, rates, course.diffusion)
    followed = type(course)(config, course.state, course.process, course.grid, companion)
    for index, point in followed.saved(SampleBlock(0, 0, 50, 1, "independent")):
        assert point.follower is not None
        y, law = point.follower
        distance = point.x - y
        assert distance.std(0).max() < (1e-10 if scheme == "heun" else 2e-3)
        exact = form.variance([point.time])[0, 0, 0]
        assert law.particle[0] == pytest.approx(exact, rel=1e-4), index
