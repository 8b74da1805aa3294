"""The command line. Every command imports what it needs when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from dsmsim import __version__
from dsmsim.errors import ConfigError, DsmsimError, StoppedEarly

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
def run(
    input_file: InputFile,
    out: OutPath = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the run that is there, or start it; for batch jobs")
    ] = False,
) -> None:
    """Train, sample, measure, compare and draw. Start it plainly, or with mpirun, srun or torchrun."""
    from dsmsim.methods import runs

    runs.run(input_file, out, overwrite, resume)


@app.command()
def resume(
    directory: RunPath,
    input_file: Annotated[
        Path | None,
        typer.Option("--input", help="go on with this input; the physics must be the same [that of the run]"),
    ] = None,
) -> None:
    """Continue a run that was stopped, from its newest valid checkpoint, on any number of ranks."""
    from dsmsim.methods import runs

    runs.resume(directory, input_file)


@app.command()
def check(
    input_file: InputFile,
    ranks: Annotated[int, typer.Option(min=1, help="ranks that the run will have")] = 1,
    out: OutPath = None,
) -> None:
    """Check an input and print the plan: parameters, memory, work, files, and what references will cost."""
    from dsmsim.methods import runs
    from dsmsim.terminal import plan_table, references_table, report_console

    plan, chosen = runs.check(input_file, ranks)
    console = report_console()
    console.print(plan_table(plan, out or Path("runs") / input_file.stem))
    console.print(references_table(chosen.rows, chosen.notes))


@app.command()
def doctor(
    input_file: Annotated[
        Path | None,
        typer.Argument(help="an input whose \\[run] and number of blocks count", metavar="[INPUT.toml]"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write all that was found to this file", metavar="FILE")
    ] = None,
) -> None:
    """Test what the launcher gave: ranks, devices, MPI, speeds, files; and train two steps against one rank.

    Start it exactly as the run: plainly, or with mpirun, srun or torchrun. Exit code 5 if a check fails.
    """
    from dsmsim.methods.doctor import doctor as examine

    examine(input_file, json_file)


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


class BaselineCommand(TyperCommand):
    """A command whose help ends with the names of the installed baselines, looked up only for it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from dsmsim.methods.installed import baseline_names

        self.epilog = f"Installed baselines: {', '.join(baseline_names())}"
        super().format_help(ctx, formatter)


@app.command(cls=BaselineCommand)
def baseline(
    name: Annotated[str, typer.Argument(help="name of an installed baseline, such as exact", metavar="NAME")],
    input_file: InputFile,
    out: OutPath = None,
    overwrite: Overwrite = False,
) -> None:
    """Solve the same input by another method; the results have the same layout.

    Start it plainly, or with mpirun, srun or torchrun. Methods that can share their work among ranks do so,
    such as tvmc and gaussian_sampling; of any other the first rank does the work, with threads, and the
    others leave at once.
    """
    from dsmsim.methods import runs
    from dsmsim.terminal import report_console

    results = runs.solve_baseline(name, input_file, out, overwrite)
    if results is not None:
        runs.report_baseline(name, results, report_console())


@app.command()
def compare(
    path: Annotated[
        Path, typer.Argument(help="directory of a run or baseline, or a results.h5", metavar="A")
    ],
    others: Annotated[
        list[Path],
        typer.Argument(
            help="more of the same, and last what they are held against: the same, or closed_form, the "
            "exact solution of the problem of each",
            metavar="[B ...] REFERENCE",
        ),
    ],
    figure: Annotated[
        Path | None,
        typer.Option("--figure", help="where the figure goes [figures/methods.png of A, if there is a B]"),
    ] = None,
) -> None:
    """Errors of one result or several against another, for instance of a run against a baseline.

    Of several, one table with their errors, sampling floors, costs and checks, and a figure.
    """
    from rich.markup import escape

    from dsmsim.analysis import entries_table, errors_table
    from dsmsim.methods.comparing import compare_several, draw_several
    from dsmsim.terminal import report_console

    *results, reference = [path, *others]
    entries, console = compare_several(results, reference), report_console()
    if len(entries) == 1:
        console.print(errors_table(entries[0].errors, reference=escape(str(reference))))
    else:
        console.print(entries_table(entries, reference=str(reference)))
    if figure is None and len(entries) == 1:
        return
    try:
        typer.echo(f"figure    {draw_several(entries, path, reference, figure)}")
    except ConfigError as error:  # matplotlib is an extra
        if figure is not None:
            raise
        typer.echo(f"no figure: {error}")


