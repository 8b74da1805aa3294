"""The command that writes batch scripts: slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsmsim.cli.app import OutPath, Settings


def slurm(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="input file (TOML); several become a job array", metavar="INPUT.toml ..."),
    ],
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="nodes")] = 1,
    ntasks_per_node: Annotated[
        int | None,
        typer.Option("--ntasks-per-node", min=1, help="ranks on each node \\[one for each GPU, or 1]"),
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
    settings: Settings = None,
    out: OutPath = None,
    script: Annotated[
        Path | None, typer.Option("--script", help="where the script goes \\[<input name>.sh]")
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
    made = batch.prepare(
        inputs, request, settings=settings or (), seeds=seeds, out=out, script=script, overwrite=overwrite
    )
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"wrote {made.script}: {request.ranks} rank{'s' if request.ranks > 1 else ''} in each job")
    if not submit:
        typer.echo(f"submit it by: {shlex.join(batch.submission_command(made.script, chain))}")
        return
    jobs = batch.submit(made.script, chain)
    typer.echo(f"submitted: {' '.join(jobs)}; results go to {', '.join(map(str, made.runs[:3]))}")
    typer.echo(f"watch: squeue --me; stop: scancel {' '.join(jobs)}")
