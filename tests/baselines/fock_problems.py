"""Inputs for the Fock solver, and what split_step says of them at any x."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.fock_space.orbital_family import OrbitalFamily
from baselines.fock_space.problem import Problem
from baselines.solution import GridSolution
from dsmsim.config import Config, parse_config
from dsmsim.system import build_initial, build_system

QUARTIC = {"kind": "expression", "expression": "0.5*x**2 + 0.1*x**4"}
HARMONIC = {"kind": "harmonic", "omega": 1.0}
GAUSSIAN = {"kind": "gaussian", "g": 1.0, "s2": 0.2}
PACKET = {"kind": "gaussian", "variance": 0.25}
MOVING = {"kind": "gaussian", "mean": 0.6, "variance": 0.25, "phase": 0.5}


def bosons(
    particles: int,
    trap: dict[str, Any],
    initial: dict[str, Any],
    *,
    interaction: dict[str, Any] | None = GAUSSIAN,
    end: float = 1.0,
    save: Any = 3,
    **system: Any,
) -> Config:
    """Bosons in one dimension, hbar = 0.5 and mass = 1.2."""
    table = {"particles": particles, "hbar": 0.5, "mass": 1.2, "trap": trap} | system
    if interaction is not None:
        table["interaction"] = interaction
    return parse_config({"system": table, "initial": initial, "time": {"end": end, "save": save}})


def orbital_problem(config: Config, basis: str | None = None, tolerance: float = 1e-4) -> Problem:
    """The problem of an input for the orbital model, also where the centre of mass could be split off."""
    system, initial = build_system(config), build_initial(config)
    times = np.asarray(config.time.save_times, dtype=np.float64)
    family = OrbitalFamily(system, initial, times, config.time.end, basis)
    return Problem(system, times, family, tolerance, config.seed)


def waves(x: np.ndarray, solution: GridSolution) -> tuple[np.ndarray, np.ndarray]:
    """The plane waves of the grid of a solution at x (K,), and their slopes: (K, M) each."""
    low, high = solution.box[0]
    k = 2.0 * np.pi * np.fft.fftfreq(solution.points, (high - low) / solution.points)
    values = np.exp(1j * np.outer(x - low, k))
    return values, 1j * k * values


def density_at(solution: GridSolution, x: np.ndarray) -> np.ndarray:
    """The density of a grid solution at x (K,), zero outside its box: (T, K)."""
    low, high = solution.box[0]
    transformed = np.fft.fft(solution.density, axis=1) / solution.points
    values = (transformed @ waves(x, solution)[0].T).real
    return np.where((x >= low) & (x <= high), values, 0.0)
