"""Network evaluations and errors of sampling: the published 1,000 Euler steps, and what this program does.

    python tools/bench/sampler.py                   # closed forms: errors of the scheme and of the samples
    python tools/bench/sampler.py --run runs/two    # a trained run: noise per evaluation of each way to draw

Closed forms. Velocities of a Gaussian packet are affine in x, so a scheme maps the start and every kick to
the end by an affine map, and mean and variance under the scheme are known without samples: `scheme E_v` is
the error of the discretisation alone. `sampled E_v` is that of 10 trials of 1,000 samples at a fixed seed, as
the evaluation of a run makes it, and `noise` its standard error. Evaluations are of both networks, at one
point, per trajectory, without those at the saved times that measuring energies needs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dsmsim.config import Config, parse_config
from dsmsim.parallel import World
from dsmsim.sampler import EVALUATIONS, KICKS, Process, trajectories
from dsmsim.store import read_results
from dsmsim.system import ClosedForm, build_system, closed_form
from dsmsim.training.evaluate import Evaluation, evaluate
from dsmsim.training.state import new_state
from dsmsim.training.trained import trained_fields

PUBLISHED_STEPS = 1000
# the published single-particle problems: hbar = 0.01, mass = omega = 1, trap at 0.1, variance 0.1, T = 1
CASES = {"zero phase": 0.0, "phase -5x": -5.0}
SCHEMES = [
    ("euler, published", Process("euler", 1.0), PUBLISHED_STEPS),
    ("heun", Process("heun", 1.0), 32),
    ("rk4 with noise", Process("rk4", 1.0), 16),
    ("heun, flow", Process("heun", 0.0), 32),
    ("rk4, flow", Process("rk4", 0.0), 8),
    ("rk4, flow", Process("rk4", 0.0), 16),
]
WAYS: dict[str, dict[str, Any]] = {
    "nu = 1, heun, independent": {"nu": 1.0, "scheme": "heun"},
    "nu = 1, heun, control variates": {"nu": 1.0, "scheme": "heun", "control_variates": True},
    "nu = 1, heun, antithetic": {"nu": 1.0, "scheme": "heun", "draws": "antithetic"},
    "nu = 1, antithetic, control": {
        "nu": 1.0,
        "scheme": "heun",
        "draws": "antithetic",
        "control_variates": True,
    },
    "nu = 0, rk4, independent": {"nu": 0.0},
    "nu = 0, rk4, control variates": {"nu": 0.0, "control_variates": True},
    "nu = 0, rk4, sobol": {"nu": 0.0, "draws": "sobol"},
    "nu = 0, rk4, sobol, 16 steps": {"nu": 0.0, "draws": "sobol", "steps": 16},
}


class Counted(nn.Module):
    """Fields that count the points at which they are evaluated."""

    def __init__(self, fields: Any, frame: nn.Module) -> None:
        super().__init__()
        self.fields, self.frame = fields, frame
        self.points = 0

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""
        self.points += len(x)
        u, v = self.fields(x, t)
        return u, v


def packet(phase: float, **evaluation: Any) -> Config:
    """A published single-particle problem."""
    return parse_config(
        {
            "system": {
                "particles": 1,
                "hbar": 0.01,
                "trap": {"kind": "harmonic", "omega": 1.0, "center": 0.1},
            },
            "initial": {"kind": "gaussian", "mean": 0.0, "variance": 0.1, "phase": phase},
            "time": {"end": 1.0, "save": 11},
            "evaluation": {"samples": 10_000, "trials": 10, "control_variates": False} | evaluation,
        }
    )


def moments(form: ClosedForm, config: Config, process: Process, grid: Tensor) -> tuple[Any, Any]:
    """Mean and variance at grid times 1 .. K under a scheme, without samples."""
    kicks = KICKS[process.scheme] * (len(grid) - 1)
    x = torch.zeros(kicks + 2, 1, dtype=torch.float64)
    x[1] = 1.0

    def increments(number: int) -> Tensor:
        xi = torch.zeros_like(x)
        xi[number + 2] = 1.0
        return xi

    path = trajectories(
        lambda y, t: (form.u(y, t), form.v(y, t)), build_system(config), process, x, grid[None], increments
    )
    rows = torch.stack([position.squeeze(1) for position, _ in path])
    constant, slope, noise = rows[:, 0], rows[:, 1] - rows[:, 0], rows[:, 2:] - rows[:, :1]
    mean, variance = form.mean(0.0).item(), form.variance(0.0).item()
    return (constant + slope * mean).numpy(), (slope**2 * variance + noise.square().sum(1)).numpy()


def relative(found: Any, true: Any) -> float:
    """Relative L2 error over the times."""
    return float(np.sqrt(np.sum((found - true) ** 2) / np.sum(true**2)))


def sampled(config: Config, fields: Any) -> tuple[Evaluation, Counted]:
    """An evaluation with given fields, and how often they were asked."""
    state: Any = new_state(config, World())
    state.fields = Counted(fields, state.fields.frame)
    return evaluate(config, state, World(), lambda done, total: None), state.fields


def closed_forms() -> None:
    """Print a table for each closed form."""
    for name, phase in CASES.items():
        print(f"{name}: one particle in a trap, relative L2 errors over 11 times")
        print("scheme              steps  evaluations  scheme E_m  scheme E_v  sampled E_v  noise")
        for label, process, steps in SCHEMES:
            draws = "sobol" if process.nu == 0.0 else "independent"
            table = {"nu": process.nu, "scheme": process.scheme, "steps": steps, "draws": draws}
            config = packet(phase, **table)
            form = closed_form(config)
            assert form is not None
            grid = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
            mean, variance = moments(form, config, process, grid)
            times = grid[1:].numpy()
            errors = (
                relative(mean, form.mean(times).ravel()),
                relative(variance, form.variance(times).ravel()),
            )

            def exact(x: Tensor, t: Tensor, form: ClosedForm = form) -> tuple[Tensor, Tensor]:
                return form.u(x, t), form.v(x, t)

            found = sampled(config, exact)[0].sums.observables()
            true = form.variance(found["time"])
            noise = np.sqrt(np.sum(found["variance_stderr"] ** 2) / np.sum(true**2))
            print(
                f"{label:18s}  {steps:5d}  {steps * EVALUATIONS[process.scheme]:11d}  {errors[0]:10.1e}"
                f"  {errors[1]:10.1e}  {relative(found['variance'], true):11.1e}  {noise:.1e}  ({draws})"
            )
        print()


def trained(run: Path, samples: int) -> None:
    """Print the noise of every way to draw from a trained run, at the same number of samples."""
    config, fields = trained_fields(read_results(run / "results.h5" if run.is_dir() else run))
    print("evaluations in millions, measuring included; standard errors: mean of x_1, Var x_1 (relative),")
    print("energy (relative), L1 of the density; gain: in variance per evaluation over the first line")
    first: tuple[float, ...] | None = None
    for label, way in WAYS.items():
        plain = config.to_dict()
        plain.pop("compare", None)
        plain["time"] |= {"save": 21}
        plain["evaluation"] = {"samples": samples, "trials": 10, "control_variates": False} | way
        began = time.process_time()
        result, counted = sampled(parse_config(plain), fields)
        seconds = time.process_time() - began
        errors = noise_of(result)
        costs = tuple(error**2 * counted.points for error in errors[1:])
        first = first or costs
        gains = " ".join(f"{a / b:7.1f}" for a, b in zip(first, costs, strict=True))
        print(
            f"{label:31s} {counted.points / 1e6:6.2f} M {seconds:5.1f} s  Var(T) "
            f"{result.sums.observables()['variance'][-1].mean():.5f}  "
            + " ".join(f"{error:.1e}" for error in errors)
            + f"  gain {gains}",
            flush=True,
        )


def noise_of(result: Evaluation) -> tuple[float, float, float, float]:
    """Standard errors of mean, variance (relative), energy (relative), and L1 noise of the density."""
    found, density = result.sums.observables(), result.sums.density()
    width = density["x"][1] - density["x"][0]
    variance = np.sqrt(np.mean((found["variance_stderr"] / found["variance"])[1:] ** 2))
    energy = np.mean(found["energy_stderr"] / found["energy"])
    cells = np.sqrt(2.0 / np.pi) * width * density["density_stderr"].sum(1).mean()
    return float(found["mean_stderr"][1:].mean()), float(variance), float(energy), float(cells)


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, help="directory or results.h5 of a trained run")
    parser.add_argument("--samples", type=int, default=20_480)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.run is None:
        closed_forms()
    else:
        trained(options.run, options.samples)


if __name__ == "__main__":
    main()
