"""Observables agree with closed forms, their intervals cover the truth as often as they say, and add up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ensembles import draw, exact_form, gaussian_config
from gaussian_truths import add_batch, context_of, sums_of, truths
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.errors import ConfigError
from dsmsim.measure import Context, EnsembleSums, build_observables
from dsmsim.measure.averages import Average
from dsmsim.measure.groups import MOST, Groups

SIGMAS = 5.0
TIMES = np.array([0.0, 0.45, 1.0])
ENSEMBLES, SIZE = 200, 768
CONFIG = gaussian_config(3, 1, 0.8)
Array = NDArray[np.float64]
Truths = dict[str, dict[str, Array]]


def filled(
    context: Context, config: Any, seed: int, size: int, unit: int = 1, blocks: int = 1
) -> EnsembleSums:
    sums, rng = sums_of(config, context), np.random.default_rng(seed)
    for block in range(blocks):
        add_batch(sums, config, size // blocks, rng, block, unit)
    return sums


def resolved(exact: Truths, group: str, name: str, fraction: float) -> NDArray[np.bool_]:
    """Which entries have counts enough for a normal error: all moments, and the bulk of distributions."""
    truth = np.abs(exact[group]["pair_density" if name == "g2" else name])
    if group in ("observables", "user") or name == "quantile":
        return np.ones(truth.shape, dtype=bool)
    return np.asarray(truth > fraction * truth.max())


@pytest.mark.parametrize("particles", [1, 2, 4])
def test_observables_agree_with_the_closed_form(particles: int) -> None:
    config = gaussian_config(particles, 1, 0.8 if particles > 1 else 0.0)
    context = context_of(config, TIMES, bins=24, blocks=3)
    found = filled(context, config, 7, 30_000, blocks=3).groups()
    exact = truths(config, context)
    for group, values in exact.items():
        for name, truth in values.items():
            value, stderr = found[group][name], found[group][f"{name}_stderr"]
            assert value.shape == stderr.shape == truth.shape, name
            known = resolved(exact, group, name, 0.05)
            assert known.sum() >= len(TIMES), name
            wrong = np.abs(value - truth)[known] / stderr[known]
            assert wrong.max() < SIGMAS, name
            # on the scale of the quantity itself, too: errors that are too large would pass as well
            assert np.abs(value - truth)[known].max() < 0.35 * np.abs(truth).max(), name


@pytest.mark.parametrize(("unit", "blocks"), [(1, 4), (4, 8)], ids=["independent", "correlated"])
def test_intervals_cover_the_truth_in_95_percent_of_the_cases(unit: int, blocks: int) -> None:
    context = context_of(CONFIG, TIMES[1:], bins=12, blocks=blocks)
    exact = truths(CONFIG, context)
    inside: dict[str, list[Array]] = defaultdict(list)
    for seed in range(ENSEMBLES):
        found = filled(context, CONFIG, 100 + seed, SIZE, unit, blocks).groups()
        for group, values in exact.items():
            for name, truth in values.items():
                value, stderr = found[group][name], found[group][f"{name}_stderr"]
                inside[f"{group}/{name}"].append(np.abs(value - truth) <= 1.96 * stderr)
    for key, hits in inside.items():
        group, name = key.split("/")
        counted = resolved(exact, group, name, 0.2)
        fraction = float(np.mean(np.array(hits)[:, counted]))
        assert 0.92 <= fraction <= 0.98, key


def test_groups_are_whole_units_of_nearly_equal_size() -> None:
    groups = Groups.of(39, 3, torch.device("cpu"))
    assert (len(groups), groups.sizes.tolist()) == (13, [3.0] * 13)
    large = Groups.of(3 * 100, 3, torch.device("cpu"))
    assert len(large) == MOST
    assert set(large.sizes.tolist()) == {9.0, 12.0}
    assert torch.equal(large.index.reshape(-1, 3)[:, 0], large.index.reshape(-1, 3)[:, 2])
    means = large.means(torch.arange(300.0, dtype=torch.float64).expand(2, -1))
    assert means.shape == (MOST, 2)
    assert float(means[0, 0]) == float(torch.arange(300.0)[: int(large.sizes[0])].mean())


def test_parts_add_up() -> None:
    config = gaussian_config(2, 2, 0.8)
    context = context_of(config, TIMES, blocks=2, size=200)
    whole, parts = (filled(context, config, 5, 400, blocks=2) for _ in range(2))
    halves, rng = [sums_of(config, context) for _ in range(2)], np.random.default_rng(5)
    for block, half in enumerate(halves):
        add_batch(half, config, 200, rng, block)
    for total, one, two in zip(*(sums.tensors() for sums in (parts, *halves)), strict=True):
        total.copy_(one + two)
    for group, values in whole.groups().items():
        for name, value in values.items():
            np.testing.assert_allclose(
                parts.groups()[group][name], value, rtol=1e-9, atol=1e-12, err_msg=name
            )


def test_a_weight_is_worth_as_many_copies() -> None:
    config, unit = gaussian_config(2, 1, 0.8), 20
    form, context = exact_form(config), context_of(config, TIMES[2:], blocks=1, size=40 * unit)
    x = draw(config, 1.0, 20 * unit, np.random.default_rng(1))
    weighted, copied = sums_of(config, context), sums_of(config, context)
    counts = torch.tensor([0.0, 2.0, 1.0, 1.0] * (len(x) // 4), dtype=torch.float64)
    y = x.repeat_interleave(counts.to(torch.int64), 0)
    for sums, z, w in ((weighted, x, counts), (copied, y, None)):
        t = torch.full_like(z[:, :1], 1.0)
        sums.add(0, 0, z, form.u(z, t), form.v(z, t), 1.0, unit=unit, weights=w)
    found = weighted.groups()
    for group, values in copied.groups().items():
        for name, value in values.items():
            if group != "shots" and "trial" not in name:
                np.testing.assert_allclose(found[group][name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_smooth_density_is_the_histogram_with_smaller_errors() -> None:
    context = context_of(CONFIG, TIMES, bins=40)
    density = filled(context, CONFIG, 2, 8000).groups()["density"]
    bulk = density["density"] > 0.1 * density["density"].max()
    smooth, stderr = density["density_smooth"][bulk], density["density_smooth_stderr"][bulk]
    noise = density["density_stderr"][bulk]
    assert np.max(np.abs(smooth - density["density"][bulk]) / np.hypot(stderr, noise)) < SIGMAS
    assert np.median(stderr / noise) < 0.6
    ends = density["density_smooth_stderr"][:, [0, -1]]
    assert ends.max() < 0.15 * np.median(stderr)


def test_a_wrong_score_shows_as_a_wrong_smooth_density() -> None:
    """With u a tenth too large it is the score of another density than that of the samples."""
    context = context_of(CONFIG, TIMES[2:])
    sums, form = sums_of(CONFIG, context), exact_form(CONFIG)
    x = draw(CONFIG, 1.0, 8000, np.random.default_rng(8))
    t = torch.full_like(x[:, :1], 1.0)
    sums.add(0, 0, x, 1.1 * form.u(x, t), form.v(x, t), 1.0)
    density = sums.groups()["density"]
    noise = np.hypot(density["density_smooth_stderr"], density["density_stderr"])
    assert (np.abs(density["density_smooth"] - density["density"]) / noise).max() > SIGMAS


def test_shots_are_samples_of_different_blocks_and_stay_the_same_at_all_times() -> None:
    context = context_of(CONFIG, TIMES, blocks=5, size=30)
    sums, drawn = sums_of(CONFIG, context), {}
    for block in range(5):
        start = torch.arange(90.0, dtype=torch.float64).reshape(30, 3) + 1000.0 * block
        for index, time in enumerate(TIMES.tolist()):
            drawn[block, index] = start + 0.25 * index
            sums.add(index, 0, drawn[block, index], start, start, time, block=block)
    shots = sums.groups()["shots"]
    assert shots["position"].shape == (2, 100, 3, 1)
    np.testing.assert_allclose(shots["time"], TIMES[[0, 2]])
    np.testing.assert_allclose(shots["position"][1], shots["position"][0] + 0.5)
    owner = (shots["position"][0, :, 0, 0] // 1000.0).astype(int)
    assert np.bincount(owner).tolist() == [20] * 5
    assert len(np.unique(shots["position"][0, :, 0, 0])) == 100  # no sample twice
    assert "log_psi_re" not in shots


def test_fields_and_wave_function_of_shots_are_those_at_their_positions() -> None:
    context = replace(context_of(CONFIG, TIMES, blocks=2, size=100), knows_wave=True)
    sums, x = sums_of(CONFIG, context), torch.randn(200, 3, dtype=torch.float64)
    for block in range(2):
        here = x[100 * block : 100 * (block + 1)]
        for index, time in enumerate(TIMES.tolist()):

            def log_psi(y: Tensor, time: float = time) -> Tensor:
                return torch.stack([y.sum(1) + time, y[:, 0] * y[:, 1]], -1)

            sums.add(index, 0, here, here**2, here - time, time, block=block, log_psi=log_psi)
    shots = sums.groups()["shots"]
    position = shots["position"][..., 0]
    np.testing.assert_allclose(shots["osmotic_velocity"][..., 0], position**2)
    np.testing.assert_allclose(shots["current_velocity"][..., 0], position - shots["time"][:, None, None])
    np.testing.assert_allclose(shots["log_psi_re"], position.sum(2) + shots["time"][:, None])
    np.testing.assert_allclose(shots["log_psi_im"], position[..., 0] * position[..., 1])


def test_in_more_dimensions_every_axis_has_its_own() -> None:
    config = gaussian_config(2, 2, 0.8)
    context = context_of(config, TIMES)
    found = filled(context, config, 4, 20_000).groups()
    form, density = exact_form(config), found["density"]
    for axis, suffix in enumerate(("", "_y")):
        spread, mean = np.sqrt(form.variance(TIMES)[:, 0, axis]), form.mean(TIMES)[:, 0, axis]
        x = density["xy"[axis]]
        exact = np.exp(-0.5 * ((x - mean[:, None]) / spread[:, None]) ** 2) / (2.5066282746 * spread[:, None])
        wrong = np.abs(density[f"density_smooth{suffix}"] - exact)
        stderr = density[f"density_smooth{suffix}_stderr"]
        assert np.all(wrong[exact > 0.1 * exact.max()] < SIGMAS * stderr[exact > 0.1 * exact.max()])
        median = found["distributions"]["quantile"][:, 2, axis]
        assert np.all(np.abs(median - mean) < SIGMAS * found["distributions"]["quantile_stderr"][:, 2, axis])
    far = found["distributions"]
    width = far["distance"][1] - far["distance"][0]
    np.testing.assert_allclose((far["distance_density"] * width).sum(1), 1.0, atol=1e-3)


def width_of_the_cloud(context: Context) -> Average:
    """An observable as a user may write it."""
    return Average(context, "width", lambda sampled: sampled.x.std(1), units="length", long_name="width")


def test_a_function_of_the_users_own() -> None:
    context = context_of(CONFIG, TIMES)
    (average,) = build_observables([f"{__name__}:width_of_the_cloud"], {}, ["t"], context).values()
    sums = EnsembleSums(
        context.system,
        TIMES,
        1,
        context.edges,
        mean=context.mean,
        variance=context.variance,
        observables=[average],
    )
    add_batch(sums, CONFIG, 400, np.random.default_rng(0))
    found = sums.groups()["user"]
    assert np.all((found["width"] > 0.0) & (found["width_stderr"] > 0.0) & (found["width_stderr"] < 0.1))
    assert sums.attributes() == {"user/width": {"units": "length", "long_name": "width"}}


def test_a_function_without_one_number_of_each_sample_is_refused() -> None:
    context = context_of(CONFIG, TIMES)
    sums = sums_of(CONFIG, context)
    wrong = Average(context, "wrong", lambda sampled: sampled.x)
    sums._more = (wrong,)
    with pytest.raises(ConfigError, match=r"'wrong' must give one real number of each of 400.*\(400, 3\)"):
        add_batch(sums, CONFIG, 400, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("g3", r"no observable 'g3'.*smooth_density"),
        ("nowhere_at_all:build", r"output.observables = 'nowhere_at_all:build'.*cannot be imported"),
    ],
)
def test_observables_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_observables([name], {}, ["t"], context_of(CONFIG, TIMES))
