"""Interacting bosons in a harmonic trap, and their exact solutions in tests/data.

The benchmark: hbar = 0.1, mass = omega = 1, a Gaussian interaction with s2 = 0.1, from the ground state
without it. The stored solutions (t, x, density, var_x, cov_x12, energy) were made independently of this
program, on sinc grids of relative coordinates; that of five bosons is accurate to 3e-5 in its density.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from scipy.interpolate import CubicSpline

from dsmsim.config import Config, parse_config

DATA = Path(__file__).parent / "data"
FILES = {2: "two", 3: "three", 4: "four", 5: "five"}


class Errors(NamedTuple):
    """Largest errors over the saved times."""

    density: float  # L1
    variance: float  # relative
    covariance: float  # length^2
    energy: float  # relative


def interacting_bosons(particles: int, *, g: float = 1.0, **tables: Any) -> Config:
    """The benchmark for some number of bosons; `time` and other tables as keywords."""
    system = {
        "particles": particles,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": g, "s2": 0.1},
    }
    time = {"end": 1.0, "save": 21} | tables.pop("time", {})
    return parse_config({"system": system, "time": time, **tables})


def density_distance(density: Any, x: Any, exact: Any) -> Any:
    """L1 distance (T,) of a group `density` from an exact one (T, M) at equidistant x (M,)."""
    found = CubicSpline(density["x"], density["density"], axis=1)(x)
    # whatever lies beyond the points of the solution is zero
    found[:, (x < density["x"][0]) | (x > density["x"][-1])] = 0.0
    return np.abs(found - exact).sum(axis=1) * (x[1] - x[0])


def errors_of(groups: Any, particles: int) -> Errors:
    """Distance of a solution's groups `observables` and `density` from the stored one at g = 1."""
    density, observables = groups["density"], groups["observables"]
    with h5py.File(DATA / f"{FILES[particles]}_bosons_g1.h5") as truth:
        x, times = truth["x"][:], truth["t"][:]
        rows = [int(np.argmin(np.abs(times - t))) for t in observables["time"]]
        np.testing.assert_allclose(times[rows], observables["time"], atol=1e-12)
        exact = {name: truth[name][rows] for name in ("density", "var_x", "cov_x12", "energy")}
    distance = density_distance(density, x, exact["density"])
    variance = observables["variance"][:, 0, 0]
    return Errors(
        density=float(distance.max()),
        variance=float(np.abs(variance / exact["var_x"] - 1.0).max()),
        covariance=float(np.abs(observables["covariance"][:, 0, 1, 0] - exact["cov_x12"]).max()),
        energy=float(np.abs(observables["energy"] / exact["energy"] - 1.0).max()),
    )
