"""The inputs that come with the program."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from dsmsim.config import load_config
from dsmsim.config.interactions import GaussianPair
from dsmsim.config.system import GaussianState, TrapGroundState
from dsmsim.config.terms import HarmonicTerm

FOLDER = Path(__file__).parents[2] / "inputs"
INPUTS = sorted(FOLDER.glob("*.toml"))


def header(path: Path) -> str:
    text = path.read_text()
    return "\n".join(line for line in text.split("\n\n")[0].splitlines() if line.startswith("#"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_it_loads_and_says_what_it_is(path: Path) -> None:
    config = load_config(path)
    assert config.title
    assert f"dsmsim run inputs/{path.name}" in header(path)
    assert re.search("minute|second", header(path))
    assert re.search(r"V(\(x, t\))? = ", header(path))
    assert config.network.kind != "sorted"


def test_all_are_there() -> None:
    assert {path.stem for path in INPUTS} >= {
        "two_bosons",
        "three_bosons",
        "four_bosons",
        "five_bosons",
        "oscillator_zero_phase",
        "oscillator_phase",
        "oscillator_3d",
        "oscillator_singular",
        "double_well",
        "trap_quench",
        "custom_potential",
        "march_two_bosons",
        "march_five_bosons",
        "march_ten_bosons",
        "march_moving_trap",
        "march_double_well",
        "march_two_dimensions",
        "march_breathing",
        "march_tunnelling",
        "two_dimensions",
    }


BOSONS = [("two_bosons", 2), ("three_bosons", 3), ("four_bosons", 4), ("five_bosons", 5)]


@pytest.mark.parametrize(("name", "particles"), BOSONS)
def test_published_bosons(name: str, particles: int) -> None:
    config = load_config(FOLDER / f"{name}.toml")
    assert (config.system.particles, config.system.hbar, config.system.mass) == (particles, 0.1, 1.0)
    assert config.system.trap == HarmonicTerm(kind="harmonic", omega=1.0)
    assert config.system.interaction == GaussianPair(kind="gaussian", g=1.0, s2=0.1)
    assert isinstance(config.initial, TrapGroundState)
    assert config.time.end == 1.0


@pytest.mark.parametrize("name", ["four_bosons", "five_bosons"])
def test_more_bosons_are_three_bosons_with_an_exact_reference(name: str) -> None:
    path = FOLDER / f"{name}.toml"
    config, three = load_config(path), load_config(FOLDER / "three_bosons.toml")
    assert config.compare.with_ == ["exact"]
    assert f"dsmsim baseline exact inputs/{path.name}" in header(path)
    same = {"title", "system", "compare"}
    assert config.model_dump(exclude=same) == three.model_dump(exclude=same)
    rest = config.system.hbar / (2 * config.system.mass * config.system.particles)
    assert f"hbar / (2 m omega N) = {rest:g} " in header(path)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_references_are_chosen_by_the_program(path: Path) -> None:
    assert load_config(path).compare.with_ in ("auto", ["exact"])


@pytest.mark.parametrize(
    ("name", "phase", "dimensions"), [("zero_phase", 0, 1), ("phase", -5, 1), ("3d", 0, 3)]
)
def test_published_oscillators(name: str, phase: float, dimensions: int) -> None:
    config = load_config(FOLDER / f"oscillator_{name}.toml")
    assert (config.system.coordinates, config.system.hbar, config.system.mass) == (dimensions, 0.01, 1.0)
    assert config.system.trap == HarmonicTerm(kind="harmonic", omega=1.0, center=0.1)
    assert config.initial == GaussianState(kind="gaussian", mean=0.0, variance=0.1, phase=phase)
    assert config.evaluation.samples == 10 * 10_000
    assert config.evaluation.trials == 10


def test_singular_start_spreads_as_its_header_says() -> None:
    path = FOLDER / "oscillator_singular.toml"
    config = load_config(path)
    assert config.system.trap is None
    assert config.network.frame == "comoving"
    assert isinstance(config.initial, GaussianState)
    start = config.initial.variance
    assert isinstance(start, float)
    end = start + config.system.hbar**2 * config.time.end**2 / (4 * config.system.mass**2 * start)
    assert f"s(1) = {end:.4f}" in header(path)
    assert math.sqrt(end / start) == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_those_that_march_say_so_in_their_names(path: Path) -> None:
    config = load_config(path)
    assert (config.train.mode == "march") == path.stem.startswith("march_")
    if config.train.mode == "march":
        assert f"dsmsim check inputs/{path.name}" in header(path)
        assert config.evaluation.nu == 0.0  # the flow; noise would only blur what marching found


@pytest.mark.parametrize("name", ["two_bosons", "five_bosons"])
def test_published_bosons_march_too(name: str) -> None:
    marched, trained = load_config(FOLDER / f"march_{name}.toml"), load_config(FOLDER / f"{name}.toml")
    assert marched.physics_hash() == trained.physics_hash()
    assert marched.evaluation == trained.evaluation


def test_the_moving_trap_moves_the_centre_of_mass_as_its_header_says() -> None:
    path = FOLDER / "march_moving_trap.toml"
    config = load_config(path)
    assert isinstance(config.system.trap, HarmonicTerm)
    quench, steps = config.system.trap.quench["center"], 100_000
    assert isinstance(quench.to, float)
    dt, q, p = config.time.end / steps, 0.0, 0.0
    for k in range(steps):  # leapfrog
        s = min(1.0, max(0.0, ((k + 0.5) * dt - quench.start) / quench.duration))
        q += 0.5 * dt * p
        p += dt * (quench.to * s * s * (3.0 - 2.0 * s) - q)
        q += 0.5 * dt * p
    assert f"it is at {q:.4f} at t = {config.time.end:g}" in header(path)
