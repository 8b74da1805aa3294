"""Smooth test functions whose exact averages are known for every solution of Nelson's equations.

With rho = |psi|^2, u and v its osmotic and current velocity, f a vector field, phi a scalar and g = grad V:

    score        E[ div f + (2m/hbar) u.f ] = 0                                       at every t
    continuity   E[phi(X_t)] - E[phi(X_0)] = int_0^t E[v.grad phi] dt
    newton       m E[f.v](t) - m E[f.v](0) = int_0^t E[ m (v.Df v + u.Df u) + (hbar/2) u.lap f - f.g ] dt
    energy       E[m|u|^2/2 + m|v|^2/2 + V] = const                                   for a static V

The third line, with v.Df v = sum_ij v_i v_j d_i f_j, is the momentum balance in weak form (the quantum
pressure is integrated by parts). No derivative of u or v enters, so it also sees what a residual at sampled
points cannot see: a jump of the velocities where two particles meet. f = 1 is Ehrenfest's theorem, f = x the
virial theorem. (Nelson, Phys. Rev. 150, 1079 (1966); Madelung, Z. Phys. 40, 322 (1927).)

Units: one-body functions are functions of z = (x - c) / l with l the initial standard deviation of the
coordinate; pair functions use the typical initial pair distance sqrt(2) l, or a quarter of it ("contact").

Shapes: B trajectories, N particles, D axes, n = N D, P = N (N - 1) / 2 pairs, S score and H path functions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.system import System

CONTACT = 0.25  # range of the contact functions in units of the typical initial pair distance
CHUNK = 40_000  # pair components handled at once: they stay in the cache, and memory stays flat in N
LOG_2 = math.log(2.0)

Pairs = list[tuple[Tensor, Tensor]]  # two numbers per trajectory, for each test function


class ProbeValues(NamedTuple):
    """Values per trajectory.

    Attributes:
        divergence, projection: (S, B) div f and (2m/hbar) u.f.
        path, flux: (H, B) phi and the expression whose average is d/dt E[phi].
    """

    divergence: Tensor
    projection: Tensor
    path: Tensor
    flux: Tensor


class Probes:
    """All test functions of one system.

    Args:
        system: the bosons.
        mean, variance: (n,) of the initial state; they fix the centre and the lengths.

    Attributes:
        score_names, path_names: in the order of `ProbeValues`.
        path_units: what each phi is measured in, by the initial state: 1, momentum, or action.
    """

    def __init__(self, system: System, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> None:
        self.system = system
        self._center = torch.tensor(mean, dtype=torch.float64)
        self._length = torch.tensor(variance, dtype=torch.float64).sqrt()
        self._pair_length = math.sqrt(2.0 * float(np.mean(variance)))
        interacting = system.particles > 1
        axes = "xyz"[: system.dimensions]
        self.score_names = ["1", "x", "x^3", "tanh"]
        self.path_names = ["continuity: x^2", "continuity: log cosh"]
        self.path_names += [f"newton: momentum {a}" for a in axes] + ["newton: virial"]
        self.path_units = [1.0, 1.0, *(system.hbar / self._length[: len(axes)]).tolist(), system.hbar]
        if interacting:
            self.score_names += ["centre of mass", "pair tanh", "pair contact"]
            self.path_names += ["continuity: pair log cosh", "continuity: pair contact"]
            self.path_names += ["newton: pair contact"]
            self.path_units += [1.0, 1.0, system.hbar]

    def __call__(self, x: Tensor, u: Tensor, v: Tensor, gradient: Tensor) -> ProbeValues:
        """Evaluate at x, u, v, gradient (of V), each (n, B) float64."""
        size = max(1, self.system.particles * (self.system.particles - 1) // 2) * self.system.dimensions
        columns = max(1, CHUNK // size)
        parts = [
            self._evaluate(*(a[:, k : k + columns] for a in (x, u, v, gradient)))
            for k in range(0, x.shape[1], columns)
        ]
        if len(parts) == 1:
            return parts[0]
        return ProbeValues(*(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)))

    def _evaluate(self, x: Tensor, u: Tensor, v: Tensor, gradient: Tensor) -> ProbeValues:
        score, path = self._one_body(x, u, v, gradient)
        if self.system.particles > 1:
            pair_score, pair_path = self._pairs(x, u, v, gradient)
            score, path = [*score, self._center_of_mass(x, u), *pair_score], [*path, *pair_path]
        divergence, projection = (torch.stack(side) for side in zip(*score, strict=True))
        phi, flux = (torch.stack(side) for side in zip(*path, strict=True))
        return ProbeValues(divergence, 2.0 * self.system.mass / self.system.hbar * projection, phi, flux)

    def _particles(self, x: Tensor) -> Tensor:
        """(n, B) as (N, D, B)."""
        return x.reshape(self.system.particles, self.system.dimensions, x.shape[1])

    def _one_body(self, x: Tensor, u: Tensor, v: Tensor, gradient: Tensor) -> tuple[Pairs, Pairs]:
        """(div f, u.f) for f_i = l_i h(z_i), h = 1, z, z^3, tanh z; (phi, flux) as `path_names` says."""
        length, mass = self._length.to(x.device)[:, None], self.system.mass
        arm = x - self._center.to(x.device)[:, None]
        z, lu, lv = arm / length, length * u, v / length
        tanh, log_cosh = _tanh_and_log_cosh(z)
        square, lu_z = z.square(), lu * z
        sum_square = square.sum(0)
        score = [
            (torch.zeros_like(x[0]), lu.sum(0)),
            (torch.full_like(x[0], len(x)), lu_z.sum(0)),
            (3.0 * sum_square, (lu_z * square).sum(0)),
            (len(x) - tanh.square().sum(0), (lu * tanh).sum(0)),
        ]
        path = [(0.5 * sum_square, (lv * z).sum(0)), (log_cosh.sum(0), (lv * tanh).sum(0))]
        momentum, force = mass * self._particles(v).sum(0), -self._particles(gradient).sum(0)
        path += zip(momentum.unbind(0), force.unbind(0), strict=True)
        virial = (mass * (u.square() + v.square()) - arm * gradient).sum(0)
        return score, [*path, (mass * (arm * v).sum(0), virial)]

    def _center_of_mass(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """(div f, u.f) for f_i = R - c, the same for every particle."""
        center = self._particles(x - self._center.to(x.device)[:, None]).mean(0)
        return torch.full_like(x[0], self.system.dimensions), (self._particles(u).sum(0) * center).sum(0)

    def _pairs(self, x: Tensor, u: Tensor, v: Tensor, gradient: Tensor) -> tuple[Pairs, Pairs]:
        """The same for functions of r = x_i - x_j: sum_j l tanh(r_ij / l) and sum_j r_ij exp(-q_ij / 2).

        With q = |r|^2 / l_c^2, l_c the range of contact. A pair function acts on i and, reversed, on j, so
        that only relative velocities du, dv and forces enter: (P, D, B) each.
        """
        everything = torch.stack([self._particles(a) for a in (x, u, v, gradient)])
        first, second = torch.triu_indices(self.system.particles, self.system.particles, 1, device=x.device)
        r, du, dv, dg = everything.index_select(1, first) - everything.index_select(1, second)
        length, square = self._pair_length, (CONTACT * self._pair_length) ** 2
        dimensions, mass = self.system.dimensions, self.system.mass
        tanh, log_cosh = _tanh_and_log_cosh(r / length)
        q = _over_axes(r.square()) / square
        bell = torch.exp(-0.5 * q)
        r_u, r_v = _over_axes(r * du), _over_axes(r * dv)
        bell_r_u, bell_r_v = bell * r_u, bell * r_v
        components = r.shape[0] * dimensions
        score = [
            (2.0 * (components - tanh.square().sum((0, 1))), length * (du * tanh).sum((0, 1))),
            (2.0 * (bell * (dimensions - q)).sum(0), bell_r_u.sum(0)),
        ]
        # w.Df w = bell (|w|^2 - (r.w)^2 / l_c^2); lap f = 2 bell r (q - D - 2) / l_c^2 over both particles
        stress = _over_axes(dv.square() + du.square()) - (r_v.square() + r_u.square()) / square
        diffusion = (self.system.hbar / square) * bell_r_u * (q - dimensions - 2.0)
        balance = bell * (mass * stress - _over_axes(r * dg)) + diffusion
        both = bell_r_v.sum(0)
        path = [
            (log_cosh.sum((0, 1)), (dv * tanh).sum((0, 1)) / length),
            (bell.sum(0), -both / square),
            (mass * both, balance.sum(0)),
        ]
        return score, path


def _over_axes(values: Tensor) -> Tensor:
    """The sum over the axes of (P, D, B): (P, B)."""
    return values[:, 0] if values.shape[1] == 1 else values.sum(1)


def _tanh_and_log_cosh(z: Tensor) -> tuple[Tensor, Tensor]:
    """Both from one exponential, without overflow."""
    magnitude = z.abs()
    decay = torch.exp(-2.0 * magnitude)
    return torch.sign(z) * (1.0 - decay) / (1.0 + decay), magnitude + torch.log1p(decay) - LOG_2
