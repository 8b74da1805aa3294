"""The units of hidden layers in another order, and the network still the same function.

Every unit of a hidden layer goes through the same tanh, so the units can trade places as long as everything
that is attached to them does: rows of the weight and the bias that make them, columns of the weights that
read them. Layers that are added to one another (h + W h) share one order.

Shapes: H width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dsmsim.networks import Fields
from dsmsim.networks.equivariant import Equivariant
from dsmsim.networks.mlp import MLP
from dsmsim.networks.pair_potential import PairPotential


class Attached(NamedTuple):
    """One axis of a parameter that runs over units: the parameter, the axis, the name of the units."""

    parameter: str
    axis: int
    units: str


def attached(fields: Fields) -> list[Attached]:
    """What is attached to the hidden units of all networks; nothing of networks that are not known."""
    found: list[Attached] = []
    for name, module in fields.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, MLP | Equivariant):
            found += _residual(module, prefix)
        elif isinstance(module, PairPotential):
            found += _potential(module, prefix)
    return found


def sides_of(fields: Fields, layers: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Units along the rows and the columns of hidden layers by name, for `dsmsim.tensor.fit.find_orders`."""
    of = {(each.parameter, each.axis): each.units for each in attached(fields)}
    return {
        name: (of[f"{name}.weight", 0], of[f"{name}.weight", 1])
        for name in layers
        if (f"{name}.weight", 0) in of and (f"{name}.weight", 1) in of
    }


@torch.no_grad()
def reorder(fields: Fields, orders: Mapping[str, Tensor]) -> None:
    """Put the units of dense fields into these orders; the fields stay the same function."""
    parameters = dict(fields.named_parameters())
    for name, axis, units in attached(fields):
        if units in orders and name in parameters:
            parameter = parameters[name]
            parameter.copy_(parameter.index_select(axis, orders[units].to(parameter.device)))


def _linear(name: str, out: str | None, into: str | None) -> Iterator[Attached]:
    """The axes of a layer between units; None where its rows or columns are no hidden units."""
    if out is not None:
        yield Attached(f"{name}.weight", 0, out)
        yield Attached(f"{name}.bias", 0, out)
    if into is not None:
        yield Attached(f"{name}.weight", 1, into)


def _residual(net: MLP | Equivariant, prefix: str) -> Iterator[Attached]:
    stream = f"{prefix}stream"
    yield from _linear(f"{prefix}input", stream, None)
    for k in range(len(net.blocks)):
        inner = f"{prefix}inner.{k}"
        yield from _linear(f"{prefix}blocks.{k}.first", inner, stream)
        yield from _linear(f"{prefix}blocks.{k}.second", stream, inner)
    yield from _linear(f"{prefix}output", None, stream)


def _potential(net: PairPotential, prefix: str) -> Iterator[Attached]:
    for part in ("node", "pair") if net.pairs else ("node",):
        units = f"{prefix}{part}"
        yield from _linear(f"{prefix}{part}_input", units, None)
        for k in range(len(getattr(net, f"{part}_hidden"))):
            yield from _linear(f"{prefix}{part}_hidden.{k}", units, units)
        yield from _linear(f"{prefix}{part}_output", None, units)
    if net.messages:
        yield from _linear(f"{prefix}message", f"{prefix}node", f"{prefix}pair")
