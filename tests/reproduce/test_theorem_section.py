"""The convergence theorem's measurement against cases that can be worked out, and its chapter."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsmsim.config import Config
from dsmsim.networks import Fields, PotentialFields, build_fields
from dsmsim.networks.frame import natural_frame
from dsmsim.system import ClosedForm, System, build_initial, build_system, closed_form
from tools.reproduce.found import SIGNATURE, Found
from tools.reproduce.measurements import coupled_processes as measured
from tools.reproduce.measuring import measure
from tools.reproduce.profile import PROFILES
from tools.reproduce.sections import theorem

INPUT = "inputs/oscillator_zero_phase.toml"
SAMPLES, STEPS = 64, 50


class ClosedFields(Fields):
    """The fields of one closed form in the place of trained ones of the problem in `config`."""

    def __init__(self, config: Config, exact: ClosedForm) -> None:
        initial = build_initial(config)
        super().__init__(initial, natural_frame(config, build_system(config), initial), exact_initial=False)
        self.exact = exact

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v) at x (B, n), t (B, 1)."""
        return self.exact.u(x, t), self.exact.v(x, t)

    def networks(self) -> dict[str, nn.Module]:
        return {}

    def numbers_per_point(self) -> int:
        return 1


def problem(**changes: object) -> tuple[Config, System, ClosedForm]:
    """The input with changes of dotted keys, its system and its closed form."""
    config = measured.changed_config(INPUT, {key.replace("__", "."): value for key, value in changes.items()})
    exact = closed_form(config)
    assert exact is not None
    return config, build_system(config), exact


def noise_of(config: Config, steps: int = STEPS) -> measured.Noise:
    rng = np.random.default_rng(5)
    start = torch.as_tensor(build_initial(config).sample(rng, SAMPLES))
    return measured.Noise(start, torch.as_tensor(rng.standard_normal((steps, SAMPLES, start.shape[1]))))


def compared(other: ClosedForm) -> tuple[measured.Distance, dict[str, float], float, float]:
    """Distance, loss, natural velocity and first-order constant of another problem's fields in ours."""
    config, system, exact = problem()
    fields, noise = ClosedFields(config, other), noise_of(config)
    truth = measured.paths(measured.exact_fields(exact), system, 1.0, noise)
    walk = measured.paths(fields, system, 1.0, noise)
    found = measured.loss(fields, system, 1.0, walk, np.random.default_rng(1))
    velocity = fields.frame.velocity
    constant, _ = measured.constants(exact, system, velocity, 1.0)
    return measured.distance(truth, walk, 1.0), found, velocity, constant


def test_a_trap_in_the_wrong_place_gives_the_known_distance_and_loss() -> None:
    """With the centre at c' every path is off by (c' - c)(1 - cos t), and Newton's residual is c' - c."""
    shift = 0.3
    _, _, other = problem(system__trap__center=0.1 + shift)
    far, found, velocity, constant = compared(other)
    assert far.value == pytest.approx((shift * (1.0 - math.cos(1.0))) ** 2, rel=1e-3)
    assert far.error == pytest.approx(0.0, abs=1e-6 * far.value)
    assert far.time == 1.0
    assert found["newton"] == pytest.approx((shift / velocity) ** 2, rel=1e-9)
    assert found["score"] == pytest.approx(0.0, abs=1e-12)
    assert found["initial"] == pytest.approx(0.0, abs=1e-12)
    assert found["loss"] == pytest.approx(found["newton"])
    assert far.value / 0.1 <= constant * found["loss"]


def test_a_wrong_start_gives_the_known_distance_and_loss() -> None:
    """With a phase k x every path is off by hbar k sin t, and only v is wrong, by hbar k at t = 0."""
    wavenumber, kick = 20.0, 0.2
    _, _, other = problem(initial__phase=wavenumber)
    far, found, velocity, constant = compared(other)
    assert far.value == pytest.approx((kick * math.sin(1.0)) ** 2, rel=1e-3)
    assert found["initial"] == pytest.approx((kick / velocity) ** 2, rel=1e-9)
    assert found["score"] + found["newton"] == pytest.approx(0.0, abs=1e-12)
    assert far.value / 0.1 <= constant * found["loss"]


