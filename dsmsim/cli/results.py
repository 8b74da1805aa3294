"""The commands that work on what a run left: compare, compress, plot."""

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


def plot(directory: RunPath) -> None:
    """Draw the figures of a run again."""
    from dsmsim.analysis import plot_run

    for file in plot_run(directory):
        typer.echo(f"figure    {file}")
