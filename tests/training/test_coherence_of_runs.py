"""Coherence and momenta of whole runs: a march beside the exact solution, and a network at its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from run_files import finished_run
from scipy.interpolate import make_interp_spline
from tiny import tiny_config

from dsmsim.errors import ConfigError
from dsmsim.store import RunDirectory, read_results

Groups = Mapping[str, Mapping[str, NDArray[Any]]]

SIGMAS = 5.0
ASKED = {"output.observables": ["coherence", "momentum"], "output.correlation_times": 3}
# the colliding bosons of the publication; other times and fewer samples
BOSONS = {
    **ASKED,
    "system.hbar": 0.1,
    "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    "initial": {"kind": "trap_ground_state"},
    "train.mode": "march",
    "evaluation": {"samples": 4000, "trials": 2},
}


def groups_of(run: Path) -> Groups:
    """The results of a run."""
    return read_results(RunDirectory(run).results).results


def test_a_march_agrees_with_the_exact_solution(tmp_path: Path) -> None:
    run = finished_run(tmp_path, BOSONS | {"compare.with": ["fock"]})
    found, exact = groups_of(run), groups_of(run / "references" / "fock")
    ours, theirs = found["correlations"], exact["correlations"]
    assert list(ours["time"]) == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(ours["occupation"][0], [1.0] + 9 * [0.0], atol=1e-9)
    rows = [int(np.argmin(np.abs(theirs["time"] - t))) for t in ours["time"]]
    for k, row in enumerate(rows[1:], start=1):
        error = np.abs(ours["occupation"][k, :4] - theirs["occupation"][row, :4])
        assert theirs["occupation"][row, 1] > 0.1
        assert np.all(error <= SIGMAS * ours["occupation_stderr"][k, :4])
        spline = make_interp_spline(exact["momentum"]["p"], exact["momentum"]["momentum_density"][row])
        p, density = found["momentum"]["p"], found["momentum"]["momentum_density"][k]
        seen = np.abs(p) < 0.5
        error = np.abs(density - spline(np.where(seen, p, 0.0)))
        assert np.all(error[seen] <= SIGMAS * found["momentum"]["momentum_density_stderr"][k][seen])
        # the kinetic energy, once from momenta and once from velocities
        energies = found["observables"]
        at = int(np.argmin(np.abs(energies["time"] - ours["time"][k])))
        kinetic = energies["energy_kinetic_osmotic"][at] + energies["energy_kinetic_current"][at]
        assert np.sum(p**2 * density) * (p[1] - p[0]) == pytest.approx(kinetic, rel=0.03)


def test_a_network_begins_as_the_initial_state(tmp_path: Path) -> None:
    run = finished_run(
        tmp_path, {**ASKED, "network.kind": "potential", "initial.phase": -1.5, "compare.with": []}
    )
    found = groups_of(run)
    correlations, momentum = found["correlations"], found["momentum"]
    np.testing.assert_allclose(correlations["occupation"][0], [1.0] + 9 * [0.0], atol=1e-9)
    assert np.all(correlations["occupation"][-1] >= 0.0)
    # hbar = 0.5, variance 0.3: a Gaussian of variance hbar^2/(4 variance) about hbar k
    mean, variance = -0.75, 0.5**2 / 1.2
    exact = np.exp(-0.5 * (momentum["p"] - mean) ** 2 / variance) / np.sqrt(2.0 * np.pi * variance)
    np.testing.assert_allclose(momentum["momentum_density"][0], exact, atol=1e-3)
    assert np.all(np.isfinite(momentum["momentum_density"]))


def test_networks_of_velocities_have_none() -> None:
    with pytest.raises(ConfigError, match="wave function") as caught:
        tiny_config({**ASKED, "network.kind": "mlp"})
    assert "output.observables" in str(caught.value)
