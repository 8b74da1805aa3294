"""The examples that the pages show do what the pages say."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from documented import EXAMPLES, module_at, toml_of
from tiny import tiny_config

from dsmsim.config import Config, load_config
from dsmsim.config.run_tables import NetworkTable
from dsmsim.measure.observable import Sampled
from dsmsim.networks import build_fields
from dsmsim.networks.build import VELOCITY_KINDS
from dsmsim.residuals.loss import residual_loss
from dsmsim.store import read_results
from dsmsim.system import build_initial, build_system, closed_form


@pytest.fixture(autouse=True)
def beside_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the examples are found, as those in a user's directory are."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_the_potentials_are_used_by_their_input() -> None:
    config = load_config(EXAMPLES / "ring.toml")
    system = build_system(config)
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.full((7, 1), 0.3, dtype=torch.float64)
    distance = x.reshape(7, 2, 2).norm(dim=-1)
    ring = (0.5 * 2.0 * (distance - 1.0) ** 2 - 0.2 * 0.3 * x.reshape(7, 2, 2)[..., 0]).sum(1)
    disk = 0.5 * 0.4 / (1.0 + (x[:, :2] - x[:, 2:]).norm(dim=-1) ** 6 / 0.5**6)
    torch.testing.assert_close(system.potential(x, t), ring + disk, rtol=0.0, atol=1e-5)
    assert not system.is_static
    points = x.requires_grad_()
    (slope,) = torch.autograd.grad(system.potential(points, t).sum(), points)
    torch.testing.assert_close(system.gradient(x.detach(), t), slope)


def test_entry_points_of_the_package_name_what_is_there() -> None:
    project = toml_of((EXAMPLES / "package" / "pyproject.toml").read_text(encoding="utf-8"))
    groups: Any = project["project"]
    for group, points in groups["entry-points"].items():
        assert group.removeprefix("dsmsim.") in ("potentials", "interactions", "observables", "methods")
        for target in points.values():
            module, _, name = target.partition(":")
            assert callable(getattr(module_at(EXAMPLES / f"{module}.py"), name))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_observable_averages_with_its_error(dimensions: int) -> None:
    system = SimpleNamespace(dimensions=dimensions)
    context: Any = SimpleNamespace(system=system, times=np.array([0.0, 1.0]), device=torch.device("cpu"))
    observable = module_at(EXAMPLES / "my_observables.py").build(context)
    generator = torch.Generator().manual_seed(3)
    for index, shift in enumerate((0.0, 1.0)):
        x = shift + torch.randn(3 * dimensions, 4000, dtype=torch.float64, generator=generator).t()
        observable.add(Sampled(index, float(index), x, x, x))
    found = observable.results(np.array([4000.0, 4000.0]))["user"]
    right = 0.5 * (1.0 + math.erf(1.0 / math.sqrt(2.0)))
    exact = np.array([0.25, right**3 + (1.0 - right) ** 3])
    assert np.all(np.abs(found["same_side"] - exact) < 5.0 * found["same_side_stderr"])
    assert np.all(found["same_side_stderr"] < 0.01)


def oscillator() -> Config:
    """Two free bosons in a harmonic trap: classical trajectories are exact."""
    changes = {"system.interaction": None, "time.save": 3, "initial.phase": 0.7}
    return tiny_config(changes)


def test_the_method_is_exact_in_a_harmonic_trap(tmp_path: Path) -> None:
    config = oscillator()
    wigner = module_at(EXAMPLES / "wigner.py")
    wigner.solve(config, tmp_path, progress=lambda line: None)
    found, exact = read_results(tmp_path / "results.h5").results, closed_form(config)
    assert exact is not None
    times = np.asarray(config.time.save_times)
    observables = found["observables"]
    for name, true in (("mean", exact.mean(times)), ("variance", exact.variance(times))):
        error = observables[name] - true.reshape(observables[name].shape)
        assert np.abs(error / observables[f"{name}_stderr"]).max() < 5.0
    cell = np.diff(found["density"]["x"])[0]
    np.testing.assert_allclose(found["density"]["density"].sum(1) * cell, 1.0, rtol=1e-9)


def test_the_method_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    from dsmsim.errors import ConfigError

    product = {"kind": "product", "amplitude": "exp(-x**2)", "range": [-4.0, 4.0]}
    config = tiny_config({"initial": product})
    with pytest.raises(ConfigError, match="Gaussian"):
        module_at(EXAMPLES / "wigner.py").solve(config, tmp_path)


def test_the_network_starts_exactly_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_at(EXAMPLES / "sine_mlp.py")
    monkeypatch.setitem(VELOCITY_KINDS, "sine", module.SineMLP)
    config = tiny_config()
    network = NetworkTable.model_construct(**config.network.model_dump() | {"kind": "sine"})
    config = config.model_copy(update={"network": network})
    system, initial = build_system(config), build_initial(config)
    fields = build_fields(config, system, initial)
    costs = module_at(EXAMPLES / "sine_costs.py").SineCosts(config)
    assert 2 * costs.parameters() == sum(weight.numel() for weight in fields.parameters())
    x = torch.from_numpy(initial.sample(np.random.default_rng(0), 64))
    u, v = fields(x, torch.zeros(64, 1, dtype=torch.float64))
    torch.testing.assert_close(u, initial.u(x))
    torch.testing.assert_close(v, initial.v(x))
    t = torch.linspace(0.0, 1.0, 64, dtype=torch.float64)[:, None]
    optimizer, losses = torch.optim.Adam(fields.parameters(), lr=0.02), []
    for _ in range(60):
        optimizer.zero_grad()
        squares = residual_loss(fields, system, "gradient")(x, t)
        loss = sum(part.mean() for part in squares)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
