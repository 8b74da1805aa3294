"""Folded Crank-Nicolson runs: they agree with whole ones, and happen only where there is the symmetry."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from baselines.crank_nicolson import evolve, predict
from baselines.grids import tridiagonal
from baselines.grids.adi import BLANES_MOAN_PADE, STRANG, STRANG_PADE, Scheme, State
from baselines.grids.factors import COMPACT, POLES, factor
from baselines.grids.fold import centered, is_even
from baselines.grids.layout import Layout
from baselines.grids.product import dirichlet_grid
from dsmsim.config import Config, parse_config
from dsmsim.system import build_initial, build_system, center_of_mass

BREATHING = {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 1.4, "start": 0.04}}}
MOVING = {"kind": "harmonic", "omega": 1.0, "quench": {"center": {"to": 0.3, "start": 0.04}}}
TILTED = {"kind": "expression", "expression": "0.5*x**2 + 0.1*x"}
GAUSSIAN = {"kind": "gaussian", "g": 1.0, "s2": 0.1}
# particles and dimensions of two, three and four coordinates
SIZES = {2: (2, 1), 3: (3, 1), 4: (2, 2)}


def make_config(particles: int = 2, dimensions: int = 1, **tables: Any) -> Config:
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": GAUSSIAN,
        **tables.pop("system", {}),
    }
    tables = {"initial": {"kind": "trap_ground_state"}, "time": {"end": 0.1, "save": 3}} | tables
    return parse_config({"system": system, **tables})


def make_state(config: Config, points: int, scheme: Scheme, *, fold: bool, middle: float = 0.0) -> State:
    system = build_system(config)
    box = ((middle - 3.0, middle + 3.0),) * system.dimensions
    grid = dirichlet_grid(box, points, system.particles)
    state = State(system, build_initial(config), grid, 4, scheme, fold=fold)
    for start, stop in itertools.pairwise((0.0, *system.breakpoints, config.time.end)):
        state.advance(start, stop, 3)
    return state


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("length", [0.7, 300.0])
@pytest.mark.parametrize(
    ("axes", "points"),
    [(2, 6), (2, 20), (2, 30), (2, 32), (2, 34), (2, 50), (2, 100), (3, 18), (3, 20), (4, 10)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_folded_sweeps_are_the_whole_ones(
    axes: int, points: int, length: float, order: int, threads: int
) -> None:
    layouts = Layout(axes, points), Layout(axes, points, folded=True)
    psi, phase = even_wave(axes, points, 1), np.exp(1j * even_wave(axes, points, 2).real)
    tables = np.stack(
        [
            np.stack([factor(points, length * (axis + 1), pole, COMPACT[4])[0] for pole in POLES[order]])
            for axis in range(axes)
        ]
    )
    drift = tridiagonal.drift_threaded if threads > 1 else tridiagonal.drift
    found = []
    for layout in layouts:
        flat, turned = layout.packed(psi), layout.packed(phase)
        work = np.zeros((threads, tridiagonal.buffer_size(points)))
        for kicked in (True, False):
            drift(flat, layout.strides, layout.plan, tables, turned, kicked, work, 2)
        out = np.empty_like(psi)
        layout.expand(flat, out)
        found.append(out)
        # what lies between the lines stays zero, so that it can be swept along
        layout.view(flat)[...] = 0.0
        assert not flat.any()
    np.testing.assert_allclose(found[1], found[0], atol=1e-13)


def even_wave(axes: int, points: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (points,) * axes
    wave = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return wave + np.flip(wave)


@pytest.mark.parametrize(("axes", "points"), [(2, 6), (2, 16), (2, 30), (2, 50), (3, 8), (3, 22), (4, 6)])
def test_a_folded_layout_is_its_own_mirror_image(axes: int, points: int) -> None:
    layout, wave = Layout(axes, points, folded=True), even_wave(axes, points, 3)
    _, rows, first, middle = layout.plan.tolist()
    assert rows == points // 2
    assert middle % tridiagonal.GROUP == 0
    flat = layout.packed(wave)
    assert flat[first] == wave.flat[0]
    slabs = flat[: rows * layout.strides[0]].reshape(rows, -1)
    # the padding of a slab is symmetric, too
    np.testing.assert_array_equal(slabs[:, : 2 * middle] != 0.0, slabs[:, : 2 * middle][:, ::-1] != 0.0)
    assert not slabs[:, 2 * middle :].any()
    for first_kept, every in ((0, 1), (1, 3), (0, 2), (points // 2, points)):
        kept = (slice(first_kept, None, every),) * axes
        out = np.empty_like(wave[kept])
        layout.expand(flat, out, first_kept, every)
        np.testing.assert_array_equal(out, wave[kept])


@pytest.mark.parametrize("scheme", [STRANG, STRANG_PADE, BLANES_MOAN_PADE], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("trap", [None, BREATHING], ids=["static", "breathing"])
@pytest.mark.parametrize(("axes", "points"), [(2, 20), (2, 34), (2, 50), (2, 100), (3, 22), (4, 10)])
def test_folded_runs_are_the_whole_ones(
    axes: int, points: int, trap: dict[str, Any] | None, scheme: Scheme
) -> None:
    particles, dimensions = SIZES[axes]
    config = make_config(particles, dimensions, system={"trap": trap} if trap else {})
    folded, whole = (make_state(config, points, scheme, fold=fold) for fold in (True, False))
    assert folded.folded
    assert not whole.folded
    wave, cell = folded.wave(), folded.grid.cell
    np.testing.assert_allclose(wave, whole.wave(), atol=1e-12 * np.abs(wave).max())
    assert np.vdot(wave, wave).real * cell == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(folded.wave(3), whole.wave(3), atol=1e-12 * np.abs(wave).max())
    for one, other in zip(folded.marginals(), whole.marginals(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(
    ("tables", "points", "middle"),
    [
        ({"initial": {"kind": "gaussian", "mean": 0.2, "variance": 0.05}}, 40, 0.0),
        ({"initial": {"kind": "gaussian", "variance": 0.05, "phase": 0.5}}, 40, 0.0),
        ({"initial": {"kind": "gaussian", "mean": 0.2, "variance": 0.05}}, 40, 0.2),
        ({"system": {"trap": TILTED}, "initial": {"kind": "gaussian", "variance": 0.05}}, 40, 0.0),
        ({"system": {"trap": MOVING}}, 40, 0.0),
        ({}, 41, 0.0),
        ({}, 40, 0.01),
    ],
    ids=["displaced", "moving", "off the trap", "tilted", "moving trap", "odd", "box"],
)
def test_what_is_not_even_is_not_folded(tables: dict[str, Any], points: int, middle: float) -> None:
    config = make_config(**tables)
    state, whole = (
        make_state(config, points, BLANES_MOAN_PADE, fold=fold, middle=middle) for fold in (True, False)
    )
    assert not state.folded
    # a potential unfolds what was folded until then
    np.testing.assert_allclose(state.wave(), whole.wave(), atol=1e-12 * np.abs(whole.wave()).max())


def test_a_displaced_symmetric_problem_is_folded_around_its_middle() -> None:
    trap = {"kind": "harmonic", "omega": 1.0, "center": 0.7}
    config = make_config(system={"trap": trap}, initial={"kind": "gaussian", "mean": 0.7, "variance": 0.05})
    solution = evolve(config)
    assert solution.how["folded"]
    assert solution.points % 2 == 0
    np.testing.assert_allclose(solution.groups["observables"]["mean"], 0.7, atol=1e-10)


@pytest.mark.parametrize("grid", ["automatic", "given"])
def test_evolutions_are_folded_where_they_can_be(grid: str) -> None:
    config, given = make_config(time={"end": 1.0, "save": 3}), {"points": 120, "extent": 3.5, "dt": 0.01}
    solution = evolve(config, keep_psi=True, **(given if grid == "given" else {}))
    assert solution.how["folded"]
    assert solution.converged
    found, form = solution.groups["observables"], center_of_mass(config)
    assert form is not None
    np.testing.assert_allclose(found["norm"], 1.0, atol=1e-12)
    np.testing.assert_allclose(found["mean"], 0.0, atol=1e-10)
    exact = form.variance(solution.times)
    np.testing.assert_allclose(found["center_of_mass_variance"], exact, rtol=2e-3)
    assert solution.psi is not None
    np.testing.assert_allclose(solution.psi, solution.psi[:, ::-1, ::-1], atol=1e-10)
    assert not evolve(config, points=61, extent=3.5, dt=0.05).how["folded"]


def test_the_prediction_knows() -> None:
    table = {"baselines": {"crank_nicolson": {"grid": 100, "extent": 4.0}}}
    folded, tilted = (
        predict(make_config(3, **table)),
        predict(
            make_config(3, system={"trap": TILTED}, initial={"kind": "gaussian", "variance": 0.05}, **table)
        ),
    )
    assert "half" in folded.points
    assert "half" not in tilted.points
    assert tilted.memory - folded.memory == 36 * 100**3
    assert folded.seconds is not None
    assert tilted.seconds is not None
    odd = predict(make_config(3, baselines={"crank_nicolson": {"grid": 101, "extent": 4.0}}))
    assert odd.memory > 1.3 * folded.memory


def test_even_tables_and_centered_boxes() -> None:
    x = np.linspace(-1.0, 1.0, 9)
    assert is_even(x**2)
    assert not is_even(x**2 + 1e-10 * x)
    assert is_even(np.subtract.outer(x, x) ** 4)
    assert not is_even(np.exp(1e-3j * x))
    assert centered(((-1.0, 2.0), (0.0, 4.0)), np.array([0.0, 3.0])) == ((-2.0, 2.0), (0.0, 6.0))
