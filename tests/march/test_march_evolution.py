"""Marches of tiny problems: orders of their steps, exact solutions, stops, ranks, how they are given up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from cluster_marches import ALONE, COLLIDING, MOVING, PLANE
from numpy.typing import NDArray
from ranks import run_ranks
from scipy.integrate import solve_ivp
from tiny import tiny_config

from dsmsim.config import Config
from dsmsim.errors import DivergedError
from dsmsim.march.evolution import LONGEST, STEPS_OF_OWN_TIME, TURN, March
from dsmsim.parallel import World
from dsmsim.system import closed_form
from dsmsim.training.marching import marched_fields, new_march

SMALL = {"train.mode": "march", "march.walkers": 128, "march.block": 32, "time.end": 0.2}
FLOW = {"march.nu": 0.0, "march.redraw": 0.0}  # walkers of one smooth system
QUADRATIC = {"march.pair_functions": 0, "march.collective_functions": 0}
FREE = {"system.interaction": None}
QUENCH = {"system.trap.quench": {"omega": {"to": 2.0, "start": 0.1}}}
Arrays = dict[str, NDArray[Any]]


def march_of(changes: dict[str, Any], world: World | None = None) -> tuple[Config, March]:
    config = tiny_config({**SMALL, **changes})
    return config, new_march(config, world or World())


@torch.no_grad()
def go_on(march: March, number: int | None = None) -> March:
    """Look at the first state and march to the end, or to a number of steps."""
    while not march.records or not (march.done or march.number == number):
        march.advance()
    return march


def finished(changes: dict[str, Any], world: World | None = None) -> March:
    return go_on(march_of(changes, world)[1])


def arrays_of(march: March) -> Arrays:
    """Everything that is saved, without the seconds."""
    arrays = march.arrays()
    assert arrays is not None
    return {name: value for name, value in arrays.items() if name != "seconds"}


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.asarray(found[name]).tobytes() == np.asarray(value).tobytes(), name


# -- steps ---------------------------------------------------------------------------------------------------


# the soft cut-off moves with the state, so functions that it decides about make errors rough
SMOOTH = {**MOVING, **COLLIDING, **FLOW, "march.cutoff": 1e-3, "march.pair_functions": 2}


@pytest.fixture(scope="module")
def exact() -> March:
    """Two colliding bosons, with steps so short that their error does not count."""
    return finished({**SMOOTH, "march.integrator": "rk4", "march.dt": 0.2 / 64})


@pytest.mark.parametrize(
    ("integrator", "order", "steps"), [("euler", 1, 8), ("heun", 2, 4), ("rk4", 4, 4), ("adaptive", 5, 4)]
)
def test_orders(integrator: str, order: int, steps: int, exact: March) -> None:
    """Errors of parameters and walkers, of steps and of half as long ones."""

    def errors(steps: int) -> tuple[float, float]:
        length = 0.2 / steps
        _, march = march_of({**SMOOTH, "march.integrator": integrator, "march.dt": length})
        if integrator == "adaptive":  # any error is small enough, and no step is longer
            march.stepper.size.tolerance = math.inf
            march.stepper.size.h = march.stepper.size.largest = length
        go_on(march)
        assert march.number == steps
        return (
            float(np.linalg.norm(march.theta - exact.theta)),
            float((march.ensemble.x - exact.ensemble.x).norm()),
        )

    for coarse, fine in zip(errors(steps), errors(2 * steps), strict=True):
        assert fine > 1e-9  # far above rounding, or the slope says nothing
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2 if order < 5 else 0.8)


def test_adaptive_steps_keep_the_tolerance(exact: March) -> None:
    marches = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        march = finished({**SMOOTH, "march.integrator": "adaptive", "march.tolerance": tolerance})
        local = [record["step_error"] for record in march.records[1:]]
        assert max(local) <= tolerance
        # nothing here amplifies the errors of steps
        far = float((march.ensemble.x - exact.ensemble.x).abs().max())
        assert far <= march.number * tolerance + 1e-8  # the error of the reference
        assert max(record["dt"] for record in march.records) <= LONGEST * 0.2 * (1.0 + 1e-12)
        marches.append(march)
    assert marches[0].number < marches[2].number


def test_the_flow_carries_the_density_along() -> None:
    """|psi|^2/rho of a walker stays what it was, as far as psi solves its equation."""
    changes = {**MOVING, **COLLIDING, **FLOW, "march.pair_functions": 8, "march.dt": 0.02}
    start, end = march_of(changes)[1], finished(changes)

    def ratio(march: March) -> torch.Tensor:
        _, log_density = march.model.score(march.theta, march.ensemble.x)
        assert log_density is not None
        return log_density - march.ensemble.log_rho

    thinned = (end.ensemble.log_rho - start.ensemble.log_rho).std()
    assert float((ratio(end) - ratio(start)).std()) < 0.2 * float(thinned)


def test_the_error_of_a_step_is_that_of_all_walkers() -> None:
    def error(world: World) -> float:
        _, march = march_of({**MOVING, **COLLIDING}, world)
        march.advance()
        assert march._found is not None
        x, still = march.ensemble.x, np.zeros_like(march.theta)
        return march._error((still, x.square(), x[:, 0]), march._found.least_squares)

    assert run_ranks(3, error) == pytest.approx([error(World())] * 3, rel=1e-12)


def test_automatic_steps() -> None:
    """A share of the cloud's own time, or the time in which the local energy turns by a quarter."""
    wide = {**FREE, "system.particles": 1, "initial.mean": 0.0, "initial.variance": 0.25}  # of an eigenstate
    _, march = march_of({**wide, "time.end": 10.0})
    march.advance()
    assert march.records[0]["energy_deviation"] < 1e-12
    assert march.stepper.size.largest == pytest.approx(2.0 * 0.25 / 0.5 / STEPS_OF_OWN_TIME)
    _, march = march_of({**wide, "initial.mean": 40.0, "time.end": 10.0})
    march.advance()
    turning = TURN * 0.5 / march.records[0]["energy_deviation"]
    assert march.stepper.size.largest == pytest.approx(turning)
    assert turning < 0.5 * 2.0 * 0.25 / 0.5 / STEPS_OF_OWN_TIME
    _, march = march_of({**wide, "initial.mean": 40.0, "march.dt": 0.1})
    march.advance()
    assert march.stepper.size.largest == 0.1


