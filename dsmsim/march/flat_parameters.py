"""The parameters of a network as one vector theta, without those on which nothing depends.

A network that marches has no time of its own: its clock stands at 0, and the weights that multiply the clock
have no effect. They keep the values they started with and are no part of theta.

Shapes: B points, P entries of theta, Q parameters of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.errors import StoreError
from dsmsim.march.model import Theta

Parameters = dict[str, Tensor]


@torch.no_grad()
def begin_with(own: Mapping[str, Tensor], start: Mapping[str, Tensor] | None) -> None:
    """Let parameters have these values, where there are any; both by name."""
    for name, values in (start or {}).items():
        own[name].copy_(values)


class FlatParameters:
    """theta (P,) of named parameters, and back.

    Args:
        start: the parameters at the start, by name.
        matters: (Q,) which entries, in this order, make theta; all of them where it is absent.

    Attributes:
        names: P words, such as "input.weight[3,0]".
    """

    def __init__(self, start: Mapping[str, Tensor], matters: Tensor | None = None) -> None:
        self.reference: Parameters = {name: p.detach().double() for name, p in start.items()}
        sizes = [p.numel() for p in self.reference.values()]
        matters = torch.ones(sum(sizes), dtype=torch.bool) if matters is None else matters.cpu()
        self._chosen = {
            name: mask.nonzero().squeeze(1)
            for name, mask in zip(self.reference, torch.split(matters, sizes), strict=True)
        }
        self.names: tuple[str, ...] = tuple(
            f"{name}[{','.join(str(int(i)) for i in np.unravel_index(k, self.reference[name].shape))}]"
            for name, chosen in self._chosen.items()
            for k in chosen.tolist()
        )

    def __len__(self) -> int:
        return len(self.names)

    def start(self) -> NDArray[np.float64]:
        """theta (P,) at the start."""
        parts = [p.flatten()[self._chosen[name]] for name, p in self.reference.items()]
        return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float64)

    def to(self, device: torch.device) -> None:
        """Let all tensors lie there."""
        if next(iter(self.reference.values())).device != device:
            self.reference = {name: p.to(device) for name, p in self.reference.items()}
            self._chosen = {name: chosen.to(device) for name, chosen in self._chosen.items()}

    def named(self, theta: Theta) -> Parameters:
        """All parameters at theta (P,), by name.

        Raises:
            ValueError: theta has another length or is complex.
        """
        if theta.shape != (len(self),) or np.iscomplexobj(theta):
            raise ValueError(f"theta must be {len(self)} real numbers, not {theta.dtype} {theta.shape}")
        device = next(iter(self.reference.values())).device
        flat = torch.as_tensor(theta, dtype=torch.float64).to(device)
        parts = torch.split(flat, [len(chosen) for chosen in self._chosen.values()])
        found = {}
        for (name, p), part in zip(self.reference.items(), parts, strict=True):
            if len(part) == p.numel():
                found[name] = part.reshape(p.shape)
            else:
                found[name] = p.flatten().index_copy(0, self._chosen[name], part).reshape(p.shape)
        return found

    def place(self, gradients: Mapping[str, Tensor], rows: Tensor) -> None:
        """Write gradients (B, *parameter), by name, of some or all parameters into rows (B, P)."""
        end = 0
        for name, chosen in self._chosen.items():
            begin, end = end, end + len(chosen)
            if name not in gradients or begin == end:
                continue
            flat = gradients[name].reshape(len(rows), -1)
            rows[:, begin:end] = flat if len(chosen) == flat.shape[1] else flat[:, chosen]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters at the start, as `start/NAME`."""
        return {f"start/{name}": p.cpu().numpy() for name, p in self.reference.items()}

    def loaded(self, arrays: Mapping[str, NDArray[Any]]) -> Parameters:
        """The parameters that `arrays` gave, by name.

        Raises:
            StoreError: they are not those of this network.
        """
        found = {}
        for name, p in self.reference.items():
            values = arrays.get(f"start/{name}")
            if values is None or values.shape != tuple(p.shape):
                what = "is missing" if values is None else f"has the shape {values.shape}"
                raise StoreError(
                    f"start/{name} {what}, where [network] of the input needs {tuple(p.shape)}: the file "
                    "belongs to another network; use the input that it was made with"
                )
            found[name] = torch.as_tensor(values, dtype=torch.float64).to(p.device)
        return found
