"""[baselines]: how the solvers to compare with choose their grids, steps and bases.

"auto" leaves a choice to the solver, which measures: it refines until the results stop changing by more than
`tolerance`: means in units of a standard deviation, variances relative, densities in L1. A number overrules
it. None of this is physics: it is not part of `Config.physics_hash`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.fields import NonNegative, Table, broken_rule, is_number
from dsmsim.config.memory import memory_for_baselines, parse_size

Auto = Literal["auto"]
Order = Literal["auto", 2, 4]

LARGEST_COUNT = 1_000_000
_MEMORY = re.compile(r"\s*[0-9]")


def _auto_or_count(least: int, unit: str, example: int) -> PlainValidator:
    """The validator of "auto" or a whole number from `least`."""
    fix = f'write "auto", or a number of {unit}, e.g. {example}'

    def check(value: object) -> int | str:
        if value == "auto":
            return "auto"
        if isinstance(value, bool) or not isinstance(value, int):
            raise broken_rule('must be "auto" or an integer, without quotes', fix)
        if not least <= value <= LARGEST_COUNT:
            raise broken_rule(f'must be "auto", or from {least} to {LARGEST_COUNT}', fix)
        return value

    return PlainValidator(check)


def _auto_or_positive(value: object) -> float | str:
    fix = 'write "auto", or a number > 0'
    if value == "auto":
        return "auto"
    if not is_number(value):
        raise broken_rule('must be "auto" or a finite number, without quotes', fix)
    assert isinstance(value, int | float)
    if not value > 0:
        raise broken_rule('must be "auto", or > 0', fix)
    return float(value)


def _memory(value: object) -> str:
    fix = 'write "auto", or a number and a unit: kB, MB, GB or TB, e.g. "4 GB"'
    if not isinstance(value, str):
        raise broken_rule("must be text in quotes", fix)
    if value != "auto":
        try:
            parse_size(value)
        except ValueError as error:
            raise broken_rule(str(error) if _MEMORY.match(value) else "is no amount of memory", fix) from None
    return value


AutoPoints = Annotated[int | Auto, _auto_or_count(8, "points", 128)]
AutoOneBody = Annotated[int | Auto, _auto_or_count(0, "functions", 6)]
AutoQuanta = Annotated[int | Auto, _auto_or_count(1, "quanta", 40)]
AutoPositive = Annotated[float | Auto, PlainValidator(_auto_or_positive)]
Tolerance = Annotated[float, Field(gt=0, lt=1)]
Memory = Annotated[str, PlainValidator(_memory)]

_TOLERANCE = "largest error estimate to accept (no unit), between 0 and 1"
_EXTENT = 'half width L of the box [-L, L) on every axis (length), > 0; "auto": the cloud stays inside'
_STEP = 'longest time step (time), > 0; "auto": halved until it no longer matters'
_GRID = 'grid points per coordinate, >= 8; "auto": raised until they no longer matter'


class SplitStepTable(Table):
    """[baselines.split_step]: the Fourier grid, for any smooth potential and few coordinates."""

    grid: AutoPoints = Field(default="auto", description=_GRID)
    extent: AutoPositive = Field(default="auto", description=_EXTENT)
    dt: AutoPositive = Field(default="auto", description=_STEP)
    order: Order = Field(default="auto", description='order of a time step; "auto": the cheaper one')
    tolerance: Tolerance = Field(default=1e-4, description=_TOLERANCE)


class CrankNicolsonTable(Table):
    """[baselines.crank_nicolson]: finite differences by directions, up to four coordinates."""

    grid: AutoPoints = Field(default="auto", description=_GRID)
    extent: AutoPositive = Field(default="auto", description=_EXTENT)
    dt: AutoPositive = Field(default="auto", description=_STEP)
    space_order: Literal[4, 2] = Field(
        default=4, description="order of the second derivative; 4: compact (Numerov); 2: as published"
    )
    time_order: Order = Field(default="auto", description='order of a time step; "auto": the cheaper one')
    tolerance: Tolerance = Field(default=1e-3, description=_TOLERANCE)


class RelativeGridTable(Table):
    """[baselines.relative_grid]: the centre of mass exactly, relative coordinates on sinc grids."""

    spacing: AutoPositive = Field(
        default="auto",
        description="distance of grid points in relative coordinates (length) at its widest, as the grid "
        'breathes, > 0; "auto": by refinement',
    )
    dt: AutoPositive = Field(default="auto", description=_STEP)
    tolerance: Tolerance = Field(default=1e-4, description=_TOLERANCE)


class FockTable(Table):
    """[baselines.fock]: bosons in oscillator orbitals, all states up to an energy cutoff."""

    cutoff: AutoQuanta = Field(
        default="auto",
        description='most quanta hbar omega of a state, summed over the bosons, >= 1; "auto": by refinement',
    )
    basis: Literal["auto", "lab", "breathing"] = Field(
        default="auto",
        description="lab: orbitals at rest; breathing: they follow the cloud; auto: what needs fewer quanta",
    )
    tolerance: Tolerance = Field(default=1e-4, description=_TOLERANCE)


class ExactTable(Table):
    """[baselines.exact]: the solver that is cheapest for the problem at hand."""

    tolerance: Tolerance = Field(default=1e-4, description=_TOLERANCE)


class TvmcTable(Table):
    """[baselines.tvmc]: time-dependent variational Monte Carlo."""

    ansatz: Literal["jastrow", "hermite", "python"] = Field(
        default="jastrow",
        description="jastrow: log psi linear in its parameters, one-body and pair functions; hermite: as "
        "published, Hermite functions and their symmetrised products; python: a function of your own",
    )
    function: str | None = Field(
        default=None,
        description='python: "module:function", which builds the ansatz; see the documentation of t-VMC',
        examples=["my_ansatz:build"],
    )
    pair_functions: int = Field(
        default=6, ge=0, le=16, description="jastrow: Gaussians of the distance, besides its square"
    )
    three_body_functions: int = Field(
        default=2,
        ge=0,
        le=16,
        description="jastrow: how many of the pair functions make three-body products, from three bosons on",
    )
    one_body_functions: AutoOneBody = Field(
        default="auto",
        description='jastrow: Gaussians of a coordinate, besides x and x^2; "auto": none in harmonic traps',
    )
    n_max: int = Field(default=20, ge=0, le=60, description="hermite: highest order of the functions")
    walkers: int = Field(default=8192, ge=64, description="configurations, over all ranks")
    sampling: Literal["transport", "metropolis"] = Field(
        default="transport",
        description="transport: walkers move with the flow and are weighted by |psi|^2 over their density; "
        "metropolis: they count the same after the sweeps, which must suffice",
    )
    sweeps: int = Field(default=2, ge=0, description="Metropolis sweeps over all walkers after each step")
    integrator: Literal["rk4", "heun", "euler", "adaptive"] = Field(
        default="adaptive", description="of the parameters in time; adaptive: embedded pair of orders 5 and 4"
    )
    dt: AutoPositive = Field(
        default="auto",
        description='time step (time), > 0; the first where steps adapt; "auto": 1/50 of the '
        "initial cloud's own time",
    )
    tolerance: Tolerance = Field(
        default=1e-4, description="adaptive: largest distance of states that a step may be wrong by (no unit)"
    )
    cutoff: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=1e-5,
        description="soft cut-off of the eigenvalues of the scaled quantum geometric tensor, relative to the "
        "largest; 0: none",
    )
    diagonal_shift: NonNegative = Field(
        default=0.0, description="added to the diagonal of the scaled quantum geometric tensor"
    )
    snr: NonNegative = Field(
        default=0.0, description="directions whose force is below `snr` standard errors are damped; 0: none"
    )


@dataclass(frozen=True)
class _Suited:
    """Defaults of [baselines.pinn] that depend on its form and optimiser."""

    width: int
    epochs: int
    points: int
    precision: str


_PINN_SUITED = {
    "gauss_newton": _Suited(20, 100, 2048, "float32"),
    "adam": _Suited(32, 4000, 1024, "float32"),
    "published": _Suited(300, 30000, 20000, "float64"),
}


def _pinn_optimizer(table: dict[str, Any]) -> Literal["gauss_newton", "adam"]:
    return "adam" if table.get("form") == "published" else "gauss_newton"


def _suited(key: str) -> Callable[[dict[str, Any]], Any]:
    """Default of a key, once form and optimiser are known."""

    def default(table: dict[str, Any]) -> Any:
        published = table.get("form") == "published"
        kind = "published" if published else table.get("optimizer", "gauss_newton")
        return getattr(_PINN_SUITED[kind], key)

    return default


class PinnTable(Table):
    """[baselines.pinn]: a network for psi, trained on the residual of the Schroedinger equation."""

    form: Literal["hard", "published"] = Field(
        default="hard",
        description="hard: psi = psi_0 exp(t net), points follow the density; published: net for the real "
        "and the imaginary part, uniform points in a box, initial condition and boundary in the loss",
    )
    optimizer: Literal["gauss_newton", "adam"] = Field(
        default_factory=_pinn_optimizer,
        description="gauss_newton: least squares with memory, for up to a few thousand parameters; adam; "
        "absent: gauss_newton for hard; published knows adam alone",
    )
    width: int = Field(
        default_factory=_suited("width"),
        ge=1,
        le=4096,
        description="width of the hidden layers; absent: what suits form and optimiser, as for `epochs`, "
        "`points` and `precision`",
    )
    depth: int = Field(
        default=2, ge=1, le=16, description="hard: hidden layers; those of published are fixed"
    )
    gaussians: int = Field(
        default=4,
        ge=0,
        le=16,
        description="hard: Gaussians of distances as features, the narrowest as wide as the initial cloud, "
        "each next one twice as wide",
    )
    epochs: int = Field(default_factory=_suited("epochs"), ge=1, description="steps of the optimiser")
    points: int = Field(
        default_factory=_suited("points"), ge=64, description="points of the residual in each step"
    )
    learning_rate: AutoPositive = Field(
        default="auto",
        description='largest rate of adam, factor of the steps of gauss_newton, > 0; "auto": 5e-3 for adam, '
        "1 for gauss_newton; published: 5e-5, or 1e-3 for a single particle",
    )
    precision: Literal["float32", "float64"] = Field(
        default_factory=_suited("precision"), description="floating-point numbers in training"
    )
    tolerance: Tolerance = Field(
        default=0.5, description="bound on the error of psi (in L2, no unit) above which there is a warning"
    )
    box: AutoPositive = Field(
        default="auto",
        description='published: half width of the box (length), > 0; "auto": 1.5, or 2 for a single particle',
    )
    collocation: int = Field(
        default=60000, ge=64, description="published: all points of the residual, a Latin hypercube"
    )
    initial_points: int = Field(default=1000, ge=1, description="published: points of the initial condition")
    boundary_points: int = Field(default=300, ge=1, description="published: points on the box's faces")
    restore_order: bool = Field(
        default=True,
        description="published, two particles: whether the outputs are put back in the order of the unsorted "
        "particles, as the published program does: it exchanges real and imaginary part",
    )


class BaselinesTable(Table):
    """[baselines]: solvers to compare with, for `dsmsim baseline` and [compare]."""

    memory: Memory = Field(
        default="auto",
        description='most memory that a solver may use, e.g. "4 GB"; "auto": 80 % of what is free',
    )
    split_step: SplitStepTable = Field(
        default_factory=SplitStepTable, description="Fourier split step, up to four coordinates"
    )
    crank_nicolson: CrankNicolsonTable = Field(
        default_factory=CrankNicolsonTable, description="finite differences, up to four coordinates"
    )
    relative_grid: RelativeGridTable = Field(
        default_factory=RelativeGridTable, description="harmonic traps: a grid of relative coordinates"
    )
    fock: FockTable = Field(
        default_factory=FockTable, description="one dimension: bosonic Fock space, any smooth potential"
    )
    tvmc: TvmcTable = Field(default_factory=TvmcTable, description="time-dependent variational Monte Carlo")
    pinn: PinnTable = Field(default_factory=PinnTable, description="physics-informed network for psi")
    exact: ExactTable = Field(
        default_factory=ExactTable, description="whichever solver is cheapest for the problem"
    )

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes; "auto" is looked up anew at every call."""
        return memory_for_baselines() if self.memory == "auto" else parse_size(self.memory)
