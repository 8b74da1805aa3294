"""What the optimisers remember, and what an epoch costs, one by one.

Symbols: p parameters, J the Jacobian of the residuals of all points.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from dsmsim.config.engine_costs import MAPPED_BYTES, EngineCosts

DOUBLE = 8  # bytes of a number


class OptimizerCosts(ABC):
    """One optimiser.

    Args:
        engine: what the loss costs.
    """

    evaluations = 1  # losses with gradient in an epoch, at most

    def __init__(self, engine: EngineCosts) -> None:
        self.engine = engine
        self.parameters = engine.networks * engine.network.parameters()

    @abstractmethod
    def remembered(self) -> int:
        """Numbers that it keeps from epoch to epoch, and that a checkpoint holds."""

    def passing(self) -> int:
        """Numbers of the gradient and of everything that a step takes besides."""
        return 4 * self.parameters

    def memory(self, points: int, ranks: int) -> int:
        """Bytes at the peak of an epoch's losses and gradients."""
        return self.engine.memory(points)

    def multiply_adds(self, points: int) -> int:
        """Of an epoch over so many points, the losses included."""
        return self.evaluations * points * self.engine.multiply_adds()


class AdamCosts(OptimizerCosts):
    """Two moments."""

    def remembered(self) -> int:
        return 2 * self.parameters


class SoapCosts(OptimizerCosts):
    """Two moments, and for the smaller side of every weight (both if equal) an average and a basis."""

    def remembered(self) -> int:
        bases = sum(2 * count * side**2 for sides, count in self._sides() for side in sides)
        return 2 * self.parameters + self.engine.networks * bases

    def passing(self) -> int:
        largest = max((side for sides, _ in self._sides() for side in sides), default=0)
        return super().passing() + 6 * largest**2

    def _sides(self) -> list[tuple[list[int], int]]:
        """The sides that are turned, of every weight of one network as a matrix, and how many there are."""
        found = []
        for shape, count in self.engine.network.shapes():
            if len(shape) > 1:
                half = len(shape) // 2
                sides = math.prod(shape[:half]), math.prod(shape[half:])
                found.append(([side for side in sides if side == min(sides)], count))
        return found


class QuasiNewtonCosts(OptimizerCosts):
    """L-BFGS: pairs of steps and changes of the gradient."""

    evaluations = 27  # 20 steps of at most 5/4 evaluations, and one before and after
    PAIRS = 20

    def remembered(self) -> int:
        return 2 * self.PAIRS * self.parameters

    def passing(self) -> int:
        return 12 * self.parameters


class GaussNewtonCosts(OptimizerCosts):
    """A normal matrix of all parameters in double precision; while it works the Jacobian of all points."""

    CHUNK = 128  # points whose Jacobian is taken at a time
    VALUES_CHUNK = 512  # points whose residuals are taken at a time
    COPIES = 4  # of the Jacobian: as joined from its chunks, centred, weighted, and in one piece

    def remembered(self) -> int:
        return DOUBLE // self.engine.size * self.parameters * (self.parameters + 1)

    def memory(self, points: int, ranks: int) -> int:
        p, rows = self.parameters, self._rows(points)
        jacobian = self.engine.size * rows * p
        # of a few points also the Jacobian in the weights themselves, dense where layers are decomposed
        dense = self.engine.networks * self.engine.network.parameters(dense=True)
        chunk = self.engine.size * min(points, self.CHUNK) * (2 * rows // max(points, 1) + 3) * max(p, dense)
        # with its damping, its factor, and what the solver copies of that
        solving = 3 * DOUBLE * p**2
        passing = (self.COPIES - 1) * jacobian
        if jacobian < MAPPED_BYTES:  # the copies stay in the heap
            solving += passing
        values = self.engine.size * math.ceil(min(points, self.VALUES_CHUNK) * self.engine.values())
        return jacobian + max(passing, chunk, solving) + values

    def multiply_adds(self, points: int) -> int:
        p, rows = self.parameters, self._rows(points)
        # a third of the engine's cost is the residual, and every row is a reverse pass of twice that
        residuals = (points + 2 * rows) * self.engine.multiply_adds() // 3
        return residuals + rows * p**2 + p**3 // 6

    def _rows(self, points: int) -> int:
        """Residuals of so many points, both equations."""
        return 2 * self.engine.numbers_per_point() * points


OPTIMIZER_COSTS: dict[str, type[OptimizerCosts]] = {
    "adam": AdamCosts,
    "soap": SoapCosts,
    "lbfgs": QuasiNewtonCosts,
    "gauss_newton": GaussNewtonCosts,
}


def optimizer_costs(engine: EngineCosts) -> OptimizerCosts:
    """The costs of `train.optimizer`."""
    return OPTIMIZER_COSTS[engine.config.train.optimizer](engine)
