"""What finished and interrupted runs of the tests left in their directories."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from commands import call
from tiny import write_input

from dsmsim.store import RunDirectory, checkpoint_files, load_checkpoint, read_jsonlines, read_results


def finished_run(directory: Path, changes: Mapping[str, object] | None = None) -> Path:
    """A run of the tiny input, with changes, in this process, from beginning to end; its directory."""
    outcome = call("run", write_input(directory / "input.toml", changes), "--out", directory / "run")
    assert outcome.code == 0, outcome.err
    return directory / "run"


def log_of(directory: Path) -> list[dict[str, Any]]:
    """The log without the times, which no two runs share."""
    records = read_jsonlines(RunDirectory(directory).log)
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def losses_of(directory: Path) -> list[float]:
    """The losses in the log."""
    return [record["loss"] for record in log_of(directory)]


def model_of(directory: Path) -> dict[str, np.ndarray]:
    """The networks in results.h5."""
    results = read_results(RunDirectory(directory).results).results
    return {f"{net}/{name}": value for net in ("u", "v") for name, value in results[f"model/{net}"].items()}


def interrupted_copy(finished: Path, copy: Path, epoch: int) -> Path:
    """What a run killed after the checkpoint of `epoch` would have left, with a log that is ahead of it."""
    shutil.copytree(finished, copy)
    run = RunDirectory(copy)
    for file in (run.results, run.results.with_suffix(".xdmf")):
        file.unlink()
    for file in checkpoint_files(run.checkpoints):
        if file.name > f"ckpt-{epoch:06d}.h5":
            file.unlink()
    return copy


def assert_same_run(left: Path, right: Path) -> None:
    """Log, last checkpoint, networks and observables agree to the last bit."""
    assert log_of(left) == log_of(right)
    pairs = [(model_of(left), model_of(right))]
    pairs += [tuple(load_checkpoint(RunDirectory(each).checkpoints).arrays for each in (left, right))]
    for group in ("observables", "density"):
        both = [read_results(RunDirectory(each).results).results[group] for each in (left, right)]
        pairs.append((both[0], both[1]))
    for found, expected in pairs:
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), name


def assert_close_run(left: Path, right: Path) -> None:
    """The same within rounding: losses to 1e-10, observables and densities to 1e-9."""
    assert [record["epoch"] for record in log_of(left)] == [record["epoch"] for record in log_of(right)]
    np.testing.assert_allclose(losses_of(left), losses_of(right), rtol=1e-10)
    found, expected = (read_results(RunDirectory(each).results).results for each in (left, right))
    for group in ("observables", "density"):
        assert found[group].keys() == expected[group].keys()
        for name, value in expected[group].items():
            np.testing.assert_allclose(found[group][name], value, rtol=1e-9, atol=1e-11, err_msg=name)
