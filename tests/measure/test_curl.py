"""The curl of velocity fields: none of gradients, a known one of a rotation, the same in single precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dsmsim.measure import curl_checks

VARIANCE = np.array([0.05, 0.08, 0.02])
POTENTIAL = torch.tensor([[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 0.7]])  # symmetric
ROTATION = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 2.0], [0.0, -2.0, 0.0]])
Points = list[tuple[Tensor, float]]


def points(dtype: torch.dtype, count: int = 40) -> Points:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, count, 3)) * np.sqrt(VARIANCE)
    return [(torch.from_numpy(part).to(dtype), 0.5 * k) for k, part in enumerate(x)]


def velocities(turn: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """u a gradient, not linear; v = (POTENTIAL + turn ROTATION) x / 2, growing in time."""

    def found(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.tanh(x.sum(1, keepdim=True)) - x
        return u, 0.5 * (1.0 + t) * x @ (POTENTIAL + turn * ROTATION).to(x.dtype)

    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_have_none(dtype: torch.dtype) -> None:
    for check in curl_checks(velocities(0.0), points(dtype), VARIANCE):
        assert check.passed
        assert check.deviation < (1e-3 if dtype == torch.float32 else 1e-5), check.name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rotation_is_measured_and_flagged(dtype: torch.dtype) -> None:
    u, v = curl_checks(velocities(1.0), points(dtype), VARIANCE)
    # |0.5 (1 + t) ROTATION|^2 on average over the times 0, 0.5, 1
    expected = np.sqrt(np.mean([0.25 * (1.0 + t) ** 2 for t in (0.0, 0.5, 1.0)]) * 10.0)
    assert v.value == pytest.approx(expected, rel=1e-3)
    assert (u.name, u.passed) == ("curl: u", True)
    assert (v.name, v.passed) == ("curl: v", False)
    assert v.deviation > 0.3


def test_one_coordinate_has_none() -> None:
    assert curl_checks(lambda x, t: (x, x), [(torch.zeros(4, 1), 0.0)], np.array([1.0])) == []
