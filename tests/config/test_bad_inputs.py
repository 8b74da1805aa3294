"""Every mistake gets a message with the dotted key, the value, the rule and the fix."""

from __future__ import annotations

import datetime
import math
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from config_examples import changed, every_table, two_bosons

from dsmsim.config import environment, load_config, parse_config
from dsmsim.errors import ConfigError

TRAP, PAIR = "system.trap", "system.interaction"
EXPRESSION = {"kind": "expression", "expression": "k * x**2", "parameters": {"k": 1.0}}
GAUSSIAN = {"kind": "gaussian", "variance": 0.1}
PRODUCT = {"kind": "product", "amplitude": "exp(-x**2)", "range": [-3.0, 3.0]}
LIST3 = [1.0, 1.0, 1.0]
BATCH = {"trajectories": 64, "points": 1024, "block": 16}
POTENTIAL = {"kind": "potential"}
MANY = two_bosons()["system"] | {"particles": 10**4, "dimensions": 3}


def tensor(**keys: Any) -> dict[str, Any]:
    """[network] 64 wide with tensor-train layers of rank 2."""
    return {"width": 64, "tensor": {"rank": 2} | keys}


# what is given in the inputs below wins; the messages that quote a default quote these
DEFAULT = parse_config(two_bosons(), environment=False)
SOAP = parse_config(two_bosons() | {"train": {"optimizer": "soap"}}, environment=False)

