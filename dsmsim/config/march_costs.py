"""What a march in time will cost: parameters, steps, time and memory, known before it starts.

The constants were measured with the default ansatz on one core; steps that adapt are a guess from the motion
of a cloud in a trap.

Symbols: n coordinates, N particles, D axes, W walkers, P parameters, R equations for each walker, M = W R.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsmsim.config.fields import per_axis
from dsmsim.config.march_checks import MOST_STEPS
from dsmsim.config.march_table import MarchTable
from dsmsim.config.network_costs import NetworkCosts, PotentialCosts, network_costs
from dsmsim.config.system import GaussianState, ProductState, TrapGroundState
from dsmsim.config.terms import DoubleWellTerm, GaussianTerm, HarmonicTerm

if TYPE_CHECKING:
    from dsmsim.config.model import Config

# evaluations of the equations in a step; of those that adapt, some are made twice
STAGES = {"adaptive": 10, "rk4": 4, "heun": 2, "euler": 1}
ADAPTED_STEPS = 16  # in the own time of the initial cloud, and in the whole time at least
STEPS_OF_OWN_TIME = 64  # of equal length, with dt = "auto"
ONE_BODY_FUNCTIONS = 8  # where the trap is not harmonic

# seconds on one core: a function of a pair, a collective variable of a pair, a function of a particle
SECONDS_PER_PAIR_FUNCTION = 5e-8
SECONDS_PER_COLLECTIVE = 4e-8
SECONDS_PER_ONE_BODY_FUNCTION = 8e-8
SECONDS_PER_COORDINATE = 3e-7
SECONDS_PER_MULTIPLY_ADD = 1.2e-9  # of networks, which are small, in double precision
SECONDS_PER_ENTRY = 7e-9  # of the rows of a network
SECONDS_PER_PRODUCT = 5e-11  # of two real numbers in sums of matrices over walkers
EIGEN = 6  # multiply-adds of a decomposition of eigenvalues, over the third power of its size
ITERATIONS = 200  # of conjugate gradients
LARGEST = 4096  # matrix that "auto" decomposes where conjugate gradients are another way

DOUBLE = 8  # bytes
ROW_COPIES = 5  # of A: of the step before and of this one, as made, centred and weighted; measured
MATRICES = 4  # of a solver: the matrix, scaled, its eigenvectors, what the decomposition takes
CHUNK_BYTES = 64 << 20  # tables and graphs of the configurations that are treated together
WALKER_NUMBERS = 20  # for each coordinate: positions, velocities and stages of an integrator
STEP_NUMBERS = 5  # for each parameter that a step leaves: theta, two rates, spectrum, signal-to-noise ratio


@dataclass(frozen=True)
class MarchPlan:
    """What a march will cost.

    Attributes:
        ansatz: "cluster", or the kind of the network.
        parameters: P; complex ones count once.
        analytic: whether they are complex.
        equations: R, complex ones count once.
        walkers_per_rank: on the most loaded rank.
        solver: that of [march], with "auto" resolved.
        steps: in time; a guess where they adapt.
        seconds: with one core for each rank, roughly, without the evaluation.
        memory: bytes on the most loaded rank, without the program.
        kept: bytes of what a checkpoint holds of it.
    """

    ansatz: str
    parameters: int
    analytic: bool
    equations: int
    walkers_per_rank: int
    solver: str
    steps: int
    seconds: float
    memory: int
    kept: int


class _Marching(ABC):
    """What can march, for one input.

    Attributes:
        analytic, equations: as of `MarchPlan`.
        score: cost of u and the density at one configuration, of that of the equations.
    """

    analytic: bool
    equations: int
    score: float

    @abstractmethod
    def parameters(self) -> int:
        """P."""

    @abstractmethod
    def seconds(self) -> float:
        """Of fields, rows and targets at one configuration, on one core."""


class _Cluster(_Marching):
    """Complex amplitudes; see `dsmsim.march.cluster`."""

    analytic, equations, score = True, 1, 0.45

    def __init__(self, config: Config) -> None:
        system, march = config.system, config.march
        self.particles, self.dimensions = system.particles, system.dimensions
        self.pairs = math.comb(self.particles, 2)
        interacting = system.interaction is not None and self.particles > 1
        self.pair_functions = march.pair_functions if interacting else 0
        self.one_body = math.comb(one_body_functions(config) + self.dimensions, self.dimensions) - 1
        collective = march.collective_functions if interacting and self.particles > 2 else 0
        self.collective = collective + math.comb(collective + 1, 2)
        self.order = march.collective_order
        self.moving = not _stays(config)

    def parameters(self) -> int:
        quadratic = self.dimensions * (1 + self.moving + (self.particles > 1))
        products = math.comb(self.collective + 1, 2) if self.order > 1 else 0
        return quadratic + self.one_body + self.pair_functions + self.collective + products

    def seconds(self) -> float:
        of_pairs = SECONDS_PER_PAIR_FUNCTION * (1 + self.pair_functions)
        of_pairs += SECONDS_PER_COLLECTIVE * self.collective
        of_particles = SECONDS_PER_COORDINATE * self.dimensions
        of_particles += SECONDS_PER_ONE_BODY_FUNCTION * self.one_body
        return self.pairs * of_pairs + self.particles * of_particles


class _Network(_Marching):
    """The networks of [network], with clocks that stand still."""

    analytic, score = False, 0.2

    def __init__(self, config: Config) -> None:
        self.network: NetworkCosts = network_costs(config)
        potential = isinstance(self.network, PotentialCosts)
        self.equations = 2 if potential else 2 * self.network.n

    def parameters(self) -> int:
        network = self.network
        return len(network.names) * (network.parameters() - network.silent_weights())

    def seconds(self) -> float:
        network = self.network
        work = 3 * self.equations * network.multiply_adds()
        if isinstance(network, PotentialCosts):
            work += network.jet_multiply_adds()
        else:
            work += len(network.names) * (2 * network.n + 5) * network.multiply_adds()
        return SECONDS_PER_MULTIPLY_ADD * work + SECONDS_PER_ENTRY * self.equations * self.parameters()


def one_body_functions(config: Config) -> int:
    """`march.one_body_functions`, with "auto" resolved: Gaussian clouds in harmonic traps need none."""
    wanted = config.march.one_body_functions
    if not isinstance(wanted, str):
        return wanted
    harmonic = all(isinstance(term, HarmonicTerm) for term in config.system.one_body_terms().values())
    return 0 if harmonic and not isinstance(config.initial, ProductState) else ONE_BODY_FUNCTIONS


def march_plan(config: Config, ranks: int) -> MarchPlan:
    """The plan of a march over `ranks` processes."""
    march, n = config.march, config.system.coordinates
    model = _Cluster(config) if march.ansatz == "cluster" else _Network(config)
    blocks = march.walkers // march.block
    walkers = math.ceil(blocks / ranks) * march.block
    parameters, steps = model.parameters(), _steps(config)
    solver = solver_name(march, parameters, march.walkers * model.equations)
    numbers = 2 if model.analytic else 1
    kept = steps * STEP_NUMBERS * numbers * parameters * DOUBLE + march.walkers * (n + 1) * DOUBLE
    matrices = _matrices(solver, parameters, march.walkers * model.equations)
    rows = ROW_COPIES * walkers * model.equations * parameters
    if solver == "sample_space" and ranks > 1:
        rows += march.walkers * model.equations * parameters
    moving = walkers * n * WALKER_NUMBERS
    return MarchPlan(
        ansatz="cluster" if march.ansatz == "cluster" else config.network.kind,
        parameters=parameters,
        analytic=model.analytic,
        equations=model.equations,
        walkers_per_rank=walkers,
        solver=solver,
        steps=steps,
        seconds=_seconds(config, model, solver, walkers, steps),
        memory=DOUBLE * (numbers * (matrices + rows) + moving) + CHUNK_BYTES + kept,
        kept=kept,
    )


def solver_name(march: MarchTable, parameters: int, equations: int) -> str:
    """`march.solver` for P and M, with "auto" resolved as `dsmsim.march.equations` does."""
    if march.solver != "auto":
        return march.solver
    if min(parameters, equations) > LARGEST and march.diagonal_shift > 0.0 and march.snr == 0.0:
        return "cg"
    return "eigen" if parameters <= equations else "sample_space"


def _matrices(solver: str, parameters: int, equations: int) -> int:
    """Numbers in the matrices of a solver."""
    return {
        "eigen": MATRICES * parameters**2,
        "sample_space": MATRICES * equations**2,
        "cg": 4 * parameters,
    }[solver]


def _seconds(config: Config, model: _Marching, solver: str, walkers: int, steps: int) -> float:
    march, parameters = config.march, float(model.parameters())
    equations, total = walkers * model.equations, march.walkers * model.equations
    products = {
        "eigen": equations * parameters**2 + EIGEN * parameters**3,
        "sample_space": equations * total * parameters + EIGEN * float(total) ** 3,
        "cg": 2.0 * ITERATIONS * equations * parameters,
    }[solver]
    solving = SECONDS_PER_PRODUCT * (4 if model.analytic else 1) * products
    relaxing = model.score * (1 + march.substeps) if march.nu > 0 else 0.0
    one = model.seconds() * walkers
    return steps * (STAGES[march.integrator] * (one + solving) + relaxing * one)


def _steps(config: Config) -> int:
    march, end = config.march, config.time.end
    own = min(_own_time(config), end)
    if march.integrator == "adaptive":
        wanted = ADAPTED_STEPS * (end / own)
    else:
        wanted = STEPS_OF_OWN_TIME * (end / own) if isinstance(march.dt, str) else end / march.dt
    return max(1, math.ceil(min(wanted, MOST_STEPS)))


def _own_time(config: Config) -> float:
    """The time 2 mass variance/hbar in which the initial cloud spreads; else that of the run."""
    system, initial = config.system, config.initial
    own = math.inf
    if isinstance(initial, TrapGroundState) and isinstance(system.trap, HarmonicTerm):
        own = 1.0 / max(per_axis(system.trap.omega, system.dimensions))
    elif isinstance(initial, GaussianState):
        own = 2.0 * system.mass * min(per_axis(initial.variance, system.dimensions)) / system.hbar
    return own if 0.0 < own < math.inf else config.time.end


def _stays(config: Config) -> bool:
    """Whether initial state and potential are symmetric about one place, which the cloud then cannot leave.

    Expressions and functions of the user are taken not to be.
    """
    system, initial = config.system, config.initial
    axes = system.dimensions
    if isinstance(initial, TrapGroundState):
        assert isinstance(system.trap, HarmonicTerm)
        mean = per_axis(system.trap.center, axes)
    elif isinstance(initial, GaussianState) and not any(per_axis(initial.phase, axes)):
        mean = per_axis(initial.mean, axes)
    else:
        return False
    for term in system.one_body_terms().values():
        if not isinstance(term, HarmonicTerm | DoubleWellTerm | GaussianTerm) or "center" in term.quench:
            return False
        place = (mean[term.axis],) if isinstance(term, DoubleWellTerm) else mean
        if per_axis(term.center, len(place)) != place:
            return False
    return True
