"""Moments, energies and densities of exact ensembles, their standard errors, and that sums add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ensembles import draw, exact_form, fill, gaussian_config, new_sums

from dsmsim.config import parse_config

TIMES = np.array([0.0, 0.3, 1.0])
SIGMAS = 5.0


def assert_within(value: np.ndarray, truth: np.ndarray, stderr: np.ndarray) -> None:
    """Every element within 5 standard errors, and the errors themselves are not empty."""
    assert np.all(stderr > 0.0)
    assert np.all(np.abs(value - truth) <= SIGMAS * stderr)


@pytest.mark.parametrize(("particles", "dimensions", "g"), [(1, 1, 0.0), (3, 1, 0.8), (2, 3, -0.4)])
def test_observables_agree_with_the_closed_form(particles: int, dimensions: int, g: float) -> None:
    config = gaussian_config(particles, dimensions, g)
    sums = fill(new_sums(config, TIMES, trials=2), config, 4000, np.random.default_rng(1))
    form, found = exact_form(config), sums.observables()
    assert sums.samples == 8000
    for name in ("mean", "variance", "covariance", "center_of_mass_mean", "center_of_mass_variance"):
        truth = getattr(form, name)(TIMES)
        assert found[name].shape == truth.shape
        assert_within(found[name], truth, found[f"{name}_stderr"])
    assert_within(found["energy"], np.full(3, form.energy()), found["energy_stderr"])
    parts = sum(found[f"energy_{part}"] for part in ("kinetic_osmotic", "kinetic_current", "potential"))
    np.testing.assert_allclose(parts, found["energy"], rtol=1e-12)
    osmotic = 0.1**2 / (8.0 * 1.3 * 0.07) * particles * dimensions
    name = "energy_kinetic_osmotic"
    assert abs(found[name][0] - osmotic) < SIGMAS * found[f"{name}_stderr"][0]


def test_density_agrees_with_the_closed_form() -> None:
    config = gaussian_config(3, 2, 0.8)
    sums = fill(new_sums(config, TIMES), config, 6000, np.random.default_rng(2))
    density = sums.density()
    edges = np.linspace(-1.5, 1.5, 31)
    np.testing.assert_allclose(density["x"], 0.5 * (edges[1:] + edges[:-1]))
    for axis, suffix in enumerate(("", "_y")):
        truth = exact_form(config).density(edges, TIMES, axis)
        found, stderr = density[f"density{suffix}"], density[f"density{suffix}_stderr"]
        filled = truth * 0.1 * 6000 * 3 > 20.0  # where counts are nearly Gaussian
        assert filled.sum() > 20
        assert_within(found[filled], truth[filled], stderr[filled])
        np.testing.assert_allclose(found.sum(1) * 0.1 + density[f"outside{suffix}"], 1.0, rtol=1e-12)


def test_moments_are_those_of_numpy() -> None:
    config = gaussian_config(3, 2, 0.8)
    sums, rng = new_sums(config, np.array([0.0, 0.5]), trials=2), np.random.default_rng(3)
    data = {}
    for trial in range(2):
        for k, time in enumerate(sums.times):
            x = draw(config, float(time), 50 + 30 * trial, rng)
            data[trial, k] = x.numpy().reshape(-1, 3, 2)
            sums.add(k, trial, x, torch.zeros_like(x), torch.zeros_like(x), float(time))
    found = sums.observables()
    for k in range(2):
        everything = np.concatenate((data[0, k], data[1, k]))
        np.testing.assert_allclose(found["mean"][k], everything.mean(0), rtol=1e-12)
        for axis in range(2):
            covariance = np.cov(everything[..., axis], rowvar=False)
            np.testing.assert_allclose(found["covariance"][k, ..., axis], covariance, rtol=1e-10)
            z = everything[..., axis] - everything[..., axis].mean(0)
            products = z[:, :, None] * z[:, None, :]
            stderr = products.std(0) / np.sqrt(len(z) - 1)
            np.testing.assert_allclose(found["covariance_stderr"][k, ..., axis], stderr, rtol=1e-9)
        for trial in range(2):
            np.testing.assert_allclose(found["mean_by_trial"][trial, k], data[trial, k].mean(0), rtol=1e-12)
            variance = data[trial, k].var(0, ddof=1)
            np.testing.assert_allclose(found["variance_by_trial"][trial, k], variance, rtol=1e-10)


def test_intervals_cover_the_truth_in_95_percent_of_the_cases() -> None:
    # attraction so strong that at this time the particles sit together: their counts are not independent
    config = gaussian_config(4, 1, 40.0)
    form, times, rng = exact_form(config), np.array([0.14]), np.random.default_rng(4)
    edges = np.linspace(-1.5, 1.5, 13)
    truth = {
        "mean": form.mean(times),
        "variance": form.variance(times),
        "center_of_mass_variance": form.center_of_mass_variance(times),
        "energy": np.array([form.energy()]),
        "density": form.density(edges, times),
    }
    inside: dict[str, list[np.ndarray]] = {name: [] for name in truth}
    for _ in range(200):
        sums = new_sums(config, times, bins=12)
        x = draw(config, 0.14, 300, rng)
        t = torch.full_like(x[:, :1], 0.14)
        sums.add(0, 0, x, form.u(x, t), form.v(x, t), 0.14)
        results = sums.observables() | sums.density()
        for name, value in truth.items():
            inside[name].append(np.abs(results[name] - value) <= 1.96 * results[f"{name}_stderr"])
    cells = truth["density"] * 0.25 > 0.05
    for name, hits in inside.items():
        fractions = np.mean(hits, axis=0)[cells] if name == "density" else np.mean(hits, axis=0)
        assert fractions.size > 0
        assert 0.90 <= np.mean(fractions) <= 0.99, name
    # the error of independent particles would be far too small here
    chance = truth["density"][cells] * 0.25
    independent = np.sqrt(chance * (1.0 - chance) / (300 * 4)) / 0.25
    assert np.all(results["density_stderr"][cells] > 1.6 * independent)


def test_halves_and_ranks_add_up() -> None:
    config, times = gaussian_config(3, 2, 0.8), np.linspace(0.0, 1.0, 6)
    form, rng = exact_form(config), np.random.default_rng(5)
    whole, first, second = (new_sums(config, times, trials=2) for _ in range(3))
    for k, time in enumerate(times):
        for trial in range(2):
            x = draw(config, float(time), 40, rng)
            t = torch.full_like(x[:, :1], float(time))
            u, v = form.u(x, t), form.v(x, t)
            whole.add(k, trial, x, u, v, float(time))
            first.add(k, trial, x[:25], u[:25], v[:25], float(time), block=3)
            second.add(k, trial, x[25:], u[25:], v[25:], float(time))
    for mine, other in zip(first.tensors(), second.tensors(), strict=True):
        assert mine.dtype == torch.float64
        mine += other
    for results, expected in ((first.observables(), whole.observables()), (first.density(), whole.density())):
        assert results.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(results[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
    assert [c.name for c in first.checks()] == [c.name for c in whole.checks()]
    for a, b in zip(first.checks(), whole.checks(), strict=True):
        np.testing.assert_allclose((a.value, a.stderr), (b.value, b.stderr), rtol=1e-9, atol=1e-12)


def test_single_precision_velocities_are_accumulated_in_double() -> None:
    config = gaussian_config(2, 1)
    x = draw(config, 0.0, 1000, np.random.default_rng(6)).to(torch.float32)
    sums = new_sums(config, np.array([0.0]))
    sums.add(0, 0, x, x, x, 0.0)
    expected = 0.5 * 1.3 * (x.to(torch.float64) ** 2).sum(1).mean().item()
    assert abs(sums.observables()["energy_kinetic_current"][0] - expected) < 1e-13 * expected


def test_blocks_must_come_in_the_order_of_the_times() -> None:
    config = gaussian_config(1, 1)
    sums = new_sums(config, np.linspace(0.0, 1.0, 4))
    x = torch.zeros(5, 1, dtype=torch.float64)
    sums.add(0, 0, x, x, x, 0.0)
    with pytest.raises(ValueError, match="must follow 1"):
        sums.add(2, 0, x, x, x, 0.0)
    with pytest.raises(ValueError, match="no samples at time indices"):
        sums.observables()


def test_field_errors_are_relative() -> None:
    config = gaussian_config(2, 1, 0.3)
    sums = fill(new_sums(config, TIMES), config, 50, np.random.default_rng(7), scale_u=1.2, scale_v=0.9)
    errors = sums.field_errors()
    assert errors["E_u"] == pytest.approx(0.2, rel=1e-9)
    assert errors["E_v_field"] == pytest.approx(0.1, rel=1e-9)


def test_a_velocity_that_is_only_rounding_has_no_relative_error() -> None:
    """In the ground state of the trap v = 0; the closed form gives some 1e-17 of it."""
    trap = {"kind": "harmonic", "omega": 1.0}
    config = parse_config({"system": {"particles": 1, "hbar": 0.1, "trap": trap}, "time": {"end": 1.0}})
    form, time = exact_form(config), 0.7
    sums = new_sums(config, np.array([time]))
    x = draw(config, time, 50, np.random.default_rng(8))
    t = torch.full_like(x[:, :1], time)
    sums.add(0, 0, x, form.u(x, t), form.v(x, t) + 0.01 * x, time)
    assert form.v(x, t).abs().max() > 0.0
    assert set(sums.field_errors()) == {"E_u"}


def test_one_array_of_edges_per_axis() -> None:
    config = gaussian_config(1, 2)
    sums = new_sums(config, TIMES)
    with pytest.raises(ValueError, match="2 axes need as many"):
        type(sums)(sums.system, TIMES, 1, [np.array([0.0, 1.0])], mean=0.0, variance=1.0)
