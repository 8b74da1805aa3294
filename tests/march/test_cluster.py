"""The cluster ansatz: against log psi in elementary operations, its symmetries, and motion that it holds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from cluster_marches import (
    CASES,
    MOVING,
    THREE,
    cauchy,
    cluster_of,
    elsewhere,
    model_of,
    places,
    plain_log_psi,
)
from network_marches import exact_rates
from tiny import tiny_config
from torch import Tensor

from dsmsim.march import cluster as module
from dsmsim.march.cluster import GROWTH, ClusterModel
from dsmsim.march.one_body import OneBodyFactor
from dsmsim.system import closed_form

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
cases = pytest.mark.parametrize("name", CASES)


def local_energy(
    model: ClusterModel, theta: Any, x: Tensor, t: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log psi (W,), its gradient (W, n), Laplacian (W,) and H psi/psi (W,), by automatic differentiation."""
    log_psi, func = plain_log_psi(model), torch.func

    def parts(x: Tensor) -> Tensor:
        return torch.view_as_real(log_psi(theta, x))

    value = torch.view_as_complex(func.vmap(parts)(x))
    slope = func.vmap(func.jacrev(parts))(x)
    hessian = func.vmap(func.jacfwd(func.jacrev(parts)))(x)
    gradient = torch.complex(slope[:, 0], slope[:, 1])
    laplacian = torch.complex(*hessian.diagonal(dim1=-2, dim2=-1).sum(-1).unbind(1))
    kinetic = -0.5 * model.system.hbar**2 / model.system.mass * (laplacian + gradient.square().sum(-1))
    return value, gradient, laplacian, kinetic + model.system.potential(x, x.new_full((len(x), 1), t))


