"""[march]: how fields are followed step by step in time, where train.mode = "march".

At every time d theta/dt solves a regularised least-squares problem over an ensemble of walkers, and walkers
and parameters move together; see `dsmsim.march`. The equations of many parameters are scaled to a unit
diagonal, and numbers such as `cutoff` are relative to that.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.baseline_tables import AutoOneBody, AutoPositive, Tolerance
from dsmsim.config.fields import NonNegative, Table, broken_rule, is_number


def _temperature(value: object) -> float | str:
    fix = 'write "auto", or a number >= 1, e.g. 1.5'
    if value == "auto":
        return "auto"
    if not is_number(value):
        raise broken_rule('must be "auto" or a finite number, without quotes', fix)
    assert isinstance(value, int | float)
    if not value >= 1:
        raise broken_rule('must be "auto", or >= 1', fix)
    return float(value)


Temperature = Annotated[float | Literal["auto"], PlainValidator(_temperature)]


FEW_COORDINATES, MANY_WALKERS = 6, 4096  # beyond so many coordinates, so many walkers where none are given


class MarchTable(Table):
    """[march]: ansatz, walkers, integrator and solver of the march in time."""

    ansatz: Literal["cluster", "network"] = Field(
        default="cluster",
        description="cluster: products over pairs of complex amplitudes of the distance, times an amplitude "
        "of collective variables, a few dozen parameters; network: the network of [network] itself, without "
        "a time of its own",
    )
    walkers: int = Field(
        default=2048,
        ge=64,
        le=2**30,
        description="configurations, over all ranks; a multiple of block, at least two blocks; absent: 2048 "
        "for up to six coordinates, 4096 for more",
    )
    block: int = Field(
        default=256, ge=2, description="walkers per random-number block, whatever the number of ranks"
    )
    draws: Literal["sobol", "independent", "antithetic"] = Field(
        default="sobol",
        description="how walkers are drawn at t = 0; sobol: low-discrepancy points; antithetic: in mirrored "
        "pairs, and block even",
    )
    temperature: Temperature = Field(
        default="auto",
        description="walkers follow |psi|^(2 / temperature), >= 1 (no unit), and are weighted: a wider cloud "
        'decides better what happens far out and near nodes; "auto": 70 % of the walkers count',
    )
    integrator: Literal["adaptive", "rk4", "heun", "euler"] = Field(
        default="rk4",
        description="of parameters and walkers in time; adaptive: embedded pair of orders 5 and 4",
    )
    tolerance: Tolerance = Field(
        default=1e-3, description="adaptive: largest distance of states that a step may be wrong by (no unit)"
    )
    dt: AutoPositive = Field(
        default="auto",
        description='time step (time), > 0; the first where steps adapt; "auto": 1/64 of the own time of the '
        "initial cloud, and less where the local energy fluctuates more",
    )
    solver: Literal["auto", "eigen", "sample_space", "cg"] = Field(
        default="auto",
        description="of the least-squares problem; eigen: a matrix of all parameters; sample_space: one of "
        "all equations of all walkers; cg: conjugate gradients without a matrix, needs a diagonal_shift; "
        "auto: eigen or sample_space, whichever needs fewer operations, and for more than 4096 of both "
        "cg where it can",
    )
    cutoff: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=1e-6,
        description="eigen, sample_space: soft cut-off of the eigenvalues of the scaled metric tensor, "
        "relative to the largest; 0: none",
    )
    diagonal_shift: NonNegative = Field(
        default=0.0, description="added to the diagonal of the scaled metric tensor (no unit), >= 0"
    )
    snr: NonNegative = Field(
        default=0.0,
        description="eigen, sample_space: directions whose force is below `snr` standard errors are damped; "
        "0: none",
    )
    nu: NonNegative = Field(
        default=4.0,
        description="diffusion (no unit), >= 0, of the Langevin steps dX = nu u dt + sqrt(nu hbar / mass) dW "
        "at fixed fields, which relax the walkers to |psi|^2 after each time step; 0: flow alone",
    )
    substeps: int = Field(default=1, ge=1, description="Langevin steps after each time step (nu > 0)")
    metropolis: bool | None = Field(
        default=None,
        description="whether Langevin steps are accepted or rejected so that they leave |psi|^2 exact, which "
        "needs a known density; absent: they are, where the fields know it",
        examples=[True],
    )
    redraw: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5,
        description="effective fraction of the walkers (no unit) below which they are drawn anew by their "
        "weights, where the fields know their density; 0: never",
    )
    pair_functions: int = Field(
        default=8, ge=0, le=32, description="cluster: functions of the distance in the amplitude of a pair"
    )
    collective_functions: int = Field(
        default=2,
        ge=0,
        le=8,
        description="cluster: functions of the distance by which collective variables say what a particle "
        "sees of all others, from three bosons on",
    )
    collective_order: int = Field(
        default=2, ge=1, le=2, description="cluster: order of the polynomial in the collective variables"
    )
    one_body_functions: AutoOneBody = Field(
        default="auto",
        description="cluster: functions of a coordinate in the amplitude of a particle; in two and three "
        'dimensions their products up to that total degree; "auto": none for a Gaussian cloud in a harmonic '
        "trap, else 8",
    )
