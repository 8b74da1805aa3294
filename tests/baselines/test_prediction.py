"""What a solver says of its cost beforehand, and the threads that it may use."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tiny import tiny_config

from baselines import split_step
from baselines.prediction import Prediction, require_memory
from baselines.threads import set_numba_threads, thread_count
from dsmsim.errors import ConfigError

SMALL = Prediction("split_step, order 2", "64^2 = 4,096 grid points", 10**6, 0.1)
LARGE = Prediction("split_step, order 2", "512^3 = 134,217,728 grid points", 12 * 10**9)


def test_what_fits_passes() -> None:
    require_memory(SMALL, tiny_config({"baselines.memory": "1 MB"}), "baselines.split_step.grid")


@pytest.mark.parametrize("memory", ["4 GB", "auto"])
def test_what_does_not_fit_is_refused(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmsim.config.memory.free_memory", lambda: 5 * 10**9)
    with pytest.raises(ConfigError) as caught:
        require_memory(LARGE, tiny_config({"baselines.memory": memory}), "baselines.split_step.grid")
    assert caught.value.key == "baselines.split_step.grid"
    for words in ("baselines.split_step.grid: ", "12 GB", "4 GB", "512^3", "use another method"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "count"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None), (None, None)]
)
def test_threads_follow_the_environment(value: Any, count: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert thread_count() == (count or len(os.sched_getaffinity(0)))


def test_numba_gets_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert set_numba_threads() == numba.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1000000")
        assert set_numba_threads() == numba.config.NUMBA_NUM_THREADS
        assert set_numba_threads(1) == numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("particles", [300, 1500])
def test_a_grid_that_nobody_can_hold_is_predicted_at_once(particles: int) -> None:
    """Nothing is evaluated on its many pairs, and no number has thousands of digits."""
    found = split_step.predict(tiny_config({"system.particles": particles}))
    assert found.points.endswith(f"^{particles} > 1,000,000,000,000,000 grid points")
    assert found.memory >= 10**15
    assert "more work than the solver accepts" in found.notes[0]
