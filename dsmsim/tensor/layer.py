"""What all tensor-decomposed linear layers have in common.

A `TensorLinear` is a twin of `torch.nn.Linear`: y = x W^T + b with W made from the entries of `cores`. Either
W is rebuilt and applied as one dense product, or the cores are applied one after the other; `strategy` says
which.

Shapes: B rows of input, O outputs, I inputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Strategy = Literal["auto", "rebuild", "sequential"]


class TensorLinear(nn.Module, ABC):
    """y = x W^T + b, W of shape (out_features, in_features) made from `cores`.

    Args:
        in_features, out_features: sizes of W.
        cores: shapes of the cores.
        bias: whether a bias is added.
        strategy: how W is applied.

    Attributes:
        format: name of the decomposition, as in `dsmsim.tensor_shapes.FORMATS`.
        cores: the factors of W.
    """

    format: ClassVar[str]

    def __init__(
        self,
        in_features: int,
        out_features: int,
        cores: Sequence[Sequence[int]],
        bias: bool = True,
        strategy: Strategy = "auto",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.strategy = in_features, out_features, strategy
        self.cores = nn.ParameterList(torch.empty(*shape, device=device, dtype=dtype) for shape in cores)
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self._kept: Tensor | None = None

    @abstractmethod
    def rebuilt(self) -> Tensor:
        """W (O, I) from the cores."""

    @abstractmethod
    def sequential(self, x: Tensor) -> Tensor:
        """x W^T for x (B, I), one core after the other: (B, O)."""

    @abstractmethod
    def reset_cores(self, variance: float) -> None:
        """Draw the cores so that the entries of W have mean 0 and this variance."""

    @property
    def weight(self) -> Tensor:
        """The dense W (O, I), rebuilt from the cores unless `kept_weights` keeps it."""
        return self.rebuilt() if self._kept is None else self._kept

    def reset_parameters(self) -> None:
        """Draw W with the variance of `nn.Linear` (1 / (3 in_features)) and the bias likewise."""
        bound = 1.0 / math.sqrt(self.in_features)
        self.reset_cores(bound**2 / 3.0)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @torch.no_grad()
    def set_cores(self, cores: Sequence[Tensor]) -> None:
        """Take other cores over, of any ranks that fit together; parameters of another shape are new ones.

        Raises:
            ValueError: the cores do not make a matrix of this layer's size.
        """
        self.check_cores(cores)
        for k, values in enumerate(cores):
            old = self.cores[k]
            if old.shape == values.shape:
                old.copy_(values)
            else:
                new = values.to(device=old.device, dtype=old.dtype).clone()
                self.cores[k] = nn.Parameter(new, requires_grad=old.requires_grad)

    @abstractmethod
    def check_cores(self, cores: Sequence[Tensor]) -> None:
        """Raise a ValueError unless these are cores of a matrix of this layer's size."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (..., I): (..., O)."""
        return nn.functional.linear(x, self.weight, self.bias)


@contextmanager
def kept_weights(module: nn.Module) -> Iterator[None]:
    """Rebuild the weights of all tensor layers of `module` once, and use them as long as this lasts.

    For sampling, where parameters stand still: nothing reaches the cores' gradients in between.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, TensorLinear)]
    for layer in layers:
        layer._kept = layer.rebuilt().detach()
    try:
        yield
    finally:
        for layer in layers:
            layer._kept = None
