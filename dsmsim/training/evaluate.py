"""Samples of the trained process, and everything that is measured on them.

The samples come in fixed blocks (`draws.py`) shared out over the ranks like the training blocks, so the
observables do not depend on the number of ranks beyond the order of summation. A pilot ensemble comes first
(`pilot.py`).

Between two blocks all ranks agree whether to go on (`sampling.py`): the one may have been asked to stop, the
disk of another may be full. What is stored of a block goes to the disk at every saved time.

With noise the integrator stops at every saved time. The flow without noise is smooth: it takes its own steps
and is interpolated to the same order.

Shapes: B trajectories, n coordinates, T saved times, K steps of the integrator.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.config.output_table import knows_wave_function, sample_variables
from dsmsim.errors import DivergedError
from dsmsim.measure import (
    Check,
    CompanionLaw,
    Context,
    EnsembleSums,
    Observable,
    build_observables,
    checks_group,
    correlation_times,
)
from dsmsim.networks import Fields, standing_still
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.sampler import Process, Remembering, between, evaluation_grid, trajectories
from dsmsim.store import schema
from dsmsim.system import InitialState, System, center_of_mass, closed_form
from dsmsim.training.companion import Companion, build_companion
from dsmsim.training.draws import SampleBlock, evaluation_process, sample_blocks, uses_control_variates
from dsmsim.training.pilot import RAN_AWAY, Pilot, pilot
from dsmsim.training.sampling import SavedSums, Turns
from dsmsim.training.trajectory_files import kept_of

Array = npt.NDArray[np.float64]


class Solution(Protocol):
    """What is sampled: the problem, and fields that solve it."""

    @property
    def system(self) -> System: ...

    @property
    def initial(self) -> InitialState: ...

    @property
    def fields(self) -> Fields: ...


@dataclass(frozen=True)
class Evaluation:
    """What the trained process says.

    Attributes:
        sums: ensemble sums over all ranks.
        checks: identities that need no reference.
        facts: how it was sampled, attributes for results.h5.
        precision: of what is measured, in results.h5.
    """

    sums: EnsembleSums
    checks: list[Check]
    facts: dict[str, Any]
    precision: str = "float64"

    def groups(self) -> dict[str, dict[str, Any]]:
        """Groups of a results.h5: observables, density, checks, and those of `output.observables`."""
        measured = self.sums.groups()
        if self.precision != "float64":
            measured = {name: _rounded(name, arrays, self.precision) for name, arrays in measured.items()}
        return {**measured, "checks": checks_group(self.checks)}


def _rounded(group: str, arrays: dict[str, Any], precision: str) -> dict[str, Any]:
    """The arrays of a group with fewer digits, but for its coordinates."""
    return {
        name: values.astype(precision)
        if values.dtype.kind == "f" and schema.variable(group, name).dims != (name,)
        else values
        for name, values in arrays.items()
    }


class _Point(NamedTuple):
    """An ensemble at one time: positions and velocities (B, n); its companion (B, n) and that one's law."""

    time: float
    x: Tensor
    u: Tensor
    v: Tensor
    follower: tuple[Tensor, CompanionLaw] | None


@dataclass(frozen=True)
class Course:
    """How every block of an evaluation is advanced.

    Attributes:
        config, state: of the run.
        process: which process is sampled, and by which scheme.
        grid: (K + 1,) times of the integrator.
        companion: for control variates.
    """

    config: Config
    state: Solution
    process: Process
    grid: Array
    companion: Companion | None = None

    def points(self, block: SampleBlock) -> Iterator[_Point]:
        """The block at every time of the grid."""
        state, like = self.state, self.state.fields.frame.center
        start, normals = block.start(self.config.seed, state.initial)
        fields = Remembering(state.fields)
        drawn: list[Array] = []

        def tensor(values: Array) -> Tensor:
            return torch.as_tensor(values, dtype=like.dtype, device=like.device)

        def increments(number: int) -> Tensor:
            noise = normals(number)
            drawn.append(noise)
            return tensor(noise)

        x0, y = tensor(start), torch.as_tensor(start - state.initial.mean, device=like.device)
        path = trajectories(fields, state.system, self.process, x0, tensor(self.grid[None]), increments)
        begin = (x0, x0.new_full((len(x0), 1), float(self.grid[0])))
        for k, (x, clock) in enumerate(itertools.chain([begin], path)):
            if self.companion is not None and drawn:
                y = self.companion.step(k - 1, y, self._kick(k - 1, drawn, y))
            drawn.clear()
            u, v = fields(x, clock)
            follower = None if self.companion is None else (y, self.companion.laws[k])
            yield _Point(float(self.grid[k]), x, u, v, follower)

    def wave_at(self, time: float) -> Callable[[Tensor], Tensor] | None:
        """(R, S) of log psi at this time, float64, as a function of positions; None where it is not known."""
        like = self.state.fields.frame.center
        known: Callable[[Tensor, Tensor], Tensor] | None = getattr(self.state.fields, "log_psi", None)
        if known is None or not knows_wave_function(self.config):
            return None

        def log_psi(x: Tensor) -> Tensor:
            y = x.to(like)
            return known(y, y.new_full((len(y), 1), time)).double()

        return log_psi

    def _kick(self, step: int, drawn: list[Array], like: Tensor) -> Tensor:
        """The Brownian increment of a step from its parts."""
        part = (self.grid[step + 1] - self.grid[step]) / len(drawn)
        return torch.as_tensor(math.sqrt(self.diffusion * part) * sum(drawn), device=like.device)

    @property
    def diffusion(self) -> float:
        """Variance of the noise per coordinate and time."""
        return self.process.nu * self.state.system.hbar / self.state.system.mass

    def saved(self, block: SampleBlock) -> Iterator[tuple[int, _Point]]:
        """(index, block at that time) for every saved time."""
        times, index = self.config.time.save_times, 0
        before: _Point | None = None
        for point in self.points(block):
            while index < len(times) and times[index] <= point.time:
                if before is None or times[index] == point.time:
                    yield index, point
                else:
                    yield index, self._inside(before, point, times[index])
                index += 1
            before = point

    def _inside(self, before: _Point, after: _Point, time: float) -> _Point:
        """A smooth path between two grid points; its companion, the start, stays the same."""
        length = after.time - before.time
        ends = (before.x, before.v), (after.x, after.v)
        x = between(*ends, length, (time - before.time) / length)
        clock = x.new_full((len(x), 1), time)
        u, v = self.state.fields(x, clock)
        return _Point(time, x, u, v, after.follower)


