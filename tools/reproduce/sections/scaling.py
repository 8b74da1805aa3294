"""Scaling: time per epoch, memory, and epochs to a fixed error, against the number of coordinates d."""

from __future__ import annotations

from typing import Any

from tools.reproduce.chapter import Chapter
from tools.reproduce.found import Found
from tools.reproduce.measurements.scaling_problems import INPUTS, changes_of
from tools.reproduce.profile import Profile
from tools.reproduce.sections.scaling_chapter import chapter_of
from tools.reproduce.task import Task

SECTION = "scaling"
PROBLEMS = tuple(INPUTS)
POINTS, TRIAL_POINTS = 1024, 64  # residual points of an epoch, of all methods
SAVED = 9  # times of every result, the ends of the steps of `epochs_to_error`
GRID_ERROR = 1e-2  # tolerance of the grid solver: the error that is asked of everybody
FOCK_ERROR = 2e-3  # of the exact solution that the others are compared with
GRIDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)

Sizes = dict[str, tuple[int, ...]]


def tasks(profile: Profile) -> list[Task]:
    """What to run."""
    timed = profile.pick(PROBLEMS, PROBLEMS, PROBLEMS[1:])
    weighed = profile.pick(PROBLEMS, PROBLEMS, PROBLEMS[:1])
    found = [_epoch_time(profile, problem) for problem in timed]
    found += [_memory(profile, problem) for problem in weighed]
    for problem, (networks, solvers) in _sizes(profile).items():
        for method, sizes in networks.items():
            alone = [d for d in sizes if (problem, method, d) in SHORTER]
            found += [_training(profile, problem, method, (d,)) for d in alone]
            found.append(_training(profile, problem, method, tuple(d for d in sizes if d not in alone)))
        found += [_march(profile, problem, d) for d in solvers["march"]]
        found += [_solver(profile, problem, name, d) for name in SOLVERS for d in solvers.get(name, ())]
    return found


def chapter(profile: Profile, found: Found) -> Chapter:
    """What to show."""
    return chapter_of(tasks(profile), found, profile.pick(POINTS, POINTS, TRIAL_POINTS))


def _sizes(profile: Profile) -> dict[str, tuple[Sizes, Sizes]]:
    """For each problem the values of d: of trainings, and of everything else that solves it."""
    full: dict[str, tuple[Sizes, Sizes]] = {
        "free": (
            {
                "potential": (1, 3, 10, 30, 100),
                "functional_tt": (1, 3, 10, 30),
                "mlp": (1, 3, 10),
                "pinn": (1, 3, 10, 30, 100),
            },
            {"march": (1, 10, 100), "crank_nicolson": (1, 2)},
        ),
        "interacting": (
            {
                "potential": (2, 5, 10, 20),
                "functional_tt": (2, 5, 10, 20),
                "mlp": (2, 5, 10),
                "pinn": (2, 5, 10, 20),
            },
            {"march": (2, 5, 10, 20), "crank_nicolson": (2, 3, 4), "fock": (2, 3, 4, 5, 10, 20)},
        ),
    }
    quick: dict[str, tuple[Sizes, Sizes]] = {
        "free": (
            {"potential": (1, 10), "pinn": (1, 10)},
            {"march": (10,), "crank_nicolson": (1, 2)},
        ),
        "interacting": (
            {"potential": (2, 5), "functional_tt": (2, 5), "pinn": (2, 5)},
            {"march": (2, 5), "crank_nicolson": (2, 3), "fock": (2, 3, 5)},
        ),
    }
    trial: dict[str, tuple[Sizes, Sizes]] = {
        "free": ({"potential": (1,)}, {"march": (1,)}),
        "interacting": ({"pinn": (2,)}, {"march": (), "fock": (2,)}),
    }
    return profile.pick(full, quick, trial)


SOLVERS: dict[str, dict[str, Any]] = {
    "crank_nicolson": {"baselines.crank_nicolson.tolerance": GRID_ERROR},
    "fock": {"baselines.fock.tolerance": FOCK_ERROR},
}
EPOCHS = {"potential": 32, "functional_tt": 40, "mlp": 300, "pinn": 25}
SHORTER = {("interacting", "potential", 20): 28, ("free", "functional_tt", 30): 24}  # for their cost
START = 5.0  # CPU seconds of a child process that does nothing


def _epoch_time(profile: Profile, problem: str) -> Task:
    particles: dict[str, tuple[int, ...]] = {
        "free": profile.pick((1, 2, 5, 10, 20, 50, 100), (1, 3, 10, 30), (1,)),
        "interacting": profile.pick((2, 3, 5, 10, 20), (2, 5, 10), (2,)),
    }
    few = profile.pick(10, 10, 2)
    most = {"potential": 100, "functional_tt": 50, "mlp": 100, "pinn": 100, "pinn_published": few}
    settings = {
        "problem": problem,
        "particles": list(particles[problem]),
        "most": most,
        "points": profile.pick(POINTS, POINTS, TRIAL_POINTS),
        "turns": profile.pick(4, 3, 1),
    }
    seconds = profile.pick(55.0, 20.0, START)
    return _measurement(f"epoch_time-{problem}", "epoch_time:measure", problem, settings, seconds)


