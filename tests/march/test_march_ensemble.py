"""Walkers: how they are drawn, that they relax to the density asked for, and that ranks do not matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch import Tensor

from dsmsim.march.ensemble import MOST, SHARE, Ensemble, Scored, start_ensemble, temperature_of
from dsmsim.parallel import World, random_stream
from dsmsim.system import build_initial

DRAWS = ["sobol", "independent", "antithetic"]
DIFFUSION = 0.6  # hbar/m
WALKERS, BLOCK = 20_000, 500


def started(draws: str, world: World | None = None, **changes: Any) -> Ensemble:
    table = {"march.draws": draws, "march.walkers": 96, "march.block": 16}
    config = tiny_config({**table, **changes})
    return start_ensemble(config, build_initial(config), world or World())


def gaussian_score(x: Tensor) -> Scored:
    """u and log density of standard normal numbers."""
    return -0.5 * DIFFUSION * x, -0.5 * x.square().sum(1)


def of_places(x: np.ndarray, log_rho: Tensor | None = None, temperature: float = 1.0) -> Ensemble:
    """Walkers at x (W, n), by default of a constant density."""
    places = torch.from_numpy(x)
    rho = torch.zeros(len(x), dtype=torch.float64) if log_rho is None else log_rho
    return Ensemble(places, rho, range(len(x) // BLOCK), BLOCK, temperature, seed=3, mirrored=False)


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_walkers_do_not_depend_on_ranks(draws: str, size: int) -> None:
    whole = started(draws)
    parts = [started(draws, World(rank, size)) for rank in range(size)]
    for stage in ("drawn", "relaxed", "drawn anew"):
        if stage == "relaxed":
            for each in (whole, *parts):
                each.relax(gaussian_score, gaussian_score(each.x), 0.3, DIFFUSION, True, 5, 1)
        if stage == "drawn anew":
            for each in (whole, *parts):
                each.draw_anew(-each.x.square().sum(1), 5)
        # all six blocks, the last rank of seven has none
        assert torch.equal(torch.cat([part.x for part in parts]), whole.x), stage
        torch.testing.assert_close(torch.cat([part.log_rho for part in parts]), whole.log_rho)
    assert [block for part in parts for block in part.blocks] == list(range(6))


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("temperature", [1.0, 1.8])
def test_walkers_start_in_the_initial_state(draws: str, temperature: float) -> None:
    table = {"draws": draws, "walkers": 20_480, "block": 512, "temperature": temperature}
    config = tiny_config({f"march.{key}": value for key, value in table.items()})
    initial = build_initial(config)
    ensemble = start_ensemble(config, initial, World())
    assert ensemble.x.shape == (20_480, 2)
    assert ensemble.x.dtype == torch.float64
    x = (ensemble.x.numpy() - initial.mean) / np.sqrt(initial.variance)
    error = math.sqrt(temperature / len(x))
    # what low-discrepancy points and mirrored pairs make exact is much closer
    tight = 0.01 * error if draws == "sobol" else 1e-12 if draws == "antithetic" else 5.0 * error
    assert (np.abs(x.mean(0)) < tight).all()
    assert (np.abs(x.var(0) / temperature - 1.0) < 5.0 * math.sqrt(2.0 / len(x))).all()
    assert abs((x[:, 0] * x[:, 1]).mean()) < 5.0 * temperature / math.sqrt(len(x))
    # walkers are as they should be at their temperature, and weighted of the initial state
    log_density = initial.log_density(ensemble.x)
    tempered = ensemble.tempered_log_weights(log_density)
    torch.testing.assert_close(tempered, torch.full_like(tempered, float(tempered[0])))
    log_weights = ensemble.log_weights(log_density, ensemble.log_rho)
    if temperature == 1.0:
        torch.testing.assert_close(log_weights, torch.zeros_like(log_weights), rtol=0.0, atol=1e-12)
    w = torch.exp(log_weights).numpy()
    w /= w.sum()
    assert (np.abs(w @ x**2 - 1.0) < 5.0 * np.sqrt(w**2 @ (x**2 - 1.0) ** 2)).all()
    other = started(draws, seed=2, **{"march.walkers": 20_480, "march.block": 512})
    assert not torch.equal(other.x[:512], ensemble.x[:512])


@pytest.mark.parametrize("particles", [1, 3, 10])
def test_the_automatic_temperature_keeps_a_share_of_the_walkers(particles: int) -> None:
    config = tiny_config({"system.particles": particles, "march.walkers": 2**15, "march.block": 2**14})
    initial = build_initial(config)
    ensemble = start_ensemble(config, initial, World())
    assert ensemble.temperature == temperature_of(config) > 1.0
    w = torch.exp(ensemble.log_weights(initial.log_density(ensemble.x), ensemble.log_rho))
    assert float(w.sum() ** 2 / (len(w) * (w @ w))) == pytest.approx(SHARE, abs=0.02)


def test_velocity_networks_have_no_temperature() -> None:
    asked = {"march.ansatz": "network", "network.kind": "mlp"}
    assert temperature_of(tiny_config(asked)) == 1.0
    assert temperature_of(tiny_config({**asked, "network.kind": "potential"})) > 1.0
    assert temperature_of(tiny_config({"march.temperature": 1.25})) == 1.25


def test_sobol_points_are_those_of_the_initial_state() -> None:
    config = tiny_config({"march.walkers": 96, "march.block": 16})
    expected = build_initial(config).low_discrepancy(random_stream(config.seed, "march start"), 96)
    np.testing.assert_array_equal(started("sobol", **{"march.temperature": 1.0}).x.numpy(), expected)


def test_antithetic_walkers_stay_mirror_images() -> None:
    ensemble = started("antithetic", **{"initial.mean": 0.0})
    first = ensemble.x.clone()
    for k in range(5):
        ensemble.relax(gaussian_score, gaussian_score(ensemble.x), 0.8, DIFFUSION, True, k)
        by_block = ensemble.x.reshape(-1, 16, 2)
        torch.testing.assert_close(by_block[:, 8:], -by_block[:, :8], rtol=1e-12, atol=1e-12)
    assert not torch.equal(ensemble.x, first)
    alone = started("independent", **{"initial.mean": 0.0}).x.reshape(-1, 16, 2)
    assert float((alone[:, 8:] + alone[:, :8]).abs().max()) > 0.1


def anharmonic() -> tuple[Callable[[Tensor], Scored], np.ndarray]:
    """1/cosh(3x) exp(-(y - sin x)^2/2), and independent walkers of it."""

    def score(x: Tensor) -> Scored:
        a, b = x.unbind(1)
        apart = b - torch.sin(a)
        slope = torch.stack([-3.0 * torch.tanh(3.0 * a) + apart * torch.cos(a), -apart], 1)
        return 0.5 * DIFFUSION * slope, -torch.log(torch.cosh(3.0 * a)) - 0.5 * apart.square()

    rng = np.random.default_rng(1)
    # the distribution of x is (2/pi) atan(e^(3x))
    a = np.log(np.tan(0.5 * np.pi * rng.random(WALKERS))) / 3.0
    return score, np.stack([a, np.sin(a) + rng.standard_normal(WALKERS)], 1)


def mixture() -> tuple[Callable[[Tensor], Scored], np.ndarray]:
    """Two Gaussians of different width and share on two axes, and independent walkers."""
    means, widths = torch.tensor([-1.0, 1.2]).double(), torch.tensor([0.5, 0.8]).double()
    shares = torch.tensor([0.3, 0.7]).double()

    def log_density(x: Tensor) -> Tensor:
        far = (x.unsqueeze(1) - means[:, None]).square().sum(2) / widths.square()
        return torch.logsumexp(shares.log() - 2.0 * widths.log() - 0.5 * far, 1)

    def score(x: Tensor) -> Scored:
        slope = torch.func.vmap(torch.func.grad(lambda place: log_density(place[None])[0]))(x)
        return 0.5 * DIFFUSION * slope, log_density(x)

    rng = np.random.default_rng(2)
    second = rng.random(WALKERS) < 0.7
    noise = rng.standard_normal((WALKERS, 2))
    x = np.where(second[:, None], 1.2 + 0.8 * noise, -1.0 + 0.5 * noise)
    return score, x


MOMENTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x": lambda x: x[:, 0],
    "x^2": lambda x: x[:, 0] ** 2,
    "x^4": lambda x: x[:, 0] ** 4,
    "y^2": lambda x: x[:, 1] ** 2,
    "x y": lambda x: x[:, 0] * x[:, 1],
}


def deviations(start: np.ndarray, end: np.ndarray) -> dict[str, float]:
    """Changes of moments in standard errors of two independent sets."""
    found = {}
    for name, moment in MOMENTS.items():
        a, b = moment(start), moment(end)
        found[name] = abs(b.mean() - a.mean()) / math.sqrt((a.var() + b.var()) / len(a))
    return found


@pytest.mark.parametrize("density", [anharmonic, mixture])
def test_corrected_steps_leave_the_density_as_it_is(
    density: Callable[[], tuple[Callable[[Tensor], Scored], np.ndarray]],
) -> None:
    score, x = density()
    found = {}
    for corrected in (True, False):
        ensemble = of_places(x)
        here, moved = score(ensemble.x), 0.0
        assert here[1] is not None
        start = here[1].clone()
        for k in range(40):
            here, count = ensemble.relax(score, here, 0.8, DIFFUSION, corrected, k)
            moved += count
        share = moved / (40 * WALKERS)
        assert 0.3 < share < 0.9 if corrected else share == 1.0
        # the score handed on is that of where the walkers are, and their weights are as before
        for known, again in zip(here, score(ensemble.x), strict=True):
            torch.testing.assert_close(known, again, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(here[1] - ensemble.log_rho, start, rtol=0.0, atol=1e-10)
        found[corrected] = deviations(x, ensemble.x.numpy())
    assert max(found[True].values()) < 5.0, found[True]
    assert max(found[False].values()) > 15.0, found[False]  # the steps are large enough to need it


def test_small_steps_hardly_need_a_correction() -> None:
    """Only with the drift that belongs to the noise: rejections then fall as the step to the power 3/2."""
    score, x = anharmonic()
    rejected = []
    for tau in (0.04, 0.01):
        ensemble = of_places(x)
        _, count = ensemble.relax(score, score(ensemble.x), tau, DIFFUSION, True, 0)
        rejected.append(1.0 - count / WALKERS)
    assert rejected[0] < 0.01
    assert rejected[1] < 0.25 * rejected[0]


def test_a_gaussian_spreads_as_it_should() -> None:
    x = 1.5 * np.random.default_rng(4).standard_normal((WALKERS, 2))
    ensemble, tau = of_places(x), 0.5
    ensemble.relax(gaussian_score, gaussian_score(ensemble.x), tau, DIFFUSION, False, 0)
    shrunk = 1.0 - 0.5 * tau * DIFFUSION
    expected = shrunk**2 * 2.25 + tau * DIFFUSION
    assert (np.abs(ensemble.x.numpy().var(0) / expected - 1.0) < 5.0 * math.sqrt(2.0 / WALKERS)).all()


def test_a_temperature_widens_the_density() -> None:
    """Walkers of p at the temperature T move as those of p^(1/T) do."""
    score, x = anharmonic()

    def hot(x: Tensor) -> Scored:
        u, log_density = score(x)
        assert log_density is not None
        return 3.0 * u, 3.0 * log_density

    one, other = of_places(x), of_places(x, temperature=3.0)
    here, there = score(one.x), hot(other.x)
    for k in range(3):
        here, count = one.relax(score, here, 0.8, DIFFUSION, True, k)
        there, same = other.relax(hot, there, 0.8, DIFFUSION, True, k)
        assert count == same
    torch.testing.assert_close(other.x, one.x, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(other.log_rho, one.log_rho, rtol=1e-9, atol=1e-9)
    assert here[1] is not None
    assert there[1] is not None
    torch.testing.assert_close(
        other.tempered_log_weights(there[1]), one.tempered_log_weights(here[1]), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("temperature", [1.0, 1.6])
def test_weighted_averages_stay_right(temperature: float) -> None:
    """Walkers of one density, weighted as another one, which they relax to."""
    x = 0.4 + 1.2 * np.random.default_rng(6).standard_normal((WALKERS, 2))
    log_rho = -0.5 * ((torch.from_numpy(x) - 0.4) / 1.2).square().sum(1)
    ensemble = of_places(x, log_rho, temperature)
    here = gaussian_score(ensemble.x)
    for k in range(6):
        assert here[1] is not None
        w = torch.exp(ensemble.log_weights(here[1], ensemble.log_rho)).numpy()
        w /= w.sum()
        places = ensemble.x.numpy()
        for values, exact in ((places, 0.0), (places**2, 1.0)):
            mean = w @ values
            error = np.sqrt((w**2) @ (values - mean) ** 2)
            assert (np.abs(mean - exact) < 5.0 * error).all()
        here, _ = ensemble.relax(gaussian_score, here, 0.8, DIFFUSION, True, k)
    assert np.abs(ensemble.x.numpy().mean(0)).max() < 0.25  # they have moved


def test_fields_that_know_no_density() -> None:
    def score(x: Tensor) -> Scored:
        return gaussian_score(x)[0], None

    one, other = started("independent"), started("independent")
    log_rho = one.log_rho.clone()
    (u, nothing), count = one.relax(score, score(one.x), 0.2, DIFFUSION, True, 0)
    other.relax(gaussian_score, gaussian_score(other.x), 0.2, DIFFUSION, False, 0)
    assert torch.equal(one.x, other.x)
    assert nothing is None
    assert count == 96.0
    assert torch.equal(u, gaussian_score(one.x)[0])
    assert torch.equal(one.log_rho, log_rho)
    assert torch.equal(one.log_weights(None, one.log_rho), torch.zeros_like(one.log_rho))


def test_nobody_moves_to_where_there_is_no_density() -> None:
    def score(x: Tensor) -> Scored:
        u, log_density = gaussian_score(x)
        assert log_density is not None
        log_density = torch.where(x[:, 0] > 0.0, math.nan, log_density)
        return u, torch.where(x[:, 0] < -2.0, -math.inf, log_density)

    ensemble = of_places(np.full((WALKERS, 2), -1.0))
    here = score(ensemble.x)
    for k in range(10):
        here, _ = ensemble.relax(score, here, 1.0, DIFFUSION, True, k)
    assert here[1] is not None
    assert float(ensemble.x[:, 0].max()) <= 0.0
    assert float(ensemble.x[:, 0].min()) >= -2.0
    assert bool(torch.isfinite(ensemble.log_rho).all())


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_drawing_anew_keeps_what_blocks_weigh(temperature: float) -> None:
    x = np.random.default_rng(7).standard_normal((4 * BLOCK, 2))
    x[:BLOCK] += 1.0  # blocks of different weight
    ensemble = of_places(x, temperature=temperature)
    log_density = -0.3 * ensemble.x.square().sum(1)
    w = torch.exp(ensemble.tempered_log_weights(log_density))
    ensemble.draw_anew(log_density, 9)
    after = torch.exp(ensemble.tempered_log_weights(-0.3 * ensemble.x.square().sum(1)))
    for k in range(4):
        here = slice(k * BLOCK, (k + 1) * BLOCK)
        torch.testing.assert_close(after[here], torch.full_like(after[here], float(w[here].mean())))
        # systematic drawing: everyone as often as its weight says, but for less than one
        times = (ensemble.x[here, None] == torch.from_numpy(x)[here]).all(2).sum(0)
        expected = w[here] / w[here].mean()
        assert float((times - expected).abs().max()) < 1.0
        assert int(times.sum()) == BLOCK
    # so means are kept, up to a walker in each block
    before = w @ torch.from_numpy(x) / w.sum()
    later = after @ ensemble.x / after.sum()
    assert float((later - before).abs().max()) < 4.0 * 5.0 / BLOCK


def test_one_walker_cannot_outweigh_its_block() -> None:
    ensemble = of_places(np.zeros((2 * BLOCK, 2)))
    log_density = torch.zeros(2 * BLOCK, dtype=torch.float64)
    log_density[7], log_density[BLOCK:] = 50.0, -3.0
    log_density[BLOCK + 3] = -2.5
    expected = log_density.clone()
    expected[7] = math.log(MOST)
    torch.testing.assert_close(ensemble.log_weights(log_density, ensemble.log_rho), expected)
    # at a temperature only what walkers are not as they should be: the rest of the weight is meant
    ensemble.temperature = 2.0
    cool = 0.5 * log_density
    torch.testing.assert_close(ensemble.log_weights(log_density, cool - 1.0), cool + 1.0)
    expected = log_density.clone()
    expected[7] = 25.0 + math.log(MOST)
    torch.testing.assert_close(ensemble.log_weights(log_density, ensemble.log_rho), expected)


def test_random_numbers_differ() -> None:
    """Of blocks, steps, and purposes; and are the same again."""
    ensemble = started("independent")
    normal, uniform = ensemble._random(1, 2)
    assert torch.equal(ensemble._random(1, 2)[0], normal)
    others = [ensemble._random(*index)[0] for index in ((1, 3), (2, 2), (12,), (1, 2, 0))]
    for other in others:
        assert not torch.equal(other, normal)
    blocks = normal.reshape(6, 16, 2)
    assert len({float(block[0, 0]) for block in blocks}) == 6
    assert len({float(number) for number in uniform}) == 96
