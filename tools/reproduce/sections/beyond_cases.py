"""Physics beyond the sources: the problems, what solves each, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.reproduce.profile import Profile
from tools.reproduce.task import Task

SECTION = "beyond"
Changes = dict[str, Any]

DSM, MARCH, EXACT = "DSM", "DSM, marching", "exact"
SHORT = {DSM: "dsm", MARCH: "march", EXACT: "exact"}
FEW: Changes = {"output.observables": ["smooth_density"]}
PAIRS: Changes = {"output.observables": ["smooth_density", "pairs"]}
TINY: Changes = {  # for trials of the program
    "march.walkers": 128,
    "march.block": 64,
    "march.dt": 0.02,
    "evaluation.samples": 200,
    "evaluation.steps": 8,
    "output.correlation_times": 3,
}


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes:
        name: for tasks and pictures.
        title: for tables.
        particles, g: of the problem.
        input: which, without what `physics` changes.
        physics: changes of the problem; the exact solver gets them too.
        settings: changes of how it is solved, for every method that is run, by its name.
        seeds: how many of each.
        seconds: CPU seconds of one task, by method.
        exact: whether a solver reaches it.
    """

    name: str
    title: str
    particles: int
    g: float
    input: str
    physics: Changes
    settings: Mapping[str, Changes]
    seeds: Sequence[int]
    seconds: Mapping[str, float]
    exact: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """By which it is solved."""
        return tuple(self.settings)

    def tasks(self, method: str) -> list[Task]:
        """One for each seed."""
        changes = {**self.physics, **self.settings[method]}
        return [
            self._task(f"{SHORT[method]}-seed{seed}", "run", {"seed": seed, **changes}, method)
            for seed in self.seeds
        ]

    @property
    def reference(self) -> Task | None:
        """The exact solution, None where there is none."""
        return self._task("exact", "exact", self.physics, EXACT) if self.exact else None

    def all_tasks(self) -> list[Task]:
        """Of all methods, and the exact solution."""
        tasks = [task for method in self.methods for task in self.tasks(method)]
        return tasks if self.reference is None else [*tasks, self.reference]

    def _task(self, suffix: str, method: str, changes: Changes, costs: str) -> Task:
        seconds = self.seconds.get(costs, 10.0)
        return Task(SECTION, f"{self.name}-{suffix}", method, self.input, changes, seconds=seconds)


@dataclass(frozen=True)
class Basis:
    """How many functions the cluster ansatz has: of the distance in a pair's amplitude, and collective.

    Attributes:
        pair, collective: `march.pair_functions`, `march.collective_functions`.
    """

    pair: int
    collective: int

    @property
    def title(self) -> str:
        return f"{self.pair} and {self.collective}"


@dataclass(frozen=True)
class Breathing:
    """A case of the breathing mode.

    Attributes:
        case: the problem.
        start: when the trap is tightened.
        omega: of the trap from then on.
    """

    case: Case
    start: float = 1.5
    omega: float = 1.4


def breathing(profile: Profile) -> list[Breathing]:
    """Several numbers of bosons and strengths; the one that is drawn first."""
    kinds = profile.pick([(3, 0.2), (2, 0.2), (4, 0.2), (3, 0.1)], [(3, 0.2), (3, 0.1)], [(2, 0.2)])
    seconds = {2: 18.0, 3: 26.0, 4: 70.0}
    found = []
    for k, (particles, g) in enumerate(kinds):
        samples = profile.pick(8190 if k == 0 else 4090, 2040, 200)
        settings = {**FEW, "evaluation.samples": samples}
        physics: dict[str, Any] = {"system.particles": particles, "system.interaction.quench.g.to": g}
        # of the default 4,096 walkers of four bosons too few carry the weight after t = 4.8
        many: Changes = {"march.walkers": 8192} if particles == 4 else {}
        settings |= profile.pick(many, {"march.walkers": 1024}, TINY)
        start = profile.pick(1.5, 1.5, 0.05)
        if profile.name == "trial":
            physics |= {
                "time.end": 0.3,
                "time.save": 13,
                "system.trap.quench.omega.start": start,
                "system.interaction.quench.g.duration": start,
            }
        methods: dict[str, Changes] = {MARCH: settings}
        if profile.name == "full" and particles == 2:  # one network for so long a time, to see what is lost
            methods[DSM] = {**settings, "train.mode": "global"}
        name = f"breathing_{particles}_bosons_g{round(100 * g):03d}"
        case = Case(
            name,
            f"{particles} breathing bosons, g = {g:g}",
            particles,
            g,
            "inputs/march_breathing.toml",
            physics,
            methods,
            profile.seeds[:2] if k == 0 else (1,),
            {
                DSM: 40.0,
                MARCH: profile.pick(seconds[particles], 17.0, 3.0),
                EXACT: profile.pick(8.0, 8.0, 2.0),
            },
        )
        found.append(Breathing(case, start))
    return found


