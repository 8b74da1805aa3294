"""Figures: which are drawn from which results, their size, and no side effects."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import tomli_w
from matplotlib.image import imread
from numpy.typing import NDArray
from synthetic import TIMES, exact_results, moving_gaussian, pairs, sampled_results

from dsmsim.analysis import plot_run
from dsmsim.analysis.loading import CLOSED_FORM, load_run
from dsmsim.config import Config, parse_config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import RunDirectory, write_results

Results = dict[str, dict[str, NDArray[Any]]]


def training() -> dict[str, NDArray[Any]]:
    epoch = np.arange(0, 100, 10)
    falling = np.exp(-epoch / 30.0)
    return {
        "epoch": epoch,
        "loss": falling,
        "loss_newton": 0.7 * falling,
        "loss_score": 0.3 * falling,
        "loss_initial": np.zeros(10),
        "learning_rate": 1e-3 * falling,
        "gradient_norm": falling,
        "seconds": 0.1 * epoch,
    }


def new_run(path: Path, config: Config, results: Results) -> RunDirectory:
    """A run directory with results and the resolved input."""
    run = RunDirectory.create(path)
    run.resolved.write_text(tomli_w.dumps(config.to_dict()))
    write_results(run.results, results)
    return run


def content(path: Path) -> NDArray[Any]:
    """(height, width, channels) of a PNG, which must not be a blank sheet."""
    image: NDArray[Any] = imread(path)
    pixels = image[::5, ::5].reshape(-1, image.shape[-1])
    assert len(np.unique(pixels, axis=0)) > 50
    return image


def test_all_figures_of_a_sampled_run(tmp_path: Path) -> None:
    config = moving_gaussian(2, 2)
    results = sampled_results(config, 400, 2, np.random.default_rng(1))
    run = new_run(tmp_path / "run", config, results | {"training": training()})
    settings = dict(matplotlib.rcParams)
    written = plot_run(run.path)
    assert written == [run.figures / f"{name}.png" for name in ("density", "moments", "training", "energy")]
    assert dict(matplotlib.rcParams) == settings
    # inches at 150 dots each: three maps, two axes by three rows, 1.2 + 1.5 (3 + 1), two columns
    sizes = {"density": (10.8, 5.8), "moments": (9.6, 6.9), "training": (6.5, 7.2), "energy": (9.0, 5.6)}
    for path in written:
        width, height = sizes[path.stem]
        assert content(path).shape[:2] == (round(150 * height), round(150 * width))


@pytest.mark.parametrize("bonds", [2, 15])
def test_ranks_of_tensor_layers(bonds: int, tmp_path: Path) -> None:
    epoch = np.arange(0, 100, 10)
    group = training() | {
        "bond": np.array([f"u.{k}:1" for k in range(bonds)]),
        "rank": 16 - (epoch[:, None] // 20 + np.arange(bonds)) % 8,
        "bond_entropy": np.exp(-epoch[:, None] / 30.0) + 0.05 * np.arange(bonds),
    }
    write_results(tmp_path / "results.h5", {"training": group})
    written = plot_run(tmp_path / "results.h5")
    assert [path.name for path in written] == ["training.png", "ranks.png"]
    assert content(written[1]).shape[:2] == (780, 975)


def test_without_any_reference(tmp_path: Path) -> None:
    system = {
        "particles": 2,
        "hbar": 0.1,
        "trap": {"kind": "harmonic", "omega": 1.0},
        "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
    }
    config = parse_config({"system": system, "time": {"end": 1.0}})
    results = sampled_results(moving_gaussian(2), 300, 1, np.random.default_rng(2))
    run = new_run(tmp_path / "run", config, results)
    assert load_run(run.results).references == {}
    written = plot_run(run.path, tmp_path / "elsewhere")
    assert [path.name for path in written] == ["density.png", "moments.png", "energy.png"]
    assert {path.parent for path in written} == {tmp_path / "elsewhere"}
    assert content(written[0]).shape[1] == round(150 * 7.2)  # one map
    assert content(written[1]).shape[0] == round(150 * 4.8)  # no row of errors


def test_a_results_file_alone(tmp_path: Path) -> None:
    write_results(tmp_path / "results.h5", exact_results(moving_gaussian(3)))
    written = plot_run(tmp_path / "results.h5")
    assert [path.parent for path in written] == [tmp_path / "figures"] * 3
    for path in written:
        content(path)


def test_results_of_a_solver(tmp_path: Path) -> None:
    """No training, no checks, no samples; correlations and momenta instead."""
    x, p = np.linspace(-2.0, 2.0, 41), np.linspace(-4.0, 4.0, 101)
    groups = exact_results(moving_gaussian(2)) | pairs(x, p, TIMES[::5])
    write_results(tmp_path / "results.h5", groups)
    written = plot_run(tmp_path)
    assert [path.stem for path in written] == ["density", "moments", "energy", "pairs", "coherence"]
    sizes = {"pairs": (9.0, 5.6), "coherence": (9.2, 3.9)}
    for path in written[-2:]:
        width, height = sizes[path.stem]
        assert content(path).shape[:2] == (round(150 * height), round(150 * width))
    # a single particle, at a single time
    groups = exact_results(moving_gaussian()) | pairs(x, p, TIMES[:1])
    for name in ("pair_density", "g2"):
        del groups["correlations"][name]
    del groups["momentum"]
    write_results(tmp_path / "results.h5", groups)
    assert [path.stem for path in plot_run(tmp_path)] == ["density", "moments", "energy", "coherence"]


def test_occupations_of_a_reference_are_drawn(tmp_path: Path) -> None:
    x, p = np.linspace(-2.0, 2.0, 41), np.linspace(-4.0, 4.0, 101)
    config = moving_gaussian(2)
    run = new_run(tmp_path / "run", config, exact_results(config) | pairs(x, p, TIMES[::5]))
    place = run.references / "fock"
    place.mkdir(parents=True)
    write_results(place / "results.h5", exact_results(config) | pairs(x, p, TIMES[::5], orbitals=2))
    assert "coherence" in [path.stem for path in plot_run(run.path)]


def test_references_beside_a_run(tmp_path: Path) -> None:
    config = moving_gaussian()
    run = new_run(tmp_path / "run", config, exact_results(config))
    early = exact_results(config, TIMES[:6], np.linspace(-1.0, 1.0, 31))
    for name in ("split_step", "fock"):
        place = run.references / name
        place.mkdir(parents=True)
        write_results(place / "results.h5", early)
    assert list(load_run(run.results).references) == [CLOSED_FORM, "fock", "split_step"]
    for path in plot_run(run.path):
        content(path)
    # without a closed form the first file is shown, though it ends early
    run.resolved.unlink()
    assert list(load_run(run.results).references) == ["fock", "split_step"]
    for path in plot_run(run.path):
        content(path)


def test_results_without_samples_or_moments(tmp_path: Path) -> None:
    write_results(tmp_path / "results.h5", {"training": training()})
    assert [path.name for path in plot_run(tmp_path / "results.h5")] == ["training.png"]


def test_errors_say_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError):
        plot_run(tmp_path)
    write_results(tmp_path / "results.h5", {"training": training()})
    (tmp_path / "taken").write_text("a file, not a directory")
    with pytest.raises(StoreError, match="cannot write the figure"):
        plot_run(tmp_path, tmp_path / "taken")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"dsmsim\[plot\]"):
        plot_run(tmp_path)


def test_matplotlib_is_loaded_late_and_without_pyplot(tmp_path: Path) -> None:
    write_results(tmp_path / "results.h5", {"training": training()})
    code = (
        "import sys, dsmsim.analysis as a\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
        f"a.plot_run({str(tmp_path)!r})\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
