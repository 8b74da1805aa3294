"""The command `watch`: how far a run has come, from its log and its directory alone.

What is shown is worked out anew from the files at every look (`Look`), so a run of another host is watched
like one of this machine, and nothing in the directory is locked, opened for writing or touched.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from dsmsim.config import Config, load_config
from dsmsim.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console, Group

    from dsmsim.store import StoredResults

EVERY = 1.0  # s between two looks
RECENT = 20  # records from which the rate is found
QUIET = 30.0  # s without a change, after which nothing more is expected of a run that nobody works in
SILENCE = 600.0  # s without a sign of life that look like death, if its usual distance is 20 times shorter
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
DEAD = "dead"


@dataclass(frozen=True)
class Look:
    """A run at one moment.

    Attributes:
        run: its directory.
        config: its input.
        now: seconds since 1970.
        epochs, steps: records of the log, of training and of the march.
        stage: "starting", "marching", "learning", "training", "sampling" or "finished".
        state: "running", "stopped", "dead", "silent" (on another host, where only its files tell) or "done".
            Where files cannot be locked, a run that goes on looks stopped.
        where: who works in the directory, in words; empty where nobody does.
        sign: seconds since the run last wrote a file.
        results: what it found, None where there is nothing yet.
        checkpoint: name and age (s) of the newest one.
    """

    run: Path
    config: Config
    now: float
    epochs: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    stage: str
    state: str
    where: str
    sign: float
    results: StoredResults | None
    checkpoint: tuple[str, float] | None

    @property
    def progress(self) -> tuple[float, float, str]:
        """What is done, what there is to do, and in which unit."""
        if self.stage == "marching":
            return float(self.steps[-1]["time"]), self.config.time.end, "t"
        done = self.epochs[-1]["epoch"] if self.epochs else 0
        return float(done), float(self.config.train.epochs), "epochs"

    @property
    def rate(self) -> float | None:
        """Progress a second of the last records; None where the log does not tell."""
        records, name = (self.steps, "time") if self.stage == "marching" else (self.epochs, "epoch")
        timed = [record for record in records[-RECENT:] if record.get("seconds") is not None]
        if len(timed) < 2:
            return None
        seconds = timed[-1]["seconds"] - timed[0]["seconds"]
        return (timed[-1][name] - timed[0][name]) / seconds if seconds > 0.0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until this stage is done; None where the rate is not known."""
        done, total, _ = self.progress
        return None if not self.rate else max(0.0, (total - done) / self.rate - self.sign)


class Watcher:
    """Looks at a run again and again.

    Args:
        directory: of the run.

    Raises:
        StoreError: there is no run.
        ConfigError: its resolved input is none of this version.
    """

    def __init__(self, directory: Path) -> None:
        from dsmsim.store import RunDirectory
        from dsmsim.store.signs import LogTail

        self.run = RunDirectory.open(directory)
        self.config = load_config(self.run.resolved, environment=False)
        self._log = LogTail(self.run.log)
        self._results: tuple[float, StoredResults | None] = (0.0, None)

    def look(self) -> Look:
        """The run as it is now."""
        from dsmsim.store.signs import changed_at, holder_of, last_sign, newest_checkpoint

        self._log.read()
        epochs = [record for record in self._log.records if "epoch" in record]
        steps = [record for record in self._log.records if "step" in record]
        holder, now = holder_of(self.run.path), time.time()
        alive = None if holder is None else holder.is_alive
        finished = changed_at(self.run.results) is not None and (holder is None or alive is False)
        stage = "finished" if finished else self._stage(epochs, steps)
        sign = max(0.0, now - (last_sign(self.run) or now))
        if finished:
            state = "done"
        elif holder is None:
            state = "stopped"
        elif alive is None and sign > _patience(epochs or steps):
            state = "silent"
        else:
            state = DEAD if alive is False else "running"
        where = "" if holder is None else f"process {holder.process} on {holder.host}"
        newest = newest_checkpoint(self.run)
        age = None if newest is None else changed_at(newest)
        checkpoint = None if newest is None or age is None else (newest.name, max(0.0, now - age))
        results = self._read() if finished else None
        return Look(
            self.run.path, self.config, now, epochs, steps, stage, state, where, sign, results, checkpoint
        )

    def _stage(self, epochs: list[dict[str, Any]], steps: list[dict[str, Any]]) -> str:
        train = self.config.train
        if train.mode == "march" and not epochs:
            if not steps:
                return "starting"
            if steps[-1]["time"] < self.config.time.end * (1.0 - 1e-9):
                return "marching"
            if not train.polish:
                return "sampling"
            return "learning" if self.run.march.is_file() else "sampling"
        if not epochs:
            return "starting"
        return "training" if epochs[-1]["epoch"] < train.epochs else "sampling"

    def _read(self) -> StoredResults | None:
        """The results, read again only when they are others."""
        from dsmsim.store import read_results
        from dsmsim.store.signs import changed_at

        changed = changed_at(self.run.results) or 0.0
        if changed != self._results[0]:
            try:
                self._results = (changed, read_results(self.run.results))
            except StoreError:  # of a later version, or damaged: the frame says that there are results
                self._results = (changed, None)
        return self._results[1]


