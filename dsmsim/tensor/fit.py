"""Cores that repeat what a trained layer does on the inputs it sees, and orders of its units that suit them.

A layer y = W x + b whose inputs have second moments C = E[x x^T] errs by

    E |W x - V x|^2 = |(W - V) S|_F^2,      C = S S^T,

when V takes the place of W. Weights that no input reaches cost nothing, so V is found in this norm, not in
that of the entries.

- Low rank: with U_r the leading left singular vectors of W S the best V of rank r is U_r U_r^T W
  (Eckart and Young 1936, in the weighted norm).
- TT and rings: V is linear in each core, so one core after the other is solved for exactly (alternating least
  squares; Holtz, Rohwedder and Schneider 2012). A solution never raises the error.

- Any other format: all factors at once, by a quasi-Newton search.

The units of a hidden layer carry no order, but the modes of a TT matrix cut their list into rows and columns.
`find_orders` exchanges units as long as that lowers what truncation to a rank cuts off.

Shapes: O outputs, I inputs, q directions in which inputs vary, core k (r_{k-1}, o_k, i_k, r_k).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsmsim.tensor.arithmetic import balanced, full
from dsmsim.tensor.layer import TensorLinear

NULL = 1e-12  # eigenvalues of C below this share of the largest are rounding
DAMPING = 1e-9  # of a core's step, relative to the mean curvature: it only decides what the data leave open
CHUNK = 1 << 22  # numbers held at a time while the normal equations of a core are put together
SETTLED = 1e-4  # relative gain of a sweep below which the sweeps end
FURTHER = 1.5  # growth of the step beyond a sweep while that pays, see `fit_cores`
LARGEST_SYSTEM = 4096  # unknowns of one core for every row of outputs: seconds and 128 MB
SWAPS = 3000  # exchanges tried for every weight matrix


def second_moment(inputs: Tensor) -> Tensor:
    """E[x x^T] (I, I) of inputs (B, I), in double precision."""
    x = inputs.double()
    return x.T @ x / max(1, len(x))


def root_of_moment(moment: Tensor) -> Tensor:
    """S (I, q) with S S^T = C: one column for each direction in which the inputs vary.

    Raises:
        ValueError: C is not finite, or zero.
    """
    if not bool(torch.isfinite(moment).all()):
        raise ValueError("the moments of a layer's inputs are not finite")
    values, vectors = torch.linalg.eigh(moment.double())
    kept = values > NULL * values[-1].clamp_min(0.0)
    if not bool(kept.any()):
        raise ValueError("the inputs of a layer are all zero: nothing can be fitted to them")
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def weighted_error(weight: Tensor, fitted: Tensor, moment: Tensor) -> float:
    """|(W - V) S| / |W S|: the error of the layer's output without bias, root mean square, relative."""
    root = root_of_moment(moment)
    true = weight.double() @ root
    return float((fitted.double() @ root - true).norm() / true.norm())


def fit_low_rank(
    weight: Tensor, moment: Tensor, rank: int | None = None, tolerance: float = 0.0
) -> list[Tensor]:
    """The factors (O, r), (r, I) of the best approximation of W for inputs of these second moments.

    Args:
        weight: (O, I).
        moment: (I, I) C.
        rank: r, cut to the smaller side of W; absent: the smallest that keeps the tolerance.
        tolerance: relative error allowed, as `weighted_error` measures it.
    """
    true = weight.double()
    left, values, _ = torch.linalg.svd(true @ root_of_moment(moment))
    tail = values.square().flip(0).cumsum(0).flip(0).sqrt()  # error of keeping the values before each
    rank = int((tail > tolerance * tail[0]).sum()) if rank is None else min(rank, *weight.shape)
    rank = max(1, rank)
    basis = left[:, :rank]
    # both factors with columns of like size, so that one learning rate suits both
    inner = basis.T @ true
    scale = (
        (inner.norm(dim=1) / max(1, weight.shape[1]) ** 0.5).clamp_min(torch.finfo(true.dtype).tiny).sqrt()
    )
    return [(basis * scale).to(weight), (inner / scale[:, None]).to(weight)]


