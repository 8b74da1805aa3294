"""Everything that is measured on samples of |psi|^2: the groups of a results file for any wave function.

Samples move with the flow of psi and are weighted. Where the weights become so uneven that fewer than a fifth
of the samples count, or a sample runs away, walkers of a Markov chain take their place (both:
`ensembles.py`); the facts say which it was.

Units of samples are shared out over the ranks and their sums added, so any number of ranks finds the same.

Shapes: W samples, n coordinates, T saved times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.wave.ensembles import Ensemble, Setup, Transport, Walkers
from baselines.wave.transport import batches, units_of
from baselines.wave.wave_function import WaveFunction, velocities
from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.measure import EnsembleSums, checks_group, density_edges
from dsmsim.parallel import World, blocks_of_rank
from dsmsim.system import center_of_mass, closed_form

MARGIN = 0.25  # of the pilot's range, added on both sides of the histogram
HOPELESS = 0.05  # effective fraction of the pilot's samples below which transport is not tried
# effective fraction of the samples below which they are no good: the averages of a unit of some thousand are
# then biased by some per mille of a standard deviation
FEWEST = 0.2
RAN_AWAY = "psi is not finite at samples of its own density, or they run to infinity"

Sampling = Literal["auto", "transport", "metropolis"]


@dataclass(frozen=True)
class Measured:
    """What a wave function says.

    Attributes:
        groups: "observables", "density" and "checks" of results.h5, the same on every rank.
        facts: how it was sampled, attributes of "observables".
    """

    groups: dict[str, dict[str, NDArray[Any]]]
    facts: dict[str, Any]


def measure(
    config: Config,
    wave: WaveFunction,
    world: World | None,
    progress: Callable[[int, int], None],
    *,
    sampling: Sampling = "auto",
) -> Measured:
    """Sample |psi(x, t)|^2 at the saved times on all ranks and measure it.

    Args:
        config: `[evaluation]` says how many samples, trials and bins, and in how many steps they move.
        wave: psi, that starts from `[initial]`, at least nearly.
        world: the ranks; None: this process alone.
        progress: called with (samples done, samples in all) of this rank.
        sampling: auto: weighted samples where they are good enough, else walkers; or one of the two.

    Raises:
        DivergedError: psi is not finite where its own density is.
    """
    world = world or World()
    setup = Setup.of(config, wave)
    facts: dict[str, Any] = {}
    if sampling != "metropolis":
        extent, fraction = world.on_root(lambda: Transport.pilot(setup))
        # a single uneven weight says more of the few samples of a pilot than of psi
        if fraction >= HOPELESS or sampling == "transport":
            ensemble: Ensemble = Transport(setup, extent)
            sums, fraction = _sums(ensemble, world, progress)
            if fraction >= FEWEST or sampling == "transport":
                return _measured(ensemble, sums, {"effective_fraction": fraction})
        facts = {"transport_effective_fraction": fraction}
    ensemble = Walkers(setup, world.on_root(lambda: Walkers.pilot(setup)))
    sums, fraction = _sums(ensemble, world, progress)
    return _measured(ensemble, sums, {"effective_fraction": fraction, **facts})


def _measured(ensemble: Ensemble, sums: EnsembleSums, facts: dict[str, Any]) -> Measured:
    """The groups of all ranks together.

    Raises:
        DivergedError: they are not finite.
    """
    if not all(bool(torch.isfinite(tensor).all()) for tensor in sums.tensors()):
        raise DivergedError(RAN_AWAY)
    groups = {
        "observables": sums.observables(),
        "density": sums.density(),
        "checks": checks_group(sums.checks(center_of_mass(ensemble.setup.config))),
    }
    counts = {
        "samples": sums.samples,
        "independent_units": sums.units,
        "effective_samples": sums.effective_samples,
    }
    return Measured(groups, counts | ensemble.facts() | facts | sums.field_errors())


def _sums(
    ensemble: Ensemble, world: World, progress: Callable[[int, int], None]
) -> tuple[EnsembleSums, float]:
    """Sums over all ranks, and the effective fraction of the samples at the time where it is smallest.

    The fraction is 0 where a weight is not a number.
    """
    setup, sums = ensemble.setup, _new_sums(ensemble)
    units = units_of(setup.config)
    mine = [units[k] for k in blocks_of_rank(len(units), world.rank, world.size)]
    total, done = sum(unit.size for unit in mine), 0
    squares = torch.zeros(len(setup.times), dtype=torch.float64)
    for batch in batches(mine):
        first, size = batch[0], sum(unit.size for unit in batch)
        unit = ensemble.independent(first)
        for index, (x, local, weights) in ensemble.saved(batch):
            fields = velocities(local, setup.system.hbar, setup.system.mass)
            y, u, v = (torch.from_numpy(a) for a in (x, *fields))
            w = None if weights is None else torch.from_numpy(weights)
            time = setup.times[index]
            sums.add(index, first.trial, y, u, v, time, block=first.number, unit=unit, weights=w)
            squares[index] += size if w is None else w.square().sum()
        done += size
        progress(done, total)
    for tensor in (*sums.tensors(), squares):
        world.sum_(tensor)
    fraction = sums.samples / float(squares.max())
    return sums, fraction if np.isfinite(fraction) else 0.0


def _new_sums(ensemble: Ensemble) -> EnsembleSums:
    """Empty sums, with cells that hold the cloud.

    Raises:
        DivergedError: nothing is left of it.
    """
    setup, extent = ensemble.setup, ensemble.extent
    if not (np.isfinite(extent.low).all() and np.isfinite(extent.high).all()):
        raise DivergedError(RAN_AWAY)
    margin = MARGIN * (extent.high - extent.low)
    ends = zip(extent.low - margin, extent.high + margin, strict=True)
    return EnsembleSums(
        setup.system,
        np.asarray(setup.times),
        setup.config.evaluation.trials,
        [density_edges(low, high, setup.config.evaluation.bins) for low, high in ends],
        mean=setup.initial.mean,
        variance=setup.initial.variance,
        exact=closed_form(setup.config),
    )