def _patience(records: list[dict[str, Any]]) -> float:
    """How long a run may be silent."""
    seconds = [record["seconds"] for record in records[-RECENT:] if record.get("seconds") is not None]
    gaps = [after - before for before, after in itertools.pairwise(seconds)]
    return max(SILENCE, 20.0 * statistics.median(gaps)) if gaps else 3.0 * SILENCE


def watch(
    directory: Path, once: bool, console: Console | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """`dsmsim watch`: draw the run until it has ended, or a single time.

    Args:
        once: draw it once; so it is too where the output is no terminal.

    Raises:
        StoreError, ConfigError: as `Watcher`.
    """
    from rich.console import Console
    from rich.live import Live

    watcher, console = Watcher(directory), console or Console()
    first = watcher.look()
    if once or not console.is_terminal:
        console.print(frame(first, console))
        return
    with Live(frame(first, console), console=console, auto_refresh=False) as live:
        look = first
        while look.state in ("running", "silent") or look.sign < QUIET:
            sleep(EVERY)
            look = watcher.look()
            live.update(frame(look, console), refresh=True)


def frame(look: Look, console: Console) -> Group:
    """One picture of a run, to be printed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    ascii_only = console.options.ascii_only
    for name, value in _rows(look, ascii_only, max(10, min(60, console.width - 40))):
        rows.add_row(name, value)
    title = f" {look.config.title}" if look.config.title else ""
    head = Text.from_markup(f"[bold]{escape(str(look.run))}[/bold]{escape(title)}")
    return Group(head, rows)


def _rows(look: Look, ascii_only: bool, width: int) -> list[tuple[str, Any]]:
    rows = _state_rows(look)
    if look.stage in ("marching", "training"):
        rows += _progress_rows(look, width)
    if look.epochs:
        rows += _training_rows(look, ascii_only, width)
    if look.steps:
        rows += _march_rows(look, ascii_only, width)
    if look.checkpoint is not None and look.stage != "finished":
        rows.append(("checkpoint", f"{look.checkpoint[0]}, {_age(look.checkpoint[1])} ago"))
    if look.results is not None:
        from dsmsim.methods.info import check_lines, error_lines

        rows += [("checks", line) for line in check_lines(look.results)[:1]]
        rows += [("errors", line) for line in error_lines(look.results)]
    return rows


def _state_rows(look: Look) -> list[tuple[str, Any]]:
    """Where the run is, and whether anybody works on it."""
    ago = f"{_age(look.sign)} ago"
    if look.stage == "finished":
        following = ", references and figures may follow" if look.sign < QUIET else ""
        return [("stage", f"[bold]finished[/bold] {ago}{following}")]
    goes_on = f"`dsmsim resume {escape(str(look.run))}` goes on with it"
    words = {
        "running": look.where,
        "stopped": f"[yellow]stopped[/yellow]; {goes_on}",
        DEAD: f"[bold red]dead[/bold red], {look.where} is gone; {goes_on}",
        "silent": f"[bold red]silent[/bold red], {look.where}, which cannot be asked from here",
    }
    return [
        ("stage", f"[bold]{look.stage}[/bold]"),
        ("state", f"{words[look.state]}; last sign of life {ago}"),
    ]


def _progress_rows(look: Look, width: int) -> list[tuple[str, Any]]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    done, total, unit = look.progress
    bar = Table.grid(padding=(0, 1))
    words = f"t = {done:.4g} of {total:g}" if unit == "t" else f"epoch {done:.0f} of {total:.0f}"
    bar.add_row(ProgressBar(total=total, completed=done, width=max(10, width // 2)), words)
    rows: list[tuple[str, Any]] = [("progress", bar)]
    if look.rate is not None:
        text = f"{look.rate:.3g} {'of t' if unit == 't' else unit} a second"
        if look.seconds_left is not None and look.state == "running":
            at = datetime.fromtimestamp(look.now + look.seconds_left).strftime("%H:%M")
            text += f", {_age(look.seconds_left)} left (at about {at})"
        rows.append(("rate", text))
    return rows


def _training_rows(look: Look, ascii_only: bool, width: int) -> list[tuple[str, Any]]:
    last = look.epochs[-1]
    losses = [record.get("loss") for record in look.epochs]
    names = ("loss_newton", "loss_score", "loss_initial")
    parts = [f"{name.removeprefix('loss_')} {_number(last[name])}" for name in names if last.get(name)]
    rows = [("loss", f"{sparkline(losses, width, ascii_only)} {_number(last.get('loss'))}")]
    rows += [("residuals", ", ".join(parts))] if parts else []
    rate, norm = _number(last.get("learning_rate")), _number(last.get("gradient_norm"))
    rows.append(("step", f"learning rate {rate}, gradient {norm}"))
    if last.get("rank"):
        rows.append(("ranks", f"{min(last['rank'])} to {max(last['rank'])}"))
    return rows


def _march_rows(look: Look, ascii_only: bool, width: int) -> list[tuple[str, Any]]:
    first, last = look.steps[0], look.steps[-1]
    residuals = [record.get("residual") for record in look.steps]
    rows = [("residual", f"{sparkline(residuals, width, ascii_only)} {_number(last.get('residual'))}")]
    if first.get("energy") and last.get("energy") is not None:
        drift = last["energy"] / first["energy"] - 1.0
        rows.append(("energy", f"{last['energy']:.5g}, {100.0 * drift:+.3f} % since the start"))
    walkers = f"{100.0 * (last.get('effective_fraction') or math.nan):.0f} % effective"
    rows.append(("walkers", f"{walkers}, step {last['step']}, {last.get('rank', '?')} directions followed"))
    return rows


def sparkline(values: list[float | None], width: int, ascii_only: bool = False) -> str:
    """Positive numbers as a row of bars, in logarithmic scale from the smallest to the largest.

    Args:
        values: what is no positive number is left out.
        width: largest number of bars; each shows the median of as many values as fall on it.
    """
    logs = [math.log(value) for value in values if value is not None and 0.0 < value < math.inf]
    if not logs:
        return ""
    count = min(width, len(logs))
    cells = [
        statistics.median(logs[k * len(logs) // count : (k + 1) * len(logs) // count]) for k in range(count)
    ]
    low, high, bars = min(cells), max(cells), ASCII_BARS if ascii_only else BARS
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((cell - low) * scale)] for cell in cells)


def _number(value: Any) -> str:
    return "not finite" if value is None else f"{float(value):.3g}"


def _age(seconds: float) -> str:
    """A length of time in the two units that matter."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    minutes = seconds / 60.0
    if minutes < 100.0:
        return f"{minutes:.0f} min"
    hours = minutes / 60.0
    return f"{hours:.0f} h {minutes % 60.0:.0f} min" if hours < 48.0 else f"{hours / 24.0:.0f} days"
