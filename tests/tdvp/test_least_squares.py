"""Regularised normal equations against numpy's least squares and the damping written out."""

from __future__ import annotations

import numpy as np
import pytest

from dsmsim.tdvp import NormalEquations, Regularisation, damped_inverse, relative_rms

PLAIN = Regularisation(cutoff=0.0)


def silent(directions: np.ndarray, force: np.ndarray) -> np.ndarray:
    raise AssertionError("nobody needs the noise")


def samples(dtype: type, count: int = 60, parameters: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((count, parameters)), rng.standard_normal(count)
    if dtype is complex:
        a, b = a + 1j * rng.standard_normal(a.shape), b + 1j * rng.standard_normal(b.shape)
    return a * [1.0, 1e3, 1e-3, 1.0, 1.0], b


def normal(a: np.ndarray, b: np.ndarray) -> NormalEquations:
    count = len(b)
    return NormalEquations(a.conj().T @ a / count, a.conj().T @ b / count, float(np.mean(np.abs(b) ** 2)))


@pytest.mark.parametrize("dtype", [float, complex])
def test_solution_and_residual_are_those_of_lstsq(dtype: type) -> None:
    a, b = samples(dtype)
    expected = np.linalg.lstsq(a, b)[0]
    solution = normal(a, b).solve(PLAIN, silent)
    np.testing.assert_allclose(solution.rate, expected, rtol=1e-10)
    assert solution.rate.dtype == expected.dtype
    left = np.linalg.norm(a @ expected - b) / np.linalg.norm(b)
    assert solution.residual == pytest.approx(left, rel=1e-10)
    assert solution.spectrum.sum() == pytest.approx(5.0)  # the trace of what has a unit diagonal
    assert solution.snr.size == 0


def test_eigenvalues_are_damped_as_the_module_says() -> None:
    values = np.array([-1e-17, 0.0, 1e-4, 0.01, 2.0])
    snr = np.array([9.0, 9.0, 9.0, 0.5, 3.0])
    found = damped_inverse(values, Regularisation(cutoff=1e-2, shift=0.1, snr=1.5), snr)
    kept = values[2:]
    expected = 1.0 / (kept + 0.1) / (1.0 + (1e-2 * 2.0 / kept) ** 6) / (1.0 + (1.5 / snr[2:]) ** 6)
    np.testing.assert_allclose(found, [0.0, 0.0, *expected], rtol=1e-12)


def test_directions_in_the_noise_do_not_move() -> None:
    # uncoupled parameters: the spectrum is degenerate, and the given directions are the parameters'
    equations = NormalEquations(np.eye(2), np.array([1.0, 1.0]), 3.0)

    def noise(directions: np.ndarray, force: np.ndarray) -> np.ndarray:
        np.testing.assert_allclose(directions.T @ np.array([1.0, 1.0]), force)
        return np.abs(directions[0]) ** 2 * 1e-4 + np.abs(directions[1]) ** 2 * 1e2

    rate = equations.solve(Regularisation(cutoff=0.0, snr=1.0), noise).rate
    np.testing.assert_allclose(rate, [1.0, 1e-6], rtol=1e-5)
    measured = equations.solve(PLAIN, noise, with_snr=True)
    np.testing.assert_allclose(measured.snr, [100.0, 0.1])
    np.testing.assert_allclose(measured.rate, [1.0, 1.0])


def test_eigenvectors_are_those_that_are_handed_in() -> None:
    asked: list[np.ndarray] = []

    def decompose(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(matrix)
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors

    a, b = samples(float)
    plain = normal(a, b)
    equations = NormalEquations(plain.s, plain.force, plain.target_square, decompose)
    for _ in range(2):
        assert (equations.solve(PLAIN, silent).rate == plain.solve(PLAIN, silent).rate).all()
    assert len(asked) == 1
    np.testing.assert_allclose(np.diagonal(asked[0]), 1.0)


def test_distance() -> None:
    a, b = samples(complex)
    change = np.array([0.1, 1e-4j, 3.0, 0.0, -0.2])
    expected = np.sqrt(np.mean(np.abs(a @ change) ** 2))
    assert normal(a, b).distance(change) == pytest.approx(expected)
    assert normal(a, b).distance(0.0 * change) == 0.0
    # a step that is not finite must not look like none
    assert np.isnan(normal(a, b).distance(np.nan * change))


@pytest.mark.parametrize("dtype", [float, complex])
def test_what_is_not_finite_is_no_error_of_linear_algebra(dtype: type) -> None:
    a, b = samples(dtype)
    b[3] = np.nan
    solution = normal(a, b).solve(Regularisation(snr=1.0), silent)
    assert solution.rate.dtype == a.dtype
    for values in (solution.rate, solution.residual, solution.spectrum, solution.snr):
        assert np.isnan(values).all()


def test_residuals_of_nothing_and_of_rounding() -> None:
    assert relative_rms(0.0, 0.0) == 0.0
    assert relative_rms(-1e-17, 1.0) == 0.0
    assert relative_rms(0.25, 1.0) == 0.5
    assert np.isnan(relative_rms(np.nan, 1.0))
