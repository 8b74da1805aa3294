"""Formulas from the input file as torch functions, with exact derivatives.

`dsmsim.config.expressions` reads a formula into sympy; here sympy differentiates it, and `sympy.lambdify`
turns value and derivatives into torch functions: elementwise, of any dtype and device, usable under
torch.func.

Shapes: `r` (..., D), `t` broadcasts with r[..., 0]; values (...), gradients (..., D).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
import torch
from sympy.printing.lambdarepr import LambdaPrinter
from torch import Tensor

from dsmsim.config.expressions import symbol, to_sympy
from dsmsim.errors import ConfigError
from dsmsim.system.quench import Parameter
from dsmsim.system.term import Setting, TermFunction

Number = Tensor | float


def read_expression(text: str, variables: Sequence[str], parameters: Sequence[str], *, key: str) -> Any:
    """The sympy expression of a formula.

    Raises:
        ConfigError: it is not a formula of these names; the message begins with `key`.
    """
    try:
        return to_sympy(text, variables, parameters)
    except ValueError as error:
        raise ConfigError(f"{key} = {text!r}: {error}", key=key) from error


def compile_expressions(expressions: Sequence[Any], names: Sequence[str]) -> Callable[..., list[Number]]:
    """One function of the named arguments (tensors or floats that broadcast) that returns all values.

    A value that depends on no tensor comes back as a float: broadcast it with `expand`.
    """
    # neutral argument names: nothing that the user chose can hide a function
    neutral = {symbol(name): symbol(f"argument{index}") for index, name in enumerate(names)}
    function = sympy.lambdify(
        list(neutral.values()),
        [sympy.sympify(expression).xreplace(neutral) for expression in expressions],
        modules=[_TORCH_NAMES],
        printer=_TorchPrinter({"fully_qualified_modules": False, "allow_unknown_functions": True}),
        cse=True,
    )
    return function  # type: ignore[no-any-return]


def expand(value: Number, like: Tensor) -> Tensor:
    """The value broadcast to the shape of `like`, with its dtype and device."""
    if isinstance(value, Tensor):
        return torch.broadcast_to(value, like.shape)
    return torch.full_like(like, float(value))


class ExpressionFunction(TermFunction):
    """A formula of the components x, y, z of r, of t and of named parameters, with its exact gradient.

    Args:
        text: the formula.
        parameters: its named numbers.
        setting: dimensions of r.
        key: dotted key, for messages.
        squared: whether `r2` stands for |r|^2 (pair interactions).

    Raises:
        ConfigError: the formula cannot be used.
    """

    def __init__(
        self,
        text: str,
        parameters: Mapping[str, Parameter],
        setting: Setting,
        *,
        key: str,
        squared: bool = False,
    ) -> None:
        super().__init__(parameters)
        axes = ["x", "y", "z"][: setting.dimensions]
        variables = [*axes, "r2", "t"] if squared else [*axes, "t"]
        expression = read_expression(text, variables, list(parameters), key=key)
        symbols = [symbol(axis) for axis in axes]
        if squared:
            expression = expression.subs(symbol("r2"), sum(axis**2 for axis in symbols))
        self.is_static = self.is_static and symbol("t") not in expression.free_symbols
        names = [*axes, "t", *parameters]
        self._value = compile_expressions([expression], names)
        self._slopes = compile_expressions([sympy.diff(expression, axis) for axis in symbols], names)

    def _arguments(self, r: Tensor, t: Tensor) -> list[Number]:
        return [*r.unbind(-1), t, *(self.at(name, t) for name in self.parameters)]

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        return expand(self._value(*self._arguments(r, t))[0], r[..., 0] + 0.0 * t)

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        like = r[..., 0] + 0.0 * t
        return torch.stack([expand(slope, like) for slope in self._slopes(*self._arguments(r, t))], -1)


class _TorchPrinter(LambdaPrinter):  # type: ignore[misc]
    """Prints what Python would print as a branch on the truth of a tensor, or with fewer digits."""

    def _print_sign(self, expr: Any) -> str:
        return f"sign({self._print(expr.args[0])})"

    def _print_DiracDelta(self, expr: Any) -> str:
        # a derivative is taken almost everywhere: no trajectory stays on the step itself
        return "0.0"

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))


def _either(
    on_tensor: Callable[[Tensor], Tensor], on_float: Callable[[float], float]
) -> Callable[[Number], Number]:
    """A function for tensors and for plain numbers (a parameter without quench is a number)."""

    def apply(argument: Number) -> Number:
        return on_tensor(argument) if isinstance(argument, Tensor) else on_float(argument)

    return apply


def _sign(argument: float) -> float:
    return float((argument > 0) - (argument < 0))


_TORCH_NAMES: dict[str, Any] = {
    **{
        name: _either(getattr(torch, name), getattr(math, name))
        for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "atan")
    },
    "abs": abs,
    "sign": _either(torch.sign, _sign),
    "pi": math.pi,
    "e": math.e,
}
