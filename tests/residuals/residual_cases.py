"""Inputs and hand-made fields for the tests of `dsmsim.residuals`, in double precision."""

from __future__ import annotations

from typing import Any

from dsmsim.config import Config, parse_config
from dsmsim.networks import FieldPair
from dsmsim.system import ClosedForm, System, build_system, closed_form


def make_config(
    system: dict[str, Any], initial: dict[str, Any] | None = None, network: dict[str, Any] | None = None
) -> Config:
    """An input with hbar = 0.3 and mass = 0.7, one particle unless told otherwise."""
    tables: dict[str, Any] = {
        "system": {"particles": 1, "hbar": 0.3, "mass": 0.7} | system,
        "time": {"end": 1.5},
        "network": {"kind": "mlp", "width": 8} | (network or {}),
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


def exact_fields(config: Config) -> tuple[System, ClosedForm, FieldPair]:
    """System, closed form and its pair of velocities."""
    form = closed_form(config)
    assert form is not None
    return build_system(config), form, lambda x, t: (form.u(x, t), form.v(x, t))
