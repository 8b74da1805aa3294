"""[march] and train.mode: defaults, mistakes, what may change on resuming, and what a march will cost."""

from __future__ import annotations

import itertools
import math
import tomllib
from typing import Any

import pytest
import tomli_w
from commands import call
from config_examples import changed, every_table, two_bosons
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmsim.config import Config, changes_between, environment, make_plan, parse_config
from dsmsim.config.march_costs import march_plan, solver_name
from dsmsim.config.march_table import MarchTable
from dsmsim.errors import ConfigError

VELOCITIES = {"network": {"kind": "mlp"}, "march.ansatz": "network"}
COMOVING = {"network": {"kind": "mlp", "frame": "comoving"}}


def marching(**changes: Any) -> dict[str, Any]:
    """Two bosons that march; `march__dt` changes one key, other names whole tables."""
    data = changed(two_bosons(), "train", {"mode": "march"})
    for path, value in changes.items():
        changed(data, path.replace("__", "."), value)
    return data


def build(**changes: Any) -> Config:
    return parse_config(marching(**changes), environment=False)


def with_keys(changes: dict[str, Any]) -> dict[str, Any]:
    data = marching()
    for path, value in changes.items():
        changed(data, path, value)
    return data


def test_nothing_marches_unless_it_is_asked_for() -> None:
    config = parse_config(two_bosons())
    assert (config.train.mode, config.train.polish) == ("global", False)
    assert config.to_dict()["march"] == {
        "ansatz": "cluster",
        "walkers": 2048,
        "block": 256,
        "draws": "sobol",
        "temperature": "auto",
        "integrator": "rk4",
        "tolerance": 1e-3,
        "dt": "auto",
        "solver": "auto",
        "cutoff": 1e-6,
        "diagonal_shift": 0.0,
        "snr": 0.0,
        "nu": 4.0,
        "substeps": 1,
        "redraw": 0.5,
        "pair_functions": 8,
        "collective_functions": 2,
        "collective_order": 2,
        "one_body_functions": "auto",
    }
    assert config.march.metropolis is None  # left to the fields: some know no density


