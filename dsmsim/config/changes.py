"""What differs between the input of a run and the one with which it is to go on, and what that means.

physics     [system], [initial], time.end                  refused on resuming: another question
state       [network], train.mode, train.optimizer,        refused: the checkpoint would not fit
            train.precision, march.ansatz, its functions,
            march.walkers, march.block
training    the rest of [train], [march], [sampler],       allowed and told: the run does not end where it
            time.steps, seed                               would have ended
results     [evaluation], time.save, observables and the   allowed: the results are made anew
            like in [output], output.trajectories
other       everything else                                allowed
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dsmsim.config.model import Config
from dsmsim.config.problems import shown

Weight = Literal["physics", "state", "training", "results", "other"]

# the first prefix that fits decides
_WEIGHTS: tuple[tuple[str, Weight], ...] = (
    ("system", "physics"),
    ("initial", "physics"),
    ("time.end", "physics"),
    ("network", "state"),
    ("train.mode", "state"),
    ("train.optimizer", "state"),
    ("train.precision", "state"),
    ("train", "training"),
    ("march.ansatz", "state"),
    ("march.pair_functions", "state"),
    ("march.collective_functions", "state"),
    ("march.collective_order", "state"),
    ("march.one_body_functions", "state"),
    ("march.walkers", "state"),
    ("march.block", "state"),
    ("march", "training"),
    ("sampler", "training"),
    ("time.steps", "training"),
    ("seed", "training"),
    ("evaluation", "results"),
    ("time.save", "results"),
    ("output.trajectories", "results"),
    ("output.observables", "results"),
    ("output.expressions", "results"),
    ("output.correlation_times", "results"),
    ("output.precision", "results"),
)


@dataclass(frozen=True)
class Change:
    """A key whose value differs.

    Attributes:
        key: dotted.
        old, new: values, None where the key is absent.
        weight: what the change means for a run that has begun.
    """

    key: str
    old: Any
    new: Any
    weight: Weight

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} -> {_shown(self.new)}"


def changes_between(old: Config, new: Config) -> list[Change]:
    """Every key whose value differs, in the order of the input; defaults count like written values."""
    before, after = dict(_leaves(old.to_dict())), dict(_leaves(new.to_dict()))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        Change(key, before.get(key), after.get(key), _weight(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _weight(key: str) -> Weight:
    for prefix, weight in _WEIGHTS:
        if key == prefix or key.startswith(f"{prefix}."):
            return weight
    return "other"


def _shown(value: Any) -> str:
    return "absent" if value is None else shown(value)
