"""Time-dependent variational Monte Carlo: an ansatz that follows the Schroedinger equation as well as it can.

    i hbar S theta' = F        `dsmsim.tdvp.equations`

for the parameters theta of log psi(x; theta), with averages over walkers that move along (`variational/`).
Which ansatz: [baselines.tvmc] `ansatz`,

    jastrow   the initial state times one-body, pair and three-body functions: log psi linear in theta
    hermite   the published one: Hermite functions and their symmetrised products
    python    one of your own

What the ansatz cannot follow is known: with the residual r of the equations of motion and the fluctuation
sigma of the local energy, the distance of states grows at most as

    d/dt || psi_theta - psi ||  <=  r sigma / hbar ,

whose integral over time is stored (`error_wave_function`: a bound but for sampling errors; densities are
usually far more accurate). Afterwards |psi_theta|^2 is sampled as any other wave function is
(`wave/evaluate.py`).

Sources: Carleo, Becca, Schiro, Fabrizio, Sci. Rep. 2, 243 (2012); Carleo et al., Phys. Rev. X 7, 031026
(2017).

Shapes: W walkers, n coordinates, P parameters, K steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.prediction import Prediction
from baselines.solution import Progress, Solution
from baselines.threads import set_numba_threads
from baselines.variational.ansatz import Ansatz
from baselines.variational.custom import custom
from baselines.variational.evolution import Evolution, Record, evolve, step_of
from baselines.variational.hermite import hermite
from baselines.variational.jastrow import jastrow
from baselines.wave.evaluate import Measured, measure
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.parallel import World
from dsmsim.store import JsonLines, Stopwatch
from dsmsim.system import build_initial

__all__ = ["Evolution", "build_ansatz", "evolve", "predict", "solve"]

ANSAETZE: dict[str, Callable[[Config], Ansatz]] = {"jastrow": jastrow, "hermite": hermite, "python": custom}
TRUSTED = 1.0  # bound of the error of psi above which there is a warning: an overlap of a half may be left
EVERY = 2.0  # seconds between lines of progress
# for predictions, on one core: seconds that an evaluation takes for each pair, and for each coordinate
SECONDS_PER_PAIR, SECONDS_PER_COORDINATE = 8e-8, 1.5e-7
SECONDS_PER_SQUARE = 1.5e-9  # for each of P^2 products
STEPS, STAGES = 16, 7  # of the adaptive integrator, about
TERMS = 60.0  # what the measurement costs of a sample at a saved time, in pairs


def build_ansatz(config: Config) -> Ansatz:
    """The ansatz that [baselines.tvmc] asks for.

    Raises:
        ConfigError: it cannot treat the problem, or a function of the user cannot be used.
    """
    return ANSAETZE[config.baselines.tvmc.ansatz](config)


def solve(config: Config, out: Path, *, world: World | None = None, progress: Progress | None = None) -> Path:
    """Solve the input as [baselines.tvmc] says, and write `out/results.h5` and `out/log.jsonl`.

    Args:
        world: the ranks, which all call this; None: this process alone.
        progress: called with a line of text from time to time.

    Returns:
        The path of the results; rank 0 writes them.

    Raises:
        ConfigError: as `build_ansatz`.
        DivergedError: the evolution cannot be right from some time on.
        StoreError: a file cannot be written.
    """
    started, world = Stopwatch.start(), world or World()
    set_numba_threads(torch.get_num_threads())
    tell = _Teller(config, progress)
    try:
        ansatz = build_ansatz(config)
    except ConfigError as error:  # the same on every rank
        raise world.agreed(error) from None
    with ExitStack() as stack:
        record = tell.step
        if world.rank == 0:
            Path(out).mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(JsonLines(Path(out) / "log.jsonl"))

            def record(entry: Record) -> None:
                log.write(entry)
                tell.step(entry)

        evolution = evolve(config, ansatz, world, record=record)
    solving = started.cpu_seconds
    measured = measure(config, evolution, world, tell.samples)
    seconds = world.sum_(torch.tensor([solving, started.cpu_seconds], dtype=torch.float64)).tolist()
    how = _how(config, evolution, measured)
    groups = {**measured.groups, "propagation": _propagation(evolution)}
    solution = Solution(np.asarray(config.time.save_times), groups, how)
    return world.on_root(lambda: solution.write(config, out, started, costs=seconds, world_size=world.size))


def predict(config: Config) -> Prediction:
    """What `solve` would cost on one core, roughly.

    Raises:
        ConfigError: as `build_ansatz`.
    """
    table, ansatz = config.baselines.tvmc, build_ansatz(config)
    system, initial = config.system, build_initial(config)
    parameters, n = len(ansatz.names), initial.coordinates
    evaluations = STEPS * STAGES
    if table.integrator != "adaptive":
        stages = {"euler": 1, "heun": 2, "rk4": 4}[table.integrator]
        evaluations = round(config.time.end / step_of(config, initial)) * stages
    pairs = 0.5 * system.particles * (system.particles - 1)
    functions = table.n_max**2 / 10 if table.ansatz == "hermite" else 1.0
    one = SECONDS_PER_COORDINATE * n + SECONDS_PER_PAIR * pairs * functions
    seconds = evaluations * table.walkers * (one + SECONDS_PER_SQUARE * parameters**2)
    samples = config.evaluation.samples * len(config.time.save_times)
    seconds += samples * (one + TERMS * SECONDS_PER_PAIR)
    return Prediction(
        method=f"tvmc, {table.ansatz}",
        points=f"{parameters} parameters, {table.walkers:,} walkers",
        memory=16 * table.walkers * (8 * n + 4 * parameters) + 64 * config.evaluation.samples * n,
        seconds=seconds,
        notes=("variational: what the ansatz cannot describe stays wrong however many walkers there are",),
    )


class _Teller:
    """Lines of progress, not too many."""

    def __init__(self, config: Config, progress: Progress | None) -> None:
        self.end, self.progress = config.time.end, progress
        self.last = time.monotonic()

    def step(self, entry: Record) -> None:
        """A step of the evolution is done."""
        self._say(f"t = {entry['time']:.4g} of {self.end:g}, residual {entry['residual']:.3f}")

    def samples(self, done: int, total: int) -> None:
        """Some samples are measured."""
        self._say(f"{done:,} of {total:,} samples measured")

    def _say(self, line: str) -> None:
        if self.progress is not None and time.monotonic() - self.last >= EVERY:
            self.progress(line)
            self.last = time.monotonic()


def state_error_bound(evolution: Evolution, hbar: float) -> float:
    """The integral of r sigma/hbar over time: a bound of || psi_theta - psi ||, at most the trivial 2."""
    times = np.array([entry["time"] for entry in evolution.records])
    rates = np.array([entry["residual"] * entry["energy_deviation"] for entry in evolution.records]) / hbar
    return min(2.0, float(np.trapezoid(rates, times)))


def _how(config: Config, evolution: Evolution, measured: Measured) -> dict[str, Any]:
    """The attributes of the results."""
    table, records = config.baselines.tvmc, evolution.records
    bound = state_error_bound(evolution, config.system.hbar)
    warning = ""
    if bound > TRUSTED:
        warning = (
            f"psi may be wrong by {bound:.2g}: the ansatz cannot follow everything; give it more functions "
            "(baselines.tvmc), and look at the checks and at the residual"
        )
    return {
        "method": f"tvmc, {table.ansatz}",
        "parameters": len(evolution.ansatz.names),
        "walkers": table.walkers,
        "walker_sampling": table.sampling,
        "integrator": table.integrator,
        "accepted_steps": int(np.count_nonzero([entry["dt"] > 0.0 for entry in records])),
        "evaluations": evolution.evaluations,
        "drawn_anew": evolution.drawn_anew,
        "acceptance": evolution.acceptance,
        "autocorrelation": evolution.autocorrelation,
        "residual": max(entry["residual"] for entry in records),
        "walker_effective_fraction": min(entry["effective_fraction"] for entry in records),
        "error_wave_function": bound,
        "error_estimate": math.nan,
        "converged": not warning,
        "warning": warning,
        **measured.facts,
    }


def _propagation(evolution: Evolution) -> dict[str, Any]:
    """The results group `propagation`: what each step found, and the parameters after it."""
    records, history = evolution.records, evolution.history
    group = {
        "step": np.arange(len(records)),
        "step_time": history.times,
        "parameter": np.array(evolution.ansatz.names, dtype=np.str_),
        "theta_re": history.theta.real,
        "theta_im": history.theta.imag,
        "spectrum": np.array([entry["spectrum"] for entry in records]),
        "snr": np.array([entry["snr"] for entry in records]),
    }
    plain = ("dt", "energy", "energy_imaginary", "energy_deviation", "residual", "effective_fraction")
    return group | {name: np.array([entry[name] for entry in records]) for name in plain}
