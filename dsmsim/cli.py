"""The command line. Every command imports what it needs when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsmsim import __version__
from dsmsim.errors import ConfigError, DsmsimError

app = typer.Typer(
    help="Real-time dynamics of many bosons by Deep Stochastic Mechanics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

InputFile = Annotated[Path, typer.Argument(help="input file (TOML); see `dsmsim init`", metavar="INPUT.toml")]
RunPath = Annotated[Path, typer.Argument(help="directory of a run", metavar="DIR")]
OutPath = Annotated[Path | None, typer.Option("--out", help="directory of the run [runs/<input name>]")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace the files of an earlier run there")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dsmsim {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Real-time dynamics of many bosons by Deep Stochastic Mechanics."""


@app.command()
def run(input_file: InputFile, out: OutPath = None, overwrite: Overwrite = False) -> None:
    """Train, sample, measure, compare and draw. Start it plainly, or with mpirun, srun or torchrun."""
    from dsmsim import methods

    methods.run(input_file, out, overwrite)


@app.command()
def resume(directory: RunPath) -> None:
    """Continue a run that was stopped, from its newest valid checkpoint, on any number of ranks."""
    from dsmsim import methods

    methods.resume(directory)


@app.command()
def check(
    input_file: InputFile,
    ranks: Annotated[int, typer.Option(min=1, help="ranks that the run will have")] = 1,
    out: OutPath = None,
) -> None:
    """Check an input and print the plan: parameters, memory, work, and the files that will be written."""
    from dsmsim import methods
    from dsmsim.config import load_config, make_plan
    from dsmsim.terminal import plan_table, report_console

    config = load_config(input_file)
    if methods.has_functions(config):  # only they need torch here, which takes seconds to load
        methods.require_physics(config)
    report_console().print(plan_table(make_plan(config, ranks), out or Path("runs") / input_file.stem))


@app.command()
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


@app.command()
def baseline(
    name: Annotated[str, typer.Argument(help="split_step, or any installed method")],
    input_file: InputFile,
    out: OutPath = None,
    overwrite: Overwrite = False,
) -> None:
    """Solve the same input by another method; the results have the same layout.

    Baselines run in one process: under a launcher the first rank works and the others leave at once.
    """
    from dsmsim import methods
    from dsmsim.config import load_config
    from dsmsim.parallel import launch_environment
    from dsmsim.store import RunDirectory

    solve = methods.baseline(name)
    config = load_config(input_file)
    if launch_environment().rank != 0:
        return
    directory = out or Path("runs") / f"{input_file.stem}-{name}"
    places = RunDirectory.create(directory, overwrite)
    solve(config, directory)
    typer.echo(f"results   {places.results}")


@app.command()
def compare(
    directory: RunPath,
    reference: Annotated[Path, typer.Argument(help="another run's directory, or its results.h5")],
) -> None:
    """Errors of one run against another, for instance against a baseline."""
    from rich.markup import escape

    from dsmsim.analysis import compare as compare_results
    from dsmsim.analysis import errors_table
    from dsmsim.store import read_results
    from dsmsim.terminal import report_console

    found = [path / "results.h5" if path.is_dir() else path for path in (directory, reference)]
    errors = compare_results(*(read_results(path).results for path in found))
    report_console().print(errors_table(errors, reference=escape(str(reference))))


@app.command()
def plot(directory: RunPath) -> None:
    """Draw the figures of a run again."""
    from dsmsim.analysis import plot_run

    for file in plot_run(directory):
        typer.echo(f"figure    {file}")


def main() -> None:
    """Entry point of the console script: errors become one message and their exit code."""
    sys.path.insert(0, os.getcwd())  # a user's own potential may be a module in the current directory
    try:
        app(prog_name="dsmsim")  # also under `mpirun python -m dsmsim.cli`
    except DsmsimError as error:
        _complain(str(error))
        _leave(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        _leave(130)


def _complain(message: str) -> None:
    """Print an error once, whatever the number of ranks that found it."""
    from dsmsim.parallel import launch_environment

    if launch_environment().rank == 0:
        print(f"dsmsim: {message}", file=sys.stderr)


def _leave(code: int) -> None:
    sys.stdout.flush()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
