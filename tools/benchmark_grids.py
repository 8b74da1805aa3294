"""How fast the Crank-Nicolson kernels are, as ratios measured in one process.

    python tools/benchmark_grids.py [--cases plane cube bandwidth] [--repeats 5] [--threads 1]

    plane       two bosons, 100^2 points, 1000 steps, against the Crank-Nicolson solver of qmsolve 2.0.0
    cube        three bosons, 50^3 points, 1000 steps, against scipy's sparse Crank-Nicolson with gcrotmk
    bandwidth   the share of the memory bandwidth that each kernel reaches on grids that do not fit in cache

Both sides solve the same second-order finite-difference Hamiltonian with the same steps, in turns; the median
and the spread of their times are printed, and how far their densities are apart. The states are even, so that
this project stores and propagates one half of them, as its solver does; times without that are printed, too.
qmsolve is needed for `plane` only:

    pip install --no-deps qmsolve==2.0.0 progressbar2 python-utils          # and matplotlib

Its constants (hbar, hbar^2/2, spacing of the kinetic energy) are set at run time to those of the input.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import scipy.sparse
from scipy.sparse.linalg import gcrotmk

from baselines.grids import tridiagonal
from baselines.grids.adi import STRANG, State
from baselines.grids.factors import COMPACT, POLES, factor
from baselines.grids.layout import Layout
from baselines.grids.product import Array, Grid, dirichlet_grid
from dsmsim.config import Config, parse_config
from dsmsim.system import System, build_initial, build_system

END = 1.0
EXTENT = 4.0
# steps of gcrotmk that are really made; the time is scaled to all
SPARSE_STEPS = 50
# axes and points: 268 MB each, one half where folded, but for padding
LARGE = ((2, 4096), (3, 256), (4, 64))
TRIAD = 1 << 24


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs, by the clock and of the processor."""

    seconds: list[float]
    processor: list[float]

    @property
    def median(self) -> float:
        """By the clock."""
        return statistics.median(self.seconds)

    @property
    def processor_median(self) -> float:
        """Of the processor: other programs on the machine disturb it less."""
        return statistics.median(self.processor)

    def __str__(self) -> str:
        spread = f"({min(self.seconds):.4g} ... {max(self.seconds):.4g})"
        return f"{self.median:.4g} s {spread}, processor {self.processor_median:.4g} s"


def bosons(particles: int) -> Config:
    """Interacting bosons in a harmonic trap, as published."""
    system = {
        "particles": particles,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    return parse_config({"system": system, "time": {"end": END, "save": [0.0, END]}})


def in_turns(repeats: int, *runs: Callable[[], Any]) -> list[Timing]:
    """The times of each run, made in turns; one turn is not counted."""
    timings = [Timing([], []) for _ in runs]
    for turn in range(repeats + 1):
        for timing, run in zip(timings, runs, strict=True):
            started, worked = time.perf_counter(), time.process_time()
            run()
            if turn > 0:
                timing.seconds.append(time.perf_counter() - started)
                timing.processor.append(time.process_time() - worked)
    return timings


def ratio(slow: Timing, fast: Timing, scale: float = 1.0) -> str:
    """How many times faster, by both medians."""
    clock, processor = slow.median / fast.median, slow.processor_median / fast.processor_median
    return f"{scale * clock:.1f} by the clock, {scale * processor:.1f} by processor time"


def ours(
    config: Config, points: int, steps: int, space_order: int, threads: int, *, fold: bool = True
) -> Array:
    """|psi|^2 at the end, by the kernels of this project; folded, as the solver would, or whole."""
    system = build_system(config)
    grid = dirichlet_grid(((-EXTENT, EXTENT),), points, system.particles)
    state = State(system, build_initial(config), grid, space_order, STRANG, threads, fold=fold)
    assert state.folded == fold
    state.advance(0.0, END, steps)
    return np.asarray(np.abs(state.wave()) ** 2 * grid.cell)


def kinetic_matrix(system: System, grid: Grid) -> Any:
    """The second-order kinetic energy on the whole grid, as a sparse matrix."""
    points, h = grid.points, grid.spacing(0)
    difference = scipy.sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(points, points))
    along = -(system.hbar**2) / (2.0 * system.mass * h * h) * difference
    total = along
    for _ in range(grid.coordinates - 1):
        size = total.shape[0]
        total = scipy.sparse.kron(total, scipy.sparse.identity(points)) + scipy.sparse.kron(
            scipy.sparse.identity(size), along
        )
    return total.tocsr()


