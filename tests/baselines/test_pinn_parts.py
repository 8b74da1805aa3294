"""Parts of the PINN: derivatives against automatic differentiation, symmetry, points, the published form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch import Tensor

from baselines.pinn_parts.features import SymmetricFeatures
from baselines.pinn_parts.log_wave import LogWave, make_log_wave
from baselines.pinn_parts.network import OUTPUTS, SymmetricNetwork
from baselines.pinn_parts.optimizers import GaussNewton
from baselines.pinn_parts.points import SLICES, TRAJECTORIES, make_pool
from baselines.pinn_parts.published import PublishedWave, make_published_wave
from dsmsim.errors import DivergedError
from dsmsim.system import build_initial, build_system

DOUBLE = {"baselines.pinn.precision": "float64", "baselines.pinn.width": 6}


def make_wave(**changes: Any) -> LogWave:
    config = tiny_config({**DOUBLE, **changes})
    wave = make_log_wave(config, build_system(config), build_initial(config))
    rng = np.random.default_rng(3)
    for tensor in wave.network.weights.values():  # nothing is small or zero by accident
        tensor += torch.from_numpy(rng.normal(0.0, 0.3, tensor.shape))
    return wave


def published(**changes: Any) -> PublishedWave:
    config = tiny_config({"baselines.pinn.form": "published", "baselines.pinn.width": 7, **changes})
    return make_published_wave(config, build_system(config), build_initial(config))


def configurations(count: int, coordinates: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.2, 0.6, (count, coordinates)))


def gradient(values: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(values.sum(), x, create_graph=True)[0]


def laplacian(values: Tensor, x: Tensor) -> Tensor:
    first = gradient(values, x)
    return torch.stack([gradient(first[:, i], x)[:, i] for i in range(x.shape[1])]).sum(0)


@pytest.mark.parametrize(("particles", "dimensions"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_features_and_their_derivatives(particles: int, dimensions: int) -> None:
    n = particles * dimensions
    features = SymmetricFeatures(
        particles, dimensions, np.full(n, 0.1), 0.5, [1.0, 2.0], interacting=True, one_body=True
    )
    x = configurations(5, n).requires_grad_()
    features.fit(configurations(200, n, seed=1))
    jets = features.jets(x)
    assert jets.shape == (5, n + 2, features.count)
    for index in range(features.count):
        value = features.jets(x)[:, 0, index]
        assert torch.allclose(jets[:, 1:-1, index], 0.5 * gradient(value, x), atol=1e-12)
        assert torch.allclose(jets[:, -1, index], 0.25 * laplacian(value, x), atol=1e-11)
    exchanged = x.reshape(5, particles, dimensions).flip(1).reshape(5, n)
    assert torch.allclose(features.jets(exchanged)[:, 0], jets[:, 0], atol=1e-13)
    cloud = features.jets(configurations(200, n, seed=1))[:, 0]
    assert torch.allclose(cloud.mean(0), torch.zeros(features.count).double(), atol=1e-12)
    assert torch.allclose(cloud.std(0), torch.ones(features.count).double(), atol=1e-12)


def test_the_network_carries_jets() -> None:
    network = SymmetricNetwork(4, 6, 2, np.random.default_rng(1), torch.float64)
    network.weights["linear"] += 0.3
    mixing = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 3)))

    def inputs(x: Tensor) -> Tensor:
        """phi = sin(M x) as jets of three coordinates."""
        phi = x @ mixing.T
        gradients = torch.cos(phi).unsqueeze(1) * mixing.T
        second = -torch.sin(phi) * mixing.square().sum(1)
        return torch.cat([torch.sin(phi).unsqueeze(1), gradients, second.unsqueeze(1)], dim=1)

    x = configurations(4, 3).requires_grad_()
    clock = torch.rand(4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    jets = network.jets(inputs(x), clock)
    assert jets.shape == (4, 6, OUTPUTS)
    for output in range(OUTPUTS):
        value = network.jets(inputs(x), clock)[:, 0, output]
        assert torch.allclose(jets[:, 1:4, output], gradient(value, x), atol=1e-12)
        assert torch.allclose(jets[:, 4, output], gradient(value, clock)[:, 0], atol=1e-12)
        assert torch.allclose(jets[:, 5, output], laplacian(value, x), atol=1e-11)


def exponent(wave: LogWave, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """R and S at x (B, n), t (B, 1), differentiable."""
    clock = t / wave.units.time
    f = wave.network.jets(wave.features.jets(x), clock)[:, 0] * wave.units.amplitude * clock
    return 0.5 * wave.initial.log_density(x) + f[:, 0], wave.initial.phase(x) + f[:, 1]


MOVING = {"initial.phase": 0.7, "system.trap.omega": 1.3}


@pytest.mark.parametrize("changes", [{}, {"system.particles": 3, **MOVING}, {"system.dimensions": 2}])
def test_residual_and_local_quantities(changes: dict[str, Any]) -> None:
    wave = make_wave(**changes)
    system, count = wave.system, 6
    x = configurations(count, system.coordinates).requires_grad_()
    t = torch.full((count, 1), 0.4, dtype=torch.float64, requires_grad=True)
    r, s = exponent(wave, x, t)
    psi = torch.exp(torch.complex(r, s))
    parts = [psi.real, psi.imag]
    rate = torch.complex(*(gradient(part, t)[:, 0] for part in parts))
    kinetic = torch.complex(*(laplacian(part, x) for part in parts)) * (-(system.hbar**2) / (2 * system.mass))
    wrong = (1j * system.hbar * rate - kinetic) / psi - system.potential(x, t)
    wrong = wrong * (wave.units.time / system.hbar)
    found = wave.residual(wave.points(x.detach().unsqueeze(0), torch.tensor([0.4], dtype=torch.float64)))
    difference = torch.stack([wrong.imag, -wrong.real], dim=1) - found
    # the potential has lost its mean among points of the same time
    assert torch.allclose(difference - difference.mean(0), torch.zeros_like(difference), atol=1e-9)
    assert float(difference.detach()[:, 0].abs().max()) < 1e-9
    local = wave.local(x.detach().numpy(), 0.4)
    assert local.log_psi == pytest.approx(torch.complex(r, s).detach().numpy(), abs=1e-12)
    for field, part in ((r, "real"), (s, "imag")):
        assert getattr(local.gradient, part) == pytest.approx(gradient(field, x).detach().numpy(), abs=1e-10)
        assert getattr(local.laplacian, part) == pytest.approx(laplacian(field, x).detach().numpy(), abs=1e-9)


def test_it_starts_at_psi_0_and_is_symmetric() -> None:
    wave = make_wave(**{"initial.phase": 0.7})
    x = configurations(7, 2).numpy()
    assert wave.log_density(x, 0.0) == pytest.approx(wave.initial.log_density(torch.from_numpy(x)).numpy())
    assert wave.local(x, 0.0).log_psi.imag == pytest.approx(0.7 * x.sum(1))
    here, there = wave.local(x, 0.8), wave.local(x[:, ::-1].copy(), 0.8)
    assert here.log_psi == pytest.approx(there.log_psi, abs=1e-12)
    assert here.gradient == pytest.approx(there.gradient[:, ::-1], abs=1e-12)


def test_the_jacobian_is_that_of_the_residual() -> None:
    wave = make_wave()
    points = make_pool(wave, 1, 0).draw(wave, 64, np.random.default_rng(1))
    optimizer = GaussNewton(wave, 1.0, 10)
    jacobian, before = optimizer._linearised(points)
    change = torch.from_numpy(np.random.default_rng(2).normal(size=jacobian.shape[2]))
    step = 1e-6
    optimizer._move(step * change)
    _, after = optimizer._linearised(points)
    optimizer._move(-2 * step * change)
    _, behind = optimizer._linearised(points)
    assert torch.allclose((after - behind) / (2 * step), jacobian @ change, rtol=1e-6, atol=1e-6)
    assert float(before.reshape(points.groups, -1, 2).mean(1).abs().max()) < 1e-10


def test_points_follow_the_flow_of_the_network() -> None:
    wave = make_wave(**{"initial.phase": 0.7})
    for tensor in wave.network.weights.values():
        tensor.zero_()
    pool = make_pool(wave, 1, 1)
    assert pool.positions.shape == (SLICES, TRAJECTORIES, 2)
    assert (pool.times.diff() > 0).all()
    # a network of zeros leaves the current velocity of psi_0 alone, 0.35 everywhere; nothing leaves the range
    speed = 0.7 * wave.system.hbar / wave.system.mass
    shifted = pool.positions - speed * pool.times[:, None, None]
    assert torch.allclose(shifted, shifted[0].expand_as(shifted), atol=1e-12)
    again, other = make_pool(wave, 1, 1), make_pool(wave, 1, 2)
    assert torch.equal(again.positions, pool.positions)
    assert not torch.equal(other.positions, pool.positions)


def test_points_that_run_away_are_replaced() -> None:
    wave = make_wave()
    for tensor in wave.network.weights.values():
        tensor *= 30.0
    pool = make_pool(wave, 1, 1)
    assert bool(torch.isfinite(pool.positions).all())
    inside = (pool.positions > torch.from_numpy(wave.units.low)) & (
        pool.positions < torch.from_numpy(wave.units.high)
    )
    assert bool(inside.all())


def two_free(**changes: Any) -> PublishedWave:
    return published(**{"system.interaction": None, "initial.variance": 0.1, **changes})


@pytest.mark.parametrize("restore", [True, False])
def test_published_form_and_its_derivatives(restore: bool) -> None:
    wave = two_free(**{"baselines.pinn.restore_order": restore, "initial.phase": 0.4})
    x = configurations(6, 2).requires_grad_()
    t = torch.full((6, 1), 0.3, dtype=torch.float64, requires_grad=True)
    values = wave.values(x, t)
    psi = torch.complex(values[:, 0], values[:, 1])
    rate = torch.complex(gradient(values[:, 0], t)[:, 0], gradient(values[:, 1], t)[:, 0])
    second = torch.complex(laplacian(values[:, 0], x), laplacian(values[:, 1], x))
    hbar, mass = wave.system.hbar, wave.system.mass
    potential = wave.system.potential(x, t)
    wrong = 1j * hbar * rate + hbar**2 / (2 * mass) * second - potential * psi
    found = wave.residual(x, t, potential)
    assert torch.allclose(found, torch.stack([wrong.real, wrong.imag], dim=1), atol=1e-12)
    local = wave.local(x.detach().numpy(), 0.3)
    expected = torch.complex(gradient(values[:, 0], x), gradient(values[:, 1], x)) / psi.unsqueeze(1)
    assert local.gradient == pytest.approx(expected.detach().numpy(), rel=1e-10)
    expected = second / psi - expected.square().sum(1)
    assert local.laplacian == pytest.approx(expected.detach().numpy(), rel=1e-10)
    assert np.exp(local.log_psi) == pytest.approx(psi.detach().numpy())


def test_restored_order_exchanges_real_and_imaginary_part() -> None:
    x = np.array([[0.3, -0.2], [-0.5, 0.1]])
    wave, symmetric = two_free(), two_free(**{"baselines.pinn.restore_order": False})
    here, there = (np.exp(wave.local(places, 0.5).log_psi) for places in (x, x[:, ::-1].copy()))
    assert there == pytest.approx(1j * here.conj())
    here, there = (np.exp(symmetric.local(places, 0.5).log_psi) for places in (x, x[:, ::-1].copy()))
    assert there == pytest.approx(here)


def test_nothing_is_outside_of_the_box() -> None:
    wave = two_free(**{"baselines.pinn.box": 1.0})
    outside = np.array([[0.0, 1.1]])
    assert wave.log_density(outside, 0.5) == -np.inf
    local = wave.local(outside, 0.5)
    assert local.log_psi.real == -np.inf
    assert not local.gradient.any()
    assert not local.laplacian.any()


def test_one_particle_has_two_hidden_layers() -> None:
    wave = published(**{"system.particles": 1, "system.interaction": None})
    assert wave.box == 2.0
    assert len(wave.weights) == 6
    x = configurations(4, 1).requires_grad_()
    t = torch.zeros(4, 1, dtype=torch.float64)
    jets = wave.jets(x, t)
    assert torch.allclose(jets[:, -1, 1], laplacian(wave.values(x, t)[:, 1], x), atol=1e-12)


def test_a_matrix_that_no_damping_helps_ends_in_order() -> None:
    optimizer = GaussNewton(make_wave(), 1.0, 10)
    optimizer._matrix.fill_(float("nan"))
    with pytest.raises(DivergedError, match="Gauss-Newton"):
        optimizer._direction()
