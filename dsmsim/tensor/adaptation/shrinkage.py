"""Ranks by shrinkage: a prior draws bond indices that the data do not speak for to zero, rounding cuts them.

Bond k has indices a; x_a is the slice G_k[.., a] and y_a the slice G_{k+1}[a, ..], of D entries together.
The prior of Hawkins and Zhang ("Bayesian tensorized neural networks with automatic rank selection",
Neurocomputing 453, 172, 2021; here with a log-uniform hyperprior) is

    x_a, y_a ~ N(0, lambda_a),   p(lambda_a) ~ 1 / lambda_a   =>   lambda_a = (|x_a|^2 + |y_a|^2) / (D + 2)

at its most probable lambda. Minus its logarithm has the gradient (x_a, y_a) / lambda_a, which is added to
beta^-1 of the data's: beta is the temperature, 2 L / M for a mean square L of M numbers. Neither is known
here, nor whether the loss is a mean square. But an index is kept by the data as long as their gradient,
were it missing, stands out from the noise of the batches, and this is measured:

    beta (D + 2) = EVIDENCE * e_k * t_k,   e_k^2 = V_k / n,   t_k^2 = mean_a (|x_a|^2 + |y_a|^2)

V_k: variance of the gradient of one index between batches, mean over a, half the mean square of the
difference of two gradients that follow each other; n: steps of the training, so that e_k is the standard
error of the gradient in all of its data. The pull of the prior times |x| is constant, the one of the data is
h (x_0 - x) with curvature h, so an index of the typical size is drawn to zero if h t < 4 EVIDENCE e: at 1/4,
if the data speak for it by less than one standard error. The scale follows the loss, whatever its units.
Batches have to be drawn anew in each step: a full batch has no noise, and then nothing is shrunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from dsmsim.tensor.adaptation.rounding import RoundingAdapter
from dsmsim.tensor.adaptation.rule import RankRule

EVIDENCE = 0.25
MEMORY = 0.98  # of the running mean of the noise, per step
FLOOR = 0.01  # of t^2, added to |x|^2 + |y|^2: bounds the pull where an index is all but gone


class ShrinkageAdapter(RoundingAdapter):
    """Adds the prior's gradient from the first adaptation on, and rounds as `RoundingAdapter`."""

    def __init__(self, module: nn.Module, rule: RankRule) -> None:
        super().__init__(module, rule)
        self._steps = 0  # of the training; not known before the first adaptation
        self._gradients: dict[str, Tensor] = {}  # of the step before, by name of the core
        self._noise: dict[str, Tensor] = {}  # running variance of the gradient, likewise

    @torch.no_grad()
    def observe(self, step: int) -> None:
        for name, layer in self.layers.items():
            keys = [f"{name}.cores.{k}" for k in range(len(layer.cores))]
            for key, core in zip(keys, layer.cores, strict=True):
                assert core.grad is not None
                self._measure(key, core.grad)
            if self._steps and all(key in self._noise for key in keys):
                bonds = list(pairwise(range(len(keys))))
                for left, right in bonds if layer.format == "tt" else [*bonds, (len(keys) - 1, 0)]:
                    noise = self._noise[keys[left]], self._noise[keys[right]]
                    self._pull(layer.cores[left], layer.cores[right], *noise)

    def _measure(self, key: str, gradient: Tensor) -> None:
        """Follow the variance of a core's gradient; the prior is not in it yet."""
        if key in self._gradients:
            fresh = 0.5 * (gradient - self._gradients[key]).square()
            old = self._noise.get(key)
            self._noise[key] = fresh if old is None else old.lerp(fresh, 1.0 - MEMORY)
        self._gradients[key] = gradient.clone()

    def _pull(self, x: Tensor, y: Tensor, noise_x: Tensor, noise_y: Tensor) -> None:
        """Add the prior's gradient of one bond, between the cores x and y, to theirs."""
        squares = x.square().sum(dim=(0, 1, 2)) + y.square().sum(dim=(1, 2, 3))
        typical = squares.mean()
        error = ((noise_x.sum() + noise_y.sum()) / (len(squares) * self._steps)).sqrt()
        weight = EVIDENCE * error * typical.sqrt() / (squares + FLOOR * typical)
        weight = weight.nan_to_num()  # cores that are zero stay so
        assert x.grad is not None
        assert y.grad is not None
        x.grad += weight * x
        y.grad += weight.reshape(-1, 1, 1, 1) * y

    @torch.no_grad()
    def adapt(self, step: int, steps: int) -> bool:
        if not self.rule.due(step, steps):
            return False
        self._steps = steps
        before = {name: layer.ranks for name, layer in self.layers.items()}
        changed = super().adapt(step, steps)
        for name, layer in self.layers.items():
            if layer.ranks != before[name]:  # statistics of other cores
                for k in range(len(layer.cores)):
                    self._gradients.pop(f"{name}.cores.{k}", None)
                    self._noise.pop(f"{name}.cores.{k}", None)
        return changed

    def arrays(self) -> dict[str, Tensor]:
        """Steps of the training, and of each core `gradient` and `noise` as far as they are there."""
        found = {"steps": torch.tensor(self._steps)}
        found |= {f"{key}.gradient": value.clone() for key, value in self._gradients.items()}
        return found | {f"{key}.noise": value.clone() for key, value in self._noise.items()}

    def load(self, arrays: Mapping[str, Tensor]) -> None:
        kept: dict[str, dict[str, Tensor]] = {"gradient": {}, "noise": {}}
        cores = {f"{name}.cores.{k}": c for name, la in self.layers.items() for k, c in enumerate(la.cores)}
        for name, value in arrays.items():
            key, _, kind = name.rpartition(".")
            if name == "steps":
                continue
            if kind not in kept or key not in cores or value.shape != cores[key].shape:
                raise ValueError(f"array {name} of shape {tuple(value.shape)} is not of these layers")
            kept[kind][key] = value.to(cores[key]).clone()
        if "steps" not in arrays:
            raise ValueError(f"arrays {sorted(arrays)} must have one named steps")
        self._steps = int(arrays["steps"])
        self._gradients, self._noise = kept["gradient"], kept["noise"]
