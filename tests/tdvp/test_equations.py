"""The equations of motion of parameters, on wave functions whose motion is known.

psi = exp(a x^2) in a trap, sampled from any density:  i hbar a' = mass omega^2/2 - (2 hbar^2/mass) a^2.
"""

from __future__ import annotations

import numpy as np
import pytest

from dsmsim.tdvp import Averages, Equations, Regularisation, averages

HBAR, MASS, OMEGA = 0.3, 0.7, 1.4
A = -0.9 + 0.4j
EXACT = -1j / HBAR * (0.5 * MASS * OMEGA**2 - 2.0 * HBAR**2 / MASS * A**2)
PLAIN = Regularisation(cutoff=0.0)


def samples(count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x from a Gaussian that is not |psi|^2, log |psi|^2 over its density, and local energies."""
    rng = np.random.default_rng(3)
    x = 0.1 + 0.8 * rng.standard_normal(count)
    log_weights = 2.0 * A.real * x**2 + 0.5 * (x - 0.1) ** 2 / 0.64
    energy = -(HBAR**2) / (2.0 * MASS) * (2.0 * A + 4.0 * A**2 * x**2) + 0.5 * MASS * OMEGA**2 * x**2
    return x, log_weights, energy


def packet(shift: float = 0.0, scale: complex = 1.0) -> Equations:
    x, log_weights, energy = samples()
    o = x[:, None] ** 2 if scale == 1.0 else scale * x[:, None] ** 2
    return averages(log_weights + shift, o, energy)


@pytest.mark.parametrize("shift", [0.0, -3000.0, 700.0])
def test_a_state_that_the_ansatz_can_follow_moves_exactly_whatever_the_samples(shift: float) -> None:
    solution = packet(shift).solve(HBAR, PLAIN)
    assert abs(solution.rate[0] - EXACT) < 1e-12 * abs(EXACT)
    assert solution.residual < 1e-6  # the root of a rounding error


def test_parameters_that_act_through_a_complex_factor() -> None:
    # a = (2 - 3i) b
    solution = packet(scale=2.0 - 3.0j).solve(HBAR, PLAIN)
    assert abs(solution.rate[0] * (2.0 - 3.0j) - EXACT) < 1e-12 * abs(EXACT)


def test_the_residual_is_what_the_ansatz_cannot_follow() -> None:
    x, log_weights, energy = samples(4000)
    # nothing moves along sin(x): the whole fluctuation is left but for its overlap with it
    found = averages(log_weights, np.sin(x)[:, None], energy)
    solution = found.solve(HBAR, PLAIN)
    left = found.fluctuation - 1j * HBAR * found.centred @ solution.rate
    expected = np.sqrt(found.weights @ np.abs(left) ** 2 / (found.weights @ np.abs(found.fluctuation) ** 2))
    assert solution.residual == pytest.approx(expected, rel=1e-9)
    assert solution.residual > 0.9


def test_equal_parameters_share_the_motion() -> None:
    x, log_weights, energy = samples()
    twice = np.stack((x**2, x**2), axis=1)
    solution = averages(log_weights, twice, energy).solve(HBAR, Regularisation(cutoff=1e-5))
    np.testing.assert_allclose(solution.rate, [EXACT / 2, EXACT / 2], rtol=1e-9)
    assert solution.spectrum == pytest.approx([0.0, 2.0], abs=1e-12)


def test_a_function_that_does_not_vary_gets_no_motion() -> None:
    x, log_weights, energy = samples()
    o = np.stack((x**2, np.full_like(x, 4.0)), axis=1)
    solution = averages(log_weights, o, energy).solve(HBAR, Regularisation(cutoff=1e-5))
    assert abs(solution.rate[0] - EXACT) < 1e-9
    assert solution.rate[1] == 0.0


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Regularisation(cutoff=1e-3), 0.0),
        (Regularisation(cutoff=0.0, shift=1e-4), 1e-5 / (1e-4 + 1e-5)),
        (Regularisation(cutoff=1e-6), 1.0),
    ],
)
def test_small_eigenvalues_are_damped(rule: Regularisation, kept: float) -> None:
    # eigenvalues 2 and 1e-5 of the scaled tensor, force along the small one
    overlap = 1.0 - 1e-5
    s = np.array([[1.0, overlap], [overlap, 1.0]])
    force = np.array([1.0, -1.0]) * (1.0 + 0j)
    nobody = np.zeros(0)
    found = Equations(s, force, 0j, 1.0, 1.0, nobody, np.zeros((0, 2)), np.zeros(0, dtype=complex))
    motion = 1j * HBAR * found.solve(HBAR, rule).rate
    np.testing.assert_allclose(motion, kept * np.array([1.0, -1.0]) / 1e-5, rtol=1e-3, atol=1e-6 / 1e-5)


def test_the_scale_of_a_parameter_does_not_matter() -> None:
    x, log_weights, energy = samples()
    o = np.stack((x**2, x**4), axis=1)
    rule = Regularisation(cutoff=1e-2)
    plain = averages(log_weights, o, energy).solve(HBAR, rule)
    scaled = averages(log_weights, o * [1e6, 1e-6], energy).solve(HBAR, rule)
    np.testing.assert_allclose(scaled.rate * [1e6, 1e-6], plain.rate, rtol=1e-8)


def test_noise_is_told_from_force() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20_000)
    noise = rng.standard_normal(20_000)  # a function that has nothing to do with the energy
    energy = x**2 + 0.5 * rng.standard_normal(20_000) + 0j
    # the eigenvectors are the sum of the two and their difference
    o = np.stack((x**2 + 0.2 * noise, x**2 - 0.2 * noise), axis=1)
    found = averages(np.zeros(20_000), o, energy)
    solution = found.solve(HBAR, PLAIN, with_snr=True)
    assert solution.snr[1] > 20.0
    assert solution.snr[0] < 5.0
    damped = found.solve(HBAR, Regularisation(cutoff=0.0, snr=10.0)).rate
    assert abs(damped[0] - damped[1]) < 0.05 * abs(solution.rate[0] - solution.rate[1])
    assert abs(damped.sum() - solution.rate.sum()) < 1e-2 * abs(solution.rate.sum())


def test_distance_is_the_angle_between_states() -> None:
    # <x^4> - <x^2>^2 = 2 s^2 of |psi|^2; the overlap of exp(a x^2) and exp(b x^2) is known
    x = np.sqrt(-1.0 / (4.0 * A.real)) * np.random.default_rng(1).standard_normal(400_000)
    found = averages(np.zeros(len(x)), x[:, None] ** 2, np.zeros(len(x), dtype=complex))
    change = 0.02 - 0.01j
    b = A + change
    overlap = np.sqrt(4.0 * A.real * b.real) / abs(A + np.conj(b))
    assert found.distance(np.array([change])) == pytest.approx(np.arccos(np.sqrt(overlap)), rel=0.02)


def test_what_is_not_finite_is_no_error_of_linear_algebra() -> None:
    x, log_weights, energy = samples()
    energy[3] = np.nan
    solution = averages(log_weights, x[:, None] ** 2, energy).solve(HBAR, PLAIN, with_snr=True)
    assert np.isnan(solution.rate).all()
    assert np.isnan(solution.residual)
    assert np.isnan(solution.snr).all()


def test_effective_fraction() -> None:
    weights = np.array([1.0, 1.0, 2.0, 0.0])
    with np.errstate(divide="ignore"):
        found = averages(np.log(weights), np.ones((4, 1)), np.zeros(4, dtype=complex))
    assert found.effective == pytest.approx(16.0 / (4.0 * 6.0))


@pytest.mark.parametrize("scale", [1.0, 1.0 - 2.0j])
def test_two_ranks_find_what_one_does(scale: complex) -> None:
    x, log_weights, energy = samples()
    o = np.stack((x**2, np.cos(x)), axis=1) * scale
    o = o.real if scale == 1.0 else o
    rule = Regularisation(cutoff=1e-5, snr=0.5)
    together = averages(log_weights, o, energy).solve(HBAR, rule)

    # both ranks in turn, collective by collective: what the other one gives is found by running it first
    parts = (slice(0, 150), slice(150, 400))
    heard: list[list[np.ndarray]] = [[], []]
    while True:
        done = []
        for rank, part in enumerate(parts):
            said: list[np.ndarray] = []
            other = heard[1 - rank]

            def meet(values: np.ndarray, how: np.ufunc, said=said, other=other) -> np.ndarray:
                said.append(values.copy())
                if len(said) > len(other):
                    raise StopIteration
                return np.asarray(how(values, other[len(said) - 1]))

            over = Averages(lambda v, m=meet: m(v, np.add), lambda v, m=meet: m(v, np.maximum))
            try:
                found = averages(log_weights[part], o[part], energy[part], over).solve(HBAR, rule, over)
                done.append(found)
            except StopIteration:
                pass
            heard[rank] = said
        if len(done) == 2:
            break
    for found in done:
        np.testing.assert_allclose(found.rate, together.rate, rtol=1e-9)
        np.testing.assert_allclose(found.snr, together.snr, rtol=1e-6)
        assert found.residual == pytest.approx(together.residual, rel=1e-9)