@cases
def test_the_start_is_the_initial_state(name: str) -> None:
    config, model = cluster_of(name)
    x, theta = places(config), model.start()
    assert theta.dtype == np.complex128
    assert theta.shape == (len(model.names),)
    assert len(set(model.names)) == len(model.names)
    u, v = model.velocities(theta, x)
    torch.testing.assert_close(u, model.initial.u(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(v, model.initial.v(x), rtol=1e-14, atol=1e-14)
    local = model.local(theta, x)
    torch.testing.assert_close(local.log_density, model.initial.log_density(x), rtol=1e-14, atol=1e-13)
    assert model.fault(theta, 1e9) is None


@cases
def test_fields_and_targets_are_those_of_the_plain_wave_function(name: str) -> None:
    config, model = cluster_of(name)
    x, theta, t = places(config), elsewhere(model), 0.4
    value, gradient, laplacian, energy = local_energy(model, theta, x, t)
    hbar, mass = model.system.hbar, model.system.mass
    equations = model.equations(theta, x, t)
    local = equations.local
    assert local.log_density is not None
    torch.testing.assert_close(equations.targets, (-1j / hbar * energy).unsqueeze(1), **CLOSE)
    torch.testing.assert_close(local.u, hbar / mass * gradient.real, **CLOSE)
    torch.testing.assert_close(local.v, hbar / mass * gradient.imag, **CLOSE)
    torch.testing.assert_close(local.div_v, hbar / mass * laplacian.imag, **CLOSE)
    torch.testing.assert_close(local.log_density, 2.0 * value.real, **CLOSE)
    # and the other ways to ask for them
    for found, expected in zip(model.local(theta, x), local, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    for found, expected in zip(model.velocities(theta, x), local[:2], strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)
    u, log_density = model.score(theta, x)
    torch.testing.assert_close(u, local.u, **CLOSE)
    torch.testing.assert_close(log_density, local.log_density, **CLOSE)
    r, s = model.log_psi(theta, x).unbind(1)
    torch.testing.assert_close(r, value.real, **CLOSE)
    torch.testing.assert_close(
        torch.polar(torch.ones_like(s), s - value.imag), torch.ones_like(value), **CLOSE
    )


@cases
def test_rows_are_the_derivatives_of_log_psi(name: str) -> None:
    config, model = cluster_of(name)
    x, theta, log_psi = places(config, 3), elsewhere(model), plain_log_psi(model)
    rows = model.equations(theta, x, 0.0).rows
    assert rows.shape == (3, 1, len(model.names))
    assert rows.dtype == torch.complex128
    for k, parameter in enumerate(model.names):
        # along a circle in the complex plane: log psi is analytic there, or the mean would be another
        direction = np.eye(len(theta))[k]
        expected = cauchy(
            lambda z, direction=direction: np.array(
                [log_psi(theta + z * direction, place).item() for place in x]
            )
        )
        np.testing.assert_allclose(rows[:, 0, k].numpy(), expected, rtol=1e-9, atol=1e-9, err_msg=parameter)


@cases
def test_bosons_are_the_same(name: str) -> None:
    config, model = cluster_of(name)
    x, theta = places(config), elsewhere(model)
    particles, axes = model.system.particles, model.system.dimensions
    equations = model.equations(theta, x, 0.3)
    for order in itertools.islice(itertools.permutations(range(particles)), 1, 6):
        swapped = x.reshape(-1, particles, axes)[:, list(order)].reshape(x.shape)
        other = model.equations(theta, swapped, 0.3)
        torch.testing.assert_close(other.rows, equations.rows, **CLOSE)
        torch.testing.assert_close(other.targets, equations.targets, **CLOSE)
        for found, kept in zip(other.local[:2], equations.local[:2], strict=True):
            expected = kept.reshape(-1, particles, axes)[:, list(order)].reshape(x.shape)
            torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("name", ["two at rest", "three at rest"])
def test_what_is_mirror_symmetric_stays_so(name: str) -> None:
    config, model = cluster_of(name)
    x, theta = places(config), elsewhere(model)
    mirrored = 2.0 * torch.from_numpy(model.initial.mean) - x
    here, there = model.equations(theta, x, 0.3), model.equations(theta, mirrored, 0.3)
    torch.testing.assert_close(there.rows, here.rows, **CLOSE)
    torch.testing.assert_close(there.targets, here.targets, **CLOSE)
    torch.testing.assert_close(there.local.u, -here.local.u, **CLOSE)
    torch.testing.assert_close(there.local.v, -here.local.v, **CLOSE)


@pytest.mark.parametrize("name", ["three", "one in a double well", "three in a plane"])
def test_chunks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = cluster_of(name)
    x, theta = places(config, 150), elsewhere(model)
    assert model._chunk(x) >= 150
    whole = (
        model.equations(theta, x, 0.2),
        model.local(theta, x),
        model.score(theta, x),
        model.log_psi(theta, x),
    )
    monkeypatch.setattr(module, "BYTES_AT_ONCE", 1)
    assert model._chunk(x) < 75
    parts = (
        model.equations(theta, x, 0.2),
        model.local(theta, x),
        model.score(theta, x),
        model.log_psi(theta, x),
    )
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-13)


def test_a_rank_without_walkers() -> None:
    config, model = cluster_of("three")
    nothing = places(config)[:0]
    equations = model.equations(elsewhere(model), nothing, 0.0)
    assert equations.rows.shape == (0, 1, len(model.names))
    assert equations.targets.shape == (0, 1)
    assert equations.local.u.shape == nothing.shape
    assert model.log_psi(model.start(), nothing).shape == (0, 2)


@pytest.mark.parametrize("name", ["two", "two in space", "three", "three in a plane", "five"])
def test_particles_at_one_place(name: str) -> None:
    config, model = cluster_of(name)
    particles, axes = model.system.particles, model.system.dimensions
    theta, z = elsewhere(model), places(config).reshape(-1, particles, axes)
    z[:, 1] = z[:, 0]
    z[0, :] = z[0, 0]  # and once all of them
    near = z.clone()
    near[:, 1] += 1e-6
    there, here = (model.equations(theta, place.flatten(1), 0.0) for place in (z, near))
    # log psi is smooth there: what has moved by 1e-6 differs by as little
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)
    kept = (z[:, 0] - z[:, 1]).square().sum()
    assert kept == 0.0
    u = there.local.u.reshape(z.shape)
    torch.testing.assert_close(u[:, 0], u[:, 1], **CLOSE)


def test_a_form_that_cannot_be_normalised_is_found() -> None:
    config = tiny_config({**THREE, "system.dimensions": 2, "initial.variance": [0.3, 0.1]})
    model, rng = model_of(config), np.random.default_rng(3)
    log_psi, place = plain_log_psi(model), torch.zeros(6, dtype=torch.float64)
    place += torch.arange(6)
    forms = [k for k, name in enumerate(model.names) if name.endswith("^2") and "S" not in name]
    assert [model.names[k] for k in forms] == ["x^2", "y^2", "pair x^2", "pair y^2"]
    found = []
    for _ in range(30):
        theta = model.start()
        scale = np.array([1.0, 3.0, 0.5, 1.5])
        theta[forms] = scale * rng.standard_normal(4) + 5j * rng.standard_normal(4)
        # only the quadratic form is there: all of log |psi| is in its second derivatives
        hessian = torch.func.hessian(lambda x, theta=theta: log_psi(theta, x).real)(place)
        bounded = bool((torch.linalg.eigvalsh(hessian) < 0.0).all())
        assert (model.fault(theta, 1e9) is None) == bounded
        found.append(bounded)
    assert 8 < sum(found) < 22


def test_the_fault_says_what_has_run_away() -> None:
    _, model = cluster_of("three")
    names = list(model.names)
    start = 0.25 / 0.3
    for name, share, text in (("x^2", 1.0, "of the centre of mass"), ("pair x^2", 3.0, "of relative motion")):
        theta = model.start()
        theta[names.index(name)] = (start + 0.5) / share  # log psi grows as x^2/2
        # as long as walkers are where the other functions may hold psi together, that is no fault
        assert model.fault(theta, math.sqrt(1.9 * GROWTH)) is None
        fault = model.fault(theta, math.sqrt(2.1 * GROWTH))
        assert fault is not None
        assert text in fault
        theta[names.index(name)] = math.nan
        assert model.fault(theta, 1.0) is not None


def test_functions_of_a_coordinate() -> None:
    center, length, reach = torch.tensor([[0.3, -1.0], [0.2, 0.7], [5.0, 2.0]], dtype=torch.float64)
    factor = OneBodyFactor(center, length, reach, 3)
    assert len(factor.degrees) == 9
    c = torch.zeros(9, dtype=torch.complex128)
    sizes = torch.tensor([-1.0, -0.01, 0.0, 0.3, 1.0], dtype=torch.float64)
    x = center + sizes[:, None] * reach  # five particles along a diagonal
    # a half period from one end to the other, through the centre
    stretched = torch.asinh(sizes[:, None] * reach / length) / torch.asinh(reach / length)
    angle = 0.5 * math.pi * (1.0 + stretched)
    for k, (m, n) in enumerate(factor.degrees):
        expected = torch.cos(m * angle[:, 0]) * torch.cos(n * angle[:, 1])
        for place, value in zip(x, expected, strict=True):
            row = factor.rows(c, place.reshape(1, 1, 2))[0, k]
            assert row.imag == 0.0
            assert float(row.real) == pytest.approx(float(value), abs=1e-14)
        together = factor.rows(c, x.reshape(1, 5, 2))[0, k]
        assert float(together.real) == pytest.approx(float(expected.sum()), abs=1e-13)


FREE = {"system.interaction": None, "initial.mean": 0.4, **MOVING}
MOVED = {"to": 1.5, "start": 0.1, "duration": 0.4}
HELD = {
    "one": {**FREE, "system.particles": 1},
    "two": FREE,
    "three": {**FREE, "system.particles": 3},
    "three, coupled": {
        **FREE,
        "system.particles": 3,
        "system.interaction": {"kind": "harmonic", "g": 0.4},
        "march.pair_functions": 0,
        "march.collective_functions": 0,
    },
    "two in a plane": {**FREE, "system.dimensions": 2, "system.trap.omega": [1.0, 2.0]},
    "three in space": {**FREE, "system.dimensions": 3, "system.particles": 3},
    "moving trap": {**FREE, "system.trap.quench": {"center": MOVED}},
    "trap that becomes stiff": {**FREE, "system.trap.quench": {"omega": MOVED}},
    "no trap": {**FREE, "system.trap": None},
}


def solved(model: ClusterModel, theta: Any, x: Tensor, t: float) -> tuple[np.ndarray, float]:
    """theta' (P,) by numpy's least squares, and what is left relative to the targets."""
    equations = model.equations(theta, x, t)
    rows, targets = equations.rows[:, 0].numpy(), equations.targets[:, 0].numpy()
    rows, targets = rows - rows.mean(0), targets - targets.mean()
    rate = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return rate, float(np.linalg.norm(targets - rows @ rate) / np.linalg.norm(targets))


@pytest.mark.parametrize("name", HELD)
def test_the_quadratic_form_holds_the_motion_of_a_gaussian_cloud(name: str) -> None:
    config = tiny_config(HELD[name])
    model = model_of(config)
    x, theta = places(config, 200), elsewhere(model)
    for t in (0.0, 0.25):
        _, left = solved(model, theta, x, t)
        assert left < 1e-10
    form = closed_form(config)
    if form is None:
        assert "trap." in str(HELD[name])  # a trap that changes
        return
    # and it is that of the closed form: velocities are linear in the coefficients
    rate, _ = solved(model, model.start(), x, 0.0)
    start, later = model.velocities(model.start(), x), model.velocities(rate, x)
    for before, after, expected in zip(start, later, exact_rates(form, x, 0.0), strict=True):
        torch.testing.assert_close(after - before, expected, rtol=1e-9, atol=1e-9)


def test_more_functions_leave_less_of_a_collision() -> None:
    changes = {"system.particles": 3, "march.collective_functions": 0, "march.pair_functions": 0}
    left = []
    for more in (
        {},
        {"march.pair_functions": 8},
        {"march.pair_functions": 8, "march.collective_functions": 2},
    ):
        config = tiny_config({**THREE, **changes, **more})
        model = model_of(config)
        left.append(solved(model, elsewhere(model, 0.05), places(config, 500), 0.0)[1])
    assert left[0] > 2.0 * left[1]
    assert left[1] > 1.5 * left[2]