# (changes of the two-boson input, key that is named, words of the rule, words of the fix)
CASES: list[tuple[dict[str, Any], str, str, str]] = [
    # types
    ({"system": 3}, "system = 3", "must be a table", "write [system]"),
    ({"time": [1]}, "time = [1]", "must be a table", "write [time]"),
    ({TRAP: "harmonic"}, 'system.trap = "harmonic"', "must be a table", "write [system.trap]"),
    ({"system.terms": 1.5}, "system.terms = 1.5", "must be a table", "write [system.terms]"),
    ({"system.terms.a": 1}, "system.terms.a = 1", "must be a table", "write [system.terms.a]"),
    ({"system.hbar": "0.1"}, 'system.hbar = "0.1"', "must be a number, without quotes", "hbar = 1.0"),
    ({"system.hbar": True}, "system.hbar = true", "must be a number", "hbar = 1.0"),
    ({"system.hbar": math.nan}, "system.hbar = nan", "must be a finite number", "hbar = 1.0"),
    ({"system.mass": math.inf}, "system.mass = inf", "must be a finite number", "mass = 1.0"),
    ({"system.mass": [1.0]}, "system.mass = [1.0]", "must be a number", "mass = 1.0"),
    (
        {"system.mass": datetime.date(2020, 1, 2)},
        "system.mass = 2020-01-02",
        "must be a number",
        "mass = 1.0",
    ),
    ({"system.particles": 2.0}, "system.particles = 2.0", "must be an integer", "particles = 2"),
    ({"system.particles": True}, "system.particles = true", "must be an integer", "particles = 2"),
    ({"system.particles": 10**400}, "system.particles = an integer of 1329 bits", "64 bits", "smaller"),
    ({"system.hbar": 10**400}, "system.hbar = an integer", "64 bits", "smaller number"),
    ({"title": 7}, "title = 7", "must be text in quotes", 'title = ""'),
    ({"output.figures": 1}, "output.figures = 1", "must be true or false", "figures = true"),
    ({"seed": "1"}, 'seed = "1"', "must be an integer, without quotes", "seed = 1"),
    # missing
    ({"system": None}, "system: is missing", "is missing", "write a table [system]"),
    ({"time.end": None}, "time.end: is missing", "is missing", "end = 1.0"),
    ({"system.particles": None}, "system.particles: is missing", "is missing", "particles = 2"),
    ({"system.trap.omega": None}, "system.trap.omega: is missing", "is missing", "omega = 1.0"),
    ({"system.trap.kind": None}, "system.trap.kind: is missing", '"double_well"', 'kind = "harmonic"'),
    ({"system.interaction.s2": None}, "system.interaction.s2: is missing", "is missing", "s2 = 0.1"),
    ({"initial": {"kind": "gaussian"}}, "initial.variance: is missing", "is missing", "variance = 0.1"),
    # unknown keys and kinds
    ({"system.hbr": 1.0}, "system.hbr = 1.0", "unknown key", "did you mean system.hbar?"),
    ({"trian": {}}, "trian = {}", "unknown key", "did you mean train?"),
    ({"train.epoch": 5}, "train.epoch = 5", "unknown key", "did you mean train.epochs?"),
    ({"epochs": 5}, "epochs = 5", "unknown key", "did you mean train.epochs?"),
    ({"system.trap.omegaa": 1}, "system.trap.omegaa", "unknown key", "did you mean system.trap.omega?"),
    ({"system.trap.barrier": 1}, "system.trap.barrier", "unknown key", 'choose kind = "double_well"'),
    (
        {"system.interaction.zzz": 1},
        "system.interaction.zzz",
        "unknown key",
        "Valid keys of [system.interaction]",
    ),
    ({"compare.with_": "auto"}, "compare.with_", "unknown key", "did you mean compare.with?"),
    ({'system.a b"c': 1}, 'system."a b\\"c"', "unknown key", "remove it"),
    ({"initial": {"mean": 1.0}}, "initial.mean", "unknown key", 'choose kind = "gaussian"'),
    ({"system.trap.kind": "harmonc"}, "system.trap.kind", '"lattice"', 'did you mean "harmonic"?'),
    ({"system.trap.kind": 7}, "system.trap.kind = 7", "must be one of", 'kind = "harmonic"'),
    ({"system.trap.kind": ["a"]}, "system.trap.kind", "must be one of", 'kind = "harmonic"'),
    ({"system.interaction.kind": "delta"}, "system.interaction.kind", '"python"', 'kind = "gaussian"'),
    ({"initial": {"kind": "gausian"}}, "initial.kind", "must be one of", 'did you mean "gaussian"?'),
    ({"initial": {"kind": True}}, "initial.kind = true", "must be one of", 'kind = "trap_ground_state"'),
    ({"network.kind": "resnet"}, "network.kind", '"equivariant"', 'kind = "mlp"'),
    ({"network.frame": "co-moving"}, "network.frame", '"lab", "comoving"', 'did you mean "comoving"?'),
    ({"train.optimizer": "sgd"}, 'train.optimizer = "sgd"', '"adam"', "write e.g. optimizer ="),
    ({"train.divergence": "estimate"}, "train.divergence", "must be one of", 'divergence = "exact"'),
    ({"train.precision": "float46"}, "train.precision", "must be one of", 'did you mean "float64"?'),
    ({"system.dimensions": 4}, "system.dimensions = 4", "must be one of 1, 2, 3", "dimensions = 1"),
    ({"system.dimensions": True}, "system.dimensions = true", "must be one of 1, 2, 3", "dimensions = 1"),
    ({"system.dimensions": 1.0}, "system.dimensions = 1.0", "must be one of 1, 2, 3", "dimensions = 1"),
    # ranges
    ({"system.particles": 0}, "system.particles = 0", "must be >= 1", "particles = 2"),
    ({"system.hbar": 0}, "system.hbar = 0", "must be > 0", "hbar = 1.0"),
    ({"system.mass": -1.0}, "system.mass = -1.0", "must be > 0", "mass = 1.0"),
    ({"seed": -1}, "seed = -1", "must be >= 0", "seed = 1"),
    ({"system.trap.omega": -1.0}, "system.trap.omega = -1.0", "every number must be >= 0", "numbers >= 0"),
    (
        {"system.trap.omega": "fast"},
        "system.trap.omega",
        "must be a finite number",
        "one number for all axes",
    ),
    ({"system.trap.omega": []}, "system.trap.omega = []", "must be a finite number", "one number per axis"),
    ({"system.trap.omega": [True]}, "system.trap.omega = [true]", "finite number", "one number for all"),
    ({"system.interaction.s2": 0.0}, "system.interaction.s2 = 0.0", "must be > 0", "s2 = 0.1"),
    ({"time.end": -2}, "time.end = -2", "must be > 0", "end = 1.0"),
    ({"time.steps": 0}, "time.steps = 0", "must be >= 1", f"steps = {DEFAULT.time.steps}"),
    ({"time.save": 1}, "time.save = 1", "from 2 to", "e.g. 101"),
    ({"time.save": 10**9}, "time.save = 1000000000", "from 2 to 1000000", "e.g. 101"),
    ({"time.save": "all"}, "time.save", "an integer >= 2, or a list", "e.g. 101"),
    ({"time.save": True}, "time.save = true", "an integer >= 2, or a list", "e.g. 101"),
    (
        {"network.width": 10**7},
        "network.width = 10000000",
        "must be <= 1048576",
        f"width = {DEFAULT.network.width}",
    ),
    ({"evaluation.bins": 4}, "evaluation.bins = 4", "must be >= 8", f"bins = {DEFAULT.evaluation.bins}"),
    ({"train.clip": 0}, "train.clip = 0", "must be > 0", f"clip = {DEFAULT.train.clip}"),
    ({"sampler.nu": -0.1}, "sampler.nu = -0.1", "must be >= 0", f"nu = {DEFAULT.sampler.nu}"),
    (
        {"output.checkpoint_every": "often"},
        "output.checkpoint_every",
        "a number and a unit",
        '"10 min" or "20 epochs"',
    ),
    ({"output.checkpoint_every": "1.5 epochs"}, "output.checkpoint_every", "must be whole", '"20 epochs"'),
    ({"run.timeout": "0 s"}, "run.timeout", "more than zero", '"10 min"'),
    ({"run.time_limit": "20 epochs"}, "run.time_limit", "must be a time", '"10 min"'),
    ({"run.time_limit": 3600}, "run.time_limit = 3600", "must be text in quotes", '"2 h"'),
    # between keys: axes, quenches, times
    (
        {"system.trap.omega": [1.0, 2.0]},
        "system.trap.omega",
        "must have system.dimensions = 1 entries",
        "per axis",
    ),
    (
        {"initial": GAUSSIAN | {"mean": LIST3}},
        "initial.mean",
        "dimensions = 1 entries, not 3",
        "one per axis",
    ),
    ({"initial": GAUSSIAN | {"variance": -1}}, "initial.variance = -1", "must be > 0", "numbers > 0"),
    (
        {TRAP: {"kind": "double_well", "barrier": 1, "half_distance": 1, "axis": 1}, "initial": GAUSSIAN},
        "system.trap.axis = 1",
        "less than system.dimensions = 1",
        "write axis = 0",
    ),
    (
        {"system.trap.quench": {"omga": {"to": 1}}},
        "system.trap.quench.omga",
        "no number",
        'did you mean "omega"?',
    ),
    (
        {"system.trap.quench": {"kind": {"to": 1}}},
        "system.trap.quench.kind",
        "no number of this name",
        "remove",
    ),
    ({"system.trap.quench": {"omega": {}}}, "system.trap.quench.omega.to: is missing", "missing", "to = 2.0"),
    ({"system.trap.quench": {"omega": {"to": -1}}}, "system.trap.quench.omega.to", "must be >= 0", ">= 0"),
    (
        {"system.trap.quench": {"omega": {"to": [1, 2]}}},
        "system.trap.quench.omega.to",
        "dimensions = 1",
        "axis",
    ),
    (
        {"system.trap.quench": {"omega": {"to": 1.0, "start": 3.0}}},
        "system.trap.quench.omega.start = 3.0",
        "from 0 to time.end = 1.0",
        "start = 0.0",
    ),
    (
        {"system.trap.quench": {"omega": {"to": 1.0, "start": -1}}},
        "quench.omega.start = -1",
        ">= 0",
        "start =",
    ),
    (
        {"system.trap.quench": {"omega": {"to": 1, "shape": "s"}}},
        "quench.omega.shape",
        '"smooth"',
        '"linear"',
    ),
    (
        {"system.interaction.quench": {"s2": {"to": 0}}},
        "system.interaction.quench.s2.to",
        "must be > 0",
        "to = 0.1",
    ),
    (
        {"system.interaction.quench": {"g": {"to": [1.0]}}},
        "interaction.quench.g.to",
        "must be one number",
        "one number",
    ),
    ({"time.save": [0.0, 0.5, 0.5]}, "time.save", "0.5 follows 0.5", "sort them"),
    ({"time.save": [0.0, 1.5]}, "time.save", "from 0 to time.end = 1.0, but 1.5 is not", "remove 1.5"),
    ({"time.save": [-0.25, 1.0]}, "time.save", "-0.25 is not", "remove -0.25"),
    # between keys: initial state
    (
        {TRAP: None},
        'initial.kind = "trap_ground_state" (the default)',
        "needs a harmonic trap",
        "[system.trap]",
    ),
    (
        {
            TRAP: {"kind": "lattice", "depth": 1.0, "wavenumber": 1.0},
            "initial": {"kind": "trap_ground_state"},
        },
        'initial.kind = "trap_ground_state":',
        'system.trap.kind = "lattice"',
        'kind = "gaussian"',
    ),
    (
        {"system.trap.omega": 0.0},
        "initial.kind",
        "needs omega > 0 on every axis",
        "positive system.trap.omega",
    ),
    ({"initial": PRODUCT | {"range": [3.0, -3.0]}}, "initial.range", "less than the second", "[-3.0, 3.0]"),
    ({"initial": PRODUCT | {"range": [3.0]}}, "initial.range", "two finite numbers", "[lowest, highest]"),
    (
        {"initial": PRODUCT | {"amplitude": "x*exp(-x**2)"}},
        "initial.amplitude",
        "must be > 0 on all",
        "narrow",
    ),
    (
        {"initial": PRODUCT | {"amplitude": ["exp(-y)"]}},
        "initial.amplitude[0]",
        'unknown name "y"',
        "correct",
    ),
    ({"initial": PRODUCT | {"amplitude": 3}}, "initial.amplitude = 3", "expression in quotes", "exp(-x**2)"),
    (
        {"initial": PRODUCT | {"amplitude": ["1", "1"]}},
        "initial.amplitude",
        "dimensions = 1 entries",
        "per axis",
    ),
    (
        {"initial": PRODUCT | {"phase": "log(x)"}},
        "initial.phase",
        "must be finite on all",
        "change the expression",
    ),
    # between keys: terms, expressions, targets
    ({"system.terms": {"my term": EXPRESSION}}, 'system.terms."my term"', "letters, digits", "another name"),
    ({"system.terms": {"trap": EXPRESSION}}, "system.terms.trap", "neither trap", "another name"),
    ({"system.terms": {"a": EXPRESSION | {"expression": "k*x^2"}}}, "terms.a.expression", '"^"', "write **"),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": "k*y"}}},
        "terms.a.expression",
        'unknown name "y"',
        "known",
    ),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": "k*sinn(x)"}}},
        "a.expression",
        '"sinn"',
        'mean "sin"?',
    ),
    ({"system.terms": {"a": EXPRESSION | {"expression": "k*sech(x)"}}}, "a.expression", '"sech"', "1 / cosh"),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": "(k*x"}}},
        "terms.a.expression",
        "never closed",
        "correct",
    ),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": "k/0"}}},
        "terms.a.expression",
        "divides by zero",
        "correct",
    ),
    ({"system.terms": {"a": EXPRESSION | {"expression": ""}}}, "terms.a.expression", "is empty", "correct"),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": "x"}}},
        "terms.a.expression",
        '"k" is not used',
        "remove it",
    ),
    (
        {"system.terms": {"a": EXPRESSION | {"expression": 2}}},
        "terms.a.expression = 2",
        "in quotes",
        "expression =",
    ),
    (
        {"system.terms.a": EXPRESSION | {"parameters": {"sin": 1}}},
        "terms.a.parameters.sin",
        "meaning",
        "another name",
    ),
    (
        {"system.terms.a": EXPRESSION | {"parameters": {"k l": 1}}},
        'a.parameters."k l"',
        "is no name",
        "letters",
    ),
    (
        {"system.terms.a": EXPRESSION | {"parameters": {"k": "1"}}},
        "terms.a.parameters.k",
        "a number",
        "write e.g. k",
    ),
    (
        {"system.terms.a": EXPRESSION | {"quench": {"q": {"to": 1}}}},
        "terms.a.quench.q",
        'it has "k"',
        "its numbers",
    ),
    ({PAIR: EXPRESSION | {"g": 1.0, "expression": "k*x"}}, "interaction.expression", "r -> -r", "r2"),
    (
        {PAIR: EXPRESSION | {"g": 1.0, "parameters": {"g": 2.0}}},
        "interaction.parameters.g",
        "meaning",
        "another name",
    ),
    (
        {"system.terms.a": {"kind": "python", "target": "a b:c"}},
        "terms.a.target",
        '"module:callable"',
        "write it",
    ),
    (
        {"system.terms.a": {"kind": "python", "target": "ring"}},
        "terms.a.target",
        "dsmsim.potentials",
        "module:call",
    ),
    (
        {PAIR: {"kind": "python", "g": 1.0, "target": "soft"}},
        "interaction.target",
        "dsmsim.interactions",
        "module:",
    ),
    # between keys: network, training, evaluation
    ({"network.kind": "sorted", "system.dimensions": 2}, "network.kind", "along a line", '"equivariant"'),
    ({"network": {"width": 61, "tensor": {"rank": 2}}}, "network.width = 61", "product of two", "width = 62"),
    ({"network": {"width": 1, "tensor": {"rank": 2}}}, "network.width = 1", "product of two", "width = 4"),
    ({"network.tensor": {}}, "network.tensor.rank: is missing", "is missing", "rank = 8"),
    ({"network.tensor": {"rank": 0}}, "network.tensor.rank = 0", "must be >= 1", "e.g. 8"),
    ({"network": tensor(rank=65)}, "network.tensor.rank = 65", "at most 64", "rank = 64 or less"),
    ({"network": tensor(modes_in=[8, 4])}, "network.tensor.modes_in", "not to 32", "[8, 8]"),
    ({"network": tensor(modes_in=[64])}, "network.tensor.modes_in", "at least 2 modes", "[8, 8]"),
    ({"network": tensor(modes_in=[-8, -8])}, "tensor.modes_in", "mode must be >= 1", "[8, 8]"),
    ({"network": tensor(modes_in=[8.0, 8])}, "modes_in[0] = 8.0", "integer", "modes_in"),
    ({"network": tensor(modes_in=[4, 4, 4])}, "tensor.modes_in", "same length", "give both"),
    ({"network.initial": "learned", "train.gamma": 0}, "train.gamma = 0.0", "must be > 0", "gamma = 1.0"),
    ({"train.alpha": 0, "train.beta": 0.0}, "train.alpha = 0.0", "must not both be 0", "alpha = 1.0"),
    (
        {"train": BATCH | {"points": 1000}},
        "train.points = 1000",
        "multiple of train.trajectories = 64",
        "960 or 1024",
    ),
    (
        {"train": BATCH | {"trajectories": 10}},
        "train.block = 16:",
        "must divide train.trajectories = 10",
        "block = 2,",
    ),
    (
        {"train.trajectories": DEFAULT.train.block + 1},
        f"train.block = {DEFAULT.train.block} (the default)",
        f"must divide train.trajectories = {DEFAULT.train.block + 1}",
        "block = 1,",
    ),
    (
        {"train": {"epochs": 20, "warmup": 50}},
        "train.warmup = 50:",
        "less than train.epochs = 20",
        "warmup = 2",
    ),
    (
        {"baselines": {"tvmc": {"sampling": "metropolis", "sweeps": 0}}},
        "baselines.tvmc.sweeps = 0",
        'must be at least 1 with baselines.tvmc.sampling = "metropolis"',
        'sampling = "transport"',
    ),
    (
        {"system.particles": 3, "baselines": {"tvmc": {"pair_functions": 1}}},
        "baselines.tvmc.three_body_functions = 2 (the default)",
        "baselines.tvmc.pair_functions = 1",
        "write three_body_functions = 1, or less",
    ),
    (
        {"baselines": {"tvmc": {"ansatz": "python"}}},
        "baselines.tvmc.function",
        "needs a function",
        'write function = "module:function"',
    ),
    (
        {"train.gaussian_width": 3.0},
        "train.gaussian_width = 3.0",
        'needs train.points_from = "gaussian", but it is "trajectories"',
        'points_from = "gaussian"',
    ),
    (
        {"train": {"optimizer": "soap", "epochs": SOAP.train.warmup}},
        f"train.warmup = {SOAP.train.warmup} (the default)",
        f"less than train.epochs = {SOAP.train.warmup}",
        f"warmup = {SOAP.train.warmup // 10}",
    ),
    (
        {"evaluation": {"samples": 15, "trials": 10}},
        "evaluation.samples = 15",
        "multiple of evaluation.trials = 10",
        "10 or 20",
    ),
    (
        {"evaluation.samples": 40000, "output.trajectories": 50000},
        "output.trajectories = 50000",
        "at most",
        "40000 or less",
    ),
    # networks, engines and optimisers that do not go together
    (
        {"network": POTENTIAL | {"initial": "learned"}},
        'network.initial = "learned"',
        'must be "exact" with network.kind = "potential"',
        'initial = "exact"',
    ),
    (
        {"network": POTENTIAL | {"frame": "comoving"}},
        'network.frame = "comoving"',
        'must be "lab" with network.kind = "potential"',
        'frame = "lab"',
    ),
    (
        {"network": POTENTIAL, "train": BATCH | {"block": 1}},
        "train.block = 1",
        'at least 2 with network.kind = "potential"',
        "write block = 2",
    ),
    (
        {"network": POTENTIAL, "train": BATCH | {"block": 1, "trajectories": 7, "points": 7}},
        "train.block = 1",
        "variances among a block's trajectories",
        "write block = 7",
    ),
    (
        {"network": POTENTIAL, "train": BATCH | {"block": 1, "trajectories": 1}},
        "train.block = 1",
        "variances among a block's trajectories",
        "trajectories = 2 and block = 2",
    ),
    (
        {"network": POTENTIAL, "train.engine": "torch_func"},
        'train.engine = "torch_func"',
        "has an engine of its own",
        'engine = "auto"',
    ),
    (
        {"network": POTENTIAL, "train.engine": "fused"},
        'train.engine = "fused"',
        'needs network.kind = "mlp", but it is "potential"',
        'engine = "auto"',
    ),
    (
        {"network.kind": "equivariant", "train.engine": "fused"},
        'train.engine = "fused"',
        'needs network.kind = "mlp", but it is "equivariant"',
        'kind = "mlp"',
    ),
    (
        {"network.kind": "mlp", "train": {"engine": "fused", "divergence": "hutchinson"}},
        'train.engine = "fused"',
        'needs train.divergence = "exact"',
        'divergence = "exact"',
    ),
    (
        {"network.kind": "mlp", "train": {"engine": "fused", "optimizer": "gauss_newton"}},
        'train.engine = "fused"',
        'must not be "fused" with train.optimizer = "gauss_newton"',
        'engine = "auto"',
    ),
    (
        {"network": POTENTIAL, "train.divergence": "hutchinson"},
        'train.divergence = "hutchinson"',
        'must be "exact" with network.kind = "potential"',
        'divergence = "exact"',
    ),
    (
        {"network.kind": "mlp", "train": {"divergence": "hutchinson", "optimizer": "gauss_newton"}},
        'train.divergence = "hutchinson"',
        'must be "exact" with train.optimizer = "gauss_newton"',
        'optimizer = "soap"',
    ),
    (
        {"network.kind": "mlp", "train": {"divergence": "hutchinson", "optimizer": "lbfgs"}},
        'train.divergence = "hutchinson"',
        'must be "exact" with train.optimizer = "lbfgs"',
        'divergence = "exact"',
    ),
    (
        {"evaluation": {"samples": 30, "trials": 10, "draws": "antithetic"}},
        "evaluation.samples = 30",
        "a multiple of 20, twice evaluation.trials",
        "20 or 40",
    ),
    (
        {"evaluation": {"samples": 1000, "draws": "sobol"}, "system": MANY},
        'evaluation.draws = "sobol"',
        "at most 21201 coordinates",
        'draws = "antithetic"',
    ),
    # the installation and the machine
    ({"compare.with": ["close_form"]}, "compare.with", "is not installed", 'did you mean "closed_form"?'),
    ({"compare.with": "closed_form"}, "compare.with", "a list of names", '["exact"]'),
    ({"compare.with": ["closed_form", "closed_form"]}, "compare.with", "stand once", '"auto"'),
    (
        {"train": BATCH | {"points": 64 * 10**9}},
        "train.points = 64000000000",
        "the memory here is",
        "write points =",
    ),
    ({"network.width": 10**6}, "network.width", "the memory here is", "write width ="),
    ({"time.steps": 10**13}, "time.steps", "the memory here is", "write steps ="),
    ({"system.particles": 10**15}, "TB in all", "the memory here is", "fewer"),
]


