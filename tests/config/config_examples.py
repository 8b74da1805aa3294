"""Valid inputs for the tests of `dsmsim.config`, as dictionaries that a test may change."""

from __future__ import annotations

from typing import Any


def two_bosons() -> dict[str, Any]:
    """The smallest input of the headline problem."""
    return {
        "system": {
            "particles": 2,
            "hbar": 0.1,
            "mass": 1.0,
            "trap": {"kind": "harmonic", "omega": 1.0},
            "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
        },
        "time": {"end": 1.0},
    }


def every_table() -> dict[str, Any]:
    """An input in two dimensions that uses every table and every kind of one-body term."""
    return {
        "title": "everything",
        "seed": 7,
        "system": {
            "particles": 3,
            "dimensions": 2,
            "hbar": 0.5,
            "mass": 2,
            "trap": {
                "kind": "harmonic",
                "omega": [1.0, 2],
                "center": [0.0, -1.0],
                "quench": {
                    "omega": {"to": [2.0, 2.0], "start": 0.5, "duration": 0.25, "shape": "smooth"},
                    "center": {"to": 0.5},
                },
            },
            "terms": {
                "well": {"kind": "double_well", "barrier": 0.1, "half_distance": 1.0, "axis": 1},
                "dip": {"kind": "gaussian", "amplitude": -0.5, "width": 0.3, "center": [0.1, 0.2]},
                "lattice": {"kind": "lattice", "depth": 0.2, "wavenumber": [3.0, 4.0], "phase": 0.1},
                "tilt": {
                    "kind": "expression",
                    "expression": "f * x * sin(w * t) + y**2 / 2",
                    "parameters": {"f": 0.1, "w": 2.0},
                    "quench": {"f": {"to": 0.0, "start": 1.0}},
                },
                "ring": {"kind": "python", "target": "some.module:ring", "parameters": {"radius": 1.0}},
            },
            "interaction": {
                "kind": "expression",
                "g": 1.0,
                "expression": "1 / sqrt(r2 + a**2)",
                "parameters": {"a": 0.3},
                "quench": {"g": {"to": 2.0, "start": 0.1}, "a": {"to": 0.2}},
            },
        },
        "initial": {"kind": "gaussian", "mean": [0.0, 0.1], "variance": 0.1, "phase": [1.0, -1.0]},
        "time": {"end": 2.0, "steps": 32, "save": [0.0, 0.5, 2.0]},
        "network": {
            "kind": "equivariant",
            "width": 24,
            "blocks": 2,
            "initial": "learned",
            "frame": "comoving",
            "tensor": {"format": "tt", "rank": 4, "modes_out": [4, 6], "modes_in": [6, 4]},
        },
        "sampler": {"scheme": "euler", "nu": 0.5},
        "train": {
            "epochs": 100,
            "trajectories": 32,
            "points": 128,
            "block": 8,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup": 0,
            "clip": 2.0,
            "precision": "float64",
            "divergence": "exact",
            "form": "convective",
            "alpha": 2.0,
            "beta": 0.5,
            "gamma": 3.0,
            "times": "uniform",
            "log_every": 5,
        },
        "march": {
            "ansatz": "network",
            "walkers": 512,
            "block": 64,
            "draws": "antithetic",
            "integrator": "rk4",
            "tolerance": 1e-4,
            "dt": 0.02,
            "solver": "sample_space",
            "cutoff": 1e-7,
            "diagonal_shift": 1e-8,
            "snr": 2.0,
            "nu": 0.5,
            "substeps": 3,
            "metropolis": False,
            "redraw": 0.3,
            "pair_functions": 6,
            "collective_functions": 1,
            "collective_order": 1,
            "one_body_functions": 4,
        },
        "evaluation": {"samples": 100, "trials": 4, "bins": 16},
        "output": {
            **{"checkpoint_every": "20 epochs", "keep": 2, "trajectories": 10},
            **{"figures": False, "report": False},
        },
        "compare": {"with": ["closed_form"]},
        "baselines": {
            "memory": "4 GB",
            "split_step": {"grid": 64, "extent": 3, "dt": 0.01, "order": 4, "tolerance": 1e-6},
            "crank_nicolson": {
                "grid": 65,
                "extent": 3.0,
                "dt": 1e-3,
                "space_order": 2,
                "time_order": 2,
                "tolerance": 1e-2,
            },
            "relative_grid": {"spacing": 0.1, "dt": 0.01, "tolerance": 1e-5},
            "fock": {"cutoff": 40, "basis": "lab", "tolerance": 1e-5},
            "exact": {"tolerance": 1e-3},
        },
        "run": {"device": "cpu", "time_limit": "2 h", "margin": "1 min", "timeout": "30 s"},
    }


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`base` with the value at a dotted path set, tables on the way made; value None removes the key."""
    owner = base
    *steps, last = path.split(".")
    for step in steps:
        owner = owner.setdefault(step, {})
    if value is None:
        del owner[last]
    else:
        owner[last] = value
    return base