@pytest.mark.parametrize(
    ("changes", "key", "rule", "fix"),
    [
        ({"train.mode": "marching"}, "train.mode", 'one of "global", "march"', 'did you mean "march"?'),
        ({"march.ansatz": "jastrow"}, "march.ansatz", 'must be one of "cluster", "network"', 'ansatz = "c'),
        ({"march.walker": 9}, "march.walker", "unknown key", "did you mean march.walkers?"),
        ({"march.walkers": 4096.0}, "march.walkers", "must be an integer", "walkers = 2048"),
        ({"march.walkers": 32}, "march.walkers", "must be >= 64", "walkers = 2048"),
        ({"march.dt": 0.0}, "march.dt", 'must be "auto", or > 0', "a number > 0"),
        ({"march.tolerance": 1.0}, "march.tolerance", "must be < 1", "tolerance = 0.001"),
        ({"march.cutoff": -1e-6}, "march.cutoff", "must be >= 0", "cutoff = 1e-06"),
        ({"march.nu": -1.0}, "march.nu", "must be >= 0", "nu = 4.0"),
        ({"march.substeps": 0}, "march.substeps", "must be >= 1", "substeps = 1"),
        ({"march.redraw": 1.0}, "march.redraw", "must be < 1", "redraw = 0.5"),
        ({"march.metropolis": "yes"}, "march.metropolis", "must be true or false", "metropolis = true"),
        ({"march.collective_order": 3}, "march.collective_order", "must be <= 2", "collective_order = 2"),
        ({"march.one_body_functions": -1}, "march.one_body_functions", 'must be "auto", or', "functions"),
        # what depends on other keys
        ({"march.walkers": 1000}, "march.walkers", "multiple of march.block = 256", "walkers = 768"),
        ({"march.walkers": 256}, "march.walkers", "at least two blocks", "walkers = 512, or a smaller"),
        (
            {"march.draws": "antithetic", "march.block": 513, "march.walkers": 1026},
            "march.block",
            'even with march.draws = "antithetic"',
            "block = 514",
        ),
        (
            {"system.particles": 21202},
            "march.draws",
            "at most 21201 coordinates",
            'draws = "antithetic" or draws = "independent"',
        ),
        (
            VELOCITIES | {"march.metropolis": True},
            "march.metropolis",
            'needs a known density, which network.kind = "mlp" does not give',
            "remove it",
        ),
        ({"march.dt": 1.5}, "march.dt", "at most time.end = 1.0", "dt = 1.0"),
        ({"march.dt": 1e-9, "march.integrator": "rk4"}, "march.dt", "more than 1000000 steps", "dt = 1e-06"),
        ({"march.solver": "cg"}, "march.diagonal_shift", "cannot cut off", "diagonal_shift = 1e-6"),
        (
            {"march.solver": "cg", "march.diagonal_shift": 1e-6, "march.snr": 2.0},
            "march.snr",
            "knows no eigenvectors",
            "snr = 0.0",
        ),
        (
            {"network": {"kind": "mlp", "initial": "learned"}},
            "network.initial",
            '"exact" with train.mode = "march"',
            'write initial = "exact"',
        ),
        (COMOVING, "network.frame", '"lab" with train.mode = "march"', 'write frame = "lab"'),
        ({"network": {"frame": "comoving"}}, "network.frame", 'must be "lab"', 'write frame = "lab"'),
        (
            {"network": {"width": 16, "tensor": {"rank": "auto"}}, "march.ansatz": "network"},
            "network.tensor.rank",
            "only training finds ranks",
            "rank = 4",
        ),
        (
            {"march.pair_functions": 0},
            "march.pair_functions",
            "at least 1 with march.collective_functions = 2",
            "collective_functions = 0",
        ),
        (
            {"evaluation": {"parameters": "best"}},
            "evaluation.parameters",
            "there is no loss to choose by",
            'parameters = "last"',
        ),
        (
            {"train": {"polish": True}},
            "train.polish",
            'needs train.mode = "march"',
            'mode = "march", or polish = false',
        ),
    ],
)
def test_mistakes(changes: dict[str, Any], key: str, rule: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_keys(changes))
    assert caught.value.key == key
    for words in (key, rule, fix):
        assert words in str(caught.value)
    assert "problems" not in str(caught.value)  # one mistake is told once


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.polish": True, "evaluation": {"parameters": "best"}},
        VELOCITIES | {"march.metropolis": False},
        {"march.metropolis": True, "march.dt": 1, "march.integrator": "heun"},
        {"march.solver": "cg", "march.diagonal_shift": 1e-6},
        {"march.draws": "independent", "system.particles": 21202},
        {"network": {"tensor": {"rank": "auto"}, "width": 16}},  # polished or not, it does not march
        {"march.collective_functions": 0, "march.pair_functions": 0},
    ],
)
def test_a_marching_input_reads_back_the_same(changes: dict[str, Any]) -> None:
    config = parse_config(with_keys(changes), environment=False)
    assert parse_config(config.to_dict(), environment=False) == config


def test_many_coordinates_get_more_walkers_unless_a_number_is_given() -> None:
    assert build(system__particles=6).march.walkers == 2048
    assert build(system__particles=7).march.walkers == 4096
    assert build(system__particles=7, march__walkers=1024).march.walkers == 1024
    six = build(system__particles=3, system__dimensions=2)
    assert six.march.walkers == 2048
    assert build(system__particles=4, system__dimensions=2).march.walkers == 4096
    config = build(system__particles=7)
    assert parse_config(tomllib.loads(config.to_toml())) == config
    assert "4096" not in str(parse_config(changed(two_bosons(), "system.particles", 7)).to_dict()["march"])


def test_without_marching_the_table_is_not_judged_but_named() -> None:
    data = changed(two_bosons(), "march", {"walkers": 1000, "solver": "cg"})
    config = parse_config(data)
    (warning,) = make_plan(config).warnings
    assert "[march] is not read" in warning
    assert 'mode = "march"' in warning
    assert make_plan(parse_config(two_bosons())).warnings == ()
    assert make_plan(build(march={"walkers": 1024})).warnings == ()


