"""Units of independence: errors come from the spread between units, not between samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ensembles import draw, exact_form, gaussian_config, new_sums

from dsmsim.measure import EnsembleSums
from dsmsim.measure.units import mean_and_stderr, unit_means

TIMES = np.linspace(0.0, 1.0, 6)


def filled(unit: int, copies: int, batches: int = 1) -> EnsembleSums:
    """Sums over 60 samples of two trials; every sample `copies` times, in units of `unit`."""
    config, rng = gaussian_config(3, 2, 0.8), np.random.default_rng(5)
    form, sums = exact_form(config), new_sums(config, TIMES, trials=2)
    for k, time in enumerate(TIMES):
        for trial in range(2):
            x = draw(config, float(time), 60, rng)
            for number, part in enumerate(x.chunk(batches)):
                y = part.repeat_interleave(copies, 0)
                t = torch.full_like(y[:, :1], float(time))
                sums.add(k, trial, y, form.u(y, t), form.v(y, t), float(time), block=number, unit=unit)
    return sums


@pytest.mark.parametrize(("copies", "batches"), [(2, 1), (3, 4)])
def test_a_copy_is_no_new_sample(copies: int, batches: int) -> None:
    """Units of identical samples say exactly what single samples say."""
    single, double = filled(1, 1), filled(copies, copies, batches)
    assert (double.samples, double.units) == (copies * single.samples, single.units)
    for group in ("observables", "density"):
        found, expected = getattr(double, group)(), getattr(single, group)()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    for a, b in zip(double.checks(), single.checks(), strict=True):
        np.testing.assert_allclose((a.value, a.stderr), (b.value, b.stderr), rtol=1e-8, atol=1e-12)
        assert a.deviation == pytest.approx(b.deviation, rel=1e-8)
    assert double.effective_samples == pytest.approx(single.samples, rel=0.02)


def test_units_that_are_forgotten_give_errors_that_are_too_small() -> None:
    """The test above can fail: without units the errors of the same copies are smaller by sqrt(2)."""
    honest, wrong = filled(2, 2).observables(), filled(1, 2).observables()
    for name in ("mean_stderr", "variance_stderr", "energy_stderr"):
        np.testing.assert_allclose(honest[name] / wrong[name], np.sqrt(2.0), rtol=0.01)


def test_errors_are_those_of_the_averages_within_units() -> None:
    """Against numpy, for units whose samples differ."""
    config, rng, unit = gaussian_config(2, 1, 0.8), np.random.default_rng(6), 4
    form, sums = exact_form(config), new_sums(config, TIMES[:1])
    x = draw(config, 0.0, 80, rng)
    t = torch.zeros_like(x[:, :1])
    sums.add(0, 0, x, form.u(x, t), form.v(x, t), 0.0, unit=unit)
    found, units = sums.observables(), x.numpy().reshape(-1, unit, 2)
    count = len(units)
    np.testing.assert_allclose(found["mean"][0, :, 0], x.numpy().mean(0), rtol=1e-12)
    spread = units.mean(1).std(0, ddof=1) / np.sqrt(count)
    np.testing.assert_allclose(found["mean_stderr"][0, :, 0], spread, rtol=1e-10)
    z = units - x.numpy().mean(0)
    products = np.einsum("kui,kuj->kij", z, z) / unit
    np.testing.assert_allclose(
        found["covariance_stderr"][0, ..., 0], products.std(0, ddof=1) / np.sqrt(count), rtol=1e-9
    )
    # what the mean takes from the variance is its own error
    expected = products.mean(0) + np.cov(units.mean(1), rowvar=False) / count
    np.testing.assert_allclose(found["covariance"][0, ..., 0], expected, rtol=1e-9)
    np.testing.assert_allclose(found["variance_by_trial"][0, 0, :, 0], found["variance"][0, :, 0], rtol=1e-9)


def test_averages_within_units() -> None:
    values = torch.arange(12.0).reshape(2, 6)
    assert torch.equal(unit_means(values, 1), values)
    assert unit_means(values, 3, dim=1).tolist() == [[1.0, 4.0], [7.0, 10.0]]
    assert unit_means(values, 2, dim=0).tolist() == [[3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]


def test_one_unit_has_no_error() -> None:
    mean, stderr = mean_and_stderr(np.array([1.0]), np.array([3.0]), np.array([9.0]))
    assert mean.tolist() == [3.0]
    assert np.isnan(stderr).all()


def test_batches_are_made_of_whole_units() -> None:
    config = gaussian_config(1, 1)
    x = torch.zeros(5, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="5 trajectories are no whole number of units of 2"):
        new_sums(config, TIMES).add(0, 0, x, x, x, 0.0, unit=2)
