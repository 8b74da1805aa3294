"""Natural units of a problem, so that every network sees and returns numbers of order one.

A physicist's `hbar = 0.01` must not need another learning rate than `hbar = 1`. Everything follows from the
initial state and the potential alone; nothing here is trained.

`lab` frame: fixed units. Lengths in the standard deviation sigma of each initial coordinate, times in the
end T of the run.

`comoving` frame: the units of the packet that would spread freely from the same initial width. With the
spreading time tau = 2 m sigma^2 / hbar,

    center(t) = c + <v0> t         width(t) = sigma sqrt(1 + (t/tau)^2)
    gate(t)  ~ t / sqrt(t^2 + tau^2)        clock(t) = asinh(t/tau) / asinh(T/tau)

so that the fast start of a narrow packet (rate 1/tau) and its late ballistic growth are resolved alike. In
the limit tau >> T, for a packet at rest, every one of these becomes its lab counterpart. The unit of
velocity is the largest of

    hbar / (2 m sigma)  (osmotic),     rms |v0|,     rms |grad V| T / m.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmsim.config import Config
from dsmsim.system import InitialState, System

Array = npt.NDArray[np.float64]

SAMPLES = 512  # draws from the initial state that the rms values are taken over


class Frame(nn.Module):
    """Units of length, time and velocity, as functions of time.

    Args:
        kind: "lab" or "comoving".
        center, sigma, drift: (n,) mean, standard deviation and mean velocity of the initial coordinates.
        spreading_time: tau of the module's docstring, for the narrowest coordinate.
        velocity: unit of velocity.
        end: T, the end of the run.
    """

    center: Tensor
    sigma: Tensor
    drift: Tensor

    def __init__(
        self,
        kind: Literal["lab", "comoving"],
        center: Array,
        sigma: Array,
        drift: Array,
        spreading_time: float,
        velocity: float,
        end: float,
    ) -> None:
        super().__init__()
        self.comoving = kind == "comoving"
        self.tau, self.velocity, self.end = spreading_time, velocity, end
        for name, values in (("center", center), ("sigma", sigma), ("drift", drift)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64), persistent=False)
        self._gate_at_end = end / float(np.hypot(end, spreading_time))
        self._clock_at_end = float(np.arcsinh(end / spreading_time))

    def growth(self, t: Tensor) -> Tensor:
        """width(t) / sigma per coordinate at t (B, 1): (B, n), or (1, n) in the lab."""
        if not self.comoving:
            return torch.ones_like(self.sigma).unsqueeze(0)
        narrowest = self.sigma.min()
        return torch.sqrt(1.0 + (t / self.tau * (narrowest / self.sigma) ** 2) ** 2)

    def center_at(self, t: Tensor) -> Tensor:
        """Centre of the free packet at t (B, 1): (B, n), or (n,) in the lab."""
        return self.center + self.drift * t if self.comoving else self.center

    def gate(self, t: Tensor) -> Tensor:
        """0 at t = 0 and 1 at the end: what multiplies a network under an exact initial condition."""
        if not self.comoving:
            return t / self.end
        return t / torch.sqrt(t.square() + self.tau**2) / self._gate_at_end

    def clock(self, t: Tensor) -> Tensor:
        """Natural time in [0, 1] of t (any shape)."""
        return torch.asinh(t / self.tau) / self._clock_at_end if self.comoving else t / self.end

    def time_at(self, clock: Array) -> Array:
        """Inverse of `clock`, on arrays."""
        if not self.comoving:
            return clock * self.end
        return self.tau * np.sinh(clock * self._clock_at_end)

    def clock_at(self, times: Array) -> Array:
        """`clock` on arrays."""
        return np.asarray(self.clock(torch.as_tensor(times, dtype=torch.float64)).numpy())

    def acceleration(self, t: Tensor) -> Tensor | float:
        """Unit in which Nelson's residuals are measured at t (B, 1)."""
        if not self.comoving:
            return self.velocity / self.end
        return self.velocity / (torch.sqrt(t.square() + self.tau**2) * self._gate_at_end)


def natural_frame(config: Config, system: System, initial: InitialState) -> Frame:
    """Frame of the problem in `config`."""
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), SAMPLES))
    start = x.new_zeros(len(x), 1)
    end, half = config.time.end, system.hbar / (2.0 * system.mass)
    sigma = np.sqrt(initial.variance)
    v0 = initial.v(x)
    kick = max(_rms(system.gradient(x, start)), _rms(system.gradient(x, start + end))) * end / system.mass
    return Frame(
        config.network.frame,
        initial.mean,
        sigma,
        v0.mean(0).numpy(),
        spreading_time=float(sigma.min()) ** 2 / half,
        velocity=max(half / float(np.sqrt(np.mean(sigma**2))), _rms(v0), kick),
        end=end,
    )


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
