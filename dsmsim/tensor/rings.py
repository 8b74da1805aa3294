"""Rounding and spectra of tensor rings, whose bonds lie in a loop.

Open the bond between cores k and k + 1 and put a matrix X into it: W(X) = sum_ab X_ab V_ab is linear in X and
W(1) = W. All that the rest of the ring does to this bond is in the Gram matrix of the V_ab, the environment

    E[(a b), (a' b')] = <V_ab, V_a'b'>,      |W(X) - W|_F^2 = (x - 1)^T E (x - 1)

so that the error of any X, and of an X = A B of rank r' above all, is known exactly before anything is cut.
In a train E is a product L (x) R, and its best A B is the SVD of the canonical form. In a ring it is not, and
weighting by the marginals rho_L[a, a'] = sum_b E[(a b), (a' b)] and rho_R is a start (the weighted trace
gauge of Evenbly, Phys. Rev. B 98, 085155 (2018), without its iteration), which alternating least squares in
the norm of E improve.

Shapes: a core is (r_{k-1}, o_k, i_k, r_k); bond k lies behind core k = 1 .. d, the last before core 1.
Computed in float64 whatever the cores have: errors come from differences of squares, which would lose half of
a float32's digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsmsim.tensor.arithmetic import inner, transfer
from dsmsim.tensor.truncation import rank_for

GAUGE_SWEEPS = 100  # largest number; about ten are needed
SWEEPS = 10  # of alternating least squares for every rank that is tried
SETTLED = 0.99  # of the error, at least, is left after a sweep that ends them
ROUNDING = 1e-14  # a bound of the relative error of E's entries


@torch.no_grad()
def rounded_ring(cores: Sequence[Tensor], tolerance: float, most: Sequence[int | None]) -> list[Tensor]:
    """A ring of smaller ranks with |W' - W|_F <= tolerance |W|_F, unless `most` asks for less.

    The bonds are cut one after the other. Bond k of d may bring the distance from the first W up to
    tolerance |W|_F sqrt(k / d), and takes the smallest rank that it finds by bisection whose own error, known
    from its environment, fits in what the distance so far leaves (by the triangle inequality). The bound is
    guaranteed; that the ranks are the smallest is not: a cut of one bond can make the others needed. E holds
    squares, so that errors below about 1e-7 |W|_F are seldom seen to be small enough. The result is in the
    gauge of `minimal`. Costs d r^6 for the environments.

    Args:
        cores: of the ring.
        tolerance: relative Frobenius error of W.
        most: largest r_0 .. r_d; None for any. The closing bond takes that of r_d.
    """
    first = minimal([core.to(torch.float64) for core in cores])
    found, count = list(first), len(first)
    size = inner(first, first).clamp(min=0.0).sqrt()
    behind = _products_behind(first)
    before = torch.eye(first[0].shape[0] ** 2, dtype=torch.float64, device=first[0].device)
    gone = torch.zeros_like(size)  # |W' - W| so far
    for k in range(count):
        before_and_own = before @ transfer(found[k], found[k])
        allowed = tolerance * size * ((k + 1) / count) ** 0.5 - gone
        left, right, error = _cut(_environment(behind[k] @ before_and_own), allowed, most[k + 1])
        found[k] = torch.tensordot(found[k], left, dims=1)
        following = (k + 1) % count
        found[following] = torch.tensordot(right, found[following], dims=1)
        before = before @ transfer(found[k], found[k])
        gone = torch.minimum(gone + error, _distance(first, found)) if k + 1 < count else gone
    return [core.to(cores[0].dtype) for core in minimal(found)]


@torch.no_grad()
def ring_spectra(cores: Sequence[Tensor]) -> list[Tensor]:
    """A spectrum for each bond k = 1 .. d of a ring, in decreasing order.

    The singular values of rho_L^(1/2) rho_R^(1/2) / (tr E)^(1/2), see the module's docstring, in the gauge of
    `minimal`, so that they belong to W and not to the gauge the cores are in: what they drop is the error of
    a cut in as far as E is a product of its marginals. They are the singular values of W's unfoldings if the
    ring is a train; else their squares need not add up to |W|_F^2. No gradients.
    """
    double = minimal([core.to(torch.float64) for core in cores])
    behind = _products_behind(double)
    before = torch.eye(double[0].shape[0] ** 2, dtype=torch.float64, device=double[0].device)
    found = []
    for core, rest in zip(double, behind, strict=True):
        before = before @ transfer(core, core)
        _, values, _ = _weighted_svd(_environment(rest @ before))
        found.append(values.to(cores[0].dtype))
    return found


def minimal(cores: Sequence[Tensor]) -> list[Tensor]:
    """The same ring in the gauge in which sum_k |G_k|_F^2 is smallest, which is unique up to rotations.

    At every bond the Gram matrices of its two sides are then equal (Acuaviva et al., "The minimal canonical
    form of a tensor network", 2022). Found bond by bond from triangular factors, G_k G_{k+1} = Q_k R L
    Q_{k+1}, with the singular values of R L shared between both sides, until nothing moves.
    """
    found, count = list(cores), len(cores)
    for _ in range(GAUGE_SWEEPS):
        before = sum(core.square().sum() for core in found)
        for k in range(count if count > 1 else 0):
            following = (k + 1) % count
            left, upper = torch.linalg.qr(found[k].flatten(0, 2))
            right, lower = torch.linalg.qr(found[following].flatten(1).T)
            outer, values, back = torch.linalg.svd(upper @ lower.T, full_matrices=False)
            root = values.sqrt()
            found[k] = (left @ (outer * root)).reshape(*found[k].shape[:3], -1)
            found[following] = ((root.unsqueeze(1) * back) @ right.T).reshape(-1, *found[following].shape[1:])
        if before - sum(core.square().sum() for core in found) <= 1e-14 * before:
            break
    return found


def _products_behind(cores: Sequence[Tensor]) -> list[Tensor]:
    """For each core the product of the transfer matrices of all cores behind it."""
    product = torch.eye(cores[0].shape[0] ** 2, dtype=cores[0].dtype, device=cores[0].device)
    found = [product]
    for core in reversed(cores[1:]):
        product = transfer(core, core) @ product
        found.append(product)
    return found[::-1]


def _environment(loop: Tensor) -> Tensor:
    """E[a, b, a', b'] from the product of all transfer matrices from behind the bond to before it."""
    rank = round(loop.shape[0] ** 0.5)
    opened: Tensor = loop.reshape(rank, rank, rank, rank).permute(2, 0, 3, 1)  # from [b, b', a, a']
    return opened


def _weighted_svd(environment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Factors P (r, r), s and Q (r, r) with 1 = P s^-1 Q, in the order in which they should be dropped."""
    total = torch.einsum("abab->", environment).clamp(min=torch.finfo(environment.dtype).tiny)
    weigh_left = _root(torch.einsum("abcb->ac", environment))
    weigh_right = _root(torch.einsum("abac->bc", environment))
    left, values, right = torch.linalg.svd(weigh_left @ weigh_right.T)
    size: Tensor = total.sqrt()
    return weigh_right.T @ right.T, values / size, left.T @ weigh_left / size


def _root(gram: Tensor) -> Tensor:
    """A with A^T A = gram."""
    values, vectors = torch.linalg.eigh(gram)
    root: Tensor = values.clamp(min=0.0).sqrt().unsqueeze(1) * vectors.T
    return root


def _cut(environment: Tensor, allowed: Tensor, most: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """A (r, r'), B (r', r) of the smallest r' found with |W(A B) - W| <= allowed, and this error."""
    rank = environment.shape[0]
    one = torch.eye(rank, dtype=environment.dtype, device=environment.device)
    best = one, one, torch.zeros_like(allowed)
    starts = _starts(environment)
    low, high = 1, rank
    while low < high:  # `high` is known to fit
        middle = (low + high) // 2
        tried = _fit(environment, starts, middle, allowed)
        if tried[2] <= allowed:
            best, high = tried, middle
        else:
            low = middle + 1
    return (
        best if most is None or high <= most else _fit(environment, starts, most, torch.zeros_like(allowed))
    )


def _starts(environment: Tensor) -> list[Tensor]:
    """Rows of B (r', r) to start from, the best first.

    The weighted SVD's, and mixtures of them: the SVD can take from directions of equal weight some that stand
    for the same part of W, as in the sum of a ring with itself, and least squares do not leave them.
    """
    _, values, back = _weighted_svd(environment)
    kept = rank_for(values, 1e-8 * values[0])  # an inverse of what lies below is noise
    rows = back[:kept] / values[:kept].clamp(min=torch.finfo(values.dtype).tiny).sqrt().unsqueeze(1)
    generator = torch.Generator().manual_seed(0)
    return [rows, torch.randn(kept, kept, generator=generator, dtype=rows.dtype).to(rows.device) @ rows]


def _fit(
    environment: Tensor, starts: Sequence[Tensor], rank: int, allowed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A, B of this rank by alternating least squares, and a bound of the error; the first start that does."""
    wanted = torch.einsum("abcc->ab", environment)  # E applied to the unit matrix
    found = []
    for start in starts:
        right = start[:rank]
        own: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(SWEEPS):
            half = torch.einsum("qb,abcd,pd->aqcp", right, environment, right)
            left = _solved(half, wanted @ right.T)
            half = torch.einsum("aq,abcd,cp->qbpd", left, environment, left)
            right = _solved(half, left.T @ wanted)
            own.append((left, right, _error(environment, left @ right)))
            if len(own) > 1 and not own[-1][2] < SETTLED * own[-2][2]:
                break
        found.append(min(own, key=lambda tried: float(tried[2])))
        if found[-1][2] <= allowed:
            break
    return min(found, key=lambda tried: float(tried[2]))


def _solved(gram: Tensor, wanted: Tensor) -> Tensor:
    """The least-squares X of gram[i, j, k, l] X[k, l] = wanted[i, j], small directions left out."""
    size = wanted.numel()
    inverse = torch.linalg.pinv(gram.reshape(size, size), rtol=1e-12, hermitian=True)
    solution: Tensor = inverse @ wanted.reshape(size)
    return solution.reshape(wanted.shape)


def _error(environment: Tensor, matrix: Tensor) -> Tensor:
    """|W(X) - W|_F, and on top of it what the rounding of E could hide."""
    change = matrix - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    square = torch.einsum("ab,abcd,cd->", change, environment, change)
    slack = torch.einsum("ab,abcd,cd->", change.abs(), environment.abs(), change.abs())
    return (square.clamp(min=0.0) + ROUNDING * slack).sqrt()


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """|A - B|_F with the same precaution."""
    squares, mixed = inner(a, a) + inner(b, b), inner(a, b)
    return ((squares - 2.0 * mixed).clamp(min=0.0) + ROUNDING * (squares + 2.0 * mixed.abs())).sqrt()
