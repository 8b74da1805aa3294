"""The four single-particle cases: what is run, and what was published.

Published numbers: from the outputs of the authors' notebooks to E. Orlova et al., "Deep Stochastic Mechanics"
(ICML 2024), one for each case and method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.reproduce.profile import Profile
from tools.reproduce.rows import Published
from tools.reproduce.task import Task

Bars = tuple[float | None, float | None]
SECTION = "oscillators"
DSM, MARCH, PINN, GAUSSIAN = "DSM", "DSM, marching", "PINN", "Gaussian sampling"
METHODS = (DSM, MARCH, PINN, GAUSSIAN)
PLAIN_DSM, EXACT_FIELDS, EARLY = "DSM, plain samples", "exact fields", "DSM, early"
SHORT = {DSM: "dsm", MARCH: "march", PINN: "pinn", GAUSSIAN: "gaussian"}
SHORT |= {PLAIN_DSM: "plain", EXACT_FIELDS: "exact", EARLY: "early"}
PROGRAM = {PINN: "pinn", GAUSSIAN: "gaussian_sampling", EXACT_FIELDS: "measure"}
SEEDED = (DSM, MARCH)

EARLY_EPOCHS = 1  # of the figure of trajectories
NOTEBOOK_TIMES = 101  # of the singular start, over which its E_m sums squares
# its samples move without noise, for which fewer steps do
CALM_PINN = {"evaluation.steps": 16}
# one particle needs few walkers; a start fifty times narrower than the end, steps that adapt to it
SINGULAR_MARCH = {
    "network.frame": "lab",
    "march.integrator": "adaptive",
    "march.tolerance": 1e-5,
    "march.walkers": 512,
    "evaluation.steps": 100,
}


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes:
        key, title: for names of tasks, and for readers.
        axes: space dimensions.
        mean: the metric of the mean: "E_m_abs" where the mean is 0.
        published: by method, and "E_m" or "E_v".
        seconds: CPU seconds by method; what is not here is not run.
        published_axes: by "E_m" or "E_v", of each coordinate, DSM.
        changes: of the input, by method.
    """

    key: str
    title: str
    published: Mapping[str, Mapping[str, Published]]
    seconds: Mapping[str, float]
    axes: int = 1
    mean: str = "E_m"
    published_axes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {PINN: CALM_PINN})

    @property
    def input(self) -> str:
        """Its input file."""
        return f"inputs/oscillator_{self.key}.toml"

    def task(self, method: str, profile: Profile, seed: int = 1) -> Task:
        """The task of one method and seed."""
        name = f"{self.key}-{SHORT[method]}" + (f"-seed{seed}" if method in SEEDED else "")
        changes = {"seed": seed} if seed > 1 else {}
        changes |= {**self.changes.get(method, {}), **special(method, profile)}
        seconds = self.seconds[method] * profile.pick(1.0, 0.5, 0.12)
        if method == EXACT_FIELDS:
            settings = {
                "input": self.input,
                "settings": Task(SECTION, name, "run", changes=changes).options[1::2],
            }
            return Task(
                SECTION,
                name,
                "measure",
                self.input,
                measurement="exact_sampling:measure",
                settings=settings,
                seconds=seconds,
            )
        return Task(SECTION, name, PROGRAM.get(method, "run"), self.input, changes, seconds=seconds)


def special(method: str, profile: Profile) -> dict[str, Any]:
    """What a task has other than its input: by its method, and smaller in the shorter profiles."""
    changes: dict[str, Any] = {}
    if method == MARCH:
        changes |= {"train.mode": "march"}
    if method == EARLY:
        changes |= {"train.epochs": EARLY_EPOCHS, "evaluation.samples": 20000}
    if method == PLAIN_DSM:
        changes |= {"evaluation.control_variates": False}
    if profile.name == "quick":
        changes |= {"evaluation.samples": 20000}
    if profile.name == "trial":
        changes |= {"time.save": 6, "evaluation.steps": 5, "evaluation.samples": 400}
        changes |= {"march.walkers": 128, "march.block": 64} if method == MARCH else {}
        changes |= {"baselines.pinn.epochs": 2, "baselines.pinn.points": 256} if method == PINN else {}
        changes |= {"train.epochs": 3} if method == DSM else {}
    return changes


