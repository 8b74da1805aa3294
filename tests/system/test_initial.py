"""Initial velocities against automatic differentiation, normalisation, sampling and refusals."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from system_examples import make_config

from dsmsim.errors import ConfigError
from dsmsim.system import InitialState, build_initial

TRAP = {"kind": "harmonic", "omega": 2.0, "center": 0.3}
STATES: dict[str, dict[str, Any]] = {
    "trap_ground_state": {"kind": "trap_ground_state"},
    "gaussian": {"kind": "gaussian", "mean": 0.4, "variance": 0.3, "phase": -5.0},
    "two_humps": {
        "kind": "product",
        "amplitude": "exp(-(x - 1)**2) + 0.5*exp(-2*(x + 1)**2)",
        "phase": "0.3*sin(2*x) - x",
        "range": [-6.0, 7.0],
    },
    "heavy_tail": {"kind": "product", "amplitude": "3/cosh(x/0.7)", "range": [-12.0, 12.0]},
    "underflow": {"kind": "product", "amplitude": "2*exp(-x**2/0.04)", "phase": "x**2", "range": [-5.0, 5.0]},
}


def state(name: str, *, particles: int = 2, dimensions: int = 2) -> InitialState:
    return build_initial(
        make_config(
            particles=particles, dimensions=dimensions, hbar=0.5, mass=1.5, trap=TRAP, initial=STATES[name]
        )
    )


@pytest.mark.parametrize("name", STATES)
def test_velocities_are_the_gradients_of_log_density_and_phase(name: str) -> None:
    initial = state(name)
    generator = np.random.default_rng(1)
    x = torch.from_numpy(initial.sample(generator, 200)).requires_grad_(True)
    (log_slope,) = torch.autograd.grad(initial.log_density(x).sum(), x)
    phase = initial.phase(x).sum()
    phase_slope = torch.autograd.grad(phase, x)[0] if phase.requires_grad else torch.zeros_like(x)
    unit = 0.5 / 1.5
    torch.testing.assert_close(initial.u(x), 0.5 * unit * log_slope, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(initial.v(x), unit * phase_slope, rtol=1e-11, atol=1e-12)
    per_sample = torch.func.vmap(torch.func.grad(initial.log_density))(x.detach())
    torch.testing.assert_close(per_sample, log_slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", STATES)
def test_divergences_are_those_of_the_velocities(name: str) -> None:
    initial = state(name)
    x = torch.from_numpy(initial.sample(np.random.default_rng(2), 20))
    for field, found in zip((initial.u, initial.v), initial.divergences(x), strict=True):
        jacobian = torch.func.vmap(torch.func.jacrev(lambda y, field=field: field(y[None])[0]))(x)
        trace = jacobian.diagonal(dim1=1, dim2=2).sum(1)
        torch.testing.assert_close(found, trace, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", STATES)
def test_shapes_and_precision(name: str) -> None:
    initial = state(name, particles=3, dimensions=1)
    x = torch.full((5, 3), 0.1)
    for field in (initial.u(x), initial.v(x)):
        assert field.shape == (5, 3)
        assert field.dtype == torch.float32
    assert initial.log_density(x).shape == initial.phase(x).shape == (5,)
    assert initial.mean.shape == initial.variance.shape == (3,)


@pytest.mark.parametrize("name", STATES)
def test_density_integrates_to_one_and_gives_the_moments(name: str) -> None:
    initial = state(name, particles=1, dimensions=1)

    def density(x: float) -> float:
        return float(torch.exp(initial.log_density(torch.tensor([[x]], dtype=torch.float64))))

    def integral(power: int) -> float:
        center, width = initial.mean[0], 15.0 * math.sqrt(initial.variance[0])
        pieces = pairwise(np.linspace(center - width, center + width, 41))
        return math.fsum(quad(lambda x: (x - center) ** power * density(x), *piece)[0] for piece in pieces)

    assert integral(0) == pytest.approx(1.0, abs=1e-9)
    assert integral(1) == pytest.approx(0.0, abs=1e-9)
    assert integral(2) == pytest.approx(initial.variance[0], rel=1e-6)


@pytest.mark.parametrize("name", STATES)
def test_samples_have_the_moments_within_five_standard_errors(name: str) -> None:
    initial = state(name)
    count = 40_000
    x = initial.sample(np.random.default_rng(7), count)
    assert x.shape == (count, 4)
    assert x.dtype == np.float64
    square = (x - initial.mean) ** 2
    mean_error = x.std(axis=0) / math.sqrt(count)
    variance_error = square.std(axis=0) / math.sqrt(count)
    assert (np.abs(x.mean(axis=0) - initial.mean) < 5 * mean_error).all()
    assert (np.abs(square.mean(axis=0) - initial.variance) < 5 * variance_error).all()
    correlation = np.corrcoef(x.T) - np.eye(4)
    assert (np.abs(correlation) < 5 / math.sqrt(count)).all()


def test_product_samples_follow_the_distribution() -> None:
    initial = state("two_humps", particles=1, dimensions=1)
    count = 40_000
    x = np.sort(initial.sample(np.random.default_rng(11), count)[:, 0])
    grid = np.linspace(-6.0, 7.0, 20_001)
    density = torch.exp(initial.log_density(torch.from_numpy(grid)[:, None])).numpy()
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    empirical = np.arange(1, count + 1) / count
    distance = np.max(np.abs(np.interp(x, grid, below) - empirical))
    # Kolmogorov-Smirnov: a probability of 1e-9 to exceed this
    assert distance < math.sqrt(0.5 * math.log(2e9) / count)


def test_the_same_generator_gives_the_same_samples() -> None:
    for name in STATES:
        initial = state(name)
        first, second = (initial.sample(np.random.default_rng(5), 10) for _ in range(2))
        assert np.array_equal(first, second)


def test_ground_state_has_the_width_before_the_quench() -> None:
    trap = {"kind": "harmonic", "omega": [1.0, 4.0], "center": [0.5, 0.0], "quench": {"omega": {"to": 9.0}}}
    config = make_config(
        particles=3, dimensions=2, hbar=0.1, mass=2.0, trap=trap, initial={"kind": "trap_ground_state"}
    )
    initial = build_initial(config)
    np.testing.assert_allclose(initial.variance, [0.025, 0.00625] * 3, rtol=1e-14)
    np.testing.assert_allclose(initial.mean, [0.5, 0.0] * 3, rtol=1e-14)


def test_one_formula_per_axis() -> None:
    product = {
        "kind": "product",
        "amplitude": ["exp(-x**2)", "exp(-2*(x - 1)**2)"],
        "phase": ["0", "3*x"],
        "range": [-8.0, 8.0],
    }
    initial = build_initial(make_config(particles=2, dimensions=2, initial=product))
    np.testing.assert_allclose(initial.mean, [0.0, 1.0] * 2, atol=1e-12)
    np.testing.assert_allclose(initial.variance, [0.25, 0.125] * 2, rtol=1e-10)
    x = torch.zeros(1, 4, dtype=torch.float64)
    assert initial.v(x).tolist() == [[0.0, 3.0, 0.0, 3.0]]


@pytest.mark.parametrize(
    ("product", "key"),
    [
        ({"amplitude": "x*exp(-x**2)", "range": [-8.0, 8.0]}, "initial.amplitude"),
        ({"amplitude": "exp(-x**2)*log(x)", "range": [-8.0, 8.0]}, "initial.amplitude"),
        ({"amplitude": "exp(-x**2)", "phase": "sqrt(x)", "range": [-8.0, 8.0]}, "initial.phase"),
        ({"amplitude": "exp(-x**2)", "range": [-1.0, 8.0]}, "initial.range"),
        ({"amplitude": "exp(-x**2) + q", "range": [-8.0, 8.0]}, "initial.amplitude"),
    ],
)
def test_refusals_name_their_key(product: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        build_initial(make_config(initial={"kind": "product", **product}))


def test_the_ground_state_needs_a_trap() -> None:
    with pytest.raises(ConfigError, match="trap"):
        build_initial(make_config(initial={"kind": "trap_ground_state"}))
