"""Tensor-train layers; knows torch and nothing else, so it can be used on its own."""

from __future__ import annotations

from dsmsim.tensor.tt_linear import TTLinear, tt_core_std

__all__ = ["TTLinear", "tt_core_std"]
