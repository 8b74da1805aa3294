"""Single shots: what one measurement of the positions of all particles would find, and the fields there.

Where the wave function is known, log psi = R + iS comes with them, up to a constant for every time and S
modulo 2 pi: the wave function itself, at configurations where it matters.

A few samples at some of the saved times, the same ones at all times, so that the shots of different times
belong to one trajectory of the sampling process each. They come from different units where there are enough.
Samples with weights are drawn anew at every time, with their weights as probabilities.

Shapes: B samples, K kept times, S shots, N particles, D axes, n = N D coordinates.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.context import Context
from dsmsim.measure.observable import Array, ByGroup, Sampled

SHOTS = 100


class ShotSums:
    """S shots, each of which is in one batch: everything else adds zero.

    Attributes:
        fields: (K, S, 3, n) positions, osmotic and current velocities.
        log_psi: (K, S, 2) R and S; (K, S, 0) where the wave function is not known.
    """

    def __init__(self, context: Context) -> None:
        system = context.system
        self._times, self._place, self._seed = context.times[context.kept], context.place, context.seed
        self._shape = system.particles, system.dimensions
        shots = min(SHOTS, sum(context.blocks.values()))
        blocks = sorted(context.blocks)
        owner = np.arange(shots) * len(blocks) // max(shots, 1)
        self._shots = {block: np.flatnonzero(owner == k) for k, block in enumerate(blocks)}
        shape, parts = (len(self._times), shots), 2 if context.knows_wave else 0
        self.fields = torch.zeros(*shape, 3, system.coordinates, dtype=torch.float64, device=context.device)
        self.log_psi = torch.zeros(*shape, parts, dtype=torch.float64, device=context.device)

    def add(self, sampled: Sampled) -> None:
        """Add a batch, at the times that are kept."""
        place, key = self._place.get(sampled.index), (sampled.trial, sampled.block)
        shots = self._shots.get(key, np.array([], dtype=np.int64))
        if place is None or len(shots) == 0:
            return
        rows = torch.as_tensor(self._rows(sampled, len(shots)), device=sampled.x.device)
        here = torch.as_tensor(shots, device=rows.device)
        shown = [values[rows] for values in (sampled.x, sampled.u, sampled.v)]
        self.fields[place, here] += torch.stack(shown, 1)
        if sampled.log_psi is not None and self.log_psi.shape[-1]:
            self.log_psi[place, here] += sampled.log_psi(shown[0])

    def _rows(self, sampled: Sampled, shots: int) -> NDArray[np.int64]:
        """Which samples of the batch are shown."""
        size, unit = len(sampled.x), sampled.unit
        key = [self._seed, sampled.trial, sampled.block]
        if sampled.weights is not None:
            rng = np.random.default_rng([*key, sampled.index])
            share = sampled.weights.cpu().numpy()
            return rng.choice(size, shots, p=share / share.sum())
        rng = np.random.default_rng(key)
        if shots > size // unit:
            return rng.choice(size, shots, replace=shots > size)
        return rng.choice(size // unit, shots, replace=False) * unit + rng.integers(unit, size=shots)

    def tensors(self) -> list[Tensor]:
        """What was found, to be added over ranks in place."""
        return [self.fields, *([self.log_psi] if self.log_psi.shape[-1] else [])]

    def results(self, units: Array) -> ByGroup:
        """The group `shots`."""
        shots = self.fields.shape[1]
        fields = self.fields.cpu().numpy().reshape(-1, shots, 3, *self._shape)
        group = {
            "time": self._times,
            "shot": np.arange(shots),
            "particle": np.arange(self._shape[0]),
            "axis": np.arange(self._shape[1]),
            "position": fields[:, :, 0],
            "osmotic_velocity": fields[:, :, 1],
            "current_velocity": fields[:, :, 2],
        }
        if self.log_psi.shape[-1]:
            log_psi = self.log_psi.cpu().numpy()
            group |= {"log_psi_re": log_psi[..., 0], "log_psi_im": log_psi[..., 1]}
        return {"shots": group}
