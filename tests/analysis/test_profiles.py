"""What figures hold to be the truth follows from references as it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import TIMES, Results, exact_results, moving_gaussian, observed

from dsmsim.analysis import profiles
from dsmsim.analysis.correlations_error import cell_edges
from dsmsim.analysis.loading import CLOSED_FORM, RunToPlot
from dsmsim.analysis.profiles import Profile
from dsmsim.config import Config
from dsmsim.system import center_of_mass

X = np.linspace(-1.6, 1.6, 65)
FINE = np.linspace(-2.4, 2.4, 121)


def in_cells(centers: NDArray[np.float64], times: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """An array of the group `density` of two particles, averaged over cells."""
    inner = centers[:, None] + (centers[1] - centers[0]) * (np.arange(20) - 9.5) / 20
    values = observed(moving_gaussian(2), inner.ravel(), times)["density"][name]
    return np.asarray(values.reshape(len(times), len(centers), 20).mean(2))


def run_of(config: Config, results: Results, reference: Results, name: str = CLOSED_FORM) -> RunToPlot:
    return RunToPlot(results, {name: reference}, config, center_of_mass(config))


def truth(profile: Profile | None) -> NDArray[np.float64]:
    assert profile is not None
    assert profile.true is not None
    return profile.true


def test_the_current_follows_from_the_density() -> None:
    config, times = moving_gaussian(2), np.linspace(0.0, 1.0, 41)
    run = run_of(config, observed(config, X, times), exact_results(config, times, cell_edges(X)))
    current = profiles.current(run)
    assert current is not None
    top = np.abs(current.values).max()
    assert top > 0.5
    # one is an average over cells, the other is not
    assert np.abs(truth(current) - current.values).max() < 0.02 * top
    assert np.abs(truth(current) - in_cells(X, times, "current")).max() < 3e-4 * top


def test_the_current_has_the_order_of_its_splines() -> None:
    """Twice as many times make the error 2^5 times as small, but for the limit that cells set."""
    config, errors = moving_gaussian(2), []
    centers = np.linspace(-2.5, 2.5, 401)
    edges = cell_edges(centers)
    wanted = np.array([0.3, 0.7])
    exact = in_cells(centers, TIMES, "current")[[3, 7]]
    for count in (11, 21):
        density = exact_results(config, np.linspace(0.0, 1.0, count), edges)["density"]
        errors.append(np.abs(profiles.current_of(density, centers, wanted) - exact).max())
    assert errors[0] / errors[1] > 20.0


@pytest.mark.parametrize(
    "quantity",
    [profiles.pair_density, profiles.g2, profiles.density_matrix, profiles.g1, profiles.distances],
)
def test_correlations_of_a_reference_on_another_grid(
    quantity: Callable[[RunToPlot], Profile | None],
) -> None:
    config = moving_gaussian(2)
    profile = quantity(run_of(config, observed(config, X), observed(config, FINE)))
    true = truth(profile)
    assert profile is not None
    known = np.isfinite(true)
    # distances are known at the three times of the pair density only
    assert known.reshape(len(true), -1).any(1).sum() == 3
    where = known & (np.abs(profile.values) > 1e-6)
    assert where.sum() > 30
    np.testing.assert_allclose(true[where], profile.values[where], rtol=3e-3, atol=2e-3)


def test_what_is_sampled_is_averaged_over_cells() -> None:
    config = moving_gaussian(2)
    sampled = observed(config, X, seed=1)
    true = truth(profiles.pair_density(run_of(config, sampled, observed(config, FINE))))
    of_cells = in_cells(X, TIMES, "density")[::5]
    np.testing.assert_allclose(true, of_cells[:, :, None] * of_cells[:, None, :], atol=1e-3 * true.max())
    points = observed(config, X)["correlations"]["pair_density"]
    assert np.abs(true - points).max() > 5e-3 * true.max()


def test_the_centre_of_mass_and_momenta() -> None:
    config = moving_gaussian(3)
    results, reference = observed(config, X), observed(config, FINE)
    run = run_of(config, results, reference)
    center, momentum = profiles.center_of_mass(run), profiles.momentum(run)
    assert center is not None
    assert center.reference == profiles.KOHN
    np.testing.assert_allclose(truth(center), center.values, atol=0.02 * center.values.max())
    assert momentum is not None
    np.testing.assert_allclose(truth(momentum), momentum.values, atol=1e-12)
    without = profiles.center_of_mass(replace(run, center_of_mass=None))
    assert without is not None
    assert without.true is None


def test_beyond_a_reference_nothing_is_known() -> None:
    config = moving_gaussian(2)
    early = observed(config, FINE, TIMES[:7])
    run = run_of(config, observed(config, X), early)
    for quantity in (profiles.density, profiles.current):
        true = truth(quantity(run))
        assert np.isfinite(true[:7]).all()
        assert np.isnan(true[7:]).all()
    # of its times 0, 0.3 and 0.6 only the first is one of 0, 0.5 and 1
    assert np.isfinite(truth(profiles.pair_density(run))).any((1, 2)).tolist() == [True, False, False]


def test_the_first_reference_that_knows_is_taken() -> None:
    config = moving_gaussian(2)
    results, reference = observed(config, X), observed(config, FINE)
    run = RunToPlot(results, {CLOSED_FORM: exact_results(config), "fock": reference}, config, None)
    found = {q.__name__: q(run) for q in (profiles.density, profiles.pair_density)}
    assert [p and p.reference for p in found.values()] == [CLOSED_FORM, "fock"]
    # in two dimensions a pair density along x says nothing of distances
    plane = profiles.distances(run_of(moving_gaussian(2, 2), results, reference))
    assert plane is not None
    assert plane.true is None
    alone = profiles.g2(RunToPlot(results, {}, config, None))
    assert alone is not None
    assert (alone.reference, alone.true) == ("", None)
    assert profiles.g1(RunToPlot({}, {"fock": reference}, config, None)) is None


def test_the_error_of_an_absolute_value() -> None:
    """|re + i im| of independent errors, compared with what samples of it show."""
    config, rng = moving_gaussian(), np.random.default_rng(3)
    results = observed(config, X, seed=4)
    group = results["correlations"]
    profile = profiles.density_matrix(RunToPlot(results, {}, config, None))
    assert profile is not None
    assert profile.stderr is not None
    drawn = [
        np.hypot(
            *(
                group[f"density_matrix_{p}"]
                + group[f"density_matrix_{p}_stderr"] * rng.standard_normal((3, 65, 65))
                for p in ("re", "im")
            )
        )
        for _ in range(200)
    ]
    large = profile.values > 0.1 * profile.values.max()
    np.testing.assert_allclose(profile.stderr[large], np.std(drawn, axis=0)[large], rtol=0.3)


def test_tails_where_few_pairs_decide_are_not_shown() -> None:
    """g2 of counted pairs: known where a cell expects sixteen pairs or more, also where it found none."""
    config, rng, pairs = moving_gaussian(2, mean=0.0, phase=0.0), np.random.default_rng(5), 20_000
    results = observed(config, X)
    group = results["correlations"]
    width = X[1] - X[0]
    expected = pairs * width**2 * group["pair_density"]
    counts = rng.poisson(expected).astype(float)
    counts[:, 31:34, 31:34] = 0.0  # a hole
    group["pair_density"] = counts / pairs / width**2
    group["pair_density_stderr"] = np.sqrt(counts) / pairs / width**2
    with np.errstate(divide="ignore"):
        group["g2"], group["g2_stderr"] = counts / expected, np.sqrt(counts) / expected
    profile = profiles.g2(RunToPlot(results, {}, config, None))
    assert profile is not None
    assert profile.stderr is not None
    shown = np.isfinite(profile.values)
    assert shown[:, 31:34, 31:34].all()
    assert shown[expected > 24.0].all()
    assert not shown[expected < 11.0].any()
    np.testing.assert_array_equal(np.isfinite(profile.stderr), shown)