@torch.no_grad()
def fit_cores(
    weight: Tensor, cores: Sequence[Tensor], moment: Tensor, sweeps: int = 200
) -> tuple[list[Tensor], list[float]]:
    """Improve the cores of a TT or ring for inputs of these second moments, one after the other.

    The sweeps creep along narrow valleys, so each is followed by a longer step in the direction it went; that
    is kept where the error falls further, and grows as long as it does. Measured on trained layers of width
    64: the error of 600 plain sweeps after 150 to 200 of these.

    A core costs (r_{k-1} i_k r_k)^2 O q / o_k for its normal equations and (r_{k-1} i_k r_k)^3 / 3 to solve
    them; one with r_{k-1} i_k r_k beyond LARGEST_SYSTEM stays as it is.

    Args:
        weight: (O, I) W.
        cores: where to start, such as from a TT-SVD of W; first and last bond 1, or closed to a ring.
        moment: (I, I) C.
        sweeps: largest number of sweeps over all cores.

    Returns:
        The cores, of the ranks they had, and `weighted_error` at the start and after each sweep, which never
        rises.

    Raises:
        ValueError: the cores do not make a matrix of the shape of W, or C is not finite or zero.
    """
    found = [core.double() for core in cores]
    modes_out, modes_in = [core.shape[1] for core in found], [core.shape[2] for core in found]
    if (math.prod(modes_out), math.prod(modes_in)) != tuple(weight.shape):
        raise ValueError(f"cores of modes {modes_out} x {modes_in} make no {tuple(weight.shape)} matrix")
    root = root_of_moment(moment)
    target = weight.double() @ root  # (O, q)
    size = max(float(target.norm()), torch.finfo(target.dtype).tiny)

    def distance(cores: Sequence[Tensor]) -> float:
        return float((full(cores) @ root - target).norm()) / size

    seen, wanted = root.reshape(*modes_in, -1), target.reshape(*modes_out, -1)
    errors, further = [distance(found)], 1.0
    for _ in range(sweeps):
        before = list(found)
        for k, core in enumerate(found):
            if core[:, 0].numel() <= LARGEST_SYSTEM:
                found[k] = _solved(found, k, seen, wanted)
        error = distance(found)
        beyond = [new + further * (new - old) for new, old in zip(found, before, strict=True)]
        error_beyond = distance(beyond)
        if error_beyond < error:
            found, error, further = beyond, error_beyond, further * FURTHER
        else:
            further = 1.0
        errors.append(min(error, errors[-1]))  # both the same within rounding at the end
        if error > (1.0 - SETTLED) * errors[-2]:
            break
    return [core.to(weight) for core in balanced(found)], errors


