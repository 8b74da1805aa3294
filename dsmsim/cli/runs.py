"""The commands that work on an input: run, resume, check, doctor, init, baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from dsmsim.cli.app import InputFile, OutPath, Overwrite, RunPath, Settings
from dsmsim.errors import ConfigError


def run(
    input_file: InputFile,
    out: OutPath = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run that is there, or start it; for batch jobs")
    ] = False,
    settings: Settings = None,
) -> None:
    """Train, sample, measure, compare and draw. Start it plainly, or with mpirun, srun or torchrun."""
    from dsmsim.methods import runs

    runs.run(input_file, out, overwrite, resume, settings or ())


def resume(
    directory: RunPath,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", help="go on with this input; the physics must be the same \\[that of the run]"
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Continue a run that was stopped, from its newest valid checkpoint, on any number of ranks."""
    from dsmsim.methods import runs

    runs.resume(directory, input_file, settings or ())


def check(
    input_file: InputFile,
    ranks: Annotated[int, typer.Option(min=1, help="ranks that the run will have")] = 1,
    out: OutPath = None,
    settings: Settings = None,
) -> None:
    """Check an input and print the plan: parameters, memory, work, files, and what references will cost."""
    from dsmsim.methods import runs
    from dsmsim.terminal import plan_table, references_table, report_console

    plan, chosen = runs.check(input_file, ranks, settings or ())
    console = report_console()
    console.print(plan_table(plan, out or Path("runs") / input_file.stem))
    console.print(references_table(chosen.rows, chosen.notes))


def doctor(
    input_file: Annotated[
        Path | None,
        typer.Argument(help="an input whose \\[run] and number of blocks count", metavar="[INPUT.toml]"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write all that was found to this file", metavar="FILE")
    ] = None,
    settings: Settings = None,
) -> None:
    """Test what the launcher gave: ranks, devices, MPI, speeds, files; and train two steps against one rank.

    Start it exactly as the run: plainly, or with mpirun, srun or torchrun. Exit code 5 if a check fails.
    """
    from dsmsim.methods.doctor import doctor as examine

    if settings and input_file is None:
        raise ConfigError("--set: changes an input, and none is named; name one, or leave it out")
    examine(input_file, json_file, settings or ())


def init(
    file: Annotated[Path, typer.Argument(help="where to write it", metavar="INPUT.toml")] = Path(
        "input.toml"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file that is there")] = False,
) -> None:
    """Write a commented input to start from."""
    from dsmsim.config import commented_template

    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists: name another file, or give --overwrite")
    try:
        file.write_text(commented_template(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}; name a file that can be written"
        ) from error
    typer.echo(f"wrote {file}: edit it, then `dsmsim check {file}` and `dsmsim run {file}`")


class BaselineCommand(TyperCommand):
    """A command whose help ends with the names of the installed baselines, looked up only for it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from dsmsim.methods.installed import baseline_names

        self.epilog = f"Installed baselines: {', '.join(baseline_names())}"
        super().format_help(ctx, formatter)


def baseline(
    name: Annotated[str, typer.Argument(help="name of an installed baseline, such as exact", metavar="NAME")],
    input_file: InputFile,
    out: OutPath = None,
    overwrite: Overwrite = False,
    settings: Settings = None,
) -> None:
    """Solve the same input by another method; the results have the same layout.

    Start it plainly, or with mpirun, srun or torchrun. Methods that can share their work among ranks do so,
    such as tvmc and gaussian_sampling; of any other the first rank does the work, with threads, and the
    others leave at once.
    """
    from dsmsim.methods import runs
    from dsmsim.terminal import report_console

    results = runs.solve_baseline(name, input_file, out, overwrite, settings or ())
    if results is not None:
        runs.report_baseline(name, results, report_console())
