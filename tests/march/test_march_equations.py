"""The least squares of a march against numpy, its solvers against each other, and ranks against one alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ranks import run_ranks

from dsmsim.errors import ConfigError
from dsmsim.march import equations as module
from dsmsim.march import weighted_rows
from dsmsim.march.equations import LeastSquares, choose_solver
from dsmsim.march.model import Equations, Local
from dsmsim.parallel import World
from dsmsim.tdvp import Regularisation, averages

SOLVERS = ["eigen", "sample_space", "cg"]
SPECTRAL = SOLVERS[:2]
KINDS = [(complex, True, 1), (complex, False, 1), (float, True, 2), (float, False, 4)]
kinds = pytest.mark.parametrize(("dtype", "centred", "each"), KINDS)
# damps what is 0 but for rounding, and nothing else
NEARLY_PLAIN = Regularisation(cutoff=1e-10)
DAMPED = Regularisation(cutoff=1e-2, shift=1e-3, snr=0.8)


def numbers(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if dtype is complex else values


class Problem:
    """Rows, targets and weights of all walkers, and what numpy makes of them."""

    def __init__(self, dtype: type, centred: bool, each: int, walkers: int = 40, size: int = 7) -> None:
        rng = np.random.default_rng(1)
        self.centred = centred
        # parameters of very different scales, neighbours alike, all with a mean
        mixing = np.eye(size) + np.diag(np.full(size - 1, 0.8), 1)
        self.rows = (numbers(rng, dtype, walkers, each, size) + 2.0) @ mixing * np.logspace(-3, 3, size)
        self.targets = numbers(rng, dtype, walkers, each) - 5.0
        self.log_weights = 0.7 * rng.standard_normal(walkers) - 800.0

    def solve(self, solver: str, rule: Regularisation = NEARLY_PLAIN) -> LeastSquares:
        return self.on(World(), slice(None), solver, rule)

    def on(self, world: World, part: slice, solver: str, rule: Regularisation) -> LeastSquares:
        """The equations of the rank that has this part of the walkers."""
        rows, targets = torch.from_numpy(self.rows[part]), torch.from_numpy(self.targets[part])
        nothing = torch.zeros(len(rows), 1)
        equations = Equations(Local(nothing, nothing, nothing[:, 0], None), rows, targets)
        weights = torch.from_numpy(self.log_weights[part])
        return LeastSquares(equations, weights, world, rule, centred=self.centred, solver=solver)

    def dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deviations (M, P) and (M,), times the roots of the weights, and weights (W,)."""
        w = np.exp(self.log_weights - self.log_weights.max())
        w /= w.sum()
        rows, targets = self.rows, self.targets
        if self.centred:
            rows = rows - np.einsum("w,wrp->rp", w, rows)
            targets = targets - w @ targets
        root = np.sqrt(w)[:, None]
        return (rows * root[..., None]).reshape(-1, rows.shape[2]), (targets * root).ravel(), w


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_solution_is_that_of_lstsq(solver: str, dtype: type, centred: bool, each: int) -> None:
    problem = Problem(dtype, centred, each)
    found = problem.solve(solver, Regularisation(cutoff=0.0) if solver == "cg" else NEARLY_PLAIN)
    rows, targets, w = problem.dense()
    scale = 1.0 / np.linalg.norm(rows, axis=0)
    expected = scale * np.linalg.lstsq(rows * scale, targets)[0]
    solution = found.solve()
    np.testing.assert_allclose(solution.rate / scale, expected / scale, rtol=1e-7, atol=1e-8)
    left = np.linalg.norm(rows @ expected - targets) / np.linalg.norm(targets)
    assert solution.residual == pytest.approx(left, rel=1e-9)
    assert 0.1 < left < 0.99
    assert found.effective == pytest.approx(1.0 / (len(w) * np.sum(w**2)))
    assert found.target_square == pytest.approx(np.linalg.norm(targets) ** 2)
    means = np.einsum("w,wrp->rp", w, problem.rows) * centred
    np.testing.assert_allclose(found.row_means, means, rtol=1e-12)
    np.testing.assert_allclose(found.target_means, w @ problem.targets * centred, rtol=1e-12)


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_of_many_parameters_the_shortest_solution_is_taken(
    solver: str, dtype: type, centred: bool, each: int
) -> None:
    problem = Problem(dtype, centred, each, walkers=8, size=50)
    rows, targets, _ = problem.dense()
    scale = 1.0 / np.linalg.norm(rows, axis=0)
    expected = scale * (np.linalg.pinv(rows * scale, rcond=1e-8) @ targets)
    rule = Regularisation(cutoff=0.0) if solver == "cg" else NEARLY_PLAIN
    solution = problem.solve(solver, rule).solve()
    np.testing.assert_allclose(solution.rate / scale, expected / scale, rtol=1e-6, atol=1e-6)
    assert solution.residual < 1e-6