def fit_layer(layer: TensorLinear, weight: Tensor, moment: Tensor, steps: int = 200) -> float:
    """Fit all factors of a layer of any format at once, from where they are; `weighted_error` at the end.

    Args:
        layer: in double precision; its cores change, its bias does not.
        weight: (O, I) W.
        moment: (I, I) C.
        steps: largest number of iterations of L-BFGS.
    """
    root = root_of_moment(moment)
    target = weight.double() @ root
    size = float(target.norm())
    cores = list(layer.cores)
    search = torch.optim.LBFGS(cores, max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        loss = ((layer.weight @ root - target) / size).square().sum()
        for core, slope in zip(cores, torch.autograd.grad(loss, cores), strict=True):
            core.grad = slope.contiguous()
        return loss

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
    for core in cores:
        core.grad = None
    return weighted_error(weight, layer.weight.detach(), moment)


def find_permutations(
    weight: Tensor, modes_out: Sequence[int], modes_in: Sequence[int], rank: int, swaps: int = SWAPS
) -> tuple[Tensor, Tensor]:
    """Orders (rows, columns) in which W[rows][:, columns] loses less by truncation to a TT of this rank.

    A layer has `permute_in` = columns and `permute_out` = argsort(rows) to mean the same; between hidden
    layers the neighbours can take the order over.
    """
    orders = find_orders({"": weight}, {"": ("rows", "columns")}, modes_out, modes_in, rank, swaps)
    return orders["rows"], orders["columns"]


@torch.no_grad()
def find_orders(
    weights: Mapping[str, Tensor],
    sides: Mapping[str, tuple[str, str]],
    modes_out: Sequence[int],
    modes_in: Sequence[int],
    rank: int,
    swaps: int = SWAPS,
    seed: int = 0,
) -> dict[str, Tensor]:
    """One order for each list of units, so that all weights between them lose less by truncation.

    Random pairs of units are exchanged, and an exchange stays if it lowers the sum over all weights and inner
    bonds of the squared singular values beyond the rank, relative to |W|^2.

    Args:
        weights: matrices of prod modes_out rows and prod modes_in columns by name.
        sides: names of the units along the rows and the columns of each; the same name, the same order.
        modes_out, modes_in: of all weights.
        rank: of all bonds.
        swaps: exchanges tried, for every weight.

    Returns:
        The order (a permutation) of the units of each name: W[order of rows][:, order of columns].
    """
    draw = random.Random(seed)
    moved = {name: weight.double().clone() for name, weight in weights.items()}
    units = {unit: weights[name].shape[side] for name in weights for side, unit in enumerate(sides[name])}
    orders = {unit: torch.arange(size) for unit, size in units.items()}
    names, lost = list(orders), {name: _lost(w, modes_out, modes_in, rank) for name, w in moved.items()}
    for trial in range(swaps * len(weights)):
        unit = names[trial % len(names)]
        one, two = draw.randrange(units[unit]), draw.randrange(units[unit])
        touched = [name for name in weights if unit in sides[name]]
        for name in touched:
            _exchange(moved[name], sides[name], unit, one, two)
        now = {name: _lost(moved[name], modes_out, modes_in, rank) for name in touched}
        if sum(now.values()) < sum(lost[name] for name in touched):
            lost |= now
            orders[unit][[one, two]] = orders[unit][[two, one]]
        else:
            for name in touched:
                _exchange(moved[name], sides[name], unit, one, two)
    return orders


def _exchange(weight: Tensor, sides: tuple[str, str], unit: str, one: int, two: int) -> None:
    for side in (0, 1):
        if sides[side] == unit:
            rows = weight if side == 0 else weight.T
            rows[[one, two]] = rows[[two, one]]


def _lost(weight: Tensor, modes_out: Sequence[int], modes_in: Sequence[int], rank: int) -> float:
    """Squared singular values beyond the rank, of all unfoldings at inner bonds, over |W|^2."""
    count = len(modes_out)
    pairs = [axis for k in range(count) for axis in (k, count + k)]
    tensor = weight.reshape(*modes_out, *modes_in).permute(pairs)
    lost = 0.0
    for k in range(1, count):
        unfolded = tensor.flatten(2 * k).flatten(0, 2 * k - 1)
        short = unfolded if unfolded.shape[0] <= unfolded.shape[1] else unfolded.T
        kept = torch.linalg.eigvalsh(short @ short.T)[-rank:].sum()
        lost += 1.0 - float(kept / unfolded.square().sum())
    return lost


def _around(cores: Sequence[Tensor], k: int) -> Tensor:
    """All cores but the k-th as one, from its right bond to its left: (r_k, O / o_k, I / i_k, r_{k-1})."""
    others = [*cores[k + 1 :], *cores[:k]]
    env = others[0]
    for core in others[1:]:
        env = torch.einsum("aoib,bpjc->aopijc", env, core).flatten(3, 4).flatten(1, 2)
    return env


def _turned(values: Tensor, k: int, modes: int) -> Tensor:
    """(m_1 .. m_d, q) with mode k first, then the others in the order of `_around`: (m_k, rest, q)."""
    order = [k, *range(k + 1, modes), *range(k), modes]
    return values.permute(order).flatten(1, -2)


def _solved(cores: Sequence[Tensor], k: int, root: Tensor, target: Tensor) -> Tensor:
    """Core k from its normal equations; what the data leave open stays as it is."""
    core, env = cores[k], _around(cores, k)
    left, _, into, right = core.shape
    s, wanted = _turned(root, k, len(cores)), _turned(target, k, len(cores))
    unknowns = right * left * into
    gram, pull = core.new_zeros(unknowns, unknowns), core.new_zeros(unknowns, core.shape[1])
    step = max(1, CHUNK // (unknowns * s.shape[-1]))
    for part, goal in zip(torch.split(env, step, 1), torch.split(wanted, step, 1), strict=True):
        design = torch.einsum("boea,ieq->oqbai", part, s).flatten(0, 1).flatten(1)
        gram += design.T @ design
        pull += design.T @ goal.permute(1, 2, 0).flatten(0, 1)
    now = core.permute(3, 0, 2, 1).reshape(unknowns, -1)
    damping = DAMPING * float(gram.diagonal().mean()) + torch.finfo(core.dtype).tiny
    gram.diagonal().add_(damping)
    factor = torch.linalg.cholesky(gram)
    solved = torch.cholesky_solve(pull + damping * now, factor)
    return solved.reshape(right, left, into, -1).permute(1, 3, 2, 0).contiguous()
