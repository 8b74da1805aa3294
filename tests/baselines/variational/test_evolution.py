"""t-VMC in time: exactly solvable problems, orders by slope, what ends an evolution, and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from order_problems import QUENCHES, bosons, packet, slope
from ranks import run_ranks
from tiny import tiny_config

from baselines.tvmc import build_ansatz, state_error_bound
from baselines.variational import evolution
from baselines.variational.evolution import Evolution, evolve
from baselines.variational.walkers import start_walkers
from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.parallel import World
from dsmsim.system import build_initial, closed_form
from dsmsim.tdvp.equations import ALONE

# the harmonic pair is held by x, x^2 and r^2 exactly
EXACT: dict[str, Any] = {
    "pair_functions": 0,
    "three_body_functions": 0,
    "cutoff": 0.0,
    "walkers": 128,
    "sweeps": 0,
}


def tvmc(config: Config, **options: Any) -> Config:
    """The input with settings of [baselines.tvmc]."""
    table = config.baselines.tvmc.model_copy(update=options)
    return config.model_copy(update={"baselines": config.baselines.model_copy(update={"tvmc": table})})


def solved(config: Config, **options: Any) -> Evolution:
    config = tvmc(config, **options)
    return evolve(config, build_ansatz(config))


def gaussian(found: Evolution, t: float, direction: np.ndarray) -> tuple[float, float]:
    """Mean and variance of |psi|^2 along a unit vector of the modes, from log |psi|^2 at three points."""
    points = np.array([-1.0, 0.0, 1.0])[:, None] * direction
    below, middle, above = found.log_density(points, t)
    curvature, gradient = below + above - 2.0 * middle, 0.5 * (above - below)
    return -gradient / curvature, -1.0 / curvature


def worst(state: Evolution, config: Config, times: np.ndarray) -> float:
    """Largest error of the moments along the modes against the closed form."""
    exact = closed_form(config)
    assert exact is not None
    n = config.system.particles
    modes = [np.ones(n) / np.sqrt(n)] + ([np.array([1.0, -1.0]) / np.sqrt(2.0)] if n == 2 else [])
    error = 0.0
    for t in times:
        at = np.array([t])
        mean, covariance = exact.mean(at)[0].ravel(), exact.covariance(at)[0].reshape(n, n)
        for mode in modes:
            found = gaussian(state, float(t), mode)
            error = max(error, abs(found[0] - mean @ mode), abs(found[1] - mode @ covariance @ mode))
    return error


ORDERS = {"euler": 1, "heun": 2, "rk4": 4}


@pytest.mark.convergence
@pytest.mark.parametrize("integrator", list(ORDERS))
def test_order_with_a_harmonic_interaction(integrator: str) -> None:
    config = tiny_config()
    steps = [8, 16, 32] if integrator == "rk4" else [32, 64, 128]
    errors = [
        worst(solved(config, **EXACT, integrator=integrator, dt=1.0 / count), config, np.array([0.5, 1.0]))
        for count in steps
    ]
    assert slope(steps, errors) == pytest.approx(ORDERS[integrator], abs=0.3)
    assert errors[-1] < 0.02


@pytest.mark.convergence
@pytest.mark.parametrize("quench", list(QUENCHES))
def test_order_with_a_trap_that_moves(quench: str) -> None:
    config, steps = packet(quench=QUENCHES[quench]), [16, 32, 64]

    def end(count: int) -> np.ndarray:
        found = solved(config, **EXACT, integrator="rk4", dt=1.6 / count)
        return np.array(gaussian(found, 1.6, np.ones(1)))

    exact = end(1000)
    errors = [float(np.abs(end(count) - exact).max()) for count in steps]
    assert slope(steps, errors) > 3.5


@pytest.mark.parametrize("sampling", ["transport", "metropolis"])
def test_adaptive_steps_keep_the_tolerance(sampling: str) -> None:
    config, times = tiny_config(), np.linspace(0.0, 1.0, 23)
    errors, calls = [], []
    for tolerance in (1e-4, 1e-7):
        options = EXACT | {"sweeps": 1, "sampling": sampling}
        found = solved(config, **options, integrator="adaptive", tolerance=tolerance)
        errors.append(worst(found, config, times))
        calls.append(found.evaluations)
    assert errors[0] < 1e-3
    assert errors[1] < 2e-6  # between steps too, where the parameters are interpolated
    assert calls[0] < calls[1] < 400


def test_the_records_say_what_happened() -> None:
    config = tvmc(tiny_config(), **EXACT, sampling="metropolis")
    config = tvmc(config, sweeps=2)
    heard: list[dict[str, Any]] = []
    found = evolve(config, build_ansatz(config), record=heard.append)
    assert heard == found.records
    assert [entry["time"] for entry in heard] == found.history.times.tolist()
    assert heard[0]["time"] == 0.0
    assert heard[-1]["time"] == 1.0
    assert sum(entry["dt"] for entry in heard) == pytest.approx(1.0)
    for entry in heard:
        assert entry["residual"] < 1e-3
        assert entry["effective_fraction"] > 0.999
        assert len(entry["spectrum"]) == len(entry["snr"]) == len(found.ansatz.names)
    assert 0.2 < found.acceptance < 0.8
    assert 1.0 < found.autocorrelation < 30.0
    assert state_error_bound(found, config.system.hbar) < 1e-3


def test_steps_end_where_the_potential_is_not_smooth() -> None:
    config = packet(quench=QUENCHES["kinks"])
    found = solved(config, **EXACT)
    times = found.history.times.tolist()
    assert 0.31 in times
    assert pytest.approx(0.81) in times
    assert sum(entry["dt"] for entry in found.records) == pytest.approx(1.6)
    k = times.index(0.31)
    np.testing.assert_allclose(found.history.before[k], found.history.after[k], rtol=1e-9, atol=1e-9)
    config = packet(quench=QUENCHES["jump"])
    history = solved(config, **EXACT).history
    k = history.times.tolist().index(0.77)
    assert (np.abs(history.before[k] - history.after[k]) > 1e-3).any()


def test_the_error_bound_holds() -> None:
    # two bosons in a quartic well without pair functions: much is left over
    config = bosons({"kind": "gaussian", "g": 2.0, "s2": 0.2})
    poor = solved(config, pair_functions=0, one_body_functions=0, walkers=1024)
    rich = solved(config, pair_functions=6, one_body_functions=8, walkers=4096)
    x = np.random.default_rng(0).normal(0.4, 0.8, (200_000, 2))
    log_q = -((x - 0.4) ** 2).sum(1) / (2.0 * 0.64)
    a, b = (each.local(x, 1.0).log_psi for each in (poor, rich))
    # overlap by importance sampling from a wide Gaussian
    pa, pb, ab = (np.exp(v - log_q) for v in (2 * a.real, 2 * b.real, np.conj(a) + b))
    overlap = abs(ab.mean()) / np.sqrt(pa.mean() * pb.mean())
    distance = np.sqrt(max(0.0, 2.0 - 2.0 * overlap))
    bounds = [state_error_bound(each, config.system.hbar) for each in (poor, rich)]
    assert bounds[1] < 0.5 * bounds[0]
    assert 0.05 < distance < sum(bounds)


def test_uneven_weights_draw_the_walkers_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    config = bosons({"kind": "gaussian", "g": 1.0, "s2": 0.1})
    plain = solved(config, walkers=2048)
    monkeypatch.setattr(evolution, "FEWEST", 0.9999)
    found = solved(config, walkers=2048)
    assert plain.drawn_anew == 0
    assert found.drawn_anew > 0
    energies = [np.array([entry["energy"] for entry in each.records]) for each in (plain, found)]
    assert abs(energies[1][-1] / energies[0][-1] - 1.0) < 0.05


def test_drawing_anew_keeps_averages_and_evens_weights() -> None:
    config = tiny_config()
    initial = build_initial(config)
    walkers = start_walkers(initial, 20_000, 1, World(), ALONE)
    # |psi|^2 is a narrower Gaussian than the one that the walkers come from, elsewhere
    mean, variance = initial.mean[0] + 0.4, 0.5 * initial.variance[0]

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.asarray(-((x - mean) ** 2).sum(axis=1) / (2.0 * variance))

    def effective() -> float:
        w = np.exp(log_density(walkers.x) - walkers.log_rho)
        return float(w.sum() ** 2 / (len(w) * (w @ w)))

    assert effective() < 0.5
    walkers.draw_anew(log_density, 7)
    assert effective() > 0.95
    weights = np.exp(log_density(walkers.x) - walkers.log_rho)
    weights /= weights.sum()
    found = weights @ walkers.x
    assert found == pytest.approx([mean, mean], abs=5.0 * np.sqrt(variance / 5_000))
    spread = weights @ (walkers.x - mean) ** 2
    assert spread == pytest.approx([variance, variance], abs=5.0 * variance * np.sqrt(2.0 / 5_000))


def test_sweeps_keep_weights_unless_they_level_them() -> None:
    config = tiny_config()
    walkers = start_walkers(build_initial(config), 500, 1, World(), ALONE)

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.asarray(-(x**2).sum(axis=1))

    before = log_density(walkers.x) - walkers.log_rho
    walkers.sweep(log_density, 3, 1, level=False)
    np.testing.assert_allclose(log_density(walkers.x) - walkers.log_rho, before, atol=1e-12)
    walkers.sweep(log_density, 3, 2, level=True)
    np.testing.assert_allclose(log_density(walkers.x) - walkers.log_rho, 0.0, atol=1e-12)


def test_what_cannot_be_right_is_given_up() -> None:
    config = bosons({"kind": "gaussian", "g": 1.0, "s2": 0.1})
    with pytest.raises(DivergedError, match="t-VMC:"):
        solved(config, integrator="euler", dt=0.5, walkers=256)


def test_any_number_of_ranks_moves_the_same_walkers() -> None:
    config = tvmc(tiny_config(), walkers=1100, pair_functions=3, cutoff=1e-5)
    alone = evolve(config, build_ansatz(config))

    def on(world: World) -> Evolution:
        return evolve(config, build_ansatz(config), world)

    for ranks in (2, 3):
        for found in run_ranks(ranks, on):
            np.testing.assert_allclose(found.history.theta, alone.history.theta, rtol=1e-6, atol=1e-8)
            assert found.evaluations == alone.evaluations
            assert found.acceptance == pytest.approx(alone.acceptance)
