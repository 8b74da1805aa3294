"""Observables of sampled trajectories, each with a standard error, as sums and counts that add over ranks."""

from __future__ import annotations

from dsmsim.measure.build import build_observables
from dsmsim.measure.context import Context, Extent, correlation_times
from dsmsim.measure.control import CompanionLaw
from dsmsim.measure.curl import curl_checks
from dsmsim.measure.ensemble import EnsembleSums
from dsmsim.measure.histogram import density_edges
from dsmsim.measure.identities import TOLERANCES, Check, checks_group
from dsmsim.measure.observable import Observable, Sampled

__all__ = [
    "TOLERANCES",
    "Check",
    "CompanionLaw",
    "Context",
    "EnsembleSums",
    "Extent",
    "Observable",
    "Sampled",
    "build_observables",
    "checks_group",
    "correlation_times",
    "curl_checks",
    "density_edges",
]
