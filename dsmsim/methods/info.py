"""The command `info`: what a run, a results.h5 or a directory of samples is, on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsmsim.config import shown_size
from dsmsim.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from dsmsim.config import Config
    from dsmsim.store import StoredResults

# errors against a reference: what it is called, its metric, its floor
ERRORS = (
    ("Var x", "variance_error_mean", "variance_error_floor"),
    ("mean", "E_m_all", "E_m_all_floor"),
    ("density L1", "density_l1_mean", "density_l1_floor"),
    ("at its worst", "density_l1_max", ""),
    ("energy drift", "energy_drift", ""),
)
_SAID_ELSEWHERE = ("method", "warning")


def info(path: Path, console: Console) -> None:
    """`dsmsim info`: print what is there.

    Args:
        path: directory of a run, of a baseline or of samples, or a results.h5.

    Raises:
        StoreError: there is nothing of dsmsim, or it cannot be read.
    """
    from dsmsim.store import RunDirectory, read_results
    from dsmsim.store.samples import SAMPLES
    from dsmsim.store.shards import MANIFEST

    run = RunDirectory(path)
    if path.is_file():
        file = path
    elif run.results.is_file():
        file = run.results
    elif (path / SAMPLES).is_file() or (path / MANIFEST).is_file():
        _samples(path, console)
        return
    elif run.resolved.is_file():
        _unfinished(path, console)
        return
    else:
        raise StoreError(
            f"{path} holds no results: name a results.h5, or the directory that `dsmsim run`, `baseline` or "
            "`sample` wrote"
        )
    if file.name == SAMPLES:
        _samples(file.parent, console)
        return
    _results(file, read_results(file), console)


def _results(file: Path, stored: StoredResults, console: Console) -> None:
    from dsmsim.store import stored_config

    config, about = stored_config(stored.attributes), stored.attributes.get("provenance", {})
    how = stored.attributes.get("observables", {})
    size = shown_size(file.stat().st_size)
    rows: list[tuple[str, Iterable[str]]] = [("file", [_plain(f"{file}, {size}")])]
    if config is not None:
        rows.append(("physics", _physics(config)))
    rows.append(("method", _method(stored)))
    if config is not None:
        rows.append(("settings", _settings(config)))
    rows += [("made", _made(about)), ("errors", error_lines(stored)), ("checks", check_lines(stored))]
    if how.get("warning"):
        rows.append(("warning", [f"[bold red]{_plain(how['warning'])}[/bold red]"]))
    _print(str(about.get("title", "")), rows, console)
    console.print(_contents(stored))


def _unfinished(path: Path, console: Console) -> None:
    """A run without results: what it will be, and how far it has come."""
    from dsmsim.methods.watch import Watcher, frame

    watcher = Watcher(path)
    rows = [("physics", _physics(watcher.config)), ("settings", _settings(watcher.config))]
    _print("", [*rows, ("results", ["none yet"])], console)
    console.print(frame(watcher.look(), console))


def _samples(path: Path, console: Console) -> None:
    """A directory that `dsmsim sample` wrote."""
    from dsmsim.store.samples import open_samples
    from dsmsim.store.shards import MANIFEST

    samples = open_samples(path)
    about = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    size = sum(shard.bytes for shard in samples.shards)
    shape = f"{samples.count:,} samples of {samples.particles} x {samples.dimensions} coordinates"
    times = ", ".join(f"{time:g}" for time in samples.times)
    how = [f"{name} {about[name]}" for name in ("draws", "nu", "scheme", "steps", "seed") if name in about]
    rows = [
        ("samples", [f"{shape} at t = {times}"]),
        ("method", [", ".join(how)]),
        ("of", [_plain(about["run"])] if "run" in about else []),
        ("files", [_plain(f"{path}, {shown_size(size)} in {len(samples.shards)} parts")]),
    ]
    _print("", rows, console)


def _print(title: str, rows: Sequence[tuple[str, Iterable[str]]], console: Console) -> None:
    """Lines of rich markup beside what they are about; what has none is left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in rows:
        for k, line in enumerate(lines):
            table.add_row("" if k else name, line)
    if title:
        console.print(f"[bold]{escape(title)}[/bold]")
    console.print(table)


def _plain(value: object) -> str:
    from rich.markup import escape

    return escape(str(value))


def _physics(config: Config) -> list[str]:
    from dsmsim.config.words import physics_in_words

    return [_plain(line) for line in physics_in_words(config)]


def _settings(config: Config) -> list[str]:
    """What was chosen, and what it would be otherwise."""
    from dsmsim.config.defaults import changed_settings
    from dsmsim.config.problems import shown

    lines = []
    for setting in changed_settings(config):
        value = "absent" if setting.value is None else shown(setting.value)
        default = "" if setting.default is None else f"   (default {shown(setting.default)})"
        lines.append(_plain(f"{setting.key} = {value}{default}"))
    return lines or ["all at their defaults"]


