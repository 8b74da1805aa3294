"""Interacting bosons: the cases, who solves them, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tools.reproduce.profile import Profile
from tools.reproduce.rows import Published
from tools.reproduce.task import Task

SECTION = "bosons"
Changes = Mapping[str, Any]

DSM, MARCH, TVMC, PINN, GAUSSIAN = "DSM", "DSM, marching", "t-VMC", "PINN", "Gaussian sampling"
TVMC_PUBLISHED, PINN_PUBLISHED = "t-VMC, published form", "PINN, published form"
GRID, FOCK, EXACT = "Crank-Nicolson", "Fock space", "exact"
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}

# published figures of two bosons at g = 1; the Crank-Nicolson time is that of three bosons on 50^3 points
AT_THE_END = {
    DSM: Published(0.225, words="figure"),
    MARCH: Published(0.225, words="figure"),
    TVMC: Published(0.27, words="figure"),
    TVMC_PUBLISHED: Published(0.27, words="figure"),
    PINN: Published(0.045, words="figure"),
    PINN_PUBLISHED: Published(0.045, words="figure"),
}
GRID_SECONDS = 20.4

# measured CPU seconds with sampling and measuring, by number of bosons
SECONDS: Mapping[str, Mapping[int, float]] = {
    DSM: {2: 43.0, 3: 53.0, 4: 61.0, 5: 75.0},
    MARCH: {2: 9.0, 3: 11.0, 4: 13.0, 5: 16.0},
    TVMC: {2: 3.0, 3: 5.0, 4: 7.0, 5: 9.0},
    PINN: {2: 15.0, 3: 16.0, 4: 18.0, 5: 20.0},
    GAUSSIAN: {3: 45.0, 4: 55.0, 5: 65.0},
}


@dataclass(frozen=True)
class Case:
    """One problem of the publication.

    Attributes:
        particles: how many bosons.
        g: strength of the interaction.
        profile: how much is run.
    """

    particles: int
    g: float
    profile: Profile

    @property
    def name(self) -> str:
        """For names of tasks and pictures: two_bosons_g05, three_bosons."""
        number = f"{NUMBERS[self.particles]}_bosons"
        return f"{number}_g{self.g:g}".replace(".", "") if self.particles == 2 else number

    @property
    def title(self) -> str:
        """For tables."""
        return f"{self.particles} bosons, g = {self.g:g}"

    @property
    def published(self) -> bool:
        """Whether numbers were published."""
        return (self.particles, self.g) == (2, 1.0)

    @cached_property
    def input(self) -> str:
        """The input for everything but the march."""
        return f"inputs/{NUMBERS[self.particles]}_bosons.toml"

    @cached_property
    def physics(self) -> Changes:
        """What of the physics and the times that are saved differs from the input."""
        saved = self.profile.pick(41 if self.particles == 2 else 21, 21, 11)
        strength = {} if self.g == 1.0 else {"system.interaction.g": self.g}
        return {**strength, "time.save": saved}


@dataclass(frozen=True)
class Entrant:
    """One method on one case.

    Attributes:
        method: its name in tables.
        tasks: one for each seed.
        reference: an exact or grid solver.
        published: of Var x1 at t = 1.
    """

    case: Case
    method: str
    tasks: tuple[Task, ...]
    reference: bool = False
    published: Published | None = None


def cases(profile: Profile) -> list[Case]:
    """All problems: two bosons with three strengths, then more bosons."""
    chosen = profile.pick(
        [(2, 0.5), (2, 1.0), (2, 2.0), (3, 1.0), (4, 1.0), (5, 1.0)],
        [(2, 1.0), (2, 2.0), (3, 1.0), (5, 1.0)],
        [(2, 1.0), (3, 1.0)],
    )
    return [Case(number, g, profile) for number, g in chosen]


def entrants(case: Case) -> list[Entrant]:
    """Everybody who solves a case, the exact solution last."""
    return [*_sampled(case), *_grids(case), *_exact(case)]


def reference(case: Case) -> Task:
    """The exact solution that errors are measured against."""
    small = {2: 1.0, 3: 3.0, 4: 6.0, 5: 16.0}
    # two to four bosons take a second or two however little is tolerated; five take a minute at 3e-5
    tolerance = case.profile.pick(3e-5 if case.particles < 5 else 1e-4, 1e-4, 1e-2)
    changes = {"baselines.exact.tolerance": tolerance}
    return _task(case, "exact", "exact", changes, small[case.particles])


def trajectories(profile: Profile) -> dict[int, Task]:
    """Short marches whose samples follow Nelson's process and are kept, by number of bosons."""
    sizes = profile.pick((2, 5), (2, 5), (2,))
    few = {
        "time.save": profile.pick(201, 201, 11),
        "evaluation.nu": 1.0,
        "evaluation.draws": "independent",
        "evaluation.samples": 200,
        "output.observables": [],
        "output.trajectories": 12,
    }
    return {
        number: Task(
            SECTION,
            f"{NUMBERS[number]}_bosons-trajectories",
            "run",
            f"inputs/march_{NUMBERS[number]}_bosons.toml",
            {**few, **_tiny(profile, MARCH)},
            seconds=profile.pick(8.0, 8.0, 2.0),
        )
        for number in sizes
    }


