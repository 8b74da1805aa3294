"""What networks of the wave function's logarithm have in common.

A potential network has two channels (R, S). Only the value, the n derivatives, d/dt and the LAPLACIAN of each
are ever needed; one forward pass of jets yields them (see `jets.py`).

Shapes: P points, N particles, D axes, n = N D, H width, K streams of a jet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dsmsim.networks import jets

SOFTENING = 2.0  # of distances, in units of the initial width
CHANNELS = 2
START = 0.3  # size of the last layers at the start, of the usual one: the network begins near 0


class PotentialJet(NamedTuple):
    """F and its derivatives: value (P, 2), gradient (P, n, 2), dt (P, 2), laplacian (P, 2)."""

    value: Tensor
    gradient: Tensor
    dt: Tensor
    laplacian: Tensor


class Potential(nn.Module, ABC):
    """(R, S) of dimensionless positions and time: (P, n), (P, 1) -> (P, 2).

    Attributes:
        particles, dimensions: N and D.
        stretch: (D,) initial widths along the axes in the unit of length of the positions.
    """

    particles: int
    dimensions: int
    stretch: tuple[float, ...]

    @property
    @abstractmethod
    def values_per_point(self) -> int:
        """Hidden values of all streams of a jet at one point, in one layer of each network."""

    @abstractmethod
    def forward(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """(R, S), each summed over all terms: (P, 2); `weights` as in `jet`."""

    @abstractmethod
    def jet(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> PotentialJet:
        """(R, S) with derivatives in y and clock; differentiable once in `weights` (see `weights`)."""

    def weights(self) -> dict[str, Tensor]:
        """Weights and biases by name, tensor-train layers as the dense matrices that they stand for."""
        found: dict[str, Tensor] = {}
        for name, module in self.named_modules():
            if isinstance(module.__dict__.get("_parameters"), dict) and hasattr(module, "in_features"):
                found[f"{name}.weight"] = module.weight
                if module.bias is not None:
                    found[f"{name}.bias"] = module.bias
        return found

    def _network(
        self, name: str, features: Tensor, weights: Mapping[str, Tensor], extra: Tensor | None
    ) -> Tensor:
        h = jets.tanh_layer(features, weights[f"{name}_input.weight"], weights[f"{name}_input.bias"], extra)
        for k in range(len(getattr(self, f"{name}_hidden"))):
            layer = f"{name}_hidden.{k}"
            h = jets.tanh_layer(h, weights[f"{layer}.weight"], weights[f"{layer}.bias"], h)
        return h

    def _node_features(self, y: Tensor, clock: Tensor, derivatives: bool) -> Tensor:
        """Time, and for every axis a position and a distance from the centre: (P, D + 3 or 1, N, F)."""
        r, axes = y.reshape(len(y), self.particles, self.dimensions), self.dimensions
        features = [clock_feature(clock, self.particles, axes, derivatives)]
        for axis in range(axes):
            position = r[:, :, axis] / self.stretch[axis]
            x = jets.variable(position, axis, axes) if derivatives else position.unsqueeze(1)
            if derivatives:
                x[:, 1 + axis] /= self.stretch[axis]
            features += [
                jets.soft_sign_length(x, SOFTENING),
                jets.soft_length(jets.product(x, x), SOFTENING),
            ]
        return torch.stack(features, -1)


class DenseWeights(nn.Module):
    """The dense weights of a potential network as a function of its parameters."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self) -> dict[str, Tensor]:
        return self.potential.weights()

    def of(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights at parameters by their names in the fields: potential.NAME."""
        found: dict[str, Tensor] = torch.func.functional_call(self, dict(parameters), ())
        return found


def clock_feature(clock: Tensor, rows: int, directions: int, derivatives: bool) -> Tensor:
    """The time as a feature of every row: (P, directions + 3 or 1, rows)."""
    if derivatives:
        return jets.clock_variable(clock, rows, directions)
    return clock.unsqueeze(-1).expand(-1, 1, rows)
