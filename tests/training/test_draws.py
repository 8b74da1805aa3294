"""How samples are drawn: units that are independent, averages that agree, and errors that are honest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kept_paths import KeptPaths
from ranks import run_ranks
from scipy.special import ndtr
from tiny import tiny_config
from torch import Tensor, nn

from dsmsim.config import Config
from dsmsim.parallel import World
from dsmsim.sampler import Process
from dsmsim.system import build_initial
from dsmsim.training import pilot
from dsmsim.training.draws import SampleBlock, evaluation_process, sample_blocks
from dsmsim.training.evaluate import Evaluation, evaluate
from dsmsim.training.state import TrainState, new_state

PRODUCT = {
    "kind": "product",
    "amplitude": "exp(-x**2) * (1 + 0.5*tanh(2*x))",
    "range": [-4.0, 4.0],
}
MODES: dict[str, dict[str, Any]] = {
    "plain": {"draws": "independent", "control_variates": False, "nu": 1.0},
    "control": {"draws": "independent", "control_variates": True, "nu": 1.0},
    "control rk4": {"draws": "independent", "control_variates": True, "nu": 1.0, "scheme": "rk4"},
    "antithetic": {"draws": "antithetic", "control_variates": False, "nu": 1.0},
    "antithetic control": {"draws": "antithetic", "control_variates": True, "nu": 1.0},
    "flow": {"draws": "independent", "control_variates": False, "nu": 0.0},
    "flow control": {"draws": "independent", "control_variates": True, "nu": 0.0},
    "sobol": {"draws": "sobol", "control_variates": False, "nu": 0.0},
}


def mode(name: str, changes: dict[str, Any] | None = None) -> Config:
    table = {f"evaluation.{key}": value for key, value in MODES[name].items()}
    return tiny_config({"time.save": 6, "time.steps": 6} | table | (changes or {}))


class Bent(nn.Module):
    """Velocities that are not linear, repel at contact, and break every symmetry but that of exchange."""

    def __init__(self, frame: nn.Module) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        push = (x - x.flip(1)) / (0.3 + (x - x.flip(1)).square())
        u = 0.2 * push - 0.8 * x * (1.0 + 0.3 * x.square()) / (1.0 + 0.1 * x.square())
        return u, 0.3 * push * t + 0.4 * torch.sin(2.0 * x + t)


def run(config: Config, world: World | None = None, keep: KeptPaths | None = None) -> Evaluation:
    world = world or World()
    state = new_state(config, world)
    fields: Any = Bent(state.fields.frame)
    bent = TrainState(state.system, state.initial, fields, state.optimizer)
    return evaluate(config, bent, world, lambda done, total: None, keep=keep)


NAMES = "mean", "variance", "covariance", "center_of_mass_mean", "center_of_mass_variance", "energy"
REPETITIONS = 40


def found(result: Evaluation) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and standard errors at the end, where trajectories have forgotten their start."""
    groups = result.sums.observables()
    pairs = {name: (groups[name][-1], groups[f"{name}_stderr"][-1]) for name in NAMES}
    density = result.sums.density()
    pairs["density"] = density["density"][-1], density["density_stderr"][-1]
    checks = [check for check in result.checks if check.name.startswith("score")]
    return pairs | {"score": (np.array([c.value for c in checks]), np.array([c.stderr for c in checks]))}