def _sampled(case: Case) -> list[Entrant]:
    """Methods that end in samples."""
    profile, several = case.profile, case.profile.seeds
    if profile.name == "trial" and case.particles > 2:
        return [_entrant(case, TVMC, "tvmc", "tvmc", several)]
    found = [_entrant(case, DSM, "dsm", "run", several), _march(case, several)]
    found.append(_entrant(case, TVMC, "tvmc", "tvmc", several))
    found.append(_entrant(case, PINN, "pinn", "pinn", several[:1]))
    if case.particles > 2 and profile.name == "full":
        found.append(_entrant(case, GAUSSIAN, "gaussian", "gaussian_sampling", several[:1]))
    return [*found, *(_published_forms(case) if case.published else [])]


def _march(case: Case, seeds: Sequence[int]) -> Entrant:
    number = case.particles if case.particles in (2, 5) else 5
    changes = {} if number == case.particles else {"system.particles": case.particles}
    file = f"inputs/march_{NUMBERS[number]}_bosons.toml"
    return _entrant(case, MARCH, "march", "run", seeds, changes, file)


def _published_forms(case: Case) -> list[Entrant]:
    """As published but for fewer steps, walkers and points and a narrower network: those cost hours.

    Wide networks and many products are slow to sample from, too, so there are fewer samples and times.
    """
    profile = case.profile
    few = {"evaluation.samples": 4000, "time.save": 11}
    tvmc = {
        **few,
        "baselines.tvmc.ansatz": "hermite",
        "baselines.tvmc.integrator": "euler",
        "baselines.tvmc.sampling": "metropolis",
        "baselines.tvmc.sweeps": 5,
        "baselines.tvmc.n_max": profile.pick(20, 20, 2),
        "baselines.tvmc.dt": profile.pick(0.002, 0.005, 0.1),
        "baselines.tvmc.walkers": profile.pick(2048, 1024, 128),
    }
    pinn = {
        **few,
        "baselines.pinn.form": "published",
        "baselines.pinn.precision": "float32",
        "baselines.pinn.learning_rate": 5e-4,
        "baselines.pinn.points": profile.pick(512, 256, 64),
        "baselines.pinn.initial_points": profile.pick(256, 256, 64),
        "baselines.pinn.boundary_points": 80,
        "baselines.pinn.epochs": profile.pick(1500, 300, 5),
        "baselines.pinn.width": profile.pick(100, 50, 16),
    }
    forms = [
        (TVMC_PUBLISHED, "tvmc", tvmc, (50.0, 12.0, 2.0)),
        (PINN_PUBLISHED, "pinn", pinn, (91.0, 25.0, 2.0)),
    ]
    if profile.name == "trial":
        forms = forms[1:]  # the other one has ten seconds of compiling to do
    return [
        Entrant(
            case,
            title,
            (
                _task(
                    case, f"{method}_published", method, _with(case, title, changes), profile.pick(*seconds)
                ),
            ),
            published=AT_THE_END[title],
        )
        for title, method, changes, seconds in forms
    ]


