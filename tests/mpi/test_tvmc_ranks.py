"""t-VMC on really separate ranks: what one rank alone finds."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import tiny_config

from baselines.tvmc import build_ansatz, evolve
from dsmsim.parallel import World

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.mark.parametrize("sampling", ["transport", "metropolis"])
def test_any_number_of_ranks_finds_the_same(world: World, sampling: str) -> None:
    config = tiny_config({"baselines.tvmc": {"walkers": 1600, "pair_functions": 3, "sampling": sampling}})
    together, alone = (evolve(config, build_ansatz(config), each) for each in (world, None))
    np.testing.assert_allclose(together.history.theta, alone.history.theta, rtol=1e-6, atol=1e-8)
    assert together.records[-1]["energy"] == pytest.approx(alone.records[-1]["energy"], rel=1e-8)
    assert together.acceptance == pytest.approx(alone.acceptance)
