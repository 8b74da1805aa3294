"""Markov chains: the right stationary density, tuned moves, measured autocorrelation."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.wave.metropolis import TARGET, Block, Metropolis, autocovariances, integrated_time

COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)


def log_density(x: np.ndarray) -> np.ndarray:
    """A correlated Gaussian."""
    return np.asarray(-0.5 * np.einsum("wi,ij,wj->w", x, PRECISION, x))


def blocks_of(count: int, size: int) -> list[Block]:
    return [Block(number, size) for number in range(count)]


def equilibrium(count: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(1).multivariate_normal(np.zeros(2), COVARIANCE, size=count))


def test_walkers_reach_the_density_from_far_away() -> None:
    chain, x = Metropolis(1, "test", 1.0), np.full((4000, 2), 4.0)
    x, log_now, _ = chain.move(log_density, x, log_density(x), blocks_of(4, 1000), 200, 0)
    np.testing.assert_allclose(log_now, log_density(x), rtol=1e-12)
    assert np.all(np.abs(x.mean(0)) < 5.0 * np.sqrt(np.diag(COVARIANCE) / 4000))
    errors = np.sqrt((np.outer(np.diag(COVARIANCE), np.diag(COVARIANCE)) + COVARIANCE**2) / 4000)
    assert np.all(np.abs(np.cov(x, rowvar=False) - COVARIANCE) < 5.0 * errors)


def test_nothing_is_changed_in_place() -> None:
    x = equilibrium(100)
    log_now, before = log_density(x), x.copy()
    Metropolis(1, "test", 1.0).move(log_density, x, log_now, blocks_of(1, 100), 3, 0)
    assert np.array_equal(x, before)
    assert np.array_equal(log_now, log_density(before))


def test_a_rank_may_have_no_walkers() -> None:
    nothing = np.empty((0, 2))
    x, log_now, accepted = Metropolis(1, "test", 1.0).move(log_density, nothing, np.empty(0), [], 3, 0)
    assert (x.shape, log_now.shape, accepted) == ((0, 2), (0,), 0)


def test_the_walk_depends_on_blocks_and_not_on_who_owns_them() -> None:
    x, blocks = equilibrium(90), blocks_of(3, 30)
    log_now = log_density(x)

    def walk(owned: slice, index: int = 5) -> np.ndarray:
        rows = slice(30 * owned.start, 30 * owned.stop)
        chain = Metropolis(1, "test", 0.8)
        return chain.move(log_density, x[rows], log_now[rows], blocks[owned], 4, index)[0]

    together = walk(slice(0, 3))
    assert np.array_equal(together, np.concatenate([walk(slice(0, 1)), walk(slice(1, 3))]))
    assert not np.array_equal(together, walk(slice(0, 3), index=6))
    assert not np.array_equal(together[:30] - x[:30], together[30:60] - x[30:60])


@pytest.mark.parametrize("width", [0.02, 60.0, np.array([0.1, 0.3])])
@pytest.mark.parametrize("shaped", [False, True])
def test_the_width_finds_the_target_rate(width: float | np.ndarray, shaped: bool) -> None:
    x, blocks = equilibrium(2000), blocks_of(1, 2000)
    chain, log_now = Metropolis(1, "test", width), log_density(x)
    if shaped:
        chain.fit(np.cov(x, rowvar=False))
    for index in range(20):
        x, log_now, accepted = chain.move(log_density, x, log_now, blocks, 2, index)
        chain.tune(accepted / 4000)
    assert accepted / 4000 == pytest.approx(TARGET, abs=0.03)


def test_moves_shaped_like_the_ensemble_forget_faster() -> None:
    narrow = np.diag([1.0, 400.0])

    def needle(x: np.ndarray) -> np.ndarray:
        return np.asarray(-0.5 * np.einsum("wi,ij,wj->w", x, narrow, x))

    taus = []
    for shaped in (False, True):
        x = np.random.default_rng(2).normal(size=(1000, 2)) / np.sqrt(np.diag(narrow))
        chain, log_now = Metropolis(1, "test", 0.05), needle(x)
        if shaped:
            chain.fit(np.cov(x, rowvar=False))
        for index in range(15):
            x, log_now, accepted = chain.move(needle, x, log_now, blocks_of(1, 1000), 2, index)
            chain.tune(accepted / 2000)
        seen: list[np.ndarray] = []
        chain.move(
            needle, x, log_now, blocks_of(1, 1000), 64, 99, lambda y, seen=seen: seen.append(1.0 * y[:, 0])
        )
        taus.append(integrated_time(autocovariances(np.stack(seen), 0.0))[0])
    assert taus[1] < 10.0 < taus[0]


def test_places_without_density_are_left_and_never_entered() -> None:
    def half(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] > 0.0, -0.5 * x[:, 0] ** 2, np.where(x[:, 0] > -1.0, -np.inf, np.nan))

    x = np.linspace(-0.5, 2.0, 500)[:, None]
    stuck = np.count_nonzero(x <= 0.0)
    y, log_now, _ = Metropolis(1, "test", 0.5).move(half, x, half(x), blocks_of(1, 500), 60, 0)
    assert stuck > 50
    assert np.count_nonzero(y <= 0.0) == 0
    assert np.isfinite(log_now).all()


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_a_known_process(memory: float) -> None:
    """x_{s+1} = a x_s + noise: tau = (1 + a)/(1 - a)."""
    rng, steps, walkers = np.random.default_rng(3), 200, 2000
    series = np.empty((steps, walkers))
    series[0] = rng.normal(size=walkers)
    for s in range(1, steps):
        series[s] = memory * series[s - 1] + np.sqrt(1.0 - memory**2) * rng.normal(size=walkers)
    tau, fits = integrated_time(autocovariances(series, series.mean()))
    assert fits
    assert tau == pytest.approx((1.0 + memory) / (1.0 - memory), rel=0.05)
    short, fits = integrated_time(autocovariances(series[:10], 0.0))
    assert fits == (memory == 0.0)
    assert short < 1.1 * (1.0 + memory) / (1.0 - memory)


def test_a_constant_has_no_memory() -> None:
    assert integrated_time(np.zeros(5)) == (1.0, True)
