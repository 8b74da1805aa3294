"""When ranks are adapted, and what every way of adapting them has in common.

A train has cores G_k (r_{k-1}, o_k, i_k, r_k), trained by any optimiser; every `every` steps an adapter
looks at the layers and may give them cores of other ranks. In the last 1 - `until` of the steps ranks stand
still, so that the optimiser can settle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from dsmsim.tensor.tt_linear import TTLinear

Start = Literal["most", "least"]


@dataclass(frozen=True)
class RankRule:
    """How far and when ranks may change.

    Attributes:
        tolerance: relative Frobenius error of W that one rounding may make, shared by the bonds.
        every: steps between two adaptations.
        most: largest rank of a bond; None: what the bond can hold.
        until: share of the steps after which ranks stand still.

    Raises:
        ValueError: a value out of its range.
    """

    tolerance: float
    every: int
    most: int | None = None
    until: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance {self.tolerance} must lie between 0 and 1")
        if self.every < 1:
            raise ValueError(f"every {self.every} must be at least 1 step")
        if self.most is not None and self.most < 1:
            raise ValueError(f"most {self.most} must be at least 1")
        if not 0.0 < self.until <= 1.0:
            raise ValueError(f"until {self.until} must lie between 0 (not included) and 1")

    def due(self, step: int, steps: int) -> bool:
        """Whether ranks are adapted after step number `step` (from 1 on) of `steps`."""
        return step % self.every == 0 and step <= self.until * steps


class RankAdapter(ABC):
    """Adapts the ranks of all TT and TR layers of a module; parameters of other layers are left alone.

    The order of a training step: gradients (reduced over all ranks), `observe`, the optimiser, `adapt`.

    Attributes:
        start: ranks to begin with: the most that can be paid for, or few.
        layers: the layers by dotted name.
    """

    start: ClassVar[Start] = "most"

    def __init__(self, module: nn.Module, rule: RankRule) -> None:
        self.rule = rule
        self.layers: dict[str, TTLinear] = {
            name: layer for name, layer in module.named_modules() if isinstance(layer, TTLinear)
        }

    def observe(self, step: int) -> None:  # noqa: B027  most adapters need no gradients
        """See the gradients (`.grad`) of a step before the optimiser uses them; may add a prior's."""

    @abstractmethod
    def adapt(self, step: int, steps: int) -> bool:
        """Change ranks after step number `step` (from 1 on) of `steps`, if it is time.

        Depends on the parameters and on `arrays` alone.

        Returns:
            Whether parameters were replaced: an optimiser then has to be given the new ones.
        """

    def arrays(self) -> dict[str, Tensor]:
        """What `load` needs beside the parameters, so that a resumed training equals one that went on."""
        return {}

    def load(self, arrays: Mapping[str, Tensor]) -> None:
        """Take over what `arrays` gave.

        Raises:
            ValueError: arrays that are missing, or not of this adapter.
        """
        if set(arrays) != set(self.arrays()):
            raise ValueError(f"arrays {sorted(arrays)} must be {sorted(self.arrays())}")
