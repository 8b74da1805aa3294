"""[system], [initial]: the bosons, their potential and the state they start from.

i hbar d/dt psi = [-hbar^2 / (2 mass) Laplacian + V(x, t)] psi ,   psi(x, 0) = sqrt(rho_0(x)) exp(i S_0(x))
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag

from dsmsim.config.fields import (
    ExpressionPerAxis,
    PerAxis,
    PerAxisPositive,
    Positive,
    Table,
    broken_rule,
    is_number,
)
from dsmsim.config.interactions import PairInteraction
from dsmsim.config.terms import OneBodyTerm


def _dimensions(value: object) -> object:
    if type(value) is not int or value not in (1, 2, 3):
        raise broken_rule("must be one of 1, 2, 3", "write e.g. dimensions = 1")
    return value


class SystemTable(Table):
    """[system]: how many bosons, in how many dimensions, in which potential."""

    particles: int = Field(ge=1, description="number of bosons N", examples=[2])
    dimensions: Annotated[Literal[1, 2, 3], BeforeValidator(_dimensions)] = Field(
        default=1, description="space dimensions D of each boson"
    )
    hbar: Positive = Field(default=1.0, description="reduced Planck constant (energy time), > 0")
    mass: Positive = Field(default=1.0, description="mass of each boson, > 0")
    trap: OneBodyTerm | None = Field(default=None, description="the trap, a one-body term; absent: none")
    terms: dict[str, OneBodyTerm] = Field(
        default_factory=dict, description="further one-body terms, each under a name of your choice"
    )
    interaction: PairInteraction | None = Field(
        default=None, description="pair interaction (g/2) sum_{i<j} w(x_i - x_j); absent: none"
    )

    @property
    def coordinates(self) -> int:
        """The number n = N D of coordinates of the configuration."""
        return self.particles * self.dimensions

    def one_body_terms(self) -> dict[str, OneBodyTerm]:
        """Every one-body term under its dotted key, the trap first."""
        trap = {} if self.trap is None else {"system.trap": self.trap}
        return trap | {f"system.terms.{name}": term for name, term in self.terms.items()}


class TrapGroundState(Table):
    """Ground state of the harmonic trap without interaction, at its values before any quench.

    A Gaussian of variance hbar / (2 mass omega) per coordinate, at rest at the trap's centre.
    """

    kind: Literal["trap_ground_state"] = Field(
        default="trap_ground_state",
        description="non-interacting ground state of the harmonic trap, before any quench",
    )


class GaussianState(Table):
    """rho_0 = product of Gaussians, S_0 = sum of phase_a x_a, so that v_0 = hbar phase / mass."""

    kind: Literal["gaussian"] = Field(description="Gaussian of given mean, variance and linear phase")
    mean: PerAxis = Field(default=0.0, description="mean position (length), for all axes or one per axis")
    variance: PerAxisPositive = Field(
        description="variance of the density |psi|^2 (length^2), > 0, for all axes or one per axis",
        examples=[0.1],
    )
    phase: PerAxis = Field(
        default=0.0,
        description="k in S_0 = k x (1/length): momentum hbar k; for all axes or one per axis",
    )


def _range(value: object) -> list[float]:
    if not isinstance(value, list) or len(value) != 2 or not all(is_number(entry) for entry in value):
        raise broken_rule("must be a list of two finite numbers", "write [lowest, highest], e.g. [-5.0, 5.0]")
    low, high = (float(entry) for entry in value)
    if not low < high:
        raise broken_rule("the first number must be less than the second", f"write [{high!r}, {low!r}]")
    return [low, high]


class ProductState(Table):
    """psi_0 = product over particles and axes of A(x) exp(i S(x)), normalised by the program."""

    kind: Literal["product"] = Field(
        description="product of one function per axis, given by expressions of x"
    )
    amplitude: ExpressionPerAxis = Field(
        description="A(x) > 0, an expression of x, pi, e (not nec. normalised), for all axes or one per axis",
        examples=["exp(-x**2) + exp(-(x - 1)**2)"],
    )
    phase: ExpressionPerAxis = Field(
        default="0", description="S(x) (radian), an expression of x, pi, e, for all axes or one per axis"
    )
    range: Annotated[list[float], PlainValidator(_range)] = Field(
        description="[lowest, highest] coordinate (length) outside which the density is negligible",
        examples=[[-5.0, 5.0]],
    )


def _kind_of_initial(value: Any) -> str | None:
    kind = value.get("kind", "trap_ground_state") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) else None


InitialState = Annotated[
    Annotated[TrapGroundState, Tag("trap_ground_state")]
    | Annotated[GaussianState, Tag("gaussian")]
    | Annotated[ProductState, Tag("product")],
    Discriminator(_kind_of_initial),
]
