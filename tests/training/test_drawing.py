"""Samples of solved fields: from the right law, the same on any ranks, and never lost by a stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_fields import ExactFields, exact_form
from ranks import run_ranks
from tiny import tiny_config
from torch import Tensor

from dsmsim.config import Config
from dsmsim.errors import ConfigError, DivergedError, StoppedEarly, StoreError
from dsmsim.networks import natural_frame
from dsmsim.parallel import StopRequest, World
from dsmsim.store import SampleDirectory, open_samples
from dsmsim.system import InitialState, System, build_initial, build_system
from dsmsim.training import drawing
from dsmsim.training.drawing import LARGEST_PART, draw, drawing_config, drawing_key, parts_of
from dsmsim.training.draws import SAMPLE_BLOCK, sample_blocks
from dsmsim.training.evaluate import course_of
from dsmsim.training.state import new_state

TIMES = (0.0, 0.4, 1.0)


@dataclass
class Exact:
    """The closed form of the tiny input as a solution."""

    config: Config
    system: System = field(init=False)
    initial: InitialState = field(init=False)
    fields: Any = field(init=False)

    def __post_init__(self) -> None:
        self.system, self.initial = build_system(self.config), build_initial(self.config)
        frame = natural_frame(self.config, self.system, self.initial).double()
        self.fields = ExactFields(exact_form(self.config), frame)


def config_of(count: int = 6500, **options: Any) -> Config:
    wanted = {"nu": None, "draws": None, "seed": None} | options
    return drawing_config(tiny_config(), count, wanted.pop("times", TIMES), **wanted)


def drawn(
    directory: Path,
    config: Config,
    ranks: int = 1,
    stop: StopRequest | None = None,
    solution: Exact | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Draw on so many ranks, as the command does; how many samples are new."""
    solution = solution or Exact(config)
    place = SampleDirectory(directory, drawing_key(config, solution.fields))

    def work(world: World) -> int:
        done = world.broadcast_object(world.on_root(lambda: place.begin(False)))
        return draw(config, solution, world, place, done, stop or StopRequest(), progress)

    return run_ranks(ranks, work)[0]


def contents(directory: Path) -> dict[str, bytes]:
    """Parts and manifest; samples.h5, which holds no numbers of its own, bears the time of its making."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "samples.h5"}


class AskedAfter(StopRequest):
    """A stop that is asked for between blocks, once so many of them are done."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self._left = blocks

    def agreed_with(self, world: World, flag: bool, *, ahead: float = 0.0) -> tuple[str | None, bool]:
        self._left -= 1
        if self._left == 0:
            self.ask(signal.SIGUSR1)
        return super().agreed_with(world, flag, ahead=ahead)


@pytest.mark.parametrize(("nu", "draws"), [(0.0, "sobol"), (0.0, "independent"), (1.0, "antithetic")])
def test_samples_have_the_moments_of_the_closed_form(nu: float, draws: str, tmp_path: Path) -> None:
    config = config_of(8000, nu=nu, draws=draws)
    drawn(tmp_path, config)
    samples, form = open_samples(tmp_path), exact_form(config)
    found = samples.positions()
    assert found.shape == (3, 8000, 2, 1)
    mean, variance = form.mean(TIMES)[:, 0], form.variance(TIMES)[:, 0]
    x = found.reshape(len(TIMES), 8000, 2)
    assert (abs(x.mean(1) - mean) < 5.0 * np.sqrt(variance / 8000)).all()
    assert (abs(x.var(1) / variance - 1.0) < 5.0 * np.sqrt(2.0 / 8000)).all()


