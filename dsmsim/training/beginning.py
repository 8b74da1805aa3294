"""What a run begins with: a new directory, or the newest valid checkpoint of the one that is there.

Everything here is done by rank 0, inside `World.on_root`, which tells the other ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsmsim.config import Change, Config, changes_between
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import (
    Checkpoint,
    RunDirectory,
    checkpoint_files,
    load_checkpoint,
    open_trajectories,
    read_results,
    stored_config,
)
from dsmsim.training.state import check_same_problem


@dataclass(frozen=True)
class Beginning:
    """Where a run stands as it begins.

    Attributes:
        run: its directory.
        checkpoint: what it continues from; None at the very beginning.
        finished: whether its results are there already, so that there is nothing to train or to sample.
        messages: what the user should know.
        changes: how the input differs from that of the run so far, where that changes the training.
    """

    run: RunDirectory
    checkpoint: Checkpoint | None = None
    finished: bool = False
    messages: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def begin(config: Config, out: Path, input_text: str, overwrite: bool, resume: bool) -> Beginning:
    """Make the directory `out`, or find out how far the run in it has come.

    Args:
        input_text: the input file as given.
        overwrite: replace the files of an earlier run.
        resume: continue the run that is there; start it if it has not saved anything yet.

    Raises:
        ConfigError: a run is there and neither was asked for, or it cannot go on with this input.
        StoreError: files cannot be read or written, or no checkpoint is valid.
    """
    if not resume:
        return Beginning(new_directory(config, out, input_text, overwrite))
    run = RunDirectory(out)
    run.clean()
    messages: list[str] = []
    if _has_results_of(config, run, messages):
        return Beginning(run, finished=True, messages=[f"{run.results} is complete: nothing to train"])
    if not checkpoint_files(run.checkpoints):
        _require_nothing_to_lose(run)
        run.log.unlink(missing_ok=True)
        _write_inputs(config, run, input_text)
        return Beginning(run, messages=messages)
    checkpoint = load_checkpoint(run.checkpoints)
    changes = check_same_problem(config, checkpoint)
    if changes or not run.resolved.is_file():
        _write_inputs(config, run, input_text)
    messages += checkpoint.warnings
    messages.append(f"resuming from {checkpoint.path} at epoch {checkpoint.epoch}")
    decisive = [str(change) for change in changes if change.weight == "training"]
    if decisive:
        messages.append(
            f"the input has changed, so training goes on otherwise than it began: {'; '.join(decisive)}"
        )
    return Beginning(run, checkpoint, messages=messages, changes=decisive)


def new_directory(config: Config, out: Path, input_text: str, overwrite: bool) -> RunDirectory:
    """The directory of a new run with its input, as given and with every default.

    Raises:
        ConfigError, StoreError: it holds a run that may not be replaced, or cannot be written.
    """
    run = RunDirectory.create(out, overwrite)
    _write_inputs(config, run, input_text)
    return run


def _write_inputs(config: Config, run: RunDirectory, input_text: str) -> None:
    """The resolved input first: from then on the run can be resumed, wherever it is killed."""
    run.write_text(run.resolved, config.to_toml())
    if input_text:
        run.write_text(run.input, input_text)


def _has_results_of(config: Config, run: RunDirectory, messages: list[str]) -> bool:
    """Whether results.h5 is what a run of this input ends with; it is written only at the end.

    Where it cannot be read, or the trajectories beside it are not whole, the messages say so.
    """
    if not run.results.is_file():
        return False
    try:
        old = stored_config(read_results(run.results).attributes)
        if config.output.trajectories:
            open_trajectories(run.path)
    except StoreError as error:
        messages.append(f"{error}; results are made anew")
        return False
    return old is not None and not any(_concerns_results(change) for change in changes_between(old, config))


def _concerns_results(change: Change) -> bool:
    return change.weight != "other"


def _require_nothing_to_lose(run: RunDirectory) -> None:
    """Refuse to start in a directory whose checkpoints are gone but whose results are not."""
    kept = sorted(set(run.files()) - {run.input, run.resolved, run.log})
    if kept:
        raise ConfigError(
            f"{run.path} holds {_names(run, kept)}, but no checkpoint to continue from: run it anew with "
            "--overwrite, or name another directory with --out"
        )


def _names(run: RunDirectory, files: Sequence[Path]) -> str:
    names = ", ".join(str(file.relative_to(run.path)) for file in files[:3])
    return names + (f" and {len(files) - 3} more" if len(files) > 3 else "")
