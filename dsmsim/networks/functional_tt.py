"""A functional tensor train over the particles: log-amplitude and phase as the trace of a matrix product.

Two channels (R, S), each a ring with one core for all particles (they are identical) and bond rank r,

    F(x, t) = tr[ A(x_1, t) A(x_2, t) ... A(x_N, t) ] - r,
    A(x, t) = 1 + B(x, t),     B(x, t) = sum_k G_k phi_k(x, t),

with features phi of one particle from a residual tanh network, and cores G_k (r x r). Around the identity the
trace is a cluster expansion,

    F = sum_i tr B_i + sum_{i<j} tr B_i B_j + sum_{i<j<k} tr B_i B_j B_k + ... ,

whose pair term is a separable expansion of any pair function, sum_ab B_ab(x_i) B_ba(x_j). Cores are symmetric
up to signs, G = M s with M = M^T and s = diag(+1, -1, +1, ...), so that pair functions of both signs can be
had and the trace does not change when the ring is read backwards. F is then symmetric under all
permutations up to the third order of B: exactly for N <= 3, and for more particles up to a fourth-order
remainder that training has to remove.

A derivative swaps one factor: with the environments E_i = A_{i+1} ... A_N A_1 ... A_{i-1} from left and
right products,

    dF/dx_i = tr[ A'(x_i) E_i ],    lap F = sum_i tr[ lap A(x_i) E_i ],    dF/dt = sum_i tr[ dA_i/dt E_i ],

so that all derivatives together cost O(N r^3) for the ring and O(N r^2 H) for its cores: linear in N, where
pair networks are quadratic and messages cubic. (Oseledets, "Constructive representation of functions in
low-rank tensor formats", 2013; Gorodetsky et al., "A continuous analogue of the tensor-train decomposition",
2019.)

Shapes: P points, K streams of a jet, N particles, C = 2 channels, r bond rank, H width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dsmsim.config import NetworkTable
from dsmsim.networks import jets
from dsmsim.networks.layers import hidden_linear
from dsmsim.networks.potential import CHANNELS, START, Potential, PotentialJet


class FunctionalTT(Potential):
    """(R, S) of dimensionless positions and time: (P, n), (P, 1) -> (P, 2).

    Args:
        table: [network].
        particles, dimensions: N and D.
        stretch: (D,) initial widths along the axes in the unit of length of the positions.
    """

    entry_of: Tensor
    signs: Tensor

    def __init__(
        self, table: NetworkTable, particles: int, dimensions: int, stretch: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        width, rank = table.width, table.bond_rank
        self.particles, self.dimensions, self.rank = particles, dimensions, rank
        self.stretch = tuple(stretch) if stretch is not None else (1.0,) * dimensions
        self.node_input = nn.Linear(1 + 2 * dimensions, width)
        self.node_hidden = nn.ModuleList(hidden_linear(table) for _ in range(table.blocks))
        self.node_output = nn.Linear(width, CHANNELS * rank * (rank + 1) // 2, bias=False)
        with torch.no_grad():
            self.node_output.weight.mul_(START)
        entry_of, signs = _entries(rank)
        self.register_buffer("entry_of", entry_of, persistent=False)
        self.register_buffer("signs", signs, persistent=False)

    @property
    def values_per_point(self) -> int:
        """Hidden values of all streams of a jet at one point, in one layer or in all cores."""
        rows = self.particles * (self.dimensions + 3)
        return rows * max(self.node_input.out_features, CHANNELS * self.rank**2)

    def forward(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """(R, S), each summed over all terms: (P, 2); `weights` as in `jet`."""
        weights = self.weights() if weights is None else weights
        cores = self._cores(self._node_features(y, clock, derivatives=False), weights)[:, 0]
        product = cores[:, 0]
        for site in range(1, self.particles):
            product = product @ cores[:, site]
        return _trace(product) - self.rank

    def jet(self, y: Tensor, clock: Tensor, weights: Mapping[str, Tensor] | None = None) -> PotentialJet:
        """F with its derivatives in y and clock; differentiable once in `weights` (see `weights`)."""
        weights = self.weights() if weights is None else weights
        cores = self._cores(self._node_features(y, clock, derivatives=True), weights)
        values = cores[:, 0]
        environments = self._environments(values)
        pulled = torch.einsum("pkncab,pncba->pknc", cores[:, 1:], environments)
        value = _trace(values[:, -1] @ environments[:, -1]) - self.rank
        gradient = pulled[:, :-2].transpose(1, 2).reshape(*y.shape, CHANNELS)
        return PotentialJet(value, gradient, pulled[:, -2].sum(1), pulled[:, -1].sum(1))

    def _cores(self, features: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """A of every particle as jets: (P, K, N, C, r, r)."""
        hidden = self._network("node", features, weights, None)
        independent = weights["node_output.weight"]
        every = independent.index_select(-2, self.entry_of) * self.signs.unsqueeze(-1)
        cores = jets.linear_layer(hidden, every)
        cores = cores.reshape(*cores.shape[:3], CHANNELS, self.rank, self.rank)
        identity = torch.eye(self.rank, dtype=cores.dtype, device=cores.device)
        return torch.cat([cores[:, :1] + identity, cores[:, 1:]], 1)

    def _environments(self, values: Tensor) -> Tensor:
        """Products around the ring of all factors (P, N, C, r, r) but one: the same shape."""
        count = self.particles
        if count == 1:
            identity = torch.eye(self.rank, dtype=values.dtype, device=values.device)
            return identity.expand_as(values)
        left, right = [values[:, 0]], [values[:, -1]]  # A_1 ... A_i and A_i ... A_N
        for site in range(1, count - 1):
            left.append(left[-1] @ values[:, site])
            right.append(values[:, count - 1 - site] @ right[-1])
        inner = [right[count - 2 - i] @ left[i - 1] for i in range(1, count - 1)]
        return torch.stack([right[-1], *inner, left[-1]], 1)


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _entries(rank: int) -> tuple[Tensor, Tensor]:
    """Which independent entry stands at each place of the cores, and its sign: (C r^2,) each."""
    rows, columns = torch.triu_indices(rank, rank)
    number = torch.zeros(rank, rank, dtype=torch.int64)
    number[rows, columns] = number[columns, rows] = torch.arange(len(rows))
    signs = (1.0 - 2.0 * (torch.arange(rank) % 2)).expand(rank, rank)
    entry_of = torch.cat([number.reshape(-1) + channel * len(rows) for channel in range(CHANNELS)])
    return entry_of, signs.reshape(-1).repeat(CHANNELS)
