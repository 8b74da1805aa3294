"""Inputs and hand-made fields for the tests of `dsmsim.residuals`, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dsmsim.config import Config, parse_config
from dsmsim.networks import Fields, build_fields
from dsmsim.system import ClosedForm, System, build_initial, build_system, closed_form

FieldPair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_config(
    system: dict[str, Any], initial: dict[str, Any] | None = None, network: dict[str, Any] | None = None
) -> Config:
    """An input with hbar = 0.3 and mass = 0.7, one particle unless told otherwise."""
    tables: dict[str, Any] = {
        "system": {"particles": 1, "hbar": 0.3, "mass": 0.7} | system,
        "time": {"end": 1.5},
        "network": {"width": 8} | (network or {}),
        "train": {"precision": "float64"},
    }
    return parse_config(tables | ({} if initial is None else {"initial": initial}))


def network_config(particles: int, dimensions: int, **network: Any) -> Config:
    """Interacting bosons, moving and breathing, with a tiny network; further arguments go to [network]."""
    initial = {"kind": "gaussian", "mean": 0.2, "variance": 0.2, "phase": -1.0}
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "trap": {"kind": "harmonic", "omega": 1.3},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    return make_config(system, initial, network)


def fields_of(config: Config) -> Fields:
    """The fields of an input."""
    return build_fields(config, build_system(config), build_initial(config))


def points(config: Config, count: int, seed: int = 0, spread: float = 1.5) -> tuple[Tensor, Tensor]:
    """Positions where the initial state lives, and times over the whole run."""
    generator = torch.Generator().manual_seed(seed)
    initial = build_initial(config)
    mean, sigma = torch.from_numpy(initial.mean), torch.from_numpy(initial.variance).sqrt()
    noise = torch.randn(count, len(mean), dtype=torch.float64, generator=generator)
    t = config.time.end * torch.rand(count, 1, dtype=torch.float64, generator=generator)
    return mean + spread * sigma * noise, t


def exact_fields(config: Config) -> tuple[System, ClosedForm, FieldPair]:
    """System, closed form and its pair of velocities."""
    form = closed_form(config)
    assert form is not None
    return build_system(config), form, lambda x, t: (form.u(x, t), form.v(x, t))
