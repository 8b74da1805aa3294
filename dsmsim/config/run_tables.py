"""The tables that say how the answer is found: [time], [network], [sampler], [train] and those after it."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from dsmsim.config.fields import (
    Cadence,
    CheckpointCadence,
    Duration,
    NonNegative,
    Positive,
    Table,
    broken_rule,
    is_number,
    parse_cadence,
    parse_duration,
)
from dsmsim.config.modes import balanced_modes

MOST_SAVED_TIMES = 1_000_000
WIDEST_NETWORK = 1_048_576
DEFAULT_WIDTH = 48


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
    steps: int = Field(default=32, ge=1, description="steps of the sampler's integrator over [0, end]")
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


class TensorTable(Table):
    """[network.tensor]: the hidden layers as tensor trains; absent: dense.

    The width x width matrix is W((i1, j1), ..., (iK, jK)) = G1[i1, j1] ... GK[iK, jK], core k of shape
    (r_{k-1}, out_k, in_k, r_k), with i of modes_out and j of modes_in.
    """

    format: Literal["tt"] = Field(default="tt", description="tt: tensor train (matrix product operator)")
    rank: int = Field(
        ge=1, description="bond rank, cut at each bond to the largest that can matter there", examples=[8]
    )
    modes_out: list[int] | None = Field(
        default=None,
        description="factors of the width for the output of a layer; absent: factorised evenly",
        examples=[balanced_modes(DEFAULT_WIDTH)],
    )
    modes_in: list[int] | None = Field(
        default=None,
        description="factors of the width for the input of a layer; absent: factorised evenly",
        examples=[balanced_modes(DEFAULT_WIDTH)],
    )


class NetworkTable(Table):
    """[network]: the two velocity fields u(x, t) and v(x, t), one network each."""

    kind: Literal["mlp", "equivariant", "sorted"] = Field(
        default="mlp",
        description="mlp: plain; equivariant: permutation symmetric by features; sorted: as published, "
        "in one dimension, only to reproduce it: it converges to wrong answers",
    )
    width: int = Field(
        default=DEFAULT_WIDTH, ge=1, le=WIDEST_NETWORK, description="width of the hidden layers"
    )
    blocks: int = Field(default=1, ge=1, description="number of residual blocks, two hidden layers each")
    initial: Literal["exact", "learned"] = Field(
        default="exact",
        description="exact: u = u_0 + t net, v = v_0 + t net; learned: by the loss, with weight train.gamma",
    )
    frame: Literal["lab", "comoving"] = Field(
        default="lab",
        description="lab: lengths and times in fixed units; comoving: in those of a freely spreading packet, "
        "for a narrow start or a released cloud that grows to many times its first width",
    )
    tensor: TensorTable | None = Field(default=None, description="tensor-train hidden layers; absent: dense")


class SamplerTable(Table):
    """[sampler]: dX = (v + nu u) dt + sqrt(nu hbar / mass) dW, whose density is |psi|^2 for any nu."""

    scheme: Literal["heun", "euler"] = Field(
        default="heun", description="heun: weak order 2 in the drift; euler: Euler-Maruyama, weak order 1"
    )
    nu: NonNegative = Field(
        default=1.0,
        description="diffusion of the sampling process (no unit), >= 0; 1: Nelson's, 0: flow without noise",
    )


class TrainTable(Table):
    """[train]: the loss L = alpha L_score + beta L_newton + gamma L_initial and how it is minimised."""

    epochs: int = Field(default=1000, ge=1, description="optimiser steps")
    trajectories: int = Field(default=32, ge=1, description="trajectories per epoch, over all ranks")
    points: int = Field(
        default=1024,
        ge=1,
        description="residual points per epoch, over all ranks; a multiple of trajectories",
    )
    block: int = Field(
        default=8, ge=1, description="trajectories per random-number block; must divide trajectories"
    )
    optimizer: Literal["soap", "adam"] = Field(
        default="soap",
        description="soap: Adam in the eigenbasis of Shampoo, a third of the loss in the same time; adam",
    )
    learning_rate: Positive = Field(default=1e-2, description="largest learning rate, > 0")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="learning rate after the warm-up: cosine to zero, or constant"
    )
    warmup: int = Field(
        default=50, ge=0, description="epochs of linear increase of the learning rate; less than epochs"
    )
    clip: Positive = Field(default=1.0, description="largest norm of the gradient, > 0")
    precision: Literal["float32", "float64"] = Field(
        default="float32", description="floating-point numbers of the networks and the loss"
    )
    divergence: Literal["exact"] = Field(
        default="exact", description="how div and grad div are computed; exact: no estimate"
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
    log_every: int = Field(default=10, ge=1, description="epochs between entries of the log")


class EvaluationTable(Table):
    """[evaluation]: samples of the trained process from which observables are computed."""

    samples: int = Field(default=40000, ge=2, description="samples, over all ranks; a multiple of trials")
    trials: int = Field(
        default=10, ge=1, description="equal parts for the spread of the errors between trials"
    )
    bins: int = Field(
        default=80, ge=8, le=1_000_000, description="bins of the density histogram along an axis"
    )


class OutputTable(Table):
    """[output]: what a run leaves behind."""

    checkpoint_every: Cadence = Field(
        default="5 min",
        description='time or epochs between checkpoints: "30 s", "10 min", "1 h", "20 epochs"',
    )
    keep: int = Field(default=3, ge=1, description="checkpoints that are kept, the latest ones")
    trajectories: int = Field(default=0, ge=0, description="evaluation trajectories stored in results.h5")
    figures: bool = Field(default=True, description="draw figures at the end, where matplotlib is installed")

    @property
    def cadence(self) -> CheckpointCadence:
        """`checkpoint_every` as a unit and a number."""
        return parse_cadence(self.checkpoint_every)


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
        description='wall time after which the run saves and stops, to be resumed: "2 h"; absent: none',
        examples=["2 h"],
    )
    timeout: Duration = Field(
        default="300 s", description="how long a rank waits for the others before it gives up"
    )

    @property
    def time_limit_seconds(self) -> float | None:
        """`time_limit` in seconds, None where there is none."""
        return None if self.time_limit is None else parse_duration(self.time_limit)

    @property
    def timeout_seconds(self) -> float:
        """`timeout` in seconds."""
        return parse_duration(self.timeout)