def _memory(profile: Profile, problem: str) -> Task:
    free: Sizes = profile.pick(
        {
            **dict.fromkeys(("potential", "mlp", "pinn"), (1, 3, 10, 30, 100)),
            "functional_tt": (1, 3, 10, 30),  # with 100 factors its first step diverges
            "crank_nicolson": (1, 2),
        },
        {**dict.fromkeys(("potential", "functional_tt", "mlp", "pinn"), (1, 10)), "crank_nicolson": (1, 2)},
        {"potential": (1,)},
    )
    interacting: Sizes = profile.pick(
        {
            **dict.fromkeys(("potential", "functional_tt", "mlp", "pinn"), (2, 5, 10, 20)),
            "crank_nicolson": (2, 3, 4),
            "fock": (2, 5, 10),
        },
        {
            **dict.fromkeys(("potential", "functional_tt", "mlp", "pinn"), (2, 10)),
            "crank_nicolson": (2, 3),
            "fock": (2, 5),
        },
        {"pinn": (2,)},
    )
    sizes = {"free": free, "interacting": interacting}[problem]
    settings = {
        "problem": problem,
        "particles": {method: list(found) for method, found in sizes.items()},
        "points": profile.pick(POINTS, POINTS, TRIAL_POINTS),
        "grids": [d for d in GRIDS if d > 1 or problem == "free"],
        "tolerance": GRID_ERROR,
    }
    seconds = profile.pick(30.0, 14.0, START)
    return _measurement(f"memory-{problem}", "memory_use:measure", problem, settings, seconds)


def _training(profile: Profile, problem: str, method: str, sizes: tuple[int, ...]) -> Task:
    last = SHORTER.get((problem, method, sizes[0]), EPOCHS[method])
    settings = {
        "problem": problem,
        "method": method,
        "particles": list(sizes),
        "at": profile.pick(spaced(last), spaced(last), [1, 2]),
        "samples": profile.pick(512, 512, 16),
        "seed": 1,
    }
    seconds = START + sum(profile.pick(last, last, 1) * _epoch_seconds(problem, method, d) for d in sizes)
    name = "-".join(["training", problem, method, *(f"d{d}" for d in sizes)])
    return _measurement(name, "epochs_to_error:measure", problem, settings, seconds)


def _epoch_seconds(problem: str, method: str, d: int) -> float:
    """Measured: CPU seconds of an epoch with its share of the measurements."""
    if method == "mlp":
        return 0.03 + 0.004 * d
    if method == "pinn":
        return 0.12 + 0.003 * d
    if method == "functional_tt":
        return 0.15 + 0.03 * d
    return 0.12 + 0.009 * d if problem == "free" else 0.4 + 0.009 * d**2


def spaced(last: int) -> list[int]:
    """Epochs from 1 to the last, a quarter more each time."""
    found = [1.0]
    while found[-1] < last:
        found.append(min(float(last), max(1.25 * found[-1], found[-1] + 1.0)))
    return list(dict.fromkeys(round(epoch) for epoch in found))


def _march(profile: Profile, problem: str, d: int) -> Task:
    changes = changes_of(problem, d) | {
        "train.mode": "march",
        "march.walkers": profile.pick(1024, 1024, 64),
        "march.block": profile.pick(256, 256, 32),
        "time.save": SAVED,
        "evaluation.nu": 0.0,
        "evaluation.steps": 16,
        "evaluation.draws": "sobol",
        "evaluation.samples": profile.pick(2000, 2000, 20),
        "evaluation.trials": 1,
    }
    if profile.name == "trial":
        changes["march.dt"] = 0.25
    seconds = START + profile.pick(6.0 + 0.06 * d**2, 6.0 + 0.06 * d**2, 1.0)
    if problem == "free":
        seconds = START + profile.pick(5.0 + 0.2 * d, 5.0 + 0.2 * d, 1.0)
    return Task(SECTION, f"march-{problem}-d{d}", "run", INPUTS[problem], changes, seconds=seconds)


def _solver(profile: Profile, problem: str, solver: str, d: int) -> Task:
    changes = changes_of(problem, d) | SOLVERS[solver] | {"time.save": SAVED}
    if profile.name == "trial":
        changes["baselines.fock.cutoff"] = 12
    seconds = START + {"crank_nicolson": 0.2 * 4.0 ** (d - 2), "fock": 0.5 + 1.1 * d}[solver]
    return Task(SECTION, f"{solver}-{problem}-d{d}", solver, INPUTS[problem], changes, seconds=seconds)


def _measurement(name: str, measurement: str, problem: str, settings: dict[str, Any], seconds: float) -> Task:
    return Task(
        SECTION,
        name,
        "measure",
        INPUTS[problem],
        measurement=measurement,
        settings=settings,
        seconds=seconds,
    )