def sparse_crank_nicolson(config: Config, points: int, steps: int, of: int) -> Array:
    """|psi|^2 after `steps` of `of` Crank-Nicolson steps with the whole H at once, solved by gcrotmk."""
    system = build_system(config)
    grid = dirichlet_grid(((-EXTENT, EXTENT),), points, system.particles)
    psi = grid.initial_wave(build_initial(config)).reshape(-1)
    potential = scipy.sparse.diags(grid.potential(system, 0.0).reshape(-1))
    generator = 0.5j * END / of / system.hbar * (kinetic_matrix(system, grid) + potential)
    one = scipy.sparse.identity(psi.size)
    left, right = (one + generator).tocsr(), (one - generator).tocsr()
    for _ in range(steps):
        psi = gcrotmk(left, right @ psi)[0]
    return np.asarray(np.abs(psi.reshape(grid.shape)) ** 2 * grid.cell)


def qmsolve_run(config: Config, points: int, steps: int) -> Array:
    """|psi|^2 at the end, by qmsolve."""
    import qmsolve
    from qmsolve.particle_system import two_particles
    from qmsolve.time_dependent_solver import crank_nicolson

    system = build_system(config)
    grid = dirichlet_grid(((-EXTENT, EXTENT),), points, 2)
    potential, psi = grid.potential(system, 0.0), grid.initial_wave(build_initial(config))
    crank_nicolson.hbar = system.hbar
    two_particles.k = 0.5 * system.hbar**2
    x = grid.positions(0)
    hamiltonian = qmsolve.Hamiltonian(
        particles=qmsolve.TwoBosons(m=system.mass),
        potential=lambda particle: potential,
        N=points,
        extent=x[-1] - x[0],
        spatial_ndim=1,
    )
    # it takes extent/N for the spacing of points that are extent/(N - 1) apart
    hamiltonian.dx = grid.spacing(0)
    hamiltonian.T = hamiltonian.particle_system.get_kinetic_matrix(hamiltonian)
    simulation = qmsolve.TimeSimulation(hamiltonian=hamiltonian, method="crank-nicolson")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        simulation.run(lambda particle: psi, total_time=END, dt=END / steps, store_steps=1)
    final = vars(simulation)["\u03a8"][-1]
    return np.asarray(np.abs(final) ** 2 * grid.cell)


def plane(repeats: int, threads: int, points: int = 100, steps: int = 1000) -> None:
    """Two bosons against qmsolve."""
    config = bosons(2)
    try:
        import qmsolve  # noqa: F401
    except ImportError as error:
        print(f"plane: skipped, no qmsolve ({error}): pip install --no-deps qmsolve==2.0.0 progressbar2")
        return
    own, its = ours(config, points, steps, 2, threads), qmsolve_run(config, points, steps)
    fast, whole, compact, slow = in_turns(
        repeats,
        lambda: ours(config, points, steps, 2, threads),
        lambda: ours(config, points, steps, 2, threads, fold=False),
        lambda: ours(config, points, steps, 4, threads),
        lambda: qmsolve_run(config, points, steps),
    )
    print(f"plane: {points}^2 points, {steps} steps, {repeats} turns")
    print(f"  this project, second order   {fast}")
    print(f"  the same, not folded         {whole}")
    print(f"  this project, compact        {compact}")
    print(f"  qmsolve 2.0.0                {slow}")
    print(f"  ratio                        {ratio(slow, fast)}")
    print(f"  ratio, not folded            {ratio(slow, whole)}")
    print(f"  L1 distance of the densities {np.abs(own - its).sum():.2g}")


