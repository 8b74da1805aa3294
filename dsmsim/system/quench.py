"""Parameters of a potential that may change in time.

A parameter p keeps its value p0 until `start`, reaches `to` at `start + duration` and stays there:

    p(t) = p0 + (to - p0) f(s),     s = clip((t - start)/duration, 0, 1)
    f(s) = s ("linear")   or   3 s^2 - 2 s^3 ("smooth": continuous slope at both ends).

With duration = 0 the parameter jumps AT `start`: the new value holds for t >= start. A jump at t = 0 is the
sudden quench: the initial state knows the old value, the dynamics only the new one, which is then constant.

Shapes: `...` any leading dimensions, `D` axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsmsim.config.terms import Term
from dsmsim.errors import ConfigError


def axis_constant(values: Sequence[float], like: Tensor) -> Tensor | float:
    """The numbers as a factor of `like` (..., len(values)): a plain float when all are equal."""
    if all(value == values[0] for value in values):
        return values[0]
    return like.new_tensor(list(values))


@dataclass(frozen=True)
class Parameter:
    """A number, or one number per axis, that is constant or follows one ramp.

    Attributes:
        before: values until `start`; length 1, or D for one per axis.
        after: values from `start + duration` on; the same length. Equal to `before` when nothing changes.
        start, duration: the ramp, in units of time.
        smooth: 3 s^2 - 2 s^3 in place of s.
        per_axis: True when the parameter belongs to axes: values then carry a trailing dimension.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    start: float = 0.0
    duration: float = 0.0
    smooth: bool = False
    per_axis: bool = False

    @property
    def is_static(self) -> bool:
        """True when the value is the same at all t >= 0 (a jump at t = 0 is over before it can be seen)."""
        return self.before == self.after or self.start + self.duration <= 0.0

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Times at which the parameter, or its slope, is not smooth."""
        return () if self.is_static else (self.start, self.start + self.duration)

    def fraction(self, t: Tensor) -> Tensor:
        """How much of the way from `before` to `after` is done; the shape of t."""
        if self.duration == 0.0:
            return (t >= self.start).to(t.dtype)
        s = torch.clamp((t - self.start) / self.duration, 0.0, 1.0)
        return s * s * (3.0 - 2.0 * s) if self.smooth else s

    def __call__(self, t: Tensor) -> Tensor | float:
        """The value at times t (...): (...), or (..., 1 or D) when `per_axis`; a float when constant."""
        if self.is_static:
            return axis_constant(self.after, t)
        if not self.per_axis:
            return self.before[0] + (self.after[0] - self.before[0]) * self.fraction(t)
        change = [after - before for before, after in zip(self.before, self.after, strict=True)]
        return axis_constant(self.before, t) + axis_constant(change, t) * self.fraction(t).unsqueeze(-1)


def read_parameters(term: Term, key: str, dimensions: int) -> dict[str, Parameter]:
    """Every number of a term's table that may be quenched, by name, with its quench.

    Args:
        term: the table of a one-body term or of the interaction.
        key: its dotted key, for messages.
        dimensions: D, the length of a list per axis.

    Raises:
        ConfigError: a list whose length is not D, or a list where one number is meant.
    """
    named: dict[str, float] = getattr(term, "parameters", {})
    found = {}
    for name in term.quenchable_names():
        value = named[name] if name in named else getattr(term, name)
        axes = dimensions if name in term.by_axis else None
        before = _numbers(value, axes, f"{key}.{name}")
        quench = term.quench.get(name)
        if quench is None:
            found[name] = Parameter(before, before, per_axis=axes is not None)
            continue
        after = _numbers(quench.to, axes, f"{key}.quench.{name}.to")
        length = max(len(before), len(after))
        found[name] = Parameter(
            before=before * (length // len(before)),
            after=after * (length // len(after)),
            start=quench.start,
            duration=quench.duration,
            smooth=quench.shape == "smooth",
            per_axis=axes is not None,
        )
    return found


def _numbers(value: float | Sequence[float], axes: int | None, key: str) -> tuple[float, ...]:
    if isinstance(value, int | float):
        return (float(value),)
    numbers = tuple(float(entry) for entry in value)
    if axes is None or len(numbers) != axes:
        wanted = "one number" if axes is None else f"one number, or a list of {axes} (one per axis)"
        raise ConfigError(f"{key} = {list(numbers)}: must be {wanted}; write {wanted}", key=key)
    return numbers
