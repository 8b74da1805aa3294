"""What [output] asks for is measured and stored with names and units, or refused before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch import Tensor

from dsmsim.config.output_costs import observable_numbers
from dsmsim.errors import ConfigError
from dsmsim.measure import Context, Sampled
from dsmsim.measure.averages import Average
from dsmsim.measure.build import BUILDERS
from dsmsim.parallel import World
from dsmsim.store import read_results, schema, write_results
from dsmsim.training.evaluate import Evaluation, evaluate
from dsmsim.training.rehearsal import rehearse_observables
from dsmsim.training.state import new_state

HERE = __name__


def radius(context: Context) -> Average:
    return Average(context, "radius", lambda s: s.x.norm(dim=1), units="length", long_name="hyperradius")


def broken(context: Context) -> Average:
    raise RuntimeError("no luck")


def matrix(context: Context) -> Average:
    return Average(context, "matrix", lambda s: s.x)


class Misnamed:
    """Results of a name that results.h5 does not know."""

    def __init__(self, context: Context) -> None:
        self.times = context.times

    def add(self, sampled: Sampled) -> None:
        """Nothing."""

    def tensors(self) -> list[Tensor]:
        return []

    def results(self, units: Any) -> dict[str, dict[str, Any]]:
        return {"density": {"height": self.times}}


class Single(Misnamed):
    """Sums in single precision."""

    def tensors(self) -> list[Tensor]:
        return [torch.zeros(3)]


def measured(changes: dict[str, Any]) -> Evaluation:
    config = tiny_config(changes)
    return evaluate(config, new_state(config, World()), World(), lambda done, total: None)


def test_the_defaults_fill_their_groups() -> None:
    groups = measured({}).groups()
    assert {"observables", "density", "correlations", "distributions", "shots", "checks"} == set(groups)
    assert {"density_smooth", "current", "current_stderr"} <= set(groups["density"])
    assert {"quantile", "escape", "distance_density", "center_of_mass_density"} <= set(
        groups["distributions"]
    )
    energy = groups["observables"]
    parts = energy["energy_trap"] + energy["energy_interaction"]
    np.testing.assert_allclose(parts, energy["energy_potential"], rtol=1e-12)
    np.testing.assert_allclose(energy["energy_kinetic"] + parts, energy["energy"], rtol=1e-12)
    assert np.all(energy["energy_interaction"] > 0.0)


def test_nothing_but_moments_where_nothing_is_asked_for() -> None:
    assert set(measured({"output.observables": []}).groups()) == {"observables", "density", "checks"}


def test_single_particles_have_no_pairs() -> None:
    groups = measured({"system.particles": 1, "system.interaction": None}).groups()
    assert "correlations" not in groups
    assert "distance_density" not in groups["distributions"]


def test_times_of_correlations_and_digits() -> None:
    found = measured({"output.correlation_times": 2, "output.precision": "float32"}).groups()
    np.testing.assert_allclose(found["correlations"]["time"], [0.0, 1.0])
    assert found["shots"]["position"].shape == (2, 100, 2, 1)
    assert found["shots"]["position"].dtype == found["density"]["density"].dtype == np.float32
    assert found["density"]["x"].dtype == found["observables"]["time"].dtype == np.float64
    whole = measured({}).groups()
    np.testing.assert_allclose(found["observables"]["variance"], whole["observables"]["variance"], rtol=1e-6)


def test_expressions_and_functions_of_the_users_own_are_stored_with_their_units(tmp_path: Path) -> None:
    changes = {
        "output.observables": [f"{HERE}:radius"],
        "output.expressions": {"product": "x1 * x2", "clock": "2 * t"},
    }
    found = measured(changes)
    groups, observed = found.groups(), found.groups()["observables"]
    product = groups["user"]["product"]
    mean = observed["mean"][:, :, 0]
    assert np.all(np.abs(product - mean.prod(1) - observed["covariance"][:, 0, 1, 0]) < 1e-1)
    np.testing.assert_allclose(groups["user"]["clock"], 2.0 * groups["user"]["time"])
    write_results(tmp_path / "results.h5", groups, found.sums.attributes())
    stored = read_results(tmp_path / "results.h5")
    np.testing.assert_allclose(stored.results["user"]["radius"], groups["user"]["radius"])
    assert stored.attributes["user/radius"] == {"units": "length", "long_name": "hyperradius"}
    assert stored.attributes["user/product"]["long_name"] == "average of x1 * x2"


def test_an_installed_package_may_bring_an_observable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "radii-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: radii\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[dsmsim.observables]\nhyperradius = {HERE}:radius\n")
    with pytest.raises(ConfigError, match="there is no observable 'hyperradius'"):
        rehearse_observables(tiny_config({"output.observables": ["hyperradius"]}))
    monkeypatch.syspath_prepend(tmp_path)
    found = measured({"output.observables": ["hyperradius"]})
    assert found.groups()["user"]["radius"].shape == found.groups()["user"]["time"].shape
    with pytest.raises(ConfigError, match=r"there are .*hyperradius.*smooth_density"):
        rehearse_observables(tiny_config({"output.observables": ["hyperradios"]}))


def test_an_expression_that_is_not_a_number_harms_nothing_else() -> None:
    groups = measured({"output.expressions": {"bad": "log(x1)", "good": "x1"}}).groups()
    assert np.all(np.isnan(groups["user"]["bad"]))
    np.testing.assert_allclose(groups["user"]["good"], groups["observables"]["mean"][:, 0, 0], atol=0.2)


def test_velocity_networks_are_checked_for_curl_and_potentials_are_not() -> None:
    def names(changes: dict[str, Any]) -> set[str]:
        return {check.name for check in measured(changes).checks if check.name.startswith("curl")}

    assert names({"network.kind": "mlp"}) == {"curl: u", "curl: v"}
    assert names({"network": {"kind": "potential", "width": 4}}) == set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"'.*:broken' fails on samples of the initial state with RuntimeError: no luck"),
        ("matrix", r"'matrix' must give one real number of each of 64 samples, not float64"),
        ("Misnamed", r"'.*:Misnamed' fails .* no variable 'height'"),
        ("Single", r"'.*:Single' fails .* must be float64, not torch.float32"),
        ("absent", r"cannot be imported"),
    ],
)
def test_functions_that_cannot_be_used_are_refused_before_anything_starts(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rehearse_observables(tiny_config({"output.observables": ["current", f"{HERE}:{name}"]}))


def test_functions_that_can_be_used_pass() -> None:
    rehearse_observables(tiny_config({"output.observables": [f"{HERE}:radius", "shots"]}))


def test_the_input_knows_the_observables_there_are() -> None:
    from dsmsim.config.output_table import OBSERVABLES

    assert set(OBSERVABLES) == set(BUILDERS)


@pytest.mark.parametrize(
    ("particles", "dimensions", "save"), [(1, 1, 5), (3, 1, 13), (2, 2, 5)], ids=["one", "three", "plane"]
)
def test_the_plan_knows_how_many_numbers_are_stored_and_summed(
    particles: int, dimensions: int, save: int
) -> None:
    changes: dict[str, Any] = {
        "system.particles": particles,
        "system.dimensions": dimensions,
        "time.save": save,
        "output.expressions": {"far": "x1**2"},
    }
    if particles == 1:
        changes["system.interaction"] = None
    asked, plain = (tiny_config(changes | more) for more in ({}, {"output.observables": []}))
    found, bare = measured(changes), measured({**changes, "output.observables": []})
    expected = [new - old for new, old in zip(*map(observable_numbers, (asked, plain)), strict=True)]
    groups = [
        sum(
            values.size
            for group, arrays in evaluation.groups().items()
            for name, values in arrays.items()
            if schema.variable(group, name).dims != (name,)
        )
        for evaluation in (found, bare)
    ]
    sums = [sum(tensor.numel() for tensor in evaluation.sums.tensors()) for evaluation in (found, bare)]
    assert [groups[0] - groups[1], sums[0] - sums[1]] == expected