# left out for time, by profile and case
LEFT_OUT: Mapping[str, Mapping[str, Sequence[str]]] = {
    "full": {},
    "quick": {
        "zero_phase": (PLAIN_DSM,),
        "phase": (PLAIN_DSM, GAUSSIAN, PINN),
        "3d": (PLAIN_DSM, GAUSSIAN),
        "singular": (PLAIN_DSM,),
    },
    "trial": {
        "zero_phase": (GAUSSIAN, PLAIN_DSM),
        "phase": (*METHODS, PLAIN_DSM, EXACT_FIELDS),
        "3d": (MARCH, PINN, GAUSSIAN, PLAIN_DSM, EXACT_FIELDS),
        "singular": (DSM, GAUSSIAN, PLAIN_DSM, EXACT_FIELDS),
    },
}

HOUR, MINUTE = 3600.0, 60.0


def printed(mean: float, variance: float, seconds: float, bars: Bars = (None, None)) -> dict[str, Published]:
    """E_m and E_v as a notebook prints them, with what its progress bar says of the time."""
    return {"E_m": Published(mean, bars[0], seconds), "E_v": Published(variance, bars[1], seconds)}


CASES = (
    Case(
        "zero_phase",
        "1-d trap, zero phase",
        {
            DSM: printed(0.10772, 0.02197, 3 * HOUR + 1 * MINUTE + 13, (0.09223, 0.01009)),
            PINN: printed(0.69921, 0.70141, 3 * HOUR + 8 * MINUTE + 48),
        },
        {DSM: 40, MARCH: 20, PINN: 40, GAUSSIAN: 40, PLAIN_DSM: 36, EXACT_FIELDS: 40, EARLY: 9},
    ),
    Case(
        "phase",
        "1-d trap, phase -5x",
        {
            # 1,232 of 5,000 epochs in 15 min 32 s: an hour in all
            DSM: printed(0.15582, 0.01804, 1 * HOUR, (0.07706, 0.00867)),
            PINN: printed(2.80891, 0.67328, 3 * HOUR + 33 * MINUTE + 23),
        },
        {DSM: 40, MARCH: 20, PINN: 40, GAUSSIAN: 40, PLAIN_DSM: 36, EXACT_FIELDS: 40},
    ),
    Case(
        "3d",
        "3-d trap, zero phase",
        {DSM: printed(0.08740, 0.01305, 3 * HOUR + 1 * MINUTE + 13, (0.06074, None))},
        {DSM: 58, MARCH: 38, PINN: 50, GAUSSIAN: 58, PLAIN_DSM: 50, EXACT_FIELDS: 70},
        axes=3,
        published_axes={"E_m": (0.09227, 0.08556, 0.08438), "E_v": (0.01423, 0.01066, 0.01427)},
    ),
    Case(
        "singular",
        "1-d, singular start",
        {
            DSM: {
                # the norm over all times there, its root mean square here
                "E_m": Published(0.009268 / math.sqrt(NOTEBOOK_TIMES), None, 6 * MINUTE + 4),
                "E_v": Published(0.01899, 0.00371, 6 * MINUTE + 4, "against ħt/m"),
            }
        },
        {DSM: 13, MARCH: 13, GAUSSIAN: 11, PLAIN_DSM: 13, EXACT_FIELDS: 10},
        mean="E_m_abs",
        changes={MARCH: SINGULAR_MARCH},
    ),
)


def tasks(profile: Profile) -> list[Task]:
    """Everything that this chapter stands on."""
    return [task for case in CASES for method in case.seconds for task in of_method(case, method, profile)]


def of_method(case: Case, method: str, profile: Profile) -> list[Task]:
    """The tasks of one method on one case, a seed each; none where the profile leaves it out."""
    if method not in case.seconds or method in LEFT_OUT[profile.name].get(case.key, ()):
        return []
    return [case.task(method, profile, seed) for seed in (profile.seeds if method in SEEDED else (1,))]
