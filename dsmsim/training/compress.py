"""Trained networks with their hidden layers decomposed, or put together again.

A hidden layer y = W x + b becomes y = V x + b' with V of the wanted format and, by default, the smallest

    E |W x + b - V x - b'|^2      over the inputs x that the layer sees along trajectories of the process,

rather than the smallest |W - V| (see `dsmsim.tensor.fit`, and docs/compression.md for what that is worth).
The best b' = b + (W - V) E[x] leaves the covariance of x to V. Of a potential network the derivatives of x
along the particles' coordinates count as inputs too: velocities are derivatives of its output, and a linear
layer acts on values and derivatives alike.

Shapes: P points, n coordinates, H width.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dsmsim.config import Config, TensorTable, parse_config
from dsmsim.config.tensor_checks import FIRST_ORDER, largest_rank
from dsmsim.errors import ConfigError
from dsmsim.networks import Fields, build_fields
from dsmsim.networks.potential_fields import PotentialFields
from dsmsim.system import build_initial, build_system
from dsmsim.tensor import TensorLinear
from dsmsim.tensor.decompose import decompose
from dsmsim.tensor.fit import find_orders, fit_cores, fit_layer, fit_low_rank, weighted_error
from dsmsim.training.reorder import reorder, sides_of

CHAINS = ("tt", "tr")
LARGEST_RING = 16  # rank up to which a ring is looked for: the work of a sweep grows as r^6
POINTS_AT_ONCE = 512  # of a potential network: the derivatives of its layers take memory
SWAPS_PER_UNIT = 48  # more do not help small layers
SWAPS_WORK = 2.4e10  # exchanges times width^3, of one layer: about a minute
FINETUNE_RATE = 0.2  # of the learning rate of the first training; measured: 1.0 loses what the fit had found
SHORT, LONG = 60, 400  # sweeps of a fit while the rank is looked for, and with the rank that was found


@dataclass(frozen=True)
class Recipe:
    """How networks are compressed.

    Attributes:
        format: of the layers, one of `dsmsim.tensor_shapes.FORMATS`.
        rank: of all layers; None: the smallest that keeps the tolerance in every layer.
        tolerance: relative error allowed in every layer: of its outputs with fit = "data", of its weight with
            fit = "weights".
        modes_out, modes_in: of the layers; None: factorised evenly, increasing for the outputs and
            decreasing for the inputs, which makes the fewest numbers.
        fit: what is approximated, outputs along trajectories or weights.
        swaps: exchanges of hidden units that are tried for every layer, at most, before a TT or a ring is
            fitted, to find an order that suits them; 0: the units stay in their order.
    """

    format: str = "tt"
    rank: int | None = None
    tolerance: float | None = None
    modes_out: list[int] | None = None
    modes_in: list[int] | None = None
    fit: Literal["data", "weights"] = "data"
    swaps: int = 0

    def table(self, width: int, rank: int) -> dict[str, Any]:
        """[network.tensor] of a rank for networks of this width."""
        table: dict[str, Any] = {"format": self.format, "rank": rank}
        even: list[int] | None = None
        if self.format != "lowrank":
            with contextlib.suppress(ValueError):  # a prime width, which the rules of the input explain
                even = TensorTable.model_validate(table).modes(width)[0]
        modes = {"modes_out": self.modes_out or even, "modes_in": self.modes_in or (even and even[::-1])}
        return table | {key: value for key, value in modes.items() if value is not None}


class LayerReport(NamedTuple):
    """One layer: numbers in its weight before and after, relative errors of its weight and of its outputs."""

    name: str
    before: int
    after: int
    weight_error: float
    output_error: float


class Compressed(NamedTuple):
    """The input with its `[network.tensor]`, the fields, and what became of every layer."""

    config: Config
    fields: Fields
    layers: list[LayerReport]


class Inputs(NamedTuple):
    """What a layer sees: mean (H,), and second moments (H, H) of values about 0 and of derivatives."""

    mean: Tensor
    moment: Tensor

    def about(self, bias: bool) -> Tensor:
        """The second moments that are left once a bias has taken care of the mean."""
        return self.moment - torch.outer(self.mean, self.mean) if bias else self.moment


def with_tensor(config: Config, table: Mapping[str, Any] | None) -> Config:
    """The same input with another `[network.tensor]`; None for dense layers.

    Raises:
        ConfigError: the table does not fit the network.
    """
    data = config.to_dict()
    data["network"].pop("tensor", None)
    if table is not None:
        data["network"]["tensor"] = dict(table)
    return parse_config(data, source="compress", environment=False)


def finetuned(config: Config, epochs: int) -> Config:
    """The same input for so many epochs that start from trained networks."""
    data = config.to_dict()
    data["train"] |= {"epochs": epochs, "warmup": min(config.train.warmup, epochs // 10)}
    if config.train.optimizer in FIRST_ORDER:
        data["train"]["learning_rate"] *= FINETUNE_RATE
    return parse_config(data, source="compress", environment=False)


@torch.no_grad()
def densified(config: Config, fields: Fields) -> tuple[Config, Fields]:
    """The input without `[network.tensor]`, and the same fields with dense layers."""
    plain = with_tensor(config, None)
    dense = _built(plain)
    found: dict[str, Tensor] = dict(fields.named_parameters())
    found.update((f"{name}.weight", layer.weight) for name, layer in tensor_layers(fields).items())
    for name, parameter in dense.named_parameters():
        parameter.copy_(found[name])
    return plain, dense


def compressed(config: Config, fields: Fields, x: Tensor, t: Tensor, recipe: Recipe) -> Compressed:
    """Dense fields with their hidden layers decomposed.

    Args:
        config: of the fields.
        fields: dense, on the CPU; they stay as they are.
        x, t: (P, n), (P, 1) points of the trained process.
        recipe: what is wanted.

    Raises:
        ConfigError: modes or rank do not fit the network, no rank keeps the tolerance, or there are no hidden
            layers that could be decomposed.
    """
    names = list(tensor_layers(_built(with_tensor(config, recipe.table(config.network.width, 1)))))
    if not names:
        raise ConfigError(
            f'network.kind = "{config.network.kind}": this network has no hidden layers that can be '
            "decomposed; compress a run of another kind",
            key="network.kind",
        )
    fields = copy.deepcopy(fields)
    inputs = layer_inputs(fields, names, x, t)
    rank = recipe.rank or smallest_rank(config, fields, inputs, recipe)
    if recipe.swaps and recipe.format in CHAINS and _put_in_order(config, fields, names, recipe, rank):
        inputs = layer_inputs(fields, names, x, t)
        if recipe.rank is None:
            rank = smallest_rank(config, fields, inputs, recipe, rank)
    return _at_rank(config, fields, inputs, recipe, rank, LONG)


def smallest_rank(
    config: Config, fields: Fields, inputs: Mapping[str, Inputs], recipe: Recipe, most: int | None = None
) -> int:
    """The smallest rank with which every layer keeps the tolerance, found by bisection.

    Args:
        most: a rank that is known to be enough.

    Raises:
        ConfigError: no rank is enough.
    """
    tolerance = recipe.tolerance or 0.0

    def error(rank: int) -> float:
        made = _at_rank(config, fields, inputs, recipe, rank, SHORT)
        errors = [each.output_error if recipe.fit == "data" else each.weight_error for each in made.layers]
        return max(errors)

    low, high = 1, most
    if high is None:
        table = with_tensor(config, recipe.table(config.network.width, 1)).network.tensor
        assert table is not None
        high = largest_rank(table, config.network.width)
        high = min(high, LARGEST_RING) if recipe.format == "tr" else high
        if (best := error(high)) > max(tolerance, 1e-6):
            raise ConfigError(
                f"--tolerance {tolerance:g}: format {recipe.format} of rank {high}, the largest tried, "
                f"has an error of {best:.2g}; raise the tolerance, or choose another format or other modes"
            )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= tolerance else (middle + 1, high)
    return low


def tensor_layers(fields: nn.Module) -> dict[str, TensorLinear]:
    """The decomposed layers by dotted name."""
    return {name: layer for name, layer in fields.named_modules() if isinstance(layer, TensorLinear)}


@torch.no_grad()
def layer_inputs(fields: Fields, names: list[str], x: Tensor, t: Tensor) -> dict[str, Inputs]:
    """What dense layers see at points x (P, n), t (P, 1)."""
    layers = {name: fields.get_submodule(name) for name in names}
    heard = _Listener({name: _weight(layer) for name, layer in layers.items()})
    with heard:
        if isinstance(fields, PotentialFields):
            for some in zip(torch.split(x, POINTS_AT_ONCE), torch.split(t, POINTS_AT_ONCE), strict=True):
                fields.derivatives(*some)
        else:
            fields(x, t)
    return heard.inputs()


class _Listener(TorchFunctionMode):
    """Collects the moments of whatever is multiplied by some weights, however the network does it."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {weight.data_ptr(): name for name, weight in weights.items()}
        self.kept: list[Tensor] = []  # so that no other tensor takes the place of one that is known
        self.sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in args[:2] if isinstance(each, Tensor)]
        name = self.names.get(tensors[-1].data_ptr()) if len(tensors) == 2 else None
        if name is not None and tensors[0].shape[-1] == tensors[1].shape[-1]:
            self._hear(name, tensors[0].detach())
        elif len(tensors) == 1 and isinstance(result, Tensor) and tensors[0].data_ptr() in self.names:
            # the weight in another shape, or times a number
            self.names[result.data_ptr()] = self.names[tensors[0].data_ptr()]
            self.kept.append(result)
        return result

    def _hear(self, name: str, seen: Tensor) -> None:
        jets = seen.ndim == 4  # (P, streams, rows, H): value, n derivatives, d/dt, Laplacian
        values = (seen[:, 0] if jets else seen).flatten(0, -2).double()
        rows = (seen[:, :-2] if jets else seen).flatten(0, -2).double()
        found = values.sum(0), rows.T @ rows, len(values)
        before = self.sums.get(name)
        if before is not None:
            found = before[0] + found[0], before[1] + found[1], before[2] + found[2]
        self.sums[name] = found

    def inputs(self) -> dict[str, Inputs]:
        return {
            name: Inputs(total / count, moment / count) for name, (total, moment, count) in self.sums.items()
        }


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _built(config: Config) -> Fields:
    return build_fields(config, build_system(config), build_initial(config))


