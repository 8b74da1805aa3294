"""Whether velocity fields are gradients: u and v of a wave function are free of curl.

    a^2 = E[ sum_ij (d_i f_j - d_j f_i)^2 / 4 ] ,      f = u or v

the mean square of the antisymmetric part of the Jacobian, relative to that of both Jacobians. Networks of log
psi need no such check. Derivatives are central differences, of steps that are a small part of the cloud: in
single precision too they are right to a thousandth.

Shapes: B points, n coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsmsim.measure.identities import TOLERANCES, Check, worst_check

Array = NDArray[np.float64]
Velocities = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

STEP = 0.02  # of the initial standard deviation of a coordinate


def curl_checks(
    velocities: Velocities, points: Sequence[tuple[Tensor, float]], variance: Array
) -> list[Check]:
    """The checks "curl: u" and "curl: v"; none for a single coordinate.

    Args:
        velocities: (x, t) -> (u, v), (B, n) each.
        points: positions (B, n) of the same trajectories, and the time, at several times.
        variance: (n,) of the initial state.
    """
    if len(variance) < 2:
        return []
    steps = STEP * np.sqrt(variance)
    # (times, points, 2): square of the antisymmetric part of each Jacobian, and of the Jacobian itself
    parts = [_squares(velocities, x, t, steps) for x, t in points]
    curl, whole = (np.mean([part[k] for part in parts], axis=0) for k in (0, 1))
    scale = float(np.sqrt(whole.sum(1).mean()))
    checks = []
    for k, name in enumerate(("curl: u", "curl: v")):
        value = np.sqrt(curl[:, k].mean(keepdims=True))
        spread = curl[:, k].std(ddof=1) / np.sqrt(len(curl))
        stderr = np.where(value > 0.0, 0.5 * spread / np.maximum(value, 1e-300), 0.0)
        checks.append(worst_check(name, value, 0.0, stderr, scale, TOLERANCES[name]))
    return checks


def _squares(velocities: Velocities, x: Tensor, t: float, steps: Array) -> tuple[Array, Array]:
    """Squares (B, 2) of the antisymmetric part of the Jacobians of u and v, and of the Jacobians."""
    count, n = x.shape
    move = torch.diag(torch.as_tensor(steps, dtype=x.dtype, device=x.device))
    moved = torch.stack((x[:, None] + move, x[:, None] - move))  # (2, B, n, n): the row says which moves
    flat = moved.reshape(-1, n)
    both = torch.stack(velocities(flat, flat.new_full((len(flat), 1), t)), 1).double()
    ahead, behind = both.reshape(2, count, n, 2, n)
    jacobian = (ahead - behind) / torch.as_tensor(2.0 * steps, device=x.device)[:, None, None]
    jacobian = jacobian.transpose(1, 2)  # (B, 2, n, n): [..., i, j] = d_i f_j
    odd = 0.5 * (jacobian - jacobian.transpose(-1, -2))
    curl, whole = (a.square().sum((-1, -2)).cpu().numpy() for a in (odd, jacobian))
    return curl, whole
