"""The default ansatz: its derivatives, its symmetry, and the functions it chooses for a problem."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.variational.initial_part import initial_local
from baselines.variational.jastrow import JastrowAnsatz, jastrow
from baselines.wave.wave_function import Array, ComplexArray
from dsmsim.config import parse_config

TRAP = {"kind": "harmonic", "omega": 1.0}
QUARTIC = {"kind": "expression", "expression": "x**4/4"}
MOVING = {"kind": "gaussian", "mean": 0.3, "variance": 0.06, "phase": 1.2}
PRODUCT = {"kind": "product", "amplitude": "exp(-x**4)", "phase": "sin(x)", "range": [-3.0, 3.0]}


def ansatz(
    particles: int, dimensions: int = 1, trap: Any = TRAP, initial: Any = None, **tvmc: Any
) -> JastrowAnsatz:
    system = {
        "particles": particles,
        "dimensions": dimensions,
        "hbar": 0.1,
        "trap": trap,
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    start = initial or {"kind": "gaussian", "mean": 0.0, "variance": 0.05}
    time = {"end": 1.0}
    return jastrow(
        parse_config({"system": system, "initial": start, "time": time, "baselines": {"tvmc": tvmc}})
    )


CASES: dict[str, JastrowAnsatz] = {
    "one": ansatz(1, initial=MOVING),
    "two": ansatz(2),
    "three in a plane": ansatz(3, 2, three_body_functions=2),
    "four, moving": ansatz(4, initial=MOVING),
    "bumps": ansatz(2, trap=QUARTIC, one_body_functions=3),
    "product": ansatz(2, trap=QUARTIC, initial=PRODUCT),
    "three in space": ansatz(3, 3, pair_functions=3, three_body_functions=3),
}


def some(name: str, count: int = 7) -> tuple[JastrowAnsatz, ComplexArray, Array]:
    made, rng = CASES[name], np.random.default_rng(4)
    parameters, n = len(made.names), made.initial.coordinates
    theta = 0.3 * (rng.standard_normal(parameters) + 1j * rng.standard_normal(parameters))
    return made, theta, made.initial.mean + 0.4 * rng.standard_normal((count, n))


def by_definition(made: JastrowAnsatz, theta: ComplexArray, x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of log psi - log psi_0 for one configuration (n,), term by term."""
    shape = made.shape
    r = x.reshape(shape.particles, shape.dimensions)
    values = [r[:, a].sum() for a in range(shape.dimensions)] if shape.linear else []
    values += [(r[:, a] ** 2).sum() for a in range(shape.dimensions)]
    for a in range(shape.dimensions):
        for center in shape.centers[a]:
            values.append(torch.exp(-((r[:, a] - center) ** 2) / (2.0 * shape.spreads[a])).sum())
    if shape.particles > 1:
        q = {(i, j): ((r[i] - r[j]) ** 2).sum() for i, j in itertools.permutations(range(shape.particles), 2)}
        ordered = list(itertools.combinations(range(shape.particles), 2))
        e = [
            {pair: torch.exp(-value / (2.0 * shape.widest / 2**k)) for pair, value in q.items()}
            for k in range(shape.widths)
        ]
        values.append(torch.stack([q[pair] for pair in ordered]).sum())
        values += [torch.stack([e[k][pair] for pair in ordered]).sum() for k in range(shape.widths)]
        others = {i: [j for j in range(shape.particles) if j != i] for i in range(shape.particles)}
        for s, k in enumerate(shape.chosen):
            for m in shape.chosen[: s + 1]:
                values.append(
                    torch.stack(
                        [
                            sum(e[k][i, j] for j in others[i]) * sum(e[m][i, j] for j in others[i])
                            for i in others
                        ]
                    ).sum()
                )
    o = torch.stack(values)
    return o @ torch.from_numpy(theta.real.copy()), o @ torch.from_numpy(theta.imag.copy())


@pytest.mark.parametrize("name", list(CASES))
def test_derivatives_by_position_against_autograd(name: str) -> None:
    made, theta, x = some(name)
    found = made.local(theta, x)
    start = initial_local(made.initial, made.system.hbar, made.system.mass, x)
    if made.quadratic is not None:  # the constant of psi_0 is left out there
        constant = made.local(made.start(), x).log_psi - start.log_psi
        np.testing.assert_allclose(constant, constant[0], atol=1e-12)
    for c, row in enumerate(torch.from_numpy(x)):
        parts = []
        for part in (0, 1):
            one = row.clone().requires_grad_()
            value = by_definition(made, theta, one)[part]
            (gradient,) = torch.autograd.grad(value, one, create_graph=True)
            laplacian = sum(
                torch.autograd.grad(gradient[i], one, retain_graph=True)[0][i] for i in range(len(one))
            )
            parts.append((value.item(), gradient.detach().numpy(), float(laplacian)))
        (v0, g0, l0), (v1, g1, l1) = parts
        value = made.local(made.start(), x[c : c + 1]).log_psi[0] + v0 + 1j * v1
        assert abs(found.log_psi[c] - value) < 1e-11
        np.testing.assert_allclose(found.gradient[c], start.gradient[c] + g0 + 1j * g1, atol=1e-9)
        assert abs(found.laplacian[c] - start.laplacian[c] - l0 - 1j * l1) < 1e-9 * (1.0 + abs(l0) + abs(l1))


@pytest.mark.parametrize("name", list(CASES))
def test_log_psi_is_linear_and_its_density_agrees(name: str) -> None:
    made, theta, x = some(name)
    o = made.derivatives(theta, x)
    log_psi = made.local(theta, x).log_psi
    np.testing.assert_allclose(
        log_psi, made.local(made.start(), x).log_psi + o @ theta, rtol=1e-12, atol=1e-12
    )
    density = made.log_density(theta, x) - 2.0 * log_psi.real
    np.testing.assert_allclose(density, density[0], atol=1e-11)
    assert o.shape == (len(x), len(made.names))
    assert len(set(made.names)) == len(made.names)


@pytest.mark.parametrize("name", list(CASES))
def test_exchange_changes_nothing(name: str) -> None:
    made, theta, x = some(name)
    shape = made.shape
    order = np.random.default_rng(0).permutation(shape.particles)
    turned = x.reshape(len(x), shape.particles, shape.dimensions)[:, order].reshape(x.shape)
    np.testing.assert_allclose(
        made.local(theta, np.ascontiguousarray(turned)).log_psi, made.local(theta, x).log_psi
    )


@pytest.mark.parametrize("name", list(CASES))
def test_it_starts_at_the_initial_state(name: str) -> None:
    made, _, x = some(name)
    found = made.local(made.start(), x)
    exact = initial_local(made.initial, made.system.hbar, made.system.mass, x)
    np.testing.assert_allclose(found.gradient, exact.gradient, atol=1e-12)
    np.testing.assert_allclose(found.laplacian, exact.laplacian, atol=1e-12)


def test_functions_fit_the_problem() -> None:
    assert ansatz(1).names == ("x^2",)  # nothing can move it, nothing interacts
    assert ansatz(1, initial=MOVING).names == ("x", "x^2")
    assert ansatz(1, 2, initial=MOVING).names == ("x", "y", "x^2", "y^2")
    assert ansatz(2).names == ("x^2", "pair r^2", *(f"pair {k}" for k in range(6)))
    triples = ["triple 0 0", "triple 4 0", "triple 4 4"]
    assert ansatz(3).names[8:] == tuple(triples)
    assert sum("bump" in name for name in ansatz(2, trap=QUARTIC).names) == 6
    assert ansatz(2).shape.widest == pytest.approx(1.6)
