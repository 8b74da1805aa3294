"""The published ansatz: start, symmetry, and derivatives against torch's of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from ansatz_examples import VARIANCE, bosons, hermite_by_definition

from baselines.variational import hermite as kernels
from baselines.variational.custom import TorchAnsatz
from baselines.variational.hermite import Hermite, hermite
from dsmsim.errors import ConfigError

MEAN = 0.2


def example(particles: int, n_max: int, size: float = 0.1) -> tuple[Hermite, np.ndarray, np.ndarray]:
    """An ansatz, parameters near its start, and configurations that are no multiple of eight."""
    rng = np.random.default_rng(particles)
    ansatz = Hermite(particles, n_max, MEAN, VARIANCE)
    noise = rng.normal(size=(2, len(ansatz.names)))
    theta = ansatz.start() + size * (noise[0] + 1j * noise[1])
    return ansatz, theta, rng.normal(MEAN, 1.5 * VARIANCE**0.5, size=(11, particles))


def assert_close(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-9) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert float(np.abs(found - expected).max()) <= rtol * float(np.abs(expected).max())


@pytest.mark.parametrize(("particles", "n_max"), [(1, 4), (2, 0), (2, 20), (3, 1), (4, 3)])
def test_derivatives(particles: int, n_max: int) -> None:
    ansatz, theta, x = example(particles, n_max, size=0.1 / (1 + n_max))
    reference = TorchAnsatz(ansatz.start(), hermite_by_definition(ansatz))
    found, expected = ansatz.local(theta, x), reference.local(theta, x)
    # the constant pi^(-1/4) of f is left out
    difference = np.exp(found.log_psi - expected.log_psi)
    assert_close(difference, np.full_like(difference, difference[0]))
    assert_close(found.gradient, expected.gradient)
    assert_close(found.laplacian, expected.laplacian)
    log_density = ansatz.log_density(theta, x)
    assert_close(log_density, 2.0 * found.log_psi.real)
    assert_close(ansatz.derivatives(theta, x), reference.derivatives(theta, x))


@pytest.mark.parametrize("particles", [1, 2, 5])
def test_starts_at_psi_0(particles: int) -> None:
    ansatz, _, x = example(particles, 20)
    local = ansatz.local(ansatz.start(), x)
    expected = -((x - MEAN) ** 2).sum(1) / (4.0 * VARIANCE)
    assert_close(np.diff(local.log_psi), np.diff(expected).astype(np.complex128))
    assert_close(local.gradient, (-(x - MEAN) / (2.0 * VARIANCE)).astype(np.complex128))
    assert_close(local.laplacian, np.full(len(x), -particles / (2.0 * VARIANCE), dtype=np.complex128))


def test_symmetric() -> None:
    ansatz, theta, x = example(4, 5)
    order = [2, 0, 3, 1]
    turned = np.ascontiguousarray(x[:, order])
    here, there = ansatz.local(theta, x), ansatz.local(theta, turned)
    assert_close(np.exp(there.log_psi - here.log_psi), np.ones(len(x), dtype=np.complex128))
    assert_close(there.gradient, here.gradient[:, order])
    assert_close(ansatz.derivatives(theta, turned), ansatz.derivatives(theta, x))


def test_stays_finite_far_out() -> None:
    ansatz, theta, x = example(2, 60)
    far = 200.0 * x
    local = ansatz.local(theta, far)
    assert np.isfinite(local.log_psi).all()
    assert np.isfinite(local.gradient).all()
    assert np.isfinite(local.laplacian).all()
    assert np.isfinite(ansatz.derivatives(theta, far)).all()


def test_numbers_of_parameters() -> None:
    # one-body functions, and products of the same and of a constant
    assert len(hermite(bosons(3, ansatz="hermite")).names) == 20 + 22 * 23 // 2 - 1
    assert len(hermite(bosons(1, ansatz="hermite", n_max=5)).names) == 5
    assert hermite(bosons(2, ansatz="hermite", n_max=0)).names == ("c[-1,0]", "c[0,0]")


def test_width_is_the_initial_gaussian() -> None:
    ansatz = hermite(bosons(2, initial={"kind": "gaussian", "mean": 0.3, "variance": 0.08}))
    assert (ansatz.mean, ansatz.length) == (0.3, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimensions": 2}, "system.dimensions = 2"),
        ({"initial": {"kind": "gaussian", "variance": 0.1, "phase": -5.0}}, "initial.phase = -5"),
        (
            {"initial": {"kind": "product", "amplitude": "exp(-x**4)", "range": [-3.0, 3.0]}},
            "initial.kind = 'product'",
        ),
    ],
)
def test_what_it_cannot_start_from(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hermite(bosons(2, ansatz="hermite", **changes))


def test_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    ansatz, theta, x = example(3, 4)
    x = np.tile(x, (4, 1))

    def everything() -> list[np.ndarray]:
        local = ansatz.local(theta, x)
        return [
            local.log_psi,
            local.gradient,
            local.laplacian,
            ansatz.derivatives(theta, x),
            ansatz.log_density(theta, x),
        ]

    alone = everything()
    monkeypatch.setattr(kernels, "get_num_threads", lambda: 4)
    for here, there in zip(alone, everything(), strict=True):
        np.testing.assert_array_equal(here, there)
