"""The tables that say how the answer is found: [time], [network], [sampler], [train] and so on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.fields import (
    Duration,
    NonNegative,
    Positive,
    Table,
    broken_rule,
    is_number,
    parse_duration,
)
from dsmsim.config.tensor_table import TensorTable

MOST_SAVED_TIMES = 1_000_000
WIDEST_NETWORK = 1_048_576
MOST_SOBOL = 21_201  # coordinates for which scipy knows direction numbers
DEFAULT_KIND = "potential"
# networks of the wave function's logarithm; the others are networks of the velocities
POTENTIAL_KINDS = ("potential", "functional_tt")
DEFAULT_WIDTH = 20
# two bosons, g = 1, to t = 1: 1.0, 1.5, 2.0, 3.0 give variances to 0.4, 0.3, 1.1, 5 %, velocities best at 1.5
DEFAULT_GAUSSIAN_WIDTH = 1.5


def _save(value: object) -> int | list[float]:
    fix = "write the number of equidistant times, e.g. 101, or the times themselves, e.g. [0.0, 0.5, 1.0]"
    if isinstance(value, int) and not isinstance(value, bool):
        if not 2 <= value <= MOST_SAVED_TIMES:
            raise broken_rule(f"the number of times must be from 2 to {MOST_SAVED_TIMES}", fix)
        return value
    if not isinstance(value, list) or not value or not all(is_number(entry) for entry in value):
        raise broken_rule("must be an integer >= 2, or a list of finite numbers", fix)
    if len(value) > MOST_SAVED_TIMES:
        raise broken_rule(f"there must be at most {MOST_SAVED_TIMES} times", fix)
    for before, after in itertools.pairwise(value):
        if not after > before:
            raise broken_rule(
                f"the times must increase, but {after!r} follows {before!r}", "sort them, each once"
            )
    return [float(entry) for entry in value]


class TimeTable(Table):
    """[time]: the interval [0, end], its steps, and the times at which results are kept."""

    end: Positive = Field(description="last time (time), > 0; the first is 0", examples=[1.0])
    steps: int = Field(default=16, ge=1, description="steps of the sampler's integrator over [0, end]")
    save: Annotated[int | list[float], PlainValidator(_save)] = Field(
        default=101,
        description="times in results.h5: their number (equidistant, with 0 and end), or an increasing list",
    )

    @property
    def save_times(self) -> list[float]:
        """The times in results.h5, increasing."""
        if isinstance(self.save, list):
            return list(self.save)
        last = self.save - 1
        return [self.end * (index / last) for index in range(self.save)]


def _default_width(table: dict[str, Any]) -> int:
    return DEFAULT_WIDTH if table.get("kind", DEFAULT_KIND) in POTENTIAL_KINDS else 48


class NetworkTable(Table):
    """[network]: what makes the velocity fields u(x, t) and v(x, t)."""

    kind: Literal["mlp", "equivariant", "sorted", "potential", "functional_tt"] = Field(
        default="potential",
        description="potential: one network for psi = exp(R + iS), symmetric and free of curl; "
        "functional_tt: the same as a tensor train over the particles, for many of them; mlp: plain, one "
        "network for u and one for v; equivariant: the same, permutation symmetric by features; sorted: "
        "as published, in one dimension, only to reproduce it: it converges to wrong answers",
    )
    width: int = Field(
        default_factory=_default_width,
        ge=1,
        le=WIDEST_NETWORK,
        description="width of the hidden layers; absent: 20 for a potential or functional_tt, 48 otherwise",
    )
    blocks: int = Field(
        default=1,
        ge=1,
        description="number of residual blocks: two hidden layers each; in a potential one for particles and "
        "one for pairs",
    )
    bond_rank: int = Field(
        default=4, ge=1, le=256, description="functional_tt: bond rank of the ring over the particles"
    )
    messages: bool = Field(
        default=True,
        description="potential: whether a particle's part depends on all the others, or ends at pairs",
    )
    initial: Literal["exact", "learned"] = Field(
        default="exact",
        description="exact: u = u_0 + t net, v = v_0 + t net; learned: by the loss, with weight train.gamma",
    )
    frame: Literal["lab", "comoving"] = Field(
        default="lab",
        description="lab: lengths and times in fixed units; comoving: in those of a freely spreading packet, "
        "for a narrow start or a released cloud that grows to many times its first width",
    )
    tensor: TensorTable | None = Field(default=None, description="decomposed hidden layers; absent: dense")


class SamplerTable(Table):
    """[sampler]: dX = (v + nu u) dt + sqrt(nu hbar / mass) dW, whose density is |psi|^2 for any nu."""

    scheme: Literal["heun", "euler"] = Field(
        default="heun", description="heun: weak order 2 in the drift; euler: Euler-Maruyama, weak order 1"
    )
    nu: NonNegative = Field(
        default=1.0,
        description="diffusion of the sampling process (no unit), >= 0; 1: Nelson's, 0: flow without noise",
    )


@dataclass(frozen=True)
class Suited:
    """What suits an optimiser: the defaults of [train] that depend on it."""

    epochs: int
    trajectories: int
    points: int
    block: int
    learning_rate: float
    schedule: str
    warmup: int


SHORTER_POLISH = 15  # times fewer epochs after a march than from the start
DEFAULT_OPTIMIZER = "gauss_newton"
SUITED = {
    "gauss_newton": Suited(120, 64, 1024, 32, 1.0, "trapezoid", 0),
    "lbfgs": Suited(100, 64, 2048, 32, 1.0, "constant", 0),
    "soap": Suited(1000, 32, 1024, 8, 1e-2, "cosine", 50),
    "adam": Suited(4000, 32, 1024, 8, 3e-3, "cosine", 50),
}


def _suited(key: str) -> Callable[[dict[str, Any]], Any]:
    """Default of a key, once the optimiser is known."""
    return lambda table: getattr(SUITED[table.get("optimizer", DEFAULT_OPTIMIZER)], key)


def _epochs(table: dict[str, Any]) -> int:
    """Default of `epochs`: networks that have learnt marched fields need few."""
    usual = SUITED[table.get("optimizer", DEFAULT_OPTIMIZER)].epochs
    return max(1, usual // SHORTER_POLISH) if table.get("polish") is True else usual


class TrainTable(Table):
    """[train]: the loss L = alpha L_score + beta L_newton + gamma L_initial and how it is minimised."""

    mode: Literal["global", "march"] = Field(
        default="global",
        description="global: one network for all times, trained by the loss; march: fields follow their "
        "equations of motion step by step, as [march] says, and the other keys of [train] are read only with "
        "polish = true",
    )
    polish: bool = Field(
        default=False,
        description="march: whether the network of [network] is then trained globally, started from the "
        "fields that were found",
    )
    optimizer: Literal["gauss_newton", "soap", "adam", "lbfgs"] = Field(
        default="gauss_newton",
        description="gauss_newton: recursive least squares, for up to a few thousand parameters; soap: Adam "
        "in the eigenbasis of Shampoo; adam; lbfgs: quasi-Newton, several steps on each batch; absent: "
        "gauss_newton for network.kind = potential, soap for the others",
    )
    epochs: int = Field(
        default_factory=_epochs,
        ge=1,
        description="optimiser steps; absent: what suits the optimiser, as for the next six keys",
    )
    trajectories: int = Field(
        default_factory=_suited("trajectories"), ge=1, description="trajectories per epoch, over all ranks"
    )
    points: int = Field(
        default_factory=_suited("points"),
        ge=1,
        description="residual points per epoch, over all ranks; a multiple of trajectories",
    )
    block: int = Field(
        default_factory=_suited("block"),
        ge=1,
        description="trajectories per random-number block; must divide trajectories; those of a potential "
        "share their times",
    )
    learning_rate: Positive = Field(
        default_factory=_suited("learning_rate"),
        description="largest learning rate, > 0; for gauss_newton and lbfgs a factor of the step",
    )
    schedule: Literal["cosine", "trapezoid", "exponential", "constant"] = Field(
        default_factory=_suited("schedule"),
        description="learning rate after the warm-up: cosine to zero; trapezoid: constant, then linearly to "
        "zero over the last 30 %; exponential to a hundredth; constant",
    )
    warmup: int = Field(
        default_factory=_suited("warmup"),
        ge=0,
        description="epochs of linear increase of the learning rate; less than epochs",
    )
    reuse: int = Field(
        default=1, ge=1, description="largest number of optimiser steps on the same trajectories"
    )
    staleness: Positive = Field(
        default=0.1,
        description="change of the drift (rms, in its natural unit) after which trajectories are drawn anew "
        "before reuse is used up",
    )
    clip: Positive = Field(default=1.0, description="largest norm of the gradient, > 0 (soap and adam)")
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="floating-point numbers of the networks and the loss"
    )
    engine: Literal["auto", "fused", "torch_func"] = Field(
        default="auto",
        description="what differentiates the network; auto: the hand-derived engine where there is one; "
        "torch_func: generic and slow, for any network",
    )
    divergence: Literal["exact", "hutchinson"] = Field(
        default="exact",
        description="div and grad div; exact; hutchinson: two independent random probes a point, unbiased, "
        "for very many coordinates",
    )
    causal: NonNegative = Field(
        default=0.0,
        description="weight exp(-causal * loss before t) of the residuals at t: early times first; 0: off",
    )
    target_loss: Positive | None = Field(
        default=None,
        description="training ends early once the loss stays below it; absent: never",
        examples=[1e-4],
    )
    form: Literal["gradient", "convective"] = Field(
        default="gradient",
        description="gradient: each right-hand side is the gradient of one scalar, as published; convective: "
        "(u.grad)u - (v.grad)v",
    )
    alpha: NonNegative = Field(default=1.0, description="weight of the score residual, >= 0")
    beta: NonNegative = Field(default=1.0, description="weight of the Newton residual, >= 0")
    gamma: NonNegative = Field(
        default=1.0, description="weight of the initial loss, >= 0 (network.initial = learned)"
    )
    times: Literal["stratified", "uniform"] = Field(
        default="stratified",
        description="times of the residual points: one in each equal slice, or independent",
    )
    points_from: Literal["trajectories", "gaussian"] = Field(
        default="trajectories",
        description="where the residual points lie: on trajectories of the networks; gaussian: drawn from "
        "one fixed Gaussian at all times, the published ablation",
    )
    gaussian_width: Positive = Field(
        default=DEFAULT_GAUSSIAN_WIDTH,
        description="standard deviation of that Gaussian over that of psi_0, for every coordinate, > 0 "
        "(points_from = gaussian)",
    )
    log_every: int = Field(default=10, ge=1, description="epochs between entries of the log")


class EvaluationTable(Table):
    """[evaluation]: samples of the trained process from which observables are computed."""

    samples: int = Field(default=40960, ge=2, description="samples, over all ranks; a multiple of trials")
    trials: int = Field(
        default=10, ge=1, description="equal parts for the spread of the errors between trials"
    )
    bins: int = Field(
        default=80, ge=8, le=1_000_000, description="bins of the density histogram along an axis"
    )
    nu: NonNegative | None = Field(
        default=None,
        description="diffusion of the process that is sampled, >= 0; absent: sampler.nu",
        examples=[0.0],
    )
    scheme: Literal["heun", "euler", "rk4"] | None = Field(
        default=None,
        description="integrator; rk4: order 4 for nu = 0, weak order 2 with a small constant for nu > 0; "
        "absent: rk4 for nu = 0, else sampler.scheme",
        examples=["rk4"],
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of the integrator over [0, time.end]; absent: time.steps",
        examples=[64],
    )
    draws: Literal["independent", "antithetic", "sobol"] = Field(
        default="independent",
        description="how samples are drawn; antithetic: in mirrored pairs, for means; sobol: low-discrepancy "
        "points, for nu = 0",
    )
    parameters: Literal["last", "best"] = Field(
        default="last",
        description="networks that are measured: those of the last epoch, or of the one with the smallest "
        "smoothed loss",
    )
    control_variates: bool | None = Field(
        default=None,
        description="whether moments are corrected by a linear process with known moments; absent: they are, "
        "but for sobol",
        examples=[True],
    )


def _references(value: object) -> str | list[str]:
    if value == "auto":
        return "auto"
    fix = 'write "auto", or a list of names, e.g. ["exact"]'
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise broken_rule('must be "auto" or a list of names in quotes', fix)
    if len(set(value)) != len(value):
        raise broken_rule("every name must stand once", fix)
    return list(value)


class CompareTable(Table):
    """[compare]: references against which the run is compared at its end."""

    with_: Annotated[str | list[str], PlainValidator(_references)] = Field(
        default="auto",
        alias="with",
        description='"auto": the closed form where there is one, else an exact solver where it is cheap; or '
        'a list of names: "closed_form", "exact" or any installed method; [] for none',
    )


class RunTable(Table):
    """[run]: the machine."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU if there is one")
    time_limit: Duration | None = Field(
        default=None,
        description='wall time after which the run saves and stops, to be resumed: "2 h"; absent: the end of '
        "the Slurm job, less margin, or none",
        examples=["2 h"],
    )
    margin: Duration = Field(
        default="2 min",
        description="time kept for saving before a batch job ends, where time_limit is absent",
    )
    timeout: Duration = Field(
        default="300 s", description="how long a rank waits for the others before it gives up"
    )

    @property
    def time_limit_seconds(self) -> float | None:
        """`time_limit` in seconds, None where there is none."""
        return None if self.time_limit is None else parse_duration(self.time_limit)

    @property
    def margin_seconds(self) -> float:
        """`margin` in seconds."""
        return parse_duration(self.margin)

    @property
    def timeout_seconds(self) -> float:
        """`timeout` in seconds."""
        return parse_duration(self.timeout)