def cube(repeats: int, threads: int, points: int = 50, steps: int = 1000) -> None:
    """Three bosons against scipy."""
    config = bosons(3)
    its = sparse_crank_nicolson(config, points, SPARSE_STEPS, steps)
    short = build_system(config)
    grid = dirichlet_grid(((-EXTENT, EXTENT),), points, 3)
    state = State(short, build_initial(config), grid, 2, STRANG, threads)
    state.advance(0.0, END * SPARSE_STEPS / steps, SPARSE_STEPS)
    own = np.abs(state.wave()) ** 2 * grid.cell
    fast, whole, slow = in_turns(
        repeats,
        lambda: ours(config, points, steps, 2, threads),
        lambda: ours(config, points, steps, 2, threads, fold=False),
        lambda: sparse_crank_nicolson(config, points, SPARSE_STEPS, steps),
    )
    scale = steps / SPARSE_STEPS
    print(f"cube: {points}^3 points, {steps} steps, {repeats} turns; gcrotmk made {SPARSE_STEPS} of them")
    print(f"  this project                 {fast}")
    print(f"  the same, not folded         {whole}")
    print(f"  gcrotmk, {SPARSE_STEPS} steps            {slow}")
    print(f"  ratio, scaled to {steps}        {ratio(slow, fast, scale)}")
    print(f"  ratio, not folded            {ratio(slow, whole, scale)}")
    print(f"  L1 distance after {SPARSE_STEPS} steps     {np.abs(own - its).sum():.2g}")


@numba.njit(fastmath=True, parallel=True)
def triad(a: Array, b: Array, c: Array) -> None:
    """a = b + 1.5 c."""
    for i in numba.prange(a.size):
        a[i] = b[i] + 1.5 * c[i]


def bandwidth(repeats: int, threads: int, sizes: Sequence[tuple[int, int]] = LARGE) -> None:
    """One step of each kernel beside a triad."""
    a, b, c = (np.ones(TRIAD) for _ in range(3))
    print(f"bandwidth: share of a triad's, {threads} thread(s), {repeats} turns")
    print(
        "  by convention a step moves 16 (2 n + 1) bytes per point: each direction reads and writes psi, one"
    )
    print("  reads the phase. Really moved are 80: all directions but one are done while a slab is in cache.")
    print(
        "  Of a folded grid one half of the points is stored: shares are per stored point, and at the end of"
    )
    print("  a line per point of the whole grid, which the folded one represents.")
    for axes, points in sizes:
        for folded in (False, True):
            layout = Layout(axes, points, folded)
            step = one_step(layout, threads)
            stream, one, two = in_turns(repeats, lambda: triad(a, b, c), partial(step, 2), partial(step, 4))
            speed, count = 24.0 * TRIAD / stream.median, points**axes
            print(f"  {points}^{axes}{', folded' if folded else ''}, triad {speed / 1e9:.1f} GB/s")
            for name, timing in (("one factor", one), ("two factors", two)):
                stored = layout.rows / points * count / timing.median / speed
                line = (
                    f"    {name:11s} {1e9 * timing.median / count:6.2f} ns per point and step, "
                    f"{1600.0 * (2 * axes + 1) * stored:4.0f} % by convention, "
                    f"{8000.0 * stored:4.0f} % really moved"
                )
                print(line + (f", {3200.0 * (2 * axes + 1) * stored:4.0f} % of the whole" if folded else ""))


def one_step(layout: Layout, threads: int) -> Callable[[int], None]:
    """A function that makes a step on a grid of its own, with factors of the given order in time."""
    psi, phase = layout.empty(np.complex128), layout.empty(np.complex128)
    layout.view(psi)[...] = 1e-3
    layout.view(phase)[...] = np.exp(0.3j)
    work = np.zeros((threads, tridiagonal.buffer_size(layout.points)))
    kernel = tridiagonal.drift_threaded if threads > 1 else tridiagonal.drift
    tables = {
        order: np.stack([[factor(layout.points, 0.7, pole, COMPACT[4])[0] for pole in poles]] * layout.axes)
        for order, poles in POLES.items()
    }

    def step(order: int) -> None:
        kernel(psi, layout.strides, layout.plan, tables[order], phase, True, work, 1)

    return step


CASES: dict[str, Callable[[int, int], None]] = {"plane": plane, "cube": cube, "bandwidth": bandwidth}


def main() -> None:
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5, help="turns that are counted")
    parser.add_argument("--threads", type=int, default=1, help="threads of this project's kernels")
    arguments = parser.parse_args()
    if arguments.threads > 1:  # the pool would take time from what is measured
        numba.set_num_threads(arguments.threads)
    for name in arguments.cases:
        CASES[name](arguments.repeats, arguments.threads)


if __name__ == "__main__":
    main()
