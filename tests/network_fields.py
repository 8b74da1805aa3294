"""Fields of an input and points to evaluate them at, in double precision."""

from __future__ import annotations

import torch
from torch import Tensor

from dsmsim.config import Config
from dsmsim.networks import Fields, build_fields
from dsmsim.system import build_initial, build_system


def fields_of(config: Config) -> Fields:
    """The fields of an input."""
    return build_fields(config, build_system(config), build_initial(config))


def points(config: Config, count: int = 7, seed: int = 0, spread: float = 1.5) -> tuple[Tensor, Tensor]:
    """Positions where the initial state lives, and times over the whole run."""
    generator = torch.Generator().manual_seed(seed)
    initial = build_initial(config)
    mean, sigma = torch.from_numpy(initial.mean), torch.from_numpy(initial.variance).sqrt()
    noise = torch.randn(count, len(mean), dtype=torch.float64, generator=generator)
    t = config.time.end * torch.rand(count, 1, dtype=torch.float64, generator=generator)
    return mean + spread * sigma * noise, t
