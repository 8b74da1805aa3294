"""The compiled sweeps against dense matrices, on every number of axes, and what they keep."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest

from baselines.grids import tridiagonal
from baselines.grids.factors import COMPACT, POLES, factor
from baselines.grids.lanes import compiled
from baselines.grids.layout import Layout


def second_difference(points: int) -> np.ndarray:
    return np.diag(np.full(points, -2.0)) + np.eye(points, k=1) + np.eye(points, k=-1)


def kinetic(points: int, length: float, compact: float) -> np.ndarray:
    """Y = -lambda A^{-1} d2."""
    d2 = second_difference(points)
    return -length * np.linalg.solve(np.eye(points) + compact * d2, d2)


def exact_drift(points: int, length: float, compact: float, order: int) -> np.ndarray:
    """The diagonal Pade approximation of exp(-iY), by eigenvectors."""
    values, vectors = np.linalg.eigh(kinetic(points, length, compact))
    z = -1j * values
    above, below = 1.0 + z / 2.0, 1.0 - z / 2.0
    if order == 4:
        above, below = above + z**2 / 12.0, below + z**2 / 12.0
    return (vectors * (above / below)) @ vectors.T


def random_wave(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("space_order", [2, 4])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize(("axes", "points"), [(1, 5), (1, 41), (2, 7), (2, 33), (3, 18), (4, 9)])
@pytest.mark.parametrize("threaded", [False, True])
def test_a_drift_is_the_pade_form_along_every_axis(
    axes: int, points: int, order: int, space_order: int, threaded: bool
) -> None:
    lengths = [0.3, -0.7, 1.9, 0.01][:axes]
    compact, layout = COMPACT[space_order], Layout(axes, points)
    psi, phase = random_wave(*(points,) * axes), np.exp(1j * random_wave(*(points,) * axes).real)
    tables, alpha, expected = [], 1.0 + 0.0j, psi
    for axis, length in enumerate(lengths):
        made = [factor(points, length, pole, compact) for pole in POLES[order]]
        tables.append(np.stack([table for table, _ in made]))
        alpha *= np.prod([number for _, number in made])
        along = np.tensordot(exact_drift(points, length, compact, order), expected, (1, axis))
        expected = np.moveaxis(along, 0, axis)
    flat, turned = layout.packed(psi), layout.packed(phase)
    work = np.zeros((2 if threaded else 1, tridiagonal.buffer_size(points)))
    drift = tridiagonal.drift_threaded if threaded else tridiagonal.drift
    drift(flat, layout.strides, layout.plan, np.stack(tables), turned, True, work, 1)
    np.testing.assert_allclose(alpha * layout.view(flat), phase * expected, atol=1e-12)
    # what lies between the lines stays zero, so that it can be swept along
    padding = flat.copy()
    layout.view(padding)[...] = 0.0
    assert not padding.any()


def test_the_kinetic_energy_is_zero_at_rest_and_hermitian() -> None:
    table, alpha = factor(12, 0.0, 2.0j, COMPACT[4])
    assert alpha == 1.0
    assert not table.any()
    matrix = kinetic(12, 1.0, COMPACT[4])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)


@pytest.mark.parametrize("length", [1e-8, 1e-2, 1.0, 99.0, 1e3, 1e8])
@pytest.mark.parametrize("space_order", [2, 4])
@pytest.mark.parametrize("order", [2, 4])
def test_the_norm_is_kept_whatever_the_step(length: float, order: int, space_order: int) -> None:
    points, layout = 63, Layout(1, 63)
    made = [factor(points, length, pole, COMPACT[space_order]) for pole in POLES[order]]
    flat = layout.packed(random_wave(points))
    before = np.linalg.norm(flat)
    work = np.zeros((1, tridiagonal.buffer_size(points)))
    tables = np.stack([table for table, _ in made])[None]
    tridiagonal.drift(flat, layout.strides, layout.plan, tables, flat, False, work, 500)
    assert np.linalg.norm(flat) == pytest.approx(before, rel=1e-12)
    assert not flat[points:].any()


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
@pytest.mark.parametrize("points", [8, 16, 31, 64])
def test_the_layout_keeps_columns_apart(axes: int, points: int) -> None:
    layout = Layout(axes, points)
    strides = layout.strides.tolist()
    assert all(stride % tridiagonal.GROUP == 0 for stride in strides)
    for outer, inner in itertools.pairwise([layout.size, *strides, 1]):
        assert outer >= (points if axes > 1 or inner == 1 else 1) * inner
    flat = layout.empty(np.complex128)
    assert flat.ctypes.data % 64 == 0
    assert flat.size == layout.size


def test_multiplication_by_a_phase() -> None:
    layout = Layout(2, 20)
    psi, phase = random_wave(20, 20), random_wave(20, 20)
    flat = layout.packed(psi)
    tridiagonal.multiply(flat, layout.packed(phase), 1)
    np.testing.assert_allclose(layout.view(flat), psi * phase, atol=1e-14)


def test_kernels_are_compiled_where_nothing_can_be_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_disk(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_disk)

    def twice(x: float) -> float:
        return 2.0 * x

    assert compiled(twice)(1.5) == 3.0
