"""Run every published experiment again and put our numbers beside the published ones.

    python -m tools.reproduce run [--profile full|quick|trial] [--jobs 2] [--only bosons ...]
    python -m tools.reproduce page [--profile ...] [--docs]

Run it at the root of the project; `make reproduce` and `make reproduce-quick` do both. Results lie in
runs/reproduce/PROFILE/SECTION/TASK. What is there is kept, what was interrupted goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.reproduce.found import Found
from tools.reproduce.profile import PROFILES, Profile
from tools.reproduce.running import STOPPED, run_all, share
from tools.reproduce.sections import SECTIONS, section
from tools.reproduce.task import ROOT, Task

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None, no_args_is_help=True)
console = Console(stderr=True)

ProfileOption = Annotated[str, typer.Option("--profile", help="full, quick or trial")]
OutOption = Annotated[Path | None, typer.Option("--out", help="where results are [runs/reproduce/PROFILE]")]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="SECTION or SECTION/TASK; may be repeated")
]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="tasks side by side, one thread each")]
IndexOption = Annotated[int, typer.Option("--index", min=1, help="do one share of the work: which, from 1")]
ShareOption = Annotated[int, typer.Option("--of", min=1, help="of how many shares, for arrays of jobs")]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="replace results of other inputs or settings")]
DocsOption = Annotated[bool, typer.Option("--docs", help="write docs/published.md and its pictures")]


@app.command("run")
def run_command(
    profile: ProfileOption = "full",
    out: OutOption = None,
    only: OnlyOption = None,
    jobs: JobsOption = 2,
    index: IndexOption = 1,
    of: ShareOption = 1,
    refresh: RefreshOption = False,
) -> None:
    """Run what is missing."""
    chosen = profile_of(profile)
    if index > of:
        raise typer.BadParameter(f"--index {index} is larger than --of {of}")
    tasks = share(tasks_of(chosen, only), index, of)
    place = place_of(chosen, out)
    began, total = time.time(), sum(task.seconds for task in tasks)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        TextColumn("about {task.fields[left]:.0f} min left"),
    )
    done = 0.0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"{len(tasks)} tasks", total=len(tasks), left=total / jobs / 60.0)

        def told(event: str, task: Task, words: str) -> None:
            nonlocal done
            if event == "begin":
                console.print(f"  {task.key} (about {task.seconds:.0f} s)", highlight=False)
                return
            done += task.seconds
            if event != "kept":
                spent = f"{(time.time() - began) / 60.0:.1f} min"
                console.print(f"{event} {task.key} {words} [{spent}]", highlight=False, markup=False)
            progress.update(bar, advance=1, left=(total - done) / jobs / 60.0)

        missing = run_all(tasks, chosen, place, jobs, refresh=refresh, told=told)
    for line in missing:
        console.print(line, style="red", highlight=False, markup=False)
    if missing:
        raise typer.Exit(STOPPED if all("stopped" in line for line in missing) else 1)


@app.command("list")
def list_command(profile: ProfileOption = "full", only: OnlyOption = None) -> None:
    """Every task with the line that repeats it alone."""
    for task in tasks_of(profile_of(profile), only):
        print(f"{task.key}  ({task.seconds:.0f} s)  {task.command}")


@app.command("status")
def status_command(profile: ProfileOption = "full", out: OutOption = None, only: OnlyOption = None) -> None:
    """What is there, what is missing, and about how long it takes."""
    chosen = profile_of(profile)
    found, tasks = Found(place_of(chosen, out)), tasks_of(chosen, only)
    states = {task.key: found.state(task) for task in tasks}
    for task in tasks:
        if states[task.key] != "done":
            why = f": {found.reason(task)}" if states[task.key] == "refused" else ""
            print(f"{states[task.key]:8} {task.key}{why}")
    left = sum(task.seconds for task in tasks if states[task.key] in ("missing", "stale"))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(states.values()).items()))
    print(f"{counts}; about {left / 60.0:.0f} CPU minutes left")


@app.command("page")
def page_command(
    profile: ProfileOption = "full", out: OutOption = None, only: OnlyOption = None, docs: DocsOption = False
) -> None:
    """Write the page with all tables and figures from the files that are there, and print the tables."""
    from tools.reproduce.page import write_page

    chosen = profile_of(profile)
    place = place_of(chosen, out)
    names = [name for name in SECTIONS if not only or name in {each.split("/")[0] for each in only}]
    target = ROOT / "docs" if docs else place
    terminal = Console()
    # in a file nobody sees where lines would be broken
    write_page(chosen, names, Found(place), target, terminal if terminal.is_terminal else Console(width=150))


@app.command("measure", hidden=True)
def measure_command(key: str, profile: ProfileOption = "full", out: OutOption = None) -> None:
    """One measurement in this process: what `run` starts."""
    from tools.reproduce.measuring import measure

    chosen = profile_of(profile)
    (task,) = tasks_of(chosen, [key])
    measure(task, Found(place_of(chosen, out)).directory(task))


def profile_of(name: str) -> Profile:
    """The profile of that name."""
    if name not in PROFILES:
        raise typer.BadParameter(f"--profile {name}: must be one of {', '.join(PROFILES)}")
    return PROFILES[name]


def place_of(profile: Profile, out: Path | None) -> Path:
    """Where its results are."""
    return (out or ROOT / "runs" / "reproduce" / profile.name).resolve()


def tasks_of(profile: Profile, only: list[str] | None) -> list[Task]:
    """All tasks, or those whose section or key is named."""
    wanted = only or list(SECTIONS)
    named = {each.split("/")[0] for each in wanted}
    tasks = [task for name in SECTIONS if name in named for task in section(name).tasks(profile)]
    unknown = set(wanted) - {task.key for task in tasks} - set(SECTIONS)
    if unknown:
        raise typer.BadParameter(
            f"--only {min(unknown)}: no such section or task; there are {', '.join(SECTIONS)}, and the tasks "
            "that `list` prints"
        )
    return [task for task in tasks if task.section in wanted or task.key in wanted]


if __name__ == "__main__":
    app(prog_name="python -m tools.reproduce")
