"""The application that commands are added to, and the arguments that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsmsim import __version__

app = typer.Typer(
    help="Real-time dynamics of many bosons by Deep Stochastic Mechanics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

InputFile = Annotated[Path, typer.Argument(help="input file (TOML); see `dsmsim init`", metavar="INPUT.toml")]
RunPath = Annotated[Path, typer.Argument(help="directory of a run", metavar="DIR")]
OutPath = Annotated[Path | None, typer.Option("--out", help="directory of the run \\[runs/<input name>]")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace the files of an earlier run there")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="change a key of the input, as in --set train.epochs=20; may be repeated",
    ),
]


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
