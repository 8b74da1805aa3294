"""Everything measured on a wave function, against closed forms; honest errors; any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ranks import run_ranks
from wave_packets import Packet, exact, packets

from baselines.wave.evaluate import FEWEST, Measured, measure
from baselines.wave.wave_function import Array, Local
from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.measure import TOLERANCES
from dsmsim.parallel import World


def run(config: Config, wave: Any = None, world: World | None = None, **keywords: Any) -> Measured:
    return measure(config, wave or Packet(config), world, lambda done, total: None, **keywords)


def deviations(measured: Measured, config: Config) -> dict[str, np.ndarray]:
    """Differences from the closed form in standard errors."""
    form, group = exact(config), measured.groups["observables"]
    times = group["time"]
    true = {
        "mean": form.mean(times),
        "variance": form.variance(times),
        "covariance": form.covariance(times),
        "center_of_mass_variance": form.center_of_mass_variance(times),
    }
    found = {name: (group[name] - value) / group[f"{name}_stderr"] for name, value in true.items()}
    density = measured.groups["density"]
    cell = density["x"][1] - density["x"][0]
    edges = np.append(density["x"] - 0.5 * cell, density["x"][-1] + 0.5 * cell)
    # where every set puts the same number of points into a cell, what is left is less than a point
    grain = 1.0 / (cell * measured.facts["samples"] / 20)
    error = np.hypot(density["density_stderr"], 0.1 * grain)
    ratio = (density["density"] - form.density(edges, times)) / error
    return found | {"density": ratio[density["density"] > 0.05]}


@pytest.mark.parametrize(("particles", "dimensions"), [(1, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize(("flow", "sampling"), [(1.0, "auto"), (0.8, "auto"), (0.8, "metropolis")])
def test_closed_forms(particles: int, dimensions: int, flow: float, sampling: Any) -> None:
    """Also with a flow that does not belong to the density, whose velocities are wrong."""
    config = packets(particles, dimensions)
    measured = run(config, Packet(config, flow), sampling=sampling)
    assert measured.facts["sampling"] == ("transport" if sampling == "auto" else "metropolis")
    for name, deviation in deviations(measured, config).items():
        limit = 5.0 if sampling == "metropolis" else 8.0  # of 20 units: Student's t
        assert np.abs(deviation).max() < limit, name
    group = measured.groups["observables"]
    assert measured.facts["samples"] == 5120
    assert group["mean_by_trial"].shape == (5, 5, particles, dimensions)
    if flow == 1.0:
        energy = exact(config).energy()
        np.testing.assert_allclose(group["energy"], energy, rtol=5e-3)
        assert measured.facts["E_u"] < 1e-12
        assert measured.facts["E_v_field"] < 1e-12
        assert measured.groups["checks"]["passed"].all()
        assert measured.facts["effective_fraction"] == pytest.approx(1.0, abs=1e-4)
    else:
        assert measured.facts["E_v_field"] == pytest.approx(0.2, rel=1e-6)


def test_low_discrepancy_is_worth_hundreds_of_times_the_samples() -> None:
    config = packets(2, evaluation={"samples": 20480, "trials": 10}, time={"save": [0.0, 1.0]})
    for flow in (1.0, 0.9):
        measured = run(config, Packet(config, flow))
        assert measured.facts["effective_samples"] > 100 * 20480
        assert measured.facts["independent_units"] == 20
    assert run(config, sampling="metropolis").facts["effective_samples"] == pytest.approx(20480, rel=0.01)


def test_uneven_weights_call_for_walkers() -> None:
    config = packets(3, g=4.0, time={"save": [0.0, 1.0]}, evaluation={"samples": 1280})
    measured = run(config, Packet(config, flow=-0.3))
    facts = measured.facts
    assert facts["sampling"] == "metropolis"
    assert facts["transport_effective_fraction"] < FEWEST
    assert facts["independent_units"] == 1280
    assert 0.4 < facts["acceptance"] < 0.5
    assert facts["autocorrelation_time"] > 2.0
    assert facts["sweeps"] >= max(4, 2.0 * facts["autocorrelation_time"])
    for name, deviation in deviations(measured, config).items():
        assert np.abs(deviation).max() < 5.0, name
    forced = run(config, Packet(config, flow=-0.3), sampling="transport").facts
    assert forced["sampling"] == "transport"
    assert forced["effective_fraction"] < FEWEST


class Throwing(Packet):
    """Its flow throws some samples to infinity; its density stays where it is."""

    def local(self, x: Array, t: float) -> Local:
        local = super().local(x, t)
        far = np.where(x[:, :1] > 0.5, 1j * np.inf, 0.0)
        return Local(local.log_psi, local.gradient + far, local.laplacian)


class Broken(Packet):
    """Not a number anywhere."""

    def local(self, x: Array, t: float) -> Local:
        local = super().local(x, t)
        return Local(local.log_psi + np.nan, local.gradient + np.nan, local.laplacian)


def test_samples_that_run_away_call_for_walkers() -> None:
    config = packets(2, time={"save": [0.0, 0.5]})
    wave = Throwing(config)
    with np.errstate(invalid="ignore"), pytest.raises(DivergedError, match="psi is not finite"):
        run(config, wave)  # the current energy is infinite, whoever samples
    with pytest.raises(DivergedError, match="psi is not finite"):
        run(config, Broken(config), sampling="transport")


REPETITIONS = 25


@pytest.mark.parametrize("sampling", ["transport", "metropolis"])
def test_standard_errors_are_the_spread_between_repetitions(sampling: Any) -> None:
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(REPETITIONS):
        table = {"samples": 640, "trials": 2, "bins": 8}
        config = packets(2, seed=seed, time={"save": [0.0, 0.6]}, evaluation=table)
        measured = run(config, Packet(config, flow=0.8), sampling=sampling)
        for name, deviation in deviations(measured, config).items():
            if name != "density":
                found.setdefault(name, []).append(deviation[-1].ravel())
    for name, values in found.items():
        ratio = np.sqrt(np.mean(np.stack(values) ** 2))
        assert 0.65 < ratio < 1.45, (name, ratio)  # 1 for walkers, 1.06 for 20 units; of 25 numbers: +- 0.14
        assert np.mean(np.abs(np.stack(values)) < 2.1) > 0.88, name


@pytest.mark.parametrize("sampling", ["transport", "metropolis"])
def test_results_do_not_depend_on_the_number_of_ranks(sampling: Any) -> None:
    table = {"samples": 1540, "trials": 7, "bins": 8}
    config = packets(2, time={"save": [0.0, 0.4, 0.6]}, evaluation=table)
    alone = run(config, Packet(config, flow=0.8), sampling=sampling)
    for ranks in (2, 3):
        results = run_ranks(
            ranks, lambda world: run(config, Packet(config, flow=0.8), world, sampling=sampling)
        )
        for result in results:
            assert result.facts.keys() == alone.facts.keys()
            for name, fact in alone.facts.items():
                assert result.facts[name] == (
                    fact if isinstance(fact, str) else pytest.approx(fact, rel=1e-6)
                )
            for group, values in alone.groups.items():
                for name, value in values.items():
                    if value.dtype.kind == "f":
                        np.testing.assert_allclose(
                            result.groups[group][name], value, rtol=1e-7, atol=1e-8, err_msg=name
                        )


def test_the_wave_function_is_asked_for_little_more_than_needed() -> None:
    """Four stages in a step and one place per saved time between the steps, and 1024 samples of a pilot."""
    config = packets(2, time={"save": [0.0, 0.1, 0.5, 1.0], "steps": 4})
    wave = Packet(config)
    run(config, wave)
    assert wave.calls == [(5120 + 1024) * (4 * 4 + 1 + 1), 0]


def test_progress_and_names() -> None:
    config, seen = packets(2), []
    measured = measure(config, Packet(config), None, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5120, 5120)
    assert list(measured.groups) == ["observables", "density", "checks"]
    assert set(TOLERANCES) & set(measured.groups["checks"]["check"])
