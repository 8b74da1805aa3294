"""A linear regression whose answer is a tensor train of known ranks, and its training with an adapter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor import TTLinear
from dsmsim.tensor.adaptation import ADAPTERS, RankAdapter, RankRule

RATE = 2e-2
BATCH = 64


def train_layer(modes: Sequence[int], ranks: int | Sequence[int], seed: int, scale: float = 1.0) -> TTLinear:
    """A square layer without bias of these modes and ranks, its W with entries of variance scale^2 / in."""
    torch.manual_seed(seed)
    size = math.prod(modes)
    layer = TTLinear(size, size, modes, modes, ranks, bias=False, dtype=torch.float64)
    layer.reset_cores(scale**2 / size)
    return layer


class Regression:
    """y = W x + noise * N(0, 1) with W of `target`, fitted by `layer` with Adam, step by step.

    Attributes:
        history: ranks of the layer after each adaptation.
    """

    def __init__(
        self, target: TTLinear, layer: TTLinear, adapter: str, rule: RankRule, steps: int, noise: float = 0.0
    ) -> None:
        self.answer, self.layer, self.noise, self.steps = target.weight.detach(), layer, noise, steps
        self.model = torch.nn.Sequential(layer)
        self.adapter: RankAdapter = ADAPTERS[adapter](self.model, rule)
        self.generator = torch.Generator().manual_seed(11)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)
        self.done = 0
        self.history: list[tuple[int, ...]] = []

    def run(self, until: int | None = None) -> None:
        """Train up to this step, or to the end."""
        for step in range(self.done + 1, (until or self.steps) + 1):
            x = self._draw()
            y = x @ self.answer.T + self.noise * self._draw()
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1.0 + math.cos(math.pi * (step - 1) / self.steps))
            self.optimizer.zero_grad()
            (self.layer(x) - y).square().mean().backward()
            self.adapter.observe(step)
            self.optimizer.step()
            if self.adapter.adapt(step, self.steps):
                self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)
            if self.adapter.rule.due(step, self.steps):
                self.history.append(self.layer.ranks)
            self.done = step

    def error(self) -> float:
        """|W_layer - W| / |W|."""
        change = torch.linalg.vector_norm(self.layer.weight.detach() - self.answer)
        return float(change / torch.linalg.vector_norm(self.answer))

    def _draw(self) -> Tensor:
        return torch.randn(BATCH, self.answer.shape[1], generator=self.generator, dtype=torch.float64)