def _grids(case: Case) -> list[Entrant]:
    """Crank-Nicolson: refined by itself, and as published on grids of 50 and 60 points."""
    profile, prefix = case.profile, "baselines.crank_nicolson"

    def grid(points: int, dt: float, **more: Any) -> Changes:
        return {f"{prefix}.{key}": value for key, value in {"grid": points, "dt": dt, **more}.items()}

    def entrant(
        title: str, name: str, changes: Changes, seconds: float, paid: float | None = None
    ) -> Entrant:
        task = _task(case, name, "crank_nicolson", changes, seconds)
        words = {"published": Published(seconds=paid)} if paid else {}
        return Entrant(case, title, (task,), reference=True, **words)

    published = {"space_order": 2, "time_order": 2, "extent": 1.5}
    tolerance = profile.pick(1e-3, 1e-2, 5e-2)
    if case.particles == 4:
        if profile.name != "full":
            return [entrant(GRID, "grid_30", grid(30, 0.05, space_order=4), 3.0)]
        return [
            entrant(f"{GRID}, 50 points as published", "grid_50", grid(50, 0.01, **published), 12.0),
            entrant(f"{GRID}, 60 points as published", "grid_60", grid(60, 0.01, **published), 24.0),
            entrant(GRID, "grid_64", grid(64, 1 / 60, space_order=4), 20.0),
        ]
    own = entrant(
        GRID, "crank_nicolson", {f"{prefix}.tolerance": tolerance}, 16.0 if case.particles == 3 else 1.0
    )
    if case.particles != 3:
        return [own]  # five bosons are refused: the reason stands in the table
    points, dt = profile.pick((50, 0.001), (50, 0.001), (20, 0.05))
    told = f"{GRID}, {points} points as published"
    return [entrant(told, f"grid_{points}", grid(points, dt, **published), 2.0, GRID_SECONDS), own]


def _exact(case: Case) -> list[Entrant]:
    """The reference, and Fock space where the reference is another solver."""
    found = [Entrant(case, EXACT, (reference(case),), reference=True)]
    if case.particles < 5 and case.profile.name == "full":
        seconds = {2: 2.0, 3: 4.0, 4: 6.0}[case.particles]
        found.insert(0, Entrant(case, FOCK, (_task(case, "fock", "fock", {}, seconds),), reference=True))
    return found


def _entrant(
    case: Case,
    title: str,
    name: str,
    method: str,
    seeds: Sequence[int],
    changes: Changes | None = None,
    file: str = "",
) -> Entrant:
    tasks = tuple(
        _task(
            case,
            f"{name}-seed{seed}",
            method,
            {**(changes or {}), **_with(case, title, {"seed": seed})},
            case.profile.pick(1.0, 0.9, 0.05) * SECONDS[title][case.particles],
            file,
        )
        for seed in seeds
    )
    return Entrant(case, title, tasks, published=AT_THE_END.get(title) if case.published else None)


def _with(case: Case, title: str, changes: Changes) -> Changes:
    """With what all sampled solutions have in common: moments, energies and densities are enough."""
    kept = {"output.trajectories": 12} if title == DSM and case.published else {}
    return {**changes, "output.observables": [], **kept, **_tiny(case.profile, title)}


def _tiny(profile: Profile, title: str) -> Changes:
    """What makes a trial of the program short."""
    if profile.name != "trial":
        return {}
    small: dict[str, Changes] = {
        DSM: {"train.epochs": 4},
        MARCH: {"march.walkers": 256, "march.block": 64, "march.dt": 0.1},
        TVMC: {"baselines.tvmc.walkers": 256},
        PINN: {"baselines.pinn.epochs": 4, "baselines.pinn.points": 256},
    }
    return {"evaluation.samples": 400, "evaluation.bins": 24, **small.get(title, {})}


def _task(case: Case, name: str, method: str, changes: Changes, seconds: float, file: str = "") -> Task:
    return Task(
        SECTION,
        f"{case.name}-{name}",
        method,
        file or case.input,
        {**case.physics, **changes},
        seconds=seconds,
    )
