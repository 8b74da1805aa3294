"""Tensor networks: published counts of numbers, digits, and bosons at few numbers and short gradients.

    layers      the layers of published networks are made and counted
    digits      784 -> 256 -> 10 with MPO shapes in every format, against narrow dense networks
    two, five   interacting bosons, the default network: hidden layers of width 36 as tensors, against dense
                ones of as many numbers
    velocity    two bosons, networks of u and v (`mlp`): hidden layers of width 64, likewise
    bytes       what ranks sum in a step of training, against the width

Nothing here is a rival of deep stochastic mechanics: all networks of bosons are trained by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.reproduce.chapter import Chapter
from tools.reproduce.found import Found
from tools.reproduce.profile import Profile
from tools.reproduce.sections.tensor_bosons import Problem, Trained, boson_blocks
from tools.reproduce.sections.tensor_counts import byte_blocks, count_blocks, not_run
from tools.reproduce.sections.tensor_digits import digit_blocks
from tools.reproduce.sections.tensor_styles import NAMES
from tools.reproduce.task import Task

SECTION = "tensors"
# ranks of the digits whose shares of the weights are about 0.003, 0.009 and 0.03, and the hidden units of
# dense networks that have as many numbers
RANKS: Mapping[str, tuple[int, ...]] = {
    "tt": (2, 4, 8),
    "tr": (2, 3, 7),
    "lowrank": (1, 2, 5),
    "cp": (4, 12, 48),
    "tucker": (3, 5, 8),
    "blockterm": (2, 4, 6),
    "dense": (1, 2, 3, 4, 7, 8, 9, 256),
}
DIGITS_SECONDS = {  # of one seed
    "tt": 5.6,
    "tr": 6.6,
    "lowrank": 2.7,
    "cp": 7.2,
    "tucker": 10.3,
    "blockterm": 10.4,
    "dense": 7.5,
}
BYTES_FORMATS = ("dense", "tt", "tr", "lowrank")


@dataclass(frozen=True)
class Network:
    """A network of bosons: a format, and its rank, or the width of a dense one."""

    format: str
    size: int
    seconds: float = 40.0

    @property
    def key(self) -> str:
        """For names of tasks."""
        return f"{self.format}{self.size}"

    def label(self, width: int) -> str:
        """For tables; `width` is that of the layers that are decomposed."""
        if self.format == "dense":
            return f"dense, width {self.size}"
        return f"{NAMES[self.format]}, rank {self.size}, width {width}"

    def changes(self, width: int) -> dict[str, Any]:
        """Of the input."""
        if self.format == "dense":
            return {"network.width": self.size}
        tensor = {"network.tensor.format": self.format, "network.tensor.rank": self.size}
        return {"network.width": width} | tensor


Networks = Mapping[Network, tuple[int, ...]]  # with the seeds of each


@dataclass(frozen=True)
class Case:
    """A problem with its networks.

    Attributes:
        key, title: short, and for headings.
        input: of the problem.
        width: of the hidden layers that are decomposed.
        networks: with the seeds of each.
        changes: what all runs have in common.
    """

    key: str
    title: str
    input: str
    width: int
    networks: Networks
    changes: Mapping[str, Any] = field(default_factory=dict)

    def run(self, network: Network, seed: int) -> Task:
        """One run."""
        changes = {**self.changes, **network.changes(self.width), "seed": seed}
        name = f"{self.key}-{network.key}-seed{seed}"
        return Task(SECTION, name, "run", self.input, changes, seconds=network.seconds)

    @property
    def runs(self) -> list[Task]:
        """All runs."""
        return [self.run(network, seed) for network, seeds in self.networks.items() for seed in seeds]

    @property
    def reference(self) -> Task:
        """The exact solution; the kind of network does not matter to it."""
        kept = ("time.save", "system.particles")
        changes = {key: value for key, value in self.changes.items() if key in kept}
        seconds = 20.0 if "five" in self.input and "system.particles" not in changes else 2.0
        name = f"exact-{self.input.removeprefix('inputs/').removesuffix('.toml')}"
        return Task(SECTION, name, "exact", self.input, changes, seconds=seconds)


def cases(profile: Profile) -> list[Case]:
    """The problems of bosons with the networks that are trained on them."""
    measured: dict[str, Any] = {
        "time.save": profile.pick(21, 21, 3),
        "evaluation.samples": profile.pick(20480, 20480, 640),
        "output.observables": ["shots"],  # densities and moments are always there; shots have the fields
    }
    epochs = profile.pick({}, {"train.epochs": 60}, {"train.epochs": 2})
    one, more = (1,), profile.pick((1, 2), (1,), (1,))
    start = profile.pick(0.0, 0.0, 4.5)  # CPU seconds in which nothing is trained

    def networks(full: Networks, quick: Sequence[str], trial: Sequence[str]) -> Networks:
        kept = profile.pick([each.key for each in full], list(quick), list(trial))
        return {
            Network(each.format, each.size, profile.pick(1.0, 0.65, 0.0) * each.seconds + start): seeds
            for each, seeds in full.items()
            if each.key in kept
        }

    two: Networks = {
        Network("dense", 12, 27.0): one,
        Network("dense", 19, 48.0): one,
        Network("tt", 4, 52.0): one,
        Network("tr", 2, 52.0): one,
        Network("lowrank", 4, 51.0): one,
    }
    five: Networks = {
        Network("dense", 16, 53.0): one,
        Network("dense", 19, 72.0): more,
        Network("tt", 2, 71.0): one,
        Network("tt", 4, 90.0): more,
        Network("tr", 2, 88.0): one,
        Network("lowrank", 4, 85.0): one,
    }
    velocity: Networks = {
        Network("dense", 26, 21.0): one,
        Network("tt", 4, 37.0): one,
        Network("tr", 2, 37.0): one,
        Network("lowrank", 4, 33.0): one,
    }
    # a trial only asks whether everything works: three bosons have a cheap exact solution
    fewer = profile.pick({}, {}, {"system.particles": 3})
    epochs_of_mlp, warmup = profile.pick((600, 50), (200, 50), (2, 0))
    mlp = {"network.kind": "mlp", "train.epochs": epochs_of_mlp, "train.warmup": warmup}
    made = [
        Case(
            "two",
            "Two bosons, default network",
            "inputs/two_bosons.toml",
            36,
            networks(two, (), ("dense12", "tt4")),
            {**measured, **epochs},
        ),
        Case(
            "five",
            "Five bosons, default network",
            "inputs/five_bosons.toml",
            36,
            networks(five, ("dense19", "tt4"), ("tr2",)),
            {**measured, **epochs, **fewer},
        ),
        Case(
            "velocity",
            "Two bosons, velocity networks",
            "inputs/two_bosons.toml",
            64,
            networks(velocity, (), ("lowrank4",)),
            {**measured, **mlp},
        ),
    ]
    return [case for case in made if case.networks]


def digits(profile: Profile) -> dict[str, Task]:
    """One measurement for every format."""
    formats = profile.pick(tuple(RANKS), ("tt", "tr", "lowrank", "dense"), ("tt", "dense"))
    seeds = profile.pick((0, 1, 2), (0, 1), (0,))
    epochs = profile.pick(40, 40, 1)
    return {
        format: Task(
            SECTION,
            f"digits-{format}",
            "measure",
            measurement="digits_table:accuracies",
            settings={"format": format, "ranks": RANKS[format], "seeds": seeds, "epochs": epochs},
            seconds=2.5 + DIGITS_SECONDS[format] * len(seeds) * epochs / 40,
        )
        for format in formats
    }


def found_ranks(profile: Profile) -> Task:
    """Ranks that find themselves."""
    adapters = profile.pick(("rounding", "growth", "shrinkage"), ("rounding",), ())
    seeds = profile.pick((0, 1), (0,), (0,))
    return Task(
        SECTION,
        "digits-ranks",
        "measure",
        measurement="ranks_found:found_ranks",
        settings={"adapters": adapters, "seeds": seeds},
        seconds=4.0 + 3.0 * len(adapters) * len(seeds),
    )


def layers() -> Task:
    """Published counts."""
    return Task(SECTION, "layers", "measure", measurement="layers_table:counts", seconds=3.0)


def gradient_bytes(profile: Profile) -> Task:
    """What ranks sum."""
    widths = profile.pick((64, 128, 256, 512, 1024), (64, 128, 256, 512, 1024), (64, 128))
    return Task(
        SECTION,
        "gradient-bytes",
        "measure",
        measurement="gradient_bytes:bytes_table",
        settings={"widths": widths, "formats": BYTES_FORMATS, "rank": 16},
        seconds=profile.pick(4.0, 4.0, 3.0),
    )


def tasks(profile: Profile) -> list[Task]:
    """All of it."""
    bosons = cases(profile)
    references = {case.reference.key: case.reference for case in bosons}
    return [
        layers(),
        gradient_bytes(profile),
        *digits(profile).values(),
        *([found_ranks(profile)] if found_ranks(profile).settings["adapters"] else []),
        *references.values(),
        *(task for case in bosons for task in case.runs),
    ]


def chapter(profile: Profile, found: Found) -> Chapter:
    """Tables, and two pictures."""
    counts = found.columns(layers())
    images = {format: found.columns(task) for format, task in digits(profile).items()}
    ranks, sums = found.columns(found_ranks(profile)), found.columns(gradient_bytes(profile))
    problems = [
        Problem(
            case.title,
            case.run(next(iter(case.networks)), 1),
            [
                Trained.of(
                    network.label(case.width),
                    network.format,
                    [found.entry(case.run(network, seed), case.reference) for seed in seeds],
                )
                for network, seeds in case.networks.items()
            ],
        )
        for case in cases(profile)
    ]
    return Chapter(
        "Tensor networks",
        [
            *count_blocks(counts),
            *digit_blocks(images, ranks),
            *boson_blocks(problems),
            *byte_blocks(sums),
            *not_run(),
        ],
    )
