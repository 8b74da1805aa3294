"""A run's directory: nothing of anybody is removed unasked, and only dsmsim's own files when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import RunDirectory, save_checkpoint

OWN = [
    "resolved.toml",
    "log.jsonl",
    "results.h5",
    "results.xdmf",
    "march.h5",
    "march.xdmf",
    "report.html",
    "figures/density.png",
    "references/split_step/results.h5",
    "references/split_step/results.xdmf",
    "trajectories/rank-0001.h5",
    "trajectories/manifest.json",
]
LEFT_BY_KILLED_WRITERS = [
    ".results.h5.12.tmp",
    ".results.xdmf.12.tmp",
    ".march.xdmf.12.tmp",
    "checkpoints/.ckpt-000010.h5.12.tmp",
    "references/split_step/.results.h5.12.tmp",
    "references/fock/.results.h5.12.tmp",
    "figures/.density.png.7.tmp",
    "trajectories/.rank-0003.h5.12.tmp",
]
FOREIGN = [
    "notes.txt",
    "mine.xdmf",
    "figures/sketch.jpg",
    "checkpoints/best.pt",
    "results.h5.bak",
    ".hidden.tmp",
]


def put(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    return path


def test_places() -> None:
    run = RunDirectory("runs/a")
    places = [run.input, run.resolved, run.log, run.results, run.report]
    assert [str(place) for place in places] == [
        "runs/a/input.toml",
        "runs/a/resolved.toml",
        "runs/a/log.jsonl",
        "runs/a/results.h5",
        "runs/a/report.html",
    ]
    assert [place.name for place in (run.checkpoints, run.figures, run.references)] == [
        "checkpoints",
        "figures",
        "references",
    ]


def test_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs" / "a")
    assert run.path.is_dir()
    assert list(run.path.iterdir()) == []


def test_files_of_others_are_no_obstacle(tmp_path: Path) -> None:
    foreign = [put(tmp_path, name) for name in FOREIGN]
    RunDirectory.create(tmp_path)
    assert all(path.exists() for path in foreign)


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    """It is no run, and nobody can read it."""
    left = [put(tmp_path, name) for name in LEFT_BY_KILLED_WRITERS]
    names = [".notes.txt.12.tmp", ".hidden.tmp", "other/.results.h5.1.tmp"]
    foreign = [put(tmp_path, name) for name in names]
    RunDirectory.create(tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in foreign)


@pytest.mark.parametrize("name", [*OWN, "input.toml", "checkpoints/ckpt-000010.h5"])
def test_anything_of_a_run_is_refused(tmp_path: Path, name: str) -> None:
    there = put(tmp_path, name)
    with pytest.raises(ConfigError) as caught:
        RunDirectory.create(tmp_path)
    for word in (str(tmp_path), name, "--overwrite", f"dsmsim resume {tmp_path}"):
        assert word in str(caught.value)
    assert there.exists()


def test_overwrite_removes_only_its_own_files(tmp_path: Path) -> None:
    own = [put(tmp_path, name) for name in OWN]
    own += [save_checkpoint(tmp_path / "checkpoints", 10, {}, {}, keep=1)]
    own += [put(tmp_path, name) for name in LEFT_BY_KILLED_WRITERS]
    foreign = [put(tmp_path, name) for name in [*FOREIGN, "input.toml"]]
    RunDirectory.create(tmp_path, overwrite=True)
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in foreign)
    assert not (tmp_path / "references").exists()


def test_overwrite_leaves_what_others_put_beside_a_reference(tmp_path: Path) -> None:
    results = [put(tmp_path, f"references/{name}/results.h5") for name in ("fock", "split_step")]
    names = ["fock/notes.txt", "fock/other.h5", "fock/runs/results.h5", "list.txt", "mine.h5"]
    foreign = [put(tmp_path, f"references/{name}") for name in names]
    RunDirectory.create(tmp_path, overwrite=True)
    assert not any(path.exists() for path in results)
    assert all(path.exists() for path in foreign)
    assert not (tmp_path / "references" / "split_step").exists()


def test_an_empty_place_for_a_reference_is_no_run(tmp_path: Path) -> None:
    """What a reference that failed before it wrote anything leaves behind."""
    empty = tmp_path / "references" / "split_step"
    empty.mkdir(parents=True)
    RunDirectory.create(tmp_path)
    assert empty.is_dir()
    RunDirectory.create(tmp_path, overwrite=True)
    assert not empty.parent.exists()


def test_file_in_the_way_and_unwritable_parent(tmp_path: Path) -> None:
    file = put(tmp_path, "a")
    with pytest.raises(ConfigError, match="this is a file"):
        RunDirectory.create(file, overwrite=True)
    with pytest.raises(StoreError, match="cannot create"):
        RunDirectory.create(file / "b")


def test_opening_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no directory"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="holds no run"):
        RunDirectory.open(tmp_path)
    run = RunDirectory.create(tmp_path)
    run.write_text(run.resolved, "seed = 1\n")
    assert RunDirectory.open(tmp_path).resolved.read_text() == "seed = 1\n"
