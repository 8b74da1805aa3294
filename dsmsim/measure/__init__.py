"""Observables of sampled trajectories, each with a standard error, as sums and counts that add over ranks."""

from __future__ import annotations

from dsmsim.measure.control import CompanionLaw
from dsmsim.measure.ensemble import EnsembleSums
from dsmsim.measure.histogram import density_edges
from dsmsim.measure.identities import TOLERANCES, Check, checks_group

__all__ = ["TOLERANCES", "Check", "CompanionLaw", "EnsembleSums", "checks_group", "density_edges"]
