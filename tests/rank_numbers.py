"""What a run computes from sums over all ranks: the loss, its gradient, observables and densities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tiny import tiny_config

from dsmsim.config import Config
from dsmsim.parallel import StopRequest, World, blocks_of_rank
from dsmsim.training.batch import block_count, slice_count, training_points
from dsmsim.training.causal import causal_weights
from dsmsim.training.engines import gradient_function
from dsmsim.training.evaluate import evaluate
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import TrainState, new_state
from dsmsim.training.step import Objective, flat_gradient

# Five blocks of trajectories and five of samples: no number of ranks above one shares them out evenly.
UNEVEN: dict[str, Any] = {
    "train.trajectories": 10,
    "train.points": 40,
    "train.epochs": 3,
    "evaluation.samples": 200,
    "evaluation.trials": 5,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "potential by gauss_newton": {"network.kind": "potential", "train.optimizer": "gauss_newton"},
    "velocities by soap": {"network.kind": "mlp", "train.optimizer": "soap", "network.initial": "learned"},
    "tensor train by adam": {
        "network.kind": "mlp",
        "network.tensor": {"rank": 2},
        "train.optimizer": "adam",
    },
}
TOLERANCE = 1e-10  # relative to the largest of the numbers


class Numbers(NamedTuple):
    """Arrays by name: at given parameters, and the losses of a training from the start."""

    at_parameters: dict[str, npt.NDArray[np.float64]]
    losses: npt.NDArray[np.float64]


def config_of(network: str) -> Config:
    """The tiny input with uneven shares and one of NETWORKS."""
    return tiny_config(UNEVEN | NETWORKS[network])


def trained(config: Config, world: World) -> tuple[TrainState, npt.NDArray[np.float64]]:
    """The state after training from the start, and the losses of the epochs."""
    state, losses = new_state(config, world), []
    hooks = Hooks(lambda entry: None, lambda epoch, loss: losses.append(loss), lambda: None)
    train(config, state, world, StopRequest(), hooks)
    return state, np.asarray(losses)


def numbers_of(config: Config, given: TrainState, world: World) -> Numbers:
    """Everything that must not depend on the number of ranks; `given` is the same on all ranks."""
    state = copy.deepcopy(given)
    blocks = blocks_of_rank(block_count(config), world.rank, world.size)
    batch = training_points(config, state.system, state.initial, state.fields, 7, list(blocks))
    engine = gradient_function(config, state.fields, state.system)
    weights = causal_weights((), config.train.causal, slice_count(config), batch.x)
    report = Objective(config.train, state.fields, engine, batch, world, weights).loss_and_gradient()
    gradient = flat_gradient(list(state.fields.parameters())).numpy().copy()
    found: dict[str, Any] = {"gradient": gradient, "slices": report.slices}
    found |= {name: getattr(report, name) for name in ("loss", "newton", "score", "initial")}
    sums = evaluate(config, state, world, lambda done, total: None).sums
    for group in ("observables", "density"):
        found |= {f"{group}/{name}": value for name, value in getattr(sums, group)().items()}
    found["field errors"] = list(sums.field_errors().values())
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}
    return Numbers(arrays, trained(config, world)[1])


def assert_agree(found: Numbers, expected: Numbers) -> None:
    """Equal up to the order of summation."""
    assert_arrays_agree(found.at_parameters, expected.at_parameters)
    assert_arrays_agree({"losses": found.losses}, {"losses": expected.losses})


def assert_arrays_agree(
    found: Mapping[str, npt.NDArray[np.float64]], expected: Mapping[str, npt.NDArray[np.float64]]
) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        largest = float(np.abs(value).max())
        np.testing.assert_allclose(found[name], value, rtol=0.0, atol=TOLERANCE * largest, err_msg=name)
