"""Weighted samples: what is averaged is multiplied by weights of mean 1 in every unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ensembles import draw, exact_form, gaussian_config, new_sums
from scipy.stats import multivariate_normal

from dsmsim.measure import CompanionLaw, EnsembleSums
from dsmsim.system import center_of_mass

TIMES = np.linspace(0.0, 1.0, 6)


def assert_same(found: EnsembleSums, expected: EnsembleSums) -> None:
    for group in ("observables", "density"):
        values, others = getattr(found, group)(), getattr(expected, group)()
        assert values.keys() == others.keys()
        for name, value in others.items():
            np.testing.assert_allclose(values[name], value, rtol=1e-8, atol=1e-12, err_msg=name)
    for check, other in zip(found.checks(), expected.checks(), strict=True):
        np.testing.assert_allclose(
            (check.value, check.stderr, check.deviation),
            (other.value, other.stderr, other.deviation),
            rtol=1e-7,
            atol=1e-12,
        )
    assert found.field_errors() == pytest.approx(expected.field_errors())


@pytest.mark.parametrize(("particles", "dimensions"), [(1, 1), (3, 2)])
def test_a_weight_is_worth_as_many_copies(particles: int, dimensions: int) -> None:
    """Two samples with weights 3/2 and 1/2 say the same as four, three of them alike."""
    config, rng = (
        gaussian_config(particles, dimensions, 0.8 if particles > 1 else 0.0),
        np.random.default_rng(5),
    )
    form = exact_form(config)
    light, copied = (new_sums(config, TIMES, trials=2) for _ in range(2))
    weights = torch.tensor([1.5, 0.5], dtype=torch.float64).repeat(40)
    copies = torch.tensor([0, 0, 0, 1]).repeat(40) + 2 * torch.arange(40).repeat_interleave(4)
    for k, time in enumerate(TIMES):
        for trial in range(2):
            x = draw(config, float(time), 80, rng)
            for sums, rows, unit, w in ((light, slice(None), 2, weights), (copied, copies, 4, None)):
                y = x[rows]
                t = torch.full_like(y[:, :1], float(time))
                u, v = 1.1 * form.u(y, t), 0.9 * form.v(y, t)
                sums.add(k, trial, y, u, v, float(time), unit=unit, weights=w)
    assert (light.units, light.samples, copied.samples) == (80, 160, 320)
    assert_same(light, copied)


def test_weights_of_one_change_nothing() -> None:
    config, rng = gaussian_config(2, 1, 0.8), np.random.default_rng(6)
    form, sums = exact_form(config), [new_sums(config, TIMES) for _ in range(3)]
    for k, time in enumerate(TIMES):
        x = draw(config, float(time), 60, rng)
        t = torch.full_like(x[:, :1], float(time))
        fields = form.u(x, t), form.v(x, t), float(time)
        sums[0].add(k, 0, x, *fields)
        sums[1].add(k, 0, x, *fields, weights=torch.ones(60))
        sums[2].add(k, 0, x, *fields, unit=1, weights=torch.ones(60, dtype=torch.float64))
    for other in sums[1:]:
        assert_same(other, sums[0])
        assert other.effective_samples == pytest.approx(sums[0].effective_samples)


def test_samples_of_another_density_give_the_right_averages() -> None:
    """Drawn from a wider Gaussian, other weights at every time: moments, density and every identity."""
    config, rng, unit = gaussian_config(2, 1, 0.8), np.random.default_rng(7), 200
    form, times = exact_form(config), np.linspace(0.0, 1.0, 21)
    sums = new_sums(config, times)
    for k, time in enumerate(times):
        mean, covariance = form.mean(time)[0, :, 0], form.covariance(time)[0, :, :, 0]
        true, wide = (multivariate_normal(mean, scale * covariance) for scale in (1.0, 1.3))
        x = wide.rvs(8000, random_state=rng)
        parts = (true.pdf(x) / wide.pdf(x)).reshape(-1, unit)
        weights = torch.from_numpy((parts / parts.mean(1, keepdims=True)).reshape(-1))
        y = torch.from_numpy(x)
        t = torch.full_like(y[:, :1], float(time))
        sums.add(k, 0, y, form.u(y, t), form.v(y, t), float(time), unit=unit, weights=weights)
    group = sums.observables()
    for name in ("mean", "variance", "covariance"):
        true_values = getattr(form, name)(times)
        assert np.abs((group[name] - true_values) / group[f"{name}_stderr"]).max() < 5.0
    assert np.abs((group["energy"] - form.energy()) / group["energy_stderr"]).max() < 5.0
    for check in sums.checks(center_of_mass(config)):
        assert abs(check.value - check.expected) <= 5.0 * check.stderr, check
    assert 4000 < sums.effective_samples < 16000  # a wider density sees more of what makes the variance


def test_companions_correct_weighted_positions() -> None:
    """The companions keep their own average: the same numbers as for copies, but for c itself."""
    config, rng = gaussian_config(1, 1), np.random.default_rng(8)
    cells = [np.linspace(-1.5, 1.5, 9)]
    keys: dict[str, Any] = {"mean": 0.2, "variance": 0.07, "control": True}
    system = new_sums(config, TIMES).system
    plain, heavy = (EnsembleSums(system, TIMES[:1], 1, cells, **keys) for _ in range(2))
    y = torch.from_numpy(rng.normal(size=(4000, 1)))
    law = CompanionLaw(np.ones(1), np.ones(1))
    x = 0.2 + 0.3 * y
    # weights that know nothing of x: the estimates are those of the same noise in z
    w = torch.from_numpy(rng.uniform(0.5, 1.5, size=(2000, 2)))
    w = (w / w.mean(1, keepdim=True)).reshape(-1)
    plain.add(0, 0, x, y, y, 0.0, unit=2, companion=(y, law))
    heavy.add(0, 0, x, y, y, 0.0, unit=2, companion=(y, law), weights=w)
    exact, found = plain.observables(), heavy.observables()
    assert exact["variance"][0, 0, 0] == pytest.approx(0.09, rel=1e-9)
    assert exact["variance_stderr"].max() < 1e-6
    error = found["variance_stderr"][0, 0, 0]
    assert 0.0 < error < 0.09 * np.sqrt(2.0 / 4000)
    assert abs(found["variance"][0, 0, 0] - 0.09) < 5.0 * error


def test_other_means_are_refused() -> None:
    config = gaussian_config(1, 1)
    x, sums = torch.zeros(4, 1, dtype=torch.float64), new_sums(config, TIMES)
    uneven = torch.tensor([1.5, 1.5, 0.5, 0.5])
    sums.add(0, 0, x, x, x, 0.0, unit=4, weights=uneven)
    for unit in (1, 2):
        with pytest.raises(ValueError, match=r"weights must have mean 1 in every unit, not 0.5 to 1.5"):
            sums.add(0, 0, x, x, x, 0.0, unit=unit, weights=uneven)
