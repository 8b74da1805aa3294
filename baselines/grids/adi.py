"""Crank-Nicolson by alternating directions.

    i hbar d psi/dt = (K_1 + ... + K_n + V) psi,      K_k = -hbar^2/(2 mass) d^2/dx_k^2

The kinetic terms of different directions commute, so that a drift by tau, exp(-i tau sum_k K_k/hbar), is a
product over directions; along each it is one or two unitary factors with a tridiagonal matrix
(`baselines.grids.factors`). Kicks exp(-i w V/hbar) are pointwise. Everything is unitary to rounding.

    strang        K(h/2) D(h) K(h/2), V at the midpoint, D of second order: Crank-Nicolson, order 2 in h
    strang_pade   the same with D of fourth order: order 2 in h, but only in the commutators of K and V
    blanes_moan   D(a_1 h) K(b_1 h) ... D(a_7 h), D of fourth order: order 4 in h

Kicks that meet between two steps are one. Walls (psi = 0) stand one spacing beyond the first and the last
point of each axis.

A wave that is even about the middle of the box, on a grid that is, stays so while V is: then one half is
enough (`baselines.grids.layout`). It is measured at the start, and of V at every kick; the first that is not
even unfolds the wave.

Shapes: `n` coordinates, `D` axes of a particle, `M` points per coordinate, psi (M, ..., M) in a `Layout`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from baselines.grids import tridiagonal
from baselines.grids.factors import COMPACT, POLES, factor
from baselines.grids.fold import is_even
from baselines.grids.fourier import BLANES_MOAN
from baselines.grids.layout import Layout
from baselines.grids.parts import PotentialTables, initial_factor, product_wave
from baselines.grids.product import Array, Grid, Wave
from dsmsim.system import InitialState, System

# below this size of a grid the start of threads costs more than they save
POINTS_FOR_THREADS = 1 << 16

# (w, t): the potential at time t for a length w of time
Kick = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Scheme:
    """One way to make a step.

    Attributes:
        name: for messages and results.
        order: in h.
        drift_order: of a drift in its length.
        drifts, kicks: fractions of h. As many kicks as drifts: begins with half of the last kick, at the
            midpoint of each step. One drift more than kicks: begins with a drift.
    """

    name: str
    order: int
    drift_order: int
    drifts: tuple[float, ...]
    kicks: tuple[float, ...]

    @property
    def cost(self) -> float:
        """Of one step, in sweeps with one factor along every direction."""
        drifts = max(1, len(self.kicks))
        return drifts * (1.0 if self.drift_order == 2 else 1.7)

    def stages(
        self, start: float, step: float, steps: int, *, static: bool = False
    ) -> Iterator[tuple[float, Kick]]:
        """Drift lengths, 0 at first where a kick comes first, each with the kick after it.

        Kicks of a static potential are all at time 0, so that equal ones can be told.
        """
        if len(self.drifts) == len(self.kicks):
            half = 0.5 * step
            if static:
                yield 0.0, ((half, 0.0),)
                yield from itertools.repeat((step, ((step, 0.0),)), steps - 1)
                yield step, ((half, 0.0),)
                return
            middles = [start + (i + 0.5) * step for i in range(steps)]
            yield 0.0, ((half, middles[0]),)
            for middle, following in itertools.pairwise(middles):
                yield step, ((half, middle), (half, following))
            yield step, ((half, middles[-1]),)
            return
        reached = list(itertools.accumulate(self.drifts))
        for index in range(steps):
            for stage, kick in enumerate(self.kicks):
                joined = stage == 0 and index > 0
                drift = self.drifts[stage] + (self.drifts[-1] if joined else 0.0)
                t = 0.0 if static else start + (index + reached[stage]) * step
                yield drift * step, ((kick * step, t),)
        yield self.drifts[-1] * step, ()


STRANG = Scheme("Crank-Nicolson", 2, 2, (1.0,), (1.0,))
STRANG_PADE = Scheme("Crank-Nicolson with fourth-order factors", 2, 4, (1.0,), (1.0,))
BLANES_MOAN_PADE = Scheme(
    "fourth-order Crank-Nicolson, Blanes-Moan", 4, 4, BLANES_MOAN.drifts, BLANES_MOAN.kicks
)


class State:
    """A wave function and its propagation.

    Args:
        system, initial: what is solved.
        grid: of `dirichlet_grid`.
        space_order: 2 or 4.
        scheme: how a step is made.
        threads: used on grids that are large enough.
        fold: store and propagate one half of an even wave on an even number of points.
    """

    def __init__(
        self,
        system: System,
        initial: InitialState,
        grid: Grid,
        space_order: int,
        scheme: Scheme,
        threads: int = 1,
        *,
        fold: bool = True,
    ) -> None:
        self.system = system
        self.grid = grid
        self.scheme = scheme
        self.potential = PotentialTables(system, grid)
        self._compact = COMPACT[space_order]
        phi = initial_factor(initial, grid)
        even = grid.points % 2 == 0 and grid.coordinates > 1 and is_even(phi)
        self._layout = Layout(grid.coordinates, grid.points, folded=fold and even)
        self._threads = threads if self._layout.size >= POINTS_FOR_THREADS else 1
        self._work = np.zeros((self._threads, tridiagonal.buffer_size(grid.points)))
        # psi without the alphas of the factors, which are in `_alpha`
        self._psi = self._layout.empty(np.complex128)
        self._alpha = 1.0 + 0.0j
        product_wave(phi, grid, self._layout.view(self._psi))
        self._step = 0.0
        self._drifts: dict[float, tuple[Wave, complex]] = {}
        self._phases: dict[Kick, Wave] = {}
        self._static = system.is_static

    @property
    def folded(self) -> bool:
        """Whether one half of the wave is stored."""
        return self._layout.folded

    def advance(self, start: float, end: float, steps: int) -> None:
        """From time `start` to time `end` in equal steps."""
        # twelve digits: equal steps of a grid of times differ by rounding and shall share their factors
        step = float(f"{(end - start) / steps:.12e}")
        if step != self._step:
            self._step = step
            self._drifts.clear()
            self._phases.clear()
        stages = self.scheme.stages(start, step, steps, static=self._static)
        for (length, kick), equal in itertools.groupby(stages):
            self._apply(length, kick, len(list(equal)))

    def wave(self, every: int = 1) -> Wave:
        """psi at every so many points of each axis, those left over shared by both ends."""
        first = (self.grid.points - 1) % every // 2
        found = np.empty(((self.grid.points - 1) // every + 1,) * self.grid.coordinates, dtype=np.complex128)
        self._layout.expand(self._psi, found, first, every)
        found *= self._alpha
        return found

    def thinned(self, every: int) -> Grid:
        """The grid of `wave(every)`."""
        points = (self.grid.points - 1) // every + 1
        first = (self.grid.points - 1) % every // 2
        box = []
        for axis in range(self.grid.dimensions):
            h = self.grid.spacing(axis)
            low = self.grid.box[axis][0] + first * h
            box.append((low, low + points * every * h))
        return Grid(tuple(box), points, self.grid.particles)

    def marginals(self) -> list[Array]:
        """Probability of each value of the first particle's coordinates: D arrays (M,)."""
        view, points = self._layout.view(self._psi), self.grid.points
        found = [np.zeros(points) for _ in range(self.grid.dimensions)]
        for i, slab in enumerate(view):
            probability = (slab.real**2 + slab.imag**2) * self.grid.cell
            found[0][i] = probability.sum()
            for axis in range(1, self.grid.dimensions):
                others = tuple(k for k in range(probability.ndim) if k != axis - 1)
                found[axis] += probability.sum(axis=others)
        return [one + one[::-1] for one in found] if self.folded else found

    def _apply(self, length: float, kick: Kick, count: int) -> None:
        phase = self._phase(kick) if kick else self._psi
        threaded = self._threads > 1
        if length == 0.0:
            multiply = tridiagonal.multiply_threaded if threaded else tridiagonal.multiply
            multiply(self._psi, phase, self._threads)
            return
        tables, alpha = self._drift(length)
        drift = tridiagonal.drift_threaded if threaded else tridiagonal.drift
        drift(
            self._psi,
            self._layout.strides,
            self._layout.plan,
            tables,
            phase,
            bool(kick),
            self._work,
            count,
        )
        self._alpha *= alpha**count

    def _drift(self, length: float) -> tuple[Wave, complex]:
        """Tables (n, F, 3, M + 8) of a drift and the product of its alphas."""
        key = float(f"{length:.12e}")
        if key not in self._drifts:
            rows, alphas = [], []
            unit = length * self.system.hbar / (2.0 * self.system.mass)
            for axis in range(self.grid.dimensions):
                scaled = unit / self.grid.spacing(axis) ** 2
                made = [
                    factor(self.grid.points, scaled, pole, self._compact)
                    for pole in POLES[self.scheme.drift_order]
                ]
                rows.append(np.stack([table for table, _ in made]))
                alphas += [alpha for _, alpha in made]
            tables = np.stack(rows * self.grid.particles)
            self._drifts[key] = tables, complex(np.prod(alphas)) ** self.grid.particles
        return self._drifts[key]

    def _phase(self, kick: Kick) -> Wave:
        """exp(-i sum w V(t)/hbar) in the layout."""
        if kick in self._phases:
            return self._phases[kick]
        tables = self.potential.weighted(kick)
        if self.folded and not all(is_even(table) for table in tables):
            self._unfold()
        if self._static or not self._phases:
            phase = self._layout.empty(np.complex128)
        else:  # of a potential that changes, only the last phase is kept
            phase = self._phases.popitem()[1]
        self.potential.phase(tables, self._layout.view(phase))
        self._phases[kick] = phase
        return phase

    def _unfold(self) -> None:
        layout = Layout(self.grid.coordinates, self.grid.points)
        self._phases.clear()
        psi = layout.empty(np.complex128)
        self._layout.expand(self._psi, layout.view(psi))
        self._layout, self._psi = layout, psi
