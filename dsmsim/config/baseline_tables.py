"""[baselines]: how the solvers to compare with choose their grids, steps and bases.

"auto" leaves a choice to the solver, which measures: it refines until the results stop changing by more than
`tolerance`: means in units of a standard deviation, variances relative, densities in L1. A number overrules
it. None of this is physics: it is not part of `Config.physics_hash`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.fields import Table, broken_rule, is_number
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
    exact: ExactTable = Field(
        default_factory=ExactTable, description="whichever solver is cheapest for the problem"
    )

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes; "auto" is looked up anew at every call."""
        return memory_for_baselines() if self.memory == "auto" else parse_size(self.memory)
