"""Exact wave functions to sample: Gaussian packets of bosons with a harmonic interaction, and spoilt ones.

Per axis, with R the centre of mass, its mean mu and variances s_c of sqrt(N) R and s_r of the relative modes,

    log psi = N a (R - mu)^2 + b sum_i (x_i - R)^2 + i (m/hbar) mu' N R
    a, b = -1/(4 s) + i (m/hbar) s'/(4 s)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.wave.wave_function import Array, ComplexArray, Local
from dsmsim.config import Config, parse_config
from dsmsim.system import ClosedForm, closed_form


def packets(particles: int = 2, dimensions: int = 1, g: float = 0.5, **tables: Any) -> Config:
    """Bosons that repel or attract harmonically, displaced, kicked and squeezed."""
    trap = {"kind": "harmonic", "omega": 1.1}
    system: dict[str, Any] = {"particles": particles, "dimensions": dimensions, "hbar": 0.4, "mass": 1.3}
    system |= {"trap": trap, "interaction": {"kind": "harmonic", "g": g}}
    initial = {"kind": "gaussian", "mean": 0.2, "variance": 0.25, "phase": -1.5}
    evaluation = {"samples": 5120, "trials": 5, "bins": 16} | tables.pop("evaluation", {})
    time = {"end": 1.0, "save": 5} | tables.pop("time", {})
    data = {"system": system, "initial": initial, "time": time, "evaluation": evaluation, **tables}
    return parse_config(data)


def exact(config: Config) -> ClosedForm:
    """The closed form, which must exist."""
    form = closed_form(config)
    assert form is not None
    return form


@dataclass
class Packet:
    """The exact psi of `packets`.

    Attributes:
        config: the input.
        flow: the current velocity is multiplied by this, the density stays exact.
        calls: configurations at which `local` and `log_density` were asked for.
    """

    config: Config
    flow: float = 1.0

    def __post_init__(self) -> None:
        self.calls = [0, 0]
        self._known: dict[float, list[tuple[complex, complex, float, complex]]] = {}

    def _coefficients(self, t: float) -> list[tuple[complex, complex, float, complex]]:
        """a, b, mu and i (m/hbar) mu' of every axis."""
        if t not in self._known:
            over, clock = (
                self.config.system.mass / self.config.system.hbar,
                torch.tensor(t, dtype=torch.float64),
            )
            self._known[t] = []
            for axis in exact(self.config)._axes:
                mean, speed = (float(a) for a in axis.path(clock))
                modes = (axis.spread(square, clock) for square in (axis.square, axis.relative_square))
                a, b = (complex(-1.0, over * float(rate)) / (4.0 * float(s)) for s, rate in modes)
                self._known[t].append((a, b, mean, 1j * over * speed))
        return self._known[t]

    def _log_psi(self, r: Array, t: float) -> ComplexArray:
        total = np.zeros(len(r), dtype=np.complex128)
        for k, (a, b, mean, kick) in enumerate(self._coefficients(t)):
            center = r[:, :, k].mean(1)
            total += r.shape[1] * (a * (center - mean) ** 2 + kick * center)
            total += b * ((r[:, :, k] - center[:, None]) ** 2).sum(1)
        return total

    def _by_particle(self, x: Array) -> Array:
        return x.reshape(len(x), self.config.system.particles, self.config.system.dimensions)

    def local(self, x: Array, t: float) -> Local:
        self.calls[0] += len(x)
        r = self._by_particle(x)
        gradient, laplacian = np.empty(r.shape, dtype=np.complex128), 0.0j
        for k, (a, b, mean, kick) in enumerate(self._coefficients(t)):
            center = r[:, :, k].mean(1, keepdims=True)
            gradient[:, :, k] = 2.0 * a * (center - mean) + 2.0 * b * (r[:, :, k] - center) + kick
            laplacian += 2.0 * a + 2.0 * b * (r.shape[1] - 1)
        gradient.imag *= self.flow
        curvature = complex(laplacian.real, self.flow * laplacian.imag)
        return Local(self._log_psi(r, t), gradient.reshape(x.shape), np.full(len(x), curvature))

    def log_density(self, x: Array, t: float) -> Array:
        self.calls[1] += len(x)
        return 2.0 * self._log_psi(self._by_particle(x), t).real