def _method(stored: StoredResults) -> list[str]:
    """What the attributes say of the way to the solution."""
    how = stored.attributes.get("observables", {})
    lines = [_plain(how["method"])] if "method" in how else []
    for group, values in stored.attributes.items():
        if group.startswith("model/") and group.count("/") == 1 and "parameters" in values:
            lines.append(_plain(f"network {group[6:]}: {values['parameters']:,} parameters"))
    march = stored.attributes.get("march", {})
    facts = [(f"march {name}", value) for name, value in march.items()]
    facts += [(name, value) for name, value in how.items() if name not in _SAID_ELSEWHERE]
    plain = [f"{name} {_number(value)}" for name, value in facts if isinstance(value, str | int | float)]
    return [*lines, _plain(", ".join(plain))] if plain else lines


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _made(about: Mapping[str, Any]) -> list[str]:
    """When, how long, where, and by which versions."""
    lines = []
    if "finished" in about:
        wall, cpu = about.get("wall_seconds"), about.get("cpu_seconds")
        took = "" if wall is None else f", {float(wall):.1f} s"
        took += "" if cpu is None else f", {float(cpu):.1f} CPU-s"
        lines.append(f"{about['finished']}{took}")
    if "world_size" in about:
        ranks, hosts = int(about["world_size"]), sorted(set(_several(about.get("hosts", []))))
        devices = sorted(set(_several(about.get("devices", []))))
        where = f"{ranks} rank{'s' if ranks > 1 else ''} on {', '.join(hosts)}"
        lines.append(where + (f" ({', '.join(devices)})" if devices else ""))
    if "command" in about:
        lines.append(str(about["command"]))
    names = [name for name in about if name.endswith("_version")]
    versions = [f"{name.removesuffix('_version')} {about[name]}" for name in names]
    if "git_commit" in about:
        changed = " with changes" if about.get("git_changed") else ""
        versions.append(f"commit {about['git_commit'][:10]}{changed}")
    if versions:
        lines.append(", ".join(versions))
    lines += [f"changed on the way: {change}" for change in _several(about.get("changes", []))]
    return [_plain(line) for line in lines]


def _several(value: Any) -> list[str]:
    """An attribute that is a list, or the only entry of one."""
    return [value] if isinstance(value, str) else [str(entry) for entry in value]


def error_lines(stored: StoredResults) -> list[str]:
    """One line for every reference: the main errors, each with what sampling alone would show."""
    lines = []
    for group, errors in stored.results.items():
        if not group.startswith("errors/"):
            continue
        words = []
        for name, metric, floor in ERRORS:
            if metric in errors:
                text = f"{name} {float(errors[metric]):.2g}"
                words.append(f"{text} (sampling {float(errors[floor]):.2g})" if floor in errors else text)
        if "reference_converged" in errors and not int(errors["reference_converged"]):
            words.append("the reference is not converged")
        lines.append(_plain(f"{group.removeprefix('errors/')}: {', '.join(words)}"))
    return lines


def check_lines(stored: StoredResults) -> list[str]:
    """How many checks passed, and each one that did not."""
    checks = stored.results.get("checks")
    if checks is None:
        return []
    passed = [bool(value) for value in checks["passed"]]
    if all(passed):
        return [f"[green]all {len(passed)} passed[/green]"]
    lines = [f"[bold red]{passed.count(False)} of {len(passed)} failed[/bold red]"]
    for k, name in enumerate(checks["check"]):
        if not passed[k]:
            deviation, tolerance = float(checks["deviation"][k]), float(checks["tolerance"][k])
            lines.append(_plain(f"{name}: deviation {deviation:.3g}, tolerance {tolerance:.3g}"))
    return lines


def _contents(stored: StoredResults) -> Any:
    """A table of the groups: dimensions, arrays, size."""
    from rich.table import Table

    table = Table(title="Contents", title_justify="left", caption="±: with its standard error beside it")
    table.caption_justify = "left"
    for column in ("group", "dimensions", "arrays"):
        table.add_column(column, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for group, arrays in stored.results.items():
        size = sum(values.nbytes for values in arrays.values())
        table.add_row(group, *map(_plain, _described(group, arrays)), shown_size(size))
    return table


def _described(group: str, arrays: Mapping[str, Any]) -> tuple[str, str]:
    """Dimensions with their lengths, and names of arrays."""
    from dsmsim.store.schema import is_model, variable

    if is_model(group):
        return "", f"{len(arrays)} arrays"
    sizes: dict[str, int] = {}
    for name, values in arrays.items():
        sizes |= dict(zip(variable(group, name).dims, values.shape, strict=True))
    names = [
        f"{name} ±" if f"{name}_stderr" in arrays else name
        for name in arrays
        if name.removesuffix("_stderr") == name and name not in sizes
    ]
    return ", ".join(f"{dim} {length}" for dim, length in sizes.items()), ", ".join(names)
