"""The baseline `tvmc` as users meet it: results, files, cost, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from commands import call
from exact_bosons import errors_of, interacting_bosons
from tiny import write_input

from baselines.tvmc import TRUSTED, build_ansatz, predict, solve
from dsmsim.config import Config
from dsmsim.store import read_results


def bosons(particles: int, **tvmc: Any) -> Config:
    return interacting_bosons(
        particles,
        time={"save": 11},
        evaluation={"samples": 20_480, "trials": 2},
        baselines={"tvmc": tvmc},
    )


# of Var three times the largest error of five seeds; of the density mostly what its 80 cells blur
@pytest.mark.parametrize(("particles", "variance", "density"), [(2, 0.006, 0.04), (4, 0.008, 0.08)])
def test_interacting_bosons(particles: int, variance: float, density: float, tmp_path: Path) -> None:
    said: list[str] = []
    path = solve(bosons(particles), tmp_path, progress=said.append)
    stored = read_results(path)
    errors = errors_of(stored.results, particles)
    assert errors.variance < variance
    assert errors.density < density
    assert errors.energy < 0.01
    assert stored.results["checks"]["passed"].all()
    how = stored.attributes["observables"]
    assert how["method"] == "tvmc, jastrow"
    assert how["parameters"] == (8 if particles == 2 else 11)
    assert how["walker_effective_fraction"] > 0.8
    assert 0.01 < how["error_wave_function"] < 0.6
    assert bool(how["converged"]) == (how["error_wave_function"] <= TRUSTED) == (how["warning"] == "")
    costs = stored.attributes["provenance"]
    assert 0.0 < costs["solve_cpu_seconds"] < costs["cpu_seconds"]


def test_files(tmp_path: Path) -> None:
    path = solve(bosons(2, walkers=600), tmp_path)
    steps = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    group = xarray.open_dataset(path, group="propagation", engine="h5netcdf")
    assert group.sizes["step"] == len(steps)
    assert group.step_time.values.tolist() == [entry["time"] for entry in steps]
    assert group.residual.values == pytest.approx([entry["residual"] for entry in steps])
    assert group.spectrum.dims == group.theta_re.dims == ("step", "parameter")
    assert group.parameter.values.tolist() == list(build_ansatz(bosons(2)).names)
    assert not group.theta_re[0].any()


def test_a_seed_decides_everything(tmp_path: Path) -> None:
    first, again = (
        read_results(solve(bosons(2, walkers=600), tmp_path / name)).results["observables"] for name in "ab"
    )
    np.testing.assert_array_equal(first["variance"], again["variance"])
    other = solve(bosons(2, walkers=600).model_copy(update={"seed": 2}), tmp_path / "c")
    assert (read_results(other).results["observables"]["variance"] != first["variance"]).any()


@pytest.mark.parametrize("options", [{"ansatz": "hermite", "n_max": 4}, {"sampling": "metropolis"}])
def test_other_ways(options: dict[str, Any], tmp_path: Path) -> None:
    stored = read_results(solve(bosons(2, walkers=2000, **options), tmp_path))
    assert errors_of(stored.results, 2).variance < 0.05
    assert stored.attributes["observables"]["walker_sampling"] == options.get("sampling", "transport")


def test_divergence_is_told_with_its_exit_code(tmp_path: Path) -> None:
    changes = {
        "system.trap": {"kind": "expression", "expression": "x**4"},
        "system.interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
        "baselines.tvmc": {"integrator": "euler", "dt": 0.5, "walkers": 256},
    }
    file = write_input(tmp_path / "input.toml", changes)
    done = call("baseline", "tvmc", file, "--out", tmp_path / "out")
    assert done.code == 3
    assert "t-VMC" in done.err
    assert "t = " in done.err
    assert not (tmp_path / "out" / "results.h5").exists()


def test_the_command_prints_what_matters(tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", {"baselines.tvmc": {"walkers": 256}})
    done = call("baseline", "tvmc", file, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "tvmc, jastrow" in done.out
    assert "checks" in done.out


def test_prediction() -> None:
    small, large = (predict(bosons(particles)) for particles in (2, 5))
    assert small.method == "tvmc, jastrow"
    assert "8 parameters" in small.points
    assert small.seconds is not None
    assert large.seconds is not None
    assert 0.1 < small.seconds < large.seconds < 100.0
    assert predict(bosons(2, ansatz="hermite", n_max=20)).memory > small.memory
