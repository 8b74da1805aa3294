"""Provenance fits into results.h5 and names what is needed to repeat a run."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

from dsmsim.config import parse_config
from dsmsim.store import Stopwatch, provenance, read_results, write_results

INPUT = {
    "seed": 5,
    "system": {"particles": 2, "trap": {"kind": "harmonic", "omega": 1.0}},
    "time": {"end": 1.0},
}


def test_provenance_goes_into_the_file_and_comes_back(tmp_path: Path) -> None:
    config = parse_config(INPUT)
    found = provenance(
        config,
        world_size=2,
        launcher="mpirun",
        hosts=["a", "a"],
        devices=["cpu", "cpu"],
        started=time.time() - 10,
        input_text="seed = 5\n",
        variables={"SLURM_JOB_ID": "12", "HOME": "/root"},
    )
    assert found["seed"] == 5
    assert found["physics_hash"] == config.physics_hash()
    assert tomllib.loads(found["resolved_input"]) == config.to_dict()
    assert found["hosts"] == ["a", "a"]
    assert 10 <= found["wall_seconds"] < 60
    assert {name: value for name, value in found.items() if name.startswith("slurm")} == {
        "slurm_job_id": "12"
    }
    assert found["torch_version"]
    write_results(tmp_path / "results.h5", {}, {"provenance": found})
    assert read_results(tmp_path / "results.h5").attributes["provenance"] == found


def test_costs_are_those_of_one_solution_not_of_the_process() -> None:
    config, watch = parse_config(INPUT), Stopwatch.start()
    found = provenance(config, started=watch)
    assert 0.0 <= found["cpu_seconds"] < time.process_time()
    assert found["cpu_seconds"] <= watch.cpu_seconds
    assert 0.0 <= found["wall_seconds"] < 60
    assert "solve_cpu_seconds" not in found
    found = provenance(config, started=watch, cpu_seconds=7.0, solve_cpu_seconds=5.0)
    assert (found["cpu_seconds"], found["solve_cpu_seconds"]) == (7.0, 5.0)
    assert "cpu_seconds" not in provenance(config, started=time.time())


def test_unknown_things_are_left_out() -> None:
    found = provenance(parse_config(INPUT), variables={})
    assert None not in found.values()
    assert "wall_seconds" not in found
    assert "input" not in found
    assert len(found["hosts"]) == 1
