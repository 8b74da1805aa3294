"""One-body terms V(r, t) of the potential, for one particle at r; energies in hbar / time.

    harmonic     1/2 mass sum_a omega_a^2 (r_a - c_a)^2
    double_well  barrier (((r_axis - c)/half_distance)^2 - 1)^2       minima of 0 at c +- half_distance
    gaussian     amplitude exp(-|r - c|^2 / (2 width^2))
    lattice      depth sum_a sin^2(k_a r_a + phase)
    expression   a formula of x, y, z, t and named parameters
    python       a torch function of (r, t, **parameters)

Every parameter may follow a quench in time (`dsmsim.system.quench`). To add a kind, write one class, one
line of `KINDS`, and its table in `dsmsim.config.terms`.

Shapes: `r` (..., D), `t` broadcasts with r[..., 0]; values (...), gradients (..., D).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dsmsim.config.terms import DoubleWellTerm, ExpressionTerm, HarmonicTerm, OneBodyTerm, PythonTerm, Term
from dsmsim.errors import ConfigError
from dsmsim.system.expressions import ExpressionFunction
from dsmsim.system.quench import read_parameters
from dsmsim.system.targets import PythonFunction
from dsmsim.system.term import Setting, TermFunction


class Harmonic(TermFunction):
    """1/2 mass sum_a omega_a^2 (r_a - c_a)^2."""

    def __init__(self, term: HarmonicTerm, key: str, setting: Setting) -> None:
        super().__init__(read_parameters(term, key, setting.dimensions))
        self.mass = setting.mass

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        stretched = self.at("omega", t) * (r - self.at("center", t))
        return 0.5 * self.mass * (stretched * stretched).sum(-1)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        return self.mass * self.at("omega", t) ** 2 * (r - self.at("center", t))


class DoubleWell(TermFunction):
    """barrier (s^2 - 1)^2 with s = (r_axis - c)/half_distance."""

    def __init__(self, term: DoubleWellTerm, key: str, setting: Setting) -> None:
        super().__init__(read_parameters(term, key, setting.dimensions))
        self.axis = term.axis
        if self.axis >= setting.dimensions:
            raise ConfigError(
                f"{key}.axis = {term.axis}: must be less than system.dimensions = {setting.dimensions}; "
                f"write {setting.dimensions - 1} or less",
                key=f"{key}.axis",
            )

    def _scaled(self, r: Tensor, t: Tensor) -> Tensor:
        scaled: Tensor = (r[..., self.axis] - self.at("center", t)) / self.at("half_distance", t)
        return scaled

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        return self.at("barrier", t) * (self._scaled(r, t) ** 2 - 1.0) ** 2

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        s = self._scaled(r, t)
        slope = 4.0 * self.at("barrier", t) / self.at("half_distance", t) * s * (s**2 - 1.0)
        on_axis = torch.arange(r.shape[-1], device=r.device) == self.axis
        return slope.unsqueeze(-1) * on_axis.to(r.dtype)


class Gaussian(TermFunction):
    """amplitude exp(-|r - c|^2 / (2 width^2))."""

    def __init__(self, term: Term, key: str, setting: Setting) -> None:
        super().__init__(read_parameters(term, key, setting.dimensions))

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        square = ((r - self.at("center", t)) ** 2).sum(-1)
        return self.at("amplitude", t) * torch.exp(-0.5 * square / self.at("width", t) ** 2)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        weight = -self.value(r, t) / self.at("width", t) ** 2
        return weight.unsqueeze(-1) * (r - self.at("center", t))


class Lattice(TermFunction):
    """depth sum_a sin^2(k_a r_a + phase)."""

    def __init__(self, term: Term, key: str, setting: Setting) -> None:
        super().__init__(read_parameters(term, key, setting.dimensions))

    def _angle(self, r: Tensor, t: Tensor) -> Tensor:
        phase = self.at("phase", t)
        return self.at("wavenumber", t) * r + (phase.unsqueeze(-1) if isinstance(phase, Tensor) else phase)

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        return self.at("depth", t) * (torch.sin(self._angle(r, t)) ** 2).sum(-1)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        depth = self.at("depth", t)
        if isinstance(depth, Tensor):
            depth = depth.unsqueeze(-1)
        return depth * self.at("wavenumber", t) * torch.sin(2.0 * self._angle(r, t))


def _expression(term: ExpressionTerm, key: str, setting: Setting) -> TermFunction:
    parameters = read_parameters(term, key, setting.dimensions)
    return ExpressionFunction(term.expression, parameters, setting, key=f"{key}.expression")


def _python(term: PythonTerm, key: str, setting: Setting) -> TermFunction:
    parameters = read_parameters(term, key, setting.dimensions)
    return PythonFunction(term.target, parameters, setting, group="dsmsim.potentials", key=f"{key}.target")


KINDS: dict[str, Callable[..., TermFunction]] = {
    "harmonic": Harmonic,
    "double_well": DoubleWell,
    "gaussian": Gaussian,
    "lattice": Lattice,
    "expression": _expression,
    "python": _python,
}


def build_one_body(term: OneBodyTerm, key: str, setting: Setting) -> TermFunction:
    """The torch term of one table of the input.

    Args:
        term: the table.
        key: its dotted key, for messages, e.g. "system.trap".
        setting: dimensions, mass and last time.

    Raises:
        ConfigError: a formula or target that cannot be used; lists of the wrong length.
    """
    return KINDS[term.kind](term, key, setting)
