"""What a run makes of [network.tensor]: modes, ranks and parameters, and how the layers are applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.engine_costs import RESIDUAL_CHUNK, engine_name
from dsmsim.config.memory_costs import Share
from dsmsim.config.network_costs import NetworkCosts
from dsmsim.config.run_tables import POTENTIAL_KINDS
from dsmsim.config.tensor_table import TensorTable
from dsmsim.tensor_shapes import Choice, Strategy, plan

if TYPE_CHECKING:
    from dsmsim.config.model import Config


@dataclass(frozen=True)
class Application:
    """How the layers are applied for one purpose.

    Attributes:
        purpose: "training" or "sampling".
        rebuilt: whether as dense weights; else one core after the other.
        reason: why.
    """

    purpose: str
    rebuilt: bool
    reason: str

    def __str__(self) -> str:
        how = "rebuilt" if self.rebuilt else "applied one core after the other"
        return f"decomposed layers in {self.purpose}: {how}, because {self.reason}"


@dataclass(frozen=True)
class TensorPlan:
    """The decomposed layers: modes and ranks as they will be used.

    Attributes:
        format: of the layers.
        modes_out, modes_in: factors of the width.
        ranks: see `TensorTable.ranks`.
        adaptive: whether training changes them; then these are those it begins with.
        parameters: of the cores of one layer.
        dense_parameters: of all networks together if the layers were dense.
        applications: how they are applied in training and in sampling.
    """

    format: str
    modes_out: tuple[int, ...]
    modes_in: tuple[int, ...]
    ranks: tuple[int, ...]
    adaptive: bool
    parameters: int
    dense_parameters: int
    applications: tuple[Application, ...]


def tensor_plan(config: Config, network: NetworkCosts, share: Share) -> TensorPlan | None:
    """The plan of the decomposed layers on a rank with this share, None where the layers are dense."""
    tensor, width = config.network.tensor, config.network.width
    if tensor is None:
        return None
    (modes_out, modes_in), shapes = tensor.modes(width), tensor.core_shapes(width)
    return TensorPlan(
        format=tensor.format,
        modes_out=tuple(modes_out),
        modes_in=tuple(modes_in),
        ranks=tensor.ranks(width),
        adaptive=tensor.adaptive,
        parameters=sum(math.prod(shape) for shape in shapes),
        dense_parameters=len(network.names) * network.parameters(dense=True),
        applications=_applications(config, tensor, share),
    )


def _applications(config: Config, tensor: TensorTable, share: Share) -> tuple[Application, ...]:
    if config.network.kind in POTENTIAL_KINDS:
        reason = "jets and gradients of a potential take dense products"
        return tuple(Application(purpose, True, reason) for purpose in ("training", "sampling"))
    # rows of the layers: points, and particles of each where they go through one by one
    per_point = config.system.particles if config.network.kind == "equivariant" else 1
    sampling = _chosen(config, tensor, "sampling", share.trajectories * per_point, backward=False)
    if engine_name(config) == "fused":
        return Application("training", True, "the fused engine takes dense weights"), sampling
    # Gauss-Newton gives every point parameters of its own
    points = 1 if config.train.optimizer == "gauss_newton" else min(share.points, RESIDUAL_CHUNK)
    return _chosen(config, tensor, "training", points * per_point, backward=True), sampling


def _chosen(config: Config, tensor: TensorTable, purpose: str, rows: int, *, backward: bool) -> Application:
    """What the layers themselves will decide; sampling keeps rebuilt weights from step to step."""
    (modes_out, modes_in), width = tensor.modes(config.network.width), config.network.width
    sizes = tuple(modes_out), tuple(modes_in), tensor.ranks(width)

    def strategy(choice: Choice) -> Strategy:
        return plan(tensor.format, *sizes, rows, backward, kept=purpose == "sampling", choice=choice)

    found, rebuilt, sequential = map(strategy, (tensor.strategy, "rebuild", "sequential"))
    counts = (
        f"{_share(rebuilt)} of the multiply-adds of dense layers when rebuilt, {_share(sequential)} one by "
        f"one, for {rows:,} row{'s' if rows > 1 else ''}"
    )
    asked = f'strategy = "{tensor.strategy}"; ' if tensor.strategy != "auto" else ""
    why = asked or f"it should take {found.time:.2g} of the time of dense layers: "
    return Application(purpose, found.kind == "rebuild", why + counts)


def _share(strategy: Strategy) -> str:
    return f"{strategy.multiply_adds / strategy.dense_multiply_adds:.3g}"
