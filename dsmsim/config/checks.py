"""Rules that tie several keys of the input together. They need neither a machine nor an installation.

Every rule is a generator of `Problem`s over one complete `Config`; `cross_problems` runs them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsmsim.config.fields import TERM_NAME, per_axis
from dsmsim.config.march_checks import march_problems
from dsmsim.config.output_table import output_problems
from dsmsim.config.problems import Problem, dotted, problem_at, shown
from dsmsim.config.run_tables import DEFAULT_GAUSSIAN_WIDTH, MOST_SOBOL, POTENTIAL_KINDS
from dsmsim.config.system import GaussianState, ProductState, TrapGroundState
from dsmsim.config.tensor_checks import tensor_problems
from dsmsim.config.term_checks import axes_problem, initial_expressions, term_problems
from dsmsim.config.terms import DoubleWellTerm, HarmonicTerm

if TYPE_CHECKING:
    from dsmsim.config.model import Config


def cross_problems(config: Config) -> list[Problem]:
    """Everything that is wrong between the keys of an input whose single values are right."""
    physics, networks = (_terms, _initial, _times), (_network, _potential, tensor_problems)
    rules = (*physics, *networks, _training, march_problems, _engine, _evaluation, output_problems, _tvmc)
    return [problem for rule in rules for problem in rule(config)]


def _terms(config: Config) -> Iterator[Problem]:
    system, end = config.system, config.time.end
    for name in system.terms:
        if TERM_NAME.fullmatch(name) is None or name in ("trap", "interaction"):
            yield Problem(
                dotted(["system", "terms", name]),
                "the name of a term must be letters, digits, _ and -, and neither trap nor interaction",
                "choose another name",
            )
    for key, term in system.one_body_terms().items():
        yield from term_problems(term, key, system.dimensions, end, pair=False)
        if isinstance(term, DoubleWellTerm) and term.axis >= system.dimensions:
            axes = " or ".join(str(axis) for axis in range(system.dimensions))
            yield Problem(
                f"{key}.axis",
                f"must be less than system.dimensions = {system.dimensions}",
                f"write axis = {axes}, or raise system.dimensions",
                shown(term.axis),
            )
    if system.interaction is not None:
        yield from term_problems(system.interaction, "system.interaction", system.dimensions, end, pair=True)


def _initial(config: Config) -> Iterator[Problem]:
    initial, dimensions = config.initial, config.system.dimensions
    if isinstance(initial, TrapGroundState):
        yield from _trap_ground_state(config)
    elif isinstance(initial, GaussianState):
        for name in ("mean", "variance", "phase"):
            yield from axes_problem(f"initial.{name}", getattr(initial, name), dimensions)
    elif isinstance(initial, ProductState):
        for name in ("amplitude", "phase"):
            yield from axes_problem(f"initial.{name}", getattr(initial, name), dimensions)
        yield from initial_expressions(initial)


def _trap_ground_state(config: Config) -> Iterator[Problem]:
    trap = config.system.trap
    gaussian = 'or write [initial] with kind = "gaussian" and variance'
    default = "" if "kind" in config.initial.model_fields_set else " (the default)"
    value = f'"trap_ground_state"{default}'
    if not isinstance(trap, HarmonicTerm):
        given = "there is no [system.trap]" if trap is None else f"system.trap.kind = {shown(trap.kind)}"
        yield Problem(
            "initial.kind",
            f"needs a harmonic trap, but {given}",
            f'write [system.trap] with kind = "harmonic" and omega, {gaussian}',
            value,
        )
    elif min(per_axis(trap.omega, config.system.dimensions)) <= 0:
        yield Problem(
            "initial.kind",
            f"needs omega > 0 on every axis, but system.trap.omega = {shown(trap.omega)}",
            f"write a positive system.trap.omega, {gaussian}",
            value,
        )


def _times(config: Config) -> Iterator[Problem]:
    save, end = config.time.save, config.time.end
    if isinstance(save, list):
        outside = [time for time in save if not 0 <= time <= end]
        if outside:
            yield problem_at(
                config,
                "time.save",
                f"every time must be from 0 to time.end = {end!r}, but {outside[0]!r} is not",
                f"remove {outside[0]!r}, or change time.end",
            )


def _network(config: Config) -> Iterator[Problem]:
    network, train = config.network, config.train
    if network.kind == "sorted" and config.system.dimensions != 1:
        yield problem_at(
            config,
            "network.kind",
            f"orders the particles along a line, but system.dimensions = {config.system.dimensions}",
            'write kind = "equivariant" or kind = "mlp"',
        )
    if network.initial == "learned" and train.gamma == 0:
        yield problem_at(
            config,
            "train.gamma",
            'must be > 0 with network.initial = "learned": nothing else fixes the initial state',
            'write gamma = 1.0, or network.initial = "exact"',
        )
    if train.alpha == 0 and train.beta == 0:
        yield problem_at(
            config,
            "train.alpha",
            "train.alpha and train.beta must not both be 0: no equation is left to solve",
            "write alpha = 1.0 and beta = 1.0",
        )


def _potential(config: Config) -> Iterator[Problem]:
    """A potential starts at psi_0, in the lab, and is judged by variances over trajectories."""
    network, train = config.network, config.train
    if network.kind not in POTENTIAL_KINDS:
        return
    asked = f'network.kind = "{network.kind}"'
    if network.initial != "exact":
        rule = f'must be "exact" with {asked}, which has the initial state built in'
        yield problem_at(config, "network.initial", rule, 'write initial = "exact"')
    if network.frame != "lab":
        fix = 'write frame = "lab", or kind = "mlp" or "equivariant"'
        yield problem_at(config, "network.frame", f'must be "lab" with {asked}', fix)
    if train.block < 2:
        fixed = next((k for k in range(2, train.trajectories + 1) if train.trajectories % k == 0), None)
        yield problem_at(
            config,
            "train.block",
            f"must be at least 2 with {asked}, whose residuals are variances among a block's trajectories",
            f"write block = {fixed}" if fixed else "write trajectories = 2 and block = 2, or more",
        )


def _engine(config: Config) -> Iterator[Problem]:
    """Which engines know which networks, and which optimisers can do with a random loss."""
    kind, train = config.network.kind, config.train
    random, rows = train.divergence == "hutchinson", train.optimizer == "gauss_newton"
    fix = 'write engine = "auto"'
    if train.engine == "fused" and kind != "mlp":
        rule = f'needs network.kind = "mlp", but it is "{kind}"'
        yield problem_at(config, "train.engine", rule, f'{fix}, or kind = "mlp"')
    if train.engine == "fused" and random:
        rule = 'needs train.divergence = "exact", but it is "hutchinson"'
        yield problem_at(config, "train.engine", rule, f'{fix}, or divergence = "exact"')
    if train.engine == "fused" and rows:
        rule = 'must not be "fused" with train.optimizer = "gauss_newton", which needs a Jacobian'
        yield problem_at(config, "train.engine", rule, f'{fix}, or optimizer = "soap"')
    if train.engine == "torch_func" and kind in POTENTIAL_KINDS:
        rule = f'must be "auto" with network.kind = "{kind}", which has an engine of its own'
        yield problem_at(config, "train.engine", rule, fix)
    exact = 'write divergence = "exact"'
    if random and kind in POTENTIAL_KINDS:
        rule = f'must be "exact" with network.kind = "{kind}", whose Laplacians are cheap'
        yield problem_at(config, "train.divergence", rule, exact)
    if random and (rows or train.optimizer == "lbfgs"):
        rule = f'must be "exact" with train.optimizer = "{train.optimizer}", which needs the same loss twice'
        yield problem_at(config, "train.divergence", rule, f'{exact}, or optimizer = "soap"')


def _multiples(value: int, unit: int) -> str:
    """The multiples of `unit` next to `value`, for a fix."""
    below = value // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def _training(config: Config) -> Iterator[Problem]:
    train = config.train
    if train.points % train.trajectories:
        yield problem_at(
            config,
            "train.points",
            f"must be a multiple of train.trajectories = {train.trajectories}",
            f"write points = {_multiples(train.points, train.trajectories)}",
        )
    if train.trajectories % train.block:
        divisor = math.gcd(train.trajectories, train.block)
        yield problem_at(
            config,
            "train.block",
            f"must divide train.trajectories = {train.trajectories}",
            f"write block = {divisor}, or trajectories = {_multiples(train.trajectories, train.block)}",
        )
    if train.points_from != "gaussian" and train.gaussian_width != DEFAULT_GAUSSIAN_WIDTH:
        yield problem_at(
            config,
            "train.gaussian_width",
            f'needs train.points_from = "gaussian", but it is "{train.points_from}"',
            'write points_from = "gaussian", or remove it',
        )
    if train.warmup >= train.epochs:
        yield problem_at(
            config,
            "train.warmup",
            f"must be less than train.epochs = {train.epochs}",
            f"write warmup = {train.epochs // 10}",
        )


def _tvmc(config: Config) -> Iterator[Problem]:
    table = config.baselines.tvmc
    if table.sampling == "metropolis" and table.sweeps == 0:
        yield problem_at(
            config,
            "baselines.tvmc.sweeps",
            'must be at least 1 with baselines.tvmc.sampling = "metropolis"',
            'write sweeps = 2, or sampling = "transport"',
        )
    if table.three_body_functions > table.pair_functions and config.system.particles > 2:
        yield problem_at(
            config,
            "baselines.tvmc.three_body_functions",
            f"they are made of baselines.tvmc.pair_functions = {table.pair_functions}: there cannot be more",
            f"write three_body_functions = {table.pair_functions}, or less",
        )
    if table.ansatz == "python" and table.function is None:
        yield Problem(
            "baselines.tvmc.function",
            'baselines.tvmc.ansatz = "python" needs a function',
            'write function = "module:function"',
        )


def _evaluation(config: Config) -> Iterator[Problem]:
    evaluation = config.evaluation
    if evaluation.samples % evaluation.trials:
        yield problem_at(
            config,
            "evaluation.samples",
            f"must be a multiple of evaluation.trials = {evaluation.trials}",
            f"write samples = {_multiples(evaluation.samples, evaluation.trials)}",
        )
    elif evaluation.draws == "antithetic" and evaluation.samples // evaluation.trials % 2:
        unit = 2 * evaluation.trials
        yield problem_at(
            config,
            "evaluation.samples",
            f'every trial must hold pairs with evaluation.draws = "antithetic": a multiple of {unit}, '
            "twice evaluation.trials",
            f"write samples = {_multiples(evaluation.samples, unit)}",
        )
    if evaluation.draws == "sobol" and config.system.coordinates > MOST_SOBOL:
        yield problem_at(
            config,
            "evaluation.draws",
            f"Sobol sequences have at most {MOST_SOBOL} coordinates, but system.particles times "
            f"system.dimensions is {config.system.coordinates}",
            'write draws = "antithetic" or draws = "independent"',
        )
