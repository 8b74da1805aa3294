"""Rules that tie [march] and train.mode to the rest of the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsmsim.config.problems import Problem, problem_at, shown
from dsmsim.config.run_tables import MOST_SOBOL, POTENTIAL_KINDS

if TYPE_CHECKING:
    from dsmsim.config.model import Config

MARCHING = 'train.mode = "march"'
MOST_STEPS = 1_000_000  # of a march: what is found at every one of them is kept


def march_problems(config: Config) -> Iterator[Problem]:
    """What is wrong between the keys of a marching input; of others only that nothing is there to polish."""
    if config.train.mode == "march":
        for rule in (_cluster, _network, _walkers, _steps, _solver, _evaluation):
            yield from rule(config)
    elif config.train.polish:
        yield problem_at(
            config,
            "train.polish",
            f"needs {MARCHING}: it trains on from fields that were followed in time",
            'write mode = "march", or polish = false',
        )


def _cluster(config: Config) -> Iterator[Problem]:
    march = config.march
    if march.ansatz == "cluster" and march.collective_functions > 0 and march.pair_functions == 0:
        yield problem_at(
            config,
            "march.pair_functions",
            f"must be at least 1 with march.collective_functions = {march.collective_functions}, which go "
            "with the amplitude of a pair",
            "write pair_functions = 8, or collective_functions = 0",
        )


def _network(config: Config) -> Iterator[Problem]:
    """Networks march in the lab from psi_0 itself, and with the parameters that they have."""
    network = config.network
    if network.kind not in POTENTIAL_KINDS:  # the others are held to this in any mode
        if network.initial != "exact":
            rule = f'must be "exact" with {MARCHING}, which starts from the initial state'
            yield problem_at(config, "network.initial", rule, 'write initial = "exact"')
        if network.frame != "lab":
            rule = f'must be "lab" with {MARCHING}, whose fields are those of fixed units'
            yield problem_at(config, "network.frame", rule, 'write frame = "lab", or mode = "global"')
    tensor = network.tensor
    if config.march.ansatz == "network" and tensor is not None and tensor.adaptive:
        yield problem_at(
            config,
            "network.tensor.rank",
            'must be a number with march.ansatz = "network": only training finds ranks',
            "write e.g. rank = 4",
        )


def _walkers(config: Config) -> Iterator[Problem]:
    march = config.march
    if march.walkers % march.block or march.walkers < 2 * march.block:
        fitting = max(2, march.walkers // march.block) * march.block
        yield problem_at(
            config,
            "march.walkers",
            f"must be a multiple of march.block = {march.block}, and at least two blocks",
            f"write walkers = {fitting}, or a smaller block",
        )
    if march.draws == "antithetic" and march.block % 2:
        yield problem_at(
            config,
            "march.block",
            'must be even with march.draws = "antithetic": every block holds pairs',
            f"write block = {march.block + 1}",
        )
    if march.draws == "sobol" and config.system.coordinates > MOST_SOBOL:
        yield problem_at(
            config,
            "march.draws",
            f"Sobol sequences have at most {MOST_SOBOL} coordinates, but system.particles times "
            f"system.dimensions is {config.system.coordinates}",
            'write draws = "antithetic" or draws = "independent"',
        )
    if march.metropolis and march.ansatz == "network" and config.network.kind not in POTENTIAL_KINDS:
        yield problem_at(
            config,
            "march.metropolis",
            f'needs a known density, which network.kind = "{config.network.kind}" does not give',
            'remove it or write false, or kind = "potential"',
        )


def _steps(config: Config) -> Iterator[Problem]:
    dt, end = config.march.dt, config.time.end
    if not isinstance(dt, float):
        return
    if dt > end:
        yield problem_at(
            config, "march.dt", f"must be at most time.end = {end!r}", f'write dt = {end!r}, or dt = "auto"'
        )
    elif config.march.integrator != "adaptive" and end / dt > MOST_STEPS:
        yield problem_at(
            config,
            "march.dt",
            f"makes more than {MOST_STEPS} steps to time.end = {end!r}",
            f'write dt = {shown(end / MOST_STEPS)} or more, or integrator = "adaptive"',
        )


def _solver(config: Config) -> Iterator[Problem]:
    """Conjugate gradients see no eigenvalues: they can shift them, and not cut or filter them."""
    march = config.march
    if march.solver != "cg":
        return
    if march.diagonal_shift == 0:
        yield problem_at(
            config,
            "march.diagonal_shift",
            'must be > 0 with march.solver = "cg", which cannot cut off small eigenvalues',
            'write diagonal_shift = 1e-6, or solver = "auto"',
        )
    if march.snr > 0:
        yield problem_at(
            config,
            "march.snr",
            'must be 0 with march.solver = "cg", which knows no eigenvectors',
            'write snr = 0.0, or solver = "eigen"',
        )


def _evaluation(config: Config) -> Iterator[Problem]:
    if config.evaluation.parameters == "best" and not config.train.polish:
        yield problem_at(
            config,
            "evaluation.parameters",
            f'must be "last" with {MARCHING} and without train.polish: there is no loss to choose by',
            'write parameters = "last", or polish = true',
        )
