"""The potential networks written out particle by particle in elementary operations: an oracle.

It shares nothing with `dsmsim.networks.jets` but the parameters, and torch.func can differentiate it as often
as one likes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dsmsim.networks import PotentialFields
from dsmsim.networks.functional_tt import FunctionalTT
from dsmsim.networks.pair_potential import PairPotential
from dsmsim.networks.potential import Potential, PotentialJet


def plain_value(net: PairPotential, y: Tensor, clock: Tensor) -> Tensor:
    """(R, S) of one configuration: y (n,), clock (1,) to (2,)."""
    count, axes = net.particles, net.dimensions
    r = y.reshape(count, axes)
    meetings = itertools.combinations(range(count), 2)
    pairs = {(i, j): _pair(net, r[i], r[j], clock) for i, j in meetings}
    total = sum((net.pair_output(e) for e in pairs.values()), torch.zeros(2, dtype=y.dtype))
    for i in range(count):
        extra = None
        if net.messages:
            extra = net.message(sum(e for pair, e in pairs.items() if i in pair)) / math.sqrt(count)
        features = [clock]
        for axis in range(axes):
            z = (r[i, axis] / net.stretch[axis]).reshape(1) / 2.0
            features += [torch.asinh(z), torch.sqrt(1.0 + z**2)]
        total = total + net.node_output(_layers(net.node_input, net.node_hidden, torch.cat(features), extra))
    return total


def plain_ring(net: FunctionalTT, y: Tensor, clock: Tensor) -> Tensor:
    """(R, S) of one configuration of a functional tensor train, matrix by matrix."""
    rank, entries = net.rank, net.rank * (net.rank + 1) // 2
    signs = torch.diag(torch.tensor([(-1.0) ** a for a in range(rank)], dtype=y.dtype))
    products = [torch.eye(rank, dtype=y.dtype) for _ in range(2)]
    for r in y.reshape(net.particles, net.dimensions):
        features = [clock]
        for axis in range(net.dimensions):
            z = (r[axis] / net.stretch[axis]).reshape(1) / 2.0
            features += [torch.asinh(z), torch.sqrt(1.0 + z**2)]
        h = torch.tanh(net.node_input(torch.cat(features)))
        for layer in net.node_hidden:
            h = torch.tanh(layer(h) + h)
        out = net.node_output(h)
        for channel in range(2):
            numbers = iter(out[channel * entries : (channel + 1) * entries])
            upper = {(a, b): next(numbers) for a in range(rank) for b in range(a, rank)}
            m = torch.stack(
                [torch.stack([upper[min(a, b), max(a, b)] for b in range(rank)]) for a in range(rank)]
            )
            products[channel] = products[channel] @ (torch.eye(rank, dtype=y.dtype) + m @ signs)
    return torch.stack([torch.trace(product) for product in products]) - rank


def derivatives_of(value: Callable[[Tensor, Tensor], Tensor], y: Tensor, clock: Tensor) -> PotentialJet:
    """Derivatives by torch.func of a function of one configuration, at y (P, n), clock (P, 1)."""
    func = torch.func
    hessians = func.vmap(func.jacfwd(func.jacrev(value)))(y, clock)
    return PotentialJet(
        func.vmap(value)(y, clock),
        func.vmap(func.jacrev(value))(y, clock).transpose(1, 2),
        func.vmap(func.jacrev(value, argnums=1))(y, clock)[..., 0],
        torch.diagonal(hessians, dim1=-2, dim2=-1).sum(-1),
    )


def mixed(jet: PotentialJet) -> Tensor:
    """A scalar in which every part weighs in, and with every point and channel differently."""
    generator = torch.Generator().manual_seed(5)
    total = torch.zeros((), dtype=jet.value.dtype)
    for part in jet:
        total = total + (torch.rand(part.shape, generator=generator, dtype=part.dtype) * part.square()).sum()
    return total


def assert_jets_equal(
    net: Potential, value: Callable[[Tensor, Tensor], Tensor], y: Tensor, clock: Tensor
) -> None:
    """Value and derivatives of a network are those of a function of one configuration."""
    found, expected = net.jet(y, clock), derivatives_of(value, y, clock)
    for name in PotentialJet._fields:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(net(y, clock), expected.value, rtol=1e-12, atol=1e-13)


def assert_gradients_equal(
    net: Potential, value: Callable[[Tensor, Tensor], Tensor], y: Tensor, clock: Tensor
) -> None:
    """The same for the gradients in the weights of something made of all derivatives."""
    parameters = list(net.parameters())
    found, expected = (
        torch.autograd.grad(mixed(jet), parameters)
        for jet in (net.jet(y, clock), derivatives_of(value, y, clock))
    )
    for (name, _), a, b in zip(net.named_parameters(), found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=name)


def _pair(net: PairPotential, a: Tensor, b: Tensor, clock: Tensor) -> Tensor:
    axes, half = net.dimensions, math.sqrt(0.5)
    difference, features = (a - b) * half, [clock]
    for axis in range(axes):
        features.append(torch.asinh((a + b)[axis : axis + 1] * half / net.stretch[axis] / 2.0))
        features.append(torch.sqrt(1.0 + (difference[axis : axis + 1] / net.stretch[axis]) ** 2 / 4.0))
    distance = (difference**2).sum().reshape(1)
    for i, j in itertools.combinations(range(axes), 2):
        features.append((difference[i] * difference[j]).reshape(1) / torch.sqrt(1.0 + distance / 4.0))
    features += [torch.exp(-distance / (2.0 * width**2)) for width in net.widths]
    return _layers(net.pair_input, net.pair_hidden, torch.cat(features), None)


def _layers(first: nn.Module, hidden: nn.Module, features: Tensor, extra: Tensor | None) -> Tensor:
    a: Tensor = first(features)
    h = torch.tanh(a if extra is None else a + extra)
    for layer in hidden.children():
        h = torch.tanh(layer(h) + h)
    return h


def plain_log_psi(fields: PotentialFields) -> Callable[[Tensor, Tensor], Tensor]:
    """(x (n,), t (1,)) -> (R, S) of the fields, by `plain_value` or `plain_ring`."""
    frame = fields.frame

    def log_psi(x: Tensor, t: Tensor) -> Tensor:
        start = torch.stack([0.5 * fields.initial.log_density(x[None])[0], fields.initial.phase(x[None])[0]])
        y, clock = (x - frame.center) / fields.length, t / frame.end
        net = fields.potential
        value = plain_ring(net, y, clock) if isinstance(net, FunctionalTT) else plain_value(net, y, clock)
        return start + fields.amplitude * clock * value

    return log_psi


def plain_velocities(fields: PotentialFields) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(x (B, n), t (B, 1)) -> (u, v) as derivatives of `plain_log_psi`."""
    log_psi = plain_log_psi(fields)

    def velocities(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = torch.func.vmap(torch.func.jacrev(log_psi))(x, t)
        return fields.quantum * jacobian[:, 0], fields.quantum * jacobian[:, 1]

    return velocities
