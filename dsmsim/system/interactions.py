"""Pair interactions: V(x, t) = (g/2) sum_{i<j} w(x_i - x_j), each unordered pair ONCE with weight g/2.

    gaussian     w = (2 pi s2)^(-1/2) exp(-|r|^2 / (2 s2))
    harmonic     w = |r|^2
    expression   w = a formula of the components x, y, z of r, of r2 = |r|^2, t and named parameters
    python       w = a torch function of (r, t, **parameters)

Pair convention. Published texts write (1/2) g sum_{i,j}; the published code and every published figure
count each unordered pair once with weight g/2, and so does this program: two bosons with hbar = 0.1, s2 =
0.1 and mass = omega = g = 1, in the ground state of the trap at first, have Var(x_1) = 0.227425015 at t = 1
(with weight g it would be 0.4870). The Gaussian keeps the prefactor of one dimension in every dimension;
`s2` is a variance.

w must be even, w(-r) = w(r): which particle of a pair comes first has no meaning.

Shapes: `r` (..., D) differences, `t` broadcasts with r[..., 0]; values (...), gradients (..., D).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dsmsim.config.interactions import (
    ExpressionPair,
    GaussianPair,
    HarmonicPair,
    PairInteraction,
    PythonPair,
)
from dsmsim.errors import ConfigError
from dsmsim.system.expressions import ExpressionFunction
from dsmsim.system.quench import Parameter, read_parameters
from dsmsim.system.targets import PythonFunction
from dsmsim.system.term import Setting, TermFunction


class GaussianShape(TermFunction):
    """w = (2 pi s2)^(-1/2) exp(-|r|^2 / (2 s2))."""

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        s2 = self.at("s2", t)
        return torch.exp(-0.5 * (r * r).sum(-1) / s2) / (2.0 * math.pi * s2) ** 0.5

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        return -(self.value(r, t) / self.at("s2", t)).unsqueeze(-1) * r


class HarmonicShape(TermFunction):
    """w = |r|^2."""

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        return (r * r).sum(-1)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        return 2.0 * r


Parameters = dict[str, Parameter]


def _gaussian(table: GaussianPair, parameters: Parameters, setting: Setting) -> TermFunction:
    return GaussianShape(parameters)


def _harmonic(table: HarmonicPair, parameters: Parameters, setting: Setting) -> TermFunction:
    return HarmonicShape(parameters)


def _expression(table: ExpressionPair, parameters: Parameters, setting: Setting) -> TermFunction:
    key = "system.interaction.expression"
    return ExpressionFunction(table.expression, parameters, setting, key=key, squared=True)


def _python(table: PythonPair, parameters: Parameters, setting: Setting) -> TermFunction:
    key = "system.interaction.target"
    return PythonFunction(table.target, parameters, setting, group="dsmsim.interactions", key=key)


KINDS: dict[str, Callable[..., TermFunction]] = {
    "gaussian": _gaussian,
    "harmonic": _harmonic,
    "expression": _expression,
    "python": _python,
}


class PairEnergy(TermFunction):
    """(g/2) w(r, t): the energy of one pair at difference r."""

    def __init__(self, coupling: Parameter, shape: TermFunction) -> None:
        super().__init__({"g": coupling})
        self.shape = shape
        self.is_static = self.is_static and shape.is_static
        self.breakpoints = tuple(sorted({*self.breakpoints, *shape.breakpoints}))

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        return 0.5 * self.at("g", t) * self.shape.value(r, t)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        g = self.at("g", t)
        return 0.5 * (g.unsqueeze(-1) if isinstance(g, Tensor) else g) * self.shape.gradient(r, t)


def build_interaction(table: PairInteraction, setting: Setting) -> PairEnergy:
    """The torch term of [system.interaction].

    Raises:
        ConfigError: a formula or target that cannot be used, or w(-r) differs from w(r).
    """
    parameters = read_parameters(table, "system.interaction", setting.dimensions)
    coupling = parameters.pop("g")
    shape = KINDS[table.kind](table, parameters, setting)
    _check_even(shape, table.kind, setting)
    return PairEnergy(coupling, shape)


def _check_even(shape: TermFunction, kind: str, setting: Setting) -> None:
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(16, setting.dimensions, dtype=torch.float64, generator=generator)
    t = r.new_full((16,), 0.5 * setting.end)
    if not torch.allclose(shape.value(r, t), shape.value(-r, t), rtol=1e-9, atol=1e-12, equal_nan=True):
        key = f"system.interaction.{'target' if kind == 'python' else kind}"
        raise ConfigError(
            f"{key}: w(-r) must equal w(r), or the energy would depend on how the particles are counted; "
            "write it with r2 = |r|^2, abs(x) or even powers",
            key=key,
        )
