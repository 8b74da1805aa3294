"""Natural units: the clock, the limits of the comoving frame, and independence of the user's units."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from field_problems import INITIALS, problem
from network_fields import fields_of, points

from dsmsim.config import Config, parse_config
from dsmsim.networks import Fields, Frame
from dsmsim.residuals import initial_loss, residual_loss
from dsmsim.system import build_system

FRAMES = ["lab", "comoving"]


def frame(kind: Literal["lab", "comoving"], tau: float, end: float = 1.5, drift: float = 0.0) -> Frame:
    """Units of two coordinates of unequal width."""
    return Frame(kind, np.array([0.3, -0.2]), np.array([0.5, 1.1]), np.full(2, drift), tau, 0.8, end)


@pytest.mark.parametrize("initial", INITIALS)
@pytest.mark.parametrize("kind", FRAMES)
def test_clock_and_time_are_inverse(kind: str, initial: str) -> None:
    units = fields_of(problem(frame=kind, initial=initial)).frame
    times = np.linspace(0.0, units.end, 41)
    clocks = units.clock_at(times)
    assert clocks[0] == 0.0
    assert clocks[-1] == pytest.approx(1.0, abs=1e-15)
    assert np.all(np.diff(clocks) > 0.0)
    np.testing.assert_allclose(units.time_at(clocks), times, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(units.clock(torch.from_numpy(times)).numpy(), clocks, rtol=1e-15)
    for shape in ((41,), (41, 1)):
        assert units.clock(torch.from_numpy(times).reshape(shape)).shape == shape


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("tau", [1e-6, 1e-2, 1.0, 1e3])
def test_gate_opens_from_zero_to_one(kind: Literal["lab", "comoving"], tau: float) -> None:
    units = frame(kind, tau)
    t = torch.linspace(0.0, 1.5, 31, dtype=torch.float64).unsqueeze(1)
    gate = units.gate(t).squeeze(1)
    assert gate[0] == 0.0
    assert gate[-1].item() == pytest.approx(1.0, abs=1e-14)
    assert (gate.diff() > 0.0).all()
    assert units.growth(t)[0].tolist() == [1.0] * 2


def test_a_comoving_frame_has_the_width_and_place_of_a_free_packet() -> None:
    hbar, mass = 0.3, 0.7
    variance = [0.02, 0.3]
    initial = {"kind": "gaussian", "mean": [0.1, -0.4], "variance": variance, "phase": [2.0, -1.0]}
    config = problem(particles=1, dimensions=2, initial=initial, frame="comoving")
    units = fields_of(config).frame
    t = torch.linspace(0.0, 1.5, 7, dtype=torch.float64).unsqueeze(1)
    s0 = torch.tensor(variance, dtype=torch.float64)
    width = units.sigma * units.growth(t)
    torch.testing.assert_close(width**2, s0 + (hbar * t / (2.0 * mass)) ** 2 / s0, rtol=1e-12, atol=0.0)
    start, speed = torch.tensor([[0.1, -0.4], [2.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(units.center_at(t), start + hbar / mass * speed * t, rtol=1e-12, atol=1e-15)
    assert units.tau == pytest.approx(2.0 * mass * 0.02 / hbar)


LIMIT_OF = {"growth": "growth", "gate": "gate", "clock": "clock", "center": "center_at"}


@pytest.mark.parametrize("quantity", LIMIT_OF)
def test_comoving_becomes_lab_when_nothing_spreads(quantity: str) -> None:
    """Quadratically in T/tau, for a packet at rest."""
    t = torch.linspace(0.1, 1.5, 5, dtype=torch.float64).unsqueeze(1)
    taus = np.array([50.0, 100.0, 200.0, 400.0])

    def value(units: Frame) -> torch.Tensor:
        found: torch.Tensor = getattr(units, LIMIT_OF[quantity])(t)
        return found

    lab = value(frame("lab", 1.0))
    errors = [(value(frame("comoving", tau)) - lab).abs().max().item() for tau in taus]
    if quantity == "center":
        assert errors == [0.0] * 4
        return
    slope = np.polyfit(np.log(taus), np.log(errors), 1)[0]
    assert slope == pytest.approx(-2.0, abs=0.02)


@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
def test_fields_of_a_wide_packet_are_the_same_in_both_frames(kind: str) -> None:
    """The same networks in both frames; a packet at rest with tau = 2 m sigma^2 / hbar >> T."""
    widths, errors = np.array([40.0, 80.0, 160.0, 320.0]), []
    for variance in widths:
        initial = {"kind": "gaussian", "mean": 0.4, "variance": float(variance)}
        lab, comoving = (fields_of(problem(kind, initial=initial, frame=f)) for f in FRAMES)
        x, t = points(problem(kind, initial=initial))
        pairs = zip(lab(x, t), comoving(x, t), strict=True)
        errors.append(max((a - b).abs().max().item() for a, b in pairs) / lab.frame.velocity)
    assert np.polyfit(np.log(widths), np.log(errors), 1)[0] == pytest.approx(-2.0, abs=0.05)
    assert errors[-1] < 1e-5


def rescaled(
    kind: str, units: str, initial: dict[str, Any], length: float, time: float, mass: float
) -> Config:
    """One physical problem, written in units `length`, `time` and `mass` times smaller."""
    energy = mass * length**2 / time**2
    gaussian = {"mean": length, "variance": length**2, "phase": 1.0 / length}
    start = {key: value if key == "kind" else value * gaussian[key] for key, value in initial.items()}
    return parse_config(
        {
            "system": {
                "particles": 2,
                "dimensions": 2,
                "hbar": 0.3 * energy * time,
                "mass": 0.7 * mass,
                "trap": {"kind": "harmonic", "omega": 1.3 / time, "center": 0.2 * length},
                "terms": {"hill": {"kind": "gaussian", "amplitude": 0.4 * energy, "width": 0.5 * length}},
                "interaction": {"kind": "gaussian", "g": 1.0 * energy * length, "s2": 0.1 * length**2},
            },
            "initial": start,
            "time": {"end": 1.5 * time},
            "network": {"kind": kind, "width": 8, "frame": units},
            "train": {"precision": "float64"},
        }
    )


SCALES = [(1e-2, 1.0, 1.0), (1.0, 50.0, 1.0), (1.0, 1.0, 1e4), (3.0, 1e-3, 0.2)]
STARTS = [INITIALS["ground"], INITIALS["moving"], INITIALS["narrow"]]


@pytest.mark.parametrize("initial", STARTS, ids=["ground", "moving", "narrow"])
@pytest.mark.parametrize("units", FRAMES)
@pytest.mark.parametrize("kind", ["mlp", "equivariant"])
def test_fields_and_losses_do_not_depend_on_the_units(kind: str, units: str, initial: dict[str, Any]) -> None:
    """Another unit of length, time or mass (and so of hbar) gives the same velocities and the same losses."""

    def build(length: float, time: float, mass: float) -> tuple[Config, Fields]:
        config = rescaled(kind, units, initial, length, time, mass)
        return config, fields_of(config)

    config, fields = build(1.0, 1.0, 1.0)
    x, t = points(config)
    before = fields(x, t)
    losses = residual_loss(fields, build_system(config), "gradient")(x, t)
    for length, time, mass in SCALES:
        other, moved = build(length, time, mass)
        assert moved.frame.velocity == pytest.approx(fields.frame.velocity * length / time, rel=1e-12)
        for a, b in zip(before, moved(x * length, t * time), strict=True):
            scale = a.abs().max().item()
            torch.testing.assert_close(b * time / length, a, rtol=0.0, atol=1e-11 * scale)
        found = residual_loss(moved, build_system(other), "gradient")(x * length, t * time)
        torch.testing.assert_close(found.score, losses.score, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(found.newton, losses.newton, rtol=1e-8, atol=1e-12)


def test_initial_loss_does_not_depend_on_the_units() -> None:
    values = []
    for length, time, mass in [(1.0, 1.0, 1.0), *SCALES]:
        config = rescaled("mlp", "lab", INITIALS["moving"], length, time, mass)
        network = config.network.model_copy(update={"initial": "learned"})
        fields = fields_of(config.model_copy(update={"network": network}))
        x, _ = points(config)
        values.append(initial_loss(fields, x).item())
    assert values[0] > 0.1
    assert values == pytest.approx([values[0]] * len(values), rel=1e-10)


@pytest.mark.parametrize(
    ("largest", "initial", "omega", "end"),
    [
        ("osmotic", {"kind": "gaussian", "variance": 0.01}, 0.2, 1.0),
        ("speed", {"kind": "gaussian", "variance": 0.5, "phase": 6.0}, 0.2, 1.0),
        ("kick", {"kind": "gaussian", "variance": 0.5, "mean": 1.0, "phase": 1.0}, 1.0, 5.0),
    ],
)
@pytest.mark.parametrize("kind", FRAMES)
def test_unit_of_velocity_is_the_largest_of_three(
    kind: str, largest: str, initial: dict[str, Any], omega: float, end: float
) -> None:
    """hbar/(2 m sigma), rms v0 and rms |grad V| T/m, here by hand for one particle in a trap."""
    trap = {"trap": {"kind": "harmonic", "omega": omega}}
    config = problem(particles=1, initial=initial, system=trap, end=end, frame=kind)
    sizes = {
        "osmotic": 0.3 / (2.0 * 0.7 * np.sqrt(initial["variance"])),
        "speed": 0.3 / 0.7 * initial.get("phase", 0.0),
        "kick": omega**2 * end * np.sqrt(initial["variance"] + initial.get("mean", 0.0) ** 2),
    }
    assert max(sizes, key=lambda name: sizes[name]) == largest
    assert fields_of(config).frame.velocity == pytest.approx(sizes[largest], rel=0.1)


def test_unit_of_acceleration() -> None:
    """In the lab velocity / T; for a spreading packet velocity / tau at first, velocity / t in the end."""
    t = torch.tensor([[0.0], [1.5]], dtype=torch.float64)
    assert frame("lab", 0.1).acceleration(t) == pytest.approx(0.8 / 1.5)
    comoving = torch.as_tensor(frame("comoving", 0.1).acceleration(t)).flatten().tolist()
    assert comoving == pytest.approx([0.8 / 0.1, 0.8 / 1.5], rel=0.01)
