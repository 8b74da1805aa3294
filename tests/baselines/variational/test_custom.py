"""The user's own ansatz: what is accepted, what is found wrong, and derivatives by torch."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ansatz_examples import VARIANCE, bosons, of_this_module, stretched

from baselines.variational.ansatz import Ansatz
from baselines.variational.custom import BLOCK, TorchAnsatz, custom
from baselines.variational.hermite import Hermite, hermite
from dsmsim.errors import ConfigError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "tvmc_own_ansatz.md"


def test_a_torch_function_in_several_blocks() -> None:
    ansatz = custom(of_this_module("stretched", 2, dimensions=2))
    x = np.random.default_rng(0).normal(size=(BLOCK + 3, 4))
    theta = np.array([0.3 - 0.2j])
    a = 0.25 / VARIANCE + theta[0]
    square = (x**2).sum(1)
    local = ansatz.local(theta, x)
    np.testing.assert_allclose(local.log_psi, -a * square, rtol=1e-13)
    np.testing.assert_allclose(local.gradient, -2.0 * a * x, rtol=1e-13)
    np.testing.assert_allclose(local.laplacian, np.full(len(x), -8.0 * a), rtol=1e-13)
    np.testing.assert_allclose(ansatz.derivatives(theta, x), -square[:, None] + 0j, rtol=1e-13)
    np.testing.assert_allclose(ansatz.log_density(theta, x), -2.0 * a.real * square, rtol=1e-13)
    assert not ansatz.linear


def test_a_function_that_is_not_linear_in_its_parameters() -> None:
    # exp(theta_0 theta_1 x_1) sin(theta_1 x_2): every second derivative is known
    def log_psi(theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return theta[0] * theta[1] * x[:, 0] + torch.sin(theta[1] * x[:, 1]).log()

    theta, x = np.array([0.4 + 0.3j, 1.1 - 0.6j]), np.random.default_rng(0).normal(size=(20, 2))
    ansatz = TorchAnsatz(theta, log_psi)
    local, argument = ansatz.local(theta, x), theta[1] * x[:, 1]
    cotangent = np.cos(argument) / np.sin(argument)
    gradient = np.stack([np.full(20, theta[0] * theta[1]), theta[1] * cotangent], 1)
    np.testing.assert_allclose(local.gradient, gradient, rtol=1e-12)
    np.testing.assert_allclose(local.laplacian, -((theta[1] / np.sin(argument)) ** 2), rtol=1e-12)
    expected = np.stack([theta[1] * x[:, 0], theta[0] * x[:, 0] + x[:, 1] * cotangent], 1)
    np.testing.assert_allclose(ansatz.derivatives(theta, x), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "ansatz", [TorchAnsatz(np.zeros(1) + 0j, stretched(None)[1]), Hermite(2, 3, 0.0, 1.0)]
)
def test_a_rank_without_walkers(ansatz: Ansatz) -> None:
    theta, nothing = ansatz.start(), np.empty((0, 2))
    local = ansatz.local(theta, nothing)
    assert (local.log_psi.shape, local.gradient.shape, local.laplacian.shape) == ((0,), (0, 2), (0,))
    assert ansatz.derivatives(theta, nothing).shape == (0, len(theta))
    assert ansatz.log_density(theta, nothing).shape == (0,)


def test_an_object_is_used_as_it_is() -> None:
    ansatz = custom(of_this_module("by_hand", 3))
    assert ansatz.linear
    assert ansatz.names == ("x^2",)
    theta, x = np.array([0.2 + 0.1j]), np.random.default_rng(0).normal(size=(5, 3))
    other = custom(of_this_module("stretched", 3))
    np.testing.assert_allclose(ansatz.local(theta, x).gradient, other.local(theta, x).gradient)
    np.testing.assert_allclose(ansatz.derivatives(theta, x), other.derivatives(theta, x).real)


def test_the_published_form_as_a_torch_function() -> None:
    ansatz = custom(of_this_module("hermite", 3))
    expected = hermite(bosons(3, ansatz="hermite", n_max=1))
    np.testing.assert_array_equal(ansatz.start(), expected.start())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong_laplacian", "the Laplacian of log psi differs from differences"),
        ("wrong_derivatives", "O differs from differences"),
        ("wrong_density", "log_density is not 2 Re log psi"),
        ("wrong_start", "is not psi_0 at the start"),
        ("not_analytic", "O differs from differences"),
        ("not_symmetric", "changes when particles are exchanged"),
        ("mixing", "depends on the other ones"),
        ("not_complex", "log psi has type torch.float64"),
        ("not_an_ansatz", "float has no linear, names, start"),
        ("raising", "raised KeyError"),
        ("not_callable", re.escape("is not callable; name a function build(config)")),
        ("absent", "cannot be imported"),
    ],
)
def test_what_is_wrong_is_said(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        custom(of_this_module(name, 2))
    assert str(caught.value).startswith(f"baselines.tvmc.function = 'ansatz_examples:{name}': ")
    assert caught.value.key == "baselines.tvmc.function"


def test_no_function_is_named() -> None:
    with pytest.raises(ConfigError, match=r"baselines\.tvmc\.function: .*needs a function"):
        custom(bosons(2, ansatz="python"))


@pytest.mark.parametrize("module", ["contact", "breathing"])
def test_the_examples_of_the_documentation(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / f"{module}.py").write_text(dict(blocks)[module], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        ansatz = custom(bosons(3, ansatz="python", function=f"{module}:build"))
    finally:
        sys.modules.pop(module, None)
    assert len(ansatz.start()) == len(ansatz.names)
