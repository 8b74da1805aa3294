"""Memory as predicted and as taken: by the tool that measures both, and by the constants of the code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from config_examples import two_bosons

from dsmsim.config.engine_costs import FusedCosts
from dsmsim.config.memory_costs import PAIRS_AT_ONCE
from dsmsim.config.optimizer_costs import GaussNewtonCosts, QuasiNewtonCosts

TOOL = Path(__file__).parents[2] / "tools" / "bench" / "memory.py"
# of the peak: 20 %, and the noise of a heap whose blocks are given back or kept as it happens
TOLERANCE = 0.3


def measured(network: dict[str, Any], train: dict[str, Any]) -> dict[str, int]:
    """What the tool finds for two bosons, bytes."""
    defaults = {"epochs": 2, "warmup": 0, "trajectories": 64, "block": 8, "precision": "float32"}
    data = two_bosons() | {
        "network": {"blocks": 1} | network,
        "train": defaults | train,
        "evaluation": {"samples": 400, "trials": 2},
    }
    data["time"] |= {"steps": 16, "save": 3}
    found = subprocess.run(
        [sys.executable, str(TOOL), "--child", json.dumps(data)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    result: dict[str, int] = json.loads(found.stdout.splitlines()[-1])
    return result


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux' /proc")
@pytest.mark.parametrize(
    ("network", "train"),
    [
        ({"kind": "mlp", "width": 64}, {"optimizer": "soap", "points": 8192}),
        ({"kind": "mlp", "width": 32}, {"optimizer": "adam", "points": 8192, "engine": "torch_func"}),
        ({"kind": "potential", "width": 48}, {"optimizer": "adam", "points": 8192}),
        ({"kind": "potential", "width": 32}, {"optimizer": "gauss_newton", "points": 1024}),
        ({"kind": "functional_tt", "width": 48, "bond_rank": 6}, {"optimizer": "adam", "points": 8192}),
    ],
    ids=["fused", "torch_func", "madelung", "gauss_newton", "functional"],
)
def test_training_takes_what_was_predicted(network: dict[str, Any], train: dict[str, Any]) -> None:
    found = measured(network, train)
    assert found["predicted_training"] > 40e6  # far above what comes and goes anyway
    assert found["training"] == pytest.approx(found["predicted_training"], rel=TOLERANCE)


def test_the_plan_knows_the_sizes_of_the_code() -> None:
    from dsmsim.measure import probes
    from dsmsim.residuals import fused
    from dsmsim.training import lbfgs, rows

    assert fused.STACK_BYTES["cpu"] == FusedCosts.STACK_BYTES
    assert fused.SEPARATE_WIDTH == FusedCosts.SEPARATE_WIDTH
    assert probes.CHUNK == PAIRS_AT_ONCE
    assert lbfgs.HISTORY == QuasiNewtonCosts.PAIRS
    assert rows.JACOBIAN_CHUNK == GaussNewtonCosts.CHUNK
