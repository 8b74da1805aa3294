"""From inputs and a request to a batch script that lies in a file."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsmsim.batch.request import BatchRequest, check_inputs, check_request, warnings
from dsmsim.batch.script import Work, job_name, render
from dsmsim.batch.submit import require_new, write_script
from dsmsim.batch.sweep import seed_inputs
from dsmsim.config import load_config
from dsmsim.config.settings import parse_setting
from dsmsim.errors import ConfigError


@dataclass(frozen=True)
class Prepared:
    """A script that was written.

    Attributes:
        script: its file.
        inputs: the inputs that it runs.
        runs: their directories.
        warnings: what is allowed but probably not meant.
    """

    script: Path
    inputs: tuple[Path, ...]
    runs: tuple[Path, ...]
    warnings: tuple[str, ...]


def prepare(
    inputs: Sequence[Path],
    request: BatchRequest,
    *,
    settings: Sequence[str] = (),
    seeds: str | None = None,
    out: Path | None = None,
    script: Path | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write a batch script that runs the inputs from the current directory in the current environment.

    Args:
        inputs: one, or several, which become the tasks of a job array.
        settings: `KEY=VALUE` options that change every input; the script gives them to the runs.
        seeds: seeds such as "1-8", with each of which the one input becomes a task.
        out: directory of the run of one input [runs/<name of the input>].
        script: where the script goes [<name of the job>.sh].
        overwrite: replace a script, and inputs of other seeds, that are there.

    Raises:
        ConfigError: an input or the request is wrong, they do not suit each other, or a file is in the way.
    """
    configs = [(str(file), load_config(file, settings, environment=False)) for file in inputs]
    several = len(inputs) > 1 or seeds is not None
    check_request(request, several=several)
    lead = check_inputs(request, configs)
    if several and out is not None:
        raise ConfigError("--out: is for one run; leave it out, and every run gets runs/<name of its input>")
    if seeds is not None and len(inputs) > 1:
        raise ConfigError("--seeds: is for one input; leave it out, or name one input")
    if seeds is not None and any(parse_setting(option).path == ("seed",) for option in settings):
        raise ConfigError("--set seed: --seeds gives every task its seed; leave one of them out")
    name = job_name(inputs[0].stem + ("-array" if several else ""))
    file = script or Path(f"{name}.sh")
    if not overwrite:
        require_new(file)
    if seeds is not None:
        inputs = seed_inputs(inputs[0], seeds, file.with_suffix(".inputs"), overwrite=overwrite)
    runs = [out or Path("runs") / each.stem for each in inputs]
    if len(set(runs)) < len(runs):
        twice = next(run for run in runs if runs.count(run) > 1)
        raise ConfigError(f"two inputs would share the directory {twice}: give their files different names")
    here = Path.cwd()
    work = Work(
        name=name,
        script=str(file),
        inputs=tuple(map(str, inputs)),
        array=several,
        settings=tuple(settings),
        out=None if out is None else str(out),
        directory=str(here),
        logs="." if file.parent.resolve() == here else str(file.parent.resolve()),
        programs=sysconfig.get_path("scripts"),
        lead=lead,
    )
    write_script(file, render(request, work))
    return Prepared(file, tuple(inputs), tuple(runs), tuple(warnings(request, configs)))
