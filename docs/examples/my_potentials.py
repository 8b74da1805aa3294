"""A ring-shaped trap in two dimensions, and an interaction of finite range: functions for kind = "python"."""

import torch
from torch import Tensor


def ring(r: Tensor, t: Tensor, radius: float, stiffness: float, tilt: float) -> Tensor:
    """V = stiffness/2 (|r| - radius)^2 - tilt t x, for r (..., 2) and t (...); returns (...)."""
    # the square root of 0 has no derivative, hence the small number below it
    distance = torch.sqrt((r * r).sum(-1) + 1e-6)
    return 0.5 * stiffness * (distance - radius) ** 2 - tilt * t * r[..., 0]


def soft_disk(r: Tensor, t: Tensor, radius: float) -> Tensor:
    """w = 1 / (1 + (|r| / radius)^6), for r = x_i - x_j (..., D); returns (...)."""
    return 1.0 / (1.0 + ((r * r).sum(-1) / radius**2) ** 3)
