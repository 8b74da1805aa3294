"""The commands that work on what a run left: compare, compress, plot, report, sample, watch, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsmsim.cli.app import Overwrite, RunPath
from dsmsim.errors import ConfigError


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
        typer.Option("--figure", help="where the figure goes \\[figures/methods.png of A, if there is a B]"),
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


def compress(
    directory: RunPath,
    format: Annotated[
        str,
        typer.Option("--format", help="tt, tr, lowrank, cp, tucker or blockterm; dense: the reverse"),
    ] = "tt",
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="relative error allowed in every layer, 0 to 1 \\[0.01]"),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", help="rank of all layers, instead of a tolerance")
    ] = None,
    modes: Annotated[
        str | None,
        typer.Option("--modes", help="8x8, or 4x16:16x4 for outputs and inputs \\[factorised evenly]"),
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
    out: Annotated[Path | None, typer.Option("--out", help="directory of the new run \\[DIR-FORMAT]")] = None,
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


def plot(
    path: Annotated[
        Path, typer.Argument(help="directory of a run or baseline, or a results.h5", metavar="DIR")
    ],
    format: Annotated[str, typer.Option("--format", help="png, or pdf or svg for print")] = "png",
    times: Annotated[
        str,
        typer.Option("--times", help="snapshots: times such as 0,0.5,1.0, or how many, equidistant"),
    ] = "3",
    out: Annotated[
        Path | None, typer.Option("--out", help="directory of the figures \\[figures beside the results]")
    ] = None,
) -> None:
    """Draw the figures of a run again, each as wide as a column of a journal."""
    from dsmsim.analysis import plot_run
    from dsmsim.methods.times import asked_times

    for file in plot_run(path, out, format=format, times=asked_times(times)):
        typer.echo(f"figure    {file}")


def report(
    path: Annotated[
        Path, typer.Argument(help="directory of a run or baseline, or a results.h5", metavar="DIR")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="the file to write \\[report.html beside the results]")
    ] = None,
) -> None:
    """Write a run on one page for the browser: verdict, errors, drawings that move, settings, origin."""
    from dsmsim.analysis import write_report

    typer.echo(f"report    {write_report(path, out)}")


def sample(
    directory: RunPath,
    count: Annotated[str, typer.Option("-n", "--count", help="samples, such as 1e6", metavar="N")],
    times: Annotated[
        str,
        typer.Option("--times", help="times such as 0,0.5,1.0, or how many, equidistant \\[the last one]"),
    ] = "",
    nu: Annotated[
        float | None,
        typer.Option("--nu", help="diffusion; 0: flow without noise \\[that of the evaluation]"),
    ] = None,
    draws: Annotated[
        str | None,
        typer.Option("--draws", help="independent, antithetic or sobol \\[that of the evaluation]"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="of the samples \\[that of the run]")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="directory of the samples \\[DIR-samples]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace other samples there")] = False,
) -> None:
    """Draw samples of |psi(x, t)|^2 from a finished run, any number of them, into HDF5 files.

    Start it plainly, or with mpirun, srun or torchrun; the samples are the same. The same command goes on
    with a drawing that was stopped.
    """
    from dsmsim.methods import sample as sampling

    want = sampling.wanted(directory, count, times, nu, draws, seed, out, overwrite)
    sampling.sample(directory, want)


def watch(
    directory: RunPath,
    once: Annotated[bool, typer.Option("--once", help="show it once and leave")] = False,
) -> None:
    """Watch a run that goes on, here or on another host, until it ends; nothing of it is touched."""
    from dsmsim.methods.watch import watch as look_at

    look_at(directory, once)


def info(
    path: Annotated[
        Path, typer.Argument(help="directory of a run, baseline or samples, or a results.h5", metavar="PATH")
    ],
) -> None:
    """Say what a run is: physics, method, settings, costs, errors, checks, and what its file holds."""
    from dsmsim.methods.info import info as describe
    from dsmsim.terminal import report_console

    describe(path, report_console())
