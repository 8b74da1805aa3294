"""The pair density along x and the pair correlation, at a few of the saved times.

    rho_2(x, x') = E[ sum_{i != j} delta(x - x_i) delta(x' - x_j) ] / (N (N - 1)) ,     of integral 1
    g2(x, x')    = rho_2(x, x') / (rho_1(x) rho_1(x'))

as averages over cells. g2 is 1 for independent particles, also where the density varies within a cell. Its
error is that of the logarithm, to first order: the three factors are of the same samples,

    delta g2 / g2 = delta rho_2 / rho_2 - delta rho_1(x) / rho_1(x) - delta rho_1(x') / rho_1(x') .

g2 is not a number where the density of either cell is known to less than a third of its value.

Shapes: B samples, N particles, P pairs, C cells along x, K kept times, G groups.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dsmsim.measure.cells import Cells, in_cells
from dsmsim.measure.context import Context
from dsmsim.measure.observable import Array, ByGroup, Sampled

UNKNOWN = 1.0 / 3.0  # relative error of a density
AT_ONCE = 200_000  # pairs whose cells are found together


class PairSums:
    """Sums over groups of p = rho_2 and r = rho_1 of each group, and of their products.

    Attributes:
        count: (K,) groups.
        r: (K, C), p, pp, rr, pr: (K, C, C) sums of r_a, p_ab, p_ab^2, r_a r_b and p_ab r_a.
    """

    def __init__(self, context: Context) -> None:
        system = context.system
        self._times, self._place = context.times[context.kept], context.place
        self._particles, self._dimensions = system.particles, system.dimensions
        self._first, self._second = torch.triu_indices(system.particles, system.particles, 1)
        self._first, self._second = self._first.to(context.device), self._second.to(context.device)
        self._cells = Cells.of(context.coarse_edges)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(len(self._times), *shape, dtype=torch.float64, device=context.device)

        cells = self._cells.count
        self.count, self.r = zeros(), zeros(cells)
        self.p, self.pp, self.rr, self.pr = (zeros(cells, cells) for _ in range(4))

    def add(self, sampled: Sampled) -> None:
        """Add a batch, at the times that are kept."""
        place = self._place.get(sampled.index)
        if place is None:
            return
        groups, size = sampled.groups, self._cells.count + 2
        cell = self._cells.index(sampled.x.t()[:: self._dimensions])
        weights = sampled.weights
        r = in_cells(cell, size, groups, weights)[:, 1:-1] / self._particles
        p = torch.zeros(len(groups), size * size, dtype=torch.float64, device=cell.device)
        at_once = max(1, AT_ONCE // cell.shape[1])
        for first, second in zip(self._first.split(at_once), self._second.split(at_once), strict=True):
            both = cell.index_select(0, first) * size + cell.index_select(0, second)
            p += in_cells(both, size * size, groups, weights)
        p = p.reshape(-1, size, size)[:, 1:-1, 1:-1]
        p = (p + p.transpose(1, 2)) / (2.0 * len(self._first))
        self.count[place] += len(groups)
        self.r[place] += r.sum(0)
        self.p[place] += p.sum(0)
        self.pp[place] += p.square().sum(0)
        self.rr[place] += r.t() @ r
        self.pr[place] += torch.einsum("gab,ga->ab", p, r)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return [self.count, self.r, self.p, self.pp, self.rr, self.pr]

    def results(self, units: Array) -> ByGroup:
        """`pair_density` and `g2` of the group `correlations`, with its coordinates."""
        count, *sums = (tensor.cpu().numpy() for tensor in self.tensors())
        freedom = count[:, None, None] - 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            r, p, pp, rr, pr = (total / count.reshape(-1, *[1] * (total.ndim - 1)) for total in sums)
            stderr = np.sqrt(np.maximum(pp - p * p, 0.0) / freedom)
            square = np.diagonal(rr, axis1=1, axis2=2)
            noise = np.sqrt(np.maximum(square - r * r, 0.0) / freedom[..., 0])
            seen = np.where(noise < UNKNOWN * r, r, np.nan)
            a, b = seen[:, :, None], seen[:, None, :]
            g2 = p / (a * b)
            # E[(p/E p - r_a/E r_a - r_b/E r_b)^2], times (E p)^2: p may vanish
            own = (square / seen**2)[:, :, None] + (square / seen**2)[:, None, :] + 2.0 * rr / (a * b)
            cross = pr / a + np.swapaxes(pr, 1, 2) / b
            spread = pp - 2.0 * p * cross + p * p * (own - 1.0)
            g2_stderr = np.sqrt(np.maximum(spread, 0.0) / freedom) / (a * b)
        cell, x = self._cells.width**2, self._cells.centers
        return {
            "correlations": {
                "time": self._times,
                "x": x,
                "x_prime": x,
                "pair_density": p / cell,
                "pair_density_stderr": stderr / cell,
                "g2": g2,
                "g2_stderr": g2_stderr,
            }
        }
