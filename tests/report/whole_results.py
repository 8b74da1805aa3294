"""Results with everything that a results.h5 may hold, of two bosons that move and breathe in a trap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsmsim.analysis import closed_form_results
from dsmsim.config import Config, parse_config
from dsmsim.store import RunDirectory, write_results
from dsmsim.store.provenance import provenance

TIMES = np.linspace(0.0, 1.0, 11)
FEW = TIMES[[0, 5, 10]]
EDGES = np.linspace(-1.5, 1.5, 41)
TITLE = "Two bosons <in> a trap & more"  # a page must not take it for its own text

Results = dict[str, dict[str, NDArray[Any]]]


def moving_bosons(dimensions: int = 1) -> Config:
    """Two bosons with a harmonic interaction in a harmonic trap: there is a closed form."""
    return parse_config(
        {
            "title": TITLE,
            "system": {
                "particles": 2,
                "dimensions": dimensions,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.3, "center": 0.1},
                "interaction": {"kind": "harmonic", "g": 0.2},
            },
            "initial": {"kind": "gaussian", "mean": 0.3, "variance": 0.07, "phase": -2.0},
            "time": {"end": 1.0, "save": 11},
            "train": {"epochs": 40},
        }
    )


def whole_results(config: Config, rng: np.random.Generator) -> Results:
    """Every group, with noise and standard errors where a run has them."""
    exact = closed_form_results(config, TIMES, [EDGES] * config.system.dimensions)
    assert exact is not None
    sampled = {group: _noisy(arrays, rng) for group, arrays in exact.items()}
    density = sampled["density"]
    density["density_smooth"] = exact["density"]["density"]
    density["density_smooth_stderr"] = np.full_like(density["density"], 0.004)
    density["current"] = -2.0 * density["density"] * np.cos(1.3 * TIMES)[:, None]
    density["current_stderr"] = np.full_like(density["density"], 0.02)
    energy = exact["observables"]["energy"]
    for name, part in (
        ("trap", 0.3),
        ("interaction", 0.1),
        ("kinetic_osmotic", 0.2),
        ("kinetic_current", 0.4),
    ):
        sampled["observables"][f"energy_{name}"] = part * energy * (1.0 + 0.1 * np.sin(3.0 * TIMES))
        sampled["observables"][f"energy_{name}_stderr"] = 0.01 * energy
    return sampled | _correlations(density) | _distributions(rng) | _histories() | _judgement()


def run_of(
    path: Path, config: Config, results: Results, text: str = "[system]\nparticles = 2\n"
) -> RunDirectory:
    """A finished run with these results."""
    run = RunDirectory.create(path)
    run.resolved.write_text(config.to_toml(), encoding="utf-8")
    attributes = {
        "observables": {"method": "dsm", "samples": 4096, "nu": 1.0, "draws": "independent"},
        "march": {"ansatz": "cluster", "parameters": 10, "walkers": 2048},
        "provenance": provenance(config, input_text=text, hosts=["node1", "node1"], variables={}),
    }
    write_results(
        run.results,
        results,
        {name: attributes[name] for name in attributes if name in {*results, "provenance"}},
    )
    return run


def _noisy(arrays: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    found = dict(arrays)
    for name, values in arrays.items():
        if name in ("mean", "variance", "energy", "center_of_mass_mean", "center_of_mass_variance"):
            spread = 0.01 * (np.abs(values) + 0.05)
        elif name.startswith("density"):
            spread = 0.02 * np.sqrt(np.abs(values) + 1e-4)
        else:
            continue
        found[name] = values + spread * rng.standard_normal(values.shape)
        found[f"{name}_stderr"] = spread
    return found


def _correlations(density: dict[str, NDArray[Any]]) -> Results:
    x = density["x"]
    p = np.linspace(-1.0, 1.0, 61)
    widths = 0.25 + 0.2 * FEW
    scaled = x / widths[:, None]
    one = np.exp(-0.5 * scaled**2) / (np.sqrt(2.0 * np.pi) * widths[:, None])
    apart = 1.0 - 0.6 * np.exp(-((x[:, None] - x) ** 2) / 0.1)
    pair = one[:, :, None] * one[:, None, :] * apart
    coherence = np.exp(-((x[:, None] - x) ** 2) / 2.0)
    matrix = np.sqrt(one[:, :, None] * one[:, None, :]) * coherence
    g2 = np.repeat(apart[None], len(FEW), axis=0)
    g2[:, np.abs(x) > 1.2, :] = np.nan
    occupation = np.stack((0.9 - 0.2 * FEW, 0.1 + 0.2 * FEW), axis=1)
    momentum = np.exp(-0.5 * (p / 0.3) ** 2) / (0.3 * np.sqrt(2.0 * np.pi))
    return {
        "correlations": {
            **{"time": FEW, "x": x, "x_prime": x, "orbital": np.arange(2)},
            **{"pair_density": pair, "pair_density_stderr": 0.02 * np.ones_like(pair), "g2": g2},
            **{"density_matrix_re": matrix, "density_matrix_im": 0.1 * matrix},
            **{"g1_re": np.repeat(coherence[None], len(FEW), axis=0), "g1_im": np.zeros_like(matrix)},
            **{"occupation": occupation, "occupation_stderr": 0.01 * np.ones_like(occupation)},
        },
        "momentum": {
            **{"time": FEW, "p": p, "momentum_density": np.repeat(momentum[None], len(FEW), axis=0)},
            "momentum_density_stderr": np.full((len(FEW), len(p)), 0.01),
        },
    }


def _distributions(rng: np.random.Generator) -> Results:
    distance, center = np.linspace(0.025, 1.975, 40), np.linspace(-1.0, 1.0, 41)
    width = (0.3 + 0.2 * TIMES)[:, None]
    middle = 0.3 * np.cos(1.3 * TIMES)[:, None]
    probability, threshold = np.array([0.05, 0.5, 0.95]), np.array([0.5, 1.0])
    quantile = middle[:, :, None] + width[:, :, None] * np.array([-1.6, 0.0, 1.6])[:, None]
    escape = np.exp(-threshold / width)
    user = np.sin(TIMES) + 0.01 * rng.standard_normal(len(TIMES))
    shots = 0.3 * rng.standard_normal((len(FEW), 5, 2, 1))
    return {
        "distributions": {
            **{"time": TIMES, "distance": distance, "center": center, "probability": probability},
            **{"threshold": threshold, "axis": np.arange(1)},
            "distance_density": np.sqrt(2.0 / np.pi) / width * np.exp(-0.5 * (distance / width) ** 2),
            "center_of_mass_density": np.exp(-0.5 * ((center - middle) / 0.2) ** 2)
            / (0.2 * np.sqrt(2.0 * np.pi)),
            "quantile": quantile,
            "quantile_stderr": np.full_like(quantile, 0.01),
            "escape": escape,
            "escape_stderr": np.full_like(escape, 0.01),
        },
        "shots": {
            "time": FEW,
            "shot": np.arange(5),
            "particle": np.arange(2),
            "axis": np.arange(1),
            "position": shots,
        },
        "user": {"time": TIMES, "bond_length": user, "bond_length_stderr": np.full(len(TIMES), 0.01)},
    }


def _histories() -> Results:
    epoch, step = np.arange(0, 50, 10), np.arange(9)
    falling = np.exp(-epoch / 30.0)
    return {
        "training": {
            **{"epoch": epoch, "loss": falling, "loss_newton": 0.7 * falling, "loss_score": 0.3 * falling},
            **{"loss_initial": np.zeros(5), "learning_rate": 1e-3 * falling, "gradient_norm": falling},
            **{"seconds": 0.1 * epoch, "bond": np.array(["u.0:1", "u.1:1"])},
            "rank": 8 + (epoch[:, None] // 20 + np.arange(2)) % 3,
        },
        "march": {
            **{"step": step, "step_time": step / 8.0, "residual": 0.01 * step / 8.0},
            **{"energy": np.full(9, 0.5), "energy_deviation": np.full(9, 0.1)},
            "effective_fraction": 0.7 - 0.02 * step,
        },
        "propagation": {
            **{"step": step, "step_time": step / 8.0, "residual": 0.02 * step / 8.0},
            "energy_deviation": np.full(9, 0.1),
        },
    }


def _judgement() -> Results:
    return {
        "checks": {
            "check": np.array(["score: x", "kohn: mean", "energy drift"]),
            **{"value": np.array([1e-3, 2e-5, 1e-4]), "expected": np.zeros(3), "stderr": np.full(3, 1e-4)},
            **{"deviation": np.array([0.01, 0.002, 0.0]), "tolerance": np.array([0.03, 0.03, 0.02])},
            "passed": np.ones(3, dtype=np.int64),
        },
        "errors/closed_form": {
            **{
                "time": TIMES,
                "variance_error": 1e-3 * np.sin(9.0 * TIMES),
                "density_l1": 0.01 + 0.002 * TIMES,
            },
            **{"variance_error_mean": np.array(8e-4), "variance_error_floor": np.array(6e-4)},
            **{"density_l1_mean": np.array(0.011), "density_l1_floor": np.array(0.010)},
            **{"E_v": np.array(2e-3), "E_v_std": np.array(4e-4), "energy_drift": np.array(1e-4)},
        },
    }
