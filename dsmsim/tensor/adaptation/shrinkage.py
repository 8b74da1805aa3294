"""Ranks by shrinkage."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dsmsim.tensor.adaptation.rounding import RoundingAdapter
from dsmsim.tensor.adaptation.rule import RankRule

EVIDENCE = 2.0
DECAY = 0.98
FLOOR = 0.01


class ShrinkageAdapter(RoundingAdapter):
    def __init__(self, module: nn.Module, rule: RankRule) -> None:
        super().__init__(module, rule)
        self._before: dict[str, Tensor] = {}
        self.steps = 10**9
        self._noise: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, step: int) -> None:
        for name, layer in self.layers.items():
            d = len(layer.cores)
            for k, core in enumerate(layer.cores):
                if core.grad is None:
                    continue
                key = f"{name}.cores.{k}"
                g = core.grad.clone()
                if key in self._before and self._before[key].shape == g.shape:
                    dv = 0.5 * (g - self._before[key]).square()
                    old = self._noise.get(key)
                    self._noise[key] = dv if old is None or old.shape != dv.shape else old.lerp(dv, 1 - DECAY)
                    v = self._noise[key]
                    if k + 1 < d:
                        self._pull(core, v, 3)
                    if k > 0:
                        self._pull(core, v, 0)
                self._before[key] = g

    def _pull(self, core: Tensor, v: Tensor, axis: int) -> None:
        dims = [a for a in range(4) if a != axis]
        square = core.square().sum(dims, keepdim=True)
        typical = square.mean()
        error = (v.sum() / v.shape[axis] / self.steps).sqrt()
        core.grad += EVIDENCE * error * typical.sqrt() * core / (square + FLOOR * typical)

    def adapt(self, step: int, steps: int) -> bool:
        self.steps = steps
        return super().adapt(step, steps)

    def arrays(self) -> dict[str, Tensor]:
        return {}

    def load(self, arrays: Mapping[str, Tensor]) -> None:
        pass