@pytest.fixture(scope="module")
def repeated() -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Values and errors of evaluations with other seeds, for every mode: (repetitions, ...)."""
    everything = {}
    cells = pytest.MonkeyPatch()
    cells.setattr(pilot, "density_edges", lambda low, high, bins: np.linspace(-1.0, 1.4, 9))
    for name, table in MODES.items():
        control = table["control_variates"]
        samples = 400 if not control else 2000 if table["draws"] == "antithetic" else 1000
        changes = {"evaluation.samples": samples, "evaluation.trials": 2, "time.save": 2, "time.steps": 4}
        changes["output.observables"] = []
        runs = [found(run(mode(name, changes | {"seed": seed}))) for seed in range(REPETITIONS)]
        everything[name] = {
            key: (np.stack([r[key][0] for r in runs]), np.stack([r[key][1] for r in runs])) for key in runs[0]
        }
    cells.undo()
    return everything


@pytest.mark.parametrize("name", list(MODES))
def test_standard_errors_are_the_spread_between_repetitions(name: str, repeated: Any) -> None:
    """Pairs taken for independent samples would be off by 1.4, Sobol points by more than 2."""
    ratios = {}
    for key, (values, errors) in repeated[name].items():
        ratio = values.std(0, ddof=1) / np.sqrt((errors**2).mean(0))
        ratios[key] = np.sqrt(np.mean(ratio**2))
    assert 0.85 < np.mean(list(ratios.values())) < 1.15, ratios
    assert 0.65 < min(ratios.values()) <= max(ratios.values()) < 1.4, ratios  # of 40 numbers: +- 0.11


@pytest.mark.parametrize(
    ("plain", "name"),
    [
        *(("plain", name) for name in ("control", "antithetic", "antithetic control")),
        *(("flow", name) for name in ("flow control", "sobol")),
    ],
)
def test_every_way_to_draw_gives_the_same_averages(plain: str, name: str, repeated: Any) -> None:
    for key, (values, _) in repeated[name].items():
        others = repeated[plain][key][0]
        error = np.sqrt((values.var(0, ddof=1) + others.var(0, ddof=1)) / REPETITIONS)
        assert np.all(np.abs(values.mean(0) - others.mean(0)) < 4.0 * error), key


@pytest.mark.parametrize(
    ("name", "plain", "key", "factor"),
    [
        ("control", "plain", "mean", 2.0),
        ("control", "plain", "variance", 1.4),
        ("flow control", "flow", "variance", 1.4),
        ("antithetic", "plain", "mean", 2.0),
        ("sobol", "flow", "mean", 3.0),
        ("sobol", "flow", "variance", 1.8),
        ("sobol", "flow", "energy", 1.8),
    ],
)
def test_what_is_gained(name: str, plain: str, key: str, factor: float, repeated: Any) -> None:
    """Standard error at the same number of samples."""
    scale = np.sqrt(1000 / 400) if MODES[name]["control_variates"] else 1.0
    better, usual = (np.sqrt((repeated[which][key][1] ** 2).mean()) for which in (name, plain))
    assert better * scale < usual / factor


@pytest.mark.parametrize("name", list(MODES))
def test_results_do_not_depend_on_the_number_of_ranks(name: str) -> None:
    config = mode(name, {"evaluation.samples": 2000 if "control" in name else 240, "evaluation.trials": 5})
    alone = run(config)
    for result in run_ranks(3, lambda world: run(config, world)):
        for group in ("observables", "density"):
            values, expected = getattr(result.sums, group)(), getattr(alone.sums, group)()
            for key, value in expected.items():
                np.testing.assert_allclose(values[key], value, rtol=1e-8, atol=1e-9, err_msg=key)
        for check, same in zip(result.checks, alone.checks, strict=True):
            np.testing.assert_allclose(
                (check.value, check.stderr), (same.value, same.stderr), rtol=1e-7, atol=1e-10
            )


@pytest.mark.parametrize(
    ("draws", "samples", "trials", "unit"),
    [
        ("independent", 9000, 3, 1),
        ("antithetic", 9000, 3, 2),
        ("antithetic", 4002, 1, 2),
        ("sobol", 999, 3, 0),
    ],
)
def test_blocks(draws: str, samples: int, trials: int, unit: int) -> None:
    table = {"draws": draws, "samples": samples, "trials": trials, "nu": 0.0}
    config = tiny_config({f"evaluation.{key}": value for key, value in table.items()})
    blocks = sample_blocks(config)
    per_trial = config.evaluation.samples // trials
    for trial in range(trials):
        mine = [block for block in blocks if block.trial == trial]
        assert [block.number for block in mine] == list(range(len(mine)))
        assert sum(block.size for block in mine) == per_trial
        assert max(block.size for block in mine) - min(block.size for block in mine) <= max(unit, 1)
    for block in blocks:
        assert block.size <= 2000
        assert block.unit == (unit or block.size)
        assert block.size % block.unit == 0
    if draws == "sobol":
        assert len(blocks) >= 20


@pytest.mark.parametrize("initial", [None, PRODUCT])
def test_quantiles_have_the_probability_that_they_say(initial: Any) -> None:
    state = build_initial(tiny_config({} if initial is None else {"initial": initial}))
    sample = state.sample(np.random.default_rng(1), 20000)
    for p in (0.01, 0.3, 0.5, 0.95):
        x = state.quantiles(np.full((1, 2), p))
        assert np.all(np.abs((sample < x).mean(0) - p) < 5.0 * np.sqrt(p * (1.0 - p) / 20000))
    extremes = state.quantiles(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert np.isfinite(extremes).all()


def block_of(draws: str, unit: int, number: int = 0) -> SampleBlock:
    return SampleBlock(0, number, 128, unit, draws)


@pytest.mark.parametrize("initial", [None, PRODUCT])
def test_pairs_are_mirrored(initial: Any) -> None:
    state = build_initial(tiny_config({} if initial is None else {"initial": initial}))
    x, normals = block_of("antithetic", 2).start(7, state)
    assert x.shape == (128, 2)
    sample = state.sample(np.random.default_rng(1), 20000)
    below = np.stack([(sample < row).mean(0) for row in x])
    assert np.max(np.abs(below[::2] + below[1::2] - 1.0)) < 0.03
    assert np.ptp(below[::2]) > 0.9
    for number in range(2):
        noise = normals(number)
        assert noise.shape == (128, 2)
        assert np.array_equal(noise[::2], -noise[1::2])
        assert 0.5 < noise[::2].std() < 1.5
    if initial is None:
        np.testing.assert_allclose(x[::2] + x[1::2], 0.4, rtol=1e-12)


def test_sobol_starts_are_even_and_scrambled_anew_in_every_block() -> None:
    state = build_initial(tiny_config())
    blocks = [block_of("sobol", 128, number).start(7, state)[0] for number in range(30)]
    assert np.array_equal(blocks[0], block_of("sobol", 128).start(7, state)[0])
    means = np.stack([x.mean(0) for x in blocks])
    assert len(np.unique(means[:, 0])) == 30
    random = np.sqrt(0.3 / 128)
    assert np.all(means.std(0) < random / 5.0)
    assert np.all(means.std(0) > 0.0)
    assert np.all(np.abs(means.mean(0) - 0.2) < 5.0 * means.std(0) / np.sqrt(30))
    for x in blocks:  # one point in each of 128 equally probable slices
        p = np.sort(ndtr((x[:, 0] - 0.2) / np.sqrt(0.3)))
        assert np.array_equal(np.floor(p * 128), np.arange(128))


@pytest.mark.parametrize(
    ("evaluation", "sampler", "expected"),
    [
        ({}, {"nu": 0.5, "scheme": "euler"}, Process("euler", 0.5)),
        ({}, {"nu": 0.0}, Process("rk4", 0.0)),
        ({"nu": 0.0}, {}, Process("rk4", 0.0)),
        ({"nu": 0.0, "scheme": "heun"}, {}, Process("heun", 0.0)),
        ({"nu": 2.0, "scheme": "rk4"}, {}, Process("rk4", 2.0)),
    ],
)
def test_which_process_is_sampled(evaluation: Any, sampler: Any, expected: Process) -> None:
    config = tiny_config({f"sampler.{key}": value for key, value in ({"nu": 1.0} | sampler).items()})
    absent = {"nu": None, "scheme": None}
    table = config.evaluation.model_copy(update=absent | evaluation)
    assert evaluation_process(config.model_copy(update={"evaluation": table})) == expected


def final_positions(changes: dict[str, Any]) -> np.ndarray:
    stored = {"output.trajectories": 40, "evaluation.trials": 1, "time.save": [0.21, 0.5, 1.0]}
    config = mode("flow", stored | changes)
    kept = KeptPaths(config)
    run(config, keep=kept)
    return kept.positions


def test_the_flow_is_interpolated_to_the_order_of_its_steps() -> None:
    """Between the steps at 0.21, and on one at 0.5 and 1; errors fall by 2^4 when steps are halved."""
    exact = final_positions({"evaluation.steps": 256})
    errors = [
        np.abs(final_positions({"evaluation.steps": steps}) - exact).max((1, 2)) for steps in (8, 16, 32)
    ]
    assert errors[2].max() < 1e-5
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert np.all(ratios[:, 1:] > 10.0)
    assert np.all(ratios.prod(0) > 100.0)


def test_steps_of_the_flow_do_not_depend_on_the_saved_times() -> None:
    few = final_positions({"evaluation.steps": 10})
    many = final_positions({"evaluation.steps": 10, "time.save": 101})
    np.testing.assert_allclose(many[[21, 50, 100]], few, rtol=1e-12)
