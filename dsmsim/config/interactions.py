"""Pair interactions: V(x, t) = (g/2) sum_{i<j} w(x_i - x_j).

Each unordered pair counts ONCE, with weight g/2. Published texts write (1/2) g sum_{i,j}, but the published
code and every published figure mean this: two bosons with hbar = 0.1, mass = omega = g = 1 and s2 = 0.1 have
an exact variance of 0.2274 at t = 1 (with the full weight g per pair it would be 0.4870).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dsmsim.config.fields import Positive, Target
from dsmsim.config.terms import Term


class PairTerm(Term):
    """What all pair interactions share: the coupling g."""

    quenchable: ClassVar[tuple[str, ...]] = ("g",)

    g: float = Field(
        description="coupling; each unordered pair counts once with weight g/2; positive repels for w > 0",
        examples=[1.0],
    )


class GaussianPair(PairTerm):
    """w = (2 pi s2)^(-1/2) exp(-|r|^2 / (2 s2)): the prefactor of one dimension, in every dimension."""

    quenchable: ClassVar[tuple[str, ...]] = ("g", "s2")

    kind: Literal["gaussian"] = Field(
        description="w = (2 pi s2)^(-1/2) exp(-|r|^2 / (2 s2)), with this prefactor in every dimension"
    )
    s2: Positive = Field(
        description="variance of the Gaussian (length^2; not its width), > 0", examples=[0.1]
    )


class HarmonicPair(PairTerm):
    """w = |r|^2: exactly solvable for any number of particles in a harmonic trap."""

    kind: Literal["harmonic"] = Field(description="w = |r|^2")


class ExpressionPair(PairTerm):
    """w = an expression of r = x_i - x_j: its components x, y, z, its square r2 = |r|^2, and t."""

    kind: Literal["expression"] = Field(description="w given by an expression of r = x_i - x_j")
    expression: str = Field(
        description="w of one pair, an expression of x (y, z) = components of r, r2 = |r|^2, t, pi, e and "
        "the parameters; it must not change under r -> -r",
        examples=["1 / sqrt(r2 + a**2)"],
    )
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="named numbers of the expression; a quench may change them",
        examples=[{"a": 0.3}],
    )


class PythonPair(PairTerm):
    """w = target(r, t, **parameters): torch tensors, r of shape (..., D) and t of (...); returns (...)."""

    kind: Literal["python"] = Field(description="w computed by a Python function on torch tensors")
    target: Target = Field(
        description='"module:callable", or a name in the entry-point group "dsmsim.interactions"; '
        "callable(r (..., D), t (...), **parameters) -> (...); it must not change under r -> -r",
        examples=["my_package.interactions:soft_core"],
    )
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="keyword arguments of the function; a quench may change them",
        examples=[{"radius": 0.3}],
    )


PairInteraction = Annotated[
    GaussianPair | HarmonicPair | ExpressionPair | PythonPair, Field(discriminator="kind")
]