# -- exact solutions -----------------------------------------------------------------------------------------

OSCILLATORS: dict[str, dict[str, Any]] = {
    "one": {**ALONE, **MOVING},
    "two": {**FREE, **MOVING},
    "three": {**FREE, **MOVING, "system.particles": 3},
    "one in a plane": {**ALONE, **MOVING, **PLANE},
    "two in a plane": {**FREE, **MOVING, **PLANE},
    "two that attract": {**MOVING, **QUADRATIC},
    "three that attract in a plane": {**MOVING, **PLANE, **QUADRATIC, "system.particles": 3},
}


@pytest.mark.parametrize("name", OSCILLATORS)
@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_oscillator_that_moves_and_breathes(name: str, nu: float) -> None:
    """The quadratic form holds the solution, so it is found whatever the walkers are."""
    steps = {"march.integrator": "adaptive", "march.tolerance": 1e-8, "march.nu": nu}
    # a cut-off takes away a part of what could be exact
    config, march = march_of({**OSCILLATORS[name], **steps, "march.cutoff": 0.0, "time.end": 0.3})
    go_on(march)
    form = closed_form(config)
    assert form is not None
    fields = marched_fields(config, march)
    x = march.ensemble.x
    for t in (0.0, 0.11, 0.2, 0.3):
        clock = x.new_full((len(x), 1), t)
        # between steps a cubic: 3 % of the time each
        precision = 1e-6 if t in (0.0, 0.3) else 2e-5
        for found, expected in zip(fields(x, clock), (form.u(x, clock), form.v(x, clock)), strict=True):
            torch.testing.assert_close(found, expected, rtol=precision, atol=precision)
    for record in march.records:
        assert record["residual"] < 1e-6
    if nu == 0.0 and config.system.interaction is None:
        # the flow of a Gaussian is affine: walkers keep their places in the cloud
        start = march_of({**OSCILLATORS[name]})[1]
        first = (start.ensemble.x - torch.as_tensor(start.initial.mean)) / torch.as_tensor(
            np.sqrt(start.initial.variance)
        )
        mean, deviation = (torch.as_tensor(each(0.3).ravel()) for each in (form.mean, form.variance))
        torch.testing.assert_close(x, mean + deviation.sqrt() * first, rtol=1e-6, atol=1e-6)
        fractions = [record["effective_fraction"] for record in march.records]
        assert fractions == pytest.approx([fractions[0]] * len(fractions), rel=1e-6)


