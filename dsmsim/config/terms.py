"""One-body terms of the potential, V(x, t) = sum over particles i and terms of V_term(x_i, t), and quenches.

Every kind is one class: its docstring gives the potential of one particle at position x (D numbers). Units
are the input's: lengths, times, `hbar` and `mass` in one consistent system, energies in hbar / time.

A quench changes one number of a term in time: the value is the term's own before `start`, `to` from
`start + duration` on, and in between it follows `shape`. With `duration = 0` it jumps AT `start`: the new
value holds for t >= start, also for start = 0, while the initial state still uses the old value.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dsmsim.config.fields import (
    NonNegative,
    PerAxis,
    PerAxisNonNegative,
    Positive,
    Table,
    Target,
)


class Quench(Table):
    """A change of one number of a term in time, [system.trap.quench.NAME]."""

    to: PerAxis = Field(
        description="value after the change (units of the number that changes)", examples=[2.0]
    )
    start: NonNegative = Field(default=0.0, description="when the change begins (time)")
    duration: NonNegative = Field(default=0.0, description="how long it takes (time); 0 is a jump at start")
    shape: Literal["linear", "smooth"] = Field(
        default="linear",
        description="linear: straight line; smooth: 3 s^2 - 2 s^3 with s = (t - start) / duration",
    )


class Term(Table):
    """What all terms share: numbers that may be quenched, and numbers that may differ by axis."""

    quenchable: ClassVar[tuple[str, ...]] = ()
    by_axis: ClassVar[tuple[str, ...]] = ()

    quench: dict[str, Quench] = Field(
        default_factory=dict,
        description="changes in time, one table per number of this term: [... .quench.NAME]",
    )

    def quenchable_names(self) -> list[str]:
        """The numbers of this term that a quench may change."""
        return [*self.quenchable, *getattr(self, "parameters", {})]


class HarmonicTerm(Term):
    """V = 1/2 mass sum_a omega_a^2 (x_a - center_a)^2."""

    quenchable: ClassVar[tuple[str, ...]] = ("omega", "center")
    by_axis: ClassVar[tuple[str, ...]] = ("omega", "center")

    kind: Literal["harmonic"] = Field(description="harmonic trap: 1/2 mass omega^2 (x - center)^2")
    omega: PerAxisNonNegative = Field(
        description="angular frequency (1/time), >= 0, for all axes or one per axis", examples=[1.0]
    )
    center: PerAxis = Field(
        default=0.0, description="position of the minimum (length), for all axes or one per axis"
    )


class DoubleWellTerm(Term):
    """V = barrier (((x_axis - center) / half_distance)^2 - 1)^2: minima of 0 at center +- half_distance."""

    quenchable: ClassVar[tuple[str, ...]] = ("barrier", "half_distance", "center")

    kind: Literal["double_well"] = Field(
        description="double well along one axis: barrier (((x - center) / half_distance)^2 - 1)^2"
    )
    barrier: Positive = Field(description="height between the wells (energy), > 0", examples=[0.1])
    half_distance: Positive = Field(
        description="distance from the centre to each minimum (length), > 0", examples=[1.0]
    )
    axis: int = Field(default=0, ge=0, description="axis of the double well, counted from 0")
    center: float = Field(default=0.0, description="position of the barrier along that axis (length)")


class GaussianTerm(Term):
    """V = amplitude exp(-|x - center|^2 / (2 width^2))."""

    quenchable: ClassVar[tuple[str, ...]] = ("amplitude", "width", "center")
    by_axis: ClassVar[tuple[str, ...]] = ("center",)

    kind: Literal["gaussian"] = Field(
        description="Gaussian hill or dip: amplitude exp(-|x - center|^2 / (2 width^2))"
    )
    amplitude: float = Field(description="height (energy); negative makes a dip", examples=[0.5])
    width: Positive = Field(description="standard deviation (length), > 0", examples=[0.3])
    center: PerAxis = Field(default=0.0, description="position (length), for all axes or one per axis")


class LatticeTerm(Term):
    """V = depth sum_a sin^2(wavenumber_a x_a + phase)."""

    quenchable: ClassVar[tuple[str, ...]] = ("depth", "wavenumber", "phase")
    by_axis: ClassVar[tuple[str, ...]] = ("wavenumber",)

    kind: Literal["lattice"] = Field(
        description="optical lattice: depth sum_a sin^2(wavenumber_a x_a + phase)"
    )
    depth: float = Field(description="depth (energy)", examples=[0.1])
    wavenumber: PerAxis = Field(
        description="wavenumber (1/length), for all axes or one per axis; the period is pi/wavenumber",
        examples=[3.0],
    )
    phase: float = Field(default=0.0, description="phase (radian)")


class ExpressionTerm(Term):
    """V = an expression of x, y, z (as many as there are dimensions) and t."""

    kind: Literal["expression"] = Field(description="potential given by an expression of x, y, z and t")
    expression: str = Field(
        description="potential of one particle (energy), an expression of x (y, z), t, pi, e and "
        "the parameters",
        examples=["0.5 * k * x**4"],
    )
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="named numbers of the expression; a quench may change them",
        examples=[{"k": 1.0}],
    )


class PythonTerm(Term):
    """V = target(r, t, **parameters): torch tensors, r of shape (..., D) and t of (...); returns (...)."""

    kind: Literal["python"] = Field(description="potential computed by a Python function on torch tensors")
    target: Target = Field(
        description='"module:callable", or a name in the entry-point group "dsmsim.potentials"; '
        "callable(r (..., D), t (...), **parameters) -> (...)",
        examples=["my_package.potentials:ring"],
    )
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="keyword arguments of the function; a quench may change them",
        examples=[{"radius": 1.0}],
    )


OneBodyTerm = Annotated[
    HarmonicTerm | DoubleWellTerm | GaussianTerm | LatticeTerm | ExpressionTerm | PythonTerm,
    Field(discriminator="kind"),
]
