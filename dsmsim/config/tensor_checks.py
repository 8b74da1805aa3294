"""Rules of [network.tensor]: what its keys ask of each other and of the rest of the input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsmsim.config.engine_costs import engine_name
from dsmsim.config.problems import Problem, problem_at, shown
from dsmsim.config.run_tables import POTENTIAL_KINDS
from dsmsim.config.tensor_table import CHAINS, TensorTable
from dsmsim.tensor_shapes import balanced_modes, bond_limits, is_composite

if TYPE_CHECKING:
    from dsmsim.config.model import Config

FIRST_ORDER = ("adam", "soap")  # optimisers that have a learning rate and move along a gradient
# keys that only rank = "auto" reads
OF_AUTO = ("tolerance", "rank_start", "rank_most", "adapt_every", "adapter")
STILL = 0.8  # share of the epochs after which ranks stand still, as in `dsmsim.tensor.adaptation`


def tensor_problems(config: Config) -> Iterator[Problem]:
    """All of them; none where the layers are dense."""
    tensor = config.network.tensor
    if tensor is None:
        return
    yield from _unread(config, tensor)
    yield from _strategy(config, tensor)
    wrong = list(_modes(config, tensor))
    yield from wrong
    if not wrong:
        yield from _rank(config, tensor)
    if tensor.adaptive:
        yield from _adaptation(config, tensor)


def _at(config: Config, key: str, rule: str, fix: str) -> Problem:
    return problem_at(config, f"network.tensor.{key}", rule, fix)


def _changed(tensor: TensorTable, key: str) -> bool:
    """Whether a key has another value than its default."""
    return bool(getattr(tensor, key) != TensorTable.model_fields[key].default)


def _unread(config: Config, tensor: TensorTable) -> Iterator[Problem]:
    """Keys that what was chosen elsewhere does not read."""
    if tensor.format != "blockterm" and _changed(tensor, "blocks"):
        rule = f'needs network.tensor.format = "blockterm", but it is "{tensor.format}"'
        yield _at(config, "blocks", rule, 'write format = "blockterm", or remove it')
    for key in OF_AUTO if not tensor.adaptive else ():
        if _changed(tensor, key):
            rule = f'needs network.tensor.rank = "auto", but it is {tensor.rank}'
            yield _at(config, key, rule, 'write rank = "auto", or remove it')
    if config.train.optimizer not in FIRST_ORDER and tensor.core_rate != "auto":
        rule = f'must be "auto" with train.optimizer = "{config.train.optimizer}", which has no learning rate'
        yield _at(config, "core_rate", rule, 'remove it, or write optimizer = "adam" or "soap"')


def _strategy(config: Config, tensor: TensorTable) -> Iterator[Problem]:
    if tensor.strategy == "auto":
        return
    fix = 'write strategy = "auto"'
    if config.network.kind in POTENTIAL_KINDS:
        rule = f'must be "auto" with network.kind = "{config.network.kind}", whose weights are always rebuilt'
        yield _at(config, "strategy", rule, fix)
    elif engine_name(config) == "fused":
        rule = 'must be "auto" with the fused engine, which needs dense weights'
        yield _at(config, "strategy", rule, f'{fix}, or train.engine = "torch_func"')


def _modes(config: Config, tensor: TensorTable) -> Iterator[Problem]:
    width = config.network.width
    if tensor.format == "lowrank":
        for key in ("modes_out", "modes_in"):
            if getattr(tensor, key) is not None:
                rule = 'network.tensor.format = "lowrank" has no modes'
                yield _at(config, key, rule, 'remove it, or write format = "tt"')
        return
    if None in (tensor.modes_out, tensor.modes_in) and not is_composite(width):
        better = next(number for number in range(max(width, 4), 2 * width + 8) if is_composite(number))
        yield problem_at(
            config,
            "network.width",
            "must be a product of two factors > 1 for [network.tensor]",
            f"write width = {better}, or remove [network.tensor]",
        )
        return
    automatic = balanced_modes(width) if is_composite(width) else [1, width]
    modes = {"modes_out": tensor.modes_out or automatic, "modes_in": tensor.modes_in or automatic}
    fix = f"write e.g. {automatic}, or remove it"
    for key, given in modes.items():
        if any(mode < 1 for mode in given):
            yield _at(config, key, "every mode must be >= 1", fix)
        elif len(given) < 2:
            yield _at(config, key, "there must be at least 2 modes", fix)
        elif math.prod(given) != width:
            rule = f"the modes must multiply to network.width = {width}, not to {shown(math.prod(given))}"
            yield _at(config, key, rule, fix)
    if len(modes["modes_out"]) != len(modes["modes_in"]):
        both = f"modes_out = {modes['modes_out']} and modes_in = {modes['modes_in']}"
        yield Problem(
            "network.tensor.modes_in",
            f"{both} must have the same length",
            "give both, with the same number of modes",
        )


def largest_rank(tensor: TensorTable, width: int) -> int:
    """The largest rank that can matter at some bond of a layer of this width."""
    modes_out, modes_in = tensor.modes(width)
    sizes = [out * into for out, into in zip(modes_out, modes_in, strict=True)]
    if tensor.format == "lowrank":
        return width
    if tensor.format == "cp":
        return math.prod(sizes) // max(sizes)  # as many terms make any matrix
    return max(bond_limits(modes_out, modes_in) if tensor.format in CHAINS else sizes)


def _rank(config: Config, tensor: TensorTable) -> Iterator[Problem]:
    width = config.network.width
    most, (modes_out, modes_in) = largest_rank(tensor, width), tensor.modes(width)
    key = "rank_start" if tensor.adaptive else "rank"
    given = getattr(tensor, key)
    if given != "auto" and given > most:
        allowed = f"modes_out = {modes_out} and modes_in = {modes_in} allow"
        what = "network.width" if tensor.format == "lowrank" else f"the largest bond that {allowed}"
        yield _at(config, key, f"must be at most {most}, {what}", f"write {key} = {most} or less")


def _adaptation(config: Config, tensor: TensorTable) -> Iterator[Problem]:
    train = config.train
    if tensor.format not in CHAINS:
        rule = f'must be a number with network.tensor.format = "{tensor.format}", whose ranks stand still'
        yield _at(config, "rank", rule, 'write rank = 8, or format = "tt" or "tr"')
    if tensor.tolerance >= 1.0:
        rule = "must be less than 1: all of a weight would be given up"
        yield _at(config, "tolerance", rule, "write e.g. tolerance = 0.1")
    if tensor.rank_start != "auto" and tensor.rank_start > tensor.rank_most:
        rule = f"must be at most network.tensor.rank_most = {tensor.rank_most}"
        yield _at(config, "rank_start", rule, f"write rank_start = {tensor.rank_most} or less")
    last = int(STILL * train.epochs)
    if tensor.adapt_every != "auto" and tensor.adapt_every > last:
        rule = f"must be at most {last}: after this part of train.epochs = {train.epochs} ranks stand still"
        yield _at(config, "adapt_every", rule, f"write adapt_every = {max(1, train.epochs // 20)}")
    if tensor.adapter_name == "growth" and tensor.format == "tr":
        rule = 'offers bonds what is orthogonal to them, which network.tensor.format = "tr" has not'
        yield _at(config, "adapter", rule, 'write adapter = "rounding", or format = "tt"')
    if tensor.adapter_name == "shrinkage" and train.optimizer not in FIRST_ORDER:
        rule = f'its prior pulls on a gradient, which train.optimizer = "{train.optimizer}" does not follow'
        yield _at(config, "adapter", rule, 'write adapter = "auto", or optimizer = "adam" or "soap"')
