"""Recurrent networks whose input-to-hidden matrices are tensor trains.

With sigma the logistic function and all gates of a layer in one matrix W (G H x I):

    LSTM   (i, f, g, o) = W x_t + b + U h_{t-1} + b'
           c_t = sigma(f) c_{t-1} + sigma(i) tanh(g),  h_t = sigma(o) tanh(c_t)
    GRU    (r, z, n) = W x_t + b and (r', z', n') = U h_{t-1} + b'
           m_t = tanh(n + sigma(r + r') n'),  h_t = m_t + sigma(z + z') (h_{t-1} - m_t)

W is one TT matrix: the gates multiply its first output mode (Yang, Krompass and Tresp, "Tensor-train
recurrent neural networks for video classification", 2017, who leave U dense). In `MPOLSTM` U is one as well.

Order of gates, two biases and shapes are those of `torch.nn`. Cost of a layer: W x_t for all steps at once in
one call of a TT layer with T B rows, which plans it; then T steps of B G H^2 multiply-adds. A TT matrix U is
rebuilt once a call.

Shapes: T steps, B sequences, R rows of all steps together (T B), I inputs, H hidden, G gates, D directions, L
layers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from dsmsim.tensor.tt_linear import TTLinear
from dsmsim.tensor_shapes.cores import Rank
from dsmsim.tensor_shapes.modes import balanced_modes, layer_modes

State = tuple[Tensor, ...]  # h, or h and c, each (B, H)


class TensorRNN(nn.Module, ABC):
    """What the recurrent networks have in common; the order of arguments is that of `torch.nn.LSTM`.

    Parameters have the names that they have there: `weight_ih_l0` is a `TTLinear`, `weight_hh_l0`,
    `bias_ih_l0` and `bias_hh_l0` are dense, further layers and `_reverse` likewise.

    Args:
        input_size, hidden_size: I and H.
        num_layers: layers, each reading the one below.
        bias: whether the two biases are there.
        batch_first: whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: share of the outputs of every layer but the last that is dropped in training.
        bidirectional: whether a second network reads backwards.
        rank: bond rank of the TT matrices, as in `TTLinear`.
        modes_in, modes_hidden: factors of I and of H, of equal length; balanced ones where not given. Gates
            multiply the first of `modes_hidden`, and so do directions where a layer reads the one below.

    Raises:
        ValueError: sizes that do not fit modes, or a dropout that is no probability.
    """

    gates: ClassVar[int]
    states: ClassVar[int]  # 1: h; 2: h and c
    tensor_hidden: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        rank: Rank,
        modes_in: Sequence[int] | None = None,
        modes_hidden: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"dropout {dropout} must be a probability")
        if num_layers < 1:
            raise ValueError(f"num_layers {num_layers} must be at least 1")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        count = len(modes_in or modes_hidden or layer_modes(hidden_size, input_size)[0])
        modes_in = modes_in or balanced_modes(input_size, count)
        modes_hidden = modes_hidden or balanced_modes(hidden_size, count)
        first, *others = modes_hidden
        gated, read = [self.gates * first, *others], [self.directions * first, *others]
        rows = self.gates * hidden_size
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        made: dict[str, Any] = {"modes_out": gated, "rank": rank, "bias": False, **kind}
        for layer in range(num_layers):
            size, modes = (input_size, modes_in) if layer == 0 else (self.directions * hidden_size, read)
            for name in self._names(layer):
                self.add_module(f"weight_ih_{name}", TTLinear(size, rows, modes_in=modes, **made))
                if self.tensor_hidden:
                    hidden = TTLinear(hidden_size, rows, modes_in=modes_hidden, **made)
                    self.add_module(f"weight_hh_{name}", hidden)
                else:
                    dense = nn.Parameter(torch.empty(rows, hidden_size, **kind))
                    self.register_parameter(f"weight_hh_{name}", dense)
                for side in ("ih", "hh"):
                    values = nn.Parameter(torch.empty(rows, **kind)) if bias else None
                    self.register_parameter(f"bias_{side}_{name}", values)
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    def _names(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self.directions]

    def reset_parameters(self) -> None:
        """Draw all matrices and biases with the variance of `torch.nn`, 1 / (3 H)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for module in self.children():
            if isinstance(module, TTLinear):
                module.reset_cores(bound**2 / 3.0)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    @abstractmethod
    def step(self, into: Tensor, hidden: Tensor, state: State) -> State:
        """The next state from W x + b and U h + b', both (B, G H)."""

    def _run(
        self, x: Tensor | PackedSequence, given: Sequence[Tensor] | None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Outputs, and the last states of all layers and directions (L D, B, H)."""
        if isinstance(x, PackedSequence):
            sizes = x.batch_sizes.tolist()
            state = self._first_state(x.data, sizes[0], given, x.sorted_indices)
            rows, last = self._layers(x.data, sizes, state)
            if x.unsorted_indices is not None:
                last = tuple(part.index_select(1, x.unsorted_indices) for part in last)
            return PackedSequence(rows, x.batch_sizes, x.sorted_indices, x.unsorted_indices), last
        single = x.dim() == 2
        if single:
            x = x.unsqueeze(1)
            given = None if given is None else [part.unsqueeze(1) for part in given]
        elif self.batch_first:
            x = x.transpose(0, 1)
        steps, batch = x.shape[:2]
        state = self._first_state(x, batch, given, None)
        rows, last = self._layers(x.reshape(steps * batch, -1), [batch] * steps, state)
        outputs = rows.reshape(steps, batch, -1)
        if single:
            return outputs.squeeze(1), tuple(part.squeeze(1) for part in last)
        return (outputs.transpose(0, 1) if self.batch_first else outputs), last

    def _first_state(
        self, x: Tensor, batch: int, given: Sequence[Tensor] | None, order: Tensor | None
    ) -> State:
        shape = (self.num_layers * self.directions, batch, self.hidden_size)
        if given is None:
            return tuple(x.new_zeros(shape) for _ in range(self.states))
        for part in given:
            if part.shape != shape:
                raise ValueError(f"a first state of shape {tuple(part.shape)} must have shape {shape}")
        return tuple(part if order is None else part.index_select(1, order) for part in given)

    def _layers(self, rows: Tensor, sizes: Sequence[int], state: State) -> tuple[Tensor, State]:
        """All layers over rows (R, I) of which `sizes` belong to each step; state parts (L D, B, H)."""
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, name in enumerate(self._names(layer)):
                own = tuple(part[layer * self.directions + direction] for part in state)
                output, end = self._direction(rows, sizes, own, name, direction == 1)
                outputs.append(output)
                last.append(end)
            rows = torch.cat(outputs, dim=1)
            if layer < self.num_layers - 1:
                rows = nn.functional.dropout(rows, self.dropout, self.training)
        return rows, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def _direction(
        self, rows: Tensor, sizes: Sequence[int], state: State, name: str, backwards: bool
    ) -> tuple[Tensor, State]:
        """One direction of one layer: outputs (R, H) and the last state of every sequence.

        Sequences are ordered by length, longest first, so step t is of the first sizes[t] of them.
        """
        into = getattr(self, f"weight_ih_{name}")(rows)
        if self.bias:
            into = into + getattr(self, f"bias_ih_{name}")
        matrix, bias = getattr(self, f"weight_hh_{name}"), getattr(self, f"bias_hh_{name}")
        weight = matrix.weight if self.tensor_hidden else matrix
        chunks = into.split(list(sizes))
        first, outputs, ended = state, [], []
        if backwards:
            state = tuple(part[: sizes[-1]] for part in first)
        for chunk in reversed(chunks) if backwards else chunks:
            now, before = chunk.shape[0], state[0].shape[0]
            if now > before:  # backwards: shorter sequences begin
                state = tuple(
                    torch.cat([part, new[before:now]]) for part, new in zip(state, first, strict=True)
                )
            elif now < before:  # forwards: sequences end
                ended.append(tuple(part[now:] for part in state))
                state = tuple(part[:now] for part in state)
            state = self.step(chunk, nn.functional.linear(state[0], weight, bias), state)
            outputs.append(state[0])
        if ended:
            state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
        return torch.cat(outputs[::-1] if backwards else outputs), state

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"


class TTLSTM(TensorRNN):
    """A twin of `torch.nn.LSTM`, input-to-hidden matrices in TT form."""

    gates, states = 4, 2

    def step(self, into: Tensor, hidden: Tensor, state: State) -> State:
        enter, forget, new, leave = (into + hidden).chunk(4, dim=1)
        cell = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    def forward(
        self, x: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Apply to x (T, B, I), (B, T, I) with `batch_first`, (T, I), or packed; as `torch.nn.LSTM`.

        Args:
            x: the sequences.
            hx: first h and c, each (L D, B, H); zeros without.

        Returns:
            outputs (T, B, D H), or in the order of x, and the last (h, c), each (L D, B, H).

        Raises:
            ValueError: first states of another shape.
        """
        outputs, (h, c) = self._run(x, hx)
        return outputs, (h, c)


class MPOLSTM(TTLSTM):
    """The same with the hidden-to-hidden matrices in TT form too (a TT matrix is an MPO)."""

    tensor_hidden = True


class TTGRU(TensorRNN):
    """A twin of `torch.nn.GRU`, input-to-hidden matrices in TT form."""

    gates, states = 3, 1

    def step(self, into: Tensor, hidden: Tensor, state: State) -> State:
        reset, update, new = into.chunk(3, dim=1)
        reset_too, update_too, new_too = hidden.chunk(3, dim=1)
        new = (new + (reset + reset_too).sigmoid() * new_too).tanh()
        return (new + (update + update_too).sigmoid() * (state[0] - new),)

    def forward(
        self, x: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Apply to x as `torch.nn.GRU`: outputs and the last h; shapes as in `TTLSTM.forward`.

        Raises:
            ValueError: a first state of another shape.
        """
        outputs, (h,) = self._run(x, None if hx is None else [hx])
        return outputs, h
