"""The motion of the parameters: regularised least squares over the walkers of all ranks.

    theta' = argmin < |b - A theta'|^2 > ,    S = < A^H A > ,    F = < A^H b >

S is scaled to a unit diagonal, and its eigenvalues are damped, as `dsmsim.tdvp.least_squares` says.

| solver         | solves                                    | operations       | sums over ranks         |
|----------------|-------------------------------------------|------------------|-------------------------|
| `eigen`        | the eigenvectors of S (P, P)              | M P^2 + 10 P^3   | one of P^2 numbers      |
| `sample_space` | those of the kernel A A^H (M, M)          | 2 M^2 P + 10 M^3 | of P M and M^2 numbers  |
| `cg`           | (S + shift) by conjugate gradients        | 4 M P an iterate | one of P an iterate     |

The first two have the same spectrum but for zeros, the same damping and the same solution. The first rank
finds eigenvectors, for all. `cg` knows no spectrum: the shift damps, as does its end after MOST_ITERATIONS;
the cut-offs cannot.

Counts of operations are equal at P = M, so "auto" takes `eigen` for P <= M and `sample_space` for more
parameters; where the smaller of the two is above LARGEST, eigenvectors would take minutes, and it takes `cg`
if there is a shift and no filter of signal to noise.

Sources: Chen, Heyl, Nature Physics 20, 1476 (2024), "minSR", for the kernel form; Hestenes, Stiefel, J. Res.
Natl. Bur. Stand. 49, 409 (1952).

Shapes: W walkers (of this rank), R equations at each of them, P parameters, M rows of all ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.errors import ConfigError
from dsmsim.march.model import Equations, Theta
from dsmsim.march.weighted_rows import WeightedRows, of_first, squares
from dsmsim.parallel import World
from dsmsim.tdvp import (
    NormalEquations,
    Regularisation,
    Solution,
    damped_inverse,
    relative_rms,
    signal_to_noise,
    unit_scale,
)

Array = NDArray[np.float64]
Solver = Literal["eigen", "sample_space", "cg"]

LARGEST = 4096
TOLERANCE, MOST_ITERATIONS = 1e-9, 1000  # of conjugate gradients; relative to the scaled force


def choose_solver(
    solver: Solver | Literal["auto"], parameters: int, rows: int, rule: Regularisation
) -> Solver:
    """The solver that "auto" stands for; see the module.

    Args:
        parameters: P.
        rows: M.

    Raises:
        ConfigError: `cg` was asked to filter by signal-to-noise ratios, which it does not know.
    """
    if solver == "cg" and rule.snr > 0.0:
        raise ConfigError(
            f"march.snr = {rule.snr:g}: march.solver = 'cg' knows no signal-to-noise ratios; "
            "set march.snr = 0, or use another solver: 'auto', 'eigen', 'sample_space'",
            key="march.snr",
        )
    if solver != "auto":
        return solver
    if min(parameters, rows) > LARGEST and rule.shift > 0.0 and rule.snr == 0.0:
        return "cg"
    return "eigen" if parameters <= rows else "sample_space"


class LeastSquares:
    """The motion of the parameters at one state of all walkers.

    All ranks must make it, and call its methods, together; they find the same, bit by bit. What is not finite
    on one rank makes the solution not a number on all.

    Args:
        equations: of the walkers of this rank, of which there may be none.
        log_weights: (W,) logarithm of |psi|^2 over the density of the walkers, up to a constant that all
            ranks share.
        world: the ranks.
        rule: what is damped.
        centred: whether rows and targets count as deviations from their means.
        solver: see the module.

    Attributes:
        solver: the one that is used.
        target_square: < |b|^2 >: of log psi, the variance of the local energy over hbar^2.

    Raises:
        ConfigError: see `choose_solver`; on all ranks alike.
    """

    solver: Solver

    def __init__(
        self,
        equations: Equations,
        log_weights: Tensor,
        world: World,
        rule: Regularisation,
        *,
        centred: bool,
        solver: Solver | Literal["auto"] = "auto",
    ) -> None:
        self._average = WeightedRows(equations.rows, equations.targets, log_weights, world, centred=centred)
        self._world, self._rule = world, rule
        rows = self._average.rows
        every = sum(self._average.walkers) * rows.shape[1]
        try:
            self.solver = choose_solver(solver, rows.shape[2], every, rule)
        except ConfigError as error:
            raise world.agreed(error) from None
        self._kernel: _Kernel | None = None
        if self.solver == "eigen":
            s, force, self.target_square = self._average.products()
            self._normal = NormalEquations(_array(s), _array(force), self.target_square, self._decompose)
        else:
            diagonal, self._force, self.target_square = self._average.diagonal_products()
            self._is_finite = bool(torch.isfinite(torch.cat((diagonal, self._force.abs()))).all())
            self._is_finite &= math.isfinite(self.target_square)
            self._scale = torch.from_numpy(unit_scale(_array(diagonal))).to(diagonal)

    @property
    def effective(self) -> float:
        """Effective fraction of all walkers, (sum w)^2/(W sum w^2)."""
        return self._average.effective

    @property
    def row_means(self) -> Theta:
        """(R, P) means of the rows, 0 where they are not centred."""
        return _array(self._average.row_means)

    @property
    def target_means(self) -> Theta:
        """(R,) means of the targets, 0 where they are not centred."""
        return _array(self._average.target_means)

    def solve(self, *, with_snr: bool = False) -> Solution:
        """theta' and how well it is known.

        Args:
            with_snr: measure the signal-to-noise ratios even where the rule does not need them.
        """
        if self.solver == "eigen":
            solution = self._normal.solve(self._rule, self._noise, with_snr=with_snr)
            # ranks on other processors may round otherwise
            residual = torch.tensor(solution.residual, dtype=torch.float64)
            rate, residual = of_first(self._world, torch.from_numpy(solution.rate), residual)
            return replace(solution, rate=_array(rate), residual=float(residual))
        measured = with_snr or self._rule.snr > 0.0
        if not self._is_finite:
            return Solution.unknown(self._parameters, measured, _array(self._average.rows[:0]).dtype.type)
        return self._sample_space(measured) if self.solver == "sample_space" else self._cg(measured)

    def distance(self, change: Theta) -> float:
        """Root of < |A change|^2 >: how far a small change (P,) of theta moves the fields.

        For log psi it is the angle in Hilbert space between the two states.
        """
        if self.solver == "eigen":
            found = torch.tensor(self._normal.distance(change), dtype=torch.float64)
            return float(of_first(self._world, found)[0])
        return math.sqrt(self._average.square(self._tensor(change)))

    @property
    def _parameters(self) -> int:
        return int(self._average.rows.shape[2])

    def _tensor(self, values: Theta) -> Tensor:
        return torch.from_numpy(values).to(self._average.rows)

    def _decompose(self, matrix: Theta) -> tuple[Array, Theta]:
        """Eigenvalues and eigenvectors: those that the first rank finds."""
        vectors = self._tensor(matrix)
        values = self._average.weights.new_zeros(len(vectors))
        if self._world.rank == 0:
            values, vectors = torch.linalg.eigh(vectors)
        values, vectors = of_first(self._world, values, vectors)
        return _array(values), _array(vectors)

    def _noise(self, directions: Theta, force: Theta) -> Array:
        found: Array = _array(self._average.noise(self._tensor(directions), self._tensor(force)))
        return found

    def _decomposed_kernel(self) -> _Kernel:
        """Eigenvectors of the kernel on the first rank; the others keep nothing of it."""
        kernel = self._average.kernel(self._scale)
        targets, weights = self._average.targets_of_all()
        values = weights.new_zeros(len(weights))
        if self._world.rank == 0:
            values, kernel = torch.linalg.eigh(kernel)
        else:
            kernel = kernel[:0]
        return _Kernel(values, kernel, targets, weights, self._average.rows.shape[1])

    def _sample_space(self, measured: bool) -> Solution:
        if self._kernel is None:
            self._kernel = self._decomposed_kernel()
        kernel, size = self._kernel, self._parameters
        share, left = torch.zeros_like(kernel.targets), kernel.weights.new_zeros(())
        spectrum = snr = kernel.weights.new_zeros(size)
        if self._world.rank == 0:
            share, left, ratios = kernel.solve(self._rule, measured)
            spectrum, snr = _largest(kernel.values, size), _largest(ratios, size)
        share, left, spectrum, snr = of_first(self._world, share, left, spectrum, snr)
        rate = self._scale**2 * self._average.transposed_of_all(share)
        residual = relative_rms(float(left), self.target_square)
        return Solution(_array(rate), residual, _array(spectrum), _array(snr) if measured else np.zeros(0))

    def _cg(self, measured: bool) -> Solution:
        scale, shift = self._scale, self._rule.shift
        left = scale * self._force
        direction, found = left.clone(), torch.zeros_like(left)
        square = float(squares(left))
        enough = TOLERANCE**2 * square
        for _ in range(MOST_ITERATIONS):
            if self._world.any(not square > enough):
                break
            image = scale * self._average.normal_product(scale * direction) + shift * direction
            curvature = float(torch.vdot(direction, image).real)
            if curvature <= 0.0:  # by rounding: no direction is left
                square = 0.0
                continue
            step = square / curvature
            found += step * direction
            left -= step * image
            before, square = square, float(squares(left))
            direction = left + (square / before) * direction
        (rate,) = of_first(self._world, scale * found)
        residual = relative_rms(self._average.square_left(rate), self.target_square)
        nothing = np.full(len(rate), np.nan)
        return Solution(_array(rate), residual, nothing, nothing if measured else np.zeros(0))


@dataclass(frozen=True)
class _Kernel:
    """Eigenvectors of the scaled kernel.

    Attributes:
        values: (M,) eigenvalues, increasing.
        vectors: (M, M) eigenvectors, in columns.
        targets: (M,) times the roots of their weights.
        weights: (M,) of all rows.
        each: R.
    """

    values: Tensor
    vectors: Tensor
    targets: Tensor
    weights: Tensor
    each: int

    def solve(self, rule: Regularisation, measured: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Shares (M,) of the rows in the solution, mean square of what is left, (M,) signal to noise."""
        force = self.vectors.mH @ self.targets  # over the root of the eigenvalue
        ratios = np.zeros(len(force))
        if measured:
            ratios = signal_to_noise(_array(force), _array(self._noise(force)))
        inverse = torch.from_numpy(damped_inverse(_array(self.values), rule, ratios)).to(self.values)
        left = squares((1.0 - self.values * inverse) * force)
        return self.vectors @ (inverse * force), left, torch.from_numpy(ratios).to(self.values)

    def _noise(self, force: Tensor) -> Tensor:
        """Squared standard errors (M,) of the force, each walker a sample."""
        each = self.vectors.conj() * self.targets[:, None]
        samples = each.reshape(-1, self.each, len(force)).sum(1)
        samples -= self.weights[:: self.each, None] * force
        return squares(samples)


def _largest(values: Tensor, count: int) -> Tensor:
    """The last `count` of increasing eigenvalues; those that are missing are 0."""
    found = values.new_zeros(count)
    kept = values[-count:]
    found[count - len(kept) :] = kept
    return found


def _array(values: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = values.resolve_conj().cpu().numpy()
    return found
