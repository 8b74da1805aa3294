"""What the commands compute, print and leave behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Outcome, call
from run_files import finished_run, log_of
from tiny import tiny_config, write_input

from dsmsim.methods.comparing import evaluator
from dsmsim.store import RunDirectory, load_checkpoint, read_results, write_results
from dsmsim.training.trained import trained_fields

ONE_BOSON = {"system.particles": 1, "system.interaction": None}
STORED = {"output.trajectories": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The directory of a run, and what it printed."""
    directory = tmp_path_factory.mktemp("finished")
    outcome = call("run", write_input(directory / "input.toml", STORED), "--out", directory / "run")
    assert outcome.code == 0, outcome.err
    return directory / "run", outcome


def test_run_leaves_what_the_plan_says(finished: tuple[Path, Outcome]) -> None:
    directory, _ = finished
    names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    checkpoints = {f"checkpoints/ckpt-{epoch:06d}.h5" for epoch in (0, 2, 4, 6)}
    paths = {f"trajectories/{name}" for name in ("rank-0000.h5", "manifest.json")}
    assert names - {".lock"} == {
        *("input.toml", "resolved.toml", "log.jsonl", "results.h5", "results.xdmf", *checkpoints, *paths)
    }
    assert (directory / "input.toml").read_text() == (directory.parent / "input.toml").read_text()


def test_run_prints_errors_checks_and_places(finished: tuple[Path, Outcome]) -> None:
    directory, outcome = finished
    for words in ("Errors against closed_form", "E_v", "score: x", "kohn: variance", "energy drift"):
        assert words in outcome.out
    assert "…" not in outcome.out  # no column is cut in a log
    assert f"results   {directory / 'results.h5'}\n" in outcome.out
    assert f"tiny: 1 rank on cpu, results in {directory}\n" in outcome.err
    assert "training 6/6 epochs" in outcome.err
    assert "sampling 240/240 samples" in outcome.err


def test_results_open_labelled_in_xarray(finished: tuple[Path, Outcome]) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    file = finished[0] / "results.h5"
    with xarray.open_dataset(file, group="density", engine="h5netcdf") as density:
        assert density["density"].dims == ("time", "x")
        assert set(density.coords) == {"time", "x"}
        units = {name: density[name].attrs["units"] for name in ("time", "x", "density")}
        assert units == {"time": "time", "x": "length", "density": "1/length"}
        assert all(density[name].attrs["long_name"] for name in units)
        np.testing.assert_array_equal(density["time"], tiny_config().time.save_times)
        # all but the fraction outside the cells, by labels alone
        inside = density["density"].sum("x") * float(density["x"].diff("x")[0])
        np.testing.assert_allclose(inside + density["outside"], 1.0, rtol=1e-12)
    with xarray.open_dataset(file, group="observables", engine="h5netcdf") as observables:
        assert observables["variance"].dims == ("time", "particle", "axis")
        last = observables["variance"].sel(time=1.0, particle=1, axis=0)
        assert float(last) == observables["variance"].values[-1, 1, 0] > 0.0
    shard = finished[0] / "trajectories" / "rank-0000.h5"
    with xarray.open_dataset(shard, group="trajectories", engine="h5netcdf") as paths:
        assert paths["position"].sizes == {"time": 5, "trajectory": 3, "particle": 2, "axis": 1}
    with xarray.open_dataset(file, group="training", engine="h5netcdf") as training:
        assert training["loss"].dims == ("epoch",)
        assert training["epoch"].values.tolist() == [1, 2, 3, 4, 5, 6]


def test_results_repeat_the_log_and_hold_the_last_networks(finished: tuple[Path, Outcome]) -> None:
    run = RunDirectory(finished[0])
    stored = read_results(run.results)
    for name in ("loss", "loss_newton", "loss_score", "learning_rate", "gradient_norm"):
        assert stored.results["training"][name].tolist() == [record[name] for record in log_of(run.path)]
    _, fields = trained_fields(stored)
    arrays = load_checkpoint(run.checkpoints).arrays
    for name, parameter in fields.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), arrays[f"model/{name}"])
    facts = stored.attributes["provenance"]
    assert facts["input"] == run.input.read_text()
    assert facts["physics_hash"] == tiny_config().physics_hash()


def test_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path / "case.toml")
    assert call("run", "case.toml").code == 0
    assert (tmp_path / "runs" / "case" / "results.h5").is_file()


def test_baseline_and_comparison_with_it(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml")
    exact = tmp_path / "exact"
    outcome = call("baseline", "split_step", file, "--out", exact)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(f"results   {exact / 'results.h5'}\n")
    for words in ("Solution by split_step", "Fourier split step", "error estimate", "tolerance"):
        assert words in outcome.out
    assert "split_step: " in outcome.err

    compared = call("compare", finished[0], exact)
    assert compared.code == 0, compared.err
    assert "Errors against" in compared.out
    assert call("compare", finished[0], exact / "results.h5").code == 0
    # two solutions of the same problem, one of them the closed form, disagree with the run alike
    rows = [metric_rows(outcome.out) for outcome in (finished[1], compared)]
    for name in ("E_m", "E_v"):
        assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), rel=0.05)

    refused = call("baseline", "split_step", file, "--out", exact)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert call("baseline", "split_step", file, "--out", exact, "--overwrite").code == 0


