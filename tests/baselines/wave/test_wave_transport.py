"""Samples that move with the flow carry their density with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc
from wave_packets import Packet, exact, packets

from baselines.wave.ensembles import Setup
from baselines.wave.transport import Unit, batches, flow_grid, normalised, units_of
from dsmsim.parallel import random_stream
from dsmsim.system import build_initial


@pytest.mark.parametrize(("particles", "dimensions"), [(1, 1), (3, 1), (2, 2)])
def test_an_exact_state_carries_its_own_density(particles: int, dimensions: int) -> None:
    """Every weight is 1, on the steps and between them."""
    config = packets(particles, dimensions, time={"steps": 64, "save": [0.0, 0.3, 0.5, 0.77, 1.0]})
    setup = Setup.of(config, Packet(config))
    start = Unit(0, 0, 256).start(config, setup.initial, "test")
    found = list(setup.flow.saved(*start, setup.grid, setup.times))
    assert [index for index, _ in found] == [0, 1, 2, 3, 4]
    for index, point in found:
        assert point.time == setup.times[index]
        np.testing.assert_allclose(normalised(point.log_weight), 1.0, atol=1e-6)


def test_weights_converge_with_the_order_of_the_steps() -> None:
    """16 times smaller at half the step; at the end of the steps and, with their places, inside them."""

    def errors(steps: int) -> np.ndarray:
        config = packets(2, time={"steps": steps, "save": [0.3, 1.0]})
        setup = Setup.of(config, Packet(config))
        start = Unit(0, 0, 64).start(config, setup.initial, "test")
        points = [point for _, point in setup.flow.saved(*start, setup.grid, setup.times)]
        return np.array([np.abs(normalised(point.log_weight) - 1.0).max() for point in points])

    coarse, fine = errors(8), errors(64)
    assert np.all(coarse > 0.5 * 8.0**4 * fine)
    assert fine.max() < 1e-7


def test_a_wrong_flow_is_put_right_by_the_weights() -> None:
    config = packets(2, time={"save": [0.0, 1.0]})
    setup = Setup.of(config, Packet(config, flow=0.9))
    start = Unit(0, 0, 16384).start(config, setup.initial, "test")
    *_, (_, point) = setup.flow.saved(*start, setup.grid, setup.times)
    weights = normalised(point.log_weight)
    true = exact(config).variance(1.0)[0, 0, 0]
    mean = weights @ point.x[:, 0] / weights.sum()
    variance = weights @ (point.x[:, 0] - mean) ** 2 / weights.sum()
    assert variance == pytest.approx(true, rel=3e-3)
    assert abs(point.x[:, 0].var() / true - 1.0) > 0.02  # without them it is wrong


def test_no_step_crosses_a_breakpoint() -> None:
    np.testing.assert_allclose(
        flow_grid(1.0, 0.25, (0.3, 2.0)), [0.0, 0.15, 0.3, 0.3 + 0.7 / 3, 0.3 + 1.4 / 3, 1]
    )
    np.testing.assert_allclose(flow_grid(1.0, 0.25), np.arange(5) / 4)
    assert flow_grid(0.0, 0.25).tolist() == [0.0]
    assert 0.3 in flow_grid(1.0, 1.0, (0.3,))


def test_units_are_low_discrepancy_sets_that_share_the_samples() -> None:
    units = units_of(packets(evaluation={"samples": 40960, "trials": 10}))
    assert [unit.size for unit in units] == [2048] * 20
    assert [(unit.trial, unit.number) for unit in units[:3]] == [(0, 0), (0, 1), (1, 0)]
    for samples, trials in ((1000, 3), (7, 7), (100000, 1)):
        few = units_of(packets(evaluation={"samples": samples // trials * trials, "trials": trials}))
        assert sum(unit.size for unit in few) == samples // trials * trials
        assert max(unit.size for unit in few) - min(unit.size for unit in few) <= 1
        assert len(few) >= min(20, samples // trials * trials)


def test_batches_are_units_of_one_trial_and_size() -> None:
    units = [Unit(0, 0, 4), Unit(0, 1, 4), Unit(0, 2, 4), Unit(0, 3, 3), Unit(1, 0, 3)]
    assert [len(batch) for batch in batches(units, most=8)] == [2, 1, 1, 1]
    assert [unit for batch in batches(units) for unit in batch] == units
    assert batches([]) == []


def test_weights_are_normalised_in_every_unit() -> None:
    logs = np.array([0.0, np.log(3.0), 700.0, 700.0])
    np.testing.assert_allclose(normalised(logs, 2), [0.5, 1.5, 1.0, 1.0])
    assert np.isnan(normalised(np.array([0.0, np.nan]))).all()


def test_starts_are_quantiles_of_a_scrambled_sequence() -> None:
    config = packets(2, 2)
    initial = build_initial(config)
    x, log_rho = Unit(1, 2, 128).start(config, initial, "test")
    rng = random_stream(config.seed, "test", 1, 2)
    points = qmc.Sobol(4, scramble=True, seed=int(rng.integers(2**63))).random_base2(7)
    np.testing.assert_allclose(x, initial.quantiles(points), rtol=1e-12)
    z = (x - 0.2) / 0.5
    np.testing.assert_allclose(log_rho, -0.5 * (z**2).sum(1) - 2.0 * np.log(2.0 * np.pi * 0.25), rtol=1e-12)
