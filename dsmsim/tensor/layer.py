"""What all tensor-decomposed linear layers have in common.

A `TensorLinear` is a twin of `torch.nn.Linear`: y = x W^T + b with W made from the entries of `cores`. Either
W is rebuilt and applied as one dense product, or the cores are applied one after the other; with the strategy
"auto" the number of rows and the ranks decide (`dsmsim.tensor_shapes.strategy`).

With permutations y = W_cores(x[permute_in])[permute_out]: the cores see inputs and outputs in an order of
their own.

Shapes: B rows of input, O outputs, I inputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dsmsim.tensor import chain
from dsmsim.tensor.initial import draw_cores
from dsmsim.tensor_shapes.strategy import Choice, Strategy, plan


class TensorLinear(nn.Module, ABC):
    """y = x W^T + b, W of shape (out_features, in_features) made from `cores`.

    Args:
        in_features, out_features: sizes of W.
        shapes: shapes of the cores.
        bias: whether a bias is added.
        strategy: how W is applied: "auto", "rebuild" or "sequential".
        permute_in, permute_out: permutations of the inputs and outputs, see the module's docstring; kept as
            buffers, None for the order of the cores.

    Attributes:
        format: name of the decomposition, as in `dsmsim.tensor_shapes.FORMATS`.
        cores: the factors of W.
        modes_in, modes_out: factorisations of in_features and out_features.

    Raises:
        ValueError: an unknown strategy, or a permutation that is none.
    """

    format: ClassVar[str]
    modes_in: tuple[int, ...]
    modes_out: tuple[int, ...]
    permute_in: Tensor | None
    permute_out: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        shapes: Sequence[Sequence[int]],
        bias: bool = True,
        strategy: Choice = "auto",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        permute_in: Sequence[int] | Tensor | None = None,
        permute_out: Sequence[int] | Tensor | None = None,
    ) -> None:
        if strategy not in get_args(Choice):
            raise ValueError(f"strategy {strategy!r} must be one of {', '.join(get_args(Choice))}")
        super().__init__()
        self.in_features, self.out_features, self.strategy = in_features, out_features, strategy
        self.cores = nn.ParameterList(torch.empty(*shape, device=device, dtype=dtype) for shape in shapes)
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_buffer("permute_in", _permutation("permute_in", permute_in, in_features, device))
        self.register_buffer("permute_out", _permutation("permute_out", permute_out, out_features, device))
        self._kept: _Kept | None = None
        self.reset_parameters()

    @staticmethod
    @abstractmethod
    def ranks_of(cores: Sequence[Tensor]) -> tuple[int, ...]:
        """The ranks of cores, as `dsmsim.tensor_shapes.work.chain` takes them."""

    @staticmethod
    @abstractmethod
    def grouped(cores: Sequence[Tensor], grouping: Sequence[int]) -> list[Tensor]:
        """Super-cores (R_{k-1}, o_k, i_k, R_k) of groups of so many neighbouring cores each."""

    @abstractmethod
    def check_cores(self, cores: Sequence[Tensor]) -> None:
        """Raise a ValueError unless these are cores of a matrix of this layer's size."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks of the cores."""
        return self.ranks_of(list(self.cores))

    def plan(self, rows: int, backward: bool = False, choice: Choice | None = None) -> Strategy:
        """The strategy for so many rows of input.

        Args:
            rows: B.
            backward: whether a backward pass follows.
            choice: instead of the layer's own `strategy`.
        """
        return self._plan(list(self.cores), rows, backward, choice or self.strategy)

    def _plan(self, cores: Sequence[Tensor], rows: int, backward: bool, choice: Choice) -> Strategy:
        ranks, kept = self.ranks_of(cores), self._kept is not None
        if torch.compiler.is_compiling():
            rows = _octave(rows)
        shape = self.format, self.modes_out, self.modes_in, ranks
        found: Strategy = _constant_plan(*shape, rows, backward, kept, choice)
        return found

    def rebuilt(self) -> Tensor:
        """W (O, I) from the cores, in the order of the cores."""
        cores = list(self.cores)
        left, right = self.grouped(cores, self._plan(cores, 1, False, "rebuild").grouping)
        return chain.product(left, right)

    def sequential(self, x: Tensor) -> Tensor:
        """x W^T for x (B, I), one core after the other: (B, O)."""
        cores = list(self.cores)
        backward = torch.is_grad_enabled() and (x.requires_grad or cores[0].requires_grad)
        return self._sequential(x, cores, self._plan(cores, len(x), backward, "sequential"))

    def _sequential(self, x: Tensor, cores: Sequence[Tensor], strategy: Strategy) -> Tensor:
        x = x if self.permute_in is None else x[:, self.permute_in]
        cores = self.grouped(cores, strategy.grouping)
        if strategy.chunk_rows < len(x) and x.device.type == "cpu":
            parts = x.chunk(math.ceil(len(x) / strategy.chunk_rows))
            y = torch.cat([chain.apply(part, cores, strategy.direction) for part in parts])
        else:
            y = chain.apply(x, cores, strategy.direction)
        return y if self.permute_out is None else y[:, self.permute_out]

    @property
    def weight(self) -> Tensor:
        """The dense W (O, I), permutations included; rebuilt unless `kept_weights` keeps it."""
        if self._kept is not None and self._kept.is_of(self.cores):
            return self._kept.weight
        weight = self.rebuilt()
        if self.permute_out is not None:
            weight = weight[self.permute_out]
        return weight if self.permute_in is None else weight[:, self.permute_in.argsort()]

    def reset_cores(self, variance: float) -> None:
        """Draw the cores so that W has mean 0 and exactly this mean square."""
        draw_cores(self.format, list(self.cores), variance)

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
        if len(cores) != len(self.cores):
            raise ValueError(f"{len(cores)} cores do not fit {self}")
        self.check_cores(cores)
        for k, values in enumerate(cores):
            old = self.cores[k]
            if not isinstance(old, nn.Parameter):  # made by a parametrisation, which takes it back
                setattr(self.cores, str(k), values.to(old))
            elif old.shape == values.shape:
                old.copy_(values)
            else:
                # the order in memory decides the last digits of products: always that of a file
                new = torch.empty(values.shape, device=old.device, dtype=old.dtype).copy_(values)
                self.cores[k] = nn.Parameter(new, requires_grad=old.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (..., I): (..., O).

        Raises:
            ValueError: another last axis.
        """
        if x.shape[-1] != self.in_features:
            raise ValueError(f"input of shape {tuple(x.shape)} needs a last axis of {self.in_features}")
        if self.strategy == "rebuild":
            return nn.functional.linear(x, self.weight, self.bias)
        rows, cores = math.prod(x.shape[:-1]), list(self.cores)
        backward = torch.is_grad_enabled() and (x.requires_grad or cores[0].requires_grad)
        strategy = self._plan(cores, rows, backward, self.strategy)
        if strategy.kind == "rebuild":
            return nn.functional.linear(x, self.weight, self.bias)
        y = self._sequential(x.reshape(rows, self.in_features), cores, strategy)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        count = sum(core.numel() for core in self.cores)
        share = count / (self.in_features * self.out_features)
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"modes_out={self.modes_out}, modes_in={self.modes_in}, ranks={self.ranks}, "
            f"bias={self.bias is not None}, strategy={self.strategy}, "
            f"{count} entries in cores, {share:.3g} of a dense weight"
        )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _constant_plan(*arguments: Any) -> Strategy:
    """`plan`, which a compiled layer asks while it is traced."""
    return plan(*arguments)


def _octave(rows: int) -> int:
    """The power of two next to a number of rows that may be symbolic: compiled code holds up to there."""
    octave = 1
    while octave < rows:
        octave *= 2
    return octave


def _permutation(
    name: str, order: Sequence[int] | Tensor | None, size: int, device: torch.device | None
) -> Tensor | None:
    """A permutation of so many indices as a tensor of its own."""
    if order is None:
        return None
    found = torch.as_tensor(order, dtype=torch.long, device=device).clone()
    if not torch.equal(found.sort().values, torch.arange(size, device=found.device)):
        raise ValueError(f"{name} is not a permutation of 0 .. {size - 1}")
    return found


class _Kept(NamedTuple):
    """A rebuilt weight and what it was rebuilt from."""

    weight: Tensor
    cores: list[Tensor]
    versions: list[int]

    def is_of(self, cores: nn.ParameterList) -> bool:
        """Whether the weight still belongs to these cores and lets through the gradients that are wanted."""
        same = all(own is core for own, core in zip(self.cores, cores, strict=True))
        constant = not (torch.is_grad_enabled() and any(core.requires_grad for core in cores))
        return (
            same
            and (constant or self.weight.requires_grad)
            and all(core._version == version for core, version in zip(cores, self.versions, strict=True))
        )


@contextmanager
def kept_weights(module: nn.Module) -> Iterator[None]:
    """Rebuild the weights of all tensor layers of `module` once, and use them as long as this lasts.

    For sampling, where parameters stand still. Values and gradients are those of the layer without it: a
    layer whose cores are changed, replaced (`functional_call`) or asked for gradients that the kept weight
    does not pass on is rebuilt at every use, as outside. So enter under `torch.no_grad()` where no gradients
    are wanted; entered with gradients on, the kept weights share one graph, for one backward pass.

    Uses may be nested; what was kept outside is kept again afterwards, also after an exception.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, TensorLinear)]
    before = [layer._kept for layer in layers]
    try:
        for layer in layers:
            cores = list(layer.cores)
            layer._kept = _Kept(layer.weight, cores, [core._version for core in cores])
        yield
    finally:
        for layer, kept in zip(layers, before, strict=True):
            layer._kept = kept
