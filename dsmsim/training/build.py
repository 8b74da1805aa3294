"""Which optimiser an input asks for."""

from __future__ import annotations

from collections.abc import Callable

from dsmsim.config import Config
from dsmsim.networks import Fields
from dsmsim.system import System
from dsmsim.training.gauss_newton import GaussNewton
from dsmsim.training.lbfgs import QuasiNewton
from dsmsim.training.optimizers import FirstOrder, Optimizer
from dsmsim.training.rows import InitialRows, residual_rows


def build_optimizer(config: Config, fields: Fields, system: System) -> Optimizer:
    """The optimiser of `train.optimizer` for these fields."""
    return OPTIMIZERS[config.train.optimizer](config, fields, system)


def _first_order(config: Config, fields: Fields, system: System) -> Optimizer:
    rate = "auto" if config.network.tensor is None else config.network.tensor.core_rate
    return FirstOrder(fields, config.train, None if rate == "auto" else rate)


def _quasi_newton(config: Config, fields: Fields, system: System) -> Optimizer:
    return QuasiNewton(fields)


def _gauss_newton(config: Config, fields: Fields, system: System) -> Optimizer:
    initial = None if fields.exact_initial else InitialRows(fields)
    return GaussNewton(fields, residual_rows(fields, system, config.train.form), initial)


OPTIMIZERS: dict[str, Callable[[Config, Fields, System], Optimizer]] = {
    "adam": _first_order,
    "soap": _first_order,
    "lbfgs": _quasi_newton,
    "gauss_newton": _gauss_newton,
}