@app.command()
def compress(
    directory: RunPath,
    format: Annotated[
        str,
        typer.Option("--format", help="tt, tr, lowrank, cp, tucker or blockterm; dense: the reverse"),
    ] = "tt",
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="relative error allowed in every layer, 0 to 1 [0.01]"),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", help="rank of all layers, instead of a tolerance")
    ] = None,
    modes: Annotated[
        str | None,
        typer.Option("--modes", help="8x8, or 4x16:16x4 for outputs and inputs [factorised evenly]"),
    ] = None,
    fit: Annotated[
        str, typer.Option("--fit", help="data: outputs of the layers on trajectories; weights: their weights")
    ] = "data",
    reorder: Annotated[
        bool,
        typer.Option("--reorder/--no-reorder", help="put hidden units into an order that suits tt or tr"),
    ] = True,
    finetune: Annotated[
        int, typer.Option("--finetune", min=0, help="epochs of training with the new layers")
    ] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="directory of the new run [DIR-FORMAT]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Decompose the hidden layers of a finished run into a new run, and measure what that costs.

    Start it plainly, or with mpirun, srun or torchrun. The new directory is a run like any other.
    """
    from dsmsim.methods import compressing

    want = compressing.wanted(
        directory, format, rank, tolerance, modes, fit, reorder, finetune, out, overwrite
    )
    compressing.compress(directory, want)


@app.command()
def plot(directory: RunPath) -> None:
    """Draw the figures of a run again."""
    from dsmsim.analysis import plot_run

    for file in plot_run(directory):
        typer.echo(f"figure    {file}")


@app.command()
def slurm(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="input file (TOML); several become a job array", metavar="INPUT.toml ..."),
    ],
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="nodes")] = 1,
    ntasks_per_node: Annotated[
        int | None,
        typer.Option("--ntasks-per-node", min=1, help="ranks on each node [one for each GPU, or 1]"),
    ] = None,
    gpus_per_node: Annotated[int, typer.Option("--gpus-per-node", min=0, help="GPUs on each node")] = 0,
    cpus_per_task: Annotated[int, typer.Option("--cpus-per-task", min=1, help="cores of each rank")] = 1,
    time: Annotated[str, typer.Option("--time", help="time limit, as Slurm writes it")] = "4:00:00",
    partition: Annotated[str | None, typer.Option("--partition", help="partition")] = None,
    account: Annotated[str | None, typer.Option("--account", help="account")] = None,
    qos: Annotated[str | None, typer.Option("--qos", help="quality of service")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option("--sbatch", help="any other option of sbatch, such as --mem=16G; may be repeated"),
    ] = None,
    launcher: Annotated[str, typer.Option("--launcher", help="srun or mpirun")] = "srun",
    chain: Annotated[
        int, typer.Option("--chain", min=1, max=100, help="jobs, each to continue the one before it")
    ] = 1,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="stopped by its time limit, the job queues itself again")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="a job array of the input with these seeds: 1-8, or 1,2,5")
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            "--setup", help="shell command for the script, such as 'module load x'; may be repeated"
        ),
    ] = None,
    out: OutPath = None,
    script: Annotated[
        Path | None, typer.Option("--script", help="where the script goes [<input name>.sh]")
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="give the script to Slurm")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a script that is there")] = False,
) -> None:
    """Write a batch script for Slurm that runs an input, or continues its run, and submit it if wanted."""
    import shlex

    from dsmsim import batch

    request = batch.BatchRequest(
        nodes=nodes,
        ntasks_per_node=ntasks_per_node,
        gpus_per_node=gpus_per_node,
        cpus_per_task=cpus_per_task,
        time=time,
        partition=partition,
        account=account,
        qos=qos,
        options=tuple(sbatch or ()),
        launcher=launcher,
        chain=chain,
        requeue=requeue,
        setup=tuple(setup or ()),
    )
    made = batch.prepare(inputs, request, seeds=seeds, out=out, script=script, overwrite=overwrite)
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"wrote {made.script}: {request.ranks} rank{'s' if request.ranks > 1 else ''} in each job")
    if not submit:
        typer.echo(f"submit it by: {shlex.join(batch.submission_command(made.script, chain))}")
        return
    jobs = batch.submit(made.script, chain)
    typer.echo(f"submitted: {' '.join(jobs)}; results go to {', '.join(map(str, made.runs[:3]))}")
    typer.echo(f"watch: squeue --me; stop: scancel {' '.join(jobs)}")


def main() -> None:
    """Entry point of the console script: errors become one message and their exit code."""
    sys.path.insert(0, os.getcwd())  # a user's own potential may be a module in the current directory
    first = _is_first()
    earlier = signal.signal(signal.SIGUSR1, _stop_by_signal)
    try:
        # wrong usage is told by the first rank only; the others get it as an exception or a code
        code = app(prog_name="dsmsim", standalone_mode=first)  # also under `mpirun python -m dsmsim.cli`
        if code:
            _leave(int(code))
    except DsmsimError as error:
        _complain(str(error))
        _leave(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        _leave(130)
    except Exception as error:
        # the class of wrong usage has another home in every version of typer
        if first or not hasattr(error, "format_message"):
            raise
        _leave(int(getattr(error, "exit_code", 2)))
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def _stop_by_signal(number: int, frame: FrameType | None) -> None:
    """SIGUSR1 asks to save and stop: before a run and after it there is nothing to save."""
    _leave(StoppedEarly.exit_code)


def _is_first() -> bool:
    from dsmsim.parallel import launch_environment

    return launch_environment().rank == 0


def _complain(message: str) -> None:
    """Print an error once, whatever the number of ranks that found it."""
    if _is_first():
        print(f"dsmsim: {message}", file=sys.stderr)


def _leave(code: int) -> None:
    sys.stdout.flush()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
