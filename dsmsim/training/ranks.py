"""Ranks of tensor layers in a training: found, reported, and taken over from files.

Rank 0 adapts after the epochs that the rule names and gives its cores and statistics to all others, because
the last digits of a singular value decomposition are a machine's own. Everything else follows from the
parameters and from what `arrays` says, so that a resumed training equals one that went on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmsim.config import TensorTable
from dsmsim.networks import Fields
from dsmsim.parallel import World
from dsmsim.tensor import TensorLinear
from dsmsim.tensor.adaptation import ADAPTERS, RankRule, rank_report

Arrays = Mapping[str, npt.NDArray[np.generic]]


class RankSearch:
    """Changes the ranks of all tensor trains and rings of the fields as training goes on.

    Args:
        fields: the layers.
        table: [network.tensor] with `rank = "auto"`.
        epochs: of the whole training.
    """

    def __init__(self, fields: Fields, table: TensorTable, epochs: int) -> None:
        self.fields, self.epochs = fields, epochs
        rule = RankRule(table.tolerance, table.epochs_between(epochs), table.rank_most)
        self.adapter = ADAPTERS[table.adapter_name](fields, rule)

    def observe(self, epoch: int) -> None:
        """See the whole gradient of an epoch (counted from 1) before the parameters move."""
        self.adapter.observe(epoch)

    def adapt(self, epoch: int, world: World) -> frozenset[str]:
        """Look at the ranks after an epoch (counted from 1); called by all ranks.

        Returns:
            The names of the parameters that are others now, in shape or in meaning.
        """
        if not self.adapter.rule.due(epoch, self.epochs):
            return frozenset()
        layers = self.adapter.layers
        before = {name: [core.detach().clone() for core in layer.cores] for name, layer in layers.items()}

        def work() -> tuple[dict[str, list[npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]:
            self.adapter.adapt(epoch, self.epochs)
            cores = {name: [_numpy(core) for core in layer.cores] for name, layer in layers.items()}
            return cores, self.arrays()

        cores, statistics = world.on_root(work)
        if world.rank != 0:
            for name, layer in layers.items():
                layer.set_cores([torch.as_tensor(core) for core in cores[name]])
            self.load(statistics)
        changed = [name for name, layer in layers.items() if not _same(before[name], list(layer.cores))]
        return frozenset(f"{name}.cores.{k}" for name in changed for k in range(len(layers[name].cores)))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """The adapter's statistics by name."""
        return {name: _numpy(value) for name, value in self.adapter.arrays().items()}

    def load(self, arrays: Arrays) -> None:
        """Take statistics over, after the cores that belong to them."""
        self.adapter.load({name: torch.tensor(value) for name, value in arrays.items()})


@dataclass(frozen=True)
class Bonds:
    """The inner bonds of all tensor trains and rings, layer by layer.

    Attributes:
        names: "LAYER:k" with k = 1 .. d - 1.
        ranks: of the bonds.
        entropies: nats, of the normalised squared singular values of W there.
    """

    names: list[str]
    ranks: list[int]
    entropies: list[float]


def bonds_of(module: nn.Module) -> Bonds:
    """The bonds as they are; empty lists where no layer is a train or a ring."""
    found = Bonds([], [], [])
    for name, report in rank_report(module).items():
        inner = report["ranks"][1:-1]
        found.names.extend(f"{name}:{k}" for k in range(1, len(inner) + 1))
        found.ranks.extend(inner)
        found.entropies.extend(report["entropies"])
    return found


@torch.no_grad()
def adopt_cores(module: nn.Module, arrays: Arrays) -> list[str]:
    """Give tensor layers the ranks of stored cores, PATH.cores.K; cores that do not fit are left alone.

    Returns:
        The names of the parameters that have another shape now.
    """
    adopted = []
    for path, layer in module.named_modules():
        names = (
            [f"{path}.cores.{k}" for k in range(len(layer.cores))] if isinstance(layer, TensorLinear) else []
        )
        if not names or any(name not in arrays for name in names):
            continue
        assert isinstance(layer, TensorLinear)
        try:
            layer.set_cores([torch.tensor(arrays[name]) for name in names])
        except ValueError:
            continue  # whoever compares the shapes says so
        adopted += names
    return adopted


def ranks_found(fields: Fields) -> str:
    """The ranks and the number of parameters in words, for the end of a run."""
    ranks = ", ".join(f"{name} {'-'.join(map(str, r['ranks']))}" for name, r in rank_report(fields).items())
    return f"ranks found: {ranks}; {sum(p.numel() for p in fields.parameters()):,} parameters"


def _numpy(values: Tensor) -> npt.NDArray[Any]:
    return np.array(values.detach().cpu().numpy())


def _same(before: list[Tensor], after: list[nn.Parameter]) -> bool:
    return all(
        old.shape == new.shape and torch.equal(old, new) for old, new in zip(before, after, strict=True)
    )
