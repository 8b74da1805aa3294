"""How many numbers the observables of [output] store, and how many they sum up, with standard errors.

Symbols: T saved times, K of them kept for functions of two positions, D dimensions, `n` coordinates, b cells
along an axis, C along each of two positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsmsim.config.output_table import knows_wave_function

if TYPE_CHECKING:
    from dsmsim.config.model import Config

# constants of the code
FEWEST_CELLS, MOST_CELLS = 8, 60
QUANTILES, QUANTILE_CELLS = 5, 256
THRESHOLDS = 12
SHOTS = 100
ORBITALS = 10
CHI_SAMPLES = 1024
# of a wave function along one coordinate, and momenta: usual numbers, they depend on the cloud
CHI_POINTS, MOMENTA = 64, 256


class Numbers(NamedTuple):
    """Floating-point numbers: in results.h5, and in the sums of one evaluation."""

    stored: int
    summed: int


def observable_numbers(config: Config) -> Numbers:
    """Those of everything that `output.observables` and `output.expressions` ask for.

    Observables of the user's own count as if they were expressions.
    """
    output, system = config.output, config.system
    times = len(config.time.save) if isinstance(config.time.save, list) else config.time.save
    kept = min(times, output.correlation_times)
    d, n, b = system.dimensions, system.coordinates, config.evaluation.bins
    c = min(max(b // 2, FEWEST_CELLS), MOST_CELLS)
    paired = 1 if system.particles > 1 else 0
    # per saved time
    always = {
        "smooth_density": Numbers(2 * d * b, d * (3 * b + 3)),
        "current": Numbers(2 * d * b, d * (2 * b + 1)),
        "distances": Numbers(2 * b * paired, (2 * b + 1) * paired),
        "center_of_mass": Numbers(2 * b, 2 * b + 1),
        "quantiles": Numbers(2 * QUANTILES * d, 2 * d * (QUANTILE_CELLS + 1) + 1),
        "escape": Numbers(2 * THRESHOLDS, 2 * THRESHOLDS + 1),
    }
    # per kept time
    # positions, two velocities, and log psi where it is known
    shot = SHOTS * (3 * n + 2 * knows_wave_function(config))
    sometimes = {
        "pairs": Numbers(4 * c * c * paired, (4 * c * c + c + 1) * paired),
        "shots": Numbers(shot, shot),
        "coherence": Numbers(8 * c * c + 4 * ORBITALS * c + 2 * ORBITALS, 2 * CHI_SAMPLES * (CHI_POINTS + 1)),
        "momentum": Numbers(2 * MOMENTA, 2 * MOMENTA + 1),
    }
    average = Numbers(2, 3)
    stored = summed = 0
    for name in {*output.observables, *output.expressions}:
        count = kept if name in sometimes else times
        each = always.get(name) or sometimes.get(name) or average
        stored, summed = stored + count * each.stored, summed + count * each.summed
    return Numbers(stored, summed)