def _build(changes: dict[str, Any]) -> dict[str, Any]:
    data = two_bosons()
    for path, value in changes.items():
        changed(data, path, value)
    return data


def test_there_are_many_cases() -> None:
    assert len({repr(changes) for changes, *_ in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(("changes", "key", "rule", "fix"), CASES, ids=lambda value: str(value)[:60])
def test_message_names_key_rule_and_fix(changes: dict[str, Any], key: str, rule: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(_build(changes))
    lines = [line for line in str(caught.value).splitlines() if key in line and rule in line and fix in line]
    assert len(lines) == 1, str(caught.value)
    assert caught.value.key is not None


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(
            _build({"system.hbar": -1, "train.epoch": 3, "seed": 2**70, "time.end": "1"}), source="a.toml"
        )
    text = str(caught.value)
    assert text.startswith("a.toml: 4 problems\n")
    for key in ("system.hbar = -1", "train.epoch = 3", "seed = an integer of 71 bits", 'time.end = "1"'):
        assert text.count(key) == 1


def test_the_same_mistake_is_named_in_every_term() -> None:
    data = every_table()
    data["system"]["dimensions"] = 1
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    for key in (
        "trap.omega",
        "trap.quench.omega.to",
        "terms.dip.center",
        "terms.well.axis",
        "terms.lattice.wavenumber",
    ):
        assert f"system.{key}" in str(caught.value)


@pytest.mark.parametrize("data", [3, None, [], "x", {1: 2}, {"a": {None: 1}}])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"must be a table|must be text"):
        parse_config(data)


def test_deep_nesting_is_refused() -> None:
    data: dict[str, Any] = {}
    inner = data
    for _ in range(5000):
        inner["a"] = {}
        inner = inner["a"]
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse_config(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"train.points": 64 * 10**7, "train.trajectories": 64, "train.block": 16},
        {"network.width": 2**17},
        {"time.steps": 10**9},
    ],
)
def test_the_value_that_is_proposed_fits(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "physical_memory", lambda: 8 * 10**9)
    with pytest.raises(ConfigError) as caught:
        parse_config(_build(changes))
    path = next(iter(changes))
    fix = str(caught.value).split("write ")[1].split()
    assert fix[0] == path.split(".")[1]
    assert parse_config(_build(changes | {path: int(fix[2])})).to_dict()


