"""Drawings: what they show, and that it can be read."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from synthetic import (
    TIMES,
    exact_results,
    moving_gaussian,
    new_run,
    observed,
    pairs,
    sampled_results,
    training,
)

from dsmsim.analysis import figures, plot_run
from dsmsim.analysis.loading import load_run
from dsmsim.errors import ConfigError
from dsmsim.store import RunDirectory, ShardWriter, update_results, write_manifest, write_results

DOTS = 100  # an inch
COLUMN = 3.4  # inches


def everything(path: Path, *, known: bool = True) -> RunDirectory:
    """A run of all groups there are; known: beside a reference that has them too."""
    config = moving_gaussian(2)
    results = sampled_results(config, 200, 1, np.random.default_rng(1))
    more = observed(config, results["density"]["x"], seed=2)
    more["density"] |= results["density"]
    steps = {"step": np.arange(5), "step_time": np.linspace(0.0, 1.0, 5), "residual": np.full(5, 1e-3)}
    steps |= {"drawn_anew": np.array([0, 0, 1, 1, 1]), "rank": np.arange(5), "energy": np.ones(5)}
    steps |= {"step_error": np.full(5, np.nan), "acceptance": np.linspace(0.9, 1.0, 5)}
    run = new_run(path, config, results | more | {"march": steps, "training": training()})
    if known:
        place = run.references / "fock"
        place.mkdir(parents=True)
        exact = observed(config, np.linspace(-2.0, 2.0, 81))
        write_results(place / "results.h5", exact | {"observables": exact_results(config)["observables"]})
    return run


NAMES = ["density", "current", "trajectories", "moments", "energy", "distributions", "pair_density", "g2"]
NAMES += ["density_matrix", "g1", "occupations", "momentum", "user", "march", "training"]


@pytest.mark.parametrize(("known", "times"), [(False, 3), (True, (0.0, 0.2, 0.4, 0.5, 1.0))])
def test_everything_can_be_read_and_nothing_is_cut_off(
    known: bool, times: int | tuple[float, ...], tmp_path: Path
) -> None:
    run = load_run(everything(tmp_path / "run", known=known).results, times)
    with figures.style():
        drawn = {name: draw(run) for name, draw in figures.FIGURES.items()}
        assert [name for name, figure in drawn.items() if figure is not None] == NAMES
        for name, figure in drawn.items():
            # without a truth only maps and moments are laid out in another way
            if figure is not None and (known or name in ("density", "pair_density", "moments")):
                readable(name, figure)


def readable(name: str, figure: Figure) -> None:
    """As wide as a column; nothing beyond the edge or in the heading, no text smaller than 6 points."""
    figure.set_dpi(DOTS)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == COLUMN
    whole, heading = figure.get_tightbbox(), figure.findobj(is_heading)[0].get_window_extent()
    assert min(whole.x0, whole.y0) > -0.01, name  # inches
    assert whole.x1 < figure.get_figwidth() + 0.01, name
    assert whole.y1 < figure.get_figheight() + 0.01, name
    assert figure.subfigs[0].get_tightbbox().y1 <= heading.y0, name
    boxes = [box for ax in figure.axes if (box := ax.get_tightbbox()) is not None]
    legends = [legend for legend in figure.findobj(Legend) if isinstance(legend, Legend)]
    above = [legend for legend in legends if not isinstance(legend.parent, Axes)]  # of several panels
    boxes += [text.get_window_extent() for legend in above for text in legend.get_texts()]
    for first, second in itertools.combinations(boxes, 2):
        common = Bbox.intersection(first, second)
        assert common is None or min(common.width, common.height) < 2.0, name  # pixels
    assert min(float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()) >= 6.0, name


def is_heading(artist: Artist) -> bool:
    return isinstance(artist, Text) and artist.get_text().startswith("A test\n2 bosons")


def test_trajectories_go_before_shots(tmp_path: Path) -> None:
    run = everything(tmp_path / "run", known=False)
    position = np.random.default_rng(4).standard_normal((len(TIMES), 7, 4))
    arrays = {"time": TIMES, "trajectory": np.arange(7), "particle": np.arange(2), "axis": np.arange(2)}
    with ShardWriter(run.trajectories, 0, arrays, {}) as shard:
        for k in range(len(TIMES)):
            shard.add(0, k, position[k])
        entry = shard.finish()
        shard.publish()
    about = {"time": TIMES.tolist(), "particles": 2, "dimensions": 2}
    found = write_manifest(run.trajectories, [entry], about)
    shots = load_run(run.results)
    update_results(run.results, {}, {"trajectories": found})
    kept = load_run(run.results)
    assert shots.trajectories is None
    assert kept.trajectories is not None
    np.testing.assert_array_equal(kept.trajectories.first(3), position.reshape(-1, 7, 2, 2)[:, :3])
    titles = []
    with figures.style():
        for loaded in (shots, kept):
            figure = figures.FIGURES["trajectories"](loaded)
            assert figure is not None
            titles.append(figure.findobj(Axes)[0].get_title(loc="left"))
    assert titles == ["20 single shots of 2 bosons", "6 trajectories of 2 bosons, each in its colour"]
    # the results alone, without the files
    shutil.rmtree(run.trajectories)
    assert load_run(run.results).trajectories is None


def test_snapshots_are_the_nearest_times(tmp_path: Path) -> None:
    file = everything(tmp_path / "run", known=False).results
    assert load_run(file).snapshots(TIMES) == [0, 5, 10]
    assert load_run(file, 2).snapshots(TIMES) == [0, 10]
    assert load_run(file, (0.96, 0.31, 0.29)).snapshots(TIMES) == [3, 10]
    assert load_run(file, (0.3,)).snapshots(np.array([0.5])) == [0]
    with pytest.raises(ConfigError, match=r"--times: 1\.1 is not within the saved times"):
        plot_run(file, times=(0.5, 1.1))


def test_occupations_of_a_reference_are_drawn(tmp_path: Path) -> None:
    x, p = np.linspace(-2.0, 2.0, 41), np.linspace(-4.0, 4.0, 101)
    config = moving_gaussian(2)
    run = new_run(tmp_path / "run", config, exact_results(config) | pairs(x, p, TIMES[::5]))
    place = run.references / "fock"
    place.mkdir(parents=True)
    write_results(place / "results.h5", exact_results(config) | pairs(x, p, TIMES[::5], orbitals=2))
    figure = figures.FIGURES["occupations"](load_run(run.results))
    assert figure is not None
    # four orbitals of the run, and two of the reference, the second one beside the closed form
    assert [line.get_linestyle() for line in figure.axes[0].lines].count(":") == 2
