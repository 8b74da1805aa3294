"""Which factors an input gives the cluster ansatz, and their names and lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from cluster_marches import MOVING, PLANE, PRODUCT, THREE, WELL, model_of
from tiny import tiny_config

from dsmsim.config.march_costs import ONE_BODY_FUNCTIONS
from dsmsim.march.build import REACH, build_model, widest
from dsmsim.march.cluster import ClusterModel
from dsmsim.march.potential_model import PotentialModel
from dsmsim.march.velocity_model import VelocityModel
from dsmsim.system import build_initial, build_system, closed_form

FREE = {"system.interaction": None}
SOFT = {"system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.2}}
PAIRS = tuple(f"pair {k}" for k in range(1, 9))
GAMMA = ("S1", "S2", "T11", "T12", "T22")
SQUARES = tuple(f"{a} {b}" for k, a in enumerate(GAMMA) for b in GAMMA[k:])


def one_body(count: int) -> tuple[str, ...]:
    return tuple(f"one-body {m}" for m in range(1, count + 1))


NAMES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "one": ({**FREE, "system.particles": 1}, ("x", "x^2")),
    "one at rest": ({**FREE, "system.particles": 1, "initial.mean": 0.0}, ("x^2",)),
    "an interaction of one": ({**SOFT, "system.particles": 1, "initial.mean": 0.0}, ("x^2",)),
    "two, free": (FREE, ("x", "x^2", "pair x^2")),
    "two": (SOFT, ("x", "x^2", "pair x^2", *PAIRS)),
    "two at rest": ({**SOFT, "initial.mean": 0.0}, ("x^2", "pair x^2", *PAIRS)),
    "two pushed": ({**SOFT, "initial.mean": 0.0, "initial.phase": 0.5}, ("x", "x^2", "pair x^2", *PAIRS)),
    "a trap that moves": (
        {**SOFT, "initial.mean": 0.0, "system.trap.quench": {"center": {"to": 0.5, "start": 0.4}}},
        ("x", "x^2", "pair x^2", *PAIRS),
    ),
    "a trap that stiffens": (
        {**SOFT, "initial.mean": 0.0, "system.trap.quench": {"omega": {"to": 2.0, "start": 0.4}}},
        ("x^2", "pair x^2", *PAIRS),
    ),
    "three": ({**SOFT, "system.particles": 3}, ("x", "x^2", "pair x^2", *PAIRS, *GAMMA, *SQUARES)),
    "three, fewer": (
        {
            **SOFT,
            "system.particles": 3,
            "march.pair_functions": 1,
            "march.collective_functions": 1,
            "march.collective_order": 1,
        },
        ("x", "x^2", "pair x^2", "pair 1", "S1", "T11"),
    ),
    "three, fewest": (
        {**SOFT, "system.particles": 3, "march.pair_functions": 0, "march.collective_functions": 0},
        ("x", "x^2", "pair x^2"),
    ),
    "a double well": (
        {**FREE, **WELL, "system.particles": 1},
        ("x", "x^2", *one_body(ONE_BODY_FUNCTIONS)),
    ),
    "a second term": (
        {
            **FREE,
            "system.particles": 1,
            "system.terms.bump": {"kind": "gaussian", "amplitude": 0.3, "width": 0.5},
        },
        ("x", "x^2", *one_body(ONE_BODY_FUNCTIONS)),
    ),
    "no trap": ({**FREE, "system.particles": 1, "system.trap": None, **MOVING}, ("x", "x^2")),
    "as asked": (
        {**FREE, "system.particles": 1, "march.one_body_functions": 3},
        ("x", "x^2", *one_body(3)),
    ),
    "none asked": ({**FREE, **WELL, "system.particles": 1, "march.one_body_functions": 0}, ("x", "x^2")),
    "a plane": (
        {**FREE, **PLANE, "march.one_body_functions": 2},
        (
            *("x", "y", "x^2", "y^2", "pair x^2", "pair y^2"),
            *("one-body 0 1", "one-body 1 0", "one-body 0 2", "one-body 1 1", "one-body 2 0"),
        ),
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_an_input(name: str) -> None:
    changes, expected = NAMES[name]
    model = model_of(tiny_config(changes))
    assert model.names == expected
    assert model.start().shape == (len(expected),)


def test_products_in_space() -> None:
    model = model_of(tiny_config({**FREE, "system.dimensions": 3, "march.one_body_functions": 2}))
    names = [name for name in model.names if name.startswith("one-body")]
    assert len(names) == math.comb(3 + 2, 3) - 1
    assert "one-body 0 1 1" in names
    assert len(set(model.names)) == len(model.names)


def test_lengths_are_those_of_cloud_and_interaction() -> None:
    wide = {"initial.variance": 0.3}
    # an interaction narrower than the cloud decides
    narrow = model_of(tiny_config({**SOFT, **wide, "system.interaction.s2": 0.01}))
    assert narrow.factors.basis.length == pytest.approx(1.9 * 0.1)
    broad = model_of(tiny_config({**SOFT, **wide, "system.interaction.s2": 9.0}))
    assert broad.factors.basis.length == pytest.approx(2.7 * math.sqrt(0.3))
    other = model_of(tiny_config(wide))  # harmonic
    assert other.factors.basis.length == pytest.approx(2.7 * math.sqrt(0.3))
    # of several axes the geometric mean, and one-body functions have their own along each
    plane = model_of(tiny_config({**FREE, **PLANE, "march.one_body_functions": 1}))
    assert plane.factors.basis.length == pytest.approx(2.7 * (0.3 * 0.1) ** 0.25)
    assert plane.factors.one_body is not None
    np.testing.assert_allclose(plane.factors.one_body.length.numpy(), 2.7 * np.sqrt([0.3, 0.1]))
    np.testing.assert_allclose(plane.factors.one_body.center.numpy(), [0.2, -0.1])
    np.testing.assert_allclose(plane.factors.quadratic.center.numpy(), [0.2, -0.1])
    product = model_of(tiny_config({**FREE, **PRODUCT, "march.one_body_functions": 1}))
    assert product.factors.one_body is not None
    assert float(product.factors.one_body.center[0]) == pytest.approx(product.initial.mean[0])


WIDENING: dict[str, dict[str, Any]] = {
    "in its trap": {},
    "repelled": {"system.interaction.g": 2.0},
    "pushed": {"initial.phase": 3.0, "system.mass": 2.0},
    "breathing": {"initial.variance": 0.02, "system.hbar": 1.0},
    "of a plane": PLANE,
    "let go": {"system.trap": None, "initial.variance": 0.05},
    "five": {"system.particles": 5, "system.interaction.g": -0.1},
    "a trap that is gone": {"system.trap.quench": {"omega": {"to": 0.0}}},
}


@pytest.mark.parametrize("name", WIDENING)
@pytest.mark.parametrize("end", [0.3, 1.5, 4.0])
def test_no_cloud_grows_wider_than_expected(name: str, end: float) -> None:
    config = tiny_config({**WIDENING[name], "time.end": end})
    system, initial, form = build_system(config), build_initial(config), closed_form(config)
    assert form is not None
    expected = widest(config, system, initial)
    assert expected >= math.sqrt(initial.variance.max())
    assert expected == widest(config, system, initial)
    grown = float(np.sqrt(form.variance(np.linspace(0.0, end, 41)).max()))
    assert grown < 1.05 * expected  # found from a few hundred configurations


def test_a_cloud_in_a_well_stays_where_its_energy_lets_it() -> None:
    """Beyond the turning points V is larger than all of the energy, however long it takes."""
    well = {
        **FREE,
        "system.particles": 1,
        "system.trap": {"kind": "double_well", "barrier": 0.1, "half_distance": 0.5},
        "system.hbar": 0.1,
        "initial": {"kind": "gaussian", "mean": -0.4, "variance": 0.03},
    }
    found = []
    for end in (0.2, 10.0, 40.0):
        config = tiny_config({**well, "time.end": end})
        found.append(widest(config, build_system(config), build_initial(config)))
    assert found[0] < found[1] == pytest.approx(found[2], rel=0.02)
    energy = 0.1**2 / (8.0 * 0.03) + _well_of_a_gaussian(-0.4, 0.03)
    turn = 0.5 * math.sqrt(1.0 + math.sqrt(energy / 0.1))
    assert found[2] == pytest.approx(turn + 0.4 + math.sqrt(0.03), rel=0.05)
    lattice = {**well, "system.trap": {"kind": "lattice", "depth": 0.02, "wavenumber": 3.0}}
    free = [
        widest(config, build_system(config), build_initial(config))
        for config in (tiny_config({**lattice, "time.end": end}) for end in (10.0, 40.0))
    ]
    assert free[1] > 3.5 * free[0]  # nothing stops it


def _well_of_a_gaussian(mean: float, variance: float) -> float:
    """E[0.1 ((x / 0.5)^2 - 1)^2], from the moments of x."""
    second = mean**2 + variance
    fourth = mean**4 + 6.0 * mean**2 * variance + 3.0 * variance**2
    return 0.1 * (fourth / 0.5**4 - 2.0 * second / 0.5**2 + 1.0)


def test_functions_reach_as_far_as_the_cloud_grows() -> None:
    config = tiny_config({**SOFT, "march.one_body_functions": 1, "time.end": 3.0})
    model = model_of(config)
    far = widest(config, model.system, model.initial)
    assert model.factors.basis.reach == pytest.approx(REACH * far)
    assert model.factors.one_body is not None
    # a half period of the first function ends there
    edge = model.initial.mean[0] + 0.75 * REACH * far
    x = torch.tensor([[edge]] * 2, dtype=torch.float64)[None]
    row = model.factors.one_body.rows(torch.zeros(1, dtype=torch.complex128), x)
    assert row.item() == pytest.approx(-2.0)
    # and farther than where they are resolved best, whatever the cloud does
    short = model_of(tiny_config({**FREE, "system.hbar": 1e-3, "time.end": 1e-3}))
    assert short.factors.basis.reach >= 2.0 * short.factors.basis.length


def test_the_basis_holds_what_either_factor_needs() -> None:
    more = {**THREE, "march.pair_functions": 3, "march.collective_functions": 5}
    assert model_of(tiny_config(more)).factors.basis.order == 5
    assert model_of(tiny_config({**more, "march.pair_functions": 7})).factors.basis.order == 7


@pytest.mark.parametrize(
    ("ansatz", "kind", "expected"),
    [
        ("cluster", "mlp", ClusterModel),
        ("network", "mlp", VelocityModel),
        ("network", "potential", PotentialModel),
    ],
)
def test_what_marches(ansatz: str, kind: str, expected: type) -> None:
    config = tiny_config({"march.ansatz": ansatz, "network.kind": kind, "network.width": 4})
    model = build_model(config, build_system(config), build_initial(config))
    assert isinstance(model, expected)
    again = build_model(config, build_system(config), build_initial(config), model.arrays())
    assert again.names == model.names
    np.testing.assert_array_equal(again.start(), model.start())