def test_memory_counts_every_host_and_only_where_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "physical_memory", lambda: 3 * 10**9)
    sizes = {"kind": "mlp", "width": 64, "blocks": 1}
    numbers = {"precision": "float32", "optimizer": "soap", "engine": "torch_func"}
    data = _build({"network": sizes, "train": BATCH | {"points": 32 * 10**6} | numbers})
    with pytest.raises(ConfigError, match=r"train\.points"):
        parse_config(data)
    assert parse_config(data, hosts=4) == parse_config(data, environment=False)


def test_installed_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"dsmsim.potentials": "ring", "dsmsim.interactions": "soft", "dsmsim.methods": "grid"}

    def entry_points(group: str) -> list[EntryPoint]:
        return [EntryPoint(installed[group], "some.module:function", group)]

    monkeypatch.setattr(environment, "entry_points", entry_points)
    python = {"kind": "python", "target": "ring"}
    data = _build({"system.terms.a": python, PAIR: {"kind": "python", "g": 1.0, "target": "soft"}})
    assert parse_config(changed(data, "compare.with", ["grid", "closed_form"]))
    python["target"] = "rung"
    with pytest.raises(ConfigError, match=r'system\.terms\.a\.target = "rung".*did you mean "ring"\?'):
        parse_config(data)