def tunnelling(profile: Profile) -> Case:
    """One particle in a double well; the shorter run still sees it half over."""
    settings: Changes = FEW | profile.pick(
        {}, {"march.walkers": 2048, "evaluation.samples": 1020, "time.steps": 120}, TINY
    )
    return Case(
        "tunnelling",
        "One particle in a double well",
        1,
        0.0,
        "inputs/march_tunnelling.toml",
        profile.pick({}, {"time.end": 6.0, "time.save": 31}, {"time.end": 0.2, "time.save": 6}),
        {MARCH: settings},
        (1,),
        {MARCH: profile.pick(75.0, 20.0, 3.0), EXACT: 2.0},
    )


def plane(profile: Profile) -> list[Case]:
    """Two and three bosons in two dimensions."""
    fewer: Changes = profile.pick({"evaluation.samples": 20480}, {"evaluation.samples": 4090}, TINY)
    trained: Changes = {"train.epochs": 2, "train.points": 64, "train.trajectories": 32}
    trial = profile.name == "trial"
    march: Changes = PAIRS | fewer | profile.pick({"evaluation.samples": 8190}, {}, {})
    physics: Changes = {"time.end": 0.2, "time.save": 6} if trial else {}
    two: dict[str, Changes] = {MARCH: {**PAIRS, **fewer, "train.mode": "march"}}
    if profile.name != "quick":
        two[DSM] = {**PAIRS, **fewer, **(trained if trial else {})}
    cases = [
        Case(
            "plane_2_bosons",
            "2 bosons in two dimensions, g = 1",
            2,
            1.0,
            "inputs/two_dimensions.toml",
            physics,
            two,
            profile.seeds[:2],
            {DSM: profile.pick(50.0, 42.0, 4.0), MARCH: profile.pick(13.0, 6.0, 3.0), EXACT: 3.0},
        )
    ]
    if not trial:
        cases.append(
            Case(
                "plane_3_bosons",
                "3 bosons in two dimensions, g = 1",
                3,
                1.0,
                "inputs/march_two_dimensions.toml",
                physics,
                {MARCH: march},
                profile.seeds[:2],
                {MARCH: profile.pick(18.0, 15.0, 3.0), EXACT: 15.0},
            )
        )
    return cases


# Nelson's process, whose checks have standard errors of independent samples
OF_TEN: Changes = {
    **FEW,
    "evaluation.nu": 1.0,
    "evaluation.draws": "independent",
    "evaluation.steps": 64,
    "march.walkers": 2048,
}


@dataclass(frozen=True)
class Ten:
    """Ten bosons.

    Attributes:
        case: with the functions that are the default, of several seeds.
        bases: the same of one seed with other numbers of functions, from few to many; the default is one of
            them.
    """

    case: Case
    bases: Mapping[Basis, Task] = field(default_factory=dict)

    def all_tasks(self) -> list[Task]:
        """Each once."""
        tasks = {task.key: task for task in [*self.case.all_tasks(), *self.bases.values()]}
        return list(tasks.values())


DEFAULT_BASIS = Basis(8, 2)


def ten(profile: Profile) -> Ten:
    """An interaction that is switched on between ten bosons; no exact solver reaches it."""
    settings = OF_TEN | profile.pick({"evaluation.samples": 4090}, {"evaluation.samples": 1020}, TINY)
    seconds = {MARCH: profile.pick(31.0, 20.0, 4.0)}
    case = Case(
        "ten_bosons",
        "10 bosons, g = 0.5",
        10,
        0.5,
        "inputs/march_ten_bosons.toml",
        {"time.end": 0.1, "time.save": 6} if profile.name == "trial" else {},
        {MARCH: settings},
        profile.seeds,
        seconds,
        exact=False,
    )
    bases = profile.pick(
        [Basis(2, 1), Basis(4, 1), DEFAULT_BASIS, Basis(12, 3)],
        [Basis(4, 1), DEFAULT_BASIS],
        [Basis(2, 1), DEFAULT_BASIS],
    )
    first = case.tasks(MARCH)[0]
    tasks = {}
    for basis in bases:
        changes = {"march.pair_functions": basis.pair, "march.collective_functions": basis.collective}
        name = f"{case.name}-basis-{basis.pair}-{basis.collective}"
        cost = seconds[MARCH] * (0.6 if basis.collective == 1 else 1.4)
        tasks[basis] = (
            first
            if basis == DEFAULT_BASIS
            else Task(SECTION, name, "run", case.input, {**first.changes, **changes}, seconds=cost)
        )
    return Ten(case, tasks)
