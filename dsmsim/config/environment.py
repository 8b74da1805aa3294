"""Checks that depend on where the program runs: the machine's memory and what is installed.

They are kept apart so that the input of a run made on a large machine can still be read on a small one.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from dsmsim.config.interactions import PythonPair
from dsmsim.config.memory import physical_memory, shown_size
from dsmsim.config.model import Config
from dsmsim.config.plan import make_plan
from dsmsim.config.problems import Problem, listed, nearest, problem_at, shown
from dsmsim.config.terms import PythonTerm

CLOSED_FORM = "closed_form"
OWN_METHOD = "dsm"


def environment_problems(config: Config, hosts: int = 1) -> list[Problem]:
    """What this machine (times `hosts`) and this installation cannot do of a valid input."""
    return [*_references(config), *_targets(config), *_memory(config, hosts)]


def reference_names() -> list[str]:
    """The names that compare.with may hold: "closed_form" and installed methods besides our own."""
    installed = {point.name for point in entry_points(group="dsmsim.methods")}
    return [CLOSED_FORM, *sorted(installed - {OWN_METHOD})]


def _references(config: Config) -> Iterator[Problem]:
    wanted, valid = config.compare.with_, reference_names()
    for name in wanted if isinstance(wanted, list) else []:
        if name not in valid:
            close = nearest(name, valid)
            yield problem_at(
                config,
                "compare.with",
                f"{shown(name)} is not installed; installed are {listed(valid)}",
                f'did you mean "{close}"?' if close else 'remove it, or write with = "auto"',
            )


def _targets(config: Config) -> Iterator[Problem]:
    terms = config.system.one_body_terms().items()
    python = [
        (f"{key}.target", term.target, "dsmsim.potentials")
        for key, term in terms
        if isinstance(term, PythonTerm)
    ]
    if isinstance(config.system.interaction, PythonPair):
        python.append(("system.interaction.target", config.system.interaction.target, "dsmsim.interactions"))
    for key, target, group in python:
        names = sorted(point.name for point in entry_points(group=group))
        if ":" not in target and target not in names:
            close = nearest(target, names)
            yield Problem(
                key,
                f'is not in the entry-point group "{group}" (it has {listed(names) or "no entries"})',
                f'did you mean "{close}"?' if close else 'write "module:callable"',
                shown(target),
            )


# for each part of the estimate: keys to change, of which the first that can be made to fit is named, each
# with the key of which it must stay a multiple; and what else helps
_SMALLER: dict[str, tuple[tuple[tuple[str, str | None], ...], str]] = {
    "parameters": ((("network.width", None),), "fewer network.blocks"),
    "residuals": (
        (("train.points", "train.trajectories"), ("network.width", None)),
        "a smaller network.width",
    ),
    "sampling": (
        (("time.steps", None), ("train.points", "train.trajectories")),
        "fewer train.trajectories",
    ),
    "evaluation": ((("network.width", None),), "fewer network.blocks"),
    "results": ((("time.save", None),), "fewer system.particles or evaluation.bins"),
    "march": ((("march.walkers", "march.block"), ("network.width", None)), "a smaller network.width"),
}


def _memory(config: Config, hosts: int) -> Iterator[Problem]:
    limit = physical_memory()
    memory = make_plan(config, hosts).memory
    if limit is None or memory.total <= limit:
        return
    part = max(_SMALLER, key=lambda name: getattr(memory, name))
    keys, instead = _SMALLER[part]
    found = [(key, _largest_that_fits(config, key, unit, hosts, limit)) for key, unit in keys]
    key, fitting = next((pair for pair in found if pair[1]), found[0])
    name = key.rpartition(".")[2]
    yield problem_at(
        config,
        key,
        f"needs about {shown_size(getattr(memory, part))}, {shown_size(memory.total)} in all, "
        f"but the memory here is {shown_size(limit)}",
        f"write {name} = {fitting} or less, or {instead}"
        if fitting
        else f"write {instead}, fewer system.particles or a smaller {name}",
    )


def _value(config: Config, key: str) -> int:
    table, _, name = key.partition(".")
    value = getattr(getattr(config, table), name)
    return len(value) if isinstance(value, list) else int(value)


def _largest_that_fits(config: Config, key: str, unit_key: str | None, hosts: int, limit: int) -> int | None:
    """The largest value of one key whose plan fits into `limit` bytes, None if none does.

    It is a multiple of the value of `unit_key`, where that is given.

    The width of decomposed layers is not searched: most widths have no modes.
    """
    if key == "network.width" and config.network.tensor is not None:
        return None
    table, _, name = key.partition(".")
    unit = 1 if unit_key is None else _value(config, unit_key)

    def fits(count: int) -> bool:
        smaller = getattr(config, table).model_copy(update={name: count * unit})
        return make_plan(config.model_copy(update={table: smaller}), hosts).memory.total <= limit

    low, high = 0, _value(config, key) // unit  # low fits or is none, high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low * unit if low * unit >= 2 else None
