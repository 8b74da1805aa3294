"""Batches that serve for several epochs, until the process has drifted away from their trajectories.

Trajectories drawn at one epoch stay samples of the process only as long as the drift b = v + nu u that made
them. A batch is drawn anew after `train.reuse` epochs, or as soon as

    sqrt( mean over points and coordinates of (b_now - b_drawn)^2 ) > staleness

in units of the frame's velocity, over all ranks. Points of a fixed Gaussian do not depend on the drift and
never become stale. The parameters that drew the batch are kept: they and the epoch make the same batch again,
on any number of ranks, so a checkpoint need not hold the points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import Fields
from dsmsim.parallel import World
from dsmsim.training.batch import Batch


class BatchSource:
    """The batch of every epoch; remembers the one in use where batches are reused.

    Attributes:
        drawn_at: epoch at which the batch in use was drawn, None without one.
    """

    def __init__(self) -> None:
        self.drawn_at: int | None = None
        self._drawn_by: dict[str, Tensor] = {}
        self._batch: Batch | None = None
        self._drift = torch.zeros(0)

    @torch.no_grad()
    def batch(
        self, config: Config, fields: Fields, epoch: int, draw: Callable[[int], Batch], world: World
    ) -> Batch:
        """This rank's batch for an epoch (counted from 0).

        Args:
            draw: epoch -> this rank's points, by the fields as they are.
        """
        train = config.train
        if train.reuse == 1:
            return draw(epoch)
        if self.drawn_at is not None and epoch - self.drawn_at < train.reuse:
            kept = self._batch or self._again(config, fields, draw, self.drawn_at)
            if train.points_from == "gaussian":
                return kept
            change = world.sum_((_drift(config, fields, kept) - self._drift).square().sum().double())
            if float(change) <= train.staleness**2 * train.points * config.system.coordinates:
                return kept
        self.drawn_at = epoch
        self._drawn_by = {name: p.detach().clone() for name, p in fields.named_parameters()}
        return self._keep(config, fields, draw(epoch))

    def forget(self) -> None:
        """Draw anew at the next epoch: the parameters have other shapes than those that drew."""
        self.drawn_at, self._batch = None, None

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """What makes the batch in use again: `drawn_at` and `drawn_by/PARAMETER`; empty without one."""
        if self.drawn_at is None:
            return {}
        parameters = {f"drawn_by/{name}": value.cpu().numpy() for name, value in self._drawn_by.items()}
        return {"drawn_at": np.asarray(self.drawn_at), **parameters}

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Be as `arrays` described; the batch itself is made again when it is needed."""
        self.forget()
        if "drawn_at" in arrays:
            self.drawn_at = int(arrays["drawn_at"])
            drawn_by = {name.removeprefix("drawn_by/"): name for name in arrays if name != "drawn_at"}
            self._drawn_by = {name: torch.tensor(arrays[key]) for name, key in drawn_by.items()}

    def _keep(self, config: Config, fields: Fields, batch: Batch) -> Batch:
        self._batch, self._drift = batch, _drift(config, fields, batch)
        return batch

    def _again(self, config: Config, fields: Fields, draw: Callable[[int], Batch], epoch: int) -> Batch:
        """The batch that the parameters of then drew."""
        parameters = dict(fields.named_parameters())
        now = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.copy_(self._drawn_by[name])
        batch = self._keep(config, fields, draw(epoch))
        for name, parameter in parameters.items():
            parameter.copy_(now[name])
        return batch


def _drift(config: Config, fields: Fields, batch: Batch) -> Tensor:
    """(P, n) drift of the process at the points, in units of the frame's velocity."""
    return fields.drift(batch.x, batch.t, config.sampler.nu) / fields.frame.velocity