def test_names_of_other_installations_can_be_read() -> None:
    data = _build({"compare.with": ["a_method_of_another_machine"]})
    assert parse_config(data, environment=False).compare.with_ == ["a_method_of_another_machine"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[system\nparticles = 2\n", ["line 1, column 8", '"[system"', "close the bracket"]),
        (b"title = 'a'\nseed == 1\n", ["line 2, column 7", '"seed == 1"', "quotes"]),
        (b"seed = 1\nseed = 2\n", ["line 2", '"seed = 2"', "stands twice"]),
        (b"[time]\nend = 1\n[time]\nsteps = 2\n", ["line 3", '"[time]"', "stands twice"]),
        (b'title = "a\nseed = 1\n', ["line 1", "close the text"]),
        (b"save = [1, 2\n", ["line 2", "close the list"]),
        (b"kind = harmonic\n", ["line 1, column 8", "text in"]),
        (b"a = 1 b = 2\n", ["line 1, column 7", "own line"]),
        (b"title = '\xff'\n", ["line 1", "not UTF-8", "0xff", "save the file as UTF-8"]),
        (b"seed = 1\n\n# \xe9t\xe9\n", ["line 3", "not UTF-8"]),
        (b"seed = " + b"1" * 5000, ["number cannot be read", "exponent"]),
        (b"a = " + b"[" * 3000, ["input.toml", "nested too deeply"]),
        (b"a = 2020-13-45\n", ["line 1"]),
        (b"\x00\x01\x02", ["line 1"]),
        (b"", ["system: is missing", "time: is missing"]),
    ],
)
def test_files_that_are_no_input(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "input.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_windows_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "input.toml"
    text = "[system]\nparticles = 1\n[system.trap]\nkind = 'harmonic'\nomega = 1\n[time]\nend = 1\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_config(path).system.particles == 1


def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "two_bosons.toml").write_text("")
    with pytest.raises(ConfigError, match=r"no such file; did you mean .*two_bosons\.toml\?"):
        load_config(tmp_path / "two_boson.toml")
    with pytest.raises(ConfigError, match="dsmsim init"):
        load_config(tmp_path / "nowhere" / "input.toml")


def test_a_directory_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a directory; name the input file"):
        load_config(tmp_path)


@pytest.mark.parametrize("path", ["/dev/zero", "a\0b", "input.toml/input.toml"])
def test_paths_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "input.toml").write_text("")
    with pytest.raises(ConfigError, match=r"larger than|cannot be read"):
        load_config(tmp_path / path)
