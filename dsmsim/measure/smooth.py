"""A smooth one-body density, without cells: the density as the integral of its own slope.

The osmotic velocity is the score, (2m/hbar) u_i = d/dx_i log |psi|^2. So with F = (1/N) (2m/hbar) u_i

    rho_1'(x) = E[ sum_i F_i delta(x - x_i) ]
    rho_1(x)  = E[ sum_i F_i theta(x - x_i) ] = - E[ sum_i F_i theta(x_i - x) ]

at any point x, and as E[sum_i F_i] = 0 also every combination of the two,

    rho_1(x)  = E[ a(x) - c(x) b ] ,     a = sum_i F_i theta(x - x_i) ,     b = sum_i F_i

of which c(x) = Cov(a, b) / Var(b) has the smallest variance: it goes from 0 on the left to 1 on the right, so
that the errors vanish at both ends. Nothing is smeared out, and errors do not grow as points move together;
they are a fraction of those of a histogram. This is force sampling, with the score of |psi|^2 in the place of
the forces of a thermal ensemble.

It is unbiased where u is the score of the density that the samples have, as it is for every exact solution.
With fields that were learnt it is as right as u is; where it differs from the histogram by more than their
errors, u and the samples contradict each other, as the score identities among the checks also tell.

Sources: Borgis, Assaraf, Rotenberg & Vuilleumier, Mol. Phys. 111, 3486 (2013); de las Heras & Schmidt, Phys.
Rev. Lett. 120, 218001 (2018); the best combination: Coles, Borgis, Vuilleumier & Rotenberg, J. Chem. Phys.
151, 064124 (2019).

Shapes: B samples, N particles, D axes, T times, C points, G groups.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dsmsim.measure.cells import Cells, in_cells
from dsmsim.measure.context import Context
from dsmsim.measure.currents import SUFFIXES
from dsmsim.measure.observable import Array, ByGroup, Sampled
from dsmsim.measure.units import weighted

ROUNDING = 1e-14  # of the squares of what cancels


class SmoothDensitySums:
    """Smooth densities along all axes, at the centres of the cells of the histogram."""

    def __init__(self, context: Context) -> None:
        system, device = context.system, context.device
        self._dimensions = system.dimensions
        self._scale = 2.0 * system.mass / (system.hbar * system.particles)
        self._points = [Cells.of(Cells.of(edges).centers) for edges in context.edges]
        times = len(context.times)
        self._sums = [_Line(times, len(points.edges), device) for points in self._points]

    def add(self, sampled: Sampled) -> None:
        """Add a batch."""
        for axis, (points, line) in enumerate(zip(self._points, self._sums, strict=True)):
            x, u = (a.t()[axis :: self._dimensions] for a in (sampled.x, sampled.u))
            force = weighted(self._scale * u, sampled.weights, dim=1)
            # cell k lies right of k of the points: what is in it counts at all points from k on
            found = in_cells(points.index(x), points.count + 2, sampled.groups, force).cumsum(1)
            line.add(sampled.index, found[:, :-1], found[:, -1:])

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [tensor for line in self._sums for tensor in line.tensors()]

    def results(self, units: Array) -> ByGroup:
        """`density/density_smooth` and its like along the other axes, 1/length."""
        group: dict[str, Array] = {}
        for line, suffix in zip(self._sums, SUFFIXES, strict=False):
            name = f"density_smooth{suffix}"
            group[name], group[f"{name}_stderr"] = line.finish()
        return {"density": group}


class _Line:
    """Sums over groups of a, a^2, a b (T, C), of b and b^2, and the number of groups, one after the other."""

    def __init__(self, times: int, points: int, device: torch.device) -> None:
        self.sums = torch.zeros(times, 3 * points + 3, dtype=torch.float64, device=device)
        self._ends = np.cumsum((points, points, points, 1, 1))

    def add(self, index: int, a: Tensor, b: Tensor) -> None:
        """Add averages over groups, a (G, C) and b (G, 1)."""
        self.sums[index].add_(torch.cat((a, a * a, a * b, b, b * b, torch.ones_like(b)), 1).sum(0))

    def tensors(self) -> list[Tensor]:
        return [self.sums]

    def finish(self) -> tuple[Array, Array]:
        """The density and its standard error, (T, C)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            *sums, count = np.split(self.sums.cpu().numpy(), self._ends, axis=1)
            a, aa, ab, b, bb = (total / count for total in sums)
            var_a, cov, var_b = aa - a * a, ab - a * b, bb - b * b
            share = np.where(var_b > 0.0, cov / var_b, 0.0)
            rest = var_a - share * cov
            rest = np.where(rest > ROUNDING * (aa + a * a), rest, 0.0)
            return a - share * b, np.sqrt(rest / (count - 2.0))
