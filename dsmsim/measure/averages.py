"""Averages over the samples of one number of each: what users add of their own.

An expression is a function of the coordinates of the particles, x1, x2, ... (y1, ..., z1, ... where there are
such axes), and of t: "x1**2 * x2**2", "abs(x1 - x2)". It is averaged over |psi|^2.

Shapes: B samples, N particles, n coordinates, T times, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from dsmsim.errors import ConfigError
from dsmsim.measure.context import Context
from dsmsim.measure.groups import GroupSums
from dsmsim.measure.observable import Array, ByGroup, Sampled
from dsmsim.measure.units import weighted
from dsmsim.system.expressions import compile_expressions, expand, read_expression


class Average:
    """The average of a function of the samples, in the results group `user`.

    Args:
        context: of the run.
        name: of the result.
        function: of a batch; one number of each sample, (B,).
        units: in words such as "length^2"; "1" for a pure number.
        long_name: what it is; the name itself by default.
    """

    def __init__(
        self,
        context: Context,
        name: str,
        function: Callable[[Sampled], Tensor],
        *,
        units: str = "mixed",
        long_name: str = "",
    ) -> None:
        self.times, self.name, self.function = context.times, name, function
        self.units, self.long_name = units, long_name or name
        self._sums = GroupSums(len(context.times), (), context.device)

    def add(self, sampled: Sampled) -> None:
        """Add a batch.

        Raises:
            ConfigError: the function does not give one real number of each sample.
        """
        values = self.function(sampled)
        if values.shape != (len(sampled.x),) or values.is_complex():
            raise ConfigError(
                f"observable {self.name!r} must give one real number of each of {len(sampled.x)} samples, "
                f"not {str(values.dtype).removeprefix('torch.')} of shape {tuple(values.shape)}"
            )
        self._sums.add(sampled.index, sampled.groups.means(weighted(values.double(), sampled.weights)))

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over ranks in place."""
        return self._sums.tensors()

    def results(self, units: Array) -> ByGroup:
        """`user/NAME` over time, with its standard error."""
        mean, stderr = self._sums.finish()
        return {"user": {"time": self.times.copy(), self.name: mean, f"{self.name}_stderr": stderr}}

    def attributes(self) -> Mapping[str, Mapping[str, str]]:
        """Units and meaning of the result, by its place."""
        return {f"user/{self.name}": {"units": self.units, "long_name": self.long_name}}


def expression_average(context: Context, name: str, text: str, variables: Sequence[str]) -> Average:
    """The average of an expression.

    Args:
        context: of the run.
        name: of the result.
        text: the expression.
        variables: the names of the first coordinates, in order, and last that of the time.

    Raises:
        ConfigError: it is not an expression of the coordinates and t.
    """
    expression = read_expression(text, variables, [], key=f"output.expressions.{name}")
    function = compile_expressions([expression], variables)

    def value(sampled: Sampled) -> Tensor:
        coordinates = sampled.x.t()[: len(variables) - 1]
        return expand(function(*coordinates.unbind(0), sampled.time)[0], coordinates[0])

    return Average(context, name, value, long_name=f"average of {text}")