def test_the_constant_of_a_ground_state_is_the_integral_done_by_hand() -> None:
    """A density that stands still: k(t, tau) = (1 - exp(tau - t)) with omega = 1, largest at t = T."""
    _, system, exact = problem(system__trap__center=0.0, initial__variance=0.005)
    tau = np.linspace(0.0, 1.0, 2001)
    kernel = 1.0 - np.exp(tau - 1.0)
    velocity = 0.7
    by_hand = 2.0 * velocity**2 / 0.005 * (np.trapezoid(kernel**2, tau) + kernel[0] ** 2)
    constant, lemma = measured.constants(exact, system, velocity, 1.0)
    assert constant == pytest.approx(by_hand, rel=1e-4)
    assert lemma > constant


def test_residuals_of_a_potential_are_those_of_its_velocities() -> None:
    """The gradients of Madelung's residuals against Nelson's equations for u and v, by differences."""
    config, system, _ = problem()
    fields = build_fields(config, system, build_initial(config)).double()
    assert isinstance(fields, PotentialFields)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in fields.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    x = 0.4 * torch.randn(40, 1, generator=generator, dtype=torch.float64)
    t = 0.1 + 0.8 * torch.rand(40, 1, generator=generator, dtype=torch.float64)

    def both(y: Tensor, s: Tensor) -> Tensor:
        u, v = fields(y, s)
        return torch.cat([u, v], 1).detach()

    h, d = 1e-3, 1e-4
    u, v = both(x, t).T
    ux, vx = ((both(x + h, t) - both(x - h, t)) / (2 * h)).T
    uxx, vxx = ((both(x + h, t) - 2 * both(x, t) + both(x - h, t)) / h**2).T
    ut, vt = ((both(x, t + d) - both(x, t - d)) / (2 * d)).T
    half = 0.5 * system.hbar
    score = ut + ux * v + u * vx + half * vxx
    newton = vt + system.gradient(x, t)[:, 0] - u * ux + v * vx - half * uxx
    unit = fields.frame.velocity / fields.frame.end
    expected = (torch.stack([score, newton], 1) / unit).square()
    assert float(expected.mean()) > 1e-2
    torch.testing.assert_close(
        measured.squared_residuals(fields, system, x, t), expected, rtol=1e-3, atol=1e-4
    )


def test_half_the_step_is_the_same_brownian_path() -> None:
    """Without drift both end at the same place."""
    config, system, _ = problem()
    fine = noise_of(config)
    coarse = fine.coarser()

    def still(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), torch.zeros_like(x)

    ends = [measured.paths(still, system, 1.0, noise)[-1] for noise in (fine, coarse)]
    torch.testing.assert_close(ends[0], ends[1])
    moved = (ends[0] - fine.start).square().mean()
    assert float(moved) == pytest.approx(system.hbar / system.mass, rel=0.6)


def test_epochs_begin_before_the_first_and_end_with_the_last() -> None:
    epochs = measured.epochs_to_measure(120, 22)
    assert epochs[0] == 0
    assert epochs[-1] == 120
    assert epochs == sorted(set(epochs))
    assert len(epochs) <= 22


def test_chapter_of_a_trial_and_of_nothing(tmp_path: Path) -> None:
    """One measured case makes a picture and both tables; none makes words alone."""
    profile = PROFILES["trial"]
    task = next(task for task in theorem.tasks(profile) if task.name.startswith("zero_phase-potential"))
    found = Found(tmp_path)
    empty = theorem.chapter(profile, found)
    assert [type(block).__name__ for block in empty.blocks] == ["Words"]
    directory = found.directory(task)
    directory.mkdir(parents=True)
    measure(task, directory)
    (directory / SIGNATURE).write_text(json.dumps(task.signature()), encoding="utf-8")
    kinds = [type(block).__name__ for block in theorem.chapter(profile, found).blocks]
    assert kinds == ["Words", "Picture", "Grid", "Words", "Grid", "Words"]
    columns = found.columns(task)
    assert columns is not None
    assert columns["epoch"].tolist() == [0, 1, 2, 3, 6]
    assert np.all(columns["distance"] > 0.0)
    tried = np.isfinite(columns["distance_halved"])
    assert tried.sum() == 2
    np.testing.assert_allclose(columns["distance_halved"][tried], columns["distance"][tried], rtol=0.05)
