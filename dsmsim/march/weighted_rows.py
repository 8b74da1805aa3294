"""Averages of rows and targets over the walkers of all ranks.

    < f > = sum_w weight_w f_w ,    weight_w = |psi|^2/rho of walker w, of sum 1 over all walkers of all ranks

Rows and targets count as deviations from their means where a model is centred. They are kept as they came;
deviations are made of a chunk of them at a time, which bounds the memory. The order of additions depends on
the number of ranks and on nothing else.

Shapes: W walkers (of this rank), R equations at each of them, P parameters, C walkers or columns of a chunk,
M rows of all ranks, K directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsmsim.parallel import World

# Smaller chunks slow the matrix products down; chunks are at least this long, or hold this many numbers.
CHUNK_ROWS, CHUNK_NUMBERS = 2048, 2**20
CHUNK_COLUMNS = 64
ROUNDING = 1e-13


class Products(NamedTuple):
    """Averages of products of rows A and targets b.

    What varies by rounding only, such as a constant, is no direction: there s and force are 0.

    Attributes:
        s: (P, P) < A^H A >, or (P,) its diagonal.
        force: (P,) < A^H b >.
        target_square: < |b|^2 >.
    """

    s: Tensor
    force: Tensor
    target_square: float


class WeightedRows:
    """The rows of this rank, their weights, and averages over all ranks.

    Every public method must be called by all ranks together, and returns the same on all of them. What is not
    finite on one rank is not finite on any.

    Args:
        rows, targets: (W, R, P) and (W, R) of this rank, both real or both complex; W may be 0.
        log_weights: (W,) logarithm of |psi|^2 over the density of the walkers, up to a constant that all
            ranks share.
        world: the ranks, with at least one walker among them.
        centred: whether rows and targets count as deviations from their means.

    Attributes:
        weights: (W,) of this rank's walkers.
        walkers: number of walkers of each rank.
        effective: effective fraction of all walkers, (sum w)^2/(W sum w^2).
        row_means, target_means: (R, P) and (R,) what is subtracted from rows and targets: their means where
            they are centred, 0 otherwise.
    """

    def __init__(
        self, rows: Tensor, targets: Tensor, log_weights: Tensor, world: World, *, centred: bool
    ) -> None:
        self.world = world
        self.rows, self.targets = rows.detach().resolve_conj(), targets.detach().resolve_conj()
        log_weights = log_weights.detach()
        # a rank without walkers knows no maximum
        top = log_weights.max() if len(rows) else log_weights.new_tensor(-torch.inf)
        weights = (log_weights - world.max_(top.reshape(1).clone())).exp()
        counts = weights.new_zeros(world.size)
        counts[world.rank] = len(rows)
        moments = torch.stack((weights.sum(), weights @ weights))
        sums = self._sums(weights) if centred else []
        moments, counts, *sums = added(world, moments, counts, *sums)
        self.walkers = [int(count) for count in counts.tolist()]
        self.weights = weights / moments[0]
        self._roots = self.weights.sqrt()
        self.effective = float(moments[0] ** 2 / (moments[1] * counts.sum()))
        means = [total / moments[0] for total in sums] or [values[:0].sum(0) for values in self._values]
        self.row_means, self.target_means = means

    def products(self) -> Products:
        """Averages of all products."""
        size = self.rows.shape[2] + 1
        parts = _parts(self.rows).shape[-1]
        total = self.weights.new_zeros(size * parts, size * parts)
        for chunk in self._chunks():
            total += _gram(_parts(self._deviations(chunk)).reshape(-1, size * parts))
        # of real and imaginary parts
        pairs = total.reshape(size, parts, size, parts)
        found = pairs[:, 0, :, 0].contiguous()
        if parts == 2:
            found = torch.complex(found + pairs[:, 1, :, 1], pairs[:, 0, :, 1] - pairs[:, 1, :, 0])
        (found,) = added(self.world, found)
        s, force, target_square = found[:-1, :-1], found[:-1, -1], found[-1, -1].real
        dead = self._dead(s.diagonal().real)
        s[dead, :], s[:, dead], force[dead] = 0.0, 0.0, 0.0
        return Products(s, force, float(target_square))

    def diagonal_products(self) -> Products:
        """Averages of products, of A^H A only the diagonal."""
        size = self.rows.shape[2]
        diagonal, square = self.weights.new_zeros(size), self.weights.new_zeros(())
        force = self.rows.new_zeros(size)
        for chunk in self._chunks():
            block = self._deviations(chunk).flatten(0, 1)
            rows, targets = block[:, :-1], block[:, -1]
            diagonal += squares(rows)
            square += squares(targets)
            force += (targets.conj() @ rows).conj()
        diagonal, square, force = added(self.world, diagonal, square, force)
        dead = self._dead(diagonal)
        diagonal[dead], force[dead] = 0.0, 0.0
        return Products(diagonal, force, float(square))

    def kernel(self, scale: Tensor) -> Tensor:
        """Products (M, M) of every two rows' deviations, times scale and the roots of the weights.

        Each rank multiplies its own rows by those of all, some columns at a time.

        Args:
            scale: (P,) of the columns.
        """
        here, every = self._here, self._every
        found = self.rows.new_zeros(every, every)
        step = max(CHUNK_COLUMNS, CHUNK_NUMBERS // every)
        for start in range(0, self.rows.shape[2], step):
            chunk = slice(start, start + step)
            block = (self.rows[..., chunk] - self.row_means[:, chunk]) * scale[chunk]
            mine = block.mul_(self._roots[:, None, None]).flatten(0, 1)
            found[here] += mine @ self._of_all(mine).mH
        return added(self.world, found)[0]

    def targets_of_all(self) -> tuple[Tensor, Tensor]:
        """Deviations of all targets (M,), times the roots of their weights (M,), and these weights."""
        targets = (self.targets - self.target_means) * self._roots[:, None]
        weights = self.weights[:, None].expand(self.targets.shape)
        return self._of_all(targets.flatten()), self._of_all(weights.flatten())

    def transposed_of_all(self, values: Tensor) -> Tensor:
        """sum_m root(weight_m) A_m^H values_m (P,), of values (M,) of all rows."""
        mine = values[self._here].reshape(self.targets.shape)
        total = self.rows.new_zeros(self.rows.shape[2])
        for chunk in self._chunks():
            total += self._transposed(chunk, mine[chunk] * self._roots[chunk, None])
        return added(self.world, total)[0]

    def normal_product(self, change: Tensor) -> Tensor:
        """< A^H A > change (P,)."""
        total = torch.zeros_like(change)
        for chunk in self._chunks():
            total += self._transposed(chunk, self._effect(chunk, change) * self.weights[chunk, None])
        return added(self.world, total)[0]

    def square(self, change: Tensor) -> float:
        """< |A change|^2 > for a change (P,) of the parameters."""
        return self._mean_square(change, 0.0)

    def square_left(self, rate: Tensor) -> float:
        """< |A rate - b|^2 > for rates (P,)."""
        return self._mean_square(rate, 1.0)

    def noise(self, directions: Tensor, force: Tensor) -> Tensor:
        """Squared standard errors (K,) of the force (K,) along directions (P, K): walkers are the samples."""
        total = self.weights.new_zeros(directions.shape[1])
        for chunk in self._chunks():
            block = self._deviations(chunk)
            # in place: at this size new memory costs more than the arithmetic
            forces = block[..., :-1].conj_physical_().mul_(block[..., -1:]).sum(1)
            each = forces @ directions.conj()
            total += squares(each.addr_(self.weights[chunk].to(each.dtype), force, alpha=-1))
        return added(self.world, total)[0]

    @property
    def _every(self) -> int:
        """M."""
        return sum(self.walkers) * self.rows.shape[1]

    @property
    def _here(self) -> slice:
        """This rank's rows among all."""
        each, rank = self.rows.shape[1], self.world.rank
        start = sum(self.walkers[:rank]) * each
        return slice(start, start + self.walkers[rank] * each)

    def _of_all(self, values: Tensor) -> Tensor:
        """(M, ...) of all rows, of this rank's."""
        found = values.new_zeros(self._every, *values.shape[1:])
        found[self._here] = values
        return added(self.world, found)[0]

    @property
    def _values(self) -> tuple[Tensor, Tensor]:
        return self.rows, self.targets

    def _sums(self, weights: Tensor) -> list[Tensor]:
        """Weighted sums of rows (R, P) and targets (R,) over the walkers of this rank."""
        sums = [_parts(values[:0].sum(0)) for values in self._values]
        for chunk in self._chunks():
            for total, values in zip(sums, self._values, strict=True):
                parts = _parts(values[chunk])
                total += (weights[chunk] @ parts.flatten(1)).reshape(total.shape)
        return [_whole(total) for total in sums]

    def _chunks(self) -> Iterator[slice]:
        """Walkers of this rank, some at a time."""
        each, size = self.rows.shape[1:]
        step = max(1, max(CHUNK_ROWS, CHUNK_NUMBERS // (size + 1)) // each)
        return (slice(start, start + step) for start in range(0, len(self.rows), step))

    def _deviations(self, chunk: slice) -> Tensor:
        """(C, R, P + 1) deviations of rows and, last, targets, times the roots of the weights."""
        rows = self.rows[chunk]
        block = rows.new_empty(*rows.shape[:2], rows.shape[2] + 1)
        torch.sub(rows, self.row_means, out=block[..., :-1])
        torch.sub(self.targets[chunk], self.target_means, out=block[..., -1])
        return block.mul_(self._roots[chunk, None, None])

    def _effect(self, chunk: slice, change: Tensor) -> Tensor:
        """A change (C, R), A deviations."""
        rows = self.rows[chunk]
        return (rows.flatten(0, 1) @ change).reshape(rows.shape[:2]) - self.row_means @ change

    def _transposed(self, chunk: slice, values: Tensor) -> Tensor:
        """sum_w A_w^H values_w (P,) of values (C, R), A deviations."""
        total = values.conj().flatten() @ self.rows[chunk].flatten(0, 1)
        return (total - values.sum(0).conj() @ self.row_means).conj().resolve_conj()

    def _mean_square(self, change: Tensor, share: float) -> float:
        """< |A change - share b|^2 >."""
        total = self.weights.new_zeros(1)
        for chunk in self._chunks():
            left = self._effect(chunk, change) - share * (self.targets[chunk] - self.target_means)
            total += self.weights[chunk] @ squares(left.T)
        return float(self.world.sum_(total))

    def _dead(self, diagonal: Tensor) -> Tensor:
        """(P,) whether a column varies by rounding only."""
        dead: Tensor = diagonal <= ROUNDING**2 * squares(self.row_means)
        return dead


def added(world: World, *values: Tensor) -> list[Tensor]:
    """The sums of all these over the ranks, in one go."""
    return _together(world.sum_, values) if world.size > 1 else list(values)


def squares(values: Tensor) -> Tensor:
    """Sums of |values|^2 over the first dimension."""
    parts = _parts(values)
    return (parts * parts).sum(0).sum(-1)  # both at once are fifty times slower


def of_first(world: World, *values: Tensor) -> list[Tensor]:
    """What the first rank has of all these, in one go; shapes and types must agree."""
    return _together(world.broadcast_, values) if world.size > 1 else list(values)


def _together(collective: Callable[[Tensor], Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """A collective of several arrays, real or complex, as one vector."""
    parts = [_parts(value) for value in values]
    numbers = collective(torch.cat([part.flatten() for part in parts]))
    found = torch.split(numbers, [part.numel() for part in parts])
    return [_whole(flat.reshape(part.shape)) for flat, part in zip(found, parts, strict=True)]


def _parts(values: Tensor) -> Tensor:
    """Real and imaginary part as the last dimension, which is of length one for what is real."""
    return torch.view_as_real(values) if values.is_complex() else values.unsqueeze(-1)


def _whole(parts: Tensor) -> Tensor:
    """The inverse of `_parts`."""
    # a view of what begins at an odd place would be refused
    return torch.view_as_complex(parts.clone()) if parts.shape[-1] == 2 else parts.squeeze(-1)


def _gram(values: Tensor) -> Tensor:
    """values^T values; on a CPU by numpy, which uses its symmetry: half the operations."""
    if values.device.type != "cpu":
        return values.T @ values
    array = values.numpy()
    with np.errstate(all="ignore"):  # what is not finite is found by whoever uses it
        return torch.from_numpy(array.T @ array)
