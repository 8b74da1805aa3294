"""Which settings of an input are choices: found also where a default depends on other keys."""

from __future__ import annotations

from pathlib import Path

from tiny import tiny_config

from dsmsim.config import load_config, parse_config
from dsmsim.config.defaults import changed_settings, settings_of

ROOT = Path(__file__).resolve().parents[2]
PHYSICS = {
    "system": {"particles": 2, "hbar": 0.1, "trap": {"kind": "harmonic", "omega": 1.0}},
    "time": {"end": 1.0},
}


def test_physics_is_no_choice_of_a_method() -> None:
    assert changed_settings(parse_config(PHYSICS)) == []
    known = {setting.key: setting for setting in settings_of(parse_config(PHYSICS))}
    assert known["system.hbar"].is_physics
    assert not known["system.hbar"].is_default  # 1 otherwise
    assert known["system.mass"].is_default
    assert known["time.end"].default is None  # it has none
    assert known["train.epochs"].meaning.startswith("optimiser steps")


def test_defaults_that_depend_on_other_keys() -> None:
    config = parse_config({**PHYSICS, "train": {"optimizer": "soap", "epochs": 1000, "points": 512}})
    # written out as they are, the epochs are those of the optimiser all the same
    found = {setting.key: (setting.value, setting.default) for setting in changed_settings(config)}
    assert found == {"train.optimizer": ("soap", "gauss_newton"), "train.points": (512, 1024)}
    again = parse_config(config.to_dict())
    assert {setting.key for setting in changed_settings(again)} == set(found)


def test_absent_keys_and_given_names() -> None:
    terms = {"bump": {"kind": "gaussian", "amplitude": 1.0, "width": 0.2}}
    data = {**PHYSICS, "system": {**PHYSICS["system"], "terms": terms}, "evaluation": {"nu": 0.0}}
    known = {setting.key: setting for setting in settings_of(parse_config(data))}
    assert [s.key for s in known.values() if not s.is_default and not s.is_physics] == ["evaluation.nu"]
    assert known["evaluation.nu"].default is None
    assert known["system.terms.bump.width"].meaning == "standard deviation (length), > 0"
    assert known["compare.with"].value == "auto"
    assert "closed form" in known["compare.with"].meaning


def test_choices_that_forbid_the_default_of_another() -> None:
    """train.block must divide the trajectories: without it the input would be wrong."""
    found = {setting.key: setting for setting in changed_settings(tiny_config())}
    assert found["train.trajectories"].value == 12
    assert found["train.block"].value == 2
    assert found["network.kind"].value == "mlp"
    assert found["network.kind"].default == "potential"


def test_the_default_of_every_shipped_input_is_found() -> None:
    keys = {
        path.stem: {setting.key for setting in changed_settings(load_config(path))}
        for path in (ROOT / "inputs").glob("*.toml")
    }
    assert keys["trap_quench"] == set()
    assert keys["march_two_bosons"] == {"train.mode", "evaluation.nu", "evaluation.draws"}