def _put_in_order(config: Config, fields: Fields, names: list[str], recipe: Recipe, rank: int) -> bool:
    """Reorder hidden units for TT layers of this rank; whether the network lets them be."""
    table = with_tensor(config, recipe.table(config.network.width, 1)).network.tensor
    assert table is not None
    width, sides = config.network.width, sides_of(fields, names)
    swaps = min(recipe.swaps, SWAPS_PER_UNIT * width, int(SWAPS_WORK / width**3))
    weights = {name: _weight(fields.get_submodule(name)).detach() for name in sides}
    if not weights:
        return False
    reorder(fields, find_orders(weights, sides, *table.modes(width), rank, swaps))
    return True


@torch.no_grad()
def _at_rank(
    config: Config, fields: Fields, inputs: Mapping[str, Inputs], recipe: Recipe, rank: int, sweeps: int
) -> Compressed:
    changed = with_tensor(config, recipe.table(config.network.width, rank))
    made = _built(changed)
    layers, old = tensor_layers(made), dict(fields.named_parameters())
    blocks = changed.network.tensor.blocks if changed.network.tensor and recipe.format == "blockterm" else 1
    for name, parameter in made.named_parameters():
        if name in old:
            parameter.copy_(old[name])
    reports = []
    for name, layer in layers.items():
        weight = old[f"{name}.weight"].detach().double()
        seen, bias = inputs[name], layer.bias is not None
        exact = copy.deepcopy(layer).double()
        modes = layer.modes_out, layer.modes_in
        exact.set_cores(decompose(recipe.format, weight, *modes, rank=rank, blocks=blocks))
        if recipe.fit == "data":
            _fit(exact, weight, seen.about(bias), rank, sweeps)
            if layer.bias is not None:
                layer.bias.add_(((weight - exact.weight) @ seen.mean).to(layer.bias))
        layer.set_cores(list(exact.cores))
        error = float((layer.weight - weight).norm() / weight.norm())
        outputs = weighted_error(weight, layer.weight, seen.about(bias and recipe.fit == "data"))
        after = sum(core.numel() for core in layer.cores)
        reports.append(LayerReport(name, weight.numel(), after, error, outputs))
    return Compressed(changed, made, reports)


def _fit(layer: TensorLinear, weight: Tensor, moment: Tensor, rank: int, sweeps: int) -> None:
    if layer.format == "lowrank":
        layer.set_cores(fit_low_rank(weight, moment, rank))
    elif layer.format in CHAINS:
        layer.set_cores(fit_cores(weight, list(layer.cores), moment, sweeps)[0])
    else:
        fit_layer(layer, weight, moment, sweeps)
