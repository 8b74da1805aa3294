"""A march on really separate ranks: what one rank alone finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config

from dsmsim.march.evolution import March
from dsmsim.parallel import World
from dsmsim.training.marching import new_march

pytestmark = pytest.mark.mpi(min_size=2)

MARCH = {"train.mode": "march", "march.walkers": 160, "march.block": 32, "march.dt": 0.05, "time.end": 0.2}
KINDS: dict[str, dict[str, Any]] = {
    "cluster": {
        "system.interaction": {"kind": "gaussian", "g": 5.0, "s2": 0.2},
        "march.integrator": "adaptive",
        "march.redraw": 0.9995,  # so that walkers are drawn anew in so short a time
    },
    "potential": {"march.ansatz": "network", "network.kind": "potential", "march.cutoff": 1e-3},
    "velocities": {"march.ansatz": "network", "march.cutoff": 1e-3},
}


@torch.no_grad()
def marched(kind: str, world: World) -> March:
    march = new_march(tiny_config({**MARCH, "network.width": 3, **KINDS[kind]}), world)
    while not march.records or not march.done:
        march.advance()
    return march


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_ranks_finds_the_same(world: World, kind: str) -> None:
    together, alone = (marched(kind, each) for each in (world, World()))
    assert (alone.drawn_anew > 0) == (kind == "cluster")
    scale = float(np.abs(alone.history.theta).max())
    np.testing.assert_allclose(together.history.theta, alone.history.theta, rtol=0.0, atol=1e-9 * scale)
    for name in ("step", "time", "drawn_anew", "energy", "acceptance", "effective_fraction"):
        found, expected = ([record[name] for record in each.records] for each in (together, alone))
        assert found == pytest.approx(expected, rel=1e-9, nan_ok=True), name
    # every walker is on one rank, at its place
    whole, expected_whole = together.arrays(), alone.arrays()
    assert (whole is None) == (world.rank > 0)
    if whole is not None:
        assert expected_whole is not None
        np.testing.assert_allclose(whole["x"], expected_whole["x"], rtol=0.0, atol=1e-8)
