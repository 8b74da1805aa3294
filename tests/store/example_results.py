"""A small set of results with every group of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.store.schema import CATALOGUE, Variable

SIZES = {"time": 5, "particle": 2, "particle_prime": 2, "axis": 3, "trial": 4, "x": 8, "y": 7, "z": 6}
SIZES |= {"epoch": 9, "check": 2, "trajectory": 10, "x_prime": 8, "orbital": 3, "p": 11, "configuration": 4}
SIZES |= {"step": 6, "parameter": 2, "bond": 2, "shot": 3}
SIZES |= {"distance": 8, "center": 7, "probability": 3, "threshold": 2}


def array_for(name: str, entry: Variable, rng: np.random.Generator) -> NDArray[Any]:
    """Values that fit one variable of the catalogue."""
    shape = tuple(SIZES[dim] for dim in entry.dims)
    if entry.kind == "text":
        return np.array(["norm", "Schrödinger energy"])
    if entry.kind == "int":
        return np.arange(shape[0]) if entry.dims == (name,) else rng.integers(0, 2, shape)
    if entry.dims == (name,):
        return np.linspace(0.0, 1.0, shape[0])
    return np.asarray(rng.normal(size=shape))


def everything() -> dict[str, dict[str, NDArray[Any]]]:
    """Every variable of the catalogue, standard errors, averages of the user's own, and two networks."""
    rng = np.random.default_rng(1)
    results = {
        group.replace("*", "fock"): {name: array_for(name, entry, rng) for name, entry in variables.items()}
        for group, variables in CATALOGUE.items()
        if variables
    }
    results["observables"]["energy_stderr"] = rng.normal(size=5)
    results["density"]["density_stderr"] = rng.normal(size=(5, 8)).astype(np.float32)
    for name in ("breathing", "breathing_stderr", "parity"):
        results["user"][name] = rng.normal(size=5)
    results["model/u"] = {"blocks/0/weight": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(3)}
    results["model/v"] = {"cores/0": rng.normal(size=(1, 2, 3, 4))}
    return results


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "": {"title": "two bosons"},
    "observables": {"samples": 40000},
    "user/breathing": {"units": "length^2", "long_name": "mean squared radius"},
    "model/u": {"kind": "mlp"},
    "model/u/blocks/0": {"format": "tt", "ranks": [1, 8, 1], "names": ["a", "b"], "tolerance": 1e-3},
    "provenance": {"resolved_input": "x" * 100_000, "git_changed": 0},
}
