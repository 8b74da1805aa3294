"""Evaluation: the same numbers on any number of ranks, and the right ones for fields known exactly."""

from __future__ import annotations

import itertools
import signal
from typing import Any

import numpy as np
import pytest
import torch
from exact_fields import ExactFields, exact_form
from kept_paths import KeptPaths
from ranks import run_ranks
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import DivergedError, StoppedEarly, StoreError
from dsmsim.networks import Fields
from dsmsim.parallel import StopRequest, World, random_stream
from dsmsim.training import draws
from dsmsim.training import evaluate as evaluation
from dsmsim.training.evaluate import Evaluation, evaluate
from dsmsim.training.state import TrainState, new_state

SIGMAS = 5.0


def plain_config(changes: dict[str, Any] | None = None) -> Config:
    """The tiny input, sampled by Nelson's process with independent trajectories and nothing else."""
    plain = {"nu": 1.0, "scheme": "heun", "draws": "independent", "control_variates": False}
    return tiny_config({f"evaluation.{key}": value for key, value in plain.items()} | (changes or {}))


def silent(done: int, total: int) -> None:
    """A progress that is not looked at."""


def run(config: Config, world: World | None = None, keep: KeptPaths | None = None) -> Evaluation:
    world = world or World()
    return evaluate(config, new_state(config, world), world, silent, keep=keep)


def paths_of(config: Config, size: int = 1) -> np.ndarray:
    """(T, trajectories, n) that the ranks together keep."""
    kept = KeptPaths(config)
    run_ranks(size, lambda world: run(config, world, kept))
    assert np.isfinite(kept.positions).all()
    return kept.positions