@pytest.mark.parametrize(
    ("key", "new", "weight"),
    [
        ("train.mode", "global", "state"),
        ("train.epochs", 7, "training"),
        ("march.ansatz", "network", "state"),
        ("march.walkers", 8192, "state"),
        ("march.block", 128, "state"),
        ("march.pair_functions", 4, "state"),
        ("march.collective_functions", 1, "state"),
        ("march.collective_order", 1, "state"),
        ("march.one_body_functions", 3, "state"),
        ("march.tolerance", 1e-4, "training"),
        ("march.nu", 0.0, "training"),
        ("march.metropolis", False, "training"),
    ],
)
def test_what_a_change_means_for_a_run_that_has_begun(key: str, new: Any, weight: str) -> None:
    old, changed_to = build(), build(**{key.replace(".", "__"): new})
    (change,) = changes_between(old, changed_to)
    assert (change.key, change.weight) == (key, weight)
    assert old.physics_hash() == changed_to.physics_hash()


def test_parameters_are_those_of_the_cluster_ansatz() -> None:
    from dsmsim.march.build import build_cluster
    from dsmsim.system import build_initial, build_system

    well = {"kind": "double_well", "barrier": 0.1, "half_distance": 0.5}
    traps: list[dict[str, Any]] = [
        {},
        {"system__trap__quench": {"omega": {"to": 2.0}}},
        {"system__trap__quench": {"center": {"to": 0.3, "start": 0.2, "duration": 0.5}}},
        {"initial": {"kind": "gaussian", "variance": 0.1, "mean": 0.2}},
        {"initial": {"kind": "gaussian", "variance": 0.1, "phase": 1.0}},
        {"system__trap": well, "initial": {"kind": "gaussian", "variance": 0.1}},
        {"system__trap": well, "initial": {"kind": "gaussian", "variance": 0.1, "mean": -0.5}},
        {"system__terms": {"bump": {"kind": "gaussian", "amplitude": 0.1, "width": 0.2}}},
        {"system__interaction": None},
    ]
    tables: list[dict[str, Any]] = [
        {},
        {"collective_order": 1},
        {"pair_functions": 3, "one_body_functions": 4},
    ]
    for trap, table, particles, axes in itertools.product(traps, tables, (1, 2, 3), (1, 2)):
        changes = {"system__particles": particles, "system__dimensions": axes, "march": table}
        config = build(**trap, **changes)
        model = build_cluster(config, build_system(config), build_initial(config))
        assert march_plan(config, 1).parameters == len(model.names), (trap, table, particles, axes)


@pytest.mark.parametrize("kind", ["mlp", "equivariant", "sorted", "potential", "functional_tt"])
@pytest.mark.parametrize("tensor", [{}, {"tensor": {"rank": 2}}])
def test_parameters_are_those_of_a_network_without_its_clock(kind: str, tensor: dict[str, Any]) -> None:
    from dsmsim.march.network_model import build_network_model
    from dsmsim.system import build_initial, build_system

    for particles, axes in ((1, 1), (3, 1) if kind == "sorted" else (3, 2)):
        config = build(
            system__particles=particles,
            system__dimensions=axes,
            network={"kind": kind, "width": 8, "blocks": 2} | tensor,
            march={"ansatz": "network"},
        )
        system, initial = build_system(config), build_initial(config)
        plan, model = march_plan(config, 1), build_network_model(config, system, initial)
        assert (plan.ansatz, plan.parameters) == (kind, len(model.names))
        assert plan.analytic == model.analytic


def test_the_solver_is_the_one_that_is_chosen() -> None:
    from dsmsim.march.equations import choose_solver
    from dsmsim.tdvp import Regularisation

    for parameters, rows, shift, snr, wanted in itertools.product(
        (10, 4096, 5000), (10, 4096, 5000), (0.0, 1e-6), (0.0, 2.0), ("auto", "eigen", "sample_space")
    ):
        table = MarchTable(diagonal_shift=shift, snr=snr, solver=wanted)
        chosen = choose_solver(wanted, parameters, rows, Regularisation(1e-6, shift, snr))
        assert solver_name(table, parameters, rows) == chosen


def test_ranks_share_the_walkers() -> None:
    plan = make_plan(build(), ranks=3)
    assert plan.march is not None
    assert plan.march.walkers_per_rank == 3 * 256
    assert any("8 blocks (march.walkers / march.block)" in warning for warning in plan.warnings)
    assert any("use fewer ranks, or a smaller march.block" in w for w in make_plan(build(), 9).warnings)
    # blocks of trajectories are of no interest where nothing is trained
    assert make_plan(build(), ranks=4).warnings == ()
    assert "train.trajectories" in make_plan(build(train__polish=True), ranks=4).warnings[0]


