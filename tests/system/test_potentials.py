"""Values, gradients, conventions and quenches of every term of the potential."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from system_examples import make_config, two_bosons

from baselines.split_step import evolve
from dsmsim.errors import ConfigError
from dsmsim.system import System, build_system
from dsmsim.system.quench import Parameter

ONE_BODY: dict[str, dict[str, Any]] = {
    "harmonic": {"kind": "harmonic", "omega": 1.3, "center": 0.2},
    "double_well": {"kind": "double_well", "barrier": 0.7, "half_distance": 1.4, "center": -0.3},
    "gaussian": {"kind": "gaussian", "amplitude": -0.8, "width": 0.6, "center": 0.1},
    "lattice": {"kind": "lattice", "depth": 0.4, "wavenumber": 1.7, "phase": 0.3},
    "expression": {
        "kind": "expression",
        "expression": "k*x**4/4 + abs(x)*cos(2*t) - exp(-x**2/w)/3 + 1/7",
        "parameters": {"k": 0.37, "w": 1.1},
    },
}
INTERACTIONS: dict[str, dict[str, Any]] = {
    "gaussian": {"kind": "gaussian", "g": 1.3, "s2": 0.4},
    "harmonic": {"kind": "harmonic", "g": -0.2},
    "expression": {
        "kind": "expression",
        "g": 0.9,
        "expression": "1/sqrt(r2 + a**2) + x**2*cos(t)",
        "parameters": {"a": 0.5},
    },
}


def points(system: System, count: int = 20, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, system.coordinates, dtype=torch.float64, generator=generator)
    return x, torch.rand(count, 1, dtype=torch.float64, generator=generator)


def assert_gradient(system: System, rtol: float = 1e-12) -> None:
    x, t = points(system)
    x.requires_grad_(True)
    (expected,) = torch.autograd.grad(system.potential(x, t).sum(), x)
    found = system.gradient(x, t)
    assert found.shape == x.shape
    expected = expected.detach()
    assert float((found.detach() - expected).abs().max()) <= rtol * float(expected.abs().max())
    for rows in (x.detach(), x.detach().t().contiguous().t()):  # the batch may be the last index in memory
        together = system.potential_and_gradient(rows, t)
        torch.testing.assert_close(together, (system.potential(rows, t), system.gradient(rows, t)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ONE_BODY)
def test_gradient_of_one_body_terms(kind: str, dimensions: int) -> None:
    for particles in (1, 2, 3, 4):
        config = make_config(particles=particles, dimensions=dimensions, trap=ONE_BODY[kind])
        assert_gradient(build_system(config))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", INTERACTIONS)
def test_gradient_of_interactions(kind: str, dimensions: int) -> None:
    for particles in (2, 3, 4):
        config = make_config(particles=particles, dimensions=dimensions, interaction=INTERACTIONS[kind])
        assert_gradient(build_system(config))


def test_gradient_with_everything_per_axis_and_quenched() -> None:
    ramp = {"start": 0.2, "duration": 0.5}
    config = make_config(
        particles=3,
        dimensions=2,
        trap={
            "kind": "harmonic",
            "omega": [1.0, 2.0],
            "center": [0.1, -0.4],
            "quench": {"omega": {"to": [2.0, 0.5], **ramp}, "center": {"to": 0.0, **ramp}},
        },
        terms={
            "wells": {
                "kind": "double_well",
                "barrier": 1.0,
                "half_distance": 0.9,
                "axis": 1,
                "quench": {"barrier": {"to": 2.0, **ramp}, "half_distance": {"to": 1.2, **ramp}},
            },
            "spot": {
                "kind": "gaussian",
                "amplitude": 1.0,
                "width": 0.4,
                "quench": {"width": {"to": 0.7, **ramp}, "center": {"to": [1.0, 0.5], **ramp}},
            },
            "light": {
                "kind": "lattice",
                "depth": 0.3,
                "wavenumber": [1.0, 2.5],
                "quench": {name: {"to": 1.5, **ramp} for name in ("depth", "wavenumber", "phase")},
            },
            "formula": {
                "kind": "expression",
                "expression": "k*x*y**3",
                "parameters": {"k": 0.2},
                "quench": {"k": {"to": -0.4, **ramp}},
            },
        },
        interaction={
            "kind": "gaussian",
            "g": 1.0,
            "s2": 0.3,
            "quench": {"g": {"to": 2.0, **ramp}, "s2": {"to": 0.6, **ramp}},
        },
    )
    system = build_system(config)
    assert_gradient(system)
    assert not system.is_static
    assert system.breakpoints == (0.2, 0.7)


def reference_potential(kind: str, r: np.ndarray, t: float) -> float:
    """One particle at r (D,): written out again, in numpy."""
    term = ONE_BODY[kind]
    if kind == "harmonic":
        return float(0.5 * 2.0 * term["omega"] ** 2 * np.sum((r - term["center"]) ** 2))
    if kind == "double_well":
        s = (r[0] - term["center"]) / term["half_distance"]
        return float(term["barrier"] * (s**2 - 1.0) ** 2)
    if kind == "gaussian":
        square = np.sum((r - term["center"]) ** 2)
        return float(term["amplitude"] * math.exp(-square / (2.0 * term["width"] ** 2)))
    if kind == "lattice":
        return float(term["depth"] * np.sum(np.sin(term["wavenumber"] * r + term["phase"]) ** 2))
    k, w = 0.37, 1.1
    x = float(r[0])
    return k * x**4 / 4 + abs(x) * math.cos(2 * t) - math.exp(-(x**2) / w) / 3 + 1 / 7


@pytest.mark.parametrize("kind", ONE_BODY)
def test_values_of_one_body_terms(kind: str) -> None:
    system = build_system(make_config(particles=3, dimensions=2, mass=2.0, trap=ONE_BODY[kind]))
    x, t = points(system)
    expected = [
        sum(reference_potential(kind, r, float(time)) for r in row.reshape(3, 2).numpy())
        for row, time in zip(x, t[:, 0], strict=True)
    ]
    np.testing.assert_allclose(system.potential(x, t).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("gaussian", lambda r, t: math.exp(-(r @ r) / (2 * 0.4)) / math.sqrt(2 * math.pi * 0.4)),
        ("harmonic", lambda r, t: r @ r),
        ("expression", lambda r, t: 1 / math.sqrt(r @ r + 0.25) + r[0] ** 2 * math.cos(t)),
    ],
)
@pytest.mark.parametrize("particles", [1, 2, 4])
def test_each_pair_counts_once_with_half_g(kind: str, shape: Any, particles: int) -> None:
    system = build_system(make_config(particles=particles, dimensions=2, interaction=INTERACTIONS[kind]))
    x, t = points(system)
    expected = np.zeros(len(x))
    for number, (row, time) in enumerate(zip(x, t[:, 0], strict=True)):
        r = row.reshape(particles, 2).numpy()
        for i in range(particles):
            for j in range(i + 1, particles):
                expected[number] += 0.5 * INTERACTIONS[kind]["g"] * shape(r[i] - r[j], float(time))
    np.testing.assert_allclose(system.potential(x, t).numpy(), expected, rtol=1e-13)


def test_pair_differences_follow_triu_indices() -> None:
    system = build_system(make_config(particles=4, dimensions=3))
    x, _ = points(system)
    r = x.reshape(-1, 4, 3)
    first, second = np.triu_indices(4, 1)
    assert torch.equal(system.pair_differences(x), r[:, first] - r[:, second])
    single = build_system(make_config(particles=1, dimensions=3))
    assert single.pair_differences(x[:, :3]).shape == (len(x), 0, 3)


def test_published_variance_of_two_bosons_fixes_the_pair_convention() -> None:
    solution = evolve(two_bosons(), points=96, extent=4.0, dt=0.02, order=4)
    assert solution.groups["observables"]["variance"][-1, 0, 0] == pytest.approx(0.227425015, abs=2e-9)


def test_under_torch_func_and_in_single_precision() -> None:
    config = make_config(
        particles=3, dimensions=2, trap=ONE_BODY["expression"], interaction=INTERACTIONS["gaussian"]
    )
    system = build_system(config)
    x, t = points(system)
    gradient = system.gradient(x, t)
    per_sample = torch.func.vmap(torch.func.grad(system.potential))(x, t)
    torch.testing.assert_close(per_sample, gradient, rtol=1e-12, atol=1e-13)
    slope = torch.func.jvp(lambda time: system.potential(x, time), (t,), (torch.ones_like(t),))[1]
    step = 1e-6
    difference = (system.potential(x, t + step) - system.potential(x, t - step)) / (2 * step)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)
    single = system.gradient(x.float(), t.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("expression", "value", "slope"),
    [
        ("2", lambda y, t: 2.0, lambda y: 0.0 * y),
        ("sin(1) + e - pi", lambda y, t: math.sin(1.0) + math.e - math.pi, lambda y: 0.0 * y),
        ("y**2", lambda y, t: y**2, lambda y: 2.0 * y),
        ("t", lambda y, t: t, lambda y: 0.0 * y),
        ("k*t", lambda y, t: 3.0 * t, lambda y: 0.0 * y),
    ],
)
def test_expressions_that_lack_variables_broadcast(expression: str, value: Any, slope: Any) -> None:
    trap: dict[str, Any] = {"kind": "expression", "expression": expression}
    if "k" in expression:
        trap["parameters"] = {"k": 3.0}
    system = build_system(make_config(particles=2, dimensions=2, trap=trap))
    x, t = points(system)
    y = x[:, 1::2]
    torch.testing.assert_close(
        system.potential(x, t), (value(y, t) + 0.0 * y).sum(-1), rtol=1e-13, atol=1e-13
    )
    expected = torch.stack([0.0 * y, slope(y)], -1).flatten(1)
    torch.testing.assert_close(system.gradient(x, t), expected, rtol=1e-13, atol=0.0)
    assert system.is_static == ("t" not in expression)


def test_ramps_and_jumps() -> None:
    t = torch.tensor([0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0], dtype=torch.float64)
    linear = Parameter((1.0,), (3.0,), start=1.0, duration=1.0)
    smooth = Parameter((1.0,), (3.0,), start=1.0, duration=1.0, smooth=True)
    jump = Parameter((1.0,), (3.0,), start=1.0)
    s = torch.tensor([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(linear(t), 1.0 + 2.0 * s)
    torch.testing.assert_close(smooth(t), 1.0 + 2.0 * (3 * s**2 - 2 * s**3))
    torch.testing.assert_close(
        jump(t), torch.tensor([1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0], dtype=torch.float64)
    )
    assert linear.breakpoints == (1.0, 2.0)
    sudden = Parameter((1.0,), (3.0,))
    assert sudden.is_static
    assert sudden(t) == 3.0


def test_a_jump_at_the_start_counts_as_static() -> None:
    trap = {"kind": "harmonic", "omega": 1.0, "quench": {"omega": {"to": 2.0}}}
    system = build_system(make_config(trap=trap))
    x, t = points(system)
    assert system.is_static
    assert system.breakpoints == ()
    torch.testing.assert_close(system.potential(x, t), 2.0 * x[:, 0] ** 2)


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_terms.py").write_text(
        "import torch\n"
        "number = 3\n"
        "def ring(r, t, *, radius, k):\n"
        "    return k * (r.square().sum(-1) - radius**2) ** 2\n"
        "def driven(r, t):\n"
        "    return r[..., 0] * torch.sin(t)\n"
        "def switched(r, t):\n"
        "    return r[..., 0] * (t > 0.4)\n"
        "def soft(r, t, a=1.0):\n"
        "    return 1 / torch.sqrt(r.square().sum(-1) + a**2)\n"
        "def odd(r, t):\n"
        "    return r[..., 0] ** 3\n"
        "def wrong_shape(r, t):\n"
        "    return r\n"
        "def not_torch(r, t):\n"
        "    return float(r.sum())\n"
        "def broken(r, t):\n"
        "    raise KeyError('oops')\n"
        "def detached(r, t):\n"
        "    return torch.as_tensor(r.numpy()[..., 0])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("targets")
def test_python_targets() -> None:
    config = make_config(
        particles=3,
        dimensions=2,
        trap={
            "kind": "python",
            "target": "user_terms:ring",
            "parameters": {"radius": 1.2, "k": 0.3},
            "quench": {"k": {"to": 0.6, "duration": 1.0}},
        },
        interaction={"kind": "python", "g": 1.1, "target": "user_terms:soft", "parameters": {"a": 0.7}},
    )
    system = build_system(config)
    assert_gradient(system)
    x, t = points(system)
    r = x.reshape(-1, 3, 2)
    ring = (0.3 + 0.3 * t) * (r.square().sum(-1) - 1.44) ** 2
    soft = 0.55 / torch.sqrt(system.pair_differences(x).square().sum(-1) + 0.49)
    torch.testing.assert_close(system.potential(x, t), ring.sum(-1) + soft.sum(-1), rtol=1e-13, atol=0.0)
    per_sample = torch.func.vmap(torch.func.grad(system.potential))(x, t)
    torch.testing.assert_close(per_sample, system.gradient(x, t), rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("targets")
@pytest.mark.parametrize(("name", "static"), [("ring", True), ("driven", False), ("switched", False)])
def test_python_targets_are_static_when_their_values_are(name: str, static: bool) -> None:
    trap: dict[str, Any] = {"kind": "python", "target": f"user_terms:{name}"}
    if name == "ring":
        trap["parameters"] = {"radius": 1.0, "k": 1.0}
    assert build_system(make_config(trap=trap)).is_static is static


@pytest.mark.usefixtures("targets")
@pytest.mark.parametrize(
    "target",
    [
        "user_terms:missing",
        "no_such_module:f",
        "no_such_entry_point",
        "user_terms:number",
        "user_terms:wrong_shape",
        "user_terms:not_torch",
        "user_terms:broken",
        "user_terms:detached",
        "user_terms:ring",
    ],
)
def test_targets_that_cannot_be_used_name_their_key(target: str) -> None:
    with pytest.raises(ConfigError, match=r"system\.terms\.mine\.target") as caught:
        build_system(make_config(terms={"mine": {"kind": "python", "target": target}}))
    assert target in str(caught.value)


@pytest.mark.usefixtures("targets")
def test_interactions_must_be_even() -> None:
    with pytest.raises(ConfigError, match=r"system\.interaction\.target: w\(-r\) must equal"):
        build_system(
            make_config(particles=2, interaction={"kind": "python", "g": 1.0, "target": "user_terms:odd"})
        )
    with pytest.raises(ConfigError, match=r"system\.interaction\.expression"):
        build_system(
            make_config(particles=2, interaction={"kind": "expression", "g": 1.0, "expression": "x"})
        )


def test_double_well_needs_an_axis_that_exists() -> None:
    with pytest.raises(ConfigError, match=r"system\.trap\.axis"):
        build_system(
            make_config(trap={"kind": "double_well", "barrier": 1.0, "half_distance": 1.0, "axis": 1})
        )
