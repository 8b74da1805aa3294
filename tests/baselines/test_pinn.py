"""The PINN as a solver: it learns, its bound holds, the same seed gives the same file, mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_config

from baselines.pinn import predict, solve, train_wave
from baselines.relative_grid import solve as solve_relative_grid
from baselines.wave.wave_function import WaveFunction
from dsmsim.config import Config
from dsmsim.errors import ConfigError, DivergedError
from dsmsim.methods.comparing import compare_several
from dsmsim.store import read_results
from dsmsim.system import closed_form

FAST = {"baselines.pinn.width": 8, "baselines.pinn.points": 256, "baselines.pinn.gaussians": 2}
PUBLISHED = {
    "baselines.pinn.form": "published",
    "baselines.pinn.width": 12,
    "baselines.pinn.points": 64,
    "baselines.pinn.collocation": 128,
    "baselines.pinn.epochs": 3,
    "baselines.pinn.box": 2.5,
}


def case(**changes: Any) -> Config:
    return tiny_config({**FAST, "baselines.pinn.epochs": 40, **changes})


def square(half: float, points: int) -> tuple[np.ndarray, float]:
    """Points of a grid of two coordinates (points^2, 2), and the area of each."""
    axis, step = np.linspace(-half, half, points, retstep=True)
    mesh = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    return mesh.reshape(-1, 2), float(step) ** 2


def variance_at(wave: WaveFunction, t: float) -> float:
    x, area = square(4.0, 161)
    density = np.exp(wave.log_density(x, t))
    density /= density.sum() * area
    mean = (density * x[:, 0]).sum() * area
    return float((density * (x[:, 0] - mean) ** 2).sum() * area)


def exact_variance(config: Config) -> np.ndarray:
    exact = closed_form(config)
    assert exact is not None
    return np.asarray(exact.variance(config.time.save_times)[:, 0, 0])


def test_two_coupled_oscillators_are_learnt() -> None:
    config = case()
    wave, history, bound = train_wave(config)
    found = [variance_at(wave, t) for t in config.time.save_times]
    assert found == pytest.approx(exact_variance(config), rel=0.01)
    assert np.mean(history.loss[-5:]) < 1e-2 * history.loss[0]
    assert bound < 0.1


def test_two_bosons_of_the_publication() -> None:
    """The exact variance at t = 1 is 0.227425; the published PINN stays at 0.045."""
    changes = {
        "system.hbar": 0.1,
        "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
        "initial": {"kind": "trap_ground_state"},
        "baselines.pinn.epochs": 50,
        "baselines.pinn.points": 1024,
    }
    wave, _, bound = train_wave(case(**changes, **{"baselines.pinn.gaussians": 4}))
    x, _ = square(2.0, 101)
    weight = np.exp(wave.log_density(x, 1.0))
    weight[np.abs(x).max(1) > 1.6] = 0.0  # far out, where no point was, anything may be
    assert (weight * x[:, 0] ** 2).sum() / weight.sum() == pytest.approx(0.227425, rel=0.03)
    assert bound < 0.3


def test_adam_lowers_the_loss() -> None:
    config = case(**{"baselines.pinn.optimizer": "adam", "baselines.pinn.epochs": 200})
    wave, history, _ = train_wave(config)
    assert np.mean(history.loss[-20:]) < 0.05 * history.loss[0]
    assert variance_at(wave, 1.0) == pytest.approx(exact_variance(config)[-1], rel=0.1)


def test_results(tmp_path: Path) -> None:
    config, lines = case(**{"time.save": 3, "baselines.pinn.epochs": 20}), []
    path = solve(config, tmp_path / "a", progress=lines.append)
    stored = read_results(path)
    how = stored.attributes["observables"]
    assert how["method"] == "physics-informed network, hard form, gauss_newton"
    assert how["converged"]
    assert how["sampling"] == "transport"
    assert how["effective_fraction"] > 0.95
    assert stored.results["training"]["epoch"].tolist() == list(range(1, 21))
    variance = stored.results["observables"]["variance"]
    assert variance[:, 0, 0] == pytest.approx(exact_variance(config), rel=0.1)
    assert stored.attributes["provenance"]["solve_cpu_seconds"] > 0.0
    assert any("epoch 10 of 20" in line for line in lines)
    again = read_results(solve(config, tmp_path / "b"))
    assert np.array_equal(again.results["observables"]["variance"], variance)
    assert np.array_equal(again.results["training"]["loss"], stored.results["training"]["loss"])


def test_it_is_compared_with_a_solver_that_holds_velocity_fields(tmp_path: Path) -> None:
    config = case(**{"time.save": 3, "baselines.pinn.epochs": 2})
    path = solve(config, tmp_path / "pinn")
    reference = solve_relative_grid(config, tmp_path / "exact")
    assert "velocity_fields" in read_results(reference).results
    (entry,) = compare_several([path], reference)
    assert "E_v" in entry.errors
    assert "E_u" not in entry.errors  # its network is no field of deep stochastic mechanics


def test_the_published_form_runs_and_says_that_it_is_wrong(tmp_path: Path) -> None:
    config = tiny_config({**PUBLISHED, "time.save": 3})
    how = read_results(solve(config, tmp_path)).attributes["observables"]
    assert not how["converged"]
    assert "form = hard" in how["warning"]


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match=r"baselines\.pinn\.form.*one dimension"):
        predict(tiny_config({**PUBLISHED, "system.dimensions": 2}))
    with pytest.raises(ConfigError, match=r"baselines\.pinn\.optimizer.*adam"):
        predict(tiny_config({**PUBLISHED, "baselines.pinn.optimizer": "gauss_newton"}))


def test_more_points_than_there_are_trajectories_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"baselines\.pinn\.points.*16384"):
        predict(case(**{"baselines.pinn.points": 20000}))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    config = case(**{"baselines.pinn.width": 2000, "baselines.memory": "1 GB"})
    with pytest.raises(ConfigError, match=r"baselines\.pinn\.width"):
        solve(config, tmp_path)


def test_divergence_is_told() -> None:
    changes = {"baselines.pinn.optimizer": "adam", "baselines.pinn.learning_rate": 1e30}
    with pytest.raises(DivergedError, match=r"baselines\.pinn\.learning_rate"):
        train_wave(case(**changes))


def test_prediction() -> None:
    small, large = predict(case()), predict(case(**{"baselines.pinn.width": 40}))
    assert large.memory > small.memory
    assert large.seconds is not None
    assert small.seconds is not None
    assert large.seconds > small.seconds
    assert "parameters" in small.points
    published = predict(tiny_config({"baselines.pinn.form": "published"}))
    assert published.seconds is not None
    assert published.seconds > 10_000.0
