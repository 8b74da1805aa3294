"""Two steps of training on all ranks, and the same two steps on every rank alone: they must agree.

The problem is two interacting bosons, in double precision, in memory; once with the default network and its
optimiser, once with networks of the velocities. Blocks are one more than ranks, so that no two ranks have the
same share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dsmsim.config import Config, parse_config
from dsmsim.parallel import StopRequest, World
from dsmsim.training.loop import Hooks, train
from dsmsim.training.state import new_state

TOLERANCE = 1e-10  # largest relative difference of losses and parameters
NETWORKS: dict[str, dict[str, Any]] = {
    "potential network, gauss_newton": {"network": {}, "train": {"optimizer": "gauss_newton"}},
    "velocity networks, adam": {"network": {"kind": "mlp", "width": 16}, "train": {"optimizer": "adam"}},
}
STEPS, BLOCK, TIMES = 2, 2, 4  # epochs, trajectories of a block, points of a trajectory


@dataclass(frozen=True)
class Agreement:
    """How far training on all ranks is from training on one.

    Attributes:
        name: of the network and its optimiser.
        loss: largest relative difference of a loss.
        parameters: largest difference of a parameter, over the largest parameter.
        rank, host: where the larger of the two is largest.
    """

    name: str
    loss: float
    parameters: float
    rank: int
    host: str

    @property
    def holds(self) -> bool:
        """Whether both are within rounding; NaN is not."""
        return self.loss <= TOLERANCE and self.parameters <= TOLERANCE


def two_step_agreement(world: World) -> list[Agreement]:
    """Train together and alone, once for each network; called by all ranks, who get the same answer."""
    return [_agreement(name, problem(name, world.size), world) for name in NETWORKS]


def problem(name: str, ranks: int) -> Config:
    """The input of one network of NETWORKS."""
    tables, trajectories = NETWORKS[name], BLOCK * (ranks + 1)
    return parse_config(
        {
            "system": {
                "particles": 2,
                "hbar": 0.1,
                "trap": {"kind": "harmonic", "omega": 1.0},
                "interaction": {"kind": "gaussian", "g": 1.0, "s2": 0.1},
            },
            "time": {"end": 1.0, "steps": 8},
            "network": tables["network"],
            "train": {
                "epochs": STEPS,
                "trajectories": trajectories,
                "points": trajectories * TIMES,
                "block": BLOCK,
                "warmup": 0,
                "precision": "float64",
                "log_every": 1,
                **tables["train"],
            },
        },
        environment=False,
    )


def _agreement(name: str, config: Config, world: World) -> Agreement:
    together = _trained(config, world)
    alone = _trained(config, World(device=world.device))  # every rank at the same time, so that none waits
    loss, parameters = (
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(together, alone, strict=True)
    )
    everyone = world.gather(Agreement(name, loss, parameters, world.rank, world.host)) or []
    # a NaN is no larger than any number, so it must be looked for
    ordered = sorted(everyone, key=lambda each: (not each.holds, max(each.loss, each.parameters)))
    found: Agreement = world.broadcast_object(ordered[-1] if ordered else None)
    return found


def _trained(config: Config, world: World) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of the steps, and all parameters after them in one vector."""
    losses: list[float] = []
    state = new_state(config, world)
    hooks = Hooks(lambda entry: None, lambda epoch, loss: losses.append(loss), lambda: None)
    train(config, state, world, StopRequest(), hooks)
    parameters = [parameter.detach().reshape(-1) for parameter in state.fields.parameters()]
    return torch.tensor(losses, dtype=torch.float64), torch.cat(parameters).cpu()