def test_comparison_with_the_closed_form(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    """The exact solution of the problem of the first one, whether that is a run or a baseline."""
    outcome = call("compare", finished[0] / "results.h5", "closed_form")
    assert outcome.code == 0, outcome.err
    again, before = metric_rows(outcome.out), metric_rows(finished[1].out)
    assert again.keys() >= {"E_m", "E_v", "density_l1_mean", "E_u", "E_v_field"}
    assert again.items() <= before.items()
    file = write_input(tmp_path / "input.toml")
    assert call("baseline", "split_step", file, "--out", tmp_path / "exact").code == 0
    outcome = call("compare", tmp_path / "exact", "closed_form")
    assert outcome.code == 0, outcome.err
    assert float(metric_rows(outcome.out)["E_v"]) < 1e-5


def test_several_results_in_one_table(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml")
    assert call("baseline", "split_step", file, "--out", tmp_path / "exact").code == 0
    figure = tmp_path / "methods.png"
    outcome = call("compare", finished[0], tmp_path / "exact", "closed_form", "--figure", figure)
    assert outcome.code == 0, outcome.err
    for words in ("Errors against closed_form", "Fourier split", "dsm", "solving", "energy"):
        assert words in outcome.out
    assert outcome.out.endswith(f"figure    {figure}\n")
    assert figure.is_file()
    outcome = call("compare", tmp_path / "exact", finished[0] / "results.h5", tmp_path / "exact")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "exact" / "figures" / "methods.png").is_file()
    outcome = call("compare", tmp_path / "exact", tmp_path / "nothing", "closed_form")
    assert outcome.code == 4
    assert "nothing" in outcome.err


def test_the_energy_of_a_driven_system_does_not_drift(tmp_path: Path) -> None:
    quench = {"omega": {"to": 1.2, "start": 0.3, "duration": 0.3}}
    trap = {"kind": "harmonic", "omega": 1.0, "quench": quench}
    for name, changes in (("still", ONE_BOSON), ("driven", ONE_BOSON | {"system.trap": trap})):
        file = write_input(tmp_path / f"{name}.toml", changes)
        assert call("baseline", "split_step", file, "--out", tmp_path / name).code == 0
        outcome = call("compare", tmp_path / name, tmp_path / name)
        assert outcome.code == 0, outcome.err
        assert ("energy_drift" in outcome.out) == (name == "still")


def test_no_closed_form_to_compare_with(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    file = write_input(
        tmp_path / "input.toml", {"system.interaction": {"kind": "gaussian", "g": 1, "s2": 0.1}}
    )
    assert call("baseline", "split_step", file, "--out", tmp_path / "run").code == 0
    outcome = call("compare", tmp_path / "run", "closed_form")
    assert outcome.code == 2
    assert "has no closed form" in outcome.err
    stored = read_results(finished[0] / "results.h5")
    write_results(tmp_path / "other.h5", {"observables": stored.results["observables"]})
    outcome = call("compare", tmp_path / "other.h5", "closed_form")
    assert outcome.code == 2
    assert "does not say which problem it solves" in outcome.err


def test_networks_of_a_run_at_given_places(finished: tuple[Path, Outcome]) -> None:
    """At t = 0 the fields are those of the initial state by construction."""
    evaluate = evaluator(read_results(finished[0] / "results.h5"))
    x = np.random.default_rng(1).normal(0.2, 0.5, (7, 2, 1))
    u, v = evaluate(x, 0.0)
    np.testing.assert_allclose(u, -0.5 / 2.0 * (x - 0.2) / 0.3, rtol=1e-12)
    assert v.shape == x.shape
    assert not v.any()
    assert evaluate(x, 0.7)[1].any()


def metric_rows(text: str) -> dict[str, str]:
    """The first number of every row of the tables."""
    rows = [line.replace("│", " ").split() for line in text.splitlines() if line.startswith("│")]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def test_runs_of_different_systems_cannot_be_compared(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    file = write_input(tmp_path / "input.toml", ONE_BOSON)
    assert call("baseline", "split_step", file, "--out", tmp_path / "one").code == 0
    outcome = call("compare", finished[0], tmp_path / "one")
    assert outcome.code == 2
    assert "compare runs of the same system" in outcome.err


def test_plot_draws_again(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    outcome = call("plot", run)
    assert outcome.code == 0, outcome.err
    figures = [Path(line.removeprefix("figure    ")) for line in outcome.out.splitlines()]
    assert {figure.name for figure in figures} >= {"density.png", "moments.png", "training.png"}
    for figure in figures:
        assert figure.parent == run / "figures"
        assert figure.read_bytes().startswith(b"\x89PNG")
    outcome = call(
        "plot", run / "results.h5", "--format", "pdf", "--times", "0,0.04", "--out", tmp_path / "pdf"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "pdf" / "density.pdf").read_bytes().startswith(b"%PDF")
    for wrong in (["--format", "jpg"], ["--times", "0,99"], ["--times", "soon"]):
        outcome = call("plot", run, *wrong)
        assert outcome.code == 2
        assert wrong[0] in outcome.err


def test_run_draws_and_removes_its_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file, out = write_input(tmp_path / "input.toml", {"output.figures": True}), tmp_path / "run"
    outcome = call("run", file, "--out", out)
    assert outcome.code == 0, outcome.err
    assert f"figure    {out / 'figures' / 'density.png'}\n" in outcome.out
    assert (out / "figures" / "density.png").is_file()
    write_input(file)
    assert call("run", file, "--out", out, "--overwrite").code == 0
    assert not (out / "figures").exists()


def reference_hash(run: Path) -> Any:
    stored = read_results(run / "references" / "split_step" / "results.h5")
    return stored.attributes["provenance"]["physics_hash"]


def test_reference_of_an_earlier_problem_is_not_used_again(tmp_path: Path) -> None:
    """Another trap in the same directory: the old reference would say that the run is wrong."""
    file, run = tmp_path / "input.toml", tmp_path / "run"
    changes = ONE_BOSON | {"compare.with": ["split_step"]}
    write_input(file, changes)
    assert call("run", file, "--out", run).code == 0
    assert reference_hash(run) == tiny_config(changes).physics_hash()

    stale = (run / "references" / "split_step" / "results.h5").read_bytes()
    other = changes | {"system.trap.omega": 3.0}
    write_input(file, other)
    assert call("run", file, "--out", run, "--overwrite").code == 0
    assert reference_hash(run) == tiny_config(other).physics_hash()

    # left behind by anything else than --overwrite, it is computed anew as well
    (run / "references" / "split_step" / "results.h5").write_bytes(stale)
    assert call("resume", run).code == 0
    assert reference_hash(run) == tiny_config(other).physics_hash()


def test_reference_of_the_same_problem_is_computed_once(tmp_path: Path) -> None:
    file, run = tmp_path / "input.toml", tmp_path / "run"
    write_input(file, ONE_BOSON | {"compare.with": ["split_step", "closed_form"]})
    outcome = call("run", file, "--out", run)
    assert outcome.code == 0, outcome.err
    assert "Errors against split_step" in outcome.out
    assert "Errors against closed_form" in outcome.out
    before = (run / "references" / "split_step" / "results.h5").stat().st_mtime_ns
    assert call("resume", run).code == 0
    assert (run / "references" / "split_step" / "results.h5").stat().st_mtime_ns == before
    errors = read_results(run / "results.h5").results
    for name in ("E_m", "E_v"):
        found = errors["errors/split_step"][name], errors["errors/closed_form"][name]
        assert float(found[0]) == pytest.approx(float(found[1]), rel=0.05)
    assert int(errors["errors/split_step"]["reference_converged"]) == 1


def test_fields_are_compared_with_a_solver_as_with_the_closed_form(tmp_path: Path) -> None:
    """At configurations of the true density there, at the run's own samples here: alike for a good run."""
    changes = {"compare.with": ["split_step", "closed_form"], "train.epochs": 40, "evaluation.samples": 3000}
    run = finished_run(tmp_path, changes)
    errors = read_results(run / "results.h5").results
    for name in ("E_u", "E_v_field"):
        found = errors["errors/split_step"], errors["errors/closed_form"]
        assert float(found[0][name]) == pytest.approx(float(found[1][name]), rel=0.25)
        assert float(found[0][f"{name}_stderr"]) < 0.1 * float(found[0][name])


def test_divergence_has_its_exit_code_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    changes = {"train.learning_rate": 1e200, "train.warmup": 0, "train.schedule": "constant"}
    file, run = write_input(tmp_path / "input.toml", changes), RunDirectory(tmp_path / "run")
    outcome = call("run", file, "--out", run.path)
    assert outcome.code == 3
    assert "dsmsim: loss " in outcome.err
    assert "lower train.learning_rate = 1e+200" in outcome.err
    assert not run.results.exists()
    checkpoint = load_checkpoint(run.checkpoints)
    assert checkpoint.epoch == 1
    assert all(np.isfinite(value).all() for value in checkpoint.arrays.values())
    assert call("resume", run.path).code == 3


def test_corrupt_results_are_a_file_error(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    (run / "results.h5").write_bytes((run / "results.h5").read_bytes()[:2000])
    for arguments in (["plot", run], ["compare", run, finished[0]]):
        outcome = call(*arguments)
        assert outcome.code == 4
        assert f"{run / 'results.h5'}" in outcome.err
