"""The parts of the Fock solver against explicit sums, integrals and small cases."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from fock_problems import GAUSSIAN, HARMONIC, PACKET, bosons
from scipy.linalg import expm
from scipy.special import eval_hermite

from baselines.fock_space.one_body_operator import OneBodyOperator
from baselines.fock_space.orbital_state import product_state
from baselines.fock_space.oscillators import (
    Quadrature,
    dilation,
    ladder,
    momentum_squared,
    oscillator_functions,
    pair_rotation,
    position_squared,
)
from baselines.fock_space.pair_operator import PairOperator
from baselines.fock_space.problem import make_problem
from baselines.fock_space.propagation import exponential, magnus_step
from baselines.fock_space.reduced import ReducedStates
from baselines.fock_space.relative_model import RelativeModel
from baselines.fock_space.removal import Wave, number_of_entries, removal
from baselines.fock_space.run import Run
from baselines.fock_space.single_shots import SingleShots
from baselines.fock_space.states import BosonStates, boson_states, number_of_states, place

SPACES = [(1, 7), (2, 9), (3, 8), (4, 7)]


def random_state(states: BosonStates, seed: int = 0) -> Wave:
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal(states.size) + 1j * rng.standard_normal(states.size)
    return np.asarray(psi / np.linalg.norm(psi))


def brute_states(particles: int, cutoff: int, step: int) -> set[tuple[int, ...]]:
    """Descending orbitals of all states, by trying all."""
    every = itertools.combinations_with_replacement(range(cutoff, -1, -1), particles)
    return {state for state in every if sum(state) <= cutoff and sum(state) % step == 0}


def annihilate(psi: dict[tuple[int, ...], complex], p: int) -> dict[tuple[int, ...], complex]:
    """a_p on a state given by its amplitudes."""
    out: dict[tuple[int, ...], complex] = {}
    for state, amplitude in psi.items():
        count = state.count(p)
        if count:
            left = list(state)
            left.remove(p)
            out[tuple(left)] = out.get(tuple(left), 0.0) + math.sqrt(count) * amplitude
    return out


def as_dictionary(states: BosonStates, psi: Wave) -> dict[tuple[int, ...], complex]:
    rows = states.orbitals.tolist()
    return {tuple(row): complex(value) for row, value in zip(rows, psi, strict=True)}


def overlap(bra: dict[tuple[int, ...], complex], ket: dict[tuple[int, ...], complex]) -> complex:
    return sum((np.conj(value) * ket.get(state, 0.0) for state, value in bra.items()), 0.0 + 0.0j)


@pytest.mark.parametrize("even_only", [True, False])
@pytest.mark.parametrize(("particles", "cutoff"), SPACES)
def test_states_are_all_partitions_in_their_places(particles: int, cutoff: int, even_only: bool) -> None:
    states = boson_states(particles, cutoff, even_only=even_only)
    rows = [tuple(row) for row in states.orbitals.tolist()]
    assert len(rows) == states.size == number_of_states(particles, cutoff, even_only=even_only)
    assert set(rows) == brute_states(particles, cutoff, 2 if even_only else 1)
    np.testing.assert_array_equal(states.energies, states.orbitals.sum(axis=1))
    for index, row in enumerate(states.orbitals.astype(np.int64)):
        assert place(states.counts, states.offsets, row, int(row.sum())) == index


def test_no_boson_has_one_state() -> None:
    nobody = boson_states(0, 5, even_only=False)
    assert nobody.size == 1
    assert nobody.orbitals.shape == (1, 0)


def test_oscillator_functions_are_hermite_functions() -> None:
    y = np.linspace(-9.0, 9.0, 61)
    phi = oscillator_functions(y, 41)
    for n in range(41):
        norm = math.sqrt(2.0**n * math.factorial(n) * math.sqrt(math.pi))
        np.testing.assert_allclose(phi[n], eval_hermite(n, y) * np.exp(-0.5 * y**2) / norm, atol=1e-11)


def test_oscillator_functions_are_orthonormal_up_to_high_quanta() -> None:
    quadrature = Quadrature(np.arange(201))
    np.testing.assert_allclose(quadrature.matrix(np.ones_like(quadrature.y)), np.eye(201), atol=1e-11)
    # where exp(-y^2/2) is no number any more, phi_n still is
    far = oscillator_functions(np.array([40.0]), 1001)[:, 0]
    assert np.isfinite(far).all()
    assert abs(far[1000]) > 1e-2


def test_matrices_of_position_and_momentum() -> None:
    of, quadrature = ladder(12), Quadrature(np.arange(13))
    y = quadrature.y
    np.testing.assert_allclose(of.position, quadrature.matrix(y), atol=1e-12)
    np.testing.assert_allclose(of.position_squared, quadrature.matrix(y**2), atol=1e-12)
    for matrix in (of.momentum, of.dilation):
        np.testing.assert_allclose(matrix, matrix.conj().T)
    # [y, q] = i but for the last, cut, elements
    commutator = of.position @ of.momentum - of.momentum @ of.position
    np.testing.assert_allclose(commutator[:-1, :-1], 1j * np.eye(12), atol=1e-12)
    even = np.arange(0, 13, 2)
    for whole, part in (
        (of.position_squared, position_squared(even)),
        (of.momentum_squared, momentum_squared(even)),
        (of.dilation, dilation(even)),
    ):
        np.testing.assert_allclose(whole[::2, ::2], part, atol=1e-12)


@pytest.mark.parametrize("energy", [0, 1, 2, 3, 7, 20, 60])
def test_pair_rotation_is_orthogonal(energy: int) -> None:
    rotation = pair_rotation(energy)
    assert rotation.shape == (energy // 2 + 1,) * 2
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(len(rotation)), atol=1e-12)


def test_pair_rotation_of_two_quanta() -> None:
    """(A + B)^2/2 and (A - B)^2/2 on the vacuum, A and B creating one quantum of each boson."""
    half = math.sqrt(0.5)
    np.testing.assert_allclose(pair_rotation(2), [[half, half], [half, -half]], atol=1e-14)


@pytest.mark.parametrize("energy", [1, 3, 4, 5])
def test_pair_rotation_is_a_rotation_of_coordinates(energy: int) -> None:
    y = np.linspace(-9.0, 9.0, 181)
    one, two = y[:, None], y[None, :]
    size, cell = energy + 1, (y[1] - y[0]) ** 2
    phi_one, phi_two = (oscillator_functions(v * np.ones((181, 181)), size) for v in (one, two))
    root = math.sqrt(2.0)
    phi_center, phi_difference = (
        oscillator_functions(v, size) for v in ((one + two) / root, (one - two) / root)
    )
    for q in range(energy // 2 + 1):
        pair = phi_one[energy - q] * phi_two[q] + phi_one[q] * phi_two[energy - q]
        pair = pair / (2.0 if 2 * q == energy else root)
        for column, k in enumerate(range(0, energy + 1, 2)):
            found = float((pair * phi_center[energy - k] * phi_difference[k]).sum() * cell)
            assert found == pytest.approx(pair_rotation(energy)[q, column], abs=1e-10)


@pytest.mark.parametrize("even_only", [True, False])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("particles", "cutoff"), [(2, 6), (3, 5), (4, 6)])
def test_columns_are_states_with_bosons_taken_out(
    particles: int, cutoff: int, count: int, even_only: bool
) -> None:
    states = boson_states(particles, cutoff, even_only=even_only)
    map_ = removal(states, count)
    assert map_.index.size == number_of_entries(particles, cutoff, count, even_only=even_only)
    psi = random_state(states)
    columns = map_.columns(psi)
    given = as_dictionary(states, psi)
    seen = 0
    for energy in range(cutoff + 1):
        matrix = map_.matrix(columns, energy)
        others = map_.rest.orbitals[map_.rest.offsets[energy] : map_.rest.offsets[energy + 1]].tolist()
        for row, label in enumerate(map_.labels[map_.labels_of(energy)].tolist()):
            expected = given
            for p in label:
                expected = annihilate(expected, p)
            scale = math.sqrt(2.0) if count == 2 and label[0] == label[1] else 1.0
            for column, other in enumerate(others):
                assert matrix[row, column] == pytest.approx(
                    expected.get(tuple(other), 0.0) / scale, abs=1e-13
                )
                seen += 1
    assert seen == map_.index.size
    # bosons that are counted twice over: the norm of the columns
    assert np.linalg.norm(columns) ** 2 == pytest.approx(math.comb(particles, count))


@pytest.mark.parametrize("even_only", [True, False])
@pytest.mark.parametrize(("particles", "cutoff"), SPACES)
def test_one_body_operators_and_density_matrix(particles: int, cutoff: int, even_only: bool) -> None:
    states = boson_states(particles, cutoff, even_only=even_only)
    operator = OneBodyOperator(removal(states, 1))
    rng = np.random.default_rng(1)
    h = rng.standard_normal((cutoff + 1,) * 2) + 1j * rng.standard_normal((cutoff + 1,) * 2)
    h = h + h.conj().T
    if even_only:
        h[np.add.outer(np.arange(cutoff + 1), np.arange(cutoff + 1)) % 2 == 1] = 0.0
    psi = random_state(states)
    given = as_dictionary(states, psi)
    lowered = [annihilate(given, p) for p in range(cutoff + 1)]
    gamma = np.array([[overlap(b, a) for b in lowered] for a in lowered]) / particles
    np.testing.assert_allclose(operator.density_matrix(psi), gamma, atol=1e-12)
    assert np.trace(gamma).real == pytest.approx(1.0)
    for matrix in (h, h.real):
        found = operator.apply(matrix, psi)
        brute = np.zeros_like(psi)
        for index, row in enumerate(states.orbitals.tolist()):
            bra = {tuple(row): 1.0 + 0.0j}
            parts = [annihilate(bra, p) for p in range(cutoff + 1)]
            brute[index] = sum(
                matrix[p, q] * overlap(parts[p], lowered[q])
                for p in range(cutoff + 1)
                for q in range(cutoff + 1)
                if matrix[p, q] != 0.0
            )
        np.testing.assert_allclose(found, brute, atol=1e-12)


def pair_integrals(size: int, width: float) -> np.ndarray:
    """<p q| exp(-r^2/(2 width)) |p' q'> with r = (y1 - y2)/sqrt(2), by sums over points."""
    quadrature = Quadrature(np.arange(size), 161)
    y = quadrature.y
    w = np.exp(-((y[:, None] - y) ** 2) / (4.0 * width))
    products = np.einsum("py,ry->pry", quadrature.functions, quadrature.functions) * (y[1] - y[0])
    return np.einsum("pry,yz,qsz->pqrs", products, w, products, optimize=True)


@pytest.mark.parametrize("even_only", [True, False])
@pytest.mark.parametrize(("particles", "cutoff"), [(2, 6), (3, 6)])
def test_pair_operator_is_the_sum_over_pairs(particles: int, cutoff: int, even_only: bool) -> None:
    states = boson_states(particles, cutoff, even_only=even_only)
    operator = PairOperator(removal(states, 2))
    quadrature = Quadrature(np.arange(0, cutoff + 1, 2))
    h = quadrature.matrix(np.exp(-(quadrature.y**2) / (2.0 * 0.4)))
    integrals = pair_integrals(cutoff + 1, 0.4)
    psi = random_state(states)
    given = as_dictionary(states, psi)
    orbitals = range(cutoff + 1)
    lowered = {(p, q): annihilate(annihilate(given, p), q) for p in orbitals for q in orbitals}
    brute = np.zeros_like(psi)
    for index, row in enumerate(states.orbitals.tolist()):
        bra = {tuple(row): 1.0 + 0.0j}
        for p, q in itertools.product(set(row), repeat=2):
            left = annihilate(annihilate(bra, p), q)
            brute[index] += 0.5 * sum(
                integrals[p, q, r, s] * overlap(left, ket) for (r, s), ket in lowered.items()
            )
    np.testing.assert_allclose(operator.apply(h, psi), brute, atol=1e-10)


@pytest.mark.parametrize("even_only", [True, False])
def test_relative_density_gives_expectation_values(even_only: bool) -> None:
    states = boson_states(4, 9, even_only=even_only)
    operator = PairOperator(removal(states, 2))
    rng = np.random.default_rng(2)
    h = rng.standard_normal((operator.size,) * 2) + 1j * rng.standard_normal((operator.size,) * 2)
    h = h + h.conj().T
    psi, other = random_state(states), random_state(states, 1)
    expected = np.vdot(psi, operator.apply(h, psi))
    assert np.einsum("kl,lk->", h, operator.relative_density(psi)) == pytest.approx(expected)
    # Hermitian, and linear in h
    assert np.vdot(other, operator.apply(h, psi)) == pytest.approx(np.vdot(operator.apply(h, other), psi))
    np.testing.assert_allclose(
        operator.apply(h, psi), operator.apply(h.real, psi) + 1j * operator.apply(h.imag, psi), atol=1e-12
    )
    assert np.trace(operator.relative_density(psi)).real == pytest.approx(6.0)


def test_product_states() -> None:
    states = boson_states(3, 6, even_only=False)
    c = np.zeros(7, dtype=np.complex128)
    c[:3] = [0.8, 0.36 + 0.3j, -0.2j]
    c /= np.linalg.norm(c)
    psi = product_state(states, c)
    assert np.linalg.norm(psi) == pytest.approx(1.0)
    row = states.orbitals.tolist().index([2, 0, 0])
    assert psi[row] == pytest.approx(math.sqrt(3.0) * c[2] * c[0] ** 2)
    gamma = OneBodyOperator(removal(states, 1)).density_matrix(psi)
    np.testing.assert_allclose(gamma, np.outer(c, c.conj()), atol=1e-12)


def test_slopes_of_configurations() -> None:
    """Of a product state every boson has the slope of its own function."""
    states = boson_states(3, 6, even_only=False)
    c = np.zeros(7, dtype=np.complex128)
    c[:3] = [0.8, 0.36 + 0.3j, -0.2j]
    y, slopes = SingleShots(removal(states, 1)).draw(product_state(states, c), np.random.default_rng(0))
    step = 1e-5
    value, up, down = (c @ oscillator_functions(y + d, 7).transpose(1, 0, 2) for d in (0.0, step, -step))
    np.testing.assert_allclose(slopes, (up - down) / (2.0 * step) / value, atol=1e-6)


def evolved(particles: int, cutoff: int) -> tuple[RelativeModel, Wave]:
    """A relative model, and its state after some time."""
    config = bosons(particles, HARMONIC, PACKET, interaction=GAUSSIAN, end=0.6, save=2)
    run = Run(make_problem(config, None, 1e-4), cutoff, 0.1, everything=True)
    assert isinstance(run.model, RelativeModel)
    return run.model, run.states[1]


@pytest.mark.parametrize("particles", [3, 4])
def test_density_matrix_without_the_center_of_mass(particles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, psi = evolved(particles, 14)
    reduced = ReducedStates(removal(model.states, 1))
    names, short = reduced.density_matrix(psi)
    assert reduced._from_orbitals(psi) is not None
    monkeypatch.setattr(reduced, "_from_orbitals", lambda psi: None)
    _, projected = reduced.density_matrix(psi)
    np.testing.assert_allclose(short, projected, atol=1e-9)
    np.testing.assert_array_equal(names[:, 0], np.arange(15))
    for matrix in (short, projected):
        np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-12)
        assert np.trace(matrix).real == pytest.approx(1.0, abs=1e-9)
        assert np.linalg.eigvalsh(matrix).min() > -1e-9


@pytest.mark.parametrize("particles", [2, 3, 4])
def test_density_matrix_of_pairs(particles: int) -> None:
    model, psi = evolved(particles, 12)
    pairs = PairOperator(removal(model.states, 2))
    names, matrix = ReducedStates(pairs.removal, pairs).density_matrix(psi)
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-12)
    assert np.trace(matrix).real == pytest.approx(1.0, abs=1e-9)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    # of the difference alone: what the interaction sees
    relative = np.zeros((pairs.size,) * 2, dtype=np.complex128)
    for (a, row), (b, column) in itertools.product(enumerate(names.tolist()), repeat=2):
        if row[0] == column[0]:
            relative[row[1] // 2, column[1] // 2] += matrix[a, b]
    expected = pairs.relative_density(psi) / math.comb(particles, 2)
    np.testing.assert_allclose(relative, expected, atol=1e-9)


def test_the_center_of_mass_stays_in_the_vacuum() -> None:
    """b = N^(-1/2) sum sqrt(p + 1) a_p^+ a_{p+1} takes a quantum out of it: there is none."""
    model, psi = evolved(3, 12)
    lowered: Counter[tuple[int, ...]] = Counter()
    for state, amplitude in as_dictionary(model.states, psi).items():
        for p in set(state) - {0}:
            below = list(state)
            below.remove(p)
            factor = math.sqrt(p * state.count(p) * (below.count(p - 1) + 1) / 3.0)
            lowered[tuple(sorted([*below, p - 1], reverse=True))] += factor * amplitude  # type: ignore[assignment]
    assert max(abs(value) for value in lowered.values()) < 1e-10


@pytest.mark.parametrize("time", [0.3, 40.0])
def test_exponentials_in_krylov_spaces(time: float) -> None:
    rng = np.random.default_rng(3)
    h = rng.standard_normal((90, 90)) + 1j * rng.standard_normal((90, 90))
    h = 0.1 * (h + h.conj().T)
    psi = rng.standard_normal(90) + 1j * rng.standard_normal(90)
    found = exponential(lambda v: np.asarray(h @ v), psi, time, 1e-10)
    np.testing.assert_allclose(found, expm(-1j * time * h) @ psi, atol=1e-7)
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(psi), rel=1e-9)


def test_a_magnus_step_of_a_constant_hamiltonian_is_exact() -> None:
    h = np.array([[1.0, 0.3j], [-0.3j, -0.4]])
    psi = np.array([0.6, 0.8j])
    found = magnus_step(psi, 0.2, 1.7, 0.5, lambda t: (h,), lambda m: lambda v: m[0] @ v, 1e-13)
    np.testing.assert_allclose(found, expm(-1j * 1.7 / 0.5 * h) @ psi, atol=1e-12)
