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
from matplotlib.image import imread
from numpy.typing import NDArray
from synthetic import TIMES, exact_results, moving_gaussian, new_run, pairs, sampled_results, training

from dsmsim.analysis import plot_run, plots
from dsmsim.analysis.loading import CLOSED_FORM, load_run
from dsmsim.config import parse_config
from dsmsim.errors import ConfigError, StoreError
from dsmsim.store import write_results

Results = dict[str, dict[str, NDArray[Any]]]
DOTS = 100  # an inch: figures of tests are coarse, and drawn in less time
COLUMN = 340  # pixels: 3.4 inches


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "DOTS_PER_INCH", DOTS)


def content(path: Path) -> NDArray[Any]:
    """(height, width, channels) of a PNG, which must be as wide as a column and no blank sheet."""
    image: NDArray[Any] = imread(path)
    assert image.shape[1] == COLUMN
    pixels = image[::5, ::5].reshape(-1, image.shape[-1])
    assert len(np.unique(pixels, axis=0)) > 50
    return image


def stems(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def test_all_figures_of_a_sampled_run(tmp_path: Path) -> None:
    config = moving_gaussian(2, 2)
    results = sampled_results(config, 400, 2, np.random.default_rng(1))
    run = new_run(tmp_path / "run", config, results | {"training": training()})
    settings = dict(matplotlib.rcParams)
    written = plot_run(run.path)
    names = ("density", "density_y", "moments", "energy", "training")
    assert written == [run.figures / f"{name}.png" for name in names]
    assert dict(matplotlib.rcParams) == settings
    for path in written:
        content(path)


@pytest.mark.parametrize(("format", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_vector_formats(format: str, start: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Text stays text in a PDF, maps are pictures in it, and the same results give the same file."""
    config = moving_gaussian()
    run = new_run(tmp_path / "run", config, exact_results(config))
    written = plot_run(run.path, format=format)
    assert [path.name for path in written] == [
        f"{name}.{format}" for name in ("density", "moments", "energy")
    ]
    data = [path.read_bytes() for path in written]
    assert all(image.startswith(start) for image in data)
    assert all(len(image) < 200_000 for image in data)
    if format == "pdf":
        assert all(b"/FontFile2" in image and b"/Type3" not in image for image in data)
    plot_run(run.path, tmp_path / "again", format=format)
    assert [(tmp_path / "again" / path.name).read_bytes() for path in written] == data
    assert caplog.text == ""


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
    alone = content(written[0]).shape[0], content(written[1]).shape[0]
    run = new_run(tmp_path / "known", moving_gaussian(2), results)
    beside = [content(path).shape[0] for path in plot_run(run.path)[:2]]
    assert alone[0] < beside[0]  # one map instead of three
    assert alone[1] < beside[1]  # no row of errors


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
    assert stems(written) == ["density", "moments", "energy", "pair_density", "g2", "occupations", "momentum"]
    for path in written[-4:]:
        content(path)
    # a single particle, at a single time
    groups = exact_results(moving_gaussian()) | pairs(x, p, TIMES[:1])
    for name in ("pair_density", "g2"):
        del groups["correlations"][name]
    del groups["momentum"]
    write_results(tmp_path / "results.h5", groups)
    assert stems(plot_run(tmp_path)) == ["density", "moments", "energy", "occupations"]


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
    with pytest.raises(ConfigError, match=r"--format jpg: .* png, pdf, svg"):
        plot_run(tmp_path, format="jpg")
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