def test_nothing_is_trained_unless_it_is_polished() -> None:
    plain, polished = make_plan(build()), make_plan(build(train__polish=True))
    assert (plain.networks, plain.parameters, plain.multiply_adds, plain.memory.residuals) == ({}, 0, 0, 0)
    trained = make_plan(parse_config(two_bosons()))
    assert trained.march is None
    assert polished.networks == trained.networks
    assert polished.multiply_adds == trained.multiply_adds
    assert polished.march == plain.march
    assert plain.memory.march > 0 == trained.memory.march

    def checkpoint(plan: Any) -> int:
        return next(file.size for file in plan.files if file.path.startswith("checkpoints/"))

    assert checkpoint(polished) == checkpoint(plain) + checkpoint(trained)


def test_time_and_memory_grow_with_what_is_done() -> None:
    def plan(ranks: int = 1, **changes: Any) -> Any:
        return march_plan(build(system__particles=3, **changes), ranks)

    base = plan()
    assert plan(march__walkers=4096).seconds == pytest.approx(2 * base.seconds, rel=0.05)
    assert plan(march__walkers=4096).memory > base.memory
    assert plan(ranks=2).seconds == pytest.approx(base.seconds / 2, rel=0.05)
    assert plan(march__pair_functions=32).seconds > 1.5 * base.seconds
    assert plan(march__nu=0.0).seconds < base.seconds
    steps = [plan(march={"integrator": "rk4", "dt": dt}).steps for dt in (0.01, 0.005)]
    assert steps == [100, 200]
    assert plan(march={"integrator": "rk4"}).steps == 64  # of the time 1/omega
    narrow = {"kind": "gaussian", "variance": 0.0125}  # 2 m variance/hbar = 0.25
    assert plan(march={"integrator": "rk4"}, initial=narrow).steps == 256
    assert plan(time__end=2.0).steps == 2 * base.steps
    wide = plan(march={"ansatz": "network"}, network={"width": 64})
    assert wide.solver == "sample_space"
    assert wide.memory > 16 * (2 * 2048) ** 2


def test_more_walkers_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "physical_memory", lambda: 2 * 10**9)
    data = marching(march__walkers=2**22)
    with pytest.raises(ConfigError, match="the memory here is 2 GB") as caught:
        parse_config(data)
    assert caught.value.key == "march.walkers"
    fitting = int(str(caught.value).split("walkers = ")[-1].split()[0])
    assert fitting % 256 == 0
    assert parse_config(marching(march__walkers=fitting))
    assert parse_config(data, hosts=8)


KEYS = sorted(MarchTable.model_fields)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 0.5, 64, 1e-300, 1e300, 2**40, math.inf, "auto", "cg", True])


@settings(max_examples=examples(150), deadline=None)
@given(
    table=st.dictionaries(st.sampled_from(KEYS), NUMBERS, max_size=3),
    hbar=st.sampled_from([0.1, 1e-300, 1e300]),
    end=st.sampled_from([1.0, 1e-300, 1e300]),
    ansatz=st.sampled_from(["cluster", "network"]),
)
def test_a_plan_or_the_name_of_the_key(table: dict[str, Any], hbar: float, end: float, ansatz: str) -> None:
    data = marching(march={"ansatz": ansatz} | table, system__hbar=hbar, time__end=end)
    try:
        plan = make_plan(parse_config(data, environment=False), ranks=2).march
    except ConfigError as error:
        key = error.key or ""
    else:
        key = "march."
        assert plan is not None
        assert 0 < plan.seconds < math.inf
    assert key.startswith("march.")


def test_check_prints_what_marching_costs(tmp_path: Any) -> None:
    file = tmp_path / "input.toml"
    file.write_text(tomli_w.dumps(marching(compare={"with": []})))
    outcome = call("check", file)
    assert (outcome.code, outcome.err) == (0, "")
    lines = [" ".join(line.replace("│", " ").split()) for line in outcome.out.splitlines()]
    assert "complex parameters that march (cluster) 10" in lines
    assert "walkers per rank 2,048" in lines
    assert "steps in time about 64" in lines
    assert any(line.startswith("seconds of marching, one core a rank about ") for line in lines)
    assert not any("epoch" in line for line in lines)


def test_every_table_knows_march() -> None:
    assert parse_config(every_table()).march.dt == 0.02
