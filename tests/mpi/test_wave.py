"""Samples of a wave function on really separate ranks: what one rank alone finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.wave.evaluate import measure
from baselines.wave.wave_function import Array, Local
from dsmsim.config import parse_config
from dsmsim.parallel import World

pytestmark = pytest.mark.mpi(min_size=2)


class Resting:
    """The ground state of a trap with omega = m = hbar = 1, with a flow that is not its own."""

    def local(self, x: Array, t: float) -> Local:
        n = x.shape[1]
        return Local(-0.5 * (x**2).sum(1) + 0.0j, -x + 0.2j * x, np.full(len(x), (0.2j - 1.0) * n))

    def log_density(self, x: Array, t: float) -> Array:
        return -(x**2).sum(1)


@pytest.mark.parametrize("sampling", ["transport", "metropolis"])
def test_any_number_of_ranks_measures_the_same(world: World, sampling: Any) -> None:
    config = parse_config(
        {
            "system": {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}},
            "initial": {"kind": "trap_ground_state"},
            "time": {"end": 1.0, "save": 3, "steps": 4},
            "evaluation": {"samples": 350, "trials": 7, "bins": 8},
        }
    )
    together, alone = (
        measure(config, Resting(), each, lambda done, total: None, sampling=sampling)
        for each in (world, None)
    )
    assert together.facts["independent_units"] == (21 if sampling == "transport" else 350)
    for name, value in alone.groups["observables"].items():
        found = together.groups["observables"][name]
        np.testing.assert_allclose(found, value, rtol=1e-7, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(alone.groups["observables"]["variance"], 0.5, rtol=0.3)
