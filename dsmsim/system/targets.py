"""Potentials and interactions that the user writes in Python.

A target is a torch function `f(r, t, **parameters)` with r (..., D) and t (...), values (...). It is found as
"package.module:callable" or by its name in an entry-point group. Its gradient comes from automatic
differentiation, so it may use any differentiable torch operations, but no numpy and no `.item()`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from dsmsim.errors import ConfigError
from dsmsim.system.quench import Parameter
from dsmsim.system.term import Setting, TermFunction


def load_target(target: str, *, group: str, key: str, signature: str = "f(r, t, ...)") -> Callable[..., Any]:
    """The callable that a target names.

    Args:
        target: "package.module:callable", or a name in the entry-point group.
        group: entry-point group.
        key: dotted key, for messages.
        signature: how it is called, for messages.

    Raises:
        ConfigError: it cannot be imported, does not exist or is not callable.
    """
    try:
        found = _import(target) if ":" in target else _entry_point(target, group)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{key} = {target!r}: cannot be imported ({type(error).__name__}: {error}); install the package, "
            "or put its folder on PYTHONPATH",
            key=key,
        ) from error
    if found is None:
        names = sorted(point.name for point in importlib.metadata.entry_points(group=group))
        raise ConfigError(
            f"{key} = {target!r}: no such name in the entry-point group {group!r} (installed: "
            f"{', '.join(names) or 'none'}); write 'package.module:callable', or install the package",
            key=key,
        )
    if not callable(found):
        raise ConfigError(f"{key} = {target!r}: is not callable; name a function {signature}", key=key)
    return found  # type: ignore[no-any-return]


def _import(target: str) -> Any:
    module, _, path = target.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def _entry_point(name: str, group: str) -> Any:
    for point in importlib.metadata.entry_points(group=group, name=name):
        return point.load()
    return None


class PythonFunction(TermFunction):
    """A target with its parameters, checked once at a few points when it is made."""

    def __init__(
        self,
        target: str,
        parameters: Mapping[str, Parameter],
        setting: Setting,
        *,
        group: str,
        key: str,
    ) -> None:
        super().__init__(parameters)
        self.key = key
        self.target = target
        self.function = load_target(target, group=group, key=key)
        self._check(setting)
        # the target may depend on t by itself: only its values can tell
        self.is_static = self.is_static and not self._depends_on_time(setting)

    def value(self, r: Tensor, t: Tensor) -> Tensor:
        shape = (r[..., 0] + 0.0 * t).shape
        parameters = {name: self._parameter(name, t, shape) for name in self.parameters}
        try:
            values = self.function(r.expand(*shape, r.shape[-1]), t.expand(shape), **parameters)
        except Exception as error:
            raise ConfigError(
                f"{self.key} = {self.target!r}: raised {type(error).__name__}: {error}; correct the "
                f"function: it is called as f({', '.join(['r', 't', *parameters])}), r (..., D) and t (...)",
                key=self.key,
            ) from error
        found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if found != tuple(shape):
            raise ConfigError(
                f"{self.key} = {self.target!r}: returned {found} for r of shape {(*shape, r.shape[-1])}; "
                f"return a torch tensor of shape {tuple(shape)}, one value per position",
                key=self.key,
            )
        return values  # type: ignore[no-any-return]

    def gradient(self, r: Tensor, t: Tensor) -> Tensor:
        whole = r + 0.0 * t.unsqueeze(-1)
        gradient: Tensor = torch.func.grad(lambda position: self.value(position, t).sum())(whole)
        return gradient

    def _parameter(self, name: str, t: Tensor, shape: torch.Size) -> Tensor | float:
        value = self.at(name, t)
        return value.expand(shape) if isinstance(value, Tensor) else value

    def _probe(self, dimensions: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(2, 3, dimensions, dtype=torch.float64, generator=generator)

    def _check(self, setting: Setting) -> None:
        r = self._probe(setting.dimensions)
        t = r.new_full((2, 1), 0.5 * setting.end)
        self.value(r, t)
        try:
            self.gradient(r, t)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self.key} = {self.target!r}: cannot be differentiated ({error}); use differentiable torch "
                "operations of r only",
                key=self.key,
            ) from error

    def _depends_on_time(self, setting: Setting) -> bool:
        r = self._probe(setting.dimensions)
        values = [self.value(r, r.new_full((2, 1), setting.end * fraction / 16.0)) for fraction in range(17)]
        return any(not torch.equal(value, values[0]) for value in values)
