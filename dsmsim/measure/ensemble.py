"""Observables of an ensemble of trajectories X_t ~ |psi(x, t)|^2, each with a standard error.

    mean, covariance        of the coordinates, and of the centre of mass R = sum_i x_i / N
    energy                  E = E[ m|u|^2/2 + m|v|^2/2 + V ], and its parts: of u and v, trap, pairs
    density                 one-body density, averaged over the particles, along each axis
    observables             whatever else is asked for (`observable.py`)
    checks                  the identities of `identities.py`

Everything is kept as sums and counts over independent units (`units.py`: a trajectory, a mirrored pair, a
low-discrepancy set) in float64, so that batches, blocks and ranks add up. Samples of another density than
|psi|^2 carry weights of mean 1 in every unit: whatever is averaged is multiplied by them. Energies in units
of hbar times the inverse time of the input, lengths in those of the input.

Shapes: B trajectories, N particles, D axes, n = N D coordinates, T times, K trials, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dsmsim.measure.control import CompanionLaw, ControlSums, Corrected
from dsmsim.measure.histogram import HistogramSums
from dsmsim.measure.identities import CenterOfMass, Check, IdentitySums, center_of_mass_checks
from dsmsim.measure.moments import Array, MomentSums, mean_and_variance
from dsmsim.measure.observable import ByGroup, Describing, Observable, Sampled
from dsmsim.measure.units import mean_and_stderr, unit_means, weighted
from dsmsim.system import System

ENERGIES = (
    "energy_kinetic_osmotic",
    "energy_kinetic_current",
    "energy_kinetic",
    "energy_trap",
    "energy_interaction",
    "energy_potential",
    "energy",
)
AXES = "xyz"
ROUNDING = 1e-24  # of the squares of u and v together: what is smaller is 0
MEAN_WEIGHT = 1e-6  # largest deviation of a unit's mean weight from 1


class ExactFields(Protocol):
    """Exact velocities to measure the error of u and v against: x (B, n), t (B, 1) -> (B, n)."""

    def u(self, x: Tensor, t: Tensor, /) -> Tensor: ...

    def v(self, x: Tensor, t: Tensor, /) -> Tensor: ...


class EnsembleSums:
    """Sums over samples; `add` batches, sum `tensors` over the ranks, then read the results.

    Args:
        system: the bosons.
        times: (T,) saved times, increasing.
        trials: K independent groups of samples, whose spread gives the error of the published metrics.
        edges: histogram cell edges for each of the D axes, length.
        mean, variance: (n,) of the initial state: the shift of the moments, and the lengths of the checks.
        exact: closed-form velocities, where they are known.
        control: whether means and variances are corrected by companions (`control.py`).
        observables: what else is measured.
        device: where the sums live; x, u and v are moved there.
    """

    def __init__(
        self,
        system: System,
        times: ArrayLike,
        trials: int,
        edges: Sequence[Array],
        *,
        mean: ArrayLike,
        variance: ArrayLike,
        exact: ExactFields | None = None,
        control: bool = False,
        observables: Sequence[Observable] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        if len(edges) != system.dimensions:
            raise ValueError(f"{system.dimensions} axes need as many arrays of edges, got {len(edges)}")
        self.system = system
        self.times = np.asarray(times, dtype=np.float64)
        self.trials = trials
        self.exact = exact
        self.device = torch.device(device)
        count, n = len(self.times), system.coordinates
        shift, spread = (np.broadcast_to(np.asarray(a, dtype=np.float64), n) for a in (mean, variance))
        self._shift = torch.tensor(shift, dtype=torch.float64, device=self.device)
        self._count = self._zeros(trials, count)
        self._sampled = self._zeros(count)
        self._trial_sums = self._zeros(3, trials, count, n)
        self._powers = self._zeros(4, count, n)
        self._energy = self._zeros(count, len(ENERGIES), 2)
        self._magnitude = self._zeros(count)
        self._field_errors = self._zeros(count, 2, 2)
        self._moments = MomentSums(count, system.dimensions, system.particles, self.device)
        self._center = MomentSums(count, system.dimensions, 1, self.device)
        self._control = (
            ControlSums(trials, count, system.dimensions, system.particles, self.device) if control else None
        )
        self._histograms = [HistogramSums(e, count, self.device) for e in edges]
        self._identities = IdentitySums(system, self.times, shift, spread, self.device)
        self._more = tuple(observables)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def add(
        self,
        time_index: int,
        trial: int,
        x: Tensor,
        u: Tensor,
        v: Tensor,
        t: float,
        *,
        block: int = 0,
        unit: int = 1,
        companion: tuple[Tensor, CompanionLaw] | None = None,
        weights: Tensor | None = None,
        log_psi: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Add trajectories x (B, n) with velocities u, v (B, n) at time t = times[time_index].

        The trajectories of one block come in the order of the times, from index 0 on; blocks may be
        interleaved if each has its own `block` number within its trial.

        Args:
            unit: consecutive trajectories that make a unit of independence; divides B.
            companion: of each trajectory, (B, n), and its exact variances; needed with `control`.
            weights: (B,) of the trajectories at this time, of mean 1 in every unit; None: all 1.
            log_psi: (R, S) at this time, for observables of the wave function; see `Sampled`.

        Raises:
            ValueError: if a block skips a time, is not made of whole units, lacks its companion, or has
                weights of another mean.
        """
        if len(x) % unit:
            raise ValueError(f"{len(x)} trajectories are no whole number of units of {unit}")
        # whatever is added up over the batch has it as the last index in memory: x[k] is a coordinate
        x, u, v = (a.to(device=self.device, dtype=torch.float64).t().contiguous() for a in (x, u, v))
        w = self._checked(weights, unit)
        clock = torch.full_like(x[0], t)[:, None]
        z = x - self._shift[:, None]
        self._sampled[time_index] += x.shape[1]
        self._count[trial, time_index] += x.shape[1] // unit
        square = z.square()
        powers = weighted(torch.stack([z, square, square * z, square.square()]), w, dim=2)
        self._powers[:, time_index] += powers.sum(2)
        q, p = unit_means(powers[:2], unit, dim=2)
        self._trial_sums[:, trial, time_index] += torch.stack((q.sum(1), p.sum(1), q.square().sum(1)))
        by_axis = self._by_axis(z)
        self._moments.add(time_index, by_axis, unit, w)
        self._center.add(time_index, by_axis.mean(2, keepdim=True), unit, w)
        self._add_control(time_index, trial, by_axis, companion, unit, w)
        positions = self._by_axis(x)
        for axis, histogram in enumerate(self._histograms):
            histogram.add(time_index, positions[axis], unit, w)
        potential, gradient = self.system.potential_and_gradient(x.t(), clock)
        energy = self._add_energy(time_index, u, v, potential, self._trap(x, clock, potential), unit, w)
        self._add_field_errors(time_index, x.t(), u.t(), v.t(), clock, w)
        self._identities.add(time_index, (trial, block), x, u, v, gradient.t(), energy, unit, w)
        if self._more:
            sampled = Sampled(time_index, t, x.t(), u.t(), v.t(), unit, w, trial, block, log_psi)
            for observable in self._more:
                observable.add(sampled)

    def _checked(self, weights: Tensor | None, unit: int) -> Tensor | None:
        """The weights, None where they are all 1."""
        if weights is None:
            return None
        weights = weights.to(device=self.device, dtype=torch.float64)
        mean = unit_means(weights, unit)
        # weights that are not numbers pass: they show in the sums, as positions do
        if bool(((mean - 1.0).abs() > MEAN_WEIGHT).any()):
            raise ValueError(
                f"weights must have mean 1 in every unit, not {mean.min():.6g} to {mean.max():.6g}"
            )
        return None if unit == 1 else weights

    def _add_control(
        self,
        time_index: int,
        trial: int,
        by_axis: Tensor,
        companion: tuple[Tensor, CompanionLaw] | None,
        unit: int,
        weights: Tensor | None,
    ) -> None:
        if self._control is None:
            return
        if companion is None:
            raise ValueError("control variates need the companion of every trajectory")
        y = self._by_axis(companion[0].to(device=self.device, dtype=torch.float64).t())
        self._control.add(time_index, trial, by_axis, y, companion[1], unit, weights)

    def _by_axis(self, x: Tensor) -> Tensor:
        """(n, B) as (D, B, N)."""
        return x.reshape(self.system.particles, self.system.dimensions, x.shape[1]).permute(1, 2, 0)

    def _trap(self, x: Tensor, clock: Tensor, potential: Tensor) -> Tensor:
        """The part of the potential (B,) that belongs to single particles, at x (n, B): (B,)."""
        system = self.system
        if system.interaction is None or system.particles < 2:
            return potential
        r = x.reshape(system.particles, system.dimensions, -1).transpose(1, 2)
        total = torch.zeros_like(potential)
        for term in system.terms.values():
            total += term.value(r, clock.t()).sum(0)
        return total

    def _add_energy(
        self,
        time_index: int,
        u: Tensor,
        v: Tensor,
        potential: Tensor,
        trap: Tensor,
        unit: int,
        weights: Tensor | None,
    ) -> Tensor:
        half = 0.5 * self.system.mass
        osmotic, current = half * u.square().sum(0), half * v.square().sum(0)
        kinetic = osmotic + current
        total, magnitude = kinetic + potential, kinetic + potential.abs()
        each = osmotic, current, kinetic, trap, potential - trap, potential, total, magnitude
        rows = weighted(torch.stack(each), weights, dim=1)
        parts = unit_means(rows, unit, dim=1)
        self._energy[time_index] += torch.stack((parts[:-1].sum(1), parts[:-1].square().sum(1)), dim=1)
        self._magnitude[time_index] += parts[-1].sum()
        return total

    def _add_field_errors(
        self, time_index: int, x: Tensor, u: Tensor, v: Tensor, clock: Tensor, weights: Tensor | None
    ) -> None:
        if self.exact is None:
            return
        for row, (field, true) in enumerate(((u, self.exact.u(x, clock)), (v, self.exact.v(x, clock)))):
            squares = torch.stack(((field - true).square().sum(1), true.square().sum(1)))
            self._field_errors[time_index, row] += weighted(squares, weights, dim=1).sum(1)

    def tensors(self) -> list[Tensor]:
        """Every sum (float64), to be added over ranks in place before the results are read."""
        return self._own() + [tensor for observable in self._more for tensor in observable.tensors()]

    @property
    def is_finite(self) -> bool:
        """Whether moments, energies, densities and checks are; a user's log(x1) may be what it likes."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self._own())

    def _own(self) -> list[Tensor]:
        own = [self._count, self._sampled, self._trial_sums, self._powers]
        own += [self._energy, self._magnitude, self._field_errors]
        own += self._moments.tensors() + self._center.tensors() + self._identities.tensors()
        own += [] if self._control is None else self._control.tensors()
        return own + [tensor for histogram in self._histograms for tensor in histogram.tensors()]

    @property
    def samples(self) -> int:
        """Trajectories over all trials (the fewest at any time)."""
        self._totals()
        return int(self._sampled.min())

    @property
    def units(self) -> int:
        """Independent units over all trials (the fewest at any time)."""
        return int(self._totals().min())

    @property
    def effective_samples(self) -> float:
        """How many independent, uncorrected samples would give the variances the same standard errors.

        The median over times and coordinates; infinity where the errors vanish.
        """
        m = self._sampled.cpu().numpy()[:, None]
        first, second, third, fourth = self._powers.cpu().numpy() / m
        variance = second - first**2
        spread = fourth - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4 - variance**2
        stderr = self.observables()["variance_stderr"].reshape(spread.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.nanmedian(spread / stderr**2))

    def _totals(self) -> Array:
        totals: Array = self._count.sum(0).cpu().numpy()
        if not np.all(totals > 0):
            raise ValueError(f"no samples at time indices {np.flatnonzero(totals == 0).tolist()}")
        return totals

    def observables(self) -> dict[str, NDArray[Any]]:
        """The results group `observables`; NAME_stderr beside every NAME that has one."""
        system, count = self.system, self._totals()
        moments, center = self._moments.finish(count), self._center.finish(count)
        shift = self._shift.cpu().numpy().reshape(system.particles, system.dimensions)
        group: dict[str, NDArray[Any]] = {
            "time": self.times.copy(),
            "particle": np.arange(system.particles),
            "particle_prime": np.arange(system.particles),
            "axis": np.arange(system.dimensions),
            "trial": np.arange(self.trials),
            "covariance": np.moveaxis(moments.covariance, 1, -1),
            "covariance_stderr": np.moveaxis(moments.covariance_stderr, 1, -1),
        }
        group |= mean_and_variance(moments, shift, "mean", "variance")
        names = "center_of_mass_mean", "center_of_mass_variance"
        group |= {key: value[:, 0] for key, value in mean_and_variance(center, shift.mean(0), *names).items()}
        sums = self._energy.cpu().numpy()
        energy, energy_stderr = mean_and_stderr(count, sums[..., 0], sums[..., 1])
        for k, name in enumerate(ENERGIES):
            group[name], group[f"{name}_stderr"] = energy[:, k], energy_stderr[:, k]
        group |= self._by_trial(shift)
        corrected = None if self._control is None else self._control.finish(self._count.cpu().numpy())
        if corrected is not None:
            self._replace(group, corrected, shift)
        return group

    def _by_trial(self, shift: Array) -> dict[str, NDArray[Any]]:
        shape = (self.trials, len(self.times), self.system.particles, self.system.dimensions)
        count = self._count.cpu().numpy()[:, :, None, None]
        first, second, between = (sums.reshape(shape) for sums in self._trial_sums.cpu().numpy())
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = first / count
            variance = second / count - mean**2 + (between / count - mean**2) / (count - 1.0)
        return {"mean_by_trial": mean + shift, "variance_by_trial": variance}

    def _replace(
        self, group: dict[str, NDArray[Any]], corrected: tuple[Corrected, Corrected], shift: Array
    ) -> None:
        """Put corrected moments in the place of the plain ones, and on the diagonals of the covariances."""
        for name, found, zero in zip(("mean", "variance"), corrected, (shift, 0.0 * shift), strict=True):
            center = f"center_of_mass_{name}"
            group |= {
                name: found.value[:, :-1] + zero,
                f"{name}_stderr": found.stderr[:, :-1].copy(),
                f"{name}_by_trial": found.by_trial[:, :, :-1] + zero,
                center: found.value[:, -1] + zero.mean(0),
                f"{center}_stderr": found.stderr[:, -1].copy(),
            }
        particles = np.arange(self.system.particles)
        for suffix in ("", "_stderr"):
            covariance = group[f"covariance{suffix}"].copy()
            covariance[:, particles, particles] = group[f"variance{suffix}"]
            group[f"covariance{suffix}"] = covariance

    def density(self) -> dict[str, NDArray[Any]]:
        """The results group `density`: cell averages along each axis, and the fraction outside the cells."""
        count = self._totals()
        group: dict[str, NDArray[Any]] = {"time": self.times.copy()}
        for axis, histogram in zip(AXES, self._histograms, strict=False):
            suffix = "" if axis == "x" else f"_{axis}"
            density, stderr, outside = histogram.density(count, self.system.particles)
            group[axis] = 0.5 * (histogram.edges[1:] + histogram.edges[:-1])
            group[f"density{suffix}"], group[f"density{suffix}_stderr"] = density, stderr
            group[f"outside{suffix}"] = outside
        return group

    def groups(self) -> ByGroup:
        """All groups of the results but the checks: `observables`, `density`, and what was asked for."""
        units = self._totals()
        found: ByGroup = {"observables": self.observables(), "density": self.density()}
        for observable in self._more:
            for group, arrays in observable.results(units).items():
                found.setdefault(group, {}).update(arrays)
        return found

    def attributes(self) -> dict[str, dict[str, Any]]:
        """What observables say of their results, by group or by "user/NAME"."""
        found: dict[str, dict[str, Any]] = {}
        for observable in self._more:
            if isinstance(observable, Describing):
                found |= {place: dict(values) for place, values in observable.attributes().items()}
        return found

    def score_identities(self) -> list[Check]:
        """Score consistency for every test function."""
        return self._identities.score_checks(self._totals())

    def checks(self, center_of_mass: CenterOfMass | None = None) -> list[Check]:
        """All identities; those of the centre of mass where its exact motion is given."""
        count = self._totals()
        checks = self._identities.score_checks(count) + self._identities.path_checks(count)
        if center_of_mass is not None:
            found = self.observables()
            keys = (f"center_of_mass_{k}" for k in ("mean", "mean_stderr", "variance", "variance_stderr"))
            checks += center_of_mass_checks(center_of_mass, self.times, *(found[k] for k in keys))
        scale = float(self._magnitude[0]) / count[0]
        return [*checks, *self._identities.energy_check(count, scale)]

    def field_errors(self) -> dict[str, float]:
        """E_u and E_v_field: relative L2(rho) errors over all times; empty without exact velocities.

        A velocity that is 0 everywhere, but for rounding, has no relative error and is left out.
        """
        errors = {}
        sums = self._field_errors.sum(0)
        zero = ROUNDING * float(sums[:, 1].sum())
        for name, (wrong, true) in zip(("E_u", "E_v_field"), sums.tolist(), strict=True):
            if self.exact is not None and true > zero:
                errors[name] = float(np.sqrt(wrong / true))
        return errors
