"""An evaluation that was stopped goes on where it was, with the same sums, on the same ranks or on others."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranks import run_ranks
from tiny import tiny_config

from dsmsim.errors import StoppedEarly
from dsmsim.parallel import StopRequest, World
from dsmsim.training.evaluate import evaluate
from dsmsim.training.sampling import SavedSums, Shares
from dsmsim.training.state import new_state

BLOCKS = 7  # no number of ranks above one shares them out evenly
CONFIG = tiny_config(
    {
        "evaluation.samples": 20 * BLOCKS,
        "evaluation.trials": BLOCKS,
        "output.expressions": {"apart": "abs(x1 - x2)"},
    }
)


def evaluation(
    directory: Path | None, ranks: int, stop_after: int | None = None, **changes: Any
) -> tuple[dict[str, np.ndarray], list[int], list[str]]:
    """Evaluate on some ranks; one of them gets a signal after some of its blocks.

    Returns:
        All results by group/name (empty if it was stopped), the blocks that each rank took, the messages.
    """
    config = CONFIG.model_copy(update=changes)
    told: list[str] = []
    taken = [0] * ranks

    def work(world: World) -> dict[str, np.ndarray]:
        state, stop = new_state(config, world), StopRequest()

        def progress(done: int, total: int) -> None:
            taken[world.rank] += 1
            if world.rank == ranks - 1 and taken[world.rank] == stop_after:
                stop.ask(signal.SIGUSR1)

        saved = None if directory is None else SavedSums.of_run(config, state.fields, directory, told.append)
        try:
            sums = evaluate(config, state, world, progress, stop, saved=saved).sums
        except StoppedEarly:
            return {}
        return {f"{group}/{name}": a for group, arrays in sums.groups().items() for name, a in arrays.items()}

    return run_ranks(ranks, work)[0], taken, told


@pytest.fixture(scope="module")
def whole() -> dict[int, dict[str, np.ndarray]]:
    """The observables of evaluations that nothing interrupts, by the number of ranks."""
    return {ranks: evaluation(None, ranks)[0] for ranks in (1, 2, 3)}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_on_the_same_ranks_it_goes_on_bit_by_bit(
    ranks: int, whole: dict[int, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    assert evaluation(tmp_path, ranks, stop_after=1)[0] == {}
    found, taken, told = evaluation(tmp_path, ranks)
    assert told == [f"the evaluation goes on after {ranks} of {BLOCKS} blocks of samples"]
    assert sum(taken) == BLOCKS - ranks
    for name, value in whole[ranks].items():
        assert np.array_equal(found[name], value, equal_nan=True), name


def test_on_other_ranks_it_goes_on_to_rounding(
    whole: dict[int, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Three ranks, then two, then one: every block is sampled once."""
    counts = [sum(evaluation(tmp_path, ranks, stop_after=1)[1]) for ranks in (3, 2)]
    found, taken, told = evaluation(tmp_path, 1)
    assert told == [f"the evaluation goes on after 5 of {BLOCKS} blocks of samples"]
    assert [*counts, *taken] == [3, 2, 2]
    for name, value in whole[1].items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def test_sums_of_anything_else_are_not_used(whole: dict[int, dict[str, np.ndarray]], tmp_path: Path) -> None:
    evaluation(tmp_path, 1, stop_after=2)
    _, taken, told = evaluation(tmp_path, 1, seed=5)
    assert (taken, told) == ([BLOCKS], [])


def test_damaged_sums_are_told_and_not_used(whole: dict[int, dict[str, np.ndarray]], tmp_path: Path) -> None:
    evaluation(tmp_path, 1, stop_after=2)
    file = tmp_path / "samples.h5"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    found, taken, (told,) = evaluation(tmp_path, 1)
    assert "samples.h5 is damaged" in told
    assert taken == [BLOCKS]
    assert np.array_equal(found["observables/variance"], whole[1]["observables/variance"])


def test_what_is_left_is_shared_out_anew() -> None:
    shares = Shares.of_blocks(7, 3)
    assert [shares.left(rank) for rank in range(3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert (shares.turn(), shares.turns) == ([0, 3, 5], 3)
    shares.done[shares.turn()] = True
    assert shares.among(3) is shares
    two = shares.among(2)
    assert [two.left(rank) for rank in range(2)] == [[1, 2], [4, 6]]
    two.done[:] = True
    assert (two.turn(), two.turns) == ([], 0)