def test_trap_that_stiffens_suddenly() -> None:
    """Rates jump there, steps end there, and each side has its own V."""
    config, march = march_of({**ALONE, **MOVING, **QUENCH, "march.dt": 0.02, "time.end": 0.3})
    go_on(march)
    mass, hbar = config.system.mass, config.system.hbar

    def rates(t: float, y: Any) -> list[float]:
        """Of mean, its velocity, width sigma and its velocity."""
        square = 4.0 if t >= 0.1 else 1.0
        mean, speed, width, growth = y
        return [speed, -square * mean, growth, -square * width + (0.5 * hbar / mass) ** 2 / width**3]

    state: Any = [0.2, hbar * -1.5 / mass, math.sqrt(0.3), 0.0]
    for span in ((0.0, 0.1 - 1e-15), (0.1, 0.3)):
        state = solve_ivp(rates, span, state, rtol=1e-11, atol=1e-12).y[:, -1]
    mean, speed, width, growth = state
    x = march.ensemble.x
    u, v = march.model.velocities(march.theta, x)
    torch.testing.assert_close(u, -0.5 * hbar / mass * (x - mean) / width**2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(v, speed + growth / width * (x - mean), rtol=1e-5, atol=1e-5)

    history = march.history
    jumps = np.abs(history.after - history.before).max(1)
    (jump,) = np.nonzero(jumps)
    assert history.times[jump] == 0.1
    # d(log psi)/dt of x^2 changes by that of -i V/hbar
    k = march.model.names.index("x^2")
    change = (history.after - history.before)[jump[0], k]
    assert change == pytest.approx(-1j * 0.5 * mass * 3.0 / hbar, rel=1e-6)
    energies = {round(record["time"], 6): record["energy"] for record in march.records}
    assert energies[0.1] > 1.2 * energies[0.08]  # the record there is of the state that goes on


# -- stops and ranks -----------------------------------------------------------------------------------------

# hardly any unevenness is allowed, or walkers would not be drawn anew in so short a time
STRONG = {"kind": "gaussian", "g": 5.0, "s2": 0.2}
DRAWN = {"march.integrator": "adaptive", "system.interaction": STRONG, "march.redraw": 0.9995}
MARCHES: dict[str, dict[str, Any]] = {
    "adaptive": {**MOVING, **DRAWN},
    "no relaxation": {**MOVING, **DRAWN, "march.nu": 0.0},
    "automatic steps": {**ALONE, "initial.mean": 60.0, "march.integrator": "heun"},
    "a quench": {**MOVING, **COLLIDING, **QUENCH, "march.dt": 0.04, "march.snr": 1.0},
    "conjugate gradients": {
        **{"march.solver": "cg", "march.diagonal_shift": 0.1, "march.dt": 0.05},
        **{"march.draws": "antithetic", "march.temperature": 1.0},
    },
    "a potential": {
        **MOVING,
        **{"march.ansatz": "network", "network.kind": "potential", "network.width": 3, "march.dt": 0.05},
        "march.cutoff": 1e-3,
    },
    "velocities": {
        **{"march.ansatz": "network", "network.width": 3, "march.dt": 0.05, "march.cutoff": 1e-4},
    },
}


@pytest.mark.parametrize("name", MARCHES)
def test_a_march_goes_on_where_it_stopped(name: str) -> None:
    whole = finished(MARCHES[name])
    assert whole.number >= 4
    assert (whole.drawn_anew > 0) == (name in ("adaptive", "no relaxation"))
    _, march = march_of(MARCHES[name])
    for number in range(min(whole.number, 12)):
        go_on(march, number)
        saved = march.arrays()
        assert saved is not None
        _, march = march_of(MARCHES[name])
        march.load(saved)
        assert march.number == number
        assert march.time == whole.records[number]["time"]
    assert_equal(arrays_of(go_on(march)), arrays_of(whole))


def test_a_march_that_has_not_begun_can_be_saved() -> None:
    _, march = march_of(MARCHES["velocities"])
    assert march.arrays() == {}
    _, other = march_of(MARCHES["velocities"])
    other.load({})
    assert_equal(arrays_of(go_on(other, 1)), arrays_of(go_on(march, 1)))


@pytest.mark.parametrize("name", [name for name in MARCHES if name != "automatic steps"])
def test_any_number_of_ranks_finds_the_same(name: str) -> None:
    """Four blocks of walkers: no two ranks of three have as many, and one of five has none."""
    alone = arrays_of(finished(MARCHES[name]))
    for size in (2, 3, 5):
        parts = run_ranks(size, lambda world: finished(MARCHES[name], world).arrays())
        assert parts[1:] == [None] * (size - 1)
        assert_close(parts[0], alone)


def test_a_march_goes_on_on_another_number_of_ranks() -> None:
    changes = MARCHES["adaptive"]
    alone = arrays_of(finished(changes))
    saved = run_ranks(2, lambda world: go_on(march_of(changes, world)[1], 3).arrays())[0]

    def rest(world: World) -> Arrays | None:
        _, march = march_of(changes, world)
        march.load(saved)
        assert march.number == 3
        return go_on(march).arrays()

    assert_close(run_ranks(3, rest)[0], alone)


def assert_close(found: Arrays, expected: Arrays) -> None:
    for name in sorted(expected.keys() - {"record/snr"}):  # that of directions which are rounding
        value = expected[name]
        scale = float(np.nanmax(np.abs(value), initial=0.0)) or 1.0
        rounding = name in ("record/residual", "record/step_error")  # differences of far larger numbers
        tolerance = 1e-7 * max(1.0, scale) if rounding else 1e-10 * scale
        np.testing.assert_allclose(found[name], value, rtol=0.0, atol=tolerance, err_msg=name)


# -- the end that is not the end -----------------------------------------------------------------------------


@pytest.mark.parametrize("integrator", ["rk4", "adaptive"])
def test_the_last_good_state_stays(integrator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {**MOVING, **COLLIDING, "march.integrator": integrator, "march.dt": 0.02, "march.redraw": 0.65}
    whole, (_, march) = finished(changes), march_of(changes)
    go_on(march, 3)
    before = arrays_of(march)
    with monkeypatch.context() as patch:
        patch.setattr(march.model, "fault", lambda theta, farthest: "psi grows without limit")
        with pytest.raises(DivergedError, match=r"march: at t = 0\.\d+ psi grows without limit; raise march"):
            march.advance()
    after = arrays_of(march)
    assert march.time == whole.records[3]["time"]
    for name in ("next_step", "counts"):  # a step was tried
        before.pop(name), after.pop(name)
    assert_equal(after, before)
    assert march.number == 3
    # without the fault it would have gone on
    go_on(march)
    assert [record["step"] for record in march.records] == list(range(march.number + 1))
    if integrator == "rk4":
        np.testing.assert_array_equal(march.theta, whole.theta)


def test_numbers_that_are_not_finite() -> None:
    _, march = march_of({**MOVING, **COLLIDING, "march.dt": 0.05})
    go_on(march, 1)
    march.ensemble.x[3, 0] = math.inf
    with pytest.raises(DivergedError, match=r"march: numbers stop being finite at t = 0\.1; raise march"):
        march.advance()
    assert np.isfinite(march.theta).all()
    assert march.time == 0.05


def test_steps_that_become_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    _, march = march_of({**MOVING, **COLLIDING, "march.integrator": "adaptive"})
    march.advance()
    monkeypatch.setattr(March, "_error", lambda *_: math.nan)
    with pytest.raises(DivergedError, match=r"at t = 0 a step of .*e-0\d is still wrong by more than march"):
        march.advance()


@pytest.mark.parametrize("static", [True, False])
def test_an_energy_that_runs_away(static: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where V is static it cannot."""
    true_energy = March._mean_energy

    def energy(march: March, t: float) -> float:
        return true_energy(march, t) * (5.0 if march.number > 1 else 1.0)

    monkeypatch.setattr(March, "_mean_energy", energy)
    _, march = march_of({**MOVING, **COLLIDING, "march.dt": 0.05, **({} if static else QUENCH)})
    if not static:
        assert go_on(march).done
        return
    with pytest.raises(DivergedError, match=r"the energy ran away from [\d.]+ to [\d.]+ at t = 0\.1; raise"):
        go_on(march)
    assert march.number == 1


def test_walkers_that_carry_no_weight() -> None:
    """They were drawn from a cloud that is not where psi is."""
    _, march = march_of({**MOVING, **COLLIDING, "march.dt": 0.05, "march.nu": 0.0, "march.redraw": 0.0})
    march.advance()
    rho = march.ensemble.log_rho
    rho[:32] -= 40.0  # one block: the weights within it are as even as they were
    rho[:2] -= 40.0
    with pytest.raises(DivergedError, match=r"only \d+\.\d% of the walkers carry the weight"):
        march.advance()

    def shifted(world: World) -> str:
        _, march = march_of({**MOVING, **COLLIDING, "march.dt": 0.05, **FLOW}, world)
        march.advance()
        if 0 in march.ensemble.blocks:
            march.ensemble.log_rho[:2] -= 80.0
            march.ensemble.log_rho[2:32] -= 40.0
        with pytest.raises(DivergedError) as caught:
            march.advance()
        return str(caught.value)

    assert len(set(run_ranks(2, shifted))) == 1
