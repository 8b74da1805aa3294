"""Density matrices, natural orbitals and momenta of wave functions that are known point by point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_waves import GaussianWave
from numpy.typing import NDArray

from dsmsim.measure.build import BUILDERS
from dsmsim.measure.conditional import MOST_POINTS, SAMPLES, WaveGrid
from dsmsim.measure.context import Context
from dsmsim.measure.momentum import MomentumSums
from dsmsim.measure.observable import Observable, Sampled

Array = NDArray[np.float64]

SIGMAS = 5.0
WAVE = GaussianWave()
ALONE = GaussianWave(particles=1, a=2.0 - 3.0j)
APART = GaussianWave(particles=3, a=2.0 - 1.0j, b=2.0 - 1.0j)  # independent of each other


def both_of(context: Context) -> list[Observable]:
    """The two observables, as an input asks for them."""
    return [BUILDERS[name](context) for name in ("coherence", "momentum")]


def measured(context: Context, *batches: Sampled) -> dict[str, Array]:
    """Both groups after these batches."""
    both = both_of(context)
    for batch in batches:
        for observable in both:
            observable.add(batch)
    found = [observable.results(np.ones(len(context.times))) for observable in both]
    return {**found[0]["correlations"], **found[1]["momentum"]}


def orbitals_of(wave: GaussianWave, x: Array, count: int) -> NDArray[np.complex128]:
    """Exact natural orbitals (count, P) at x, of any phase."""
    fine = np.linspace(x[0], x[-1], 20 * (len(x) - 1) + 1)
    _, vectors = np.linalg.eigh(wave.density_matrix(fine))
    return np.asarray(vectors[::20, ::-1][:, :count].T / np.sqrt(fine[1] - fine[0]))


def assert_same_orbital(found: Array, exact: Array, atol: float) -> None:
    """The same but for the phase."""
    turn = np.vdot(exact, found)
    np.testing.assert_allclose(found, exact * turn / abs(turn), atol=atol)


@pytest.mark.parametrize("wave", [ALONE, APART], ids=["alone", "apart"])
def test_independent_particles_have_no_sampling_error(wave: GaussianWave) -> None:
    context = wave.context({(0, 0): 30})
    found = measured(context, wave.sampled(wave.draw(30, np.random.default_rng(1))))
    x, p = found["x"], found["p"]
    exact = wave.density_matrix(x)
    np.testing.assert_allclose(found["density_matrix_re"][0], exact.real, atol=2e-5)
    np.testing.assert_allclose(found["density_matrix_im"][0], exact.imag, atol=2e-5)
    np.testing.assert_allclose(found["occupation"][0], [1.0] + 9 * [0.0], atol=1e-12)
    np.testing.assert_allclose(found["momentum_density"][0], wave.momentum_density(p), atol=2e-5)
    assert found["momentum_density"][0].sum() * (p[1] - p[0]) == pytest.approx(1.0, abs=1e-6)
    modulus = np.hypot(found["g1_re"][0], found["g1_im"][0])
    seen = exact.diagonal().real > 1e-3 * exact.diagonal().real.max()
    np.testing.assert_allclose(modulus[np.ix_(seen, seen)], 1.0, atol=1e-3)
    assert np.isnan(modulus).any()  # where nobody is
    (orbital,) = orbitals_of(wave, x, 1)
    assert_same_orbital(
        found["natural_orbital_re"][0, 0] + 1j * found["natural_orbital_im"][0, 0], orbital, 2e-4
    )
    for name in ("density_matrix_re", "momentum_density", "occupation"):
        assert found[f"{name}_stderr"].max() < 1e-7


def test_entangled_particles_agree_with_the_closed_form() -> None:
    context = WAVE.context({(0, 0): 3000, (1, 0): 3000})
    rng = np.random.default_rng(2)
    batches = [WAVE.sampled(WAVE.draw(3000, rng), trial=trial) for trial in range(2)]
    found = measured(context, *batches)
    x, exact = found["x"], WAVE.density_matrix(found["x"])
    density = exact.diagonal().real
    seen = np.sqrt(np.outer(density, density)) > 0.01 * density.max()
    g1 = exact / np.sqrt(np.outer(density, density))
    for name, truth in (("density_matrix", exact), ("g1", g1)):
        for part, values in (("re", truth.real), ("im", truth.imag)):
            error, stderr = found[f"{name}_{part}"][0] - values, found[f"{name}_{part}_stderr"][0]
            assert np.abs(values[seen]).max() > 0.1
            assert np.all(np.abs(error[seen]) <= SIGMAS * stderr[seen] + 1e-6)
    np.testing.assert_allclose(found["g1_re"][0].diagonal()[density > 0.01], 1.0)
    error = found["occupation"][0] - WAVE.occupations(10)
    assert np.all(np.abs(error[:4]) <= SIGMAS * found["occupation_stderr"][0, :4])
    assert found["occupation_stderr"][0, 0] < 0.01
    seen = WAVE.momentum_density(found["p"]) > 0.01
    error = found["momentum_density"][0] - WAVE.momentum_density(found["p"])
    assert np.all(np.abs(error)[seen] <= SIGMAS * found["momentum_density_stderr"][0][seen])
    for k, orbital in enumerate(orbitals_of(WAVE, x, 2)):
        parts = [found[f"natural_orbital_{part}"][0, k] for part in ("re", "im")]
        errors = [found[f"natural_orbital_{part}_stderr"][0, k] for part in ("re", "im")]
        assert_same_orbital(parts[0] + 1j * parts[1], orbital, SIGMAS * np.max(errors))


@pytest.mark.parametrize("unit", [1, 5])
def test_intervals_cover_the_truth(unit: int) -> None:
    # 95 % intervals of 200 independent ensembles; where the samples of a unit repeat each other, errors made
    # of single samples would be far too small
    wave, size = GaussianWave(particles=2, a=3.0 - 1.0j, b=1.5 + 0.5j, wavenumber=0.5), 250
    context = wave.context({(0, block): size * unit for block in range(2)}, reach=4.0)
    covered: dict[str, list[float]] = {}
    for seed in range(200):
        rng = np.random.default_rng([unit, seed])
        draws = [wave.draw(size, rng).repeat_interleave(unit, 0) for _ in range(2)]
        batches = [wave.sampled(x, block=block, unit=unit) for block, x in enumerate(draws)]
        found = measured(context, *batches)
        if seed == 0:
            exact, momentum = wave.density_matrix(found["x"]), wave.momentum_density(found["p"])
            density = exact.diagonal().real
            g1 = exact / np.sqrt(np.outer(density, density))
            pairs = np.triu(np.outer(density, density) > (0.05 * density.max()) ** 2, 1)
            wide, filled = momentum > 0.05 * momentum.max(), density > 0.05 * density.max()
            orbitals = orbitals_of(wave, found["x"], 2)
        truths = {
            "density_matrix_re": (exact.real, pairs),
            "density_matrix_im": (exact.imag, pairs),
            "g1_re": (g1.real, pairs),
            "g1_im": (g1.imag, pairs),
            "occupation": (wave.occupations(10), np.arange(10) < 2),
            "momentum_density": (momentum, wide),
        }
        for name, (truth, where) in truths.items():
            inside = np.abs(found[name][0] - truth) <= 1.96 * found[f"{name}_stderr"][0]
            covered.setdefault(name, []).append(float(np.mean(inside[where])))
        for k, orbital in enumerate(orbitals):
            found_re, found_im = (found[f"natural_orbital_{part}"][0, k] for part in ("re", "im"))
            highest = int(np.argmax(np.where(np.abs(found_im) < 1e-12, found_re, 0.0)))
            true = orbital * np.exp(-1j * np.angle(orbital[highest]))
            where = filled & (np.arange(len(true)) != highest)  # where the imaginary part is 0 by definition
            for part, value, truth in (("re", found_re, true.real), ("im", found_im, true.imag)):
                stderr = found[f"natural_orbital_{part}_stderr"][0, k]
                inside = np.abs(value - truth) <= 1.96 * stderr
                covered.setdefault(f"orbital {k}, {part}", []).append(float(np.mean(inside[where])))
    shares = {name: float(np.mean(values)) for name, values in covered.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares


def test_sums_add_up_over_blocks_and_ranks() -> None:
    blocks = {(trial, block): 40 for trial in range(2) for block in range(3)}
    context, rng = WAVE.context(blocks), np.random.default_rng(3)
    batches = {key: WAVE.sampled(WAVE.draw(40, rng), trial=key[0], block=key[1]) for key in blocks}
    whole, halves = both_of(context), [both_of(context) for _ in range(2)]
    for number, batch in enumerate(batches.values()):
        for observable in (*whole, *halves[number % 2]):
            observable.add(batch)
    for left, right, together in zip(*halves, whole, strict=True):
        sums = zip(left.tensors(), right.tensors(), together.tensors(), strict=True)
        for one, other, everything in sums:
            assert everything.dtype == torch.float64
            torch.testing.assert_close(one + other, everything, rtol=1e-13, atol=1e-13)


def test_weights_move_the_average_to_another_density() -> None:
    # samples of a wider cloud, weighted; psi is evaluated as it is
    wide = replace(WAVE, a=0.7 * WAVE.a, b=0.7 * WAVE.b)
    rng, count = np.random.default_rng(4), 2000
    x = wide.draw(count, rng)
    ratio = 2.0 * (WAVE.log_psi(x) - wide.log_psi(x))[:, 0]
    weights = (ratio - ratio.max()).exp()
    context = WAVE.context({(0, block): count // 20 for block in range(20)})
    batches = []
    for block in range(20):
        part = slice(block * count // 20, (block + 1) * count // 20)
        w = weights[part] / weights[part].mean()
        batches.append(WAVE.sampled(x[part], block=block, unit=count // 20, weights=w))
    found = measured(context, *batches)
    truth, plain = (
        WAVE.occupations(2),
        measured(context, *(replace(batch, weights=None) for batch in batches)),
    )
    error = np.abs(found["occupation"][0, :2] - truth)
    assert np.all(error <= SIGMAS * found["occupation_stderr"][0, :2])
    assert np.any(np.abs(plain["occupation"][0, :2] - truth) > SIGMAS * plain["occupation_stderr"][0, :2])


def test_only_the_first_axis_is_looked_at() -> None:
    # two particles in a plane: alone along x and entangled along y
    along_x, along_y = GaussianWave(particles=1, a=2.0 - 3.0j), GaussianWave(particles=2)
    rng, n = np.random.default_rng(5), 40
    x = torch.stack([along_x.draw(2 * n, rng).reshape(n, 2), along_y.draw(n, rng)], -1).reshape(n, 4)

    def log_psi(x: torch.Tensor) -> torch.Tensor:
        parts = [along_x.log_psi(x[:, k : k + 1]) for k in (0, 2)]
        return parts[0] + parts[1] + along_y.log_psi(x[:, [1, 3]])

    plane = along_y.context({(0, 0): n})
    plane.system.dimensions = 2
    extent = along_x.context({}).extent
    context = replace(plane, extent=extent)
    zero = torch.zeros_like(x)
    found = measured(context, Sampled(0, 0.0, x, zero, zero, log_psi=log_psi))
    assert found["occupation"][0, 0] == pytest.approx(1.0)
    np.testing.assert_allclose(found["momentum_density"][0], along_x.momentum_density(found["p"]), atol=2e-5)


def test_the_cost_is_bounded() -> None:
    calls = []

    def log_psi(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return WAVE.log_psi(x)

    blocks = {(0, block): 5000 for block in range(4)}
    context, rng = WAVE.context(blocks, times=3), np.random.default_rng(6)
    context = replace(context, kept=np.array([0, 2]))
    both = both_of(context)
    for _, block in blocks:
        for index in range(3):
            batch = replace(WAVE.sampled(WAVE.draw(5000, rng), index, block=block), log_psi=log_psi)
            for observable in both:
                observable.add(batch)
    points = len(context.waves.grids[0].x)
    assert sum(calls) == 2 * SAMPLES * points  # two times, and both observables from the same values


def test_too_many_wavelengths_have_no_answer() -> None:
    assert WaveGrid.of(0.0, 1.0, 0.0, 100.0, 0.1) is None
    grid = WaveGrid.of(0.0, 1.0, 0.0, 6.0, 0.1)
    assert grid is not None
    assert len(grid.x) <= MOST_POINTS
    context = WAVE.context({(0, 0): 8}, times=2)
    spread = context.extent.momentum_spread * [1.0, 1e4]
    context = replace(context, extent=replace(context.extent, momentum_spread=spread))
    rng = np.random.default_rng(7)
    found = measured(context, *(WAVE.sampled(WAVE.draw(8, rng), index) for index in range(2)))
    for name in ("density_matrix_im", "g1_re", "occupation", "natural_orbital_re", "momentum_density"):
        assert np.isfinite(found[name][0]).any()
        assert np.isnan(found[name][1]).all()


def test_velocities_alone_are_not_enough() -> None:
    context = WAVE.context({(0, 0): 8})
    batch = replace(WAVE.sampled(WAVE.draw(8, np.random.default_rng(8))), log_psi=None)
    with pytest.raises(ValueError, match="log psi"):
        MomentumSums(context).add(batch)


def test_one_unit_has_no_error() -> None:
    context = WAVE.context({(0, 0): 8})
    found = measured(context, WAVE.sampled(WAVE.draw(8, np.random.default_rng(9)), unit=8))
    assert np.isfinite(found["occupation"]).all()
    assert np.isnan(found["occupation_stderr"]).all()
    assert np.isnan(found["momentum_density_stderr"]).all()
