"""The observables there are, by name: `[output] observables` says which are measured.

A new one is a short file with a class as `observable.py` wants it, and one line of `BUILDERS`. One of the
user's own is an expression in `[output.expressions]`, or an installed package's entry point

    [project.entry-points."dsmsim.observables"]
    NAME = "module:build"

(or "module:build" itself in the place of the name), where `build(context)` returns the observable;
`averages.Average` makes one from a function of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points

from dsmsim.errors import ConfigError
from dsmsim.measure.averages import expression_average
from dsmsim.measure.coherence import CoherenceSums
from dsmsim.measure.context import Context
from dsmsim.measure.currents import CurrentSums
from dsmsim.measure.distributions import CenterSums, DistanceSums, EscapeSums
from dsmsim.measure.momentum import MomentumSums
from dsmsim.measure.observable import Observable
from dsmsim.measure.pairs import PairSums
from dsmsim.measure.quantiles import QuantileSums
from dsmsim.measure.shots import ShotSums
from dsmsim.measure.smooth import SmoothDensitySums
from dsmsim.system.targets import load_target

OBSERVABLES = "dsmsim.observables"  # group of entry points
KEY = "output.observables"

Builder = Callable[[Context], Observable]

BUILDERS: dict[str, Builder] = {
    "smooth_density": SmoothDensitySums,
    "current": CurrentSums,
    "pairs": PairSums,
    "distances": DistanceSums,
    "center_of_mass": CenterSums,
    "quantiles": QuantileSums,
    "escape": EscapeSums,
    "shots": ShotSums,
    "coherence": CoherenceSums,
    "momentum": MomentumSums,
}
# of which a single particle has none
OF_PAIRS = ("pairs", "distances")


def build_observables(
    names: Sequence[str], expressions: Mapping[str, str], variables: Sequence[str], context: Context
) -> dict[str, Observable]:
    """The observables of these names, and those of all expressions, in this order.

    Args:
        names: of `BUILDERS`, of expressions, or of installed entry points.
        expressions: the user's own, by name.
        variables: what they are of: names of the first coordinates, in order, and last that of the time.
        context: what they may know.

    Raises:
        ConfigError: there is no such observable, an expression cannot be used, or a plug-in fails.
    """
    found: dict[str, Observable] = {}
    for name in names:
        if name in expressions or (name in OF_PAIRS and context.system.particles < 2):
            continue
        build = BUILDERS[name] if name in BUILDERS else _plugin(name)
        found[name] = build(context)
    for name, text in expressions.items():
        found[name] = expression_average(context, name, text, variables)
    return found


def _plugin(name: str) -> Builder:
    """What an installed package, or a module of the user's, makes of this name.

    Raises:
        ConfigError: there is nothing of this name, or it cannot be loaded.
    """
    installed = {entry.name for entry in entry_points(group=OBSERVABLES)}
    if ":" not in name and name not in installed:
        known = ", ".join(sorted({*BUILDERS, *installed}))
        raise ConfigError(
            f"{KEY}: there is no observable {name!r}; there are {known}, "
            "and the names of [output.expressions]",
            key=KEY,
        )
    return load_target(name, group=OBSERVABLES, key=KEY, signature="build(context)")
