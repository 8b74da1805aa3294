"""Fields that have marched: what a model is, with the parameters of every time.

Shapes: B batch, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dsmsim.march.history import History
from dsmsim.march.model import Model
from dsmsim.networks import Fields, Frame
from dsmsim.system import InitialState


class MarchedFields(Fields):
    """u and v of a model at the parameters of a history.

    Points of many times are sorted out by time, so that a batch of one time is cheap and one in which every
    point has its own is not.

    Args:
        model: what marched.
        history: its parameters.
        initial, frame: of the input, for those who ask the fields for them.
    """

    def __init__(self, model: Model, history: History, initial: InitialState, frame: Frame) -> None:
        super().__init__(initial, frame, exact_initial=True)
        self.model, self.history = model, history
        # part of the state of the module: whoever compares states compares these
        self.register_buffer("theta", torch.as_tensor(history.theta))
        self.register_buffer("times", torch.as_tensor(history.times))

    def networks(self) -> dict[str, nn.Module]:
        return {}

    def numbers_per_point(self) -> int:
        raise TypeError("marched fields have no parameters to train")

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (B, n), at x (B, n) and t (B, 1)."""

        def velocities(time: float, x: Tensor) -> Tensor:
            return torch.stack(self.model.velocities(self.history.at(time), x), 1)

        u, v = _by_time(velocities, x, t).unbind(1)
        return u, v

    def log_psi(self, x: Tensor, t: Tensor) -> Tensor:
        """(R, S) up to a function of t, S modulo 2 pi: (B, 2).

        Raises:
            TypeError: velocity networks have none.
        """
        log_psi = getattr(self.model, "log_psi", None)
        if log_psi is None:
            raise TypeError("velocity networks know no wave function")
        return _by_time(lambda time, x: log_psi(self.history.at(time), x), x, t)


def _by_time(values: Callable[[float, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    """values(t, x) of the points of each time, put together again; in the type of x."""
    times, which = torch.unique(t[:, 0], return_inverse=True)
    if len(times) < 2:  # no points at all have any time
        return values(float(times.sum()), x.double()).to(x.dtype)
    order = torch.argsort(which, stable=True)
    counts = torch.bincount(which, minlength=len(times)).tolist()
    parts = torch.split(x.double()[order], counts)
    found = torch.cat([values(time, part) for time, part in zip(times.tolist(), parts, strict=True)])
    return found[torch.argsort(order)].to(x.dtype)
