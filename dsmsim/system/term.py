"""What a term of the potential is: a function of one position (or one difference of positions) and of time.

Shapes: `r` (..., D) positions or differences, `t` a shape that broadcasts with r[..., 0]; values (...),
gradients (..., D). Everything is differentiable, works under torch.func and keeps dtype and device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dsmsim.system.quench import Parameter


@dataclass(frozen=True)
class Setting:
    """What a term needs to know of the system: D, the mass of one particle and the last time."""

    dimensions: int
    mass: float
    end: float


class TermFunction(ABC):
    """One term with its parameters; a new kind is one subclass and one line in a registry.

    Attributes:
        is_static: False when the value at a fixed position depends on t at some t >= 0.
        breakpoints: times at which it is not smooth in t.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = dict(parameters)
        self.is_static = all(parameter.is_static for parameter in self.parameters.values())
        points = [point for parameter in self.parameters.values() for point in parameter.breakpoints]
        self.breakpoints = tuple(sorted(set(points)))

    def at(self, name: str, t: Tensor) -> Tensor | float:
        """The value of a parameter at times t; parameters per axis carry a trailing dimension."""
        return self.parameters[name](t)

    @abstractmethod
    def value(self, r: Tensor, t: Tensor) -> Tensor:
        """The term at r (..., D) and t: (...)."""

    @abstractmethod
    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        """Its gradient with respect to r: (..., D)."""