@pytest.mark.parametrize("size", [2, 5, 8])
def test_observables_do_not_depend_on_the_number_of_ranks(size: int) -> None:
    """Six blocks: even shares, uneven ones, and ranks that own none."""
    config = plain_config({"output.trajectories": 50})
    alone = run(config)
    assert np.array_equal(paths_of(config, size), paths_of(config))
    for result in run_ranks(size, lambda world: run(config, world)):
        for group in ("observables", "density"):
            found, expected = getattr(result.sums, group)(), getattr(alone.sums, group)()
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        assert result.sums.samples == result.sums.units == 240
        for key, value in alone.facts.items():
            same = result.facts[key] == value
            assert same or result.facts[key] == pytest.approx(value, rel=1e-9), key
        assert result.sums.field_errors() == pytest.approx(alone.sums.field_errors(), rel=1e-10)
        for check, same in zip(result.checks, alone.checks, strict=True):
            assert (check.name, check.passed) == (same.name, same.passed)
            assert check.value == pytest.approx(same.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("block", [2000, 25])
@pytest.mark.parametrize("size", [1, 3])
def test_stored_trajectories(block: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones, trial by trial and block by block; they start where the streams of the blocks say."""
    monkeypatch.setattr(draws, "SAMPLE_BLOCK", block)
    config = plain_config({"output.trajectories": 70})
    positions = paths_of(config, size)
    assert positions.shape == (5, 70, 2)

    initial = new_state(config, World()).initial
    # 40 samples a trial: one block, or two of 20
    sizes = [40, 40] if block == 2000 else [20, 20, 20, 20]
    keys = [(0, 0), (1, 0)] if block == 2000 else [(0, 0), (0, 1), (1, 0), (1, 1)]
    starts = [
        initial.sample(random_stream(config.seed, "evaluate", *key), count)
        for key, count in zip(keys, sizes, strict=True)
    ]
    assert np.array_equal(positions[0], np.concatenate(starts)[:70])
    # a trajectory keeps its place in the array at all times: neighbours in time go together
    for before, after in itertools.pairwise(positions):
        assert not np.any(before == after)
        assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.5


def test_no_trajectories_unless_asked_for() -> None:
    assert paths_of(plain_config()).shape == (5, 0, 2)


def test_saved_times_are_those_of_the_input() -> None:
    """An uneven list without 0: the state at a saved time does not depend on which others are saved."""
    config = plain_config({"time.save": [0.25, 0.7, 1.0], "output.trajectories": 10})
    assert run(config).sums.observables()["time"].tolist() == [0.25, 0.7, 1.0]
    three = paths_of(config)
    two = paths_of(plain_config({"time.save": [0.25, 1.0], "output.trajectories": 10}))
    assert np.array_equal(two[0], three[0])
    assert not np.array_equal(two[1], three[2])  # other steps, other noise


def test_progress_counts_the_samples_of_this_rank() -> None:
    config = plain_config({"evaluation.samples": 240, "evaluation.trials": 4})
    told: list[list[tuple[int, int]]] = [[], []]

    def work(world: World) -> None:
        def progress(done: int, total: int) -> None:
            told[world.rank].append((done, total))

        evaluate(config, new_state(config, world), world, progress)

    run_ranks(2, work)
    assert told == [[(60, 120), (120, 120)]] * 2


def stopped_by(rank: int, after: int, size: int) -> list[str | None]:
    """Evaluate six blocks; `rank` gets a signal after `after` of its samples. What each rank stops with."""
    config = plain_config()

    def work(world: World) -> str | None:
        stop = StopRequest()

        def progress(done: int, total: int) -> None:
            if (world.rank, done) == (rank, after):
                stop.ask(signal.SIGUSR1)

        try:
            evaluate(config, new_state(config, world), world, progress, stop)
        except StoppedEarly as error:
            return str(error)
        return None

    return run_ranks(size, work)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_ranks_stop_after_the_same_block(size: int) -> None:
    """Also those that have no block left when one of them is asked."""
    told = stopped_by(size - 1, 40, size)
    assert len(told) == size
    assert len(set(told)) == 1
    assert f"after {size} of 6 blocks of samples (signal SIGUSR1)" in str(told[0])


@pytest.mark.parametrize(("rank", "after", "size"), [(0, 240, 1), (1, 40, 6)])
def test_a_stop_that_comes_with_the_last_block_comes_too_late(rank: int, after: int, size: int) -> None:
    assert stopped_by(rank, after, size) == [None] * size


def test_a_block_that_would_end_after_the_time_limit_is_not_begun() -> None:
    config, clock = plain_config(), iter([0.0])

    def now() -> float:  # it stands still, one ms before the limit
        return next(clock, 999.999)

    with pytest.raises(StoppedEarly, match=r"after 1 of 6 blocks.*time limit of 1000 s"):
        evaluate(config, new_state(config, World()), World(), silent, StopRequest(1000.0, clock=now))


def test_a_disk_that_is_full_for_one_rank_ends_all_in_order() -> None:
    config = plain_config({"output.trajectories": 240})

    def work(world: World) -> tuple[str, bool]:
        def keep(first: int, index: int, positions: np.ndarray) -> None:
            if (world.rank, first) == (1, 120):
                raise StoreError("no space")

        with pytest.raises(StoreError) as caught:
            evaluate(config, new_state(config, world), world, silent, keep=keep)
        return str(caught.value), caught.value is world._agreed

    assert run_ranks(2, work) == [("no space", True)] * 2


EXACT: dict[str, Any] = {
    "time.steps": 32,
    "time.save": 3,
    "evaluation.samples": 20000,
    "evaluation.trials": 4,
    "evaluation.bins": 40,
    "initial.phase": 0.5,
}


@pytest.fixture(scope="module")
def exact_run() -> tuple[Config, Evaluation]:
    """20,000 samples of the process of the closed-form velocities."""
    config = plain_config(EXACT)
    state = new_state(config, World())
    fields: Any = ExactFields(exact_form(config), state.fields.frame)
    exact = TrainState(state.system, state.initial, fields, state.optimizer)
    return config, evaluate(config, exact, World(), silent)


def assert_within(found: Any, stderr: Any, expected: Any) -> None:
    """Within 5 standard errors, and not trivially so."""
    assert np.all(stderr > 0.0)
    assert np.max(np.abs(found - expected) / stderr) < SIGMAS


def test_exact_fields_give_the_exact_moments(exact_run: tuple[Config, Evaluation]) -> None:
    config, result = exact_run
    form, found = exact_form(config), result.sums.observables()
    for name in ("mean", "variance", "covariance", "center_of_mass_mean", "center_of_mass_variance"):
        assert_within(found[name], found[f"{name}_stderr"], getattr(form, name)(found["time"]))
    assert_within(found["energy"], found["energy_stderr"], form.energy())
    assert result.facts["effective_samples"] == pytest.approx(20000, rel=1e-3)
    assert {key: result.facts[key] for key in ("draws", "nu", "scheme", "control_variates")} == {
        "draws": "independent",
        "nu": 1.0,
        "scheme": "heun",
        "control_variates": 0,
    }
    # the bound means something: a percent or two of the variance would be seen
    assert np.max(found["variance_stderr"] / found["variance"]) < 0.02
    assert found["mean_by_trial"].shape == (4, 3, 2, 1)
    np.testing.assert_allclose(found["mean_by_trial"].mean(0), found["mean"], rtol=1e-10)


def test_exact_fields_give_the_exact_density(exact_run: tuple[Config, Evaluation]) -> None:
    config, result = exact_run
    found = result.sums.density()
    x = found["x"]
    width = x[1] - x[0]
    edges = np.append(x - 0.5 * width, x[-1] + 0.5 * width)
    expected = exact_form(config).density(edges, found["time"])
    # cells with a few samples are not Gaussian: compare where there are at least 25
    many = expected * width * 2 * config.evaluation.samples > 25
    assert many.sum() > 60
    assert_within(found["density"][many], found["density_stderr"][many], expected[many])
    np.testing.assert_allclose(found["density"].sum(1) * width + found["outside"], 1.0, rtol=1e-12)


def test_exact_fields_have_no_field_error_and_pass_every_check(exact_run: tuple[Config, Evaluation]) -> None:
    _, result = exact_run
    assert set(result.sums.field_errors()) == {"E_u", "E_v_field"}
    assert max(result.sums.field_errors().values()) < 1e-12
    assert {check.name for check in result.checks if not check.passed} == set()
    assert any(check.name.startswith("kohn") for check in result.checks)


def test_wrong_fields_fail_the_checks() -> None:
    """The checks of the test before can fail: the same with v halved."""
    config = plain_config(EXACT)
    state = new_state(config, World())
    form = exact_form(config)

    class Halved(ExactFields):
        def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            u, v = super().forward(x, t)
            return u, 0.5 * v

    fields: Any = Halved(form, state.fields.frame)
    result = evaluate(
        config, TrainState(state.system, state.initial, fields, state.optimizer), World(), silent
    )
    assert not all(check.passed for check in result.checks)
    assert result.sums.field_errors()["E_v_field"] == pytest.approx(0.5, rel=1e-10)
    found = result.sums.observables()
    far = np.abs(found["mean"] - form.mean(found["time"])) / found["mean_stderr"]
    assert np.max(far) > 2.0 * SIGMAS


@pytest.mark.parametrize("late", [False, True], ids=["in the pilot", "after the pilot"])
def test_runaway_trajectories_are_a_divergence(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain_config({"network.kind": "mlp"})
    state = new_state(config, World())

    def poisoned(fields: Fields) -> None:
        with torch.no_grad():
            fields.v.output.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]

    if late:
        known = evaluation.pilot(evaluation.course_of(config, state), World())
        monkeypatch.setattr(evaluation, "pilot", lambda *_: known)
    poisoned(state.fields)
    with pytest.raises(DivergedError, match=r"train\.epochs or time\.steps"):
        evaluate(config, state, World(), silent)
