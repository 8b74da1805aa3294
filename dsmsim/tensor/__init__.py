"""Tensor-decomposed layers; knows torch and nothing else, so it can be used on its own."""

from __future__ import annotations

from dsmsim.tensor.layer import Strategy, TensorLinear, kept_weights
from dsmsim.tensor.tt_linear import TRLinear, TTLinear, tt_core_std

__all__ = ["Strategy", "TRLinear", "TTLinear", "TensorLinear", "kept_weights", "tt_core_std"]