@kinds
@pytest.mark.parametrize(("walkers", "size"), [(40, 7), (6, 31)])
def test_both_spectral_solvers_damp_alike(
    dtype: type, centred: bool, each: int, walkers: int, size: int
) -> None:
    problem = Problem(dtype, centred, each, walkers, size)
    eigen, kernel = (problem.solve(solver, DAMPED).solve(with_snr=True) for solver in SPECTRAL)
    # and as it is written: 1/lambda of each singular value
    rows, targets, _ = problem.dense()
    scale = 1.0 / np.linalg.norm(rows, axis=0)
    _, values, vectors = np.linalg.svd(rows * scale, full_matrices=False)
    spectrum = values[::-1] ** 2
    np.testing.assert_allclose(eigen.spectrum[-len(spectrum) :], spectrum, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(kernel.spectrum[-len(spectrum) :], spectrum, rtol=1e-9, atol=1e-13)
    real = eigen.spectrum > 1e-9
    np.testing.assert_allclose(kernel.snr[real], eigen.snr[real], rtol=1e-6)
    snr = eigen.snr[-len(spectrum) :]
    inverse = 1.0 / (spectrum + 1e-3) / (1.0 + (1e-2 * spectrum[-1] / np.maximum(spectrum, 1e-12)) ** 6)
    inverse /= 1.0 + (0.8 / snr) ** 6
    modes = vectors[::-1].conj().T
    rate = scale * (modes @ (inverse * (modes.conj().T @ (scale * (rows.conj().T @ targets)))))
    for solution in (eigen, kernel):
        np.testing.assert_allclose(solution.rate / scale, rate / scale, rtol=1e-7, atol=1e-9)
        left = np.linalg.norm(rows @ solution.rate - targets) / np.linalg.norm(targets)
        assert solution.residual == pytest.approx(left, rel=1e-9)


@kinds
@pytest.mark.parametrize(("walkers", "size"), [(40, 7), (6, 31)])
def test_conjugate_gradients_damp_by_the_shift(
    dtype: type, centred: bool, each: int, walkers: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 1e-12)
    problem, rule = Problem(dtype, centred, each, walkers, size), Regularisation(cutoff=0.0, shift=1e-2)
    expected = problem.solve("sample_space", rule).solve()
    found = problem.solve("cg", rule).solve(with_snr=True)
    scale = 1.0 / np.linalg.norm(problem.dense()[0], axis=0)
    np.testing.assert_allclose(found.rate / scale, expected.rate / scale, rtol=1e-6, atol=1e-7)
    assert found.residual == pytest.approx(expected.residual, rel=1e-7)
    assert np.isnan(found.spectrum).all()
    assert np.isnan(found.snr).all()
    assert found.spectrum.shape == found.snr.shape == (size,)


def test_conjugate_gradients_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, rule = Problem(float, True, 2), Regularisation(cutoff=0.0, shift=1e-4)
    residuals = []
    for most in (0, 1, 3, 100):
        monkeypatch.setattr(module, "MOST_ITERATIONS", most)
        residuals.append(problem.solve("cg", rule).solve().residual)
    assert residuals[0] == 1.0
    assert residuals == sorted(residuals, reverse=True)
    assert len(set(residuals)) == 4


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_the_rows_can_follow_moves_exactly_whatever_the_weights(
    solver: str, dtype: type, centred: bool, each: int
) -> None:
    problem = Problem(dtype, centred, each)
    exact = numbers(np.random.default_rng(8), dtype, 7) / np.logspace(-3, 3, 7)
    problem.targets = problem.rows @ exact
    if centred:
        problem.targets = problem.targets + 3.0 + np.arange(each)
    for factor in (1.0, 4.0):
        problem.log_weights = problem.log_weights * factor
        solution = problem.solve(solver, Regularisation(cutoff=0.0 if solver == "cg" else 1e-11)).solve()
        np.testing.assert_allclose(solution.rate, exact, rtol=1e-5)
        assert solution.residual < 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("centred", [True, False])
def test_a_dead_parameter_gets_no_motion(solver: str, centred: bool) -> None:
    problem = Problem(complex, centred, 1)
    rule = Regularisation(cutoff=0.0 if solver == "cg" else 1e-10)
    alive = problem.solve(solver, rule).solve()
    # a constant, with rounding errors, is no direction where only deviations count
    value = (0.1 + 0.2j) * (1.0 + 1e-16 * np.arange(40)) if centred else np.zeros(40)
    problem.rows = np.insert(problem.rows, 3, value[:, None], axis=2)
    found = problem.solve(solver, rule)
    solution = found.solve(with_snr=True)
    assert solution.rate[3] == 0.0
    np.testing.assert_allclose(np.delete(solution.rate, 3), alive.rate, rtol=1e-6)
    change = np.zeros(8, dtype=complex)
    change[3] = 1.0
    assert found.distance(change) < 1e-15
    if solver in SPECTRAL:
        assert solution.spectrum[0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("solver", SPECTRAL)
def test_noise_is_told_from_force(solver: str) -> None:
    rng = np.random.default_rng(0)
    problem = Problem(float, True, 1)
    x, noise = rng.standard_normal((2, 800))
    # the eigenvectors are the sum of the two and their difference
    problem.rows = np.stack((x + 0.2 * noise, x - 0.2 * noise), axis=1)[:, None]
    problem.targets = (x + 0.5 * rng.standard_normal(800))[:, None]
    problem.log_weights = np.zeros(800)
    plain = problem.solve(solver).solve(with_snr=True)
    assert plain.snr[1] > 15.0
    assert plain.snr[0] < 3.0
    damped = problem.solve(solver, Regularisation(cutoff=1e-10, snr=6.0)).solve().rate
    assert abs(damped[0] - damped[1]) < 0.2 * abs(plain.rate[0] - plain.rate[1])
    assert abs(damped.sum() - plain.rate.sum()) < 0.01 * abs(plain.rate.sum())


def test_of_log_psi_it_is_the_time_dependent_variational_principle() -> None:
    problem, hbar = Problem(complex, True, 1), 0.3
    energy = 1j * hbar * problem.targets[:, 0]
    theirs = averages(problem.log_weights, problem.rows[:, 0], energy)
    rule = Regularisation(cutoff=1e-3, snr=0.7)
    expected, ours = theirs.solve(hbar, rule), problem.solve("eigen", rule)
    found = ours.solve()
    np.testing.assert_allclose(found.rate, expected.rate, rtol=1e-9)
    np.testing.assert_allclose(found.snr, expected.snr, rtol=1e-9)
    np.testing.assert_allclose(found.spectrum, expected.spectrum, rtol=1e-9, atol=1e-14)
    assert found.residual == pytest.approx(expected.residual, rel=1e-9)
    assert ours.distance(found.rate) == pytest.approx(theirs.distance(expected.rate), rel=1e-9)
    assert ours.effective == pytest.approx(theirs.effective, rel=1e-12)
    assert 1j * hbar * ours.target_means[0] == pytest.approx(theirs.energy, rel=1e-12)
    assert hbar**2 * ours.target_square == pytest.approx(theirs.energy_variance, rel=1e-12)


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_distance(solver: str, dtype: type, centred: bool, each: int) -> None:
    problem = Problem(dtype, centred, each)
    change = numbers(np.random.default_rng(2), dtype, 7) / np.logspace(-3, 3, 7)
    found = problem.solve(solver)
    assert found.distance(change) == pytest.approx(np.linalg.norm(problem.dense()[0] @ change), rel=1e-11)
    assert found.distance(0.0 * change) == 0.0
    assert np.isnan(found.distance(np.nan * change))


def everything(found: LeastSquares) -> dict[str, Any]:
    solution = found.solve(with_snr=True)
    return {
        "rate": solution.rate * np.logspace(-3, 3, len(solution.rate)),
        "residual": solution.residual,
        "spectrum": solution.spectrum,
        "snr": solution.snr,
        "distance": found.distance(solution.rate),
        "effective": found.effective,
        "row_means": found.row_means,
        "target_means": found.target_means,
        "target_square": found.target_square,
    }


# uneven shares, one rank without walkers
SHARES = {1: [40], 2: [11, 29], 3: [25, 0, 15]}


def of_ranks(
    problem: Problem, size: int, solver: str, rule: Regularisation, work: Callable[[LeastSquares], Any]
) -> list[Any]:
    ends = np.cumsum([0, *SHARES[size]])

    def rank(world: World) -> Any:
        part = slice(ends[world.rank], ends[world.rank + 1])
        return work(problem.on(world, part, solver, rule))

    return run_ranks(size, rank)


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_ranks_find_what_one_does(solver: str, dtype: type, centred: bool, each: int) -> None:
    problem = Problem(dtype, centred, each)
    rule = Regularisation(cutoff=0.0, shift=1e-2) if solver == "cg" else Regularisation(1e-3, 1e-3, 0.5)
    alone = everything(problem.solve(solver, rule))
    for size in (2, 3):
        found = of_ranks(problem, size, solver, rule, everything)
        for name, value in alone.items():
            top = max(1e-300, float(np.nanmax(np.abs(value)))) if not np.isnan(value).all() else 1.0
            np.testing.assert_allclose(found[0][name], value, rtol=1e-12, atol=1e-12 * top, err_msg=name)
            for other in found[1:]:
                np.testing.assert_array_equal(other[name], found[0][name], err_msg=name)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("where", ["rows", "targets", "log_weights"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_on_one_rank_is_so_on_all(solver: str, where: str, value: float) -> None:
    problem = Problem(float, True, 2)
    getattr(problem, where)[30] = value  # of the last rank
    rule = Regularisation(cutoff=0.0, shift=1e-2)
    for size in (1, 3):
        for found in of_ranks(problem, size, solver, rule, everything):
            for name in ("rate", "residual", "spectrum", "snr", "distance"):
                assert np.isnan(found[name]).all(), name


@pytest.mark.parametrize("solver", SPECTRAL)
def test_the_first_rank_finds_the_eigenvectors_for_all(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def eigh(matrix: torch.Tensor) -> Any:
        calls.append(matrix.shape)
        values, vectors = np.linalg.eigh(matrix.numpy())
        return torch.from_numpy(values), torch.from_numpy(vectors)

    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    of_ranks(Problem(complex, True, 1), 3, solver, DAMPED, everything)
    assert calls == [(7, 7) if solver == "eigen" else (40, 40)]


@kinds
@pytest.mark.parametrize("solver", SOLVERS)
def test_chunks_change_nothing(
    solver: str, dtype: type, centred: bool, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem(dtype, centred, each)
    rule = Regularisation(cutoff=0.0, shift=1e-2)
    whole = everything(problem.solve(solver, rule))
    monkeypatch.setattr(weighted_rows, "CHUNK_ROWS", 3 * each)
    monkeypatch.setattr(weighted_rows, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(weighted_rows, "CHUNK_COLUMNS", 2)
    chunks = everything(problem.solve(solver, rule))
    for name, value in whole.items():
        np.testing.assert_allclose(chunks[name], value, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("solver", SOLVERS)
def test_memory_order_does_not_matter(solver: str) -> None:
    problem, rule = Problem(complex, True, 2), Regularisation(cutoff=0.0, shift=1e-2)
    expected = problem.solve(solver, rule).solve().rate
    rows, targets = torch.from_numpy(problem.rows), torch.from_numpy(problem.targets)
    kept = rows.clone()
    nothing = torch.zeros(40, 1)
    turned = rows.conj().permute(2, 1, 0).contiguous().permute(2, 1, 0).conj()
    equations = Equations(Local(nothing, nothing, nothing[:, 0], None), turned, targets.conj().clone().conj())
    weights = torch.from_numpy(problem.log_weights)
    found = LeastSquares(equations, weights, World(), rule, centred=True, solver=solver).solve().rate
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (rows == kept).all()


@pytest.mark.parametrize(
    ("parameters", "rows", "rule", "expected"),
    [
        (30, 4096, Regularisation(), "eigen"),
        (100, 100, Regularisation(), "eigen"),
        (101, 100, Regularisation(), "sample_space"),
        (5000, 5000, Regularisation(), "eigen"),
        (5000, 5000, Regularisation(shift=1e-3), "cg"),
        (5000, 5000, Regularisation(shift=1e-3, snr=1.0), "eigen"),
        (9000, 100, Regularisation(shift=1e-3), "sample_space"),
    ],
)
def test_auto(parameters: int, rows: int, rule: Regularisation, expected: str) -> None:
    assert choose_solver("auto", parameters, rows, rule) == expected


def test_conjugate_gradients_do_not_filter_noise() -> None:
    with pytest.raises(ConfigError, match=r"march\.snr = 2.*'cg' knows no.*set march\.snr = 0") as caught:
        Problem(float, True, 1).solve("cg", Regularisation(snr=2.0))
    assert caught.value.key == "march.snr"
