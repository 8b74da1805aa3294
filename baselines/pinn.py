"""The method "pinn": a physics-informed network for psi, trained on the residual of Schroedinger's equation.

    hard        psi = psi_0 exp(t net): exact at t = 0, symmetric; the residual divided by psi, at points that
                follow |psi|^2; its variance at equal times is the loss (`pinn_parts/log_wave.py`)
    published   net for Re psi and Im psi; uniform points in a box; initial condition and boundary in the
                loss (`pinn_parts/published.py`)

Everything is then measured on samples of |psi|^2 (`wave/evaluate.py`). The network is trained in one process.

Source: Raissi, Perdikaris, Karniadakis, J. Comput. Phys. 378, 686 (2019), for the idea.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.pinn_parts.log_wave import make_log_wave
from baselines.pinn_parts.network import parameter_count
from baselines.pinn_parts.points import GROUPS, TRAJECTORIES
from baselines.pinn_parts.published import make_published_wave, train_published
from baselines.pinn_parts.training import History, train
from baselines.prediction import Prediction, require_memory
from baselines.solution import Progress
from baselines.threads import thread_count
from baselines.wave.evaluate import measure
from baselines.wave.wave_function import WaveFunction
from dsmsim.config import Config
from dsmsim.errors import ConfigError
from dsmsim.store import JsonLines, Stopwatch, provenance, write_results
from dsmsim.system import build_initial, build_system

KEY = "baselines.pinn.width"
# sums and products per second of one core in single precision, half as many in double, for predictions
SPEED = 5e10
# seconds for one sample at one time, when everything is measured
SAMPLE_SECONDS = 3e-6
# of the program itself, bytes
PROGRAM = 300_000_000
LINES = 10  # of progress during the training


def solve(config: Config, out: Path, *, progress: Progress | None = None) -> Path:
    """Train as [baselines.pinn] says, sample, and write `out/results.h5`; the path of that file.

    Raises:
        ConfigError: a form that cannot treat the problem, or a network that does not fit into the memory.
        DivergedError: the loss is not finite.
        StoreError: a file cannot be written.
    """
    started, say = Stopwatch.start(), progress or (lambda line: None)
    require_memory(predict(config), config, KEY)
    out.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(thread_count())
    try:
        with JsonLines(out / "log.jsonl") as log:
            wave, weights, history, bound = _trained(config, _reporter(config, log, say))
        spent = started.cpu_seconds
        say(f"trained in {spent:.3g} CPU seconds, error of psi below {bound:.2g}: sampling")
        measured = measure(config, wave, None, lambda done, total: None)
    finally:
        torch.set_num_threads(threads)
    groups: dict[str, Any] = {**measured.groups, "training": history.group()}
    groups["model/psi"] = {name: tensor.detach().numpy() for name, tensor in weights.items()}
    samples = {"samples": measured.facts.get("samples", config.evaluation.samples)}
    attributes: dict[str, dict[str, Any]] = {
        "observables": {**_how(config, history, bound, spent), **measured.facts},
        "density": samples,
        "model/psi": {"parameters": parameter_count(weights)},
        "provenance": provenance(config, started=started, solve_cpu_seconds=spent),
    }
    write_results(out / "results.h5", groups, attributes)
    return out / "results.h5"


def train_wave(config: Config) -> tuple[WaveFunction, History, float]:
    """The trained wave function, what the training wrote down, and a bound on the error of psi.

    Raises:
        ConfigError, DivergedError: as `solve`.
    """
    wave, _, history, bound = _trained(config, lambda epoch, loss: None)
    return wave, history, bound


def predict(config: Config) -> Prediction:
    """What `solve` would cost.

    Raises:
        ConfigError: the form cannot treat the problem.
    """
    _check(config)
    table, system = config.baselines.pinn, build_system(config)
    initial = build_initial(config)
    size = torch.finfo(getattr(torch, table.precision)).bits // 8
    streams = system.coordinates + 3
    if table.form == "published":
        weights = make_published_wave(config, system, initial).weights
        layers, kept = 3, 8 * table.width
    else:
        weights = make_log_wave(config, system, initial).network.weights
        layers, kept = table.depth, 8 * table.width * table.depth
    parameters = parameter_count(weights)
    # values of all streams that the backward pass needs
    memory = PROGRAM + size * table.points * streams * kept
    work = 6.0 * table.points * streams * parameters
    if table.optimizer == "gauss_newton":
        memory += size * parameters * (4 * parameters + 6 * table.points)
        work += 4.0 * table.points * parameters**2 + parameters**3 / 3.0
    sampled = config.evaluation.samples * (len(config.time.save_times) + 4 * config.time.steps)
    return Prediction(
        method=f"pinn, {table.form} form, {table.optimizer}",
        points=f"{parameters:,} parameters, {layers} hidden layers, {table.points:,} points a step",
        memory=int(memory),
        seconds=2.0 + table.epochs * (0.02 + work * size / (4.0 * SPEED)) + SAMPLE_SECONDS * sampled,
        notes=("Its answer is sampled: errors and costs depend on the seed.",),
    )


def _check(config: Config) -> None:
    """Raise ConfigError where a key has a value that the form cannot use."""
    table = config.baselines.pinn
    most = GROUPS * TRAJECTORIES
    if table.form == "hard" and table.points > most:
        raise ConfigError(
            f'baselines.pinn.points = {table.points}: must be at most {most} for form = "hard", '
            f"{GROUPS} times of {TRAJECTORIES} trajectories; write points = {most}",
            key="baselines.pinn.points",
        )


def _trained(
    config: Config, report: Callable[[int, float], None]
) -> tuple[WaveFunction, Mapping[str, Tensor], History, float]:
    """Wave function, its weights, the history and the bound on the error of psi."""
    _check(config)
    table, system, initial = config.baselines.pinn, build_system(config), build_initial(config)
    if table.form == "published":
        published = make_published_wave(config, system, initial)
        history, bound = train_published(published, config, report)
        return published, published.weights, history, bound
    wave = make_log_wave(config, system, initial)
    history, bound = train(wave, table, config.seed, report)
    return wave.in_double(), wave.network.weights, history, bound


def _reporter(config: Config, log: JsonLines, say: Progress) -> Callable[[int, float], None]:
    """Lines of the log and of progress, a few of them."""
    epochs = config.baselines.pinn.epochs

    def report(epoch: int, loss: float) -> None:
        if epoch % max(1, epochs // 100) == 0 or epoch == epochs:
            log.write({"epoch": epoch, "loss": loss})
        if epoch % max(1, epochs // LINES) == 0:
            say(f"epoch {epoch} of {epochs}: loss {loss:.3g}")

    return report


def _how(config: Config, history: History, bound: float, spent: float) -> dict[str, Any]:
    table = config.baselines.pinn
    converged = math.isfinite(bound) and bound <= table.tolerance
    warning = ""
    if not converged:
        fix = "write form = hard" if table.form == "published" else "raise baselines.pinn.epochs or width"
        warning = f"psi may be wrong by {bound:.2g}, above the tolerance, {table.tolerance:g}: {fix}"
    return {
        "method": f"physics-informed network, {table.form} form, {table.optimizer}",
        "error_wave_function": bound,
        "error_estimate": math.nan,
        "tolerance": table.tolerance,
        "converged": converged,
        "warning": warning,
        "epochs": table.epochs,
        "loss": history.loss[-1],
        "training_cpu_seconds": spent,
        "seconds": history.seconds[-1],
    }
