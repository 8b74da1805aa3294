"""One input, any number of ranks, any launcher: the same losses and the same observables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from launchers import mpirun, needs_mpirun, run_dsmsim, torchrun
from run_files import assert_close_run, finished_run, log_of, losses_of
from tiny import write_input

from dsmsim.store import RunDirectory, read_results, read_trajectories

# five blocks of trajectories and five of samples: no number of ranks above one shares them out evenly
UNEVEN = {
    "train.trajectories": 10,
    "train.points": 40,
    "evaluation.samples": 200,
    "evaluation.trials": 5,
    "output.trajectories": 90,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the run without a launcher."""
    return finished_run(tmp_path_factory.mktemp("plain"), UNEVEN)


def launch(launcher: list[str], directory: Path) -> Path:
    file = write_input(directory / "input.toml", UNEVEN)
    done = run_dsmsim("run", file, "--out", directory / "run", launcher=launcher)
    assert done.returncode == 0, done.stderr
    # one rank speaks
    assert done.stdout.count("results   ") == 1
    assert done.stderr.count("results in ") == 1
    return directory / "run"


def assert_same_as(plain: Path, run: Path, ranks: int, launcher: str) -> None:
    assert len(losses_of(run)) == 6
    np.testing.assert_allclose(losses_of(run)[:5], losses_of(plain)[:5], rtol=1e-10)
    assert_close_run(run, plain)
    for record, expected in zip(log_of(run), log_of(plain), strict=True):
        assert record == pytest.approx(expected, rel=1e-9)
    stored, reference = (read_results(RunDirectory(each).results) for each in (run, plain))
    facts = stored.attributes["provenance"]
    assert (facts["world_size"], facts["launcher"]) == (ranks, launcher)
    assert len(facts["hosts"]) == len(facts["devices"]) == ranks
    paths, expected_paths = (read_trajectories(each)["position"] for each in (run, plain))
    assert paths.shape == (5, 90, 2, 1)
    np.testing.assert_allclose(paths, expected_paths, rtol=0.0, atol=1e-9)
    errors, expected_errors = (each.results["errors/closed_form"] for each in (stored, reference))
    assert {name: float(errors[name].sum()) for name in errors} == pytest.approx(
        {name: float(value.sum()) for name, value in expected_errors.items()}, rel=1e-8
    )


@needs_mpirun
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_mpirun(ranks: int, plain: Path, tmp_path: Path) -> None:
    run = launch(mpirun(ranks), tmp_path)
    assert_same_as(plain, run, ranks, "mpirun")


def test_torchrun(plain: Path, tmp_path: Path) -> None:
    run = launch(torchrun(2), tmp_path)
    assert_same_as(plain, run, 2, "torchrun")
