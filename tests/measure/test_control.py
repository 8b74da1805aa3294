"""Control variates: exact companions take the noise off, useless ones do nothing, errors stay honest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ensembles import gaussian_config
from numpy.typing import NDArray

from dsmsim.config import Config
from dsmsim.measure import CompanionLaw, EnsembleSums, density_edges
from dsmsim.system import build_initial, build_system

CONFIG = gaussian_config(3, 2, 0.8)
LAW = CompanionLaw(np.array([0.5, 0.3]), np.array([0.2, 0.1]))
Found = dict[str, NDArray[Any]]


def companions(count: int, rng: np.random.Generator, particles: int = 3) -> torch.Tensor:
    """(count, n) Gaussian companions with the variances of `LAW`."""
    relative = rng.standard_normal((count, particles, 2))
    relative -= relative.mean(1, keepdims=True)
    scale = np.sqrt((LAW.particle - LAW.center) / (1.0 - 1.0 / particles))
    center = np.sqrt(LAW.center) * rng.standard_normal((count, 1, 2))
    return torch.from_numpy((scale * relative + center).reshape(count, -1))


def sums_of(
    x: torch.Tensor, y: torch.Tensor | None, config: Config = CONFIG, law: CompanionLaw = LAW, unit: int = 1
) -> EnsembleSums:
    initial = build_initial(config)
    edges = [density_edges(-3.0, 3.0, 12)] * config.system.dimensions
    sums = EnsembleSums(
        build_system(config),
        [0.0],
        2,
        edges,
        mean=initial.mean,
        variance=initial.variance,
        control=y is not None,
    )
    half = len(x) // 2
    for trial, rows in enumerate((slice(0, half), slice(half, None))):
        companion = None if y is None else (y[rows], law)
        sums.add(0, trial, x[rows], x[rows], x[rows], 0.0, unit=unit, companion=companion)
    return sums


def bent(y: torch.Tensor) -> torch.Tensor:
    return 0.3 + y + 0.4 * torch.sin(2.0 * y) + 0.1 * (y - y.roll(1, 1)).square()


NAMES = "mean", "variance", "center_of_mass_mean", "center_of_mass_variance"


def test_a_linear_function_of_the_companion_has_no_error_left() -> None:
    y = companions(1200, np.random.default_rng(1))
    found, plain = (sums_of(0.7 + 1.5 * y, z).observables() for z in (y, None))
    law = {
        "mean": 0.7,
        "variance": 2.25 * LAW.particle,
        "center_of_mass_mean": 0.7,
        "center_of_mass_variance": 2.25 * LAW.center,
    }
    for name in NAMES:
        np.testing.assert_allclose(found[name] - law[name], 0.0, atol=1e-9)
        assert np.all(found[f"{name}_stderr"] < 1e-5 * plain[f"{name}_stderr"]), name


def test_a_companion_that_knows_nothing_changes_little() -> None:
    rng = np.random.default_rng(2)
    y = companions(4000, rng)
    x = bent(companions(4000, rng))
    found, plain = sums_of(x, y).observables(), sums_of(x, None).observables()
    for name in NAMES:
        assert np.all(np.abs(found[name] - plain[name]) < 0.2 * plain[f"{name}_stderr"]), name
        np.testing.assert_allclose(found[f"{name}_stderr"], plain[f"{name}_stderr"], rtol=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
def test_estimates_scatter_as_their_errors_say_and_less_than_without(mirrored: bool) -> None:
    """100 small ensembles; in mirrored pairs the odd companions cancel and drop out."""
    rng = np.random.default_rng(3)
    runs, plain, size = [], [], 2000 if mirrored else 1000
    for _ in range(100):
        y = companions(size, rng)
        if mirrored:
            y = torch.stack((y[: size // 2], -y[: size // 2]), 1).reshape(size, -1)
        unit = 2 if mirrored else 1
        runs.append(sums_of(bent(y), y, unit=unit).observables())
        plain.append(sums_of(bent(y), None, unit=unit).observables())
    y = companions(400_000, rng)
    truth = sums_of(bent(y), y).observables()
    for name in NAMES:
        values, errors = (np.stack([r[name + end] for r in runs]) for end in ("", "_stderr"))
        spread = values.std(0, ddof=1)
        ratio = spread / np.sqrt((errors**2).mean(0))
        assert 0.85 < np.sqrt(np.mean(ratio**2)) < 1.15, name
        # beta comes from the same sample, which leaves a bias of a few errors / sqrt(units)
        assert np.all(np.abs(values.mean(0) - truth[name]) < 0.4 * spread), name
        if not (mirrored and name.endswith("mean")):
            assert np.all(spread < 0.8 * np.stack([r[name] for r in plain]).std(0, ddof=1)), name


def test_a_wrong_law_shifts_the_result() -> None:
    """So the law is used, and the tests above would see a mistake in it."""
    y = companions(4000, np.random.default_rng(4))
    right = sums_of(bent(y), y).observables()
    wrong = sums_of(bent(y), y, law=CompanionLaw(1.1 * LAW.particle, LAW.center)).observables()
    assert np.all(np.abs(wrong["variance"] - right["variance"]) > 5.0 * right["variance_stderr"])


def test_trials_and_covariances_agree_with_what_is_corrected() -> None:
    y = companions(2000, np.random.default_rng(5))
    found = sums_of(bent(y), y).observables()
    np.testing.assert_allclose(found["mean_by_trial"].mean(0), found["mean"], rtol=1e-12)
    # the variances of the trials are about their own means
    np.testing.assert_allclose(found["variance_by_trial"].mean(0), found["variance"], rtol=2e-3)
    plain = sums_of(bent(y), None).observables()
    spread, plain_spread = (np.ptp(group["variance_by_trial"], axis=0) for group in (found, plain))
    assert np.mean(spread) < 0.8 * np.mean(plain_spread)
    for end in ("", "_stderr"):
        diagonal = np.einsum("tiia->tia", found[f"covariance{end}"])
        np.testing.assert_array_equal(diagonal, found[f"variance{end}"])


@pytest.mark.parametrize("count", [8, 998])
def test_too_few_units_are_not_corrected(count: int) -> None:
    y = companions(count, np.random.default_rng(6))
    found, plain = sums_of(bent(y), y).observables(), sums_of(bent(y), None).observables()
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-15, err_msg=name)


def test_one_particle_is_its_own_centre_of_mass() -> None:
    config = gaussian_config(1, 1)
    y = torch.from_numpy(np.random.default_rng(7).standard_normal((1500, 1)))
    law = CompanionLaw(np.ones(1), np.ones(1))
    found = sums_of(bent(y), y, config, law).observables()
    for name in ("mean", "variance"):
        for end in ("", "_stderr"):
            np.testing.assert_allclose(
                found[name + end][:, 0], found[f"center_of_mass_{name}{end}"], rtol=1e-9
            )


def test_effective_samples_are_what_independent_ones_would_need() -> None:
    rng = np.random.default_rng(8)
    y = companions(2000, rng)
    plain, better = sums_of(bent(y), None), sums_of(bent(y), y)
    assert plain.effective_samples == pytest.approx(2000, rel=0.01)
    ratio = plain.observables()["variance_stderr"] / better.observables()["variance_stderr"]
    assert better.effective_samples == pytest.approx(2000 * np.median(ratio**2), rel=0.1)


def test_ranks_add_up() -> None:
    rng = np.random.default_rng(9)
    y = companions(2000, rng)
    whole = sums_of(bent(y), y)
    # the halves of both trials
    parts = [torch.cat((y[k : k + 500], y[k + 1000 : k + 1500])) for k in (0, 500)]
    first, second = (sums_of(bent(part), part) for part in parts)
    for mine, other in zip(first.tensors(), second.tensors(), strict=True):
        mine += other
    for name in ("variance", "variance_stderr", "mean_stderr", "variance_by_trial"):
        np.testing.assert_allclose(first.observables()[name], whole.observables()[name], rtol=1e-9)


def test_a_companion_is_needed() -> None:
    y = companions(10, np.random.default_rng(10))
    sums = sums_of(bent(y), y)
    with pytest.raises(ValueError, match="need the companion"):
        sums.add(0, 0, y, y, y, 0.0)