@pytest.mark.parametrize("nu", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["mlp", "potential"])
def test_the_path_is_that_of_an_evaluation(kind: str, nu: float) -> None:
    """Only the drift is computed here, and u and v there."""
    times = (0.0, 0.03, 0.3, 0.31, 0.7, 1.0)
    run = tiny_config({"network.kind": kind, "network.messages": False, "train.precision": "float64"})
    config = drawing_config(run, 10, times, nu, None, None)
    course = course_of(config, new_state(config, World()))
    (block,) = parts_of(config)[0].blocks
    found = {index: x.detach().numpy() for index, x in drawing._positions(course, block)}
    expected = {index: point.x.detach().numpy() for index, point in course.saved(block)}
    assert found.keys() == expected.keys() == set(range(len(times)))
    for index, x in expected.items():
        np.testing.assert_allclose(found[index], x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ranks", [2, 5])
def test_any_number_of_ranks_writes_the_same_bytes(ranks: int, tmp_path: Path) -> None:
    config = config_of()
    for directory, size in (("one", 1), ("several", ranks)):
        assert drawn(tmp_path / directory, config, size) == 6500
    assert contents(tmp_path / "one") == contents(tmp_path / "several")
    assert len(list((tmp_path / "one").glob("part-*.h5"))) == 4


def test_samples_are_not_those_of_the_evaluation_nor_of_another_seed(tmp_path: Path) -> None:
    config = config_of(times=(0.0,))
    drawn(tmp_path / "a", config)
    drawn(tmp_path / "b", config_of(times=(0.0,), seed=2))
    start, _ = sample_blocks(config)[0].start(config.seed, build_initial(config))
    one, two = (open_samples(tmp_path / name).positions()[0].reshape(-1, 2) for name in "ab")
    assert abs(np.corrcoef(one[:, 0], two[:, 0])[0, 1]) < 0.1
    assert not np.isclose(one[: len(start)], start).any()


def test_a_stopped_drawing_goes_on_where_it_was(tmp_path: Path) -> None:
    config = config_of()
    drawn(tmp_path / "whole", config)
    stopped = tmp_path / "stopped"
    with pytest.raises(StoppedEarly, match=r"stopped after 4,875 of 6,500 samples \(signal SIGUSR1\)"):
        drawn(stopped, config, 3, stop=AskedAfter(3))
    assert {path.suffix for path in stopped.iterdir()} == {".h5"}
    with pytest.raises(StoreError, match="the same `dsmsim sample` goes on with it"):
        open_samples(stopped)
    told: list[tuple[int, int]] = []
    there = len(list(stopped.glob("part-*.h5")))
    assert there == 3
    drawn(stopped, config, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (there * 1625, 6500)
    assert told[-1] == (6500, 6500)
    assert contents(stopped) == contents(tmp_path / "whole")
    assert drawn(stopped, config) == 0


def test_a_stop_in_the_last_turn_comes_too_late(tmp_path: Path) -> None:
    drawn(tmp_path, config_of(), stop=AskedAfter(4))
    assert open_samples(tmp_path).count == 6500


def test_other_samples_are_in_the_way(tmp_path: Path) -> None:
    drawn(tmp_path, config_of(500))
    options: list[dict[str, Any]] = [{"seed": 2}, {"nu": 0.5}, {"times": (1.0,)}]
    for other in [config_of(501), *(config_of(500, **each) for each in options)]:
        with pytest.raises(ConfigError, match="--overwrite"):
            drawn(tmp_path, other)


class Explosive(ExactFields):
    """Fields that are no numbers from t = 0.5 on."""

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        u, v = super().forward(x, t)
        return u, torch.where(t > 0.5, torch.nan, v)


@pytest.mark.parametrize("ranks", [1, 3])
def test_samples_that_run_away(ranks: int, tmp_path: Path) -> None:
    config = config_of()
    solution = Exact(config)
    solution.fields = Explosive(solution.fields.form, solution.fields.frame)
    with pytest.raises(DivergedError, match=r"ran to infinity by t = 1"):
        drawn(tmp_path, config, ranks, solution=solution)
    assert contents(tmp_path) == {}


def test_no_part_grows_with_the_number_of_samples() -> None:
    for count in (2, 1000, 100_000, 20_000_000):
        parts = parts_of(config_of(count))
        assert sum(part.count for part in parts) == count
        assert max(part.count for part in parts) <= LARGEST_PART * SAMPLE_BLOCK
    assert len(parts_of(config_of(1_000_000))) >= 50


def test_a_new_process_takes_its_own_scheme() -> None:
    run = tiny_config({"evaluation.nu": 1.0, "evaluation.scheme": "euler"})
    assert drawing_config(run, 10, TIMES, None, None, None).evaluation.scheme == "euler"
    assert drawing_config(run, 10, TIMES, 0.0, None, None).evaluation.scheme is None
