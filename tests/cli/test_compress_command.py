"""`dsmsim compress`: a new run from a finished one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import call
from run_files import finished_run

from dsmsim.store import RunDirectory, load_checkpoint, read_results


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny input."""
    return finished_run(tmp_path_factory.mktemp("dense"))


def test_there_and_back(finished: Path, tmp_path: Path) -> None:
    before = (finished / "results.h5").read_bytes()
    outcome = call("compress", finished, "--rank", 8, "--no-reorder", "--out", tmp_path / "tt")
    assert outcome.code == 0, outcome.err
    for text in ("u.blocks.0.first", "E_v (closed_form)", "failed checks", "no compression"):
        assert text in outcome.out
    new = RunDirectory(tmp_path / "tt")
    stored, old = read_results(new.results), read_results(finished / "results.h5")
    np.testing.assert_allclose(
        stored.results["observables"]["variance"], old.results["observables"]["variance"], rtol=1e-6
    )
    assert "errors/closed_form" in stored.results
    assert 'format = "tt"' in new.resolved.read_text()

    outcome = call("compress", new.path, "--format", "dense", "--out", tmp_path / "back")
    assert outcome.code == 0, outcome.err
    again = read_results(tmp_path / "back" / "results.h5").results
    for name, values in old.results["model/u"].items():
        np.testing.assert_allclose(again["model/u"][name], values, rtol=0.0, atol=1e-5, err_msg=name)
    assert (finished / "results.h5").read_bytes() == before


def test_finetuning_trains_and_can_be_resumed(finished: Path, tmp_path: Path) -> None:
    outcome = call(
        "compress", finished, "--format", "lowrank", "--rank", 2, "--finetune", 3, "--out", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    assert "after 3 epochs" in outcome.out
    run = RunDirectory(tmp_path / "run")
    assert load_checkpoint(run.checkpoints).epoch == 3
    assert len(read_results(run.results).results["training"]["loss"]) == 3
    outcome = call("resume", run.path)
    assert outcome.code == 0, outcome.err


def test_a_run_that_is_there_is_kept_unless_asked(finished: Path, tmp_path: Path) -> None:
    options = ("compress", finished, "--format", "lowrank", "--rank", 2, "--out", tmp_path / "run")
    assert call(*options).code == 0
    refused = call(*options)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert call(*options, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "mps"), "blockterm"),
        (("--rank", 2, "--tolerance", 0.1), "give one"),
        (("--rank", 0), "at least 1"),
        (("--tolerance", 2), "between 0 and 1"),
        (("--format", "dense", "--rank", 2), "remove them"),
        (("--modes", "two"), "8x8"),
        (("--modes", "3x3", "--rank", 2), "network.width"),
        (("--fit", "guess"), "weights"),
        (("--rank", 500), "network.tensor.rank"),
    ],
)
def test_wrong_options(finished: Path, tmp_path: Path, options: tuple[object, ...], said: str) -> None:
    outcome = call("compress", finished, *options, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "run" / "resolved.toml").exists()


def test_never_in_place(finished: Path) -> None:
    outcome = call("compress", finished, "--rank", 2, "--out", finished, "--overwrite")
    assert outcome.code == 2
    assert "another directory" in outcome.err
    assert (finished / "results.h5").is_file()


def test_no_finished_run(finished: Path, tmp_path: Path) -> None:
    assert call("compress", tmp_path / "nothing").code == 4
    started = tmp_path / "started"
    started.mkdir()
    (started / "resolved.toml").write_bytes((finished / "resolved.toml").read_bytes())
    outcome = call("compress", started)
    assert outcome.code == 4
    assert "results.h5" in outcome.err
