"""The command `doctor`: what the launcher really gave, tested, and whether training agrees with one rank."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsmsim.config import Config, load_config
from dsmsim.config.run_tables import RunTable
from dsmsim.errors import LaunchError, StoreError
from dsmsim.methods.doctor_checks import Check, Findings, LaunchFacts, all_checks
from dsmsim.methods.doctor_directory import examine_directory
from dsmsim.methods.doctor_training import two_step_agreement
from dsmsim.parallel import LaunchEnvironment, World, launch_environment, start
from dsmsim.parallel.diagnosis import (
    SumLaw,
    SumTime,
    backends_of,
    copies_on_this_host,
    fit_sums,
    launcher_variables,
    measure_sums,
    mpi_library,
    parent_name,
    product_rate,
    rank_facts,
    sums_are_right,
)
from dsmsim.parallel.job_end import seconds_left
from dsmsim.terminal import report_console
from dsmsim.training.batch import block_count

MOST_ROWS = 32  # ranks that the table shows; the JSON file has all
COLORS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def doctor(input_file: Path | None, json_file: Path | None, settings: Sequence[str] = ()) -> None:
    """Examine the world and print what is found, on every rank; rank 0 speaks.

    Args:
        input_file: its [run] is used, and its work is shared out; None: the defaults.
        json_file: where all that was found is written, too.
        settings: `KEY=VALUE` options that change the input.

    Raises:
        ConfigError: the input is wrong.
        StoreError: the JSON file cannot be written.
        LaunchError: the ranks do not form one world, or a check failed.
    """
    config = None if input_file is None else load_config(input_file, settings)
    table = RunTable() if config is None else config.run
    environment, console = launch_environment(), report_console()
    launch = _launch_facts(environment)
    if environment.rank == 0:  # before the ranks meet, which may fail
        console.print(_launch_table(launch))
        if environment.size > 1:
            console.print(f"waiting for {environment.size} ranks, at most {table.timeout_seconds:g} s")
        console.file.flush()
    with start(table.device, table.timeout_seconds) as world:
        findings = _examine(world, launch, config)
        failed = world.on_root(lambda: _report(findings, console, json_file))
        if failed:
            raise world.agreed(LaunchError(f"doctor: {', '.join(failed)}: see the fixes in the table"))


def _launch_facts(environment: LaunchEnvironment) -> LaunchFacts:
    tasks = os.environ.get("SLURM_NTASKS", "")
    return LaunchFacts(
        launcher=environment.launcher,
        rank=environment.rank,
        size=environment.size,
        parent=parent_name(),
        variables=launcher_variables(),
        mpi=mpi_library(environment) if environment.rank == 0 else "",
        copies=copies_on_this_host() if environment.launcher == "none" else 1,
        tasks=int(tasks) if tasks.isdigit() else 0,
        seconds_left=seconds_left() if environment.rank == 0 else None,
    )


def _examine(world: World, launch: LaunchFacts, config: Config | None) -> Findings | None:
    """Measure, together; the findings on rank 0."""
    right = sums_are_right(world)
    sums = {name: measure_sums(world, device) for name, device in backends_of(world).items()}
    laws = {name: fit_sums(times, world.size, name) for name, times in sums.items() if times}
    world.barrier()  # products at the same time, as in a run
    rates = world.gather(product_rate(world.device))
    ranks = world.gather(rank_facts(world))
    directory = examine_directory(Path.cwd(), world)
    agreement = two_step_agreement(world)
    if ranks is None or rates is None:
        return None
    if launch.launcher == "none":  # some may have come later
        launch = dataclasses.replace(launch, copies=max(launch.copies, copies_on_this_host()))
    blocks = None if config is None else block_count(config)
    return Findings(launch, ranks, rates, right, sums, laws, directory, agreement, blocks)


def _report(findings: Findings | None, console: Console, json_file: Path | None) -> list[str]:
    """Print and write; the names of the checks that failed. On rank 0."""
    assert findings is not None
    checks = all_checks(findings)
    console.print(_ranks_table(findings))
    for backend, law in findings.laws.items():
        console.print(_sums_table(findings.sums[backend], law, len(findings.ranks)))
    console.print(_checks_table(checks))
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(report(findings, checks), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {json_file}: {error.strerror}; name another file") from error
    return [check.name for check in checks if check.status == "fail"]


def report(findings: Findings, checks: Sequence[Check]) -> dict[str, Any]:
    """All that was found as plain values; times in s, sizes in bytes."""
    sums = {
        backend: dataclasses.asdict(law)
        | {"times": [dataclasses.asdict(each) for each in findings.sums[backend]]}
        for backend, law in findings.laws.items()
    }
    return {
        "launch": dataclasses.asdict(findings.launch),
        "ranks": [
            dataclasses.asdict(rank) | {"operations_per_second": rate}
            for rank, rate in zip(findings.ranks, findings.rates, strict=True)
        ],
        "sums_right": findings.sums_right,
        "sums": sums,
        "directory": dataclasses.asdict(findings.directory),
        "agreement": [dataclasses.asdict(each) for each in findings.agreement],
        "checks": [dataclasses.asdict(check) for check in checks],
    }


def _launch_table(launch: LaunchFacts) -> Table:
    table = Table(title="What the launcher says", title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("value")
    table.add_row("launcher", f"{launch.launcher}, this process is rank {launch.rank} of {launch.size}")
    table.add_row("started by", escape(launch.parent) or "unknown")
    table.add_row("MPI library of mpi4py", escape(launch.mpi))
    if launch.seconds_left is not None:
        table.add_row("Slurm job ends in", str(timedelta(seconds=round(launch.seconds_left))))
    for name, value in launch.variables.items():
        table.add_row(escape(name), escape(value))
    return table


def _ranks_table(findings: Findings) -> Table:
    more = len(findings.ranks) - MOST_ROWS
    caption = f"and {more} more: --json FILE writes all" if more > 0 else None
    table = Table(title="Ranks", title_justify="left", caption=caption, caption_justify="left")
    for name in ("rank", "host", "local", "device", "memory", "cores", "threads", "GFLOP/s"):
        table.add_column(name, justify="left" if name in ("host", "device", "cores") else "right")
    for rank, rate in list(zip(findings.ranks, findings.rates, strict=True))[:MOST_ROWS]:
        device = f"{rank.device} {rank.device_name}".strip()
        memory = f"{rank.device_memory / 2**30:.0f} GiB" if rank.device_memory else ""
        place = str(rank.rank), escape(rank.host), str(rank.local_rank), escape(device), memory
        table.add_row(*place, ranges(rank.cores), str(rank.threads), f"{rate / 1e9:.3g}")
    return table


def _sums_table(times: Sequence[SumTime], law: SumLaw, ranks: int) -> Table:
    table = Table(title=f"Sums over {ranks} ranks by {law.backend}", title_justify="left")
    for name in ("bytes", "median (us)", "spread", "fit (us)"):
        table.add_column(name, justify="right")
    for each in times:
        fit = law.seconds(each.size, ranks)
        spread = f"{100 * each.spread:.0f} %"
        table.add_row(f"{each.size:,}", f"{1e6 * each.seconds:.1f}", spread, f"{1e6 * fit:.1f}")
    return table


def _checks_table(checks: Sequence[Check]) -> Table:
    table = Table(title="Checks", title_justify="left")
    for name in ("check", "verdict", "found"):
        table.add_column(name, no_wrap=name == "verdict")
    for check in checks:
        verdict = f"[{COLORS[check.status]}]{check.status}[/]"
        found = f"{check.found}\nfix: {check.fix}" if check.fix else check.found
        table.add_row(escape(check.name), verdict, escape(found))
    return table


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers in short: "0-3,8"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