def course_of(config: Config, state: Solution) -> Course:
    """Grid and process; the flow without noise is interpolated at the saved times, noise cannot be."""
    process, frame = evaluation_process(config), state.fields.frame
    times, steps = config.time.save_times, config.evaluation.steps or config.time.steps
    stops = times if process.nu > 0.0 else times[-1:]
    grid, _ = evaluation_grid(stops, steps, frame.clock_at, frame.time_at, state.system.breakpoints)
    return Course(config, state, process, grid)


Keep = Callable[[int, int, Array], None]
"""Stores positions (B, n): called with the number of the first trajectory and the index of the saved time."""


@torch.no_grad()
def evaluate(
    config: Config,
    state: Solution,
    world: World,
    progress: Callable[[int, int], None],
    stop: StopRequest | None = None,
    keep: Keep | None = None,
    saved: SavedSums | None = None,
) -> Evaluation:
    """Sample the trained process on all ranks and measure it.

    Args:
        progress: called with (samples done, samples in all) of this rank.
        stop: asked between two blocks; None: never stop.
        keep: called with the trajectories that `output.trajectories` asks for; None: none are stored.
        saved: where an evaluation that is interrupted leaves what it has done; None: nowhere.

    Raises:
        DivergedError: a trajectory left for infinity.
        StoppedEarly: it was to stop before the last block; all ranks raise it.
        StoreError: `keep` failed on a rank, or the sums cannot be saved; all ranks raise it, as agreed.
    """
    with standing_still(state.fields):
        return _evaluate(config, state, world, progress, stop or StopRequest(), keep, saved)


def _evaluate(
    config: Config,
    state: Solution,
    world: World,
    progress: Callable[[int, int], None],
    stop: StopRequest,
    keep: Keep | None,
    saved: SavedSums | None,
) -> Evaluation:
    course, blocks = course_of(config, state), sample_blocks(config)
    found = pilot(course, world)
    control = uses_control_variates(config)
    if control:
        companion = build_companion(state.initial, course.grid, found.slopes, course.diffusion)
        course = replace(course, companion=companion)
    context = _context(course, found, blocks, world)

    def new_sums() -> EnsembleSums:
        return EnsembleSums(
            state.system,
            np.asarray(config.time.save_times),
            config.evaluation.trials,
            found.edges,
            mean=state.initial.mean,
            variance=state.initial.variance,
            exact=closed_form(config),
            control=control,
            observables=observables_of(config, context),
            device=world.device,
        )

    wanted = {} if keep is None else kept_of(blocks, config.output.trajectories)
    own = {
        k: wanted[blocks[k]]
        for k in blocks_of_rank(len(blocks), world.rank, world.size)
        if blocks[k] in wanted
    }
    kept = {blocks[k]: numbers for k, numbers in own.items()}

    def visit(block: SampleBlock, sums: EnsembleSums | None) -> None:
        numbers = kept.get(block)
        for index, (t, x, u, v, follower) in course.saved(block):
            if sums is not None:
                sums.add(
                    index,
                    block.trial,
                    x,
                    u,
                    v,
                    t,
                    block=block.number,
                    unit=block.unit,
                    companion=follower,
                    log_psi=course.wave_at(t),
                )
            if keep is not None and numbers is not None:
                keep(numbers.start, index, x[: len(numbers)].double().cpu().numpy())

    turns = Turns(blocks, new_sums, visit, list(own), world, stop, progress, saved)
    sums = turns.take()
    if not sums.is_finite:
        raise DivergedError(RAN_AWAY)
    facts: dict[str, Any] = {
        "draws": config.evaluation.draws,
        "nu": course.process.nu,
        "scheme": course.process.scheme,
        "steps": len(course.grid) - 1,
        "control_variates": int(control),
        "independent_units": sums.units,
        "effective_samples": sums.effective_samples,
    }
    checks = sums.checks(center_of_mass(config)) + found.checks
    return Evaluation(sums, checks, facts, config.output.precision)


def _context(course: Course, found: Pilot, blocks: Sequence[SampleBlock], world: World) -> Context:
    """What observables may know of an evaluation."""
    config, initial = course.config, course.state.initial
    times = np.asarray(config.time.save_times)
    return Context(
        course.state.system,
        times,
        correlation_times(len(times), config.output.correlation_times),
        found.edges,
        found.extent,
        initial.mean,
        initial.variance,
        {(block.trial, block.number): block.size for block in blocks},
        course.wave_at(0.0) is not None,
        config.seed,
        world.device,
    )


def observables_of(config: Config, context: Context) -> list[Observable]:
    """What `[output]` asks for, with empty sums.

    Raises:
        ConfigError: there is no such observable, or it cannot be used.
    """
    variables = sample_variables(config.system.particles, config.system.dimensions)
    output = config.output
    return list(build_observables(output.observables, output.expressions, variables, context).values())
