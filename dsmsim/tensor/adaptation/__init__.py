"""Ranks that find themselves: adapters that change the ranks of TT and TR layers during training."""

from __future__ import annotations

from dsmsim.tensor.adaptation.growth import GrowthAdapter
from dsmsim.tensor.adaptation.rounding import RoundingAdapter
from dsmsim.tensor.adaptation.rule import RankAdapter, RankRule
from dsmsim.tensor.adaptation.shrinkage import ShrinkageAdapter
from dsmsim.tensor.adaptation.spectra import RankReport, bond_entropies, bond_spectra, rank_report

ADAPTERS: dict[str, type[RankAdapter]] = {
    "rounding": RoundingAdapter,
    "growth": GrowthAdapter,
    "shrinkage": ShrinkageAdapter,
}
DEFAULT_ADAPTER = "rounding"
DEFAULT_TOLERANCE = 0.2

__all__ = [
    "ADAPTERS",
    "DEFAULT_ADAPTER",
    "DEFAULT_TOLERANCE",
    "GrowthAdapter",
    "RankAdapter",
    "RankReport",
    "RankRule",
    "RoundingAdapter",
    "ShrinkageAdapter",
    "bond_entropies",
    "bond_spectra",
    "rank_report",
]
