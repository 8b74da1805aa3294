"""The typed input: defaults, round trips, derived values, and what importing it may load."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from config_examples import changed, every_table, two_bosons
from pydantic import ValidationError

from dsmsim.config import (
    CheckpointCadence,
    Config,
    load_config,
    parse_cadence,
    parse_config,
    parse_duration,
    per_axis,
)
from dsmsim.config.expressions import check_expression, evaluator, symbol, to_sympy
from dsmsim.tensor_shapes import balanced_modes, bond_limits, tt_ranks

BAD_FILE = (
    "import dsmsim.config as c\ntry:\n    c.load_config({path!r})\nexcept c.load.ConfigError:\n    {show}"
)
SHOW_LOADED = "import sys; print(sorted({'torch', 'mpi4py', 'h5py', 'scipy'} & set(sys.modules)))"


def test_defaults_of_the_contract() -> None:
    config = parse_config(two_bosons())
    assert (config.title, config.seed) == ("", 1)
    assert config.system.dimensions == 1
    assert config.initial.kind == "trap_ground_state"
    assert (config.time.steps, config.time.save) == (16, 101)
    assert (config.network.kind, config.network.width, config.network.blocks) == ("potential", 20, 1)
    assert (config.network.initial, config.network.frame) == ("exact", "lab")
    assert config.network.tensor is None
    assert (config.sampler.scheme, config.sampler.nu) == ("heun", 1.0)
    train = config.train
    assert (train.epochs, train.trajectories, train.points, train.block) == (120, 64, 1024, 32)
    assert (train.optimizer, train.learning_rate, train.warmup) == ("gauss_newton", 1.0, 0)
    assert (config.evaluation.samples, config.evaluation.trials, config.evaluation.bins) == (40960, 10, 80)
    assert config.compare.with_ == "auto"
    assert config.output.cadence == CheckpointCadence("seconds", 300.0)
    assert (config.run.timeout_seconds, config.run.time_limit_seconds) == (300.0, None)
    assert config.run.margin_seconds == 120.0


def test_defaults_follow_the_network_and_the_optimizer() -> None:
    train = parse_config(changed(two_bosons(), "network", {"kind": "mlp"})).train
    assert (train.optimizer, train.epochs, train.learning_rate) == ("soap", 1000, 1e-2)
    chosen = changed(changed(two_bosons(), "network", {"kind": "mlp"}), "train", {"optimizer": "adam"})
    train = parse_config(chosen).train
    assert (train.optimizer, train.epochs, train.learning_rate) == ("adam", 4000, 3e-3)
    given = changed(two_bosons(), "train", {"optimizer": "soap", "epochs": 7, "warmup": 2})
    assert (parse_config(given).train.epochs, parse_config(given).train.block) == (7, 8)


@pytest.mark.parametrize("make", [two_bosons, every_table])
def test_resolved_input_is_toml_and_reads_back_the_same(make: Any) -> None:
    config = parse_config(make())
    text = tomli_w.dumps(config.to_dict())
    assert parse_config(tomllib.loads(text)) == config


def test_every_value_of_the_input_arrives() -> None:
    def compare(given: Any, read: Any) -> None:
        for key, value in given.items():
            if isinstance(value, dict):
                compare(value, read[key])
            else:
                assert read[key] == value, key

    compare(every_table(), parse_config(every_table()).to_dict())


def test_an_integer_is_fine_for_a_float() -> None:
    config = parse_config(changed(two_bosons(), "system.trap.omega", 2))
    assert config.system.trap is not None
    assert isinstance(config.to_dict()["system"]["trap"]["omega"], float)


def test_physics_hash_knows_physics_only() -> None:
    reference = parse_config(two_bosons()).physics_hash()
    assert len(reference) == 64
    for path, value in (
        ("seed", 5),
        ("title", "x"),
        ("time.steps", 8),
        ("network", {"kind": "mlp", "frame": "comoving"}),
        ("train", {"epochs": 100, "warmup": 5}),
        ("baselines", {"memory": "1 GB", "fock": {"cutoff": 30}}),
    ):
        assert parse_config(changed(two_bosons(), path, value)).physics_hash() == reference
    for path, value in (
        ("system.hbar", 0.2),
        ("time.end", 2.0),
        ("system.trap.quench", {"omega": {"to": 2.0}}),
        ("initial", {"kind": "gaussian", "variance": 0.05}),
    ):
        assert parse_config(changed(two_bosons(), path, value)).physics_hash() != reference
    spelled_out = changed(two_bosons(), "system.trap.center", 0)
    assert parse_config(spelled_out).physics_hash() == reference


def test_nothing_changes_afterwards() -> None:
    config = parse_config(two_bosons())
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 2


def test_rules_hold_for_configs_built_without_a_file() -> None:
    with pytest.raises(ValidationError, match=r"train\.warmup"):
        Config.model_validate(changed(two_bosons(), "train", {"epochs": 10, "warmup": 50}))


@pytest.mark.parametrize(
    ("save", "end", "expected"), [(3, 2.0, [0.0, 1.0, 2.0]), ([0.1, 0.3], 1.0, [0.1, 0.3])]
)
def test_save_times(save: Any, end: float, expected: list[float]) -> None:
    config = parse_config(changed(changed(two_bosons(), "time.save", save), "time.end", end))
    assert config.time.save_times == expected


@pytest.mark.parametrize("end", [0.1, 1.0, 7.3, 1e-9])
def test_the_last_save_time_is_the_end_exactly(end: float) -> None:
    times = parse_config(changed(two_bosons(), "time", {"end": end, "save": 101})).time.save_times
    assert times[-1] == end
    assert len(times) == 101


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 s", 30.0),
        ("10 min", 600.0),
        ("2 h", 7200.0),
        ("1.5 hours", 5400.0),
        ("1d", 86400.0),
        ("5 Minutes", 300),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_cadence(text) == CheckpointCadence("seconds", seconds)


def test_cadence_in_epochs() -> None:
    assert parse_cadence("20 epochs") == CheckpointCadence("epochs", 20)


@pytest.mark.parametrize(
    "text", ["", "5", "min", "-1 s", "0 s", "1e3 s", "5 parsec", "1 s 2", "nan s", "20 epochs"]
)
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


def test_per_axis() -> None:
    assert per_axis(2, 3) == (2.0, 2.0, 2.0)
    assert per_axis([1.0, 2.0], 2) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("width", "modes"),
    [
        (4, [2, 2]),
        (48, [6, 8]),
        (64, [8, 8]),
        (500, [20, 25]),
        (1018, [2, 509]),
        (1024, [8, 8, 16]),
        (2042, [2, 1021]),
    ],
)
def test_balanced_modes(width: int, modes: list[int]) -> None:
    assert balanced_modes(width) == modes


@pytest.mark.parametrize("width", [1, 2, 3, 61, 1021])
def test_widths_without_modes(width: int) -> None:
    with pytest.raises(ValueError, match="product"):
        balanced_modes(width)


def test_bonds_of_a_tensor_train() -> None:
    assert bond_limits([4, 6], [6, 4]) == [24]
    assert bond_limits([2, 2, 8], [2, 2, 8]) == [4, 16]
    assert tt_ranks([2, 2, 8], [2, 2, 8], 7) == [1, 4, 7, 1]


def test_expression_reaches_sympy_exactly() -> None:
    expression = to_sympy("0.1 * k * x**4 + exp(-x**2 / 2) - abs(y) * pi", ["x", "y"], ["k"])
    values = {"x": 0.7, "y": -0.3, "k": 2.5}
    read = evaluator("0.1 * k * x**4 + exp(-x**2 / 2) - abs(y) * pi")(values)
    assert float(expression.subs({symbol(name): value for name, value in values.items()})) == pytest.approx(
        read, rel=1e-14
    )
    slope = expression.diff(symbol("x")).subs({symbol("x"): 0.7, symbol("k"): 2.5})
    assert float(slope) == pytest.approx(
        0.1 * 2.5 * 4 * 0.7**3 - 0.7 * 2.718281828459045 ** (-0.245), rel=1e-12
    )


@pytest.mark.parametrize("text", ["sin(2)*x", "2**x", "x**(1/2)", "(3*x)**1000", "e**x", "x/3", "10**300*x"])
def test_constants_become_floats(text: str) -> None:
    from sympy import Integer, Rational

    expression = to_sympy(text, ["x"], [])
    assert not [number for number in expression.atoms(Rational) if abs(number) > 1000]
    assert not expression.diff(symbol("x")).atoms(Rational) - {
        Integer(k) for k in (-1, 0, 1, 2, 998, 999, 1000)
    }


@pytest.mark.parametrize("text", ["abs(x**3 + 1)", "abs(k * x**2.0 - 1)", "abs(sin(x)**(4 / 2) - x)"])
def test_whole_powers_are_known_to_be_real(text: str) -> None:
    import sympy

    parameters = ["k"] if "k" in text else []
    slope = to_sympy(text, ["x"], parameters).diff(symbol("x"))
    assert not slope.has(sympy.re, sympy.im)
    here = {"x": -0.3, "k": 0.7}
    step = 1e-6
    read = evaluator(text)
    difference = (read(here | {"x": -0.3 + step}) - read(here | {"x": -0.3 - step})) / (2 * step)
    exact = float(slope.subs({symbol(name): value for name, value in here.items()}))
    assert exact == pytest.approx(difference, rel=1e-7)


def test_python_code_is_no_expression() -> None:
    for text in (
        "__import__('os').system('true')",
        "x.__class__",
        "[x for x in y]",
        "(lambda: x)()",
        "x if t else y",
    ):
        with pytest.raises(ValueError, match=r"not allowed|unknown"):
            check_expression(text, ["x", "y", "t"], [])


def _run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    assert _run(f"import dsmsim, dsmsim.config; {SHOW_LOADED}") == "[]"


def test_a_bad_file_is_refused_without_loading_anything_heavy(tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    path.write_text('[system]\nparticles = 0\n[system.trap]\nkind = "expression"\nexpression = "x^2"\n')
    assert _run(BAD_FILE.format(path=str(path), show=SHOW_LOADED)) == "[]"


def test_a_good_file_loads_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    path.write_text(tomli_w.dumps(every_table()))
    assert load_config(path).seed == 7
    assert (
        _run(f"import dsmsim.config as c; c.make_plan(c.load_config({str(path)!r})); {SHOW_LOADED}") == "[]"
    )
